"""The values of a history's columns: numbers, or categories with their table.

A column is numeric if its values are numbers, with decimal commas where the source allows them.  Otherwise it holds
categories; a column of numbers with other words in it, with other decimal commas, or of dates is refused; so is a
target of words.  A model's own columns keep the kind that the model stores.

Shapes: N rows, C columns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from streamcast.errors import HistoryError, Option
from streamcast.offline.history.objects import is_number, plain
from streamcast.stages import stage
from streamcast.topics.observations import LARGEST_VALUE
from streamcast.wording import counted

MAX_CATEGORIES = 1_000
FEW = 20
"""Up to so many distinct texts, whole numbers among them may be codes."""
SHOWN = 4
"""How many more values that are no numbers an error shows."""
MISSING = ("NA", "N/A", "n/a", "<NA>", "NaN", "nan", "-nan", "NULL", "null", "None", "#N/A")
"""Words for a missing number; as ids and categories they are names."""
_COMMAS = r"\s*[+-]?(?:\d+|\d{1,3}(?:\.\d{3})+)(?:,\d+)?(?:[eE][+-]?\d+)?\s*"
"""A number with a decimal comma, and points between thousands."""
_THOUSANDS = r"\s*[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?\s*"
"""A number with commas between thousands; one with a single comma may also have a decimal comma."""
_POINTS = r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+"
"""A number with points between thousands; one with a single point may also have a decimal point."""


@stage("reading the values")
def values_of(
    frame: pd.DataFrame,
    names: tuple[str, ...],
    kinds: Mapping[str, tuple[str, ...] | None],
    notes: list[str],
    changes: list[str],
    *,
    commas: bool = False,
) -> tuple[NDArray[np.float64], dict[str, tuple[str, ...]]]:
    """Return values [N, C] and the tables of categories; raises HistoryError.

    ``kinds`` has the categories of columns whose kind is known, None for numbers.  ``commas`` means that commas within
    numbers are decimal commas.
    """
    marks, categories = _Marks(), dict[str, tuple[str, ...]]()
    values_NC = np.empty((len(frame), len(names)))
    for place, name in enumerate(names):
        column, table, numbers = frame[name], kinds.get(name), None
        if table is None:
            column, numeric = plain(column, target=place == 0), place == 0 or name in kinds
            if numeric:
                _refuse_words(column, frame[list(names[1:])] if place == 0 else None)
            column = _decimal_points(column, name, marks, changes, numeric=numeric, commas=commas)
            numbers = _numbers(column, numeric=numeric, commas=name in marks.commas)
        if numbers is None:
            if table is None:
                _refuse_what_is_no_category(column, commas=name in marks.commas)
            numbers, categories[name] = _codes(column, table, notes)
        values_NC[:, place] = numbers
    if marks.commas:
        notes.append(f"commas in {', '.join(map(repr, marks.commas))} were read as decimal commas")
    _mention_points(marks, changes)
    for place, name in enumerate(names[1:], 1):
        if np.isnan(values_NC[:, place]).all():
            effect = "forecasts are made without it" if name in kinds else "the model learns nothing from it"
            notes.append(f"input {name!r} has no value in any row: {effect}")
    extreme = np.abs(values_NC) > LARGEST_VALUE
    if extreme.any():
        changes.append(f"read as missing: {counted(int(extreme.sum()), 'value')} infinite or beyond ±{LARGEST_VALUE:g}")
        values_NC[extreme] = np.nan
    return values_NC, categories


@dataclass(frozen=True, slots=True)
class _Marks:
    """How the columns of a source write numbers."""

    commas: list[str] = field(default_factory=list)
    """Those with decimal commas."""
    points: dict[str, str] = field(default_factory=dict)
    """Those whose points may stand between thousands, with an example."""


def _refuse_words(column: pd.Series, inputs: pd.DataFrame | None) -> None:
    """Raise HistoryError for a column that must be numbers and has none: a model's, or the target, beside ``inputs``.

    Where it is the target, another column was meant, perhaps one of the inputs.
    """
    if is_number(column):
        return
    given = column[column.notna() & ~column.isin(MISSING)]
    texts = given.astype(str).reset_index(drop=True)
    numbers = pd.to_numeric(given.astype(object), errors="coerce")  # of times as such it returns their epochs
    if numbers.notna().any() or texts.str.fullmatch(f"{_COMMAS}|{_THOUSANDS}").any():
        return
    if (firsts := texts.drop_duplicates().iloc[:2]).empty:
        return
    shown = " and ".join(
        f"{text!r} in row {row + 1}" for text, row in zip(firsts, given.index[firsts.index], strict=True)
    )
    if inputs is None:
        raise HistoryError(
            f"column {column.name!r}, in which the model reads numbers, holds none: it is {shown}; give it the numbers"
            " that it had in training"
        )
    numeric = [repr(name) for name in inputs if is_number(inputs[name])]
    hold = f" ({', '.join(numeric[:SHOWN])} {'hold' if numeric[1:] else 'holds'} numbers)" if numeric else ""
    raise HistoryError(
        f"column {column.name!r}, the target, holds no number: it is {shown}. If another column is meant{hold}, name it"
        " with ", Option.TARGET_COL, "; if not, write its values as plain numbers, such as 12.5",
    )  # fmt: skip


def _mention_thousands(column: pd.Series, pointed: pd.Series, changes: list[str]) -> None:
    """Say so where the commas that were read as decimal commas may all be between thousands."""
    commas = _commas(column)
    if commas.str.fullmatch(_THOUSANDS).all():
        one = commas.index[0]
        changes.append(
            f"commas in {column.name!r} were read as decimal commas, {commas[one]} as {pointed[one]}: if they stand"
            " between thousands, leave them out"
        )


def _with_thousands(column: pd.Series, *, numeric: bool) -> str | None:
    """Return a number of a column whose points may stand between thousands, None if none may.

    Raises HistoryError where they do: a number has two of them, or others below a thousand have none.  A column that
    need not be ``numeric`` may hold codes, if it has few texts.
    """
    if is_number(column):
        return None
    given = column[column.notna() & ~column.isin(MISSING)]
    if not given.map(lambda value: isinstance(value, str)).all():
        return None
    texts = given.astype(str).str.strip()
    if not (numeric or texts.nunique() > FEW) or not texts.str.fullmatch(rf"{_POINTS}|[+-]?\d{{1,3}}").all():
        return None
    points = texts.str.count(r"\.")
    if (pointed := texts[points > 0]).empty:
        return None
    below = texts[(points == 0) & texts.str.contains(r"[1-9]", regex=True)]
    two = texts[points > 1]
    if below.empty and two.empty:
        return str(pointed.iloc[0])
    first = str(two.iloc[0] if below.empty else pointed.iloc[0])
    beside = "" if below.empty else f", beside {below.iloc[0]!r}"
    decimal = f"; if they are decimal points, give all numbers one, as in {below.iloc[0]}.000" if two.empty else ""
    raise HistoryError(
        f"column {column.name!r} has numbers such as {first!r}{beside}: the points stand between thousands."
        f" {_without_points(first)}{decimal}"
    )


def _without_points(number: str) -> str:
    return f"Leave them out, as in {number.replace('.', '')}, or read the file with pandas and thousands='.'"


def _mention_points(marks: _Marks, changes: list[str]) -> None:
    """Say so where points may stand between thousands; raise HistoryError where other columns have decimal commas."""
    if not marks.points:
        return
    name, number = next(iter(marks.points.items()))
    if marks.commas:
        raise HistoryError(
            f"column {name!r} has numbers such as {number!r}, and {marks.commas[0]!r} has decimal commas: do the points"
            f" of {name!r} stand between thousands? {_without_points(number)} and decimal=','; if they are decimal"
            " points, write commas"
        )
    changes.append(
        f"points in {', '.join(map(repr, marks.points))} were read as decimal points, as in {number}: if they stand"
        " between thousands, leave them out"
    )


def _codes(
    column: pd.Series, known: tuple[str, ...] | None, notes: list[str]
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return categories as places in their table, NaN where missing, and the table.

    ``known`` are those of the model; None for a new one, which has no more than ``MAX_CATEGORIES``.
    """
    codes_N, found = pd.factorize(_texts(column), sort=True)
    name, table = column.name, tuple(found)
    if known is None and len(table) > MAX_CATEGORIES:
        raise HistoryError(
            f"column {name!r} has {len(table):,} distinct texts, such as {table[0]!r}; expected numbers or"
            f" at most {MAX_CATEGORIES:,} categories. Leave it out of ", Option.COLUMNS, ", or clean it",
        )  # fmt: skip
    if known is None:
        shown = ", ".join(map(repr, table[:3])) + (", ..." if len(table) > 3 else "")
        notes.append(f"column {name!r} was read as {counted(len(table), 'category', 'categories')}: {shown}")
    elif unseen := sorted(set(table) - set(known)):
        notes.append(
            f"column {name!r} has values that the model does not know, {len(unseen)} of {len(table)}: such as"
            f" {unseen[0]!r}"
        )
    return np.where(codes_N < 0, np.nan, codes_N), table


