"""The promises of every transport, over the broker in the process and over a real Kafka with either client."""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Literal

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from kafka.codec import has_snappy
from kafka.errors import KafkaTimeoutError, ProducerFencedError

from harness.local_kafka import LocalKafka
from streamcast.consumers import committing
from streamcast.consumers.kafka_python.reader import KafkaReader
from streamcast.consumers.kafka_python.transport import KafkaTransport
from streamcast.consumers.librdkafka.reader import LibrdReader
from streamcast.consumers.librdkafka.transport import LibrdTransport
from streamcast.consumers.memory.transport import Fault, MemoryBroker, MemoryReader, MemoryTransport
from streamcast.consumers.transport import (
    Batch,
    BrokerUnavailable,
    CodecMissing,
    Connection,
    Fenced,
    InDoubt,
    OtherAssignor,
    Outgoing,
    Partition,
    Positions,
    Reader,
    RecordsGone,
    TopicMissing,
    TopicSpec,
    Transport,
    TransportError,
)

POLLS = 200
"""Polls of 0.1 s that a test waits for something at most."""

KAFKA_CLIENTS = [pytest.param(client, marks=pytest.mark.kafka) for client in ("kafka-python", "librdkafka")]

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
    "kafka-python": {"request_timeout_ms": 2000, "delivery_timeout_ms": 3000},
    "librdkafka": {"delivery.timeout.ms": 3000, "socket.timeout.ms": 2000},
}
"""Deadlines of a client that are shorter than the broker's outages."""


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


MANY = 150
"""Ten times as many answers are more than one commit waits for."""


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
        self.client, self._transport, self._reader, self._bootstrap = client, transport, reader, bootstrap
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
                self._bootstrap,
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
        reader = self._reader(Connection(self._bootstrap, self.group))
        self._open.append(reader)
        return reader

    def topic(self, partitions: int = 1, **config: str) -> str:
        name = f"topic-{uuid.uuid4().hex}"
        self.admin.create([TopicSpec(name, partitions, config=config)])
        return name

    def close(self) -> None:
        for each in self._open:
            each.close(10)


@pytest.fixture(params=["memory", *KAFKA_CLIENTS])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "memory":
        lost = [False]
        soon = SOON_MS / 1000
        broker = MemoryBroker(member_seconds=soon, faults=lambda _name, _who: Fault.LOST if lost[0] else Fault.NONE)

        @contextmanager
        def unreachable() -> Iterator[None]:
            lost[0] = True
            yield
            lost[0] = False

        made = World("memory", lambda c: MemoryTransport(broker, c), lambda c: MemoryReader(broker, c), "", unreachable)
    else:
        bootstrap: str = request.getfixturevalue("kafka")

        @contextmanager
        def frozen() -> Iterator[None]:
            local: LocalKafka = request.getfixturevalue("local_kafka")
            local.freeze()
            try:
                yield
            finally:
                local.thaw()

        if request.param == "kafka-python":
            made = World(request.param, KafkaTransport, KafkaReader, bootstrap, frozen)
        else:
            made = World(request.param, LibrdTransport, LibrdReader, bootstrap, frozen)
    yield made
    made.close()


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


def test_records_arrive_whole_and_in_the_order_they_were_sent(world: World) -> None:
    topic = world.topic(partitions=3)
    for first in (0, 300, 600):
        world.admin.commit([numbered(topic, first, 300, partitions=3)], {})
    transport = world.connect()
    join(transport, topic)
    batches = take(transport, 900, max_records=70)
    for index in range(3):
        mine = [batch for batch in batches if batch.partition == Partition(topic, index)]
        assert values(mine) == [b"%d" % number for number in range(index, 900, 3)]
        assert [t for batch in mine for t in batch.timestamps] == [number * 1000 + 1 for number in range(index, 900, 3)]
        assert [k for batch in mine for k in batch.keys] == [b"key-%d" % number for number in range(index, 900, 3)]
        offsets = [offset for batch in mine for offset in batch.offsets]
        assert offsets == sorted(set(offsets))
    assert {len(batch) <= 70 for batch in batches} == {True}


def test_a_poll_returns_no_more_records_than_asked_for(world: World) -> None:
    topic = world.topic(partitions=2)
    world.admin.commit([numbered(topic, 0, 100, partitions=2)], {})
    transport = world.connect()
    join(transport, topic)
    sizes: list[int] = []
    while sum(sizes) < 100:
        sizes.append(sum(map(len, transport.poll(1.0, 7))))
    assert max(sizes) == 7


def test_positions_step_over_the_marker_of_a_transaction(world: World) -> None:
    topic = world.topic()
    for first in (0, 10):
        world.admin.commit([numbered(topic, first, 10)], {})
    batches = everything(world.reader(), topic, 20)
    assert [offset for batch in batches for offset in batch.offsets] == [*range(10), *range(11, 21)]
    partition = Partition(topic, 0)
    assert values(list(world.reader().read_range(partition, 10, 12))) == [b"10"]
    assert list(world.reader().read_range(partition, 10, 11)) == []


def test_absent_keys_and_values_and_headers_come_back_as_they_were(world: World) -> None:
    topic = world.topic()
    headers = [[("reason", b"poison"), ("empty", b"")], []]
    world.admin.commit([Outgoing(topic, [0, 0], [5, 6], [None, b"k"], [b"v", None], headers)], {})
    batches = everything(world.reader(), topic, 2)
    assert [key for batch in batches for key in batch.keys] == [None, b"k"]
    assert values(batches) == [b"v", None]
    assert [list(each) for batch in batches for each in batch.headers or [()] * len(batch)] == headers


def test_a_poll_with_nothing_to_deliver_returns_nothing(world: World) -> None:
    transport = world.connect()
    join(transport, world.topic())
    assert transport.poll(0.2, 10) == []


