"""The scale of the target of a new model: a square root where errors grow with the level.

Legend: K series, T bars, B bins of the level.
"""

from __future__ import annotations

import numpy as np

from streamcast.offline.evaluation.accuracy import Floats, mean
from streamcast.offline.history.bars import panel
from streamcast.offline.history.read import History
from streamcast.spec.model_spec import SeriesSpec, Transform, TransformName
from streamcast.stages import stage

GROWS = 0.55
"""The growth from which on a square root is taken.

Where errors are proportional to the level's power b, they are even on the scale of its power 1 - b.
"""
SEASONS_BACK = (1, 2, 3, 7)
"""The level of a bar is the mean of its values so many seasons earlier."""
BINS, FEWEST_BINS = 10, 4
FEWEST_BARS = 500
LEAST_SPAN = 0.3
"""A series whose levels span less, as logarithms, says nothing."""
MOST_SERIES = 50
UNIT = 0.1
"""The unit of a logarithm, as a share of the median size of the values that are not 0."""


@stage("choosing the scale of the target")
def chosen_transform(
    history: History, series: SeriesSpec, season: int, lower: float | None, wanted: TransformName | None
) -> Transform | None:  # fmt: skip
    """Return the scale of the target that is wanted, or the one that the history asks for."""
    if wanted is None:
        grows = None if lower is not None and lower < 0.0 else growth(history, series, season)
        return None if grows is None or grows < GROWS else Transform(kind="sqrt")
    if wanted == "log":
        return Transform(kind="log", unit=_unit(history))
    return None if wanted == "none" else Transform(kind="sqrt")


def _unit(history: History) -> float:
    size_N = np.abs(history.values_NC[:, 0])
    size_N = size_N[np.isfinite(size_N) & (size_N > 0.0)]
    return UNIT * float(np.median(size_N)) if len(size_N) else 1.0


def growth(history: History, series: SeriesSpec, season: int) -> float | None:
    """Return the power of the level with which errors of seasonal means grow, as a mean over series.

    It is the slope of a spread-versus-level plot (Hoaglin, Mosteller & Tukey 1983).  None where a value is negative, or
    no series has levels to compare.
    """
    y_KT = panel(history, series).y_KT
    if np.nanmin(y_KT, initial=0.0) < 0.0:
        return None
    chosen_KT = y_KT[:: -(-len(y_KT) // MOST_SERIES)]
    found = [slope for y_T in chosen_KT if (slope := _slope(y_T, season)) is not None]
    return mean(found) if found else None


def _slope(y_T: Floats, season: int) -> float | None:
    """Return how the logarithm of errors grows with that of the level; None where that cannot be seen."""
    first = SEASONS_BACK[-1] * season
    if len(y_T) < first + FEWEST_BARS:
        return None
    earlier = np.stack([y_T[first - back * season : len(y_T) - back * season] for back in SEASONS_BACK])
    known_T = (np.isfinite(earlier).sum(axis=0) > 0) & np.isfinite(y_T[first:])
    level_T = np.nanmean(earlier[:, known_T], axis=0)
    error_T = np.abs(y_T[first:][known_T] - level_T)
    level_T, error_T = level_T[level_T > 0.0], error_T[level_T > 0.0]
    if len(level_T) < FEWEST_BARS:
        return None
    bin_T = np.searchsorted(np.quantile(level_T, np.arange(1, BINS) / BINS), level_T, side="right")
    count_B, total_B = np.bincount(bin_T, minlength=BINS), np.bincount(bin_T, error_T, minlength=BINS)
    full_B = (count_B > 0) & (total_B > 0.0)
    if full_B.sum() < FEWEST_BINS:
        return None
    levels_B = np.log(np.bincount(bin_T, level_T, minlength=BINS)[full_B] / count_B[full_B])
    errors_B = np.log(total_B[full_B] / count_B[full_B])
    if np.ptp(levels_B) < LEAST_SPAN:
        return None
    return float(np.polyfit(levels_B, errors_B, 1, w=np.sqrt(total_B[full_B]))[0])
