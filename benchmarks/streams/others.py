"""The forecasters that the streams benchmark compares streamcast's models with.

Each is a function of a set and a ``Request``; for a forecast it looks at nothing after the cutoff.

Shapes: N rows, A forecasts, H steps ahead, Q quantiles (``LEVELS``), K series, T bars, S seasons.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.streams.request import Found, Request, Say, UnavailableError
from benchmarks.streams.scores import LEVELS, MEDIAN, Answers, asked, naives, outcomes
from benchmarks.streams.sets import Floats, Ints, StreamSet, milliseconds
from streamcast.offline.evaluation import accuracy
from streamcast.offline.evaluation.baselines import Ridge
from streamcast.spec.model_spec import format_duration

BENCH = "pip install 'streamcast-forecasting[bench]'"
WORDS_AS_OBJECTS = {"PANDAS_FUTURE_INFER_STRING": "0"}
"""For a script that knows columns of words as those of pandas before 3."""
FLAIR_SEASONS = 500
"""FLAIR reads this many of the shortest seasons before a cutoff."""
CLASSICAL_SEASONS = 28
"""AutoETS and AutoTheta are fitted on this many of the shortest seasons before a cutoff."""


def best_naive(it: StreamSet, request: Request) -> Found:
    """Forecast each series by the season whose repetition has the least error there; it has no interval."""
    answers = asked(it, request.every)
    naive_SAH = naives(it, answers)
    error_SAH = accuracy.absolute_error(outcomes(it, answers), naive_SAH)
    for k in np.unique(answers.series).tolist():
        mine = answers.series == k
        best = int(np.argmin([accuracy.mean(error_AH[mine]) for error_AH in error_SAH]))
        answers.values[mine, :, MEDIAN] = naive_SAH[best, mine]
    return Found(answers)


def ridge(it: StreamSet, request: Request) -> Found:
    """Forecast by one ridge regression on the last 336 bars, fitted before the split; it has no interval."""
    answers = asked(it, request.every)
    start_K = np.array([series.start_ms // it.freq_ms for series in it.series], np.int64)
    first = int(start_K.min())
    begin_K = start_K - first
    end = max(int(begin) + len(series.y_T) for begin, series in zip(begin_K, it.series, strict=True))
    y_KT = np.full((len(it.series), end), np.nan)
    for k, series in enumerate(it.series):
        y_KT[k, begin_K[k] : begin_K[k] + len(series.y_T)] = series.y_T
    began = time.perf_counter()
    trained = -(-it.split_ms // it.freq_ms) - first
    forecast = Ridge().fit(y_KT[:, :trained], it.horizon)
    seconds = time.perf_counter() - began
    for k in np.unique(answers.series).tolist():
        mine = answers.series == k
        answers.values[mine, :, MEDIAN] = forecast(y_KT[k : k + 1], answers.place[mine] + begin_K[k])[0]
    return Found(answers, train_seconds=seconds)


def gbm(it: StreamSet, request: Request) -> Found:
    """Run the reference script on the set and read its forecasts, or read those of an earlier run."""
    if not request.gbm.is_file():
        raise UnavailableError(f"there is no {request.gbm}: give the script's path with --gbm")
    with tempfile.TemporaryDirectory() as scratch:
        folder = request.gbm_results or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        table, printed = (folder / f"{it.name}-{request.every}{end}" for end in (".parquet", ".json"))
        if not (table.exists() and printed.exists()):
            request.say("gbm.py trains, for minutes")
            _run_gbm(it, request, table, printed)
        facts = json.loads(printed.read_text())
        answers = _read_gbm(it, request.every, pd.read_parquet(table))
    return Found(answers, train_seconds=facts.get("seconds"), notes={"printed": facts})


def _run_gbm(it: StreamSet, request: Request, table: Path, printed: Path) -> None:
    call = [sys.executable, "-W", "ignore", request.gbm.resolve(), it.name, "--data", request.data.resolve()]
    ran = subprocess.run(
        [*map(str, call), "--every", str(request.every), "--out", str(table.resolve())],
        capture_output=True, text=True, check=False, env=os.environ | WORDS_AS_OBJECTS,
    )  # fmt: skip
    if ran.returncode:
        last = ran.stderr.strip().splitlines()[-1:] or ["no message"]
        raise UnavailableError(f"{request.gbm.name} failed: {last[0]} (its packages: {BENCH})")
    printed.write_text(ran.stdout)


def _read_gbm(it: StreamSet, every: int, table: pd.DataFrame) -> Answers:
    """Return the script's forecasts; raises UnavailableError unless they are from the places that are scored."""
    answers = asked(it, every)
    rows = {pair: row for row, pair in enumerate(zip(answers.series.tolist(), answers.place.tolist(), strict=True))}
    number = {series.key: k for k, series in enumerate(it.series)}
    if unknown := sorted({str(key) for key in table["key"]} - set(number)):
        raise UnavailableError(f"gbm.py's forecasts are of other series, such as {unknown[0]!r}: delete them")
    start_K = np.array([series.start_ms for series in it.series], np.int64)
    series_N = np.array([number[str(key)] for key in table["key"]], np.int64)
    cutoff_N = milliseconds(table["cutoff"])
    place_N = (cutoff_N - start_K[series_N]) // it.freq_ms
    step_N = (milliseconds(table["ds"]) - cutoff_N) // it.freq_ms
    row_N = np.array([rows.get(pair, -1) for pair in zip(series_N.tolist(), place_N.tolist(), strict=True)], np.int64)
    seen = len(np.unique(row_N[row_N >= 0]))
    expected = int((~np.isnan(outcomes(it, answers))).any(axis=1).sum())
    if (row_N < 0).any() or seen != expected:
        raise UnavailableError(f"gbm.py's forecasts are from other cutoffs: {seen} of {expected} agree; delete them")
    answers.values[row_N, step_N - 1] = table[[f"q{level:g}" for level in LEVELS]].to_numpy()
    return answers


