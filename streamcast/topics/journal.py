"""Decisions that do not come from the records, kept beside them: where a partition's state begins, which models answer.

An entry holds from one offset of one partition on.  It is written to the partition of the journal topic that has the
input partition's number, and is read back at every assignment.  The service writes it in the same transaction as the
forecasts that it first affects; `streamcast skip` writes its entry while no service holds the partition.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from streamcast.consumers.transport import Outgoing, Partition, Reader, answered_at
from streamcast.errors import ServiceError

log = logging.getLogger("streamcast")

Kind = Literal["start", "cold", "models", "reset", "skip"]


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From ``offset`` of input ``topic``/``partition`` on, this holds.

    start: answers begin here, and state ``warm_from`` records earlier.  cold: the state is reset here.
    models: these models (lane to digest) answer, with room for ``max_series`` and this champion; so they do from a
    start on.  ``since`` (digest to offset) says where the state of a new model begins, if not where that of the others
    does.  The answers of ``shadows`` among them are not published.  (Entries of older versions name no champion: it
    was the first lane.  They have None as shadows, which only the settings of then said.)
    reset: the state of ``key`` is reset.  skip: the one record at ``offset`` is rejected unread.
    ``topic_id`` is the identity of the topic, empty in entries of older versions.
    """

    kind: Kind
    topic: str
    partition: int
    offset: int
    warm_from: int = 0
    models: dict[str, str] = {}
    max_series: int = 0
    key: str = ""
    champion: str = ""
    topic_id: str = ""
    shadows: tuple[str, ...] | None = None
    since: dict[str, int] = {}
    v: int = 1

    @property
    def begins(self) -> bool:
        """Whether state begins with this entry."""
        return self.kind in ("start", "cold")


@dataclass(frozen=True, slots=True)
class Journal:
    """The entries of one input partition, in the order they were written: those that count, see ``Journal.of``.

    ``repeated`` counts the starts that were passed over; ``former`` has the identities of the topics of this name that
    were deleted.
    """

    entries: Sequence[Entry] = ()
    repeated: int = 0
    former: Sequence[str] = ()

    @classmethod
    def of(cls, written: Iterable[Entry]) -> Journal:
        """Return the entries that count, of those that were written.

        Only the first start counts: at least once, a process that was frozen in its first step may write another when
        others have answered long since.  What was decided for a topic does not count for the next one of its name.
        """
        entries: list[Entry] = []
        former: list[str] = []
        repeated, topic_id = 0, ""
        for entry in written:
            if topic_id and entry.topic_id not in ("", topic_id):
                entries, repeated = [], 0
                former.append(topic_id)
            topic_id = entry.topic_id or topic_id
            if entry.kind == "start" and any(earlier.begins for earlier in entries):
                repeated += 1
            else:
                entries.append(entry)
        return cls(entries, repeated, former)

    @property
    def start(self) -> int | None:
        """Where answers began, None before the first start."""
        return next((entry.offset for entry in self.entries if entry.begins), None)

    @property
    def lost(self) -> bool:
        """Whether an earlier journal was lost: else the first beginning of a topic's first answers is a start."""
        first = next((entry for entry in self.entries if entry.begins), None)
        return first is not None and first.kind == "cold" and not self.former

    @property
    def begin(self) -> int | None:
        """Where state begins: at the newest cold start, or where the first start's warm-up begins."""
        newest = self._newest_begin
        return None if newest is None else newest.offset - newest.warm_from

    def begin_of(self, digest: str) -> int | None:
        """Where the state of a model begins: ``begin``, unless an entry since then says otherwise."""
        for entry in reversed(self.entries):
            if digest in entry.since:
                return entry.since[digest]
            if entry.begins:
                break
        return self.begin

    def knows(self, digest: str) -> bool:
        """Whether the state of a model has a beginning: an entry since the newest beginning names it."""
        for entry in reversed(self.entries):
            if digest in entry.since or digest in entry.models.values():
                return True
            if entry.begins:
                break
        return False

    @property
    def begun_in(self) -> str:
        """The identity of the topic that state begins in; empty where an older version wrote that entry."""
        newest = self._newest_begin
        return "" if newest is None else newest.topic_id

    @property
    def topic_id(self) -> str:
        """The newest identity of the topic that an entry names; empty where none does."""
        return next((entry.topic_id for entry in reversed(self.entries) if entry.topic_id), "")

    @property
    def models(self) -> Mapping[str, str]:
        """The models that answered last, lane to digest."""
        return next((entry.models for entry in reversed(self.entries) if entry.models), {})

    @property
    def champion(self) -> str:
        """The champion among those models; empty before the first start, and where no entry names it."""
        return next((entry.champion for entry in reversed(self.entries) if entry.models), "")

    @property
    def shadows(self) -> tuple[str, ...] | None:
        """The lanes among those models whose answers are not published; None where no entry says so."""
        return next((entry.shadows for entry in reversed(self.entries) if entry.models), None)

    @property
    def max_series(self) -> int:
        """How many series those models had room for; 0 before the first start."""
        return next((entry.max_series for entry in reversed(self.entries) if entry.models), 0)

    @property
    def decided(self) -> int:
        """The offset of the newest decision of a journal with a beginning; a skip is written ahead of its record."""
        return max(entry.offset for entry in self.entries if entry.kind != "skip")

    def resets(self) -> Sequence[Entry]:
        """The entries that reset the state of a key."""
        return [entry for entry in self.entries if entry.kind == "reset"]

    def skips(self) -> frozenset[int]:
        """The offsets of records that are rejected unread."""
        return frozenset(entry.offset for entry in self.entries if entry.kind == "skip")

    @property
    def _newest_begin(self) -> Entry | None:
        return next((entry for entry in reversed(self.entries) if entry.begins), None)


