"""A file's column of times, or one time, to epoch milliseconds; naive times are read in a named zone.

Shapes: N rows.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_integer_dtype

from streamcast.errors import HistoryError, Message, Option
from streamcast.offline.history import calendar_texts
from streamcast.spec.local_time import zone_named
from streamcast.stages import stage
from streamcast.topics.epochs import UNITS, Unit
from streamcast.wording import counted

_ZONE = r"(?:[Zz]| UTC| GMT)$|[Tt ]\d[\d:.,]* ?[+-]\d{2}(?::?\d{2})?$"
_NAMED_ZONE = re.compile(r"\d.*\d:\d{2}.*?(?P<name> ?(?!UTC|GMT)[A-Z]{3,5}|\[[\w/+-]+\]| [A-Z][a-z]+/\w+)")
"""A time with the name of a zone after it, such as CET, [Europe/Berlin] or Europe/Berlin."""
_DIGIT = r"\d"
EXAMPLE = "%d.%m.%Y %H:%M"
"""The form that a message shows where none is seen to read the times."""
_OFFSETS = r"([+-]\d{2}(?::?\d{2})?)$"
MOST_OFFSETS = 3
"""Offsets from UTC that a note names."""
UTC_NAMES = ("UTC", "Etc/UTC", "GMT", "Etc/GMT", "Z", "+00:00", "-00:00", "UTC+00:00")
_EXTENDED = re.compile(r"\d{4}-\d{2}-\d{2}")
_MONTH = r"(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_DAY = r"(?i:mon|tue|wed|thu|fri|sat|sun)[a-z]*"
_LIKE = re.compile(
    rf"(?:{_DAY}(?P<after_day>,? ))?"
    r"(?:(?P<left>\d{1,4})(?P<mark>[/.-])\d{1,2}(?P=mark)(?P<right>\d{1,4})"
    rf"|(?P<named>(?:\d{{1,4}}[ ./-]*)?{_MONTH}[ .,/-]*(?:\d{{1,4}})?(?:[ ,/-]+\d{{2,4}})?))"
    r"(?:(?P<between>[ T]|, )(?P<hour>\d{1,2}):\d{2}(?P<second>:\d{2})?(?P<space> ?)(?P<half>[AaPp][Mm])?"
    r"(?P<offset>[+-]\d{2}:?\d{2})?)?"
)
"""A date in three numbers, or with its month's name, and a clock after it; a day of the week may be before it."""
_OF_MONTH = re.compile(r"\d{1,2}(?P<mark>[/.-])\d{4}|\d{6}")
CHANGING = ("Europe/London", "Europe/Berlin", "America/New_York", "Australia/Sydney")
"""A zone for each way in which many clocks go forward and back."""
LONGEST_SEARCHED = pd.Timedelta(days=40 * 366)
DAY_ZERO, DAY_NUMBERS = "1899-12-30", (25_569, 73_051)
"""The day 0 of spreadsheets, and their numbers of 1970-01-01 and 2100-01-01."""
_ONLY_DIGITS = re.compile(r"(?:%[YymdHMSfj])+")
"""Forms of times that a file's reader may give as whole numbers, such as 20260131."""


class Written(NamedTuple):
    """How a source writes its times: with a zone or an offset, as numbers of a unit, or in a form of its own."""

    zoned: bool = False
    unit: Unit | None = None
    form: str | None = None
    dtype: Any = None
    """That of the numbers or texts."""


class Times(NamedTuple):
    """Epoch milliseconds [N], notes about assumptions, and how the source writes its times."""

    ts_N: NDArray[np.int64]
    notes: list[str]
    written: Written = Written()
    below_N: NDArray[np.int64] | None = None
    """The nanoseconds of each time below its millisecond, to which times are cut; None where there are none."""


class TimestampError(HistoryError):
    """A time cannot be read; the message names it and what was expected, but not its column."""


