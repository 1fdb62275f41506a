"""Seasons that no calendar has, such as a tide or a shift of 37 hours, found in the values.

Legend: K series, T bars, L lags.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamcast.offline.defaults.repeating import LAST_VALUE, LONGEST_SEASON, errors_of_repeating
from streamcast.offline.evaluation.accuracy import Floats

CLEARLY_BETTER = 0.8
"""A cycle is a season if repeating it is at most so many times as wrong as the last value and as the calendar's."""
FIVE = 5
"""A cycle is judged over so many of it, because one that only seems so is soon out of step."""
SHORTEST_CYCLE = 3
FEWEST_CYCLES = 6
"""How many times the bars that are searched hold a cycle at least."""
NEWEST, MOST_BARS = 20_000, 100_000
"""Bars of each series, and of all, that are searched."""
LEAST_KNOWN = 0.25
"""Share of bars that are known, below which a series is left out."""
MOST_DEVIATIONS = 3.0
"""Where values are clipped, in mean absolute deviations: squares are of outliers."""
NEARLY_AS_GOOD = 1.03
"""A shorter cycle is preferred to a longer one if its repetition is at most so many times as wrong."""
LOOKED_AT, PROMISING = 3, 0.9
"""Repeats of a lag whose squared differences are compared, and the ratio below which its errors are."""
MOST_TRIED = 6


def cycle(y_KT: Floats, calendar: Sequence[int], span: int, longest: int = LONGEST_SEASON) -> int | None:
    """Return the cycle of at most ``longest`` bars that is best to repeat over a span, in bars, or None.

    Repeating it is clearly better than the seasons of the calendar and the last value, over the span and over five
    cycles at least.
    """
    y_KT = _searched(y_KT)
    most = min(longest, LONGEST_SEASON, y_KT.shape[1] // FEWEST_CYCLES)
    rivals = (*calendar, LAST_VALUE)
    kept = [lag for lag in _promising(y_KT, most) if lag not in rivals and _is_season(lag, y_KT, rivals, span)]
    errors = errors_of_repeating(kept, y_KT, span)
    lowest = min(errors.values(), default=np.inf)
    return next((lag for lag, error in errors.items() if error <= NEARLY_AS_GOOD * lowest), None)


def _searched(y_KT: Floats) -> Floats:
    """Return the newest bars of series of which enough are known, spread over all."""
    y_KT = y_KT[:, -NEWEST:]
    y_KT = y_KT[np.isfinite(y_KT).mean(axis=1) >= LEAST_KNOWN]
    most = max(MOST_BARS // max(y_KT.shape[1], 1), 1)
    return y_KT[:: max(-(-len(y_KT) // most), 1)]


def judged_over(lag: int, span: int) -> int:
    """Return over how many bars a cycle is compared with others: the span, and ``FIVE`` of it at least."""
    return max(span, FIVE * lag)


def _is_season(lag: int, y_KT: Floats, rivals: Sequence[int], span: int) -> bool:
    errors = errors_of_repeating((lag, *rivals), y_KT, judged_over(lag, span))
    return errors.pop(lag) < CLEARLY_BETTER * min(errors.values())


def _promising(y_KT: Floats, most: int) -> list[int]:
    """Return the lags at which squared differences are small, each clearly smaller than at all shorter ones."""
    found = [ratio_L for y_T in y_KT if most > SHORTEST_CYCLE and (ratio_L := _ratios(y_T, most + 1)) is not None]
    if not found:
        return []
    ratio_L = np.median(found, axis=0)
    lows = np.flatnonzero((ratio_L[1:-1] <= ratio_L[:-2]) & (ratio_L[1:-1] < ratio_L[2:])) + 1
    lags: list[int] = []
    lowest = PROMISING
    for at in lows[lows + 1 >= SHORTEST_CYCLE].tolist():
        if ratio_L[at] * NEARLY_AS_GOOD**2 < lowest:
            lags.append(at + 1)
            lowest = ratio_L[at]
    return lags[-MOST_TRIED:]


def _ratios(y_T: Floats, most: int) -> Floats | None:
    """Return the mean squared difference at one to three times each lag, over that at all lags up to there [L].

    It is the ratio of repeating the last ``lag`` bars to the last value.  None where all values are equal.
    """
    known_T = np.isfinite(y_T)
    middle = np.median(y_T[known_T])
    deviation = np.abs(y_T[known_T] - middle).mean()
    if not deviation > 0.0:
        return None
    scaled_T = np.where(known_T, np.clip((y_T - middle) / deviation, -MOST_DEVIATIONS, MOST_DEVIATIONS), 0.0)
    squared_L = _squared_differences(scaled_T, known_T.astype(np.float64), LOOKED_AT * most)
    some_L = np.isfinite(squared_L)
    until_L = np.cumsum(np.where(some_L, squared_L, 0.0)) / np.maximum(np.cumsum(some_L), 1)
    lag_L = np.arange(1, most + 1)
    repeated_L = np.mean([squared_L[back * lag_L - 1] for back in range(1, LOOKED_AT + 1)], axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio_L: Floats = repeated_L / until_L[LOOKED_AT * lag_L - 1]
    return np.where(np.isfinite(ratio_L), ratio_L, np.inf)


def _squared_differences(y_T: Floats, known_T: Floats, most: int) -> Floats:
    """Return the mean of (y(t) − y(t − lag))² over known pairs, for lags from 1 to ``most``; NaN where there are none.

    ``y_T`` is 0 where it is not known.
    """
    size = 1 << (len(y_T) + most).bit_length()
    y, known, square = (np.fft.rfft(values_T, size) for values_T in (y_T, known_T, y_T * y_T))
    total_L = np.fft.irfft(2.0 * (square * known.conj()).real - 2.0 * np.abs(y) ** 2, size)[1 : most + 1]
    pairs_L = np.fft.irfft(np.abs(known) ** 2, size)[1 : most + 1].round()
    return np.where(pairs_L > 0.0, np.maximum(total_L, 0.0) / np.maximum(pairs_L, 1.0), np.nan)
