"""How long a worker takes to take over many partitions, on one real Kafka with both clients.

    python -m benchmarks.partitions [--partitions 1000] [--records 20] [--clients kafka-python librdkafka] [--json FILE]

Each partition has a series of its own.  Elapsed seconds from the start of the process (its imports and compiled kernels
included) to the line that it has taken them over, and until all records are answered: for the first start; for a
restart from the snapshots that a clean stop has written; and for one after kill -9, with ``--records`` more in each
partition.  ``stop_s`` is how long a clean stop took, with its snapshots.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import torch
from rich.console import Console

from benchmarks.printing import show_rows
from harness.faults.checker import Client
from harness.faults.cluster import Worker
from harness.faults.serve import run
from harness.local_kafka import LocalKafka
from harness.streams import LSTM_ATTENTION, model_spec
from streamcast.app.json_text import json_text
from streamcast.consumers.kafka_python.transport import KafkaTransport
from streamcast.consumers.transport import BrokerUnavailable, Connection, Outgoing, Partition, TopicSpec
from streamcast.spec.folders import new_network, save_model

TOPICS = ("observations", "forecasts", "dead-letters", "journal")
COLUMNS = ("client", "partitions", "start", "taken_over_s", "answered_s", "stop_s")
MOST_SECONDS = 600.0


class Service:
    """One service of many partitions on a broker, started and ended again and again."""

    def __init__(self, bootstrap: str, client: Client, partitions: int, folder: Path) -> None:
        self._client, self._partitions, self._folder = client, partitions, folder
        self._group, self._bars, self._began = uuid.uuid4().hex[:12], 0, 0
        self._feeder = KafkaTransport(Connection(bootstrap, self._group, "feeder", "at_least_once"))
        for name in TOPICS:
            self._create(TopicSpec(self._topic(name), partitions))
        self._spec = model_spec({}, LSTM_ATTENTION)
        save_model(folder / "models", "tiny", self._spec, new_network(self._spec), {})
        self.settings: dict[str, object] = {
            "kafka.bootstrap_servers": bootstrap, "kafka.group": self._group, "kafka.client": client,
            **{f"output.{name.replace('-', '_')}": self._topic(name) for name in TOPICS[1:]},
            "input.topic": self._topic("observations"), "state.store": str(folder / "state"),
            "models.folder": str(folder / "models"), "models.lanes": {"champion": {"model": "tiny@latest"}},
            "telemetry.port": 0,
        }  # fmt: skip

    def _create(self, topic: TopicSpec) -> None:
        """Create a topic; the broker needs longer for a thousand partitions than the client waits."""
        deadline = time.monotonic() + MOST_SECONDS
        while time.monotonic() < deadline:
            with suppress(BrokerUnavailable):
                self._feeder.create([topic])
                return
        raise TimeoutError(f"{topic.name} was not there after {MOST_SECONDS:.0f} s")

    def _topic(self, name: str) -> str:
        return f"{self._group}-{name}"

    def feed(self, records: int) -> None:
        """Write this many records into each partition."""
        values = [1.0] * len(self._spec.series.columns)
        now = 1_767_225_600_000
        for bar in range(self._bars, self._bars + records):
            time_ms = now + bar * self._spec.series.freq
            listed = [
                json.dumps({"key": f"s{index}", "ts": time_ms, "values": values}).encode()
                for index in range(self._partitions)
            ]
            keys = [f"s{index}".encode() for index in range(self._partitions)]
            every = list(range(self._partitions))
            self._feeder.commit(
                [Outgoing(self._topic("observations"), every, [time_ms] * len(every), keys, listed)], {}
            )
        self._bars += records

    def start(self) -> tuple[Worker, float, float]:
        """Start a process; return it, and the seconds until it has taken over and until it has answered everything."""
        self._began += 1
        report, began = self._folder / f"{self._began}", time.monotonic()
        process = multiprocessing.get_context("spawn").Process(
            target=run, args=(self.settings, report, None), daemon=True
        )
        process.start()
        worker = Worker("0", process, report)
        taken_over = self._until(began, lambda: f"took over {self._partitions:,} partitions" in worker.log(), worker)
        return worker, taken_over, self._until(began, self._answered, worker)

    def close(self) -> None:
        """Close the client that writes and asks."""
        self._feeder.close(10.0)

    def _answered(self) -> bool:
        partitions = [Partition(self._topic("observations"), index) for index in range(self._partitions)]
        committed = self._feeder.committed(partitions)
        return all(committed.get(each, 0) >= self._bars for each in partitions)

    def _until(self, began: float, reached: Callable[[], bool], worker: Worker) -> float:
        while not reached():
            if worker.ended or time.monotonic() - began > MOST_SECONDS:
                raise TimeoutError(f"not reached in {time.monotonic() - began:.0f} s: {worker.log()[-2_000:]}")
            time.sleep(0.05)
        return time.monotonic() - began


def measured(bootstrap: str, client: Client, partitions: int, records: int) -> list[dict[str, Any]]:
    """Return a row for each start of a client's service."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        service = Service(bootstrap, client, partitions, Path(folder))
        service.feed(records)
        for start in ("first", "from snapshots", "after kill -9"):
            worker, taken_over, answered = service.start()
            stopping, stopped = time.monotonic(), None
            if start == "from snapshots":
                worker.kill()
                service.feed(records)
            else:
                worker.stop()
                stopped = round(time.monotonic() - stopping, 1)
            row = (client, partitions, start, round(taken_over, 1), round(answered, 1), stopped)
            rows.append(dict(zip(COLUMNS, row, strict=True)))
        service.close()
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write a JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--partitions", type=int, default=1_000)
    parser.add_argument("--records", type=int, default=20)
    parser.add_argument("--clients", nargs="*", default=get_args(Client), choices=get_args(Client))
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    console, rows = Console(), list[dict[str, Any]]()
    for client in given.clients:
        with LocalKafka(measured=True) as kafka:
            for row in measured(kafka.bootstrap_servers, client, given.partitions, given.records):
                rows.append(row)
                console.print(" ".join(f"{name}={row[name]}" for name in COLUMNS), highlight=False)
    if given.json:
        given.json.write_text(json_text(rows, indent=2) + "\n")
    show_rows(rows, COLUMNS, console)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