@stage("reading the times")
def read_timestamps(
    column: pd.Series, series_N: NDArray[np.int32], timezone: str, time_format: str | None = None
) -> Times:
    """Return the times of N rows; raises TimestampError, SettingsError for the zone.

    Numbers are epoch seconds, milliseconds, microseconds or nanoseconds: all of them in one unit, which their size
    shows; with a ``time_format`` they are texts, such as 20260131.  Periods are their starts, and so are texts of
    quarters, months, weeks and intervals.  In the hour that clocks repeat in autumn, a series' first row with a local
    time is read as summer time and its second as winter time, in the source's own order; in a series whose newest row
    comes first it is the other way round.
    """
    if column.isna().any():
        raise TimestampError(f"row {column.index[column.isna()][0] + 1} has no time; expected one in every row")
    if pd.api.types.is_numeric_dtype(column) and time_format is None:
        return _from_numbers(column)
    if isinstance(column.dtype, pd.PeriodDtype):
        column = column.dt.to_timestamp()
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        notes = _other_zone(str(column.dtype.tz), timezone)
        utc = column.dt.tz_convert("UTC").dt.tz_localize(None)
        return Times(_milliseconds(utc), notes, Written(zoned=True), _below(utc))
    if pd.api.types.is_datetime64_dtype(column):
        return Times(*_from_naive(column, series_N, timezone), below_N=_below(column))
    _refuse_objects(column)
    texts = column.astype(str)
    if time_format is None and (kind := calendar_texts.span_of(texts.iloc[0])) is not None:
        local = _parse(texts, None, utc=False)
        ts_N, notes = _from_naive(local, series_N, timezone)
        return Times(ts_N, [f"times are {kind}s: {texts.iloc[0]} was read as its start, {local.iloc[0]}", *notes])
    zoned = texts.str.contains(_ZONE, regex=True) | _names_a_zone(time_format)
    if zoned.all():
        offsets = texts.str.extract(_OFFSETS, expand=False).dropna().unique()
        notes = _other_zone(" and ".join(offsets[:MOST_OFFSETS]), timezone) if len(offsets) else []
        utc = _parse(texts, time_format, utc=True).dt.tz_localize(None)
        return Times(_milliseconds(utc), notes, Written(zoned=True), _below(utc))
    if zoned.any():
        with_zone, without = texts[zoned].iloc[0], texts[~zoned].iloc[0]
        raise TimestampError(f"{with_zone!r} has a zone and {without!r} has none; expected all or none")
    local = _parse(texts, time_format, utc=False)
    form = time_format if time_format is not None and _writes(time_format, local, texts) else None
    plain = pd.api.types.is_string_dtype(column) or pd.api.types.is_numeric_dtype(column)
    written = Written(form=form, dtype=column.dtype) if form is not None and plain else Written()
    return Times(*_from_naive(local, series_N, timezone), written, _below(local))


def _refuse_objects(column: pd.Series) -> None:
    """Raise TimestampError for a value that is no single one, such as a list of times."""
    if not pd.api.types.is_object_dtype(column):
        return
    for place in np.flatnonzero(~column.map(type).duplicated()).tolist():
        if not pd.api.types.is_scalar(value := column.iloc[place]):
            raise TimestampError(
                f"row {column.index[place] + 1} holds an object of type {type(value).__name__}; expected one time:"
                " pandas' explode makes a row of each item of a list"
            )


def _other_zone(named: str, timezone: str) -> list[str]:
    """Return a note that days are not those of the zone, or of the offset, that times name."""
    if timezone != "UTC" or named in UTC_NAMES:
        return []
    return [
        Message(
            f"times name {named}; hours and days are those of UTC unless another zone is chosen with ", Option.TIMEZONE
        )
    ]


def instant_of(text: str, timezone: str, time_format: str | None = None) -> int:
    """Return one time as epoch milliseconds, read as a column of such times would be.

    Beside the form, extended ISO 8601 is read, unless the form starts as it does with days in the place of months.
    Raises TimestampError, also for a time in the hour that clocks repeat: no other row says which one it is.
    """
    try:
        instant = _one(text, time_format)
    except TimestampError as unread:
        if time_format is None or time_format.startswith("%Y-%d") or not _EXTENDED.match(text):
            raise
        try:
            instant = _one(text, None)
        except TimestampError:
            raise unread from None
    return milliseconds_of(instant, timezone)


def number_in_form(number: int, timezone: str, time_format: str | None) -> int | None:
    """Return the epoch milliseconds of a number that a form of digits writes, such as 20260131; None for others."""
    if time_format is None or not _ONLY_DIGITS.fullmatch(time_format):
        return None
    try:
        instant = _one(str(number), time_format)
    except TimestampError:
        return None
    return milliseconds_of(instant, timezone) if instant.strftime(time_format) == str(number) else None


