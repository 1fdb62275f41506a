"""Simple forecasts to compare a model with: last value, seasonal naive, moving average, ridge on lags.

A baseline is fitted on the training part of a panel and returns a function that forecasts from any bars of it.
A missing bar is filled with the value before it, and a window that reaches back before a series began with the series'
first value; the seasonal naive forecast takes the newest observed value of the same place in the season instead.  There
is no forecast from a cutoff before a series' first value.

All that this package knows of the seasonal naive forecast is here: the forecast (``season_repeated``), its error at a
lag of whole seasons (``seasonal_error``), and the unit of the MASE (``seasonal_scale``).  The service scores the same
forecast online, in kernels/advance.py.
Shapes: K series, T bars of the panel, N cutoffs (bar numbers of the newest bar known), H steps ahead, L lags.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from streamcast.offline.evaluation.accuracy import absolute_error, mean
from streamcast.offline.evaluation.ridge import NormalEquations
from streamcast.quality import OLDER_SEASONS

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Forecast = Callable[[Floats, Integers], Floats]
"""From bars [K, T] and cutoffs [N] to forecasts [K, N, H]; nothing after a cutoff is looked at."""

LAST_VALUE, SEASONAL_NAIVE = "last value", "seasonal naive"
"""Their names in reports; skill is relative to one of them, see ``reference``."""

RIDGE, RIDGE_REFITTED = "ridge on lags", "ridge refitted"
FEWEST_LAGS = 2
"""Least lags of a regression: it reads the bars less the newest one, so that one lag is always 0."""

_ROWS = 8_192  # windows at once, which bounds memory


class Baseline(Protocol):
    """A way to forecast; ``fit`` learns from ``y_KT`` and returns what forecasts ``horizon`` steps."""

    def fit(self, y_KT: Floats, horizon: int) -> Forecast:
        """Return the forecast function."""


def standard(naive: int, season: int, lags: int = 336) -> dict[str, Baseline]:
    """Return the baselines that every backtest prints, by name.

    Seasonal naive reads ``naive`` bars back, or the ``season`` where that is the last value; one refits every
    ``season`` bars.  Without ``lags`` there are no regressions.
    """
    seasonal = naive if naive > 1 else season
    return {
        LAST_VALUE: LastValue(),
        **({SEASONAL_NAIVE: SeasonalNaive(seasonal)} if seasonal > 1 else {}),
        "moving average": MovingAverage(season),
        **({RIDGE: Ridge(lags), RIDGE_REFITTED: RefittedRidge(season, lags)} if lags else {}),
    }


def lags_to_learn(y_KT: Floats, horizon: int, most: int) -> int:
    """Return how many lags a regression on bars [K, T] reads: ``most``, or fewer, so that it has as many cutoffs.

    0 where it can learn nothing, because bars are too few, missing or all alike: it would repeat the last value.
    """
    lags = min(most, (y_KT.shape[1] - horizon + 1) // 2)
    if lags < FEWEST_LAGS:
        return 0
    bars = Bars.of(y_KT)
    rows = _rows(bars, bars.deviations(), horizon, lags)
    return lags if any(x_NL.any() and y_NH.any() for x_NL, y_NH in rows) else 0


def reference(naive: int) -> tuple[str, Baseline]:
    """Return the simple forecast that skill is relative to, with its name: the one that reads ``naive`` bars back."""
    return (LAST_VALUE, LastValue()) if naive == 1 else (SEASONAL_NAIVE, SeasonalNaive(naive))


@dataclass(frozen=True, slots=True)
class LastValue:
    """Every step is the newest value."""

    def fit(self, y_KT: Floats, horizon: int) -> Forecast:
        """Return the forecast function."""
        return lambda y_KT, cutoffs_N: np.repeat(Bars.of(y_KT).known(cutoffs_N)[:, :, None], horizon, axis=2)


@dataclass(frozen=True, slots=True)
class SeasonalNaive:
    """Step h is the newest known value that lies a whole number of seasons before it; see ``season_repeated``."""

    season: int

    def fit(self, y_KT: Floats, horizon: int) -> Forecast:
        """Return the forecast function."""

        def forecast(y_KT: Floats, cutoffs_N: Integers) -> Floats:
            bars = Bars.of(y_KT)
            season_KNH = season_repeated(bars.y_KT, bars.filled_KT, cutoffs_N, horizon, self.season)
            return np.where(np.isnan(bars.known(cutoffs_N))[:, :, None], np.nan, season_KNH)

        return forecast


def season_repeated(y_KT: Floats, filled_KT: Floats, cutoffs_N: Integers, horizon: int, season: int) -> Floats:
    """Return the seasonal naive forecasts of H steps from N cutoffs [K, N, H]: the newest value of the same place.

    Where that bar is missing, ``OLDER_SEASONS`` earlier ones are tried, and then its filled value is taken.
    """
    step_H = np.arange(1, horizon + 1)
    first_NH = cutoffs_N[:, None] + step_H - seasons_back(step_H, season)
    found_KNH = filled_KT[:, np.maximum(first_NH, 0)]
    for older in reversed(range(OLDER_SEASONS + 1)):
        earlier_NH = first_NH - older * season
        value_KNH = y_KT[:, np.maximum(earlier_NH, 0)]
        found_KNH = np.where((earlier_NH < 0) | np.isnan(value_KNH), found_KNH, value_KNH)
    return found_KNH


def seasons_back(step_H: Integers, season: int) -> Integers:
    """Return how many bars before the outcome of each step its seasonal naive forecast lies: whole seasons [H]."""
    return -(-step_H // season) * season


def seasonal_error(y_XT: Floats, back: int) -> Floats:
    """Return |y(t) − y(t − back)| [..., T − back]: the error of seasonal naive where ``back`` is whole seasons."""
    return absolute_error(y_XT[..., back:], y_XT[..., :-back])


def seasonal_scale(past_T: ArrayLike, season: int) -> float:
    """Return the mean of |y(t) − y(t − season)| over the past of one series: what the MASE divides the MAE by.

    Hyndman and Koehler 2006, "Another look at measures of forecast accuracy".
    NaN when no pair is observed, or all pairs are equal.
    """
    return mean(seasonal_error(np.asarray(past_T, np.float64), season)) or np.nan


@dataclass(frozen=True, slots=True)
class MovingAverage:
    """Every step is the mean of the newest ``window`` bars."""

    window: int

    def fit(self, y_KT: Floats, horizon: int) -> Forecast:
        """Return the forecast function."""
        weights_LH = np.full((self.window, horizon), 1 / self.window)
        return lambda y_KT, cutoffs_N: _apply(weights_LH, Bars.of(y_KT), cutoffs_N)


@dataclass(frozen=True, slots=True)
class Ridge:
    """Step h is last + Σ w(l, h)·(y(t − l) − last), one W for all series, by penalised least squares.

    The closed form of NLinear (Zeng et al. 2023, "Are transformers effective for time series forecasting?").  Series
    are divided by their standard deviation; the penalty is in units of the mean diagonal of XᵀX.
    """

    lags: int = 336
    penalty: float = 0.01

    def fit(self, y_KT: Floats, horizon: int) -> Forecast:
        """Return the forecast function."""
        bars = Bars.of(y_KT)
        weights_LH = _solved(_normal_equations(bars, bars.deviations(), horizon, self.lags), self.penalty)
        return lambda y_KT, cutoffs_N: _apply(weights_LH, Bars.of(y_KT), cutoffs_N)


@dataclass(frozen=True, slots=True)
class RefittedRidge:
    """``Ridge`` that is fitted again after every ``every`` bars of the test part, from the outcomes known by then.

    At each fit the older outcomes count ``forgetting`` times as much as at the fit before.
    """

    every: int
    lags: int = 336
    penalty: float = 0.01
    forgetting: float = 0.98

    def fit(self, y_KT: Floats, horizon: int) -> Forecast:
        """Return the forecast function, for bars that begin with the training part.

        It raises ValueError for cutoffs before the last bar of the training part.
        """
        trained, learnt = y_KT.shape[1], Bars.of(y_KT)
        scale_K = learnt.deviations()
        first = _normal_equations(learnt, scale_K, horizon, self.lags)

        def forecast(y_KT: Floats, cutoffs_N: Integers) -> Floats:
            part_N = (cutoffs_N + 1 - trained) // self.every
            if (part_N < 0).any():
                raise ValueError(
                    f"cutoff {cutoffs_N.min()} lies before {trained - 1}, the last bar of the training part;"
                    " give later cutoffs, or fit on fewer bars"
                )
            bars, equations = Bars.of(y_KT), first
            out_KNH = np.empty((len(y_KT), len(cutoffs_N), horizon))
            for part in range(int(part_N.max(initial=0)) + 1):
                if part:
                    known = trained + part * self.every
                    newer = _normal_equations(bars, scale_K, horizon, self.lags, known - self.every, known)
                    equations = equations.followed_by(newer, self.forgetting)
                now_N = part_N == part
                if now_N.any():
                    weights_LH = _solved(equations, self.penalty)
                    out_KNH[:, now_N] = _apply(weights_LH, bars, cutoffs_N[now_N])
            return out_KNH

        return forecast


@dataclass(frozen=True, slots=True)
class Bars:
    """A panel's target, raw and filled, and whether each series has begun."""

    y_KT: Floats
    filled_KT: Floats
    begun_KT: NDArray[np.bool_]

    @classmethod
    def of(cls, y_KT: Floats) -> Bars:
        seen_KT = ~np.isnan(y_KT)
        newest_KT = np.maximum.accumulate(np.where(seen_KT, np.arange(y_KT.shape[1]), 0), axis=1)
        place_KT = np.maximum(newest_KT, seen_KT.argmax(axis=1)[:, None])
        return cls(y_KT, np.take_along_axis(y_KT, place_KT, axis=1), np.logical_or.accumulate(seen_KT, axis=1))

    def known(self, cutoffs_N: Integers) -> Floats:
        """Return the newest value at each cutoff [K, N]; NaN before a series begins."""
        return np.where(self.begun_KT[:, cutoffs_N], self.filled_KT[:, cutoffs_N], np.nan)

    def windows(self, series: int, cutoffs_N: Integers, length: int) -> tuple[Floats, Floats]:
        """Return the ``length`` bars up to each cutoff less the last one [N, L], and the last one [N, 1]."""
        filled_T = self.filled_KT[series]
        padded = np.concatenate([np.full(length - 1, filled_T[0]), filled_T])
        x_NL = sliding_window_view(padded, length)[cutoffs_N]
        return x_NL - x_NL[:, -1:], x_NL[:, -1:]

    def deviations(self) -> Floats:
        """Return each series' standard deviation [K], 0 where nothing was observed."""
        observed = (y_T[~np.isnan(y_T)] for y_T in self.y_KT)
        return np.array([y.std() if y.size else 0.0 for y in observed])


