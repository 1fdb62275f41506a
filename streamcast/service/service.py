"""The service: engines as a handler of records, with what they need to come back.

A batch is decoded once, staged by the engine of every lane, and answered; nothing of it counts until the
loop says that the commit happened.  State is a fold of the input, so it comes back by reading the input
again, from where the journal says it begins, to where the group is committed.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

import numpy as np

from streamcast.consumers.transport import Batch, Outgoing, Partition, Positions, Reader, RecordsGone
from streamcast.engine.engine import NOT_FINITE, Engine, Result
from streamcast.errors import ServiceError
from streamcast.kernels.advance import ABSORBED, ANSWERED, DUPLICATE, LATE
from streamcast.service.recovery import Recovery
from streamcast.service.saving import Saver
from streamcast.service.snapshots import Header, Store, fingerprint
from streamcast.service.telemetry.drift import Drift
from streamcast.service.telemetry.telemetry import Telemetry
from streamcast.spec.folders import Model
from streamcast.topics import dead_letters as deadletters
from streamcast.topics.dead_letters import Rejected
from streamcast.topics.forecasts import Encoder
from streamcast.topics.journal import Entry, Kind, outgoing, read_journal
from streamcast.topics.observations import Decoder, Observations

LAST_SNAPSHOT_SECONDS = 3.0
MOST_RESETS = 10_000
SENT_AT_ONCE = 1_000
"""Answers that are written before they are handed over to the client."""
NORM_SECONDS = 1.0
"""How often the norm of the hidden states is taken."""
ANOMALOUS = 0.9999
"""An answer with a larger anomaly counts as one in telemetry."""

_OUTCOMES = {"answered": ANSWERED, "absorbed": ABSORBED, "late": LATE, "duplicate": DUPLICATE}


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics a service uses."""

    observations: str = "observations"
    forecasts: str = "forecasts"
    dead_letters: str = "dead-letters"
    journal: str = "journal"


@dataclass(frozen=True, slots=True)
class Start:
    """Where answers begin at the very first start, and how many records before it build state."""

    at: Literal["earliest", "latest"] | datetime = "earliest"
    warm_from: int = 0
    allow_cold_start: bool = False


@dataclass(slots=True)
class _Lane:
    name: str
    model: Model
    engine: Engine
    encoder: Encoder
    shadow: bool
    drift: Drift = field(default_factory=Drift)


@dataclass(slots=True)
class _Poll:
    """What a batch did, to be told once it is committed."""

    began: float
    after: Positions
    observations: Observations
    rejected: Sequence[Rejected]
    results: Mapping[str, Result]
    resets: Sequence[Entry]


@dataclass(slots=True)
class _Span:
    """What the service knows of an assigned partition.

    What its state is the state of, its next offset once it is recovered, and what the next commit must write: journal
    entries, and with them the lanes that change their model.
    """

    header: Header
    next: int
    unwritten: list[Entry]
    swapped: Sequence[str] = ()


