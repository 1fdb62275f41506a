"""How the records of a history make the series of a new model: its columns and its bars."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from streamcast.errors import HistoryError, Option
from streamcast.offline.history.read import History
from streamcast.spec.model_spec import MOST_GAP, Aggregate, Column, SeriesSpec

Ints = npt.NDArray[np.int64]


def samples(history: History) -> SeriesSpec:
    """Return the series spec of a history whose rows are bars."""
    series = SeriesSpec(
        columns=columns(history, {}), freq=history.freq_ms, offset=history.offset_ms, calendar=history.calendar
    )
    return after_pauses(series, history)


def after_pauses(series: SeriesSpec, history: History) -> SeriesSpec:
    """Return a spec whose series go on after the pauses of a history, where some are longer than they usually may be.

    A pause of more than ``MOST_GAP`` bars restarts its series all the same: the next record waits for all its steps.
    """
    _, left_out_N = pauses(history)
    if left_out_N[left_out_N <= MOST_GAP].max(initial=0) <= series.max_gap:
        return series
    return series.model_copy(update={"max_gap": min(series.ttl // series.freq - 1, MOST_GAP)})


def pauses(history: History) -> tuple[Ints, Ints]:
    """Return the order of rows by series, then by time, and how many bars without a row follow each in it [N]."""
    bar_N, order_N = history.grid.bar(history.ts_N), np.argsort(history.series_N, kind="stable")
    left_out_N = np.diff(bar_N[order_N], append=0) - 1
    left_out_N[np.append(np.diff(history.series_N[order_N]) != 0, [True])] = 0
    return order_N, np.maximum(left_out_N, 0)


def columns(history: History, aggregates: Mapping[str, Aggregate]) -> tuple[Column, ...]:
    """Return the columns of a spec and their categories; raises HistoryError for unknown names in ``aggregates``."""
    if unknown := set(aggregates) - set(history.columns):
        raise HistoryError(
            Option.AGGREGATES, f" names {', '.join(sorted(unknown))}; the columns are {', '.join(history.columns)}"
        )
    return tuple(
        Column(name=name, categories=_occurring(history, place), aggregate=aggregates.get(name))
        for place, name in enumerate(history.columns)
    )


def _occurring(history: History, column: int) -> tuple[str, ...] | None:
    """Return the categories of a column that occur in the history; all where none does, None for numbers."""
    categories = history.categories.get(history.columns[column])
    if categories is None:
        return None
    codes = history.values_NC[:, column]
    seen = np.unique(codes[codes >= 0].astype(np.int64)).tolist()
    return tuple(categories[code] for code in seen) or tuple(categories)


def bars_by_series(history: History) -> Ints:
    """Return how many bars of each series have records."""
    bar_N = history.grid.bar(history.ts_N)
    span = int(bar_N[-1] - bar_N[0]) + 1
    places = np.unique(history.series_N.astype(np.int64) * span + (bar_N - bar_N[0]))
    return np.bincount(places // span)
