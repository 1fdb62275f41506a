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
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.printing import show
from benchmarks.throughput.case import (
    PARTITIONS,
    SERIES,
    Case,
    rows,
    write,
)
from benchmarks.throughput.latency import measure_latency
from benchmarks.throughput.rate import measure_rate
from benchmarks.throughput.tables import tables
from harness.local_kafka import LocalKafka
from streamcast.app.json_text import json_text
from streamcast.consumers.kafka_python.transport import KafkaTransport
from streamcast.consumers.transport import Connection, TopicSpec


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