class Service:
    """Answers records with the forecasts of every lane; implements ``streamcast.consumers.transport.Handler``."""

    def __init__(
        self, models: Mapping[str, Model], reader: Reader, telemetry: Telemetry, topics: Topics, start: Start,
        *, max_series: int = 100_000, shadows: Sequence[str] = (), store: Store | None = None,
        saver: Saver | None = None, clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        specs = {lane: model.spec.series for lane, model in models.items()}
        first = next(iter(specs))
        for lane, series in specs.items():
            if series != specs[first]:
                raise ServiceError(
                    f"lanes {first!r} and {lane!r} disagree on what a record is (columns, freq, mode or gaps):"
                    " lanes of one service must be trained on the same series spec"
                )
        self._lanes = [
            _Lane(
                lane, model, Engine(model.spec, model.network, max_series),
                Encoder(model.spec, model.name, model.version, model.digest, lane, topics.observations),
                lane in shadows,
            )
            for lane, model in models.items()
        ]  # fmt: skip
        self._decoder = Decoder(specs[first])
        self._reader, self._telemetry, self._topics, self._start = reader, telemetry, topics, start
        self._clock, self._saver, self._max_series = clock, saver, max_series
        engines = {lane.name: lane.engine for lane in self._lanes}
        self._recovery = Recovery(engines, self._decoder, reader, store, telemetry, clock)
        self._spans: dict[Partition, _Span] = {}
        self._resets: deque[str] = deque(maxlen=MOST_RESETS)
        self._poll: _Poll | None = None
        self._assigned: float | None = None
        self._norm, self._normed = 0.0, -np.inf

    # -- coming and going ------------------------------------------------------------------------------

    def on_assigned(
        self, committed: Mapping[Partition, int | None], bounds: Mapping[Partition, tuple[int, int]]
    ) -> Positions:
        """See ``Handler``; raises ServiceError when the records that state is made of are gone."""
        self._assigned = self._clock()
        return {p: self._assign(p, position, bounds[p]) for p, position in committed.items()}

    def _assign(self, partition: Partition, position: int | None, bounds: tuple[int, int]) -> int:
        """Plan a partition's recovery up to its position; return the position."""
        journal = read_journal(self._reader, self._topics.journal, partition)
        unwritten = []
        begin = journal.begin
        if position is None and journal.start is not None:
            position = journal.start  # at least once: the first answers were written, their position was not
        if position is None or begin is None:
            position = self._first_start(partition, bounds) if position is None else position
            begin = max(position - self._start.warm_from, bounds[0])
            unwritten.append(self._entry("start", partition, position, position - begin))
        elif (journal.models, journal.max_series) != (self._digests(), self._max_series):
            unwritten.append(self._entry("models", partition, position))
        header = self._header(partition, begin, position)
        start = self._recovery.restore(header)
        if start < bounds[0]:
            begin = self._cold_start(partition, start, bounds[0])
            position = max(position, begin)
            unwritten.append(self._entry("cold", partition, position, position - begin))
            header = self._header(partition, begin, position)
            start = self._recovery.restore(header)
        swapped = [lane for lane, digest in self._digests().items() if journal.models.get(lane, digest) != digest]
        self._spans[partition] = _Span(header, position, unwritten, swapped)
        self._recovery.plan(partition, start, position, journal.resets())
        return position

    def _first_start(self, partition: Partition, bounds: tuple[int, int]) -> int:
        if self._start.at == "earliest":
            return bounds[0]
        if self._start.at == "latest":
            return bounds[1]
        return self._reader.offsets_at([partition], round(self._start.at.timestamp() * 1000))[partition]

    def _cold_start(self, partition: Partition, wanted: int, held: int) -> int:
        if not self._start.allow_cold_start:
            raise ServiceError(
                f"{partition.topic}[{partition.index}]: the records from offset {wanted} on are needed, but the topic"
                f" holds them only from {held} on, and no snapshot spares them: raise the topic's retention, or begin"
                " anew from there with state.allow_cold_start: true"
            )
        return held

    def _header(self, partition: Partition, begin: int, offset: int) -> Header:
        count = self._reader.describe([partition.topic])[partition.topic].partitions
        return Header(
            partition.topic, self._topics.journal, partition.index, count, begin, offset, self._digests(),
            self._max_series, fingerprint(),
        )  # fmt: skip

    def _entry(self, kind: Kind, partition: Partition, offset: int, warm: int = 0, key: str = "") -> Entry:
        return Entry(kind, partition.topic, partition.index, offset, warm, self._digests(), self._max_series, key)

    def _digests(self) -> dict[str, str]:
        return {lane.name: lane.model.digest for lane in self._lanes}

    def recover_some(self, budget_seconds: float) -> bool:
        """See ``Handler``; raises ServiceError when the records that state is made of are gone."""
        try:
            done = self._recovery.some(budget_seconds)
        except RecordsGone as error:
            raise ServiceError(f"recovery: {error}") from error
        if done and self._assigned is not None:
            self._telemetry.rebalanced(self._clock() - self._assigned)
            self._assigned = None
        return done

    def on_revoked(self, partitions: Sequence[Partition]) -> None:
        """See ``Handler``: a last snapshot, so that whoever gets the partitions need not replay much."""
        if self._saver is not None:
            for partition in partitions:
                self._save(partition)
            self._saver.finish(LAST_SNAPSHOT_SECONDS)
        self.on_lost(partitions)

    def on_lost(self, partitions: Sequence[Partition]) -> None:
        """See ``Handler``."""
        for lane in self._lanes:
            lane.engine.discard()
        self._recovery.drop(partitions)
        self._poll = None
        for partition in partitions:
            self._spans.pop(partition, None)

    def reset(self, key: str) -> None:
        """Begin a series anew at the next batch that its partition is in; safe from other threads."""
        self._resets.append(key)

    def _save(self, partition: Partition) -> None:
        if self._saver is None:
            return
        span = self._spans[partition]
        arrays = {
            f"{lane.name}/{name}": array
            for lane in self._lanes
            for name, array in lane.engine.slab.export(partition).items()
        }
        self._saver.save(replace(span.header, offset=span.next), arrays)

    # -- records ---------------------------------------------------------------------------------------

    def on_batch(self, batches: Sequence[Batch]) -> Iterator[Outgoing]:
        """See ``Handler``; answers are encoded as they are taken: the first are sent while the next are written."""
        began = self._clock()
        lap = _Lap(self._telemetry, self._clock)
        observations, poison = self._decoder.decode(batches)
        lap("decode")
        rejected = [Rejected(p.batch, p.row, p.reason, p.detail) for p in poison]
        results: dict[str, Result] = {}
        resets = self._due_resets(batches)
        anew = [(Partition(entry.topic, entry.partition), entry.key) for entry in resets]
        for lane in self._lanes:
            result = lane.engine.stage(observations, lap, anew)
            results[lane.name] = result
        rejected += _not_finite(observations, batches, next(iter(results.values())))
        entries = [entry for batch in batches for entry in self._spans[batch.partition].unwritten] + resets
        after = {batch.partition: batch.next_offset for batch in batches}
        self._poll = _Poll(began, after, observations, rejected, results, resets)
        return self._outgoing(batches, entries, rejected)

    def _outgoing(
        self, batches: Sequence[Batch], entries: Sequence[Entry], rejected: Sequence[Rejected]
    ) -> Iterator[Outgoing]:
        """Yield what the poll in hand wants written, decisions first.

        Without transactions, an answer must not be there before the decision it follows from.
        """
        if entries:
            yield outgoing(self._topics.journal, entries, batches[0].timestamps[0] if batches[0] else 0)
        if (poll := self._poll) is None:
            return
        for lane in self._lanes:
            if not lane.shadow:
                yield from self._answers(lane, poll.observations, poll.results[lane.name])
        if rejected:
            yield deadletters.outgoing(self._topics.dead_letters, batches, rejected)

    def _due_resets(self, batches: Sequence[Batch]) -> list[Entry]:
        """Entries for the keys to begin anew whose partition is in this poll; others wait, unknown ones are let go."""
        entries: list[Entry] = []
        slab = self._lanes[0].engine.slab
        for _ in range(len(self._resets)):
            key = self._resets.popleft()
            homes = [partition for partition in self._spans if key in slab.series(partition)]
            here = [batch for batch in batches if batch.partition in homes]
            entries += [self._entry("reset", b.partition, b.offsets[0], key=key) for b in here]
            if homes and not here:
                self._resets.append(key)
        return entries

    def _answers(self, lane: _Lane, observations: Observations, result: Result) -> Iterator[Outgoing]:
        partitions = np.empty(len(observations), np.int64)
        for partition, start, stop in observations.runs:
            partitions[start:stop] = partition.index
        for first in range(0, len(result.forecasts), SENT_AT_ONCE):
            began = self._clock()
            forecasts = result.forecasts.part(slice(first, first + SENT_AT_ONCE))
            record = forecasts.record
            keys = lane.engine.slab.key_texts(result.slots[record])
            values = lane.encoder.encode(keys, forecasts, partitions[record], observations.offsets[record])
            part = Outgoing(
                topic=self._topics.forecasts,
                partitions=partitions[record].tolist(),
                timestamps=observations.timestamps[record].tolist(),
                keys=[observations.keys[i].encode() for i in record.tolist()],
                values=values,
            )
            self._telemetry.encoding(self._clock() - began)
            yield part

    def on_committed(self) -> None:
        """See ``Handler``."""
        for lane in self._lanes:
            lane.engine.promote()
        self._finish()
        if self._saver is not None and (partition := self._saver.due(self._spans)) is not None:
            self._save(partition)

    def on_in_doubt(self, stable: Positions) -> None:
        """See ``Handler``."""
        poll, self._poll = self._poll, None
        after = poll.after if poll else {}
        undone = {p for p, end in after.items() if stable.get(p, self._spans[p].next) != end}
        for lane in self._lanes:
            lane.engine.discard(undone)
        for partition, span in self._spans.items():
            position = stable.get(partition, span.next)
            if partition in after and partition not in undone:
                self._written(span, after[partition])
            elif position != span.next:
                self._assign(partition, position, self._reader.bounds([partition])[partition])
        if poll:
            self._resets.extend(entry.key for entry in poll.resets if Partition(entry.topic, entry.partition) in undone)
        if poll and not undone:
            self._poll = poll
            self._finish()

    def _written(self, span: _Span, position: int) -> None:
        """The partition is committed up to a position, and what was to be written is."""
        for lane in span.swapped:
            self._telemetry.model_swap(lane)
        span.next, span.unwritten, span.swapped = position, [], ()

    def _finish(self) -> None:
        """The poll in hand is committed: say so to whoever asks."""
        poll, self._poll = self._poll, None
        if poll is None:
            return
        for partition, position in poll.after.items():
            self._written(self._spans[partition], position)
        now, telemetry = self._clock(), self._telemetry
        outcomes = next(iter(poll.results.values())).outcomes
        answered = outcomes == ANSWERED
        counts = np.bincount(outcomes, minlength=NOT_FINITE + 1).tolist()
        telemetry.batch(
            now - poll.began,
            now - poll.observations.times[answered] / 1000.0,
            {name: counts[code] for name, code in _OUTCOMES.items()},
        )
        for letter in poll.rejected:
            telemetry.dead_letter(letter.reason)
        for partition, start, stop in poll.observations.runs:
            if stop > start:
                newest = poll.observations.timestamps[start:stop].max() / 1000.0
                telemetry.progress(partition, newest, poll.observations.times[start:stop].max() / 1000.0)
        for lane in self._lanes:
            result = poll.results[lane.name]
            error, pinball, covered, naive = result.scores.values.T
            telemetry.scores(lane.name, result.scores.ahead, error, naive, pinball, covered.astype(bool))
            nearest = result.scores.ahead == lane.model.spec.scored_steps[0]
            telemetry.drift(lane.name, lane.drift.observe(error[nearest]))
            telemetry.anomalies(lane.name, int((result.forecasts.anomaly > ANOMALOUS).sum()))
            if not lane.shadow:
                telemetry.forecasts(lane.name, len(result.forecasts))
        champion = self._lanes[0].engine
        if now - self._normed >= NORM_SECONDS:
            self._normed, self._norm = now, champion.norm(next(iter(poll.results.values())))
        telemetry.gaps_filled(poll.results[self._lanes[0].name].gaps)
        telemetry.evicted(poll.results[self._lanes[0].name].evictions)
        telemetry.state(
            len(champion.slab),
            sum(lane.engine.slab.nbytes for lane in self._lanes),
            self._norm,
        )


def rehearse(model: Model) -> None:
    """Answer two made-up records with a throwaway engine, so that everything is compiled before it counts."""
    columns = len(model.spec.series.columns)
    times = model.spec.series.freq * np.arange(1, 3)
    made_up = Observations([(Partition("", 0), 0, 2)], ["", ""], np.arange(2), times, times, np.zeros((2, columns)))
    engine = Engine(model.spec, model.network)
    result = engine.stage(made_up)
    engine.discard()
    zeros = np.zeros(len(result.forecasts), np.int64)
    encoder = Encoder(model.spec, model.name, model.version, model.digest, "", "")
    encoder.encode([b'""'] * len(zeros), result.forecasts, zeros, zeros)


class _Lap:
    """Tells telemetry how long each stage took."""

    def __init__(self, telemetry: Telemetry, clock: Callable[[], float]) -> None:
        self._telemetry, self._clock = telemetry, clock
        self._last = clock()

    def __call__(self, stage: str) -> None:
        now = self._clock()
        self._telemetry.stage(stage, now - self._last)
        self._last = now


def _not_finite(observations: Observations, batches: Sequence[Batch], result: Result) -> list[Rejected]:
    """Records whose forecast was not finite, as dead letters."""
    found = []
    for i in np.flatnonzero(result.outcomes == NOT_FINITE).tolist():
        number = next(n for n, (_, start, stop) in enumerate(observations.runs) if start <= i < stop)
        row = list(batches[number].offsets).index(int(observations.offsets[i]))
        found.append(Rejected(number, row, "not finite", "the model's forecast for this record is not finite"))
    return found
