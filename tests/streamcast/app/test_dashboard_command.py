"""``streamcast dashboard`` warns when anyone may read the page."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from streamcast.app.commands.dashboard import access
from streamcast.app.settings.fields import DashboardSettings
from streamcast.page.guard import Access


@pytest.mark.parametrize(
    ("page", "warned"),
    [
        ({"host": "0.0.0.0"}, True),
        ({"host": "10.0.0.1"}, True),
        ({"host": "::1"}, False),
        ({}, False),
        ({"host": "0.0.0.0", "token": "sesame"}, False),
    ],
)
def test_a_page_that_others_reach_without_a_token_warns(
    page: dict[str, object], caplog: pytest.LogCaptureFixture, *, warned: bool
) -> None:
    access(DashboardSettings.model_validate(page))
    assert ("set dashboard.token or dashboard.token_file" in caplog.text) == warned


def test_the_token_comes_from_its_file_and_is_never_empty(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("sesame\n")
    page = DashboardSettings.model_validate({"token_file": file, "name": "forecasts.example"})
    assert access(page) == Access("forecasts.example", "sesame")
    file.write_text("\n")
    with pytest.raises(ValidationError, match="token"):
        DashboardSettings.model_validate({"token_file": file})
