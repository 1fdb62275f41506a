"""One value and one time of a notebook as the engine takes them, by the rules that the service has for records."""

from __future__ import annotations

import math
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

from streamcast.app.arguments import shown
from streamcast.offline.history.timestamps import TimestampError, instant_of, milliseconds_of, number_in_form
from streamcast.spec.model_spec import Column
from streamcast.topics.epochs import MILLISECONDS
from streamcast.topics.observations import LARGEST_VALUE, LATEST_MS, LONGEST_KEY

Number = float | Decimal | Fraction | np.integer[Any] | np.floating[Any]
Time = date | str | float | pd.Period | np.integer[Any] | np.floating[Any] | np.datetime64


def number(value: object, column: Column) -> float:
    """Return a value as a number: NaN when missing; a category as its place, −1 when unknown.

    Raises TypeError for a value that is no number, ValueError for one beyond ±1e100 or infinite.
    """
    if _is_missing(value):
        return np.nan
    if column.categories is not None:
        name = category(value)
        return float(column.categories.index(name)) if name in column.categories else -1.0
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"{column.name} is {value!r}: expected a number, {int(value)}, or None where it is missing")
    if not isinstance(value, int | float | np.integer | np.floating | Decimal | Fraction):
        raise TypeError(f"{column.name} is {shown(value)}: expected a number, or None where it is missing")
    if isinstance(value, np.floating):  # a narrow one cannot be compared with the largest value
        value = float(value)
    if not -LARGEST_VALUE <= value <= LARGEST_VALUE:
        raise ValueError(f"{column.name} is {value!r}: it must lie within ±{LARGEST_VALUE:g}; give None for missing")
    return float(value)


def series_key(key: object) -> str:
    """Return the name of a series as a frame's is read: a whole number as its digits.

    Raises TypeError for what is neither a text nor a whole number, ValueError for a text that is no key of a record.
    """
    if isinstance(key, bool) or not isinstance(key, str | int | np.integer):
        raise TypeError(f"key is {key!r}: expected the name of a series, a text or a whole number")
    if not 1 <= len(text := str(key)) <= LONGEST_KEY:
        raise ValueError(f"key has {len(text):,} characters: expected 1 to {LONGEST_KEY}")
    return text


def category(value: object) -> str:
    """Return the name of a category; a whole number has no decimal point."""
    return str(int(value)) if isinstance(value, float | np.floating) and value.is_integer() else str(value)


def milliseconds(ts: object, timezone: str, time_format: str | None = None) -> int:
    """Return a time as epoch milliseconds; one that names no zone is read in ``timezone``.

    A period is its start; a text is in the form ``time_format``, as the texts of a frame are, or ISO 8601.  Raises
    TypeError for a value that is no time, ValueError for another text, for a number that is no epoch milliseconds, and
    for a local time that clocks repeat or skip.
    """
    if isinstance(ts, int | float | np.integer | np.floating) and not isinstance(ts, bool):
        written = number_in_form(int(ts), timezone, time_format) if isinstance(ts, int | np.integer) else None
        return _epoch(ts) if written is None else written
    if isinstance(ts, pd.Period):
        ts = ts.start_time
    if not isinstance(ts, str | date | np.datetime64):
        raise TypeError(f"ts is {ts!r}: expected a time such as 2026-01-31 13:00, a pd.Timestamp or epoch milliseconds")
    try:
        if isinstance(ts, str):
            return instant_of(ts, timezone, time_format)
        instant = pd.Timestamp(ts)
        if _is_missing(instant):
            raise ValueError(f"ts is {ts!r}: expected a time")
        return milliseconds_of(instant, timezone)
    except TimestampError as error:
        raise ValueError(f"ts is {ts!r}: {error}; or give a pd.Timestamp with a zone, or epoch milliseconds") from None


def _epoch(ts: float | np.integer[Any] | np.floating[Any]) -> int:
    whole = isinstance(ts, int | np.integer) or ts.is_integer()
    if not whole or not MILLISECONDS.first <= int(ts) <= LATEST_MS:
        raise ValueError(
            f"ts is {ts!r}: a number must be epoch milliseconds, such as 1767225600000. Multiply seconds by 1000,"
            " divide microseconds; for a time before 1973 give a pd.Timestamp"
        )
    return int(ts)


def _is_missing(value: object) -> bool:
    if isinstance(value, Decimal):
        return value.is_nan()
    if isinstance(value, float | np.floating):
        return math.isnan(value)
    return value is None or value is pd.NA or value is pd.NaT
