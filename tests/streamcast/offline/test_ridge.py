"""Ridge regression: both ways to solve it agree with the definition."""

from __future__ import annotations

import numpy as np
import pytest

from streamcast.offline.evaluation.ridge import NormalEquations

PENALTIES = (1e-3, 0.1, 1.0)


def equations_of(x_PL: np.ndarray, y_PH: np.ndarray) -> NormalEquations:
    found = NormalEquations.empty(x_PL.shape[1], y_PH.shape[1])
    for part in np.array_split(np.arange(len(x_PL)), 3):
        found.add(x_PL[part], y_PH[part])
    return found


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x_PL = random.normal(size=(200, 6)) + 3
    return x_PL, x_PL @ random.normal(size=(6, 2)) + 5 + random.normal(size=(200, 2))


def test_the_weights_minimise_the_penalised_squares(data: tuple[np.ndarray, np.ndarray]) -> None:
    x_PL, y_PH = data
    unit = np.mean(np.sum(x_PL**2, axis=0))
    together = list(equations_of(x_PL, y_PH).solutions(PENALTIES))
    for penalty, weights_LH in zip(PENALTIES, together, strict=True):
        np.testing.assert_allclose(
            x_PL.T @ (y_PH - x_PL @ weights_LH), penalty * unit * weights_LH, rtol=1e-8, atol=1e-6
        )
        (alone,) = equations_of(x_PL, y_PH).solutions([penalty])
        np.testing.assert_allclose(alone, weights_LH, rtol=1e-9)


def test_the_intercept_is_not_penalised(data: tuple[np.ndarray, np.ndarray]) -> None:
    x_PL, y_PH = data
    for weights_LH, intercept_H in equations_of(x_PL, y_PH).solutions_with_intercept(PENALTIES):
        np.testing.assert_allclose(np.mean(y_PH - x_PL @ weights_LH - intercept_H, axis=0), 0, atol=1e-9)


def test_older_rows_count_less_by_the_forgetting(data: tuple[np.ndarray, np.ndarray]) -> None:
    x_PL, y_PH = data
    both = equations_of(x_PL[:100], y_PH[:100]).followed_by(equations_of(x_PL[100:], y_PH[100:]), 0.25)
    weight_P1 = np.where(np.arange(200) < 100, 0.5, 1.0)[:, None]
    (found,), (want,) = both.solutions([0.1]), equations_of(x_PL * weight_P1, y_PH * weight_P1).solutions([0.1])
    np.testing.assert_allclose(found, want, rtol=1e-9)


@pytest.mark.parametrize("penalties", [PENALTIES, PENALTIES[:1]])
def test_nothing_to_learn_from_gives_zero(penalties: tuple[float, ...]) -> None:
    for weights_LH in NormalEquations.empty(4, 2).solutions(penalties):
        assert (weights_LH == 0).all()
