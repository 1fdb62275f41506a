"""Answers that their topic refuses: which record they belong to, and when its partition is tried again.

A broker refuses a whole commit and does not say which record's answer broke the rule of its topic.  So the partitions
of that commit are answered one by one, and each in pieces that become smaller, until one record is refused alone.
Then its partition is set aside, and the others go on.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from streamcast.consumers.transport import Batch, Partition, Positions, RecordRefused

log = logging.getLogger(__name__)

RETRY_SECONDS = 30.0
"""How often the answer of a partition that is set aside is tried again."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A partition that is not answered from an offset on: since when, by the clock of ``Refusals``, and why."""

    offset: int
    since: float
    error: RecordRefused


class Refusals:
    """The partitions with a refused answer, of one member of a group; other threads may read ``problems``.

    ``clock`` gives seconds that never step.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._before: Positions = {}
        """An offset before which a record has a refused answer."""
        self._aside: dict[Partition, float] = {}
        """When each partition that is set aside is tried again."""
        self._waiting: Mapping[Partition, Waiting] = {}
        """The partitions that are not answered, until the refused answer of each is committed."""

    def pieces(self, batches: Sequence[Batch]) -> Iterator[Sequence[Batch]]:
        """Yield what is committed together: the batches without a refused answer, then each other one in pieces.

        A piece takes half of what lies before the offset up to which the record is sought.
        """
        before = dict(self._before)
        if together := [batch for batch in batches if batch.partition not in before]:
            yield together
        for batch in batches:
            if batch.partition in before:
                yield from ([piece] for piece in _halves(batch, before[batch.partition]))

    def refused(self, batches: Sequence[Batch], error: RecordRefused) -> None:
        """Note that the commit of these batches was refused; one record alone sets its partition aside."""
        self._before |= {batch.partition: batch.next_offset for batch in batches}
        if sum(map(len, batches)) == 1 and not error.smaller:
            (batch,) = batches
            self._set_aside(batch.partition, batch.offsets[0], error)

    def committed(self, positions: Positions) -> None:
        """Note that records up to these positions are answered."""
        for partition in [each for each, before in self._before.items() if positions.get(each, -1) >= before]:
            if partition in self._waiting:
                log.warning(
                    "%s is answered again after %s: its topic takes the answer that it refused",
                    partition, lasting(self.seconds()[partition]),
                )  # fmt: skip
            self.forget([partition])

    def forget(self, partitions: Iterable[Partition]) -> None:
        """Forget what is known of these partitions."""
        partitions = set(partitions)
        self._before = {each: offset for each, offset in self._before.items() if each not in partitions}
        self._aside = {each: when for each, when in self._aside.items() if each not in partitions}
        self._waiting = {each: waiting for each, waiting in self._waiting.items() if each not in partitions}

    def seconds(self) -> Mapping[Partition, float]:
        """Return for how long each partition with a refused answer has not been answered."""
        now = self._clock()
        return {partition: now - waiting.since for partition, waiting in self._waiting.items()}

    def problems(self) -> list[str]:
        """Return which partitions are not answered, from which offset on, for how long and why, in words."""
        now = self._clock()
        return [
            f"{partition} is not answered from offset {waiting.offset} on, for {lasting(now - waiting.since)} now:"
            f" {waiting.error}"
            for partition, waiting in sorted(self._waiting.items())
        ]

    @property
    def aside(self) -> Collection[Partition]:
        """The partitions that are not read now."""
        return self._aside.keys()

    def due(self) -> list[Partition]:
        """Return the partitions that are to be tried again; they are no longer set aside."""
        now = self._clock()
        due = [partition for partition, when in self._aside.items() if when <= now]
        self._aside = {partition: when for partition, when in self._aside.items() if when > now}
        return due

    def _set_aside(self, partition: Partition, offset: int, error: RecordRefused) -> None:
        self._aside[partition] = self._clock() + RETRY_SECONDS
        known = self._waiting.get(partition)
        if known is None or (known.offset, known.error.rule) != (offset, error.rule):
            log.error(
                "%s is not answered from offset %d on: %s; other partitions go on, and this one is tried again every"
                " %.0f s", partition, offset, error, RETRY_SECONDS,
            )  # fmt: skip
        since = self._clock() if known is None else known.since
        self._waiting = {**self._waiting, partition: Waiting(offset, since, error)}


def _halves(batch: Batch, before: int) -> Iterator[Batch]:
    """Yield a batch in pieces: each time half of what is left before an offset, then what comes after it."""
    first, end = 0, bisect_left(batch.offsets, before)
    while first < end:
        last = first + (end - first + 1) // 2
        yield batch.part(first, last)
        first = last
    if first < len(batch):
        yield batch.part(first, len(batch))


def lasting(seconds: float) -> str:
    """Return how long something has lasted, such as "95 s", "12 min" or "3 h"."""
    size, unit = next((each for each in ((3600.0, "h"), (60.0, "min")) if seconds >= 2 * each[0]), (1.0, "s"))
    return f"{seconds / size:.0f} {unit}"
