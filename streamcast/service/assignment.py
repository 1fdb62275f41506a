"""The partitions that a process holds: where their state begins, and which decisions the journal still lacks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from streamcast.consumers.transport import Batch, Partition, Positions, Reader, TopicMissing, TopicSpec
from streamcast.errors import ServiceError
from streamcast.service.recovery import Recovery
from streamcast.service.snapshots import Header, fingerprint
from streamcast.service.strangers import (
    IMPOSSIBLE,
    MOVED,
    Moved,
    answered_up_to,
    of_another_journal,
    sentence,
    strangers,
)
from streamcast.topics.journal import Entry, Journal, Kind, read_journals
from streamcast.topics.names import Topics

log = logging.getLogger("streamcast")


@dataclass(frozen=True, slots=True)
class Start:
    """Where answers begin at the very first start, and how many records before it build state."""

    at: Literal["earliest", "latest"] | datetime = "earliest"
    warm_from: int = 0
    allow_cold_start: bool = False


@dataclass(frozen=True, slots=True)
class Deployment:
    """The models that answer: the digest of each lane, the champion, and the most series of a partition."""

    models: Mapping[str, str]
    champion: str
    max_series: int


@dataclass(slots=True)
class Span:
    """One assigned partition: the identity of its state, its next offset, and what its next commit must write.

    ``end`` is the end of the partition when it was taken over: what lies before it is backlog.  ``skips`` are the
    offsets that are rejected unread, ``swapped`` the lanes that change their model with this commit.
    """

    header: Header
    next: int
    end: int
    skips: frozenset[int]
    unwritten: list[Entry]
    swapped: Sequence[str] = ()

    @property
    def started(self) -> bool:
        """Whether its start is committed; before, a skip may still change the records that its state was warmed by."""
        return not any(entry.begins for entry in self.unwritten)


@dataclass(frozen=True, slots=True)
class _Plan:
    """A partition whose state is still to be restored: its decisions, and the first offset that the topic holds."""

    journal: Journal
    held: int


class Assignment:
    """Takes partitions over, rebuilds their state a slice at a time, and keeps what is not yet in the journal.

    ``timer`` gives seconds that never step; ``beat`` is called as the work of ``take`` goes on.
    """

    def __init__(
        self, reader: Reader, topics: Topics, start: Start, deployment: Deployment, recovery: Recovery, *,
        timer: Callable[[], float], beat: Callable[[], None],
    ) -> None:  # fmt: skip
        self.spans: dict[Partition, Span] = {}
        self._reader, self._topics, self._start = reader, topics, start
        self._deployment, self._recovery = deployment, recovery
        self._timer, self._beat = timer, beat
        self._plans: dict[Partition, _Plan] = {}
        self._found: Mapping[str, TopicSpec] = {}
        self._refused: frozenset[Partition] = frozenset()

    def take(
        self, committed: Mapping[Partition, int | None], bounds: Mapping[Partition, tuple[int, int]]
    ) -> list[Partition]:
        """Plan the recovery of partitions up to their committed positions; return those that cannot be served yet.

        ``bounds`` are the first offset held and the end.  Raises ServiceError when a topic is not the one that the
        state was made from, or when records that the state is built from are gone.
        """
        self._found = self._described()
        served, unserved = self._sorted(committed)
        self._beat()
        journals = read_journals(self._reader, self._topics.journal, served, self._beat)
        new = [each for each in served if committed[each] is None and journals[each].start is None]
        first = self._first_positions(new, bounds)
        lost = self._allow_lost_journals(served, committed, journals)
        self._beat()
        self._mention_moved(committed, journals, bounds)
        for partition in served:
            journal, held = journals[partition], bounds[partition][0]
            position = first.get(partition, self._continued_at(partition, journal, committed[partition]))
            kind: Kind = "cold" if partition in lost else "start"
            position, begin, unwritten, journal = self._decide(partition, journal, position, held, kind)
            header = self.header(partition, begin, position, journal)
            end = self.spans[partition].end if partition in self.spans else bounds[partition][1]
            self.spans[partition] = Span(header, position, end, journal.skips(), unwritten, self._swapped(journal))
            self._plans[partition] = _Plan(journal, held)
        return unserved

    def recover_some(self, budget_seconds: float) -> Positions | None:
        """Restore and replay for about ``budget_seconds``; None while some is left, then every partition's position.

        Raises ServiceError when records that the state is built from are gone, and RecordsGone.
        """
        until = self._timer() + budget_seconds
        while self._plans:
            partition, plan = next(iter(self._plans.items()))
            self._restore(partition, plan)
            del self._plans[partition]
            if self._timer() >= until:
                return None
        if not self._recovery.some(until - self._timer()):
            return None
        return {partition: span.next for partition, span in self.spans.items()}

    def drop(self, partitions: Iterable[Partition]) -> None:
        """Forget partitions that another process gets."""
        for partition in partitions:
            self.spans.pop(partition, None)
            self._plans.pop(partition, None)

    def written(self, after: Positions) -> list[str]:
        """Note that these positions are committed, and the entries with them; return the lanes that changed models."""
        swapped: list[str] = []
        for partition, position in after.items():
            span = self.spans[partition]
            swapped += span.swapped
            span.next, span.unwritten, span.swapped = position, [], ()
        return swapped

    def unwritten(self, batches: Sequence[Batch]) -> list[Entry]:
        """Return the entries that the commit of these batches must write."""
        return [entry for batch in batches for entry in self.spans[batch.partition].unwritten]

    def skips(self, batches: Sequence[Batch]) -> Mapping[Partition, Collection[int]]:
        """Return the offsets to reject unread, of the partitions of these batches."""
        return {batch.partition: self.spans[batch.partition].skips for batch in batches}

    def entry(self, kind: Kind, partition: Partition, offset: int, warm: int = 0, key: str = "") -> Entry:
        """Return a journal entry of this deployment."""
        now = self._deployment
        return Entry(
            kind, partition.topic, partition.index, offset, warm, dict(now.models), now.max_series, key, now.champion,
            self._found[partition.topic].id,
        )  # fmt: skip

    def header(self, partition: Partition, begin: int, offset: int, journal: Journal) -> Header:
        """Return the identity of a partition's state at an offset, which began as the journal says, or begins now."""
        here, kept = self._found[partition.topic], self._found[self._topics.journal]
        return identity(partition, begin, offset, journal, self._deployment, here, kept)

    def _described(self) -> Mapping[str, TopicSpec]:
        """Describe the topics; raises TopicMissing."""
        wanted = [self._topics.observations, *self._outputs()]
        found = self._reader.describe(wanted)
        if missing := [name for name in wanted if name not in found]:
            raise TopicMissing(f"topic {missing[0]!r} does not exist: {CREATION}")
        return found

    def _outputs(self) -> list[str]:
        return [self._topics.forecasts, self._topics.dead_letters, self._topics.journal]

    def _sorted(self, partitions: Iterable[Partition]) -> tuple[list[Partition], list[Partition]]:
        """Return the partitions whose outputs exist, and the others, which are logged when they change."""
        short = {name: self._found[name].partitions for name in self._outputs()}
        room = min(short.values())
        served = [partition for partition in partitions if partition.index < room]
        unserved = [partition for partition in partitions if partition.index >= room]
        if unserved and self._refused != frozenset(unserved):
            log.error("%s", too_few(self._topics, self._found))
        self._refused = frozenset(unserved)
        return served, unserved

    def _decide(
        self, partition: Partition, journal: Journal, position: int | None, held: int, kind: Kind
    ) -> tuple[int, int, list[Entry], Journal]:
        """Return the position, where state begins, the entry that this start or its models need, and what counts.

        ``kind`` is that of the first entry of a journal without any: "cold" where an earlier one was lost.
        """
        now, topic_id = self._deployment, self._found[partition.topic].id
        if journal.topic_id and topic_id and journal.topic_id != topic_id:
            journal = Journal(former=[*journal.former, journal.topic_id])
        if journal.former and journal.begin is None:
            self._allow_another_topic(partition, journal.former[-1], topic_id)
            return held, held, [self.entry("cold", partition, held)], journal
        if position is None:
            raise ServiceError(f"{answered_already([partition], self._topics.journal)}: {OWN_JOURNAL}")
        if journal.begin is None:
            position = position if position >= held else self._cold_start(partition, position, held)
            begin = max(position - self._start.warm_from, held)
            return position, begin, [self.entry(kind, partition, position, position - begin)], journal
        if (journal.models, journal.champion, journal.max_series) != (now.models, now.champion, now.max_series) or (
            topic_id and not journal.topic_id
        ):
            return position, journal.begin, [self.entry("models", partition, position)], journal
        return position, journal.begin, [], journal

    def _first_positions(
        self, partitions: Sequence[Partition], bounds: Mapping[Partition, tuple[int, int]]
    ) -> Positions:
        if self._start.at == "earliest":
            return {partition: bounds[partition][0] for partition in partitions}
        if self._start.at == "latest":
            return {partition: bounds[partition][1] for partition in partitions}
        at = round(self._start.at.timestamp() * 1000)
        return self._reader.offsets_at(partitions, at) if partitions else {}

    def _restore(self, partition: Partition, plan: _Plan) -> None:
        """Load a partition's newest snapshot, and plan the replay of what came after; or begin with empty state."""
        span = self.spans[partition]
        start = self._recovery.restore(span.header)
        if start < plan.held:
            begin = self._cold_start(partition, start, plan.held)
            span.next = max(span.next, begin)
            span.unwritten.append(self.entry("cold", partition, span.next, span.next - begin))
            span.header = self.header(partition, begin, span.next, Journal())
            start = self._recovery.restore(span.header)
        self._recovery.plan(partition, start, span.next, plan.journal)

    def _allow_another_topic(self, partition: Partition, known: str, found: str) -> None:
        """Raise ServiceError unless a topic that was made again may begin with empty state."""
        if not self._start.allow_cold_start:
            raise ServiceError(f"{another_topic(partition.topic, known, found)}. {NEW_OUTPUTS}")
        log.warning(
            "%s[%d] was deleted and made again (its id is %s, it was %s): its state begins empty, at its start",
            *partition, found, known,
        )  # fmt: skip

    def _allow_lost_journals(
        self,
        served: Iterable[Partition],
        committed: Mapping[Partition, int | None],
        journals: Mapping[Partition, Journal],
    ) -> list[Partition]:
        """Return the partitions whose journal was cut or made again.

        Raises ServiceError unless they may begin with empty state.
        """
        unknown = [each for each in served if journals[each].begin is None and not journals[each].former]
        begun = [each for each in unknown if committed[each] is not None]
        lost = list(lost_journals(self._reader, self._topics, self._found[self._topics.journal], unknown, begun))
        for each in lost:
            if not self._start.allow_cold_start:
                raise ServiceError(f"{each.what}: {each.remedy}")
            log.warning("%s: it begins empty (state.allow_cold_start)", each.what)
        return [each.partition for each in lost]

    def _mention_moved(
        self, committed: Mapping[Partition, int | None], journals: Mapping[Partition, Journal],
        bounds: Mapping[Partition, tuple[int, int]],
    ) -> None:  # fmt: skip
        """Warn of positions that this service did not commit; raises ServiceError where no state belongs to one."""
        positions = {
            each: position
            for each, position in committed.items()
            if position is not None and each in journals and self._continues(journals[each], each.topic)
        }
        ends = {each: end for each, (_, end) in bounds.items()}
        here, kept = self._found[self._topics.observations], self._found[self._topics.journal]
        moved = moved_positions(self._reader, self._topics, here, kept, positions, journals, ends, self._saved)
        for each in moved:
            if each.impossible:
                raise ServiceError(f"{each.impossible}: {IMPOSSIBLE}")
        if moved:
            log.warning("%s. %s", sentence(moved), MOVED[0].upper() + MOVED[1:])

    def _continued_at(self, partition: Partition, journal: Journal, committed: int | None) -> int | None:
        """Return the committed position, or that of the newest decision if it is later.

        At least once, a decision is written before its position, and after all answers before it are acknowledged.
        Records before it must not be answered again: a series that it reset would not be reset another time.
        """
        if committed is None or not self._continues(journal, partition.topic):
            return committed
        return max(committed, newest_decision(journal))

    def _continues(self, journal: Journal, topic: str) -> bool:
        """Whether state goes on, in the topic that it began in."""
        found = self._found[topic].id
        return journal.begin is not None and (not found or journal.topic_id in ("", found))

    def _saved(self, wanted: Header) -> int | None:
        """Return the offset of the newest snapshot; of many partitions this takes a while."""
        self._beat()
        return self._recovery.saved(wanted)

    def _cold_start(self, partition: Partition, wanted: int, held: int) -> int:
        if not self._start.allow_cold_start:
            raise ServiceError(f"{records_gone(partition, wanted, held)}: {COLD_START}")
        log.warning(
            "%s: it begins there with empty state (state.allow_cold_start)", records_gone(partition, wanted, held)
        )
        return held

    def _swapped(self, journal: Journal) -> list[str]:
        return [lane for lane, new in self._deployment.models.items() if journal.models.get(lane, new) != new]


