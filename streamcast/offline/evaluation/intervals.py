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
"""Periods that are drawn together: a week of days."""
DRAWS = 2_000


class Ratio(NamedTuple):
    """A ratio of two sums, and the interval that holds it with the wanted confidence; NaN where nothing is known."""

    value: float
    low: float
    high: float


def relative_error(part_D: Floats, whole_D: Floats, confidence: float = 0.9, seed: int = 0) -> Ratio:
    """Return Σ ``part_D`` / Σ ``whole_D`` with its interval; both are sums of errors by period, in order of time.

    The interval is NaN with fewer than three blocks of periods.
    """
    periods = len(part_D)
    if not whole_D.sum() > 0:
        return Ratio(np.nan, np.nan, np.nan)
    value = float(part_D.sum() / whole_D.sum())
    block = min(BLOCK_PERIODS, max(periods // 3, 1))
    if periods < 3:
        return Ratio(value, np.nan, np.nan)
    random = np.random.default_rng(seed)
    blocks = -(-periods // block)
    starts_B = random.integers(0, periods - block + 1, (DRAWS, blocks))
    part, whole = (np.concatenate([[0.0], np.cumsum(each_D)]) for each_D in (part_D, whole_D))
    drawn_B = (part[starts_B + block] - part[starts_B]).sum(1), (whole[starts_B + block] - whole[starts_B]).sum(1)
    known_B = drawn_B[1] > 0
    low, high = np.quantile(drawn_B[0][known_B] / drawn_B[1][known_B], [(1 - confidence) / 2, (1 + confidence) / 2])
    return Ratio(value, float(low), float(high))
