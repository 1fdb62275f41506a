"""The cutoffs of a cross-validation: for every series, so many windows that end with its rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from streamcast.errors import HistoryError
from streamcast.offline.history.polls import observed
from streamcast.offline.history.read import History
from streamcast.spec.model_spec import ModelSpec


def cutoffs_of(history: History, spec: ModelSpec, n_windows: int, step_size: int) -> pd.DataFrame:
    """Return up to ``n_windows`` rows of unique_id and cutoff (epoch ms) a series, ``step_size`` bars or more apart.

    The newest leaves room for the horizon before the series' last row, the oldest for the warm-up after its first.
    Raises HistoryError for a number that is not positive, and when no series is long enough.
    """
    if n_windows < 1 or step_size < 1:
        raise HistoryError(f"n_windows is {n_windows} and step_size {step_size}: expected at least 1 of each")
    series = spec.series
    rows_N = observed(history) if spec.known_columns else np.ones(len(history), np.bool_)
    bar_N = series.grid.bar(history.ts_N[rows_N] - series.grace)
    if series.mode == "ticks":
        bar_N -= 1  # a row closes the bar before its own
    whose_N = history.series_N[rows_N]
    parts = []
    for place, key in enumerate(history.keys):
        bars = np.unique(bar_N[whose_N == place])
        if series.mode == "ticks" and len(bars):
            bars = np.arange(bars[0], bars[-1] + 1)
        begins = 1 if series.mode == "ticks" else 0  # the bar before the first row has none
        room = begins + max(spec.warm_up, 2) - 1
        chosen = _back(bars, room, spec.horizon, n_windows, step_size)
        parts.append(pd.DataFrame({"unique_id": key, "cutoff": series.grid.start(np.array(chosen, np.int64))}))
    found = pd.concat(parts, ignore_index=True)
    if found.empty:
        raise HistoryError(
            f"no series is long enough for a window, which needs {spec.warm_up} bars up to its cutoff and"
            f" {spec.horizon} after it: give more history"
        )
    return found


def _back(bars: NDArray[np.int64], room: int, horizon: int, n_windows: int, step_size: int) -> list[int]:
    """Return cutoffs among the rising ``bars``, the newest first, ``step_size`` or more apart.

    The first is at or before ``horizon`` bars before the last one; none is less than ``room`` after the first bar.
    """
    chosen: list[int] = []
    place = int(bars[-1]) - horizon if len(bars) else 0
    while len(chosen) < n_windows and len(bars) and place >= bars[0] + room:
        cutoff = int(bars[np.searchsorted(bars, place, side="right") - 1])
        if cutoff < bars[0] + room:
            break
        chosen.append(cutoff)
        place = cutoff - step_size
    return chosen
