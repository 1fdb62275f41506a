"""The grid of bars that a history shows: how long a bar is, and where bars start.

Shapes: N rows, in order of time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from streamcast.errors import HistoryError
from streamcast.spec.model_spec import format_duration, parse_duration

SECOND, MINUTE, HOUR, DAY, WEEK = 1_000, 60_000, 3_600_000, 86_400_000, 604_800_000
MEANT = (
    *(n * unit for unit in (SECOND, MINUTE) for n in (1, 2, 5, 10, 15, 20, 30)),
    *(n * HOUR for n in (1, 2, 3, 4, 6, 8, 12)), DAY, WEEK,
)  # fmt: skip
"""Bar lengths that people mean when steps scatter around them."""
SCATTER = 0.02
MOST, SOME = 0.95, 0.1
"""Bars start where most rows do; a place that some rows share exactly is a start."""
CALENDAR = (("months", 28, 31, 12), ("quarters", 90, 92, 4), ("half-years", 181, 184, 2), ("years", 365, 366, 1))
"""Calendar steps: their name, their days, and how many make a year."""
MOST_BARS, MOST_BARS_A_ROW = 20_000_000, 1_000
"""A history with more bars than both, the second for each row, holds a time that a clock got wrong."""


@dataclass
class Grid:
    """Bars start at ``offset_ms`` + k·``freq_ms``; ``notes`` are guesses, ``changes`` what the grid does to rows."""

    freq_ms: int
    offset_ms: int = 0
    notes: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)


def grid_of(
    keys: Sequence[str], series_N: NDArray[np.int32], ts_N: NDArray[np.int64], freq: str | int | None,
    offset_ms: int | None,
) -> Grid:  # fmt: skip
    """Return the grid of samples; ``freq`` and ``offset_ms`` are guessed where they are None.

    Raises HistoryError for calendar steps, and when the bar length cannot be guessed.
    """
    steps = _steps(series_N, ts_N)
    median = int(np.median(steps)) if len(steps) else None
    grid = Grid(_guessed(steps) if freq is None else bar_length(freq))
    if len(steps) and offset_ms is None and (freq is None or grid.freq_ms >= 28 * DAY):
        _refuse_calendar(steps)
    if freq is None and grid.freq_ms == median:
        grid.notes.append(f"freq {format_duration(median)} was guessed: it is the median step")
    elif freq is None:
        grid.notes.append(f"freq {format_duration(grid.freq_ms)} was guessed: steps scatter around it")
    elif median is not None and median != grid.freq_ms:
        grid.notes.append(f"the median step is {format_duration(median)}, not {format_duration(grid.freq_ms)}")
    if offset_ms is not None:
        grid.offset_ms = offset_ms
    elif median is not None and 2 * median >= grid.freq_ms:
        grid.offset_ms = _start(ts_N % grid.freq_ms, grid.freq_ms)
        if grid.offset_ms:
            grid.notes.append(f"bars of {format_duration(grid.freq_ms)} start at times such as {_example(ts_N, grid)}")
    _mention_other_steps(keys, series_N, ts_N, grid)
    _mention_shared_bars(series_N, ts_N, grid)
    return grid


def bar_length(freq: str | int | None) -> int:
    """Return a bar length in milliseconds; raises HistoryError."""
    try:
        freq_ms = parse_duration(freq)
    except ValueError as error:
        raise HistoryError(f"freq: {error}") from None
    if freq_ms <= 0:
        raise HistoryError(f"freq is {freq!r}; expected a positive duration such as 1h")
    return freq_ms


def refuse_a_row_far_away(
    keys: Sequence[str], series_N: NDArray[np.int32], ts_N: NDArray[np.int64], freq_ms: int
) -> None:
    """Raise HistoryError if the times [N] span more bars than any clock that was set."""
    bars = ((int(ts_N[-1]) - int(ts_N[0])) // freq_ms + 1) * len(keys)
    if bars <= max(MOST_BARS, MOST_BARS_A_ROW * len(ts_N)):
        return
    last = int(np.diff(ts_N).argmax())  # before the widest step
    early = last + 1 <= len(ts_N) // 2
    astray, rest, count = (last, last + 1, last + 1) if early else (last + 1, last, len(ts_N) - last - 1)
    raise HistoryError(
        f"series {keys[series_N[astray]]!r} has a row at {_words(int(ts_N[astray]))}, far from the others"
        f" ({count:,} rows lie beyond {_words(int(ts_N[rest]))}): {bars:,} bars of {format_duration(freq_ms)} would lie"
        " between. Was a clock not set? Remove the rows, or give a longer freq"
    )


def _steps(series_N: NDArray[np.int32], ts_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the times from each row to the next of its series, where they differ."""
    order = np.argsort(series_N, kind="stable")
    steps: NDArray[np.int64] = np.diff(ts_N[order])[np.diff(series_N[order]) == 0]
    later: NDArray[np.int64] = steps[steps > 0]
    return later


