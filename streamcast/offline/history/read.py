"""Reading a history: CSV, Parquet or a data frame becomes columns, which can be split by time.

Shapes: N rows (observations), C columns (the target first), K series.
Times are epoch milliseconds.  ``History.notes`` lists everything that was guessed in reading, ``History.changes`` what
was dropped, merged or read as something else.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from streamcast.errors import HistoryError, Message, Option
from streamcast.offline.history.grid import (
    Found,
    bar_length,
    grid_of,
    grid_of_model,
    grid_of_ticks,
    refuse_a_row_far_away,
    require_bars_of,
    uncut_step,
)
from streamcast.offline.history.repeats import corrected
from streamcast.offline.history.sources import ids_of, load, row_counters
from streamcast.offline.history.timestamps import UTC_NAMES, TimestampError, Written, read_timestamps
from streamcast.offline.history.values import values_of
from streamcast.spec.calendar_bars import Calendar, Grid
from streamcast.spec.durations import DAY_MS, HOUR_MS
from streamcast.spec.local_time import zone_named
from streamcast.spec.model_spec import ModelSpec, bar_name
from streamcast.stages import stage
from streamcast.topics.observations import LONGEST_KEY
from streamcast.wording import counted

MOST_REPEATED = 0.5
"""Beyond this share of rows with the series and time of another one, times of day are looked for in other columns."""
_CLOCK = r"\d{1,2}:\d{2}(:\d{2})?( ?[AaPp][Mm])?"


@dataclass(frozen=True, slots=True)
class History:
    """Observations of many series as columns, in order of time, then series, then the file's own order.

    ``series_N`` are places in ``keys``.  A missing value is NaN; a category is its place in ``categories``.
    """

    keys: tuple[str, ...]
    series_N: NDArray[np.int32]
    ts_N: NDArray[np.int64]
    values_NC: NDArray[np.float64]
    columns: tuple[str, ...]
    freq_ms: int
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    offset_ms: int = 0
    calendar: Calendar | None = None
    written: Written = field(default_factory=Written)
    """How the source writes its times."""

    @property
    def grid(self) -> Grid:
        """Where bars start."""
        return Grid(self.freq_ms, self.offset_ms, self.calendar)

    @property
    def bar(self) -> str:
        """What a bar is, in words."""
        return bar_name(self.grid)

    @property
    def bars(self) -> int:
        """How many bars lie from the first row to the last one, both included."""
        return int(self.grid.bar(int(self.ts_N[-1])) - self.grid.bar(int(self.ts_N[0])) + 1)

    @property
    def last_observed_ms(self) -> int:
        """The time of the last row with a target; later ones only say what is known ahead.  Of no target, the last."""
        given_M = np.flatnonzero(~np.isnan(self.values_NC[:, 0]))
        return int(self.ts_N[given_M[-1] if len(given_M) else -1])

    def observed(self) -> History:
        """Return the observations up to the last target: later ones have nothing to learn from, and no outcome."""
        return self.between(int(self.ts_N[0]), self.last_observed_ms + 1)

    def __len__(self) -> int:
        return len(self.ts_N)

    def of_series(self, chosen_K: NDArray[np.int64]) -> History:
        """Return the observations of some series, whose places rise; categories stay."""
        mine_N = np.isin(self.series_N, chosen_K)
        return replace(
            self, keys=tuple(self.keys[k] for k in chosen_K.tolist()), ts_N=self.ts_N[mine_N],
            series_N=np.searchsorted(chosen_K, self.series_N[mine_N]).astype(np.int32),
            values_NC=self.values_NC[mine_N],
        )  # fmt: skip

    def between(self, start_ms: int, end_ms: int) -> History:
        """Return the observations with ``start_ms`` <= time < ``end_ms``; keys and categories stay."""
        first, last = np.searchsorted(self.ts_N, (start_ms, end_ms))
        part = slice(int(first), int(last))
        return replace(self, series_N=self.series_N[part], ts_N=self.ts_N[part], values_NC=self.values_NC[part])


def read(
    source: str | Path | pd.DataFrame,
    *,
    id_col: str | None = "unique_id",
    time_col: str = "ds",
    target_col: str = "y",
    columns: Sequence[str] | None = None,
    freq: str | int | None = None,
    timezone: str = "UTC",
    time_format: str | None = None,
    ticks: bool = False,
    offset_ms: int | None = None,
    calendar: Calendar | None = None,
    kinds: Mapping[str, tuple[str, ...] | None] | None = None,
    known: bool = False,
    chosen: Collection[str] = (),
) -> History:
    """Read observations; ``id_col`` None means one series, named after the target.

    ``columns`` are the inputs besides the target (default: all others, in the source's order).  ``freq`` is the bar
    length, or a step of the calendar such as ``MS`` or ``W-MON`` (default: the median step, with a note).  ``timezone``
    is the zone of naive times and of days, weeks and months.  ``time_format`` is a strftime pattern for times that are
    not ISO 8601.  ``ticks`` means raw readings, any number a bar; they need a ``freq``.  ``offset_ms`` and ``calendar``
    are where a model's bars start (default: where the rows show), and ``kinds`` has the categories of its columns, None
    for numbers: columns that a model has not are left out, with a note, unless ``columns`` names them.  ``known`` says
    that some inputs are known ahead, so that forecasts begin after the last target.  Inputs that an option names are
    ``chosen``: no note asks whether they shall be some.  Of rows with one series and time
    the last counts, unless they are ticks.
    Raises HistoryError when the source cannot be read as observations, SettingsError for an unknown time zone.
    """
    if ticks and freq is None:
        raise HistoryError(Option.FREQ, " is missing: readings do not show how long a bar is; give it, such as 1min")
    require_own_columns(id_col, time_col, target_col)
    kinds = kinds or {}
    named = [*_listed(id_col), time_col, target_col]
    texts = [*_listed(id_col), *(name for name, table in kinds.items() if table)]
    notes: list[str] = []
    changes: list[str] = []
    frame, commas = load(source, named, columns, texts, notes, changes, of_model=kinds)
    if frame.empty:
        where = "the data frame" if isinstance(source, pd.DataFrame) else str(source)
        raise HistoryError(f"{where} has columns and no rows; expected at least one observation")
    inputs = _inputs(frame, named, columns, kinds, chosen, notes, changes)
    _refuse_names(frame, [*named, *inputs])
    names = (target_col, *inputs)
    if len(set(names)) < len(names):
        raise HistoryError(
            f"the target and the inputs, {', '.join(names)}, name one column twice: leave it out of ", Option.COLUMNS
        )
    keys, series_N = _keys(frame, id_col, target_col, notes)
    try:
        ts_N, found, written, below_N = read_timestamps(frame[time_col], series_N, timezone, time_format)
    except TimestampError as error:
        raise HistoryError(f"column {time_col!r}: ", *error.args) from None
    notes += found
    if pd.DataFrame({"series": series_N, "ts": ts_N}).duplicated().mean() > MOST_REPEATED:
        _refuse_split_times(frame, time_col, inputs)
    values_NC, categories = values_of(frame, names, kinds, notes, changes, commas=commas)
    order = np.lexsort((series_N, ts_N))
    uncut_ms = None if below_N is None else uncut_step(series_N, ts_N, below_N)
    if not ticks:
        local = timezone in UTC_NAMES and not written.zoned and written.unit is None
        order = corrected(order, frame, series_N, ts_N, below_N, named, changes, local=local, zoned=written.zoned)
    series_N, ts_N, values_NC = series_N[order], ts_N[order], values_NC[order]
    own = None if offset_ms is None else Grid(bar_length(freq), offset_ms, calendar)
    found_grid = _grid(keys, series_N, ts_N, freq, timezone, own, uncut_ms, ticks=ticks)
    refuse_a_row_far_away(keys, series_N, ts_N, found_grid)
    _mention_targets(keys, series_N, values_NC[:, 0], notes, changes, known=known)
    grid = found_grid.grid
    if not ticks and not kinds:
        _mention_changing_clocks(ts_N, grid, changes, zoned=written.zoned)
    return History(
        keys, series_N, ts_N, values_NC, names, grid.freq, categories, tuple(notes + found_grid.notes),
        tuple(changes + found_grid.changes), grid.offset, grid.calendar, written,
    )  # fmt: skip


def read_as(
    spec: ModelSpec,
    source: str | Path | pd.DataFrame,
    *,
    id_col: str | None,
    time_col: str,
    target_col: str,
    columns: Sequence[str] | None = None,
    freq: str | int | None = None,
    timezone: str = "UTC",
    time_format: str | None = None,
) -> History:
    """Read observations as the series of a model: in its bars, with its categories; the rest is as in ``read``.

    Raises HistoryError, also for another ``freq`` than the model's.
    """
    series = spec.series
    require_bars_of(series.grid, freq)
    return read(
        source, id_col=id_col, time_col=time_col, target_col=target_col, columns=columns, freq=series.freq,
        timezone=timezone, time_format=time_format, ticks=series.mode == "ticks", offset_ms=series.offset,
        calendar=series.calendar, kinds=series.kinds, known=bool(spec.known_columns),
    )  # fmt: skip


def cuts(history: History, fractions: Sequence[float]) -> tuple[int, ...]:
    """Return the instants, for ``split``, that divide the rows up to the last target into parts of these fractions.

    Later rows belong to the last part, since they have no outcome.  Rows of one instant stay together.  Raises
    HistoryError when the fractions are not positive, do not sum to one, or leave a part empty.
    """
    if min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-9:
        raise HistoryError(f"fractions {tuple(fractions)} must be positive and sum to 1, such as (0.6, 0.2, 0.2)")
    known = history.observed()
    firsts = np.rint(np.cumsum(fractions)[:-1] * len(known)).astype(np.int64)
    instants = [int(known.ts_N[min(first, len(known) - 1)]) for first in firsts]
    if len({int(known.ts_N[0]), *instants}) <= len(instants):
        times = len(np.unique(known.ts_N))
        which = "of one time" if times == 1 else f"of {times:,} times, too many of one of them to be divided"
        among = " up to the last target" if len(known) < len(history) else ""
        raise HistoryError(
            f"all {len(known):,} rows{among} are {which}: training and backtests need rows of several;"
            " give more history"
        )
    return tuple(instants)


def split(history: History, instants_ms: Sequence[int]) -> list[History]:
    """Return the parts before, between and after the instants; raises HistoryError when one is empty."""
    end = int(history.ts_N[-1]) + 1
    bounds = [int(history.ts_N[0]), *instants_ms, end]
    if sorted(set(bounds)) != bounds:
        times = ", ".join(str(pd.Timestamp(instant, unit="ms", tz="UTC")) for instant in bounds)
        raise HistoryError(f"splitting at these times leaves a part empty; they must rise strictly: {times}")
    return [history.between(start, stop) for start, stop in itertools.pairwise(bounds)]


def instant_ms(text: str, timezone: str = "UTC") -> int:
    """Return the epoch milliseconds of an ISO 8601 time, read in ``timezone`` when naive.

    Raises HistoryError for a text that is no time, SettingsError for an unknown zone.
    """
    zone = zone_named(timezone)
    try:
        instant = datetime.fromisoformat(text)
        return round((instant if instant.tzinfo else instant.replace(tzinfo=zone)).timestamp() * 1_000)
    except (ValueError, OverflowError) as error:
        raise HistoryError(
            f"{text!r} is not a time: {error}; expected such as 2026-01-31 or 2026-01-31T12:00Z"
        ) from None


def require_own_columns(id_col: str | None, time_col: str, target_col: str) -> None:
    """Raise HistoryError for a column that holds two of the series' names (None: there are none), times and target."""
    named = ((Option.ID_COL, id_col), (Option.TIME_COL, time_col), (Option.TARGET_COL, target_col))
    for (one, name), (other, same) in itertools.combinations(named, 2):
        if name == same:
            single = ("; for a single series without a name, leave ", one, " empty") if one is Option.ID_COL else ()
            raise HistoryError(
                one, " and ", other, f" both name {name!r}: expected a column of its own for each", *single
            )


def _listed(name: str | None) -> list[str]:
    return [] if name is None else [name]


def _inputs(
    frame: pd.DataFrame, named: Sequence[str], columns: Sequence[str] | None,
    kinds: Mapping[str, tuple[str, ...] | None], chosen: Collection[str], notes: list[str], changes: list[str],
) -> list[str]:  # fmt: skip
    """Return the columns besides those that are ``named``: the chosen ones, those of the model, or all others."""
    if columns is not None:
        return list(columns)
    counters = row_counters(frame, [*named])
    empty = [name for name in counters if frame[name].isna().all()]
    if written := [name for name in counters if name not in empty]:
        changes.append(f"{', '.join(map(repr, written))} is left out: it is a written index, not an input")
    if empty:
        notes.append(f"{counted(len(empty), 'column')} without a name or a value: left out")
    inputs = list(frame.columns.drop([*dict.fromkeys(named), *counters]))
    if kinds:
        if others := [name for name in inputs if name not in kinds]:
            notes.append(f"{', '.join(map(repr, others))}: left out, the model was trained without")
        return [name for name in inputs if name in kinds]
    if others := [name for name in inputs if name not in chosen]:
        listed = ", ".join(map(repr, others))
        which = f"{listed} is an input" if len(others) == 1 else f"{listed} are inputs"
        notes.append(Message(f"{which} of the model: keep in ", Option.COLUMNS, " only what shall be one"))
    return inputs


@stage("finding the bars")
def _grid(
    keys: tuple[str, ...], series_N: NDArray[np.int32], ts_N: NDArray[np.int64], freq: str | int | None, timezone: str,
    own: Grid | None, uncut_ms: float | None, *, ticks: bool,
) -> Found:  # fmt: skip
    """Return the grid of rows in order of time: a model's ``own`` one, else the one that the rows show.

    ``uncut_ms`` is their median step before times were cut to milliseconds, if they were.
    """
    if own is not None:
        return Found(own) if ticks else grid_of_model(own, keys, series_N, ts_N)
    if ticks:
        return Found(grid_of_ticks(ts_N, freq, timezone))
    return grid_of(keys, series_N, ts_N, freq, timezone, uncut_ms)


def _refuse_names(frame: pd.DataFrame, names: Sequence[object]) -> None:
    """Raise HistoryError for a column whose name is no text, or which is there twice."""
    for name in names:
        if not isinstance(name, str):
            raise HistoryError(
                f"column {name!r} has a name of type {type(name).__name__}; expected a text: rename it, such as with"
                " df.rename(columns=str), or leave it out"
            )
        if (count := int((frame.columns == name).sum())) > 1:
            raise HistoryError(
                f"{count} columns are named {name!r}; expected one: rename the others, or leave them out, such as with"
                " df.loc[:, ~df.columns.duplicated()]"
            )


@stage("reading the names of series")
def _keys(
    frame: pd.DataFrame, id_col: str | None, target_col: str, notes: list[str]
) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    if id_col is None:
        return (target_col,), np.zeros(len(frame), np.int32)
    ids = frame[id_col]
    if ids.isna().any():
        row = ids.index[ids.isna()][0] + 1
        raise HistoryError(f"column {id_col!r} is empty in row {row}; expected a series' name in every row")
    texts = ids_of(ids, notes)
    length_N = texts.str.len()
    if (wrong := (length_N < 1) | (length_N > LONGEST_KEY)).any():
        place = int(np.flatnonzero(wrong)[0])
        raise HistoryError(
            f"column {id_col!r} has a name of {length_N.iloc[place]:,} characters in row {ids.index[place] + 1};"
            f" expected 1 to {LONGEST_KEY}, as a record's key has"
        )
    codes, keys = pd.factorize(texts.to_numpy(object), sort=True)
    return tuple(keys), codes.astype(np.int32)


def _refuse_split_times(frame: pd.DataFrame, time_col: str, inputs: Sequence[str]) -> None:
    """Raise HistoryError for times of day in a column of their own, beside a column of days that repeat."""
    for name in inputs:
        given = frame[name].dropna()
        if len(given) and given.astype(str).str.fullmatch(_CLOCK).all():
            raise HistoryError(
                f"the days of {time_col!r} repeat, and {name!r} has times of day, such as {given.iloc[0]}: make one"
                f" column of both, such as df['time'] = df[{time_col!r}] + ' ' + df[{name!r}], and name it with ",
                Option.TIME_COL,
            )


def _mention_changing_clocks(ts_N: NDArray[np.int64], grid: Grid, changes: list[str], *, zoned: bool) -> None:
    """Say so where rows follow clocks that change, and bars do not: ``zoned`` days, and bars of several hours."""
    later_N = (ts_N - grid.offset) % grid.freq
    an_hour = np.isin(later_N, (HOUR_MS, grid.freq - HOUR_MS))
    if grid.calendar is not None or not an_hour.any():
        return
    beside = f"{counted(int((later_N > 0).sum()), 'row')} of {len(ts_N):,} start at another hour than the bars of"
    if grid.freq % DAY_MS == 0 and zoned:
        changes.append(Message(
            f"{beside} {bar_name(grid)}, which are days of UTC: forecasts have the times of the bars. Days follow the"
            " clocks of a place with ", Option.TIMEZONE,
        ))  # fmt: skip
    elif HOUR_MS < grid.freq < DAY_MS and (an_hour | (later_N == 0)).all():
        steps = np.diff(np.unique(ts_N))
        if len(steps) and np.median(steps) == grid.freq:
            changes.append(
                f"{beside} {bar_name(grid)}, as rows do where clocks change and bars do not: forecasts have the times"
                " of the bars, an hour beside those of such rows"
            )


def _mention_targets(
    keys: tuple[str, ...], series_N: NDArray[np.int32], target_N: NDArray[np.float64],
    notes: list[str], changes: list[str], *, known: bool,
) -> None:  # fmt: skip
    """Note series without any target, and rows after the last target, which may say what is ``known`` ahead."""
    last_K = np.full(len(keys), -1)
    given_N = np.flatnonzero(~np.isnan(target_N))
    np.maximum.at(last_K, series_N[given_N], given_N)
    if never := int((last_K < 0).sum()):
        named = repr(keys[int(last_K.argmin())])
        which = f"series {named} has" if never == 1 else f"{never:,} series, such as {named}, have"
        changes.append(f"{which} no target at all")
    after_N = (np.arange(len(target_N)) > last_K[series_N]) & (last_K[series_N] >= 0)
    if after_N.any():
        notes.append(
            f"the last {counted(int(after_N.sum()), 'row')} of"
            f" {counted(len(np.unique(series_N[after_N])), 'series', 'series')}"
            f" {'has' if after_N.sum() == 1 else 'have'} no target: "
            + (
                "they bring known inputs, and forecasts begin after the last target"
                if known
                else "forecasts begin after them"
            )
        )
