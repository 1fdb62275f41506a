"""What a poll overwrote in the slab, in order, so that it can be put back for all partitions or for some.

Legend: N overwrites, in the order in which they happened; they may repeat.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamcast.consumers.transport import Partition

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]

Index = Mapping[Partition, dict[str, int]]
"""The slots of each partition's series, by key."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """Array ``name`` held ``before`` [N, …] in the rows ``slots`` [N]."""

    name: str
    slots: Ints
    before: Array

    def put_back(self, array: Array, which: npt.NDArray[np.bool_]) -> None:
        first = _first(self.slots)
        first = first[which[first]]
        array[self.slots[first]] = self.before[first]


@dataclass(frozen=True, slots=True)
class _Cells:
    """Array ``name`` held ``before`` [N, …] at ``positions`` [N] along ``axis`` of the rows ``slots`` [N]."""

    name: str
    slots: Ints
    before: Array
    positions: Ints
    axis: int

    def first(self) -> _Cells:
        """Return these without the cells that were overwritten again."""
        return self._of(_first(self.slots * (1 + int(self.positions.max(initial=0))) + self.positions))

    def put_back(self, array: Array, which: npt.NDArray[np.bool_]) -> None:
        cells = self._of(np.flatnonzero(which)).first()
        at = (cells.slots, cells.positions) if self.axis == 0 else (cells.slots, slice(None), cells.positions)
        array[at] = cells.before

    def _of(self, places: Ints) -> _Cells:
        return _Cells(self.name, self.slots[places], self.before[places], self.positions[places], self.axis)


class _Member(NamedTuple):
    """The slot of a key changed from ``before`` to ``after``; None means that the key has no slot."""

    key: str
    before: int | None
    after: int | None


@dataclass(slots=True)
class Undo:
    """Records what a poll overwrites; at its end the slab either forgets it or puts it back."""

    overwritten: list[_Rows | _Cells] = field(default_factory=list)
    members: dict[Partition, list[_Member]] = field(default_factory=dict)
    _condensed: int = 0

    def rows(self, name: str, slots: Ints, before: Array) -> None:
        """Record that whole rows were overwritten; keeps the arrays, so pass copies."""
        self.overwritten.append(_Rows(name, slots, before))

    def cells(self, name: str, slots: Ints, positions: Ints, before: Array, axis: int) -> None:
        """Record that ring cells were overwritten, in this order; keeps the arrays, so pass copies."""
        self.overwritten.append(_Cells(name, slots, before, positions, axis))

    def condense(self) -> None:
        """Forget which cells were overwritten again, of what was recorded since the last call."""
        for place in range(self._condensed, len(self.overwritten)):
            if isinstance(cells := self.overwritten[place], _Cells):
                self.overwritten[place] = cells.first()
        self._condensed = len(self.overwritten)

    def member(self, partition: Partition, key: str, before: int | None, after: int | None) -> None:
        """Record that the slot of a key changed."""
        self.members.setdefault(partition, []).append(_Member(key, before, after))

    def put_back(
        self, partitions: Mapping[Partition, int], partition_of: Ints, arrays: Mapping[str, Array], index: Index
    ) -> None:
        """Put back what was overwritten of some partitions, newest first.

        ``partitions`` maps them to their numbers, ``partition_of`` [slots] holds the number of each slot's partition.
        """
        numbers = np.array([*partitions.values()], np.int64)
        for overwrite in reversed(self.overwritten):
            which = np.isin(partition_of[overwrite.slots], numbers)
            overwrite.put_back(arrays[overwrite.name], which)
        for partition in partitions:
            slots = index.get(partition, {})
            for key, before, _ in reversed(self.members.get(partition, [])):
                if before is None:
                    del slots[key]
                else:
                    slots[key] = before

    def unused(self, undone: Collection[Partition]) -> list[int]:
        """Return the slots that hold no series any more, once the changes of ``undone`` are put back."""
        slots: list[int | None] = []
        for partition, members in self.members.items():
            slots += [after for _, _, after in members] if partition in undone else [before for _, before, _ in members]
        return [slot for slot in slots if slot is not None]


def _first(cells: Ints) -> Ints:
    """Where each distinct cell comes first: numpy assigns repeated indices in an order of its own."""
    return np.unique(cells, return_index=True)[1]
