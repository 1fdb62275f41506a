"""The online layer: per series, it mixes the network with simple forecasts and keeps the intervals' coverage.

One call of ``learn_and_answer`` takes the steps of a chunk in order.  For each step it settles the forecasts of this
bar, updates what is learned, and turns the network's forecast into the final one.  It reads outcomes up to the
cutoff only.  All numbers are float64; an outcome that is not finite counts as missing, and outcomes are clipped at
1e100.  The network's forecast counts only if all of it is finite.

Legend: K steps, A answers, H horizon, Q levels, S seasons in bars (ascending; the first, S0, is the "day"), L scored
steps (the ladder), G regression steps (a coarser ladder), E experts, P features, B parts of the day; t the newest
bar, u = t + h a target bar, N missing: NaN.

**Values at a place.**  v_k(u) is the observed value at u − k·S_i, k from ⌈h / S_i⌉ on.  N_i(u) is the first observed
one of the first four.  M_i(u) is the mean over D_i of them (10 for the first season, 5 for longer ones), without the
largest and the smallest if there are more than two.  base(u) is M of the longest season that has one, else the last
value.  Both are written once, when a bar comes within min(H, S_i) bars: all that they read is observed by then, and
at earlier distances the place is a whole season earlier, which has been written too.

**Deviations.**  d(t) = y(t) − base(t).  Kept: d, its means of memory S0/4 and S0 bars, N_0(t) − base(t), the slope
y(t) − y(last), the mean of |d| by part of the day, and d over that mean: now, its fast and its slow mean, within ±6.

**Features** of u at the cutoff, 2·S + 9: N_i − base; M_i − base (all but the longest season); the five numbers of the
cutoff above; d at the same place of the newest day; the three scaled deviations times the mean |d| of u's part of the
day; the mean of the last three days at the place, minus base.

**Regressions.**  Two weighted recursive least squares for each of the G steps forecast y − base.  Both sides are
divided by the mean |d| and clipped at ±50; the weight is 1 / max(|error| / sigma, .3), so that they aim at the median;
memories are 120 and 7 days, the ridge is 10.  One of the 2·G systems is solved a bar, in a cycle (Cholesky).

**Weights.**  ML-Poly on the gradient (Gaillard, Stoltz & van Erven 2014, arXiv 1402.2044).  With the mixture m of
today's weights: r_e = sign(m − y)·(m − f_e) / sigma within ±10; R_e ← (1 − forget/S0)·R_e + r_e; V_e ← max(1,
(1 − forget/S0)·V_e + r_e²).  w_e ∝ max(0, (R_e + R̄_e)/2) / ((V_e + V̄_e)/2), where R̄, V̄ are means over the ladder;
if all are zero, the old weights stay.  A missing expert has no vote, and the others share its weight.

**Levels.**  sigma is the running mean of |y − m|, memory 60 + 3·h bars; its share by part of the day has a memory of
14 days; local = sigma · max(share, .05).  With z_j the normal quantile in mean absolute errors, and a the network's
weight: s_j = a·(network_j − network's median) + (1 − a)·z_j·local, q_j = m + s_j + theta_j·max(|s_j| / max(|z_j|, .25),
.05·local), at least ``lower``, ordered outwards from the median.  theta_j ← theta_j + eta·(level_j − [y < issued
q_j]) within ±20: adaptive conformal inference (Gibbs & Candès 2021, arXiv 2106.00170), eta = max(coverage step ·
h^-.3 · √min(1, 24/S0), 1/(n + 10)).

Between scored steps, weights, sigma and theta are linear in the step, and so are the coefficients of the regressions.

numba's cache notices changes in a loop's own file only, so all loops are in this file.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# Columns of LayerState.cutoff: the last value, then the features that belong to a cutoff.
LAST, DEVIATION, NAIVE_DEVIATION, FAST, SLOW, SLOPE, SCALED, FAST_SCALED, SLOW_SCALED = 0, 1, 2, 3, 4, 5, 6, 7, 8
CUTOFF = 9

# Columns of LayerState.moments: the columns of a cutoff up to SCALED, then these, then the mean |d| and the share of
# the error by part of the day, B each.
SEEN, SCALE, COUNT, FAST_SIZE, SLOW_SIZE = 7, 8, 9, 10, 11
MOMENTS = 12

# Columns of LayerState.places.
NEWEST, TRIMMED, RECENT = 0, 1, 2
PLACES = 3

NEWEST_OF = 4
RECENT_DAYS = 3
LARGEST = 1e100
RIDGE = 10.0
LONG_DAYS, SHORT_DAYS = 120.0, 7.0
LEAST_ERROR = 0.3
REGRESSION_CLIP = 50.0
REGRET_CLIP = 10.0
SCALED_CLIP = 6.0
SHARE_DAYS = 14.0
LEAST_SHARE = 0.05
MOST_TRACKED = 20.0
TINY = 1e-100


class LayerPlan(NamedTuple):
    """The constants of a model spec that the layer needs."""

    horizon: int
    seasons: Ints  # S
    depths: Ints  # S: earlier seasons of a trimmed mean
    lead: Ints  # S: how many bars ahead places are written
    places_start: Ints  # S + 1: where a season's ring begins
    places_ago: Ints  # H + 1, S: steps since the places of bar t + h were written
    day_ago: Ints  # H + 1: bars from the same place of the newest day to t + h
    parts: Ints  # S0: the part of the day of each of its bars
    ladder: Ints  # L
    pending_start: Ints  # L + 1: where a scored step's ring begins
    step: Ints  # H + 1: the scored step at or below
    step_next: Ints  # H + 1: the scored step at or above
    step_share: Floats  # H + 1: how far between
    own: Ints  # L: the regression step of a scored step, or -1
    rung: Ints  # H + 1, the same three for regression steps
    rung_next: Ints
    rung_share: Floats
    systems: int  # G, 0 without regressions
    levels: Floats  # Q
    normal: Floats  # Q: normal quantiles in mean absolute errors
    median: int
    lower: float
    keep: float  # of regrets, a bar
    coverage_step: Floats  # L
    error_rate: Floats  # L
    first_regret: Floats  # E


class LayerState(NamedTuple):
    """The arrays of the slab that the layer changes, one row a series; the first five are rings."""

    observed: Floats  # slots, bars: outcomes, NaN where missing
    deviation: Floats  # slots, bars
    cutoff: Floats  # slots, H + 1, CUTOFF
    places: Floats  # slots, sum of rings, PLACES
    pending: Floats  # slots, sum of ladder, 2·Q: the network's levels, the issued levels
    moments: Floats  # slots, MOMENTS + 2·B
    regression: Floats  # slots, 2, G, P·(P+1)/2 + 2·P: lower triangle, right side, coefficients
    mixture: Floats  # slots, L, 3·E + 2 + Q: regrets, second moments, weights, sigma, outcomes, theta


class Overwritten(NamedTuple):
    """The ring cells that K steps overwrote, for discard."""

    observed: Floats  # K
    deviation: Floats  # K
    cutoff: Floats  # K, CUTOFF
    places: Floats  # K, S, PLACES
    pending: Floats  # K, L, 2·Q


@njit(cache=True, error_model="numpy")
def _within(value: float, most: float) -> float:
    return min(max(value, -most), most)


@njit(cache=True, error_model="numpy")
def _reset(plan: LayerPlan, moments: Floats, regression: Floats, mixture: Floats) -> None:
    """Give a series the state of a new one; its rings have no bar, so that old cells are never read."""
    experts = plan.first_regret.shape[0]
    moments[:] = 0.0
    moments[(moments.shape[0] + MOMENTS) // 2 :] = 1.0
    regression[:] = 0.0
    mixture[:] = 0.0
    total = plan.first_regret.sum()
    for step in range(mixture.shape[0]):
        for e in range(experts):
            mixture[step, e] = plan.first_regret[e]
            mixture[step, experts + e] = 1.0
            mixture[step, 2 * experts + e] = plan.first_regret[e] / total


@njit(cache=True, error_model="numpy")
def _write_place(observed: Floats, bar: int, season: int, depth: int, out: Floats) -> None:
    """Write the values at the place of ``bar``, one season back and more: newest, trimmed mean, mean of three."""
    size = observed.shape[0]
    newest, total, most, least, recent = math.nan, 0.0, -1e300, 1e300, 0.0
    count = recent_count = 0
    cell = (bar - season) % size
    for k in range(depth):
        if bar - (1 + k) * season < 0:
            break
        value = observed[cell]
        if not math.isnan(value):
            if count == 0 and k < NEWEST_OF:
                newest = value
            total += value
            count += 1
            most, least = max(most, value), min(least, value)
            if k < RECENT_DAYS:
                recent += value
                recent_count += 1
        cell -= season
        if cell < 0:
            cell += size
    out[NEWEST] = newest
    out[TRIMMED] = (total - most - least) / (count - 2) if count > 2 else total / count if count > 0 else math.nan
    out[RECENT] = recent / recent_count if recent_count > 0 else math.nan


@njit(cache=True, error_model="numpy")
def _base(plan: LayerPlan, places: Floats, cells: Ints, last: float) -> float:
    """Return the trimmed mean of the longest season that has one, else ``last``; a cell of -1 has no bar."""
    for s in range(cells.shape[0] - 1, -1, -1):
        if cells[s] >= 0 and not math.isnan(places[cells[s], TRIMMED]):
            return places[cells[s], TRIMMED]
    return last


@njit(cache=True, error_model="numpy")
def _find(plan: LayerPlan, t: int, h: int, late: int, at: Ints, cells: Ints) -> None:
    """Write where the places of bar t + h − late are, as they were known h bars before it; ``at`` is t in each ring."""
    for s in range(cells.shape[0]):
        ago = plan.places_ago[h, s] + late
        start = plan.places_start[s]
        if ago > t:
            cells[s] = -1
        else:
            cell = at[s] - ago
            cells[s] = start + (cell if cell >= 0 else cell + plan.places_start[s + 1] - start)


@njit(cache=True, error_model="numpy")
def _describe(
    places: Floats, cells: Ints, cutoff: Floats, base: float, deviation: float, part: float, x: Floats, expert: Floats
) -> None:
    """Write the features of a target bar, and all experts but the network and the regressions."""
    seasons = cells.shape[0]
    expert[1] = cutoff[LAST]
    for s in range(seasons):
        newest = trimmed = math.nan
        if cells[s] >= 0:
            newest, trimmed = places[cells[s], NEWEST], places[cells[s], TRIMMED]
        expert[2 + s], expert[2 + seasons + s] = newest, trimmed
        x[s] = 0.0 if math.isnan(newest) else newest - base
        if s < seasons - 1:
            x[seasons + s] = 0.0 if math.isnan(trimmed) else trimmed - base
    p = 2 * seasons - 1
    for i in range(DEVIATION, SLOPE + 1):
        x[p] = cutoff[i]
        p += 1
    x[p] = 0.0 if math.isnan(deviation) else deviation
    for i in range(3):
        x[p + 1 + i] = cutoff[SCALED + i] * part
    recent = places[cells[0], RECENT] if cells[0] >= 0 else math.nan
    x[p + 4] = 0.0 if math.isnan(recent) else recent - base


@njit(cache=True, error_model="numpy")
def _predict(low: Floats, high: Floats, share: float, first: int, x: Floats) -> float:
    """Return the regression between two of its steps; coefficients begin at ``first``."""
    value = 0.0
    if share > 0.0:
        for p in range(x.shape[0]):
            value += ((1.0 - share) * low[first + p] + share * high[first + p]) * x[p]
    else:
        for p in range(x.shape[0]):
            value += low[first + p] * x[p]
    return value


@njit(cache=True, error_model="numpy")
def _accumulate(system: Floats, x: Floats, target: float, weight: float, keep: float) -> None:
    """Add one weighted row to the normal equations, of which ``keep`` is remembered."""
    features = x.shape[0]
    cell = 0
    right = features * (features + 1) // 2
    for p in range(features):
        weighted = weight * x[p]
        system[right + p] = keep * system[right + p] + weighted * target
        for i in range(p + 1):
            system[cell + i] = keep * system[cell + i] + weighted * x[i]
        cell += p + 1


@njit(cache=True, error_model="numpy")
def _solve(system: Floats, features: int, lower: Floats, column: Floats, z: Floats) -> None:
    """Solve the normal equations plus RIDGE on the diagonal by Cholesky's factors; write the coefficients."""
    cell = 0
    for p in range(features):
        for i in range(p + 1):
            lower[p, i] = system[cell + i]
        lower[p, p] += RIDGE
        cell += p + 1
    for j in range(features):
        pivot = math.sqrt(max(lower[j, j], 1e-9))
        lower[j, j] = pivot
        for p in range(j + 1, features):
            column[p] = lower[p, j] / pivot
            lower[p, j] = column[p]
        for p in range(j + 1, features):
            factor = column[p]
            for i in range(j + 1, p + 1):
                lower[p, i] -= factor * column[i]
    for p in range(features):
        z[p] = system[cell + p]
    for j in range(features):
        z[j] /= lower[j, j]
        for p in range(j + 1, features):
            z[p] -= lower[p, j] * z[j]
    for j in range(features - 1, -1, -1):
        z[j] /= lower[j, j]
        for p in range(j):
            z[p] -= lower[j, p] * z[j]
    for p in range(features):
        system[cell + features + p] = z[p]


