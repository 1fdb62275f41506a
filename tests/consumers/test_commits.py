"""The promises of every transport about commits: all or nothing, known again after a doubt, and never in silence."""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from typing import Literal

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from kafka.errors import ProducerFencedError

from streamcast.consumers import committing
from streamcast.consumers.kafka_python.transport import KafkaTransport
from streamcast.consumers.librdkafka.reader import LibrdReader
from streamcast.consumers.librdkafka.transport import LibrdTransport
from streamcast.consumers.transport import (
    BrokerUnavailable,
    Connection,
    InDoubt,
    Outgoing,
    Partition,
    Positions,
    Reader,
    TopicSpec,
    Transport,
)
from tests.consumers.world import (
    CLIENTS,
    IMPATIENT,
    KAFKA_CLIENTS,
    OLDEST,
    Changed,
    Heard,
    World,
    everything,
    join,
    numbered,
    positions,
    raising,
    set_back,
    settled,
    take,
    until,
    values,
)


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


def overlapping(world: World, source: str, over: threading.Event) -> None:
    """Commit positions of two partitions in turn, in transactions of which one or both are always open."""
    group = Consumer({"bootstrap.servers": world.bootstrap, "group.id": world.group})
    members = [Producer({"bootstrap.servers": world.bootstrap, "transactional.id": uuid.uuid4().hex}) for _ in range(2)]
    for member in members:
        member.init_transactions(30)
    number = 0
    while not over.is_set():
        number += 1
        mine = members[number % 2]
        mine.begin_transaction()
        position = TopicPartition(source, number % 2, number)
        mine.send_offsets_to_transaction([position], group.consumer_group_metadata(), 30)
        if number > 1:
            members[(number + 1) % 2].commit_transaction(30)
        time.sleep(0.1)
    members[number % 2].commit_transaction(30)
    group.close()


@pytest.mark.parametrize("world", KAFKA_CLIENTS, indirect=True)
def test_positions_are_known_though_one_of_the_group_s_transactions_is_always_open(world: World) -> None:
    source, over = world.topic(2), threading.Event()
    both, reader = [Partition(source, index) for index in range(2)], world.reader()
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(overlapping, world, source, over)
        try:
            until(lambda: all(reader.committed([one]) for one in both))
            for _ in range(5):
                assert sorted(reader.committed(both)) == both
        finally:
            over.set()
        busy.result()


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


def test_a_commit_while_the_broker_is_away_leaves_nothing_and_is_done_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, sink = world.topic(), world.topic()
    world.admin.commit([numbered(source, 0, 10)], {})
    transport = world.connect(options=IMPATIENT.get(world.client))
    join(transport, source)
    transport.commit([numbered(sink, 0, 10)], {})
    batches = take(transport, 10)
    with monkeypatch.context() as impatient:
        impatient.setattr(committing, "COMMIT_SECONDS", 5.0)
        with world.unreachable(), pytest.raises(InDoubt):
            transport.commit([numbered(sink, 10, 10)], positions(batches))
    assert settled(transport) == {Partition(source, 0): 0}
    transport.commit([numbered(sink, 100, 10)], positions(take(transport, 10)))
    numbers = [*range(10), *range(100, 110)]
    assert values(everything(world.reader(), sink, 20)) == [b"%d" % number for number in numbers]


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
def test_an_answer_may_be_as_large_as_its_topic_takes(world: World, guarantee: str) -> None:
    source, sink = world.topic(), world.topic(1, **{"max.message.bytes": "4000000"})
    world.admin.commit([numbered(source, 0, 10)], {})
    transport = world.connect(at_least_once=guarantee == "at-least-once")
    join(transport, source)
    answers = [b"%d" % number * 3_000_000 for number in range(3)]
    transport.commit([Outgoing(sink, [0] * 3, [1] * 3, [b"a"] * 3, answers)], positions(take(transport, 10)))
    assert values(everything(world.reader(), sink, 3)) == answers


@pytest.mark.parametrize("world", KAFKA_CLIENTS, indirect=True)
@pytest.mark.parametrize("guarantee", ["exactly-once", "at-least-once"])
@pytest.mark.parametrize(
    "rule",
    [{"max.message.bytes": "100"}, {OLDEST: "3600000"}, {"cleanup.policy": "compact"}],
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


@pytest.mark.parametrize(
    ("world", "call"),
    [
        pytest.param(client, call, marks=pytest.mark.kafka)
        for client, call in [
            *itertools.product(CLIENTS, ["send_offsets_to_transaction", "commit_transaction"]),
            ("kafka-python", "flush"),  # that of librdkafka does
        ]
    ],
    indirect=["world"],
)
def test_a_call_that_does_not_keep_its_deadline_leaves_the_commit_in_doubt(
    world: World, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    over, outlasted = threading.Event(), list[str]()

    def never(*_: object) -> None:
        if not over.wait(30):
            outlasted.append(call)

    sink = world.topic()
    transport, source, after = joined_with(world, **{call: never})
    with monkeypatch.context() as impatient:
        impatient.setattr(committing, "COMMIT_SECONDS", 2.0)
        with pytest.raises(InDoubt, match="TimeoutError"):
            transport.commit([numbered(sink, 0, 10)], after)
    assert not outlasted
    assert settled(transport) == {Partition(source, 0): 0}
    transport.commit([numbered(sink, 100, 10)], positions(take(transport, 10)))
    assert values(everything(world.reader(), sink, 10)) == [b"%d" % number for number in range(100, 110)]
    over.set()


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
