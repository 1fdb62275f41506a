"""History through the real engine, every forecast scored beside simple ones.

The history is streamed from its beginning, so that the state is what a service would have; what is scored are the
forecasts of warm series within the test part, and the baselines are scored at the same points.

Legend: K series, T bars of the panel, N cutoffs, A forecasts, H horizon, Q quantiles.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping

import numpy as np
import pandas as pd

from streamcast.engine.engine import NOT_FINITE, Engine
from streamcast.errors import HistoryError
from streamcast.kernels.advance import ABSORBED, ANSWERED, DUPLICATE, LATE
from streamcast.offline.evaluation import baselines as naive
from streamcast.offline.evaluation.accuracy import seasonal_scale
from streamcast.offline.evaluation.baselines import Baseline, Floats, Integers
from streamcast.offline.evaluation.frames import forecast_frame
from streamcast.offline.evaluation.report import Report, Tally
from streamcast.offline.history import bars
from streamcast.offline.history.polls import polls
from streamcast.offline.history.read import History
from streamcast.spec.folders import Model

OUTCOMES = {
    ANSWERED: "answered", ABSORBED: "absorbed", LATE: "late", DUPLICATE: "duplicate", NOT_FINITE: "not finite",
}  # fmt: skip
BLOCK_NUMBERS = 4 << 20
"""Of baseline forecasts at once, which bounds memory."""

Every = Callable[[int, int], None]
"""Is told how many of how many rows are done."""


def backtest(
    model: Model,
    history: History,
    from_ms: int,
    *,
    to_ms: int | None = None,
    baselines: Mapping[str, Baseline] | None = None,
    keep: Collection[int] | None = (),
    on_progress: Every = lambda _done, _rows: None,
) -> Report:
    """Return how good a model's forecasts are whose first step lies in [``from_ms``, ``to_ms``), beside baselines'.

    The outcome of a step is the value of its bar once it has closed, whether records are samples or ticks.
    ``baselines`` (default ``baselines.standard``) are fitted on what lies before ``from_ms``.  The forecasts of the
    cutoffs in ``keep`` (None for all) are kept for ``Report.frame``; of the others only sums are.  Raises HistoryError
    when the history has other columns than the model, or nothing to score.
    """
    spec = model.spec
    panel = bars.panel(history, spec.series)
    first = max(-(-(from_ms - panel.start_ms) // panel.freq_ms) - 1, 0)
    last = panel.y_KT.shape[1] - 2 if to_ms is None else (to_ms - 1 - panel.start_ms) // panel.freq_ms - 1
    n = last - first + 1
    if n < 1 or first < 1:
        raise HistoryError(
            f"nothing to score from {pd.Timestamp(from_ms, unit='ms')} on: the history goes from "
            f"{pd.Timestamp(panel.start_ms, unit='ms')} to {pd.Timestamp(int(history.ts_N[-1]), unit='ms')}"
        )
    scored_KN = np.zeros((len(history.keys), n), np.bool_)
    later_KT = np.concatenate([panel.y_KT, np.full((len(history.keys), spec.horizon), np.nan)], axis=1)
    tally = Tally.empty(len(history.keys), spec.horizon, spec.quantiles)
    counts: Counter[int] = Counter()
    kept, wanted = [], None if keep is None else np.array(sorted(keep), np.int64)
    engine, done = Engine(spec, model.network, max(len(history.keys), 1)), 0
    for poll in polls(history, spec.series):
        result = engine.stage(poll)
        engine.promote()
        counts.update(dict(enumerate(np.bincount(result.outcomes, minlength=len(OUTCOMES)).tolist())))
        found, rows = result.forecasts, done + result.forecasts.record
        series_A = history.series_N[rows].astype(np.int64)
        bar_A = (found.cutoffs - panel.start_ms) // panel.freq_ms
        mine = found.warm & (bar_A >= first) & (bar_A <= last)
        actual_AH = _actual(later_KT, series_A[mine], bar_A[mine], spec.horizon)
        tally.add(series_A[mine], actual_AH, found.values[mine])
        scored_KN[series_A[mine], bar_A[mine] - first] = True
        if wanted is None or len(wanted):
            chosen = mine if wanted is None else mine & np.isin(found.cutoffs, wanted)
            names = [history.keys[k] for k in series_A[chosen]]
            frame = forecast_frame(spec, model.name, names, found.cutoffs[chosen], found.values[chosen])
            frame.insert(3, "y", _actual(later_KT, series_A[chosen], bar_A[chosen], spec.horizon).ravel())
            kept.append(frame)
        done += len(poll)
        on_progress(done, len(history))
    if not scored_KN.any():
        raise HistoryError(f"nothing to score: no series is warm (after {spec.warm_up} bars) within the test part")
    training_KT = panel.y_KT[:, : first + 1]
    tallies = {model.name: tally}
    chosen_baselines = naive.standard(spec.season, spec.lags or 336) if baselines is None else baselines
    for name, baseline in chosen_baselines.items():
        tallies[name] = _score(baseline, panel.y_KT, training_KT, later_KT, scored_KN, first, spec.horizon)
    return Report(
        model=model.name,
        keys=history.keys,
        tallies=tallies,
        scale_K=np.array([seasonal_scale(y_T, spec.season) for y_T in training_KT]),
        outcomes={OUTCOMES[outcome]: count for outcome, count in sorted(counts.items()) if count},
        forecasts=int(scored_KN.sum()),
        kept=pd.concat(kept, ignore_index=True) if kept else None,
    )


def _actual(later_KT: Floats, series_A: Integers, bar_A: Integers, horizon: int) -> Floats:
    """Return what came after bars of series [A, H]; NaN where it was not observed."""
    actual_AH: Floats = later_KT[series_A[:, None], bar_A[:, None] + np.arange(1, horizon + 1)]
    return actual_AH


def _score(
    baseline: Baseline, y_KT: Floats, training_KT: Floats, later_KT: Floats, scored_KN: np.ndarray, first: int,
    horizon: int,
) -> Tally:  # fmt: skip
    """Return a baseline's sums at the points where the model was scored."""
    forecast = baseline.fit(training_KT, horizon)
    tally = Tally.empty(len(y_KT), horizon, ())
    block = max(BLOCK_NUMBERS // (len(y_KT) * horizon), 1)
    for start in range(0, scored_KN.shape[1], block):
        series_A, number_A = np.nonzero(scored_KN[:, start : start + block])
        if len(series_A) == 0:
            continue
        cutoffs_N = np.arange(first + start, first + min(start + block, scored_KN.shape[1]))
        forecast_KNH = forecast(y_KT, cutoffs_N)
        actual_AH = _actual(later_KT, series_A, cutoffs_N[number_A], horizon)
        tally.add(series_A, actual_AH, forecast_KNH[series_A, number_A][:, :, None])
    return tally
