"""The promises of every transport about the members of a group: who reads and commits which partition."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import pytest
from confluent_kafka import Message

from streamcast.consumers.librdkafka.reader import LibrdReader
from streamcast.consumers.librdkafka.transport import LibrdTransport
from streamcast.consumers.transport import (
    BrokerUnavailable,
    Connection,
    Fenced,
    InDoubt,
    OtherAssignor,
    Partition,
    Transport,
    TransportError,
)
from tests.consumers.world import (
    KAFKA_CLIENTS,
    LEAVING,
    POLLS,
    STALLING,
    Changed,
    Heard,
    World,
    both,
    everything,
    join,
    numbered,
    positions,
    take,
    until,
    values,
)


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
