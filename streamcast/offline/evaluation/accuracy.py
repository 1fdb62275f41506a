"""How good forecasts are: errors element by element, and their means.

Every error function is one expression over arrays that broadcast, and is NaN where the outcome or the forecast is:
NaN means not scored.  MAE is ``mean(absolute_error(actual, forecast))``.
Shapes: N cutoffs (rows), Q quantile levels, K series; ``…`` is any shape.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def absolute_error(actual: ArrayLike, forecast: ArrayLike) -> Floats:
    """Return |actual − forecast| [...]; its mean is the MAE."""
    return np.abs(np.subtract(actual, forecast, dtype=np.float64))


def squared_error(actual: ArrayLike, forecast: ArrayLike) -> Floats:
    """Return (actual − forecast)² [...]; its mean is the MSE."""
    return np.square(np.subtract(actual, forecast, dtype=np.float64))


def pinball(actual: ArrayLike, forecast: ArrayLike, level: ArrayLike) -> Floats:
    """Return max(τ·e, (τ − 1)·e) [...], e = actual − forecast of the quantile τ = ``level``."""
    error = np.subtract(actual, forecast, dtype=np.float64)
    return np.maximum(np.multiply(level, error), np.multiply(np.subtract(level, 1.0), error))


def covered(actual: ArrayLike, low: ArrayLike, high: ArrayLike) -> Floats:
    """Return 1 where low ≤ actual ≤ high, else 0 [...]; its mean is the coverage."""
    inside = np.less_equal(low, actual) & np.less_equal(actual, high)
    return np.where(np.isnan(np.add(actual, np.add(low, high))), np.nan, inside)


def width(low: ArrayLike, high: ArrayLike) -> Floats:
    """Return the width of the interval [...]."""
    return np.subtract(high, low, dtype=np.float64)


def hit(actual: ArrayLike, forecast: ArrayLike, origin: ArrayLike) -> Floats:
    """Return 1 where the forecast moves from ``origin`` to the same side as the outcome, else 0 [...].

    NaN where either does not move.
    """
    moves = np.sign(np.subtract(actual, origin)) * np.sign(np.subtract(forecast, origin))
    return np.where(np.isnan(moves) | (moves == 0), np.nan, moves > 0)


def mean(error: ArrayLike) -> float:
    """Return the mean of the errors that are not NaN; NaN when all are."""
    scored = np.asarray(error, np.float64)
    scored = scored[~np.isnan(scored)]
    return float(scored.mean()) if scored.size else np.nan


def usual(values: ArrayLike) -> float | None:
    """Return the value that more than half of the values are, which is their median; None where there is none."""
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    if not known.size:
        return None
    middle = float(np.quantile(known, 0.5, method="lower"))
    return middle if 2 * np.count_nonzero(known == middle) > known.size else None


def skill(error: float, reference: float) -> float:
    """Return the part of the reference's error that is avoided: 1 is perfect, 0 as good, negative is worse."""
    return 1.0 - error / reference if reference else np.nan


def geometric_mean(ratio_K: ArrayLike) -> float:
    """Return the geometric mean of the ratios that are not NaN, so that doubling and halving cancel; NaN for none.

    Fleming and Wallace 1986, "How not to lie with statistics: the correct way to summarize benchmark results".
    """
    return float(np.exp(mean(np.log(np.asarray(ratio_K, np.float64)))))


class HitRate(NamedTuple):
    """A share of hits, its confidence interval, and the share that always naming the commoner direction hits."""

    rate: float
    low: float
    high: float
    majority: float


def hit_rate(actual_N: ArrayLike, forecast_N: ArrayLike, origin_N: ArrayLike, z: float = 1.96) -> HitRate:
    """Return the direction hit rate of one step ahead, with Wilson's interval at ``z`` standard deviations.

    The interval assumes independent outcomes: give cutoffs at least that step apart.  All NaN when nothing moved.
    Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    hits = hit(actual_N, forecast_N, origin_N)
    up = np.where(np.isnan(hits), np.nan, np.greater(actual_N, origin_N))
    n, p = int(np.sum(~np.isnan(hits))), mean(hits)
    if n == 0:
        return HitRate(np.nan, np.nan, np.nan, np.nan)
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return HitRate(p, float(centre - half), float(centre + half), max(mean(up), 1 - mean(up)))
