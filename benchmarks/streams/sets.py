"""Sets of series for the streams benchmark: files, regular grids, places to forecast from, seasonal naive forecasts.

A folder has ``sets.json`` (the facts of each set) and ``NAME.csv.gz`` (unique_id, ds, y and other columns).  The rules
are those of the reference script gbm.py, so that both score the same forecasts.

Shapes: N rows, T bars of a grid, A forecasts, H steps ahead, S seasons.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from streamcast.errors import HistoryError
from streamcast.offline.evaluation.baselines import season_repeated, seasons_back
from streamcast.offline.history.read import History, read
from streamcast.spec.model_spec import parse_duration
from streamcast.topics.observations import LARGEST_VALUE

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


MISSING = ("", "NA", "N/A", "n/a", "<NA>", "#N/A", "NaN", "nan", "-nan", "NULL", "null", "None")
"""What a file writes for a missing value; a series may have such a name."""
LAST_VALUE = 1
"""The season of a set that names none: its naive forecast is the last value."""


@dataclass(frozen=True, slots=True)
class Series:
    """One series on its grid: NaN in ``y_T`` is a bar without a reading, ``filled_T`` is interpolated."""

    key: str
    start_ms: int
    y_T: Floats
    filled_T: Floats


@dataclass(frozen=True, slots=True)
class StreamSet:
    """A set: its facts, its rows in UTC, and its series in order of their keys."""

    name: str
    freq_ms: int
    horizon: int
    seasons: tuple[int, ...]
    zone: str
    holidays: str | None
    known: tuple[str, ...]
    lower: float | None
    ticks: bool
    split_ms: int
    frame: pd.DataFrame
    series: tuple[Series, ...]

    def history(self, *, training: bool) -> History:
        """Return the rows before the split, or all rows, as the package reads them."""
        times_N = milliseconds(self.frame["ds"])
        rows = self.frame[times_N < self.split_ms] if training else self.frame
        return read(rows, columns=list(self.known), freq=self.freq_ms, ticks=self.ticks)

    @property
    def named_seasons(self) -> tuple[int, ...] | None:
        """The seasons that sets.json names; None if it names none, so that a model finds its own."""
        return None if self.seasons == (LAST_VALUE,) else self.seasons

    def places(self, series: Series, every: int) -> Ints:
        """Return the observed bars of the test part that are multiples of ``every`` and have a season before them."""
        place_T = np.arange(len(series.y_T))
        late_T = series.start_ms + place_T * self.freq_ms >= self.split_ms
        inside_T = (place_T >= max(self.seasons)) & (place_T < len(place_T) - self.horizon)
        found_A: Ints = place_T[late_T & inside_T & ~np.isnan(series.y_T) & (place_T % every == 0)]
        return found_A

    def trained_bars(self, series: Series) -> int:
        """Return how many bars of a series begin before the split."""
        return int(np.clip(-((series.start_ms - self.split_ms) // self.freq_ms), 0, len(series.y_T)))


def milliseconds(times: pd.Series) -> Ints:
    """Return UTC times as epoch milliseconds [N]."""
    times_N: Ints = times.dt.as_unit("ms").astype("int64").to_numpy()
    return times_N


def load(folder: Path, name: str) -> StreamSet:
    """Read a set; raises HistoryError when it, its file or a column is missing, or a target is no number."""
    known_sets: Mapping[str, Mapping[str, Any]] = json.loads((folder / "sets.json").read_text())
    if name not in known_sets:
        raise HistoryError(f"{folder / 'sets.json'} has no set {name!r}: expected one of {', '.join(known_sets)}")
    facts, file = known_sets[name], folder / f"{name}.csv.gz"
    if not file.is_file():
        raise HistoryError(f"there is no {file}: put it there, or choose other sets with --sets")
    zone, freq = facts.get("timezone") or "UTC", parse_duration(facts["freq"])
    known = tuple(facts.get("known") or ())
    columns = ["unique_id", "ds", "y", *known]
    frame = pd.read_csv(
        file, low_memory=False, dtype={"unique_id": str}, keep_default_na=False,
        na_values=dict.fromkeys(columns[1:], MISSING),
    )  # fmt: skip
    if lacking := sorted(set(columns) - set(frame.columns)):
        raise HistoryError(f"{file} has no column {', '.join(lacking)}: expected {', '.join(columns)}")
    frame = frame[columns].copy()
    frame["y"] = _numbers(frame["y"], name)
    frame["ds"] = pd.to_datetime(frame["ds"], utc=facts["ds"] == "utc")
    if facts["ds"] == "local":
        local = frame["ds"].dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
        frame["ds"] = local.dt.tz_convert("UTC")
        frame = frame.dropna(subset=["ds"])
    split = pd.Timestamp(facts["test_from"])
    split = split if split.tzinfo else split.tz_localize(zone)
    mode = facts.get("mode")
    seasons = tuple(parse_duration(season) // freq for season in facts["season"])
    return StreamSet(
        name=name,
        freq_ms=freq,
        horizon=facts["horizon"],
        seasons=tuple(season for season in seasons if season > 1) or (LAST_VALUE,),
        zone=zone,
        holidays=facts.get("holidays"),
        known=known,
        lower=facts.get("lower"),
        ticks=_irregular(frame, freq, zone) if mode is None else mode == "ticks",
        split_ms=round(split.timestamp() * 1_000),
        frame=frame.reset_index(drop=True),
        series=tuple(_series(str(key), part, freq) for key, part in frame.groupby("unique_id")),
    )


def _numbers(target: pd.Series, name: str) -> pd.Series:
    """Return a target as numbers, NaN where it is missing, infinite or too large for a record."""
    numbers = pd.to_numeric(target, errors="coerce").astype(np.float64)
    if (wrong := numbers.isna() & target.notna()).any():
        row = int(np.flatnonzero(wrong)[0])
        raise HistoryError(
            f"column 'y' of {name} is {target.iloc[row]!r} in row {row + 1}; expected a number, or nothing for missing"
        )
    return numbers.where(numbers.abs() <= LARGEST_VALUE)


def _irregular(frame: pd.DataFrame, freq_ms: int, zone: str) -> bool:
    """Return whether a bar has several rows, or rows lie at several places of their bars, in UTC and by the clock."""
    times_N = milliseconds(frame["ds"])
    clock_N = milliseconds(frame["ds"].dt.tz_convert(zone).dt.tz_localize(None))
    bars = pd.DataFrame({"key": frame["unique_id"].to_numpy(), "bar": times_N // freq_ms})
    scattered = all((place_N != place_N[:1]).any() for place_N in (times_N % freq_ms, clock_N % freq_ms))
    return bool(bars.duplicated().any()) or scattered


def _series(key: str, part: pd.DataFrame, freq_ms: int) -> Series:
    """Return the mean of each bar's readings, from the first bar with a row to the last."""
    bar_N = milliseconds(part["ds"]) // freq_ms
    means = pd.Series(part["y"].to_numpy(np.float64)).groupby(bar_N).mean()
    grid = means.reindex(np.arange(means.index[0], means.index[-1] + 1))
    filled = grid.reset_index(drop=True).interpolate(limit_direction="both")
    return Series(key, int(means.index[0]) * freq_ms, grid.to_numpy(), filled.to_numpy())


def seasonal_naive(series: Series, place_A: Ints, season: int, horizon: int) -> Floats:
    """Return the seasonal naive forecasts from places [A, H].

    Where no season that is tried has an observed value, a step repeats the interpolated one; there is none before
    the first whole season (NaN).
    """
    step_H = np.arange(1, horizon + 1)
    begun_AH = place_A[:, None] + step_H - seasons_back(step_H, season) >= 0
    found_AH = season_repeated(series.y_T[None], series.filled_T[None], place_A, horizon, season)[0]
    return np.where(begun_AH, found_AH, np.nan)
