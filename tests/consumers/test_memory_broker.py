"""The broker in this process, beyond the transport suite: faults, time, retention, and speed of waking."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcast.consumers.memory.transport import Fault, MemoryBroker, MemoryReader, MemoryTransport
from streamcast.consumers.transport import (
    BrokerUnavailable,
    Connection,
    Fenced,
    InDoubt,
    Outgoing,
    Partition,
    RecordsGone,
    TopicMissing,
    TopicSpec,
)

INPUT, OUTPUT = Partition("in", 0), Partition("out", 0)


class Heard:
    """A listener that remembers its notifications and its partitions."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.assigned: list[Partition] = []

    def on_assigned(self, partitions: Sequence[Partition]) -> None:
        self.heard.append("assigned")
        self.assigned = list(partitions)

    def on_revoked(self, partitions: Sequence[Partition]) -> None:
        self.heard.append("revoked")
        self.assigned = []

    def on_lost(self, partitions: Sequence[Partition]) -> None:
        self.heard.append("lost")
        self.assigned = []


class Clock:
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def broker_with(partitions: int = 1, **how: object) -> MemoryBroker:
    broker = MemoryBroker(**how)  # type: ignore[arg-type]
    for name in ("in", "out"):
        broker.create(TopicSpec(name, partitions))
    return broker


def outgoing(topic: str, *values: bytes) -> Outgoing:
    count = len(values)
    return Outgoing(topic, [0] * count, list(range(count)), [None] * count, list(values))


def write(broker: MemoryBroker, *values: bytes) -> None:
    MemoryTransport(broker, Connection("", "writers", "writer", "at_least_once")).commit([outgoing("in", *values)], {})


def member(broker: MemoryBroker, instance: str = "0") -> tuple[MemoryTransport, Heard]:
    transport, heard = MemoryTransport(broker, Connection("", "group", instance)), Heard()
    transport.subscribe(["in"], heard)
    transport.poll(0, 1)
    return transport, heard


def visible(broker: MemoryBroker, partition: Partition) -> list[bytes | None]:
    reader = MemoryReader(broker, Connection("", "group"))
    return [
        value
        for batch in reader.read_range(partition, *reader.bounds([partition])[partition])
        for value in batch.values
    ]


def scripted(*script: tuple[str, Fault]) -> tuple[list[tuple[str, Fault]], MemoryBroker]:
    """A broker whose first matching request of instance 0 meets each fault of the script in turn."""
    left = list(script)

    def faults(name: str, instance: str) -> Fault:
        if left and instance == "0" and name == left[0][0]:
            return left.pop(0)[1]
        return Fault.NONE

    return left, broker_with(faults=faults)


def test_an_end_of_transaction_that_arrives_after_the_producer_was_replaced_changes_nothing() -> None:
    left, broker = scripted(("end", Fault.LATE))
    write(broker, b"1", b"2")
    transport, _ = member(broker)
    transport.seek({INPUT: 0})
    (batch,) = transport.poll(0, 10)
    with pytest.raises(InDoubt):
        transport.commit([outgoing("out", b"a", b"b")], {INPUT: batch.next_offset})
    assert transport.settle() == {INPUT: 0}
    assert visible(broker, OUTPUT) == []
    assert left == []


@pytest.mark.parametrize("request_name", ["produce", "offsets", "end", "init"])
def test_a_request_that_arrives_twice_counts_once(request_name: str) -> None:
    left, broker = scripted((request_name, Fault.TWICE))
    write(broker, b"1", b"2")
    transport, _ = member(broker)
    transport.seek({INPUT: 0})
    (batch,) = transport.poll(0, 10)
    transport.commit([outgoing("out", b"a", b"b")], {INPUT: batch.next_offset})
    assert visible(broker, OUTPUT) == [b"a", b"b"]
    assert transport.committed([INPUT]) == {INPUT: 2}
    assert left == []


def test_a_broker_that_does_not_answer_is_unavailable() -> None:
    _, broker = scripted(("init", Fault.LOST), ("committed", Fault.UNANSWERED))
    transport = MemoryTransport(broker, Connection("", "group"))
    with pytest.raises(BrokerUnavailable):
        transport.subscribe(["in"], Heard())
    with pytest.raises(BrokerUnavailable):
        transport.committed([INPUT])


