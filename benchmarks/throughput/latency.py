"""Latency at a fixed rate of records, as a reader outside the process sees it."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.throughput.case import (
    PARTITIONS,
    RATE,
    Case,
    observation,
    result,
    start,
)
from harness.local_kafka import LocalKafka
from streamcast.consumers.kafka_python.transport import KafkaTransport
from streamcast.consumers.transport import TopicSpec


class Answer(NamedTuple):
    """When the outside reader received an answer, and which record it answers."""

    arrived: float
    timestamp: int
    key: bytes


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
