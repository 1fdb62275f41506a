"""Coming back: the newest snapshot that can be trusted, then the records since, through the same engines.

State is the fold of a partition's records; a snapshot only spares reading the first of them again.  What is
replayed is not answered: the answers were committed with the offset that the replay ends at.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from streamcast.consumers.transport import Batch, Partition, Reader, TransportError
from streamcast.engine.engine import Engine
from streamcast.errors import SnapshotError
from streamcast.service.snapshots import Header, Store, fingerprint
from streamcast.topics.journal import Entry
from streamcast.topics.observations import Decoder

log = logging.getLogger("streamcast")

REPORT_SECONDS = 5.0


class Watcher(Protocol):
    """Is told how recovery goes; telemetry implements it."""

    def recovering(self, records_left: int) -> None:
        """So many records are still to be replayed."""

    def recovered(self, seconds: float) -> None:
        """Nothing is left; it took so long."""

    def snapshot(self, partition: Partition) -> None:
        """The state of a partition is the same as in the store."""


@dataclass(slots=True)
class _Replay:
    """A partition's records that are being read again: from ``at`` to ``end``, with the resets of keys."""

    partition: Partition
    at: int
    end: int
    resets: Sequence[Entry]
    steps: Iterator[Batch | Entry]


class Recovery:
    """Rebuilds the state of partitions, a slice at a time."""

    def __init__(
        self, engines: dict[str, Engine], decoder: Decoder, reader: Reader, store: Store | None, watcher: Watcher,
        clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self._engines, self._decoder, self._reader = engines, decoder, reader
        self._store, self._watcher, self._clock = store, watcher, clock
        self._replays: list[_Replay] = []
        self._began = self._reported = clock()
        self._total = 0

    def restore(self, wanted: Header) -> int:
        """Load the newest snapshot that can be trusted, in place of what there is; return where replay starts."""
        partition = Partition(wanted.topic, wanted.partition)
        self.drop([partition])
        if self._store is None:
            return wanted.begin
        for path, offset in self._store.newest(wanted, wanted.offset):
            began = time.perf_counter()
            try:
                header, arrays = self._store.read(path, wanted)
                for lane, engine in self._engines.items():
                    mine = {
                        name.removeprefix(f"{lane}/"): a for name, a in arrays.items() if name.startswith(f"{lane}/")
                    }
                    engine.slab.restore(partition, mine)
            except (SnapshotError, ValueError) as error:
                log.error("snapshot %s is passed over: %s", path, error)
                for engine in self._engines.values():
                    engine.slab.forget(partition)
                continue
            if header.fingerprint != fingerprint():
                log.warning(
                    "snapshot %s was computed by %s, this process is %s: forecasts may differ from earlier ones in"
                    " their last digits", path, header.fingerprint, fingerprint(),
                )  # fmt: skip
            log.info("%s[%d]: state restored at offset %d in %.2f s", *partition, offset, time.perf_counter() - began)
            self._watcher.snapshot(partition)
            return offset
        return wanted.begin

    def plan(self, partition: Partition, start: int, end: int, resets: Sequence[Entry]) -> None:
        """Prepare to bring a partition's state from ``start``, where ``restore`` left it, to ``end``."""
        if not self._replays:
            self._began, self._total = self._clock(), 0
        steps = self._steps(partition, start, end, resets)
        self._replays.append(_Replay(partition, start, end, resets, steps))
        self._total += end - start

    def drop(self, partitions: Sequence[Partition]) -> None:
        """Forget partitions: their state, and what is still to be replayed of them."""
        self._replays = [replay for replay in self._replays if replay.partition not in partitions]
        for engine in self._engines.values():
            for partition in partitions:
                engine.slab.forget(partition)

    def some(self, budget_seconds: float) -> bool:
        """Replay for about so long; True when nothing is left.  Raises RecordsGone."""
        until = self._clock() + budget_seconds
        while self._replays:
            replay = self._replays[0]
            try:
                step = next(replay.steps, None)
            except TransportError:  # an iterator that failed is at its end: the next slice needs another
                replay.steps = self._steps(replay.partition, replay.at, replay.end, replay.resets)
                raise
            if step is None:
                self._replays.pop(0)
            elif isinstance(step, Entry):
                for engine in self._engines.values():
                    engine.slab.forget_key(replay.partition, step.key)
            else:
                observations, _ = self._decoder.decode([step])
                for engine in self._engines.values():
                    engine.stage(observations)
                    engine.promote()
                replay.at = step.next_offset
            if self._clock() >= until:
                break
        self._report()
        return not self._replays

    def _report(self) -> None:
        left = sum(replay.end - replay.at for replay in self._replays)
        self._watcher.recovering(left)
        now = self._clock()
        if not self._replays:
            self._watcher.recovered(now - self._began)
            if self._total:
                log.info("recovered: %d records replayed in %.1f s", self._total, now - self._began)
        elif now - self._reported > REPORT_SECONDS:
            self._reported = now
            done = self._total - left
            eta = (now - self._began) * left / done if done else float("nan")
            log.info("recovering: %d of %d records replayed, about %.0f s left", done, self._total, eta)

    def _steps(self, partition: Partition, start: int, end: int, resets: Sequence[Entry]) -> Iterator[Batch | Entry]:
        """Yield what happened from ``start`` to ``end``, in order; a reset at either end counts, and counts once."""
        due = {entry.offset: [e for e in resets if e.offset == entry.offset] for entry in resets}
        marks = sorted({start, end} | {offset for offset in due if start < offset < end})
        for first, stop in pairwise(marks):
            yield from due.get(first, ())
            yield from self._reader.read_range(partition, first, stop)
        yield from due.get(end, ())