@njit(cache=True, error_model="numpy")
def _mix(weights: Floats, expert: Floats) -> float:
    """Return the weighted mean of the experts that have a forecast; without weight, the last such expert."""
    total = value = 0.0
    for e in range(expert.shape[0]):
        if not math.isnan(expert[e]):
            total += weights[e]
            value += weights[e] * expert[e]
    if total > 1e-12:
        return value / total
    for e in range(expert.shape[0] - 1, -1, -1):
        if not math.isnan(expert[e]):
            return expert[e]
    return math.nan


@njit(cache=True, error_model="numpy")
def _reweigh(mixture: Floats, experts: int, steps: int, mean: Floats, weights: Floats) -> None:
    """Set the weights of the first ``steps`` scored steps from their own regrets and the mean of all steps'."""
    ladder = mixture.shape[0]
    mean[:] = 0.0
    for step in range(ladder):
        for i in range(2 * experts):
            mean[i] += mixture[step, i] / ladder
    for step in range(steps):
        total = 0.0
        for e in range(experts):
            regret = 0.5 * mixture[step, e] + 0.5 * mean[e]
            moment = 0.5 * mixture[step, experts + e] + 0.5 * mean[experts + e]
            weights[e] = max(regret, 0.0) / moment
            total += weights[e]
        if total > 0.0:
            for e in range(experts):
                mixture[step, 2 * experts + e] = weights[e] / total


