"""Drift: errors that last rings, errors that pass do not."""

from __future__ import annotations

import numpy as np
import pytest

from streamcast.service.telemetry.drift import GROUP, Drift


def errors(groups: int, scale: float, seed: int = 0) -> np.ndarray:
    return np.abs(np.random.default_rng(seed).normal(0, scale, groups * GROUP))


@pytest.mark.parametrize("seed", range(5))
def test_errors_of_one_kind_are_no_drift_however_long_they_last(seed: int) -> None:
    assert Drift().observe(errors(2_000, 3.0, seed)) == 0


def test_errors_that_stay_twice_as_large_are_one_drift_and_then_the_new_usual() -> None:
    drift = Drift()
    assert drift.observe(errors(50, 1.0)) == 0
    assert drift.observe(errors(200, 2.0)) == 1


def test_one_bad_moment_is_no_drift() -> None:
    drift = Drift()
    drift.observe(errors(50, 1.0))
    assert drift.observe(errors(1, 3.0)) == 0
    assert drift.observe(errors(50, 1.0)) == 0


def test_it_does_not_matter_how_outcomes_are_handed_over() -> None:
    outcomes = np.concatenate([errors(40, 1.0), errors(40, 2.5)])
    pieces, whole = Drift(), Drift()
    assert sum(pieces.observe(part) for part in np.array_split(outcomes, 37)) == whole.observe(outcomes) == 1


def test_a_series_without_error_divides_by_nothing() -> None:
    assert Drift().observe(np.zeros(100 * GROUP)) == 0
