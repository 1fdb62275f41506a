"""Reading a history: CSV, Parquet or a data frame becomes columns, which can be split by time.

Shapes: N rows (observations), C columns (the target first), K series.
Times are epoch milliseconds.  ``History.notes`` lists everything that was guessed or changed in reading.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from streamcast.errors import HistoryError
from streamcast.offline.history.timestamps import TimestampError, read_timestamps
from streamcast.spec.model_spec import format_duration, parse_duration
from streamcast.topics.observations import LARGEST_VALUE

MAX_CATEGORIES = 1_000
MOST_BARS, MOST_BARS_A_ROW = 20_000_000, 1_000
"""A history with more bars than both, the second for each row, holds a time that a clock got wrong."""


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

    def __len__(self) -> int:
        return len(self.ts_N)

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
) -> History:
    """Read observations; ``id_col`` None means one series, named after the target.

    ``columns`` are the inputs besides the target (default: all others, in the source's order).  ``freq`` is the bar
    length (default: the median step, with a note).  ``timezone`` is the zone of naive times.  ``time_format`` is a
    strftime pattern for times that are not ISO 8601.  ``ticks`` means raw readings, any number a bar; they need a
    ``freq``.  Raises HistoryError when the source cannot be read as observations.
    """
    if ticks and freq is None:
        raise HistoryError("freq is missing: readings do not show how long a bar is; give freq, such as 1min")
    frame = _load(source, id_col, [time_col, target_col, *(columns or ())], only=columns is not None)
    if frame.empty:
        raise HistoryError("the source holds no rows; expected at least one observation")
    names = (
        target_col,
        *(columns if columns is not None else frame.columns.drop([time_col, target_col, *_listed(id_col)])),
    )
    if len(set(names)) < len(names):
        raise HistoryError(f"columns {', '.join(names)} name one twice; leave the target out of the other columns")
    keys, series_N = _keys(frame, id_col, target_col)
    try:
        ts_N, notes = read_timestamps(frame[time_col], series_N, timezone, time_format)
    except TimestampError as error:
        raise HistoryError(f"column {time_col!r}: {error}") from None
    values_NC, categories = _values(frame, names, notes)
    order = np.lexsort((series_N, ts_N))
    series_N, ts_N, values_NC = series_N[order], ts_N[order], values_NC[order]
    freq_ms = _bar_length(freq) if ticks else _freq(series_N, ts_N, freq, notes)
    _refuse_a_row_far_away(keys, series_N, ts_N, freq_ms)
    return History(keys, series_N, ts_N, values_NC, names, freq_ms, categories, tuple(notes))


def cuts(history: History, fractions: Sequence[float]) -> tuple[int, ...]:
    """Return the instants, for ``split``, that divide the rows into parts of these fractions.

    Rows of one instant stay together.  Raises HistoryError when the fractions are not positive, do not sum to one, or
    leave a part empty.
    """
    if min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-9:
        raise HistoryError(f"fractions {tuple(fractions)} must be positive and sum to 1, such as (0.6, 0.2, 0.2)")
    firsts = np.rint(np.cumsum(fractions)[:-1] * len(history)).astype(np.int64)
    instants = [int(history.ts_N[min(first, len(history) - 1)]) for first in firsts]
    split(history, instants)
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
    """Return the epoch milliseconds of an ISO 8601 time, read in ``timezone`` when naive; raises HistoryError."""
    try:
        instant = datetime.fromisoformat(text)
        return round((instant if instant.tzinfo else instant.replace(tzinfo=ZoneInfo(timezone))).timestamp() * 1_000)
    except (ValueError, ZoneInfoNotFoundError) as error:
        raise HistoryError(
            f"{text!r} is not a time: {error}; expected such as 2026-01-31 or 2026-01-31T12:00Z"
        ) from None


def _listed(name: str | None) -> list[str]:
    return [] if name is None else [name]


def _load(source: str | Path | pd.DataFrame, id_col: str | None, named: list[str], *, only: bool) -> pd.DataFrame:
    """Read the source; with ``only``, no columns but the named ones."""
    wanted = [*_listed(id_col), *named]
    if isinstance(source, pd.DataFrame):
        _require(list(source.columns), wanted, "the data frame")
        return source[list(dict.fromkeys(wanted))] if only else source
    path = Path(source)
    usecols = list(dict.fromkeys(wanted)) if only else None
    try:
        if ".csv" in path.suffixes[-2:]:
            _require(list(pd.read_csv(path, nrows=0).columns), wanted, str(path))
            return pd.read_csv(path, usecols=usecols, dtype=dict.fromkeys(_listed(id_col), str), low_memory=False)
        if path.suffix in {".parquet", ".pq"}:
            frame = pd.read_parquet(path)
            _require(list(frame.columns), wanted, str(path))
            return frame[usecols] if usecols else frame
    except ImportError:
        raise HistoryError(
            f"{path} is Parquet, which needs pyarrow; pip install 'streamcast-forecasting[parquet]'"
        ) from None
    except (OSError, ValueError, EOFError) as error:
        raise HistoryError(f"{path} cannot be read: {error}") from None
    raise HistoryError(f"{path} is neither CSV nor Parquet by its name; expected .csv, .csv.gz, .parquet or .pq")


def _require(present: list[str], wanted: list[str], where: str) -> None:
    for name in wanted:
        if name not in present:
            by_folded = {str(column).casefold(): column for column in present}
            near = difflib.get_close_matches(name.casefold(), by_folded, n=1)
            hint = f", did you mean {by_folded[near[0]]!r}?" if near else "."
            raise HistoryError(
                f"{where} has no column {name!r}{hint} Its columns are {', '.join(map(str, present))}: say which is"
                " which with id_col, time_col and target_col"
            )


def _keys(frame: pd.DataFrame, id_col: str | None, target_col: str) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    if id_col is None:
        return (target_col,), np.zeros(len(frame), np.int32)
    ids = frame[id_col]
    if ids.isna().any():
        raise HistoryError(
            f"column {id_col!r} is empty in row {_first(ids.isna())}; expected a series' name in every row"
        )
    codes, keys = pd.factorize(ids.astype(str).to_numpy(object), sort=True)
    return tuple(keys), codes.astype(np.int32)


def _values(
    frame: pd.DataFrame, names: tuple[str, ...], notes: list[str]
) -> tuple[NDArray[np.float64], dict[str, tuple[str, ...]]]:
    values_NC = np.empty((len(frame), len(names)))
    categories: dict[str, tuple[str, ...]] = {}
    for place, name in enumerate(names):
        column = frame[name]
        numbers = pd.to_numeric(column.astype(object), errors="coerce") if _is_text(column) else column
        unread = numbers.isna() & column.notna()
        if unread.any() and place == 0:
            value, row = column[unread].iloc[0], _first(unread)
            raise HistoryError(
                f"the target {name!r} is {value!r} in row {row}; expected a number, or nothing for missing"
            )
        if unread.any():
            codes, table = pd.factorize(column.astype(str).where(column.notna(), None).to_numpy(object), sort=True)
            if len(table) > MAX_CATEGORIES:
                raise HistoryError(
                    f"column {name!r} has {len(table):,} distinct texts, such as {table[0]!r}; expected numbers or"
                    f" at most {MAX_CATEGORIES:,} categories. Leave it out with columns=…, or clean it"
                )
            categories[name] = tuple(table)
            values_NC[:, place] = np.where(codes < 0, np.nan, codes)
        else:
            values_NC[:, place] = numbers.to_numpy(np.float64, na_value=np.nan)
    extreme = np.abs(values_NC) > LARGEST_VALUE
    if extreme.any():
        notes.append(f"{extreme.sum():,} values that are infinite or beyond ±{LARGEST_VALUE:g} were read as missing")
        values_NC[extreme] = np.nan
    return values_NC, categories


def _is_text(column: pd.Series) -> bool:
    return not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column))


def _freq(series_N: NDArray[np.int32], ts_N: NDArray[np.int64], freq: str | int | None, notes: list[str]) -> int:
    order = np.argsort(series_N, kind="stable")
    same = np.diff(series_N[order]) == 0
    steps = np.diff(ts_N[order])[same]
    if repeated := int((steps == 0).sum()):
        notes.append(f"{repeated:,} rows repeat the time of the row before in their series; all are kept")
    median = int(np.median(steps[steps > 0])) if (steps > 0).any() else None
    if freq is None:
        if median is None:
            raise HistoryError("freq cannot be guessed: no series has two different times; give freq, such as 1h")
        notes.append(f"freq {format_duration(median)} was guessed: it is the median step")
        return median
    freq_ms = _bar_length(freq)
    if median is not None and median != freq_ms:
        notes.append(f"the median step is {format_duration(median)}, not {format_duration(freq_ms)}")
    return freq_ms


def _bar_length(freq: str | int | None) -> int:
    try:
        freq_ms = parse_duration(freq)
    except ValueError as error:
        raise HistoryError(f"freq: {error}") from None
    if freq_ms <= 0:
        raise HistoryError(f"freq is {freq!r}; expected a positive duration such as 1h")
    return freq_ms


def _refuse_a_row_far_away(
    keys: tuple[str, ...], series_N: NDArray[np.int32], ts_N: NDArray[np.int64], freq_ms: int
) -> None:
    """Raise HistoryError if the times [N], which rise, span more bars than any clock that was set."""
    bars = ((int(ts_N[-1]) - int(ts_N[0])) // freq_ms + 1) * len(keys)
    if bars <= max(MOST_BARS, MOST_BARS_A_ROW * len(ts_N)):
        return
    steps = np.diff(ts_N)
    widest = int(steps.argmax())
    astray, rest = (widest, widest + 1) if widest + 1 <= len(ts_N) // 2 else (widest + 1, widest)
    count = widest + 1 if astray == widest else len(ts_N) - widest - 1
    raise HistoryError(
        f"series {keys[series_N[astray]]!r} has a row at {_words(int(ts_N[astray]))}, far from the others"
        f" ({count:,} rows lie beyond {_words(int(ts_N[rest]))}): {bars:,} bars of {format_duration(freq_ms)} would lie"
        " between. Was a clock not set? Remove the rows, or give a longer freq"
    )


def _words(time_ms: int) -> str:
    return f"{np.datetime64(time_ms, 'ms').astype('datetime64[s]')}".replace("T", " ")


def _first(mask: pd.Series) -> int:
    return int(np.flatnonzero(mask.to_numpy())[0]) + 1
