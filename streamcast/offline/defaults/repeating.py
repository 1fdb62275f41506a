"""The errors of repeating seasons over a horizon, by which the seasons of a new model are chosen.

Legend: K series, T bars.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from streamcast.offline.evaluation.accuracy import Floats, absolute_error, mean
from streamcast.offline.evaluation.baselines import seasonal_error

LAST_VALUE = 1
"""The season whose repetition is the newest value."""
LONGEST_SEASON = 2_016
MOST_REPEATS = 24
"""Multiples of a season that its error over a horizon is measured at; beyond, they are spread."""


def errors_of_repeating(seasons: Iterable[int], y_KT: Floats, horizon: int) -> dict[int, float]:
    """Return the error of repeating each season over a horizon, of those that fit three times."""
    level_K = np.array([mean(absolute_error(y_T, mean(y_T))) or np.nan for y_T in y_KT])
    longest = min(LONGEST_SEASON, y_KT.shape[1] // 3)
    errors = {season: _error_of_repeating(season, horizon, y_KT, level_K) for season in seasons if season <= longest}
    return {season: error if np.isfinite(error) else np.inf for season, error in errors.items()}


def _error_of_repeating(season: int, horizon: int, y_KT: Floats, level_K: Floats) -> float:
    """Return the mean error of seasonal naive over a horizon, in units of each series' mean absolute deviation.

    Step h is forecast by the bar h before it, rounded up to whole seasons.
    """
    most = max(min(-(-horizon // season), y_KT.shape[1] // (2 * season)), 1)
    tried = np.unique(np.linspace(1, most, min(most, MOST_REPEATS)).round().astype(int)).tolist()
    steps = [min(season, horizon - (back - 1) * season) for back in tried]
    errors = [mean(seasonal_error(y_KT, back * season) / level_K[:, None]) for back in tried]
    return float(np.average(errors, weights=steps))
