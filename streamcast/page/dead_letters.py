"""The dead letters that the page lists: the newest by their places in the topic, not by a time of a producer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from streamcast.consumers.transport import Batch, Headers
from streamcast.printable import printable
from streamcast.topics.dead_letters import REPLAYED

DEAD_LETTERS: Final = 50


@dataclass(frozen=True, slots=True)
class ShownDeadLetter:
    """A rejected record as printable text; ``time`` is its Kafka timestamp (epoch ms), which its producer chose."""

    id: str
    time: int
    reason: str
    detail: str
    source: str
    value: str
    bytes: int


class _Kept(NamedTuple):
    """A letter and its place: in which round it was read, from which partition, at which offset."""

    round: int
    partition: int
    offset: int
    letter: ShownDeadLetter


class DeadLetters:
    """The newest ``DEAD_LETTERS``: those of later rounds, and of one round those nearest to their partitions' ends.

    A round is one reading of all partitions, one after the other, so within it no partition is newer than another.
    """

    def __init__(self) -> None:
        self._round = 0
        self._ends: dict[tuple[int, int], int] = {}
        self._kept: list[_Kept] = []

    def letters(self) -> list[ShownDeadLetter]:
        """The letters, the newest last."""
        return [kept.letter for kept in self._kept]

    def take(self, batch: Batch) -> int:
        """Add records of the topic, the original bytes with reason and source in the headers; return how many count.

        The marks of replayed letters do not.
        """
        headers: Sequence[Headers] = batch.headers or [()] * len(batch)
        columns = zip(batch.offsets, batch.timestamps, batch.values, headers, strict=True)
        rows = [row for row in columns if REPLAYED not in dict(row[3])]
        partition = batch.partition.index
        self._ends[self._round, partition] = batch.next_offset
        for offset, timestamp, value, header in rows[-DEAD_LETTERS:]:
            shown = _shown(f"{partition}-{offset}", timestamp, value or b"", header)
            self._kept.append(_Kept(self._round, partition, offset, shown))
        self._kept = sorted(self._kept, key=self._place)[-DEAD_LETTERS:]
        return len(rows)

    def next_round(self) -> None:
        """Treat what comes from now on as newer than all before."""
        self._round += 1
        self._ends = {place: self._ends[place] for place in {(kept.round, kept.partition) for kept in self._kept}}

    def _place(self, kept: _Kept) -> tuple[int, int]:
        return kept.round, kept.offset - self._ends[kept.round, kept.partition]


def _shown(name: str, timestamp: int, raw: bytes, header: Headers) -> ShownDeadLetter:
    named = {field: printable(content) for field, content in header}
    source = [named.get(f"source_{part}", "?") for part in ("topic", "partition", "offset")]
    return ShownDeadLetter(
        id=name,
        time=timestamp,
        reason=named.get("reason", ""),
        detail=named.get("detail", ""),
        source="{}[{}]@{}".format(*source),
        value=printable(raw),
        bytes=len(raw),
    )
