"""Raw readings become bars: what the order of arrival within the grace, heartbeats and gaps do, and do not do.

That ticks keep the laws of batches, neighbours, discards and the slow oracle is in ``test_engine.py`` and
``test_features.py``, whose specs hold two of ticks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness.streams import (
    MINUTE,
    SPECS,
    START,
    Line,
    Trace,
    digests,
    drive,
    engine,
    observations,
    one_at_a_time,
    stage,
)
from streamcast.engine.window import window_layout
from streamcast.kernels.advance import STEPS
from streamcast.kernels.outcomes import ABSORBED, ANSWERED, LATE

law = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))

SPEC = SPECS["ticks"]
GRACE = SPEC.series.grace
EMPTY = tuple(math.nan for _ in SPEC.series.columns)
BAR = (START // MINUTE) * MINUTE
ONES = tuple(1.0 for _ in EMPTY)
LIMIT = (1 + SPEC.series.max_gap) * MINUTE

whole_numbers = st.integers(-50, 50).map(float)  # sums of them are exact in any order
values = st.tuples(*[whole_numbers] * (len(EMPTY) - 1), st.sampled_from([0.0, 1.0, 2.0, -1.0]))


class Written(NamedTuple):
    """All steps of a stream: the inputs of the network."""

    x: np.ndarray
    observed: np.ndarray
    coarse: list[np.ndarray]


def steps_of(lines: Sequence[Line]) -> Written:
    """Run lines through the engine and keep what its window kernel wrote."""
    tried = engine("ticks")
    result = tried.stage(observations(list(enumerate(lines)), len(EMPTY)))
    tried.promote()
    out, clock = tried._steps, tried.slab.arrays["clock"][0]
    n = int(clock[1]) if len(result.slots) else 0
    closed = tried.slab.arrays["closed"][0].tolist()
    return Written(
        out.x[:n].copy(), out.observed[:n].copy(), [out.coarse_x[s, :c].copy() for s, c in enumerate(closed)]
    )


def closing(time: int) -> Line:
    """A heartbeat that closes every bar up to that of ``time``."""
    return Line("a", time + MINUTE + GRACE + MINUTE, EMPTY)


def reading(time: int, value: float) -> Line:
    return Line("a", time, (value,) * len(EMPTY))


def arrivals(drawn: list[tuple[int, tuple[float, ...]]], delays: list[int]) -> tuple[list[Line], list[Line], Line]:
    """Ticks in the order of their times, the same as they arrive after their delays, and one that closes all bars."""
    times = itertools.accumulate((step for step, _ in drawn), initial=START)
    ordered = [Line("a", time, row) for time, (_, row) in zip(times, drawn, strict=False)]
    arrived = [line.time + delay for line, delay in zip(ordered, delays, strict=False)]
    return ordered, [line for _, line in sorted(zip(arrived, ordered, strict=True))], closing(ordered[-1].time)


@given(
    st.lists(st.tuples(st.integers(1, MINUTE), values), min_size=1, max_size=30),
    st.lists(st.integers(0, GRACE), min_size=30, max_size=30),
)
@law
def test_the_order_of_arrival_within_the_grace_does_not_matter(
    drawn: list[tuple[int, tuple[float, ...]]], delays: list[int]
) -> None:
    ordered, delayed, end = arrivals(drawn, delays)
    trace = drive(engine("ticks"), delayed)
    assert LATE not in trace.outcomes.values()
    for got, want in zip(_flat(steps_of([*delayed, end])), _flat(steps_of([*ordered, end])), strict=True):
        np.testing.assert_array_equal(got, want)


@given(
    st.lists(
        st.tuples(st.sampled_from([1, 30_000, MINUTE, LIMIT - MINUTE, LIMIT, LIMIT + MINUTE]), values),
        min_size=1, max_size=8,
    ),
    st.lists(st.integers(0, GRACE), min_size=8, max_size=8),
)  # fmt: skip
@example([(LIMIT + MINUTE, ONES), (84_000, ONES), (1, ONES)], [0, GRACE, 0, 0, 0, 0, 0, 0])
@law
def test_neither_does_it_matter_about_the_longest_gap(
    drawn: list[tuple[int, tuple[float, ...]]], delays: list[int]
) -> None:
    ordered, delayed, end = arrivals(drawn, delays)
    for got, want in zip(_windows([*delayed, end]), _windows([*ordered, end]), strict=True):
        np.testing.assert_array_equal(got, want)


def _windows(lines: Sequence[Line]) -> list[np.ndarray]:
    """What the window kernel remembers after lines; which bars were answered may differ, and with it all else."""
    tried = engine("ticks")
    drive(tried, lines)
    content = dict(tried.slab.content(0))
    return [content[name] for name in window_layout(SPEC).fields]


@pytest.mark.parametrize("phase", [0, 29_000, 30_000, MINUTE - 1])
@pytest.mark.parametrize("begun", [0, 31_000, MINUTE - 1])
@pytest.mark.parametrize("silent", [0, SPEC.series.max_gap, SPEC.series.max_gap + 1, SPEC.series.max_gap + 2])
def test_a_series_restarts_when_more_bars_than_the_limit_pass_without_a_record(
    silent: int, begun: int, phase: int
) -> None:
    later = BAR + (1 + silent) * MINUTE + phase
    tried, restarts = engine("ticks"), 0
    for offset, line in enumerate([reading(BAR + begun, 1.0), reading(later, 2.0), closing(later)]):
        result = tried.stage(observations([(offset, line)], len(EMPTY)))
        tried.promote()
        restarts += result.restarts
    bars = int(tried.slab.arrays["clock"][0, STEPS])
    first = BAR if silent <= SPEC.series.max_gap else later // MINUTE * MINUTE
    assert restarts == (silent > SPEC.series.max_gap)
    assert bars == (closing(later).time - GRACE) // MINUTE - first // MINUTE


def test_heartbeats_keep_a_series_that_observes_nothing() -> None:
    beats = [Line("a", BAR + n * MINUTE, EMPTY) for n in range(1, 3 * SPEC.series.max_gap)]
    tried, restarts = engine("ticks"), 0
    for offset, line in enumerate([reading(BAR, 1.0), *beats]):
        restarts += tried.stage(observations([(offset, line)], len(EMPTY))).restarts
        tried.promote()
    assert restarts == 0
    assert int(tried.slab.arrays["clock"][0, STEPS]) == (beats[-1].time - GRACE) // MINUTE - BAR // MINUTE


def _flat(steps: Written) -> list[np.ndarray]:
    return [steps.x, steps.observed, *steps.coarse]


def test_a_bar_closes_when_its_own_series_passes_its_end_plus_the_grace() -> None:
    almost, passed = BAR + MINUTE + GRACE - 1, BAR + MINUTE + GRACE
    lines = [reading(BAR, 1.0), reading(almost, 2.0), reading(passed, 3.0)]
    assert list(drive(engine("ticks"), lines).outcomes.values()) == [ABSORBED, ABSORBED, ANSWERED]
    others = [*lines[:2], Line("b", passed + 10 * MINUTE, EMPTY)]
    assert ANSWERED not in drive(engine("ticks"), others).outcomes.values()


def test_a_reading_of_a_closed_bar_is_late_and_one_of_an_open_bar_is_not() -> None:
    lines = [
        reading(BAR, 1.0),
        reading(BAR + MINUTE + GRACE, 2.0),
        reading(BAR + MINUTE - 1, 9.0),
        reading(BAR + MINUTE, 9.0),
    ]
    assert list(drive(engine("ticks"), lines).outcomes.values()) == [ABSORBED, ANSWERED, LATE, ABSORBED]


def test_the_record_that_closes_several_bars_carries_one_answer() -> None:
    lines = [reading(BAR, 1.0), Line("a", BAR + 5 * MINUTE + GRACE, EMPTY)]
    trace = drive(engine("ticks"), lines)
    assert list(trace.outcomes.values()) == [ABSORBED, ANSWERED]
    assert list(trace.forecasts) == [1]
    assert b'"cutoff":%d,' % (BAR + 4 * MINUTE) in trace.forecasts[1]


def test_a_heartbeat_closes_bars_and_leaves_nothing_else() -> None:
    heartbeat = Line("a", BAR + MINUTE + GRACE, EMPTY)
    steps = steps_of([reading(BAR, 4.0), heartbeat, closing(BAR + MINUTE)])
    assert steps.observed[0] == 4.0
    assert np.isnan(steps.observed[1:]).all()


def test_a_series_begins_with_its_first_reading_not_with_its_first_heartbeat() -> None:
    lines = [Line("a", BAR, EMPTY), Line("a", BAR + 5 * MINUTE, EMPTY), reading(BAR + 6 * MINUTE, 1.0)]
    trace = drive(engine("ticks"), [*lines, closing(BAR + 6 * MINUTE)], one_at_a_time([*lines, lines[0]]))
    assert list(trace.outcomes.values()) == [ABSORBED, ABSORBED, ABSORBED, ANSWERED]
    assert len(steps_of([*lines, Line("a", BAR + 7 * MINUTE + GRACE, EMPTY)]).observed) == 1


def test_every_reducer_makes_its_own_value_of_a_bar() -> None:
    """Columns of the spec: mean, first, last, min, max, sum, count and a category, whose last counts."""
    tried, seconds = engine("ticks"), 1000
    rows = [(30, 4.0, 0.0), (10, 1.0, 1.0), (20, 7.0, math.nan)]  # by arrival: (second, value, category)
    lines = [Line("a", BAR + s * seconds, (*[value] * 7, category)) for s, value, category in rows]
    drive(tried, [*lines, Line("a", BAR + MINUTE + GRACE, EMPTY)])
    assert tried.slab.rows.ring[0, :, 0].tolist() == [4.0, 1.0, 4.0, 1.0, 7.0, 12.0, 3.0, 0.0]


def test_a_gap_beyond_the_limit_closes_what_is_open_and_starts_anew() -> None:
    gap = (SPEC.series.max_gap + 3) * MINUTE + GRACE
    lines = [reading(BAR, 1.0), reading(BAR + gap, 2.0)]
    tried, trace = engine("ticks"), Trace()
    stage(tried, [(0, lines[0])], trace)
    tried.promote()
    stage(tried, [(1, lines[1])], trace)
    tried.promote()
    fresh = engine("ticks")
    stage(fresh, [(1, lines[1])], Trace())
    fresh.promote()
    assert list(trace.outcomes.values()) == [ABSORBED, ABSORBED]
    assert digests(tried) == digests(fresh)


@given(st.integers(-(10**6), 10**6))
@law
def test_the_bars_held_open_are_enough_for_the_grace(jitter: int) -> None:
    """The oldest open bar and the newest one never share a place in the ring of open bars."""
    time = START + jitter
    oldest, newest = (time - GRACE) // MINUTE, time // MINUTE
    assert newest - oldest < SPEC.series.open_bars
