"""Accuracy on ETT, streamed through the engine with carried state, compared with ridge and seasonal naive.

    python -m benchmarks.accuracy --data ../shared/data [--protocol offline] [--sets ETTh1 ETTm1] [--horizons 96 ...]
        [--networks gru gru-window] [--online off] [--seeds N] [--json FILE]

Months are of 30 days; values are z-scored on the training part, and errors are of these values.  Every window inside
the test part counts, all 7 channels (here 7 series of one model), no batch dropped.  The model's forecast is its
median.  Of several networks, each set, horizon and seed chooses the one with the least loss on the validation part.

``offline`` is the standard protocol: 12 months to train, 4 to validate, 4 to test.  ``online`` is that of DSOF (ICLR
2025), without leaks: 4 months to train, 1 to validate, 15 to test; what is learned after an answer has seen no
outcome later than its bar.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from streamcast.app.json_text import json_text
from streamcast.offline.defaults.spec import default_spec
from streamcast.offline.evaluation.backtest import backtest
from streamcast.offline.evaluation.baselines import Baseline, LastValue, RefittedRidge, Ridge, SeasonalNaive
from streamcast.offline.history.read import History, read
from streamcast.offline.training.fit import fit
from streamcast.offline.training.options import Options
from streamcast.spec.durations import HOUR_MS
from streamcast.spec.model_spec import Online

MONTH_HOURS = 720
RIDGE_LAGS = 336


@dataclass(frozen=True, slots=True)
class Protocol:
    """How many months train, validate and test, how far is forecast, and what others are compared with."""

    train: int
    validation: int
    test: int
    horizons: tuple[int, ...]
    baselines: Callable[[int], Mapping[str, Baseline]]
    """By the bars of a day."""
    published: Mapping[str, str]


def _static(day: int) -> Mapping[str, Baseline]:
    return {"ridge on lags": Ridge(RIDGE_LAGS), "seasonal naive": SeasonalNaive(day)}


def _refitted(day: int) -> Mapping[str, Baseline]:
    return {"ridge refitted": RefittedRidge(day, RIDGE_LAGS), "last value": LastValue()}


PROTOCOLS = {
    "offline": Protocol(12, 4, 4, (96,), _static, {
        "ETTh1": "published at 96: SegRNN .351, PatchTST .370, NLinear .374, iTransformer .386",
        "ETTm1": "published at 96: SegRNN .293, PatchTST .293, NLinear .306, iTransformer .334",
    }),
    "online": Protocol(4, 1, 15, (1, 24, 48), _refitted, {
        "ETTm1": "published at 1, 24, 48: DSOF-OneNet .096, .418, .554; DSOF-DLinear .105, .525, .695",
    }),
}  # fmt: skip


def scaled(path: Path, protocol: Protocol) -> History:
    """Return one ETT file as 7 series, z-scored on its training part and cut where the protocol ends."""
    frame = pd.read_csv(path, parse_dates=["date"])
    bars = HOUR_MS // round((frame["date"][1] - frame["date"][0]).total_seconds() * 1_000)
    month = MONTH_HOURS * bars
    frame = frame.iloc[: month * (protocol.train + protocol.validation + protocol.test)]
    values = frame.drop(columns="date")
    training = values.iloc[: month * protocol.train]
    values = (values - training.mean()) / training.std(ddof=0)
    values["ds"] = frame["date"]
    return read(values.melt("ds", var_name="unique_id", value_name="y"), freq=HOUR_MS // bars)


def measure(
    name: str,
    history: History,
    protocol: Protocol,
    network: str | dict[str, Any],
    horizon: int,
    options: Options,
    online: dict[str, Any] | None,
) -> Iterator[dict[str, Any]]:
    """Train on one set and yield a row for the model and for each baseline; ``online`` changes fields of the layer."""
    freq, start = history.freq_ms, int(history.ts_N[0])
    test_from = start + (protocol.train + protocol.validation) * MONTH_HOURS * HOUR_MS
    seen = history.between(start, test_from)
    spec = default_spec(seen, horizon, network)
    layer = None if online is None or spec.online is None else {**spec.online.model_dump(), **online}
    spec = spec.model_copy(update={"online": None if layer is None else Online.model_validate(layer)})
    began = time.perf_counter()
    validation = protocol.validation / (protocol.train + protocol.validation)
    model = fit(seen, spec, replace(options, validation=validation))
    seconds = time.perf_counter() - began
    report = backtest(
        model,
        history,
        test_from,
        to_ms=int(history.ts_N[-1]) + 1 - (horizon - 1) * freq,
        baselines=protocol.baselines(24 * HOUR_MS // freq),
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


def online_layer(off_or_fields: str) -> dict[str, Any] | None:
    """Return the fields of the online layer that differ from a new model's; None for no layer."""
    fields: dict[str, Any] | None = None if off_or_fields == "off" else json.loads(off_or_fields)
    return fields


def main() -> None:
    """Print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds ETT/")
    parser.add_argument("--sets", nargs="+", default=["ETTh1", "ETTm1"])
    parser.add_argument("--protocol", choices=list(PROTOCOLS), default="offline")
    parser.add_argument("--horizons", nargs="+", type=int, help="default: 96 offline, 1, 24 and 48 online")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument(
        "--networks", nargs="+", type=network, default=["gru"], help="names of the zoo, or specs as JSON"
    )
    parser.add_argument(
        "--online", type=online_layer, default={}, help="off, or fields of the online layer that change, as JSON"
    )
    parser.add_argument("--learning-rate", type=float, default=Options().learning_rate)
    parser.add_argument("--max-seconds", type=float, default=0.0, help="longest training of each model")
    parser.add_argument("--json", type=Path, help="write the rows here")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows, protocol = [], PROTOCOLS[given.protocol]
    for name in given.sets:
        history = scaled(given.data / "ETT" / f"{name}.csv.gz", protocol)
        for horizon in given.horizons or protocol.horizons:
            for seed in range(given.seeds):
                how = Options(seed=seed, learning_rate=given.learning_rate, max_seconds=given.max_seconds)
                tried = [
                    list(measure(name, history, protocol, it, horizon, how, given.online)) for it in given.networks
                ]
                found = [mine for mine, *_ in tried] + (tried[0][1:] if seed == 0 else [])
                chosen = min((mine for mine, *_ in tried), key=lambda row: float(row["validation_loss"]))
                if len(tried) > 1:
                    found.append({**chosen, "forecaster": "chosen on validation"})
                rows += found
                print(pd.DataFrame(found).to_string(index=False, float_format="%.4f"), flush=True)
        print(protocol.published.get(name, ""), flush=True)
    table = pd.DataFrame(rows).groupby(["set", "horizon", "forecaster"])[["mse", "mae"]].mean()
    print(f"\nMean over seeds\n{table.to_string(float_format='%.4f')}")
    if given.json:
        given.json.write_text(json_text(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
