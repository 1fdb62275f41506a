"""The slab: the state of every series, as contiguous arrays with one row (slot) a series.

A poll changes the slab in place and records what it overwrites in an ``Undo``: this is its stage.  ``promote`` drops
the record, ``discard`` puts everything back, for all partitions or for some.  The cost of both depends on the
records of the poll, never on the number of series.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from streamcast.consumers.transport import Partition
from streamcast.engine.layout import StateLayout
from streamcast.engine.undo import Undo
from streamcast.kernels.advance import NEVER, OFFSET, STEPS, WindowState
from streamcast.topics.forecasts import encode_key
from streamcast.topics.observations import Observations

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]

FIRST_SLOTS = 64


class Slab:
    """The states of all series of one lane; a slot belongs to one partition."""

    def __init__(self, layout: StateLayout, max_series: int) -> None:
        self._layout = layout
        self._max_series = max_series
        self._index: dict[Partition, dict[str, int]] = {}  # the slot of each key
        self._oldest: dict[Partition, list[tuple[int, int]]] = {}  # heaps of (seen, slot), once a partition is full
        self._numbers: dict[Partition, int] = {}  # of partitions, as in ``_partition_of``
        self._keys: list[str] = []  # by slot
        self._texts: list[bytes] = []  # the same as JSON strings
        self._free: list[int] = []
        self._undo: Undo | None = None  # of the open stage
        self.evictions = 0
        """How many series the newest stage evicted."""
        self.arrays: dict[str, Array] = {
            name: np.zeros((FIRST_SLOTS, *f.shape), f.dtype) for name, f in layout.fields.items()
        }
        self._partition_of = np.full(FIRST_SLOTS, -1, np.int64)  # by slot, -1 where it is free
        self._seen = np.full(FIRST_SLOTS, -1, np.int64)  # by slot: the newest offset of its series
        self.rows = self._rows()

    def _rows(self) -> WindowState:
        return WindowState(*(self.arrays[name] for name in WindowState._fields))

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
        """The partitions whose records were seen."""
        return self._index.keys()

    def key_texts(self, slots: Ints) -> list[bytes]:
        """The keys of slots as JSON strings."""
        texts = self._texts
        return [texts[slot] for slot in slots.tolist()]

    def locate(self, observations: Observations, reset: Collection[tuple[Partition, str]] = ()) -> Ints:
        """Open a stage and return the slot of each observation; new series get a free slot.

        Series of ``reset`` lose their state first.  When a partition has ``max_series`` series, a new one replaces
        the least recently seen one, in offset order; the slot of an evicted series is free after ``promote``.
        """
        if self._undo is not None:
            raise RuntimeError("locate: the last stage is still open; promote or discard it first")
        undo, self.evictions = Undo(), 0
        for partition, key in reset:
            slot = self._index.get(partition, {}).pop(key, None)
            if slot is not None:
                undo.member(partition, key, slot, None)
        slots = np.empty(len(observations), np.int64)
        for partition, start, stop in observations.runs:
            index = self._index.setdefault(partition, {})
            self._numbers.setdefault(partition, len(self._numbers))
            keys, offsets = observations.keys[start:stop], observations.offsets[start:stop]
            found = [index.get(key, -1) for key in keys]
            if -1 in found:
                self._admit(partition, keys, offsets, found, undo)
            else:
                here = np.array(found, np.int64)
                undo.rows("seen", here, self._seen[here])
                np.maximum.at(self._seen, here, offsets)  # a key may occur several times
            slots[start:stop] = found
        changed = np.unique(slots)
        for name, f in self._layout.fields.items():
            if not f.rings:
                undo.rows(name, changed, self.arrays[name][changed])
        self._undo = undo
        return slots

    def _admit(self, partition: Partition, keys: Sequence[str], offsets: Ints, found: list[int], undo: Undo) -> None:
        """Give every key without a slot one, in offset order, and write all slots into ``found``."""
        index = self._index[partition]
        before = []
        for i, key in enumerate(keys):
            slot = index.get(key, -1)
            if slot < 0:
                if len(index) >= self._max_series:
                    self._evict(partition, undo)
                slot = self._take(partition, key)
                index[key] = slot
                undo.member(partition, key, None, slot)
                if partition in self._oldest:
                    heapq.heappush(self._oldest[partition], (int(offsets[i]), slot))
            before.append(self._seen[slot])
            self._seen[slot] = max(self._seen[slot], offsets[i])  # an offset may be delivered again
            found[i] = slot
        undo.rows("seen", np.array(found, np.int64), np.array(before, np.int64))

    def _evict(self, partition: Partition, undo: Undo) -> None:
        """Drop the least recently seen series; the heap caches ``seen``, and stale entries are corrected when read."""
        index, heap = self._index[partition], self._oldest.get(partition)
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
        undo.member(partition, self._keys[slot], slot, None)
        self.evictions += 1

    def _take(self, partition: Partition, key: str) -> int:
        """Return a free slot with the state of a new series."""
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
        """Record that ring cells were overwritten, in this order; ``before`` is copied."""
        if self._undo is None:
            raise RuntimeError(f"overwrote {name}: no stage is open")
        self._undo.cells(name, slots.copy(), positions.copy(), before.copy(), self._layout.fields[name].axis)

    def condense(self) -> None:
        """Keep of cells that were overwritten several times what they held first: no more than the rows that changed.

        For series that have taken many more steps than their rings have cells.
        """
        if self._undo is not None:
            self._undo.condense()

    def promote(self) -> None:
        """Keep what the open stage changed, if a stage is open."""
        self._end_stage({})

    def discard(self, partitions: Collection[Partition] | None = None) -> None:
        """Put back what the open stage changed, of all partitions or of these; keep the rest."""
        self._end_stage({p: n for p, n in self._numbers.items() if partitions is None or p in partitions})

    def _end_stage(self, undone: Mapping[Partition, int]) -> None:
        """End the open stage, if there is one: put back the changes of some partitions, given with their numbers."""
        undo, self._undo = self._undo, None
        if undo is None:
            return
        if undone:
            undo.put_back(undone, self._partition_of, {**self.arrays, "seen": self._seen}, self._index)
        for partition in undone:
            self._oldest.pop(partition, None)
        self._release(undo.unused(undone))

    def _release(self, slots: Sequence[int]) -> None:
        for slot in dict.fromkeys(slots):
            if self._partition_of[slot] >= 0:
                self._partition_of[slot] = -1
                self._free.append(slot)

    def forget(self, partition: Partition) -> None:
        """Drop every series of a partition; promotes an open stage first."""
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
        """Yield a series' state array by array, in canonical form: unwritten cells are zero."""
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

        Besides the slab's arrays: ``seen``, and the keys as UTF-8 in ``key_bytes`` with their ends in ``key_ends``.
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
        """Replace the series of a partition by those that ``export`` returned.

        Arrays without a cell may be missing: snapshots of earlier versions have no field that this model does not use.
        Raises ValueError, and changes nothing, when the arrays do not fit the layout.
        """
        ends = exported["key_ends"].tolist() if "key_ends" in exported else None
        wanted = {name: (f.shape, np.dtype(f.dtype)) for name, f in self._layout.fields.items()} | {
            "seen": ((), np.dtype(np.int64))
        }
        needed = {name for name, (shape, _) in wanted.items() if 0 not in shape} | {"key_bytes", "key_ends"}
        if ends is None or not needed <= set(exported) <= needed | wanted.keys():
            raise ValueError(f"arrays {sorted(exported)} are not those of this model")
        wanted = {name: wanted[name] for name in wanted.keys() & exported.keys()}
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
        for name in self._layout.fields.keys() & exported.keys():
            self.arrays[name][slots] = exported[name]
        self._seen[slots] = exported["seen"]

    def digest(self, partition: Partition, key: str) -> str:
        """SHA-256 of one series' canonical state, in hex; KeyError when the series is unknown."""
        hashed = hashlib.sha256()
        for _, array in self.content(self._index[partition][key]):
            hashed.update(np.ascontiguousarray(array).tobytes())
        return hashed.hexdigest()


def _doubled(array: Array, fill: int) -> Array:
    larger = np.full((2 * len(array), *array.shape[1:]), fill, array.dtype)
    larger[: len(array)] = array
    return larger
