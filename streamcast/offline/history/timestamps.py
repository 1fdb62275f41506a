"""A file's column of times to epoch milliseconds; naive times are read in a named zone.

Shapes: N rows.
"""

from __future__ import annotations

from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from streamcast.errors import HistoryError, Option
from streamcast.quality import counted
from streamcast.spec.local_time import zone_named
from streamcast.topics.epochs import UNITS

_ZONE = r"(?:[Zz]| UTC| GMT)$|[Tt ]\d[\d:.,]*[+-]\d{2}(?::?\d{2})?$"


class Times(NamedTuple):
    """Epoch milliseconds [N], notes about assumptions, and whether the source's times name a zone or an offset."""

    ts_N: NDArray[np.int64]
    notes: list[str]
    zoned: bool = False


class TimestampError(HistoryError):
    """A time cannot be read; the message names it and what was expected, but not its column."""


def read_timestamps(
    column: pd.Series, series_N: NDArray[np.int32], timezone: str, time_format: str | None = None
) -> Times:
    """Return the times of N rows; raises TimestampError, SettingsError for the zone.

    Numbers are epoch seconds, milliseconds, microseconds or nanoseconds: all of them in one unit, which their size
    shows; with a ``time_format`` they are texts, such as 20260131.  In the hour that clocks repeat in autumn, a series'
    first row with a local time is read as summer time and its second as winter time, in the source's own order; in a
    series whose newest row comes first it is the other way round.
    """
    if column.isna().any():
        raise TimestampError(f"row {int(np.flatnonzero(column.isna())[0]) + 1} has no time; expected one in every row")
    if pd.api.types.is_numeric_dtype(column) and time_format is None:
        return Times(*_from_numbers(column))
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return Times(_milliseconds(column.dt.tz_convert("UTC").dt.tz_localize(None)), [], zoned=True)
    if pd.api.types.is_datetime64_dtype(column):
        return Times(*_from_naive(column, series_N, timezone))
    texts = column.astype(str)
    zoned = texts.str.contains(_ZONE, regex=True)
    if zoned.all():
        return Times(_milliseconds(_parse(texts, time_format, utc=True).dt.tz_localize(None)), [], zoned=True)
    if zoned.any():
        with_zone, without = texts[zoned].iloc[0], texts[~zoned].iloc[0]
        raise TimestampError(f"{with_zone!r} has a zone and {without!r} has none; expected all or none")
    return Times(*_from_naive(_parse(texts, time_format, utc=False), series_N, timezone))


def _from_numbers(column: pd.Series) -> tuple[NDArray[np.int64], list[str]]:
    least, most = column.min(), column.max()
    for unit, first, end, milliseconds in UNITS:
        if first <= least and most < end:
            ts_N = _scaled(column, milliseconds)
            span = " to ".join(f"{pd.Timestamp(int(at), unit='ms'):%Y-%m-%d %H:%M}" for at in (ts_N.min(), ts_N.max()))
            return ts_N, [f"numeric times were read as epoch {unit}: {span} UTC"]
    raise TimestampError(
        f"the numbers from {least} to {most} are no epoch seconds, milliseconds, microseconds or nanoseconds of one"
        " unit from 1973 on; write dates, such as 2026-01-31 13:00:00, or give ", Option.TIME_FORMAT, ", such as"
        " %Y%m%d for 20260131 or %Y for years",
    )  # fmt: skip


def _scaled(column: pd.Series, milliseconds: float) -> NDArray[np.int64]:
    """Return numbers of a unit as milliseconds, whole ones without a rounding error."""
    if pd.api.types.is_integer_dtype(column):
        whole_N = column.to_numpy(np.int64)
        return whole_N * int(milliseconds) if milliseconds >= 1 else whole_N // round(1 / milliseconds)
    return np.rint(column.to_numpy(np.float64) * milliseconds).astype(np.int64)


def _parse(texts: pd.Series, time_format: str | None, *, utc: bool) -> pd.Series:
    if utc:
        texts = texts.str.replace(r" (?:UTC|GMT)$", "Z", regex=True)
    try:
        return pd.to_datetime(texts, format=time_format or "ISO8601", utc=utc)
    except (ValueError, OverflowError) as error:
        fault = str(error).split(" You might")[0].strip().removesuffix(".")
        if time_format is not None:
            raise TimestampError(f"{fault}; expected ", Option.TIME_FORMAT, f" {time_format}") from None
        raise TimestampError(
            f"{fault}; expected ISO 8601, such as 2026-01-31 13:00:00 or 2026-01-31T13:00:00+01:00; give ",
            Option.TIME_FORMAT, " for another form, such as %d.%m.%Y %H:%M",
        ) from None  # fmt: skip


