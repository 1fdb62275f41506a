"""Forecasts as data frames in Nixtla's columns: unique_id, ds, cutoff, and the model's median and intervals.

The anomaly is no column there but has a frame of its own, a row a bar: packages that score such frames take any column
that they do not know for a model, and ``dropna`` would drop the steps of bars without one.

Legend: A forecasts, H horizon, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from streamcast.spec.model_spec import ModelSpec


def forecast_frame(
    spec: ModelSpec, name: str, keys: Sequence[str], cutoffs_A: NDArray[np.int64], values_AHQ: NDArray[np.float64]
) -> pd.DataFrame:
    """Return a row for each forecast and step; ``<name>`` is the median, ``<name>-lo-80`` the 0.1 quantile; UTC."""
    grid = spec.series.grid
    bars_AH = grid.bar(cutoffs_A)[:, None] + np.arange(1, spec.horizon + 1)
    columns = {
        "unique_id": np.repeat(np.array(keys, object), spec.horizon),
        "ds": grid.start(bars_AH).ravel().astype("datetime64[ms]"),
        "cutoff": np.repeat(cutoffs_A, spec.horizon).astype("datetime64[ms]"),
    }
    for column, level in quantile_columns(name, spec.quantiles).items():
        columns[column] = values_AHQ[:, :, spec.quantiles.index(level)].ravel()
    return pd.DataFrame(columns)


def anomaly_frame(
    keys: Sequence[str], cutoffs_A: NDArray[np.int64], y_A: NDArray[np.float64], anomaly_A: NDArray[np.float64]
) -> pd.DataFrame:
    """Return a row for each forecast's own bar: its value, and how unusual that was; NaN while unknown; UTC."""
    return pd.DataFrame(
        {
            "unique_id": np.array(keys, object), "ds": cutoffs_A.astype("datetime64[ms]"), "y": y_A,
            "anomaly": anomaly_A,
        }
    )  # fmt: skip


OTHERS = ("unique_id", "ds", "cutoff", "y")
"""The columns of a backtest's frame besides those of the model."""


def name_beside(columns: Collection[str], name: str, levels: Sequence[float]) -> str:
    """Return what a model is called in a frame with other ``columns``: ``-forecast`` is added to the name of one."""
    while not quantile_columns(name, levels).keys().isdisjoint(columns):
        name += "-forecast"
    return name


def quantile_columns(name: str, levels: Sequence[float]) -> dict[str, float]:
    """Return the levels by their column, in the order of a frame: the median, then the narrowest interval's low, high.

    Distances from one half are rounded, because those of 0.05 and 0.95 differ in their last bits.
    """
    ordered = sorted(levels, key=lambda level: (round(abs(level - 0.5), 9), level))
    return {quantile_column(name, level): level for level in ordered}


def quantile_column(name: str, level: float) -> str:
    """Return Nixtla's column of a quantile: the median is the model itself, 0.1 is ``lo-80`` and 0.9 ``hi-80``."""
    if level == 0.5:
        return name
    side = "lo" if level < 0.5 else "hi"
    return f"{name}-{side}-{round(100 * abs(1 - 2 * level), 4):g}"
