"""CSV files as people have them: their encoding and separator are read off the file, and said."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pandas.api.types import is_float_dtype

from streamcast.errors import HistoryError
from streamcast.wording import counted

NAMES = (".csv", ".tsv")
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_HEAD_LINES = 20
EXACT = 2.0**53
"""Whole numbers below it are exact as floats."""


def read_csv(path: Path, texts: Collection[str], notes: list[str], changes: list[str]) -> tuple[pd.DataFrame, bool]:
    """Return a CSV file as a frame, the ``texts`` columns as texts, and whether commas may be decimal commas.

    Where they may be, columns whose points may stand between thousands are texts, too.  The index of the frame counts
    the rows of the file below its header, empty ones included, which are left out.
    Raises OSError, ValueError or HistoryError.
    """
    for encoding in _encodings(path):
        try:
            head = _head(path, encoding)
            header = _first(head)
            named = head[header].removeprefix("sep=") if head[header].startswith("sep=") else None
            if "\0" in head[header]:
                raise HistoryError(f"{path} looks like UTF-16 without a byte order mark: save it as CSV in UTF-8")
            separator = named or _separator(head[header])
            header += 1 if named else 0
            frame = _frame(path, separator, encoding, texts, header)
            if separator != "," and (pointed := [str(name) for name in frame if _may_have_thousands(frame[name])]):
                frame = _frame(path, separator, encoding, [*texts, *pointed], header)
            frame.columns = pd.Index(_names(path, separator, encoding, header, frame.columns))
        except UnicodeError:
            continue
        if encoding == "cp1252":
            changes.append(
                f"{path.name} is not UTF-8: it was read as Windows-1252, as Western European programs write it"
            )
        if (empty := frame.isna().all(axis=1)).any():
            notes.append(f"{counted(int(empty.sum()), 'row')} without any value {'is' if empty.sum() == 1 else 'are'}"
                         " left out")  # fmt: skip
            frame = _whole(frame[~empty])
        if separator != ",":
            notes.append(f"columns are separated by {SEPARATORS.get(separator, repr(separator))}")
        return frame, separator != ","
    raise HistoryError(f"{path} is neither UTF-8 nor UTF-16 nor Windows-1252: save it as CSV in UTF-8")


def reading_line(path: Path) -> str:
    """Return the line of pandas that reads a file as ``read_csv`` does."""
    for encoding in _encodings(path):
        try:
            head = _head(path, encoding)
        except UnicodeError:
            continue
        header = _first(head)
        named = head[header].removeprefix("sep=") if head[header].startswith("sep=") else None
        separator = named or _separator(head[header])
        above = header + (1 if named else 0)
        given = {
            "sep": separator, "decimal": "," if separator != "," else ".", "skiprows": above,
            "encoding": "utf-8" if encoding == "utf-8-sig" else encoding,
        }  # fmt: skip
        usual = {"sep": ",", "decimal": ".", "skiprows": 0, "encoding": "utf-8"}
        more = [f", {name}={value!r}" for name, value in given.items() if value != usual[name]]
        return f"pd.read_csv({str(path)!r}{''.join(more)})"
    return f"pd.read_csv({str(path)!r})"


def header_hint(path: Path) -> str:
    """Return a sentence that names the line of a CSV file's header where other lines are above it; '' if none are."""
    for encoding in _encodings(path):
        try:
            head = _head(path, encoding)
        except UnicodeError:
            continue
        found = max(((*_widest(head, separator), separator) for separator in SEPARATORS), key=lambda one: one[0])
        width, line, separator = found
        names = _fields(head[line], separator)
        if width > 1 and line > _first(head) and not any(name[:1].isdigit() or name[:1] in "+-" for name in names):
            return (
                f". Its header seems to be in line {line + 1}, {', '.join(names)}: remove the {counted(line, 'line')}"
                " above it"
            )
        return ""
    return ""


def _widest(head: list[str], separator: str) -> tuple[int, int]:
    """Return the most fields of a line, and the place of the first line that has them."""
    widths = [len(_fields(line, separator)) for line in head]
    return max(widths), widths.index(max(widths))


