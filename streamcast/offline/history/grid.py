"""The grid of bars that a history shows: how long a bar is, and where bars start.

Shapes: N rows, in order of time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from streamcast.errors import HistoryError, Message, Option
from streamcast.spec.calendar_bars import LAST_DAY, Grid, Step, calendar_of, parse_step, resolved
from streamcast.spec.durations import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, WEEK_MS
from streamcast.spec.local_time import zone_named
from streamcast.spec.model_spec import bar_name, format_duration, parse_duration
from streamcast.wording import counted

MEANT = (
    *(n * unit for unit in (SECOND_MS, MINUTE_MS) for n in (1, 2, 5, 10, 15, 20, 30)),
    *(n * HOUR_MS for n in (1, 2, 3, 4, 6, 8, 12)), DAY_MS, WEEK_MS,
)  # fmt: skip
"""Bar lengths that people mean first when steps scatter around them."""
WHOLE = (HOUR_MS, MINUTE_MS, SECOND_MS)
"""Else they mean so many of these, such as 7 s or 3 min."""
SCATTER = 0.02
MOST, SURE, SOME = 0.95, 0.8, 0.1
"""Bars start where most rows do; a place that some rows share exactly is a start."""
MONTHS, DAYS_A_MONTH = (1, 2, 3, 6, 12), 30.44
"""Steps of the calendar that are recognised, in months."""
NAMES = re.compile(r"(\d*)\s*(?:(T|D|H|W|S)|(minute|hour|day|week)s?)", re.IGNORECASE)
UNITS = {"t": "min", "minute": "min", "hour": "h", "day": "d", "week": "w"}
"""Bar lengths as pandas and people write them: ``D``, ``5T``, ``2 weeks``."""
MOST_BARS, MOST_BARS_A_ROW = 20_000_000, 1_000
"""A history with more bars than both, the second for each row, holds a time that a clock got wrong."""

MOST_FINER = 4
"""How many times shorter bars may be advised, so that rows at several places all lie at starts."""

FEW, FAR = 0.01, 10
"""So small a share of the rows, so many times farther from the others than these span, may be of such a clock, too."""


@dataclass
class Found:
    """The grid of a history; ``notes`` are guesses, ``changes`` what the grid does to rows."""

    grid: Grid
    notes: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)

    @property
    def bar(self) -> str:
        """What a bar is, in words."""
        return bar_name(self.grid)


def grid_of(
    keys: Sequence[str], series_N: NDArray[np.int32], ts_N: NDArray[np.int64], freq: str | int | None, timezone: str,
    uncut_ms: float | None = None,
) -> Found:  # fmt: skip
    """Return the grid of samples; ``freq`` is guessed where it is None, and ``timezone`` is that of days and months.

    ``uncut_ms`` is the median step before times were cut to milliseconds, if they were.  Raises HistoryError when the
    bar length cannot be guessed, and for one that stands for months.
    """
    steps = _steps(series_N, ts_N)
    median = _median(steps) if len(steps) else None
    apart = _months_apart(series_N, ts_N)
    step = _given_step(freq) if freq is not None else apart
    cut = f"the median step is {uncut_ms or 0:g} ms, and times are cut to milliseconds"
    if freq is None and median is None and uncut_ms is not None:
        raise HistoryError(
            Option.FREQ, f" cannot be guessed: {cut}. Give it, such as 1s, with ", Option.TICKS, " to use all rows"
        )
    found = Found(Grid(step.freq if step else _guessed(steps) if freq is None else bar_length(freq)))
    if freq is None and step is not None:
        found.notes.append(f"bars of {step.name} were guessed from the steps between rows")
    elif freq is None and uncut_ms is not None and abs(found.grid.freq - uncut_ms) > SCATTER * found.grid.freq:
        found.notes.append(Message(Option.FREQ, f" {format_duration(found.grid.freq)} was guessed: {cut}"))
    elif freq is None and found.grid.freq == median:
        found.notes.append(Message(Option.FREQ, f" {format_duration(median)} was guessed: it is the median step"))
    elif freq is None:
        guess = format_duration(found.grid.freq)
        found.notes.append(Message(Option.FREQ, f" {guess} was guessed: steps scatter around it"))
    elif median is not None and median != found.grid.freq and (step is None or step.unit == "day"):
        found.notes.append(f"the median step is {format_duration(median)}, not {found.bar}")
    if step is None and found.grid.freq >= 28 * DAY_MS and apart is not None:
        raise HistoryError(
            Option.FREQ, f" is {format_duration(found.grid.freq)}, but the rows are {apart.name} apart: leave it out,"
            f" or give {apart.count}MS for bars of {apart.name}",
        )  # fmt: skip
    long = median is not None and 2 * median >= found.grid.freq
    found.grid = _placed(step, found.grid.freq, ts_N, timezone, shown=long)
    if found.grid.offset or found.grid.calendar:
        found.notes.append(f"bars of {found.bar} start at times such as {_example(ts_N, found.grid, timezone)}")
    _mention_weekends(ts_N, found, timezone)
    _mention_other_steps(keys, series_N, ts_N, found)
    _mention_shared_bars(series_N, ts_N, found)
    if found.grid.calendar:
        _mention_places(ts_N, found)
    else:
        _mention_other_places(keys, series_N, ts_N, found)
    return found


def grid_of_ticks(ts_N: NDArray[np.int64], freq: str | int | None, timezone: str) -> Grid:
    """Return the grid of readings: bars start where days, months and years of the zone do, or at multiples of freq.

    Raises HistoryError.
    """
    step = None if freq is None else _given_step(freq)
    return _placed(step, step.freq if step else bar_length(freq), ts_N, timezone, shown=False)


def grid_of_model(grid: Grid, keys: Sequence[str], series_N: NDArray[np.int32], ts_N: NDArray[np.int64]) -> Found:
    """Return the grid of an existing model, with what it does to samples."""
    found = Found(grid)
    _mention_other_steps(keys, series_N, ts_N, found, of_model=True)
    _mention_shared_bars(series_N, ts_N, found)
    _mention_places(ts_N, found)
    return found


def require_bars_of(grid: Grid, freq: str | int | None) -> None:
    """Raise HistoryError for a bar length or step of the calendar, if one is given, that is not a model's."""
    if freq is None:
        return
    step = _given_step(freq)
    if (step.freq if step else bar_length(freq)) != grid.freq:
        raise HistoryError(
            Option.FREQ, f" is {freq}, and the model has bars of {bar_name(grid)}: leave ", Option.FREQ, " out"
        )


