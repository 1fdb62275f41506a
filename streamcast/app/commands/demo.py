"""``streamcast demo``: everything at once, on real series, in one process.

Pedestrians at four places of Melbourne and the electricity demand of Victoria, hour by hour.  The demand's dates are
moved by 156 weeks, so that all five series have the same hours.  The model is not trained on the streamed part, and at
the end every forecast of that part is scored.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.live import Live
from rich.table import Table

from streamcast.app.commands.deployment.listening import listening, require_free
from streamcast.app.commands.deployment.serve import new_telemetry, settle_garbage, stop_on_signals
from streamcast.app.commands.files.outputs import ctrl_c_saves_nothing, require_writable, written
from streamcast.app.commands.files.replay import outgoing, paced
from streamcast.app.demo_data import read_series
from streamcast.app.json_text import json_text
from streamcast.app.markup import escape
from streamcast.app.progress import progress_bar, stages_shown
from streamcast.app.specs import require_networks
from streamcast.app.trained import baseline, describe, measured
from streamcast.consumers import loop
from streamcast.consumers.health import LoopHealth
from streamcast.consumers.memory.transport import MemoryBroker, MemoryReader, MemoryTransport
from streamcast.consumers.transport import Connection, Outgoing, Partition, TopicSpec
from streamcast.offline.defaults.spec import default_spec
from streamcast.offline.evaluation.backtest import Scoreboard
from streamcast.offline.evaluation.baselines import reference
from streamcast.offline.evaluation.report import BacktestReport
from streamcast.offline.history.read import History, read, split
from streamcast.offline.history.records import records
from streamcast.offline.training.fit import fit
from streamcast.offline.training.options import Options
from streamcast.page.board import Board
from streamcast.page.feed import Feed
from streamcast.page.server import LivePage
from streamcast.service.beginnings import Start
from streamcast.service.lanes import rehearse
from streamcast.service.service import Service
from streamcast.service.telemetry.telemetry import Telemetry
from streamcast.spec.durations import WEEK_MS
from streamcast.spec.folders import Model
from streamcast.spec.model_spec import ModelSpec
from streamcast.topics.names import Topics

HORIZON = 24
PARTITIONS = 2
HOST = "127.0.0.1"
TEST_FROM = pd.Timestamp("2016-07-01", tz="UTC")
WARM_WEEKS = 4
SHIFT = pd.Timedelta(weeks=156)
PLAY_SECONDS = 300.0
TOPICS = Topics()


@dataclass(frozen=True, slots=True)
class Parts:
    """The whole history, and its parts: to train on, to warm the state up (the end of that), and to stream."""

    whole: History
    train: History
    warm: History
    test: History


class _Forecast(msgspec.Struct):
    """The fields of a forecast record that are scored."""

    unique_id: str
    cutoff: int
    quantiles: dict[str, list[float]]
    warm: bool


def demo(seconds: float, json_file: Path | None, train_seconds: float, kind: str, port: int, console: Console) -> int:
    """Train, stream and show the live page, until Ctrl-C or for ``seconds``; then score every forecast."""
    torch.set_num_threads(1)
    require_free("--port", HOST, port)
    require_writable("--json", json_file)
    require_networks("--model", [kind])
    logging.getLogger("streamcast").setLevel(logging.WARNING)
    parts = load()
    console.print(
        f"[bold]Training[/] {escape(kind)} on {len(parts.train):,} hours of {len(parts.train.keys)} series,"
        f" up to {TEST_FROM:%d %B %Y} (at most {train_seconds:.0f} s; Ctrl-C keeps the best so far) ..."
    )
    model = train(parts.train, kind, train_seconds, console)
    console.print(escape(describe(model, "--train-seconds")), highlight=False)
    figures = stream(model, parts, seconds, port, console)
    if json_file is not None:
        with written(json_file) as file:
            file.write_text(json_text(figures, indent=2) + "\n")
    return 0


def load() -> Parts:
    """Read the series that the demo ships with; the demand's dates are moved by ``SHIFT``."""
    frame = read_series()
    demand = frame["unique_id"] == "Electricity demand"
    frame["ds"] = frame["ds"].where(~demand, frame["ds"] + SHIFT)
    frame["place"] = frame["unique_id"]  # one network for all: it may know whose numbers it reads
    frame = frame[frame["ds"] < pd.Timestamp("2017-01-01", tz="UTC")]
    history = read(frame, freq="1h")
    start = round(TEST_FROM.timestamp() * 1000)
    train, test = split(history, [start])
    return Parts(history, train, train.between(start - WARM_WEEKS * WEEK_MS, start), test)


