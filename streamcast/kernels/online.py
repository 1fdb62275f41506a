"""The online layer: per series, it mixes the network with simple forecasts and keeps the intervals' coverage.

One call of ``learn_and_answer`` takes the steps of a chunk, those of each series in order.  For each step it settles
the forecasts of this bar, updates what is learned, and turns the network's forecast into the final one.  It reads
outcomes up to the cutoff only.  All numbers are float64.

An outcome that is not finite counts as missing, and outcomes are clipped at 1e100.  An outcome below the spec's lower
bound counts as the bound, because no forecast lies below it.  Only the levels count it as a miss.  Such misses move an
upper level out until it adds ``MOST_FOR_BEYOND``: without that limit, intervals would widen without end where many
outcomes are below.  With the upper bound it is the other way round.  The network's forecast counts only if all of it is
finite.

Legend: K steps, A answers, H horizon, Q levels, S seasons in bars (ascending; the first, S0, is the "day"), L scored
steps (the ladder), G regression steps (a coarser ladder), R regressions a step, E experts, P features, B parts of the
day; t the newest bar, u = t + h a target bar, N missing: NaN.  In the code, ``step`` is the index of a scored step in
the ladder, ``part`` that of a part of the day, and ``cell`` one into a ring.

Each equation stands at the function that computes it:

    v, N, M, C, base   values at a place           _write_place
    d                  deviations from the base    _observe_deviation, _limited (wild values)
    f_e                experts and features        _describe, _fit (regressions), _hold_network
    w_e, m             weights, the mixture        _score_experts, _follow_recent (after a change), _answer (days off)
    sigma, q_j         widths and levels           _write_levels
    theta_j, phi_j     coverage                    _track_levels, _share_levels, _tracked, _track_part

Between scored steps, weights, sigma and theta are linear in the step, and so are the coefficients of the regressions.

numba's cache notices changes in a loop's own file only, so all loops are in this file.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streamcast.kernels.loops import inlined, loop

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

# Columns of LayerState.cutoff: the last value, then the features that belong to a cutoff.
LAST, DEVIATION, NAIVE_DEVIATION, FAST, SLOW, SLOPE, SCALED, FAST_SCALED, SLOW_SCALED = 0, 1, 2, 3, 4, 5, 6, 7, 8
CUTOFF = 9

# Columns of LayerState.moments: the columns of a cutoff up to SCALED, then these, then the mean |d| and the share of
# the error by part of the day, B each.
SEEN, SCALE, COUNT, FAST_SIZE, SLOW_SIZE, EDGE = 7, 8, 9, 10, 11, 12
MOMENTS = 13

# Columns of LayerState.places.
NEWEST, TRIMMED, RECENT, MEDIAN = 0, 1, 2, 3

# The numbers of the equations above.
FEW_FEATURES = 8  # of one regression; two read 2·S + 1 more
NEWEST_OF = 4  # N is the first observed of so many values
RECENT_DAYS = 3  # of the mean at a place, which is a feature
LARGEST = 1e100  # outcomes are clipped here
RIDGE = 10.0
LEAST_ERROR = 0.3  # in sigmas: no weight in a regression is above 1 / .3
REGRESSION_CLIP = 50.0
REGRET_CLIP = 10.0
SCALED_CLIP = 6.0
SHARE_DAYS = 14.0  # memory of the share of sigma by part of the day
LEAST_SHARE = 0.05  # of sigma
MOST_TRACKED = 20.0  # |theta| and |phi|
LEAST_NORMAL = 0.25  # in the unit of theta, so that levels near the median can move
MOST_FOR_BEYOND = 1.0  # theta up to which outcomes beyond a bound move levels of the other side
EDGE_DAYS = 4.0  # memory of edge
KNOWN_DAYS = 7.0  # outcomes of so many days make a mean error known
RECENT_BARS = 14.0  # the shortest memory of recent errors
MOST_SPEEDUP, MOST_RECENT = 12.0, 0.5  # times as fast where the mixture misses; the most that one outcome counts
COMMON_ERROR = 3.0  # mean errors, beyond which what all experts missed is left out
NEWCOMER = 0.05  # of an expert without weight, beside weights that follow recent errors
TINY = 1e-100  # added to divisors that may be 0


class LayerPlan(NamedTuple):
    """The constants of a model spec that the layer needs."""

    horizon: int
    seasons: Ints  # S
    # Values at a place, and experts.
    depths: Ints  # S: earlier seasons of a trimmed mean and of a median
    center: int  # the column of places that is an expert: TRIMMED or MEDIAN
    exact: bool  # whether means are such that those of equal numbers are these
    bounded: bool  # whether a mixture is held within the bounds, from which rounding may take it
    lead: Ints  # S: how many bars ahead places are written
    places_start: Ints  # S + 1: where a season's ring begins
    places_ago: Ints  # H + 1, S: steps since the places of bar t + h were written
    day_ago: Ints  # H + 1: bars from the same place of the newest day to t + h
    parts: Ints  # S0: the part of the day of each of its bars
    # Scored steps.
    ladder: Ints  # L: how many bars ahead
    pending_start: Ints  # L + 1: where a scored step's ring begins
    step: Ints  # H + 1: the scored step at or below
    step_next: Ints  # H + 1: the scored step at or above
    step_share: Floats  # H + 1: how far between
    # Regressions.
    own_rung: Ints  # L: the regression step of a scored step, or -1
    rung: Ints  # H + 1, the same three for regression steps
    rung_next: Ints
    rung_share: Floats
    systems: int  # G, 0 without regressions
    keep_rows: Floats  # R: the share of the equations of a regression that a bar keeps
    features: int  # P
    waits: bool  # whether regressions take no outcome before the mean |d| is known
    # Levels.
    levels: Floats  # Q
    normal: Floats  # Q: normal quantiles in mean absolute errors
    median: int
    lower: float
    upper: float
    coverage_step: Floats  # L: eta without its 1/(n + 10)
    shared_step: Floats  # L: how far theta follows the mean over the ladder
    stands_for: Floats  # L: the weight of a scored step's shortfalls
    least_tracked: Floats  # Q: the range of theta and of phi
    most_tracked: Floats  # Q
    mirror: Ints  # Q: the level as far from 1 as this one from 0, or itself
    opposed: Floats  # Q: how much of the mirror's shortfall is taken from its own: 0, or .5 to share widths alone
    network_spread: float  # the share of the other experts' weight that the network's distances of levels have, too
    hourly_step: float  # how far phi follows the same mean
    error_rate: Floats  # L: what sigma takes of a new error
    largest_error: float  # mean errors, and mean |d|, that one outcome counts as at most; 0 for no limit
    winsorized: bool  # whether places repeat such an outcome only as far as it counts
    known_after: float  # outcomes after which these means are known
    # Weights.
    first_regret: Floats  # E
    keep_regrets: float  # the share that a bar keeps
    recent_rate: float  # what recent errors take of a new one, at least
    near: Floats  # L: 1/h, the weight of a scored step's recent errors for all steps
    most_behind: float  # how many times the best expert's the recent errors of the weights may be; 0 for no limit
    network_reach: float  # mean errors that the network may lie outside the other experts, 0 for no limit


class LayerState(NamedTuple):
    """The arrays of the slab that the layer changes, one row a series; the first five are rings."""

    observed: Floats  # slots, bars: outcomes, NaN where missing
    deviation: Floats  # slots, bars
    cutoff: Floats  # slots, H + 1, CUTOFF
    places: Floats  # slots, sum of rings, columns of places; MEDIAN only where it is an expert
    pending: Floats  # slots, sum of ladder, Q: the issued levels, and the network's median in the place of theirs
    moments: Floats  # slots, MOMENTS + 2·B
    hourly: Floats  # slots, B, Q: what the levels of a part of the day add; no rows if the spec has none
    regression: Floats  # slots, R, G, P·(P+1)/2 + 2·P: lower triangle, right side, coefficients
    mixture: Floats  # slots, L, 3·E + 2 + Q: regrets, second moments, weights, sigma, outcomes, theta
    recent: Floats  # slots, L, E + 1: recent errors, -1 before the first; lambda; no rows if weights never follow


class LayerRow(NamedTuple):
    """One series' part of ``LayerState``."""

    observed: Floats
    deviation: Floats
    cutoff: Floats
    places: Floats
    pending: Floats
    moments: Floats
    hourly: Floats
    regression: Floats
    mixture: Floats
    recent: Floats