def test_new_partitions_deliver_nothing_until_they_are_sought(world: World) -> None:
    topic = world.topic()
    world.admin.commit([numbered(topic, 0, 10)], {})
    transport, heard = world.connect(), Heard()
    transport.subscribe([topic], heard)
    assert until(lambda: bool(heard.assigned), transport) == []
    assert transport.poll(0.3, 10) == []
    transport.seek({Partition(topic, 0): 4})
    assert values(take(transport, 6)) == [b"4", b"5", b"6", b"7", b"8", b"9"]


def test_answers_and_positions_appear_together_or_not_at_all(world: World) -> None:
    source, sink = world.topic(), world.topic()
    partition, reader = Partition(sink, 0), world.reader()
    seen: list[tuple[str, bool]] = []
    transport = world.connect(passed=lambda point: seen.append((point, reader.bounds([partition])[partition][1] > 0)))
    world.admin.commit([numbered(source, 0, 10)], {})
    join(transport, source)
    batches = take(transport, 10)
    transport.commit([numbered(sink, 100, 10)], positions(batches))
    assert seen[:2] == [("offsets", False), ("sent", False)]
    assert seen[2][0] == "committed"
    assert reader.committed([Partition(source, 0)]) == positions(batches)
    assert values(everything(reader, sink, 10)) == [b"%d" % number for number in range(100, 110)]


def test_the_end_lies_beyond_what_is_decided_while_a_transaction_is_open(world: World) -> None:
    source, sink = world.topic(), world.topic()
    partition, reader = Partition(sink, 0), world.reader()
    seen: list[tuple[str, int, int]] = []

    def passed(point: str) -> None:
        seen.append((point, reader.bounds([partition])[partition][1], reader.ends([partition])[partition]))

    transport = world.connect(passed=passed)
    world.admin.commit([numbered(source, 0, 10)], {})
    join(transport, source)
    transport.commit([numbered(sink, 100, 10)], positions(take(transport, 10)))
    assert seen[1] == ("sent", 0, 10)
    until(lambda: reader.ends([partition])[partition] == reader.bounds([partition])[partition][1], transport)


def test_a_commit_in_doubt_that_happened_is_found_to_have_happened(world: World) -> None:
    source, sink = world.topic(), world.topic()
    _, passed = raising("committed")
    world.admin.commit([numbered(source, 0, 10)], {})
    transport = world.connect(passed=passed)
    join(transport, source)
    batches = take(transport, 10)
    with pytest.raises(InDoubt):
        transport.commit([numbered(sink, 0, 10)], positions(batches))
    assert transport.settle() == positions(batches)
    assert transport.poll(0.3, 10) == []
    assert values(everything(world.reader(), sink, 10)) == [b"%d" % number for number in range(10)]


@pytest.mark.parametrize("point", ["sent", "offsets"])
def test_a_commit_in_doubt_that_did_not_happen_leaves_nothing_and_is_done_again(world: World, point: str) -> None:
    source, sink = world.topic(), world.topic()
    _, passed = raising(point)
    world.admin.commit([numbered(source, 0, 10)], {})
    transport = world.connect(passed=passed)
    join(transport, source)
    with pytest.raises(InDoubt):
        transport.commit([numbered(sink, 0, 10)], positions(take(transport, 10)))
    assert transport.settle() == {Partition(source, 0): 0}
    assert everything(world.reader(), sink, 0) == []
    again = take(transport, 10)
    transport.commit([numbered(sink, 500, 10)], positions(again))
    assert values(everything(world.reader(), sink, 10)) == [b"%d" % number for number in range(500, 510)]
    assert world.reader().committed([Partition(source, 0)]) == positions(again)


@pytest.mark.parametrize("at_least_once", [False, True])
def test_a_mark_is_committed_beside_every_position_until_another_program_moves_it(
    world: World, *, at_least_once: bool
) -> None:
    source, reader = world.topic(), world.reader()
    partition = Partition(source, 0)
    world.admin.commit([numbered(source, 0, 10)], {})
    assert (reader.marks([partition]), reader.marks([])) == ({}, {})
    transport = world.connect(at_least_once=at_least_once, mark="ours 7")
    join(transport, source)
    transport.begin({partition: 2})
    assert (reader.committed([partition]), reader.marks([partition])) == ({partition: 2}, {partition: "ours 7"})
    after = positions(take(transport, 10))
    transport.commit([numbered(source, 10, 10)], after)
    transport.close(10)
    assert (reader.committed([partition]), reader.marks([partition])) == (after, {partition: "ours 7"})
    stranger = world.connect(at_least_once=at_least_once)
    join(stranger, source)
    stranger.begin({partition: 4})
    assert (reader.committed([partition]), reader.marks([partition])) == ({partition: 4}, {partition: ""})


@pytest.mark.kafka
@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
@pytest.mark.parametrize("writer", [KafkaTransport, LibrdTransport])
def test_both_clients_read_the_marks_of_either(
    kafka: str, writer: Callable[[Connection], Transport], guarantee: Literal["exactly_once", "at_least_once"]
) -> None:
    topic, group, mark = f"topic-{uuid.uuid4().hex}", uuid.uuid4().hex, "streamcast " + "A" * 22
    transport = writer(Connection(kafka, group, guarantee=guarantee, mark=mark))
    partitions = [Partition(topic, index) for index in range(50)]
    readers: list[Reader] = [transport, KafkaTransport(Connection(kafka, group)), LibrdReader(Connection(kafka, group))]
    try:
        transport.create([TopicSpec(topic, len(partitions))])
        transport.subscribe([topic], heard := Heard())
        until(lambda: bool(heard.assigned), transport)
        transport.begin(dict.fromkeys(partitions, 3))
        for reader in readers[1:]:
            assert set(reader.marks(partitions).values()) == {mark}
    finally:
        for reader in readers:
            reader.close(10)


