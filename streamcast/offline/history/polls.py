"""A history as polls of observations, in the columns and the order in which the engine takes them.

Shapes: N rows, C columns of the spec.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from streamcast.consumers.transport import Partition
from streamcast.errors import HistoryError
from streamcast.offline.history.history import History
from streamcast.spec.model_spec import SeriesSpec, format_duration
from streamcast.topics.observations import Observations

SOURCE = Partition("history", 0)
POLL_ROWS = 5_000


def polls(history: History, series: SeriesSpec, rows: int = POLL_ROWS) -> Iterator[Observations]:
    """Yield the history ``rows`` at a time, offsets counting its rows; raises HistoryError as ``columns`` does."""
    values_NC = columns(history, series)
    names = np.array(history.keys, object)
    for first in range(0, len(history), rows):
        part = slice(first, min(first + rows, len(history)))
        n = part.stop - first
        times_N = history.ts_N[part]
        yield Observations(
            [(SOURCE, 0, n)], names[history.series_N[part]].tolist(), np.arange(first, part.stop), times_N, times_N,
            np.ascontiguousarray(values_NC[part]),
        )  # fmt: skip


def columns(history: History, series: SeriesSpec) -> NDArray[np.float64]:
    """Return the spec's columns of a history [N, C], categories as their places in the spec (−1 where unknown).

    Raises HistoryError when the bar length, a column or its kind is not the spec's.
    """
    if history.freq_ms != series.freq:
        raise HistoryError(
            f"the history has bars of {format_duration(history.freq_ms)}, the model of {format_duration(series.freq)};"
            " read the history with the model's freq"
        )
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
