"""Replays: the records of partitions are read again, and step the lanes whose state lacks them, a slice at a time.

Replayed records are not answered: their answers were committed with the offset that the replay ends at.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from streamcast.consumers.transport import Batch, Partition, Positions, Reader, TransportError
from streamcast.engine.engine import Engine
from streamcast.topics.journal import Entry
from streamcast.topics.observations import Decoder, Observations


@dataclass(slots=True)
class _Replay:
    """The replay of a partition's records: from ``at`` to ``end``, with the resets that are left and the skips.

    A lane takes the records from its own start on.
    """

    at: int
    end: int
    starts: dict[str, int]
    resets: deque[Entry]
    skips: Collection[int]

    @property
    def stop(self) -> int:
        """Where the next reset, the next start of a lane or the end is."""
        ahead = [start for start in self.starts.values() if start > self.at]
        return min([self.end, *ahead, *(entry.offset for entry in islice(self.resets, 1))])

    @property
    def done(self) -> bool:
        """Whether the state is at the end."""
        return self.at >= self.end and not self.resets


class Replays:
    """The replays of some partitions, in the lanes that each names; other lanes are left alone.

    ``timer`` gives seconds that never step; ``beat`` is called as the work of a slice goes on.  A slice ends after a
    step, which takes the records that have arrived together, of a partition at most ``most`` if that is given.
    """

    def __init__(
        self, engines: Mapping[str, Engine], decoder: Decoder, reader: Reader, timer: Callable[[], float],
        beat: Callable[[], None], most: int | None = None,
    ) -> None:  # fmt: skip
        self._engines, self._decoder, self._reader = engines, decoder, reader
        self._timer, self._beat, self._most = timer, beat, most
        self._replays: dict[Partition, _Replay] = {}
        self._steps: Iterator[list[Batch] | Entry] | None = None

    @property
    def left(self) -> int:
        """Records that are still to be read."""
        return sum(replay.end - replay.at for replay in self._replays.values())

    @property
    def reached(self) -> Mapping[Partition, Mapping[str, int]]:
        """Up to where each lane's state of a partition has come, of those whose records are still replayed."""
        return {
            partition: {lane: max(replay.at, start) for lane, start in replay.starts.items()}
            for partition, replay in self._replays.items()
        }

    def plan(
        self, partition: Partition, starts: Mapping[str, int], end: int, resets: Sequence[Entry], skips: Collection[int]
    ) -> int:
        """Prepare to bring each lane's state of a partition from its start to ``end``; return the records to be read.

        A reset at either end is done as well: the snapshot may have been taken before it.
        """
        start = min(starts.values())
        due = sorted((entry for entry in resets if start <= entry.offset <= end), key=lambda entry: entry.offset)
        self._replays[partition] = _Replay(start, end, dict(starts), deque(due), skips)
        self._steps = None
        return end - start

    def add(self, partition: Partition, lane: str, at: int, skips: Collection[int]) -> None:
        """Let a lane whose state is at ``at``, the partition's end, be brought further with the lanes of its replay."""
        replay = self._replays.setdefault(partition, _Replay(at, at, {}, deque(), skips))
        replay.starts[lane] = at
        self._steps = None

    def extend(self, ends: Positions) -> None:
        """Move the ends of replays on to where their partitions are now."""
        for partition, replay in self._replays.items():
            replay.end = max(replay.end, ends[partition])

    def reset(self, entry: Entry) -> None:
        """Take note of a reset that is committed now, after the resets of the plan, if its partition is replayed."""
        replay = self._replays.get(Partition(entry.topic, entry.partition))
        if replay is not None:
            replay.resets.append(entry)

    def cancel(self, partitions: Collection[Partition]) -> None:
        """Leave the replays of these partitions where they are."""
        for partition in partitions:
            self._replays.pop(partition, None)
        self._steps = None

    def some(self, budget_seconds: float) -> bool:
        """Replay for about ``budget_seconds``; return True when nothing is left.  Raises TransportError."""
        until = self._timer() + budget_seconds
        while self._replays:
            self._steps = self._steps or self._read()
            try:
                step = next(self._steps, None)
            except TransportError:  # a generator that raised is at its end: the next slice needs another
                self._steps = None
                raise
            if step is None:
                self._replays.clear()
                self._steps = None
            elif isinstance(step, Entry):
                self._reset(step)
            else:
                self._take(step)
            if self._timer() >= until:
                break
        return not self._replays

    def _reset(self, entry: Entry) -> None:
        """Reset a series of the lanes whose state has come there; a later snapshot has it done."""
        partition = Partition(entry.topic, entry.partition)
        for lane, start in self._replays[partition].starts.items():
            if start <= entry.offset:
                self._engines[lane].slab.forget_key(partition, entry.key)

    def _take(self, batches: Sequence[Batch]) -> None:
        """Step each lane through the batches that its state does not have yet."""
        replays = [self._replays[batch.partition] for batch in batches]
        skips = {batch.partition: replay.skips for batch, replay in zip(batches, replays, strict=True)}
        decoded: dict[tuple[int, ...], Observations] = {}
        for lane in dict.fromkeys(lane for replay in replays for lane in replay.starts):
            engine = self._engines[lane]
            wanted = tuple(
                place for place, replay in enumerate(replays) if replay.at >= replay.starts.get(lane, math.inf)
            )
            if not wanted:
                continue
            if wanted not in decoded:
                decoded[wanted], _ = self._decoder.decode([batches[place] for place in wanted], skips)
            engine.stage(self._decoder.seen_by(engine.spec, decoded[wanted]), lambda _stage: self._beat())
            engine.promote()
        for batch, replay in zip(batches, replays, strict=True):
            replay.at = batch.next_offset

    def _read(self) -> Iterator[list[Batch] | Entry]:
        """Yield the records and resets that are left, of all partitions at once, each partition's in order."""
        while any(not replay.done for replay in self._replays.values()):
            for replay in self._replays.values():
                while replay.resets and replay.resets[0].offset <= replay.at:
                    yield replay.resets.popleft()
            stops = {partition: replay.stop for partition, replay in self._replays.items()}
            ranges = {partition: (self._replays[partition].at, stop) for partition, stop in stops.items()}
            for batches in self._reader.read_ranges(ranges):
                yield from [batches] if self._most is None else _pieces(batches, self._most)
            for partition, stop in stops.items():
                self._replays[partition].at = max(stop, self._replays[partition].at)


def _pieces(batches: Sequence[Batch], most: int) -> Iterator[list[Batch]]:
    """Yield parts of batches, each of at most so many records."""
    for batch in batches:
        for first in range(0, len(batch), most):
            yield [batch.part(first, min(first + most, len(batch)))]
