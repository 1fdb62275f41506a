"""What another program did to the service's group or journal, and what that means for its answers.

The service commits a mark beside each position: its journal's identity.  A position with another mark is a stranger's.
A person who resets offsets commits none, nor does a consumer of something else with the same group, nor did streamcast
before it had marks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from streamcast.consumers.transport import NotAllowed, Partition, Positions, Reader, TopicSpec
from streamcast.service.identity import Deployment, identity
from streamcast.service.refusals import JOURNAL_MADE_AGAIN, journal_cut, journal_made_again, kept_for_ever, setting_back
from streamcast.service.snapshots import Header
from streamcast.topics.forecasts import Published
from streamcast.topics.journal import Journal
from streamcast.topics.names import Topics

OURS = "streamcast"
TAIL = 100
"""Offsets at the end of a partition of forecasts that are read; some are markers of transactions."""
MOST_NAMED = 5


def mark_of(journal: TopicSpec) -> str:
    """Return the mark of a service with this journal."""
    return f"{OURS} {journal.id}".rstrip()


def strangers(reader: Reader, journal: TopicSpec, partitions: Iterable[Partition]) -> dict[Partition, str]:
    """Return the marks that are not those of a service with this journal, by partition; raises TransportError."""
    known = (OURS, mark_of(journal))
    return {each: mark for each, mark in reader.marks(list(partitions)).items() if mark not in known}


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
    def remedy(self) -> str:
        """Say what to do about it; the position to give back is where the service had come, as far as is known."""
        back = f"{setting_back(self.partition, self.reached)} (docs/runbooks.md, Positions were moved)"
        if self.impossible:
            return (
                f"stop all workers, and give the group a position that it can have: {back}; to answer old records once"
                " more, `streamcast init --name NAME` writes settings of a second service"
            )
        return (
            "if nobody meant that, and this is no first start after an upgrade, stop all workers, and give the group"
            f" its positions back: {back}; then find the program that uses the same kafka.group"
        )

    @property
    def _said(self) -> str:
        return f"{self.partition}: another program set the group to {self.position}"


def moved_positions(
    reader: Reader, topics: Topics, source: TopicSpec, journal_topic: TopicSpec, committed: Positions,
    journals: Mapping[Partition, Journal], ends: Positions, known: str, saved: Callable[[Header], int | None],
) -> list[Moved]:  # fmt: skip
    """Return the positions that another program has set, of partitions whose journals have a beginning.

    ``source`` and ``journal_topic`` are the topics of the records and of the decisions, as the broker describes them;
    ``known`` names the known inputs of the models, and ``saved`` returns the offset of the newest snapshot of a state.
    """
    strange = sorted(strangers(reader, journal_topic, committed))
    answered = answered_up_to(reader, topics.forecasts, strange)
    found = []
    for partition in strange:
        journal, position = journals[partition], committed[partition]
        if answered.get(partition) == position:
            continue
        former = Deployment(journal.models, journal.champion, journal.max_series, known=known)
        states = [
            identity(partition, digest, journal.begin_of(digest) or 0, position, journal, former, source, journal_topic)
            for digest in sorted(set(journal.models.values()))
        ]
        seen = [answered.get(partition), *map(saved, states)]
        reached = max((each for each in seen if each is not None), default=None)
        found.append(Moved(partition, position, reached, journal.decided, ends[partition]))
    return [each for each in found if not each.silent]


def sentence(moved: Iterable[Moved]) -> str:
    """Say what was moved: the first few partitions, and how many more."""
    said = [str(each) for each in moved]
    more = f"; and {len(said) - MOST_NAMED} partitions more" if len(said) > MOST_NAMED else ""
    return "; ".join(said[:MOST_NAMED]) + more


class Lost(NamedTuple):
    """A partition whose journal does not know any more where the state began: what happened, and the remedy."""

    partition: Partition
    what: str
    remedy: str


def lost_journals(
    reader: Reader, topics: Topics, journal: TopicSpec, unknown: Sequence[Partition], begun: Sequence[Partition]
) -> Iterator[Lost]:
    """Yield the partitions whose journal is lost, of those whose journal has no beginning, ``unknown``.

    In those that ``begun`` the group has positions.

    A journal was cut if its first offset is not 0: Kafka deletes no other records than the oldest.  It was deleted and
    made again if the group works with another one, or has answered without any.
    """
    places = {Partition(journal.name, partition.index): partition for partition in unknown}
    bounds = reader.bounds(list(places)) if places else {}
    cut = [places[place] for place, (first, _) in bounds.items() if first > 0]
    yield from (Lost(each, journal_cut(each, journal.name), kept_for_ever(journal.name)) for each in cut)
    marks = strangers(reader, journal, set(begun) - set(cut))
    answered = answered_up_to(reader, topics.forecasts, marks)
    for partition in _of_another_journal(marks, answered):
        yield Lost(partition, journal_made_again(partition, journal.name), JOURNAL_MADE_AGAIN)


def _of_another_journal(marks: Mapping[Partition, str], answered: Collection[Partition]) -> list[Partition]:
    """Return the partitions that were answered with another journal than the present one, which is empty for them.

    ``marks`` are of strangers.  One names another journal; the others are silent, and only forecasts tell.
    """
    return [each for each, mark in marks.items() if mark.startswith(f"{OURS} ") or each in answered]
