"""Forecasts in the units of the series, and their scores once the forecast bars are observed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamcast.kernels.scoring import (
    COVERED,
    ERROR,
    EVENT_BARS,
    FIRST_ERRORS,
    IN_TAIL,
    NAIVE,
    NORMAL,
    PINBALL,
    RESIDUAL,
    RESIDUAL_ALPHA,
    scale_back,
    score,
)

LEVELS = np.array([0.1, 0.5, 0.9])
SCORED = np.array([1, 3])
HORIZON = 3

values = st.integers(-20, 20).map(lambda n: n / 4)


class One:
    """One series whose forecasts are kept and scored."""

    def __init__(self, residual: int = RESIDUAL) -> None:
        self.awaiting = np.zeros((1, int(SCORED.sum()), 3))
        self.residual = np.zeros((1, residual))

    def take(
        self, observed: list[float], forecasts: list[list[list[float]] | None], first: int = 0
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Steps in order; None: a step without an answer.  Returns scores [K, J, 4], before [K, J, Q], anomaly [A]."""
        k, given = len(observed), [f for f in forecasts if f is not None]
        places = iter(range(k))
        answer = np.array([next(places) if f is not None else -1 for f in forecasts], np.int64)
        scores, before, anomaly = np.empty((k, 2, 4)), np.empty((k, 2, 3)), np.empty(len(given))
        score(
            self.awaiting, self.residual, np.zeros(k, np.int64), np.arange(first, first + k), np.array(observed, float),
            np.full((k, 2), 0.5), answer, np.array(given, float).reshape(-1, HORIZON, 3), SCORED, LEVELS, 1,
            scores, before, anomaly,
        )  # fmt: skip
        return scores, before, anomaly


def forecast(low: float, median: float, high: float) -> list[list[float]]:
    """A forecast that is ``step`` larger at every step ahead."""
    return [[low + step, median + step, high + step] for step in range(HORIZON)]


def pinball(y: float, quantiles: list[float]) -> float:
    losses: list[float] = [max(q * (y - f), (q - 1) * (y - f)) for q, f in zip(LEVELS, quantiles, strict=True)]
    return sum(losses) / 3


def test_a_forecast_is_scored_when_its_bar_arrives_and_not_before() -> None:
    scores, _, _ = One().take([0.0, 10.0, 0.0, 3.0], [forecast(-1, 0, 1), None, None, None])
    due = [(step, ahead) for step in range(4) for ahead in range(2) if not math.isnan(scores[step, ahead, ERROR])]
    assert due == [(1, 0), (3, 1)]
    assert scores[1, 0].tolist() == [10.0, 9.5, pytest.approx(pinball(10.0, [-1, 0, 1])), 0.0]
    assert scores[3, 1].tolist() == [1.0, 2.5, pytest.approx(pinball(3.0, [1, 2, 3])), 1.0]


def test_a_missing_bar_is_never_scored() -> None:
    scores, _, _ = One().take([0.0, math.nan, 1.0], [forecast(-1, 0, 1), None, None])
    assert np.isnan(scores).all()


quantiles = st.tuples(values, values, values).map(sorted)


@given(st.lists(st.tuples(values | st.just(math.nan), st.none() | quantiles), max_size=30))
@settings(deadline=None)
def test_scores_equal_their_definitions_in_any_chunks(steps: list[tuple[float, list[float] | None]]) -> None:
    observed = [y for y, _ in steps]
    forecasts = [None if q is None else forecast(*q) for _, q in steps]
    one, two = One(), One()
    scores, _, anomaly = one.take(observed, forecasts)
    for k, y in enumerate(observed):
        for j, ahead in enumerate(SCORED.tolist()):
            foretold = forecasts[k - ahead] if k >= ahead else None
            if foretold is None or math.isnan(y):
                assert np.isnan(scores[k, j]).all() or math.isnan(scores[k, j, ERROR])
                continue
            low, median, high = foretold[ahead - 1]
            assert scores[k, j, ERROR] == abs(y - median)
            assert scores[k, j, COVERED] == (low <= y <= high)
            assert scores[k, j, NAIVE] == abs(y - 0.5)
            assert scores[k, j, PINBALL] == pytest.approx(pinball(y, [low, median, high]))
    half = len(steps) // 2
    first, second = two.take(observed[:half], forecasts[:half]), two.take(observed[half:], forecasts[half:], half)
    np.testing.assert_array_equal(np.concatenate([first[0][..., ERROR], second[0][..., ERROR]]), scores[..., ERROR])
    np.testing.assert_array_equal(np.concatenate([first[2], second[2]]), anomaly)
    np.testing.assert_array_equal(one.awaiting, two.awaiting)
    np.testing.assert_array_equal(one.residual, two.residual)


