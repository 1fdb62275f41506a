"""Recovery: load the newest snapshots that can be trusted, then replay the records since, through the same engines.

State is the fold of a partition's records; a snapshot only saves reading the first of them again.  Replayed records are
not answered: their answers were committed with the offset that the replay ends at.
"""

from __future__ import annotations

import logging
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

from streamcast.consumers.transport import Batch, Partition, Reader, TransportError
from streamcast.engine.engine import Engine
from streamcast.errors import SnapshotError, StoreError
from streamcast.service.snapshots import Header, Store, fingerprint
from streamcast.topics.journal import Entry, Journal
from streamcast.topics.observations import Decoder, Observations

log = logging.getLogger("streamcast")

REPORT_SECONDS = 5.0
REST_SECONDS = 60.0
"""How long a store that failed is not asked again: a take-over of many partitions must not wait for it each time."""


class Watcher(Protocol):
    """Is notified of recovery's progress; telemetry implements it."""

    def recovering(self, records_left: int) -> None:
        """``records_left`` records are still to be replayed."""

    def recovered(self, seconds: float) -> None:
        """A recovery that had something to do ended after ``seconds``."""

    def snapshot(self, partition: Partition) -> None:
        """The state of a partition equals its newest snapshot."""

    def store_failed(self, action: str) -> None:
        """The store could not do this: "list" or "read"."""


@dataclass(slots=True)
class _Replay:
    """The replay of a partition's records: from ``at`` to ``end``, with the resets that are left and the skips.

    A lane takes the records from its own start on.
    """

    at: int
    end: int
    starts: Mapping[str, int]
    resets: deque[Entry]
    skips: frozenset[int]

    @property
    def stop(self) -> int:
        """Where the next reset, the next start of a lane or the end is."""
        ahead = [start for start in self.starts.values() if start > self.at]
        return min([self.end, *ahead, *(entry.offset for entry in islice(self.resets, 1))])

    @property
    def done(self) -> bool:
        """Whether the state is at the end."""
        return self.at >= self.end and not self.resets


