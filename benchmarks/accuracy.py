"""Accuracy on ETT, streamed through the engine with carried state, compared with ridge and seasonal naive.

    python -m benchmarks.accuracy --data ../shared/data [--sets ETTh1 ETTm1] [--networks gru gru-window] [--json FILE]

The standard protocol: months 0–12 train, 12–16 validation, 16–20 test, values z-scored on the training part, every
window inside the test part, all 7 channels (here 7 series of one model), no batch dropped.  Errors are of the scaled
values; the model's forecast is its median.  Of several networks, each set, horizon and seed chooses the one with the
least loss on the validation part.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from streamcast.offline.evaluation.backtest import backtest
from streamcast.offline.evaluation.baselines import Ridge, SeasonalNaive
from streamcast.offline.history.read import History, read
from streamcast.offline.training.defaults import default_spec
from streamcast.offline.training.fit import Options, fit

MONTH_HOURS = 720
TRAIN_MONTHS, VALIDATION_MONTHS, TEST_MONTHS = 12, 4, 4
HOUR_MS = 3_600_000
RIDGE_LAGS = 336
PUBLISHED = {
    "ETTh1": "published at 96: SegRNN .351, PatchTST .370, NLinear .374, iTransformer .386",
    "ETTm1": "published at 96: SegRNN .293, PatchTST .293, NLinear .306, iTransformer .334",
}


def scaled(path: Path) -> History:
    """Return one ETT file as 7 series, z-scored on its training part and cut where the protocol ends."""
    frame = pd.read_csv(path, parse_dates=["date"])
    bars = HOUR_MS // round((frame["date"][1] - frame["date"][0]).total_seconds() * 1_000)
    month = MONTH_HOURS * bars
    frame = frame.iloc[: month * (TRAIN_MONTHS + VALIDATION_MONTHS + TEST_MONTHS)]
    values = frame.drop(columns="date")
    training = values.iloc[: month * TRAIN_MONTHS]
    values = (values - training.mean()) / training.std(ddof=0)
    values["ds"] = frame["date"]
    return read(values.melt("ds", var_name="unique_id", value_name="y"), freq=HOUR_MS // bars)


def measure(
    name: str, history: History, network: str | dict[str, Any], horizon: int, options: Options
) -> Iterator[dict[str, Any]]:
    """Train on one set and yield a row for the model and for each baseline."""
    freq, start = history.freq_ms, int(history.ts_N[0])
    test_from = start + (TRAIN_MONTHS + VALIDATION_MONTHS) * MONTH_HOURS * HOUR_MS
    seen = history.between(start, test_from)
    spec = default_spec(seen, horizon, network)
    began = time.perf_counter()
    validation = VALIDATION_MONTHS / (TRAIN_MONTHS + VALIDATION_MONTHS)
    model = fit(seen, spec, replace(options, validation=validation))
    seconds = time.perf_counter() - began
    report = backtest(
        model,
        history,
        test_from,
        to_ms=int(history.ts_N[-1]) + 1 - (horizon - 1) * freq,
        baselines={"ridge on lags": Ridge(RIDGE_LAGS), "seasonal naive": SeasonalNaive(24 * HOUR_MS // freq)},
    )
    for row in report.rows():
        mine = row["forecaster"] == report.model
        yield {
            "set": name, "horizon": horizon, "forecaster": spec.network["kind"] if mine else row["forecaster"],
            "seed": options.seed if mine else None, "mse": row["mse"], "mae": row["mae"],
            "coverage": row.get("coverage"), "points": row["points"],
            "train_seconds": round(seconds, 1) if mine else None,
            "validation_loss": model.facts["validation_loss"] if mine else None,
        }  # fmt: skip


def network(name_or_spec: str) -> str | dict[str, Any]:
    """Return a network's name, with which the default options go, or its spec."""
    spec: str | dict[str, Any] = json.loads(name_or_spec) if name_or_spec.startswith("{") else name_or_spec
    return spec


def main() -> None:
    """Print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds ETT/")
    parser.add_argument("--sets", nargs="+", default=["ETTh1", "ETTm1"])
    parser.add_argument("--horizons", nargs="+", type=int, default=[96])
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument(
        "--networks", nargs="+", type=network, default=["gru"], help="names of the zoo, or specs as JSON"
    )
    parser.add_argument("--learning-rate", type=float, default=Options().learning_rate)
    parser.add_argument("--max-seconds", type=float, default=0.0, help="longest training of each model")
    parser.add_argument("--json", type=Path, help="write the rows here")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in given.sets:
        history = scaled(given.data / "ETT" / f"{name}.csv.gz")
        for horizon in given.horizons:
            for seed in range(given.seeds):
                how = Options(seed=seed, learning_rate=given.learning_rate, max_seconds=given.max_seconds)
                tried = [list(measure(name, history, it, horizon, how)) for it in given.networks]
                found = [mine for mine, *_ in tried] + (tried[0][1:] if seed == 0 else [])
                chosen = min((mine for mine, *_ in tried), key=lambda row: float(row["validation_loss"]))
                if len(tried) > 1:
                    found.append({**chosen, "forecaster": "chosen on validation"})
                rows += found
                print(pd.DataFrame(found).to_string(index=False, float_format="%.4f"), flush=True)
        print(PUBLISHED.get(name, ""), flush=True)
    table = pd.DataFrame(rows).groupby(["set", "horizon", "forecaster"])[["mse", "mae"]].mean()
    print(f"\nMean over seeds\n{table.to_string(float_format='%.4f')}")
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
