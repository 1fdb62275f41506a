"""How good a new model is on the part of its history that it was not trained on, as ``streamcast.quality`` defines it.

The part is streamed through the service's engine, after enough bars before it to warm the state, and scored like any
backtest.  Its forecasts chose the epoch, so they flatter a little; a backtest of later data decides.
"""

from __future__ import annotations

import math
from typing import Any

from streamcast import quality
from streamcast.offline.evaluation.backtest import backtest
from streamcast.offline.evaluation.baselines import reference
from streamcast.offline.history.read import History
from streamcast.spec.folders import Model

MOST_BARS = 20_000
"""Bars of all series that are scored at most: the newest."""


def held_out_quality(model: Model, history: History, from_ms: int) -> dict[str, Any]:
    """Return the quality of the forecasts from ``from_ms`` on, over the scored steps and at each (``facts_of``).

    Besides: ``from`` and ``until`` (epoch ms), how many ``forecasts`` were made, the share of outcomes that the
    interval promises to hold (``nominal``), and the geometric mean over series of the ratio to seasonal naive, over
    all steps (``by_series``), in which every series counts the same.  Raises HistoryError when nothing can be scored.
    """
    spec, last = model.spec, int(history.ts_N[-1])
    freq = spec.series.freq
    first = max(from_ms, last - MOST_BARS * freq // max(len(history.keys), 1))
    warm = max(spec.ring, spec.warm_up, 2 * spec.half_life) * freq
    part = history.between(first - warm, last + 1)
    report = backtest(model, part, first, baselines=dict([reference(spec.naive_season)]), keep=[])
    by_series = report.relative_mae()[0]
    return {
        "from": first,
        "until": last,
        "forecasts": report.forecasts,
        "nominal": spec.nominal,
        "by_series": by_series if math.isfinite(by_series) else None,
        **quality.facts_of(report.quality),
    }