def test_before_version_3_an_anomaly_is_the_probability_of_a_smaller_error_under_the_normal_law() -> None:
    one = One(NORMAL)
    observed = [0.0, 1.0, -2.0, 0.5, 6.0]
    _, _, anomaly = one.take(observed, [forecast(-1, 0, 1)] * 5)
    assert np.isnan(anomaly[:2]).all()
    squares = [1.0, 4.0, 0.25]
    for k in (2, 3, 4):
        spread = math.sqrt(sum(squares[: k - 1]) / (k - 1))
        normal = NormalDist(0.0, spread)
        within = normal.cdf(abs(observed[k])) - normal.cdf(-abs(observed[k]))
        assert anomaly[k] == pytest.approx(within)


def test_before_version_3_old_errors_are_forgotten_at_a_bounded_rate() -> None:
    one = One(NORMAL)
    one.take([3.0] * 400 + [0.0] * 600, [forecast(-1, 0, 1)] * 1000)
    assert one.residual[0, 0] == pytest.approx(9.0 * (1 - RESIDUAL_ALPHA) ** 600)


REPORTED = 0.997
NOISES: Mapping[str, tuple[Callable[[np.random.Generator, int], np.ndarray], float]] = {
    "normal": (lambda random, n: random.normal(size=n), 0.002),
    "Laplace": (lambda random, n: random.laplace(size=n), 0.002),
    "Student's t with 3 degrees": (lambda random, n: random.standard_t(3, n), 0.002),
    "log-normal": (lambda random, n: random.lognormal(size=n) - 1.0, 0.002),
    "a value in a hundred zeros": (lambda random, n: 1.0 * (random.random(n) < 0.01), 0.002),
    "one that wanders": (lambda random, n: np.convolve(random.normal(size=n + 5), np.ones(6) / 6, "valid"), 0.002),
    "whole numbers": (lambda random, n: random.poisson(0.3, n).astype(float), 0.004),
    "a spike in a hundred bars": (lambda random, n: random.normal(size=n) + 50.0 * (random.random(n) < 0.01), 0.006),
}
"""Errors by law, and the largest share of bars that may be reported as the beginning of an event."""


def noise(name: str, seed: int, bars: int) -> np.ndarray:
    draw, _ = NOISES[name]
    return draw(np.random.default_rng(seed), bars)


def anomalies(errors: np.ndarray, chunk: int | None = None) -> np.ndarray:
    """The anomaly of bars whose forecasts were wrong by ``errors``, of one series in chunks."""
    one, step = One(), chunk or len(errors)
    found = [
        one.take(errors[at : at + step].tolist(), [forecast(0, 0, 0)] * len(errors[at : at + step]), at)[2]
        for at in range(0, len(errors), step)
    ]
    return np.concatenate(found)


@pytest.mark.parametrize("name", list(NOISES))
@pytest.mark.parametrize("seed", [1, 2])
def test_noise_of_any_law_is_reported_about_once_in_a_thousand_bars(name: str, seed: int) -> None:
    _, most = NOISES[name]
    found = anomalies(noise(name, seed, 30_000))
    assert np.nanmean(found[1_000:] >= REPORTED) < most
    assert (found[~np.isnan(found)] >= 0.0).all()


@pytest.mark.parametrize("name", ["normal", "Laplace", "Student's t with 3 degrees", "one that wanders"])
def test_an_anomaly_is_the_share_of_less_unusual_bars(name: str) -> None:
    found = anomalies(noise(name, 0, 30_000))[1_000:]
    for share, wide in ((0.5, 0.2), (0.9, 0.03), (0.99, 0.006)):
        assert np.mean(found < share) == pytest.approx(share, abs=wide)


def test_an_anomaly_is_unknown_for_the_first_errors_and_where_nothing_was_observed() -> None:
    errors = np.random.default_rng(0).normal(size=200)
    errors[150] = math.nan
    known = ~np.isnan(anomalies(errors))
    assert known.tolist() == [FIRST_ERRORS < k != 150 for k in range(200)]
    assert pytest.approx(1) == FIRST_ERRORS * IN_TAIL


@pytest.mark.parametrize(
    ("name", "size"), [("normal", 10.0), ("Laplace", 40.0), ("a spike in a hundred bars", 4_000.0)]
)
def test_an_error_far_beyond_all_others_is_reported_and_a_farther_one_is_more_unusual(name: str, size: float) -> None:
    errors = noise(name, 3, 5_000)
    errors[4_800:4_900] = np.clip(errors[4_800:4_900], -1.0, 1.0)
    far, farther = errors.copy(), errors.copy()
    far[4_900], farther[4_900] = size, 2.0 * size
    assert REPORTED <= anomalies(far)[4_900] < anomalies(farther)[4_900] < 1.0


