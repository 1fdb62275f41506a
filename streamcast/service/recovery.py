"""Recovery: load the newest snapshot that can be trusted, then replay the records since, through the same engines.

State is the fold of a partition's records; a snapshot only saves reading the first of them again.  Replayed records are
not answered: their answers were committed with the offset that the replay ends at.
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
from streamcast.errors import SnapshotError, StoreError
from streamcast.service.snapshots import Header, Store, fingerprint, of_lane
from streamcast.topics.journal import Entry, Journal
from streamcast.topics.observations import Decoder

log = logging.getLogger("streamcast")

REPORT_SECONDS = 5.0


class Watcher(Protocol):
    """Is notified of recovery's progress; telemetry implements it."""

    def recovering(self, records_left: int) -> None:
        """``records_left`` records are still to be replayed."""

    def recovered(self, seconds: float) -> None:
        """Recovery ended after ``seconds``."""

    def snapshot(self, partition: Partition) -> None:
        """The state of a partition equals its newest snapshot."""

    def store_failed(self, action: str) -> None:
        """The store could not do this: "list" or "read"."""


@dataclass(slots=True)
class _Replay:
    """The replay of a partition's records: from ``at`` to ``end``, with the journal's resets and skips."""

    partition: Partition
    at: int
    end: int
    resets: Sequence[Entry]
    skips: frozenset[int]
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
        """Replace a partition's state by the newest snapshot that can be trusted; return where the replay starts."""
        partition = Partition(wanted.topic, wanted.partition)
        self.drop([partition])
        if self._store is None:
            return wanted.begin
        for path, offset in self._listed(self._store, wanted):
            began = time.perf_counter()
            try:
                header, arrays = self._store.read(path, wanted)
                for lane, engine in self._engines.items():
                    engine.slab.restore(partition, of_lane(lane, arrays))
            except (SnapshotError, ValueError) as error:
                if isinstance(error, StoreError):
                    self._watcher.store_failed("read")
                log.error("snapshot %s is ignored: %s", path, error)
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

    def _listed(self, store: Store, wanted: Header) -> list[tuple[str, int]]:
        """Return the snapshots to try; none when the store fails, because the log alone is enough."""
        try:
            return list(store.newest(wanted, wanted.offset))
        except StoreError as error:
            self._watcher.store_failed("list")
            log.warning(
                "%s[%d]: no snapshot can be used: %s; replaying the records instead, which takes longer; check"
                " state.store", wanted.topic, wanted.partition, error,
            )  # fmt: skip
            return []

    def plan(self, partition: Partition, start: int, end: int, journal: Journal) -> None:
        """Prepare to bring a partition's state from ``start``, where ``restore`` left it, to ``end``."""
        if not self._replays:
            self._began, self._total = self._clock(), 0
        resets = journal.resets()
        steps = self._steps(partition, start, end, resets)
        self._replays.append(_Replay(partition, start, end, resets, journal.skips(), steps))
        self._total += end - start

    def drop(self, partitions: Sequence[Partition]) -> None:
        """Forget the state of partitions, and their replays."""
        self._replays = [replay for replay in self._replays if replay.partition not in partitions]
        for engine in self._engines.values():
            for partition in partitions:
                engine.slab.forget(partition)

    def some(self, budget_seconds: float) -> bool:
        """Replay for about ``budget_seconds``; return True when nothing is left.  Raises RecordsGone."""
        until = self._clock() + budget_seconds
        while self._replays:
            replay = self._replays[0]
            try:
                step = next(replay.steps, None)
            except TransportError:  # a generator that raised is at its end: the next slice needs another
                replay.steps = self._steps(replay.partition, replay.at, replay.end, replay.resets)
                raise
            if step is None:
                self._replays.pop(0)
            elif isinstance(step, Entry):
                for engine in self._engines.values():
                    engine.slab.forget_key(replay.partition, step.key)
            else:
                observations, _ = self._decoder.decode([step], {replay.partition: replay.skips})
                for engine in self._engines.values():
                    engine.stage(self._decoder.seen_by(engine.spec, observations))
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
        """Yield the records and resets from ``start`` to ``end``, in order; a reset at either end counts once."""
        due = {entry.offset: [e for e in resets if e.offset == entry.offset] for entry in resets}
        marks = sorted({start, end} | {offset for offset in due if start < offset < end})
        for first, stop in pairwise(marks):
            yield from due.get(first, ())
            yield from self._reader.read_range(partition, first, stop)
        yield from due.get(end, ())
