"""The service: engines as a handler of records.

A poll is decoded once, staged by the engine of every lane, and answered; nothing of it counts until the loop reports
its commit.  State is a fold of the input: it is rebuilt by reading the input again, from where the journal says it
begins, to where the group is committed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from streamcast.consumers.transport import Batch, InDoubt, Outgoing, Partition, Positions, Reader, RecordsGone
from streamcast.errors import ServiceError
from streamcast.service.assignment import Assignment
from streamcast.service.beginnings import Beginnings, Start
from streamcast.service.catching_up import CatchingUp
from streamcast.service.identity import Deployment, known_inputs
from streamcast.service.lanes import Poll, answers, new_lanes, not_finite
from streamcast.service.recovery import Recovery
from streamcast.service.replays import Replays
from streamcast.service.resets import Resets
from streamcast.service.saving import Saver
from streamcast.service.snapshots import Store
from streamcast.service.telemetry.reporting import Reporter
from streamcast.service.telemetry.telemetry import Telemetry
from streamcast.service.watch import TopicWatch
from streamcast.spec.folders import Model
from streamcast.topics import dead_letters, journal
from streamcast.topics.ahead import ahead_of
from streamcast.topics.dead_letters import Rejected
from streamcast.topics.journal import Entry
from streamcast.topics.names import Topics, champion_of
from streamcast.topics.observations import Decoder

LAST_SNAPSHOT_SECONDS = 3.0
REPLAYED_AT_ONCE = 500
"""Records that a shadow takes at once while it catches up: those that arrive meanwhile wait for it."""


class Service:
    """Answers records with the forecasts of every lane; implements ``streamcast.consumers.transport.Handler``.

    ``champion`` names the lane whose outcome is a record's outcome; see ``champion_of`` for its default.  ``clock``
    gives epoch seconds, ``timer`` seconds that never step; ``beat`` is called as long work goes on: taking
    partitions over, rebuilding their state, stepping through bars that are missing.  ``on_swap`` receives a lane and
    the digest of the model that it had before, for each partition that is answered with another.
    """

    def __init__(
        self, models: Mapping[str, Model], reader: Reader, telemetry: Telemetry, topics: Topics, start: Start,
        *, champion: str = "", max_series: int = 100_000, shadows: Sequence[str] = (), store: Store | None = None,
        saver: Saver | None = None, watch: TopicWatch | None = None, clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic, beat: Callable[[], None] = lambda: None,
        on_swap: Callable[[str, str], None] = lambda _lane, _former: None,
    ) -> None:  # fmt: skip
        try:
            champion = champion_of(models, champion)
        except ValueError as error:
            raise ServiceError(str(error)) from None
        self._lanes = new_lanes(models, max_series, shadows, topics.observations)
        self._champion = next(lane for lane in self._lanes if lane.name == champion)
        specs = [lane.model.spec for lane in self._lanes]
        self._decoder = Decoder(self._champion.model.spec.series, ahead_of(specs))
        self._reader, self._telemetry, self._topics, self._saver = reader, telemetry, topics, saver
        self._timer, self._beat, self._on_swap = timer, beat, on_swap
        engines = {lane.name: lane.engine for lane in self._lanes}
        awaited = Replays(engines, self._decoder, reader, timer, beat)
        behind = Replays(engines, self._decoder, reader, timer, beat, REPLAYED_AT_ONCE)
        self._recovery = Recovery(engines, awaited, store, telemetry, timer)
        self._catching_up = CatchingUp(behind, telemetry, timer)
        digests = {lane.name: lane.model.digest for lane in self._lanes}
        hidden = tuple(sorted(lane.name for lane in self._lanes if lane.shadow))
        deployment = Deployment(digests, champion, max_series, hidden, known_inputs(specs))
        beginnings = Beginnings(reader, topics, start, deployment, self._recovery.saved, beat)
        self._assignment = Assignment(
            reader, topics, deployment, beginnings, self._recovery, self._catching_up, timer=timer, beat=beat
        )
        self._resets = Resets(self._champion.engine.slab.series)
        self._reporter = Reporter(telemetry, self._lanes, self._champion, clock, timer)
        self._watch = watch
        self._poll: Poll | None = None
        self._assigned = 0.0
        self._new: set[Partition] = set()
        """Partitions that are not answered yet, since ``_assigned``."""

    # -- partitions come and go ------------------------------------------------------------------------

    def on_assigned(
        self, committed: Mapping[Partition, int | None], bounds: Mapping[Partition, tuple[int, int]]
    ) -> Collection[Partition]:
        """See ``Handler``; raises ServiceError when a topic is not the one that the state was made from.

        After an error none of the partitions is held: one whose state is not rebuilt must never be saved.
        """
        began = self._timer()
        try:
            unserved = self._assignment.take(committed, bounds)
        except BaseException:
            self._recovery.drop(list(committed))
            self._assignment.drop(committed)
            raise
        if served := committed.keys() - set(unserved):
            self._assigned = began
            self._new |= served
        return unserved

    def recover_some(self, budget_seconds: float) -> Positions | None:
        """See ``Handler``; raises ServiceError when records that the state is built from are gone."""
        try:
            positions = self._assignment.recover_some(budget_seconds)
        except RecordsGone as error:
            raise ServiceError(f"recovery: {error}") from error
        self._save_due()  # a recovery of hours that is interrupted goes on from here
        if positions is not None and self._new:
            ends = {partition: self._assignment.spans[partition].end for partition in sorted(self._new)}
            self._telemetry.took_over(self._timer() - self._assigned, {each: positions[each] for each in ends}, ends)
            self._new = set()
        return positions

    def on_revoked(self, partitions: Sequence[Partition]) -> None:
        """See ``Handler``: write a last snapshot, so that the next process need not replay much."""
        if self._saver is not None:
            states = self._assignment.states()
            for partition in partitions:
                if partition in states:
                    self._save(partition, states[partition])
            self._saver.finish(LAST_SNAPSHOT_SECONDS)
        self.on_lost(partitions)

    def on_lost(self, partitions: Sequence[Partition]) -> None:
        """See ``Handler``."""
        for lane in self._lanes:
            lane.engine.discard()
        if self._saver is not None:
            self._saver.forget(partitions)
        self._recovery.drop(partitions)
        self._assignment.drop(partitions)
        self._new -= set(partitions)
        self._poll = None

    def reset(self, key: str) -> bool:
        """Reset a series with the next batch of its partition; safe from other threads.

        Returns False, and does nothing, when no partition of this process has a series of that key.
        """
        series = self._champion.engine.slab.series
        known = any(key in series(partition) for partition in list(self._assignment.spans))
        if known:
            self._resets.ask([key])
        return known

    # -- records ---------------------------------------------------------------------------------------

    def on_batch(self, batches: Sequence[Batch]) -> Iterator[Outgoing]:
        """See ``Handler``; answers are encoded as they are taken, so the first are sent while the next are encoded."""
        began = self._timer()
        if self._watch is not None:
            self._watch.ask()
        lap = _Lap(self._telemetry, self._timer, self._beat)
        observations, poison = self._decoder.decode(batches, self._assignment.skips(batches))
        lap("decode")
        due = self._resets.due(batches, self._assignment.spans)
        keys = [(partition, key) for partition, _, key in due]
        results = {
            lane.name: lane.engine.stage(self._decoder.seen_by(lane.model.spec, observations), lap, keys)
            for lane in self._lanes
            if lane.name not in self._catching_up.lanes
        }
        rejected = [Rejected(p.batch, p.row, p.reason, p.detail) for p in poison]
        replayed = dead_letters.replayed(batches, rejected)
        for lane in self._lanes:
            if lane is self._champion or not lane.shadow:
                rejected += not_finite(lane.name, observations, batches, results[lane.name])
        resets = [self._assignment.entry("reset", partition, offset, key=key) for partition, offset, key in due]
        after = {batch.partition: batch.next_offset for batch in batches}
        ends = {partition: self._assignment.spans[partition].end for partition in after}
        self._poll = Poll(began, after, ends, observations, rejected, replayed, results, resets)
        return self._outgoing(self._poll, batches, self._assignment.unwritten(batches) + resets)

    def _outgoing(self, poll: Poll, batches: Sequence[Batch], entries: Sequence[Entry]) -> Iterator[Outgoing]:
        """Yield the records of a poll, decisions first: without transactions, no answer may precede its decision.

        Raises ServiceError when the records are those of a topic that was made again.
        """
        if self._watch is not None:
            self._watch.confirm()
        if entries:
            yield journal.outgoing(self._topics.journal, entries, batches[0].timestamps[0] if batches[0] else 0)
        if self._poll is not poll:
            raise InDoubt("The partitions of this batch were lost while it was answered: nothing of it is committed")
        for lane in self._lanes:
            if not lane.shadow:
                yield from answers(
                    lane, poll.observations, poll.results[lane.name], self._topics.forecasts, timer=self._timer,
                    encoded=self._telemetry.encoding,
                )  # fmt: skip
        if poll.rejected:
            yield dead_letters.outgoing(self._topics.dead_letters, batches, poll.rejected)

    def on_committed(self) -> None:
        """See ``Handler``."""
        for lane in self._lanes:
            lane.engine.promote()
        self._finish()
        self._save_due()

    def on_idle(self) -> None:
        """See ``Handler``."""
        self._save_due()

    def catch_up_some(self, budget_seconds: float) -> bool:
        """See ``Handler``: shadows that need more records than the other lanes are replayed."""
        more = self._assignment.catch_up_some(budget_seconds)
        if more:
            self._save_due()
        return more

    def on_in_doubt(self, stable: Positions) -> None:
        """See ``Handler``."""
        poll, self._poll = self._poll, None
        spans, after = self._assignment.spans, poll.after if poll else {}
        undone = {p for p, end in after.items() if stable.get(p, spans[p].next) != end}
        for lane in self._lanes:
            lane.engine.discard(undone)
        moved: dict[Partition, int | None] = {}
        for partition, span in list(spans.items()):
            position = stable.get(partition, span.next)
            if partition in after and partition not in undone:
                self._written({partition: after[partition]}, poll.resets if poll else ())
            elif position != span.next:
                moved[partition] = position
        if poll:
            self._resets.undone(poll.resets, undone)
        if poll and not undone:
            self._poll = poll
            self._finish()
        if moved:
            self._assignment.take(moved, self._reader.bounds(list(moved)))

    def _finish(self) -> None:
        """Note and report that the present poll is committed."""
        poll, self._poll = self._poll, None
        if poll is not None:
            self._written(poll.after, poll.resets)
            self._reporter.committed(poll)

    def _written(self, after: Positions, resets: Sequence[Entry]) -> None:
        for lane, former in self._assignment.written(after, resets):
            self._telemetry.model_swap(lane)
            self._on_swap(lane, former)

    def _save_due(self) -> None:
        if self._saver is not None:
            states = self._assignment.states()
            if (partition := self._saver.due(states)) is not None:
                self._save(partition, states[partition])

    def _save(self, partition: Partition, offsets: Mapping[str, int]) -> None:
        """Write each lane's state, which has taken the records up to its offset."""
        if self._saver is not None:
            headers = self._assignment.spans[partition].headers
            files = [
                (replace(headers[lane.name], offset=offsets[lane.name]), lane.engine.slab.export(partition))
                for lane in self._lanes
            ]
            self._saver.save(partition, offsets, files)


class _Lap:
    """Reports to telemetry how long each stage took, and that the work goes on."""

    def __init__(self, telemetry: Telemetry, timer: Callable[[], float], beat: Callable[[], None]) -> None:
        self._telemetry, self._timer, self._beat = telemetry, timer, beat
        self._last = timer()

    def __call__(self, stage: str) -> None:
        now = self._timer()
        self._telemetry.stage(stage, now - self._last)
        self._last = now
        self._beat()
