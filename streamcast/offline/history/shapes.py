"""Tables of another shape than a row for each series and time: what they seem to be, and what makes rows of them."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from streamcast.errors import Option
from streamcast.offline.history import calendar_texts

LOOKED_AT = 100
"""Rows, or names of columns, that show what a column holds."""
_DATED = r"\d{4}(?:-?\d{2}){1,2}(?:[ T].*)?|(?:19|20)\d{2}|\d{1,2}([./-])\d{1,2}\1\d{2,4}(?:[ T].*)?"
"""A text that starts as a date does, or a year."""
ID = "unique_id"
"""The column of series that a remedy makes where no option names one."""


class Wanted(NamedTuple):
    """The columns of series (None: it is one series), times and target that a source should have."""

    id_col: str | None
    time_col: str
    target_col: str


def other_shape(frame: pd.DataFrame, wanted: Wanted, reader: str, writer: str) -> tuple[str | Option, ...]:
    """Return what a frame without a wanted column seems to be, and the line of pandas that converts it; () for neither.

    ``reader`` is the frame in that line, such as ``df``, and ``writer`` what follows it, such as a call that writes.
    """
    if isinstance(frame.columns, pd.MultiIndex):
        line = f"{reader}.set_axis([' '.join(map(str, name)) for name in {reader}.columns], axis=1){writer}"
        return (f". The names of its columns have levels: {line} makes one text of each",)
    if wanted.target_col in frame.columns:
        return _without_times(frame, wanted, reader)
    if wanted.id_col in frame.columns and not _times_among_names(frame):
        return ()
    for found in (_a_column_for_each_time(frame, wanted), _a_column_for_each_series(frame, wanted)):
        if found is not None:
            said, conversion = found
            named = () if wanted.id_col else (", and ", Option.ID_COL, f" {ID} names them")
            return (f". {said}: in pandas, {reader}{conversion}{writer} makes a row for each series and time", *named)
    return _without_times(frame, wanted, reader)


def _a_column_for_each_time(frame: pd.DataFrame, wanted: Wanted) -> tuple[str, str] | None:
    """Return what a frame whose columns are times is, and what makes rows of it; None for others."""
    times = _times_among_names(frame)
    others = [name for name in frame.columns if name not in times]
    if len(times) < 2 or not all(isinstance(name, str) for name in others):
        return None
    made, before = wanted.id_col or ID, ""
    if not others:
        before, others = f".rename_axis(index={made!r}).reset_index()", [made]
    if made not in others:
        before += f".rename(columns={{{others[0]!r}: {made!r}}})"
    kept = [made if name == others[0] and made not in others else name for name in others]
    ids = repr(kept[0]) if len(kept) == 1 else repr(kept)
    return (
        f"It seems to have a column for each time, from {times[0]} to {times[-1]}",
        f"{before}.melt({ids}, var_name={wanted.time_col!r}, value_name={wanted.target_col!r})",
    )


def _a_column_for_each_series(frame: pd.DataFrame, wanted: Wanted) -> tuple[str, str] | None:
    """Return what a frame with one column of times beside columns of numbers is, and what makes rows; None for others.

    The times may be its index.
    """
    if isinstance(frame.index, pd.DatetimeIndex | pd.PeriodIndex) and wanted.time_col not in frame.columns:
        numbers, before = list(frame.columns), f".rename_axis({wanted.time_col!r}).reset_index()"
    else:
        times = [wanted.time_col] if wanted.time_col in frame.columns else [c for c in frame if _timely(frame[c])]
        if len(times) != 1:
            return None
        time = times[0]
        numbers = [name for name in frame.columns if name != time]
        before = "" if time == wanted.time_col else f".rename(columns={{{time!r}: {wanted.time_col!r}}})"
    if len(numbers) < 2 or not all(map(_numeric, (frame[name] for name in numbers))):
        return None
    named = f"{numbers[0]}, {numbers[1]}" + (" and others" if len(numbers) > 2 else "")
    return (
        f"If it has a column for each of {len(numbers):,} series, {named}",
        f"{before}.melt({wanted.time_col!r}, var_name={wanted.id_col or ID!r}, value_name={wanted.target_col!r})",
    )


def _without_times(frame: pd.DataFrame, wanted: Wanted, reader: str) -> tuple[str | Option, ...]:
    """Return that a frame in memory has no times, and what gives it some; () for one that has, and for a file."""
    if reader != "df" or wanted.time_col in frame.columns or any(_timely(frame[name]) for name in frame.columns):
        return ()
    if isinstance(frame.index, pd.DatetimeIndex | pd.PeriodIndex | pd.MultiIndex) or frame.index.name is not None:
        return ()
    if _timely(frame.index.to_series()):
        return (". Its index has times as texts: df.set_axis(pd.to_datetime(df.index)) makes times of them",)
    line = "df.set_axis(pd.date_range('2026-01-31', freq='h', periods=len(df)))"
    return (f". It has no times: if its rows are an hour apart, {line} gives it some; choose the first one",)


def _times_among_names(frame: pd.DataFrame) -> list[str]:
    """Return the names of columns that are times, or texts that start as dates do."""
    return [name for name in frame.columns if _dated(str(name))]


def _timely(column: pd.Series) -> bool:
    """Whether a column holds times, or texts that start as dates do."""
    if isinstance(column.dtype, pd.PeriodDtype) or pd.api.types.is_datetime64_any_dtype(column):
        return True
    if pd.api.types.is_numeric_dtype(column) or not len(column):
        return False
    return all(_dated(str(value)) for value in column.head(LOOKED_AT))


def _dated(text: str) -> bool:
    return pd.Series([text]).str.fullmatch(_DATED).item() or calendar_texts.span_of(text) is not None


def _numeric(column: pd.Series) -> bool:
    """Whether most values of a column are numbers, also with decimal commas, or missing."""
    some = column.head(LOOKED_AT)
    if pd.api.types.is_numeric_dtype(some):
        return True
    numbers = pd.to_numeric(some.astype(str).str.replace(",", "."), errors="coerce")
    return bool((numbers.notna() | some.isna()).mean() > 0.5)
