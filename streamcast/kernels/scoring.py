"""Forecasts in the units of the series, and their scores once the forecast bars are observed.

Legend: K steps, A answers, H horizon, Q quantiles, J scored steps ahead.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

ERROR, PINBALL, COVERED, NAIVE = 0, 1, 2, 3
"""Columns of a score: absolute error of the median, mean pinball loss, covered by the outer quantiles, naive error."""

RESIDUAL_ALPHA = 0.01


@njit(cache=True)
def scale_back(q: Singles, last: Floats, unit: Floats, lower: float, forecast: Floats) -> npt.NDArray[np.bool_]:
    """Turn normalised quantiles [A, H, Q] into forecasts in the units of the series, none below ``lower``.

    False where one is not finite.
    """
    finite = np.ones(q.shape[0], np.bool_)
    for a in range(q.shape[0]):
        for h in range(q.shape[1]):
            for j in range(q.shape[2]):
                value = last[a] + unit[a] * q[a, h, j]
                forecast[a, h, j] = lower if value < lower else value
                if not math.isfinite(value):
                    finite[a] = False
    return finite


@njit(cache=True)
def score(
    awaiting: Floats, residual: Floats, slots: Ints, orders: Ints, observed: Floats, naive: Floats, answer: Ints,
    forecast: Floats, scored: Ints, levels: Floats, median: int,
    scores: Floats, before: Floats, anomaly: Floats,
) -> None:  # fmt: skip
    """Score the pending forecasts of each step's bar, then store the step's own forecast as pending.

    awaiting [slots, sum of scored, Q] and residual [slots, 2] (mean square, count) are state; observed [K] has
    NaN where missing, naive [K, J]; answer [K] is the step's answer or -1; forecast [A, H, Q].  Writes scores
    [K, J, 4] (NaN where no forecast was pending), before [K, J, Q] (the overwritten forecasts, for discard),
    anomaly [A]: the probability that an error is smaller than this one, if one-step errors are normal (NaN until
    there are errors).
    """
    last = levels.shape[0] - 1
    for k in range(slots.shape[0]):
        slot, a = slots[k], answer[k]
        y = observed[k]
        surprise = math.nan
        base = 0
        for j in range(scored.shape[0]):
            ahead = scored[j]
            cell = awaiting[slot, base + orders[k] % ahead]
            base += ahead
            scores[k, j] = math.nan
            if orders[k] >= ahead and not math.isnan(cell[0]) and not math.isnan(y):
                loss = 0.0
                for q in range(last + 1):
                    e = y - cell[q]
                    loss += levels[q] * e if e >= 0.0 else (levels[q] - 1.0) * e
                scores[k, j, ERROR] = abs(y - cell[median])
                scores[k, j, PINBALL] = loss / (last + 1)
                scores[k, j, COVERED] = 1.0 if cell[0] <= y <= cell[last] else 0.0
                scores[k, j, NAIVE] = abs(y - naive[k, j])
                if ahead == 1:
                    surprise = y - cell[median]
            before[k, j] = cell
            if a < 0:
                cell[:] = math.nan
            else:
                cell[:] = forecast[a, ahead - 1]
        if orders[k] == 0:
            residual[slot] = 0.0
        if a >= 0:
            spread = math.sqrt(residual[slot, 0])
            anomaly[a] = math.erf(abs(surprise) / (spread * math.sqrt(2.0))) if spread > 0.0 else math.nan
        if not math.isnan(surprise):
            residual[slot, 1] += 1.0
            rate = max(1.0 / residual[slot, 1], RESIDUAL_ALPHA)
            residual[slot, 0] += rate * (surprise * surprise - residual[slot, 0])
