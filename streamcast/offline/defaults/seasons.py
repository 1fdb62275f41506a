"""The seasons of a new model: the ones that forecast best in hindsight, or those that were given, in bars.

Legend: K series, T bars.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from streamcast.errors import HistoryError, Option
from streamcast.offline.defaults.cycles import cycle, judged_over
from streamcast.offline.defaults.repeating import LAST_VALUE, LONGEST_SEASON, errors_of_repeating
from streamcast.offline.defaults.series import samples
from streamcast.offline.history.bars import panel
from streamcast.offline.history.read import History
from streamcast.spec.calendar_bars import Grid, parse_step
from streamcast.spec.durations import DAY_MS, HOUR_MS, WEEK_MS
from streamcast.spec.model_spec import MOST_SEASON, SEASON_IN_WORDS, SeriesSpec, bar_name, parse_duration
from streamcast.stages import stage

YEAR_MS = 365 * DAY_MS
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
    day at least: the last hour is the best to repeat for a while, also where every day is alike.

    A cycle of the values that is clearly better to repeat comes first, see ``cycles``; those of the calendar come
    beside it if they are better to repeat than the last value.  ``series`` says how records make bars (default: a
    record is a bar).
    """
    y_KT = panel(history, series or samples(history)).y_KT
    tried, span = _tried(history.freq_ms), _span(history.freq_ms, horizon)
    errors = errors_of_repeating((*tried, LAST_VALUE), y_KT, span)
    last = errors.pop(LAST_VALUE, np.inf)
    calendar = _of_calendar(errors, history.freq_ms)
    found = cycle(y_KT, tried, _cycle_span(history.freq_ms, horizon), _longest_cycle(history.freq_ms))
    if found is None:
        return calendar or (LAST_VALUE,)
    return (found, *calendar) if calendar and errors[calendar[0]] < last else (found,)


def _of_calendar(errors: Mapping[int, float], freq: int) -> tuple[int, ...]:
    """Return the season with the smallest error, and the day or week beside it; none if none was tried."""
    if not errors:
        return ()
    best, day, week = min(errors, key=errors.__getitem__), DAY_MS // freq, WEEK_MS // freq
    if best == week and day in errors:
        return (week, day)
    if best == day and errors.get(week, np.inf) <= NEARLY_AS_GOOD * errors[day]:
        return (day, week)
    return (best,)


class Gain(NamedTuple):
    """How much smaller the error of repeating a season is, as a share, and than that of repeating which other."""

    share: float
    other: int


def gain(history: History, series: SeriesSpec, horizon: int, season: int) -> Gain | None:
    """Return how a season that was chosen compares with the last value; one of no calendar also with the calendar's.

    None where there are no errors to compare.
    """
    y_KT, tried = panel(history, series).y_KT, _tried(history.freq_ms)
    if season in tried:
        errors = errors_of_repeating((season, LAST_VALUE), y_KT, _span(history.freq_ms, horizon))
    else:
        span = judged_over(season, _cycle_span(history.freq_ms, horizon))
        errors = errors_of_repeating((season, *tried, LAST_VALUE), y_KT, span)
    error = errors.pop(season, np.inf)
    other = min(errors, key=errors.__getitem__, default=LAST_VALUE)
    if not (np.isfinite(error) and 0.0 < errors.get(other, 0.0) < np.inf):
        return None
    return Gain(1.0 - error / errors[other], other)


def of_calendar(season: int, freq: int) -> bool:
    """Return whether a season in bars of ``freq`` ms is an hour, a day, a week or a year, as those are tried."""
    return season in _tried(freq)


def fitting(history: History) -> list[int]:
    """Return the seasons of the calendar, in bars, that the history holds three times, so that they are tried."""
    return [n for n in _tried(history.freq_ms) if n <= LONGEST_SEASON and 3 * n <= history.bars]


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
    errors = errors_of_repeating((*tried, LAST_VALUE), panel(history, series).y_KT, horizon)
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


def _tried(freq: int) -> list[int]:
    """Return the seasons of the calendar that may be chosen: no year where days or weeks are whole bars."""
    periods = _whole_periods(freq)
    return [n for n, period in periods.items() if period < YEAR_MS] or list(periods)


def _span(freq: int, horizon: int) -> int:
    return max(horizon, DAY_MS // freq)


def _cycle_span(freq: int, horizon: int) -> int:
    """Return the bars over which a cycle is judged: a day counts only where it could be a season."""
    return _span(freq, horizon) if DAY_MS // freq <= LONGEST_SEASON else horizon


def _longest_cycle(freq: int) -> int:
    """Return a third of a year where shorter seasons of the calendar were tried: longer cycles are the year's."""
    return YEAR_MS // 3 // freq if any(period < YEAR_MS for period in _whole_periods(freq).values()) else LONGEST_SEASON
