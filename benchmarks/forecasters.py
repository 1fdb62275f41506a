"""Every forecaster of the zoo on a small real task, compared with seasonal naive or, if it classifies, the majority.

    python -m benchmarks.forecasters [--models gru bilstm ...] [--epochs 40] [--json FILE]

Hourly counts of four pedestrian sensors: three months to train on, the last four weeks to test, 6 steps ahead,
streamed through the engine.  The networks are small (32 units) and have no linear highway, so that the network alone
is scored; "linear" is the highway alone, and "gru-window" reads the same 168 lags.
"""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table
from torch import Tensor

from benchmarks.printing import show
from streamcast.app.demo_data import read_series
from streamcast.app.json_text import json_text
from streamcast.models.readout.head import ClassHead
from streamcast.models.zoo import MODELS
from streamcast.offline.defaults.spec import default_spec
from streamcast.offline.evaluation import accuracy
from streamcast.offline.evaluation.backtest import backtest
from streamcast.offline.evaluation.baselines import SeasonalNaive
from streamcast.offline.history.read import History, read
from streamcast.offline.training.fit import fit
from streamcast.offline.training.options import Options
from streamcast.offline.training.sequences import sequences
from streamcast.offline.training.streams import Span, Streams, chunks, cut
from streamcast.spec.durations import DAY_MS
from streamcast.spec.folders import Model

HORIZON, TRAIN_DAYS, TEST_DAYS = 6, 91, 28
SMALL = {"hidden": 32, "top": 32, "window": 24, "ring": 24, "pool": 8, "patch": 12, "segment": 3, "dropout": 0.0}
READ_LAGS = ("linear", "gru-window")


def pedestrians(*, named: bool = False) -> tuple[History, int]:
    """Return the last 17 weeks of the counts, and when the test part begins; ``named`` adds the sensor's name."""
    frame = read_series()
    frame = frame[frame["unique_id"] != "Electricity demand"].assign(name=frame["unique_id"])
    history = read(frame, columns=["name"] if named else [], freq="1h")
    end = int(history.ts_N[-1]) + 1
    return history.between(end - (TRAIN_DAYS + TEST_DAYS) * DAY_MS, end), end - TEST_DAYS * DAY_MS


def trained(name: str, history: History, until_ms: int, epochs: int) -> Model:
    """Return a model of the zoo, trained for so many passes over the history before ``until_ms``."""
    options = inspect.signature(MODELS[name]).parameters
    network = {"kind": name, **{option: value for option, value in SMALL.items() if option in options}}
    spec = default_spec(history, HORIZON, network, lags=168 if name in READ_LAGS else 0, season=24, plain=True)
    past = history.between(0, until_ms)
    how = Options(
        epochs=epochs, updates=max(len(past) // (64 * 24), 1), patience=epochs, rows=64, chunk=24, burn_in=24,
        positions=768, learning_rate=1e-2, decay=0.95,
    )  # fmt: skip
    return fit(past, spec, how)


def skill(model: Model, history: History, from_ms: int) -> dict[str, float]:
    """Return the mean absolute scaled error, seasonal naive's, and the part of the latter that is avoided."""
    report = backtest(model, history, from_ms, baselines={"seasonal naive": SeasonalNaive(24)})
    mine, naive = report.rows()
    return {
        "error": float(mine["mase"]),
        "reference": float(naive["mase"]),
        "better": accuracy.skill(float(mine["mase"]), float(naive["mase"])),
    }


def hits(model: Model, history: History, from_ms: int) -> dict[str, float]:
    """Return how often the likeliest class is wrong, how often the majority class is, and the part avoided."""
    found_N, actual_N = classified(model, history, from_ms)
    wrong = 1 - float((found_N == actual_N).float().mean())
    majority = 1 - float(actual_N.bincount().max() / len(actual_N))
    return {"error": wrong, "reference": majority, "better": 1 - wrong / majority}


def classified(model: Model, history: History, from_ms: int) -> tuple[Tensor, Tensor]:
    """Return a classifier's likeliest class and the true one, of every known step forecast from ``from_ms`` on."""
    head, network = model.network.head, model.network
    assert isinstance(head, ClassHead)
    seen = sequences(history, model.spec)
    at_P = seen.answered()
    wanted = np.zeros(len(seen), np.bool_)
    wanted[at_P[seen.cutoff_K[at_P] >= from_ms]] = True
    begins = seen.run_starts(np.flatnonzero(wanted))
    wanted_P = np.flatnonzero(wanted)
    spans = [Span(int(begin), int(begin), int(wanted_P[begins == begin][-1])) for begin in np.unique(begins)]
    pieces = cut(spans, 1 << 30, 0, np.random.default_rng(0))
    streams, found, actual = Streams(network, seen, len(pieces)), [], []
    with torch.inference_mode():
        for chunk in chunks(pieces, len(pieces), 256):
            streams.advance(chunk)
            for row, (first, count) in enumerate(zip(chunk.first_B, chunk.count_B, strict=True)):
                chosen_P = first + np.flatnonzero(wanted[first : first + count])
                if len(chosen_P):
                    numbers_PhK = network.distribution(*streams.recall(np.full(len(chosen_P), row), chosen_P))
                    outcome_Ph = torch.from_numpy(seen.outcomes(chosen_P))
                    known_Ph = outcome_Ph.isfinite()
                    found.append(numbers_PhK.argmax(-1)[known_Ph])
                    actual.append(head.classes(outcome_Ph[known_Ph]))
    return torch.cat(found), torch.cat(actual)


def climbed(model: Model, history: History) -> float:
    """Return the mean layers that a row climbs of an adaptive stack, over every seventh bar."""
    seen = sequences(history, model.spec)
    ends = seen.starts_R1[1:] - 1
    runs = [Span(int(begin), int(begin), int(end)) for begin, end in zip(seen.starts_R1[:-1], ends, strict=True)]
    pieces = cut(runs, 1 << 30, 0, np.random.default_rng(0))
    streams, found = Streams(model.network, seen, len(pieces)), []
    with torch.inference_mode():
        for chunk in chunks(pieces, len(pieces), 7):
            streams.advance(chunk)
            (ponder_B1,) = streams.reached("ponder")
            found.append(ponder_B1[torch.from_numpy(chunk.count_B > 0), 0].ceil() - 1)
    return float(torch.cat(found).mean())


def main() -> None:
    """Train, score and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", default=sorted(MODELS.keys() - {"network"}))
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    history, from_ms = pedestrians()
    rows: list[dict[str, Any]] = []
    for name in arguments.models:
        model = trained(name, history, from_ms, arguments.epochs)
        classifies = isinstance(model.network.head, ClassHead)
        scored = (hits if classifies else skill)(model, history, from_ms)
        rows.append({"model": name, "measure": "error rate" if classifies else "mase", **scored, **model.facts})
        print(f"{name:20} {scored['error']:.3f} against {scored['reference']:.3f}", flush=True)
        if arguments.json:
            arguments.json.write_text(json_text(rows, indent=1))
    table = Table("model", "measure", "error", "reference", "better by", "seconds", "epochs")
    for row in rows:
        numbers = (f"{row[name]:.3f}" for name in ("error", "reference"))
        table.add_row(
            row["model"], row["measure"], *numbers, f"{row['better']:.0%}", f"{row['seconds']:.0f}", str(row["epochs"])
        )
    show(table)


if __name__ == "__main__":
    main()
