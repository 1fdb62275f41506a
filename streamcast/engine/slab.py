"""The slab: everything remembered of every series, as contiguous arrays with one row (slot) a series.

A poll works on the slab in place and keeps what it overwrites: a ``Stage``.  ``promote`` forgets the stage,
``discard`` puts everything back, for all partitions or for some.  Either way the cost is that of the records
in the poll, never that of the state.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from streamcast.consumers.transport import Partition
from streamcast.engine.layout import Layout
from streamcast.kernels.advance import NEVER, OFFSET, STEPS, Rows
from streamcast.topics.forecasts import encode_key
from streamcast.topics.observations import Observations

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]

FIRST_SLOTS = 64


@dataclass(slots=True)
class _Cells:
    """Ring cells as they were: array ``name`` at ``slots`` and ``positions`` held ``before``."""

    name: str
    slots: Ints
    positions: Ints
    before: Array


@dataclass(slots=True)
class Stage:
    """What a poll changed, as it was before."""

    slots: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    rows: dict[str, Array] = field(default_factory=dict)
    seen: list[tuple[Ints, Ints]] = field(default_factory=list)
    cells: list[_Cells] = field(default_factory=list)
    born: list[int] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    evictions: int = 0


class Slab:
    """The states of all series of one lane; a slot belongs to one partition."""

    def __init__(self, layout: Layout, max_series: int) -> None:
        self._layout = layout
        self._max_series = max_series
        self._index: dict[Partition, dict[str, int]] = {}
        self._oldest: dict[Partition, list[tuple[int, int]]] = {}
        self._numbers: dict[Partition, int] = {}
        self._keys: list[str] = []
        self._texts: list[bytes] = []
        self._free: list[int] = []
        self._stage: Stage | None = None
        self.arrays: dict[str, Array] = {
            name: np.zeros((FIRST_SLOTS, *f.shape), f.dtype) for name, f in layout.fields.items()
        }
        self._partition_of = np.full(FIRST_SLOTS, -1, np.int64)
        self._seen = np.full(FIRST_SLOTS, -1, np.int64)
        self.rows = self._rows()

    def _rows(self) -> Rows:
        return Rows(*(self.arrays[name] for name in Rows._fields))

    # -- series --------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return sum(map(len, self._index.values()))

    @property
    def capacity(self) -> int:
        """Slots that are allocated."""
        return len(self._partition_of)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self.arrays.values())

    def series(self, partition: Partition) -> Mapping[str, int]:
        """The slots of a partition's series, by key."""
        return self._index.get(partition, {})

    def partitions(self) -> Collection[Partition]:
        """The partitions that have series."""
        return self._index.keys()

    def key_texts(self, slots: Ints) -> list[bytes]:
        """The keys of slots as JSON strings."""
        texts = self._texts
        return [texts[slot] for slot in slots.tolist()]

    def locate(self, observations: Observations, reset: Collection[tuple[Partition, str]] = ()) -> Ints:
        """Return the slot of each observation, giving new series a fresh one, and open a stage over them.

        The series of ``reset`` are begun anew before the first observation.

        At ``max_series`` of a partition the least recently seen series leaves for a new one, in offset order;
        its slot is free once the stage is promoted.
        """
        if self._stage is not None:
            raise RuntimeError("locate: the last stage is still open; promote or discard it first")
        stage = Stage()
        for partition, key in reset:
            slot = self._index.get(partition, {}).pop(key, None)
            if slot is not None:
                stage.gone.append(slot)
        slots = np.empty(len(observations), np.int64)
        for partition, start, stop in observations.runs:
            index = self._index.setdefault(partition, {})
            self._numbers.setdefault(partition, len(self._numbers))
            found = [index.get(key, -1) for key in observations.keys[start:stop]]
            if -1 in found:
                keys = observations.keys[start:stop]
                self._admit(partition, index, keys, observations.offsets[start:stop], found, stage)
            else:
                here = np.array(found, np.int64)
                stage.seen.append((here, self._seen[here]))
                self._seen[here] = observations.offsets[start:stop]
            slots[start:stop] = found
        stage.slots = np.unique(slots)
        for name, f in self._layout.fields.items():
            if not f.rings:
                stage.rows[name] = self.arrays[name][stage.slots]
        self._stage = stage
        return slots

    def _admit(
        self, partition: Partition, index: dict[str, int], keys: Sequence[str], offsets: Ints, found: list[int],
        stage: Stage,
    ) -> None:  # fmt: skip
        """Give every key without a slot one, in offset order; all are marked as seen on the way."""
        before = []
        for i, key in enumerate(keys):
            slot = index.get(key, -1)
            if slot < 0:
                if len(index) >= self._max_series:
                    self._evict(partition, index, stage)
                slot = self._take(partition, key)
                index[key] = slot
                stage.born.append(slot)
                if partition in self._oldest:
                    heapq.heappush(self._oldest[partition], (int(offsets[i]), slot))
            before.append(self._seen[slot])
            self._seen[slot] = offsets[i]
            found[i] = slot
        stage.seen.append((np.array(found, np.int64), np.array(before, np.int64)))

    def _evict(self, partition: Partition, index: dict[str, int], stage: Stage) -> None:
        """Let the series go that was seen longest ago (the heap is a cache of ``seen``, mended as it is read)."""
        heap = self._oldest.get(partition)
        if heap is None:
            heap = [(int(self._seen[slot]), slot) for slot in index.values()]
            heapq.heapify(heap)
            self._oldest[partition] = heap
        while True:
            seen, slot = heapq.heappop(heap)
            if index.get(self._keys[slot]) != slot:
                continue
            if self._seen[slot] == seen:
                break
            heapq.heappush(heap, (int(self._seen[slot]), slot))
        del index[self._keys[slot]]
        stage.gone.append(slot)
        stage.evictions += 1

    def _take(self, partition: Partition, key: str) -> int:
        if self._free:
            slot = self._free.pop()
            self._keys[slot], self._texts[slot] = key, encode_key(key)
        else:
            slot = len(self._keys)
            if slot == self.capacity:
                self._grow()
            self._keys.append(key)
            self._texts.append(encode_key(key))
        self._partition_of[slot] = self._numbers[partition]
        for name, f in self._layout.fields.items():
            if not f.rings:
                self.arrays[name][slot] = 0
        self.arrays["clock"][slot] = NEVER
        self.arrays["clock"][slot, [STEPS, OFFSET]] = 0, -1
        self._seen[slot] = -1
        return slot

    def _grow(self) -> None:
        for name, array in self.arrays.items():
            self.arrays[name] = _doubled(array, 0)
        self._partition_of = _doubled(self._partition_of, -1)
        self._seen = _doubled(self._seen, -1)
        self.rows = self._rows()

    # -- stage ---------------------------------------------------------------------------------------

    def overwrote(self, name: str, slots: Ints, positions: Ints, before: Array) -> None:
        """Note that ring cells were overwritten, in this order; ``before`` is copied."""
        if self._stage is None:
            raise RuntimeError(f"overwrote {name}: no stage is open")
        self._stage.cells.append(_Cells(name, slots.copy(), positions.copy(), before.copy()))

    @property
    def evictions(self) -> int:
        """How many series left for new ones in the open stage."""
        return self._stage.evictions if self._stage else 0

    def promote(self) -> None:
        """The stage is committed: forget what was before."""
        if self._stage is not None:
            self._release(self._stage.gone)
            self._stage = None

    def discard(self, partitions: Collection[Partition] | None = None) -> None:
        """Put back what the stage changed, of all partitions or of these; the rest is promoted."""
        stage, self._stage = self._stage, None
        if stage is None:
            return
        numbers = [n for p, n in self._numbers.items() if partitions is None or p in partitions]
        for cells in reversed(stage.cells):
            first = _first(cells.slots * (1 + int(cells.positions.max(initial=0))) + cells.positions)
            first = first[np.isin(self._partition_of[cells.slots[first]], numbers)]
            slots, positions = cells.slots[first], cells.positions[first]
            at = (slots, positions) if self._layout.fields[cells.name].axis == 0 else (slots, slice(None), positions)
            self.arrays[cells.name][at] = cells.before[first]
        keep = np.isin(self._partition_of[stage.slots], numbers)
        for name, before in stage.rows.items():
            self.arrays[name][stage.slots[keep]] = before[keep]
        for slots, seen in reversed(stage.seen):
            first = _first(slots)
            first = first[np.isin(self._partition_of[slots[first]], numbers)]
            self._seen[slots[first]] = seen[first]
        for partition in list(self._index):
            if self._numbers[partition] in numbers:
                self._undo_membership(partition, stage)
        undone = set(numbers)
        self._release([slot for slot in stage.born if self._partition_of[slot] in undone])
        self._release([slot for slot in stage.gone if self._partition_of[slot] not in undone])

    def _undo_membership(self, partition: Partition, stage: Stage) -> None:
        number, index = self._numbers[partition], self._index[partition]
        for slot in stage.born:
            if self._partition_of[slot] == number and index.get(self._keys[slot]) == slot:
                del index[self._keys[slot]]
        born = set(stage.born)
        for slot in stage.gone:
            if self._partition_of[slot] == number and slot not in born:
                index[self._keys[slot]] = slot
        self._oldest.pop(partition, None)

    def _release(self, slots: Sequence[int]) -> None:
        for slot in dict.fromkeys(slots):
            if self._partition_of[slot] >= 0:
                self._partition_of[slot] = -1
                self._free.append(slot)

    def forget(self, partition: Partition) -> None:
        """Drop every series of a partition; no stage may be open."""
        self.promote()
        self._release(list(self._index.pop(partition, {}).values()))
        self._oldest.pop(partition, None)

    def forget_key(self, partition: Partition, key: str) -> None:
        """Drop one series, if there is one; no stage may be open."""
        slot = self._index.get(partition, {}).pop(key, None)
        if slot is not None:
            self._release([slot])

    # -- content -------------------------------------------------------------------------------------

    def content(self, slot: int) -> Iterator[tuple[str, Array]]:
        """Yield a series' state array by array, in canonical form: what was never written is zero."""
        for name, rows in self._canonical(np.array([slot])):
            yield name, rows[0]

    def _canonical(self, slots: Ints) -> Iterator[tuple[str, Array]]:
        """Yield copies of some rows, array by array, in canonical form."""
        steps = np.column_stack([self.arrays["clock"][slots, STEPS], self.arrays["closed"][slots]])
        for name, f in self._layout.fields.items():
            rows = self.arrays[name][slots]
            f.blank(rows, steps)
            yield name, rows

    def export(self, partition: Partition) -> dict[str, Array]:
        """Return a partition's series as arrays in the order of their keys, in canonical form; a copy.

        Beside the slab's arrays: ``seen``, and the keys as UTF-8 in ``key_bytes`` with their ends in ``key_ends``.
        """
        index = self._index.get(partition, {})
        keys = sorted(index)
        slots = np.array([index[key] for key in keys], np.int64)
        exported = dict(self._canonical(slots))
        encoded = [key.encode() for key in keys]
        exported["seen"] = self._seen[slots]
        exported["key_bytes"] = np.frombuffer(b"".join(encoded), np.uint8)
        exported["key_ends"] = np.cumsum([len(key) for key in encoded], dtype=np.int64)
        return exported

    def restore(self, partition: Partition, exported: Mapping[str, Array]) -> None:
        """Take over what ``export`` returned, in place of what there is of the partition.

        Raises ValueError when the arrays are not those of this layout; nothing is changed then.
        """
        ends = exported["key_ends"].tolist() if "key_ends" in exported else None
        wanted = {name: (f.shape, np.dtype(f.dtype)) for name, f in self._layout.fields.items()} | {
            "seen": ((), np.dtype(np.int64))
        }
        if ends is None or set(exported) != wanted.keys() | {"key_bytes", "key_ends"}:
            raise ValueError(f"arrays {sorted(exported)} are not those of this model")
        for name, (shape, dtype) in wanted.items():
            if exported[name].shape != (len(ends), *shape) or exported[name].dtype != dtype:
                raise ValueError(
                    f"array {name} is {exported[name].dtype}{exported[name].shape}, not {dtype}{shape} a row"
                )
        text = exported["key_bytes"].tobytes()
        keys = [text[start:stop].decode() for start, stop in zip([0, *ends], ends, strict=False)]
        self.forget(partition)
        index = self._index.setdefault(partition, {})
        self._numbers.setdefault(partition, len(self._numbers))
        for key in keys:
            index[key] = self._take(partition, key)
        slots = np.array([index[key] for key in keys], np.int64)
        for name in self._layout.fields:
            self.arrays[name][slots] = exported[name]
        self._seen[slots] = exported["seen"]

    def digest(self, partition: Partition, key: str) -> str:
        """SHA-256 of one series' canonical state, in hex; KeyError when the series is unknown."""
        hashed = hashlib.sha256()
        for _, array in self.content(self._index[partition][key]):
            hashed.update(np.ascontiguousarray(array).tobytes())
        return hashed.hexdigest()


def _first(cells: Ints) -> Ints:
    """Where each distinct cell comes first: what it held before all else (numpy may assign repeats in any order)."""
    return np.unique(cells, return_index=True)[1]


def _doubled(array: Array, fill: int) -> Array:
    larger = np.full((2 * len(array), *array.shape[1:]), fill, array.dtype)
    larger[: len(array)] = array
    return larger