class Recovery:
    """Rebuilds the state of partitions, a slice at a time.

    ``timer`` gives seconds that never step; ``beat`` is called as the work of a slice goes on.
    """

    def __init__(
        self, engines: dict[str, Engine], decoder: Decoder, reader: Reader, store: Store | None, watcher: Watcher,
        timer: Callable[[], float], beat: Callable[[], None],
    ) -> None:  # fmt: skip
        self._engines, self._decoder, self._reader = engines, decoder, reader
        self._store, self._watcher, self._timer, self._beat = store, watcher, timer, beat
        self._replays: dict[Partition, _Replay] = {}
        self._steps: Iterator[list[Batch] | Entry] | None = None
        self._began: float | None = None
        self._reported = 0.0
        self._total, self._restored = 0, False
        self._asked_again = -math.inf

    def restore(self, lane: str, wanted: Header) -> int:
        """Replace a lane's state by the newest snapshot that can be trusted; return where its replay starts."""
        partition, slab = Partition(wanted.topic, wanted.partition), self._engines[lane].slab
        slab.forget(partition)
        self._busy()
        if self._store is None:
            return wanted.begin
        for path, offset in self._listed(self._store, wanted):
            began = time.perf_counter()
            try:
                header, arrays = self._store.read(path, wanted)
                slab.restore(partition, arrays)
            except (SnapshotError, ValueError) as error:
                if isinstance(error, SnapshotError):
                    log.error("snapshot %s is ignored: %s", path, error)
                else:
                    log.warning(
                        "snapshot %s is passed over: another version of streamcast, with another layout of the state,"
                        " wrote it (%s); the records are replayed instead, as long as the input has them", path, error,
                    )  # fmt: skip
                slab.forget(partition)
                if isinstance(error, StoreError):
                    self._failed("read")
                    break
                continue
            if header.fingerprint != fingerprint():
                log.warning(
                    "snapshot %s was computed by %s, this process is %s: forecasts may differ from earlier ones in"
                    " their last digits", path, header.fingerprint, fingerprint(),
                )  # fmt: skip
            took = time.perf_counter() - began
            log.info("%s: state restored at offset %d in %.2f s (lane %s)", partition, offset, took, lane)
            self._watcher.snapshot(partition)
            self._restored = True
            return offset
        return wanted.begin

    @property
    def reached(self) -> Mapping[Partition, Mapping[str, int]]:
        """Return up to where each lane's state of a partition has come, of those whose records are still replayed."""
        return {
            partition: {lane: max(replay.at, start) for lane, start in replay.starts.items()}
            for partition, replay in self._replays.items()
        }

    def saved(self, wanted: Header) -> int | None:
        """Return the offset of the newest snapshot of this kind, also beyond ``wanted``'s; None when there is none."""
        anywhere = replace(wanted, offset=sys.maxsize)
        listed = [] if self._store is None else self._listed(self._store, anywhere)
        return next((offset for _, offset in listed), None)

    def _listed(self, store: Store, wanted: Header) -> list[tuple[str, int]]:
        """Return the snapshots to try; none when the store fails, because the log alone is enough."""
        if self._timer() < self._asked_again:
            return []
        try:
            return list(store.newest(wanted, wanted.offset))
        except StoreError as error:
            self._failed("list")
            log.warning(
                "%s: no snapshot can be used: %s; replaying the records instead, which takes longer, here and for"
                " %.0f s wherever a partition is taken over; check state.store",
                Partition(wanted.topic, wanted.partition), error, REST_SECONDS,
            )  # fmt: skip
            return []

    def _failed(self, action: str) -> None:
        """Note that the store could not do this, and leave it alone for a while."""
        self._watcher.store_failed(action)
        self._asked_again = self._timer() + REST_SECONDS

    def plan(self, partition: Partition, starts: Mapping[str, int], end: int, journal: Journal) -> None:
        """Prepare to bring each lane's state of a partition from where ``restore`` left it to ``end``.

        A reset at either end is done as well: the snapshot may have been taken before it.
        """
        self._busy()
        start = min(starts.values())
        due = sorted((e for e in journal.resets() if start <= e.offset <= end), key=lambda entry: entry.offset)
        self._replays[partition] = _Replay(start, end, starts, deque(due), journal.skips())
        self._total += end - start
        self._steps = None

    def drop(self, partitions: Sequence[Partition]) -> None:
        """Forget the state of partitions, and their replays."""
        for partition in partitions:
            self._replays.pop(partition, None)
            for engine in self._engines.values():
                engine.slab.forget(partition)
        self._steps = None

    def some(self, budget_seconds: float) -> bool:
        """Replay for about ``budget_seconds``; return True when nothing is left.  Raises RecordsGone."""
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
        self._report()
        return not self._replays

    def _reset(self, entry: Entry) -> None:
        """Reset a series of the lanes whose state has come there; a later snapshot has it done."""
        partition = Partition(entry.topic, entry.partition)
        for lane, start in self._replays[partition].starts.items():
            if start <= entry.offset:
                self._engines[lane].slab.forget_key(partition, entry.key)

    def _take(self, batches: Sequence[Batch]) -> None:
        """Step each lane through the batches that its state does not have yet."""
        skips = {batch.partition: self._replays[batch.partition].skips for batch in batches}
        decoded: dict[tuple[int, ...], Observations] = {}
        for lane, engine in self._engines.items():
            replays = [self._replays[batch.partition] for batch in batches]
            wanted = tuple(place for place, replay in enumerate(replays) if replay.at >= replay.starts[lane])
            if not wanted:
                continue
            if wanted not in decoded:
                decoded[wanted], _ = self._decoder.decode([batches[place] for place in wanted], skips)
            engine.stage(self._decoder.seen_by(engine.spec, decoded[wanted]), lambda _stage: self._beat())
            engine.promote()
        for batch in batches:
            self._replays[batch.partition].at = batch.next_offset

    def _busy(self) -> None:
        """Note that there is something to recover."""
        if self._began is None:
            self._began = self._reported = self._timer()
            self._total = 0

    def _report(self) -> None:
        left = sum(replay.end - replay.at for replay in self._replays.values())
        self._watcher.recovering(left)
        if self._began is None:
            return
        now = self._timer()
        if not self._replays:
            if self._total or self._restored:
                self._watcher.recovered(now - self._began)
            if self._total:
                log.info("recovered: %d records replayed in %.1f s", self._total, now - self._began)
            self._began, self._restored = None, False
        elif now - self._reported > REPORT_SECONDS:
            self._reported = now
            done = self._total - left
            eta = (now - self._began) * left / done if done else float("nan")
            log.info("recovering: %d of %d records replayed, about %.0f s left", done, self._total, eta)

    def _read(self) -> Iterator[list[Batch] | Entry]:
        """Yield the records and resets that are left, of all partitions at once, each partition's in order."""
        while any(not replay.done for replay in self._replays.values()):
            for replay in self._replays.values():
                while replay.resets and replay.resets[0].offset <= replay.at:
                    yield replay.resets.popleft()
            stops = {partition: replay.stop for partition, replay in self._replays.items()}
            yield from self._reader.read_ranges({p: (self._replays[p].at, stop) for p, stop in stops.items()})
            for partition, stop in stops.items():
                self._replays[partition].at = max(stop, self._replays[partition].at)
