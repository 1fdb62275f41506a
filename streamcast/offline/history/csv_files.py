"""CSV files as people have them: their encoding and separator are read off the file, and said."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_float_dtype

from streamcast.errors import HistoryError
from streamcast.wording import counted

NAMES = (".csv", ".tsv")
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_HEAD_LINES = 20


def read_csv(path: Path, texts: Collection[str], notes: list[str], changes: list[str]) -> tuple[pd.DataFrame, bool]:
    """Return a CSV file as a frame, the ``texts`` columns as texts, and whether commas may be decimal commas.

    Where they may be, columns whose points may stand between thousands are texts, too.
    Raises OSError, ValueError or HistoryError.
    """
    for encoding in _encodings(path):
        try:
            head = _head(path, encoding)
            named = head[0].removeprefix("sep=") if head[0].startswith("sep=") else None
            if "\0" in head[0]:
                raise HistoryError(f"{path} looks like UTF-16 without a byte order mark: save it as CSV in UTF-8")
            separator = named or _separator(head[0])
            frame = _frame(path, separator, encoding, texts, first=1 if named else 0)
            if separator != "," and (pointed := [str(name) for name in frame if _may_have_thousands(frame[name])]):
                frame = _frame(path, separator, encoding, [*texts, *pointed], first=1 if named else 0)
        except UnicodeError:
            continue
        if encoding == "cp1252":
            changes.append(
                f"{path.name} is not UTF-8: it was read as Windows-1252, as Western European programs write it"
            )
        if (empty := frame.isna().all(axis=1)).any():
            changes.append(f"{counted(int(empty.sum()), 'row')} without any value {'is' if empty.sum() == 1 else 'are'}"
                           " left out")  # fmt: skip
            frame = frame[~empty].reset_index(drop=True)
        if separator != ",":
            notes.append(f"columns are separated by {SEPARATORS.get(separator, repr(separator))}")
        return frame, separator != ","
    raise HistoryError(f"{path} is neither UTF-8 nor UTF-16 nor Windows-1252: save it as CSV in UTF-8")


def _frame(path: Path, separator: str, encoding: str, texts: Collection[str], *, first: int) -> pd.DataFrame:
    return pd.read_csv(
        path, sep=separator, skiprows=first, encoding=encoding, dtype=dict.fromkeys(texts, str), low_memory=False,
        keep_default_na=False, na_values=[""],
    )  # fmt: skip


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
    lines = pd.read_csv(path, sep="\x01", header=None, nrows=_HEAD_LINES, encoding=encoding, quoting=3, dtype=str)
    return lines[0].fillna("").tolist()


def _separator(line: str) -> str:
    """Return the separator that a header has most often; a comma unless another is more frequent."""
    return max(SEPARATORS, key=line.count)