def _decimal_points(
    column: pd.Series, name: str, marks: _Marks, changes: list[str], *, numeric: bool, commas: bool
) -> pd.Series:  # fmt: skip
    """Return a column with its decimal commas, if any, read; note what marks its numbers have.

    Raises HistoryError where points stand between thousands.
    """
    if commas and (pointed := _with_points(column, numeric=numeric)) is not None:
        _mention_thousands(column, pointed, changes)
        marks.commas.append(name)
        return pointed
    if (example := _with_thousands(column, numeric=numeric)) is not None and commas:
        marks.points[name] = example
    return column


def _with_points(column: pd.Series, *, numeric: bool) -> pd.Series | None:
    """Return a column with its numbers that have decimal commas as numbers, other words as they are.

    None if it has none, or may hold categories: unless it must be ``numeric``, most of its texts must have such commas.
    """
    if is_number(column):
        return None
    given = column[column.notna() & ~column.isin(MISSING)].astype(str)
    number = given.str.fullmatch(_COMMAS)
    comma = number & given.str.contains(",", regex=False)
    distinct = given[comma].nunique() / max(given.nunique(), 1)
    if not comma.any() or not (numeric or number.all() or distinct > 0.5):
        return None
    points = given[number].str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
    pointed = column.astype(object)
    pointed[points.index] = pd.to_numeric(points).astype(object)
    return pointed