def milliseconds_of(instant: pd.Timestamp, timezone: str) -> int:
    """Return a time as epoch milliseconds, read in a zone if it names none.

    Raises TimestampError for a local time that clocks repeat or skip.
    """
    if instant.tzinfo is None:
        zone = zone_named(timezone)
        zoned = instant.tz_localize(zone, ambiguous="NaT", nonexistent="shift_forward")
        if pd.isna(zoned):
            raise _twice(instant, timezone)
        if zoned.tz_localize(None) != instant:
            raise TimestampError(f"{instant} does not exist in {timezone}, where clocks went forward")
        instant = zoned
    return int(instant.asm8.astype("datetime64[ms]").astype(np.int64))


def _twice(instant: pd.Timestamp, timezone: str) -> TimestampError:
    first = instant.tz_localize(zone_named(timezone), ambiguous=True)
    return TimestampError(
        f"{instant} comes twice in {timezone}, where clocks went back; write it in ISO 8601 with its offset, such as"
        f" {first.isoformat()} for the first one"
    )


def _one(text: str, time_format: str | None) -> pd.Timestamp:
    zoned = re.search(_ZONE, text) is not None or _names_a_zone(time_format)
    instant: pd.Timestamp = _parse(pd.Series([text]), time_format, utc=zoned).iloc[0]
    return instant


def _names_a_zone(time_format: str | None) -> bool:
    return time_format is not None and "%z" in time_format.lower()


def _from_numbers(column: pd.Series) -> Times:
    least, most = column.min(), column.max()
    for unit in UNITS:
        if unit.first <= least and most < unit.end:
            ts_N = _scaled(column, unit.milliseconds)
            span = " to ".join(f"{pd.Timestamp(int(at), unit='ms'):%Y-%m-%d %H:%M}" for at in (ts_N.min(), ts_N.max()))
            note = f"numeric times were read as epoch {unit.name}: {span} UTC"
            below_N = _below_of_numbers(column, ts_N, unit.milliseconds)
            return Times(ts_N, [note], Written(unit=unit, dtype=column.dtype), below_N)
    if least >= DAY_NUMBERS[0] and most < DAY_NUMBERS[1]:
        first = pd.to_datetime(column.iloc[0], unit="D", origin=DAY_ZERO).round("s")
        raise TimestampError(
            f"the numbers from {least} to {most} seem to be a spreadsheet's day numbers: {column.iloc[0]} is {first}."
            " Show the column as dates there and write the file again, or make times of them, such as with"
            f" pd.to_datetime(df[{column.name!r}], unit='D', origin={DAY_ZERO!r}).dt.round('s')"
        )
    raise TimestampError(
        f"the numbers from {least} to {most} are no epoch seconds, milliseconds, microseconds or nanoseconds of one"
        " unit from 1973 on; write dates, such as 2026-01-31 13:00:00, or give ", Option.TIME_FORMAT, ", such as"
        " %Y%m%d for 20260131, %Y%m for 202601 or %Y for years",
    )  # fmt: skip


def _scaled(column: pd.Series, milliseconds: float) -> NDArray[np.int64]:
    """Return numbers of a unit as milliseconds, whole ones without a rounding error."""
    if is_integer_dtype(column):
        whole_N = column.to_numpy(np.int64)
        return whole_N * int(milliseconds) if milliseconds >= 1 else whole_N // round(1 / milliseconds)
    return np.rint(column.to_numpy(np.float64) * milliseconds).astype(np.int64)