def test_a_level_that_shifts_by_less_than_a_spike_is_reported_soon_and_once() -> None:
    errors = np.random.default_rng(4).normal(size=5_000)
    errors[4_500:4_600] += 2.0
    found = anomalies(errors)
    reported = np.flatnonzero(found[4_500:4_600] >= REPORTED)
    assert len(reported) in {1, 2}
    assert reported[0] <= 20
    assert np.nanmax(found[4_500 + reported[-1] + 1 : 4_600]) <= 0.9


def test_an_event_is_reported_again_when_it_grows_tenfold_rarer_and_when_it_is_over() -> None:
    errors = np.random.default_rng(5).laplace(size=6_000)
    at = 5_000
    errors[at - 200 : at] = np.clip(errors[at - 200 : at], -2.0, 2.0)
    errors[at : at + 250] = 0.1
    over = at + int(EVENT_BARS) + 1
    errors[at], errors[at + 2], errors[at + 5], errors[over] = 30.0, 30.0, 3_000.0, 30.0
    found = anomalies(errors)
    assert found[at] >= REPORTED
    assert found[at + 2] <= 0.9
    assert found[at + 5] > 1.0 - (1.0 - found[at]) / 10.0
    assert found[over + 5] <= 0.9
    errors[over], errors[over + 5] = 0.1, 30.0
    assert anomalies(errors)[over + 5] >= REPORTED


def test_a_flat_series_is_usual_until_it_changes() -> None:
    errors = np.zeros(3_000)
    errors[2_000] = 1e-6
    found = anomalies(errors)
    assert (found[FIRST_ERRORS + 1 : 2_000] == 0.0).all()
    assert REPORTED < found[2_000] < 1.0
    assert (found[2_001:] < REPORTED).all()


def test_errors_of_rounding_are_none() -> None:
    errors = np.random.default_rng(6).normal(size=500) * 1e-12
    one = One()
    _, _, found = one.take((1_000.0 + errors).tolist(), [forecast(1_000, 1_000, 1_000)] * 500)
    assert (found[FIRST_ERRORS + 1 :] == 0.0).all()


@pytest.mark.parametrize("huge", [1e100, 1e-300, 5e-324])
def test_an_anomaly_of_any_size_of_errors_is_below_one(huge: float) -> None:
    errors = huge * np.random.default_rng(7).standard_cauchy(400)
    found = anomalies(errors, 7)
    np.testing.assert_array_equal(found, anomalies(errors))
    assert ((found >= 0.0) & (found < 1.0))[FIRST_ERRORS + 1 :].all()


def test_what_a_step_overwrites_can_be_put_back() -> None:
    one = One()
    one.take([0.0, 1.0], [forecast(-1, 0, 1)] * 2)
    kept = one.awaiting.copy()
    _, before, _ = one.take([5.0, 6.0, 7.0], [forecast(1, 2, 3), None, forecast(4, 5, 6)], first=2)
    base = np.array([0, 1])
    for k in reversed(range(3)):
        for j, ahead in enumerate(SCORED.tolist()):
            one.awaiting[0, base[j] + (2 + k) % ahead] = before[k, j]
    np.testing.assert_array_equal(one.awaiting, kept)


def test_forecasts_are_scaled_back_and_what_is_not_finite_is_said() -> None:
    q = np.array([[[0.0, 1.0, 2.0]], [[0.0, np.nan, 0.0]], [[0.0, 0.0, np.inf]]], np.float32)
    out = np.empty(q.shape)
    finite = np.empty(3, np.bool_)
    scale_back(q, np.array([10.0, 0.0, 0.0]), np.array([0.5, 1.0, 1.0]), -np.inf, np.inf, out, finite)
    assert finite.tolist() == [True, False, False]
    assert out[0].tolist() == [[10.0, 10.5, 11.0]]


@given(st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=5))
def test_quantiles_that_cross_are_put_in_order(levels: list[float]) -> None:
    q = np.array([[levels]], np.float32)
    out = np.empty(q.shape)
    scale_back(q, np.array([2.0]), np.array([3.0]), -10.0, 12.0, out, np.empty(1, np.bool_))
    np.testing.assert_array_equal(out[0, 0], np.clip(np.sort(2.0 + 3.0 * q[0, 0].astype(float)), -10.0, 12.0))
