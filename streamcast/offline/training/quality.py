"""How good a new model is on the part of its history that it was not trained on, in the data's own unit.

The part is streamed through the service's engine, after enough bars before it to warm the state, and scored like any
backtest.  Its forecasts chose the epoch, so they flatter a little; a backtest of later data decides.
"""

from __future__ import annotations

import math
from typing import Any

from streamcast.offline.evaluation.backtest import backtest
from streamcast.offline.evaluation.baselines import SEASONAL_NAIVE, SeasonalNaive
from streamcast.offline.history.read import History
from streamcast.spec.folders import Model

MOST_BARS = 20_000
"""Bars of all series that are scored at most: the newest."""


def held_out_quality(model: Model, history: History, from_ms: int) -> dict[str, Any]:
    """Return errors and coverage of the forecasts from ``from_ms`` on, over all and at the scored steps.

    ``mae`` and ``naive_mae`` (seasonal naive) are means in the data's unit, ``relative_mae`` the geometric mean over
    series of their ratio; ``coverage`` is the share of outcomes within the outer quantiles and ``nominal`` the share
    they promise.  ``steps`` holds the same by step ahead.  Raises HistoryError when nothing can be scored.
    """
    spec, last = model.spec, int(history.ts_N[-1])
    freq = spec.series.freq
    first = max(from_ms, last - MOST_BARS * freq // max(len(history.keys), 1))
    warm = max(spec.ring, spec.warm_up, 2 * spec.half_life) * freq
    part = history.between(first - warm, last + 1)
    report = backtest(model, part, first, baselines={SEASONAL_NAIVE: SeasonalNaive(spec.naive_season)}, keep=[])
    mine, naive = report.rows()
    steps = {row["step"]: row for row in report.by_horizon() if row["forecaster"] == report.model}
    naive_steps = {row["step"]: row for row in report.by_horizon() if row["forecaster"] == SEASONAL_NAIVE}
    found = {
        "from": first,
        "forecasts": report.forecasts,
        "mae": mine["mae"],
        "naive_mae": naive["mae"],
        "relative_mae": report.relative_mae()[0],
        "coverage": mine["coverage"],
        "nominal": spec.quantiles[-1] - spec.quantiles[0],
        "steps": {
            str(step): {
                "mae": steps[step]["mae"], "naive_mae": naive_steps[step]["mae"], "coverage": steps[step]["coverage"],
            }
            for step in spec.scored_steps
        },
    }  # fmt: skip
    finite: dict[str, Any] = _finite(found)
    return finite


def _finite(found: Any) -> Any:
    """Return the facts with null for what could not be measured."""
    if isinstance(found, dict):
        return {name: _finite(value) for name, value in found.items()}
    return None if isinstance(found, float) and not math.isfinite(found) else found
