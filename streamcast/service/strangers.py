"""Positions in the service's group that the service did not commit, and what they mean for its answers.

The service commits a mark beside each position: its journal's identity.  A person who resets offsets commits none, nor
does a consumer of something else with the same group, nor did streamcast before it had marks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import msgspec

from streamcast.consumers.transport import NotAllowed, Partition, Positions, Reader, TopicSpec
from streamcast.topics.forecasts import Published

OURS = "streamcast"
TAIL = 100
"""Offsets at the end of a partition of forecasts that are read; some are markers of transactions."""
MOST_NAMED = 5

MOVED = (
    "if nobody meant that, and this is no first start after an upgrade, stop all workers, and give the group its"
    " positions back (`kafka-consumer-groups.sh --reset-offsets`); then find the program that uses the same kafka.group"
    " (docs/runbooks.md, Positions were moved)"
)
"""What to do about ``Moved``."""

IMPOSSIBLE = (
    "stop all workers, and give the group a position that it can have (`kafka-consumer-groups.sh --reset-offsets`;"
    " docs/runbooks.md, Positions were moved); to answer old records once more, `streamcast init --name NAME` writes"
    " settings of a second service"
)
"""What to do about ``Moved.impossible``."""


def mark_of(journal: TopicSpec) -> str:
    """Return the mark of a service with this journal."""
    return f"{OURS} {journal.id}".rstrip()


def strangers(reader: Reader, journal: TopicSpec, partitions: Iterable[Partition]) -> dict[Partition, str]:
    """Return the marks that are not those of a service with this journal, by partition; raises TransportError."""
    known = (OURS, mark_of(journal))
    return {each: mark for each, mark in reader.marks(list(partitions)).items() if mark not in known}


def of_another_journal(marks: Mapping[Partition, str], answered: Collection[Partition]) -> list[Partition]:
    """Return the partitions that were answered with another journal than the present one, which is empty for them.

    ``marks`` are of strangers.  One names another journal; the others are silent, and only forecasts tell.
    """
    return [each for each, mark in marks.items() if mark.startswith(f"{OURS} ") or each in answered]


def answered_up_to(reader: Reader, forecasts_topic: str, partitions: Iterable[Partition]) -> Positions:
    """Return the offset after the newest answer in each partition, where the end of the forecasts has one.

    A service may have no right to read its forecasts; then there is none.
    """
    homes = {Partition(forecasts_topic, each.index): each for each in partitions}
    if not homes:
        return {}
    decode = msgspec.json.Decoder(Published).decode
    found: Positions = {}
    try:
        tails = {home: (max(first, end - TAIL), end) for home, (first, end) in reader.bounds(list(homes)).items()}
        read = [batch for batches in reader.read_ranges(tails) for batch in batches]
    except NotAllowed:
        return {}
    for batch in read:
        partition = homes[batch.partition]
        for value in batch.values:
            try:
                source = decode(value or b"").source
            except msgspec.MsgspecError:  # a stranger's; `verify` reports it
                continue
            if (source.topic, source.partition) == partition:
                found[partition] = max(found.get(partition, 0), source.offset + 1)
    return found


@dataclass(frozen=True, slots=True)
class Moved:
    """A stranger's position.

    ``reached`` is how far the service had come, as far as forecasts and snapshots know; ``decided`` the offset of the
    journal's newest decision, and ``end`` the end of the partition.
    """

    partition: Partition
    position: int
    reached: int | None
    decided: int
    end: int

    @property
    def silent(self) -> bool:
        """Whether nothing was moved, as far as is known: an earlier version has committed where the service was."""
        return self.position == self.reached

    @property
    def impossible(self) -> str:
        """Say why state and forecasts would disagree from this position on; nothing where they agree."""
        if self.position > self.end:
            return f"{self._said}, beyond its end, {self.end}"
        if self.position < self.decided:
            return (
                f"{self._said}, before offset {self.decided}, where the journal has a decision: records that were"
                " answered with other state or other models would be answered once more, and differently"
            )
        return ""

    def __str__(self) -> str:
        if self.reached is None:
            return f"{self._said}, and neither forecasts nor snapshots tell how far this service had come"
        known = f"{self._said}, and this service had come to {self.reached}"
        if self.position < self.reached:
            return (
                f"{known}, as its forecasts or snapshots tell: records from {self.position} on are answered once more"
            )
        return f"{known} or further: records in between that have no answer yet get none"

    @property
    def _said(self) -> str:
        return f"{self.partition.topic}[{self.partition.index}]: another program set the group to {self.position}"


def sentence(moved: Iterable[Moved]) -> str:
    """Say what was moved: the first few partitions, and how many more."""
    said = [str(each) for each in moved]
    more = f"; and {len(said) - MOST_NAMED} partitions more" if len(said) > MOST_NAMED else ""
    return "; ".join(said[:MOST_NAMED]) + more
