"""How sure a ranking is: confidence intervals of relative errors, by a moving block bootstrap over time.

Errors of neighbouring days are alike, so whole blocks of days are drawn (Künsch 1989, "The jackknife and the bootstrap
for general stationary observations").  Model and baseline are drawn together, since they forecast the same days.
Legend: D periods, B draws.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from streamcast.offline.evaluation.accuracy import Floats

BLOCK_PERIODS = 7
"""Periods that are drawn together at least: a week of days."""
FEWEST_BLOCKS = 3
"""Blocks in a test, or it is too short for an interval."""
DRAWS = 2_000


class Ratio(NamedTuple):
    """A ratio of two sums, and the interval that holds it with the wanted confidence; NaN where nothing is known."""

    value: float
    low: float
    high: float


def block_length(periods: int, ahead: int) -> int:
    """Return how many of some ``periods`` are drawn together where forecasts reach ``ahead`` periods; 0 for too few.

    Forecasts of neighbouring periods have outcomes in common, so shorter blocks find too little spread.
    """
    block = min(max(BLOCK_PERIODS, 2 * ahead), periods // FEWEST_BLOCKS)
    return block if block >= ahead else 0


def relative_error(part_D: Floats, whole_D: Floats, confidence: float = 0.9, *, ahead: int = 1, seed: int = 0) -> Ratio:
    """Return Σ ``part_D`` / Σ ``whole_D`` with its interval; both are sums of errors by period, in order of time.

    Each sums the errors of forecasts that reach ``ahead`` periods.  The interval is NaN with fewer than three blocks.
    """
    periods = len(part_D)
    if not whole_D.sum() > 0:
        return Ratio(np.nan, np.nan, np.nan)
    value, block = float(part_D.sum() / whole_D.sum()), block_length(periods, ahead)
    if not block:
        return Ratio(value, np.nan, np.nan)
    random = np.random.default_rng(seed)
    blocks = periods // block
    starts_B = random.integers(0, periods - block + 1, (DRAWS, blocks))
    part, whole = (np.concatenate([[0.0], np.cumsum(each_D)]) for each_D in (part_D, whole_D))
    drawn_B = (part[starts_B + block] - part[starts_B]).sum(1), (whole[starts_B + block] - whole[starts_B]).sum(1)
    known_B = drawn_B[1] > 0
    drawn = np.quantile(drawn_B[0][known_B] / drawn_B[1][known_B], [(1 - confidence) / 2, (1 + confidence) / 2])
    if not value:
        return Ratio(0.0, 0.0, 0.0)
    # Blocks differ from their own mean less than from the truth, by as much as a sample's variance is corrected for.
    low, high = value * (drawn / value) ** np.sqrt(blocks / (blocks - 1))
    return Ratio(value, float(low), float(high))