CREATION = "`streamcast check --create` creates missing output topics, and you the input"
"""What to do about a topic that is missing."""

SECOND_SERVICE = (
    "for a second service, `streamcast init --name NAME` writes settings with a group, topics and state of its own"
)
"""What to do when two services would share what each needs for itself."""

OWN_JOURNAL = (
    f"{SECOND_SERVICE}; if this is the service that answered, set kafka.group to the group that it had, or give the"
    " group its positions back (`kafka-consumer-groups.sh --reset-offsets`)"
)
"""What to do about ``answered_already``."""


NEW_OUTPUTS = (
    "Give the service new output topics and another group (output.forecasts, output.dead_letters, output.journal,"
    " kafka.group), or begin at the start of the new topic with empty state (state.allow_cold_start: true)"
)
"""What to do about ``another_topic``."""

COLD_START = (
    "raise the topic's retention, bring the snapshots back (state.store), or start there with empty state"
    " (state.allow_cold_start: true)"
)
"""What to do about ``records_gone``."""


JOURNAL_CUT = (
    "let Kafka keep the journal for ever (kafka-configs.sh --alter --add-config retention.ms=-1,retention.bytes=-1),"
    " and start with empty state (state.allow_cold_start: true)"
)
"""What to do about ``journal_cut``."""