def test_a_restarted_process_ends_what_its_predecessor_left_open(world: World) -> None:
    source, sink = world.topic(), world.topic()
    _, passed = raising("offsets")
    world.admin.commit([numbered(source, 0, 10)], {})
    crashed = world.connect(passed=passed)
    join(crashed, source)
    with pytest.raises(InDoubt):
        crashed.commit([numbered(sink, 0, 10)], positions(take(crashed, 10)))
    successor = world.connect()
    join(successor, source)
    assert successor.committed([Partition(source, 0)]) == {}
    successor.commit([numbered(sink, 100, 10)], positions(take(successor, 10)))
    assert values(everything(world.reader(), sink, 10)) == [b"%d" % number for number in range(100, 110)]


def test_a_zombie_with_the_same_instance_is_fenced(world: World) -> None:
    source, sink = world.topic(), world.topic()
    world.admin.commit([numbered(source, 0, 10)], {})
    zombie = world.connect()
    join(zombie, source)
    batches = take(zombie, 10)
    successor = world.connect()
    join(successor, source)
    with pytest.raises(Fenced):
        zombie.commit([numbered(sink, 0, 10)], positions(batches))
    successor.commit([numbered(sink, 100, 10)], positions(take(successor, 10)))
    assert values(everything(world.reader(), sink, 10)) == [b"%d" % number for number in range(100, 110)]


def test_two_members_share_the_partitions_and_the_survivor_takes_all(world: World) -> None:
    topic = world.topic(partitions=4)
    first, second = world.connect("1"), world.connect("2", options=LEAVING.get(world.client))
    alone = join(first, topic)
    assert sorted(alone.assigned) == [Partition(topic, index) for index in range(4)]
    other = Heard()
    second.subscribe([topic], other)
    until(lambda: len(alone.assigned) == len(other.assigned) == 2, first, second)
    assert sorted(alone.assigned + other.assigned) == [Partition(topic, index) for index in range(4)]
    assert set(alone.revoked) == {Partition(topic, index) for index in range(4)}
    second.close(10)
    until(lambda: len(alone.assigned) == 4, first)


@pytest.mark.parametrize("world", KAFKA_CLIENTS, indirect=True)
def test_cooperative_members_keep_what_does_not_move(world: World) -> None:
    topic = world.topic(partitions=4)
    world.admin.commit([numbered(topic, 0, 40, partitions=4)], {})
    first = world.connect("1", cooperative=True)
    second = world.connect("2", cooperative=True, options=LEAVING[world.client])
    alone, other = join(first, topic), Heard()
    until(lambda: len(alone.assigned) == 4, first)
    assert len(values(take(first, 40))) == 40
    second.subscribe([topic], other)
    until(lambda: len(alone.assigned) == len(other.assigned) == 2, first, second)
    stayed, went = set(alone.assigned), set(other.assigned)
    assert stayed | went == {Partition(topic, index) for index in range(4)}
    second.seek(dict.fromkeys(went, 10))

    world.admin.commit([numbered(topic, 40, 8, partitions=4)], {})
    kept, moved = both(first, second, 4)
    assert {batch.partition for batch in kept} == stayed
    assert {batch.partition for batch in moved} == went
    assert Counter(values([*kept, *moved])) == Counter(b"%d" % number for number in range(40, 48))
    first.commit([], positions(kept))
    second.commit([], positions(moved))
    assert world.reader().committed([*stayed, *went]) == positions(kept) | positions(moved)

    second.close(10)
    assert other.assigned == []
    until(lambda: len(alone.assigned) == 4, first)
    assert stayed.isdisjoint([*alone.revoked, *alone.lost])
    first.seek(positions(moved))
    world.admin.commit([numbered(topic, 48, 4, partitions=4)], {})
    assert Counter(values(take(first, 4))) == Counter(b"%d" % number for number in range(48, 52))


@pytest.mark.parametrize("world", KAFKA_CLIENTS, indirect=True)
def test_a_member_with_another_assignor_is_refused_with_the_setting_and_the_group_goes_on(world: World) -> None:
    topic = world.topic(partitions=2)
    former, other, heard = world.connect("0"), world.connect("1", cooperative=True), Heard()
    join(former, topic)
    other.subscribe([topic], heard)
    with pytest.raises(OtherAssignor, match=r"kafka\.assignor is not cooperative-sticky, as that of instance 1 is"):
        until(lambda: bool(heard.assigned), other, former)
    world.admin.commit([numbered(topic, 0, 10, partitions=2)], {})
    assert sum(map(len, take(former, 10))) == 10


def test_a_protocol_of_groups_without_assignors_is_refused_with_its_option() -> None:
    who = Connection("127.0.0.1:9", "group", options={"group.protocol": "consumer"})
    with pytest.raises(TransportError, match=r"kafka\.options\.group\.protocol is 'consumer'; expected 'classic'"):
        LibrdReader(who)


def test_a_member_that_stalled_while_the_group_moved_on_cannot_commit(world: World) -> None:
    source, sink = world.topic(partitions=2), world.topic()
    world.admin.commit([numbered(source, 0, 10, partitions=2)], {})
    stalled, other = (world.connect(instance, options=STALLING.get(world.client)) for instance in "12")
    held, taken = join(stalled, source), Heard()
    batches = take(stalled, 10)
    other.subscribe([source], taken)
    until(lambda: len(taken.assigned) == 2, other)
    with pytest.raises(InDoubt):
        stalled.commit([numbered(sink, 0, 10)], positions(batches))
    stalled.settle()
    other.seek(dict.fromkeys(taken.assigned, 0))
    other.commit([numbered(sink, 100, 10)], positions(take(other, 10)))
    assert values(everything(world.reader(), sink, 10)) == [b"%d" % number for number in range(100, 110)]
    until(lambda: {*held.lost, *held.revoked} == {Partition(source, 0), Partition(source, 1)}, stalled, other)


