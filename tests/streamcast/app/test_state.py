"""``streamcast state`` and ``streamcast verify`` on a broker in the process: what mistyped names and old files say."""

from __future__ import annotations

import io
import json
import shutil
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from harness.simulation.stand import GROUP, TOPICS, Stand
from harness.streams import MINUTE, SPECS, START, network
from streamcast.app.commands.deployment import state, verify
from streamcast.app.settings import Settings, load_settings
from streamcast.consumers.health import LoopHealth
from streamcast.consumers.memory.transport import MemoryReader
from streamcast.consumers.transport import TopicMissing
from streamcast.service.snapshots import decode, encode
from streamcast.service.telemetry.probes import Control, TelemetryServer
from streamcast.service.telemetry.telemetry import Telemetry
from streamcast.spec.calendar_bars import Step, calendar_of, resolved
from streamcast.spec.folders import load_model, new_network, save_model
from streamcast.spec.model_spec import Column, SeriesSpec
from streamcast.spec.zero import zero_spec
from streamcast.topics.observations import encode_observation

NAMES = {"input.topic": TOPICS.observations} | {
    f"output.{name}": getattr(TOPICS, name) for name in ("forecasts", "dead_letters", "journal")
}


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    """A service that has answered two series and saved its state."""
    made = Stand(tmp_path)
    saved = save_model(tmp_path / "trained", "small", SPECS["gru"], network("gru"), {})
    made.observe("a", 1, 2, 3, 4, 5, 6)
    made.observe("b", 1, 2, 3, 4, 5, 6)
    made.serve({"champion": saved})
    made.stop()
    for command in (state, verify):
        monkeypatch.setattr(command, "new_reader", lambda _settings, who: MemoryReader(made.broker, who))
    return made


def settings_of(folder: Path, **given: object) -> Settings:
    lanes = {"models.folder": str(folder / "trained"), "models.lanes": {"champion": {"model": "small@1"}}}
    store = {"state.store": str(folder / "state"), "state.max_series": 100, "kafka.group": GROUP}
    return load_settings(None, {**NAMES, **lanes, **store, **given})


def shown(settings: Settings, key: str, code: int = 0, *, as_json: bool = False) -> str:
    printed = io.StringIO()
    assert state.show(settings, key, as_json, Console(file=printed, width=400)) == code
    return printed.getvalue()


def test_the_state_of_a_series_is_shown(stand: Stand, tmp_path: Path) -> None:
    facts = json.loads(shown(settings_of(tmp_path), "b", as_json=True))
    values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    wanted = {
        "key": "b", "partition": 0, "as of offset": 12, "last applied offset": 11, "bars": 6, "last values": [6.0],
        "event time (epoch ms)": START + 5 * MINUTE, "running mean": pytest.approx([np.mean(values)]),
        "running deviation": pytest.approx([np.std(values)]),
    }  # fmt: skip
    assert {name: facts[name] for name in wanted} == wanted
    printed = shown(settings_of(tmp_path), "b")
    for name in facts:
        assert name in printed
    assert "has the series 'c'" in shown(settings_of(tmp_path), "c", code=1)


@pytest.mark.parametrize(("step", "moments"), [("day", "2026-03-27 13:00"), ("month", "2026-03-31 00:00")])
def test_the_event_time_of_a_model_with_a_calendar_is_an_instant_and_not_a_time_of_its_grid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: Literal["day", "month"], moments: str
) -> None:
    """A local day in summer, and a month that is longer than the mean one: both have another time on the grid."""
    made, bar = Stand(tmp_path), resolved(Step(step, 1))
    calendar = calendar_of(bar, "Europe/Berlin", START - 10**10, START)
    series = SeriesSpec(columns=(Column(name="y"),), freq=bar.freq, offset=bar.offset, calendar=calendar)
    spec = zero_spec(series, 3, (7,))
    days = {"day": pd.DateOffset(days=1), "month": pd.DateOffset(months=1)}[step]
    times = [int(at.timestamp() * 1_000) for at in pd.date_range(moments, periods=4, freq=days, tz="Europe/Berlin")]
    made.append([(time, b"a", encode_observation("a", time, [7.0])) for time in times])
    made.serve({"champion": save_model(tmp_path / "trained", "small", spec, new_network(spec), {})})
    made.stop()
    monkeypatch.setattr(state, "new_reader", lambda _settings, who: MemoryReader(made.broker, who))
    facts = json.loads(shown(settings_of(tmp_path), "a", as_json=True))
    assert (facts["bars"], facts["event time (epoch ms)"]) == (4, times[-1])