def _fields(line: str, separator: str) -> list[str]:
    """Return the fields of a line that are not empty."""
    return [field.strip() for field in next(csv.reader([line], delimiter=separator), []) if field.strip()]


def _frame(path: Path, separator: str, encoding: str, texts: Collection[str], header: int) -> pd.DataFrame:
    """Return the rows below a header; where each ends with separators that the header has not, these hold nothing.

    Where rows have a field more than the header, and it is not empty, the first one is a written index: left out.
    """
    frame = _parsed(path, separator, encoding, texts, header, index_col=None)
    if isinstance(frame.index, pd.RangeIndex):
        return frame
    if frame.iloc[:, -frame.index.nlevels :].isna().all(axis=None):
        with warnings.catch_warnings(action="ignore", category=pd.errors.ParserWarning):  # of what is left out
            return _parsed(path, separator, encoding, texts, header, index_col=False)
    return frame.reset_index(drop=True)


def _parsed(
    path: Path, separator: str, encoding: str, texts: Collection[str], header: int, *, index_col: Literal[False] | None
) -> pd.DataFrame:
    return pd.read_csv(
        path, sep=separator, skiprows=header, encoding=encoding, dtype=dict.fromkeys(texts, str), low_memory=False,
        keep_default_na=False, na_values=[""], skip_blank_lines=False, index_col=index_col,
    )  # fmt: skip


def _names(path: Path, separator: str, encoding: str, header: int, columns: pd.Index) -> list[str]:
    """Return the names of columns as the file has them: of two with one name, pandas calls the second another."""
    written: pd.Series = pd.read_csv(
        path, sep=separator, skiprows=header, encoding=encoding, header=None, nrows=1, dtype=str, keep_default_na=False,
        skip_blank_lines=False,
    ).iloc[0]  # fmt: skip
    if len(written) != len(columns):
        return list(columns)
    return [name or unnamed for name, unnamed in zip(written, columns, strict=True)]


def _whole(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose whole numbers have no decimal point, which those beside an empty row have.

    Larger ones than a float holds exactly stay floats.
    """
    whole = {
        name: "int64"
        for name, column in frame.items()
        if is_float_dtype(column) and column.notna().all() and ((column % 1 == 0) & (column.abs() < EXACT)).all()
    }
    return frame.astype(whole)


def _may_have_thousands(column: pd.Series) -> bool:
    """Whether numbers with decimal points may be whole ones with points between thousands, as 12.347 may."""
    if not is_float_dtype(column):
        return False
    size_M = np.abs(column.dropna().to_numpy())
    thousandths_M = size_M * 1_000
    below_1 = (size_M > 0) & (size_M < 1)
    whole = np.isclose(thousandths_M, np.rint(thousandths_M), rtol=0, atol=1e-6)
    return bool(len(size_M) and (size_M < 1_000).all() and not below_1.any() and whole.all())


def _encodings(path: Path) -> Iterator[str]:
    """Yield the encodings to try, in order; UTF-16 is recognised by its first two bytes."""
    if path.suffix.lower() in NAMES:
        with path.open("rb") as file:
            if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
                yield "utf-16"
    yield "utf-8-sig"
    yield "cp1252"


def _head(path: Path, encoding: str) -> list[str]:
    """Return the first lines as they are; raises ValueError for an empty file."""
    lines = pd.read_csv(
        path, sep="\x01", names=["line"], nrows=_HEAD_LINES, encoding=encoding, quoting=csv.QUOTE_NONE, dtype=str,
        skip_blank_lines=False,
    )["line"].fillna("").tolist()  # fmt: skip
    if not any(lines):
        raise ValueError("it is empty")
    return lines


def _first(head: list[str]) -> int:
    """Return the place of the first line that is not empty."""
    return next((place for place, line in enumerate(head) if line), 0)


def _separator(line: str) -> str:
    """Return the separator that a header has most often; a comma unless another is more frequent."""
    return max(SEPARATORS, key=line.count)
