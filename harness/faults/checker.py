"""Counts what there is and what was answered, with plain consumers and no code of the service: against ``verify``."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Literal

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition
from kafka import KafkaConsumer
from kafka import TopicPartition as Name

Client = Literal["kafka-python", "librdkafka"]
QUIET_SECONDS = 60.0
"""How long a consumer waits for the next record before it gives up."""

Source = tuple[str, int, int]
"""Topic, partition and offset of an input record."""


def held(bootstrap_servers: str, topic: str, partitions: int, client: Client) -> int:
    """How many records a topic holds, read with the *other* client than ``client``."""
    return sum(1 for _ in _other(client)(bootstrap_servers, topic, partitions))


def counted(bootstrap_servers: str, forecasts: str, dead_letters: str, partitions: int, client: Client) -> list[str]:
    """What is wrong with the sources of forecasts and dead letters, read with the *other* client than ``client``."""
    read = _other(client)
    answered = Counter(_source(value) for value, _ in read(bootstrap_servers, forecasts, partitions))
    rejected = Counter(_rejected(headers) for _, headers in read(bootstrap_servers, dead_letters, partitions))
    twice = [f"{count} forecasts for {source}" for source, count in answered.items() if count > 1]
    twice += [f"{count} dead letters for {source}" for source, count in rejected.items() if count > 1]
    return twice + [f"a forecast and a dead letter for {source}" for source in answered.keys() & rejected.keys()]


def _other(client: Client) -> Callable[[str, str, int], Iterator[tuple[bytes, Any]]]:
    return _with_librdkafka if client == "kafka-python" else _with_kafka_python


def _source(value: bytes) -> Source:
    source = json.loads(value)["source"]
    return source["topic"], source["partition"], source["offset"]


def _rejected(headers: list[tuple[str, bytes]]) -> Source:
    named = dict(headers)
    return named["source_topic"].decode(), int(named["source_partition"]), int(named["source_offset"])


def _with_librdkafka(servers: str, topic: str, partitions: int) -> Iterator[tuple[bytes, Any]]:
    consumer = Consumer({
        "bootstrap.servers": servers, "group.id": "checker", "enable.auto.commit": False,
        "isolation.level": "read_committed", "enable.partition.eof": True,
    })  # fmt: skip
    try:
        consumer.assign([TopicPartition(topic, index, OFFSET_BEGINNING) for index in range(partitions)])
        ended = set[int]()
        deadline = time.monotonic() + QUIET_SECONDS
        while len(ended) < partitions:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic}: partitions {sorted(set(range(partitions)) - ended)} did not end")
            for message in consumer.consume(1000, 0.5):
                error, index = message.error(), message.partition()
                if error is None:
                    deadline = time.monotonic() + QUIET_SECONDS
                    yield message.value() or b"", message.headers()
                elif error.code() == KafkaError._PARTITION_EOF and index is not None:
                    ended.add(index)
    finally:
        consumer.close()


def _with_kafka_python(servers: str, topic: str, partitions: int) -> Iterator[tuple[bytes, Any]]:
    consumer = KafkaConsumer(
        bootstrap_servers=servers.split(","), isolation_level="read_committed", auto_offset_reset="earliest",
        enable_auto_commit=False, group_id=None,
    )  # fmt: skip
    try:
        names = [Name(topic, index) for index in range(partitions)]
        consumer.assign(names)
        consumer.seek_to_beginning(*names)
        ends = consumer.end_offsets(names)
        deadline = time.monotonic() + QUIET_SECONDS
        while any(consumer.position(name) < end for name, end in ends.items()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic} was not read up to {ends}")
            for records in consumer.poll(500).values():
                deadline = time.monotonic() + QUIET_SECONDS
                yield from ((record.value, record.headers) for record in records)
    finally:
        consumer.close()
