"""Passing over one record that the engine cannot process: a journal entry from which it is rejected unread.

The entry is written by a member of the group that holds the partition, in one transaction with the group's unchanged
position.  So no service answers the partition meanwhile, and an entry that is late is fenced like any late commit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from streamcast.consumers.transport import BrokerUnavailable, Partition, Transport
from streamcast.errors import ServiceError
from streamcast.topics.journal import Entry, Journal, outgoing, read_journal
from streamcast.topics.names import Topics

PATIENCE_SECONDS = 60.0
"""How long to wait for the partition: longer than a group keeps the place of a member that died."""
POLL_SECONDS = 0.2


class _Membership:
    """The partitions that the group has assigned to this member; see ``Listener``."""

    def __init__(self) -> None:
        self.held: set[Partition] = set()

    def on_assigned(self, partitions: Sequence[Partition]) -> None:
        self.held.update(partitions)

    def on_revoked(self, partitions: Sequence[Partition]) -> None:
        self.held.difference_update(partitions)

    def on_lost(self, partitions: Sequence[Partition]) -> None:
        self.held.difference_update(partitions)


def skip(
    transport: Transport, topics: Topics, partition: Partition, offset: int, *,
    patience_seconds: float = PATIENCE_SECONDS, clock: Callable[[], float] = time.monotonic,
) -> bool:  # fmt: skip
    """Let the service reject the record at ``offset`` unread; return False when the journal says so already.

    ``transport`` must be new; it joins the service's group.  Raises ServiceError when another process holds the
    partition, when the record does not exist, or when its outcome is committed; InDoubt when the entry may or may not
    be written (run it again).
    """
    with suppress(BrokerUnavailable):  # a transaction of a worker that died is open: joining ends it
        if _is_skipped(transport, topics, partition, offset):
            return False  # and no worker of this name has lost its place in the group
    _join(transport, partition, patience_seconds, clock)
    if _is_skipped(transport, topics, partition, offset):
        return False
    topic_id = transport.describe([partition.topic])[partition.topic].id
    entry = Entry("skip", partition.topic, partition.index, offset, topic_id=topic_id)
    records = outgoing(topics.journal, [entry], round(time.time() * 1000))
    position = transport.committed([partition]).get(partition)
    positions = {} if position is None else {partition: position}
    transport.seek(positions)  # a member commits positions only of partitions that it has sought
    transport.commit([records], positions)
    return True


def _join(
    transport: Transport, partition: Partition, patience_seconds: float, clock: Callable[[], float]
) -> None:  # fmt: skip
    """Join the group until it has given this member the partition; raises ServiceError when that takes too long."""
    membership = _Membership()
    transport.subscribe([partition.topic], membership)
    deadline = clock() + patience_seconds
    while partition not in membership.held:
        if clock() > deadline:
            raise ServiceError(
                f"{partition} is held by another process of the group after {patience_seconds:.0f} s: stop every"
                " process of the service, and run this again"
            )
        transport.poll(POLL_SECONDS, 1)


def _is_skipped(transport: Transport, topics: Topics, partition: Partition, offset: int) -> bool:
    """Whether the journal skips a record already; raises ServiceError for one that cannot be skipped."""
    position = transport.committed([partition]).get(partition)
    journal = read_journal(transport, topics.journal, partition)
    if offset in journal.skips():
        return True
    _check(transport, journal, partition, offset, position)
    return False


def _check(transport: Transport, journal: Journal, partition: Partition, offset: int, position: int | None) -> None:
    """Raise ServiceError unless there is a record at the offset whose outcome is not yet committed."""
    # Before the first answer a position is only where answers will begin: the records before it warm the state.
    first_open = None if journal.start is None else journal.start if position is None else position
    if first_open is not None and offset < first_open:
        raise ServiceError(
            f"{partition}: offset {offset} has its outcome, since the group is committed up to {first_open}:"
            " only later records can be skipped (if a new model fails on old records, go back to the old model)"
        )
    first, end = transport.bounds([partition])[partition]
    found = first <= offset < end and any(
        offset in batch.offsets for batch in transport.read_range(partition, offset, offset + 1)
    )
    if not found:
        raise ServiceError(
            f"{partition} has no record at offset {offset}: it holds offsets {first} to {end - 1}; the service's"
            " log names the offset at which it stopped"
        )
