"""A broker with one client, its topics and members, and what a test does with them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field

import pytest

from harness.local_kafka import is_since
from streamcast.consumers.memory.transport import MemoryTransport
from streamcast.consumers.transport import (
    Batch,
    BrokerUnavailable,
    Connection,
    Outgoing,
    Partition,
    Positions,
    Reader,
    TopicSpec,
    Transport,
    TransportError,
)

POLLS = 200
"""Polls of 0.1 s that a test waits for something at most."""
CLIENTS = ("kafka-python", "librdkafka")
KAFKA_CLIENTS = [pytest.param(client, marks=pytest.mark.kafka) for client in CLIENTS]
SOON_MS = 4000
"""After so long the group goes on without a member that stops, where a test waits for that."""
ATTENTIVE: dict[str, dict[str, object]] = {
    "kafka-python": {"heartbeat_interval_ms": 200},
    "librdkafka": {"heartbeat.interval.ms": 200},
}
"""Every member hears of a rebalance at once; its session is the usual one, so that a busy machine does not end it."""
LEAVING: dict[str, dict[str, object]] = {
    "kafka-python": {"session_timeout_ms": SOON_MS},
    "librdkafka": {"session.timeout.ms": SOON_MS},
}
"""A member that closes."""
STALLING: dict[str, dict[str, object]] = {
    "kafka-python": {"max_poll_interval_ms": SOON_MS, "session_timeout_ms": SOON_MS},
    "librdkafka": {"max.poll.interval.ms": SOON_MS, "session.timeout.ms": SOON_MS},
}
"""A member that stops polling, and those that wait for it in a rebalance."""
IMPATIENT: dict[str, dict[str, object]] = {
    "kafka-python": {"request_timeout_ms": 4000, "delivery_timeout_ms": 5000},
    "librdkafka": {"delivery.timeout.ms": 5000, "socket.timeout.ms": 4000},
}
"""Deadlines of a client that are shorter than the broker's outages, and longer than a slow machine's pauses."""

OLDEST = f"message.timestamp.{'before' if is_since(3, 6) else 'difference'}.max.ms"
"""The setting of a topic that refuses old records."""


@dataclass
class Heard:
    """A listener that remembers."""

    assigned: list[Partition] = field(default_factory=list)
    revoked: list[Partition] = field(default_factory=list)
    lost: list[Partition] = field(default_factory=list)

    def on_assigned(self, partitions: Sequence[Partition]) -> None:
        self.assigned.extend(partitions)

    def on_revoked(self, partitions: Sequence[Partition]) -> None:
        self.revoked.extend(partitions)
        self.assigned = [partition for partition in self.assigned if partition not in partitions]

    def on_lost(self, partitions: Sequence[Partition]) -> None:
        self.lost.extend(partitions)
        self.assigned = [partition for partition in self.assigned if partition not in partitions]


class World:
    """One broker with one client: makes topics and transports, and closes them after the test."""

    def __init__(
        self,
        client: str,
        transport: Callable[[Connection], Transport],
        reader: Callable[[Connection], Reader],
        bootstrap: str,
        unreachable: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self.client, self._transport, self._reader, self.bootstrap = client, transport, reader, bootstrap
        self.unreachable = unreachable
        self._open: list[Reader] = []
        self.group = uuid.uuid4().hex
        self.admin = self.connect("admin")

    def connect(
        self,
        instance: str = "0",
        *,
        at_least_once: bool = False,
        cooperative: bool = False,
        options: Mapping[str, object] | None = None,
        passed: Callable[[str], None] = lambda _point: None,
        mark: str = "",
    ) -> Transport:
        transport = self._transport(
            Connection(
                self.bootstrap,
                self.group,
                instance,
                "at_least_once" if at_least_once else "exactly_once",
                "cooperative-sticky" if cooperative else "range",
                ATTENTIVE.get(self.client, {}) | dict(options or {}),
                passed,
                mark,
            )
        )
        self._open.append(transport)
        return transport

    def reader(self) -> Reader:
        reader = self._reader(Connection(self.bootstrap, self.group))
        self._open.append(reader)
        return reader

    def topic(self, partitions: int = 1, **config: str) -> str:
        name = f"topic-{uuid.uuid4().hex}"
        self.admin.create([TopicSpec(name, partitions, config=config)])
        return name

    def close(self) -> None:
        for each in self._open:
            each.close(10)


def numbered(topic: str, first: int, count: int, partitions: int = 1) -> Outgoing:
    """Records whose value is their number, dealt to the partitions round robin, a second apart."""
    numbers = range(first, first + count)
    return Outgoing(
        topic,
        [number % partitions for number in numbers],
        [number * 1000 + 1 for number in numbers],
        [b"key-%d" % number for number in numbers],
        [b"%d" % number for number in numbers],
    )


def join(transport: Transport, topic: str, heard: Heard | None = None) -> Heard:
    """Subscribe, wait for partitions and begin them at their first offset."""
    heard = heard or Heard()
    transport.subscribe([topic], heard)
    until(lambda: bool(heard.assigned), transport)
    transport.seek(dict.fromkeys(heard.assigned, 0))
    return heard


def until(reached: Callable[[], bool], *transports: Transport) -> list[Batch]:
    """Poll the transports alternately, or wait, until a condition is reached; returns the batches they delivered.

    A broker that does not answer the question, such as one whose coordinator has just moved, says nothing about it.
    """
    delivered: list[Batch] = []
    for _ in range(POLLS):
        with suppress(BrokerUnavailable):
            if reached():
                return delivered
        for transport in transports:
            delivered += transport.poll(0.1, 100)
        if not transports:
            time.sleep(0.1)
    raise AssertionError(f"not reached within {POLLS} polls; delivered {sum(map(len, delivered))} records")


def take(transport: Transport, count: int, max_records: int = 1000) -> list[Batch]:
    """Poll until ``count`` records have arrived."""
    batches: list[Batch] = []
    for _ in range(POLLS):
        if sum(map(len, batches)) >= count:
            return batches
        batches += transport.poll(0.1, max_records)
    raise AssertionError(f"{sum(map(len, batches))} of {count} records arrived within {POLLS} polls")


def both(first: Transport, second: Transport, count: int) -> tuple[list[Batch], list[Batch]]:
    """Poll two members alternately until each has ``count`` records; a rebalance goes on while the other one polls."""
    delivered: tuple[list[Batch], list[Batch]] = [], []
    for _ in range(POLLS):
        if all(sum(map(len, batches)) >= count for batches in delivered):
            return delivered
        for transport, batches in zip((first, second), delivered, strict=True):
            batches.extend(transport.poll(0.5, 100))
    raise AssertionError(f"{[sum(map(len, batches)) for batches in delivered]} records arrived within {POLLS} polls")


def values(batches: Sequence[Batch]) -> list[bytes | None]:
    return [value for batch in batches for value in batch.values]


def everything(reader: Reader, topic: str, count: int) -> list[Batch]:
    """Wait until a read_committed reader sees ``count`` records, a moment after their commit; returns all it sees."""
    partition = Partition(topic, 0)
    for _ in range(POLLS):
        batches = list(reader.read_range(partition, *reader.bounds([partition])[partition]))
        if sum(map(len, batches)) >= count:
            return batches
        time.sleep(0.1)
    raise AssertionError(f"fewer than {count} records became visible in {topic}")


def positions(batches: Sequence[Batch]) -> Positions:
    return {batch.partition: batch.next_offset for batch in batches}


def raising(at: str) -> tuple[list[bool], Callable[[str], None]]:
    """A hook for ``Connection.passed`` that loses contact at one point while it is armed."""
    armed = [True]

    def passed(point: str) -> None:
        if armed[0] and point == at:
            armed[0] = False
            raise TimeoutError(f"lost contact at {point}")

    return armed, passed


def settled(transport: Transport) -> Positions:
    """Settle as soon as the broker is back."""
    for _ in range(POLLS):
        try:
            return transport.settle()
        except TransportError as error:
            last = error
            time.sleep(0.1)
    raise last


class Changed:
    """A client's producer or consumer, one of whose calls does something else."""

    def __init__(self, client: object, **calls: Callable[..., object]) -> None:
        self._client, self._calls = client, calls

    def __getattr__(self, name: str) -> object:
        return self._calls.get(name) or getattr(self._client, name)