def read_journal(reader: Reader, journal_topic: str, partition: Partition) -> Journal:
    """Read the entries of one input partition, as ``read_journals`` does."""
    return read_journals(reader, journal_topic, [partition])[partition]


def read_journals(
    reader: Reader, journal_topic: str, partitions: Iterable[Partition], beat: Callable[[], None] = lambda: None
) -> dict[Partition, Journal]:
    """Read the entries of input partitions; raises TransportError, and ServiceError for an entry of a newer version.

    Waits for open transactions: one whose positions are committed may not have reached the journal yet, and one that
    hangs hides all entries after it.  A record that is no entry is logged and ignored.  ``beat`` is called as the work
    goes on.
    """
    homes = {Partition(journal_topic, partition.index): partition for partition in partitions}
    if not homes:
        return {}
    bounds = reader.bounds(list(homes))
    beat()
    ends = reader.ends(list(homes))
    beat()
    found: dict[Partition, list[Entry]] = {partition: [] for partition in homes.values()}
    for batches in reader.read_ranges({source: (bounds[source][0], end) for source, end in ends.items()}):
        for batch in batches:
            home = homes[batch.partition]
            for offset, value in zip(batch.offsets, batch.values, strict=True):
                entry = _decode(value or b"", f"{journal_topic}[{home.index}] at offset {offset}")
                if entry is not None and entry.topic == home.topic:
                    found[home].append(entry)
        beat()
    return {partition: Journal.of(entries) for partition, entries in found.items()}


class _Any(msgspec.Struct):
    """The fields that an entry of any version has."""

    kind: str
    topic: str
    partition: int
    offset: int
    v: int


_decode_entry = msgspec.json.Decoder(Entry).decode
_decode_any = msgspec.json.Decoder(_Any).decode


def _decode(value: bytes, place: str) -> Entry | None:
    """Return an entry, or None for a record that is none; raises ServiceError for an entry of a newer version."""
    try:
        return _decode_entry(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        problem = error
    try:
        entry = _decode_any(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        log.error(
            "%s is not a journal entry (%s) and is ignored: output.journal must be a topic that only this service"
            " writes", place, problem,
        )  # fmt: skip
        return None
    raise ServiceError(
        f"{place} is an entry of kind {entry.kind!r}, version {entry.v}, that this version of streamcast cannot read"
        f" ({problem}): run the version that wrote it, or a later one"
    )


def outgoing(journal_topic: str, entries: Iterable[Entry], timestamp: int) -> Outgoing:
    """Return the records of entries, at an epoch millisecond; they must be written before the answers they affect."""
    listed = list(entries)
    return Outgoing(
        topic=journal_topic,
        partitions=[entry.partition for entry in listed],
        timestamps=[answered_at(timestamp)] * len(listed),
        keys=[f"{entry.topic}/{entry.partition}".encode() for entry in listed],
        values=[msgspec.json.encode(entry) for entry in listed],
        first=True,
    )
