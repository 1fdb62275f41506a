"""A history as records of the input topic."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamcast.offline.history.polls import POLL_ROWS, KnownInputs, observed
from streamcast.offline.history.read import History
from streamcast.spec.model_spec import ModelSpec
from streamcast.topics.observations import encode_observation

Values = list[float | str | None]
"""Numbers and names of categories; NaN is missing."""


class Observation(NamedTuple):
    """One record for the input topic: the Kafka key, the event time and the JSON value."""

    key: bytes
    timestamp_ms: int
    value: bytes


def records(history: History, specs: Sequence[ModelSpec] = ()) -> Iterator[Observation]:
    """Yield the observations as input records in order of time; missing is null, a category is its name.

    ``specs`` are those of the models that read the records; the history has their columns, in their order.  Where they
    have known inputs, each record brings those of the bars after its own (see ``polls.observed``).
    """
    knowing = sorted((spec for spec in specs if spec.known_columns), key=lambda spec: spec.horizon)
    known = [(spec, KnownInputs(history, spec, history.values_NC)) for spec in knowing]
    tables = [history.categories.get(column) for column in history.columns]
    rows = np.flatnonzero(observed(history)) if knowing else np.arange(len(history))
    for first in range(0, len(rows), POLL_ROWS):
        part = rows[first : first + POLL_ROWS]
        series_N, times_N = history.series_N[part], history.ts_N[part]
        ahead = [(spec, inputs.ahead(series_N, spec.series.grid.bar(times_N))) for spec, inputs in known]
        for n, (series, ts, numbers) in enumerate(
            zip(series_N.tolist(), times_N.tolist(), history.values_NC[part].tolist(), strict=True)
        ):
            values = [_named(number, table) for number, table in zip(numbers, tables, strict=True)]
            brought: dict[str, Values] = {}
            for spec, ahead_NIH in ahead:  # the longest horizon comes last
                brought |= _ahead(history, spec, ahead_NIH[n])
            key = history.keys[series]
            yield Observation(key.encode(), ts, encode_observation(key, ts, values, brought))


def _ahead(history: History, spec: ModelSpec, ahead_IH: NDArray[np.float64]) -> Mapping[str, Values]:
    """Return the known inputs of one record by name, without what is missing at the end."""
    found: dict[str, Values] = {}
    for place, ahead_H in zip(spec.known_columns, ahead_IH, strict=True):
        given = np.flatnonzero(~np.isnan(ahead_H))
        if len(given):
            column = history.columns[place]
            table = history.categories.get(column)
            found[column] = [_named(number, table) for number in ahead_H[: given[-1] + 1].tolist()]
    return found


def _named(number: float, table: Sequence[str] | None) -> float | str | None:
    return number if table is None or math.isnan(number) else table[int(number)]
