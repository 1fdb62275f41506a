"""Which way an index goes: minute, hour and day inputs, attention, a softmax over down and up, judged walk-forward.

The same is done to a random walk, whose steps nobody can foresee: more than chance there means that the future
leaks into the forecasts.  Then to a walk that leans to its last step, where the best rule is right 69 times in 100.
An index of one's own is judged beside them: ``python -m examples.direction minutes.csv --time-col ds --column close``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich import print as show

from benchmarks.forecasters import classified
from benchmarks.problems import random_walk
from streamcast.offline.evaluation.accuracy import HitRate, hit_rate
from streamcast.offline.history.read import History, read
from streamcast.offline.training.defaults import default_spec
from streamcast.offline.training.fit import Options, fit

NETWORK = {
    "kind": "network",
    "front": {"kind": "features"},
    "stack": [{"kind": "lstm", "hidden": 16}],
    "attention": {"kind": "ring", "length": 24},
    "head": {"kind": "classes", "edges": [0.0]},
    "highway": False,
}


def judged(history: History, folds: int, epochs: int) -> HitRate:
    """Return the share of right directions one minute ahead: each fold is forecast by a model trained before it."""
    edges = [int(history.ts_N[len(history) * (folds + i) // (2 * folds)]) for i in range(folds)]
    spec = default_spec(history, 1, NETWORK, lags=0, season=60, scales=("1h", "1d"))
    found, actual = [], []
    for edge, end in zip(edges, [*edges[1:], int(history.ts_N[-1]) + 1], strict=True):
        options = Options(epochs=epochs, rows=16, burn_in=48, learning_rate=4e-3)
        model = fit(history.between(0, edge), spec, options)
        fold = classified(model, history.between(0, end), edge)
        found.append(fold[0])
        actual.append(fold[1])
    up_N, said_N = torch.cat(actual).double().numpy(), torch.cat(found).double().numpy()
    return hit_rate(up_N - 0.5, said_N - 0.5, 0 * up_N)


def main(
    file: Path | None = None,
    time_col: str = "ds",
    column: str = "y",
    bars: int = 16_000,
    folds: int = 2,
    epochs: int = 10,
) -> None:
    """Judge both walks, and the index of a file, if there is one: every other column of it is an input."""
    torch.set_num_threads(1)
    walks = {"random walk": random_walk(bars, 0), "leaning walk": random_walk(bars, 0, 0.5)}
    if file is not None:
        walks[column] = read(file, id_col=None, time_col=time_col, target_col=column, columns=None)
    for name, history in walks.items():
        rate = judged(history, folds, epochs)
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
