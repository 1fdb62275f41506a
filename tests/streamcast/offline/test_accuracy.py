"""Errors against other people's losses, closed forms and counting by hand."""

import math

import numpy as np
import pandas as pd
import pytest
import utilsforecast.losses as oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from streamcast.offline.evaluation import accuracy
from streamcast.offline.evaluation.baselines import seasonal_scale

Floats = NDArray[np.float64]
NUMBERS = st.floats(-1e6, 1e6, width=32)


def _frame(values_SNM: Floats) -> pd.DataFrame:
    """Rows of S series: the outcome, three quantiles and an origin."""
    series, length, columns = values_SNM.shape
    frame = pd.DataFrame(values_SNM.reshape(-1, columns), columns=["y", "lo", "model", "hi", "origin"])
    return frame.assign(
        unique_id=np.repeat([f"{number:02d}" for number in range(series)], length),
        ds=np.tile(np.arange(length), series),
        **{"model-lo-80": frame["lo"], "model-hi-80": frame["hi"]},
    )


@settings(deadline=None, max_examples=10)
@given(st.lists(arrays(np.float64, (8, 5), elements=NUMBERS), min_size=12, max_size=12).map(np.stack))
def test_errors_agree_with_utilsforecast(values_SNM: Floats) -> None:
    """Each example has twelve series, because utilsforecast takes as long for one."""
    frame = _frame(values_SNM)
    tables = {
        "mae": oracle.mae(frame, ["model"]),
        "mse": oracle.mse(frame, ["model"]),
        "pinball": oracle.quantile_loss(frame, {"model": "hi"}, 0.9),
        "coverage": oracle.coverage(frame, ["model"], 80),
        "mase": oracle.mase(frame, ["model"], seasonality=2, train_df=frame.assign(y=frame["origin"])),
    }
    want = {name: table.sort_values("unique_id")["model"].to_numpy() for name, table in tables.items()}
    for number, (actual, low, middle, high, past) in enumerate(values_SNM.transpose(0, 2, 1)):
        got = {
            "mae": accuracy.absolute_error(actual, middle),
            "mse": accuracy.squared_error(actual, middle),
            "pinball": accuracy.pinball(actual, high, 0.9),
            "coverage": accuracy.covered(actual, low, high),
        }
        scale = seasonal_scale(past, season=2)
        if scale > 0:
            got["mase"] = accuracy.absolute_error(actual, middle) / scale
        for name, error in got.items():
            assert accuracy.mean(error) == pytest.approx(want[name][number], rel=1e-9, abs=1e-9), name


def _scores(values_NM: Floats) -> list[float]:
    actual, low, middle, high, origin = values_NM.T
    errors = [
        accuracy.absolute_error(actual, middle),
        accuracy.squared_error(actual, middle),
        accuracy.pinball(actual, high, 0.9),
        accuracy.covered(actual, low, high),
        accuracy.width(low, high),
        accuracy.hit(actual, middle, origin),
    ]
    return [accuracy.mean(error) for error in errors]


@settings(deadline=None)
@given(arrays(np.float64, (8, 5), elements=NUMBERS), arrays(np.bool_, 8))
def test_what_is_missing_is_not_scored(values_NM: Floats, missing_N: NDArray[np.bool_]) -> None:
    with_missing = np.where(missing_N[:, None], math.nan, values_NM)
    np.testing.assert_allclose(_scores(with_missing), _scores(values_NM[~missing_N]), rtol=1e-12)


@settings(deadline=None)
@given(arrays(np.float64, (8, 5), elements=NUMBERS), st.integers(0, 3))
def test_an_outcome_or_a_forecast_that_is_missing_makes_no_error(values_NM: Floats, column: int) -> None:
    values_NM[:, column] = math.nan
    by_name = dict(zip(["mae", "mse", "pinball", "covered", "width", "hit"], _scores(values_NM), strict=True))
    uses = {0: {"mae", "mse", "pinball", "covered", "hit"}, 1: {"covered", "width"}}
    uses |= {2: {"mae", "mse", "hit"}, 3: {"pinball", "covered", "width"}}
    assert [name for name in uses[column] if not math.isnan(by_name[name])] == []


