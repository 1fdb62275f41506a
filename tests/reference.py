"""Slow, obvious oracles for the fast code."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def window_with_fill(y_T: Sequence[float], cutoff: int, length: int) -> list[float]:
    """The ``length`` bars up to the cutoff: a missing bar repeats its predecessor, the first value pads the left."""
    observed = [value for value in y_T[: cutoff + 1] if not math.isnan(value)]
    if not observed:
        return [math.nan] * length
    window, newest = [], observed[0]
    for bar in range(cutoff + 1):
        newest = newest if math.isnan(y_T[bar]) else y_T[bar]
        window.append(newest)
    return ([observed[0]] * length + window)[-length:]


def newest_of_the_place(y_T: Sequence[float], cutoff: int, step: int, season: int, seasons: int) -> float | None:
    """The newest value known at the cutoff that lies whole seasons before a step, looking at so many seasons."""
    newest = cutoff + step - season * math.ceil(step / season)
    for bar in [newest - season * older for older in range(seasons)]:
        if bar >= 0 and not math.isnan(y_T[bar]):
            return y_T[bar]
    return None


def ridge_on_lags(
    train_KT: Floats, y_T: Sequence[float], cutoff: int, horizon: int, lags: int, penalty: float
) -> list[float]:
    """One ridge forecast: rows stacked one by one, the penalty as further rows, and numpy's least squares."""
    inputs, outcomes = [], []
    for series in train_KT:
        observed = series[~np.isnan(series)]
        if not observed.size or not observed.std():
            continue
        for end in range(lags - 1, len(series) - horizon):
            begun = not np.isnan(series[: end + 1]).all()
            outcome = series[end + 1 : end + 1 + horizon]
            if begun and not np.isnan(outcome).any():
                window = np.array(window_with_fill(series.tolist(), end, lags))
                inputs.append((window - window[-1]) / observed.std())
                outcomes.append((outcome - window[-1]) / observed.std())
    window = np.array(window_with_fill(y_T, cutoff, lags))
    if not inputs:
        return [float(window[-1])] * horizon
    diagonal = penalty * float(np.sum(np.square(inputs))) / lags
    padded = np.vstack([np.array(inputs), math.sqrt(diagonal) * np.eye(lags)])
    wanted = np.vstack([np.array(outcomes), np.zeros((lags, horizon))])
    weights = np.linalg.lstsq(padded, wanted, rcond=None)[0]
    forecast: list[float] = (window[-1] + (window - window[-1]) @ weights).tolist()
    return forecast