class Lost(NamedTuple):
    """A partition whose journal does not know any more where the state began: what happened, and the remedy."""

    partition: Partition
    what: str
    remedy: str


def lost_journals(
    reader: Reader, topics: Topics, journal: TopicSpec, unknown: Sequence[Partition], begun: Sequence[Partition]
) -> Iterator[Lost]:
    """Yield what is lost of partitions whose journal has no beginning; in those that ``begun`` the group is at work.

    A journal was cut if its first offset is not 0: Kafka deletes no other records than the oldest.  It was deleted and
    made again if the group works with another one, or has answered without any.
    """
    places = {Partition(journal.name, partition.index): partition for partition in unknown}
    bounds = reader.bounds(list(places)) if places else {}
    cut = [places[place] for place, (first, _) in bounds.items() if first > 0]
    yield from (Lost(partition, journal_cut(partition, journal.name), JOURNAL_CUT) for partition in cut)
    marks = strangers(reader, journal, set(begun) - set(cut))
    answered = answered_up_to(reader, topics.forecasts, marks)
    for partition in of_another_journal(marks, answered):
        yield Lost(partition, journal_made_again(partition, journal.name), JOURNAL_MADE_AGAIN)


def moved_positions(
    reader: Reader, topics: Topics, here: TopicSpec, kept: TopicSpec, committed: Positions,
    journals: Mapping[Partition, Journal], ends: Positions, saved: Callable[[Header], int | None],
) -> list[Moved]:  # fmt: skip
    """Return the positions that another program has set, of partitions whose journals have a beginning.

    ``here`` and ``kept`` are the input and the journal; ``saved`` returns the offset of the newest snapshot of a kind.
    """
    strange = sorted(strangers(reader, kept, committed))
    answered = answered_up_to(reader, topics.forecasts, strange)
    found = []
    for partition in strange:
        journal, position = journals[partition], committed[partition]
        if answered.get(partition) == position:
            continue
        former = Deployment(journal.models, journal.champion, journal.max_series)
        begin = journal.begin or 0
        snapshot = saved(identity(partition, begin, position, journal, former, here, kept))
        reached = max((each for each in (answered.get(partition), snapshot) if each is not None), default=None)
        found.append(Moved(partition, position, reached, newest_decision(journal), ends[partition]))
    return [each for each in found if not each.silent]


