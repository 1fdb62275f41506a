"""Where the state of new models begins, if a setting bounds how far back (``models.history``).

The bound is counted back from the newest records before a model's first answer, not from the clock: a partition that
has been quiet for long keeps its newest records, and a process that takes over before the beginning is in the journal
finds the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from streamcast.consumers.transport import Partition, Positions, Reader
from streamcast.topics.journal import Journal
from streamcast.wording import counted, duration_name

LOOKED_AT = 100
"""Offsets before the position among which the newest records are; others are ends of transactions."""
NEWEST = 10
"""Newest records; their earliest time counts, so that one that is dated ahead does not leave out all others."""

Since = Mapping[Partition, Mapping[str, int]]
"""Where the state of new models begins: by partition and digest."""
Bounds = Mapping[Partition, tuple[int, int]]
"""The first offset held and the end, by partition."""


def begins_of_new(
    reader: Reader, history_ms: int | None, digests: Collection[str], journals: Mapping[Partition, Journal],
    positions: Positions, bounds: Bounds, beat: Callable[[], None] = lambda: None,
) -> Since:  # fmt: skip
    """Return where the state of models begins that the journals do not know, and that answer from ``positions`` on.

    It begins with the first record whose Kafka timestamp is at most ``history_ms`` before that of the newest records.
    A partition is left out where state has not begun, where no record is before the position, and where its newest
    records have no timestamp.  Raises TransportError.
    """
    if history_ms is None:
        return {}
    new = {each: [digest for digest in digests if not journals[each].knows(digest)] for each in positions}
    wanted = [each for each in positions if new[each] and journals[each].begin is not None]
    found: dict[Partition, dict[str, int]] = {}
    for partition, times in _newest_times(reader, {each: positions[each] for each in wanted}, bounds).items():
        beat()
        if (at := min(times[-NEWEST:]) - history_ms) > 0:  # Kafka reads a negative one as a name for an end
            first = reader.offsets_at([partition], at)[partition]
            begin = min(max(first, journals[partition].begin or 0), positions[partition])
            found[partition] = dict.fromkeys(new[partition], begin)
    return found


def _newest_times(reader: Reader, positions: Positions, bounds: Bounds) -> Mapping[Partition, Sequence[int]]:
    """Return the timestamps of records shortly before these positions, in offset order."""
    ranges = {
        partition: (max(bounds[partition][0], position - LOOKED_AT), min(position, bounds[partition][1]))
        for partition, position in positions.items()
    }
    found: dict[Partition, list[int]] = {}
    for batches in reader.read_ranges({each: (start, end) for each, (start, end) in ranges.items() if start < end}):
        for batch in batches:
            if len(batch):
                found.setdefault(batch.partition, []).extend(batch.timestamps)
    return found


def left_out(
    models: Mapping[str, str], history_ms: int | None, since: Since, journals: Mapping[Partition, Journal],
    positions: Positions, bounds: Bounds,
) -> Iterator[str]:  # fmt: skip
    """Say of each lane of ``models`` (lane to digest) how many records its new model reads, and how many not."""
    for lane, digest in models.items():
        begins = {partition: found[digest] for partition, found in since.items() if digest in found}
        taken = sum(positions[partition] - begin for partition, begin in begins.items())
        firsts = {each: max(journals[each].begin or 0, bounds[each][0]) for each in begins}
        earlier = sum(max(begin - firsts[partition], 0) for partition, begin in begins.items())
        if earlier and history_ms is not None:
            yield (
                f"lane {lane} has a model without a state so far in {counted(len(begins), 'partition')}: it begins"
                f" with the last {counted(taken, 'record')} (models.history: {duration_name(history_ms)}), and"
                f" {counted(earlier, 'earlier record')} {'is' if earlier == 1 else 'are'} left out"
            )