@pytest.mark.parametrize("guarantee", ["exactly-once", "at-least-once"])
def test_only_the_member_that_holds_a_partition_may_begin_it(world: World, guarantee: str) -> None:
    source, at_least_once = world.topic(partitions=2), guarantee == "at-least-once"
    stalled = world.connect("1", at_least_once=at_least_once, options=STALLING.get(world.client))
    other = world.connect("2", at_least_once=at_least_once)
    held, taken = Heard(), Heard()
    stalled.subscribe([source], held)
    until(lambda: len(held.assigned) == 2, stalled)
    other.subscribe([source], taken)
    until(lambda: len(taken.assigned) == 2, other)
    other.begin(dict.fromkeys(taken.assigned, 7))
    assert world.reader().committed(taken.assigned) == dict.fromkeys(taken.assigned, 7)
    with pytest.raises(BrokerUnavailable, match="did not accept the first positions of 2 partitions"):
        stalled.begin(dict.fromkeys(held.assigned, 3))
    assert world.reader().committed(taken.assigned) == dict.fromkeys(taken.assigned, 7)


def test_a_topic_that_is_made_again_has_another_identity(world: World) -> None:
    topic, reader = world.topic(), world.reader()
    first = reader.describe([topic])[topic].id
    assert reader.identities([topic, "absent"]) == {topic: first}
    assert first
    assert world.connect("other").describe([topic])[topic].id == first
    delete_topic(world, topic)
    until(lambda: topic not in reader.describe([topic]))
    world.admin.create([TopicSpec(topic, 1)])
    assert reader.describe([topic])[topic].id not in {"", first}, "create returned before the brokers knew the topic"


@pytest.mark.kafka
@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd", "snappy"])
def test_compressed_records_are_read_or_the_package_that_reads_them_is_named(kafka: str, codec: str) -> None:
    transport = KafkaTransport(Connection(kafka, uuid.uuid4().hex))
    topic = f"topic-{uuid.uuid4().hex}"
    transport.create([TopicSpec(topic, 1)])
    producer = Producer({"bootstrap.servers": kafka, "compression.type": codec})
    producer.produce(topic, b"1" * 1000)  # a value that does not shrink would be sent as it is
    assert producer.flush(30) == 0
    readers: list[Reader] = [transport, LibrdReader(Connection(kafka, "group"))]
    try:
        for reader in readers:
            if codec == "snappy" and reader is transport and not has_snappy():
                with pytest.raises(CodecMissing, match=r"snappy.*: pip install python-snappy\), or set kafka.client"):
                    everything(reader, topic, 1)
                transport.subscribe([topic], heard := Heard())
                until(lambda: bool(heard.assigned), transport)
                transport.seek(dict.fromkeys(heard.assigned, 0))
                with pytest.raises(CodecMissing, match="cannot decompress records while polling"):
                    take(transport, 1)
            else:
                assert values(everything(reader, topic, 1)) == [b"1" * 1000]
    finally:
        for reader in readers:
            reader.close(10)


@pytest.mark.kafka
def test_both_clients_name_a_topic_alike(kafka: str) -> None:
    readers: list[Reader] = [KafkaTransport(Connection(kafka, "group")), LibrdReader(Connection(kafka, "group"))]
    topic = f"topic-{uuid.uuid4().hex}"
    readers[0].create([TopicSpec(topic, 1)])  # type: ignore[attr-defined]
    assert len({reader.describe([topic])[topic].id for reader in readers}) == 1
    for reader in readers:
        reader.close(10)


def test_paused_partitions_deliver_nothing_and_the_group_keeps_its_member(world: World) -> None:
    topic = world.topic(partitions=2)
    transport = world.connect()
    heard = join(transport, topic)
    transport.pause([Partition(topic, 0)])
    world.admin.commit([numbered(topic, 0, 20, partitions=2)], {})
    assert {batch.partition for batch in take(transport, 10)} == {Partition(topic, 1)}
    for _ in range(20):
        assert transport.poll(0.1, 100) == []
    assert (heard.revoked, heard.lost) == ([], [])
    transport.resume([Partition(topic, 0)])
    assert values(take(transport, 10)) == [b"%d" % number for number in range(0, 20, 2)]


def test_seeking_reads_again_from_there(world: World) -> None:
    topic = world.topic()
    world.admin.commit([numbered(topic, 0, 10)], {})
    transport = world.connect()
    join(transport, topic)
    take(transport, 10)
    transport.seek({Partition(topic, 0): 7})
    assert values(take(transport, 3)) == [b"7", b"8", b"9"]


def test_lag_counts_down_to_nothing(world: World) -> None:
    topic = world.topic()
    world.admin.commit([numbered(topic, 0, 10)], {})
    transport = world.connect()
    join(transport, topic)
    take(transport, 4, max_records=4)
    assert transport.lag()[Partition(topic, 0)] >= 6
    take(transport, 6)
    until(lambda: transport.lag() == {Partition(topic, 0): 0}, transport)


def test_a_range_is_read_exactly(world: World) -> None:
    topic = world.topic()
    world.admin.commit([numbered(topic, 0, 100)], {})
    reader, partition = world.reader(), Partition(topic, 0)
    assert values(list(reader.read_range(partition, 20, 30))) == [b"%d" % number for number in range(20, 30)]
    assert list(reader.read_range(partition, 20, 20)) == []


def test_ranges_of_many_partitions_are_read_at_once_and_exactly(world: World) -> None:
    topic = world.topic(partitions=4)
    world.admin.commit([numbered(topic, 0, 200, partitions=4)], {})
    ranges = {Partition(topic, 0): (10, 40), Partition(topic, 1): (0, 50), Partition(topic, 2): (7, 7)}
    read: dict[Partition, list[bytes | None]] = {}
    for batches in world.reader().read_ranges(ranges):
        for batch in batches:
            read.setdefault(batch.partition, []).extend(batch.values)
            assert batch.next_offset <= ranges[batch.partition][1]
    assert read == {
        Partition(topic, 0): [b"%d" % (4 * row) for row in range(10, 40)],
        Partition(topic, 1): [b"%d" % (4 * row + 1) for row in range(50)],
    }