@stages_shown()
def train(history: History, kind: str, train_seconds: float, console: Console) -> Model:
    """Train the demo's model."""
    spec = default_spec(history, HORIZON, kind, season=("1w", "1d"))
    with ctrl_c_saves_nothing(console), progress_bar(console) as on_progress:
        model = fit(history, spec, Options(max_seconds=train_seconds), on_progress)
    return Model(model.spec, model.network, "demo", "1", model.spec.digest(), model.facts)


def stream(model: Model, parts: Parts, seconds: float, port: int, console: Console) -> dict[str, Any]:
    """Send the test part through an embedded broker and the service; return the measurements."""
    broker = MemoryBroker(retention=500_000)
    who = Connection("memory", "demo")
    writer = MemoryTransport(broker, Connection("memory", "writer", guarantee="at_least_once"))
    writer.create(
        [TopicSpec(t, PARTITIONS) for t in (TOPICS.observations, TOPICS.forecasts, TOPICS.dead_letters, TOPICS.journal)]
    )
    writer.commit([_to_topic(parts.warm)], {})
    health = LoopHealth()
    telemetry = new_telemetry({"champion": model}, health)
    reader = MemoryReader(broker, who)
    service = Service({"champion": model}, reader, telemetry, TOPICS, Start("latest", len(parts.warm)))
    rehearse(model)
    settle_garbage()
    stop = stop_on_signals()
    page = _page(model, MemoryReader(broker, who), telemetry, health, port)
    serving = threading.Thread(
        target=loop.run, args=(MemoryTransport(broker, who), service), name="service",
        kwargs={"topics": [TOPICS.observations], "stop": stop, "health": health, "observer": telemetry},
    )  # fmt: skip
    serving.start()
    while not health.ready() and serving.is_alive():
        time.sleep(0.05)
    span = (int(parts.test.ts_N[-1]) - int(parts.test.ts_N[0])) / 1000.0
    speed = span / ((seconds or PLAY_SECONDS) * 0.9)
    sending = threading.Thread(target=_send, args=(writer, parts.test, speed, stop), name="writer", daemon=True)
    sending.start()
    console.print(
        f"[bold]Streaming[/] {len(parts.test):,} hours that were not trained on, {speed:,.0f} times as fast as they"
        f" happened.  The live page is at [bold blue]{page.url}[/]" + ("" if seconds else "  (Ctrl-C ends)")
    )
    until = time.monotonic() + seconds if seconds else float("inf")
    with Live(_summary(telemetry, sending), console=console, refresh_per_second=2) as live:
        while not stop.wait(0.5) and time.monotonic() < until:
            live.update(_summary(telemetry, sending))
    if not console.is_terminal:
        console.print()  # ends the last line of the table
    stop.set()
    serving.join(15.0)
    page.close()
    report = scored(model, parts, MemoryReader(broker, who))
    console.print(counted(telemetry, model.spec), highlight=False)
    console.print(verdict(report), highlight=False)
    return measurements(telemetry, report)


def _page(model: Model, reader: MemoryReader, telemetry: Telemetry, health: LoopHealth, port: int) -> LivePage:
    """Serve the live page of the demo's topics."""
    spec = model.spec
    board = Board(
        spec.series, spec.naive_season, scored=spec.scored_steps, reach=spec.ring,
        trained=f"Training: {measured(model)}.", trained_until=model.trained_until, zone=spec.zone,
    )  # fmt: skip
    feed = Feed(
        reader, board, observations=TOPICS.observations, forecasts=TOPICS.forecasts, dead_letters=TOPICS.dead_letters
    )
    with listening("--port", HOST, port):
        return LivePage(board, feed, telemetry.summary, HOST, port, problems=health.problems)


def _to_topic(history: History) -> Outgoing:
    return outgoing(TOPICS.observations, list(records(history)), PARTITIONS)


def _send(writer: MemoryTransport, history: History, speed: float, stop: threading.Event) -> None:
    for chunk in paced(records(history), speed):
        if stop.is_set():
            return
        writer.commit([outgoing(TOPICS.observations, chunk, PARTITIONS)], {})


