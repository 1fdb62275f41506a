"""Raw readings whose bars are known: the synthetic history of ``harness.histories``, with several readings an hour."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from harness.histories import HOUR, history_of
from streamcast.offline.history.read import History, read

EIGHTHS = 8
MINUTES = (3, 20, 21, 55)  # of the hour
AROUND = (-2.0, 0.5, 2.0, -0.5)  # their mean is 0, and eighths add up exactly


def bars_and_readings(bars: int = 400, series: int = 2, grace_hours: int = 0) -> tuple[History, History]:
    """Return hours without gaps, and readings with exactly these hourly means.

    Heartbeats at the end close the last hours one by one.
    """
    hours = history_of(bars, series, drop=0.0)
    hours.values_NC[:] = np.rint(hours.values_NC * EIGHTHS) / EIGHTHS
    return hours, read(pd.DataFrame(_readings(hours, grace_hours)), freq=hours.freq_ms, ticks=True)


def _readings(hours: History, grace_hours: int) -> Iterator[dict[str, object]]:
    for series, ts, y in zip(hours.series_N, hours.ts_N, hours.values_NC[:, 0], strict=True):
        for minute, aside in zip(MINUTES, AROUND, strict=True):
            yield {"unique_id": hours.keys[series], "ds": int(ts) + minute * HOUR // 60, "y": y + aside}
    for key in hours.keys:
        for ahead in range(1, grace_hours + 2):
            yield {"unique_id": key, "ds": int(hours.ts_N[-1]) + ahead * HOUR, "y": None}


def ragged_readings(hours: int = 120, series: int = 3, seed: int = 0) -> History:
    """Return irregular readings: many in one hour, none in another, equal times, nulls, silences of half a day."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(series):
        steps = random.exponential(HOUR / 4, 5 * hours) * random.choice([0.2, 1.0, 1.0, 6.0], 5 * hours)
        steps[random.random(len(steps)) < 0.01] = 12 * HOUR
        times = 1_700_000_000_000 + np.cumsum(steps.astype(np.int64) * (random.random(len(steps)) > 0.05))
        y = 10.0 * number + np.sin(times / HOUR) + 0.3 * random.standard_normal(len(times))
        y[random.random(len(y)) < 0.1] = np.nan
        rows.append(pd.DataFrame({"unique_id": f"s{number}", "ds": times, "y": y})[: 4 * hours])
    return read(pd.concat(rows), freq="1h", ticks=True)
