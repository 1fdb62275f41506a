"""What the report shows of a backtest: which forecasts, series and months, and the order of the forecasters."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from streamcast.offline.evaluation.accuracy import Floats
from streamcast.offline.evaluation.html_report.facts import Facts
from streamcast.offline.evaluation.intervals import Ratio, relative_error
from streamcast.offline.evaluation.report import BacktestReport, Periods
from streamcast.spec.durations import WEEK_MS
from streamcast.spec.model_spec import ModelSpec

MOST_SERIES_DRAWN = 12
"""Series with a chart of their own: the best, the worst, and some between."""
FEW_OUTCOMES, FEW_MS = 100, WEEK_MS
"""A month, or a year, with fewer outcomes or forecasts of less time than this has no bar."""
PERIODS = {"MS": "month", "YS": "year"}
MOST_WINDOWS, MOST_STEPS_KEPT = 28, 400_000
"""Forecasts of a series that are drawn, and steps of all series in memory."""
CONFIDENCE = 0.9


def cutoffs_to_draw(spec: ModelSpec, from_ms: int, last_ms: int, series: int) -> list[int]:
    """Return the cutoffs whose forecasts the report draws: the newest with all outcomes, a horizon apart.

    ``from_ms`` is where the test begins, whose first cutoff is drawn where none has all outcomes; ``last_ms`` is the
    time of the last row of ``series`` series.
    """
    grid = spec.series.grid
    windows = int(np.clip(MOST_STEPS_KEPT // max(series * spec.horizon, 1), 1, MOST_WINDOWS))
    newest = max(grid.bar(last_ms) - spec.horizon, grid.bar(from_ms - 1))
    return [grid.start(newest - number * spec.horizon) for number in range(windows)]


def drawn(report: BacktestReport, facts: Facts) -> pd.DataFrame:
    """Return the forecasts that are drawn."""
    cutoffs = cutoffs_to_draw(facts.spec, facts.from_ms, facts.until_ms, len(report.keys))
    frame = report.frame()
    return frame[frame["cutoff"].isin(np.array(cutoffs).astype("datetime64[ms]"))]


def drawn_series(report: BacktestReport, facts: Facts) -> list[str]:
    """Return series to draw, the worst first: all with a forecast, or as many from the worst to the best."""
    _, by_series = report.relative_mae()
    ordered = sorted(drawn(report, facts)["unique_id"].unique(), key=lambda key: -by_series.get(key, 0.0))
    places = np.unique(np.linspace(0, len(ordered) - 1, min(len(ordered), MOST_SERIES_DRAWN)).round().astype(int))
    return [ordered[place] for place in places.tolist()]


def ranking_of(report: BacktestReport) -> list[tuple[str, Ratio]]:
    """Return each forecaster's relative error, the best first; of those with all forecasts of the reference."""
    naive, ahead = report.periods[report.reference], periods_ahead(report)
    found = {
        name: relative_error(periods.absolute_D, naive.absolute_D, CONFIDENCE, ahead=ahead)
        for name, periods in report.periods.items()
        if name == report.model or np.array_equal(periods.count_D, naive.count_D)
    }
    return sorted(found.items(), key=lambda item: (math.isnan(item[1].value), item[1].value))


def periods_ahead(report: BacktestReport) -> int:
    """Return how many periods the forecasts of one reach, at least 1."""
    return max(-(-report.scored_steps() // report.periods[report.model].bars), 1)


def rule_over_time(facts: Facts) -> tuple[str | None, str]:
    """Return by what errors over time are summed, for pandas (None: as they are) and in words."""
    return ("W-MON", "week (in UTC)") if facts.spec.series.freq <= WEEK_MS else (None, "bar")


def rule_of_coverage(report: BacktestReport) -> str:
    """Return by what outcomes are counted: the first of ``PERIODS`` of which one has enough, '' if none has."""
    return next((rule for rule in PERIODS if len(enough(report, rule))), "")


def enough(report: BacktestReport, rule: str) -> pd.DataFrame:
    """Return the model's sums by month or year, of those with enough outcomes from enough days."""
    periods = report.periods[report.model]
    found = summed(periods, rule)
    return found[(found["count"] >= FEW_OUTCOMES) & (found["periods"] * periods.length_ms >= FEW_MS)]


def summed(periods: Periods, rule: str | None) -> pd.DataFrame:
    """Return the sums by week, month or year (None: by period), of those with outcomes."""
    times = pd.to_datetime(periods.starts_D, unit="ms")
    columns: Mapping[str, Floats] = {
        "count": periods.count_D, "absolute": periods.absolute_D, "covered": periods.covered_D,
        "periods": (periods.count_D > 0).astype(np.float64),
    }  # fmt: skip
    found = pd.DataFrame(columns, index=times)
    found = found if rule is None else found.resample(rule, label="left", closed="left").sum()
    return found[found["count"] > 0]