def _below_of_numbers(column: pd.Series, ts_N: NDArray[np.int64], milliseconds: float) -> NDArray[np.int64] | None:
    """Return the nanoseconds of numbers of a unit below the milliseconds [N] that they were read as; None for none."""
    if is_integer_dtype(column):
        if milliseconds >= 1:
            return None
        units = round(1 / milliseconds)
        below_N = column.to_numpy(np.int64) % units * (10**6 // units)
    else:  # a float of seconds tells microseconds apart, and no nanoseconds
        below_N = 1_000 * np.rint((column.to_numpy(np.float64) * milliseconds - ts_N) * 1e3).astype(np.int64)
    return below_N if below_N.any() else None


def _parse(texts: pd.Series, time_format: str | None, *, utc: bool) -> pd.Series:
    if time_format is not None and "%p" in time_format and "%I" not in time_format:
        raise TimestampError(
            Option.TIME_FORMAT, f" {time_format} has %p, AM or PM, and no %I, which reads the hours of such a clock:"
            " without it, 3 PM would be 3 in the morning",
        )  # fmt: skip
    if time_format is None and calendar_texts.span_of(texts.iloc[0]) is not None:
        try:
            return calendar_texts.starts(texts)
        except (ValueError, OverflowError) as error:
            raise TimestampError(
                f"{error}: write all times in one form, as in 2024Q1, 2024-W05 or 2024-01-31"
            ) from None
    if not (timely := texts.str.contains(_DIGIT)).all():  # pandas reads "now" as the time of its clock
        raise _unread(f"Time data {texts[~timely].iloc[0]} has no digits", texts, time_format)
    if utc:
        texts = texts.str.replace(r" (?:UTC|GMT)$", "Z", regex=True)
    try:
        return pd.to_datetime(texts, format=time_format or "ISO8601", utc=utc)
    except (ValueError, OverflowError) as error:
        raise _unread(str(error).split(" You might")[0].strip().removesuffix("."), texts, time_format) from None


def _unread(fault: str, texts: pd.Series, time_format: str | None) -> TimestampError:
    """Return the error for texts that are not of a form, with the forms that read all of them, or one as an example."""
    first, forms = str(texts.iloc[0]), _forms(texts)
    if (named := _NAMED_ZONE.fullmatch(first.strip())) is not None:
        return TimestampError(
            f"{first!r} names the zone {named['name'].strip(' []')}, and names other than UTC are not read: write"
            " offsets, as in 2026-01-31T13:00:00+01:00, or leave the zone out and give ", Option.TIMEZONE,
        )  # fmt: skip
    if (time_format is not None or not forms) and (others := _others(texts, time_format, fault)) is not None:
        return others
    if not forms and (known := calendar_texts.recognised(first.strip())) is not None:
        return TimestampError(f"{first!r} is {known}")
    if time_format is None:
        expected = "expected ISO 8601, such as 2026-01-31 13:00:00 or 2026-01-31T13:00:00+01:00"
        fault, remedy = f"{fault}; {expected}; give ", (Option.TIME_FORMAT, " for another form, such as ")
    else:
        fault, remedy = (
            f"the times, such as {first!r}, are not of the form of ",
            (Option.TIME_FORMAT, f" {time_format} ({fault}); write it as they are, such as "),
        )
    match forms:
        case [one]:
            return TimestampError(fault, *remedy, _typed(one))
        case [one, other, *_]:
            either = f"{_typed(one)}, or {_typed(other)}: these rows can be read either way"
            return TimestampError(fault, *remedy, either)
    offset = time_format is not None and not _names_a_zone(time_format) and re.search(_ZONE, first) is not None
    example = f"{time_format}%z" if offset else EXAMPLE
    if example != time_format:
        return TimestampError(fault, *remedy, _typed(example))
    written = remedy[1].removesuffix(", such as ")
    return TimestampError(fault, remedy[0], f"{written}, with all of their parts, or clean the column")


def _typed(form: str) -> str:
    """Return a form as a shell reads it as one word."""
    return repr(form) if " " in form else form


def _others(texts: pd.Series, time_format: str | None, fault: str) -> TimestampError | None:
    """Return the error for the first text that is not of a form (None: ISO 8601) which reads most; None for few."""
    times = pd.to_datetime(texts, format=time_format or "ISO8601", errors="coerce", utc=True)
    unread = (times.isna() | ~texts.str.contains(_DIGIT)).to_numpy()
    if time_format is None and unread.mean() >= 0.5:
        return None
    if unread.all():
        return None
    row = int(unread.argmax())
    if time_format is None and (known := calendar_texts.recognised(str(texts.iloc[row]).strip())) is not None:
        fault = f"it is {known}"
    return TimestampError(
        f"{texts.iloc[row]!r} in row {texts.index[row] + 1} is not ",
        *(("ISO 8601",) if time_format is None else ("of the form of ", Option.TIME_FORMAT, f" {time_format}")),
        f" ({fault}), as {counted(int((~unread).sum()), 'other')} are: write all times in one form, or"
        " leave out what is no time",
    )  # fmt: skip


def _forms(texts: pd.Series) -> list[str]:
    """Return the forms that read all of some texts, of those that look like the first one: days or months first."""
    first = str(texts.iloc[0]).strip()
    found = _LIKE.fullmatch(first)
    if found is None:
        month = _OF_MONTH.fullmatch(first)
        forms = [] if month is None else [f"%m{month['mark']}%Y" if month["mark"] else "%Y%m"]
        return [form for form in forms if _reads(form, texts)]
    clock = ""
    if found["hour"] is not None:
        clock = found["between"] + ("%I" if found["half"] else "%H") + ":%M" + (":%S" if found["second"] else "")
        clock += found["space"] + ("%p" if found["half"] else "") + ("%z" if found["offset"] else "")
    days = ["%a" + found["after_day"], "%A" + found["after_day"]] if found["after_day"] else [""]
    forms = [
        day + date + clock
        for day in days
        for date in (_of_name(found["named"]) if found["named"] else _of_numbers(found))
    ]
    read = [form for form in forms if _reads(form, texts)]
    return read[:1] if found["named"] else read


def _reads(form: str, texts: pd.Series) -> bool:
    """Whether a form reads all of some texts."""
    return bool(pd.to_datetime(texts.str.strip(), format=form, errors="coerce", utc=True).notna().all())


def _of_name(date: str) -> list[str]:
    """Return the forms of a date that names its month in English: short, as Jan, and in full."""
    form = re.sub(r"\d{4}", "%Y", date)
    if "%Y" in form or len(re.findall(r"\d+", form)) > 1:
        form = re.sub(r"\d{1,2}", "%d", form, count=1)
    elif not re.search(r"\d", form):
        return []
    return [re.sub(r"\d{2}", "%y", re.sub(_MONTH, month, form)) for month in ("%b", "%B")]


def _of_numbers(found: re.Match[str]) -> list[str]:
    """Return the forms of a date in three numbers: days or months first."""
    mark, left, right = found["mark"], found["left"], found["right"]
    if len(left) == 4:
        return [mark.join(("%Y", *parts)) for parts in (("%m", "%d"), ("%d", "%m"))]
    year = "%Y" if len(right) == 4 else "%y"
    return [mark.join((*parts, year)) for parts in (("%d", "%m"), ("%m", "%d"))]


def _from_naive(column: pd.Series, series_N: NDArray[np.int32], timezone: str) -> tuple[NDArray[np.int64], list[str]]:
    zone = zone_named(timezone)
    notes: list[str] = [f"times without a zone were read as {timezone}"]
    local = column.reset_index(drop=True)
    if timezone in UTC_NAMES:
        notes += _skipped_hours(local)
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
        rows = counted(int(zoned.isna().sum()), "row")
        raise TimestampError(
            f"{missing} does not exist in {timezone}, where clocks went forward ({rows} in such hours); give ",
            Option.TIMEZONE, f" as that in which the times were written, such as UTC{_fixed(zone, missing)}; or, if"
            " only these rows are wrong, leave them out",
        )  # fmt: skip
    return _milliseconds(zoned.dt.tz_convert("UTC").dt.tz_localize(None)), notes


def _skipped_hours(local: pd.Series) -> list[str]:
    """Return a note if times are without rows in the hours that clocks skip, and only there: then they are local."""
    hours = pd.DatetimeIndex(local.dropna().dt.floor("h").unique())
    if hours.empty or hours.max() - hours.min() > LONGEST_SEARCHED:
        return []
    hour, every = pd.Timedelta(hours=1), pd.date_range(hours.min(), hours.max(), freq="h")
    for name in CHANGING:
        zoned = every.tz_localize(ZoneInfo(name), ambiguous=np.ones(len(every), np.bool_), nonexistent="NaT")
        skipped = every[zoned.isna()]
        beside = skipped[(skipped - hour).isin(hours) & (skipped + hour).isin(hours)]
        if len(beside) and not beside.isin(hours).any():
            day = f"{beside[0]:%Y-%m-%d %H:%M}"
            where = (
                f"no row is from the hour of {day}, which clocks skip in {name}, though rows are before and after it"
            )
            return [Message(f"{where}: if times are local, give ", Option.TIMEZONE)]
    return []


def zone_that_repeats(ts_N: NDArray[np.int64]) -> str | None:
    """Return a zone whose clocks repeat the hours of all these local times, in milliseconds [N]; None without one."""
    local = pd.DatetimeIndex(ts_N.astype("datetime64[ms]"))
    for name in CHANGING:
        if local.tz_localize(ZoneInfo(name), ambiguous="NaT", nonexistent="shift_forward").isna().all():
            return name
    return None


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


def _below(times: pd.Series) -> NDArray[np.int64] | None:
    """Return the nanoseconds of each time below its millisecond [N]; None where there are none."""
    given = times.to_numpy()
    below_N = (given - given.astype("datetime64[ms]")).astype("timedelta64[ns]").astype(np.int64)
    return below_N if below_N.any() else None


def offset_minutes(texts: pd.Series) -> NDArray[np.int64]:
    """Return the offsets from UTC that times end with, in minutes [N]; 0 where they name none, as with Z."""
    parts = texts.str.extract(r"(?P<sign>[+-])(?P<hours>\d{2}):?(?P<minutes>\d{2})?$")
    hours_N, minutes_N = (parts[name].fillna("0").to_numpy().astype(np.int64) for name in ("hours", "minutes"))
    sign_N = np.where(parts["sign"] == "-", -1, 1).astype(np.int64)
    offset_N: NDArray[np.int64] = sign_N * (60 * hours_N + minutes_N)
    return offset_N


def _writes(form: str, local: pd.Series, texts: pd.Series) -> bool:
    """Whether a form gives a column's texts back, of which it checks a thousand: it reads 1.2.2026, but writes 01."""
    some = slice(None, None, max(1, len(texts) // 1_000))
    return bool((local.iloc[some].dt.strftime(form) == texts.iloc[some]).all())


def as_written(frame: pd.DataFrame, timezone: str, written: Written) -> pd.DataFrame:
    """Return a frame of forecasts, whose times are UTC, with times as a source writes them.

    Times that the source has as datetimes or ISO 8601, or that its unit or form cannot hold, are datetimes in the zone.
    """
    local = in_zone(frame, timezone, named=written.zoned)
    names = [name for name in ("ds", "cutoff") if name in frame]
    if written.unit is not None:
        given = {name: _in_unit(frame[name], written.unit, whole=is_integer_dtype(written.dtype)) for name in names}
    elif written.form is not None:
        given = {name: _in_form(local[name], written.form) for name in names}
    else:
        return local
    held = {name: times for name, times in given.items() if times is not None}
    if len(held) < len(names):
        return local
    return frame.assign(**{name: times.astype(written.dtype) for name, times in held.items()})


def twice_as_written(frame: pd.DataFrame, timezone: str, written: Written) -> list[str]:
    """Return a note if rows of a frame, whose times are UTC, have one local time where clocks go back.

    They have it as a source writes times that name no zone.
    """
    if written.zoned or written.unit is not None or timezone in UTC_NAMES:
        return []
    utc = pd.DatetimeIndex(frame["ds"].unique()).sort_values()
    local = utc.tz_localize("UTC").tz_convert(zone_named(timezone)).tz_localize(None)
    twice = local[local.duplicated()]
    if twice.empty:
        return []
    first = f"{twice[0]:%Y-%m-%d %H:%M}"
    which = f"{first} comes" if len(twice) == 1 else f"{len(twice):,} local times, such as {first}, come"
    back = f"twice in what is returned, summer time first, because clocks go back in {timezone}"
    return [f"{which} {back}: a join by time doubles such rows. Give times with their zone to tell them apart"]


def _in_unit(utc: pd.Series, unit: Unit, *, whole: bool) -> pd.Series | None:
    """Return times as numbers of a unit; None if they must be whole and are not."""
    ts_N = _milliseconds(utc)
    if unit.milliseconds < 1:
        return pd.Series(ts_N * round(1 / unit.milliseconds), utc.index)
    parts_N = ts_N % int(unit.milliseconds)
    if not whole:
        return pd.Series(ts_N / unit.milliseconds, utc.index)
    return None if parts_N.any() else pd.Series(ts_N // int(unit.milliseconds), utc.index)


def _in_form(local: pd.Series, form: str) -> pd.Series | None:
    """Return local times as texts in a form; None if these do not tell the times."""
    texts = local.dt.strftime(form)
    again = pd.to_datetime(texts, format=form)
    return texts if (again.to_numpy() == local.to_numpy()).all() else None


def in_zone(frame: pd.DataFrame, timezone: str, *, named: bool = False) -> pd.DataFrame:
    """Return a frame of forecasts, whose times are UTC, with its times in a zone, which they name if they shall."""
    if timezone == "UTC" and not named:
        return frame
    zoned = {
        name: frame[name].dt.tz_localize("UTC").dt.tz_convert(timezone) for name in ("ds", "cutoff") if name in frame
    }
    return frame.assign(**(zoned if named else {name: times.dt.tz_localize(None) for name, times in zoned.items()}))