@njit(cache=True, error_model="numpy")
def _observe_deviation(plan: LayerPlan, moments: Floats, part: int, y: float, base: float, newest: float) -> float:
    """Update the moments of a series with an outcome and its base; return the deviation, NaN without a base."""
    day, parts = plan.seasons[0], (moments.shape[0] - MOMENTS) // 2
    per_part = day / parts
    moments[SLOPE] = y - moments[LAST] if moments[SEEN] > 0.0 else 0.0
    moments[LAST] = y
    moments[SEEN] = 1.0
    if math.isnan(base):
        return math.nan
    d = y - base
    moments[COUNT] += 1.0
    moments[SCALE] += max(1.0 / moments[COUNT], 1.0 / (30.0 * day)) * (abs(d) - moments[SCALE])
    rate = max(0.05, 1.0 / (1.0 + moments[COUNT] / day)) / per_part
    moments[MOMENTS + part] += rate * (abs(d) - moments[MOMENTS + part])
    size = max(moments[MOMENTS + part], 0.05 * moments[SCALE])
    fast, slow = max(0.25 * day, 2.0), max(1.0 * day, 4.0)
    moments[DEVIATION] = d
    moments[NAIVE_DEVIATION] = 0.0 if math.isnan(newest) else newest - base
    moments[FAST] += (d - moments[FAST]) / fast
    moments[SLOW] += (d - moments[SLOW]) / slow
    moments[FAST_SIZE] += (size - moments[FAST_SIZE]) / fast
    moments[SLOW_SIZE] += (size - moments[SLOW_SIZE]) / slow
    moments[SCALED] = _within(d / (size + TINY), SCALED_CLIP)
    return d


