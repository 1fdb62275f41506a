"""Decisions that do not come from the records, kept beside them: where a partition's state begins, which models answer.

An entry holds from one offset of one partition on.  It is written to the partition of the journal topic that has the
input partition's number, and is read back at every assignment.  The service writes it in the same transaction as the
forecasts that it first affects; `streamcast skip` writes its entry while no service holds the partition.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from streamcast.consumers.transport import Outgoing, Partition, Reader
from streamcast.errors import ServiceError

log = logging.getLogger("streamcast")

Kind = Literal["start", "cold", "models", "reset", "skip"]


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From ``offset`` of input ``topic``/``partition`` on, this holds.

    start: answers begin here, and state ``warm_from`` records earlier.  cold: the state is reset here.
    models: these models (lane to digest) answer, with room for ``max_series`` and this champion; so they do from a
    start on.  (Entries of older versions name no champion: it was the first lane.)
    reset: the state of ``key`` is reset.  skip: the one record at ``offset`` is rejected unread.
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
    v: int = 1


@dataclass(frozen=True, slots=True)
class Journal:
    """The entries of one input partition, in the order they were written."""

    entries: Sequence[Entry] = ()

    @property
    def start(self) -> int | None:
        """Where answers began, None before the first start."""
        return next((entry.offset for entry in self.entries if entry.kind == "start"), None)

    @property
    def begin(self) -> int | None:
        """Where state begins: at the newest cold start, or where the first start's warm-up begins."""
        begins = [entry.offset - entry.warm_from for entry in self.entries if entry.kind in ("start", "cold")]
        return begins[-1] if begins else None

    @property
    def models(self) -> Mapping[str, str]:
        """The models that answered last, lane to digest."""
        return next((entry.models for entry in reversed(self.entries) if entry.models), {})

    @property
    def champion(self) -> str:
        """The champion among those models; empty before the first start, and where no entry names it."""
        return next((entry.champion for entry in reversed(self.entries) if entry.models), "")

    @property
    def max_series(self) -> int:
        """How many series those models had room for; 0 before the first start."""
        return next((entry.max_series for entry in reversed(self.entries) if entry.models), 0)

    def resets(self) -> Sequence[Entry]:
        """The entries that reset the state of a key."""
        return [entry for entry in self.entries if entry.kind == "reset"]

    def skips(self) -> frozenset[int]:
        """The offsets of records that are rejected unread."""
        return frozenset(entry.offset for entry in self.entries if entry.kind == "skip")


def read_journal(reader: Reader, journal_topic: str, partition: Partition) -> Journal:
    """Read the entries of an input partition; raises TransportError, and ServiceError for an entry of a newer version.

    Waits for open transactions: one whose positions are committed may not have reached the journal yet, and one that
    hangs hides all entries after it.  A record that is no entry is logged and ignored.
    """
    source = Partition(journal_topic, partition.index)
    first, _ = reader.bounds([source])[source]
    end = reader.ends([source])[source]
    found = []
    for batch in reader.read_range(source, first, end):
        for offset, value in zip(batch.offsets, batch.values, strict=True):
            entry = _decode(value or b"", f"{journal_topic}[{partition.index}] at offset {offset}")
            if entry is not None and entry.topic == partition.topic:
                found.append(entry)
    return Journal(found)


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
        timestamps=[timestamp] * len(listed),
        keys=[f"{entry.topic}/{entry.partition}".encode() for entry in listed],
        values=[msgspec.json.encode(entry) for entry in listed],
        first=True,
    )
