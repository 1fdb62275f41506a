"""Records a second: one row over the whole input."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.throughput.case import (
    GROUP_SECONDS,
    PARTITIONS,
    Case,
    result,
    start,
)
from harness.local_kafka import LocalKafka
from streamcast.consumers.kafka_python.transport import KafkaTransport
from streamcast.consumers.transport import TopicSpec


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
