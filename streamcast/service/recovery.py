"""Recovery: load the newest snapshots that can be trusted, then replay the records since, through the same engines.

State is the fold of a partition's records; a snapshot only saves reading the first of them again.
"""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from streamcast.consumers.transport import Partition
from streamcast.engine.engine import Engine
from streamcast.errors import SnapshotError, StoreError
from streamcast.service.replays import Replays
from streamcast.service.snapshots import Header, Store, fingerprint
from streamcast.topics.journal import Entry
from streamcast.wording import shown_url

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


class Recovery:
    """Rebuilds the state of partitions, a slice at a time; ``timer`` gives seconds that never step."""

    def __init__(
        self, engines: Mapping[str, Engine], replays: Replays, store: Store | None, watcher: Watcher,
        timer: Callable[[], float],
    ) -> None:  # fmt: skip
        self._engines, self._replays = engines, replays
        self._store, self._watcher, self._timer = store, watcher, timer
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
                    log.error("snapshot %s is ignored: %s", shown_url(path), error)
                else:
                    log.warning(
                        "snapshot %s is passed over: another version of streamcast, with another layout of the state,"
                        " wrote it (%s); the records are replayed instead, as long as the input has them",
                        shown_url(path), error,
                    )  # fmt: skip
                slab.forget(partition)
                if isinstance(error, StoreError):
                    self._failed("read")
                    break
                continue
            if header.fingerprint != fingerprint():
                log.warning(
                    "snapshot %s was computed by %s, this process is %s: forecasts may differ from earlier ones in"
                    " their last digits", shown_url(path), header.fingerprint, fingerprint(),
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
        return self._replays.reached

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

    def plan(
        self, partition: Partition, starts: Mapping[str, int], end: int, resets: Sequence[Entry], skips: Collection[int]
    ) -> None:
        """Prepare to bring each lane's state of a partition from where ``restore`` left it to ``end``."""
        self._busy()
        self._total += self._replays.plan(partition, starts, end, resets, skips)

    def drop(self, partitions: Collection[Partition]) -> None:
        """Forget the state of partitions, in all lanes, and their replays."""
        self._replays.cancel(partitions)
        for partition in partitions:
            for engine in self._engines.values():
                engine.slab.forget(partition)

    def some(self, budget_seconds: float) -> bool:
        """Replay for about ``budget_seconds``; return True when nothing is left.  Raises RecordsGone."""
        done = self._replays.some(budget_seconds)
        self._report(done=done)
        return done

    def _busy(self) -> None:
        """Note that there is something to recover."""
        if self._began is None:
            self._began = self._reported = self._timer()
            self._total = 0

    def _report(self, *, done: bool) -> None:
        left = self._replays.left
        self._watcher.recovering(left)
        if self._began is None:
            return
        now = self._timer()
        if done:
            if self._total or self._restored:
                self._watcher.recovered(now - self._began)
            if self._total:
                log.info("recovered: %d records replayed in %.1f s", self._total, now - self._began)
            self._began, self._restored = None, False
        elif now - self._reported > REPORT_SECONDS:
            self._reported = now
            replayed = self._total - left
            eta = (now - self._began) * left / replayed if replayed else float("nan")
            log.info("recovering: %d of %d records replayed, about %.0f s left", replayed, self._total, eta)