class Scratch(NamedTuple):
    """Memory that is used for one target bar at a time."""

    x: Floats  # P: features
    expert: Floats  # E
    weights: Floats  # E
    mean: Floats  # 2·E
    at: Ints  # S: the newest step's cell in each ring of places
    cells: Ints  # S
    shortfall: Floats  # Q: the sum over scored steps of level − [y < issued level]
    factor: Floats  # P, P: Cholesky's
    column: Floats  # P
    solved: Floats  # P
    ordered: Floats  # the largest depth: values at a place, in order


def new_scratch(plan: LayerPlan) -> Scratch:
    """Return the memory that a layer with these constants uses again for each target bar."""
    seasons, experts, features = len(plan.seasons), len(plan.first_regret), plan.features
    return Scratch(
        x=np.empty(features),
        expert=np.empty(experts),
        weights=np.empty(experts),
        mean=np.empty(2 * experts),
        at=np.empty(seasons, np.int64),
        cells=np.empty(seasons, np.int64),
        shortfall=np.empty(len(plan.levels)),
        factor=np.empty((features, features)),
        column=np.empty(features),
        solved=np.empty(features),
        ordered=np.empty(plan.depths.max()),
    )


class Overwritten(NamedTuple):
    """The ring cells that K steps overwrote, for discard."""

    observed: Floats  # K
    deviation: Floats  # K
    cutoff: Floats  # K, CUTOFF
    places: Floats  # K, S, columns of places
    pending: Floats  # K, L, Q


# -- one step of one series ----------------------------------------------------------------------------


@loop
def learn_and_answer(
    plan: LayerPlan, state: LayerState, scratch: Scratch, sequence: Ints, slots: Ints, orders: Ints,
    outcomes: Floats, answer: Ints, forecast: Floats, before: Overwritten, finite: Flags, off_step: Flags, off: Flags,
    moved: Floats,
) -> None:  # fmt: skip
    """Take K steps in order: learn from each outcome, then write the final forecast of each answer.

    ``sequence`` [K] is a permutation of the steps that keeps the order of each series: steps of one series together
    find its state in the processor's cache.
    ``orders`` [K] is the number of steps of the series before this one; 0 resets its state.  ``outcomes`` [K] is NaN
    where missing; ``answer`` [K] is the step's answer or -1.  ``forecast`` [A, H, Q] holds the network's levels in the
    unit of the series, or NaN, and is replaced in place; ``finite`` [A] says whether the final one is.  ``off_step``
    [K] and ``off`` [A, H + 1], from the answer's bar on, say which bars are days off; both are empty where that does
    not matter.  ``moved`` [K, L] is added to the outcome where the forecasts of a scored step are settled, or is empty.
    """
    seasons = plan.seasons.shape[0]
    for k in sequence:
        slot, t = slots[k], orders[k]
        outcome = _clipped(outcomes[k], LARGEST) if math.isfinite(outcomes[k]) else math.nan
        row = LayerRow(
            state.observed[slot], state.deviation[slot], state.cutoff[slot], state.places[slot], state.pending[slot],
            state.moments[slot], state.hourly[slot], state.regression[slot], state.mixture[slot], state.recent[slot],
        )  # fmt: skip
        if t == 0:
            _reset(plan, row.moments, row.hourly, row.regression, row.mixture, row.recent)
        for s in range(seasons):
            scratch.at[s] = t % (plan.places_start[s + 1] - plan.places_start[s])
        cell = t % row.observed.shape[0]
        before.observed[k] = row.observed[cell]
        row.observed[cell], deviation = math.nan, math.nan
        if not math.isnan(outcome):
            row.observed[cell] = min(max(outcome, plan.lower), plan.upper)
            deviation = _learn(plan, row, scratch, t, outcome, off_step.shape[0] > 0 and off_step[k], moved, k)
        cell = t % row.deviation.shape[0]
        before.deviation[k] = row.deviation[cell]
        row.deviation[cell] = deviation
        cell = t % row.cutoff.shape[0]
        for i in range(CUTOFF):
            before.cutoff[k, i] = row.cutoff[cell, i]
        _write_cutoff(row.moments, row.cutoff, cell)
        for s in range(seasons):
            cell = plan.places_start[s] + scratch.at[s]
            for i in range(row.places.shape[1]):
                before.places[k, s, i] = row.places[cell, i]
            _write_place(
                row.observed, t + plan.lead[s], plan.seasons[s], plan.depths[s], plan.exact, scratch.ordered,
                row.places, cell,
            )  # fmt: skip
        if plan.systems > 0 and t > plan.seasons[0]:
            system, r = divmod(t % (2 * plan.systems), 2)
            if r < row.regression.shape[0]:
                _solve(row.regression[r, system], scratch.factor, scratch.column, scratch.solved)
        for step in range(plan.ladder.shape[0]):
            cell = plan.pending_start[step] + t % plan.ladder[step]
            for j in range(row.pending.shape[1]):
                before.pending[k, step, j] = row.pending[cell, j]
                row.pending[cell, j] = math.nan
        if answer[k] >= 0:
            finite[answer[k]] = _answer(plan, row, scratch, t, off, forecast, answer[k])


