"""The scale of the target: a model with a transform is a model of transformed values whose forecasts are taken back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.streams import HOSTILE, MINUTE, SPECS, START, Line, network, observations, streams
from streamcast.engine.engine import Engine, Result
from streamcast.engine.transform import TargetScale
from streamcast.spec.folders import new_network
from streamcast.spec.model_spec import Column, ModelSpec, SeriesSpec, Transform
from streamcast.spec.zero import zero_spec

SQRT, LOG = Transform(kind="sqrt"), Transform(kind="log", unit=0.5)
both = pytest.mark.parametrize("transform", [SQRT, LOG], ids=["sqrt", "log"])


def answered(spec: ModelSpec, lines: list[Line]) -> Result:
    """What an engine of the network of "a logarithm" answers to lines, in one poll."""
    engine = Engine(spec, network("a logarithm"))
    result = engine.stage(observations(list(enumerate(lines)), len(spec.series.columns)))
    engine.promote()
    return result


@both
@settings(max_examples=25)
@given(lines=streams(SPECS["a logarithm"], ("a", "b"), 40))
def test_it_is_the_model_of_the_transformed_values_with_forecasts_taken_back(
    transform: Transform, lines: list[Line]
) -> None:
    spec = SPECS["a logarithm"].model_copy(update={"transform": transform, "lower": -4.0})
    scale = TargetScale(spec)
    plain = spec.model_copy(update={"transform": None, "lower": scale.lower})
    moved = [line._replace(values=tuple(scale.forward(np.array(line.values)).tolist())) for line in lines]
    found, beside = answered(spec, lines), answered(plain, moved)
    assert found.outcomes.tolist() == beside.outcomes.tolist()
    newest = np.array([lines[record].values[0] for record in found.forecasts.record.tolist()])
    assert found.forecasts.values.tobytes() == scale.forecasts(beside.forecasts.values, newest).tobytes()


@both
@given(values=st.lists(HOSTILE | st.floats(-1e100, 1e100), min_size=1))
def test_values_come_back_in_their_order_and_missing_ones_stay_missing(
    transform: Transform, values: list[float]
) -> None:
    scale = TargetScale(SPECS["gru"].model_copy(update={"transform": transform}))
    before = np.array(values)
    there = scale.forward(before)
    back = scale.inverse(there, np.full(len(there), np.nan))
    assert scale.inverse(there, before).tobytes() == before.tobytes()
    assert before.tolist() == pytest.approx(values, nan_ok=True), "the values that were given are as they were"
    np.testing.assert_allclose(back, before, rtol=1e-9, atol=1e-12)
    known = there[~np.isnan(before)]
    assert (np.diff(known[np.argsort(before[~np.isnan(before)], kind="stable")]) >= 0).all()


@both
def test_nothing_that_is_forecast_is_infinite(transform: Transform) -> None:
    scale = TargetScale(SPECS["gru"].model_copy(update={"transform": transform}))
    assert np.isfinite(scale.inverse(np.array([1e200, -1e200, 800.0]), np.zeros(3))).all()


@both
def test_readings_become_a_bar_before_the_bar_is_transformed(transform: Transform) -> None:
    series = SeriesSpec(columns=(Column(name="y"),), freq=MINUTE, max_gap=30, ttl="2h", mode="ticks")
    spec = zero_spec(series, 2, (4,), transform=transform)
    lines = [Line("a", START + number * MINUTE // 2, (1.0 if number % 2 else 9.0,)) for number in range(81)]
    engine = Engine(spec, new_network(spec))
    found = engine.stage(observations(list(enumerate(lines)), 1)).forecasts.values
    np.testing.assert_allclose(found[-1, :, spec.median], 5.0, rtol=1e-6)


@both
def test_scores_and_the_baseline_are_in_the_unit_of_the_series(transform: Transform) -> None:
    series = SeriesSpec(columns=(Column(name="y"),), freq=MINUTE, max_gap=30, ttl="2h")
    spec = zero_spec(series, 1, (1,), transform=transform)
    lines = [Line("a", START + number * MINUTE, (float((number % 7) ** 2),)) for number in range(60)]
    engine = Engine(spec, new_network(spec))
    result = engine.stage(observations(list(enumerate(lines)), 1))
    values = np.array([line.values[0] for line in lines])
    error, naive = result.scores.outcomes[:, :2].T
    np.testing.assert_allclose(naive, np.abs(np.diff(values)), atol=1e-9)
    np.testing.assert_allclose(error, np.abs(values[1:] - result.forecasts.values[:-1, 0, spec.median]), atol=1e-9)


@both
@pytest.mark.parametrize("value", [3.0, 0.1, 7.3, 1e9 + 0.1])
def test_a_constant_is_forecast_as_it_is_and_its_intervals_hold_it(transform: Transform, value: float) -> None:
    series = SeriesSpec(columns=(Column(name="y"),), freq=MINUTE, max_gap=30, ttl="2h")
    spec = zero_spec(series, 3, (4,), transform=transform)
    lines = [Line("a", START + number * MINUTE, (value,)) for number in range(60)]
    result = Engine(spec, new_network(spec)).stage(observations(list(enumerate(lines)), 1))
    assert (result.forecasts.values == value).all()
    error, naive, _, covered = result.scores.outcomes.T
    assert (error.max(), np.nanmax(naive), covered.min()) == (0.0, 0.0, 1.0)


@both
@pytest.mark.parametrize("lower", [1.0, 3.0, 0.1, 7.3])
def test_no_forecast_lies_below_the_bound(transform: Transform, lower: float) -> None:
    series = SeriesSpec(columns=(Column(name="y"),), freq=MINUTE, max_gap=30, ttl="2h")
    spec = zero_spec(series, 3, (4,), lower=lower, transform=transform)
    rng = np.random.default_rng(0)
    lines = [Line("a", START + number * MINUTE, (float(lower + rng.exponential()),)) for number in range(200)]
    engine = Engine(spec, new_network(spec))
    found = engine.stage(observations(list(enumerate(lines)), 1)).forecasts.values
    assert found.min() == lower
    assert not math.isnan(found.max())
