"""Broken sensors: how often the anomaly of a forecast finds a day on which a series is dead, stuck, or in a wrong unit.

    python -m benchmarks.sensors --data FOLDER [--sets NAME ...] [--json FILE]

FOLDER is that of ``benchmarks.streams``.  Of each series, copies are made of 61 days, drawn at random: one for each
fault and hour of the day, at which the fault begins after 60 days, for a day.  Each copy is streamed through the engine
with the model without training.  A fault is found if a bar of that day has an anomaly of 0.997 or more.  ``alarms``
counts such bars among a thousand of the 20 days before.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from benchmarks.printing import show_rows
from benchmarks.streams.sets import Floats, Series, StreamSet, load
from streamcast.app.json_text import json_text
from streamcast.engine.engine import Engine
from streamcast.offline.defaults.spec import default_spec
from streamcast.offline.history.polls import polls
from streamcast.offline.history.read import read
from streamcast.spec.durations import DAY_MS, HOUR_MS
from streamcast.spec.folders import new_network
from streamcast.spec.model_spec import ANOMALOUS

HEALTHY, COUNTED = 60, 20
"""Days before a fault, and those of them whose alarms are counted."""
FAULTS: Mapping[str, Callable[[Floats, float], Floats]] = {
    "dead": lambda day_T, _before: 0.0 * day_T,
    "stuck": lambda day_T, before: before + 0.0 * day_T,
    "three times": lambda day_T, _before: 3.0 * day_T,
}
"""What a day's values [T] become; the second number is the newest value before."""
COLUMNS = ("set", *FAULTS, "alarms")


def copies(it: StreamSet, chance: np.random.Generator) -> Iterator[tuple[pd.DataFrame, int]]:
    """Yield the rows of a copy of a series, up to the end of its faulty day, and when that day begins (epoch ms).

    Their ``unique_id`` is the fault, the hour and the series.
    """
    day = DAY_MS // it.freq_ms
    for series in it.series:
        midnight = -series.start_ms // it.freq_ms % day
        for hour in range(24):
            drawn = int(chance.integers(max(len(series.y_T) // day - HEALTHY - 2, 1)))
            first = midnight + drawn * day + hour * HOUR_MS // it.freq_ms
            begin = first + HEALTHY * day
            y_T = series.y_T[first : begin + day]
            faulty_T = np.arange(first, begin + day) >= begin
            if len(y_T) < len(faulty_T) or np.isnan(y_T).mean() > 0.5 or np.isnan(y_T[faulty_T]).mean() > 0.5:
                continue
            for fault, change in FAULTS.items():
                yield (
                    _copy(it, series, first, y_T, faulty_T, change, f"{fault}|{hour}"),
                    (series.start_ms + begin * it.freq_ms),
                )


def _copy(
    it: StreamSet, series: Series, first: int, y_T: Floats, faulty_T: Any, change: Callable[[Floats, float], Floats],
    name: str,
) -> pd.DataFrame:  # fmt: skip
    before_T = y_T[~faulty_T]
    before = before_T[~np.isnan(before_T)]
    changed_T = y_T.copy()
    changed_T[faulty_T] = change(y_T[faulty_T], float(before[-1]) if len(before) else 0.0)
    times_T = series.start_ms + (first + np.arange(len(y_T))) * it.freq_ms
    frame = pd.DataFrame({"unique_id": f"{name}|{series.key}", "ds": times_T, "y": changed_T})
    return frame[~np.isnan(changed_T)]


def found(it: StreamSet) -> dict[str, object]:
    """Return how many faults of a kind were found, of how many, and the alarms of the days before."""
    made = list(copies(it, np.random.default_rng(0)))
    begins = {str(frame["unique_id"].iloc[0]): begin for frame, begin in made}
    history = read(pd.concat([frame for frame, _ in made]), freq=it.freq_ms)
    spec = default_spec(history, it.horizon, "zero", season=it.named_seasons, lower=it.lower, timezone=it.zone)
    engine = Engine(spec, new_network(spec), len(history.keys))
    begin_K, largest_K = np.array([begins[key] for key in history.keys]), np.zeros(len(history.keys))
    bars = alarms = 0
    for poll in polls(history, spec):
        forecasts = engine.stage(poll).forecasts
        engine.promote()
        series_A = history.series_N[poll.offsets[forecasts.record]]
        anomaly_A, since_A = np.nan_to_num(forecasts.anomaly), forecasts.cutoffs - begin_K[series_A]
        np.maximum.at(largest_K, series_A[since_A >= 0], anomaly_A[since_A >= 0])
        healthy_A = (since_A < 0) & (since_A >= -COUNTED * DAY_MS)
        bars, alarms = bars + int(healthy_A.sum()), alarms + int((anomaly_A[healthy_A] >= ANOMALOUS).sum())
    row: dict[str, object] = {"set": it.name}
    for fault in FAULTS:
        mine_K = np.array([key.startswith(f"{fault}|") for key in history.keys])
        row[fault] = f"{int((largest_K[mine_K] >= ANOMALOUS).sum())} of {int(mine_K.sum())}"
    return row | {"alarms": round(1_000 * alarms / max(bars, 1), 2)}


def main() -> None:
    """Print a row for each set, and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of sets.json and NAME.csv.gz")
    parser.add_argument("--sets", nargs="+", required=True, metavar="NAME")
    parser.add_argument("--json", type=Path, help="write the rows here")
    given = parser.parse_args()
    rows = []
    for name in given.sets:
        rows.append(found(load(given.data, name)))
        print(" ".join(f"{column}={rows[-1][column]}" for column in COLUMNS), flush=True)
    show_rows(rows, COLUMNS, Console())
    if given.json is not None:
        given.json.write_text(json_text(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