def test_positions_of_an_open_transaction_are_not_stable_until_it_times_out() -> None:
    clock = Clock()
    broker = broker_with(clock=clock, sleep=clock.sleep, transaction_seconds=5)
    write(broker, b"1")

    def crash(point: str) -> None:
        if point == "sent":
            raise TimeoutError(point)

    transport, heard = MemoryTransport(broker, Connection("", "group", passed=crash)), Heard()
    transport.subscribe(["in"], heard)
    transport.poll(0, 1)
    transport.seek({INPUT: 0})
    (batch,) = transport.poll(0, 10)
    with pytest.raises(InDoubt):
        transport.commit([outgoing("out", b"a")], {INPUT: batch.next_offset})
    reader = MemoryReader(broker, Connection("", "group"))
    with pytest.raises(BrokerUnavailable, match="open transaction"):
        reader.committed([INPUT])
    MemoryTransport(broker, Connection("", "others", "1")).commit([outgoing("out", b"b")], {})
    assert reader.bounds([OUTPUT]) == {OUTPUT: (0, 0)}, "nothing behind an open transaction is readable"
    clock.now += 6
    assert reader.committed([INPUT]) == {}
    assert visible(broker, OUTPUT) == [b"b"]


def test_a_member_that_stops_polling_loses_its_partitions_and_joins_again() -> None:
    clock = Clock()
    broker = broker_with(partitions=2, clock=clock, sleep=clock.sleep, member_seconds=5)
    silent, heard = member(broker, "a")
    assert len(heard.assigned) == 2
    clock.now += 4
    other, other_heard = member(broker, "b")
    assert other_heard.assigned == []
    clock.now += 2
    other.poll(0, 1)
    assert len(other_heard.assigned) == 2
    silent.poll(0, 1)
    assert heard.heard == ["assigned", "lost"]
    for _ in range(3):
        other.poll(0, 1)
        silent.poll(0, 1)
    assert len(heard.assigned) == len(other_heard.assigned) == 1


def test_an_instance_that_comes_back_takes_its_own_partitions_without_a_rebalance() -> None:
    broker = broker_with(partitions=2)
    killed, _ = member(broker, "a")
    other, other_heard = member(broker, "b")
    for _ in range(3):
        killed.poll(0, 1)
        other.poll(0, 1)
    before = list(other_heard.heard)
    _, heard = member(broker, "a")
    other.poll(0, 1)
    assert heard.assigned == [Partition("in", 0)]
    assert other_heard.heard == before
    with pytest.raises(Fenced, match="instance a"):
        killed.poll(0, 1)


def test_a_poll_wakes_when_a_record_is_written_by_another_thread() -> None:
    broker = broker_with()
    transport, _ = member(broker)
    transport.seek({INPUT: 0})
    writer = threading.Timer(0.05, write, (broker, b"late"))
    writer.start()
    batches = transport.poll(20, 10)
    writer.join()
    assert [batch.values for batch in batches] == [[b"late"]]


def test_retention_bounds_a_topic_and_says_what_is_gone() -> None:
    broker = broker_with(retention=100)
    for _ in range(100):
        write(broker, *[b"x"] * 10)
    reader = MemoryReader(broker, Connection("", "group"))
    first, last = reader.bounds([INPUT])[INPUT]
    assert last == 1000
    assert 100 <= last - first <= 125
    with pytest.raises(RecordsGone, match=rf"begins at offset {first}"):
        next(reader.read_range(INPUT, first - 1, last))
    assert len(visible(broker, INPUT)) == last - first


def test_a_topic_that_nobody_made_is_named() -> None:
    reader = MemoryReader(broker_with(), Connection("", "group"))
    with pytest.raises(TopicMissing, match=r"elsewhere\[0\]"):
        reader.bounds([Partition("elsewhere", 0)])


@given(st.lists(st.tuples(st.sampled_from(["commit", "abort", "plain"]), st.integers(1, 4)), max_size=12), st.data())
def test_readers_see_what_was_committed_in_order_and_offsets_are_never_reused(
    writes: list[tuple[str, int]], data: st.DataObject
) -> None:
    broker, expected, number = broker_with(), [], 0
    for how, count in writes:
        values = [b"%d" % each for each in range(number, number + count)]
        number += count

        def passed(point: str, how: str = how) -> None:
            if how == "abort" and point == "sent":
                raise TimeoutError(point)

        guarantee = "at_least_once" if how == "plain" else "exactly_once"
        transport = MemoryTransport(broker, Connection("", "writers", "0", guarantee, passed=passed))  # type: ignore[arg-type]
        if how == "abort":
            with pytest.raises(InDoubt):
                transport.commit([outgoing("in", *values)], {})
            transport.settle()
        else:
            transport.commit([outgoing("in", *values)], {})
            expected += values
    reader = MemoryReader(broker, Connection("", "group"))
    _, end = reader.bounds([INPUT])[INPUT]
    markers = sum(how != "plain" for how, _ in writes)
    assert end == number + markers
    assert visible(broker, INPUT) == expected
    cut = data.draw(st.integers(0, end))
    halves = [*reader.read_range(INPUT, 0, cut), *reader.read_range(INPUT, cut, end)]
    assert [value for batch in halves for value in batch.values] == expected
    assert len({offset for batch in halves for offset in batch.offsets}) == len(expected)
