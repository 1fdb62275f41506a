"""Resets of single series: asked for at any time, journalled and done with the next batch of their partition."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from streamcast.consumers.transport import Batch, Partition
from streamcast.topics.journal import Entry

MOST_WAITING = 10_000
"""Requests that wait for their partition; the oldest are dropped beyond it."""

Series = Callable[[Partition], Mapping[str, int]]
"""Returns the known series of a partition, by key."""


class Resets:
    """The keys that somebody asked to reset; ``ask`` is safe from other threads."""

    def __init__(self, series: Series) -> None:
        self._series = series
        self._keys: deque[str] = deque(maxlen=MOST_WAITING)

    def ask(self, keys: Iterable[str]) -> None:
        """Reset these series with the next batch of their partition."""
        self._keys.extend(keys)

    def due(self, batches: Sequence[Batch], held: Collection[Partition]) -> list[tuple[Partition, int, str]]:
        """Return (partition, first offset, key) of the resets to do with these batches.

        Keys of other ``held`` partitions go on waiting; unknown keys are dropped.
        """
        found = []
        for _ in range(len(self._keys)):
            key = self._keys.popleft()
            homes = [partition for partition in held if key in self._series(partition)]
            here = [(batch.partition, batch.offsets[0], key) for batch in batches if batch.partition in homes]
            found += here
            if homes and not here:
                self._keys.append(key)
        return found

    def undone(self, entries: Iterable[Entry], partitions: Collection[Partition]) -> None:
        """Ask again for the resets whose commit failed in these partitions."""
        self.ask(entry.key for entry in entries if Partition(entry.topic, entry.partition) in partitions)
