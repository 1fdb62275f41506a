"""Intervals of 90 % on ETT: the coverage of every month, and the width beside that of a rolling calibration.

    python -m benchmarks.intervals --data ../shared/data [--sets ETTh1 ETTm1] [--networks gru zero] [--seeds N]
        [--json FILE]

The offline protocol of ``benchmarks.accuracy``, 24 steps ahead, of which steps 1 and 24 are scored.  The rolling
calibration puts the 5 and 95 % quantiles of the errors of the newest ``DAYS`` days around the same median: for each
series and step, from outcomes that were known at the cutoff.  Widths are compared where it has ``DAYS`` days, as are
the pinball losses of both bounds.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.console import Console

from benchmarks.accuracy import MONTH_HOURS, PROTOCOLS, scaled
from benchmarks.printing import show_rows
from streamcast.app.json_text import json_text
from streamcast.offline.defaults.spec import default_spec
from streamcast.offline.evaluation.accuracy import pinball
from streamcast.offline.evaluation.backtest import backtest
from streamcast.offline.history.read import History
from streamcast.offline.training.fit import fit
from streamcast.offline.training.options import Options
from streamcast.spec.durations import DAY_MS, HOUR_MS

HORIZON, STEPS = 24, (1, 24)
SIDES, OUTER = ("low", "high"), (0.05, 0.95)
DAYS = 30
"""Of errors behind a rolling calibration."""
COLUMNS = (
    "set", "model", "seed", "step", "coverage", "worst_month", "best_month", "rolling_coverage", "rolling_worst",
    "rolling_best", "width_ratio", "pinball_ratio",
)  # fmt: skip


def measure(name: str, history: History, network: str, seed: int) -> Iterator[dict[str, Any]]:
    """Train on one set, stream all of it, and yield a row for each scored step."""
    protocol, freq, start = PROTOCOLS["offline"], history.freq_ms, int(history.ts_N[0])
    test_from = start + (protocol.train + protocol.validation) * MONTH_HOURS * HOUR_MS
    seen = history.between(start, test_from)
    validation = protocol.validation / (protocol.train + protocol.validation)
    spec = default_spec(seen, HORIZON, network, quantiles=(OUTER[0], 0.5, OUTER[1]))
    model = fit(seen, spec, replace(Options(seed=seed), validation=validation))
    report = backtest(model, history, test_from, baselines={}, keep=None)
    frame = report.frame()
    low, median, high = (f"{model.name}{part}" for part in ("-lo-90", "", "-hi-90"))
    cutoff_N, ds_N = (frame[column].to_numpy().astype("datetime64[ms]").astype(np.int64) for column in ("cutoff", "ds"))
    frame["step"] = (ds_N - cutoff_N) // freq
    for step in STEPS:
        mine = frame[frame["step"] == step].sort_values(["unique_id", "cutoff"])
        mine = mine.rename(columns={low: "low", median: "median", high: "high"}).dropna(subset=["y"])
        found = scores(mine, step, DAYS * DAY_MS // freq)
        yield {"set": name, "model": network, "seed": seed, "step": step, **found}


def scores(mine: pd.DataFrame, step: int, window: int) -> dict[str, float]:
    """Return the scores of the forecasts of one step: ``low``, ``median``, ``high``, ``y``, by series and cutoff.

    ``window`` is the number of errors behind a rolling calibration.
    """
    errors = (mine["y"] - mine["median"]).groupby(mine["unique_id"])
    rolled = {
        side: mine["median"] + errors.transform(lambda e, level=level: e.rolling(window).quantile(level).shift(step))
        for side, level in zip(SIDES, OUTER, strict=True)
    }
    month = mine["ds"].dt.strftime("%Y-%m")
    inside = mine["y"].between(mine["low"], mine["high"])
    known = rolled["low"].notna()
    rolling = mine["y"].between(rolled["low"], rolled["high"])[known]
    months, rolling_months = inside.groupby(month).mean(), rolling.groupby(month[known]).mean()
    widths = [(each["high"] - each["low"])[known].mean() for each in (mine, rolled)]
    losses = [
        sum(pinball(mine["y"], each[side], level)[known].mean() for side, level in zip(SIDES, OUTER, strict=True))
        for each in (mine, rolled)
    ]
    found = {
        "coverage": inside.mean(), "worst_month": months.min(), "best_month": months.max(),
        "rolling_coverage": rolling.mean(), "rolling_worst": rolling_months.min(), "rolling_best": rolling_months.max(),
        "width_ratio": widths[0] / widths[1], "pinball_ratio": losses[0] / losses[1],
    }  # fmt: skip
    return {name: round(float(value), 4) for name, value in found.items()}


def main() -> None:
    """Print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds ETT/")
    parser.add_argument("--sets", nargs="+", default=["ETTh1", "ETTm1"])
    parser.add_argument("--networks", nargs="+", default=["gru"], help="names of the zoo")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--json", type=Path, help="write the rows here")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for name in given.sets:
        history = scaled(given.data / "ETT" / f"{name}.csv.gz", PROTOCOLS["offline"])
        for network in given.networks:
            for seed in range(given.seeds):
                for row in measure(name, history, network, seed):
                    rows.append(row)
                    print(row, flush=True)
    show_rows(rows, COLUMNS, Console())
    if given.json:
        given.json.write_text(json_text(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
