"""A CSV, Parquet file or data frame as a frame with the named columns.

As ids and categories, words such as NA are names; ids keep their form, such as 007.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from streamcast.errors import HistoryError, Option
from streamcast.offline.history.csv_files import NAMES, header_hint, read_csv, reading_line
from streamcast.offline.history.levels import with_levels
from streamcast.offline.history.shapes import Wanted, other_shape
from streamcast.stages import stage

_UNNAMED = re.compile(r"Unnamed: \d+|")
_INDEX = ("index", "level_0")
MOST_LISTED = 20
"""Columns that an error lists."""


def load(
    source: str | Path | pd.DataFrame, named: Sequence[str], inputs: Collection[str] | None, texts: Collection[str],
    notes: list[str], changes: list[str], *, of_model: Collection[str],
) -> tuple[pd.DataFrame, bool]:  # fmt: skip
    """Return the source as a frame, and whether commas in it may be decimal commas.

    The ``texts`` columns are texts.  ``named`` are the columns that hold series (if there is one), times and target,
    each with an option of its own; the ``inputs`` that are given are wanted, too, and a model reads those ``of_model``.
    Levels of a frame's index that carry data become columns.  What was guessed goes into ``notes``, what was read as
    something else into ``changes``.  Raises HistoryError when it cannot be read or a wanted column is absent.  The
    index of the frame counts the rows of the source.
    """
    wanted = list(dict.fromkeys([*named, *(inputs or ())]))
    if isinstance(source, pd.DataFrame):
        frame, commas, where = source, False, "the data frame"
    else:
        with stage(f"reading {Path(source).name}"):
            frame, commas = _file(source, texts, notes, changes)
        where = str(source)
    *ids, time_col, target_col = named
    own = Wanted(ids[0] if ids else None, time_col, target_col)
    whole = frame
    if not _is_csv(source):
        frame = with_levels(frame, own, wanted, notes if inputs is None else None, where, *_converted(source))
    levels = [str(name) for name in frame.index.names if name is not None]
    _require([*frame.columns, *levels], wanted, own, where, source, whole, of_model=of_model)
    if not _is_csv(source):
        frame = frame.set_axis(pd.RangeIndex(len(frame)), axis=0)
    return frame, commas


def row_counters(frame: pd.DataFrame, wanted: list[str]) -> list[str]:
    """Return the columns that nobody named, and those that only count the rows: a frame's index that was written."""
    return [
        name
        for name in map(str, frame.columns)
        if name not in wanted and (_UNNAMED.fullmatch(name) or (name in _INDEX and _counts(frame[name])))
    ]


def ids_of(column: pd.Series, notes: list[str]) -> pd.Series:
    """Return ids as texts, whole numbers without a decimal point."""
    if pd.api.types.is_float_dtype(column) and (column % 1 == 0).all():
        notes.append(f"the ids in {column.name!r} are whole numbers with a decimal point: {column.iloc[0]} was read as"
                     f" {int(column.iloc[0])}")  # fmt: skip
        return column.astype("int64").astype(str)
    return column.astype(str)


def _counts(column: pd.Series) -> bool:
    return pd.api.types.is_integer_dtype(column) and bool((column.to_numpy() == np.arange(len(column))).all())


def _file(
    source: str | Path, texts: Collection[str], notes: list[str], changes: list[str]
) -> tuple[pd.DataFrame, bool]:
    path = Path(source)
    try:
        if _is_csv(path):
            return read_csv(path, texts, notes, changes)
        if path.suffix.lower() in {".parquet", ".pq"}:
            return pd.read_parquet(path, **_partitioned(path)), False
    except ImportError:
        raise HistoryError(
            f"{path} is Parquet, which needs pyarrow; pip install 'streamcast-forecasting[parquet]'"
        ) from None
    except (OSError, ValueError, EOFError, MemoryError) as error:
        if isinstance(error, MemoryError) or "out of memory" in str(error):  # the second is the CSV parser's
            raise HistoryError(
                f"{path} cannot be read: its rows need more memory than this process may have. Look at its beginning:"
                " one line without an end is no row; else leave out columns or the oldest rows, or use a machine with"
                " more memory"
            ) from None
        reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else error
        hint = header_hint(path) if isinstance(error, pd.errors.ParserError) else ""
        raise HistoryError(f"{path} cannot be read: {str(reason).strip()}{hint}") from None
    raise HistoryError(
        f"{path} is neither CSV nor Parquet by its name; expected .csv or .tsv (also .gz), .parquet or .pq"
    )