def _from_naive(column: pd.Series, series_N: NDArray[np.int32], timezone: str) -> tuple[NDArray[np.int64], list[str]]:
    zone = zone_named(timezone)
    notes = [f"times without a zone were read as {timezone}"]
    local = column.reset_index(drop=True)
    summer = _earlier(series_N, local)
    try:
        probe = local.dt.tz_localize(zone, ambiguous="NaT", nonexistent="shift_forward")
    except (NotImplementedError, OverflowError):
        times = f"the times from {local.min()} to {local.max()}"
        raise TimestampError(f"{times} lie outside the years 1 to 9999 in {timezone}; remove such rows") from None
    if repeated := int(probe.isna().sum()):
        notes.append(
            f"{counted(repeated, 'row')} in a repeated hour: a series' first was read as summer, its next as winter"
            " time" + _without_order(series_N, local, probe.isna().to_numpy())
        )
    zoned = local.dt.tz_localize(zone, ambiguous=summer, nonexistent="NaT")
    if zoned.isna().any():
        missing = local[zoned.isna()].iloc[0]
        raise TimestampError(
            f"{missing} does not exist in {timezone}, where clocks went forward; give ", Option.TIMEZONE,
            f" as that in which the times were written, such as UTC{_fixed(zone, missing)}",
        )  # fmt: skip
    return _milliseconds(zoned.dt.tz_convert("UTC").dt.tz_localize(None)), notes


def _without_order(series_N: NDArray[np.int32], local: pd.Series, repeated_N: NDArray[np.bool_]) -> str:
    """Return a warning if rows [N] of a series with a repeated hour are in no order of time, which says what is read.

    In order, local times step back by less than the hour that clocks repeat, or forward where the newest row is first.
    """
    concerned = np.isin(series_N, series_N[repeated_N])
    in_series = local[concerned].groupby(series_N[concerned])
    sign = np.where(in_series.transform("first") > in_series.transform("last"), -1, 1)
    if not (in_series.diff().to_numpy() * sign <= np.timedelta64(-1, "h")).any():
        return ""
    return (
        ". The order of the rows decides, and here they are in no order of time: put them in the order in which they"
        " were recorded, or write each time with its offset"
    )


def _fixed(zone: ZoneInfo, missing: pd.Timestamp) -> str:
    """Return how to name a zone's winter time all the year, if a whole hour; the signs of such names are reversed."""
    before = missing - pd.Timedelta(hours=3)
    hours = (before - before.tz_localize(zone).tz_convert("UTC").tz_localize(None)) / pd.Timedelta(hours=1)
    if hours == 0 or hours != round(hours):
        return ""
    side = "ahead of" if hours > 0 else "behind"
    return f", or Etc/GMT{-hours:+.0f} for clocks that stay {abs(hours):.0f} h {side} UTC"


def _earlier(series_N: NDArray[np.int32], local: pd.Series) -> NDArray[np.bool_]:
    """Return whether a row is the earliest of its series with its local time [N]."""
    rows = pd.DataFrame({"series": series_N, "local": local})
    same = rows.groupby(["series", "local"])
    in_series = rows.groupby("series").local
    newest_first = in_series.transform("first") > in_series.transform("last")
    earlier = np.where(newest_first, same.cumcount(ascending=False) == 0, same.cumcount() == 0)
    return earlier.astype(np.bool_)


def _milliseconds(utc: pd.Series) -> NDArray[np.int64]:
    return utc.to_numpy().astype("datetime64[ms]").astype(np.int64)


def in_zone(frame: pd.DataFrame, timezone: str, *, named: bool = False) -> pd.DataFrame:
    """Return a frame of forecasts, whose times are UTC, with its times in a zone, which they name if they shall."""
    if timezone == "UTC" and not named:
        return frame
    zoned = {
        name: frame[name].dt.tz_localize("UTC").dt.tz_convert(timezone) for name in ("ds", "cutoff") if name in frame
    }
    return frame.assign(**(zoned if named else {name: times.dt.tz_localize(None) for name, times in zoned.items()}))
