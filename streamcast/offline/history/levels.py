"""The levels of a frame's index: those that carry data become columns, and one without a name is asked for it."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd
from pandas.api.types import is_float_dtype, is_integer_dtype

from streamcast.errors import HistoryError
from streamcast.offline.history.shapes import ID, Wanted

FEWEST_ROWS = 3
"""So many rows for each value has at least a level, or a column, that may name series."""
SHOWN = 2
"""Values of a level that an error shows."""


def with_levels(
    frame: pd.DataFrame, own: Wanted, wanted: Collection[str], notes: list[str] | None, where: str, reader: str,
    writer: str,
) -> pd.DataFrame:  # fmt: skip
    """Return a frame with the levels of its index that are ``wanted``, or carry data, as columns.

    An index of times is that of times, and so is the only such level where it has no name.  Named levels that are left
    out go into ``notes``, if there are any.  Raises HistoryError for a level without a name that seems to name series;
    ``where``, ``reader`` and ``writer`` are as the message and its line of pandas call the frame.
    """
    index = _with_named_times(frame, own.time_col)
    new = {place: name for place, name in enumerate(index.names) if name is not None and name not in frame.columns}
    kept = [place for place, name in new.items() if name in wanted or _carries(index.get_level_values(place))]
    if notes is not None:
        for place in [place for place in new if place not in kept]:
            why = f"the times are in {own.time_col!r}" if _holds_times(index, place) else "each row has one of its own"
            notes.append(f"{new[place]!r} of the index: left out, {why}")
    found = frame.set_axis(index).reset_index(kept, allow_duplicates=True)
    for place, name in enumerate(index.names):
        if name is None and _may_name_series(found, index, place, own):
            raise HistoryError(f"{where} {_without_name(index, place, own, reader, writer, named=own.id_col in found)}")
    return found


def _with_named_times(frame: pd.DataFrame, time_col: str) -> pd.Index:
    """Return the index of a frame, its level of times named so where no column is."""
    index, names = frame.index, list(frame.index.names)
    times = [place for place in range(len(names)) if _holds_times(index, place)]
    if time_col in frame.columns or time_col in names or len(times) != 1:
        return index
    (place,) = times
    if len(names) > 1 and names[place] is not None:
        return index
    return index.set_names([*names[:place], time_col, *names[place + 1 :]])


def _holds_times(index: pd.Index, place: int) -> bool:
    return isinstance(index.get_level_values(place), pd.DatetimeIndex | pd.PeriodIndex)


def _carries(level: pd.Index) -> bool:
    """Whether a level holds neither times nor a label of each row, such as its number."""
    if isinstance(level, pd.DatetimeIndex | pd.PeriodIndex):
        return False
    return is_float_dtype(level.dtype) or not level.is_unique


def _may_name_series(frame: pd.DataFrame, index: pd.Index, place: int, own: Wanted) -> bool:
    """Whether a level without a name is one of texts where no series are named, or tells rows of one time apart."""
    level, named = index.get_level_values(place), own.id_col in frame.columns
    counts, alone = is_integer_dtype(level.dtype), index.nlevels == 1
    if own.time_col not in frame.columns or level.nunique() < 2 or not _carries(level) or (counts and (alone or named)):
        return False
    if not (counts or alone or named):
        return True
    if level.nunique() > len(frame) // FEWEST_ROWS:
        return False
    rows = frame[[own.time_col, *([own.id_col] if named else [])]].astype(str)
    apart = rows.assign(level=level.astype(str))
    return bool(rows.duplicated().any() and not apart.duplicated().any())


def _without_name(index: pd.Index, place: int, own: Wanted, reader: str, writer: str, *, named: bool) -> str:
    """Return what a level without a name holds, and the lines of pandas that name it and leave it out."""
    values = index.get_level_values(place).unique()
    shown = ", ".join(repr(value) for value in values[:SHOWN].tolist()) + (", ..." if len(values) > SHOWN else "")
    axis = list(index.names)
    axis[place] = "part" if named else own.id_col or ID
    several = index.nlevels > 1
    which = f"whose level {place}, with {shown}, has no name" if several else f"of {shown} without a name"
    naming = f"{reader}.rename_axis({(axis if several else axis[0])!r}){writer}"
    says = (
        f"if it tells series apart, name it, as with {naming}, and make one column of it and {own.id_col!r}"
        if named
        else f"if it names the series, {naming} says so"
    )
    without = f"droplevel({place})" if several else "reset_index(drop=True)"
    return f"has an index {which}: {says}; if it is of no use, {reader}.{without}{writer} leaves it out"
