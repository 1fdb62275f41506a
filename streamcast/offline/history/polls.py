"""A history as polls of observations, with the columns and in the order that the engine expects.

Shapes: N rows, C columns of the spec.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamcast.consumers.transport import Partition
from streamcast.errors import HistoryError, Option
from streamcast.offline.history.read import History
from streamcast.spec.model_spec import ModelSpec, SeriesSpec
from streamcast.topics.observations import Observations

SOURCE = Partition("history", 0)
POLL_ROWS = 5_000


def polls(history: History, spec: ModelSpec, rows: int = POLL_ROWS) -> Iterator[Observations]:
    """Yield the history ``rows`` at a time; offsets are row numbers.  Raises HistoryError as ``columns`` does.

    Each row brings the known inputs of the bars after its own, as the history has them; for a model with known inputs,
    rows after the last target of their series are not yielded (see ``observed``).
    """
    values_NC = columns(history, spec.series)
    known = KnownInputs(history, spec, values_NC) if spec.known_columns else None
    names = np.array(history.keys, object)
    place_M = np.arange(len(history)) if known is None else np.flatnonzero(observed(history))
    for first in range(0, len(place_M), rows):
        part = place_M[first : first + rows]
        times_N = history.ts_N[part]
        yield Observations(
            [(SOURCE, 0, len(part))], names[history.series_N[part]].tolist(), part, times_N, times_N,
            np.ascontiguousarray(values_NC[part]),
            None if known is None else known.ahead(history.series_N[part], spec.series.grid.bar(times_N)),
        )  # fmt: skip


def observed(history: History) -> NDArray[np.bool_]:
    """Return whether each row [N] is an observation, for a model with known inputs.

    Rows after the last target of their series are not: they only say what is known ahead.
    """
    given_M = np.flatnonzero(~np.isnan(history.values_NC[:, 0]))
    last_K = np.full(len(history.keys), -1)
    last_K[history.series_N[given_M]] = given_M  # the last assignment counts
    return np.arange(len(history)) <= last_K[history.series_N]


class KnownInputs:
    """The known inputs of a history by series and bar; in a history they are ordinary columns.

    A bar's value is that of its first row in sample mode, of its last row in tick mode; NaN where no row gives one.
    """

    def __init__(self, history: History, spec: ModelSpec, values_NC: NDArray[np.float64]) -> None:
        series, bar_N = spec.series, spec.series.grid.bar(history.ts_N)
        self._horizon = spec.horizon
        self._first, self._bars = int(bar_N.min()), int(np.ptp(bar_N)) + 1
        self._values_KTI = np.full((len(history.keys), self._bars + spec.horizon + 1, len(spec.known_columns)), np.nan)
        rows = slice(None, None, -1) if series.mode == "sample" else slice(None)  # the row that is written last counts
        series_N, place_N = history.series_N[rows], bar_N[rows] - self._first
        for i, column in enumerate(spec.known_columns):
            given_N = ~np.isnan(values_NC[rows, column])
            self._values_KTI[series_N[given_N], place_N[given_N], i] = values_NC[rows, column][given_N]

    def ahead(self, series_N: NDArray[np.integer[Any]], bar_N: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the known inputs of the H bars after those of these numbers [N, I, H], NaN where there is none."""
        place_N = bar_N - self._first
        place_NH = np.clip(place_N[:, None] + np.arange(1, self._horizon + 1), 0, self._bars + self._horizon)
        return np.ascontiguousarray(self._values_KTI[np.asarray(series_N)[:, None], place_NH].transpose(0, 2, 1))


def columns(history: History, series: SeriesSpec) -> NDArray[np.float64]:
    """Return the spec's columns of a history [N, C], categories as their places in the spec (−1 where unknown).

    Raises HistoryError when the bar length, a column or its kind is not the spec's.
    """
    if (history.freq_ms, history.calendar) != (series.freq, series.calendar):
        raise HistoryError(
            f"the history has bars of {history.bar}, the model of {series.bar}; leave ", Option.FREQ, " out, or give"
            " the model's",
        )  # fmt: skip
    values_NC = np.empty((len(history), len(series.columns)))
    for place, column in enumerate(series.columns):
        if column.name not in history.columns:
            raise HistoryError(
                f"the history has no column {column.name!r}, which the model needs; it has {', '.join(history.columns)}"
            )
        values_N = history.values_NC[:, history.columns.index(column.name)]
        table = history.categories.get(column.name)
        if (table is None) != (column.categories is None):
            kinds = ("numbers", "categories")
            raise HistoryError(
                f"column {column.name!r} holds {kinds[table is not None]}, the model was made for"
                f" {kinds[column.categories is not None]}; give it a column of the same kind"
            )
        if table is not None and column.categories is not None:
            codes = {name: float(code) for code, name in enumerate(column.categories)}
            recoded = np.array([*(codes.get(name, -1.0) for name in table), np.nan])
            values_N = recoded[np.where(np.isnan(values_N), len(table), values_N).astype(np.intp)]
        values_NC[:, place] = values_N
    return values_NC