def _numbers(column: pd.Series, *, numeric: bool, commas: bool) -> NDArray[np.float64] | None:
    """Return a column as numbers, None if it holds categories; raises HistoryError if it must be ``numeric``."""
    if is_number(column):
        return column.to_numpy(np.float64, na_value=np.nan)
    named = column.astype(object)
    given = named.where(~named.isin(MISSING), None)
    numbers = pd.to_numeric(given, errors="coerce")
    unread = numbers.isna() & given.notna()
    if commas:  # a text that is left has a point where others have commas, or is no number at all
        unread = given.map(lambda value: isinstance(value, str)).astype(bool)
    if not unread.any() and (numbers.notna().any() or given.equals(named)):
        return numbers.to_numpy(np.float64, na_value=np.nan)
    if not numeric:
        return None
    raise _no_number(column, unread if unread.any() else column.notna(), commas=commas)


def _no_number(column: pd.Series, unread: pd.Series, *, commas: bool) -> HistoryError:
    """Return the error for the first value that is no number at all, or else for the first one that is not read."""
    word = unread & pd.to_numeric(column, errors="coerce").isna()
    wrong = word if word.any() else unread
    first = int(np.flatnonzero(wrong)[0])
    value, numbers = column.iloc[first], int((column.notna() & ~column.isin(MISSING) & ~unread).sum())
    rows = column.index + 1
    where = f"column {column.name!r} is {value!r} in row {rows[first]}"
    if len(others := np.flatnonzero(wrong & (column != value))):
        shown = ", ".join(f"{column.iloc[row]!r} in row {rows[row]}" for row in others[:SHOWN].tolist())
        where += f", {shown}" + (f" and {len(others) - SHOWN:,} more" if len(others) > SHOWN else "")
    where += f", among {counted(numbers, 'number')}" if numbers else ""
    if commas and not word.any():
        return HistoryError(f"{where} with decimal commas: write the same decimal mark in the whole column")
    marks = " (decimal commas were understood)" if commas else ""
    if re.fullmatch(f"{_COMMAS}|{_THOUSANDS}", str(value)):
        return HistoryError(f"{where}; expected a number, or nothing for missing: {_without_commas(column)}")
    cells = counted(int((column == value).sum()), "row")
    return HistoryError(
        f"{where}{marks}; expected a number, or nothing for missing. Correct what is wrong; if {value!r} means missing"
        f" ({cells}), empty these cells or write NA"
    )


