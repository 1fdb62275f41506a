"""The partitions that a process holds: where their state begins, and which decisions the journal still lacks."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from streamcast.consumers.transport import Batch, Partition, Positions, Reader, RecordsGone, TopicMissing, TopicSpec
from streamcast.errors import ServiceError
from streamcast.service.catching_up import CatchingUp
from streamcast.service.identity import Deployment, identity
from streamcast.service.recovery import Recovery
from streamcast.service.refusals import (
    COLD_START,
    CREATION,
    NEW_OUTPUTS,
    another_topic,
    answered_already,
    begins_later,
    own_journal,
    records_gone,
    too_few,
)
from streamcast.service.snapshots import Header
from streamcast.service.strangers import (
    lost_journals,
    moved_positions,
    sentence,
)
from streamcast.service.unpublished import unpublished
from streamcast.topics.journal import Entry, Journal, Kind, read_journals
from streamcast.topics.names import Topics

log = logging.getLogger("streamcast")


@dataclass(frozen=True, slots=True)
class Start:
    """Where answers begin at the very first start, and how many records before it build state."""

    at: Literal["earliest", "latest"] | datetime = "earliest"
    warm_from: int = 0
    allow_cold_start: bool = False


@dataclass(slots=True)
class Span:
    """One assigned partition: the identity of each lane's state, its next offset, and what its next commit must write.

    ``end`` is the end of the partition when it was taken over: what lies before it is backlog.  ``skips`` are the
    offsets that are rejected unread, ``swapped`` the lanes that change their model with this commit, with the digest of
    the one that answered so far.  ``since`` says where the state of models begins that begin later than the others, for
    the next entry (digest to offset); ``later`` are the lanes that no entry names before they have caught up.
    """

    headers: dict[str, Header]
    next: int
    end: int
    skips: frozenset[int]
    unwritten: list[Entry]
    swapped: Mapping[str, str] = field(default_factory=dict)
    since: dict[str, int] = field(default_factory=dict)
    later: frozenset[str] = frozenset()

    @property
    def started(self) -> bool:
        """Whether its start is committed; before, a skip may still change the records that its state was warmed by."""
        return not any(entry.begins for entry in self.unwritten)


@dataclass(slots=True)
class _Plan:
    """A partition whose state is still to be restored: its decisions, and the first offset that the topic holds.

    ``starts`` says where the replay of each lane starts, once its snapshot is loaded.
    """

    journal: Journal
    held: int
    starts: dict[str, int] = field(default_factory=dict)


class Assignment:
    """Takes partitions over, rebuilds their state a slice at a time, and keeps what is not yet in the journal.

    ``timer`` gives seconds that never step; ``beat`` is called as the work of ``take`` goes on.
    """

    def __init__(
        self, reader: Reader, topics: Topics, start: Start, deployment: Deployment, recovery: Recovery,
        catching_up: CatchingUp, *, timer: Callable[[], float], beat: Callable[[], None],
    ) -> None:  # fmt: skip
        self.spans: dict[Partition, Span] = {}
        self._reader, self._topics, self._start = reader, topics, start
        self._deployment, self._recovery, self._catching_up = deployment, recovery, catching_up
        self._timer, self._beat = timer, beat
        self._plans: dict[Partition, _Plan] = {}
        self._found: Mapping[str, TopicSpec] = {}
        self._refused: frozenset[Partition] = frozenset()
        self._mentioned: set[str] = set()

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
            former = self.spans.pop(partition, None)
            position, begin, unwritten, journal = self._decide(partition, journal, position, held, kind)
            headers = self.headers(partition, begin, position, journal)
            end = former.end if former else bounds[partition][1]
            self.spans[partition] = Span(headers, position, end, journal.skips(), unwritten, self._swapped(journal))
            self._plans[partition] = _Plan(journal, held)
            self._mention_unpublished(journal)
        return unserved

    def recover_some(self, budget_seconds: float) -> Positions | None:
        """Restore and replay for about ``budget_seconds``; None while some is left, then every partition's position.

        Raises ServiceError when records that the state is built from are gone, and RecordsGone.
        """
        until = self._timer() + budget_seconds
        for partition, plan in self._plans.items():
            if not plan.starts:
                self._restore(partition, plan)
                if self._timer() >= until:
                    return None
        if self._plans:
            self._divide()
        if not self._recovery.some(until - self._timer()):
            return None
        return {partition: span.next for partition, span in self.spans.items()}

    def catch_up_some(self, budget_seconds: float) -> bool:
        """Replay lanes that are behind for about ``budget_seconds``; return whether there is more to do at once.

        A lane that has come to where the others are joins them: the next commit of each partition says so.
        """
        if self._catching_up.rests:
            return False
        try:
            joined = self._catching_up.some(budget_seconds, {each: span.next for each, span in self.spans.items()})
        except RecordsGone:
            self._begin_again()
            return True
        if joined:
            for partition, span in self.spans.items():
                if span.later:
                    span.later = frozenset()
                    span.unwritten = self._renamed(partition, span) or [self.entry("models", partition, span.next)]
        return not self._catching_up.rests

    def states(self) -> Mapping[Partition, Mapping[str, int]]:
        """Return up to where each lane's state of a partition has come, also during recovery.

        Partitions whose start is not committed are left out, and all of them until each has its first state.
        """
        if self._plans:
            return {}
        recovered, behind = self._recovery.reached, self._catching_up.reached
        return {
            partition: {
                **dict.fromkeys(span.headers, span.next),
                **recovered.get(partition, {}),
                **behind.get(partition, {}),
            }
            for partition, span in self.spans.items()
            if span.started
        }

    def drop(self, partitions: Iterable[Partition]) -> None:
        """Forget partitions that another process gets."""
        for partition in partitions:
            self.spans.pop(partition, None)
            self._plans.pop(partition, None)
        self._catching_up.cancel(list(partitions))

    def written(self, after: Positions, resets: Sequence[Entry]) -> list[tuple[str, str]]:
        """Note that these positions are committed, and the entries with them, and those of ``resets`` that are theirs.

        Return the lanes that changed models, with the digest of the one before, once for each partition.
        """
        swapped: list[tuple[str, str]] = []
        for partition, position in after.items():
            span = self.spans[partition]
            swapped += [(lane, former) for lane, former in span.swapped.items() if lane not in span.later]
            span.swapped = {lane: former for lane, former in span.swapped.items() if lane in span.later}
            span.next, span.unwritten, span.since = position, [], {}
        for entry in resets:
            if Partition(entry.topic, entry.partition) in after:
                self._catching_up.reset(entry)
        return swapped

    def unwritten(self, batches: Sequence[Batch]) -> list[Entry]:
        """Return the entries that the commit of these batches must write."""
        return [entry for batch in batches for entry in self.spans[batch.partition].unwritten]

    def skips(self, batches: Sequence[Batch]) -> Mapping[Partition, Collection[int]]:
        """Return the offsets to reject unread, of the partitions of these batches."""
        return {batch.partition: self.spans[batch.partition].skips for batch in batches}

    def entry(self, kind: Kind, partition: Partition, offset: int, warm: int = 0, key: str = "") -> Entry:
        """Return a journal entry of this deployment, without the lanes of the partition that answer later."""
        now, span = self._deployment, self.spans.get(partition)
        later, since = (span.later, span.since) if span else (frozenset[str](), dict[str, int]())
        models = {lane: digest for lane, digest in now.models.items() if lane not in later}
        shadows = tuple(lane for lane in now.shadows if lane not in later)
        return Entry(
            kind, partition.topic, partition.index, offset, warm, models, now.max_series, key, now.champion,
            self._found[partition.topic].id, shadows, dict(since),
        )  # fmt: skip

    def headers(self, partition: Partition, begin: int, offset: int, journal: Journal) -> dict[str, Header]:
        """Return the identity of each lane's state at an offset, which began as the journal says, or begins now."""
        here, kept = self._found[partition.topic], self._found[self._topics.journal]
        found = {}
        for lane, digest in self._deployment.models.items():
            known = journal.begin_of(digest)
            own = begin if known is None else known
            found[lane] = identity(partition, digest, own, offset, journal, self._deployment, here, kept)
        return found

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
        """Return the position, where state begins, the entry of this beginning if it is one, and what counts.

        ``kind`` is that of the first entry of a journal without any: "cold" where an earlier one was lost.
        """
        topic_id = self._found[partition.topic].id
        if journal.topic_id and topic_id and journal.topic_id != topic_id:
            journal = Journal(former=[*journal.former, journal.topic_id])
        if journal.former and journal.begin is None:
            self._allow_another_topic(partition, journal.former[-1], topic_id)
            return held, held, [self.entry("cold", partition, held)], journal
        if position is None:
            raise ServiceError(f"{answered_already([partition], self._topics.journal)}: {own_journal(partition)}")
        if journal.begin is None:
            position = position if position >= held else self._cold_start(partition, position, held)
            begin = max(position - self._start.warm_from, held)
            return position, begin, [self.entry(kind, partition, position, position - begin)], journal
        return position, journal.begin, [], journal

    def _changed(self, partition: Partition, journal: Journal) -> bool:
        """Whether other models answer from now on than the journal says, or in another way."""
        now = self.entry("models", partition, 0)
        known = (journal.models, journal.champion, journal.max_series, journal.shadows)
        return known != (now.models, now.champion, now.max_series, now.shadows) or bool(
            now.topic_id and not journal.topic_id
        )

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
        """Load a partition's newest snapshots, and note where the replay of each lane starts; or begin empty."""
        span = self.spans[partition]
        self._catching_up.cancel([partition])
        self._recovery.drop([partition])
        plan.starts = self._restored(span.headers)
        gone = [lane for lane, start in plan.starts.items() if start < plan.held]
        needed = [lane for lane in gone if self._deployment.must_keep(lane, plan.journal)]
        if gone and plan.held <= span.next and not needed:
            plan.starts |= self._begun_later(span, gone, plan.held)
        elif gone:
            begin = self._cold_start(partition, min(plan.starts.values()), plan.held)
            span.next = max(span.next, begin)
            span.unwritten.append(self.entry("cold", partition, span.next, span.next - begin))
            span.headers = self.headers(partition, begin, span.next, Journal())
            plan.starts = self._restored(span.headers)

    def _divide(self) -> None:
        """Plan the replays of the partitions that were taken over: those that the answers wait for, and the others.

        A lane that nobody waits for is behind in all partitions if it needs more records than the others in one.
        """
        behind = self._behind() - self._catching_up.lanes
        self._catching_up.begin(behind)
        for partition, span in self.spans.items():
            if partition not in self._plans:
                self._catching_up.hold(partition, dict.fromkeys(behind, span.next), span.skips)
        lanes = self._catching_up.lanes
        for partition, plan in self._plans.items():
            span, journal = self.spans[partition], plan.journal
            span.later = frozenset(lane for lane in lanes if not self._deployment.answered_last(lane, journal))
            span.unwritten = self._renamed(partition, span)
            if not span.unwritten and (span.since or self._changed(partition, journal)):
                span.unwritten = [self.entry("models", partition, span.next)]
            awaited = {lane: start for lane, start in plan.starts.items() if lane not in lanes}
            self._recovery.plan(partition, awaited, span.next, journal.resets(), span.skips)
            if lanes:
                starts = {lane: plan.starts[lane] for lane in lanes}
                self._catching_up.plan(partition, starts, span.next, journal.resets(), span.skips)
        self._plans.clear()

    def _behind(self) -> frozenset[str]:
        """Return the lanes that nobody waits for and that need more records than those that are waited for."""
        found = set[str]()
        for plan in self._plans.values():
            first = min(start for lane, start in plan.starts.items() if not self._deployment.may_wait(lane))
            found |= {lane for lane, start in plan.starts.items() if start < first}
        return frozenset(lane for lane in found if self._deployment.may_wait(lane))

    def _renamed(self, partition: Partition, span: Span) -> list[Entry]:
        """Return the unwritten entries with the lanes that they name as things are now."""
        return [self.entry(each.kind, partition, each.offset, each.warm_from) for each in span.unwritten]

    def _begin_again(self) -> None:
        """Let lanes that retention has overtaken while they caught up begin with the records that are left."""
        reached = self._catching_up.reached
        bounds = self._reader.bounds(list(reached))
        journals = read_journals(self._reader, self._topics.journal, reached, self._beat)
        for partition, offsets in reached.items():
            span, held = self.spans[partition], bounds[partition][0]
            if gone := [lane for lane, at in offsets.items() if at < held]:
                starts = {**offsets, **self._begun_later(span, gone, held)}
                span.unwritten = self._renamed(partition, span) or [self.entry("models", partition, span.next)]
                self._catching_up.plan(partition, starts, span.next, journals[partition].resets(), span.skips)

    def _restored(self, headers: Mapping[str, Header]) -> dict[str, int]:
        """Replace the state of these lanes by what the store has; return where the replay of each starts."""
        return {lane: self._recovery.restore(lane, header) for lane, header in headers.items()}

    def _begun_later(self, span: Span, lanes: Sequence[str], held: int) -> dict[str, int]:
        """Let the state of lanes begin with the first record that the topic still holds; return where they start."""
        later = {lane: dataclasses.replace(span.headers[lane], begin=held) for lane in lanes}
        span.headers |= later
        span.since |= {header.model: held for header in later.values()}
        for lane, header in later.items():
            log.warning("%s", begins_later(Partition(header.topic, header.partition), lane, held, span.next))
        return self._restored(later)

    def _allow_another_topic(self, partition: Partition, known: str, found: str) -> None:
        """Raise ServiceError unless a topic that was made again may begin with empty state."""
        if not self._start.allow_cold_start:
            raise ServiceError(f"{another_topic(partition.topic, known, found)}. {NEW_OUTPUTS}")
        log.warning(
            "%s was deleted and made again (its id is %s, it was %s): its state begins empty, at its start",
            partition, found, known,
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
        moved = moved_positions(
            self._reader, self._topics, here, kept, positions, journals, ends, self._deployment.known, self._saved
        )
        for each in moved:
            if each.impossible:
                raise ServiceError(f"{each.impossible}: {each.remedy}")
        if moved:
            log.warning("%s; %s", sentence(moved), moved[0].remedy)

    def _mention_unpublished(self, journal: Journal) -> None:
        """Warn once in a process of each lane that consumers get nothing more of."""
        now = self._deployment
        for said, _ in unpublished(journal, now.models, now.shadows):
            if said not in self._mentioned:
                self._mentioned.add(said)
                log.warning("%s", said)

    def _continued_at(self, partition: Partition, journal: Journal, committed: int | None) -> int | None:
        """Return the committed position, or that of the newest decision if it is later.

        At least once, a decision is written before its position, and after all answers before it are acknowledged.
        Records before it must not be answered again: a series that it reset would not be reset another time.
        """
        if committed is None or not self._continues(journal, partition.topic):
            return committed
        return max(committed, journal.decided)

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

    def _swapped(self, journal: Journal) -> dict[str, str]:
        now = self._deployment.models
        return {lane: former for lane, former in journal.models.items() if now.get(lane, former) != former}