def newest_decision(journal: Journal) -> int:
    """Return the offset of the newest decision of a journal with a beginning; a skip is written ahead of its record."""
    return max(entry.offset for entry in journal.entries if entry.kind != "skip")


JOURNAL_MADE_AGAIN = (
    "set output.journal to the topic that the service had, if there is one; else start with empty state"
    " (state.allow_cold_start: true)"
)
"""What to do about ``journal_made_again``."""


def journal_cut(partition: Partition, journal_topic: str) -> str:
    """Say that nobody knows any more where the state of a partition began."""
    return (
        f"{partition.topic}[{partition.index}]: the journal (topic {journal_topic}) does not say where the state began,"
        " because Kafka has deleted its oldest entries"
    )


def journal_made_again(partition: Partition, journal_topic: str) -> str:
    """Say that the journal that knew where the state of a partition began is gone."""
    return (
        f"{partition.topic}[{partition.index}]: the journal (topic {journal_topic}) does not say where the state began,"
        " and the partition is answered already: the topic was deleted and made again, or is another one than before"
    )


def identity(
    partition: Partition, begin: int, offset: int, journal: Journal, now: Deployment, here: TopicSpec, kept: TopicSpec
) -> Header:
    """Return the identity of a partition's state: of a deployment, in the topics of records and of decisions."""
    topic_id = here.id if journal.begin is None else journal.begun_in
    return Header(
        partition.topic, kept.name, partition.index, 0 if topic_id else here.partitions, begin, offset,
        dict(now.models), now.max_series, fingerprint(), topic_id=topic_id, journal_id=kept.id if topic_id else "",
    )  # fmt: skip


