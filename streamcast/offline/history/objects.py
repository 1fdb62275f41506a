"""Columns of Python's and pandas' own types: numbers become floats, what is no number and no name is refused.

Fractions, and whole numbers and decimals beyond all floats, are numbers.  Complex numbers, durations, lists and other
objects are neither numbers nor names of categories.
"""

from __future__ import annotations

import math
import textwrap
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from numbers import Complex, Real

import numpy as np
import pandas as pd

from streamcast.errors import HistoryError, Option
from streamcast.topics.observations import LARGEST_VALUE

LONGEST_SHOWN = 80
"""Characters of a value that an error shows."""


def plain(column: pd.Series, *, target: bool) -> pd.Series:
    """Return a column whose values are plain numbers, texts or times; raises HistoryError for other objects."""
    if pd.api.types.is_complex_dtype(column):
        raise _refused(column, 0, target=target)
    if is_number(column) or isinstance(column.dtype, pd.StringDtype):
        return column
    values = column.astype(object)
    types = pd.Series(list(map(type, values)), dtype=object)
    rows = types.drop_duplicates().index.tolist()
    for row in rows:
        if _is_refused(values.iloc[row]):
            raise _refused(column, row, target=target)
    if any(isinstance(values.iloc[row], int | Fraction | Decimal) for row in rows):
        return pd.Series([_as_float(value) for value in values], index=column.index, name=column.name, dtype=object)
    return values if isinstance(column.dtype, pd.ArrowDtype) else column


def is_number(column: pd.Series) -> bool:
    """Whether all values are numbers, or true and false, by their type."""
    return pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)


def _as_float(value: object) -> object:
    """Return what Arrow or NumPy cannot read as a number as a float; names keep their digits."""
    if isinstance(value, Decimal) and value.is_nan():  # a signalling one cannot be hashed
        return math.nan
    if isinstance(value, Fraction) or (isinstance(value, int) and abs(value) > LARGEST_VALUE):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    return value


def _is_refused(value: object) -> bool:
    return _is_complex(value) or isinstance(value, timedelta | np.timedelta64) or not pd.api.types.is_scalar(value)


def _is_complex(value: object) -> bool:
    return isinstance(value, Complex) and not isinstance(value, Real)


def _refused(column: pd.Series, row: int, *, target: bool) -> HistoryError:
    """Return the error for a value of a column that is no number and no name."""
    value, name = column.iloc[row], column.name
    shown = textwrap.shorten(str(value), LONGEST_SHOWN, placeholder=" ...")
    if _is_complex(value):
        holds, remedy = "complex numbers", f"give one part of them, such as df[{name!r}].map(lambda z: z.real)"
    elif isinstance(value, timedelta | np.timedelta64):
        holds, remedy = "durations", f"give them in a unit, such as df[{name!r}] / pd.Timedelta('1h')"
    else:
        holds, remedy = f"objects of type {type(value).__name__}", "give one value a row"
    leave_out = () if target else (", or leave the column out of ", Option.COLUMNS)
    return HistoryError(
        f"column {name!r} holds {holds}, such as {shown} in row {column.index[row] + 1}; expected numbers"
        f"{'' if target else ' or texts'}: {remedy}", *leave_out,
    )  # fmt: skip
