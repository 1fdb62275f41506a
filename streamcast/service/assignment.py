"""The partitions that a process holds: how far the state of each lane is, and what the journal still lacks."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from streamcast.consumers.transport import Batch, Partition, Positions, Reader, RecordsGone
from streamcast.service.beginnings import Beginnings
from streamcast.service.catching_up import CatchingUp
from streamcast.service.identity import Deployment, identity
from streamcast.service.recovery import Recovery
from streamcast.service.refusals import begins_later
from streamcast.service.snapshots import Header
from streamcast.topics.journal import Entry, Journal, Kind, read_journals
from streamcast.topics.names import Topics

log = logging.getLogger("streamcast")


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
        self, reader: Reader, topics: Topics, deployment: Deployment, beginnings: Beginnings, recovery: Recovery,
        catching_up: CatchingUp, *, timer: Callable[[], float], beat: Callable[[], None],
    ) -> None:  # fmt: skip
        self.spans: dict[Partition, Span] = {}
        self._reader, self._topics, self._deployment = reader, topics, deployment
        self._beginnings, self._recovery, self._catching_up = beginnings, recovery, catching_up
        self._timer, self._beat = timer, beat
        self._plans: dict[Partition, _Plan] = {}

    def take(
        self, committed: Mapping[Partition, int | None], bounds: Mapping[Partition, tuple[int, int]]
    ) -> list[Partition]:
        """Plan the recovery of partitions up to their committed positions; return those that cannot be served yet.

        ``bounds`` are the first offset held and the end.  Raises ServiceError when a topic is not the one that the
        state was made from, or when records that the state is built from are gone.
        """
        beginnings, unserved = self._beginnings.of(committed, bounds)
        for partition, found in beginnings.items():
            held, end = bounds[partition]
            end = self.spans.pop(partition).end if partition in self.spans else end
            position, journal = found.position, found.journal
            headers = self.headers(partition, found.begin, position, journal, found.since)
            begins = [self.entry(found.kind, partition, position, position - found.begin)] if found.kind else []
            swapped = self._swapped(journal)
            self.spans[partition] = Span(headers, position, end, journal.skips(), begins, swapped, dict(found.since))
            self._plans[partition] = _Plan(journal, held)
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
            self._beginnings.found[partition.topic].id, shadows, dict(since),
        )  # fmt: skip

    def headers(
        self, partition: Partition, begin: int, offset: int, journal: Journal, since: Mapping[str, int] | None = None
    ) -> dict[str, Header]:
        """Return the identity of each lane's state at an offset, which began as the journal says, or begins now.

        ``since`` says where that of new models begins (digest to offset).
        """
        here, kept = self._beginnings.found[partition.topic], self._beginnings.found[self._topics.journal]
        found = {}
        for lane, digest in self._deployment.models.items():
            known = (since or {}).get(digest, journal.begin_of(digest))
            own = begin if known is None else known
            found[lane] = identity(partition, digest, own, offset, journal, self._deployment, here, kept)
        return found

    def _changed(self, partition: Partition, journal: Journal) -> bool:
        """Whether other models answer from now on than the journal says, or in another way."""
        now = self.entry("models", partition, 0)
        known = (journal.models, journal.champion, journal.max_series, journal.shadows)
        return known != (now.models, now.champion, now.max_series, now.shadows) or bool(
            now.topic_id and not journal.topic_id
        )

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
            begin = self._beginnings.cold_start(partition, min(plan.starts.values()), plan.held)
            span.next = max(span.next, begin)
            span.unwritten.append(self.entry("cold", partition, span.next, span.next - begin))
            span.since = {}
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

    def _swapped(self, journal: Journal) -> dict[str, str]:
        now = self._deployment.models
        return {lane: former for lane, former in journal.models.items() if now.get(lane, former) != former}
