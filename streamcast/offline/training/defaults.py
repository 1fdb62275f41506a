"""A model spec from a history: the choices that the user did not make.

Legend: K series, T bars.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from streamcast.errors import HistoryError
from streamcast.offline.evaluation.accuracy import Floats, absolute_error, mean
from streamcast.offline.evaluation.baselines import seasonal_error
from streamcast.offline.history.bars import panel
from streamcast.offline.history.read import History
from streamcast.spec.features import CALENDAR_MS
from streamcast.spec.model_spec import Aggregate, Column, ModelSpec, Scale, SeriesSpec

HOUR, DAY, WEEK, YEAR = 3_600_000, 86_400_000, 604_800_000, 31_536_000_000
LONGEST_SEASON = 2_016
MOST_LAGS = 336
FEWEST_LAGS = 8
WARM_UP = 64

Period = Literal["hour", "day", "week", "year"]


def default_spec(
    history: History,
    horizon: int,
    network: str | Mapping[str, Any] = "gru",
    *,
    quantiles: Sequence[float] = (0.1, 0.5, 0.9),
    lags: int | None = None,
    season: int | None = None,
    scales: Sequence[str | int] | None = None,
    mode: Literal["sample", "ticks"] = "sample",
    grace: str | int = 0,
    aggregates: Mapping[str, Aggregate] | None = None,
) -> ModelSpec:
    """Return a spec for a history; arguments that are None are chosen from its bar length and values.

    ``mode`` says whether a record is a bar or one of its readings.  ``grace`` is how long a bar of ticks waits for late
    readings, ``aggregates`` how the readings of a column become one value (default: mean of numbers, last of
    categories).

    The season is the one of hour, day, week and year that forecasts best in hindsight.  The lags cover 14 seasons, at
    most 336 bars and a quarter of the longest series.  Only networks that attend to coarser scales get some.
    Raises pydantic's ValidationError when the arguments do not fit together, HistoryError for an unknown column.
    """
    series = SeriesSpec.model_validate(
        {"columns": _columns(history, aggregates or {}), "freq": history.freq_ms, "mode": mode, "grace": grace}
    )
    freq, bars = history.freq_ms, _longest(history)
    season = best_season(history, series, horizon) if season is None else season
    if lags is None:
        lags = max(min(14 * season, MOST_LAGS, bars // 4) // 8 * 8, FEWEST_LAGS)
    spec: dict[str, Any] = {"kind": network} if isinstance(network, str) else dict(network)
    if scales is None:
        coarse = [every for every in (HOUR, DAY) if every > freq and every % freq == 0]
        scales = coarse if spec.get("kind") == "lstm-attention" else ()
    return ModelSpec(
        series=series,
        horizon=horizon,
        quantiles=tuple(quantiles),
        lags=lags,
        scales=tuple(Scale.model_validate({"every": every}) for every in scales),
        season=season,
        calendar=_calendar(history),
        half_life=max(lags, 2 * season, WARM_UP),
        warm_up=max(min(WARM_UP, bars // 8), 2),
        network=spec,
    )


def best_season(history: History, series: SeriesSpec | None = None, horizon: int = 1) -> int:
    """Return the bars of the hour, day, week or year whose repetition forecasts best; 1 if none fits three times.

    The last whole season is repeated over the horizon: an hour that resembles the one before says little about
    tomorrow.  ``series`` says how records make bars (default: a record is a bar).
    """
    grid = panel(history, series or SeriesSpec(columns=_columns(history, {}), freq=history.freq_ms))
    level_K = np.array([mean(absolute_error(y_T, mean(y_T))) or np.nan for y_T in grid.y_KT])
    best, least = 1, np.inf
    for period in (HOUR, DAY, WEEK, YEAR):
        season = period // history.freq_ms
        if period % history.freq_ms or not 1 < season <= min(LONGEST_SEASON, grid.y_KT.shape[1] // 3):
            continue
        error = _error_of_repeating(season, horizon, grid.y_KT, level_K)
        if error < least:
            best, least = season, error
    return best


def _error_of_repeating(season: int, horizon: int, y_KT: Floats, level_K: Floats) -> float:
    """Return the mean error of seasonal naive over a horizon, in units of each series' mean absolute deviation.

    Step h is forecast by the bar h before it, rounded up to whole seasons.
    """
    most = max(min(-(-horizon // season), y_KT.shape[1] // (2 * season)), 1)
    steps = [min(season, horizon - before * season) for before in range(most)]
    errors = [
        mean(seasonal_error(y_KT, back) / level_K[:, None]) for back in range(season, (most + 1) * season, season)
    ]
    return float(np.average(errors, weights=steps))


def _columns(history: History, aggregates: Mapping[str, Aggregate]) -> tuple[Column, ...]:
    if unknown := set(aggregates) - set(history.columns):
        raise HistoryError(
            f"aggregates are given for {', '.join(sorted(unknown))}; the history has {', '.join(history.columns)}"
        )
    return tuple(
        Column(name=name, categories=history.categories.get(name), aggregate=aggregates.get(name))
        for name in history.columns
    )


def _calendar(history: History) -> tuple[Period, ...]:
    span = int(history.ts_N[-1] - history.ts_N[0])
    periods: tuple[Period, ...] = ("hour", "day", "week", "year")
    return tuple(p for p in periods if CALENDAR_MS[p] > history.freq_ms and (p != "year" or span > 1.5 * YEAR))


def _longest(history: History) -> int:
    """Return the most bars with records of any series."""
    bar_N = history.ts_N // history.freq_ms
    span = int(bar_N[-1] - bar_N[0]) + 1
    places = np.unique(history.series_N.astype(np.int64) * span + (bar_N - bar_N[0]))
    return int(np.bincount(places // span).max())
