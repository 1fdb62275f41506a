"""The Numenta Anomaly Benchmark, scored from the ``anomaly`` of streamcast's answers alone.

    python -m benchmarks.nab --data FOLDER [--model zero] [--horizon 24] [--json FILE]

FOLDER has ``data/GROUP/NAME.csv`` (or ``.csv.gz``), ``labels/combined_windows.json`` and ``profiles.json`` of NAB.

Each file is streamed once through the engine, as a topic of one series.  ``zero`` is the model without training, with
the seasons that ``streamcast model new`` gives it: a day and a week.  A network of the zoo is trained, with its
defaults, on the rows that NAB does not score: the first 15 %, at most 750.  A row has the anomaly of its answer, in
the digits that are published; a row without one is no detection.  One threshold holds for all files.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich import box
from rich.table import Table

from benchmarks.nab.scores import Floats, Labelled, Profile, best, detections, probation
from benchmarks.printing import show
from streamcast.app.commands.new import usual_seasons
from streamcast.app.json_text import json_text
from streamcast.engine.engine import Engine
from streamcast.offline.defaults.spec import default_spec
from streamcast.offline.history.polls import polls
from streamcast.offline.history.read import read
from streamcast.offline.training.fit import fit
from streamcast.offline.training.options import Options
from streamcast.spec.folders import Model, new_network
from streamcast.spec.model_spec import ANOMALOUS
from streamcast.spec.zero import NAME as ZERO
from streamcast.topics.forecasts import Encoder

TIME = "timestamp"
KEY = "file"


def load(folder: Path) -> Iterator[tuple[str, pd.DataFrame, list[tuple[str, str]]]]:
    """Yield each labelled file's name, its rows (``ds``, ``y``), and its windows as first and last time.

    Files that the folder does not have are left out, with a line.
    """
    windows: Mapping[str, list[tuple[str, str]]] = json.loads((folder / "labels" / "combined_windows.json").read_text())
    for name, limits in sorted(windows.items()):
        path = next((p for p in (folder / "data" / name, folder / "data" / f"{name}.gz") if p.exists()), None)
        if path is None:
            print(f"{name}: not in {folder / 'data'}, left out", flush=True)
            continue
        frame = pd.read_csv(path).rename(columns={TIME: "ds", "value": "y"})
        frame["ds"] = pd.to_datetime(frame["ds"])
        yield name, frame, limits


def profiles(folder: Path) -> list[Profile]:
    """Return NAB's profiles."""
    found = json.loads((folder / "profiles.json").read_text())
    costs = {name: profile["CostMatrix"] for name, profile in found.items()}
    return [Profile(name, cost["fnWeight"], cost["fpWeight"]) for name, cost in costs.items()]


def rows_of(frame: pd.DataFrame, limits: Sequence[tuple[str, str]]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return windows as first and last row [W, 2]; a window of times between rows has the rows within it."""
    times = frame["ds"].to_numpy()
    found = [
        (
            int(np.searchsorted(times, np.datetime64(pd.Timestamp(first)), "left")),
            int(np.searchsorted(times, np.datetime64(pd.Timestamp(last)), "right")) - 1,
        )
        for first, last in limits
    ]
    return np.array(found, np.int64).reshape(-1, 2)


def make(frame: pd.DataFrame, model: str, horizon: int) -> Model:
    """Return a model from the rows that are not scored."""
    first = read(frame.iloc[: probation(len(frame))], id_col=None)
    if model != ZERO:
        return fit(first, default_spec(first, horizon, model), Options())
    spec = default_spec(first, horizon, ZERO, season=usual_seasons(first.grid) or (1,))
    return Model(spec, new_network(spec))


def anomalies(frame: pd.DataFrame, model: Model) -> Floats:
    """Stream all rows; return the anomaly of each row's answer as it is published [N], -inf where there is none."""
    spec = model.spec
    history = read(frame, id_col=None, freq=spec.series.freq)
    times = history.ts_N.astype("datetime64[ms]")
    row_N = np.searchsorted(frame["ds"].to_numpy(), times, "right") - 1  # of rows with one time, the last is read
    score_N = np.full(len(frame), -math.inf)
    engine = Engine(spec, model.network, 1)
    encoder = Encoder(spec, KEY, "1", model.digest, "champion", "input")
    for poll in polls(history, spec):
        forecasts = engine.stage(poll).forecasts
        engine.promote()
        offset_A = poll.offsets[forecasts.record]
        texts = encoder.encode([b'"file"'] * len(offset_A), forecasts, np.zeros(len(offset_A), np.int64), offset_A)
        for offset, text in zip(offset_A.tolist(), texts, strict=True):
            anomaly = json.loads(text)["anomaly"]
            score_N[row_N[offset]] = -math.inf if anomaly is None else anomaly
    return score_N


def tables(rows: Mapping[str, Any]) -> Iterator[Table]:
    """Yield the table of profiles and that of files."""
    table = Table(title=f"NAB, {rows['model']}: 0 detects nothing, 100 is perfect", box=box.SIMPLE, pad_edge=False)
    for column in ("profile", "score", "threshold", f"score at {ANOMALOUS}"):
        table.add_column(column, justify="left" if column == "profile" else "right")
    for row in rows["profiles"]:
        table.add_row(row["name"], f"{row['score']:.1f}", f"{row['threshold']:.6g}", f"{row['score_as_counted']:.1f}")
    yield table
    table = Table(title="standard profile, by file", box=box.SIMPLE, pad_edge=False)
    for column in ("file", "windows found", "of", "false alarms"):
        table.add_column(column, justify="left" if column == "file" else "right")
    for row in rows["files"]:
        table.add_row(row["name"], str(row["found"]), str(row["windows"]), str(row["false_alarms"]))
    yield table


def main() -> None:
    """Stream every file, print the tables, write a JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="NAB's data, labels and profiles.json")
    parser.add_argument("--model", default=ZERO, help="zero, or a network of the zoo")
    parser.add_argument("--horizon", type=int, default=24, help="bars ahead")
    parser.add_argument("--json", type=Path, help="write the scores here")
    given = parser.parse_args()
    torch.set_num_threads(1)
    labelled: list[Labelled] = []
    for name, frame, limits in load(given.data):
        began = time.perf_counter()
        score_N = anomalies(frame, make(frame, given.model, given.horizon))
        labelled.append(Labelled(name, score_N, rows_of(frame, limits)))
        print(f"{name}: {len(frame):,} rows in {time.perf_counter() - began:.1f} s", flush=True)
    scores = []
    for profile in profiles(given.data):
        at_best, as_counted = best(labelled, profile), best(labelled, profile, ANOMALOUS)
        scores.append({"name": profile.name, **asdict(at_best), "score_as_counted": as_counted.score})
    files = [asdict(detections(it, scores[0]["threshold"])) for it in labelled]
    found = {"model": given.model, "horizon": given.horizon, "profiles": scores, "files": files}
    for table in tables(found):
        show(table)
    if given.json:
        given.json.write_text(json_text(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