def _guessed(steps: NDArray[np.int64]) -> int:
    """Return the median step, or the length that people mean where steps scatter around it."""
    if not len(steps):
        raise HistoryError("freq cannot be guessed: no series has two different times; give freq, such as 1h")
    median = int(np.median(steps))
    near = min(MEANT, key=lambda length: abs(length - median))
    scattered = np.mean(steps == median) < 0.5 and abs(near - median) <= SCATTER * near
    return near if scattered else median


def _refuse_calendar(steps: NDArray[np.int64]) -> None:
    days = np.rint(steps / DAY)
    for name, least, most, season in CALENDAR:
        inside = (days >= least) & (days <= most)
        if inside.mean() >= 0.8 and (season == 1 or len(np.unique(days[inside])) > 1):
            repeated = f" --season {season}" if season > 1 else ""
            raise HistoryError(
                f"the rows are {name} apart ({least} to {most} days): bars of calendar {name} are not supported, only"
                f" bars of one length, such as 1d or 1w. Give daily or weekly values; or number the {name} as days"
                f" (2000-01-01, 2000-01-02, ...), use freq 1d{repeated}, and read each day of a forecast as one of the"
                f" {name}"
            )


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
    if freq <= DAY and start + width < freq:
        return 0  # no row lies before the start of its bar
    for unit in (DAY, HOUR, MINUTE, SECOND):
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


def _mention_other_steps(keys: Sequence[str], series_N: NDArray[np.int32], ts_N: NDArray[np.int64], grid: Grid) -> None:
    rows = pd.Series(ts_N).groupby(series_N)
    median_K = rows.diff().groupby(series_N).median()
    slow = median_K[(median_K >= 2 * grid.freq_ms) & (rows.size() > 2)]
    if len(slow):
        grid.changes.append(
            f"{len(slow):,} of {len(keys):,} series have longer steps than bars of {format_duration(grid.freq_ms)},"
            f" such as {keys[int(slow.index[0])]!r} with {format_duration(int(slow.iloc[0]))}: the bars between count"
            " as missing. Give these series a file and a model of their own"
        )


def _mention_shared_bars(series_N: NDArray[np.int32], ts_N: NDArray[np.int64], grid: Grid) -> None:
    places = pd.DataFrame({"series": series_N, "bar": (ts_N - grid.offset_ms) // grid.freq_ms})
    if shared := int(places.duplicated().sum()):
        grid.changes.append(
            f"{shared:,} of {len(ts_N):,} rows share a bar of {format_duration(grid.freq_ms)} with an earlier row of"
            " their series, and the first counts: give a shorter freq, or ticks (--ticks) to use them all"
        )


def _example(ts_N: NDArray[np.int64], grid: Grid) -> str:
    label = (int(ts_N[-1]) - grid.offset_ms) // grid.freq_ms * grid.freq_ms + grid.offset_ms
    return f"{pd.Timestamp(label, unit='ms'):%A} {_words(label)} UTC"


def _words(time_ms: int) -> str:
    return f"{np.datetime64(time_ms, 'ms').astype('datetime64[s]')}".replace("T", " ")
