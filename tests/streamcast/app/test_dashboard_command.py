"""``streamcast dashboard`` warns when anyone may read the page."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from pydantic import ValidationError

from streamcast.app.commands.deployment.dashboard import access
from streamcast.app.commands.deployment.serve import stop_on_signals
from streamcast.app.settings.fields import DashboardSettings, TelemetrySettings
from streamcast.page.guard import Access


@pytest.mark.parametrize(
    ("page", "warned"),
    [
        ({"host": "0.0.0.0"}, True),
        ({"host": "10.0.0.1"}, True),
        ({"host": "::1"}, False),
        ({}, False),
        ({"host": "0.0.0.0", "token": "open sesame"}, False),
    ],
)
def test_a_page_that_others_reach_without_a_token_warns(
    page: dict[str, object], caplog: pytest.LogCaptureFixture, *, warned: bool
) -> None:
    access(DashboardSettings.model_validate(page))
    assert ("set dashboard.token or dashboard.token_file" in caplog.text) == warned


def test_a_page_that_is_asked_to_stop_says_that_it_closes(caplog: pytest.LogCaptureFixture) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    caplog.set_level("INFO")
    try:
        stop = stop_on_signals("closing the page")
        signal.raise_signal(signal.SIGTERM)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert stop.is_set()
    assert "SIGTERM: closing the page (Ctrl-C: end at once)" in caplog.text


@pytest.mark.parametrize("section", [DashboardSettings, TelemetrySettings])
def test_a_token_is_one_that_a_header_carries_and_nobody_guesses(
    section: type[DashboardSettings | TelemetrySettings], tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("open sesame\n")
    for given in ({"token_file": file}, {"token": "open sesame"}):
        token = section.model_validate(given).token
        assert token is not None
        assert token.get_secret_value() == "open sesame"
    for refused in ("", "short", "schlüssel-ähnlich", "line\nbreak and more", " open sesame", "open\tsesame"):
        with pytest.raises(ValidationError, match="at least 8 printable ASCII characters") as error:
            section.model_validate({"token": refused})
        assert not refused or refused not in str(error.value)


def test_the_page_has_the_name_and_token_of_its_settings() -> None:
    page = DashboardSettings.model_validate({"token": "open sesame", "name": "forecasts.example"})
    assert access(page) == Access("forecasts.example", "open sesame")
