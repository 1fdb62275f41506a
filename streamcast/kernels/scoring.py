"""Forecasts in the units of the series, and their scores once the forecast bars are observed.

Legend: K steps, A answers, H horizon, Q quantiles, J scored steps ahead.

**Anomaly.**  The newest bar's value is compared with the forecast that was made one bar before.  The anomaly is the
share of bars that are less unusual: .9 is for one bar in ten.  Three numbers are looked at: the error |e|, and the
sizes of two slow means of signed errors, which find a level that has shifted (memories 12 and 48 bars; errors in units
of their mean size, clipped at 8).

From version 4 of a spec on, a fourth is how often the newest value has come in a row.  It finds a sensor that is dead
or stuck, whose errors vanish because the forecast follows.

Each has a tail of its own, because errors of one series are normal and those of another are spikes.  The tail begins
at u, the quantile that 2.5 % exceed (Robbins & Monro 1951; at least the mean), and is a power law: P(a > x) =
.025 · (u / x)^(1 / m), where m is the mean of ln(a / u) in the tail (Hill 1975).  Below u, P(a > x) is .025^(x / u).
A value counts in m as at most .5 more than m, so that one anomaly does not become the measure.  Memories are 1,000
bars.  The tail of runs learns from a run when it has ended, begins at 2 at least, and its P is of runs, not of bars.
The rarity of a bar is -log10 P, the largest of all, and the anomaly is (1 - 10^-rarity)^3: the share of bars of which
none of three independent numbers is so rare (Sidak 1967).  Runs, of which most series have none, are not counted there.

An event is reported once.  It begins when a number is one in a thousand (an anomaly of .997) and lasts 96 bars, two
memories of the slower mean.  Meanwhile, a bar that is ten times as rare as the event's beginning begins another; all
others have at most .9.

A spec before version 3 has the normal law of errors instead, whose variance forgets 1 % a bar.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from streamcast.kernels.loops import inlined, loop

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

# Columns of a score, which are those of ``streamcast.quality``: absolute error of the median, that of the naive
# forecast, mean pinball loss, and whether the outer quantiles held the outcome.
ERROR, NAIVE, PINBALL, COVERED = 0, 1, 2, 3

# Columns of a residual's state: how many errors, the rarity at which the newest event began, bars since then, the two
# slow means of signed errors (from MEANS on), and three tails (from TAILS on): of errors, then of the means.
COUNT, RARITY, SINCE, MEANS, TAILS = 0, 1, 2, 3, 5

# Columns of a tail: the mean of its values, u, m, and how many values were above u.
SIZE, START, EXCESS, EXCEEDED = 0, 1, 2, 3
TAIL = 4

RESIDUAL = TAILS + 3 * TAIL
"""Numbers of a residual's state."""

# Further columns where runs are counted: the newest value, how often it has come again in a row, how many runs have
# ended, and their tail (from RUNS on).
VALUE, RUN, ENDED, RUNS = RESIDUAL, RESIDUAL + 1, RESIDUAL + 2, RESIDUAL + 3
WITH_RUNS = RUNS + TAIL
"""Numbers of such a residual's state."""

NORMAL = 2
"""Numbers of a residual's state under the normal law: mean square, count."""
RESIDUAL_ALPHA = 0.01
"""What the normal law's mean square forgets, a bar."""

MEMORIES = (12.0, 48.0)
"""Bars that the slow means of errors remember."""
LARGEST_ERROR = 8.0
"""Errors are clipped here for the slow means, in units of their mean size."""
ROUNDING = 1e-9
"""An error below this share of the value is rounding: none."""

FORGET = 0.001
"""What the numbers of a tail forget, a bar."""
IN_TAIL = 0.025
"""The share of values that a tail has."""
TAIL_RARITY = -math.log10(IN_TAIL)
"""The rarity at which a tail begins."""
NATURAL = math.log(10.0)
FIRST_ERRORS = 40
"""Errors before the anomaly is known: 1 / IN_TAIL."""
FIRST_START = 4.0
"""Until then u is so many times their mean, as of a Laplace law."""
TRACKED = 8.0
"""Steps of u: so many times the rate of forgetting, as a share of u."""
PRIOR_EXCESS, PRIOR_EXCEEDED = 0.35, 2.0
"""What m is before the tail has values, and how many it counts for: a heavier tail than Laplace's, for caution."""
MOST_EXCESS = 0.5
"""How much more than m a value counts in m."""
MOST_RARITY = 12.0
LEAST_RUN = 2.0
"""Where the tail of runs begins at least."""
LAST_DIGITS = 1e-12
"""Values that differ by less than this share are the same in a run: means of equal readings differ by rounding."""

