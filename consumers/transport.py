"""The interface between Kafka and the service: records as columns, and the protocols that move them.

Bytes in, bytes out: nothing here knows what a record means.  A ``Transport`` delivers batches and commits the answers
of a ``Handler``; ``consumers/loop.py`` is the only caller of both.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple, Protocol
from uuid import UUID

Headers = Sequence[tuple[str, bytes]]

APPEND_TIME = ("message.timestamp.type", "LogAppendTime")
"""The configuration of a topic whose records have the broker's time, whatever their producers say."""
CREATE_SECONDS = 60.0
"""Within which new topics have leaders for all partitions; a thousand partitions take more than ten seconds."""
EVERYTHING = frozenset({"READ", "WRITE", "DESCRIBE", "CREATE"})
"""The operations that a broker allows which has no access control, or does not say what it allows."""


class Partition(NamedTuple):
    """One partition of one topic; messages name it ``observations[3]``."""

    topic: str
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here

    def __str__(self) -> str:
        return f"{self.topic}[{self.index}]"


Positions = dict[Partition, int]
"""The next offset to read, by partition."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive records of one partition, as columns, in offset order.

    ``next_offset`` is the position after the batch; it may lie beyond ``offsets[-1] + 1`` because
    transaction markers occupy offsets too.  ``timestamps`` are epoch milliseconds; ``headers`` is None
    when no record has any.
    """

    partition: Partition
    offsets: Sequence[int]
    timestamps: Sequence[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    next_offset: int
    headers: Sequence[Headers] | None = None

    def __len__(self) -> int:
        return len(self.offsets)

    def part(self, first: int, last: int) -> Batch:
        """Return the rows [first, last) as a batch, which ends where the next row begins."""
        rows = slice(first, last)
        return Batch(
            self.partition, self.offsets[rows], self.timestamps[rows], self.keys[rows], self.values[rows],
            self.offsets[last] if last < len(self) else self.next_offset,
            None if self.headers is None else self.headers[rows],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Records to be produced to one topic, as columns; ``headers`` is one sequence per record or None.

    ``timestamps`` are not 0, which librdkafka takes for the present time (see ``answered_at``).

    At least once, records marked ``first`` must be acknowledged before later ones are sent; a transaction needs no
    order.  Raises ValueError when the columns differ in length.
    """

    topic: str
    partitions: Sequence[int]
    timestamps: Sequence[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    headers: Sequence[Headers] | None = None
    first: bool = False

    def __post_init__(self) -> None:
        columns = {
            "partitions": self.partitions, "timestamps": self.timestamps, "keys": self.keys, "values": self.values,
        } | ({} if self.headers is None else {"headers": self.headers})  # fmt: skip
        if any(len(column) != len(self.values) for column in columns.values()):
            lengths = ", ".join(f"{len(column)} {name}" for name, column in columns.items())
            raise ValueError(f"Records for topic {self.topic} have columns of different lengths: {lengths}")

    def __len__(self) -> int:
        return len(self.values)


def answered_at(timestamp_ms: int) -> int:
    """Return the Kafka timestamp of the answer to a record: the record's, or 1 for 0, which cannot be sent."""
    return timestamp_ms or 1


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic's partitions, replication factor and broker-side configuration (defaults included, when described).

    A replication factor of -1 asks the broker for its default when the topic is created.  ``id`` is the identity that
    the broker gave to a described topic: one that is deleted and made again has another.  It is empty for a broker
    that gives none (Kafka before 2.8).
    """

    name: str
    partitions: int
    replication: int = -1
    config: Mapping[str, str] = field(default_factory=dict)
    id: str = ""


def topic_id(uuid: UUID) -> str:
    """Return a topic's identity as Kafka's own tools write it; empty where the broker gives none."""
    return base64.urlsafe_b64encode(uuid.bytes).decode().rstrip("=") if uuid.int else ""


@dataclass(frozen=True, slots=True)
class Connection:
    """The identity of a transport, and how it reaches its broker.

    ``instance`` must be the same after a restart; group and instance form the transactional id.  ``assignor`` says how
    the group shares partitions: "range" gives up all at every rebalance, "cooperative-sticky" only those that move;
    all members must use the same.  ``options`` go to the client unchanged (security above all).  ``passed`` is called
    with the name of each point of the commit ("offsets", "sent", "committed"; at least once "sent" comes first): fault
    tests end the process there.  ``mark`` is committed beside each position, see ``Reader.marks``.
    """

    bootstrap_servers: str
    group: str
    instance: str = "0"
    guarantee: Literal["exactly_once", "at_least_once"] = "exactly_once"
    assignor: Literal["range", "cooperative-sticky"] = "range"
    options: Mapping[str, object] = field(default_factory=dict)
    passed: Callable[[str], None] = lambda _point: None
    mark: str = ""


class TransportError(Exception):
    """Base of everything a transport raises; the message names what to do next."""

    exit_code: ClassVar[int] = 3


class BrokerUnavailable(TransportError):
    """The broker did not answer within the deadline."""

    @classmethod
    def silent(cls, partition: Partition, offset: int, end: int, seconds: float) -> BrokerUnavailable:
        """Reading a range up to ``end`` stopped at ``offset``: no records came for ``seconds``."""
        return cls(
            f"{partition} delivered nothing at offset {offset} for {seconds:.0f} s; expected "
            f"records up to offset {end}: the broker is away, or a transaction there is still open; try again"
        )

    @classmethod
    def refused_first(cls, positions: Positions, error: object) -> BrokerUnavailable:
        """The group did not accept the first ``positions``, for the reason ``error``."""
        return cls(
            f"The group did not accept the first positions of {len(positions)} partitions ({error}): they are not "
            "answered until it does"
        )


class TopicMissing(TransportError):
    """A topic that must exist does not."""


class CodecMissing(TransportError):
    """Records are compressed in a way that this client cannot read without another package."""


class NotAllowed(TransportError):
    """The broker's access control refuses an operation."""

    @classmethod
    def to(cls, operation: str, what: str) -> NotAllowed:
        """This connection's user may not do ``operation`` on ``what`` ("topic forecasts")."""
        return cls(
            f"The broker does not allow this user to {operation} {what}: `streamcast check` prints the command that"
            " grants it"
        )


class InDoubt(TransportError):
    """Nobody knows whether a commit happened: call ``settle`` and compare positions."""


class RecordRefused(InDoubt):
    """A record of the commit breaks a rule of its topic, such as a largest size: only another rule helps.

    With ``smaller``, the transport makes smaller batches from now on, and they may help.  ``rule`` names the topic and
    the kind of the error: two refusals with one rule say the same.
    """

    def __init__(self, topic: str, error: object, *, smaller: bool = False) -> None:
        super().__init__(
            f"Topic {topic} cannot hold a record ({error}): change the setting of the topic that refuses it"
            " (max.message.bytes, message.timestamp.before.max.ms or .after.max.ms, cleanup.policy; `streamcast check`"
            " has the command); until then nothing more of its partition is answered"
        )
        self.smaller = smaller
        self.rule = f"{topic}: {type(error).__name__ if isinstance(error, Exception) else error}"


class Fenced(TransportError):
    """Another process with the same identity has replaced this one: stop at once, write nothing."""

    @classmethod
    def replaced(cls, connection: Connection, error: object) -> Fenced:
        """The broker's ``error`` says that another process uses this connection's group and instance."""
        return cls(
            f"Another process works as instance {connection.instance} of group {connection.group} ({error}): "
            "stop this process, or give each its own kafka.instance"
        )


class OtherAssignor(TransportError):
    """The group's members assign partitions in another way than this one."""

    @classmethod
    def among(cls, connection: Connection, error: object) -> OtherAssignor:
        """The broker's ``error`` says that the group has members, and none of them knows this connection's assignor."""
        return cls(
            f"Group {connection.group} has members whose kafka.assignor is not {connection.assignor}, as that of"
            f" instance {connection.instance} is ({error}): set kafka.assignor to theirs, or stop them all and start"
            " them with this one"
        )


class RecordsGone(TransportError):
    """The source no longer holds the records that were asked for."""

    @classmethod
    def before(cls, partition: Partition, first: int, asked: int) -> RecordsGone:
        """``asked`` lies before ``first``, the first offset that ``partition`` holds."""
        return cls(
            f"{partition} begins at offset {first}, but offset {asked} was requested: "
            "retention has deleted it; start later, or from a newer snapshot"
        )


class Listener(Protocol):
    """A transport notifies it when partitions come and go, from within ``poll`` and ``close``."""

    def on_assigned(self, partitions: Sequence[Partition]) -> None: ...

    def on_revoked(self, partitions: Sequence[Partition]) -> None: ...

    def on_lost(self, partitions: Sequence[Partition]) -> None: ...


class Reader(Protocol):
    """Reads topics without joining a group: recovery, the live page, dead letters, verification, history.

    Every call that talks to the broker has a deadline and raises a ``TransportError``.
    """

    def describe(self, topics: Sequence[str]) -> dict[str, TopicSpec]:
        """The topics that exist among ``topics``; raises NotAllowed where the broker does not say whether one exists.

        The configuration is empty where this user may not describe it.
        """

    def identities(self, topics: Sequence[str]) -> dict[str, str]:
        """The ids (see ``TopicSpec``) of the topics that exist among ``topics``, by a single request."""

    def topic_operations(self, topics: Sequence[str]) -> dict[str, frozenset[str]]:
        """What the broker allows this user to do, by topic ("READ", "WRITE", "DESCRIBE", "CREATE"…).

        A topic that does not exist is missing; one of which the broker does not say so has no operations.  Where the
        broker does not tell operations at all, as some that are not Apache Kafka, it is ``EVERYTHING``.
        """

    def group_operations(self) -> frozenset[str]:
        """What the broker allows this user to do with the connection's group ("READ", "DESCRIBE"…)."""

    def bounds(self, partitions: Sequence[Partition]) -> dict[Partition, tuple[int, int]]:
        """The first offset held and the offset after the last readable one (read_committed), by partition."""

    def ends(self, partitions: Sequence[Partition]) -> Positions:
        """The offset after the last record (read_uncommitted): beyond ``bounds`` while a transaction is open."""

    def offsets_at(self, partitions: Sequence[Partition], timestamp_ms: int) -> Positions:
        """The first offset whose timestamp is at or after ``timestamp_ms`` (the end where there is none)."""

    def read_range(self, partition: Partition, start: int, end: int) -> Iterator[Batch]:
        """Read [start, end) under read_committed; raises RecordsGone when ``start`` is no longer held.

        Waits for open transactions before ``end``, and raises BrokerUnavailable when they stay open.
        """

    def read_ranges(self, ranges: Mapping[Partition, tuple[int, int]]) -> Iterator[list[Batch]]:
        """Read the ranges [start, end) of many partitions at once, as ``read_range`` reads one.

        Each list holds the records that arrived together, in offset order within a partition.
        """

    def committed(self, partitions: Sequence[Partition]) -> Positions:
        """The stable committed positions of the connection's group; a partition without one is missing."""

    def marks(self, partitions: Sequence[Partition]) -> dict[Partition, str]:
        """What was committed beside the positions that ``committed`` returns (Kafka's offset metadata).

        It is empty where another program has moved a position, such as kafka-consumer-groups.sh --reset-offsets.
        """

    def close(self, timeout_seconds: float) -> None:
        """Close all connections within the timeout."""


class Transport(Reader, Protocol):
    """A member of a consumer group that also produces, exactly once or at least once."""

    def subscribe(self, topics: Sequence[str], listener: Listener) -> None:
        """Join the group; partitions arrive through ``listener`` during ``poll``, and deliver nothing until ``seek``.

        Raises TopicMissing.  The listener must not call the transport: it may run on the client's own thread.
        """

    def poll(self, timeout_seconds: float, max_records: int) -> list[Batch]:
        """Return at most ``max_records``: at once if any have arrived, else after the timeout.

        Raises RecordsGone when retention has deleted the records at a position, Fenced when another member has taken
        this instance, and InDoubt when the answers of an earlier commit were not acknowledged.
        """

    def commit(self, outgoing: Iterable[Outgoing], positions: Positions) -> None:
        """Produce ``outgoing`` and commit ``positions`` together.

        Exactly once:

        1. Begin a transaction and add the positions to it, with the full group metadata.
        2. Take ``outgoing`` piece by piece and send each piece as it comes.
        3. Wait until every record is acknowledged, and check each.
        4. Commit the transaction.

        At least once:

        1. Finish what the previous commit left for later; raise its failure, if it failed.
        2. Take ``outgoing`` piece by piece and send each piece as it comes; after one marked ``first``, wait until
           all are acknowledged.
        3. Wait until every record is acknowledged, and check each.
        4. Commit the positions.

        At least once, steps 3 and 4 may come after this call returns, in this order; a later call raises their failure.
        Without positions this only produces: it checks every record before it returns, and needs no subscription.

        Raises InDoubt when the client or the broker failed, so that nobody knows whether the commit happened;
        RecordRefused, which is one, when a topic refuses a record of ``outgoing``; and Fenced when this member is
        replaced.  An error raised by ``outgoing`` itself aborts the transaction and is
        raised as it is: nothing was committed, and a repetition would fail in the same way.
        """

    def settle(self) -> Positions:
        """After InDoubt: end the open transaction, and return the stable committed position of each partition.

        Reading continues from those positions.  A partition without a committed position goes back to where it was
        last sought to; one that was never sought is missing.  Raises BrokerUnavailable (try again) or Fenced.
        """

    def begin(self, positions: Positions) -> None:
        """Commit the first positions of partitions, before any of their records is answered, and wait for the broker.

        The group accepts them only from the member that holds the partitions now, so a member that was frozen and
        replaced cannot choose another beginning.  Raises BrokerUnavailable when the group did not accept them: poll,
        since the partitions may have moved, and try again.
        """

    def seek(self, positions: Positions) -> None:
        """Continue reading from these positions."""

    def pause(self, partitions: Sequence[Partition]) -> None:
        """Stop delivering these partitions; keep calling ``poll``, so that the group keeps this member."""

    def resume(self, partitions: Sequence[Partition]) -> None:
        """Deliver these partitions again."""

    def lag(self) -> dict[Partition, int]:
        """Records between the position and the end of each assigned partition, as last known; no round trip."""

    def create(self, topics: Sequence[TopicSpec]) -> None:
        """Create the topics that do not exist yet; returns when the brokers describe them, with their leaders."""


class Handler(Protocol):
    """The service as the loop sees it: it answers batches, and the loop notifies it of the outcome."""

    def on_assigned(
        self, committed: Mapping[Partition, int | None], bounds: Mapping[Partition, tuple[int, int]]
    ) -> Collection[Partition]:
        """New partitions, with their committed positions; returns those that cannot be served yet.

        They deliver nothing, and are offered again after a while.
        """

    def recover_some(self, budget_seconds: float) -> Positions | None:
        """Rebuild state for about ``budget_seconds``; None while some is left, then where each partition is read next.

        A position that the group does not have is committed before anything is answered from it.
        """

    def on_batch(self, batches: Sequence[Batch]) -> Iterable[Outgoing]:
        """Answer the batches; changes of state stay on a stage until ``on_committed``."""

    def on_committed(self) -> None:
        """The answers and positions of the last ``on_batch`` are committed: promote its stage."""

    def on_idle(self) -> None:
        """A poll brought no records, and no partition is being recovered: there is time for what can wait."""

    def catch_up_some(self, budget_seconds: float) -> bool:
        """After a poll: do for a while what no answer waits for; return whether there is more to do at once."""

    def on_in_doubt(self, stable: Positions) -> None:
        """The last commit was in doubt; ``stable`` has the committed positions: promote or discard by partition."""

    def on_revoked(self, partitions: Sequence[Partition]) -> None:
        """These partitions move to another member in good order (none of their records is on the stage)."""

    def on_lost(self, partitions: Sequence[Partition]) -> None:
        """Another member already has these partitions: drop their state, write nothing."""