def without_rows(freq: str) -> Grid:
    """Return the grid of a bar length or a step of the calendar, from 1970 on, in UTC; raises HistoryError."""
    now = np.datetime64("2026-01-01", "ms").astype(np.int64)
    return grid_of_ticks(np.array([0, now]), freq, "UTC")


def bar_length(freq: str | int | None) -> int:
    """Return a bar length in milliseconds; raises HistoryError."""
    if isinstance(freq, str) and (named := NAMES.fullmatch(freq.strip())):
        unit = (named[2] or named[3]).lower()
        freq = f"{named[1] or 1}{UNITS.get(unit, unit)}"
    try:
        freq_ms = parse_duration(freq)
    except ValueError as error:
        raise HistoryError(Option.FREQ, f": {error}; or a step of the calendar, such as MS or W-MON") from None
    if freq_ms <= 0:
        raise HistoryError(Option.FREQ, f" is {freq!r}; expected a positive duration such as 1h")
    return freq_ms


def refuse_a_row_far_away(
    keys: Sequence[str], series_N: NDArray[np.int32], ts_N: NDArray[np.int64], found: Found
) -> None:
    """Raise HistoryError if the times [N] span more bars than any clock that was set; mention fewer that may be."""
    if len(ts_N) < 2 or ts_N[0] == ts_N[-1]:
        return
    bars = ((int(ts_N[-1]) - int(ts_N[0])) // found.grid.freq + 1) * len(keys)
    steps = np.diff(ts_N)
    last = int(steps.argmax())  # before the widest step
    early = last + 1 <= len(ts_N) // 2
    astray, rest, count = (last, last + 1, last + 1) if early else (last + 1, last, len(ts_N) - last - 1)
    said = (
        f"series {keys[series_N[astray]]!r} has a row at {_words(int(ts_N[astray]))}, far from the others"
        f" ({counted(count, 'row')} beyond {_words(int(ts_N[rest]))})"
    )
    far = steps[last] > FAR * _median(steps[steps > 0])
    if bars > max(MOST_BARS, MOST_BARS_A_ROW * len(ts_N)) and not far:
        raise HistoryError(
            f"{bars:,} bars of {found.bar} would lie between {_words(int(ts_N[0]))} and {_words(int(ts_N[-1]))}, and"
            f" there are {len(ts_N):,} rows: train with a longer ", Option.FREQ,
        )  # fmt: skip
    if bars > max(MOST_BARS, MOST_BARS_A_ROW * len(ts_N)):
        raise HistoryError(
            f"{said}: {bars:,} bars of {found.bar} would lie between. Was a clock not set? Remove the rows, or train"
            " with a longer ", Option.FREQ,
        )  # fmt: skip
    span = int(ts_N[-1] - ts_N[rest]) if early else int(ts_N[rest] - ts_N[0])
    if count <= FEW * len(ts_N) and steps[last] > FAR * span:
        found.changes.append(f"{said}: was a clock not set? If so, remove the rows")


def refuse_longer_steps(series_N: NDArray[np.int32], ts_N: NDArray[np.int64], grid: Grid) -> None:
    """Raise HistoryError if no series has rows in two bars that follow each other: most outcomes would miss."""
    bars = _steps(series_N, grid.bar(ts_N))
    if len(bars) and bars.min() > 1:
        median, bar = format_duration(_median(_steps(series_N, ts_N))), bar_name(grid)
        raise HistoryError(
            f"the median step between rows is {median}, and the model has bars of {bar}: no row lies in the bar after"
            f" another one, so most forecasts would have no outcome. Give rows of every {bar}, or train a new model on"
            " these"
        )


def uncut_step(series_N: NDArray[np.int32], ts_N: NDArray[np.int64], below_N: NDArray[np.int64]) -> float | None:
    """Return the median step in milliseconds of times with nanoseconds below them; None where no series has two."""
    order = np.lexsort((below_N, ts_N, series_N))
    steps = (np.diff(ts_N[order]) + np.diff(below_N[order]) / 1e6)[np.diff(series_N[order]) == 0]
    return float(np.quantile(steps[steps > 0], 0.5, method="lower")) if (steps > 0).any() else None


def _given_step(freq: str | int) -> Step | None:
    return parse_step(freq) if isinstance(freq, str) else None


def _steps(series_N: NDArray[np.int32], ts_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the times (or bars) from each row to the next of its series, where they differ."""
    order = np.argsort(series_N, kind="stable")
    steps: NDArray[np.int64] = np.diff(ts_N[order])[np.diff(series_N[order]) == 0]
    later: NDArray[np.int64] = steps[steps > 0]
    return later


def _median(steps: NDArray[np.int64]) -> int:
    """Return the median step: one that occurs, the shorter of two in the middle."""
    return int(np.quantile(steps, 0.5, method="lower"))


def _guessed(steps: NDArray[np.int64]) -> int:
    """Return the median step, or the length that people mean where steps scatter around it."""
    if not len(steps):
        raise HistoryError(Option.FREQ, " cannot be guessed: no series has two different times; give it, such as 1h")
    median = _median(steps)
    if np.mean(steps == median) >= 0.5:
        return median
    nearest = min(MEANT, key=lambda length: abs(length - median))
    meant = (nearest, *(round(median / unit) * unit for unit in WHOLE))
    return next((length for length in meant if abs(length - median) <= SCATTER * length), median)


def _months_apart(series_N: NDArray[np.int32], ts_N: NDArray[np.int64]) -> Step | None:
    """Return so many months if most rows are in the month so many after that of the row before, and days differ."""
    order = np.argsort(series_N, kind="stable")
    dates_N = (ts_N[order] // DAY_MS).astype("datetime64[D]")
    later = (np.diff(series_N[order]) == 0) & (np.diff(ts_N[order]) > 0)
    days = np.diff(dates_N.astype(np.int64))[later]
    months = np.diff(dates_N.astype("datetime64[M]").astype(np.int64))[later]
    for count in MONTHS if len(days) else ():
        near = np.abs(days - count * DAYS_A_MONTH) <= count * DAYS_A_MONTH / 4
        lengths = np.unique(days[near])
        differ = len(lengths) > 1 or (count == 12 and lengths.tolist() in ([365], [366]))
        if differ and np.mean(near & (months == count)) >= SURE:
            return Step("month", count)
    return None


def _placed(step: Step | None, freq_ms: int, ts_N: NDArray[np.int64], timezone: str, *, shown: bool) -> Grid:
    """Return the grid of bars that start where the rows are, if their places are ``shown``.

    Else they start with the day, the week (on Monday), the month or the year.  Days are local ones.
    """
    if step is None and freq_ms % DAY_MS:
        return Grid(freq_ms, _start(ts_N % freq_ms, freq_ms) if shown else 0)
    step = step or Step("day", freq_ms // DAY_MS)
    step = resolved(_shown(step, _local(ts_N, timezone)) if shown else step)
    calendar = calendar_of(step, timezone, int(ts_N.min()), int(ts_N.max()))
    if len(calendar.lengths) == 1:
        return Grid(step.freq, calendar.start % step.freq)
    return Grid(step.freq, step.offset, calendar)


def _shown(step: Step, local_N: NDArray[np.int64]) -> Step:
    """Return a step with what it leaves open taken from the local times of the rows."""
    if step.unit == "day" and step.phase is None:
        phase, time_ms = divmod(_start(local_N % step.freq, step.freq), DAY_MS)
        return replace(step, phase=phase, time_ms=time_ms)
    time_ms, share = _most_common(local_N % DAY_MS)
    if share >= MOST:
        step = replace(step, time_ms=time_ms)
    if step.unit == "month":
        dates_N = (local_N // DAY_MS).astype("datetime64[D]")
        months_N = dates_N.astype("datetime64[M]")
        if step.day is None:
            day, weekdays = _day_of_month(dates_N, months_N)
            step = replace(step, day=day, weekdays=weekdays)
        if step.phase is None:
            step = replace(step, phase=_most_common(months_N.astype(np.int64) % step.count)[0])
    return step


def _day_of_month(dates_N: NDArray[np.datetime64], months_N: NDArray[np.datetime64]) -> tuple[int, bool]:
    """Return the day of the month that most rows have, and whether it is the nearest weekday; the first if none is."""
    begins_N, ends_N = months_N.astype("datetime64[D]"), (months_N + 1).astype("datetime64[D]") - 1
    common = _most_common((dates_N - begins_N).astype(np.int64) + 1)[0]
    for day in (common, LAST_DAY, 30, 29):
        if np.mean(dates_N == np.minimum(begins_N + (day - 1), ends_N)) >= MOST:
            return day, False
    if np.mean(dates_N == np.busday_offset(begins_N, 0, roll="forward")) >= MOST:
        return 1, True
    if np.mean(dates_N == np.busday_offset(ends_N, 0, roll="backward")) >= MOST:
        return LAST_DAY, True
    return 1, False


def _most_common(values_N: NDArray[np.int64]) -> tuple[int, float]:
    """Return the most common value, and its share."""
    values, counts = np.unique(values_N, return_counts=True)
    return int(values[counts.argmax()]), float(counts.max() / len(values_N))


def _local(ts_N: NDArray[np.int64], timezone: str) -> NDArray[np.int64]:
    """Return local times in milliseconds since 1970-01-01T00:00 local time."""
    if timezone == "UTC":
        return ts_N
    utc = pd.DatetimeIndex(ts_N.astype("datetime64[ms]")).tz_localize("UTC")
    local = utc.tz_convert(zone_named(timezone)).tz_localize(None)
    return local.to_numpy().astype("datetime64[ms]").astype(np.int64)


def _start(phase_N: NDArray[np.int64], freq: int) -> int:
    """Return where bars start, after multiples of ``freq``: 0 unless most rows show another place."""
    phase_N = np.sort(phase_N)
    start, width = _arc(phase_N, freq, MOST)
    if width > freq // 2:
        return 0
    if np.mean(phase_N == start) >= SOME:
        return start
    start_of_all, width_of_all = _arc(phase_N, freq, 1.0)
    if width_of_all <= freq // 2:
        start, width = start_of_all, width_of_all
    if freq <= DAY_MS and start + width < freq:
        return 0  # no row lies before the start of its bar
    for unit in (DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS):
        whole = start // unit * unit
        if unit <= freq and start - whole + width < freq:
            return whole % freq
    return start


def _arc(phase_N: NDArray[np.int64], freq: int, share: float) -> tuple[int, int]:
    """Return start and width of the shortest part of a bar that holds this share of the rising places [N]."""
    n = len(phase_N)
    most = int(np.ceil(share * n))
    ring = np.concatenate([phase_N, phase_N + freq])
    widths = ring[most - 1 : most - 1 + n] - ring[:n]
    return int(phase_N[widths.argmin()]), int(widths.min())


def _mention_weekends(ts_N: NDArray[np.int64], found: Found, timezone: str) -> None:
    if found.grid.freq == DAY_MS and len(ts_N) >= 14 and ((_local(ts_N, timezone) // DAY_MS + 3) % 7 < 5).all():
        found.notes.append(Message(
            "no row lies on a Saturday or a Sunday, whose bars count as missing: with ", Option.FREQ,
            " B, bars are weekdays, and forecasts leave weekends out",
        ))  # fmt: skip


def _mention_other_steps(
    keys: Sequence[str], series_N: NDArray[np.int32], ts_N: NDArray[np.int64], found: Found, *, of_model: bool = False
) -> None:
    """Say so where series have most rows two bars or more apart: some of them, or all of them."""
    rows = pd.Series(ts_N).groupby(series_N)
    median_K = rows.diff().groupby(series_N).quantile(0.5, interpolation="lower")
    slow = median_K[(median_K >= 2 * found.grid.freq) & (rows.size() > 2)]
    if slow.empty:
        return
    length = format_duration(int(slow.iloc[0]))
    if len(slow) < len(keys):
        found.changes.append(
            f"{len(slow):,} of {len(keys):,} series {'has' if len(slow) == 1 else 'have'} longer steps than bars of"
            f" {found.bar}, such as {keys[int(slow.index[0])]!r} with {length}: the bars between count as missing. Give"
            " these series a file and a model of their own"
        )
        return
    steps = _steps(series_N, ts_N)
    said = (
        f"rows are {format_duration(_median(steps))} apart, and bars are {found.bar}: the bars between count as missing"
    )
    found.changes.append(
        f"{said}. Give rows of every {found.bar}, or train a new model on these"
        if of_model
        else Message(f"{said}. Give ", Option.FREQ, f" {format_duration(_guessed(steps))}, or leave it out")
    )


def _mention_shared_bars(series_N: NDArray[np.int32], ts_N: NDArray[np.int64], found: Found) -> None:
    bar_N = found.grid.bar(ts_N)
    shared = int(pd.DataFrame({"series": series_N, "bar": bar_N}).duplicated().sum())
    if not shared:
        return
    said = (
        f"{shared:,} of {len(ts_N):,} rows share a bar of {found.bar} with an earlier row of their series, and the"
        " first counts: a model trained with "
    )
    if found.grid.calendar is None and 2 * _median(_steps(series_N, ts_N)) > found.grid.freq:
        bar = format_duration(found.grid.freq)  # a shorter one would leave most bars empty
        found.changes.append(Message(said, Option.TICKS, " and ", Option.FREQ, f" {bar} uses all"))
        return
    found.changes.append(Message(said, "a shorter ", Option.FREQ, ", or with ", Option.TICKS, ", uses all"))


def _mention_places(ts_N: NDArray[np.int64], found: Found) -> None:
    """Say so where rows do not lie at the start of their bars, and warn where all lie at one other place."""
    start_N = found.grid.start(found.grid.bar(ts_N))
    later_N = ts_N - start_N
    if not (beside := int((later_N > 0).sum())):
        return
    if later_N.min() == later_N.max():
        found.changes.append(
            f"no row lies at the start of its bar of {found.bar}, all lie {format_duration(int(later_N[0]))} after it,"
            f" such as {_words(int(ts_N[-1]))} in the bar of {_words(int(start_N[-1]))} UTC: forecasts carry the starts"
            " of bars, so their times are not those of these rows"
        )
        return
    found.notes.append(
        f"{beside:,} of {len(ts_N):,} rows do not lie at the start of their bar of {found.bar}: forecasts carry the"
        " starts of bars"
    )


def _mention_other_places(
    keys: Sequence[str], series_N: NDArray[np.int32], ts_N: NDArray[np.int64], found: Found
) -> None:
    """Say so where series have rows at one place after the starts of bars; readings that scatter have no one place."""
    later_N = ts_N - found.grid.start(found.grid.bar(ts_N))
    rows = pd.Series(later_N).groupby(series_N)
    place_K = rows.median()
    share_K = pd.Series(later_N == place_K.reindex(series_N).to_numpy()).groupby(series_N).mean()
    beside = place_K[(place_K > 0) & (share_K >= MOST) & (rows.size() > 2)].astype(np.int64)
    if beside.empty:
        return
    finer, freq = math.gcd(found.grid.freq, *beside), found.grid.freq
    which = f"{len(beside):,} of {len(keys):,} series {'has' if len(beside) == 1 else 'have'}"
    said = (
        f"{which} rows after the starts of bars of {found.bar}, such as {keys[int(beside.index[0])]!r} with"
        f" {format_duration(int(beside.iloc[0]))}: forecasts carry the starts of bars, so their times are not those of"
        " these rows. Give these series a file and a model of their own"
    )
    if finer * MOST_FINER < freq:
        found.notes.append(said)
        return
    found.notes.append(Message(
        f"{said}; or give ", Option.FREQ, f" {format_duration(finer)}: the bars between then count as missing, as a"
        " warning will say",
    ))  # fmt: skip


def _example(ts_N: NDArray[np.int64], grid: Grid, timezone: str) -> str:
    label = grid.start(grid.bar(int(ts_N[-1])))
    shown = int(_local(np.array([label]), timezone)[0]) if grid.calendar else label
    return f"{pd.Timestamp(shown, unit='ms'):%A} {_words(shown)} {timezone if grid.calendar else 'UTC'}"


def _words(time_ms: int) -> str:
    return f"{np.datetime64(time_ms, 'ms').astype('datetime64[s]')}".replace("T", " ")