EVENT_BARS = 96.0
"""How long an event lasts."""
EVENT_RARITY = 3.0
"""The rarity at which an event begins."""
FURTHER = 1.0
"""Powers of ten by which a bar must be rarer than its event's beginning to be reported."""
WITHIN_EVENT = 0.9
"""The largest anomaly of a bar that belongs to an event already reported."""


@loop
def scale_back(
    q: Singles, last: Floats, unit: Floats, lower: float, upper: float, forecast: Floats,
    finite: npt.NDArray[np.bool_],
) -> None:  # fmt: skip
    """Write normalised quantiles [A, H, Q] as forecasts in the units of the series, rising, within the bounds.

    ``finite`` [A] is False where one is not finite.
    """
    for a in range(q.shape[0]):
        finite[a] = True
        for h in range(q.shape[1]):
            for j in range(q.shape[2]):
                value = last[a] + unit[a] * q[a, h, j]
                if not math.isfinite(value):
                    finite[a] = False
                value, at = lower if value < lower else upper if value > upper else value, j
                while at > 0 and forecast[a, h, at - 1] > value:
                    forecast[a, h, at] = forecast[a, h, at - 1]
                    at -= 1
                forecast[a, h, at] = value


@loop
def score(
    awaiting: Floats, residual: Floats, slots: Ints, orders: Ints, observed: Floats, naive: Floats, answer: Ints,
    forecast: Floats, scored: Ints, levels: Floats, median: int,
    scores: Floats, before: Floats, anomaly: Floats,
) -> None:  # fmt: skip
    """Score the pending forecasts of each step's bar, then store the step's own forecast as pending.

    awaiting [slots, sum of scored, Q] (the pending forecasts) and residual [slots, RESIDUAL] (or [slots, NORMAL]) are
    state; observed [K] has NaN where missing, naive [K, J]; answer [K] is the step's answer or -1; forecast [A, H, Q].
    Writes scores [K, J, 4] (NaN where no forecast was pending), before [K, J, Q] (the overwritten forecasts, for
    discard), anomaly [A]: the share of bars that are less unusual (NaN while unknown).
    """
    for k in range(slots.shape[0]):
        slot, a = slots[k], answer[k]
        y = observed[k]
        surprise = math.nan  # the error of the forecast that was made one bar before
        base = 0
        for j in range(scored.shape[0]):
            ahead = scored[j]
            issued = awaiting[slot, base + orders[k] % ahead]
            base += ahead
            scores[k, j] = math.nan
            if orders[k] >= ahead and not math.isnan(issued[0]) and not math.isnan(y):
                _compare(issued, y, naive[k, j], levels, median, scores[k, j])
                if ahead == 1:
                    surprise = y - issued[median]
            for q in range(levels.shape[0]):
                before[k, j, q] = issued[q]
                issued[q] = forecast[a, ahead - 1, q] if a >= 0 else math.nan
        if orders[k] == 0:
            residual[slot] = 0.0
        share = _anomaly(residual[slot], y, surprise, a >= 0)
        if a >= 0:
            anomaly[a] = share


@inlined
def _compare(issued: Floats, y: float, naive: float, levels: Floats, median: int, score: Floats) -> None:
    """Write the score [4] of a forecast [Q] whose outcome is y."""
    last, loss = levels.shape[0] - 1, 0.0
    for q in range(last + 1):
        e = y - issued[q]
        loss += levels[q] * e if e >= 0.0 else (levels[q] - 1.0) * e
    score[ERROR] = abs(y - issued[median])
    score[NAIVE] = abs(y - naive)
    score[PINBALL] = loss / (last + 1)
    score[COVERED] = 1.0 if issued[0] <= y <= issued[last] else 0.0


@inlined
def _anomaly(residual: Floats, y: float, surprise: float, answered: bool) -> float:
    """Take the error of one bar, NaN where there is none; return the bar's anomaly, NaN while unknown.

    Only an answer reports an event.
    """
    if residual.shape[0] == NORMAL:
        return math.nan if math.isnan(surprise) else _normal_law(residual, surprise)
    residual[SINCE] += 1.0
    run = _rarity_of_run(residual, y) if residual.shape[0] == WITH_RUNS and not math.isnan(y) else 0.0
    if math.isnan(surprise):
        return math.nan
    rarity = _rarity_of_error(residual, 0.0 if abs(surprise) < ROUNDING * abs(y) else surprise)
    return _report(residual, max(rarity, run)) if answered and not math.isnan(rarity) else math.nan


