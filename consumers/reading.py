"""The part of a reader that both clients of Apache Kafka share: ranges of records, topics that must exist, users."""

from __future__ import annotations

import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Generic, TypeVar

from streamcast.consumers.background import started
from streamcast.consumers.handshake import Security, require_accepted
from streamcast.consumers.transport import (
    Batch,
    BrokerUnavailable,
    Connection,
    Partition,
    Positions,
    RecordsGone,
    TopicMissing,
)

C = TypeVar("C")
"""The client's type of a consumer."""

READ_SECONDS = 15.0
"""How long ``read_range`` waits for the next records."""
RANGE_RECORDS = 5_000
"""How many records of ranges are asked for at once."""
ARRIVE_MS = 20
"""How long a range's client waits for records before it looks whether it has come to the end: the last offset may be
the marker of a transaction, after which nothing arrives."""
METADATA_MS = 30_000
"""How old what a client knows of the topics may become: after that it sees new partitions and new leaders."""
RESOLVE_SECONDS = 2.0
"""How long a name server may take where its answer only explains an error."""


class Reading(ABC, Generic[C]):
    """Reads ranges over what each client does in its own way; ``security`` has the client's names of its fields."""

    def __init__(self, connection: Connection, security: Mapping[str, str]) -> None:
        self._connection = connection
        self._security = Security.from_options(connection.options, security)
        self._accepted = False

    def read_range(self, partition: Partition, start: int, end: int) -> Iterator[Batch]:
        """See ``Reader.read_range``."""
        for batches in self.read_ranges({partition: (start, end)}):
            yield from batches

    def read_ranges(self, ranges: Mapping[Partition, tuple[int, int]]) -> Iterator[list[Batch]]:
        """See ``Reader.read_ranges``."""
        at = {partition: start for partition, (start, end) in ranges.items() if start < end}
        ends = {partition: ranges[partition][1] for partition in at}
        if not at:
            return
        for partition, (first, _) in self.bounds(list(at)).items():
            if at[partition] < first:
                raise RecordsGone.before(partition, first, at[partition])
        with self._talking("connecting"):
            client = self._placed(at)
        try:
            deadline = time.monotonic() + READ_SECONDS
            while at:
                moved = [batch for batch in self._arrived(client, at, ends) if batch.next_offset > at[batch.partition]]
                for batch in moved:
                    at[batch.partition] = batch.next_offset
                    if batch.next_offset == ends[batch.partition]:
                        del at[batch.partition]
                        self._pause(client, batch.partition)
                if batches := [batch for batch in moved if len(batch)]:
                    yield batches
                if moved:
                    deadline = time.monotonic() + READ_SECONDS
                elif time.monotonic() > deadline:
                    partition, offset = next(iter(at.items()))
                    raise BrokerUnavailable.silent(partition, offset, ends[partition], READ_SECONDS)
        finally:
            self._leave(client)

    def _require(self, topics: set[str]) -> None:
        if missing := sorted(topics - set(self._found(sorted(topics)))):
            where = self._connection.bootstrap_servers
            raise TopicMissing(f"There is no topic {', '.join(missing)} on {where}: create it first")

    def _away(self, doing: str, said: object) -> BrokerUnavailable:
        """Our error for a broker that did not answer, with the names of brokers that cannot be resolved."""
        servers = self._connection.bootstrap_servers
        remedy = unresolved(servers) or "check kafka.bootstrap_servers and that the broker runs"
        return BrokerUnavailable(f"{servers} did not answer while {doing} ({said}): {remedy}")

    def _require_accepted(self) -> None:
        """Before a client is made that is the first, or follows a failure, raise Refused if the broker refuses it."""
        if not self._accepted:
            require_accepted(self._connection.bootstrap_servers, self._security)
            self._accepted = True

    def _ask_again(self) -> None:
        """Ask before the next client is made whether the broker still accepts this user: its password may change."""
        self._accepted = self._security is None or not self._security.named

    @abstractmethod
    def bounds(self, partitions: Sequence[Partition]) -> dict[Partition, tuple[int, int]]:
        """See ``Reader.bounds``."""

    @abstractmethod
    def _found(self, topics: Sequence[str]) -> Mapping[str, Any]:
        """What the client says of the topics that exist; raises NotAllowed where the broker does not say."""

    @abstractmethod
    def _talking(self, doing: str) -> AbstractContextManager[None]:
        """Turn the client's errors into ours."""

    @abstractmethod
    def _placed(self, at: Positions) -> C:
        """Make a consumer without a group that reads from these positions."""

    @abstractmethod
    def _arrived(self, client: C, at: Positions, ends: Positions) -> list[Batch]:
        """Wait a moment; return a batch for each partition, of the records before its end, which may be none.

        Its ``next_offset`` is the client's new position, at most the partition's end.
        """

    @abstractmethod
    def _pause(self, client: C, partition: Partition) -> None:
        """Ask for no more records of a partition."""

    @abstractmethod
    def _leave(self, client: C) -> None:
        """Close the consumer, or leave it behind."""


def unresolved(bootstrap_servers: str) -> str:
    """Say which names of the brokers cannot be resolved, and what to do; nothing where all can, or that takes long."""
    for server in bootstrap_servers.split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            started(partial(socket.getaddrinfo, host.strip("[]"), port)).result(RESOLVE_SECONDS)
        except socket.gaierror as error:
            return f"the name {host} cannot be resolved ({error.strerror}): correct kafka.bootstrap_servers, or the DNS"
        except (OSError, ValueError):  # a name server that does not answer, or no name
            continue
    return ""
