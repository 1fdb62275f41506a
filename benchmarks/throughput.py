"""Speed of the service on one real Kafka, compared with a bare loop and with one written by hand.

    python -m benchmarks.throughput [--records 200000] [--rounds 5] [--paced-rounds 3] [--instances 1 2] [--json FILE]

Every row is one process over the same input topic (1,000 series in 4 partitions).  Rows run one after the other, round
after round; the table has their medians, and the ratio to the bare loop of the same client and guarantee.  The loops
run at polls of 1,000 and 5,000, of which the faster counts; the service runs at its default of 10,000.

Several instances of the service share the partitions of one group; each is a process of one core.  Their rate is of the
time in which all of them commit.

Latency is measured at a fixed 1,000 records/s, each sent without waiting for the ones before it, and ends when a reader
of the output topic outside the process has the answer.  It has two starts: the poll that consumed the record (the time
to answer it), and the record's timestamp (which includes the wait for that poll).  The table has medians of
--paced-rounds rounds; one round before them does not count, because the broker's compiler is still busy.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
from rich.console import Console
from rich.table import Table

from benchmarks import children
from benchmarks.printing import show
from harness.local_kafka import LocalKafka
from streamcast.app.commands.tables import lean
from streamcast.app.json_text import json_text
from streamcast.consumers.kafka_python.transport import KafkaTransport
from streamcast.consumers.transport import Connection, Outgoing, TopicSpec

SERIES, PARTITIONS, RATE = 1_000, 4, 1_000
RUN_SECONDS = 300.0
GROUP_SECONDS = 9.0
"""How long instances have to share the partitions."""
FIRST_MS = 1_700_000_000_000


@dataclass(frozen=True)
class Case:
    """One process to measure."""

    client: str
    loop: str
    guarantee: str
    poll: int
    model: str = ""
    instances: int = 1

    def command(self, bootstrap: str, topic: str, records: int, seconds: float = 0.0) -> tuple[list[str], str]:
        """Return the command to start (each instance of several with more options), and the topic of its answers."""
        out = f"out-{uuid.uuid4().hex[:12]}"
        options = ["--client", self.client, "--guarantee", self.guarantee, "--poll", str(self.poll)]
        if self.loop != "service":
            command = ["benchmarks.loops", bootstrap, topic, out, str(records), "--loop", self.loop, *options]
            return [sys.executable, "-m", *command], out
        command = ["benchmarks.service", bootstrap, topic, out, str(records), "--model", self.model, *options]
        return [sys.executable, "-m", *command, "--seconds", str(seconds)], f"{out}-forecasts"


def rows(clients: Sequence[str], models: Sequence[str], instances: Sequence[int]) -> list[Case]:
    """Return everything to measure, in the order of the table."""
    found = []
    for client in clients:
        for guarantee in ("at_least_once", "exactly_once"):
            found += [Case(client, "bare", guarantee, poll) for poll in (1_000, 5_000)]
            found += [Case(client, "per_record", guarantee, 5_000)] if client == "kafka-python" else []
            found += [Case(client, "service", guarantee, 10_000, model, n) for model in models for n in instances]
    return found


def observation(number: int, of: int = SERIES) -> tuple[bytes, int, bytes]:
    """Return record ``number`` of an input of ``of`` series: key, partition, value."""
    series, step = number % of, number // of
    value = 10 + 3 * math.sin(step / 24 * 2 * math.pi + series) + random.random()
    body = {
        "key": f"s{series}", "ts": FIRST_MS + step * 60_000,
        "values": [round(value, 4), round(value / 2, 4), float(step % 24)],
    }  # fmt: skip
    return body["key"].encode(), series % PARTITIONS, orjson.dumps(body)  # type: ignore[attr-defined]


def write(transport: KafkaTransport, topic: str, numbers: Sequence[int]) -> None:
    """Send records with the present as their timestamp."""
    listed = [observation(number) for number in numbers]
    now = round(time.time() * 1000)
    keys, partitions, values = zip(*listed, strict=True)
    transport.commit([Outgoing(topic, partitions, [now] * len(listed), keys, values)], {})


def start(command: Sequence[str]) -> subprocess.Popen[str]:
    """Start a process and wait until it polls."""
    process = children.start(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    if process.stdout.readline().strip() != "ready":
        raise RuntimeError(f"{' '.join(command)} did not start: see above")
    return process


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for a process and return its last line of output."""
    out, _ = process.communicate(timeout=RUN_SECONDS)
    found: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    return found


