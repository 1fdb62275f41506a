"""What ``streamcast dashboard`` says in its terminal: when anyone may read the page, and when nobody can."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import ValidationError

from harness.streams import SPECS, network
from streamcast.app.commands.deployment import dashboard as command
from streamcast.app.commands.deployment.dashboard import access, dashboard
from streamcast.app.commands.deployment.serve import stop_on_signals
from streamcast.app.settings import load_settings
from streamcast.app.settings.fields import DashboardSettings, TelemetrySettings
from streamcast.consumers.memory.transport import MemoryBroker, MemoryReader
from streamcast.consumers.transport import TopicSpec
from streamcast.page.guard import Access
from streamcast.spec.folders import save_model


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


@contextmanager
def same_handlers_after() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_page_that_cannot_read_the_topics_says_so_once_and_says_once_that_it_can_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(tmp_path, "small", SPECS["gru"], network("gru"), {})
    lanes = {"models.folder": str(tmp_path), "models.lanes": {"champion": {"model": "small@1"}}}
    settings = load_settings(None, {**lanes, "dashboard.port": 0, "telemetry.port": 0})
    broker = MemoryBroker()
    monkeypatch.setattr(command, "new_reader", lambda _settings, who: MemoryReader(broker, who))
    caplog.set_level("INFO", "streamcast")

    def wait_for(words: str) -> None:
        until = time.monotonic() + 30.0
        while words not in caplog.text and time.monotonic() < until:
            time.sleep(0.05)

    def repair_and_stop() -> None:
        wait_for("cannot be read")
        time.sleep(2.0)  # the page looks some times more
        for topic in (settings.input.topic, settings.output.forecasts, settings.output.dead_letters):
            broker.create(TopicSpec(topic, 1))
        wait_for("can be read again")
        os.kill(os.getpid(), signal.SIGTERM)

    operator = threading.Thread(target=repair_and_stop)
    with same_handlers_after():
        operator.start()
        assert dashboard(settings) == 0
    operator.join()
    said = [(line.levelname, line.message) for line in caplog.records if "topics" in line.message]
    assert said == [
        ("WARNING", "the topics cannot be read: there is no topic observations, forecasts, dead-letters"),
        ("INFO", "the topics can be read again"),
    ]


def test_a_page_that_is_asked_to_stop_says_that_it_closes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with same_handlers_after():
        stop = stop_on_signals("closing the page")
        signal.raise_signal(signal.SIGTERM)
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
