"""A synthetic history for tests of training, backtests and the notebook."""

from __future__ import annotations

import numpy as np
import pandas as pd

from streamcast.offline.history.read import History, read

HOUR = 3_600_000
START = 1_700_000_000_000 // HOUR * HOUR


def history_of(bars: int = 600, series: int = 2, seed: int = 0, drop: float = 0.02) -> History:
    """Daily waves with noise, each series at its own level; some rows are missing, some targets null."""
    random = np.random.default_rng(seed)
    parts = []
    for number in range(series):
        t = np.arange(bars)
        y = 10.0 * (number + 1) + 3 * np.sin(2 * np.pi * t / 24) + 0.3 * random.standard_normal(bars)
        y[random.random(bars) < drop] = np.nan
        part = pd.DataFrame({"unique_id": f"s{number}", "ds": START + HOUR * t, "y": y})
        parts.append(part[random.random(bars) > drop])
    return read(pd.concat(parts), freq="1h")
