"""How a client of Kafka commits and stays a member: the steps and the sorting of errors that both clients share."""

from __future__ import annotations

import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import ClassVar, Generic, TypeVar

from streamcast.consumers.background import Background
from streamcast.consumers.handshake import Refused
from streamcast.consumers.membership import Membership
from streamcast.consumers.transport import (
    Batch,
    BrokerUnavailable,
    Connection,
    Fenced,
    InDoubt,
    Listener,
    NotAllowed,
    Outgoing,
    Partition,
    Positions,
    RecordRefused,
    TransportError,
)

log = logging.getLogger(__name__)

COMMIT_SECONDS = 25.0
"""How long a commit may take in all before it is in doubt."""
DELIVERY_MS = 20_000
TRANSACTION_MS = 30_000
ABORT_SECONDS = 8.0
SESSION_MS = 15_000
LARGEST_ANSWER = 10 << 20
"""Bytes of a record that a client sends: more than any answer has.  Its topic says whether it may be so large."""
LATE_SECONDS = 60.0
"""How long after a producer was dropped a request of it may still reach the broker."""
SLACK_SECONDS = 3.0
"""After a session's timeout, until the group has dropped its member."""

P = TypeVar("P")
"""A client's producer."""
T = TypeVar("T")


class Answers:
    """Hands out the records of one commit, and remembers an error that was raised while the handler made them.

    A handler may return a generator, whose work runs inside ``Transport.commit``.  There only an error of the client
    or the broker leaves the commit in doubt; the transport drops its transaction and raises ``error`` as it is.
    """

    def __init__(self, outgoing: Iterable[Outgoing]) -> None:
        self._outgoing = outgoing
        self.error: Exception | None = None
        self.topics: set[str] = set()
        """The topics of the records handed out so far."""

    def __iter__(self) -> Iterator[Outgoing]:
        try:
            for records in self._outgoing:
                self.topics.add(records.topic)
                yield records
        except Exception as error:
            self.error = error
            raise