def delete_topic(world: World, topic: str) -> None:
    if isinstance(world.admin, MemoryTransport):
        world.admin._broker.delete(topic)
        return
    from kafka.admin import KafkaAdminClient

    with KafkaAdminClient(bootstrap_servers=world.bootstrap) as admin:
        admin.delete_topics([topic])


def delete_records(world: World, partition: Partition, before: int) -> None:
    """Let retention pass: drop the records before an offset."""
    if isinstance(world.admin, MemoryTransport):
        world.admin._broker.delete_records(partition, before)
        return
    from kafka import TopicPartition
    from kafka.admin import KafkaAdminClient

    with KafkaAdminClient(bootstrap_servers=world.bootstrap) as admin:
        admin.delete_records({TopicPartition(*partition): before})


def set_back(world: World, topic: str, rule: dict[str, str]) -> None:
    """Remove the rule of a topic, as an operator does with kafka-configs.sh."""
    if isinstance(world.admin, MemoryTransport):
        world.admin._broker.alter(topic, {})
        return
    from confluent_kafka.admin import (  # type: ignore[attr-defined]
        AdminClient,
        AlterConfigOpType,
        ConfigEntry,
        ConfigResource,
        ResourceType,
    )

    admin = AdminClient({"bootstrap.servers": world.bootstrap})
    gone = [ConfigEntry(name, None, incremental_operation=AlterConfigOpType.DELETE) for name in rule]
    (answer,) = admin.incremental_alter_configs(
        [ConfigResource(ResourceType.TOPIC, topic, incremental_configs=gone)]
    ).values()
    answer.result(10)
