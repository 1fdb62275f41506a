"""How sure a ranking is: confidence intervals of relative errors, from how slowly the errors swing within a test.

Errors of neighbouring days are alike, and forecasts of many days have outcomes in common.  What counts is how far the
slow swings go.  A few cosines over the test measure them, and their squares have equal weights.  The interval is
Student's with one degree of freedom for each cosine (Lazarus, Lewis, Stock and Watson 2018, "HAR inference:
recommendations for practice").  Model and baseline are compared day by day, since they forecast the same days.
Legend: D periods, W cosines.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from streamcast.offline.evaluation.accuracy import Floats

FEWEST_COSINES, FEWEST_PERIODS = 2, 7
"""With fewer cosines, or of fewer periods (a week of days), a test is too short for an interval."""


class Ratio(NamedTuple):
    """A ratio of two sums, and the interval that holds it with the wanted confidence; NaN where nothing is known."""

    value: float
    low: float
    high: float


def cosines(periods: int, ahead: int) -> int:
    """Return how many cosines measure a test of some ``periods`` with forecasts of ``ahead`` periods; 0 if too short.

    The fastest swings once in four horizons or more slowly, because sums over a horizon hardly flatten such a swing.
    """
    wanted = max(int(0.4 * periods ** (2 / 3)), FEWEST_COSINES)
    number = min(wanted, periods // (2 * ahead))
    return number if number >= FEWEST_COSINES and periods >= FEWEST_PERIODS else 0


def relative_error(part_D: Floats, whole_D: Floats, confidence: float = 0.9, *, ahead: int = 1) -> Ratio:
    """Return Σ ``part_D`` / Σ ``whole_D`` with its interval; both are sums of errors by period, in order of time.

    Each sums the errors of forecasts that reach ``ahead`` periods.  The interval is NaN for a test of less than four
    times that, or of less than ``FEWEST_PERIODS``.
    """
    periods, whole = len(part_D), float(whole_D.sum())
    if not whole > 0:
        return Ratio(np.nan, np.nan, np.nan)
    value, number = float(part_D.sum()) / whole, cosines(periods, ahead)
    if not value:
        return Ratio(0.0, 0.0, 0.0)
    if not number:
        return Ratio(value, np.nan, np.nan)
    cosines_WD = np.cos(np.pi * np.arange(1, number + 1)[:, None] * (np.arange(periods) + 0.5) / periods)
    swings_W = np.sqrt(2) * cosines_WD @ (part_D / value - whole_D) / whole
    spread = _student((1 + confidence) / 2, number) * np.sqrt(np.square(swings_W).mean())
    return Ratio(value, float(value * np.exp(-spread)), float(value * np.exp(spread)))


def _student(level: float, freedom: float) -> float:
    """Return the quantile of Student's t by its expansion around the normal one: Abramowitz and Stegun 26.7.5."""
    z = NormalDist().inv_cdf(level)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92_160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))
