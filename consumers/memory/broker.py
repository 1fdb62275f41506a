"""A model of Kafka in this process: what the embedded demo runs on, and what the simulation breaks on purpose.

Partitions are append-only logs whose transaction markers occupy offsets; readers see read_committed only.  Groups
rebalance eagerly with the range assignor.  Members are static: an instance that joins again gets its partitions back,
and the member it replaces is fenced.  One lock guards everything; it is a condition, so that a poll can wait for
records.

Time comes from ``clock`` (seconds); only session timeouts and transaction timeouts depend on it.
"""

from __future__ import annotations

import itertools
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, TypeVar

from streamcast.consumers.transport import (
    Batch,
    Headers,
    Outgoing,
    Partition,
    Positions,
    RecordsGone,
    TopicMissing,
    TopicSpec,
)

T = TypeVar("T")

MEMBER_SECONDS = 60.0
TRANSACTION_SECONDS = 30.0


class Fault(Enum):
    """What the network does to one request."""

    NONE = "it arrives and is answered"
    LOST = "it never arrives"
    UNANSWERED = "it arrives, its answer does not"
    TWICE = "it arrives twice"
    LATE = "it arrives after the producer has been initialised again, and is not answered"


Faults = Callable[[str, str], Fault]
"""Chooses the fault of a request ("init", "begin", "produce", "offsets", "end", "committed") from an instance."""


class RequestTimedOut(TimeoutError):
    """The request or its answer was lost."""


class ProducerFenced(Exception):
    """A newer producer with the same transactional id exists, or the transaction timed out."""


class StaleMember(Exception):
    """The group has moved on to another generation, or no longer knows the member."""


class TooLarge(Exception):
    """A record is larger than its topic takes: nothing of its request is written."""

    def __init__(self, topic: str, size: int, most: int) -> None:
        super().__init__(f"{size} bytes; max.message.bytes is {most}")
        self.topic = topic


@dataclass(slots=True)
class Log:
    """One partition: columns of its records, committed or in an open transaction, in offset order."""

    start: int = 0
    end: int = 0
    offsets: list[int] = field(default_factory=list)
    timestamps: list[int] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)
    headers: list[Headers] = field(default_factory=list)
    undecided: dict[int, int] = field(default_factory=dict)
    """First offset of each open transaction, by producer id."""

    @property
    def stable_end(self) -> int:
        """The offset of the first open transaction, or the end (Kafka's last stable offset)."""
        return min(self.undecided.values(), default=self.end)

    def _columns(self) -> tuple[list[Any], ...]:
        return self.offsets, self.timestamps, self.keys, self.values, self.headers

    def append(self, rows: Rows) -> None:
        count = len(rows.values)
        self.offsets.extend(range(self.end, self.end + count))
        self.timestamps.extend(rows.timestamps)
        self.keys.extend(rows.keys)
        self.values.extend(rows.values)
        self.headers.extend(rows.headers)
        self.end += count

    def forget(self, first: int, last: int) -> None:
        """Remove the records of offsets [first, last); their offsets are not used again."""
        rows = slice(bisect_left(self.offsets, first), bisect_left(self.offsets, last))
        for column in self._columns():
            del column[rows]

    def truncate(self, start: int) -> None:
        """Drop everything before ``start``."""
        self.forget(self.start, start)
        self.start = max(self.start, start)

    def read(self, partition: Partition, start: int, end: int, limit: int) -> Batch | None:
        """The records of [start, end) before any open transaction, at most ``limit``; None when there are none."""
        if start < self.start:
            raise RecordsGone.before(partition, self.start, start)
        end = min(end, self.stable_end)
        first, stop = bisect_left(self.offsets, start), bisect_left(self.offsets, end)
        rows = slice(first, min(stop, first + limit))
        if rows.stop <= first:
            return None
        following = self.offsets[rows.stop] if rows.stop < stop else end
        offsets, timestamps, keys, values, headers = (column[rows] for column in self._columns())
        return Batch(partition, offsets, timestamps, keys, values, following, headers if any(headers) else None)