def test_the_state_on_a_scale_of_its_own_shows_the_last_value_in_the_unit_of_the_series(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "a logarithm"
    made = Stand(tmp_path)
    made.observe("a", 4, 9, 16, 25, 36, 49)
    made.serve({"champion": save_model(tmp_path / "trained", "small", SPECS[name], network(name), {})})
    made.stop()
    monkeypatch.setattr(state, "new_reader", lambda _settings, who: MemoryReader(made.broker, who))
    facts = json.loads(shown(settings_of(tmp_path), "a", as_json=True))
    assert facts["last values"][0] == pytest.approx(49.0)
    assert facts["running mean"][0] < 5.0  # of log(1 + y / 0.5)
    assert facts["scale of the target's mean and deviation"] == "log"


def test_a_snapshot_of_another_layout_is_named_with_the_reason(stand: Stand, tmp_path: Path) -> None:
    file = next((tmp_path / "state").rglob("*.snapshot"))
    header, arrays = decode(file.read_bytes())
    file.write_bytes(encode(header, {name: array for name, array in arrays.items() if name != "clock"}))
    told = shown(settings_of(tmp_path), "a", code=1)
    assert f"not readable: {file}: arrays " in told
    assert "No readable snapshot in" in told


@pytest.mark.parametrize("setting", ["input.topic", "output.forecasts", "output.dead_letters", "output.journal"])
def test_a_mistyped_topic_is_named_with_its_setting(stand: Stand, tmp_path: Path, setting: str) -> None:
    settings = settings_of(tmp_path, **{setting: "mistyped"})
    for ask in (lambda: verify.check(settings), lambda: shown(settings, "a")):
        with pytest.raises(TopicMissing, match=rf"topic 'mistyped' \({setting}\) does not exist: correct the setting"):
            ask()
    assert verify.check(settings_of(tmp_path)).proven


def test_verify_says_that_a_key_is_in_two_partitions_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Stand(tmp_path, partitions=2)
    saved = save_model(tmp_path / "trained", "small", SPECS["gru"], network("gru"), {})
    for partition, values in ((0, (1.0, 2.0, 3.0)), (1, (4.0,))):
        made.observe("[red]", *values, partition=partition)
    made.serve({"champion": saved})
    monkeypatch.setattr(verify, "new_reader", lambda _settings, who: MemoryReader(made.broker, who))
    printed = io.StringIO()
    assert verify.verify_service(settings_of(tmp_path), False, Console(file=printed, width=400, soft_wrap=True)) == 0
    assert (
        "note: 1 series has records in more than one partition ('[red]' in partitions 0 and 1), and the service keeps a"
        " state of the series in each: let all producers choose partitions with one partitioner"
    ) in printed.getvalue()


def test_a_version_with_the_weights_of_the_one_before_may_take_over(stand: Stand, tmp_path: Path) -> None:
    """A training that goes on from a model and finds nothing better saves the same weights again."""
    folder = tmp_path / "trained"
    for name in ("small", "copied"):
        save_model(folder, name, SPECS["gru"], network("gru"), {})
    for reference in ("small@2", "small@1", "copied@1"):
        stand.observe("a", 7, 8, 9)
        stand.serve({"champion": load_model(folder, reference)})
    report = verify.check(settings_of(tmp_path))
    assert (report.violations, report.unknown, report.forecasts) == ([], [], 21)
    shutil.rmtree(folder / "copied")
    (unknown,) = verify.check(settings_of(tmp_path)).unknown
    assert "3 forecasts (the first of offset 18 in lane champion) name the model copied@1" in unknown


def test_a_reset_asks_the_service_and_not_a_proxy(
    stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    control = Control("open sesame", lambda key: key == "a")
    telemetry = Telemetry({"champion": ("small", "1")}, 0.8)
    with closing(TelemetryServer(telemetry, LoopHealth(), control=control)) as server:
        given = {"telemetry.port": server.port, "telemetry.token": "open sesame"}
        printed = io.StringIO()
        assert state.reset(settings_of(tmp_path, **given), "a", Console(file=printed)) == 0
    assert "is reset with the next batch" in printed.getvalue()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_reset_takes_its_token_to_no_other_server(tmp_path: Path, status: int) -> None:
    """Whoever has the port of the telemetry, once the service is gone, would send the token to a host of his choice."""
    seen = list[tuple[str, str | None]]()

    class Redirecting(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, self.headers["Authorization"]))
            self.send_response(status)
            self.send_header("Location", f"http://localhost:{server.server_port}/\x1b[2Jelsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Redirecting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            given = {"telemetry.port": server.server_port, "telemetry.token": "open sesame"}
            printed = io.StringIO()
            assert state.reset(settings_of(tmp_path, **given), "a", Console(file=printed, width=400)) == 1
        finally:
            server.shutdown()
    assert seen == [("/reset", "Bearer open sesame")]
    told = printed.getvalue()
    assert f"no service of ours answers at 127.0.0.1:{server.server_port}: {status}, a redirect to 'http://" in told
    assert r"\x1b[2Jelsewhere', which is not followed" in told
    assert told.rstrip("\n").isprintable()