def another_topic(topic: str, known: str, found: str) -> str:
    """Say that a topic was deleted and made again."""
    return (
        f"topic {topic!r} is not the one that this service answered: its id is {found}, the journal has {known}, so it"
        " was deleted and made again"
    )


def records_gone(partition: Partition, wanted: int, held: int) -> str:
    """Say that the topic does not hold the records any more that state is made from."""
    return (
        f"{partition.topic}[{partition.index}]: state needs the records from offset {wanted} on, but the topic holds"
        f" them only from {held} on, and no snapshot replaces them"
    )


def answered_already(partitions: Sequence[Partition], journal_topic: str) -> str:
    """Say that the journal has answers of partitions in which the group has no position: it would answer them again."""
    names = ", ".join(f"{topic}[{index}]" for topic, index in partitions)
    return (
        f"the journal (topic {journal_topic}) says that {names} is answered already, and this group has no position"
        " there: another group answers it, or the broker has forgotten the group's positions"
    )


def too_few(topics: Topics, found: Mapping[str, TopicSpec]) -> str:
    """Say which outputs have fewer partitions than the input, and how to add them."""
    wanted = found[topics.observations].partitions
    short = [
        name for name in (topics.forecasts, topics.dead_letters, topics.journal) if found[name].partitions < wanted
    ]
    room = min(found[name].partitions for name in short)
    grow = " and ".join(f"`kafka-topics.sh --alter --topic {name} --partitions {wanted}`" for name in short)
    return (
        f"{topics.observations}[{room}] to [{wanted - 1}] are not answered: {', '.join(short)} must have {wanted}"
        f" partitions, as the input has (now {', '.join(str(found[name].partitions) for name in short)}): run {grow};"
        " the service notices within a minute"
    )
