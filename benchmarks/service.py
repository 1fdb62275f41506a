"""The service over a given number of records, in one process, as ``streamcast serve`` runs it.

    python -m benchmarks.service BOOTSTRAP IN PREFIX RECORDS --client kafka-python --guarantee exactly_once --model gru

Output topics are PREFIX-forecasts, PREFIX-dead, PREFIX-journal.  Prints ``ready`` before the first poll.  At the end
(RECORDS were committed, or none for a while) it prints one line of JSON: records/s between the first poll with records
and the last commit, the time and size of each commit, CPU time by stage, and resident memory.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.children import end_with_parent
from streamcast.app.commands.deployment.serve import new_telemetry, settle_garbage
from streamcast.consumers import loop
from streamcast.consumers.health import LoopHealth
from streamcast.consumers.transport import Batch, Connection, Outgoing, Partition, Positions, TopicSpec, Transport
from streamcast.offline.defaults.spec import FEW_BARS, default_spec
from streamcast.offline.history.read import read
from streamcast.service.beginnings import Start
from streamcast.service.lanes import rehearse
from streamcast.service.saving import Saver
from streamcast.service.service import Service
from streamcast.service.snapshots import Store
from streamcast.service.strangers import mark_of
from streamcast.service.telemetry.telemetry import Telemetry
from streamcast.service.watch import TopicWatch
from streamcast.spec.durations import DAY_MS, HOUR_MS, MINUTE_MS
from streamcast.spec.folders import Model, new_network
from streamcast.spec.model_spec import Column, ModelSpec, Scale, SeriesSpec
from streamcast.topics.names import Topics

MODELS = {
    "gru": ({"kind": "gru", "hidden": 64, "layers": 2}, ()),
    "lstm-attention": (
        {"kind": "lstm-attention", "hidden": 64},
        (Scale(every=HOUR_MS, window=64), Scale(every=DAY_MS, window=32)),
    ),
}


DEFAULT = "default"
"""The form that ``train`` gives: target bars, and the online layer."""
FIRST_MS = 1_700_000_000_000
DAY, WEEK, WEEKS = 24, 168, 10
"""Of the history that a form is chosen for, in bars."""


def benchmark_model(kind: str, window: int = 0, columns: int = 3) -> Model:
    """Return an untrained model for minutes, 24 bars ahead: ``train``'s default, or a network with 336 lags."""
    if kind == DEFAULT:
        return trained_form(MINUTE_MS, columns, (DAY, WEEK))
    network, scales = MODELS[kind]
    spec = ModelSpec(
        series=SeriesSpec(columns=tuple(Column(name=f"c{i}") for i in range(columns)), freq=MINUTE_MS),
        horizon=24, lags=336, season=24, scales=scales, window=window, network=network,
    )  # fmt: skip
    torch.manual_seed(0)
    net = new_network(spec)
    if net.highway is not None:
        torch.nn.init.normal_(net.highway.weight, std=0.02)
    return Model(spec, net.eval(), "bench", "1", "0" * 64)