def test_nothing_scored_is_nan_and_no_warning() -> None:
    nothing = np.full((3, 2), math.nan)
    assert math.isnan(accuracy.mean(nothing))
    assert math.isnan(seasonal_scale([1.0, 1.0, 1.0], 1))
    assert math.isnan(accuracy.skill(1.0, 0.0))
    assert all(map(math.isnan, accuracy.hit_rate([1.0], [2.0], [1.0])))


def test_twice_the_pinball_loss_of_many_quantiles_is_the_crps_of_a_gaussian() -> None:
    # Gneiting and Raftery 2007, eq. 21: σ(z(2Φ(z) − 1) + 2φ(z) − 1/√π)
    levels = (np.arange(4_000) + 0.5) / 4_000
    ordinates = np.linspace(-8, 8, 200_001)
    cumulative = np.array([0.5 * (1 + math.erf(x / math.sqrt(2))) for x in ordinates])
    quantiles = np.interp(levels, cumulative, ordinates)
    for z in (-1.5, 0.0, 0.7):
        density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        closed = z * math.erf(z / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi)
        assert 2 * accuracy.pinball(z, quantiles, levels).mean() == pytest.approx(closed, abs=1e-4)


@settings(deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=30), st.sampled_from([0.1, 0.25, 0.5, 0.9]))
def test_the_empirical_quantile_has_the_least_pinball_loss(outcomes: list[float], level: float) -> None:
    best = np.quantile(outcomes, level, method="inverted_cdf")
    losses = [accuracy.mean(accuracy.pinball(outcomes, other, level)) for other in outcomes]
    assert accuracy.mean(accuracy.pinball(outcomes, best, level)) <= min(losses) + 1e-6


def test_skill_is_the_part_of_the_error_that_is_avoided() -> None:
    assert accuracy.skill(1.0, 4.0) == 0.75
    assert accuracy.skill(5.0, 4.0) == -0.25


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([0.0, 1.0, 0.0], 0.0),
        ([0.0, 1.0], None),
        ([2.0, np.nan, np.nan], 2.0),
        ([np.nan], None),
        ([1.0, 2.0, 3.0], None),
    ],
)
def test_the_usual_value_is_more_than_half_of_those_known(values: list[float], found: float | None) -> None:
    assert accuracy.usual(values) == found


def test_a_hit_is_a_move_to_the_same_side() -> None:
    hits = accuracy.hit([2.0, 0.0, 2.0, 1.0, 2.0], [3.0, 3.0, 0.5, 3.0, 1.0], 1.0)
    np.testing.assert_array_equal(hits, [1, 0, 0, math.nan, math.nan])


def test_the_interval_of_the_hit_rate_is_wilsons() -> None:
    # 81 of 263: Newcombe 1998, table I: 0.2553 to 0.3662
    actual = np.r_[np.ones(81), -np.ones(182)]
    rate = accuracy.hit_rate(actual, np.ones(263), np.zeros(263), z=1.959964)
    assert rate.rate == pytest.approx(81 / 263)
    assert [rate.low, rate.high] == pytest.approx([0.2553, 0.3662], abs=5e-5)
    assert rate.majority == pytest.approx(182 / 263)


def test_the_direction_of_a_random_walk_cannot_be_told() -> None:
    walk = np.cumsum(np.random.default_rng(7).normal(size=20_000))
    momentum = 2 * walk[1:-1] - walk[:-2]
    rate = accuracy.hit_rate(walk[2:], momentum, walk[1:-1])
    assert rate.low < 0.5 < rate.high
    assert rate.high - rate.low < 0.02


def test_the_geometric_mean_lets_doubling_and_halving_cancel() -> None:
    assert accuracy.geometric_mean([2.0, 0.5, math.nan]) == pytest.approx(1.0)
    assert math.isnan(accuracy.geometric_mean([math.nan]))