def test_records_that_retention_has_passed_are_reported_as_gone(world: World) -> None:
    topic = world.topic()
    partition = Partition(topic, 0)
    world.admin.commit([numbered(topic, 0, 100)], {})
    transport = world.connect()
    join(transport, topic)
    take(transport, 5, max_records=5)
    transport.pause([partition])
    delete_records(world, partition, 50)
    assert world.reader().bounds([partition])[partition][0] == 50
    with pytest.raises(RecordsGone, match="50"):
        list(world.reader().read_range(partition, 49, 60))
    transport.seek({partition: 10})
    transport.resume([partition])
    with pytest.raises(RecordsGone):
        take(transport, 1)


def test_offsets_are_found_by_time(world: World) -> None:
    topic = world.topic()
    world.admin.commit([numbered(topic, 0, 10)], {})
    partition, reader = Partition(topic, 0), world.reader()
    everything(reader, topic, 10)
    assert reader.offsets_at([partition], 3500) == {partition: 4}
    assert reader.offsets_at([partition], 0) == {partition: 0}
    assert reader.offsets_at([partition], 4_000_000_000_000) == {partition: reader.bounds([partition])[partition][1]}


def test_topics_are_created_once_and_described(world: World) -> None:
    name = world.topic(partitions=3, **{"retention.ms": "60000"})
    world.admin.create([TopicSpec(name, 7)])
    described = world.reader().describe([name, "no-such-topic"])
    assert list(described) == [name]
    assert (described[name].partitions, described[name].replication) == (3, 1)
    assert described[name].config["retention.ms"] == "60000"


def test_the_broker_decides_the_replication_of_a_topic_that_names_none(world: World) -> None:
    name = f"default-{uuid.uuid4().hex}"
    world.admin.create([TopicSpec(name, 2)])
    assert world.reader().describe([name])[name].replication == 1  # every broker of the tests stands alone


def test_a_missing_topic_is_an_error_and_is_not_created(world: World) -> None:
    missing = f"typo-{uuid.uuid4().hex}"
    with pytest.raises(TopicMissing, match=missing):
        world.connect().subscribe([missing], Heard())
    with pytest.raises(TopicMissing, match=missing):
        world.reader().bounds([Partition(missing, 0)])
    assert world.reader().describe([missing]) == {}


def test_a_commit_while_the_broker_is_away_leaves_nothing_and_is_done_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, sink = world.topic(), world.topic()
    world.admin.commit([numbered(source, 0, 10)], {})
    transport = world.connect(options=IMPATIENT.get(world.client))
    monkeypatch.setattr(committing, "COMMIT_SECONDS", 5.0)
    join(transport, source)
    transport.commit([numbered(sink, 0, 10)], {})
    batches = take(transport, 10)
    with world.unreachable(), pytest.raises(InDoubt):
        transport.commit([numbered(sink, 10, 10)], positions(batches))
    assert settled(transport) == {Partition(source, 0): 0}
    transport.commit([numbered(sink, 100, 10)], positions(take(transport, 10)))
    numbers = [*range(10), *range(100, 110)]
    assert values(everything(world.reader(), sink, 20)) == [b"%d" % number for number in numbers]


class LosingContact(list[bytes | None]):
    """Values that are handed out slowly: the first half is acknowledged, then the broker goes away."""

    def __init__(self, values: Sequence[bytes | None], lose_contact: Callable[[], object]) -> None:
        super().__init__(values)
        self._lose_contact = lose_contact

    def __iter__(self) -> Iterator[bytes | None]:
        half = len(self) // 2
        yield from self[:half]
        time.sleep(0.5)
        self._lose_contact()
        yield from self[half:]


@pytest.mark.parametrize("world", KAFKA_CLIENTS, indirect=True)
def test_records_that_expire_inside_a_transaction_are_never_left_out_of_it_in_silence(world: World) -> None:
    sink, outage = world.topic(), ExitStack()
    when = {"sent": outage.close}
    options = IMPATIENT[world.client]
    transport = world.connect(options=options, passed=lambda point: when.get(point, lambda: None)())
    transport.commit([numbered(sink, 0, 10)], {})
    half_sent = numbered(sink, 10, 10)
    slow = LosingContact(half_sent.values, lambda: outage.enter_context(world.unreachable()))
    with outage, pytest.raises(InDoubt):
        transport.commit([replace(half_sent, values=slow)], {})
    settled(transport)
    transport.commit([numbered(sink, 100, 10)], {})
    numbers = [*range(10), *range(100, 110)]
    assert values(everything(world.reader(), sink, 20)) == [b"%d" % number for number in numbers]


def answered_at_least_once(world: World, sink: str) -> tuple[Transport, Positions]:
    """A member that has answered ten records of a topic of its own, and the positions after them."""
    source = world.topic()
    world.admin.commit([numbered(source, 0, 10)], {})
    transport = world.connect(at_least_once=True)
    join(transport, source)
    after = positions(take(transport, 10))
    transport.commit([numbered(sink, 0, 10)], after)
    return transport, after


@pytest.mark.parametrize("world", KAFKA_CLIENTS, indirect=True)
@pytest.mark.parametrize("guarantee", ["exactly-once", "at-least-once"])
def test_answers_reach_a_topic_whose_batches_must_be_small(world: World, guarantee: str) -> None:
    source, sink = world.topic(), world.topic(1, **{"max.message.bytes": "2000"})
    world.admin.commit([numbered(source, 0, 10)], {})
    transport = world.connect(at_least_once=guarantee == "at-least-once")
    join(transport, source)
    for _ in range(10):
        after = positions(take(transport, 10))
        try:
            transport.commit([numbered(sink, 0, 400)], after)
            break
        except InDoubt:  # the next batches are smaller
            settled(transport)
    until(lambda: world.reader().committed(list(after)) == after, transport)
    assert set(values(everything(world.reader(), sink, 400))) == {b"%d" % number for number in range(400)}