def trained_form(
    freq: int = HOUR_MS, columns: int = 1, season: Sequence[int] | None = None, *, plain: bool = False, members: int = 1
) -> Model:
    """Return an untrained model of the form that ``streamcast train`` gives many such series, 24 bars ahead."""
    bars = np.arange(WEEKS * WEEK)
    frame = pd.DataFrame({"ds": FIRST_MS // freq * freq + bars * freq})
    frame["y"] = (2 + np.sin(bars / DAY * 2 * np.pi)) * np.where(bars // DAY % 7 < 5, 1.5, 1.0)
    for column in range(1, columns):
        frame[f"c{column}"] = frame["y"] / (1 + column)
    history = read(pd.concat([frame.assign(unique_id=f"s{i}") for i in range(-(-FEW_BARS // len(frame)))]))
    spec = default_spec(history, 24, season=season, plain=plain, members=members)
    torch.manual_seed(0)
    return Model(spec, new_network(spec).eval(), "bench", "1", "0" * 64)


IDLE_SECONDS = 5.0


class Stopwatch:
    """Passes the loop's events on to telemetry, and notes the first poll with records and the commits."""

    def __init__(self, telemetry: Telemetry, records: int, stop: threading.Event) -> None:
        self._telemetry, self._left, self._stop = telemetry, records, stop
        self.records = 0
        self.began = self.ended = 0.0
        self.commits: list[tuple[float, int]] = []

    def on_poll(self, records: int, lag: Mapping[Partition, int]) -> None:
        """See ``loop.Observer``."""
        if records and not self.began:
            self.began = time.perf_counter()
        if self.ended and time.perf_counter() - self.ended > IDLE_SECONDS:
            self._stop.set()
        self._telemetry.on_poll(records, lag)

    def on_commit(self, seconds: float, records: int) -> None:
        """See ``loop.Observer``."""
        self._telemetry.on_commit(seconds, records)
        self.ended = time.perf_counter()
        self.records += records
        self.commits.append((self.ended, records))
        if self.records >= self._left:
            self._stop.set()

    def on_abort(self) -> None:
        """See ``loop.Observer``."""
        self._telemetry.on_abort()

    def on_rebalance(self, held: Collection[Partition]) -> None:
        """See ``loop.Observer``."""
        self._telemetry.on_rebalance(held)


class Watched(Service):
    """A service that answers nothing until a file exists, and can note the time of each poll."""

    until: Path | None = None
    polls: list[tuple[float, int, int]] | None = None
    """When a poll ended, a partition with records in it, and the next offset there."""

    def on_batch(self, batches: Sequence[Batch]) -> Iterator[Outgoing]:
        """See ``Handler``."""
        if self.polls is not None:
            arrived = time.time()
            self.polls += [(arrived, batch.partition.index, batch.next_offset) for batch in batches]
        return super().on_batch(batches)

    def recover_some(self, budget_seconds: float) -> Positions | None:
        """See ``Handler``."""
        if self.until is not None and not self.until.exists():
            time.sleep(0.02)
            return None
        return super().recover_some(budget_seconds)


def new_transport(client: str, who: Connection) -> Transport:
    """Return a transport over one of the clients."""
    if client == "librdkafka":
        from streamcast.consumers.librdkafka.transport import LibrdTransport

        return LibrdTransport(who)
    from streamcast.consumers.kafka_python.transport import KafkaTransport

    return KafkaTransport(who)


def main() -> None:
    """Serve, then print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("bootstrap", "topic_in", "prefix"):
        parser.add_argument(name)
    parser.add_argument("records", type=int)
    parser.add_argument("--client", choices=("kafka-python", "librdkafka"), default="kafka-python")
    parser.add_argument("--guarantee", choices=("at_least_once", "exactly_once"), default="at_least_once")
    parser.add_argument("--model", choices=(*MODELS, DEFAULT), default="gru")
    parser.add_argument("--poll", type=int, default=5000)
    parser.add_argument("--group", default="")
    parser.add_argument("--instance", default="0")
    parser.add_argument("--seconds", type=float, default=0.0, help="end after this time, even if records are left")
    parser.add_argument("--store", type=Path, help="write snapshots here, every 2 seconds")
    parser.add_argument("--polls", action="store_true", help="print the end time and next offset of each poll")
    parser.add_argument("--hold", type=Path, help="answer nothing until this file exists")
    a = parser.parse_args()
    end_with_parent()
    torch.set_num_threads(1)
    model = benchmark_model(a.model)
    who = Connection(a.bootstrap, a.group or a.prefix, a.instance, a.guarantee)
    reader = new_transport(a.client, who)
    topics = Topics(a.topic_in, f"{a.prefix}-forecasts", f"{a.prefix}-dead", f"{a.prefix}-journal")
    partitions = reader.describe([a.topic_in])[a.topic_in].partitions
    reader.create([TopicSpec(t, partitions) for t in (topics.forecasts, topics.dead_letters, topics.journal)])
    known = reader.describe([topics.observations, topics.forecasts, topics.dead_letters, topics.journal])
    transport = new_transport(a.client, replace(who, mark=mark_of(known[topics.journal])))
    telemetry = new_telemetry({"champion": model}, LoopHealth())
    store = Store(str(a.store), 3) if a.store else None
    saver = Saver(store, 2.0, telemetry) if store else None
    stop = threading.Event()
    identities = TopicWatch(new_transport(a.client, who), topics, known, LoopHealth(), lambda _reason: stop.set())
    service = Watched(
        {"champion": model}, reader, telemetry, topics, Start(), store=store, saver=saver, watch=identities
    )
    service.until = a.hold
    service.polls = [] if a.polls else None
    rehearse(model)
    settle_garbage()
    identities.start()
    if a.seconds:
        alarm = threading.Timer(a.seconds, stop.set)
        alarm.daemon = True
        alarm.start()
    watch = Stopwatch(telemetry, a.records, stop)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print("ready", flush=True)
    loop.run(transport, service, topics=[a.topic_in], stop=stop, limits=loop.BatchLimits(a.poll, 0.2), observer=watch)
    identities.close(5.0)
    reader.close(5.0)
    totals = re.findall(rb'stage_seconds_sum\{stage="(\w+)"\} (\S+)', telemetry.exposition())
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "records_per_s": round(watch.records / (watch.ended - watch.began)) if watch.records else 0,
                "records": watch.records,
                "commits": watch.commits,
                "polls": service.polls,
                "stage_us": {
                    name.decode(): round(1e6 * float(total) / max(watch.records, 1), 2) for name, total in totals
                },
                "cpu_us": round(1e6 * (usage.ru_utime + usage.ru_stime) / max(watch.records, 1), 1),
                "rss_mb": round(usage.ru_maxrss / 1024, 1),
                "rss_grown_mb": round((usage.ru_maxrss - before) / 1024, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
