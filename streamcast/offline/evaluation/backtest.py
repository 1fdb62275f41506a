"""A history streamed through the real engine; every forecast scored, and simple ones at the same points.

The history is streamed from its beginning, so the state is the one a service would have.  Forecasts of warm series
within the test part are scored.  ``Scoreboard`` does the scoring; it also takes forecasts that came another way, such
as from a topic.

Legend: K series, T bars of the panel, N cutoffs of the test part, A forecasts, H horizon, Q quantiles.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta, timezone
from itertools import pairwise
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from streamcast.engine.engine import Engine, Scores
from streamcast.errors import HistoryError, Option, SettingsError
from streamcast.kernels.outcomes import NAMES
from streamcast.offline.evaluation.accuracy import Floats, absolute_error, covered, usual
from streamcast.offline.evaluation.baselines import (
    FEWEST_LAGS,
    RIDGE,
    RIDGE_REFITTED,
    Baseline,
    Integers,
    lags_to_learn,
    reference,
    seasonal_scale,
    standard,
)
from streamcast.offline.evaluation.frames import OTHERS, anomaly_frame, forecast_frame, name_beside
from streamcast.offline.evaluation.report import Always, BacktestReport, Periods, Tally
from streamcast.offline.history.bars import panel
from streamcast.offline.history.polls import polls
from streamcast.offline.history.read import History
from streamcast.quality import SumsByStep, outcomes_of
from streamcast.spec.folders import Model
from streamcast.spec.local_time import UTC_TIME, LocalTime
from streamcast.spec.model_spec import ModelSpec
from streamcast.stages import stage
from streamcast.wording import counted

BLOCK_NUMBERS = 4 << 20
"""Numbers of baseline forecasts in memory at once."""
MOST_NAMED = 5
"""Series that a sentence names."""
MOST_LAGS = 336
"""Lags of the regressions beside a model without lags of its own."""

OnRows = Callable[[int, int], None]
"""Receives how many rows are done, and how many there are."""

Bools = npt.NDArray[np.bool_]
KeptOf = Callable[[Integers, Integers], Bools]
"""Says of forecasts, by their series and cutoffs [A], which of them a frame has."""


class Refit(NamedTuple):
    """A training in the course of a test: what trains a model of the same spec on a history, and how often."""

    train: Callable[[History], Model]
    every_ms: int


def least_bars(spec: ModelSpec) -> int:
    """Return how many bars a history has at least of which a forecast can be scored: those before it and an outcome."""
    return max(spec.warm_up, 2) + 1


class Scoreboard:
    """The outcomes of a test part, and the errors of the forecasts scored there.

    A forecast is scored when its first step lies in [``from_ms``, ``to_ms``).  The outcome of a step is the value of
    its bar once it has closed, whether records are samples or ticks.  Raises HistoryError when the columns are not the
    spec's, the bars are too few for any test, or none lies in the test part.
    """

    def __init__(self, history: History, spec: ModelSpec, from_ms: int, to_ms: int | None = None) -> None:
        self._spec, self._keys = spec, history.keys
        grid = panel(history, spec.series)
        self._start, self._y_KT = spec.series.grid.bar(grid.start_ms), grid.y_KT
        self._first = max(spec.series.grid.bar(from_ms - 1) - self._start, 0)
        self._last = grid.y_KT.shape[1] - 2
        if to_ms is not None:
            self._last = spec.series.grid.bar(to_ms - 1) - self._start - 1
        n = self._last - self._first + 1
        if (bars := grid.y_KT.shape[1]) < (least := least_bars(spec)):
            raise HistoryError(
                f"nothing to score: the history has {counted(len(history), 'row')} in {counted(bars, 'bar')} of"
                f" {spec.series.bar}, and a test of this model needs at least {counted(least, 'bar')}; give a longer"
                " history, or a model of shorter bars"
            )
        if n < 1 or self._first < 1:
            begin, end = grid.start_ms, int(history.ts_N[-1])
            earliest, latest = (spec.series.grid.start(self._start + bar) for bar in (2, self._last + 1))
            local = spec.targets.local if spec.targets else UTC_TIME
            asked, begun, ended, low, high = (_time(ms, local) for ms in (from_ms, begin, end, earliest, latest))
            raise HistoryError(
                f"nothing to score from {asked} on: the history goes from {begun} to {ended} ({local.zone}); choose a"
                f" time from {low} to {high} with ", Option.TEST_FROM,
            )  # fmt: skip
        beyond_KH = np.full((len(self._keys), spec.horizon), np.nan)
        self._later_KT = np.concatenate([grid.y_KT, beyond_KH], axis=1)
        self._usual = usual(self._y_KT[:, : self._first + 1])
        self._outcomes_as_usual, self._error_of_usual = 0, 0.0
        self._scored_KN = np.zeros((len(self._keys), n), np.bool_)
        self._forecasts = 0
        self._tally = Tally.empty(len(self._keys), spec.horizon, spec.quantiles)
        self._quality = SumsByStep()
        self._periods = self._empty_periods()

    def add(self, series_A: Integers, cutoffs_A: Integers, values_AHQ: Floats, warm_A: Bools) -> Bools:
        """Score the forecasts of warm series within the test part; return which those are [A]."""
        bar_A = self._bars(cutoffs_A)
        mine: Bools = warm_A & (bar_A >= self._first) & (bar_A <= self._last)
        actual_AH, found_AHQ = self._outcomes(series_A[mine], bar_A[mine]), values_AHQ[mine]
        inside_AH = covered(actual_AH, found_AHQ[:, :, 0], found_AHQ[:, :, -1])
        self._tally.add(series_A[mine], actual_AH, found_AHQ)
        self._periods.add(cutoffs_A[mine], actual_AH, found_AHQ[:, :, self._spec.median], inside_AH)
        if self._usual is not None:
            error_AH = absolute_error(actual_AH, self._usual)
            self._outcomes_as_usual += int(np.count_nonzero(error_AH == 0.0))
            self._error_of_usual += float(np.nansum(error_AH))
        self._scored_KN[series_A[mine], bar_A[mine] - self._first] = True
        self._forecasts += int((~np.isnan(actual_AH)).any(axis=1).sum())
        return mine

    def count(self, scores: Scores, chosen_M: Bools) -> None:
        """Count what the engine found of the same forecasts, as a service counts it, where ``chosen_M``."""
        bar_M = self._bars(scores.cutoffs)
        mine = chosen_M & scores.warm & (bar_M >= self._first) & (bar_M <= self._last)
        self._quality.add(scores.ahead[mine], outcomes_of(scores.outcomes[mine], self._spec.nominal))

    def bars(self, series_A: Integers, cutoffs_A: Integers) -> tuple[Bools, Floats]:
        """Return which forecasts were made at a bar of the test part, and the values of their bars [A]."""
        bar_A = self._bars(cutoffs_A)
        return (bar_A > self._first) & (bar_A <= self._last + 1), self._y_KT[series_A, bar_A]

    def actual(self, series_A: Integers, cutoffs_A: Integers) -> Floats:
        """Return the outcomes of forecasts [A, H]; NaN where none was observed."""
        return self._outcomes(series_A, self._bars(cutoffs_A))

    @stage("scoring the baselines")
    def report(
        self,
        name: str,
        baselines: Mapping[str, Baseline] | None = None,
        outcomes: Mapping[str, int] | None = None,
        kept: pd.DataFrame | None = None,
        beside: Mapping[str, Baseline] | None = None,
    ) -> BacktestReport:
        """Return the errors of the model ``name`` and of the baselines, fitted on the bars before the test part.

        ``baselines`` defaults to ``baselines.standard``, whose regressions read fewer lags where the bars before the
        test part are few, and are left out where they could learn nothing.  Those of ``beside`` are added to them.
        Raises HistoryError when no forecast was scored.
        """
        if not self._scored_KN.any():
            warm_up = self._spec.warm_up
            raise HistoryError(
                f"nothing to score: no series is warm (after {warm_up} bars) within the test part; give more history"
                " before it, or choose a later time with ", Option.TEST_FROM,
            )  # fmt: skip
        training_KT = self._y_KT[:, : self._first + 1]
        tallies, periods = {name: self._tally}, {name: self._periods}
        notes: tuple[str, ...] = ()
        if baselines is None:
            baselines, notes = self._standard(training_KT)
        for other, baseline in {**baselines, **(beside or {})}.items():
            tallies[other], periods[other] = self._scored(baseline, training_KT)
            notes += self._not_forecast(other, tallies[other])
        return BacktestReport(
            model=name,
            reference=reference(self._spec.naive_season)[0],
            keys=self._keys,
            tallies=tallies,
            periods=periods,
            scale_K=np.array([seasonal_scale(y_T, self._spec.season[0]) for y_T in training_KT]),
            outcomes=outcomes or {},
            forecasts=self._forecasts,
            quality=self._quality,
            kept=kept,
            notes=(*notes, *self._left_out()),
            rounding=_rounding(self._y_KT),
            always=self._always(),
        )

    def _always(self) -> Always | None:
        """Return the forecast that is always one value, where that is most outcomes, before the test and in it."""
        outcomes = float(self._tally.count_KH.sum())
        if self._usual is None or 2 * self._outcomes_as_usual <= outcomes:
            return None
        return Always(self._usual, self._error_of_usual / outcomes)

    def _standard(self, training_KT: Floats) -> tuple[dict[str, Baseline], tuple[str, ...]]:
        """Return the standard baselines that differ from each other, and a sentence on those that would not."""
        season, tested = self._spec.season[0], self._scored_KN.shape[1]
        lags = lags_to_learn(training_KT, self._spec.horizon, self._spec.lags or MOST_LAGS)
        found = standard(self._spec.naive_season, season, lags)
        if not lags:
            return found, (_without_regressions(training_KT.shape[1], self._spec.horizon),)
        if tested > season:
            return found, ()
        del found[RIDGE_REFITTED]
        within = f"the {counted(tested, 'bar')} of the test: it is fitted again after {season}"
        return found, (f"{RIDGE_REFITTED} is left out, since it is {RIDGE} for {within}",)

    def _not_forecast(self, other: str, tally: Tally) -> tuple[str, ...]:
        """Return a sentence on the series of which a baseline has not all forecasts; none where it has all, or none."""
        count_K = tally.count_KH.sum(axis=1)
        missing_K = count_K < self._tally.count_KH.sum(axis=1)
        if not missing_K.any() or not count_K.any():
            return ()
        series = f"{missing_K.sum():,} of {counted(len(missing_K), 'series', 'series')}"
        among = self._among(missing_K)
        return (f"{other} could not be fitted to {series}, or not forecast all of it, and is not ranked: {among}",)

    def _among(self, chosen_K: Bools) -> str:
        """Return the names of some series."""
        names = [self._keys[k] for k in np.flatnonzero(chosen_K).tolist()]
        return ", ".join(names[:MOST_NAMED]) + (", …" if names[MOST_NAMED:] else "")

    def _left_out(self) -> Iterator[str]:
        """Yield a sentence on the series without a value in the test, and one on those that are not warm before it."""
        valued_K = ~np.isnan(self._later_KT[:, self._first + 1 : self._last + 1 + self._spec.horizon]).all(axis=1)
        unscored_K = self._tally.count_KH.sum(axis=1) == 0
        if unscored_K.all():
            return
        warm = f"warm (after {counted(self._spec.warm_up, 'bar')})"
        for chosen_K, why in (
            (unscored_K & ~valued_K, "no value in the test"), (unscored_K & valued_K, f"no value there once {warm}"),
        ):  # fmt: skip
            if number := int(chosen_K.sum()):
                yield f"{counted(number, 'series', 'series')} not scored, with {why}: {self._among(chosen_K)}"

    def _bars(self, cutoffs_A: Integers) -> Integers:
        return self._spec.series.grid.bar(cutoffs_A) - self._start

    def _outcomes(self, series_A: Integers, bar_A: Integers) -> Floats:
        """Return what followed bars of series [A, H]; NaN where none was observed."""
        actual_AH: Floats = self._later_KT[series_A[:, None], bar_A[:, None] + np.arange(1, self._spec.horizon + 1)]
        return actual_AH

    def _empty_periods(self) -> Periods:
        return Periods.empty(self._start + self._first, self._start + self._last, self._spec.series.grid)

    def _scored(self, baseline: Baseline, training_KT: Floats) -> tuple[Tally, Periods]:
        """Return a baseline's errors at the points where the model was scored."""
        series, horizon = len(self._keys), self._spec.horizon
        forecast = baseline.fit(training_KT, horizon)
        tally, periods = Tally.empty(series, horizon, ()), self._empty_periods()
        block = max(BLOCK_NUMBERS // (series * horizon), 1)
        for start in range(0, self._scored_KN.shape[1], block):
            scored_KN = self._scored_KN[:, start : start + block]
            wanted_N = scored_KN.any(axis=0)
            if not wanted_N.any():
                continue
            series_A, number_A = np.nonzero(scored_KN[:, wanted_N])
            cutoffs_N = self._first + start + np.flatnonzero(wanted_N)
            forecast_KNH = forecast(self._y_KT, cutoffs_N)
            actual_AH = self._outcomes(series_A, cutoffs_N[number_A])
            forecast_AH = forecast_KNH[series_A, number_A]
            tally.add(series_A, actual_AH, forecast_AH[:, :, None])
            cutoffs_A = self._spec.series.grid.start(self._start + cutoffs_N[number_A])
            periods.add(cutoffs_A, actual_AH, forecast_AH, None)
        return tally, periods


def _rounding(y_KT: Floats) -> float:
    """Return by how much mean errors differ because forecasts have the digits of float32."""
    digits = np.finfo(np.float32)
    return float(digits.tiny + digits.eps * np.abs(np.nan_to_num(y_KT)).max(axis=1).mean())


def _time(ms: int, local: LocalTime) -> str:
    """Return a time (epoch ms) on a wall clock, with the offset from UTC, so that it may be given back as it is."""
    place = bisect_right(local.offsets, ms, key=itemgetter(0))
    offset = timedelta(milliseconds=local.offsets[max(place - 1, 0)][1])
    return str(pd.Timestamp(ms, unit="ms", tz=timezone(offset)))


def _without_regressions(bars: int, horizon: int) -> str:
    """Return why regressions are not among the baselines that learn from ``bars`` before the test part."""
    left_out, before = f"{RIDGE} and {RIDGE_REFITTED} are left out", f"{counted(bars, 'bar')} before the test"
    if bars < horizon + 2 * FEWEST_LAGS - 1:
        return f"{left_out}: a regression cannot learn {counted(horizon, 'step')} ahead from {before}"
    return f"{left_out}: in {before} nothing changes, or no {horizon} bars in a row are all observed"


def backtest(
    model: Model,
    history: History,
    from_ms: int,
    *,
    to_ms: int | None = None,
    baselines: Mapping[str, Baseline] | None = None,
    beside: Mapping[str, Baseline] | None = None,
    keep: Collection[int] | Mapping[str, Collection[int]] | None = (),
    anomalies: bool = False,
    refit: Refit | None = None,
    on_progress: OnRows = lambda _done, _rows: None,
) -> BacktestReport:
    """Return the errors of a model and of baselines on forecasts whose first step lies in [``from_ms``, ``to_ms``).

    ``baselines`` (default ``baselines.standard``) and those ``beside`` them are fitted on the bars before ``from_ms``.
    The forecasts of the cutoffs in ``keep`` (None for all; a mapping has those of each series) are kept for
    ``BacktestReport.frame``; of the others only sums are.  With ``anomalies``, those of the bars of the test part are
    kept, too.  With ``refit`` the model answers the first part of the test, and each later part is answered by a model
    that was trained on all rows before it; a sentence of the verdict says how often.  In the frame, a model that is
    called like another column, such as ``y``, is ``y-forecast``.
    Raises HistoryError when the history's columns are not the model's, or there is nothing to score, and SettingsError
    when one of ``beside`` is called like the model.
    """
    if model.name in (beside or {}):
        raise SettingsError(Option.BASELINES, f" adds {model.name}, and the model has this name, too: give it another")
    board = Scoreboard(history, model.spec, from_ms, to_ms)
    column = name_beside(OTHERS, model.name, model.spec.quantiles)
    kept_of = _kept_of(keep, history.keys)
    end = int(history.ts_N[-1]) + 1 if to_ms is None else to_ms
    starts = [from_ms] if refit is None else list(range(from_ms, end, refit.every_ms))
    kept: list[pd.DataFrame] = []
    bars: list[pd.DataFrame] | None = [] if anomalies else None
    outcomes: Mapping[str, int] = {}
    trained = list[Model]()
    for part in _parts(model, history, [*starts, end], refit):
        frames, outcomes = _stream(
            part, board, kept_of, column, bars, on_progress
        )  # each from the first row: the last has all
        kept += frames
        trained.append(part.model)
    report = board.report(model.name, baselines, outcomes, pd.concat(kept, ignore_index=True) if kept else None, beside)
    if bars is not None:
        report = replace(report, anomalies=pd.concat(bars, ignore_index=True))
    if refit is None:
        return report
    return replace(report, notes=(*report.notes, _trained_again(model.name, trained[1:])))


def _kept_of(keep: Collection[int] | Mapping[str, Collection[int]] | None, keys: Sequence[str]) -> KeptOf | None:
    """Return what says of series and cutoffs [A] which forecasts a frame has; None where it has none."""
    if keep is None:
        return lambda series_A, _cutoffs_A: np.ones(len(series_A), np.bool_)
    if not keep:
        return None
    if isinstance(keep, Mapping):
        own = [frozenset(keep.get(key, ())) for key in keys]
        return lambda series_A, cutoffs_A: np.array(
            [cutoff in own[k] for k, cutoff in zip(series_A.tolist(), cutoffs_A.tolist(), strict=True)], np.bool_
        )
    wanted = np.array(sorted(keep), np.int64)
    return lambda _series_A, cutoffs_A: np.isin(cutoffs_A, wanted)


class _Part(NamedTuple):
    """A stretch of the test that one model answers: the rows to stream, and the first and the end of its cutoffs."""

    model: Model
    rows: History
    first_bar: int
    end_bar: float

    def holds(self, cutoffs_A: Integers) -> Bools:
        bar_A = self.model.spec.series.grid.bar(cutoffs_A)
        mine: Bools = (self.first_bar <= bar_A) & (bar_A < self.end_bar)
        return mine


def _parts(model: Model, history: History, bounds_ms: Sequence[int], refit: Refit | None) -> Iterator[_Part]:
    """Yield the parts of a test, each but the first with a model that is trained on all rows before it.

    The rows of a part go on until its forecasts have their outcomes.
    """
    series, begin = model.spec.series, int(history.ts_N[0])
    tail, last = (2 * model.spec.horizon + 2) * series.freq + series.grace, len(bounds_ms) - 2
    for place, (start, stop) in enumerate(pairwise(bounds_ms)):
        if refit is not None and place:
            with stage(f"training again, {place} of {last}"):
                model = replace(refit.train(history.between(begin, start)), name=model.name)
        first = series.grid.bar(start - 1)
        if place == last:
            yield _Part(model, history, first, np.inf)
        else:
            yield _Part(model, history.between(begin, stop + tail), first, series.grid.bar(stop - 1))


def _stream(
    part: _Part, board: Scoreboard, kept_of: KeptOf | None, column: str, bars: list[pd.DataFrame] | None,
    on_progress: OnRows,
) -> tuple[list[pd.DataFrame], dict[str, int]]:  # fmt: skip
    """Stream a part's rows and score its forecasts; return those to keep, and what became of the records by outcome.

    The anomalies of its bars are added to ``bars``.
    """
    spec, rows, done = part.model.spec, part.rows, 0
    engine = Engine(spec, part.model.network, max(len(rows.keys), 1))
    kept, counts = [], np.zeros(len(NAMES), np.int64)
    for poll in polls(rows, spec):
        result = engine.stage(poll)
        engine.promote()
        counts += np.bincount(result.outcomes, minlength=len(NAMES))
        board.count(result.scores, part.holds(result.scores.cutoffs))
        found = result.forecasts
        series_A = rows.series_N[poll.offsets[found.record]].astype(np.int64)
        chosen_A = board.add(series_A, found.cutoffs, found.values, found.warm & part.holds(found.cutoffs))
        if kept_of is not None:
            chosen_A &= kept_of(series_A, found.cutoffs)
            names = [rows.keys[k] for k in series_A[chosen_A]]
            frame = forecast_frame(spec, column, names, found.cutoffs[chosen_A], found.values[chosen_A])
            frame.insert(3, "y", board.actual(series_A[chosen_A], found.cutoffs[chosen_A]).ravel())
            kept.append(frame)
        if bars is not None:
            tested_A, y_A = board.bars(series_A, found.cutoffs)
            tested_A &= part.holds(found.cutoffs)
            names = [rows.keys[k] for k in series_A[tested_A]]
            bars.append(anomaly_frame(names, found.cutoffs[tested_A], y_A[tested_A], found.anomaly[tested_A]))
        done += len(poll)
        on_progress(done, len(rows))
    return kept, {name: count for name, count in zip(NAMES, counts.tolist(), strict=True) if count}


def _trained_again(name: str, models: Sequence[Model]) -> str:
    """Return a sentence about the models that were trained within a test: how many, and how many were cut short."""
    if not models:
        return f"{name} was not trained again: the test is no longer than the time after which it would be"
    limited = at_their_limit(models)
    times = f"{counted(len(models), 'time')} within the test, each time on all rows before"
    return f"{name} was trained again {times}{f'; {limited}' if limited else ''}"


def at_their_limit(models: Sequence[Model]) -> str:
    """Return how many of several trainings their time limit ended, and how many within the first epoch; '' for none."""
    ended = [model.facts for model in models if model.facts.get("stopped") == "max_seconds"]
    if not ended:
        return ""
    within = sum(not facts.get("whole_epochs", 1) for facts in ended)
    early = f", {within:,} of them before the end of the first epoch" if within else ""
    return f"{len(ended):,} of {counted(len(models), 'training')} ended at the time limit{early}"
