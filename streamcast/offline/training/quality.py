"""How good a new model is on the part of its history that it was not trained on, as ``streamcast.quality`` defines it.

The history is streamed through the service's engine up to the end of the part, and the part is scored like in any
backtest.  Its forecasts chose the epoch, so they flatter a little; a backtest of later data decides.
"""

from __future__ import annotations

import math
from typing import Any

from streamcast import quality
from streamcast.engine.online import layer_fields
from streamcast.offline.evaluation.backtest import backtest
from streamcast.offline.evaluation.baselines import reference
from streamcast.offline.history.read import History
from streamcast.spec.folders import Model
from streamcast.spec.model_spec import ModelSpec

MOST_BARS = 20_000
"""Bars of all series that are scored at most: the newest."""
MOST_ROWS = 500_000
"""Rows that are streamed, if the history has more: the newest.  They take the default network about 20 seconds.

The online layer learns for about a hundred days.  After 672 bars alone, models without a network had errors up to 37 %
larger at bars of five minutes, and up to 3 % at hours.
"""


def held_out_quality(model: Model, history: History, from_ms: int) -> dict[str, Any]:
    """Return the quality of the forecasts from ``from_ms`` on, over the scored steps and at each (``facts_of``).

    Besides: ``from`` and ``until`` (epoch ms), how many ``forecasts`` were made, the share of outcomes that the
    interval promises to hold (``nominal``), and the geometric mean over series of the ratio to seasonal naive, over
    all steps with outcomes, how many ever (``by_series``, ``by_series_steps``), in which every series counts the same.
    Raises HistoryError when nothing can be scored.
    """
    spec, last = model.spec, history.last_observed_ms
    first = max(from_ms, last - MOST_BARS * spec.series.freq // max(len(history.keys), 1))
    newest = int(history.ts_N[max(len(history) - MOST_ROWS, 0)])
    part = history.between(min(newest, first - _least_before(spec) * spec.series.freq), int(history.ts_N[-1]) + 1)
    report = backtest(model, part, first, baselines=dict([reference(spec.naive_season)]), keep=[])
    by_series = report.relative_mae()[0]
    return {
        "from": first,
        "until": last,
        "forecasts": report.forecasts,
        "nominal": spec.nominal,
        "by_series": by_series if math.isfinite(by_series) else None,
        "by_series_steps": report.scored_steps(report.reference),
        **quality.facts_of(report.quality),
    }


def _least_before(spec: ModelSpec) -> int:
    """Return how many bars are streamed before the scored ones at least: those that fill the state of a series."""
    averaged = 0 if spec.online is None else layer_fields(spec, spec.online)["online.observed"].shape[0]
    return max(spec.ring, spec.warm_up, 2 * spec.half_life, averaged)
