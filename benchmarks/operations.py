"""Costs of operating the service: snapshots, recovery, a second worker; on one real Kafka, with both clients.

    python -m benchmarks.operations [--records 200000] [--series 10000] [--rounds 3] [--json FILE]

snapshots: records/s exactly once, without snapshots and with one of a partition every 2 s, alternating.  recovery:
seconds from an empty process to the state of ``--series`` series (2-layer GRU-64, 336 lags) by snapshots; records/s by
replay alone, and of answering exactly once.  workers: records/s of one process, and of two of one group.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.printing import show
from benchmarks.service import benchmark_model, new_transport
from benchmarks.throughput.case import PARTITIONS, Case, observation, result, start
from harness.local_kafka import LocalKafka
from streamcast.app.commands.deployment.serve import new_telemetry, settle_garbage
from streamcast.app.json_text import json_text
from streamcast.consumers.health import LoopHealth
from streamcast.consumers.kafka_python.transport import KafkaTransport
from streamcast.consumers.transport import Connection, Outgoing, Partition, TopicSpec
from streamcast.service.beginnings import Start
from streamcast.service.lanes import rehearse
from streamcast.service.saving import Saver
from streamcast.service.service import Service
from streamcast.service.snapshots import Store
from streamcast.topics.names import Topics

MOST = 1 << 40
JOIN_SECONDS = 8.0
"""Time from the start of the last process until all have their partitions."""


def write(transport: KafkaTransport, topic: str, records: int, series: int) -> None:
    """Fill a topic with records of ``series`` series, bar by bar."""
    for first in range(0, records, 5_000):
        listed = [observation(number, series) for number in range(first, min(first + 5_000, records))]
        keys, partitions, values = zip(*listed, strict=True)
        now = [round(time.time() * 1000)] * len(listed)
        transport.commit([Outgoing(topic, partitions, now, keys, values)], {})


def served(client: str, bootstrap: str, topic: str, records: int, more: Sequence[str] = ()) -> dict[str, Any]:
    """Let one process answer the topic exactly once; return its measurements."""
    command, _ = Case(client, "service", "exactly_once", 5_000, "gru").command(bootstrap, topic, records)
    return result(start([*command, *more]))


def snapshots(client: str, bootstrap: str, topic: str, records: int, rounds: int) -> dict[str, Any]:
    """Return records/s with and without snapshots, measured alternately."""
    rates: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(rounds):
        for saving, found in rates.items():
            with tempfile.TemporaryDirectory() as folder:
                more = ["--store", folder] if saving else []
                found.append(served(client, bootstrap, topic, records, more)["records_per_s"])
    without, with_them = (statistics.median(rates[saving]) for saving in (False, True))
    return {"without_per_s": round(without), "with_per_s": round(with_them), "ratio": round(with_them / without, 3)}


@contextmanager
def replaying(client: str, bootstrap: str, topic: str, folder: str) -> Iterator[Service]:
    """A service in this process that only recovers: it reads, and never joins its group."""
    model = benchmark_model("gru")
    telemetry = new_telemetry({"champion": model}, LoopHealth())
    name = uuid.uuid4().hex[:12]
    reader = new_transport(client, Connection(bootstrap, name, "0", "at_least_once"))
    topics = Topics(topic, f"{name}-forecasts", f"{name}-dead", "recovery-journal")
    reader.create([TopicSpec(topics.journal, PARTITIONS)])
    store = Store(folder, 1)
    saver = Saver(store, 1e9, telemetry)
    rehearse(model)
    settle_garbage()
    everything = Start(warm_from=MOST)
    yield Service({"champion": model}, reader, telemetry, topics, everything, store=store, saver=saver)
    reader.close(5.0)


def come_back(service: Service, client: str, bootstrap: str, topic: str) -> float:
    """Return the seconds until the state has reached the topic's end."""
    reader = new_transport(client, Connection(bootstrap, "bounds", "0", "at_least_once"))
    bounds = reader.bounds([Partition(topic, index) for index in range(PARTITIONS)])
    reader.close(5.0)
    began = time.perf_counter()
    service.on_assigned({partition: end for partition, (_, end) in bounds.items()}, bounds)
    while not service.recover_some(1.0):
        pass
    return time.perf_counter() - began


def recovery(client: str, bootstrap: str, topic: str, records: int) -> dict[str, Any]:
    """Return the seconds to recover by replay, then by the snapshots it left, and records/s of answering."""
    with tempfile.TemporaryDirectory() as folder:
        with replaying(client, bootstrap, topic, folder) as service:
            by_replay = come_back(service, client, bootstrap, topic)
            service.on_revoked([Partition(topic, index) for index in range(PARTITIONS)])
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.snapshot"))
        with replaying(client, bootstrap, topic, folder) as service:
            by_snapshot = come_back(service, client, bootstrap, topic)
    answering = served(client, bootstrap, topic, records)["records_per_s"]
    return {
        "snapshot_s": round(by_snapshot, 2), "snapshot_mb": round(size / 1e6, 1),
        "replay_per_s": round(records / by_replay), "answering_per_s": answering,
        "ratio": round(records / by_replay / answering, 2),
    }  # fmt: skip


def workers(client: str, bootstrap: str, topic: str, count: int) -> dict[str, Any]:
    """Return records/s of ``count`` processes of one group while all of them answer."""
    command, _ = Case(client, "service", "exactly_once", 5_000, "gru").command(bootstrap, topic, MOST)
    with tempfile.TemporaryDirectory() as folder:
        begin = Path(folder) / "begin"
        together = ["--group", uuid.uuid4().hex[:12], "--hold", str(begin)]
        running = [start([*command, *together, "--instance", str(instance)]) for instance in range(count)]
        time.sleep(JOIN_SECONDS)
        begin.touch()
        commits = [result(process)["commits"] for process in running]
    began, ended = max(each[0][0] for each in commits), min(each[-1][0] for each in commits)
    answered = sum(records for each in commits for at, records in each if began < at <= ended)
    return {"records_per_s": round(answered / (ended - began)), "seconds": round(ended - began, 1)}


def main() -> None:
    """Measure, print, write a JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", nargs="+", default=["kafka-python", "librdkafka"])
    parser.add_argument("--json", type=Path)
    a = parser.parse_args()
    torch.set_num_threads(1)
    console, rows = Console(), list[dict[str, Any]]()
    with LocalKafka(measured=True) as kafka:
        writer = KafkaTransport(Connection(kafka.bootstrap_servers, "", guarantee="at_least_once"))
        for topic, series in (("few", 1_000), ("many", a.series)):
            writer.create([TopicSpec(topic, PARTITIONS)])
            write(writer, topic, a.records, series)
        writer.close(5.0)
        for client in a.clients:
            where = client, kafka.bootstrap_servers
            measures: dict[str, Callable[[], dict[str, Any]]] = {
                "snapshots": partial(snapshots, *where, "few", a.records, a.rounds),
                "recovery": partial(recovery, *where, "many", a.records),
                "one worker": partial(workers, *where, "few", 1),
                "two workers": partial(workers, *where, "few", 2),
            }
            for what, measure in measures.items():
                rows.append({"row": what, "client": client, **measure()})
                console.print(rows[-1])
    table = Table("row", "client", "measured")
    for row in rows:
        table.add_row(row["row"], row["client"], ", ".join(f"{k} {v:,}" for k, v in list(row.items())[2:]))
    show(table, console)
    if a.json:
        a.json.write_text(json_text(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
