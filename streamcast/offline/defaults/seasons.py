"""The seasons of a new model: the ones that forecast best in hindsight, or those that were given, in bars.

Legend: K series, T bars.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from streamcast.errors import HistoryError, Option
from streamcast.offline.defaults.series import samples
from streamcast.offline.evaluation.accuracy import Floats, absolute_error, mean
from streamcast.offline.evaluation.baselines import seasonal_error
from streamcast.offline.history.bars import panel
from streamcast.offline.history.read import History
from streamcast.spec.calendar_bars import Grid, parse_step
from streamcast.spec.durations import DAY_MS, HOUR_MS, WEEK_MS
from streamcast.spec.model_spec import MOST_SEASON, SEASON_IN_WORDS, SeriesSpec, bar_name, parse_duration
from streamcast.stages import stage

YEAR_MS = 365 * DAY_MS
LONGEST_SEASON = 2_016
MOST_REPEATS = 24
"""Multiples of a season that its error over a horizon is measured at; beyond, they are spread."""
MOST_DRIFT = 0.15
"""A season may end so many bars beside the period that it stands for: a year is 52 weeks and a day."""
NEARLY_AS_GOOD = 1.03
"""A week is a second season beside a day if its repetition is at most so many times as wrong."""
FEWEST_YEARS = 2.5
"""How many years the longest series has at least, where a model of days or weekdays reads earlier years."""


@stage("choosing the seasons")
def seasons(history: History, series: SeriesSpec | None = None, horizon: int = 1) -> tuple[int, ...]:
    """Return season lengths in bars, the one whose repetition forecasts best first; (1,) if none fits three times.

    Hour, day, week and year are tried, but no year where days or weeks are whole bars: it would replace them, and
    models of days read it beside their seasons (``ModelSpec.further``).  Beside a week comes the day; beside a day
    comes the week if its repetition is about as good.  The last whole season is repeated over the horizon, and over a
    day at least: the last hour is the best to repeat for a while, also where every day is alike.  ``series`` says how
    records make bars (default: a record is a bar).
    """
    periods = _whole_periods(history.freq_ms)
    tried = [n for n, period in periods.items() if period < YEAR_MS] or list(periods)
    errors = _errors_of_repeating(tried, history, series, max(horizon, DAY_MS // history.freq_ms))
    if not errors:
        return (1,)
    best, day, week = min(errors, key=errors.__getitem__), DAY_MS // history.freq_ms, WEEK_MS // history.freq_ms
    if best == week and day in errors:
        return (week, day)
    if best == day and errors.get(week, np.inf) <= NEARLY_AS_GOOD * errors[day]:
        return (day, week)
    return (best,)


def untried(history: History) -> list[int]:
    """Return the periods, in bars, that are no season of a new model only because the history holds none three times.

    It holds each once, and a part of the next.
    """
    return [n for n in _whole_periods(history.freq_ms) if n <= LONGEST_SEASON and n < history.bars < 3 * n]


@stage("choosing the seasons")
def naive(history: History, series: SeriesSpec, horizon: int, chosen: tuple[int, ...], *, given: bool) -> int | None:
    """Return how many bars back the simple forecast reads that is the best over the horizon; None for a first season.

    1 is the last value.  A model reads days, and is compared with the last hour, the last year or the last value where
    that is harder to beat.  Where the seasons were ``given``, no others are tried.
    """
    tried = chosen if given else (*chosen, *_whole_periods(history.freq_ms))
    errors = _errors_of_repeating((*tried, 1), history, series, horizon)
    if chosen[0] not in errors:  # a season that was given, and does not fit three times
        return None
    best = min(errors, key=lambda season: (errors[season], season != chosen[0]))
    return None if best == chosen[0] else best


def further(history: History, bars: int, chosen: Sequence[int]) -> tuple[int, ...]:
    """Return a year of whole weeks, where bars are days or weekdays and the longest series has ``bars`` for it.

    None where a season is as long already.
    """
    year = _year_of_weeks(history.freq_ms)
    return (year,) if year and bars >= FEWEST_YEARS * year and max(chosen) < year else ()


def in_bars(season: int | str | Sequence[int | str], grid: Grid) -> tuple[int, ...]:
    """Return seasons in bars; a year of months is 12.

    Raises HistoryError for none, and for one that is no duration above 0 or no whole number of bars.
    """
    given = (season,) if isinstance(season, int | str) else tuple(season)
    if not given:
        raise HistoryError(Option.SEASON, " is empty: name at least one season, or leave it out to have it chosen")
    found = []
    for one in given:
        step = parse_step(one) if isinstance(one, str) else None
        try:
            length = step.freq if step else one * grid.freq if isinstance(one, int) else parse_duration(one)
        except ValueError:
            length = 0
        if length < 1:
            raise HistoryError(Option.SEASON, f" is {one!r}: expected {SEASON_IN_WORDS}, such as 24 or 1d")
        if length % grid.freq:
            wrong = f" {one} is no whole number of bars of {bar_name(grid)}: "
            if step and (near := _near(length, grid.freq)):
                raise HistoryError(Option.SEASON, f"{wrong}write {' or '.join(near)}")
            if length > MOST_SEASON * grid.freq:
                raise HistoryError(
                    Option.SEASON, f"{wrong}a season has at most {MOST_SEASON:,}. Choose a longer ", Option.FREQ,
                    ", or leave it out",
                )  # fmt: skip
            raise HistoryError(
                Option.SEASON, f"{wrong}choose a ", Option.FREQ, " that divides it, or give the season in bars"
            )
        found.append(length // grid.freq)
    return tuple(dict.fromkeys(found))


def _near(length: int, freq: int) -> list[str]:
    """Return about how many bars a year or some months are, in words: whole weeks, and whole days (or bars)."""
    weeks, by_day = length // WEEK_MS, freq <= DAY_MS and DAY_MS % freq == 0
    whole = {length // DAY_MS * DAY_MS // freq if by_day else round(length / freq): ""}
    if weeks and freq <= WEEK_MS and WEEK_MS % freq == 0:
        whole = {weeks * WEEK_MS // freq: f" ({weeks} weeks)" if freq < WEEK_MS else ""} | whole
    return [f"{bars}{said}" for bars, said in whole.items() if 1 < bars <= MOST_SEASON]


def _year_of_weeks(freq: int) -> int | None:
    """Return 52 weeks in bars of ``freq`` ms, where bars are days or weekdays."""
    week, rest = divmod(WEEK_MS, freq)
    return YEAR_MS // WEEK_MS * week if freq >= DAY_MS and week > 1 and not rest else None


def _whole_periods(freq: int) -> dict[int, int]:
    """Return hour, day, week and year by their bars of ``freq`` ms, where those are whole numbers of more than one."""
    lengths = {round(period / freq): period for period in (HOUR_MS, DAY_MS, WEEK_MS, YEAR_MS)}
    return {n: period for n, period in lengths.items() if n > 1 and abs(n * freq - period) <= MOST_DRIFT * freq}


def _errors_of_repeating(
    seasons: Iterable[int], history: History, series: SeriesSpec | None, horizon: int
) -> dict[int, float]:
    """Return the error of repeating each season over a horizon, of those that fit three times."""
    grid = panel(history, series or samples(history))
    level_K = np.array([mean(absolute_error(y_T, mean(y_T))) or np.nan for y_T in grid.y_KT])
    longest = min(LONGEST_SEASON, grid.y_KT.shape[1] // 3)
    errors = {
        season: _error_of_repeating(season, horizon, grid.y_KT, level_K) for season in seasons if season <= longest
    }
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
