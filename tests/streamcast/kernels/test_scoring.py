"""Forecasts in the units of the series, and their scores once the forecast bars are observed."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamcast.kernels.scoring import COVERED, ERROR, NAIVE, PINBALL, RESIDUAL_ALPHA, scale_back, score

LEVELS = np.array([0.1, 0.5, 0.9])
SCORED = np.array([1, 3])
HORIZON = 3

values = st.integers(-20, 20).map(lambda n: n / 4)


class One:
    """One series whose forecasts are kept and scored."""

    def __init__(self) -> None:
        self.awaiting = np.zeros((1, int(SCORED.sum()), 3))
        self.residual = np.zeros((1, 2))

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
    assert scores[1, 0].tolist() == [10.0, pytest.approx(pinball(10.0, [-1, 0, 1])), 0.0, 9.5]
    assert scores[3, 1].tolist() == [1.0, pytest.approx(pinball(3.0, [1, 2, 3])), 1.0, 2.5]


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


def test_an_anomaly_is_the_probability_of_a_smaller_error_under_the_errors_so_far() -> None:
    one = One()
    observed = [0.0, 1.0, -2.0, 0.5, 6.0]
    _, _, anomaly = one.take(observed, [forecast(-1, 0, 1)] * 5)
    assert np.isnan(anomaly[:2]).all()
    squares = [1.0, 4.0, 0.25]
    for k in (2, 3, 4):
        spread = math.sqrt(sum(squares[: k - 1]) / (k - 1))
        normal = NormalDist(0.0, spread)
        within = normal.cdf(abs(observed[k])) - normal.cdf(-abs(observed[k]))
        assert anomaly[k] == pytest.approx(within)


def test_old_errors_are_forgotten_at_a_bounded_rate() -> None:
    one = One()
    one.take([3.0] * 400 + [0.0] * 600, [forecast(-1, 0, 1)] * 1000)
    assert one.residual[0, 0] == pytest.approx(9.0 * (1 - RESIDUAL_ALPHA) ** 600)


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
    finite = scale_back(q, np.array([10.0, 0.0, 0.0]), np.array([0.5, 1.0, 1.0]), -np.inf, out)
    assert finite.tolist() == [True, False, False]
    assert out[0].tolist() == [[10.0, 10.5, 11.0]]
