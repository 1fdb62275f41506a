"""A port that is taken is one message, before anything that takes time."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from harness.streams import SPECS
from streamcast.app.cli import app
from streamcast.errors import SettingsError
from streamcast.spec.folders import new_network, save_model


@pytest.fixture
def taken() -> Iterator[int]:
    """A port at which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def test_the_demo_asks_before_it_trains(taken: int) -> None:
    said = rf"--port: cannot listen at 127\.0\.0\.1:{taken}, because another process listens there"
    with pytest.raises(SettingsError, match=said):
        CliRunner().invoke(app, ["demo", "--port", str(taken)], catch_exceptions=False)


def test_the_dashboard_names_the_setting(taken: int, tmp_path: Path) -> None:
    save_model(tmp_path, "load", SPECS["gru"], new_network(SPECS["gru"]), {})
    document = {
        "kafka": {"bootstrap_servers": "127.0.0.1:1"},
        "models": {"folder": str(tmp_path), "lanes": {"champion": {"model": "load@1"}}},
        "dashboard": {"port": taken},
    }
    (tmp_path / "streamcast.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(SettingsError, match=rf"dashboard\.port: cannot listen at 127\.0\.0\.1:{taken}"):
        CliRunner().invoke(app, ["dashboard", "-c", str(tmp_path / "streamcast.yaml")], catch_exceptions=False)
