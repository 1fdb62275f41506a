"""Observations in offset order become steps: bars close, windows and normalisers move, features are written.

Read it from the top: ``advance`` goes through the observations, ``_step`` steps one bar, ``_answer`` prepares one
answer; what they call follows them.  First come the columns of the state, then the tuples of arrays.

Legend: N observations, C columns, S coarse scales, K steps of a chunk, A answers, F features, L lags, W window,
H horizon, J aligned values of a target bar, G its features, I known inputs.
``_step`` and ``_answer`` are inlined, because passing two dozen arrays to a function costs as much as the function.

numba's cache notices changes in a loop's own file only.  So all loops are in this file, and the imported outcome codes
never change.  The cache is found by function name and line: after renaming a tuple class, delete the cached files
(``__pycache__/*.nbi``) if a function stays on its line, or numba fails to read them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streamcast.kernels.loops import inlined, loop
from streamcast.kernels.outcomes import ABSORBED, ANSWERED, DUPLICATE, LATE

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

NEVER = -(2**62)
"""The bar or time of a series that has none yet."""

# Columns of WindowState.clock: newest bar, number of steps, time of the newest event and of the newest step, last
# applied offset; for ticks, the newest closed bar and the newest closed bar that had a record.
BAR, STEPS, EVENT, STEPPED, OFFSET, CLOSED, HEARD = 0, 1, 2, 3, 4, 5, 6
CLOCK = 7

# Columns of WindowState.level: running mean and variance of the observed values, their number, the last one, and the
# number of bars since it.
MEAN, VARIANCE, WEIGHT, LAST, AGE = 0, 1, 2, 3, 4
LEVEL = 5

# Columns of WindowState.open and WindowState.ticks: an open bar.
VALUE, COUNT, TIME = 0, 1, 2
PART = 3

REDUCE_MEAN, REDUCE_FIRST, REDUCE_LAST, REDUCE_MIN, REDUCE_MAX, REDUCE_SUM, REDUCE_COUNT = 0, 1, 2, 3, 4, 5, 6
REDUCERS = ("mean", "first", "last", "min", "max", "sum", "count")

LINEAR, SQRT, LOG = 0, 1, 2
"""Scales of the target (``spec.model_spec.Transform``)."""
MOST_LOG, MOST_BACK = 700.0, 1e300
"""The largest logarithm that is taken back, and what it is at most."""

CLIP = 100.0
"""Normalised values are clipped to ±CLIP, so that no input can make a feature overflow."""

KNOWN_CLIP = 10.0
"""Known inputs are clipped to ±KNOWN_CLIP spreads: beyond it the training part says nothing about their effect."""

DAY_MS = 86_400_000
SATURDAY = 5
KINDS_OF_DAY, DAYS = 3, 8
"""Those of ``spec/features.py``, where tables get their sizes."""
OLDER_SEASONS = 3
"""Where a bar was not observed, so many earlier seasons are searched for an observed one: ``quality.OLDER_SEASONS``."""


class Calendar(NamedTuple):
    """The calendar of a model spec, for functions of a few instructions: to pass a whole ``Plan`` takes 30 ns."""

    zone_from: Ints  # when an offset from UTC begins
    zone_offset: Ints
    first_day: int  # the local day of day_off[0], since 1970-01-01
    day_off: npt.NDArray[np.bool_]  # empty where no day is off


class Plan(NamedTuple):
    """The constants of a model spec that the loops need; durations in milliseconds.

    All times in this file are those of the grid: bars of a calendar have one length there (``spec/calendar_bars.py``).
    """

    # When bars close.
    freq: int
    origin: int  # where bar 0 begins
    ticks: bool
    grace: int
    max_gap: int  # bars; after a longer gap the series restarts
    ttl: int  # after a longer silence, too
    # Missing values, the normaliser, and when a series is answered.
    fill: int  # missing values are those of so many bars before; 0: the last value
    alpha: float  # the weight of a new value in the running moments, once there are many
    least: float  # the unit of a column is at least this share of its mean
    tiny: float  # and at least this
    before_first: bool  # whether a series is answered before the first value of its target
    season: int  # of the baseline, in bars
    lags: int
    warm_up: int
    # The scale of the target: windows, moments and features are on it.
    transform: int  # LINEAR, SQRT or LOG
    unit: float  # of a logarithm
    # Columns, calendar and scales.
    sizes: Ints  # C: 0 for a number, else how many categories
    reducers: Ints  # C
    coarse_reducers: Ints  # C: how base bars become coarse bars
    periods: Floats  # calendar periods
    every: Ints  # S
    coarse_windows: Ints  # S
    # The horizon, and what is known about its bars.
    scored: Ints  # steps ahead
    horizon: int
    seasons: Ints  # of aligned values; none without target bars
    back: Ints  # how many earlier seasons are read, by season
    alike: int  # how many earlier days of the same kind are read
    missing_share: bool  # whether one number says which share of J is missing, instead of J flags
    day: int  # bars of a day, where such days are read
    since: int  # the feature of the change since the first season
    places: int  # entries of the time-of-day table
    week: bool  # whether days of the week differ
    calendar: Calendar
    known: Ints  # I: columns whose future is known
    center: Floats  # I
    spread: Floats  # I
    explaining: Ints  # the known inputs whose effect is learned while serving (``kernels/effect.py``): places in known


class WindowState(NamedTuple):
    """The arrays of the slab that the loops change, one row a series."""

    clock: Ints  # slots, CLOCK
    level: Floats  # slots, C, LEVEL
    closed: Ints  # slots, S: coarse bars closed
    open: Floats  # slots, S, C, PART: the open coarse bar
    ticks: Floats  # slots, open bars, C + 1, PART: open base bars; the last column counts the records
    ring: Floats  # slots, C, W
    coarse_ring: Floats  # slots, C, sum of coarse W
    absent: npt.NDArray[np.bool_]  # slots, W: whether the target of a bar was not observed
    ahead: Floats  # slots, I, H + open bars: the known inputs of the bars after bar ``ahead_of``; NaN is not known
    ahead_of: Ints  # slots, 2: whether there is such a bar, and its number; no columns without known inputs


class Past(NamedTuple):
    """The target of one series as target bars read it: relative to its mean, in its unit."""

    ring: Floats  # bar n is at n modulo the ring's length
    absent: npt.NDArray[np.bool_]  # the same: whether it was not observed
    oldest: int  # the number of the oldest bar in the ring
    mean: float
    reciprocal: float  # of the unit


class Bar(NamedTuple):
    """Memory for one bar at a time; C columns each, where nothing else is said."""

    filled: Floats  # its values, or what stands for missing ones
    missing: npt.NDArray[np.bool_]
    coarse: Floats  # the same two of the coarse bar that it closes
    coarse_missing: npt.NDArray[np.bool_]
    closed: Floats  # the values of a bar of ticks
    nothing: Floats  # NaN: those of a bar without observations
    target_x: Singles  # G, H: the numbers of the target bars of one answer


class Steps(NamedTuple):
    """The output of one chunk of observations: buffers, with room for A answers beside K steps.

    ``Counts`` says how much of them is used.
    """

    slot: Ints  # K
    record: Ints  # K: the observation that caused the step
    order: Ints  # K: number of steps of the series before this one
    label: Ints  # K: the start of the bar, in the grid's time
    cold: npt.NDArray[np.bool_]  # K: reset the state before this step
    dt: Singles  # K: bars since the previous step
    x: Singles  # K, F
    observed: Floats  # K: the target as it was observed, NaN where missing
    naive: Floats  # K, scored: seasonal naive forecasts of this bar, on the scale of the target
    ring_before: Floats  # K, C: the overwritten ring values, for discard
    absent_before: npt.NDArray[np.bool_]  # K: the same of ``absent``
    answer: Ints  # K: index of this step's answer, or -1
    coarse_slot: Ints  # S, K
    coarse_after: Ints  # S, K: the base step that closed the coarse bar
    coarse_order: Ints  # S, K
    coarse_x: Singles  # S, K, F
    coarse_before: Floats  # S, K, C
    answer_step: Ints  # A
    answer_order: Ints  # 1 + S, A: number of steps of each scale of the series at the answer
    lags: Singles  # A, L
    last: Floats  # A: the value forecasts are relative to
    scale: Floats  # A: the unit of forecasts
    mean: Floats  # A: the running mean
    level: Singles  # A: the last value, normalised
    target_x: Singles  # A, H, G: features of the target bars
    target_codes: Ints  # A, H, tables
    inputs: Floats  # K, explaining: these inputs of the bar, NaN where missing
    inputs_ahead: Floats  # A, explaining, H: the same of the bars ahead
    warm: npt.NDArray[np.bool_]  # A
    outcome: npt.NDArray[np.uint8]  # N
    bar: Bar


class Counts(NamedTuple):
    """How much one call of ``advance`` wrote.  All fields are arrays, because the loops add to them in place."""

    steps: Ints  # 1 + S: steps of each scale, the base scale first
    answers: Ints  # 1
    gaps: Ints  # 1: missing bars that were filled
    restarts: Ints  # 1: series that were reset after a long gap

    @classmethod
    def zeros(cls, scales: int) -> Counts:
        """Return the counts of a spec with so many coarse scales."""
        return cls(np.zeros(1 + scales, np.int64), *np.zeros((3, 1), np.int64))


# -- observations --------------------------------------------------------------------------------------


@loop
def advance(
    plan: Plan, rows: WindowState, out: Steps, slots: Ints, times: Ints, offsets: Ints, values: Floats,
    ahead: Floats, start: int, counts: Counts,
) -> int:  # fmt: skip
    """Apply observations from ``start`` on, in order, until they end or the buffers are full; return the next one.

    ``ahead`` [N, I, H] holds the known inputs that the observations bring.  Overwrites ``out`` and ``counts``.
    """
    counts.steps[:] = 0
    counts.answers[0] = counts.gaps[0] = counts.restarts[0] = 0
    room, answers = out.slot.shape[0], out.answer_step.shape[0]
    for i in range(start, slots.shape[0]):
        slot, time = slots[i], times[i]
        clock = rows.clock[slot]
        bar = (time - plan.origin) // plan.freq
        if counts.answers[0] == answers or counts.steps[0] + _most_steps(plan, rows, slot, time) > room:
            return i
        if offsets[i] <= clock[OFFSET]:
            out.outcome[i] = DUPLICATE
            continue
        if plan.ticks:
            _tick(plan, rows, out, counts, slot, i, bar, time, offsets[i], values[i], ahead[i])
            continue
        if clock[BAR] != NEVER:
            if bar <= clock[BAR]:
                out.outcome[i] = DUPLICATE if bar == clock[BAR] else LATE
                continue
            if bar - clock[BAR] - 1 > plan.max_gap or time - clock[EVENT] > plan.ttl:
                _restart(rows, slot)
                _forget_known(plan, rows, slot)
                counts.restarts[0] += 1
            else:
                for between in range(clock[BAR] + 1, bar):
                    label = plan.origin + between * plan.freq
                    _step(plan, rows, out, counts, slot, i, between, label, out.bar.nothing)
                    counts.gaps[0] += 1
        _step(plan, rows, out, counts, slot, i, bar, time, values[i])
        _note_known(plan, rows, slot, bar, bar, ahead[i])
        clock[EVENT] = time
        clock[OFFSET] = offsets[i]
        if plan.before_first or rows.level[slot, 0, WEIGHT] > 0.0:
            _answer(plan, rows, out, counts, slot)
            out.outcome[i] = ANSWERED
        else:
            out.outcome[i] = ABSORBED
    return slots.shape[0]


@inlined
def _most_steps(plan: Plan, rows: WindowState, slot: int, time: int) -> int:
    """Return at least the number of steps that an observation causes: a gap, the open bars of ticks, and its own."""
    closed = (time - plan.grace - plan.origin) // plan.freq - 1 if plan.ticks else (time - plan.origin) // plan.freq
    newest = rows.clock[slot, CLOSED if plan.ticks else BAR]
    return 1 if newest == NEVER else min(closed - newest, plan.max_gap + rows.ticks.shape[1] + 1)


@loop
def _tick(
    plan: Plan, rows: WindowState, out: Steps, counts: Counts, slot: int, record: int, bar: int, time: int, offset: int,
    values: Floats, ahead: Floats,
) -> None:  # fmt: skip
    """Apply one tick: close every bar whose end plus grace is not after it, then add it to its own bar."""
    clock = rows.clock[slot]
    held, columns = rows.ticks.shape[1], values.shape[0]
    event = clock[EVENT]
    until = (time - plan.grace - plan.origin) // plan.freq  # the first bar that stays open
    if event == NEVER:
        clock[CLOSED] = until - 1
    elif bar <= clock[CLOSED]:
        out.outcome[record] = LATE
        return
    steps_before = counts.steps[0]
    if event != NEVER and until - 1 > clock[CLOSED]:
        newest = (event - plan.origin) // plan.freq
        reach = min(until - 1, newest)  # bars up to here may have ticks, later ones have none
        for b in range(clock[CLOSED] + 1, reach + 1):
            if rows.ticks[slot, b % held, columns, COUNT] > 0.0:
                clock[HEARD] = b
            elif clock[HEARD] != NEVER and b - clock[HEARD] > plan.max_gap:
                _restart(rows, slot)  # known inputs stay: later ticks may have brought them
                counts.restarts[0] += 1
                steps_before = counts.steps[0]
            _close_base_bar(plan, rows, out, counts, slot, record, b)
        if until - 1 - reach > plan.max_gap or time - event > plan.ttl:
            _restart(rows, slot)
            _forget_known(plan, rows, slot)
            counts.restarts[0] += 1
            steps_before = counts.steps[0]
        else:
            for b in range(reach + 1, until):
                _close_base_bar(plan, rows, out, counts, slot, record, b)
        clock[CLOSED] = until - 1
    part = rows.ticks[slot, bar % held]
    for c in range(columns):
        if not math.isnan(values[c]):
            _add(part[c], values[c], float(time), plan.reducers[c])
    part[columns, COUNT] += 1.0
    _note_known(plan, rows, slot, bar, clock[CLOSED], ahead)
    clock[EVENT] = max(clock[EVENT], time)
    clock[OFFSET] = offset
    if counts.steps[0] > steps_before and (plan.before_first or rows.level[slot, 0, WEIGHT] > 0.0):
        _answer(plan, rows, out, counts, slot)
        out.outcome[record] = ANSWERED
    else:
        out.outcome[record] = ABSORBED


@loop
def _close_base_bar(
    plan: Plan, rows: WindowState, out: Steps, counts: Counts, slot: int, record: int, bar: int
) -> None:  # fmt: skip
    """Close one base bar of ticks: step its aggregates, or a missing bar if it has no observation."""
    part = rows.ticks[slot, bar % rows.ticks.shape[1]]
    values, empty = out.bar.closed, True
    for c in range(values.shape[0]):
        empty = empty and part[c, COUNT] == 0.0
        values[c] = _reduced(part[c], plan.reducers[c])
    part[:] = 0.0
    if empty and rows.clock[slot, STEPS] == 0:
        return  # a series begins with its first observation
    if empty:
        counts.gaps[0] += 1
    _step(plan, rows, out, counts, slot, record, bar, plan.origin + bar * plan.freq, values)


@loop
def _restart(rows: WindowState, slot: int) -> None:
    """Reset a series: its clock counts no bar, so that old ring cells are never read."""
    offset = rows.clock[slot, OFFSET]
    rows.clock[slot] = NEVER
    rows.clock[slot, STEPS] = 0
    rows.clock[slot, OFFSET] = offset
    rows.level[slot] = 0.0
    rows.closed[slot] = 0
    rows.open[slot] = 0.0


# -- known inputs: what records bring for the bars after their own -------------------------------------


@loop
def _note_known(plan: Plan, rows: WindowState, slot: int, bar: int, newest: int, ahead: Floats) -> None:
    """Keep the known inputs [I, H] that a record of ``bar`` brings for the bars after it; NaN changes nothing.

    ``newest`` is the newest bar that is closed, whether it stepped or not: nothing is kept for it and bars before.
    """
    if plan.known.shape[0] == 0:
        return
    if rows.ahead_of[slot, 0] == 0:
        rows.ahead[slot] = math.nan
        rows.ahead_of[slot, 0] = 1
        rows.ahead_of[slot, 1] = newest
    _shift_known(rows.ahead[slot], newest - rows.ahead_of[slot, 1])
    rows.ahead_of[slot, 1] = max(newest, rows.ahead_of[slot, 1])
    for i in range(plan.known.shape[0]):
        for h in range(plan.horizon):
            place = bar - rows.ahead_of[slot, 1] + h
            if 0 <= place < rows.ahead.shape[2] and not math.isnan(ahead[i, h]):
                rows.ahead[slot, i, place] = ahead[i, h]


@loop
def _forget_known(plan: Plan, rows: WindowState, slot: int) -> None:
    """Forget the known inputs of a series that was silent for too long."""
    if plan.known.shape[0] > 0:
        rows.ahead_of[slot] = 0


@loop
def _shift_known(ahead_IH: Floats, bars: int) -> None:
    """Move the known inputs by so many bars that have passed."""
    inputs, horizon = ahead_IH.shape
    for i in range(inputs if bars > 0 else 0):
        for h in range(horizon):
            ahead_IH[i, h] = ahead_IH[i, h + bars] if h + bars < horizon else math.nan


# -- one step of a base bar, and of the coarse bars that it closes -------------------------------------


@inlined
def _step(
    plan: Plan, rows: WindowState, out: Steps, counts: Counts, slot: int, record: int, bar: int, time: int,
    values: Floats,
) -> None:  # fmt: skip
    """Step one base bar: fill missing values, update window and normaliser, close coarse bars, write features."""
    k = counts.steps[0]
    counts.steps[0] += 1
    clock, level = rows.clock[slot], rows.level[slot]
    filled, missing = out.bar.filled, out.bar.missing
    columns, window = plan.sizes.shape[0], rows.ring.shape[2]
    ring, absent = rows.ring[slot, 0], rows.absent[slot]
    n = clock[STEPS]
    label = plan.origin + bar * plan.freq
    target = _transformed(values[0], plan.transform, plan.unit)

    for c in range(columns):
        value = values[c] if c > 0 else target
        missing[c] = math.isnan(value)
        if missing[c]:
            level[c, AGE] += 1.0
            value = level[c, LAST]
            if level[c, WEIGHT] == 0.0 and plan.sizes[c] > 0:
                value = -1.0
            elif plan.fill > 0 and n >= plan.fill:
                value = rows.ring[slot, c, (n - plan.fill) % window]
        else:
            level[c, AGE] = 0.0
            if plan.sizes[c] == 0:
                _observe(level[c], value, plan.alpha)
            else:
                level[c, WEIGHT] += 1.0
            level[c, LAST] = value
        filled[c] = value
        out.ring_before[k, c] = rows.ring[slot, c, n % window]
        rows.ring[slot, c, n % window] = value

    out.slot[k] = slot
    out.record[k] = record
    out.order[k] = n
    out.label[k] = label
    out.cold[k] = n == 0
    out.dt[k] = 1.0 if n == 0 else max((time - clock[STEPPED]) / plan.freq, 1e-3)
    out.observed[k] = values[0]
    out.answer[k] = -1
    for j in range(plan.scored.shape[0]):
        back = -(-plan.scored[j] // plan.season) * plan.season
        out.naive[k, j] = _season_before(ring, absent, n - back, max(n + 1 - window, 0), plan.season)
    out.absent_before[k] = absent[n % window]
    absent[n % window] = missing[0]
    _describe(plan, level, filled, missing, label, out.x[k])
    if plan.seasons.shape[0] > 0:
        unit = _unit(level[0], plan.least, plan.tiny)
        _write_changes(ring, plan.seasons, n, filled[0], unit, out.x[k, plan.since :])
    if plan.known.shape[0] > 0 and rows.ahead_of[slot, 0] == 1:
        _shift_known(rows.ahead[slot], bar - rows.ahead_of[slot, 1])
        rows.ahead_of[slot, 1] = max(bar, rows.ahead_of[slot, 1])
    for i in range(plan.explaining.shape[0]):
        out.inputs[k, i] = values[plan.known[plan.explaining[i]]]
    clock[BAR] = bar
    clock[STEPS] = n + 1
    clock[STEPPED] = time

    base = 0
    for s in range(plan.every.shape[0]):
        for c in range(columns):
            if not missing[c]:
                value = values[c] if c > 0 else target
                _add(rows.open[slot, s, c], value, float(label), plan.coarse_reducers[c])
        start = label - (label - plan.origin) % plan.every[s]
        if label + plan.freq >= start + plan.every[s]:
            _close_coarse_bar(plan, rows, out, counts, slot, k, s, base, start)
        base += plan.coarse_windows[s]


@loop
def _season_before(ring: Floats, absent: npt.NDArray[np.bool_], order: int, oldest: int, season: int) -> float:
    """Return the target of an earlier bar, or of its place in older seasons where it is missing; NaN if all are."""
    for older in range(OLDER_SEASONS + 1):
        before = order - older * season
        if before < oldest:
            break
        if not absent[before % absent.shape[0]]:
            return ring[before % ring.shape[0]]
    return math.nan


@loop
def _close_coarse_bar(
    plan: Plan, rows: WindowState, out: Steps, counts: Counts, slot: int, k: int, s: int, base: int, label: int
) -> None:  # fmt: skip
    """Close one coarse bar: the aggregates of its columns become a step of scale ``s``."""
    i = counts.steps[1 + s]
    counts.steps[1 + s] += 1
    n = rows.closed[slot, s]
    rows.closed[slot, s] = n + 1
    position = base + n % plan.coarse_windows[s]
    filled, coarse, missing = out.bar.filled, out.bar.coarse, out.bar.coarse_missing
    for c in range(filled.shape[0]):
        value = _reduced(rows.open[slot, s, c], plan.coarse_reducers[c])
        missing[c] = math.isnan(value)
        coarse[c] = filled[c] if missing[c] else value
        rows.open[slot, s, c] = 0.0
        out.coarse_before[s, i, c] = rows.coarse_ring[slot, c, position]
        rows.coarse_ring[slot, c, position] = coarse[c]
    out.coarse_slot[s, i] = slot
    out.coarse_after[s, i] = k
    out.coarse_order[s, i] = n
    _describe(plan, rows.level[slot], coarse, missing, label, out.coarse_x[s, i])


@loop
def _add(part: Floats, value: float, time: float, reducer: int) -> None:
    """Add one value to an open bar; values of equal time count in offset order."""
    first = part[COUNT] == 0.0
    part[COUNT] += 1.0
    if reducer == REDUCE_MEAN or reducer == REDUCE_SUM:
        part[VALUE] = value if first else part[VALUE] + value
    elif reducer == REDUCE_FIRST:
        if first or time < part[TIME]:
            part[VALUE], part[TIME] = value, time
    elif reducer == REDUCE_LAST:
        if first or time >= part[TIME]:
            part[VALUE], part[TIME] = value, time
    elif reducer == REDUCE_MIN:
        part[VALUE] = value if first else min(part[VALUE], value)
    elif reducer == REDUCE_MAX:
        part[VALUE] = value if first else max(part[VALUE], value)


@loop
def _reduced(part: Floats, reducer: int) -> float:
    """Return the value of a finished bar: NaN if it has no observation, except that a count is 0."""
    if reducer == REDUCE_COUNT:
        return part[COUNT]
    if part[COUNT] == 0.0:
        return math.nan
    return part[VALUE] / part[COUNT] if reducer == REDUCE_MEAN else part[VALUE]


@loop
def _observe(level: Floats, value: float, alpha: float) -> None:
    """Update the running moments with one value: exponential weights ``alpha``, 1/n while that is larger."""
    level[WEIGHT] += 1.0
    a = max(1.0 / level[WEIGHT], alpha)
    difference = value - level[MEAN]
    level[MEAN] += a * difference
    level[VARIANCE] = (1.0 - a) * (level[VARIANCE] + a * difference * difference)


# -- the scale of the target ----------------------------------------------------------------------------


@loop
def _transformed(value: float, kind: int, unit: float) -> float:
    """Return a value on the scale of the target; NaN stays."""
    if kind == LINEAR:
        return value
    size = math.sqrt(abs(value)) if kind == SQRT else math.log1p(abs(value) / unit)
    return -size if value < 0.0 else size


@loop
def transform(values: Floats, kind: int, unit: float) -> None:
    """Put values [N] on the scale of the target, in place."""
    for i in range(values.shape[0]):
        values[i] = _transformed(values[i], kind, unit)


@loop
def transform_back(values: Floats, kind: int, unit: float) -> None:
    """Take values [N] back from the scale of the target, in place; NaN stays."""
    for i in range(values.shape[0]):
        if math.isnan(values[i]):
            continue
        size = abs(values[i])
        size = size * size if kind == SQRT else unit * math.expm1(min(size, MOST_LOG))
        size = min(size, MOST_BACK)
        values[i] = -size if values[i] < 0.0 else size


# -- features of a bar ---------------------------------------------------------------------------------


@loop
def _describe(
    plan: Plan, level: Floats, filled: Floats, missing: npt.NDArray[np.bool_], label: int, x: Singles
) -> None:
    """Write the features of one bar; their names and order are ``features.names``."""
    columns = plan.sizes.shape[0]
    f = 0
    for c in range(columns):
        if plan.sizes[c] == 0:
            x[f] = _normalised(filled[c], level[c], plan.least, plan.tiny)
            f += 1
    for c in range(columns):
        x[f] = 1.0 if missing[c] else 0.0
        f += 1
    x[f] = math.log1p(level[0, AGE])
    f += 1
    for c in range(columns):
        for category in range(plan.sizes[c]):
            x[f] = 1.0 if filled[c] == category and not math.isnan(filled[c]) else 0.0
            f += 1
    local = to_local(plan.calendar, label)
    for p in range(plan.periods.shape[0]):
        period = plan.periods[p]
        phase = 2.0 * math.pi * ((local % period) / period)
        x[f] = math.sin(phase)
        x[f + 1] = math.cos(phase)
        f += 2
    for _ in range(plan.seasons.shape[0]):
        x[f] = 0.0
        f += 1
    if plan.calendar.day_off.shape[0] > 0:
        x[f] = 1.0 if _is_day_off(plan.calendar, local // DAY_MS) else 0.0
        f += 1
    for i in range(plan.known.shape[0]):
        c = plan.known[i]
        if plan.sizes[c] == 0:
            x[f] = _as_known(filled[c], plan.center[i], plan.spread[i])
            f += 1


@loop
def _write_changes(ring: Floats, seasons: Ints, n: int, value: float, unit: float, x: Singles) -> None:
    """Write the change from the bar one season before bar n, for each season; ``value`` is the target of bar n."""
    reciprocal = 1.0 / unit
    for s in range(seasons.shape[0]):
        if n >= seasons[s]:
            change = (value - ring[(n - seasons[s]) % ring.shape[0]]) * reciprocal
            x[s] = min(max(change, -CLIP), CLIP)


@loop
def _unit(level: Floats, least: float, tiny: float) -> float:
    """The running standard deviation, kept away from zero."""
    return max(math.sqrt(level[VARIANCE]), least * abs(level[MEAN]), tiny)


@loop
def _normalised(value: float, level: Floats, least: float, tiny: float) -> float:
    return min(max((value - level[MEAN]) / _unit(level, least, tiny), -CLIP), CLIP)


@loop
def _as_known(value: float, center: float, spread: float) -> float:
    """Return a known input as the network takes it: 0 where it is missing."""
    if math.isnan(value):
        return 0.0
    return min(max((value - center) / spread, -KNOWN_CLIP), KNOWN_CLIP)


# -- an answer -----------------------------------------------------------------------------------------


@inlined
def _answer(plan: Plan, rows: WindowState, out: Steps, counts: Counts, slot: int) -> None:
    """Answer at the newest step of ``slot``: write the inputs of the read-out other than hidden states."""
    a = counts.answers[0]
    counts.answers[0] += 1
    k = counts.steps[0] - 1
    n = rows.clock[slot, STEPS]
    window, lags = rows.ring.shape[2], plan.lags
    ring = rows.ring[slot, 0]
    last, unit = ring[(n - 1) % window], _unit(rows.level[slot, 0], plan.least, plan.tiny)
    out.answer[k] = a
    out.answer_step[a] = k
    out.answer_order[0, a] = n
    for s in range(plan.every.shape[0]):
        out.answer_order[1 + s, a] = rows.closed[slot, s]
    out.last[a] = last
    out.scale[a] = unit
    out.warm[a] = n >= plan.warm_up
    reciprocal = 1.0 / unit
    if plan.seasons.shape[0] > 0:
        mean = rows.level[slot, 0, MEAN]
        out.mean[a] = mean
        out.level[a] = _normalised(last, rows.level[slot, 0], plan.least, plan.tiny)
        past = Past(ring, rows.absent[slot], max(n - window, 0), mean, reciprocal)
        _align_targets(
            plan, past, rows.ahead[slot], n, out.label[k], out.bar.target_x, out.target_x[a], out.target_codes[a]
        )
    for i in range(plan.explaining.shape[0]):
        for h in range(plan.horizon):
            out.inputs_ahead[a, i, h] = rows.ahead[slot, plan.explaining[i], h]
    if lags == 0:
        return
    row = out.lags[a]  # oldest first; before the first bar of the series, its value
    have = min(n, lags)
    first = (n - have) % window
    head = min(have, window - first)
    _relative(ring[first : first + head], last, reciprocal, row[lags - have : lags - have + head])
    _relative(ring[: have - head], last, reciprocal, row[lags - have + head :])
    row[: lags - have] = row[lags - have]


@loop
def _relative(values: Floats, origin: float, reciprocal: float, out: Singles) -> None:
    """Write (values − origin) · reciprocal, clipped.  Slices vectorise, places in a longer array do not."""
    for i in range(values.shape[0]):
        out[i] = _clipped((values[i] - origin) * reciprocal)


@loop
def _clipped(value: float) -> float:
    """Return a value within ±CLIP; comparisons vectorise, min and max do not."""
    value = CLIP if value > CLIP else value
    return -CLIP if value < -CLIP else value


# -- target bars ---------------------------------------------------------------------------------------


@loop
def _align_targets(
    plan: Plan, past: Past, ahead: Floats, n: int, label: int, x_GH: Singles, x_HG: Singles, codes_HT: Ints
) -> None:  # fmt: skip
    """Write what is known about the bars of the horizon; names and order are ``features.target_names``.

    The series has n bars, and the newest begins at ``label``.
    ``x_GH`` is memory for the same numbers, a feature after the other: runs of bars vectorise there.
    """
    seasonal = 0
    for s in range(plan.seasons.shape[0]):
        seasonal += plan.back[s]
    aligned, share = seasonal + plan.alike, plan.missing_share
    j, next_feature = 0, aligned + (1 if share else aligned)
    x_GH[aligned:next_feature] = 0.0
    for s in range(plan.seasons.shape[0]):
        season, h = plan.seasons[s], 0
        while h < plan.horizon:  # a run of consecutive bars
            stop = min((h // season + 1) * season, plan.horizon)
            order = n + h - (h // season + 1) * season
            _align_run(past, season, plan.back[s], order, h, stop, j, aligned, share, x_GH)
            h = stop
        j += plan.back[s]
    if plan.alike > 0:
        _align_alike(plan, past, n, label, seasonal, x_GH)
    if share:
        for h in range(plan.horizon):
            x_GH[aligned, h] /= aligned
    if plan.calendar.day_off.shape[0] > 0:
        _align_days_off(plan, label, next_feature, x_GH)
        next_feature += seasonal
    _align_known(plan, ahead, label, next_feature, x_GH, codes_HT)
    for h in range(x_HG.shape[0]):
        for f in range(x_HG.shape[1]):
            x_HG[h, f] = x_GH[f, h]


@loop
def _align_run(
    past: Past, season: int, back: int, order: int, h: int, stop: int, j: int, aligned: int, share: bool, x_GH: Singles
) -> None:  # fmt: skip
    """Write the steps from h to ``stop`` of ``back`` features, from the j-th on, and which of them are missing.

    The first feature has the bars from ``order`` on, each further one those a ``season`` earlier.  Behind the
    ``aligned`` features of all seasons are their flags, or the one number that they ``share``.
    """
    window = past.ring.shape[0]
    for f in range(j, j + back):
        row, flags = x_GH[f], x_GH[aligned if share else aligned + f]
        step = h + min(max(past.oldest - order, 0), stop - h)
        for i in range(h, step):
            row[i] = 0.0
            flags[i] += 1.0
        while step < stop:  # a stretch of the ring
            bar = order + step - h
            first = bar % window
            count = min(stop - step, window - first)
            values, gaps = past.ring[first : first + count], past.absent[first : first + count]
            _relative(values, past.mean, past.reciprocal, row[step : step + count])
            if _any(gaps):
                for i in range(count):
                    if gaps[i]:
                        older = (_older(past, bar + i, season) - past.mean) * past.reciprocal
                        row[step + i] = _clipped(older)
                        flags[step + i] += 1.0
            step += count
        order -= season


@loop
def _older(past: Past, order: int, season: int) -> float:
    """Return the newest observed value whole seasons before a bar without one, or else the bar's filled value."""
    ring, absent = past.ring, past.absent
    for older in range(1, OLDER_SEASONS + 1):
        before = order - older * season
        if before < past.oldest:
            break
        if not absent[before % ring.shape[0]]:
            return ring[before % ring.shape[0]]
    return ring[order % ring.shape[0]]