def _converted(source: str | Path | pd.DataFrame) -> tuple[str, str]:
    """Return the frame of a source as a line of pandas has it, and what writes that frame to a file of its own."""
    if isinstance(source, pd.DataFrame):
        return "df", ""
    path = Path(source)
    if _is_csv(path):
        return reading_line(path), ".to_csv('long.csv', index=False)"
    return f"pd.read_parquet({str(path)!r})", ".to_parquet('long.parquet')"


def _is_csv(source: str | Path | pd.DataFrame) -> bool:
    return isinstance(source, str | Path) and any(suffix.lower() in NAMES for suffix in Path(source).suffixes[-2:])


def _partitioned(path: Path) -> dict[str, Any]:
    """Return how to read a folder of ``name=value`` folders: their values are texts, so that 007 stays 007."""
    if not path.is_dir():
        return {}
    import pyarrow as pa
    from pyarrow import dataset

    parts = [part for file in path.rglob("*.parquet") for part in file.relative_to(path).parts[:-1]]
    names = dict.fromkeys(part.partition("=")[0] for part in parts if "=" in part)
    schema = pa.schema([(name, pa.string()) for name in names])
    return {"partitioning": dataset.partitioning(schema, flavor="hive")} if names else {}


def _apart(header: str, wanted: list[str]) -> str:
    """Return what separates the wanted names in a header that was read as one column; '' if they are not in it."""
    if not all(name in header for name in wanted):
        return ""
    for name in sorted(wanted, key=len, reverse=True):
        header = header.replace(name, "\0")
    return next((mark for mark in header.strip("\0") if mark != "\0" and not mark.isalnum()), "")


def _require(
    present: list[str], wanted: list[str], own: Wanted, where: str, source: str | Path | pd.DataFrame,
    whole: pd.DataFrame, *, of_model: Collection[str],
) -> None:  # fmt: skip
    """Raise HistoryError for a wanted column that is not present; those of ``own`` have options that name them.

    ``whole`` is the source as it came, whose shape may be another one.
    """
    if not present:
        raise HistoryError(f"{where} has no columns; expected {', '.join(map(repr, wanted))}")
    for name in wanted:
        if name not in present:
            by_folded = {str(column).casefold(): column for column in present}
            near = difflib.get_close_matches(name.casefold(), by_folded, n=1)
            hint = f", did you mean {by_folded[near[0]]!r}?" if near else "."
            listed = ", ".join(map(str, present[:MOST_LISTED]))
            more = f" and {len(present) - MOST_LISTED:,} more" if len(present) > MOST_LISTED else ""
            has = f"{where} has no column {name!r}{hint} Its columns are {listed}{more}"
            if len(present) == 1 and (apart := _apart(str(present[0]), wanted)):
                raise HistoryError(f"{has}: separated by {apart!r}? Expected commas, semicolons, tabs or |")
            if isinstance(source, str | Path) and _is_csv(source) and (above := header_hint(Path(source))):
                raise HistoryError(f"{has}{above}")
            if name not in own:
                reads = ". The model reads it as an input: add it, empty where it is not known"
                raise HistoryError(has + (reads if name in of_model else ""))
            shape = other_shape(whole, own, *_converted(source))
            raise HistoryError(
                has,
                *shape,
                f"{'. Else' if shape else ':'} say which is which with ",
                Option.ID_COL,
                " (empty: they are one series), ",
                Option.TIME_COL,
                " and ",
                Option.TARGET_COL,
            )
