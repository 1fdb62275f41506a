"""A file's column of times to epoch milliseconds; naive times are read in a named zone.

Shapes: N rows.
"""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_ZONE = r"(?:Z|z|[+-]\d{2}:?\d{2}|[+-]\d{2}| UTC| GMT)$"
_EARLIEST_MS = 10**11  # 1973 in milliseconds, the year 5138 in seconds


class TimestampError(ValueError):
    """A time cannot be read; the message names it and what was expected."""


def read_timestamps(
    column: pd.Series, series_N: NDArray[np.int32], timezone: str, time_format: str | None = None
) -> tuple[NDArray[np.int64], list[str]]:
    """Return epoch milliseconds [N] and notes about assumptions; raises TimestampError.

    Numbers are epoch milliseconds.  In the hour that clocks repeat in autumn, a series' first row with a local time
    is read as summer time and its second as winter time, in the source's own order.
    """
    if column.isna().any():
        raise TimestampError(f"row {int(np.flatnonzero(column.isna())[0]) + 1} has no time; expected one in every row")
    if pd.api.types.is_numeric_dtype(column):
        return _from_numbers(column)
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return _milliseconds(column.dt.tz_convert("UTC").dt.tz_localize(None)), []
    if pd.api.types.is_datetime64_dtype(column):
        return _from_naive(column, series_N, timezone)
    texts = column.astype(str)
    zoned = texts.str.contains(_ZONE, regex=True) & texts.str.contains(":", regex=False)
    if zoned.all():
        return _milliseconds(_parse(texts, time_format, utc=True).dt.tz_localize(None)), []
    if zoned.any():
        with_zone, without = texts[zoned].iloc[0], texts[~zoned].iloc[0]
        raise TimestampError(f"{with_zone!r} has a zone and {without!r} has none; expected all or none")
    return _from_naive(_parse(texts, time_format, utc=False), series_N, timezone)


def _from_numbers(column: pd.Series) -> tuple[NDArray[np.int64], list[str]]:
    ts_N = column.to_numpy(np.int64)
    if int(ts_N.min()) < _EARLIEST_MS:
        raise TimestampError(f"{int(ts_N.min())} is too small for epoch milliseconds; multiply seconds by 1000")
    return ts_N, ["numeric times were read as epoch milliseconds"]


def _parse(texts: pd.Series, time_format: str | None, *, utc: bool) -> pd.Series:
    try:
        return pd.to_datetime(texts, format=time_format or "ISO8601", utc=utc)
    except ValueError as error:
        expected = time_format or "ISO 8601, such as 2026-01-31 13:00:00; give time_format for another form"
        raise TimestampError(f"{error}; expected {expected}") from None


def _from_naive(column: pd.Series, series_N: NDArray[np.int32], timezone: str) -> tuple[NDArray[np.int64], list[str]]:
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError):
        raise TimestampError(f"{timezone!r} is not a time zone; expected one such as UTC or Europe/Berlin") from None
    notes = [f"times without a zone were read as {timezone}"]
    local = column.reset_index(drop=True)
    summer = pd.DataFrame({"series": series_N, "local": local}).groupby(["series", "local"]).cumcount() == 0
    probe = local.dt.tz_localize(zone, ambiguous="NaT", nonexistent="shift_forward")
    if repeated := int(probe.isna().sum()):
        notes.append(
            f"{repeated:,} rows lie in a repeated hour: a series' first was read as summer, its next as winter time"
        )
    zoned = local.dt.tz_localize(zone, ambiguous=summer.to_numpy(), nonexistent="NaT")
    if zoned.isna().any():
        missing = local[zoned.isna()].iloc[0]
        raise TimestampError(
            f"{missing} does not exist in {timezone}, where clocks went forward; name the zone in which the times were"
            " written, such as UTC or a fixed one like Etc/GMT-1"
        )
    return _milliseconds(zoned.dt.tz_convert("UTC").dt.tz_localize(None)), notes


def _milliseconds(utc: pd.Series) -> NDArray[np.int64]:
    return utc.to_numpy().astype("datetime64[ms]").astype(np.int64)


def in_zone(frame: pd.DataFrame, timezone: str) -> pd.DataFrame:
    """Return a frame of forecasts, whose times are UTC, with its times in a zone but without naming it."""
    if timezone == "UTC":
        return frame
    local = {
        name: frame[name].dt.tz_localize("UTC").dt.tz_convert(timezone).dt.tz_localize(None)
        for name in ("ds", "cutoff")
    }
    return frame.assign(**local)