@loop
def _reset(
    plan: LayerPlan, moments: Floats, hourly: Floats, regression: Floats, mixture: Floats, recent: Floats
) -> None:  # fmt: skip
    """Give a series the state of a new one; its rings have no bar, so that old cells are never read."""
    experts = plan.first_regret.shape[0]
    moments[:] = 0.0
    moments[(moments.shape[0] + MOMENTS) // 2 :] = 1.0
    hourly[:] = 0.0
    regression[:] = 0.0
    mixture[:] = 0.0
    recent[:] = -1.0
    recent[:, experts] = 0.0
    total = plan.first_regret.sum()
    for step in range(mixture.shape[0]):
        for e in range(experts):
            mixture[step, e] = plan.first_regret[e]
            mixture[step, experts + e] = 1.0
            mixture[step, 2 * experts + e] = plan.first_regret[e] / total


# -- learning from an outcome --------------------------------------------------------------------------


@loop
def _learn(
    plan: LayerPlan, row: LayerRow, scratch: Scratch, t: int, outcome: float, off: bool, moved: Floats, k: int
) -> float:  # fmt: skip
    """Take one outcome, of a day off or not; return its deviation from the base that was known one bar ago."""
    y = min(max(outcome, plan.lower), plan.upper)
    beyond = 1 if outcome > y else -1 if outcome < y else 0
    experts, moments, cells = scratch.expert.shape[0], row.moments, scratch.cells
    parts = (moments.shape[0] - MOMENTS) // 2
    day = plan.seasons[0]
    here = plan.parts[t % day]
    relative, settled = _settle(plan, row, scratch, t, y, beyond, off, moved, k)
    _borrow_errors(plan.ladder, row.mixture, 3 * experts)
    steps = 0
    while steps < plan.ladder.shape[0] and plan.ladder[steps] <= t:
        steps += 1
    _reweigh(row.mixture, experts, steps, scratch.mean, scratch.weights)
    if plan.most_behind > 0.0:
        _follow_recent(plan, row.mixture, row.recent, steps, scratch.mean)
    count = row.mixture[0, 3 * experts + 1]
    if settled > 0 and count > 2.0:
        rate = max(1.0 / SHARE_DAYS, 1.0 / (2.0 + count / day)) / (day / parts)
        moments[MOMENTS + parts + here] += rate * (relative / settled - moments[MOMENTS + parts + here])
    _find(plan, t, 1, 1, scratch.at, cells)
    base = _base(row.places, cells, math.nan)
    newest = row.places[cells[0], NEWEST] if cells[0] >= 0 else math.nan
    before = moments[DEVIATION]
    deviation = _observe_deviation(plan, moments, here, y, base, newest)
    if plan.winsorized and deviation != y - base and 2.0 * abs(before) < abs(deviation):
        row.observed[t % row.observed.shape[0]] = base + deviation
    return deviation


@inlined
def _settle(
    plan: LayerPlan, row: LayerRow, scratch: Scratch, t: int, outcome: float, beyond: int, off: bool,
    moved: Floats, k: int,
) -> tuple[float, int]:  # fmt: skip
    """Learn from an outcome at every scored step; return the sum of errors over sigma, and their number.

    ``beyond`` is -1 if it was below the lower bound, 1 if it was above the upper one.  On a day off, ``off``, compare
    the network with the mixture, too.
    """
    x, expert, weights, cells = scratch.x, scratch.expert, scratch.weights, scratch.cells
    mixture, moments, pending, cutoffs, shortfall = row.mixture, row.moments, row.pending, row.cutoff, scratch.shortfall
    experts = expert.shape[0]
    error, count = 3 * experts, 3 * experts + 1
    day = plan.seasons[0]
    part = moments[MOMENTS + plan.parts[t % day]]
    scale = moments[SCALE] if moments[SCALE] > TINY else 1.0
    relative, settled, issued, edge = 0.0, 0, 0.0, 0.0
    shortfall[:] = 0.0
    for step in range(plan.ladder.shape[0]):
        h = plan.ladder[step]
        if h > t:
            break
        y = outcome + moved[k, step] if moved.shape[0] > 0 else outcome
        cutoff = _back(t % cutoffs.shape[0], h, cutoffs.shape[0])
        if math.isnan(cutoffs[cutoff, LAST]):
            continue
        _find(plan, t, h, h, scratch.at, cells)
        base = _base(row.places, cells, cutoffs[cutoff, LAST])
        deviation = _deviation_of_day(row.deviation, t, plan.day_ago[h] + h)
        _describe(plan, row, cells, cutoff, base, deviation, part, x, expert)
        cell = plan.pending_start[step] + t % h
        expert[0] = pending[cell, plan.median]
        if plan.systems > 0:
            _regress(plan, row.regression, h, x, base, expert)
            if plan.own_rung[step] >= 0 and (moments[SCALE] > TINY or not plan.waits):
                spread = max(mixture[step, error], TINY) if mixture[step, count] > 5.0 else math.inf
                _fit(plan.keep_rows, row.regression, plan.own_rung[step], x, y - base, scale, y, spread, expert)
        _hold_within(plan.lower, plan.upper, expert)
        for e in range(experts):
            weights[e] = mixture[step, 2 * experts + e]
        mixed = _mix(weights, expert, plan.exact)
        missed = abs(y - mixed)
        n = mixture[step, count] + 1.0
        mixture[step, count] = n
        if n == 1.0:
            mixture[step, error] = missed
        rate = max(plan.coverage_step[step], 1.0 / (n + 10.0))
        issued += _track_levels(plan, row, step, cell, y, beyond, rate, shortfall)
        if off and not math.isnan(expert[0]):
            gain = (missed - abs(y - expert[0])) / max(mixture[step, error], TINY)
            edge += _clipped(gain, REGRET_CLIP) / plan.ladder.shape[0]
        learned = 1.0
        if plan.most_behind > 0.0:
            learned -= row.recent[step, experts]
            if not off:
                _track_recent(plan.recent_rate, row.recent, step, expert, y, missed, mixture[step, error])
        _score_experts(plan.keep_regrets, learned, mixture, step, expert, mixed, y)
        relative += min(missed / max(mixture[step, error], TINY), 10.0)
        settled += 1
        counted = _limited(plan, missed, mixture[step, error], n)
        mixture[step, error] += max(1.0 / n, plan.error_rate[step]) * (counted - mixture[step, error])
    if issued > 0.0:
        _share_levels(plan, row.mixture, t, shortfall, issued, beyond)
        if row.hourly.shape[0] > 0:
            _track_part(plan, plan.hourly_step / issued, row.hourly, plan.parts[t % day], shortfall)
    if off:
        moments[EDGE] = (1.0 - 1.0 / (EDGE_DAYS * day)) * moments[EDGE] + edge
    return relative, settled


@loop
def _borrow_errors(ladder: Ints, mixture: Floats, error: int) -> None:
    """Give scored steps without an outcome the sigma of the longest step that has one, by the root of the steps."""
    steps = ladder.shape[0]
    if mixture[steps - 1, error + 1] > 0.0:
        return
    longest = steps - 1
    while longest >= 0 and mixture[longest, error + 1] == 0.0:
        longest -= 1
    if longest < 0:
        return
    for step in range(steps):
        if mixture[step, error + 1] == 0.0:
            mixture[step, error] = mixture[longest, error] * math.sqrt(ladder[step] / ladder[longest])


@loop
def _observe_deviation(plan: LayerPlan, moments: Floats, part: int, y: float, base: float, newest: float) -> float:
    """Update the moments of a series with an outcome and its base; return the deviation, NaN without a base.

    d(t) = y(t) − base(t).  Kept: d, its means of memory S0/4 and S0 bars, N_0(t) − base(t), the slope y(t) − y(last),
    the mean of |d| by part of the day, and d over that mean: now, its fast and its slow mean, within ±6.
    """
    day, parts = plan.seasons[0], (moments.shape[0] - MOMENTS) // 2
    per_part = day / parts
    moments[SLOPE] = y - moments[LAST] if moments[SEEN] > 0.0 else 0.0
    moments[LAST] = y
    moments[SEEN] = 1.0
    if math.isnan(base):
        return math.nan
    d = _limited(plan, y - base, moments[SCALE], moments[COUNT])
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
    moments[SCALED] = _clipped(d / (size + TINY), SCALED_CLIP)
    return d


@loop
def _write_cutoff(moments: Floats, cutoff: Floats, row: int) -> None:
    """Write the numbers that belong to the newest bar as a cutoff."""
    cutoff[row, LAST] = moments[LAST] if moments[SEEN] > 0.0 else math.nan
    for i in range(DEVIATION, SCALED + 1):
        cutoff[row, i] = moments[i]
    cutoff[row, FAST_SCALED] = _clipped(moments[FAST] / (moments[FAST_SIZE] + TINY), SCALED_CLIP)
    cutoff[row, SLOW_SCALED] = _clipped(moments[SLOW] / (moments[SLOW_SIZE] + TINY), SCALED_CLIP)


# -- an answer -----------------------------------------------------------------------------------------


@inlined
def _answer(
    plan: LayerPlan, row: LayerRow, scratch: Scratch, t: int, off: Flags, forecast: Floats, a: int
) -> bool:  # fmt: skip
    """Replace one forecast [H, Q] by the final one and keep its scored steps as pending; whether it is finite.

    ``off`` [A, H + 1] says which bars from the newest on are days off; it is empty where that does not matter.

    On days off, simple forecasts repeat days of another kind.  Where the spec says so, the network alone forecasts such
    bars, while edge >= 0.  At bars of days off, edge ← (1 − 1/(4·S0))·edge + the mean over the ladder of
    (|y − m| − |y − network|) / sigma within ±10.
    """
    x, expert, weights, cells = scratch.x, scratch.expert, scratch.weights, scratch.cells
    mixture, moments, pending = row.mixture, row.moments, row.pending
    experts, day, median = expert.shape[0], plan.seasons[0], plan.median
    shares = MOMENTS + (moments.shape[0] - MOMENTS) // 2
    cutoff, place = t % row.cutoff.shape[0], t % day
    network, finite = _is_usable(forecast, a), True
    better = off.shape[0] > 0 and network and moments[EDGE] >= 0.0
    for h in range(1, plan.horizon + 1):
        place = place + 1 if place + 1 < day else 0
        part = plan.parts[place]
        _find(plan, t, h, 0, scratch.at, cells)
        base = _base(row.places, cells, row.cutoff[cutoff, LAST])
        deviation = _deviation_of_day(row.deviation, t, plan.day_ago[h])
        _describe(plan, row, cells, cutoff, base, deviation, moments[MOMENTS + part], x, expert)
        expert[0] = forecast[a, h - 1, median] if network else math.nan
        if plan.systems > 0:
            _regress(plan, row.regression, h, x, base, expert)
        low, high, share = plan.step[h], plan.step_next[h], plan.step_share[h]
        local = (1.0 - share) * mixture[low, 3 * experts] + share * mixture[high, 3 * experts]
        local *= max(moments[shares + part], LEAST_SHARE)
        if network and plan.network_reach > 0.0 and local > 0.0:
            _hold_network(expert, plan.network_reach * local)
        issued = expert[0]
        _hold_within(plan.lower, plan.upper, expert)
        for e in range(experts):
            weights[e] = (1.0 - share) * mixture[low, 2 * experts + e] + share * mixture[high, 2 * experts + e]
        alone = better and off[a, h]
        mixed = expert[0] if alone else _mix(weights, expert, plan.exact)
        if math.isnan(mixed):
            mixed = min(max(0.0, plan.lower), plan.upper)
        elif plan.bounded:
            mixed = min(max(mixed, plan.lower), plan.upper)
        cell = plan.pending_start[low] + t % plan.ladder[low] if share == 0.0 else -1  # only scored steps are pending
        if cell >= 0:
            pending[cell, median] = issued
        trust = 1.0 if alone else weights[0] + plan.network_spread * (1.0 - weights[0]) if network else 0.0
        written = _write_levels(plan, row, low, high, share, part, mixed, local, trust, forecast, a, h)
        finite = finite and written
        if cell >= 0:
            for j in range(forecast.shape[2]):
                if j != median:
                    pending[cell, j] = forecast[a, h - 1, j]
    return finite


@loop
def _is_usable(forecast: Floats, a: int) -> bool:
    """Whether all of one forecast is finite and of a size that can be mixed."""
    for h in range(forecast.shape[1]):
        for j in range(forecast.shape[2]):
            if not abs(forecast[a, h, j]) < LARGEST:
                return False
    return True


@inlined
def _hold_network(expert: Floats, reach: float) -> None:
    """Hold the network's forecast at most ``reach`` outside those of the other experts.

    ``reach`` is ``network_reach`` · local (``_write_levels``), where the spec has one: a network that has learned from
    few bars may be far out after an outage, long before its weight falls.
    """
    least, most = math.inf, -math.inf
    for e in range(1, expert.shape[0]):
        if not math.isnan(expert[e]):
            least, most = min(least, expert[e]), max(most, expert[e])
    if least <= most:
        expert[0] = min(max(expert[0], least - reach), most + reach)


# -- values at a place ---------------------------------------------------------------------------------


@loop
def _write_place(
    observed: Floats, bar: int, season: int, depth: int, exact: bool, ordered: Floats, places: Floats, into: int
) -> None:  # fmt: skip
    """Write the numbers of the place of ``bar``, from the values one season back and more; ``ordered`` is memory.

    v_k(u) is the observed value at u − k·S_i, k from ⌈h / S_i⌉ on.  N_i(u) is the first observed one of the first four.
    M_i(u) is the mean over D_i of them (10 for the first season, 5 for longer ones), without the largest and the
    smallest if there are more than two, and C_i(u) is the median of the same values.  base(u) is M of the longest
    season that has one, else the last value.  All are written once, when a bar comes within min(H, S_i) bars: what they
    read is observed by then, and at earlier distances the place is a whole season earlier, which has been written too.
    """
    size = observed.shape[0]
    newest, total, recent = math.nan, 0.0, 0.0
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
            _insert(ordered, count, value)
            count += 1
            if k < RECENT_DAYS:
                recent += value
                recent_count += 1
        cell -= season
        if cell < 0:
            cell += size
    places[into, NEWEST] = newest
    trimmed = total / count if count > 0 else math.nan
    if count > 2:
        trimmed = (total - ordered[count - 1] - ordered[0]) / (count - 2)
    if exact and count > 0:
        trimmed = min(max(trimmed, ordered[0]), ordered[count - 1])
    places[into, TRIMMED] = trimmed
    places[into, RECENT] = recent / recent_count if recent_count > 0 else math.nan
    if places.shape[1] > MEDIAN:
        places[into, MEDIAN] = 0.5 * (ordered[(count - 1) // 2] + ordered[count // 2]) if count > 0 else math.nan


@loop
def _insert(ordered: Floats, count: int, value: float) -> None:
    """Put a value in its place among the first ``count``, which are in order."""
    at = count
    while at > 0 and ordered[at - 1] > value:
        ordered[at] = ordered[at - 1]
        at -= 1
    ordered[at] = value


@inlined
def _find(plan: LayerPlan, t: int, h: int, late: int, at: Ints, cells: Ints) -> None:
    """Write where the places of bar t + h − late are, as they were known h bars before it; ``at`` is t in each ring.

    A cell is -1 where the series had no bar then.
    """
    for s in range(cells.shape[0]):
        ago, start = plan.places_ago[h, s] + late, plan.places_start[s]
        cells[s] = -1 if ago > t else start + _back(at[s], ago, plan.places_start[s + 1] - start)


@inlined
def _deviation_of_day(deviations: Floats, t: int, ago: int) -> float:
    """Return d of the bar ``ago`` bars before t, 0 where the series had none yet."""
    return deviations[_back(t % deviations.shape[0], ago, deviations.shape[0])] if ago <= t else 0.0


@loop
def _back(cell: int, ago: int, size: int) -> int:
    """Return the cell of a ring that was written ``ago`` steps before ``cell``; less than the ring's size."""
    return cell - ago if cell >= ago else cell - ago + size


@inlined
def _base(places: Floats, cells: Ints, last: float) -> float:
    """Return the trimmed mean of the longest season that has one, else ``last``."""
    for s in range(cells.shape[0] - 1, -1, -1):
        if cells[s] >= 0 and not math.isnan(places[cells[s], TRIMMED]):
            return places[cells[s], TRIMMED]
    return last


# -- features and experts ------------------------------------------------------------------------------


@inlined
def _describe(
    plan: LayerPlan, row: LayerRow, cells: Ints, cutoff: int, base: float, deviation: float, size: float, x: Floats,
    expert: Floats,
) -> None:  # fmt: skip
    """Write the features of a target bar, and all experts but the network and the regressions.

    ``size`` is the mean |d| of the bar's part of the day, ``deviation`` is d at its place of the newest day.

    The network, the last value, N_i and C_i of each season, and the regressions.  Where the spec does not ask for
    ``medians``, M_i has the place of C_i.  Medians forecast well where most values are 0, or a few are very large.

    The features of u at the cutoff: the five numbers of the cutoff above; d at the same place of the newest day; the
    scaled deviation of now times the mean |d| of u's part of the day; the mean of the last three days at the place,
    minus base.  Two regressions read 2·S + 1 more: N_i − base, M_i − base (all but the longest season), and the
    other two scaled deviations.
    """
    places, known = row.places, row.cutoff[cutoff]
    seasons = cells.shape[0]
    more = x.shape[0] > FEW_FEATURES
    expert[1] = known[LAST]
    for s in range(seasons):
        newest = trimmed = central = math.nan
        if cells[s] >= 0:
            newest, trimmed, central = (
                places[cells[s], NEWEST], places[cells[s], TRIMMED], places[cells[s], plan.center],
            )  # fmt: skip
        expert[2 + s], expert[2 + seasons + s] = newest, central
        if more:
            x[s] = 0.0 if math.isnan(newest) else newest - base
            if s < seasons - 1:
                x[seasons + s] = 0.0 if math.isnan(trimmed) else trimmed - base
    p = 2 * seasons - 1 if more else 0
    for i in range(5):
        x[p + i] = known[DEVIATION + i]
    x[p + 5] = 0.0 if math.isnan(deviation) else deviation
    for i in range(3 if more else 1):
        x[p + 6 + i] = known[SCALED + i] * size
    recent = places[cells[0], RECENT] if cells[0] >= 0 else math.nan
    x[x.shape[0] - 1] = 0.0 if math.isnan(recent) else recent - base


@inlined
def _hold_within(lower: float, upper: float, expert: Floats) -> None:
    """Hold every expert within the bounds; NaN stays."""
    for e in range(expert.shape[0]):
        expert[e] = lower if expert[e] < lower else upper if expert[e] > upper else expert[e]


# -- regressions ---------------------------------------------------------------------------------------


@inlined
def _regress(plan: LayerPlan, regression: Floats, h: int, x: Floats, base: float, expert: Floats) -> None:
    """Write the forecasts of the regressions h steps ahead, between two of their steps, as the last experts."""
    low, high, share = plan.rung[h], plan.rung_next[h], plan.rung_share[h]
    features, first_expert = x.shape[0], expert.shape[0] - regression.shape[0]
    first = features * (features + 1) // 2 + features
    own = 1.0 - share
    for r in range(regression.shape[0]):
        value = 0.0
        if share > 0.0:
            for p in range(features):
                value += (own * regression[r, low, first + p] + share * regression[r, high, first + p]) * x[p]
        else:
            for p in range(features):
                value += regression[r, low, first + p] * x[p]
        expert[first_expert + r] = base + value


@inlined
def _fit(
    keep_rows: Floats, regression: Floats, g: int, x: Floats, miss: float, scale: float, y: float, spread: float,
    expert: Floats,
) -> None:  # fmt: skip
    """Add one outcome to the regressions of a step; ``miss`` is the outcome minus its base; ``x`` is overwritten.

    An infinite ``spread`` means that errors are not known yet: the weight is 1.

    Weighted recursive least squares for each of the G steps forecast y − base.  Both sides are divided by the mean |d|
    and clipped at ±50; before it is known they learn nothing (older specs: they are divided by 1).  The weight is 1 /
    max(|error| / sigma, .3), so that they aim at the median; the ridge is 10.  There is one of a memory of 14 days, or
    (older specs) two of 120 and 7.  Each system is solved once in 2·G bars (Cholesky).
    """
    first = expert.shape[0] - keep_rows.shape[0]
    for p in range(x.shape[0]):
        x[p] = _clipped(x[p] / scale, REGRESSION_CLIP)
    target = _clipped(miss / scale, REGRESSION_CLIP)
    for r in range(keep_rows.shape[0]):
        weight = 1.0
        if spread < math.inf:
            weight = 1.0 / max(abs(y - expert[first + r]) / spread, LEAST_ERROR)
        _accumulate(regression, r, g, x, target, weight, keep_rows[r])


@loop
def _accumulate(regression: Floats, r: int, g: int, x: Floats, target: float, weight: float, keep: float) -> None:
    """Add one weighted row to the normal equations, of which ``keep`` is remembered."""
    features = x.shape[0]
    cell = 0
    right = features * (features + 1) // 2
    for p in range(features):
        weighted = weight * x[p]
        regression[r, g, right + p] = keep * regression[r, g, right + p] + weighted * target
        for i in range(p + 1):
            regression[r, g, cell + i] = keep * regression[r, g, cell + i] + weighted * x[i]
        cell += p + 1


@loop
def _solve(system: Floats, lower: Floats, column: Floats, z: Floats) -> None:
    """Solve the normal equations plus RIDGE on the diagonal by Cholesky's factors; write the coefficients."""
    features = z.shape[0]
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


# -- weights -------------------------------------------------------------------------------------------


@inlined
def _mix(weights: Floats, expert: Floats, exact: bool) -> float:
    """Return the weighted mean of the experts that have a forecast; without weight, the last such expert.

    An ``exact`` one is the last value plus the mean of the differences from it: a constant is forecast as it is.
    """
    origin = expert[1] if exact and not math.isnan(expert[1]) else 0.0
    total = value = 0.0
    for e in range(expert.shape[0]):
        if not math.isnan(expert[e]):
            total += weights[e]
            value += weights[e] * (expert[e] - origin)
    if total > 1e-12:
        return origin + value / total
    for e in range(expert.shape[0] - 1, -1, -1):
        if not math.isnan(expert[e]):
            return expert[e]
    return math.nan


@inlined
def _score_experts(
    keep: float, learned: float, mixture: Floats, step: int, expert: Floats, mixed: float, y: float
) -> None:  # fmt: skip
    """Add the share ``learned`` of the regrets of one scored step: losses on the gradient, in mean errors.

    ML-Poly on the gradient (Gaillard, Stoltz & van Erven 2014, arXiv 1402.2044).  With the mixture m of today's
    weights: r_e = sign(m − y)·(m − f_e) / sigma within ±10; R_e ← (1 − forget/S0)·R_e + r_e; V_e ← max(1, (1 −
    forget/S0)·V_e + r_e²).  w_e ∝ max(0, (R_e + R̄_e)/2) / ((V_e + V̄_e)/2), where R̄, V̄ are means over the ladder; if
    all are zero, the old weights stay.  A missing expert has no vote, and the others share its weight.
    """
    experts = expert.shape[0]
    spread = max(mixture[step, 3 * experts], TINY)
    sign = 1.0 if mixed > y else -1.0 if mixed < y else 0.0
    for e in range(experts):
        if not math.isnan(expert[e]):
            regret = _clipped(sign * (mixed - expert[e]) / spread, REGRET_CLIP)
            mixture[step, e] = mixture[step, e] * keep + learned * regret
            mixture[step, experts + e] = max(1.0, mixture[step, experts + e] * keep + learned * regret * regret)


@loop
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


@inlined
def _track_recent(
    rate: float, recent: Floats, step: int, expert: Floats, y: float, missed: float, sigma: float
) -> None:  # fmt: skip
    """Update the recent errors of the experts at one scored step; ``missed`` is the mixture's error."""
    common = math.inf
    for e in range(expert.shape[0]):
        common = min(common, abs(y - expert[e]) if not math.isnan(expert[e]) else math.inf)
    common = max(common - COMMON_ERROR * sigma, 0.0)
    if missed > sigma:
        rate = min(rate * min(missed / max(sigma, TINY), MOST_SPEEDUP), MOST_RECENT)
    for e in range(expert.shape[0]):
        if not math.isnan(expert[e]):
            new, old = abs(y - expert[e]) - common, recent[step, e]
            recent[step, e] = old + rate * (new - old) if old >= 0.0 else new


@loop
def _follow_recent(plan: LayerPlan, mixture: Floats, recent: Floats, steps: int, mean: Floats) -> None:
    """Move the weights of the first ``steps`` scored steps that fall behind to experts of small recent errors.

    Regrets remember months, so after a lasting change they need weeks.  Where the spec says so, weights that fall
    behind follow the errors of about the last day.  At every outcome that is not of a day off, E_e ← E_e + rate·(|y −
    f_e| − c − E_e), with c = max(0, min_e |y − f_e| − 3·sigma): what all experts missed does not count.  The memory
    is max(S0, 14) bars, and shorter by |y − m| / sigma, at most 12, where that is above 1: rate is at most .5.  Near
    steps see a change first, so e_e = E_e + sigma·Ē_e, where Ē is the mean of E / sigma over the ladder, weighted by
    1/h.  The weights are behind by b = Σ w_e·e_e / min_e e_e.  With lambda = (b / ``most_behind`` − 1) within 0 and 1,
    w_e ← (1 − lambda)·w_e + lambda·v_e, with v_e ∝ (w_e + .05)·e_e^-4.  An expert without an error so far keeps its
    weight.  Meanwhile regrets learn less: r_e and r_e² count 1 − lambda.  After a pause they are what they were before
    it.
    """
    experts = recent.shape[1] - 1
    shared, own = mean[:experts], mean[experts:]
    _share_recent(plan.near, mixture, recent, shared, own)
    for step in range(steps):
        sigma, best, behind, known, total = mixture[step, 3 * experts], math.inf, 0.0, 0.0, 0.0
        for e in range(experts):
            if recent[step, e] >= 0.0:
                own[e] = max(recent[step, e] + sigma * shared[e], TINY)
                best = min(best, own[e])
                behind += mixture[step, 2 * experts + e] * own[e]
                known += mixture[step, 2 * experts + e]
        recent[step, experts] = 0.0
        if not behind > plan.most_behind * best * known:  # also where no expert has an error so far
            continue
        follow = min(behind / (plan.most_behind * best * known) - 1.0, 1.0)
        recent[step, experts] = follow
        for e in range(experts):
            if recent[step, e] >= 0.0:
                own[e] = (mixture[step, 2 * experts + e] + NEWCOMER) * (best / own[e]) ** 4
                total += own[e]
        for e in range(experts):
            if recent[step, e] >= 0.0:
                weight = mixture[step, 2 * experts + e]
                mixture[step, 2 * experts + e] = weight + follow * (known * own[e] / total - weight)


@inlined
def _share_recent(near: Floats, mixture: Floats, recent: Floats, shared: Floats, known: Floats) -> None:
    """Write the mean over the ladder of each expert's recent errors in sigmas, weighted by ``near`` [L].

    ``known`` [E] is memory.
    """
    experts = shared.shape[0]
    shared[:] = 0.0
    known[:] = TINY
    for step in range(near.shape[0]):
        relative = near[step] / max(mixture[step, 3 * experts], TINY)
        for e in range(experts):
            seen = recent[step, e] >= 0.0
            shared[e] += relative * recent[step, e] if seen else 0.0
            known[e] += near[step] if seen else 0.0
    for e in range(experts):
        shared[e] /= known[e]


# -- levels --------------------------------------------------------------------------------------------


@inlined
def _write_levels(
    plan: LayerPlan, row: LayerRow, low: int, high: int, share: float, part: int, mixed: float, local: float,
    trust: float, forecast: Floats, a: int, h: int,
) -> bool:  # fmt: skip
    """Replace the network's levels, h steps ahead, by the final ones; whether they are finite.

    ``low``, ``high`` and ``share`` place h between two scored steps; ``trust`` is a in the equation of s.

    sigma is the running mean of |y − m|, memory 60 + 3·h bars.  A step whose outcomes have not come borrows the sigma
    of the longest step g that has one, times √(h / g).  share is the mean of |y − m| / sigma by part of the day, memory
    14 days.  local = sigma · max(share, .05).  z_j is the normal quantile in mean absolute errors.  With w the
    network's weight, a = w + ``network_spread``·(1 − w):

        s_j = a·(network_j − network's median) + (1 − a)·z_j·local
        q_j = m + s_j + theta_j·max(|s_j| / max(|z_j|, .25), .05·local)

    q_j lies within ``lower`` and ``upper``, and levels are ordered outwards from the median.
    """
    mixture, hourly, normal, median = row.mixture, row.hourly, plan.normal, plan.median
    quantiles = normal.shape[0]
    first = mixture.shape[1] - quantiles
    center = forecast[a, h - 1, median]
    finite = math.isfinite(mixed)
    for j in range(quantiles):
        if j != median:
            tracked = (1.0 - share) * mixture[low, first + j] + share * mixture[high, first + j]
            if hourly.shape[0] > 0:
                tracked += hourly[part, j]
            offset = (1.0 - trust) * normal[j] * local
            if trust > 0.0:
                offset += trust * (forecast[a, h - 1, j] - center)
            unit = max(abs(offset) / max(abs(normal[j]), LEAST_NORMAL), LEAST_SHARE * local)
            level = mixed + offset + tracked * unit
            finite = finite and math.isfinite(level)
            forecast[a, h - 1, j] = min(max(level, plan.lower), plan.upper)
    forecast[a, h - 1, median] = mixed
    for j in range(median + 1, quantiles):
        forecast[a, h - 1, j] = max(forecast[a, h - 1, j], forecast[a, h - 1, j - 1])
    for j in range(median - 1, -1, -1):
        forecast[a, h - 1, j] = min(forecast[a, h - 1, j], forecast[a, h - 1, j + 1])
    return finite


@inlined
def _track_levels(
    plan: LayerPlan, row: LayerRow, step: int, cell: int, y: float, beyond: int, rate: float, shortfall: Floats
) -> float:  # fmt: skip
    """Move theta of one scored step after an outcome, by whether the issued levels held it, and add its shortfalls.

    Return the weight of the shortfalls, 0 where no level was issued.

    short_j = level_j − [y < issued q_j].  This is adaptive conformal inference (Gibbs & Candès 2021, arXiv 2106.00170):
    theta_j ← theta_j + eta·short_j within ±20, with eta = max(coverage step · h^-.3 · √min(1, 24/S0), 1/(n + 10)).
    Steps also learn from one another, because a bar tells one step hardly more than the next: at a bar, every theta_j
    moves by the mean of short_j over the ladder as well, times shared coverage step · h^-.15 · √min(1, 24/S0).
    """
    mixture, levels = row.mixture, plan.levels
    first, weight, issued = mixture.shape[1] - levels.shape[0], plan.stands_for[step], 0.0
    for j in range(levels.shape[0]):
        level = row.pending[cell, j]
        if j != plan.median and not math.isnan(level):
            held = y < level or (y == level and j > plan.median)
            inside = 1.0 if beyond < 0 or (beyond == 0 and held) else 0.0
            mixture[step, first + j] = _tracked(plan, j, mixture[step, first + j] + rate * (levels[j] - inside))
            shortfall[j] += weight * (levels[j] - inside)
            issued = weight
    return issued


@inlined
def _share_levels(
    plan: LayerPlan, mixture: Floats, t: int, shortfall: Floats, issued: float, beyond: int
) -> None:  # fmt: skip
    """Move theta of every scored step, by the weighted mean of their shortfalls, or of their widths'.

    An outcome ``beyond`` a bound moves the levels of the other side out to ``MOST_FOR_BEYOND`` only.

    New models share widths alone (``shared_widths``).  The mean is then of (short_j − short_m) / 2, where m is its
    mirror, level 1 − level_j, so that both levels move outwards or inwards.  It weighs a scored step by the steps ahead
    that it stands for.  Every step moves by it times shared coverage step · √(24 / max(24, S0, H)): with whole steps,
    levels swing where outcomes come a week late.  A step's own eta then has h^-1 in the place of h^-.3: near steps
    learn from themselves, far ones from all.
    """
    levels, opposed = shortfall.shape[0], plan.opposed
    first = mixture.shape[1] - levels
    for step in range(plan.ladder.shape[0]):
        if plan.ladder[step] > t:
            break
        rate = plan.shared_step[step] / issued
        for j in range(levels):
            short = (1.0 - opposed[j]) * shortfall[j] - opposed[j] * shortfall[plan.mirror[j]]
            if beyond < 0 and j > plan.median and short > 0.0 and mixture[step, first + j] > MOST_FOR_BEYOND:
                continue
            if beyond > 0 and j < plan.median and short < 0.0 and mixture[step, first + j] < -MOST_FOR_BEYOND:
                continue
            mixture[step, first + j] = _tracked(plan, j, mixture[step, first + j] + rate * short)


@inlined
def _track_part(plan: LayerPlan, rate: float, hourly: Floats, part: int, shortfall: Floats) -> None:
    """Move phi of a part of the day, by the sum of the shortfalls of its levels.

    phi_j(p), p being the bar's part of the day, moves by the mean of short_j itself, times hourly coverage step ·
    min(1, 24/S0), within ±20.  A target bar has theta_j + phi_j(its part) in the place of theta_j.
    """
    for j in range(shortfall.shape[0]):
        hourly[part, j] = _tracked(plan, j, hourly[part, j] + rate * shortfall[j])


@inlined
def _tracked(plan: LayerPlan, j: int, value: float) -> float:
    """Return theta or phi of a level within its range.

    Where the spec says so (``levels_stop``), theta_j and phi_j move inwards by max(|z_j|, .25) at most: there a level
    lies on the median.  Without that limit they go on inwards as long as outcomes are as forecast, and when a series
    that was constant changes, its levels come back from there for weeks.
    """
    return min(max(value, plan.least_tracked[j]), plan.most_tracked[j])


@inlined
def _limited(plan: LayerPlan, value: float, usual: float, count: float) -> float:
    """Return what an error or a deviation counts as, beside the mean of its size so far, of ``count``.

    Where the spec says so, d and the errors that sigma is the mean of are at most ``largest_error`` times their mean
    size so far, once there are 7·S0 of them.  One reading of a broken sensor would otherwise widen all intervals for
    weeks.  After a change that lasts, a limited mean still grows by a quarter at each bar, or faster.  Where the spec
    says so (``winsorized``), the value at a place is base plus such a d, too, unless the bar before was about as far
    out: one wild reading is not repeated a day and a week later, and a change that lasts is.
    """
    most = plan.largest_error * usual
    return min(max(value, -most), most) if most > TINY and count > plan.known_after else value


@loop
def _clipped(value: float, most: float) -> float:
    """Return a value within ±most."""
    return min(max(value, -most), most)