@pytest.mark.parametrize("world", KAFKA_CLIENTS, indirect=True)
@pytest.mark.parametrize("guarantee", ["exactly-once", "at-least-once"])
@pytest.mark.parametrize(
    "rule",
    [{"max.message.bytes": "100"}, {"message.timestamp.before.max.ms": "3600000"}, {"cleanup.policy": "compact"}],
    ids=["size", "time", "key"],
)
def test_a_topic_that_refuses_a_record_is_named_and_the_record_is_answered_when_it_does_not(
    world: World, guarantee: str, rule: dict[str, str]
) -> None:
    source, sink = world.topic(), world.topic(1, **rule)
    world.admin.commit([numbered(source, 0, 10)], {})
    transport = world.connect(at_least_once=guarantee == "at-least-once")
    join(transport, source)
    answer = Outgoing(sink, [0], [1_000_000_000_000], [None], [b"x" * 200])
    with pytest.raises(InDoubt, match=f"Topic {sink} cannot hold a record .*: change the setting"):
        transport.commit([answer], positions(take(transport, 10)))
    assert settled(transport) == {Partition(source, 0): 0}
    set_back(world, sink, rule)
    after = positions(take(transport, 10))
    transport.commit([answer], after)
    until(lambda: world.reader().committed(list(after)) == after, transport)
    assert values(everything(world.reader(), sink, 1)) == [b"x" * 200]


def set_back(world: World, topic: str, rule: dict[str, str]) -> None:
    """Remove the rule of a topic, as an operator does with kafka-configs.sh."""
    admin = AdminClient({"bootstrap.servers": world._bootstrap})
    gone = [ConfigEntry(name, None, incremental_operation=AlterConfigOpType.DELETE) for name in rule]
    (answer,) = admin.incremental_alter_configs(
        [ConfigResource(ResourceType.TOPIC, topic, incremental_configs=gone)]
    ).values()
    answer.result(10)


def test_at_least_once_commits_without_a_transaction(world: World) -> None:
    sink, reader = world.topic(), world.reader()
    transport, after = answered_at_least_once(world, sink)
    assert reader.bounds([Partition(sink, 0)]) == {Partition(sink, 0): (0, 10)}, "a marker would have taken an offset"
    until(lambda: reader.committed(list(after)) == after, transport)


def test_at_least_once_positions_are_committed_before_partitions_go(world: World) -> None:
    transport, after = answered_at_least_once(world, world.topic())
    transport.close(10)
    assert world.reader().committed(list(after)) == after


