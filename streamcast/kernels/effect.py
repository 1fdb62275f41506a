"""The effect of known inputs: per series, a piecewise linear function of them that is learned while serving.

It stands around the online layer.  At each bar the layer gets the outcome without the effect of the bar's inputs; from
the forecast of a bar ahead, the effect of its inputs is taken before the layer and given back after it.  So every
expert of the layer forecasts what the inputs leave.  All numbers are float64.

Legend: K steps, A answers, I inputs, H horizon, P features; t the newest bar, S the shortest season, y an outcome, x
the inputs of a bar as (value − center) / spread within ±``MOST_SPREADS``.

**Features.**  B(x) has for each input x itself and max(x − place, 0) for each of a few places.  Where there are many
inputs, there are fewer places.

**What is learned.**  y(t) − y(t − S) on B(x(t)) − B(x(t − S)): the differences leave out what a series does each day,
and its slow changes.  It is weighted recursive least squares, with a weight of 1 / max(|error| / mean error, .3), so
that it aims at the median; the ridge is ``RIDGE``.  The system is solved once a season, in ``LEAST_EVERY`` bars or
more (Cholesky).  A difference counts as ``MOST_DIFFERENCES`` mean ones at most.

**Whether it is used.**  Two running means are kept: of |y(t) − y(t − S)|, and of the same minus what the coefficients
of that time said.  gain is 1 minus the second over the first.  The coefficients in use are the solved ones times
share, which is gain / ``FULL_GAIN`` within 0 and 1: where inputs explain nothing, the effect is none.

**The effect** of inputs x is level + B(x) · the coefficients in use.  When they change, level changes so that the mean
effect over the newest S bars stays: what the layer has learned of the level stays true.

**Missing.**  An input that is missing is that of the same place one season earlier: so the forecast of a bar without
known inputs repeats the effect of the season before.  A bar where the outcome or an input is missing teaches nothing.

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

# Columns of EffectState.moments: the number of differences, their mean size, the mean error, and the level.
SEEN, SIZE, ERROR, LEVEL = 0, 1, 2, 3
MOMENTS = 4

# The numbers of the equations above.
MOST_SPREADS = 4.0
RIDGE = 10.0
LEAST_ERROR = 0.3  # in mean errors: no weight is above 1 / .3
LEAST_EVERY = 8
MOST_DIFFERENCES = 20.0
FULL_GAIN = 0.01
LARGEST = 1e100  # outcomes are clipped here
TINY = 1e-100


class EffectPlan(NamedTuple):
    """The constants of a model spec that the effect needs."""

    season: int  # S
    center: Floats  # I
    spread: Floats  # I
    places: Floats  # of the hinges, in spreads
    keep: float  # the share of the equations that a bar keeps
    rate: float  # what the mean errors take of a new one, at least
    known_after: float  # differences after which their means are known
    ladder: Ints  # L: the layer's scored steps
    promised_start: Ints  # L + 1: where a scored step's ring begins
    lower: float  # outcomes beyond a bound count as the bound
    upper: float


class EffectState(NamedTuple):
    """The arrays of the slab that the effect changes, one row a series; the first three are rings."""

    inputs: Floats  # slots, S, I: x, where nothing is missing any more
    outcome: Floats  # slots, S: y, NaN where it or an input was missing
    promised: Floats  # slots, sum of ladder: the effect that a forecast of the bar was made with, NaN without one
    moments: Floats  # slots, MOMENTS
    system: Floats  # slots, P·(P+1)/2 + 3·P: lower triangle, right side, coefficients, those in use


class EffectScratch(NamedTuple):
    """Memory that is used for one step at a time."""

    x: Floats  # P: the features of a bar
    change: Floats  # P
    factor: Floats  # P, P: Cholesky's
    column: Floats  # P
    solved: Floats  # P
    now: Floats  # I


def new_scratch(plan: EffectPlan) -> EffectScratch:
    """Return the memory that an effect with these constants uses again for each step."""
    inputs = len(plan.center)
    features = inputs * (1 + len(plan.places))
    return EffectScratch(
        x=np.empty(features),
        change=np.empty(features),
        factor=np.empty((features, features)),
        column=np.empty(features),
        solved=np.empty(features),
        now=np.empty(inputs),
    )


class EffectOverwritten(NamedTuple):
    """The ring cells that K steps overwrote, for discard."""

    inputs: Floats  # K, I
    outcome: Floats  # K
    promised: Floats  # K, L


@loop
def learn_and_explain(
    plan: EffectPlan, state: EffectState, scratch: EffectScratch, sequence: Ints, slots: Ints, orders: Ints,
    inputs: Floats, outcomes: Floats, answer: Ints, ahead: Floats, before: EffectOverwritten, effect: Floats,
    moved: Floats,
) -> None:  # fmt: skip
    """Take K steps in order: take the effect from each outcome, learn from it, and write the effects of each answer.

    ``sequence`` [K] is a permutation of the steps that keeps the order of each series.  ``orders`` [K] is the number of
    steps of the series before this one; 0 resets its state.  ``inputs`` [K, I] and ``outcomes`` [K] are NaN where
    missing, and the latter are replaced in place.  ``answer`` [K] is the step's answer or -1, ``ahead`` [A, I, H] holds
    the known inputs of the bars after it, and ``effect`` [A, H] is written.
    ``moved`` [K, L] becomes the effect of the bar less that which each scored step was forecast with.
    """
    count, season, places = inputs.shape[1], plan.season, plan.places
    for k in sequence:
        slot, t = slots[k], orders[k]
        ring, past = state.inputs[slot], state.outcome[slot]
        moments, system = state.moments[slot], state.system[slot]
        if t == 0:
            moments[:] = 0.0
            system[:] = 0.0
        cell = t % season
        known = True
        for i in range(count):
            known = known and math.isfinite(inputs[k, i])
            scratch.now[i] = _placed(plan, inputs[k, i], i, ring, t)
        y = math.nan
        if math.isfinite(outcomes[k]):
            y = min(max(min(max(outcomes[k], -LARGEST), LARGEST), plan.lower), plan.upper)
        _describe(scratch.now, places, scratch.x)
        now = _effect(moments, system, scratch.x)
        outcomes[k] = y - now
        if known and t >= season and not math.isnan(past[cell]) and not math.isnan(y):
            _describe(ring[cell], places, scratch.change)
            for p in range(scratch.x.shape[0]):
                scratch.change[p] = scratch.x[p] - scratch.change[p]
            _learn(plan, moments, system, scratch.change, y - past[cell])
        before.outcome[k] = past[cell]
        past[cell] = y if known else math.nan
        for i in range(count):
            before.inputs[k, i] = ring[cell, i]
            ring[cell, i] = scratch.now[i]
        if t >= season and (t + 1) % max(season, LEAST_EVERY) == 0:
            _solve(system, scratch.factor, scratch.column, scratch.solved)
            _use(plan, moments, system, ring, scratch.x, scratch.solved)
        if answer[k] >= 0:
            _explain_ahead(plan, moments, system, ring, t, ahead[answer[k]], scratch, effect[answer[k]])
        promised = state.promised[slot]
        for step in range(plan.ladder.shape[0]):
            h = plan.ladder[step]
            cell = plan.promised_start[step] + t % h
            before.promised[k, step] = promised[cell]
            moved[k, step] = 0.0 if math.isnan(promised[cell]) else now - promised[cell]
            promised[cell] = effect[answer[k], h - 1] if answer[k] >= 0 else math.nan


@inlined
def _placed(plan: EffectPlan, value: float, i: int, ring: Floats, t: int) -> float:
    """Return an input of the newest bar t in spreads; where it is missing, that of the season before, or the last."""
    if math.isfinite(value):
        return min(max((value - plan.center[i]) / plan.spread[i], -MOST_SPREADS), MOST_SPREADS)
    if t >= plan.season:
        return ring[t % plan.season, i]
    return ring[t - 1, i] if t > 0 else 0.0


@loop
def _describe(inputs: Floats, places: Floats, x: Floats) -> None:
    """Write the features of a bar."""
    p = 0
    for i in range(inputs.shape[0]):
        x[p] = inputs[i]
        p += 1
        for j in range(places.shape[0]):
            x[p] = max(inputs[i] - places[j], 0.0)
            p += 1


@loop
def _effect(moments: Floats, system: Floats, x: Floats) -> float:
    """Return the effect of inputs with features x."""
    features = x.shape[0]
    first = system.shape[0] - features
    value = moments[LEVEL]
    for p in range(features):
        value += system[first + p] * x[p]
    return value


@loop
def _learn(plan: EffectPlan, moments: Floats, system: Floats, change: Floats, difference: float) -> None:
    """Add one seasonal difference to the equations, and to the record of the coefficients."""
    features = change.shape[0]
    most = MOST_DIFFERENCES * moments[SIZE]
    if moments[SEEN] > plan.known_after and most > TINY:
        difference = min(max(difference, -most), most)
    right = features * (features + 1) // 2
    error = difference
    for p in range(features):
        error -= system[right + features + p] * change[p]
    moments[SEEN] += 1.0
    rate = max(1.0 / moments[SEEN], plan.rate)
    moments[SIZE] += rate * (abs(difference) - moments[SIZE])
    moments[ERROR] += rate * (abs(error) - moments[ERROR])
    weight = 1.0 / max(abs(error) / max(moments[ERROR], TINY), LEAST_ERROR)
    cell = 0
    for p in range(features):
        weighted = weight * change[p]
        system[right + p] = plan.keep * system[right + p] + weighted * difference
        for i in range(p + 1):
            system[cell + i] = plan.keep * system[cell + i] + weighted * change[i]
        cell += p + 1


@loop
def _use(plan: EffectPlan, moments: Floats, system: Floats, ring: Floats, x: Floats, mean: Floats) -> None:
    """Take the coefficients into use as far as their record says; the mean effect of a season stays.

    ``x`` and ``mean`` are memory.
    """
    features = x.shape[0]
    solved, used = system.shape[0] - 2 * features, system.shape[0] - features
    share = 0.0
    if moments[SEEN] > plan.known_after and moments[SIZE] > TINY:
        share = min(max((1.0 - moments[ERROR] / moments[SIZE]) / FULL_GAIN, 0.0), 1.0)
    mean[:] = 0.0
    for cell in range(plan.season):
        _describe(ring[cell], plan.places, x)
        for p in range(features):
            mean[p] += x[p]
    for p in range(features):
        new = share * system[solved + p]
        moments[LEVEL] += (system[used + p] - new) * mean[p] / plan.season
        system[used + p] = new


@inlined
def _explain_ahead(
    plan: EffectPlan, moments: Floats, system: Floats, ring: Floats, t: int, ahead: Floats, scratch: EffectScratch,
    effect: Floats,
) -> None:  # fmt: skip
    """Write the effect of each bar ahead of t: ``ahead`` [I, H], NaN where it is not known."""
    for h in range(effect.shape[0]):
        place = t + 1 + h
        cell = min(place % plan.season, t)  # before the first season is over, the newest
        for i in range(ahead.shape[0]):
            scratch.now[i] = ring[cell, i]
            if math.isfinite(ahead[i, h]):
                value = (ahead[i, h] - plan.center[i]) / plan.spread[i]
                scratch.now[i] = min(max(value, -MOST_SPREADS), MOST_SPREADS)
        _describe(scratch.now, plan.places, scratch.x)
        effect[h] = _effect(moments, system, scratch.x)


@loop
def _solve(system: Floats, lower: Floats, column: Floats, z: Floats) -> None:
    """Solve the equations plus RIDGE on the diagonal, as ``kernels/online.py`` does; write the coefficients."""
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
