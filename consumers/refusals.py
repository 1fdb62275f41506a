"""Answers that their topic refuses: which record they belong to, and when its partition is tried again.

A broker refuses a whole commit and does not say which record's answer broke the rule of its topic.  So the partitions
of that commit are answered one by one, and each in pieces that become smaller, until one record is refused alone.
Then its partition is set aside, and the others go on.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from streamcast.consumers.transport import Batch, Partition, Positions, RecordRefused

log = logging.getLogger(__name__)

RETRY_SECONDS = 30.0
"""How often the answer of a partition that is set aside is tried again."""


class Refusals:
    """The partitions with a refused answer, of one member of a group."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._before: Positions = {}
        """An offset before which a record has a refused answer."""
        self._aside: dict[Partition, float] = {}
        """When each partition that is set aside is tried again."""
        self._logged: dict[Partition, tuple[int, str]] = {}
        """The offset and the rule that the log names; a broker's own words may hold the time and change with it."""
        self.reasons: Mapping[Partition, str] = {}
        """Why partitions are not answered, until the refused answer of each is committed."""

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
            if partition in self.reasons:
                log.warning("%s is answered again: its topic takes the answer that it refused", partition)
            self.forget([partition])

    def forget(self, partitions: Iterable[Partition]) -> None:
        """Forget what is known of these partitions."""
        partitions = set(partitions)
        self._before = {each: offset for each, offset in self._before.items() if each not in partitions}
        self._aside = {each: when for each, when in self._aside.items() if each not in partitions}
        self._logged = {each: what for each, what in self._logged.items() if each not in partitions}
        self.reasons = {each: reason for each, reason in self.reasons.items() if each not in partitions}

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
        reason = f"{partition} is not answered from offset {offset} on: {error}"
        if self._logged.get(partition) != (offset, error.rule):
            log.error("%s; other partitions go on, and this one is tried again every %.0f s", reason, RETRY_SECONDS)
        self._logged[partition] = offset, error.rule
        self.reasons = {**self.reasons, partition: reason}


def _halves(batch: Batch, before: int) -> Iterator[Batch]:
    """Yield a batch in pieces: each time half of what is left before an offset, then what comes after it."""
    first, end = 0, bisect_left(batch.offsets, before)
    while first < end:
        last = first + (end - first + 1) // 2
        yield batch.part(first, last)
        first = last
    if first < len(batch):
        yield batch.part(first, len(batch))
