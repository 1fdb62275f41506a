"""What is measured: one process over the same input, how it is started, and the records that it reads."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from benchmarks import children
from streamcast.consumers.kafka_python.transport import KafkaTransport
from streamcast.consumers.transport import Outgoing

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
            command = ["benchmarks.throughput.loops", bootstrap, topic, out, str(records), "--loop", self.loop]
            return [sys.executable, "-m", *command, *options], out
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
