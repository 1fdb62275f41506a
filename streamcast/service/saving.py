"""When snapshots are written: at an interval, one partition at a time, while the stream goes on.

A partition's rows are copied between two batches, when a poll brought none, or between two pieces of a recovery.
Hashing, writing and syncing happen in a thread of their own, which a process that ends does not wait for: a store that
hangs keeps nobody.  A partition without records since its last snapshot has nothing to save.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Protocol

from streamcast.consumers.background import Background
from streamcast.consumers.transport import Partition
from streamcast.service.snapshots import Arrays, Header, Store
from streamcast.wording import counted

log = logging.getLogger("streamcast")

SLOW_SECONDS = 60.0
"""A write that takes longer is logged: the client of an object store tries for minutes before it fails."""

SELDOM_SECONDS = 900.0
"""Between two warnings of snapshots that were not written: a full disk refuses each partition's at each interval."""


class Saved(Protocol):
    """Is notified of every snapshot that was written."""

    def snapshot(self, partition: Partition) -> None:
        """All of a partition's state is in the store, or its time begins: it was taken over just now."""

    def store_failed(self, action: str) -> None:
        """The store could not do this: "write"."""


class Saver:
    """Decides which partition's snapshot is due, and writes it; a failed write is tried again later.

    Of failed writes one is logged in ``SELDOM_SECONDS``, with the number of those before.
    """

    def __init__(
        self, store: Store, interval_seconds: float, observer: Saved, *,
        clock: Callable[[], float] = time.monotonic, background: Background | None = None,
    ) -> None:  # fmt: skip
        self._store, self._interval_seconds, self._observer, self._clock = store, interval_seconds, observer, clock
        self._background = background or Background("snapshots")
        self._since: dict[Partition, float] = {}
        """When a partition was last saved, found unchanged or seen first."""
        self._written: dict[Partition, Mapping[str, int]] = {}
        """The offset of each lane in a partition's newest snapshots of ours."""
        self._writing: Future[None] | None = None
        self._began = 0.0
        self._present: Partition | None = None
        """The partition of that write, until it is logged as slow."""
        self._warned, self._unsaid = -SELDOM_SECONDS, 0
        """When a failed write was last logged, and how many were not since."""

    def due(self, states: Mapping[Partition, Mapping[str, int]]) -> Partition | None:
        """Return the partition that has waited longest beyond the interval, if the last write has ended.

        ``states`` has the offset up to which each lane has taken the records.
        """
        now = self._clock()
        if self._writing is not None and not self._writing.done():
            self._mention_slow(now)
            return None
        waiting = list[tuple[float, Partition]]()
        for partition, offsets in states.items():
            if partition not in self._since:
                self._begin(partition, now)
            elif now - self._since[partition] >= self._interval_seconds:
                if self._written.get(partition) == offsets:
                    self._begin(partition, now)
                else:
                    waiting.append((self._since[partition], partition))
        return min(waiting)[1] if waiting else None

    def save(self, partition: Partition, offsets: Mapping[str, int], files: Sequence[tuple[Header, Arrays]]) -> None:
        """Write the snapshots of a partition's lanes, at these offsets, after those that are being written."""
        self._since[partition] = self._began = self._clock()
        self._present = partition
        self._writing = self._background.started(partial(self._write, partition, offsets, files))

    def forget(self, partitions: Iterable[Partition]) -> None:
        """These partitions went to another process, which may write newer snapshots."""
        for partition in partitions:
            self._since.pop(partition, None)
            self._written.pop(partition, None)

    def _begin(self, partition: Partition, now: float) -> None:
        self._since[partition] = now
        self._observer.snapshot(partition)

    def _mention_slow(self, now: float) -> None:
        """Log a write that takes long, once."""
        partition = self._present
        if partition is not None and now - self._began >= SLOW_SECONDS:
            self._present = None
            self._failed(
                f"the snapshot of {partition} is not written after {now - self._began:.0f} s: the store is away or"
                " slow, and recovery will take longer until one is; check state.store"
            )

    def _failed(self, said: str) -> None:
        """Count a write that failed, and log it unless another was logged a moment ago."""
        self._observer.store_failed("write")
        now = self._clock()
        if now - self._warned < SELDOM_SECONDS:
            self._unsaid += 1
            return
        more = f" ({counted(self._unsaid, 'write')} more failed since the last such line)" if self._unsaid else ""
        self._warned, self._unsaid = now, 0
        log.warning("%s%s", said, more)

    def finish(self, timeout_seconds: float) -> None:
        """Wait for the present write, at most for the timeout."""
        if self._writing is not None:
            try:
                self._writing.result(timeout_seconds)
            except TimeoutError:
                log.warning("the last snapshot was not written within %.0f s; the one before is kept", timeout_seconds)

    def _write(self, partition: Partition, offsets: Mapping[str, int], files: Sequence[tuple[Header, Arrays]]) -> None:
        began = time.perf_counter()
        try:
            size = sum(self._store.write(header, arrays) for header, arrays in files)
            if size:
                self._store.forget_old(partition, {header.family for header, _ in files})
        except Exception as error:  # noqa: BLE001 an object store raises its client's own errors
            self._failed(
                f"snapshot of {partition} at {_where(offsets)} was not written ({self._store.reason(error)}):"
                " recovery will take longer until one is; check state.store"
            )
            return
        if partition in self._since:  # else it went to another process meanwhile
            self._written[partition] = offsets
            self._observer.snapshot(partition)
        if size:
            took = time.perf_counter() - began
            log.info("snapshot of %s at %s: %d bytes in %.2f s", partition, _where(offsets), size, took)


def _where(offsets: Mapping[str, int]) -> str:
    """Return the offset of all lanes in words, or that of each where they differ."""
    if len(found := set(offsets.values())) == 1:
        return f"offset {found.pop()}"
    return "offsets " + ", ".join(f"{offset} (lane {lane})" for lane, offset in offsets.items())
