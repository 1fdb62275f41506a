"""How good a new model is on the part of its history that it was not trained on, as ``streamcast.quality`` defines it.

The history is streamed through the service's engine up to the end of the part, and the part is scored like in any
backtest.  Of more rows than a bound, some series are drawn, by chance and the same ones each time, and all of the part
is scored; only where a few series alone have more rows the oldest bars are left out.  These forecasts chose the epoch,
so they flatter a little; a backtest of later data decides.

Legend: K series, N rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamcast import quality
from streamcast.engine.online import layer_fields
from streamcast.errors import HistoryError
from streamcast.models.spec import SpecError
from streamcast.offline.evaluation.backtest import backtest
from streamcast.offline.evaluation.baselines import reference
from streamcast.offline.history.read import History
from streamcast.spec.durations import DAY_MS
from streamcast.spec.folders import Model, new_network
from streamcast.spec.model_spec import ModelSpec
from streamcast.spec.zero import challenger_of, has_no_network
from streamcast.stages import stage

Integers = NDArray[np.int64]

MOST_ROWS = 500_000
"""Rows that are streamed, of a history that has more.  They take the default network about 20 seconds."""
FEWEST_SERIES = 20
"""Series that are drawn at least, if there are as many."""
FEWEST_BARS = 20_000
"""Bars of all series that may be scored at least, however many rows that takes."""
LEARNED_MS = 100 * DAY_MS
"""How long before the part a series is streamed, if it has as many rows: the online layer learns for so long.

After 672 bars alone, models without a network had errors up to 37 % larger at bars of five minutes, and up to 3 % at
hours.
"""


@dataclass(frozen=True, slots=True)
class Part:
    """What is scored: the forecasts from ``from_ms`` on of ``series`` of the ``of_series`` that have values there."""

    from_ms: int
    series: int
    of_series: int


def part_of(history: History, spec: ModelSpec, from_ms: int) -> Part:
    """Return what is scored of a history's bars from ``from_ms`` on, so that the rows to stream are bounded."""
    least_ms = _least_before(spec) * spec.series.freq
    order_K = _drawn(history, from_ms)
    begin = int(np.searchsorted(history.ts_N, from_ms - max(least_ms, LEARNED_MS)))
    rows_K = np.bincount(history.series_N[begin:], minlength=len(history.keys))[order_K]
    fitting = int(np.searchsorted(np.cumsum(rows_K), MOST_ROWS, side="right"))
    series = min(max(fitting, FEWEST_SERIES), len(order_K))
    drawn = history.of_series(np.sort(order_K[:series]))
    if len(drawn) > MOST_ROWS:
        grid, scored_ms = spec.series.grid, FEWEST_BARS * spec.series.freq // series
        earliest = min(_first_streamed(drawn) + least_ms, history.last_observed_ms - scored_ms)
        from_ms = max(from_ms, grid.start(grid.bar(earliest)))
    return Part(from_ms, series, len(order_K))


def held_out_quality(model: Model, history: History, part: Part) -> dict[str, Any]:
    """Return the quality of the forecasts of a part, over the scored steps and at each (``facts_of``).

    Besides: ``from`` and ``until`` (epoch ms), how many ``series`` (of how many, ``of_series``) and ``forecasts`` were
    scored, the share of outcomes that the interval promises to hold (``nominal``), and the geometric mean over series
    of the ratio to seasonal naive, over all steps with outcomes, how many ever (``by_series``, ``by_series_steps``), in
    which every series counts the same.  Raises HistoryError when nothing can be scored.
    """
    spec, first = model.spec, part.from_ms
    drawn = history.of_series(np.sort(_drawn(history, first)[: part.series]))
    begin = min(_first_streamed(drawn), first - _least_before(spec) * spec.series.freq)
    streamed = drawn.between(begin, int(history.ts_N[-1]) + 1)
    which = "a model without a network" if has_no_network(spec) else "the model"
    with stage(f"scoring {which} on the bars that were held out") as at:
        report = backtest(
            model, streamed, first, baselines=dict([reference(spec.naive_season)]), keep=[],
            on_progress=lambda done, rows: at(f"{done:,} of {rows:,} rows"),
        )  # fmt: skip
    by_series = report.relative_mae()[0]
    return {
        "from": first,
        "until": history.last_observed_ms,
        "series": part.series,
        "of_series": part.of_series,
        "forecasts": report.forecasts,
        "nominal": spec.nominal,
        "by_series": by_series if math.isfinite(by_series) else None,
        "by_series_steps": report.scored_steps(report.reference),
        **quality.facts_of(report.quality),
    }


def quality_from(model: Model, history: History, from_ms: int) -> dict[str, Any] | None:
    """Return the quality of the forecasts of a history's bars from ``from_ms`` on; None if these are too few to score.

    See ``held_out_quality`` for what it holds.
    """
    try:
        return held_out_quality(model, history, part_of(history, model.spec, from_ms))
    except HistoryError:
        return None


def compared_with_zero(measured: dict[str, Any] | None, spec: ModelSpec, history: History) -> dict[str, Any] | None:
    """Return the measured quality of a model with ``without_network``: the relative error of one without a network.

    It is None at Ctrl-C, and where such a model is not possible, or scores other outcomes because it is warm at another
    time.
    """
    if measured is None:
        return None
    return {**measured, "without_network": _without_network(spec, history, measured)}


def _without_network(spec: ModelSpec, history: History, measured: Mapping[str, Any]) -> float | None:
    """Return the relative error of a model without a network over the same outcomes; None if it has others."""
    simple = challenger_of(spec)
    part = Part(measured["from"], measured["series"], measured["of_series"])
    try:
        found = held_out_quality(Model(simple, new_network(simple)), history, part)
    except (HistoryError, SpecError, KeyboardInterrupt):
        return None
    zero, ours = (quality.SumsByStep.of_facts(each).over_all() for each in (found, measured))
    return zero.relative if zero.outcomes == ours.outcomes and math.isfinite(zero.relative) else None


def _drawn(history: History, from_ms: int) -> Integers:
    """Return the series with a value from ``from_ms`` on, in the order in which they are drawn."""
    begin = int(np.searchsorted(history.ts_N, from_ms))
    known_N = ~np.isnan(history.values_NC[begin:, 0])
    return np.random.default_rng(0).permutation(np.unique(history.series_N[begin:][known_N])).astype(np.int64)


def _first_streamed(history: History) -> int:
    """Return the time of the oldest row that is streamed: ``MOST_ROWS`` before the end, or the first."""
    return int(history.ts_N[max(len(history) - MOST_ROWS, 0)])


def _least_before(spec: ModelSpec) -> int:
    """Return how many bars are streamed before the scored ones at least: those that fill the state of a series."""
    averaged = 0 if spec.online is None else layer_fields(spec, spec.online)["online.observed"].shape[0]
    return max(spec.ring, spec.warm_up, 2 * spec.half_life, averaged)
