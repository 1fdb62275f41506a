"""Transport and Reader over the broker in this process: the demo's default, the simulation's subject."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TypeVar

from streamcast.consumers.committing import Answers
from streamcast.consumers.membership import Membership
from streamcast.consumers.memory.broker import (
    Fault,
    Faults,
    MemoryBroker,
    Producer,
    ProducerFenced,
    RequestTimedOut,
    StaleMember,
    TooLarge,
    by_partition,
)
from streamcast.consumers.transport import (
    EVERYTHING,
    Batch,
    BrokerUnavailable,
    Connection,
    Fenced,
    InDoubt,
    Listener,
    Outgoing,
    Partition,
    Positions,
    RecordRefused,
    TopicMissing,
    TopicSpec,
)

__all__ = ["Fault", "Faults", "MemoryBroker", "MemoryReader", "MemoryTransport"]

T = TypeVar("T")

RANGE_RECORDS = 5000
"""Records in one batch of ``read_range``."""


class MemoryReader:
    """Reads a MemoryBroker's topics without joining a group; see ``Reader``."""

    def __init__(self, broker: MemoryBroker, connection: Connection) -> None:
        self._broker, self._connection = broker, connection

    def describe(self, topics: Sequence[str]) -> dict[str, TopicSpec]:
        """See ``Reader.describe``."""
        return self._broker.describe(topics)

    def identities(self, topics: Sequence[str]) -> dict[str, str]:
        """See ``Reader.identities``."""
        return {name: topic.id for name, topic in self._broker.describe(topics).items()}

    def topic_operations(self, topics: Sequence[str]) -> dict[str, frozenset[str]]:
        """See ``Reader.topic_operations``: here everything is allowed."""
        return dict.fromkeys(self._broker.describe(topics), EVERYTHING)

    def group_operations(self) -> frozenset[str]:
        """See ``Reader.group_operations``."""
        return EVERYTHING

    def bounds(self, partitions: Sequence[Partition]) -> dict[Partition, tuple[int, int]]:
        """See ``Reader.bounds``."""
        with self._broker.changed:
            logs = {partition: self._broker.log(partition) for partition in partitions}
            return {partition: (log.start, log.stable_end) for partition, log in logs.items()}

    def ends(self, partitions: Sequence[Partition]) -> Positions:
        """See ``Reader.ends``."""
        with self._broker.changed:
            return {partition: self._broker.log(partition).end for partition in partitions}

    def offsets_at(self, partitions: Sequence[Partition], timestamp_ms: int) -> Positions:
        """See ``Reader.offsets_at``."""
        found = {}
        with self._broker.changed:
            for partition in partitions:
                log = self._broker.log(partition)
                rows = zip(log.offsets, log.timestamps, strict=True)
                first = next((offset for offset, timestamp in rows if timestamp >= timestamp_ms), log.end)
                found[partition] = min(first, log.stable_end)
        return found

    def read_ranges(self, ranges: Mapping[Partition, tuple[int, int]]) -> Iterator[list[Batch]]:
        """See ``Reader.read_ranges``."""
        together: list[Batch] = []
        for partition, (start, end) in ranges.items():
            for batch in self.read_range(partition, start, end):
                together.append(batch)
                if sum(map(len, together)) >= RANGE_RECORDS:
                    yield together
                    together = []
        if together:
            yield together

    def read_range(self, partition: Partition, start: int, end: int) -> Iterator[Batch]:
        """See ``Reader.read_range``."""
        while start < end:
            with self._broker.changed:
                log = self._broker.log(partition)
                if end > log.stable_end:
                    raise BrokerUnavailable(
                        f"{partition} is readable up to offset {log.stable_end}, but records up to {end} were"
                        " requested: try again when its open transactions have ended"
                    )
                batch = log.read(partition, start, end, RANGE_RECORDS)
            if batch is None:
                return
            yield batch
            start = batch.next_offset

    def committed(self, partitions: Sequence[Partition]) -> Positions:
        """See ``Reader.committed``."""
        group = self._connection.group
        return self._asked_of_group(lambda: self._broker.committed(group, partitions))

    def marks(self, partitions: Sequence[Partition]) -> dict[Partition, str]:
        """See ``Reader.marks``."""
        group = self._connection.group
        return self._asked_of_group(lambda: self._broker.marks(group, partitions))

    def close(self, timeout_seconds: float) -> None:
        """See ``Reader.close``: there is nothing to close."""

    def _asked_of_group(self, call: Callable[[], T]) -> T:
        """Ask for what the group has committed."""
        try:
            return self._request("committed", call)
        except RequestTimedOut:
            raise BrokerUnavailable(
                f"Group {self._connection.group} has positions in an open transaction: try again when it has ended"
            ) from None

    def _request(self, name: str, call: Callable[[], T]) -> T:
        return self._broker.request(name, self._connection.instance, call)