def test_at_least_once_positions_are_committed_within_the_rebalance_that_takes_the_partitions(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    source, sink = world.topic(partitions=2), world.topic()
    world.admin.commit([numbered(source, 0, 10, partitions=2)], {})
    member, other = (world.connect(instance, at_least_once=True) for instance in "12")
    heard, taken = join(member, source), Heard()
    after = positions(take(member, 10))
    other.subscribe([source], taken)
    for _ in range(POLLS):  # the positions of one of two commits at least are pending whenever the rebalance comes
        member.commit([numbered(sink, 0, 10)], after)
        member.commit([numbered(sink, 0, 10)], after)
        batches = member.poll(0.1, 100)
        other.poll(0.1, 100)
        if heard.revoked:
            break
    assert (set(heard.revoked), batches) == (set(after), [])
    assert world.reader().committed(list(after)) == after
    assert "were refused" not in caplog.text


def test_at_least_once_the_next_commit_of_a_member_that_the_group_removed_is_in_doubt(world: World) -> None:
    source, sink = world.topic(partitions=2), world.topic()
    world.admin.commit([numbered(source, 0, 10, partitions=2)], {})
    stalled, other = (
        world.connect(instance, at_least_once=True, options=STALLING.get(world.client)) for instance in "12"
    )
    join(stalled, source)
    batches = take(stalled, 10)
    taken = Heard()
    other.subscribe([source], taken)
    until(lambda: len(taken.assigned) == 2, other)

    def go_on() -> None:
        for _ in range(POLLS):
            stalled.commit([numbered(sink, 0, 10)], positions(batches))
            stalled.poll(0.1, 10)

    with pytest.raises(InDoubt):
        go_on()
    assert world.reader().committed([Partition(source, 0)]) == {}


def test_at_least_once_repeats_what_was_in_doubt(world: World) -> None:
    source, sink = world.topic(), world.topic()
    _, passed = raising("sent")
    world.admin.commit([numbered(source, 0, 10)], {})
    transport = world.connect(at_least_once=True, passed=passed)
    join(transport, source)
    with pytest.raises(InDoubt):
        transport.commit([numbered(sink, 0, 10)], positions(take(transport, 10)))
    assert transport.settle() == {Partition(source, 0): 0}
    transport.commit([numbered(sink, 0, 10)], positions(take(transport, 10)))
    assert len(values(everything(world.reader(), sink, 20))) == 20


def test_at_least_once_many_answers_are_there_before_their_positions(world: World) -> None:
    source, sink, reader = world.topic(), world.topic(), world.reader()
    world.admin.commit([numbered(source, 0, 30)], {})
    transport = world.connect(at_least_once=True)
    join(transport, source)
    for first in range(0, 30, 10):
        after = positions(take(transport, 10, max_records=10))
        transport.commit([numbered(sink, first * MANY, 10 * MANY)], after)
    until(lambda: reader.committed(list(after)) == after, transport)
    assert values(everything(reader, sink, 30 * MANY)) == [b"%d" % number for number in range(30 * MANY)]


def test_at_least_once_many_answers_go_with_their_partitions(world: World) -> None:
    transport, _ = answered_at_least_once(world, world.topic())
    sink, reader = world.topic(), world.reader()
    (partition,) = transport.lag()
    world.admin.commit([numbered(partition.topic, 10, 10)], {})
    after = positions(take(transport, 10))
    transport.commit([numbered(sink, 0, 10 * MANY)], after)
    transport.close(10)
    assert reader.committed([partition]) == after
    assert len(values(everything(reader, sink, 10 * MANY))) == 10 * MANY


def test_at_least_once_answers_that_a_broker_never_took_are_given_again_with_nothing_more_to_answer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, sink = world.topic(), world.topic()
    world.admin.commit([numbered(source, 0, 10)], {})
    transport = world.connect(at_least_once=True, options=IMPATIENT.get(world.client))
    monkeypatch.setattr(committing, "COMMIT_SECONDS", 5.0)
    join(transport, source)
    first = positions(take(transport, 10))
    transport.commit([numbered(sink, 0, 10)], first)
    until(lambda: world.reader().committed(list(first)) == first, transport)
    world.admin.commit([numbered(source, 10, 10)], {})
    second = positions(take(transport, 10))

    def answer_and_wait() -> None:
        transport.commit([numbered(sink, 10, 10 * MANY)], second)
        for _ in range(POLLS):
            transport.poll(0.1, 10)

    with world.unreachable(), pytest.raises(InDoubt):
        answer_and_wait()
    assert settled(transport) == first
    transport.commit([numbered(sink, 10, 10 * MANY)], positions(take(transport, 10)))
    until(lambda: world.reader().committed(list(second)) == second, transport)
    numbers = {b"%d" % number for number in range(10 + 10 * MANY)}
    assert set(values(everything(world.reader(), sink, len(numbers)))) == numbers


def test_at_least_once_nothing_is_sent_after_what_comes_first_and_fails(world: World) -> None:
    source, sink, missing = world.topic(), world.topic(), world.topic()
    world.admin.commit([numbered(source, 0, 10)], {})
    transport = world.connect(at_least_once=True, options=IMPATIENT.get(world.client))
    join(transport, source)
    after = positions(take(transport, 10))

    def pieces() -> Iterator[Outgoing]:
        yield replace(numbered(missing, 0, 1), first=True)
        raise AssertionError("asked for more before the first was there")

    with world.unreachable(), pytest.raises(InDoubt):
        transport.commit(pieces(), after)
    assert settled(transport) == {Partition(source, 0): 0}
    transport.commit([replace(numbered(missing, 0, 1), first=True), numbered(sink, 0, 10)], after)
    assert len(values(everything(world.reader(), sink, 10))) == 10


class Changed:
    """A client's producer or consumer, one of whose calls does something else."""

    def __init__(self, client: object, **calls: Callable[..., object]) -> None:
        self._client, self._calls = client, calls

    def __getattr__(self, name: str) -> object:
        return self._calls.get(name) or getattr(self._client, name)


def joined_with(world: World, **calls: Callable[..., None]) -> tuple[Transport, str, Positions]:
    """A member that has read ten records, whose producer is changed; its input, and the positions after them."""
    source = world.topic()
    world.admin.commit([numbered(source, 0, 10)], {})
    transport = world.connect()
    join(transport, source)
    after = positions(take(transport, 10))
    assert isinstance(transport, KafkaTransport | LibrdTransport)
    transport._producer = Changed(transport._producer, **calls)
    return transport, source, after


@pytest.mark.parametrize("world", KAFKA_CLIENTS[1:], indirect=True)  # which asks for records twice in a poll
def test_a_record_whose_partition_goes_within_the_poll_is_left_to_the_next_owner(world: World) -> None:
    topic = world.topic()
    world.admin.commit([numbered(topic, 0, 1)], {})
    member, other = world.connect("1"), world.connect("2")
    heard, taken = join(member, topic), Heard()
    assert isinstance(member, LibrdTransport)
    consumer = member._consumer
    assert consumer is not None

    def consume(limit: int, timeout: float) -> list[Message]:
        """The poll has its first record, and the rebalance comes before it asks for more."""
        messages = consumer.consume(limit, timeout)
        if limit > 1 and not heard.revoked:
            other.subscribe([topic], taken)
            while not heard.revoked:
                other.poll(0.1, 10)
                messages += consumer.consume(limit, 0.1)
        return messages

    member._consumer = Changed(consumer, consume=consume)  # type: ignore[assignment]
    assert until(lambda: bool(heard.revoked), member) == []
    assert member.lag() == {}, "it reads nothing until it is sought again"
    until(lambda: bool(heard.assigned or taken.assigned), member, other)
    owner = member if heard.assigned else other
    owner.seek({Partition(topic, 0): 0})
    assert values(take(owner, 1)) == [b"0"]


@pytest.mark.parametrize("world", KAFKA_CLIENTS, indirect=True)
@pytest.mark.parametrize("code", [KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED, KafkaError._FENCED])
def test_an_epoch_that_was_bumped_without_a_rival_is_settled(world: World, code: int) -> None:
    def fenced(*_: object) -> None:
        if world.client == "kafka-python":  # which makes one error of them all
            raise ProducerFencedError
        raise KafkaException(KafkaError(code))

    sink = world.topic()
    transport, source, after = joined_with(world, commit_transaction=fenced)
    with pytest.raises(InDoubt, match=r"(?i)fenced|INVALID_PRODUCER_EPOCH"):
        transport.commit([numbered(sink, 0, 10)], after)
    assert settled(transport) == {Partition(source, 0): 0}
    transport.commit([numbered(sink, 100, 10)], positions(take(transport, 10)))
    assert values(everything(world.reader(), sink, 10)) == [b"%d" % number for number in range(100, 110)]


def replaced_by(world: World) -> tuple[Transport, Heard, Transport]:
    """A member that has read, another one that has taken its name, and what the first one hears."""
    source = world.topic()
    world.admin.commit([numbered(source, 0, 10)], {})
    first, second = (world.connect(options=LEAVING[world.client]) for _ in range(2))
    heard = join(first, source)
    take(first, 10)
    join(second, source)
    return first, heard, second


def polled_through(transport: Transport, reached: Callable[[], bool]) -> None:
    """Poll as the loop does, going on while the broker is unavailable."""
    for _ in range(POLLS):
        if reached():
            return
        try:
            transport.poll(0.1, 100)
        except BrokerUnavailable:
            time.sleep(0.1)
    raise AssertionError("not reached")


@pytest.mark.parametrize("world", KAFKA_CLIENTS, indirect=True)
def test_a_member_whose_name_nobody_else_uses_any_more_joins_again(world: World) -> None:
    first, heard, second = replaced_by(world)
    second.close(10)  # a static member does not leave its group: it is silent, like one whose join was never answered
    polled_through(first, lambda: bool(heard.lost))
    polled_through(first, lambda: bool(heard.assigned))
    first.seek(dict.fromkeys(heard.assigned, 0))
    assert len(values(take(first, 10))) == 10


@pytest.mark.parametrize("world", KAFKA_CLIENTS, indirect=True)
def test_a_member_whose_name_another_process_uses_ends(world: World) -> None:
    first, _, _ = replaced_by(world)
    with pytest.raises(Fenced):
        polled_through(first, lambda: False)


@pytest.mark.parametrize("world", KAFKA_CLIENTS, indirect=True)
@pytest.mark.parametrize("call", ["send_offsets_to_transaction", "commit_transaction"])
def test_a_call_that_does_not_keep_its_deadline_leaves_the_commit_in_doubt(
    world: World, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    def never(*_: object) -> None:
        over.wait(120)

    sink = world.topic()
    transport, source, after = joined_with(world, **{call: never})
    monkeypatch.setattr(committing, "COMMIT_SECONDS", 2.0)
    with pytest.raises(InDoubt, match="TimeoutError"):
        transport.commit([numbered(sink, 0, 10)], after)
    assert not over.is_set()
    monkeypatch.undo()
    assert settled(transport) == {Partition(source, 0): 0}
    transport.commit([numbered(sink, 100, 10)], positions(take(transport, 10)))
    assert values(everything(world.reader(), sink, 10)) == [b"%d" % number for number in range(100, 110)]
    over.set()


def test_where_nothing_is_forbidden_everything_that_a_service_needs_is_allowed(world: World) -> None:
    topic, reader = world.topic(), world.reader()
    allowed = reader.topic_operations([topic, "no-such-topic"])
    assert list(allowed) == [topic]
    assert allowed[topic] >= {"READ", "WRITE", "DESCRIBE"}
    assert "READ" in reader.group_operations(), "of a group that has had no member"


@pytest.mark.kafka
def test_a_kafka_python_reader_that_fails_while_the_broker_answers_makes_new_clients(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, reader = f"topic-{uuid.uuid4().hex}", KafkaTransport(Connection(kafka, "group"))
    reader.create([TopicSpec(topic, 1)])
    partition = Partition(topic, 0)
    assert reader.bounds([partition]) == {partition: (0, 0)}

    def stale(*_how: object, **_more: object) -> None:
        raise KafkaTimeoutError("Failed to get offsets by timestamps in 10000 ms")

    monkeypatch.setattr(reader._offsets(), "end_offsets", stale)
    with pytest.raises(BrokerUnavailable, match="10000 ms"):
        reader.bounds([partition])
    assert reader.bounds([partition]) == {partition: (0, 0)}
    reader.close(10)


@pytest.mark.parametrize("guarantee", ["exactly-once", "at-least-once"])
def test_an_error_of_the_handler_is_raised_as_it_is_and_commits_nothing(world: World, guarantee: str) -> None:
    source, sink = world.topic(), world.topic()
    partition = Partition(source, 0)
    world.admin.commit([numbered(source, 0, 10)], {})
    transport = world.connect(at_least_once=guarantee == "at-least-once")
    join(transport, source)
    for ours in (ValueError("not finite"), TimeoutError("of ours"), BrokerUnavailable("another"), KeyError("lane")):

        def pieces(error: Exception = ours) -> Iterator[Outgoing]:
            yield numbered(sink, 0, 10)
            raise error

        with pytest.raises(type(ours)) as raised:
            transport.commit(pieces(), positions(take(transport, 10)))
        assert raised.value is ours
        assert world.reader().committed([partition]) == {}, "and no transaction is left open"
        assert transport.settle() == {partition: 0}
    after = positions(take(transport, 10))
    transport.commit([numbered(sink, 100, 10)], after)
    until(lambda: world.reader().committed([partition]) == after, transport)
    sent = values(everything(world.reader(), sink, 10))
    assert sent[-10:] == [b"%d" % number for number in range(100, 110)]
    assert guarantee == "at-least-once" or len(sent) == 10


def test_columns_of_different_lengths_are_refused_before_anything_is_sent() -> None:
    with pytest.raises(ValueError, match=r"2 partitions, 1 timestamps, 2 keys, 2 values"):
        Outgoing("forecasts", [0, 0], [1], [None, None], [b"a", b"b"])
    with pytest.raises(ValueError, match="1 headers"):
        Outgoing("forecasts", [0, 0], [1, 2], [None, None], [b"a", b"b"], [[]])


def delete_topic(world: World, topic: str) -> None:
    if isinstance(world.admin, MemoryTransport):
        world.admin._broker.delete(topic)
        return
    from kafka.admin import KafkaAdminClient

    with KafkaAdminClient(bootstrap_servers=world._bootstrap) as admin:
        admin.delete_topics([topic])


def settled(transport: Transport) -> Positions:
    """Settle as soon as the broker is back."""
    for _ in range(POLLS):
        try:
            return transport.settle()
        except TransportError as error:
            last = error
            time.sleep(0.1)
    raise last


def delete_records(world: World, partition: Partition, before: int) -> None:
    """Let retention pass: drop the records before an offset."""
    if isinstance(world.admin, MemoryTransport):
        world.admin._broker.delete_records(partition, before)
        return
    from kafka import TopicPartition
    from kafka.admin import KafkaAdminClient

    with KafkaAdminClient(bootstrap_servers=world._bootstrap) as admin:
        admin.delete_records({TopicPartition(*partition): before})