def _rows(
    bars: Bars, scale_K: Floats, horizon: int, lags: int, start: int = 0, stop: int | None = None
) -> Iterator[tuple[Floats, Floats]]:
    """Yield blocks of windows [N, L] and outcomes [N, H], scaled and less the newest value.

    They are those whose last outcome lies in bars [start, stop) and whose outcomes are all observed.
    """
    end = (bars.y_KT.shape[1] if stop is None else stop) - horizon
    for series in np.flatnonzero(scale_K > 0).tolist():
        begin = max(start - horizon, lags - 1, int(bars.begun_KT[series].argmax()))
        for first in range(begin, end, _ROWS):
            cutoffs_N = np.arange(first, min(first + _ROWS, end))
            x_NL, last_N1 = bars.windows(series, cutoffs_N, lags)
            y_NH = bars.y_KT[series, cutoffs_N[:, None] + np.arange(1, horizon + 1)] - last_N1
            whole_N = ~np.isnan(y_NH).any(axis=1)
            yield x_NL[whole_N] / scale_K[series], y_NH[whole_N] / scale_K[series]


def _normal_equations(
    bars: Bars, scale_K: Floats, horizon: int, lags: int, start: int = 0, stop: int | None = None
) -> NormalEquations:
    """Return the sums over ``_rows``."""
    equations = NormalEquations.empty(lags, horizon)
    for x_NL, y_NH in _rows(bars, scale_K, horizon, lags, start, stop):
        equations.add(x_NL, y_NH)
    return equations


def _solved(equations: NormalEquations, penalty: float) -> Floats:
    """Return W [L, H]; zero, which is the last value, when there was nothing to learn from."""
    return next(equations.solutions([penalty]))


def _apply(weights_LH: Floats, bars: Bars, cutoffs_N: Integers) -> Floats:
    """Return last + (window − last)·W [K, N, H]; NaN before a series begins."""
    out_KNH = np.empty((len(bars.y_KT), len(cutoffs_N), weights_LH.shape[1]))
    for series, out_NH in enumerate(out_KNH):
        x_NL, last_N1 = bars.windows(series, cutoffs_N, len(weights_LH))
        out_NH[:] = last_N1 + x_NL @ weights_LH
    out_KNH[~bars.begun_KT[:, cutoffs_N]] = np.nan
    return out_KNH
