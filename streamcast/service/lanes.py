"""Lanes: the models that run side by side, and their answers to a poll."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from streamcast.consumers.transport import Batch, Outgoing, Partition, Positions, answered_at
from streamcast.engine.engine import Engine, Result
from streamcast.errors import ServiceError
from streamcast.kernels.outcomes import NOT_FINITE
from streamcast.spec.folders import Model
from streamcast.topics.dead_letters import Rejected
from streamcast.topics.forecasts import Encoder
from streamcast.topics.journal import Entry
from streamcast.topics.observations import Observations

SENT_AT_ONCE = 1_000
"""Answers that are encoded before they are handed to the client."""


@dataclass(frozen=True, slots=True)
class Lane:
    """A model that answers every record; the answers of a ``shadow`` are measured and not published."""

    name: str
    model: Model
    engine: Engine
    encoder: Encoder
    shadow: bool


@dataclass(frozen=True, slots=True)
class Poll:
    """The outcome of a poll: ``results`` by lane; ``after`` has the positions that its commit writes.

    ``began`` is when the poll came, by a timer that never steps; ``ends`` are where its partitions ended when they were
    taken over; ``replayed`` counts the unreadable records that were sent by `dlq replay`.  Lanes that catch up have no
    result.
    """

    began: float
    after: Positions
    ends: Positions
    observations: Observations
    rejected: Sequence[Rejected]
    replayed: int
    results: Mapping[str, Result]
    resets: Sequence[Entry]


def new_lanes(models: Mapping[str, Model], max_series: int, shadows: Sequence[str], topic: str) -> list[Lane]:
    """Return a lane for each model, with room for ``max_series``; raises ServiceError when their records differ."""
    records = {lane: model.spec.series.record for lane, model in models.items()}
    first = next(iter(records))
    for lane, record in records.items():
        if record != records[first]:
            raise ServiceError(
                f"lanes {first!r} and {lane!r} disagree on what a record is (columns, freq, mode or grace):"
                " all lanes of a service read the same records"
            )
    return [
        Lane(
            lane, model, Engine(model.spec, model.network, max_series),
            Encoder(model.spec, model.name, model.version, model.digest, lane, topic), lane in shadows,
        )
        for lane, model in models.items()
    ]  # fmt: skip


def answers(
    lane: Lane, observations: Observations, result: Result, topic: str, *, timer: Callable[[], float],
    encoded: Callable[[float], None],
) -> Iterator[Outgoing]:  # fmt: skip
    """Yield the forecasts of a lane, a piece at a time; ``encoded`` gets the seconds that each piece took."""
    partitions = np.empty(len(observations), np.int64)
    for partition, start, stop in observations.runs:
        partitions[start:stop] = partition.index
    for first in range(0, len(result.forecasts), SENT_AT_ONCE):
        began = timer()
        forecasts = result.forecasts.part(slice(first, first + SENT_AT_ONCE))
        record = forecasts.record
        keys = lane.engine.slab.key_texts(result.slots[record])
        values = lane.encoder.encode(keys, forecasts, partitions[record], observations.offsets[record])
        part = Outgoing(
            topic=topic,
            partitions=partitions[record].tolist(),
            timestamps=list(map(answered_at, observations.timestamps[record].tolist())),
            keys=[observations.keys[i].encode() for i in record.tolist()],
            values=values,
        )
        encoded(timer() - began)
        yield part


def not_finite(lane: str, observations: Observations, batches: Sequence[Batch], result: Result) -> list[Rejected]:
    """Return the records whose forecast in this lane was not finite."""
    spoilt = np.flatnonzero(result.outcomes == NOT_FINITE)
    if not len(spoilt):
        return []
    found, detail = list[Rejected](), f"the forecast of lane {lane} for this record is not finite"
    for number, (_, start, stop) in enumerate(observations.runs):
        here = spoilt[(spoilt >= start) & (spoilt < stop)]
        rows = np.searchsorted(np.asarray(batches[number].offsets), observations.offsets[here])
        found += [Rejected(number, row, "not finite", detail, lane) for row in rows.tolist()]
    return found


def rehearse(model: Model) -> None:
    """Answer two made-up records with a throwaway engine, so that everything is compiled before the first record."""
    columns = len(model.spec.series.columns)
    times = model.spec.series.freq * np.arange(1, 3)
    made_up = Observations([(Partition("", 0), 0, 2)], ["", ""], np.arange(2), times, times, np.zeros((2, columns)))
    engine = Engine(model.spec, model.network)
    result = engine.stage(made_up)
    engine.discard()
    zeros = np.zeros(len(result.forecasts), np.int64)
    encoder = Encoder(model.spec, model.name, model.version, model.digest, "", "")
    encoder.encode([b'""'] * len(zeros), result.forecasts, zeros, zeros)
