"""How a client of Kafka commits: the steps and the sorting of errors that both clients share."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import ClassVar, Generic, TypeVar

from streamcast.consumers.background import Background
from streamcast.consumers.handshake import Refused
from streamcast.consumers.membership import Membership
from streamcast.consumers.transport import (
    Connection,
    Fenced,
    InDoubt,
    NotAllowed,
    Outgoing,
    Partition,
    Positions,
    TransportError,
)

COMMIT_SECONDS = 25.0
"""How long a commit may take in all before it is in doubt."""
DELIVERY_MS = 20_000
TRANSACTION_MS = 30_000
ABORT_SECONDS = 8.0

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
    """The part of a transport that commits and settles, over what each client does in its own way.

    Every call of the client that has no deadline of its own, or does not keep it, goes through ``_within``.
    """

    IN_DOUBT: ClassVar[tuple[type[Exception], ...]]
    """What the client raises when a commit may have failed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._producer: P | None = None
        self._background = Background()
        self._membership = Membership(self._ask)

    def commit(self, outgoing: Iterable[Outgoing], positions: Positions) -> None:
        """See ``Transport.commit``."""
        deadline, answers = time.monotonic() + COMMIT_SECONDS, Answers(outgoing)
        with self._committing(answers, positions):
            if not self._membership.holds(positions):
                raise TransportError(f"this member no longer holds all of {sorted(positions)}")
            producer = self._producer = self._producer or self._new_producer()
            if self._exactly_once:
                self._commit_transaction(producer, answers, positions, deadline)
            else:
                self._commit_plainly(producer, answers, positions, deadline)
            self._connection.passed("committed")

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
            self._drop_producer()
            if self._is_fenced(failure) and self._has_rival():
                raise Fenced.replaced(self._connection, failure) from failure
            raise InDoubt(
                f"The commit of {len(positions)} partitions is in doubt ({failure!r}): settle it"
            ) from failure

    def _abort(self) -> None:
        """Abort the open transaction if the broker answers soon; otherwise the next producer, or its timeout, does."""
        producer = self._producer
        if producer is not None and self._exactly_once:
            with suppress(*self.IN_DOUBT):
                self._within(time.monotonic() + ABORT_SECONDS, lambda: self._abort_transaction(producer))
        self._drop_producer()

    def _drop_producer(self) -> None:
        """Go on without the producer, and without a call of it that has not ended."""
        producer, self._producer = self._producer, None
        if producer is not None:
            self._abandon(producer)
            self._background.end()
            self._background = Background()

    def _not_allowed(self, topics: Iterable[str]) -> NotAllowed:
        """The refusal of a commit to these topics, with those that this user may not write."""
        with suppress(TransportError):
            allowed = self.topic_operations(sorted(topics))
            topics = [topic for topic, operations in allowed.items() if "WRITE" not in operations] or topics
        return NotAllowed.to("WRITE", f"topic {', '.join(sorted(topics))}")

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
    def _refusal(self, failure: Exception, topics: Iterable[str]) -> TransportError | None:
        """The error to raise where the broker does not allow a commit to these topics; None for any other failure."""

    @abstractmethod
    def _is_fenced(self, failure: Exception) -> bool:
        """Whether the broker says that this producer's epoch is over: by a rival, a timeout or a moved coordinator."""

    @abstractmethod
    def _has_rival(self) -> bool:
        """Whether another process is known to work under this instance's name."""

    @abstractmethod
    def _commit_transaction(self, producer: P, answers: Answers, positions: Positions, deadline: float) -> None:
        """See ``Transport.commit``, exactly once."""

    @abstractmethod
    def _commit_plainly(self, producer: P, answers: Answers, positions: Positions, deadline: float) -> None:
        """See ``Transport.commit``, at least once."""

    @abstractmethod
    def _ask(self, positions: Positions) -> None:
        """Start a commit of positions; its result goes to ``_membership.pending``."""