def measure_rate(row: Case, kafka: LocalKafka, writer: KafkaTransport, records: int) -> dict[str, Any]:
    """Run one row over the whole input; the slow loop over a quarter of it."""
    command, out = row.command(kafka.bootstrap_servers, "input", records // 4 if row.loop == "per_record" else records)
    if row.loop != "service":
        writer.create([TopicSpec(out, PARTITIONS)])
    return _rate_of_several(command, out, row.instances) if row.instances > 1 else result(start(command))


def _rate_of_several(command: Sequence[str], group: str, instances: int) -> dict[str, Any]:
    """Run instances of the service in one group, which begin at once; return their rate while all of them commit."""
    with tempfile.TemporaryDirectory() as scratch:
        begin = Path(scratch) / "begin"
        several = [
            start([*command, "--group", group, "--instance", str(number), "--hold", str(begin)])
            for number in range(instances)
        ]
        time.sleep(GROUP_SECONDS)
        begin.touch()
        ended = [result(process) for process in several]
    if not all(one["commits"] for one in ended):
        raise RuntimeError(f"not all of {instances} instances had records to commit: run with more --records")
    first, last = (edge(one["commits"][place][0] for one in ended) for edge, place in ((max, 0), (min, -1)))
    done = sum(records for one in ended for at, records in one["commits"] if first < at <= last)
    if not done:
        raise RuntimeError(f"{instances} instances did not commit at the same time: run with more --records")
    records = sum(one["records"] for one in ended)
    cpu_us = sum(one["cpu_us"] * one["records"] for one in ended) / records
    return {"records_per_s": round(done / (last - first)), "records": records, "cpu_us": round(cpu_us, 1)}


def measure_latency(row: Case, kafka: LocalKafka, writer: KafkaTransport, seconds: float) -> dict[str, float]:
    """Send records at a fixed rate; measure in another process how old each answer is when it can be read."""
    topic = f"paced-{uuid.uuid4().hex[:12]}"
    writer.create([TopicSpec(topic, PARTITIONS)])
    records = round(RATE * seconds)
    command, out = row.command(kafka.bootstrap_servers, topic, records, seconds + 20.0)
    if row.loop != "service":
        writer.create([TopicSpec(out, PARTITIONS)])
    process = start([*command, "--polls"])
    answers: list[Answer] = []
    ended = threading.Event()
    reader = threading.Thread(target=_watch, args=(kafka.bootstrap_servers, out, records, answers, ended))
    reader.start()
    time.sleep(3.0)  # the group forms
    sent = _feed(kafka.bootstrap_servers, topic, records)
    reader.join(30.0)
    ended.set()
    polls = np.array(result(process)["polls"])
    answers.sort()
    settled = answers[len(answers) // 5 :]
    arrived = np.array([answer.arrived for answer in settled])
    created = np.array([answer.timestamp for answer in settled]) / 1000.0
    consumed = _consumed(polls, np.array([sent[answer.key, answer.timestamp] for answer in settled]))
    shares = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999}
    return {
        f"{since}_{name}": round(1e3 * float(np.quantile(arrived - began, share)), 1)
        for since, began in (("consumed", consumed), ("created", created))
        for name, share in shares.items()
    }


class Answer(NamedTuple):
    """When the outside reader received an answer, and which record it answers."""

    arrived: float
    timestamp: int
    key: bytes


def _consumed(polls: npt.NDArray[np.float64], numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return when each record was consumed; ``polls`` are (when, partition, next offset there), in order."""
    partitions, offsets = numbers % PARTITIONS, numbers // PARTITIONS
    when = np.empty(len(numbers))
    for partition in range(PARTITIONS):
        mine = polls[polls[:, 1] == partition]
        here = partitions == partition
        when[here] = mine[np.searchsorted(mine[:, 2], offsets[here], side="right"), 0]
    return when


def _feed(bootstrap: str, topic: str, records: int) -> dict[tuple[bytes, int], int]:
    """Send records one by one at the fixed rate; return their numbers by key and timestamp, which is the present."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0})
    sent = {}
    for first, count in _pace(records):
        for number in range(first, first + count):
            key, partition, value = observation(number)
            now = round(time.time() * 1000)
            sent[key, now] = number
            producer.produce(topic, value, key, partition, timestamp=now)
        producer.poll(0)
    producer.flush(10.0)
    return sent


def _pace(records: int) -> Iterator[tuple[int, int]]:
    """Yield (first, count) of the records to send, each when it is due."""
    began, sent = time.perf_counter(), 0
    while sent < records:
        due = min(records, round((time.perf_counter() - began) * RATE) + 1)
        if due > sent:
            yield sent, due - sent
            sent = due
        time.sleep(0.001)


def _watch(bootstrap: str, topic: str, records: int, answers: list[Answer], ended: threading.Event) -> None:
    """Read committed answers and note when each arrived."""
    from confluent_kafka import Consumer

    consumer = Consumer({
        "bootstrap.servers": bootstrap, "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest",
        "isolation.level": "read_committed", "fetch.wait.max.ms": 100, "fetch.queue.backoff.ms": 1,
    })  # fmt: skip
    consumer.subscribe([topic])
    while len(answers) < records and not ended.is_set():
        arrived = consumer.consume(1, 0.1)
        now = time.time()
        arrived += consumer.consume(1_000, 0)
        answers += [Answer(now, m.timestamp()[1], m.key() or b"") for m in arrived if m.error() is None]
    consumer.close()


def run(
    clients: Sequence[str], models: Sequence[str], records: int, rounds: int, paced_rounds: int, seconds: float,
    instances: Sequence[int] = (1,),
) -> list[dict[str, Any]]:  # fmt: skip
    """Measure every row and return the figures; latencies are those of one instance."""
    console = Console(stderr=True)
    listed = rows(clients, models, instances)
    rates: dict[Case, list[dict[str, Any]]] = {row: [] for row in listed}
    found = []
    with LocalKafka(measured=True) as kafka:
        writer = KafkaTransport(Connection(kafka.bootstrap_servers, "", guarantee="at_least_once"))
        writer.create([TopicSpec("input", PARTITIONS)])
        for first in range(0, records, 5_000):
            write(writer, "input", range(first, min(first + 5_000, records)))
        for number in range(rounds):
            for row in listed:
                rates[row].append(measure_rate(row, kafka, writer, records))
                console.print(f"round {number + 1}/{rounds} {row}: {rates[row][-1]['records_per_s']:,}/s")
        best = _better_poll(listed, rates)
        ages: dict[Case, list[dict[str, float]]] = {row: [] for row in best if row.instances == 1}
        for number in range(paced_rounds + 1 if paced_rounds else 0):
            for row, measured in ages.items():
                measured.append(measure_latency(row, kafka, writer, seconds))
                console.print(f"latency, round {number}/{paced_rounds} {row}: {measured[-1]}")
        for row, measured in ages.items():
            counted = measured[1:]
            best[row] |= {name: statistics.median(m[name] for m in counted) for name in (counted or [{}])[0]}
        writer.close(5.0)
        found = [best[row] for row in listed if row in best]
    bare = {(r["client"], r["guarantee"]): r["records_per_s"] for r in found if r["loop"] == "bare"}
    for entry in found:
        entry["of_bare"] = round(entry["records_per_s"] / bare[entry["client"], entry["guarantee"]], 3)
    return found


def _better_poll(listed: Sequence[Case], rates: dict[Case, list[dict[str, Any]]]) -> dict[Case, dict[str, Any]]:
    """Return the figures of each row; of a loop with several poll sizes, only the fastest."""
    medians = {row: statistics.median(r["records_per_s"] for r in rates[row]) for row in listed}
    best: dict[Case, dict[str, Any]] = {}
    for row in listed:
        rivals = [r for r in listed if replace(r, poll=0) == replace(row, poll=0)]
        if medians[row] == max(medians[r] for r in rivals):
            values = [r["records_per_s"] for r in rates[row]]
            typical = min(rates[row], key=lambda r: abs(r["records_per_s"] - medians[row]))
            best[row] = {
                "client": row.client, "loop": row.loop, "guarantee": row.guarantee, "model": row.model,
                "poll": row.poll, "instances": row.instances,
                "records_per_s": round(medians[row]), "slowest": min(values), "fastest": max(values),
                **{k: v for k, v in typical.items() if k not in ("records_per_s", "records", "commits", "polls")},
            }  # fmt: skip
            if "rss_grown_mb" in best[row]:
                best[row]["rss_mb_per_1000_series"] = round(typical["rss_grown_mb"] * 1000 / SERIES, 1)
    return best


def tables(found: Sequence[dict[str, Any]]) -> tuple[Table, Table]:
    """Return the printed forms, of at most 80 columns: rates and latencies; a service's row is named by its model."""
    what = ("client", "guarantee", "loop")
    speeds, since = ("records/s", "of bare", "CPU µs"), ("from the poll", "from the record")
    rates = lean(*what, *speeds, numbers=speeds, title="Throughput")
    ages = lean(*what, *since, numbers=since, title="Latency, ms: p50/p99/p99.9")
    for entry in found:
        guarantee = entry["guarantee"].removesuffix("_once").replace("_", " ")
        several = f", {entry['instances']} of them" if entry.get("instances", 1) > 1 else ""
        named = (entry["client"], guarantee, (entry["model"] or entry["loop"].replace("_", " ")) + several)
        rates.add_row(*named, f"{entry['records_per_s']:,}", f"{entry['of_bare']:.2f}", str(entry.get("cpu_us", "")))
        if "created_p50_ms" in entry:
            ages.add_row(*named, *(_quantiles(entry, since) for since in ("consumed", "created")))
    return rates, ages


def _quantiles(entry: dict[str, Any], since: str) -> str:
    values = (float(entry[f"{since}_{share}_ms"]) for share in ("p50", "p99", "p999"))
    return "/".join(f"{ms:.1f}" if ms < 100 else f"{ms:.0f}" for ms in values)


def main() -> None:
    """Measure, print a table, write a JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--paced-rounds", type=int, default=3, help="of latency at a fixed rate (0: none)")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each latency measurement")
    parser.add_argument("--clients", nargs="+", default=["kafka-python", "librdkafka"])
    parser.add_argument("--models", nargs="+", default=["gru", "lstm-attention", "default"])
    parser.add_argument("--instances", nargs="+", type=int, default=[1], help="of the service, in one group")
    parser.add_argument("--json", type=Path)
    a = parser.parse_args()
    found = run(a.clients, a.models, a.records, a.rounds, a.paced_rounds, a.seconds, a.instances)
    for table in tables(found):
        if table.row_count:
            show(table)
    for entry in found:
        if entry.get("stage_us"):
            print(entry["client"], entry["guarantee"], entry["model"], "µs a record by stage:", entry["stage_us"])
    if a.json:
        a.json.write_text(json_text(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