class MemoryTransport(MemoryReader):
    """A group member and producer on a MemoryBroker; see ``Transport``."""

    def __init__(self, broker: MemoryBroker, connection: Connection) -> None:
        super().__init__(broker, connection)
        self._topics: Sequence[str] = ()
        self._listener: Listener | None = None
        self._member: int | None = None
        self._generation = -1
        self._assigned: list[Partition] = []
        self._membership = Membership(lambda _positions: None)
        self._producer: tuple[Producer, int] | None = None
        self._unsent: RequestTimedOut | None = None

    def subscribe(self, topics: Sequence[str], listener: Listener) -> None:
        """See ``Transport.subscribe``."""
        if missing := set(topics) - set(self.describe(topics)):
            raise TopicMissing(f"There is no topic {', '.join(sorted(missing))}: create it first")
        self._topics, self._listener = topics, listener
        self._producer = self._reopened()

    def poll(self, timeout_seconds: float, max_records: int) -> list[Batch]:
        """See ``Transport.poll``."""
        deadline, pending = self._broker.now() + timeout_seconds, self._membership.pending
        self._receive_commits()
        while True:
            self._follow_group()
            with self._broker.changed:
                batches = self._fetch(max_records)
                remaining = deadline - self._broker.now()
                if batches or (remaining <= 0 and not pending.held):
                    return batches
                if not pending.held:
                    self._broker.wait(remaining)
            with self._committing(Answers([]), pending.held):
                self._receive_acknowledgements()

    def commit(self, outgoing: Iterable[Outgoing], positions: Positions) -> None:
        """See ``Transport.commit``."""
        answers = Answers(outgoing)
        with self._committing(answers, positions):
            producer, epoch = self._producer = self._producer or self._init()
            if self._connection.guarantee == "exactly_once":
                self._commit_transaction(producer, epoch, answers, positions)
            else:
                self._commit_plainly(producer, epoch, answers, positions)
            self._connection.passed("committed")

    def settle(self) -> Positions:
        """See ``Transport.settle``."""
        self._producer, self._unsent = self._reopened(), None
        self._membership.pending.clear()
        stable = self._membership.settled(self.committed(list(self._membership.sought)))
        self.seek(stable)
        return stable

    def begin(self, positions: Positions) -> None:
        """See ``Transport.begin``."""
        if self._connection.guarantee != "exactly_once":
            if (refused := self._commit_positions(positions, "begin")) is not None:
                raise BrokerUnavailable.refused_first(positions, refused)
            return
        try:
            with self._committing(Answers([]), positions):
                producer, epoch = self._producer = self._producer or self._init()
                self._commit_transaction(producer, epoch, [], positions)
        except InDoubt as doubt:
            raise BrokerUnavailable.refused_first(positions, doubt.__cause__) from doubt

    def seek(self, positions: Positions) -> None:
        """See ``Transport.seek``."""
        with self._broker.changed:
            self._membership.seek(positions)

    def pause(self, partitions: Sequence[Partition]) -> None:
        """See ``Transport.pause``."""
        self._membership.pause(partitions)

    def resume(self, partitions: Sequence[Partition]) -> None:
        """See ``Transport.resume``."""
        self._membership.resume(partitions)

    def lag(self) -> dict[Partition, int]:
        """See ``Transport.lag``."""
        with self._broker.changed:
            return {
                partition: max(0, self._broker.log(partition).stable_end - position)
                for partition, position in self._membership.next.items()
            }

    def create(self, topics: Sequence[TopicSpec]) -> None:
        """See ``Transport.create``."""
        for spec in topics:
            self._broker.create(spec)

    def close(self, timeout_seconds: float) -> None:
        """Give up the partitions; a static member stays in its group until the session times out."""
        self._give_up()
        self._listener = None

    def _reopened(self) -> tuple[Producer, int]:
        """A new producer with the same identity: the broker aborts the transaction that the last one left open."""
        try:
            return self._init()
        except RequestTimedOut:
            raise BrokerUnavailable("The broker did not answer while settling a transaction: try again") from None

    def _init(self) -> tuple[Producer, int]:
        connection = self._connection
        exactly_once = connection.guarantee == "exactly_once"
        transactional_id = f"{connection.group}-{connection.instance}" if exactly_once else None
        return self._request("init", lambda: self._broker.init_producer(transactional_id))

    @contextmanager
    def _committing(self, answers: Answers, positions: Positions) -> Iterator[None]:
        """Sort the errors of a commit: the handler's are raised as they are, the broker's leave it in doubt."""
        try:
            yield
        except Exception as error:
            if answers.error is not None:
                self._abort()
                raise answers.error from None
            if isinstance(error, ProducerFenced):
                self._producer = None
                raise Fenced(
                    f"{error}: stop this process, another one with instance {self._connection.instance} is at work"
                ) from None
            if isinstance(error, TooLarge):
                self._producer = None
                raise RecordRefused(error.topic, error) from error
            if isinstance(error, TimeoutError | StaleMember):
                self._producer = None
                raise InDoubt(f"The commit of {len(positions)} partitions is in doubt ({error}): settle it") from error
            raise

    def _abort(self) -> None:
        """Abort the open transaction if the broker answers; otherwise the next producer, or its timeout, does."""
        if self._producer is not None and self._connection.guarantee == "exactly_once":
            producer, epoch = self._producer
            with suppress(RequestTimedOut, ProducerFenced):
                self._request("end", lambda: self._broker.end(producer, epoch, commit=False))
        self._producer, self._unsent = None, None

    def _commit_transaction(
        self, producer: Producer, epoch: int, answers: Iterable[Outgoing], positions: Positions
    ) -> None:
        """See ``Transport.commit`` for the steps; here the broker acknowledges a record as it is sent."""
        if positions:  # step 1
            group, member, mark = self._connection.group, self._member or -1, self._connection.mark
            call = partial(self._broker.add_offsets, producer, epoch, group, member, self._generation, positions, mark)
            self._request("offsets", call)
        self._connection.passed("offsets")
        for records in answers:  # steps 2 and 3
            self._produce(producer, epoch, records)
        self._connection.passed("sent")
        self._request("end", lambda: self._broker.end(producer, epoch, commit=True))  # step 4

    def _commit_plainly(
        self, producer: Producer, epoch: int, answers: Iterable[Outgoing], positions: Positions
    ) -> None:
        """See ``Transport.commit`` for the steps; 3 and 4 are left to the next commit or poll, as a client may do."""
        self._membership.pending.check()  # step 1
        self._receive_acknowledgements()
        for records in answers:  # step 2
            try:
                self._produce(producer, epoch, records)
            except RequestTimedOut as unsent:
                if records.first or not positions:
                    raise
                self._unsent = unsent
        self._connection.passed("sent")
        self._membership.pending.hold(positions)
        self._connection.passed("offsets")

    def _receive_acknowledgements(self) -> None:
        """Take step 3 of the previous commit, and make its positions pending; raises RequestTimedOut."""
        if (unsent := self._unsent) is not None:
            self._unsent = None
            raise unsent
        if self._membership.pending.held:
            self._membership.pending.release()

    def _receive_commits(self) -> None:
        """Take step 4: the commit of positions in flight arrives, and the pending ones are sent."""
        pending = self._membership.pending
        if pending.in_flight:
            pending.answered(self._commit_positions(pending.in_flight))
        pending.ask()

    def _commit_positions(self, positions: Positions, request: str = "offsets") -> Exception | None:
        group, member, mark = self._connection.group, self._member or -1, self._connection.mark
        call = partial(self._broker.commit_offsets, group, member, self._generation, positions, mark)
        try:
            self._request(request, call)
        except (RequestTimedOut, StaleMember) as refused:
            return refused
        return None

    def _produce(self, producer: Producer, epoch: int, outgoing: Outgoing) -> None:
        for partition, rows in by_partition(outgoing).items():
            sequence = producer.sequences.get(partition, 0)
            self._request("produce", partial(self._broker.produce, producer, epoch, partition, rows, sequence))

    def _follow_group(self) -> None:
        """Join, rejoin or fetch the assignment, and notify the listener; give up partitions before taking new ones."""
        if self._listener is None:
            return
        group, instance = self._connection.group, self._connection.instance
        if self._member is None:
            self._member = self._broker.join(group, instance, self._topics)
        try:
            known, generation, partitions = self._broker.membership(group, instance, self._member)
        except ProducerFenced as error:
            self._lose()
            raise Fenced(f"{error}: stop this process") from None
        if known is None:
            self._lose()
            self._member = None
            self._follow_group()
            return
        if generation is None and not known.joined:
            self._give_up()
            self._broker.rejoin(group, instance)
            self._follow_group()
            return
        if generation is not None and generation != self._generation:
            self._generation = generation
            self._take(list(partitions))
            if partitions:
                self._listener.on_assigned(partitions)

    def _give_up(self) -> None:
        """Give all partitions back; before that, commit the pending positions (a refusal means answering again)."""
        with suppress(RequestTimedOut):
            self._receive_acknowledgements()
        if pending := self._membership.pending.give_up(self._assigned):
            self._commit_positions(pending)
        if self._assigned and self._listener is not None:
            self._listener.on_revoked(self._assigned)
        self._take([])

    def _lose(self) -> None:
        if self._assigned and self._listener is not None:
            self._listener.on_lost(self._assigned)
        self._take([])
        self._generation = -1

    def _take(self, partitions: list[Partition]) -> None:
        self._membership.clear()
        self._membership.assign(partitions)
        self._assigned, self._unsent = partitions, None

    def _fetch(self, max_records: int) -> list[Batch]:
        """Read the records that are there; each call that finds some begins with another partition."""
        batches, member = list[Batch](), self._membership
        for partition in self._assigned:
            if partition in member.next and partition not in member.paused and max_records > 0:
                log = self._broker.log(partition)
                batch = log.read(partition, member.next[partition], log.end, max_records)
                if batch is not None:
                    member.advance({partition: batch.next_offset})
                    max_records -= len(batch)
                    batches.append(batch)
        if batches:
            self._assigned = [*self._assigned[1:], self._assigned[0]]
        return batches