def _commas(column: pd.Series) -> pd.Series:
    """Return the texts of a column that are numbers with commas."""
    texts = column[column.notna()].astype(str)
    return texts[texts.str.fullmatch(rf"{_COMMAS}|{_THOUSANDS}") & texts.str.contains(",", regex=False)].str.strip()


def _without_commas(column: pd.Series) -> str:
    """Return what to write instead of the numbers with commas in a column."""
    commas = _commas(column)
    first = commas.iloc[0]
    points = "pandas reads a file with decimal commas with decimal=','"
    if not commas.str.fullmatch(_THOUSANDS).all():
        return f"write points, as in 12.5; {points}"
    leave_out = f"leave them out, as in {first.replace(',', '')}, or read the file with pandas and thousands=','"
    if commas.str.count(r"[,.]").gt(1).any():
        return f"the commas stand between thousands; {leave_out}"
    return (
        f"if the commas stand between thousands, {leave_out}; if they are decimal commas, write points, as in"
        f" {first.replace(',', '.')}"
    )


def _texts(column: pd.Series) -> NDArray[np.object_]:
    """Return names of categories, None where missing; a whole number has no decimal point."""
    values = column.to_numpy(object)
    names = [_name(value) if present else None for value, present in zip(values, column.notna(), strict=True)]
    return np.array(names, object)


def _name(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _refuse_what_is_no_category(column: pd.Series, *, commas: bool) -> None:
    """Raise HistoryError for numbers with other words in them, decimal commas, dates and bytes."""
    present = column[column.notna()]
    if isinstance(first := present.iloc[0], bytes):
        raise HistoryError(
            f"column {column.name!r} holds bytes, such as {first!r}; expected numbers or texts: decode them, such as"
            f" with df[{column.name!r}].str.decode('utf-8'), or leave it out of ", Option.COLUMNS,
        )  # fmt: skip
    texts = present.astype(str)
    distinct = pd.Series(texts.unique())
    comma = distinct.str.fullmatch(r"\s*[+-]?\d+,\d+\s*")
    if comma.mean() > 0.5:
        raise HistoryError(
            f"column {column.name!r} has numbers with commas, such as {distinct[comma].iloc[0]!r}:"
            f" {_without_commas(column)}"
        )
    if len(distinct) > 1 and distinct.str.fullmatch(r"\d{4}-\d{2}-\d{2}([T ].*)?").all():
        raise HistoryError(
            f"column {column.name!r} holds dates, such as {distinct.iloc[0]!r}; expected numbers or categories. Leave"
            " it out of ", Option.COLUMNS, ", or give the number that matters, such as the days until then",
        )  # fmt: skip
    number = pd.to_numeric(distinct, errors="coerce").notna()
    if number.mean() > 0.5 and (len(distinct) > FEW or distinct[number].str.contains(".", regex=False).any()):
        unread = column.notna() & pd.to_numeric(column.astype(str), errors="coerce").isna()
        parts = _no_number(column, unread, commas=commas).args
        raise HistoryError(*parts, "; or leave the column out of ", Option.COLUMNS)
