"""Direction of an index: minute, hour and day inputs, attention, a softmax over down and up, judged walk-forward.

A random walk is judged, too.  Nobody can foresee its steps, so a hit rate above chance there means that the future
leaks into the forecasts.  A third index leans to the direction of its last step; the best rule is right 69 % there.
To judge an index of your own as well: ``python -m examples.direction minutes.csv --time-col ds --column close``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich import print as show

from streamcast import Forecaster
from streamcast.offline.evaluation.accuracy import HitRate, hit_rate
from streamcast.offline.training.options import Options

NETWORK = {
    "kind": "network",
    "front": {"kind": "features"},
    "stack": [{"kind": "lstm", "hidden": 16}],
    "attention": {"kind": "ring", "length": 24},
    "head": {"kind": "classes", "edges": [0.0]},
    "highway": False,
}


def random_walk(bars: int, seed: int, drift: float = 0.0) -> pd.DataFrame:
    """Return a made-up index by the minute, with its changes as an input.

    Changes are independent, or, with ``drift`` d, each has a mean of d times the sign of the one before.
    """
    random = np.random.default_rng(seed)
    noise = random.normal(size=bars)
    steps = np.empty(bars)
    steps[0] = noise[0]
    for i in range(1, bars):
        steps[i] = drift * np.sign(steps[i - 1]) + noise[i]
    times = pd.date_range("2026-01-01", periods=bars, freq="1min", tz="UTC")
    return pd.DataFrame({"unique_id": "index", "ds": times, "y": 1000 + np.cumsum(steps) * 0.1, "change": steps})


def judged(frame: pd.DataFrame, folds: int, updates: int = 0) -> HitRate:
    """Return the share of right directions one minute ahead: each fold is forecast by a model trained before it."""
    edges = [len(frame) * (folds + i) // (2 * folds) for i in range(folds)]
    found = []
    for edge, end in zip(edges, [*edges[1:], len(frame)], strict=True):
        options = Options(updates=updates, rows=16, burn_in=48, learning_rate=4e-3)
        forecaster = Forecaster(
            NETWORK, horizon=1, lags=0, season=60, scales=("1h", "1d"), plain=True, options=options, name="median"
        ).fit(frame[:edge])
        found.append(forecaster.cross_validation(frame[:end], n_windows=end - edge, step_size=1))
    forecasts = pd.concat(found)
    times = pd.to_datetime(frame["ds"], utc=True)
    origin_N = pd.Series(frame["y"].to_numpy(), times).reindex(forecasts["cutoff"]).to_numpy()
    return hit_rate(forecasts["y"], forecasts["median"], origin_N)


def main(
    file: Path | None = None,
    time_col: str = "ds",
    column: str = "y",
    bars: int = 16_000,
    folds: int = 2,
    updates: int = 0,
) -> None:
    """Judge both walks, and the index of a CSV file if one is given; the file's other columns are inputs."""
    torch.set_num_threads(1)
    walks = {"random walk": random_walk(bars, 0), "leaning walk": random_walk(bars, 0, 0.5)}
    if file is not None:
        own = pd.read_csv(file).rename(columns={time_col: "ds", column: "y"})
        walks[column] = own.assign(unique_id=column)
    for name, frame in walks.items():
        rate = judged(frame, folds, updates)
        leaks = name == "random walk" and not rate.low <= 0.5 <= rate.high
        show(
            f"{name:13} {rate.rate:.1%} right (95 %: {rate.low:.1%} to {rate.high:.1%}), majority {rate.majority:.1%}"
            + (": THE FUTURE LEAKS" if leaks else "")
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--time-col", default="ds")
    parser.add_argument("--column", default="y")
    main(**vars(parser.parse_args()))