class Committing(ABC, Generic[P]):
    """The part of a transport that polls, commits and settles, over what each client does in its own way.

    Every call of the client that has no deadline of its own, or does not keep it, goes through ``_within``.
    """

    IN_DOUBT: ClassVar[tuple[type[Exception], ...]]
    """What the client raises when a commit may have failed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._fenced_at: float | None = None
        """Since when the group has known this instance by another member than ours."""
        self._topics: Sequence[str] = ()
        self._listener: Listener | None = None
        self._producer: P | None = None
        self._late_until = -math.inf
        """Until when a request of an earlier producer may still arrive."""
        self._background = Background()
        self._membership = Membership(self._ask)

    def poll(self, timeout_seconds: float, max_records: int) -> list[Batch]:
        """See ``Transport.poll``; a member that was fenced without a rival joins again."""
        try:
            if self._fenced_at is not None:
                raise Fenced.replaced(self._connection, "its member was replaced")
            return self._polled(timeout_seconds, max_records)
        except Fenced as fenced:
            self._rejoin(fenced)
            return []

    def commit(self, outgoing: Iterable[Outgoing], positions: Positions) -> None:
        """See ``Transport.commit``."""
        deadline, answers = time.monotonic() + COMMIT_SECONDS, Answers(outgoing)
        with self._committing(answers, positions):
            if not self._membership.holds(positions):
                raise TransportError(f"this member no longer holds all of {', '.join(map(str, sorted(positions)))}")
            producer = self._producer = self._producer or self._new_producer()
            if self._exactly_once:
                self._transact(producer, answers, positions, deadline)
            else:
                self._commit_plainly(producer, answers, positions, deadline)
            self._connection.passed("committed")

    def begin(self, positions: Positions) -> None:
        """See ``Transport.begin``.

        Exactly once, it is a transaction: if its request is lost with a connection and arrives late, the broker refuses
        it.  A plain commit of positions that arrives late would set those of later transactions back.
        """
        if not self._exactly_once:
            self._begin_plainly(positions)
            return
        deadline, nothing = time.monotonic() + COMMIT_SECONDS, Answers([])
        try:
            with self._committing(nothing, positions):
                producer = self._producer = self._producer or self._new_producer()
                self._transact(producer, nothing, positions, deadline)
        except InDoubt as doubt:
            raise BrokerUnavailable.refused_first(positions, doubt.__cause__) from doubt

    def settle(self) -> Positions:
        """See ``Transport.settle``."""
        self._drop_producer()
        self._membership.pending.clear()
        with self._talking("settling a transaction"):
            self._producer = self._new_producer()
        stable = self._membership.settled(self.committed(list(self._membership.sought)))
        if stable:
            self.seek(stable)
        return stable

    def _rejoin(self, fenced: Fenced) -> None:
        """Join the group as a new member after it has fenced this one, if nobody else works under its name.

        When the answer to a join is lost while a coordinator moves, the group knows this member by another id than it
        does itself.  That other one is silent, and the group drops it after the session timeout; a rival stays.
        Raises BrokerUnavailable until that is known, and ``fenced`` when there is a rival.
        """
        self._fenced_at = self._fenced_at or time.monotonic()
        if self._has_rival():
            if time.monotonic() - self._fenced_at > self._session_seconds + SLACK_SECONDS:
                raise fenced
            raise BrokerUnavailable(
                f"Group {self._connection.group} knows instance {self._connection.instance} as another member: if that"
                f" one is not silent for {self._session_seconds:.0f} s, it is another process, and this one ends"
            ) from fenced
        log.warning("Group %s has fenced this member and there is no other: it joins again", self._connection.group)
        held = self._membership.assigned()
        self._membership.clear()
        if held and self._listener is not None:
            self._listener.on_lost(held)
        self._join()
        self._fenced_at = None

    @property
    def _exactly_once(self) -> bool:
        return self._connection.guarantee == "exactly_once"

    @property
    def _transactional_id(self) -> str:
        return f"{self._connection.group}-{self._connection.instance}"

    def _within(self, deadline: float, call: Callable[[], T]) -> T:
        """Make a call in the background; raises TimeoutError when it has not ended by the deadline."""
        return self._background.started(call).result(max(0.0, deadline - time.monotonic()))

    @contextmanager
    def _committing(self, answers: Answers, positions: Positions) -> Iterator[None]:
        """Sort the errors of a commit: the handler's are raised as they are, the client's leave it in doubt.

        A refusal is certain: nothing was committed, and a repetition would be refused too.
        """
        try:
            yield
        except Exception as failure:
            if answers.error is not None:
                self._abort()
                raise answers.error  # noqa: B904 - the client's error, if it is one, is a consequence
            if not isinstance(failure, self.IN_DOUBT) or isinstance(failure, NotAllowed | Refused):
                raise
            if (refused := self._refusal(failure, answers.topics)) is not None:
                self._abort()
                raise refused from failure
            if isinstance(failure, RecordRefused):
                self._abort()
                self._commit_acknowledged()
                raise
            self._drop_producer()
            with suppress(BrokerUnavailable):  # then nobody knows, and ``settle`` asks again
                if self._is_fenced(failure) and self._has_rival():
                    raise Fenced.replaced(self._connection, failure) from failure
            doubt = f"The commit of {len(positions)} partitions is in doubt ({failure!r}): settle it"
            raise InDoubt(doubt) from failure

    def _abort(self) -> None:
        """Abort the open transaction if the broker answers soon; otherwise the next producer, or its timeout, does."""
        producer = self._producer
        if producer is not None and self._exactly_once:
            with suppress(*self.IN_DOUBT):
                self._within(time.monotonic() + ABORT_SECONDS, lambda: self._abort_transaction(producer))
        self._drop_producer()

    def _commit_acknowledged(self) -> None:
        """At least once, commit the positions of earlier commits whose answers are acknowledged.

        Otherwise ``settle`` forgets them: their records would be replayed and answered again.
        """
        if acknowledged := self._membership.pending.acknowledged:
            with suppress(TransportError):  # then ``settle`` says where the group is
                self._begin_plainly(acknowledged)

    def _drop_producer(self) -> None:
        """Go on without the producer, and without a call of it that has not ended."""
        producer, self._producer = self._producer, None
        if producer is not None:
            self._abandon(producer)
            self._late_until = time.monotonic() + LATE_SECONDS
            self._background.end()
            self._background = Background()

    def _transact(self, producer: P, answers: Answers, positions: Positions, deadline: float) -> None:
        """Commit a transaction that no request of an earlier one spoils, and protect the next one from its own."""
        self._commit_transaction(producer, answers, positions, deadline)
        if time.monotonic() < self._late_until:
            self._commit_forgotten(producer, positions, deadline)
        self._guard_next(producer)

    def _commit_forgotten(self, producer: P, positions: Positions, deadline: float) -> None:
        """Commit those positions of the transaction that just ended again which the group does not have.

        A broker before Kafka 4.0 refuses late positions of a lower epoch, and forgets with them those of the open
        transaction for the same partitions (its log keeps them).  Raises TimeoutError at the deadline.
        """
        while forgotten := self._forgotten(positions):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the group does not have the positions of {', '.join(map(str, sorted(forgotten)))}")
            log.warning("The broker forgot the positions of %d partitions: they are committed again", len(forgotten))
            self._commit_transaction(producer, Answers([]), forgotten, deadline)

    def _forgotten(self, positions: Positions) -> Positions:
        had = self.committed(list(positions))
        return {partition: offset for partition, offset in positions.items() if had.get(partition, -1) < offset}

    def _guard_next(self, producer: P) -> None:
        """Drop the producer if a connection of it was lost: the next one has a higher epoch.

        A request on a connection that was lost may reach the broker later, although the client sent it again: a late
        end would end the next transaction, late positions would set its positions back.  The broker refuses both from
        a lower epoch.  (Kafka's transaction protocol 2 raises the epoch by itself; neither client speaks it.)
        """
        if self._lost_connection(producer):
            log.info("A connection was lost: a new producer begins the next transaction, which nothing late can reach")
            self._drop_producer()

    def _not_allowed(self, topics: Iterable[str]) -> NotAllowed:
        """The refusal of a commit to these topics, with those that this user may not write."""
        with suppress(TransportError):
            allowed = self.topic_operations(sorted(topics))
            topics = [topic for topic, operations in allowed.items() if "WRITE" not in operations] or topics
        return NotAllowed.to("WRITE", f"topic {', '.join(sorted(topics))}")

    @abstractmethod
    def _polled(self, timeout_seconds: float, max_records: int) -> list[Batch]:
        """Poll the group's member; raises Fenced where the group knows another one."""

    @abstractmethod
    def topic_operations(self, topics: Sequence[str]) -> dict[str, frozenset[str]]:
        """See ``Reader.topic_operations``."""

    @abstractmethod
    def committed(self, partitions: Sequence[Partition]) -> Positions:
        """See ``Reader.committed``."""

    @abstractmethod
    def seek(self, positions: Positions) -> None:
        """See ``Transport.seek``."""

    @abstractmethod
    def _talking(self, doing: str) -> AbstractContextManager[None]:
        """Turn the client's errors into ours."""

    @abstractmethod
    def _new_producer(self) -> P:
        """Make a producer; exactly once, end the transaction that the last one of this name left open."""

    @abstractmethod
    def _abandon(self, producer: P) -> None:
        """Close a producer in the background, or leave it behind."""

    @abstractmethod
    def _abort_transaction(self, producer: P) -> None:
        """Abort the open transaction."""

    @abstractmethod
    def _lost_connection(self, producer: P) -> bool:
        """Whether requests of this producer may still be on a connection that it has lost."""

    @abstractmethod
    def _refusal(self, failure: Exception, topics: Iterable[str]) -> TransportError | None:
        """The error to raise where the broker does not allow a commit to these topics; None for any other failure."""

    @abstractmethod
    def _is_fenced(self, failure: Exception) -> bool:
        """Whether this producer's epoch is over: by a rival, a timeout or a moved coordinator."""

    @abstractmethod
    def _has_rival(self) -> bool:
        """Whether the group knows this instance by another member than ours; raises BrokerUnavailable."""

    @property
    @abstractmethod
    def _session_seconds(self) -> float:
        """After how long the group drops a member that is silent."""

    @abstractmethod
    def _join(self) -> None:
        """Become a member of the group with a new consumer, leaving an earlier one behind."""

    @abstractmethod
    def _begin_plainly(self, positions: Positions) -> None:
        """See ``Transport.begin``, at least once."""

    @abstractmethod
    def _commit_transaction(self, producer: P, answers: Answers, positions: Positions, deadline: float) -> None:
        """See ``Transport.commit``, exactly once."""

    @abstractmethod
    def _commit_plainly(self, producer: P, answers: Answers, positions: Positions, deadline: float) -> None:
        """See ``Transport.commit``, at least once."""

    @abstractmethod
    def _ask(self, positions: Positions) -> None:
        """Start a commit of positions; its result goes to ``_membership.pending``."""
