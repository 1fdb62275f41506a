"""The partitions that a process holds: where their state begins, and which decisions the journal still lacks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from streamcast.consumers.transport import Batch, Partition, Positions, Reader
from streamcast.errors import ServiceError
from streamcast.service.recovery import Recovery
from streamcast.service.snapshots import Header, fingerprint
from streamcast.topics.journal import Entry, Journal, Kind, read_journal
from streamcast.topics.names import Topics


@dataclass(frozen=True, slots=True)
class Start:
    """Where answers begin at the very first start, and how many records before it build state."""

    at: Literal["earliest", "latest"] | datetime = "earliest"
    warm_from: int = 0
    allow_cold_start: bool = False


@dataclass(frozen=True, slots=True)
class Deployment:
    """The models that answer: the digest of each lane, the champion, and the most series of a partition."""

    models: Mapping[str, str]
    champion: str
    max_series: int


@dataclass(slots=True)
class Span:
    """One assigned partition: the identity of its state, its next offset, and what its next commit must write.

    ``skips`` are the offsets that are rejected unread, ``swapped`` the lanes that change their model with this commit.
    """

    header: Header
    next: int
    skips: frozenset[int]
    unwritten: list[Entry]
    swapped: Sequence[str] = ()

    @property
    def started(self) -> bool:
        """Whether its start is committed; before, a skip may still change the records that its state was warmed by."""
        return all(entry.kind != "start" for entry in self.unwritten)


class Assignment:
    """Takes partitions over, plans their recovery, and keeps what is not yet in the journal."""

    def __init__(
        self, reader: Reader, topics: Topics, start: Start, deployment: Deployment, recovery: Recovery
    ) -> None:
        self.spans: dict[Partition, Span] = {}
        self._reader, self._topics, self._start = reader, topics, start
        self._deployment, self._recovery = deployment, recovery

    def take(self, partition: Partition, position: int | None, bounds: tuple[int, int]) -> int:
        """Plan a partition's recovery up to its committed position, and return the position to read from.

        ``bounds`` are the first offset held and the end.  Raises ServiceError when records that the state is built
        from are gone.
        """
        journal = read_journal(self._reader, self._topics.journal, partition)
        position, begin, unwritten = self._decide(journal, partition, position, bounds)
        header = self.header(partition, begin, position)
        start = self._recovery.restore(header)
        if start < bounds[0]:
            begin = self._cold_start(partition, start, bounds[0])
            position = max(position, begin)
            unwritten.append(self.entry("cold", partition, position, position - begin))
            header = self.header(partition, begin, position)
            start = self._recovery.restore(header)
        self.spans[partition] = Span(header, position, journal.skips(), unwritten, self._swapped(journal))
        self._recovery.plan(partition, start, position, journal)
        return position

    def drop(self, partitions: Iterable[Partition]) -> None:
        """Forget partitions that another process gets."""
        for partition in partitions:
            self.spans.pop(partition, None)

    def written(self, after: Positions) -> list[str]:
        """Note that these positions are committed, and the entries with them; return the lanes that changed models."""
        swapped: list[str] = []
        for partition, position in after.items():
            span = self.spans[partition]
            swapped += span.swapped
            span.next, span.unwritten, span.swapped = position, [], ()
        return swapped

    def unwritten(self, batches: Sequence[Batch]) -> list[Entry]:
        """Return the entries that the commit of these batches must write."""
        return [entry for batch in batches for entry in self.spans[batch.partition].unwritten]

    def skips(self, batches: Sequence[Batch]) -> Mapping[Partition, Collection[int]]:
        """Return the offsets to reject unread, of the partitions of these batches."""
        return {batch.partition: self.spans[batch.partition].skips for batch in batches}

    def entry(self, kind: Kind, partition: Partition, offset: int, warm: int = 0, key: str = "") -> Entry:
        """Return a journal entry of this deployment."""
        now = self._deployment
        return Entry(
            kind, partition.topic, partition.index, offset, warm, dict(now.models), now.max_series, key, now.champion
        )

    def header(self, partition: Partition, begin: int, offset: int) -> Header:
        """Return the identity of a partition's state at an offset."""
        count = self._reader.describe([partition.topic])[partition.topic].partitions
        now = self._deployment
        return Header(
            partition.topic, self._topics.journal, partition.index, count, begin, offset, dict(now.models),
            now.max_series, fingerprint(),
        )  # fmt: skip

    def _decide(
        self, journal: Journal, partition: Partition, position: int | None, bounds: tuple[int, int]
    ) -> tuple[int, int, list[Entry]]:
        """Return the position, where state begins, and the entry to write if this start or its models are new."""
        now, begin = self._deployment, journal.begin
        if position is None and journal.start is not None:
            position = journal.start  # at least once: the first answers were written, their position was not
        if position is None or begin is None:
            position = self._first_position(partition, bounds) if position is None else position
            begin = max(position - self._start.warm_from, bounds[0])
            return position, begin, [self.entry("start", partition, position, position - begin)]
        if (journal.models, journal.champion, journal.max_series) != (now.models, now.champion, now.max_series):
            return position, begin, [self.entry("models", partition, position)]
        return position, begin, []

    def _first_position(self, partition: Partition, bounds: tuple[int, int]) -> int:
        if self._start.at == "earliest":
            return bounds[0]
        if self._start.at == "latest":
            return bounds[1]
        return self._reader.offsets_at([partition], round(self._start.at.timestamp() * 1000))[partition]

    def _cold_start(self, partition: Partition, wanted: int, held: int) -> int:
        if not self._start.allow_cold_start:
            raise ServiceError(
                f"{partition.topic}[{partition.index}]: state needs the records from offset {wanted} on, but the topic"
                f" holds them only from {held} on, and no snapshot replaces them: raise the topic's retention, or start"
                " there with empty state (state.allow_cold_start: true)"
            )
        return held

    def _swapped(self, journal: Journal) -> list[str]:
        return [lane for lane, new in self._deployment.models.items() if journal.models.get(lane, new) != new]
