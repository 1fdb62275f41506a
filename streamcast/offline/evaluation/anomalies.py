"""A history streamed through the real engine, for the anomaly of each of its bars.

Legend: K series, T bars of the panel, N rows, A forecasts.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from streamcast.engine.engine import Engine
from streamcast.offline.evaluation.frames import anomaly_frame
from streamcast.offline.history.bars import panel
from streamcast.offline.history.polls import polls
from streamcast.offline.history.read import History
from streamcast.spec.folders import Model


def anomalies(model: Model, history: History) -> pd.DataFrame:
    """Return the bars of a history that are answered, with the anomaly of the answer; see ``frames.anomaly_frame``.

    Raises HistoryError when the history's columns are not the model's, or no bar closes.
    """
    bars, grid = panel(history, model.spec.series), model.spec.series.grid
    engine, first = Engine(model.spec, model.network, max(len(history.keys), 1)), grid.bar(bars.start_ms)
    parts = []
    for poll in polls(history, model.spec):
        found = engine.stage(poll).forecasts
        engine.promote()
        series_A = history.series_N[poll.offsets[found.record]]
        names = [history.keys[k] for k in series_A.tolist()]
        y_A = bars.y_KT[series_A, grid.bar(found.cutoffs) - first]
        parts.append(anomaly_frame(names, found.cutoffs, y_A, found.anomaly))
    none = anomaly_frame([], np.empty(0, np.int64), np.empty(0), np.empty(0))
    return pd.concat(parts or [none], ignore_index=True)
