"""Catching up: lanes that nobody waits for are replayed between polls, while the others answer.

A shadow whose state needs more records than that of the lanes that publish would keep their answers waiting.  It takes
no part in polls until its state has come to where the others are: then it joins them, in all partitions at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from streamcast.consumers.transport import Partition, Positions, RecordsGone, TransportError
from streamcast.service.replays import Replays
from streamcast.topics.journal import Entry
from streamcast.wording import counted

log = logging.getLogger("streamcast")

REPORT_SECONDS = 30.0
REST_SECONDS = 5.0
"""How long a broker that did not deliver the records is not asked for them again."""


class Watcher(Protocol):
    """Is notified of how far the lanes are behind; telemetry implements it."""

    def catching_up(self, records_left: int) -> None:
        """Lanes that do not answer yet still have ``records_left`` records to replay."""


class CatchingUp:
    """The lanes that are replayed while the others answer; ``timer`` gives seconds that never step."""

    def __init__(self, replays: Replays, watcher: Watcher, timer: Callable[[], float]) -> None:
        self._replays, self._watcher, self._timer = replays, watcher, timer
        self.lanes: frozenset[str] = frozenset()
        """The lanes that take no part in polls; empty when all do."""
        self._began = self._reported = 0.0
        self._replayed, self._rests_until = 0, -1.0

    @property
    def reached(self) -> Mapping[Partition, Mapping[str, int]]:
        """Return up to where the state of these lanes has come, by partition."""
        return self._replays.reached

    def begin(self, lanes: Collection[str]) -> None:
        """Let these lanes, and those that are behind already, join later; ``plan`` says from where on."""
        if not self.lanes:
            self._began = self._reported = self._timer()
            self._replayed, self._rests_until = 0, -1.0
        self.lanes |= frozenset(lanes)

    def plan(
        self, partition: Partition, starts: Mapping[str, int], end: int, resets: Sequence[Entry], skips: Collection[int]
    ) -> None:
        """Prepare to bring the state of these lanes of a partition from their starts to ``end`` and beyond."""
        self._replays.plan(partition, starts, end, resets, skips)

    def hold(self, partition: Partition, at: Mapping[str, int], skips: Collection[int]) -> None:
        """Bring lanes further that are where the others are in this partition, and behind in another one."""
        for lane, offset in at.items():
            self._replays.add(partition, lane, offset, skips)

    def reset(self, entry: Entry) -> None:
        """Take note of a reset that is committed now."""
        self._replays.reset(entry)

    def cancel(self, partitions: Collection[Partition]) -> None:
        """Forget how far these lanes are behind in some partitions."""
        self._replays.cancel(partitions)

    def some(self, budget_seconds: float, ends: Positions) -> bool:
        """Replay for about ``budget_seconds``; return True when all are at ``ends``, where the other lanes are.

        The lanes have joined then.  Raises RecordsGone; while the broker is away, it rests.
        """
        self._replays.extend(ends)
        left = self._replays.left
        try:
            done = self._replays.some(budget_seconds)
        except RecordsGone:
            raise
        except TransportError as error:
            log.warning("%s: the records were not delivered: %s; trying again", self._named(), error)
            self._rests_until = self._timer() + REST_SECONDS
            return False
        self._replayed += left - self._replays.left
        self._report(done=done)
        if done:
            self.lanes = frozenset()
        return done

    @property
    def rests(self) -> bool:
        """Whether there is nothing to do at once."""
        return not self.lanes or self._timer() < self._rests_until

    def _named(self) -> str:
        return f"{counted(len(self.lanes), 'lane')} behind the others ({', '.join(sorted(self.lanes))})"

    def _report(self, *, done: bool) -> None:
        left, now = self._replays.left, self._timer()
        self._watcher.catching_up(left)
        took = now - self._began
        if done:
            log.info("%s: caught up, %d records replayed in %.1f s", self._named(), self._replayed, took)
        elif now - self._reported > REPORT_SECONDS:
            self._reported = now
            eta = took * left / self._replayed if self._replayed else float("nan")
            log.info("%s: %d records replayed, %d left, about %.0f s", self._named(), self._replayed, left, eta)
