"""One value and one time of a notebook as the engine takes them, by the rules that the service has for records."""

from __future__ import annotations

import math
from datetime import date
from decimal import Decimal
from numbers import Integral, Real

import numpy as np
import pandas as pd

from streamcast.spec.model_spec import Column
from streamcast.topics.observations import LARGEST_VALUE, LATEST_MS

EARLIEST_NUMBER_MS = 10**11
"""March 1973; a smaller number is no time in milliseconds, but one in seconds, or a counter."""


def number(value: object, column: Column) -> float:
    """Return a value as a number: NaN when missing; a category as its place, −1 when unknown.

    Raises TypeError for a value that is no number, ValueError for one beyond ±1e100 or infinite.
    """
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, Real | Decimal) and math.isnan(value)):
        return np.nan
    if column.categories is not None:
        name = category(value)
        return float(column.categories.index(name)) if name in column.categories else -1.0
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real | Decimal):
        raise TypeError(f"{column.name} is {value!r}: expected a number, or None where it is missing")
    if abs(value) > LARGEST_VALUE:
        raise ValueError(f"{column.name} is {value!r}: it must lie within ±{LARGEST_VALUE:g}; give None for missing")
    return float(value)


def category(value: object) -> str:
    """Return the name of a category; a whole number has no decimal point, whatever type it came in."""
    whole = isinstance(value, Real) and not isinstance(value, bool | np.bool_) and float(value).is_integer()
    return str(int(value)) if whole else str(value)  # type: ignore[call-overload]


def milliseconds(ts: object, timezone: str) -> int:
    """Return a time as epoch milliseconds; one that names no zone is read in ``timezone``.

    Raises TypeError for a value that is no time, ValueError for a number that is no epoch milliseconds.
    """
    if isinstance(ts, Real) and not isinstance(ts, bool | np.bool_):
        return _epoch(ts)
    if not isinstance(ts, str | date | np.datetime64):
        raise TypeError(f"ts is {ts!r}: expected a time such as 2026-01-31 13:00, a pd.Timestamp or epoch milliseconds")
    instant = pd.Timestamp(ts)
    if instant is pd.NaT:
        raise ValueError(f"ts is {ts!r}: expected a time")
    return int((instant if instant.tzinfo else instant.tz_localize(timezone)).timestamp() * 1_000)


def _epoch(ts: Real) -> int:
    whole = isinstance(ts, Integral) or float(ts).is_integer()
    if not whole or not EARLIEST_NUMBER_MS <= int(ts) <= LATEST_MS:  # type: ignore[call-overload]
        raise ValueError(
            f"ts is {ts!r}: a number must be epoch milliseconds, such as 1767225600000. Multiply seconds by 1000,"
            " divide microseconds; for a time before 1973 give a pd.Timestamp"
        )
    return int(ts)  # type: ignore[call-overload, no-any-return]
