"""The effect of known inputs in the engine: what it is worth, that it does no harm, and the laws while it is in use.

The laws over short streams are in ``tests/laws``; an effect is in use only after some dozens of bars.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings

from harness.streams import MINUTE, START, Line, Trace, cuts, digests, drive, observations, one_at_a_time, stage
from streamcast.consumers.transport import Partition
from streamcast.engine.engine import Engine
from streamcast.spec.folders import new_network
from streamcast.spec.model_spec import Column, Known, ModelSpec, SeriesSpec
from streamcast.spec.zero import challenger_of, zero_spec

Floats = npt.NDArray[np.float64]

DAY, HORIZON = 12, 6
RANDOM = np.random.default_rng(5)
BARS = 60 * DAY
SERIES = SeriesSpec(columns=(Column(name="y"), Column(name="x")), freq=MINUTE, max_gap=30, ttl="2h")
SPEC = zero_spec(SERIES, HORIZON, (DAY,), known=(Known(name="x", center=3.0, spread=2.0),))
WITHOUT = zero_spec(SERIES, HORIZON, (DAY,))

TIME = np.arange(BARS + HORIZON)
PATTERN = np.sin(TIME * 2 * np.pi / DAY) + 0.2 * RANDOM.normal(size=len(TIME))
X = 3 + 2 * RANDOM.normal(size=len(TIME))


def lines(y: Sequence[float] | Floats, x: Floats = X, ahead: Floats | None = None, key: str = "a") -> list[Line]:
    """The records of one series, each with the inputs of the bars ahead."""
    ahead = x if ahead is None else ahead
    return [
        Line(key, START + t * MINUTE, (float(value), float(x[t])), tuple(ahead[t + 1 : t + 1 + HORIZON].tolist()))
        for t, value in enumerate(y)
    ]


def new_engine(spec: ModelSpec = SPEC) -> Engine:
    return Engine(spec, new_network(spec))


def forecasts(spec: ModelSpec, records: Sequence[Line]) -> Floats:
    """The forecasts of all bars [T, H, Q]."""
    known = len(spec.known_columns)
    return new_engine(spec).stage(observations(list(enumerate(records)), 2, known=known)).forecasts.values


def error(spec: ModelSpec, y: Floats, records: Sequence[Line]) -> float:
    """The mean absolute error of the second half of the bars."""
    found = forecasts(spec, records)[:-HORIZON, :, spec.median]
    wanted = np.stack([y[t + 1 : t + 1 + HORIZON] for t in range(len(found))])
    return float(np.abs(found - wanted)[len(found) // 2 :].mean())


@pytest.mark.parametrize("lower", [None, -60.0])
@pytest.mark.parametrize("effect", [lambda x: 5 * x, lambda x: -8 * np.abs(x - 3)], ids=["linear", "bent"])
def test_what_inputs_explain_is_forecast_after_a_few_days(effect: object, lower: float | None) -> None:
    y = (PATTERN + effect(X))[:BARS]  # type: ignore[operator]
    short = y[: 16 * DAY]
    spec = SPEC.model_copy(update={"lower": lower})
    assert error(spec, short, lines(short)) < 0.4 * error(WITHOUT, short, lines(short))
    assert error(spec, y, lines(y)) < 0.15 * error(WITHOUT, y, lines(y))


def test_inputs_that_explain_nothing_do_no_harm() -> None:
    walk = np.cumsum(RANDOM.normal(size=len(TIME)))
    for y in (PATTERN[:BARS], walk[:BARS], RANDOM.normal(size=BARS) ** 3):
        assert error(SPEC, y, lines(y)) < 1.02 * error(WITHOUT, y, lines(y))


def test_the_intervals_hold_their_share_and_levels_are_ordered_above_the_bound() -> None:
    y = np.maximum(PATTERN + 2 * X + 0.5 * RANDOM.normal(size=len(TIME)), 1.0)[:BARS]
    found = forecasts(SPEC.model_copy(update={"lower": 1.0}), lines(y))
    assert found.min() == 1.0
    assert (np.diff(found, axis=2) >= 0).all()
    wanted = np.stack([y[t + 1 : t + 1 + HORIZON] for t in range(20 * DAY, BARS - HORIZON)])
    held = found[20 * DAY : BARS - HORIZON]
    assert 0.77 < ((held[:, :, 0] <= wanted) & (wanted <= held[:, :, 2])).mean() < 0.86


def test_without_inputs_ahead_the_effect_of_the_season_before_is_repeated() -> None:
    x = 3 + 2 * np.sin(TIME * 2 * np.pi / DAY)
    y = (5 * x + 0.1 * RANDOM.normal(size=len(TIME)))[:BARS]
    unknown = np.full(len(x), np.nan)
    assert error(SPEC, y, lines(y, x, unknown)) < 1.1 * error(WITHOUT, y, lines(y, x))


def test_a_reading_that_is_wild_or_missing_bends_no_forecast_after_it() -> None:
    x, y = X.copy(), (PATTERN + 5 * X)[:BARS]
    spoilt_x, spoilt_y = x.copy(), y.copy()
    spoilt_x[25 * DAY : 26 * DAY : 3] = math.nan
    spoilt_y[25 * DAY + 1 : 26 * DAY : 3] = math.nan
    spoilt_y[24 * DAY + 5] = 1e9
    assert error(SPEC, y, lines(spoilt_y, spoilt_x, x)) < 1.1 * error(SPEC, y, lines(y))


# -- the laws, while the effect is in use ----------------------------------------------------------------

RECORDS = [
    record
    for pair in zip(lines((PATTERN + 5 * X)[: 10 * DAY]), lines(X[: 10 * DAY], key="b"), strict=True)
    for record in pair
]


@settings(max_examples=10, deadline=None)
@given(sizes=cuts())
def test_batches_do_not_show(sizes: list[int]) -> None:
    want = drive(new_engine(), RECORDS, one_at_a_time(RECORDS))
    assert drive(new_engine(), RECORDS, sizes) == want


def test_the_effect_is_in_use_here() -> None:
    used = new_engine()
    drive(used, RECORDS)
    assert (np.abs(used.slab.arrays["effect.system"][:2, -8:]).max(1) > 0.1).all()


def test_what_is_discarded_leaves_no_trace_and_a_snapshot_goes_on() -> None:
    want = drive(new_engine(), RECORDS)
    first, rest = list(enumerate(RECORDS))[:200], list(enumerate(RECORDS))[200:]
    tried, seen = new_engine(), Trace()
    stage(tried, first, seen)
    tried.promote()
    at_200 = digests(tried)
    stage(tried, rest, Trace())
    tried.discard()
    assert digests(tried) == at_200
    again = new_engine()
    again.slab.restore(Partition("observations", 0), tried.slab.export(Partition("observations", 0)))
    stage(again, rest, seen)
    again.promote()
    seen.digests = digests(again)
    assert seen == want


# -- which models have it --------------------------------------------------------------------------------


def test_a_challenger_has_the_effect_of_the_same_inputs_and_reads_the_same_records() -> None:
    challenger = challenger_of(SPEC)
    assert challenger == SPEC
    assert challenger_of(WITHOUT).effects == ()
    assert SPEC.series.record == WITHOUT.series.record


def test_a_model_without_it_has_the_state_that_it_had() -> None:
    assert not [name for name in new_engine(WITHOUT).slab.arrays if name.startswith("effect")]