@dataclass(frozen=True, slots=True)
class Rows:
    """The records of one produce request, for one partition, as columns."""

    timestamps: Sequence[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    headers: Sequence[Headers]


@dataclass(slots=True)
class Transaction:
    """The records and positions of one open transaction."""

    opened: float
    blocks: list[tuple[Partition, int, int]] = field(default_factory=list)
    positions: dict[str, Positions] = field(default_factory=dict)
    mark: str = ""


@dataclass(slots=True)
class Producer:
    """The broker's view of one producer; ``sequences`` counts its records by partition."""

    id: int
    transactional_id: str | None
    epoch: int = 0
    sequences: dict[Partition, int] = field(default_factory=dict)
    transaction: Transaction | None = None


@dataclass(slots=True)
class Member:
    """One member of a group; ``joined`` is false until it has joined the next generation."""

    id: int
    topics: Sequence[str]
    seen: float
    joined: bool = True


@dataclass(slots=True)
class Group:
    """One consumer group; members are keyed by instance."""

    generation: int = 0
    rebalancing: bool = False
    members: dict[str, Member] = field(default_factory=dict)
    assignment: dict[str, list[Partition]] = field(default_factory=dict)
    committed: Positions = field(default_factory=dict)
    marks: dict[Partition, str] = field(default_factory=dict)
    """What was committed beside each position."""

    def commit(self, positions: Mapping[Partition, int], mark: str) -> None:
        self.committed.update(positions)
        self.marks.update(dict.fromkeys(positions, mark))


class MemoryBroker:
    """Topics, groups and transactions in memory; every method may be called from any thread.

    ``sleep`` replaces real waiting where time is simulated; ``retention`` bounds each partition, in records.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        sleep: Callable[[float], None] | None = None,
        faults: Faults = lambda _request, _instance: Fault.NONE,
        retention: int | None = None,
        member_seconds: float = MEMBER_SECONDS,
        transaction_seconds: float = TRANSACTION_SECONDS,
    ) -> None:
        self.changed = threading.Condition()
        self._clock, self._sleep, self._faults = clock, sleep, faults
        self._retention, self._member_seconds, self._transaction_seconds = (
            retention,
            member_seconds,
            transaction_seconds,
        )
        self._topics: dict[str, TopicSpec] = {}
        self._logs: dict[Partition, Log] = {}
        self._groups: dict[str, Group] = {}
        self._producers: dict[str, Producer] = {}
        self._late: list[Callable[[], object]] = []
        self._ids = itertools.count(1)

    def request(self, name: str, instance: str, call: Callable[[], T]) -> T:
        """Make one request with the fault chosen for it: lost, unanswered, doubled, late, or none."""
        fault = self._faults(name, instance)
        if fault is Fault.LOST:
            raise RequestTimedOut(name)
        with self.changed:
            if fault is Fault.LATE:
                self._late.append(call)
                raise RequestTimedOut(name)
            answer = call()
            if fault is Fault.TWICE:
                answer = call()
            self.changed.notify_all()
        if fault is Fault.UNANSWERED:
            raise RequestTimedOut(name)
        return answer

    def wait(self, seconds: float) -> None:
        """Wait until something changes, or for ``seconds`` (holding ``changed``)."""
        if self._sleep is None:
            self.changed.wait(seconds)
        else:
            self._sleep(seconds)

    def now(self) -> float:
        """The broker's time in seconds: real, or simulated by ``clock`` and ``sleep``."""
        return self._clock()

    # Topics

    def create(self, spec: TopicSpec) -> None:
        """Create a topic unless it exists; this broker's default replication factor is 1."""
        with self.changed:
            if spec.name not in self._topics:
                made = f"topic-{next(self._ids)}"
                self._topics[spec.name] = replace(spec, replication=max(spec.replication, 1), id=made)
                self._logs.update({Partition(spec.name, index): Log() for index in range(spec.partitions)})

    def delete(self, topic: str) -> None:
        """Delete a topic, and the positions of groups in it."""
        with self.changed:
            for partition in [Partition(topic, index) for index in range(self._topics.pop(topic).partitions)]:
                del self._logs[partition]
                for group in self._groups.values():
                    group.committed.pop(partition, None)
                    group.marks.pop(partition, None)

    def grow(self, topic: str, partitions: int) -> None:
        """Add partitions to a topic, up to this many; groups that read it share them out at once."""
        with self.changed:
            known = self._topics[topic]
            added = range(known.partitions, partitions)
            self._topics[topic] = replace(known, partitions=partitions)
            self._logs.update({Partition(topic, index): Log() for index in added})
            for group in self._groups.values():
                if any(topic in member.topics for member in group.members.values()):
                    self._rebalance(group)
            self.changed.notify_all()

    def alter(self, topic: str, config: Mapping[str, str]) -> None:
        """Give a topic another configuration, of which this broker knows max.message.bytes (of a key and a value)."""
        with self.changed:
            self._topics[topic] = replace(self._topics[topic], config=config)

    def describe(self, topics: Sequence[str]) -> dict[str, TopicSpec]:
        """The topics that exist among ``topics``."""
        with self.changed:
            return {name: self._topics[name] for name in topics if name in self._topics}

    def log(self, partition: Partition) -> Log:
        """The log of one partition, to be read while holding ``changed``; raises TopicMissing."""
        self._expire_transactions()
        try:
            return self._logs[partition]
        except KeyError:
            raise TopicMissing(f"There is no partition {partition}: create the topic first") from None

    def delete_records(self, partition: Partition, before: int) -> None:
        """Drop the records before an offset, as retention would."""
        with self.changed:
            self.log(partition).truncate(before)

    # Producers and transactions

    def init_producer(self, transactional_id: str | None) -> tuple[Producer, int]:
        """Return a producer and its epoch; fences its predecessor and aborts the transaction that one left open."""
        if transactional_id is None:
            return Producer(next(self._ids), None), 0
        producer = self._producers.setdefault(transactional_id, Producer(next(self._ids), transactional_id))
        self._bump(producer)
        late, self._late = self._late, []
        for call in late:
            try:
                call()
            except (ProducerFenced, StaleMember, TooLarge):  # answers to a request that nobody waits for
                continue
        return producer, producer.epoch

    def fence(self, transactional_id: str) -> None:
        """Fence the producer of ``transactional_id``, as another process with this identity would."""
        with self.changed:
            self._bump(self._producers[transactional_id])

    def produce(self, producer: Producer, epoch: int, partition: Partition, rows: Rows, sequence: int) -> None:
        """Append ``rows``; their first is the producer's record number ``sequence``.  A repetition is ignored.

        Raises TooLarge for a record that its topic does not take.
        """
        self._check_epoch(producer, epoch)
        log = self.log(partition)
        if sequence < producer.sequences.get(partition, 0):
            return
        self._check_sizes(partition.topic, rows)
        first = log.end
        log.append(rows)
        producer.sequences[partition] = sequence + len(rows.values)
        if producer.transactional_id is not None:
            self._transaction(producer).blocks.append((partition, first, log.end))
            log.undecided.setdefault(producer.id, first)
        if self._retention is not None and len(log.offsets) > self._retention * 1.25:
            log.truncate(log.offsets[-self._retention])

    def _check_sizes(self, topic: str, rows: Rows) -> None:
        if (limit := self._topics[topic].config.get("max.message.bytes")) is not None:
            for key, value in zip(rows.keys, rows.values, strict=True):
                if (size := len(key or b"") + len(value or b"")) > int(limit):
                    raise TooLarge(topic, size, int(limit))

    def add_offsets(
        self, producer: Producer, epoch: int, group: str, member: int, generation: int, positions: Positions,
        mark: str = "",
    ) -> None:  # fmt: skip
        """Add a group's positions to the transaction; raises StaleMember unless this member holds the generation."""
        self._check_epoch(producer, epoch)
        self.check_member(group, member, generation)
        transaction = self._transaction(producer)
        transaction.positions.setdefault(group, {}).update(positions)
        transaction.mark = mark

    def end(self, producer: Producer, epoch: int, *, commit: bool) -> None:
        """Commit or abort the open transaction; a repetition is ignored."""
        self._check_epoch(producer, epoch)
        self._end(producer, commit=commit)

    def _transaction(self, producer: Producer) -> Transaction:
        if producer.transaction is None:
            producer.transaction = Transaction(self._clock())
        return producer.transaction

    def _end(self, producer: Producer, *, commit: bool) -> None:
        transaction, producer.transaction = producer.transaction, None
        if transaction is None:
            return
        if not commit:
            for partition, first, last in transaction.blocks:
                self._logs[partition].forget(first, last)
        for partition in dict.fromkeys(block[0] for block in transaction.blocks):
            log = self._logs[partition]
            del log.undecided[producer.id]
            log.end += 1  # the marker
        if commit:
            for group, positions in transaction.positions.items():
                self._group(group).commit(positions, transaction.mark)

    def _bump(self, producer: Producer) -> None:
        self._end(producer, commit=False)
        producer.epoch += 1
        producer.sequences.clear()

    def _check_epoch(self, producer: Producer, epoch: int) -> None:
        self._expire_transactions()
        if producer.epoch != epoch:
            raise ProducerFenced(f"{producer.transactional_id}: epoch {epoch} was replaced by {producer.epoch}")

    def _expire_transactions(self) -> None:
        oldest = self._clock() - self._transaction_seconds
        for producer in self._producers.values():
            if producer.transaction is not None and producer.transaction.opened < oldest:
                self._bump(producer)

    # Groups

    def join(self, group: str, instance: str, topics: Sequence[str]) -> int:
        """Join as a new member and return its id; it replaces a member of the same instance without a rebalance."""
        with self.changed:
            state, member = self._group(group), Member(next(self._ids), tuple(topics), self._clock())
            replaced = state.members.get(instance)
            state.members[instance] = member
            if replaced is None or replaced.topics != member.topics or state.rebalancing:
                self._rebalance(state)
            self.changed.notify_all()
            return member.id

    def rejoin(self, group: str, instance: str) -> None:
        """Join the next generation, after giving up the partitions of the last one."""
        with self.changed:
            state = self._group(group)
            state.members[instance].joined = True
            state.assignment.pop(instance, None)
            self._complete_rebalance(state)
            self.changed.notify_all()

    def membership(
        self, group: str, instance: str, member: int
    ) -> tuple[Member | None, int | None, Sequence[Partition]]:
        """The member as the group knows it, the generation, and the member's partitions.

        The member is None when it has expired, the generation while it is forming.  Raises ProducerFenced when
        another member has taken the instance.  Counts as a heartbeat.
        """
        with self.changed:
            state = self._group(group)
            self._expire_members(state)
            known = state.members.get(instance)
            if known is not None and known.id != member:
                raise ProducerFenced(f"another member of group {group} has taken instance {instance}")
            if known is not None:
                known.seen = self._clock()
            return known, None if state.rebalancing else state.generation, state.assignment.get(instance, ())

    def expire(self, group: str, instance: str) -> None:
        """Drop a member from its group, as a session timeout would."""
        with self.changed:
            state = self._group(group)
            if state.members.pop(instance, None) is not None:
                self._rebalance(state)

    def check_member(self, group: str, member: int, generation: int) -> None:
        """Raise StaleMember unless ``member`` holds its partitions in ``generation``."""
        state = self._group(group)
        self._expire_members(state)
        if state.generation != generation or member not in {known.id for known in state.members.values()}:
            raise StaleMember(f"group {group} is at generation {state.generation}, the commit is from {generation}")

    def commit_offsets(
        self, group: str, member: int, generation: int, positions: Mapping[Partition, int], mark: str = ""
    ) -> None:
        """Commit a group's positions outside of any transaction."""
        self.check_member(group, member, generation)
        self._group(group).commit(positions, mark)

    def reset_offsets(self, group: str, positions: Mapping[Partition, int]) -> None:
        """Move a group's positions, as kafka-consumer-groups.sh --reset-offsets does while no member is there."""
        with self.changed:
            self._group(group).commit(positions, "")

    def committed(self, group: str, partitions: Sequence[Partition]) -> Positions:
        """The stable committed positions; raises RequestTimedOut while a transaction that holds one is open."""
        self._expire_transactions()
        for producer in self._producers.values():
            pending = producer.transaction.positions.get(group, {}) if producer.transaction else {}
            if any(partition in pending for partition in partitions):
                raise RequestTimedOut("committed")
        known = self._group(group).committed
        return {partition: known[partition] for partition in partitions if partition in known}

    def marks(self, group: str, partitions: Sequence[Partition]) -> dict[Partition, str]:
        """What was committed beside the positions that ``committed`` returns."""
        known = self._group(group).marks
        return {partition: known.get(partition, "") for partition in self.committed(group, partitions)}

    def _group(self, name: str) -> Group:
        return self._groups.setdefault(name, Group())

    def _expire_members(self, group: Group) -> None:
        oldest = self._clock() - self._member_seconds
        gone = [instance for instance, member in group.members.items() if member.seen < oldest]
        for instance in gone:
            del group.members[instance]
        if gone:
            self._rebalance(group)

    def _rebalance(self, group: Group) -> None:
        """Begin a new generation: members with partitions give them up at their next poll."""
        group.rebalancing = True
        for instance, member in group.members.items():
            member.joined = not group.assignment.get(instance)
        group.assignment = {instance: held for instance, held in group.assignment.items() if instance in group.members}
        self._complete_rebalance(group)

    def _complete_rebalance(self, group: Group) -> None:
        if not group.rebalancing or not all(member.joined for member in group.members.values()):
            return
        group.rebalancing = False
        group.generation += 1
        group.assignment = {instance: [] for instance in group.members}
        for topic in sorted({topic for member in group.members.values() for topic in member.topics}):
            self._assign_ranges(group, topic)

    def _assign_ranges(self, group: Group, topic: str) -> None:
        takers = sorted(instance for instance, member in group.members.items() if topic in member.topics)
        each, over = divmod(self._topics[topic].partitions, len(takers))
        first = 0
        for place, instance in enumerate(takers):
            count = each + (place < over)
            group.assignment[instance] += [Partition(topic, index) for index in range(first, first + count)]
            first += count


def by_partition(outgoing: Outgoing) -> dict[Partition, Rows]:
    """Split outgoing records into one produce request per partition, keeping their order."""
    rows: dict[int, list[int]] = {}
    for row, index in enumerate(outgoing.partitions):
        rows.setdefault(index, []).append(row)
    headers = outgoing.headers or [()] * len(outgoing)
    return {
        Partition(outgoing.topic, index): Rows(
            [outgoing.timestamps[row] for row in mine],
            [outgoing.keys[row] for row in mine],
            [outgoing.values[row] for row in mine],
            [headers[row] for row in mine],
        )
        for index, mine in rows.items()
    }
