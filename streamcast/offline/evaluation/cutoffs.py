"""The cutoffs of a cross-validation: for every series, so many windows that end with its rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from streamcast.errors import HistoryError
from streamcast.offline.history.polls import observed
from streamcast.offline.history.read import History
from streamcast.spec.model_spec import ModelSpec
from streamcast.wording import counted


def cutoffs_of(history: History, spec: ModelSpec, n_windows: int, step_size: int) -> pd.DataFrame:
    """Return up to ``n_windows`` rows of unique_id and cutoff (epoch ms) a series, ``step_size`` bars or more apart.

    A gap that restarts a series divides it into parts.  The newest cutoff of each leaves room for the horizon before
    its last row, the oldest for the warm-up after its first.
    Raises HistoryError for a number that is not positive, and when no series is long enough.
    """
    if n_windows < 1 or step_size < 1:
        raise HistoryError(f"n_windows is {n_windows} and step_size {step_size}: expected at least 1 of each")
    series = spec.series
    rows_N = observed(history) if spec.known_columns else np.ones(len(history), np.bool_)
    bar_N = series.grid.bar(history.ts_N[rows_N] - series.grace)
    if series.mode == "ticks":
        bar_N -= 1  # a row closes the bar before its own
    whose_N, ts_N = history.series_N[rows_N], history.ts_N[rows_N]
    order_N, parts = np.argsort(whose_N, kind="stable"), list[pd.DataFrame]()
    begins_K = np.searchsorted(whose_N[order_N], np.arange(len(history.keys)))
    for key, mine in zip(history.keys, np.split(order_N, begins_K[1:]), strict=True):
        chosen = _back(_possible(bar_N[mine], ts_N[mine], spec), n_windows, step_size)
        parts.append(pd.DataFrame({"unique_id": key, "cutoff": series.grid.start(np.array(chosen, np.int64))}))
    found = pd.concat(parts, ignore_index=True)
    if found.empty:
        raise HistoryError(f"no series is long enough for a window, which needs {room(spec)}: give more history")
    return found


def room(spec: ModelSpec) -> str:
    """Return what a series needs around a cutoff, in words."""
    gap = counted(spec.series.longest_gap, "bar")
    return f"{spec.warm_up} bars up to its cutoff, without a gap of more than {gap}, and {spec.horizon} after it"


def _possible(bar_N: NDArray[np.int64], ts_N: NDArray[np.int64], spec: ModelSpec) -> NDArray[np.int64]:
    """Return the bars of a series that may be cutoffs, in order, given the bars and the times of its rows."""
    series = spec.series
    restarts = (np.diff(bar_N) - 1 > series.max_gap) | (np.diff(ts_N) > series.ttl)
    begins = 1 if series.mode == "ticks" else 0  # the bar before the first row has none
    needed = begins + max(spec.warm_up, 2) - 1
    found = [np.empty(0, np.int64)]
    for part in np.split(bar_N, np.flatnonzero(restarts) + 1):
        if not len(part):
            continue
        bars = np.arange(part[0], part[-1] + 1) if series.mode == "ticks" else np.unique(part)
        found.append(bars[(bars >= part[0] + needed) & (bars <= part[-1] - spec.horizon)])
    return np.concatenate(found)


def _back(bars: NDArray[np.int64], n_windows: int, step_size: int) -> list[int]:
    """Return cutoffs among the rising ``bars``, the newest first, ``step_size`` or more apart."""
    chosen: list[int] = []
    while len(chosen) < n_windows and len(bars):
        chosen.append(int(bars[-1]))
        bars = bars[: np.searchsorted(bars, chosen[-1] - step_size, side="right")]
    return chosen