@loop
def _any(flags: npt.NDArray[np.bool_]) -> bool:
    found = False
    for i in range(flags.shape[0]):
        found |= flags[i]
    return found


@loop
def _align_alike(plan: Plan, past: Past, n: int, label: int, first: int, x_GH: Singles) -> None:
    """Write the target at the place of each target bar on earlier days of its kind, from feature ``first`` on.

    A day before counts as the local day before, also where the clock was changed in between.
    """
    aligned, share, h, calendar = first + plan.alike, plan.missing_share, 0, plan.calendar
    while h < plan.horizon:  # a run of bars of one local day that begin as many days after known bars
        day = _local_day(calendar, label + (h + 1) * plan.freq)
        most = min((h // plan.day + 1) * plan.day, plan.horizon)
        stop = h + 1
        while stop < most and _local_day(calendar, label + (stop + 1) * plan.freq) == day:
            stop += 1
        kind, back = _likeness(calendar, day), h // plan.day
        for k in range(plan.alike):
            back += 1
            while n + stop - 1 - back * plan.day >= past.oldest and _likeness(calendar, day - back) != kind:
                back += 1
            order, week = n + h - back * plan.day, 7 * plan.day
            _align_run(past, week, 1, order, h, stop, first + k, aligned, share, x_GH)
        h = stop


@loop
def _align_days_off(plan: Plan, label: int, first: int, x_GH: Singles) -> None:
    """Write which of the earlier bars lie on a day off, from feature ``first`` on."""
    j = first
    for s in range(plan.seasons.shape[0]):
        season = plan.seasons[s]
        for k in range(plan.back[s]):
            for h in range(plan.horizon):
                then = label + (h + 1 - (h // season + 1 + k) * season) * plan.freq
                off = _is_day_off(plan.calendar, _local_day(plan.calendar, then))
                x_GH[j, h] = 1.0 if off else 0.0
            j += 1


@loop
def _align_known(plan: Plan, ahead: Floats, label: int, f: int, x_GH: Singles, codes_HT: Ints) -> None:
    """Write the calendar and the known inputs of the bars of the horizon, numbers from feature ``f`` on.

    The codes are rows of the tables of ``features.target_tables``, which follow each other in one table.
    """
    numbers, calendar = 0, plan.calendar
    for i in range(plan.known.shape[0]):
        if plan.sizes[plan.known[i]] == 0:
            numbers += 1
    for h in range(plan.horizon):
        local = to_local(calendar, label + (h + 1) * plan.freq)
        day = local // DAY_MS
        off, weekday = _is_day_off(calendar, day), _weekday(day) if plan.week else 0
        kind = 2 if off else 1 if weekday >= SATURDAY else 0
        codes_HT[h, 0] = kind * plan.places + (local - day * DAY_MS) * plan.places // DAY_MS
        first = KINDS_OF_DAY * plan.places  # the first row of the next table
        codes_HT[h, 1] = first + (DAYS - 1 if off else weekday)
        first += DAYS
        at, table = 0, 2
        for i in range(plan.known.shape[0]):
            value, categories = ahead[i, h], plan.sizes[plan.known[i]]
            if categories > 0:
                codes_HT[h, table] = first + (0 if math.isnan(value) or value < 0.0 else int(value) + 1)
                first += categories + 1
                table += 1
            else:
                x_GH[f + at, h] = _as_known(value, plan.center[i], plan.spread[i])
                x_GH[f + numbers + at, h] = 1.0 if math.isnan(value) else 0.0
                at += 1
        codes_HT[h, table] = first + h


@loop
def align_positions(
    plan: Plan, window: int, filled: Floats, absent: npt.NDArray[np.bool_], begins: Ints, at: Ints, labels: Ints,
    means: Floats, units: Floats, ahead: Floats, x_GH: Singles, x: Singles, codes: Ints,
) -> None:  # fmt: skip
    """Write the target bars of P positions of a history, as ``advance`` writes them for answers.

    ``filled`` and ``absent`` [K] hold the bars of all runs; position p is bar ``at[p]`` of the run that begins at
    ``begins[p]``; labels, means and units [P]; ahead [P, I, H]; ``x_GH`` is memory for one position; x [P, H, G] and
    codes [P, H, tables] are written.
    """
    for p in range(at.shape[0]):
        n = at[p] - begins[p] + 1
        run = slice(begins[p], at[p] + 1)
        past = Past(filled[run], absent[run], max(n - window, 0), means[p], 1.0 / units[p])
        _align_targets(plan, past, ahead[p], n, labels[p], x_GH, x[p], codes[p])


# -- calendar ------------------------------------------------------------------------------------------


@loop
def to_local(calendar: Calendar, time: int) -> int:
    """Return the local time of a time, in milliseconds."""
    low, high = 0, calendar.zone_from.shape[0]
    while high - low > 1:
        middle = (low + high) // 2
        if calendar.zone_from[middle] <= time:
            low = middle
        else:
            high = middle
    return time + calendar.zone_offset[low]


@loop
def _local_day(calendar: Calendar, time: int) -> int:
    return to_local(calendar, time) // DAY_MS


@loop
def _weekday(day: int) -> int:
    """Return the day of the week of a local day, 0 for a Monday: 1970-01-01 was a Thursday."""
    return (day + 3) % 7


@loop
def _likeness(calendar: Calendar, day: int) -> int:
    """Return 0 for a working day, 1 for a Saturday, 2 for a Sunday and a day off, which people spend alike.

    The kinds of day of the time-of-day table are others: see ``_align_known``.
    """
    return 2 if _is_day_off(calendar, day) else max(_weekday(day) - SATURDAY + 1, 0)


@loop
def _is_day_off(calendar: Calendar, day: int) -> bool:
    place = day - calendar.first_day
    return 0 <= place < calendar.day_off.shape[0] and calendar.day_off[place]


@loop
def mark_days_off(calendar: Calendar, labels: Ints, freq: int, off: npt.NDArray[np.bool_]) -> None:
    """Write which bars are of days off [N, 1 + ahead]: those with N labels, and the bars after each."""
    for n in range(labels.shape[0]):
        for h in range(off.shape[1]):
            off[n, h] = _is_day_off(calendar, _local_day(calendar, labels[n] + h * freq))
