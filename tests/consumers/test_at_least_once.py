"""The promises of every transport without transactions: answers first, then their positions."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace

import pytest

from streamcast.consumers import committing
from streamcast.consumers.transport import (
    InDoubt,
    Outgoing,
    Partition,
    Positions,
    RecordRefused,
    Transport,
)
from tests.consumers.world import (
    IMPATIENT,
    KAFKA_CLIENTS,
    OLDEST,
    POLLS,
    STALLING,
    Heard,
    World,
    everything,
    join,
    numbered,
    positions,
    raising,
    settled,
    take,
    until,
    values,
)

MANY = 150
"""Ten times as many answers are more than one commit waits for."""
SMALL_BATCHES: dict[str, dict[str, object]] = {"kafka-python": {"batch_size": 2500}, "librdkafka": {"batch.size": 2500}}


def answered_at_least_once(world: World, sink: str) -> tuple[Transport, Positions]:
    """A member that has answered ten records of a topic of its own, and the positions after them."""
    source = world.topic()
    world.admin.commit([numbered(source, 0, 10)], {})
    transport = world.connect(at_least_once=True)
    join(transport, source)
    after = positions(take(transport, 10))
    transport.commit([numbered(sink, 0, 10)], after)
    return transport, after


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

    with monkeypatch.context() as impatient:
        impatient.setattr(committing, "COMMIT_SECONDS", 5.0)
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


@pytest.mark.parametrize("world", KAFKA_CLIENTS, indirect=True)
def test_at_least_once_a_refused_answer_leaves_the_positions_of_those_before_it(world: World) -> None:
    source, sink = world.topic(), world.topic(1, **{"max.message.bytes": "3000"})
    world.admin.commit([numbered(source, 0, 30)], {})
    transport = world.connect(at_least_once=True)
    join(transport, source)
    *earlier, last = [positions(take(transport, 10, max_records=10)) for _ in range(3)]
    for after in earlier:
        transport.commit([numbered(sink, 0, 10)], after)
    large = replace(numbered(sink, 0, 1), values=[b"b" * 5_000])
    with pytest.raises(RecordRefused):
        transport.commit([large], last)
    assert settled(transport) == earlier[-1]


@pytest.mark.parametrize("world", KAFKA_CLIENTS, indirect=True)
@pytest.mark.parametrize(
    "rule",
    [{"max.message.bytes": "3000"}, {OLDEST: "3600000"}, {"cleanup.policy": "compact"}],
    ids=["size", "time", "key"],
)
def test_at_least_once_no_answer_passes_one_that_its_topic_refuses(world: World, rule: dict[str, str]) -> None:
    source, sink = world.topic(), world.topic(1, **rule)
    world.admin.commit([numbered(source, 0, 10)], {})
    transport = world.connect(at_least_once=True, options=SMALL_BATCHES[world.client])
    join(transport, source)
    now = int(time.time() * 1000)

    def pieces() -> Iterator[Outgoing]:
        for first in range(0, 3000, 20):
            good = replace(numbered(sink, first, 20), timestamps=[now] * 20)
            bad = replace(
                good,
                timestamps=[*good.timestamps[1:], 1_000_000_000_000],
                keys=[*good.keys[1:], None],
                values=[*good.values[:-1], b"b" * (5000 if "max.message.bytes" in rule else 1)],
            )
            yield bad if first == 1000 else good

    with pytest.raises(InDoubt, match=f"Topic {sink} cannot hold a record"):
        transport.commit(pieces(), positions(take(transport, 10)))
    settled(transport)
    assert in_order(world, sink)


@pytest.mark.parametrize("world", KAFKA_CLIENTS, indirect=True)
def test_at_least_once_no_answer_passes_one_that_waits_for_a_broker_for_too_long(world: World) -> None:
    sink = world.topic()
    source = world.topic()
    world.admin.commit([numbered(source, 0, 10)], {})
    transport = world.connect(at_least_once=True, options=IMPATIENT[world.client])
    join(transport, source)
    after = positions(take(transport, 10))
    transport.commit([numbered(sink, 0, 10)], {})

    def pieces() -> Iterator[Outgoing]:
        for first in range(10, 610, 10):  # each for 5 s, as IMPATIENT has it
            yield numbered(sink, first, 10)
            time.sleep(0.1)

    with ExitStack() as outage, suppress(InDoubt):
        outage.enter_context(world.unreachable())
        back = threading.Timer(5.5, outage.close)
        back.start()
        transport.commit(pieces(), after)
    back.join()
    settled(transport)
    assert in_order(world, sink)


def in_order(world: World, sink: str) -> bool:
    """Whether a topic has the first so many numbers, each once and in order."""
    partition = Partition(sink, 0)
    bounds = world.reader().bounds([partition])[partition]
    found = values(list(world.reader().read_range(partition, *bounds)))
    return found == [b"%d" % number for number in range(len(found))]