def _summary(telemetry: Telemetry, sending: threading.Thread) -> Table:
    found = telemetry.summary()

    def number(name: str, form: str) -> str:
        value = found[name]
        return "–" if value is None else format(value, form)

    relative = found["champion.relative_mae"]
    table = Table(show_header=False, box=None, padding=(0, 3, 0, 0))
    table.add_row("records", number("records", ",.0f"), "forecasts", number("forecasts", ",.0f"))
    table.add_row("records/s", number("records_per_second", ",.0f"), "lag", number("lag_records", ",.0f"))
    table.add_row(
        "latency p50", number("latency_p50_ms", ".1f") + " ms", "p99", number("latency_p99_ms", ".1f") + " ms"
    )
    table.add_row("MAE since the start", number("mae", ",.1f"), "seasonal naive", number("naive_mae", ",.1f"))
    table.add_row(
        "relative MAE", "–" if relative is None else f"{relative:.3f}", "80 % interval holds", number("coverage", ".1%")
    )
    if not sending.is_alive():
        table.add_row("[dim]the data has ended; the page stays[/]")
    return table


def counted(telemetry: Telemetry, spec: ModelSpec) -> str:
    """Return how good the forecasts were as metrics and page count it: at the scored steps, all series together."""
    found = telemetry.summary()
    if found["champion.relative_mae"] is None:
        return "No forecast has met its outcome yet."
    steps = ", ".join(map(str, spec.scored_steps))
    return (
        f"As the page and the metrics count it: MAE {found['mae']:.4g}, {found['champion.relative_mae']:.3f} of"
        f" seasonal naive's ({baseline(spec)}); the 80 % interval held {found['coverage']:.1%}"
        f" ({found['champion.outcomes']:,.0f} outcomes, steps ahead {steps})."
    )


def scored(model: Model, parts: Parts, reader: MemoryReader) -> BacktestReport:
    """Return the errors of all forecasts in the forecasts topic, and of seasonal naive at the same points."""
    board = Scoreboard(parts.whole, model.spec, int(parts.test.ts_N[0]))
    partitions = [Partition(TOPICS.forecasts, index) for index in range(PARTITIONS)]
    decode = msgspec.json.Decoder(_Forecast).decode
    place = {key: number for number, key in enumerate(parts.whole.keys)}
    for partition, (start, end) in reader.bounds(partitions).items():
        for batch in reader.read_range(partition, start, end):
            found = [decode(value) for value in batch.values if value is not None]
            values_AQH = np.array([[one.quantiles[str(q)] for q in model.spec.quantiles] for one in found])
            board.add(
                np.array([place[one.unique_id] for one in found]),
                np.array([one.cutoff for one in found]),
                values_AQH.transpose(0, 2, 1),
                np.array([one.warm for one in found]),
            )
    return board.report(model.name, dict([reference(model.spec.naive_season)]))


def verdict(report: BacktestReport) -> str:
    """Return in a few sentences how the model compares with seasonal naive, series by series."""
    overall, by_series = report.relative_mae()
    word = "beats" if overall < 1 else "loses to"
    listed = ", ".join(f"{key} {ratio:.2f}" for key, ratio in by_series.items())
    return (
        f"On all {report.forecasts:,} forecasts of hours it was not trained on, the model [bold]{word}[/] seasonal"
        f" naive: its MAE is {overall:.3f} of seasonal naive's (geometric mean over {len(by_series)} series; below 1"
        f" is better). By series: {listed}. Its 80 % interval held {report.rows()[0]['coverage']:.1%} of the outcomes."
    )


def measurements(telemetry: Telemetry, report: BacktestReport) -> dict[str, Any]:
    """Return the figures of the JSON: counts and latencies of the service, errors over all scored forecasts."""
    found = telemetry.summary()
    mine, naive = report.rows()
    overall, by_series = report.relative_mae()
    return {
        "records": found["records"],
        "forecasts": found["forecasts"],
        "scored_forecasts": report.forecasts,
        "p50_ms": found["latency_p50_ms"],
        "p99_ms": found["latency_p99_ms"],
        "relative_mae": overall,
        "relative_mae_by_series": by_series,
        "mae": mine["mae"],
        "seasonal_naive_mae": naive["mae"],
        "coverage_80": mine["coverage"],
        "dead_letters": found["dead_letters"],
    }