@njit(cache=True, error_model="numpy")
def _write_cutoff(moments: Floats, cutoff: Floats) -> None:
    """Write the numbers that belong to the newest bar as a cutoff."""
    cutoff[LAST] = moments[LAST] if moments[SEEN] > 0.0 else math.nan
    for i in range(DEVIATION, SCALED + 1):
        cutoff[i] = moments[i]
    cutoff[FAST_SCALED] = _within(moments[FAST] / (moments[FAST_SIZE] + TINY), SCALED_CLIP)
    cutoff[SLOW_SCALED] = _within(moments[SLOW] / (moments[SLOW_SIZE] + TINY), SCALED_CLIP)


@njit(cache=True, error_model="numpy")
def _order(levels: Floats, median: int) -> None:
    """Make the levels of one step rise, outwards from the median."""
    for j in range(median + 1, levels.shape[0]):
        levels[j] = max(levels[j], levels[j - 1])
    for j in range(median - 1, -1, -1):
        levels[j] = min(levels[j], levels[j + 1])


@njit(cache=True, error_model="numpy")
def learn_and_answer(
    plan: LayerPlan, state: LayerState, slots: Ints, orders: Ints, outcomes: Floats, answer: Ints, forecast: Floats,
    before: Overwritten, finite: npt.NDArray[np.bool_],
) -> None:  # fmt: skip
    """Take K steps in order: learn from each outcome, then write the final forecast of each answer.

    ``orders`` [K] is the number of steps of the series before this one; 0 resets its state.  ``outcomes`` [K] is NaN
    where missing; ``answer`` [K] is the step's answer or -1.  ``forecast`` [A, H, Q] holds the network's levels in the
    unit of the series, or NaN, and is replaced in place; ``finite`` [A] says whether the final one is.
    """
    seasons, ladder, horizon = plan.seasons.shape[0], plan.ladder.shape[0], plan.horizon
    quantiles, median, experts = plan.levels.shape[0], plan.median, plan.first_regret.shape[0]
    features, day = 2 * seasons + 9, plan.seasons[0]
    triangle = features * (features + 1) // 2
    coefficients = triangle + features
    parts = (state.moments.shape[1] - MOMENTS) // 2
    error, count, theta = 3 * experts, 3 * experts + 1, 3 * experts + 2
    shared = MOMENTS + parts
    keep_long, keep_short = 1.0 - 1.0 / (LONG_DAYS * day), 1.0 - 1.0 / (SHORT_DAYS * day)
    bars, deviations = state.observed.shape[1], state.deviation.shape[1]
    x, expert, weights = np.empty(features), np.empty(experts), np.empty(experts)
    mean = np.empty(2 * experts)
    lower, column, z = np.empty((features, features)), np.empty(features), np.empty(features)
    at, cells = np.empty(seasons, np.int64), np.empty(seasons, np.int64)
    for k in range(slots.shape[0]):
        slot, t, y = slots[k], orders[k], outcomes[k]
        observed, deviation, cutoffs = state.observed[slot], state.deviation[slot], state.cutoff[slot]
        places, pending, moments = state.places[slot], state.pending[slot], state.moments[slot]
        regression, mixture = state.regression[slot], state.mixture[slot]
        if t == 0:
            _reset(plan, moments, regression, mixture)
        if not math.isfinite(y):
            y = math.nan
        else:
            y = _within(y, LARGEST)
        for s in range(seasons):
            at[s] = t % (plan.places_start[s + 1] - plan.places_start[s])
        bar_cell, deviation_cell, cutoff_cell = t % bars, t % deviations, t % (horizon + 1)
        place = t % day
        here = plan.parts[place]
        before.observed[k] = observed[bar_cell]
        observed[bar_cell] = y
        newest_deviation = math.nan
        if not math.isnan(y):
            # 1. Every scored step whose target is this bar.
            scale = moments[SCALE] if moments[SCALE] > TINY else 1.0
            relative, settled = 0.0, 0
            for step in range(ladder):
                h = plan.ladder[step]
                if h > t:
                    break
                row = mixture[step]
                cell = cutoff_cell - h
                cutoff = cutoffs[cell if cell >= 0 else cell + horizon + 1]
                if math.isnan(cutoff[LAST]):
                    continue
                _find(plan, t, h, h, at, cells)
                base = _base(plan, places, cells, cutoff[LAST])
                ago, deviated = plan.day_ago[h] + h, 0.0
                if ago <= t:
                    cell = deviation_cell - ago
                    deviated = deviation[cell if cell >= 0 else cell + deviations]
                _describe(places, cells, cutoff, base, deviated, moments[MOMENTS + here], x, expert)
                issued = pending[plan.pending_start[step] + t % h]
                expert[0] = issued[median]
                own = plan.own[step]
                if plan.systems > 0:
                    rung, rung_next, share = plan.rung[h], plan.rung_next[h], plan.rung_share[h]
                    for r in range(2):
                        system = regression[r]
                        value = base + _predict(system[rung], system[rung_next], share, coefficients, x)
                        expert[experts - 2 + r] = value
                    if own >= 0:
                        spread = max(row[error], TINY)
                        target = _within((y - base) / scale, REGRESSION_CLIP)
                        for p in range(features):
                            x[p] = _within(x[p] / scale, REGRESSION_CLIP)
                        for r in range(2):
                            missed = abs(y - expert[experts - 2 + r]) / spread
                            weight = 1.0 / max(missed, LEAST_ERROR) if row[count] > 5.0 else 1.0
                            _accumulate(regression[r, own], x, target, weight, keep_long if r == 0 else keep_short)
                for e in range(experts):
                    expert[e] = plan.lower if expert[e] < plan.lower else expert[e]
                mixed = _mix(row[2 * experts : 3 * experts], expert)
                missed = abs(y - mixed)
                row[count] += 1.0
                n = row[count]
                if n == 1.0:
                    row[error] = missed
                spread = max(row[error], TINY)
                eta = max(plan.coverage_step[step], 1.0 / (n + 10.0))
                for j in range(quantiles):
                    level = issued[quantiles + j]
                    if j != median and not math.isnan(level):
                        inside = 1.0 if y < level or (y == level and j > median) else 0.0
                        row[theta + j] = _within(row[theta + j] + eta * (plan.levels[j] - inside), MOST_TRACKED)
                sign = 1.0 if mixed > y else -1.0 if mixed < y else 0.0
                for e in range(experts):
                    if not math.isnan(expert[e]):
                        regret = _within(sign * (mixed - expert[e]) / spread, REGRET_CLIP)
                        row[e] = row[e] * plan.keep + regret
                        row[experts + e] = max(1.0, row[experts + e] * plan.keep + regret * regret)
                row[error] += max(1.0 / n, plan.error_rate[step]) * (missed - row[error])
                relative += min(missed / spread, 10.0)
                settled += 1
            within = 0
            while within < ladder and plan.ladder[within] <= t:
                within += 1
            _reweigh(mixture, experts, within, mean, weights)
            if settled > 0 and mixture[0, count] > 2.0:
                rate = max(1.0 / SHARE_DAYS, 1.0 / (2.0 + mixture[0, count] / day)) / (day / parts)
                moments[shared + here] += rate * (relative / settled - moments[shared + here])
            # 2. The deviation of this bar from its base as it was known one bar ago.
            _find(plan, t, 1, 1, at, cells)
            base = _base(plan, places, cells, math.nan)
            newest = places[cells[0], NEWEST] if cells[0] >= 0 else math.nan
            newest_deviation = _observe_deviation(plan, moments, here, y, base, newest)
        before.deviation[k] = deviation[deviation_cell]
        deviation[deviation_cell] = newest_deviation
        before.cutoff[k] = cutoffs[cutoff_cell]
        cutoff = cutoffs[cutoff_cell]
        _write_cutoff(moments, cutoff)
        for s in range(seasons):
            cell = plan.places_start[s] + at[s]
            before.places[k, s] = places[cell]
            _write_place(observed, t + plan.lead[s], plan.seasons[s], plan.depths[s], places[cell])
        if plan.systems > 0 and t > day:
            system_number = t % (2 * plan.systems)
            _solve(regression[system_number % 2, system_number // 2], features, lower, column, z)
        # 3. The forecast.
        a = answer[k]
        for step in range(ladder):
            cell = plan.pending_start[step] + t % plan.ladder[step]
            before.pending[k, step] = pending[cell]
            pending[cell] = math.nan
        if a < 0:
            continue
        network = True
        for h in range(horizon):
            for j in range(quantiles):
                if not abs(forecast[a, h, j]) < LARGEST:
                    network = False
        finite[a] = True
        for h in range(1, horizon + 1):
            levels = forecast[a, h - 1]
            place += 1
            if place == day:
                place = 0
            part = plan.parts[place]
            _find(plan, t, h, 0, at, cells)
            base = _base(plan, places, cells, cutoff[LAST])
            ago, deviated = plan.day_ago[h], 0.0
            if ago <= t:
                cell = deviation_cell - ago
                deviated = deviation[cell if cell >= 0 else cell + deviations]
            _describe(places, cells, cutoff, base, deviated, moments[MOMENTS + part], x, expert)
            expert[0] = levels[median] if network else math.nan
            if plan.systems > 0:
                rung, rung_next, share = plan.rung[h], plan.rung_next[h], plan.rung_share[h]
                for r in range(2):
                    system = regression[r]
                    value = base + _predict(system[rung], system[rung_next], share, coefficients, x)
                    expert[experts - 2 + r] = value
            low, high, share = mixture[plan.step[h]], mixture[plan.step_next[h]], plan.step_share[h]
            for e in range(experts):
                expert[e] = plan.lower if expert[e] < plan.lower else expert[e]
                weights[e] = (1.0 - share) * low[2 * experts + e] + share * high[2 * experts + e]
            mixed = _mix(weights, expert)
            if math.isnan(mixed):
                mixed = max(0.0, plan.lower)
            local = (1.0 - share) * low[error] + share * high[error]
            local *= max(moments[shared + part], LEAST_SHARE)
            trust = weights[0] if network else 0.0
            if share == 0.0:
                pending_cell = plan.pending_start[plan.step[h]] + t % h
                for j in range(quantiles):
                    pending[pending_cell, j] = levels[j] if network else math.nan
            own_median = levels[median]
            for j in range(quantiles):
                if j == median:
                    levels[j] = mixed
                    continue
                tracked = (1.0 - share) * low[theta + j] + share * high[theta + j]
                offset = (1.0 - trust) * plan.normal[j] * local
                if network:
                    offset += trust * (levels[j] - own_median)
                unit = max(abs(offset) / max(abs(plan.normal[j]), 0.25), LEAST_SHARE * local)
                levels[j] = max(mixed + offset + tracked * unit, plan.lower)
            _order(levels, median)
            for j in range(quantiles):
                if not math.isfinite(levels[j]):
                    finite[a] = False
            if share == 0.0:
                for j in range(quantiles):
                    pending[pending_cell, quantiles + j] = levels[j]
