"""Local time and days off as tables, so that a forecast's bytes depend on no installed time zone or holiday list.

``local_time`` derives the tables from a time zone and a holiday calendar when a model is made.  They become part of
the model spec and its hash.  They end at ``until``; after it the last offset goes on and no day is off, and
``streamcast check`` warns a year before.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, model_validator

from streamcast.errors import Option, SettingsError
from streamcast.spec.durations import DAY_MS

YEARS_AHEAD = 10
"""How far the tables reach beyond the history that a model is trained on."""

Milliseconds = Annotated[int, Field(ge=-62_135_596_800_000, le=253_402_300_799_999)]


class LocalTime(BaseModel):
    """The wall clock of the series: offsets from UTC by time, and days off.

    ``offsets``: (from, offset) pairs in milliseconds, rising; the first offset also holds before its time.
    ``days_off``: local days as days since 1970-01-01, rising.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    zone: str = Field(max_length=64, description="name of the time zone the offsets come from")
    holidays: str | None = Field(default=None, max_length=64, description="country or region, such as AU-VIC")
    offsets: tuple[tuple[Milliseconds, int], ...] = Field(min_length=1, max_length=10_000)
    days_off: tuple[Annotated[int, Field(ge=-719_162, le=2_932_896)], ...] = Field(default=(), max_length=100_000)
    until: Milliseconds = Field(description="the tables end here, in epoch milliseconds")

    @model_validator(mode="after")
    def _check(self) -> LocalTime:
        if any(later[0] <= earlier[0] for earlier, later in zip(self.offsets, self.offsets[1:], strict=False)):
            raise ValueError("offsets must rise in time")
        if any(abs(offset) > DAY_MS for _, offset in self.offsets):
            raise ValueError("an offset from UTC is at most a day")
        if any(later <= earlier for earlier, later in zip(self.days_off, self.days_off[1:], strict=False)):
            raise ValueError("days_off must rise")
        return self


UTC_TIME = LocalTime(zone="UTC", offsets=((0, 0),), until=253_402_300_799_999)


def zone_named(name: str) -> ZoneInfo:
    """Return the time zone of a name; raises SettingsError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise SettingsError(Option.TIMEZONE, f" is {name!r}: expected a name such as Europe/Berlin or UTC") from error


def local_time(zone: str, holidays: str | None, first_ms: int, last_ms: int) -> LocalTime:
    """Return the tables of a time zone and a holiday calendar for a history from ``first_ms`` to ``last_ms``.

    They reach from a year before the history to ten years after it.  ``holidays`` is a country code of the package
    ``holidays``, with a subdivision where one is wanted: ``US``, ``AU-VIC``.  Raises SettingsError for a zone or a
    calendar that is not known, and for a missing package.
    """
    clock = zone_named(zone)
    year = timedelta(days=366)
    begin = _instant(first_ms) - year
    end = min(_instant(last_ms) + YEARS_AHEAD * year, datetime(9998, 12, 31, tzinfo=UTC))
    begin = min(begin, end)
    offsets = _transitions(clock, begin, end)
    days_off = () if holidays is None else _days_off(holidays, begin.date(), end.date())
    return LocalTime(zone=zone, holidays=holidays, offsets=offsets, days_off=days_off, until=_milliseconds(end))


def _transitions(clock: ZoneInfo, begin: datetime, end: datetime) -> tuple[tuple[int, int], ...]:
    """Return (from, offset) pairs: days whose offset changes are searched to the minute."""
    offset = _offset(clock, begin)
    found, day = [(_milliseconds(begin), offset)], begin
    while day < end:
        following = day + timedelta(days=1)
        if _offset(clock, following) != offset:
            low, high = day, following
            while high - low > timedelta(minutes=1):
                middle = low + (high - low) / 2
                low, high = (middle, high) if _offset(clock, middle) == offset else (low, middle)
            change = high.replace(second=0, microsecond=0)
            offset = _offset(clock, following)
            found.append((_milliseconds(change), offset))
        day = following
    return tuple(found)


def _days_off(calendar: str, begin: date, end: date) -> tuple[int, ...]:
    try:
        import holidays
    except ModuleNotFoundError as error:
        raise SettingsError(
            Option.HOLIDAYS, " needs a package: pip install 'streamcast-forecasting[holidays]'"
        ) from error
    if not calendar.strip():
        raise SettingsError(Option.HOLIDAYS, " is empty: expected a code such as US or AU-VIC; leave it out for none")
    years = range(begin.year, end.year + 1)

    def days_of(code: str) -> Iterable[date]:
        country, _, part = code.partition("-")
        return holidays.country_holidays(country, subdiv=part or None, years=years)

    try:
        days = days_of(calendar)
    except NotImplementedError as error:
        meant = calendar.strip().upper().replace("_", "-")
        try:
            days_of(meant)
        except NotImplementedError:
            said = f" is {calendar!r}: {error}; use a code such as US or AU-VIC"
            raise SettingsError(Option.HOLIDAYS, said) from error
        raise SettingsError(Option.HOLIDAYS, f" is {calendar!r}; did you mean {meant!r}?") from None
    epoch = date(1970, 1, 1)
    return tuple(sorted((day - epoch).days for day in days if begin <= day <= end))


def _offset(clock: ZoneInfo, instant: datetime) -> int:
    offset = instant.astimezone(clock).utcoffset() or timedelta()
    return offset // timedelta(milliseconds=1)


def _instant(milliseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


def _milliseconds(instant: datetime) -> int:
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