def flair(it: StreamSet, request: Request) -> Found:
    """Forecast by FLAIR (package flaircast), which is fitted at every cutoff: quantiles of 200 sample paths."""
    forecast = _package("flaircast").forecast
    answers = asked(it, request.every)
    freq, reach = format_duration(it.freq_ms), FLAIR_SEASONS * min(it.seasons)

    def fitted(y_T: Floats) -> Floats:
        paths_PH = forecast(y_T[-reach:], it.horizon, freq, n_samples=200, seed=0)
        values_HQ: Floats = np.quantile(paths_PH, LEVELS, axis=0).T
        return values_HQ

    return _each(it, answers, fitted, request.say)


def classical(it: StreamSet, request: Request, name: str) -> Found:
    """Forecast by AutoETS or AutoTheta (package statsforecast), fitted again at each of a few cutoffs."""
    model = getattr(_package("statsforecast.models"), name)(season_length=min(it.seasons))
    everywhere = asked(it, request.every)
    picked = np.concatenate(
        [
            np.flatnonzero(everywhere.series == k)[
                _spread(int((everywhere.series == k).sum()), request.classical_cutoffs)
            ]
            for k in range(len(it.series))
        ]
    )
    answers = Answers(everywhere.series[picked], everywhere.place[picked], everywhere.values[picked])
    reach = CLASSICAL_SEASONS * min(it.seasons)

    def fitted(y_T: Floats) -> Floats:
        recent = pd.Series(y_T[-reach:]).interpolate(limit_direction="both").to_numpy()
        found = model.forecast(y=recent, h=it.horizon, level=[80])
        return np.stack([found["lo-80"], found["mean"], found["hi-80"]], axis=1)

    return _each(it, answers, fitted, request.say)


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UnavailableError(f"{error}: {BENCH}") from None


def _spread(count: int, most: int) -> Ints:
    """Return at most ``most`` numbers below ``count``, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def _each(it: StreamSet, answers: Answers, fitted: Callable[[Floats], Floats], say: Say) -> Found:
    """Fill in a forecast [H, Q] from the values up to each cutoff, within the set's bound; time them."""
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for row, (k, place) in enumerate(zip(answers.series.tolist(), answers.place.tolist(), strict=True)):
            values_HQ = fitted(it.series[k].y_T[: place + 1])
            answers.values[row] = values_HQ if it.lower is None else np.maximum(values_HQ, it.lower)
            say(f"{row + 1} of {len(answers)} cutoffs")
    return Found(answers, us_per_record=1e6 * (time.perf_counter() - began) / max(len(answers), 1))


OTHERS: dict[str, Callable[[StreamSet, Request], Found]] = {
    "naive": best_naive,
    "ridge": ridge,
    "gbm": gbm,
    "flair": flair,
    "ets": lambda it, request: classical(it, request, "AutoETS"),
    "theta": lambda it, request: classical(it, request, "AutoTheta"),
}
"""The forecasters by name; they have no seeds."""
