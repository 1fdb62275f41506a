"""Scores of forecasts of one set, and their means over sets.

Shapes: A forecasts, H steps ahead, Q quantiles (``LEVELS``), K series, S seasons.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.streams.sets import Floats, Ints, StreamSet, seasonal_naive
from streamcast.offline.evaluation import accuracy
from streamcast.offline.evaluation.baselines import seasonal_scale

LEVELS = (0.1, 0.5, 0.9)
LOW, MEDIAN, HIGH = range(3)
FEWEST_OUTCOMES = 500
"""Outcomes of a calendar month that count as a month."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Forecasts from places of series: ``series`` [A], ``place`` [A], ``values`` [A, H, Q].

    A forecast without an interval has NaN as its outer quantiles.
    """

    series: Ints
    place: Ints
    values: Floats

    def __len__(self) -> int:
        return len(self.place)


def asked(it: StreamSet, every: int) -> Answers:
    """Return empty answers at every place that is scored, of all series."""
    places = [it.places(series, every) for series in it.series]
    series_A = np.repeat(np.arange(len(places)), [len(place) for place in places])
    values_AHQ = np.full((len(series_A), it.horizon, len(LEVELS)), np.nan)
    return Answers(series_A, np.concatenate([*places, np.empty(0, np.int64)]), values_AHQ)


def outcomes(it: StreamSet, answers: Answers) -> Floats:
    """Return what was observed [A, H]; NaN where nothing was."""
    actual_AH = np.empty((len(answers), it.horizon))
    for k, series in enumerate(it.series):
        mine = answers.series == k
        actual_AH[mine] = series.y_T[answers.place[mine][:, None] + np.arange(1, it.horizon + 1)]
    return actual_AH


def naives(it: StreamSet, answers: Answers) -> Floats:
    """Return the seasonal naive forecast of each season [S, A, H]."""
    naive_SAH = np.empty((len(it.seasons), len(answers), it.horizon))
    for k, series in enumerate(it.series):
        mine = answers.series == k
        for s, season in enumerate(it.seasons):
            naive_SAH[s, mine] = seasonal_naive(series, answers.place[mine], season, it.horizon)
    return naive_SAH


def score(it: StreamSet, answers: Answers) -> dict[str, Any]:
    """Return the errors of forecasts, over all steps that were forecast and observed.

    ``mae``, ``mase``, ``pinball``, ``coverage_80`` and ``width`` are means over all outcomes of all series;
    ``relative_mae`` is the geometric mean over series of the MAE divided by that of the best seasonal naive forecast.
    A series whose best one is never wrong has no ratio and is left out.
    """
    actual_AH, values_AHQ = outcomes(it, answers), answers.values
    error_AH = accuracy.absolute_error(actual_AH, values_AHQ[..., MEDIAN])
    scored_AH = ~np.isnan(error_AH)
    naive_SAH = np.where(scored_AH, accuracy.absolute_error(actual_AH, naives(it, answers)), np.nan)
    scale_K = np.array([seasonal_scale(s.y_T[: it.trained_bars(s)], it.seasons[0]) for s in it.series])
    ratios = {}
    for k in np.unique(answers.series[scored_AH.any(axis=1)]).tolist():
        mine = answers.series == k
        best = min(accuracy.mean(naive_AH[mine]) for naive_AH in naive_SAH)
        ratios[it.series[k].key] = accuracy.mean(error_AH[mine]) / best if best > 0 else np.nan
    low_AH, high_AH = values_AHQ[..., LOW], values_AHQ[..., HIGH]
    pinball_AHQ = accuracy.pinball(actual_AH[..., None], values_AHQ, LEVELS)
    covered_AH = accuracy.covered(actual_AH, low_AH, high_AH)
    months = coverage_by_month(it, answers, covered_AH)
    return {
        "series": len(it.series),
        "cutoffs": int(scored_AH.any(axis=1).sum()),
        "relative_mae": _number(accuracy.geometric_mean(list(ratios.values()))),
        "worst_series": _number(max((ratio for ratio in ratios.values() if not np.isnan(ratio)), default=np.nan)),
        "mae": _number(accuracy.mean(error_AH)),
        "mase": _number(accuracy.mean(error_AH / scale_K[answers.series][:, None])),
        "pinball": _number(accuracy.mean(pinball_AHQ[~np.isnan(pinball_AHQ).any(axis=-1)])),
        "coverage_80": _number(accuracy.mean(covered_AH)),
        "coverage_worst_month": min(months.values(), default=None),
        "coverage_best_month": max(months.values(), default=None),
        "width": _number(accuracy.mean(accuracy.width(low_AH, high_AH)[~np.isnan(covered_AH)])),
        "relative_mae_by_series": {key: _number(ratio) for key, ratio in ratios.items()},
    }


def coverage_by_month(it: StreamSet, answers: Answers, covered_AH: Floats) -> dict[str, float]:
    """Return the coverage of each local calendar month of the outcomes that has at least ``FEWEST_OUTCOMES``."""
    start_K = np.array([series.start_ms for series in it.series], np.int64)
    bar_AH = answers.place[:, None] + np.arange(1, it.horizon + 1)
    times_AH = start_K[answers.series][:, None] + bar_AH * it.freq_ms
    known_AH = ~np.isnan(covered_AH)
    local = pd.to_datetime(times_AH[known_AH], unit="ms", utc=True).tz_convert(it.zone)
    by_month = pd.Series(covered_AH[known_AH]).groupby(local.strftime("%Y-%m")).agg(["mean", "size"])
    enough = by_month[by_month["size"] >= FEWEST_OUTCOMES]
    return {str(month): float(mean) for month, mean in enough["mean"].items()}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def mean_over_seeds(rows: Iterable[Mapping[str, Any]], field: str) -> dict[tuple[str, str], float]:
    """Return the mean over seeds of a field, by (set, model); rows without the field are left out."""
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row.get(field) is not None:
            found.setdefault((row["set"], row["model"]), []).append(float(row[field]))
    return {pair: float(np.mean(values)) for pair, values in found.items()}


def ratios_to(
    scores: Mapping[tuple[str, str], float], reference: str, names: Sequence[str]
) -> dict[tuple[str, str], float]:
    """Return each model's score divided by that of the ``reference`` model on the same set, where both exist."""
    return {
        (name, model): value / scores[name, reference]
        for (name, model), value in scores.items()
        if name in names and scores.get((name, reference))
    }