@inlined
def _rarity_of_error(residual: Floats, error: float) -> float:
    """Take one error; return how rare it or a mean of errors is, in powers of ten, NaN while unknown."""
    residual[COUNT] += 1.0
    count, size = residual[COUNT], residual[TAILS + SIZE]
    relative = min(max(error / size, -LARGEST_ERROR), LARGEST_ERROR) if size > 0.0 else 0.0
    rarity = _rarity(residual[TAILS : TAILS + TAIL], count, abs(error))
    for i in range(2):
        residual[MEANS + i] += (relative - residual[MEANS + i]) / MEMORIES[i]
        first = TAILS + (1 + i) * TAIL
        rarity = max(rarity, _rarity(residual[first : first + TAIL], count, abs(residual[MEANS + i])))
    return rarity if count > FIRST_ERRORS else math.nan


@inlined
def _mean_excess(tail: Floats) -> float:
    """Return m, of which few values say little."""
    counted = tail[EXCEEDED]
    return (tail[EXCESS] * counted + PRIOR_EXCESS * PRIOR_EXCEEDED) / (counted + PRIOR_EXCEEDED)


@inlined
def _rarity_beyond(excess: float, mean: float) -> float:
    """Return the rarity of a value of which ln(value / u) is ``excess``, where ``mean`` is m."""
    return min(TAIL_RARITY + excess / (mean * NATURAL), MOST_RARITY)


@loop
def _rarity_of_run(residual: Floats, y: float) -> float:
    """Take one value; return how rare it is, in powers of ten, that one comes so often in a row."""
    tail = residual[RUNS : RUNS + TAIL]
    if residual[ENDED] == 0.0 or abs(y - residual[VALUE]) > LAST_DIGITS * abs(y):
        residual[ENDED] += 1.0
        _rarity(tail, residual[ENDED], residual[RUN])
        tail[START] = max(tail[START], LEAST_RUN)
        residual[VALUE], residual[RUN] = y, 0.0
        return 0.0
    residual[RUN] += 1.0
    if residual[ENDED] <= FIRST_ERRORS or residual[RUN] <= tail[START]:
        return 0.0
    return _rarity_beyond(math.log(residual[RUN] / tail[START]), _mean_excess(tail))


@loop
def _rarity(tail: Floats, count: float, value: float) -> float:
    """Take the ``count``-th value (not negative) into a tail; return how rare it was before, in powers of ten."""
    rate = max(1.0 / count, FORGET)
    start, rarity, exceeded = tail[START], 0.0, value > tail[START]
    if exceeded and start > 0.0:
        excess, expected = math.log(value / start), _mean_excess(tail)
        rarity = _rarity_beyond(excess, expected)
        if count > FIRST_ERRORS:
            tail[EXCEEDED] += 1.0
            share = max(1.0 / tail[EXCEEDED], FORGET / IN_TAIL)
            tail[EXCESS] += share * (min(excess, expected + MOST_EXCESS) - tail[EXCESS])
    elif exceeded:
        rarity = MOST_RARITY
    elif start > 0.0:
        rarity = TAIL_RARITY * value / start
    tail[SIZE] += rate * (value - tail[SIZE])
    if count <= FIRST_ERRORS:
        tail[START] = FIRST_START * tail[SIZE]
    else:
        tail[START] = max(start * (1.0 + TRACKED * rate * ((1.0 if exceeded else 0.0) - IN_TAIL)), tail[SIZE])
    return rarity


@loop
def _report(residual: Floats, rarity: float) -> float:
    """Return the anomaly of an answer whose bar is so rare; an event is reported when it begins."""
    usual = 1.0 - math.exp(-rarity * NATURAL)
    share = usual * usual * usual
    if residual[RARITY] > 0.0 and residual[SINCE] <= EVENT_BARS and rarity <= residual[RARITY] + FURTHER:
        return min(share, WITHIN_EVENT)
    if rarity >= EVENT_RARITY:
        residual[RARITY], residual[SINCE] = rarity, 0.0
    return share


@loop
def _normal_law(residual: Floats, error: float) -> float:
    """Take one error into [mean square, count]; return the share of smaller ones if errors are normal."""
    spread = math.sqrt(residual[0])
    residual[1] += 1.0
    residual[0] += max(1.0 / residual[1], RESIDUAL_ALPHA) * (error * error - residual[0])
    return math.erf(abs(error) / (spread * math.sqrt(2.0))) if spread > 0.0 else math.nan
