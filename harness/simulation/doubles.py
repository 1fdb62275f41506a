"""Doubles of threads and networks for simulated members: writes that wait, readers that fail, and a crash."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from streamcast.consumers.background import Background
from streamcast.consumers.memory.transport import MemoryBroker, MemoryReader
from streamcast.consumers.transport import Batch, Connection, Partition, TopicSpec

T = TypeVar("T")

READ_RECORDS = 9
"""Records of one batch of a replay; small, so that faults happen in the middle."""


class SimulatedCrash(BaseException):
    """The process is dead: none of its objects may be used again."""


class Written(Future[T]):
    """A snapshot that is written when somebody waits for it, or when the world decides; never after a crash."""

    def __init__(self, task: Callable[[], T]) -> None:
        super().__init__()
        self._task = task

    def result(self, timeout: float | None = None) -> T:
        """Write now."""
        if not self.done():
            self.set_result(self._task())
        return super().result(timeout)


class Writes(Background):
    """The thread that writes a member's snapshots, a task at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Written[Any]] = []

    def started(self, call: Callable[[], T]) -> Future[T]:
        """Keep a task for later."""
        task = Written(call)
        self.waiting = [*(each for each in self.waiting if not each.done()), task]
        return task


class Worldly(MemoryReader):
    """A reader that asks before each request (which may raise), and whose ranges come in small batches."""

    def __init__(self, broker: MemoryBroker, group: str, asked: Callable[[str], None]) -> None:
        super().__init__(broker, Connection("memory", group, "reader"))
        self._asked = asked

    def describe(self, topics: Sequence[str]) -> dict[str, TopicSpec]:
        """See ``Reader``."""
        self._asked("describe")
        return super().describe(topics)

    def bounds(self, partitions: Sequence[Partition]) -> dict[Partition, tuple[int, int]]:
        """See ``Reader``."""
        self._asked("bounds")
        return super().bounds(partitions)

    def ends(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """See ``Reader``."""
        self._asked("bounds")
        return super().ends(partitions)

    def read_ranges(self, ranges: Mapping[Partition, tuple[int, int]]) -> Iterator[list[Batch]]:
        """See ``Reader``."""
        for partition, (start, end) in ranges.items():
            for batch in self.read_range(partition, start, end):
                yield [batch]

    def read_range(self, partition: Partition, start: int, end: int) -> Iterator[Batch]:
        """See ``Reader``."""
        for first in range(start, end, READ_RECORDS):
            self._asked("read")
            yield from super().read_range(partition, first, min(first + READ_RECORDS, end))


class Archive(MemoryReader):
    """Reads all records, including those that retention has deleted."""

    def __init__(self, broker: MemoryBroker, group: str, deleted: Mapping[Partition, Sequence[Batch]]) -> None:
        super().__init__(broker, Connection("memory", group, "verifier"))
        self._deleted = deleted

    def bounds(self, partitions: Sequence[Partition]) -> dict[Partition, tuple[int, int]]:
        """See ``Reader``."""
        return {p: (0 if p in self._deleted else first, end) for p, (first, end) in super().bounds(partitions).items()}

    def read_range(self, partition: Partition, start: int, end: int) -> Iterator[Batch]:
        """See ``Reader``."""
        held, _ = super().bounds([partition])[partition]
        for batch in self._deleted.get(partition, ()):
            rows = [row for row, offset in enumerate(batch.offsets) if start <= offset < end]
            if rows:
                part = slice(rows[0], rows[-1] + 1)
                following = min(end, batch.next_offset)
                yield Batch(
                    partition,
                    batch.offsets[part],
                    batch.timestamps[part],
                    batch.keys[part],
                    batch.values[part],
                    following,
                )
        yield from super().read_range(partition, max(start, held), end)
