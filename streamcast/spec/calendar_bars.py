"""Bars of the calendar, whose lengths differ: local days, weekdays, weeks, months, quarters and years.

Their starts are a table in the model spec, made from a time zone and the calendar when a model is made, so that a
forecast's bytes depend on no installed table.  ``Grid`` is where bars start, whether they have one length or not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from itertools import groupby, pairwise
from typing import Annotated, Any, Literal, overload
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from streamcast.spec.durations import DAY_MS, WEEK_MS
from streamcast.spec.local_time import Milliseconds, zone_named

Ints = npt.NDArray[np.int64]

MONTH_MS = 2_629_746_000
"""A twelfth of the mean Gregorian year."""
YEARS_AHEAD = 50
"""How far a table reaches beyond the history that a model is trained on."""
LAST_DAY = 31
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_MONDAY = 4
"""The first Monday, in days since 1970-01-01."""
_LENGTHS = {"M": 1, "MO": 1, "MONTH": 1, "Q": 3, "QUARTER": 3, "Y": 12, "A": 12, "YEAR": 12}
_STEP = re.compile(r"(\d*)\s*(B?)(?:(mo|[Mm]onth|[Qq]uarter|[Yy]ear)s?|([MQYA])([SE]?)|y)(?:-([A-Z]{3}))?")
_WEEK = re.compile(r"(\d*)\s*W-([A-Z]{3})")
WEEKDAYS = 5
"""Bars of a week without its weekend."""


class Calendar(BaseModel):
    """The table of a calendar's bars: bar number ``first`` starts at ``start``, the others follow by their lengths.

    ``lengths``: (milliseconds, how many bars in a row have this length) pairs.  Outside the table all bars have the
    mean length; ``streamcast check`` warns a year before its end.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bar: str = Field(max_length=64, description="what a bar is, such as 1 month")
    zone: str = Field(max_length=64, description="name of the time zone the table comes from")
    first: int = Field(ge=-10_000_000, le=10_000_000)
    start: Milliseconds
    lengths: tuple[tuple[Annotated[int, Field(ge=0, le=2**44)], Annotated[int, Field(ge=1, le=10**6)]], ...] = Field(
        min_length=1, max_length=100_000
    )

    @model_validator(mode="after")
    def _check(self) -> Calendar:
        if sum(count for _, count in self.lengths) > 1_000_000:
            raise ValueError("a table of bars has at most 1,000,000")
        return self

    @cached_property
    def starts(self) -> Ints:
        """The starts of all bars of the table, and its end."""
        lengths, counts = np.array(self.lengths, np.int64).T
        return np.concatenate([[self.start], self.start + np.cumsum(np.repeat(lengths, counts))])

    @property
    def until(self) -> int:
        """The end of the table, in epoch milliseconds."""
        return int(self.starts[-1])


@dataclass(frozen=True)
class Grid:
    """Where bars start: bar k at ``offset + k·freq``, or as a calendar's table says.

    Kernels count in *grid time*: event time, except that each bar of a calendar has the length ``freq`` there.
    A bar's grid time is its local time if bars are days or weeks; months are twelfths of a mean year, weekdays fifths
    of a week.
    """

    freq: int
    offset: int = 0
    calendar: Calendar | None = None

    @overload
    def bar(self, times: int) -> int: ...
    @overload
    def bar(self, times: Ints) -> Ints: ...
    def bar(self, times: int | Ints) -> int | Ints:
        """Return the numbers of the bars that hold these times (epoch ms)."""
        if self.calendar is None:
            return (times - self.offset) // self.freq
        bars = (self.to_grid(np.asarray(times, np.int64)) - self.offset) // self.freq
        return int(bars) if isinstance(times, int) else bars

    @overload
    def start(self, bars: int) -> int: ...
    @overload
    def start(self, bars: Ints) -> Ints: ...
    def start(self, bars: int | Ints) -> int | Ints:
        """Return the starts of bars (epoch ms), which are their labels."""
        if self.calendar is None:
            return self.offset + bars * self.freq
        starts = self.calendar.starts
        place = np.asarray(bars, np.int64) - self.calendar.first
        inside = np.clip(place, 0, len(starts) - 1)
        found = starts[inside] + (place - inside) * self.freq
        return int(found) if isinstance(bars, int) else found

    def to_grid(self, times: Ints) -> Ints:
        """Return times (epoch ms) in grid time; a moment after ``freq`` of a longer bar is the bar's last."""
        if self.calendar is None:
            return times
        starts, first = self.calendar.starts, self.calendar.first
        place = np.searchsorted(starts, times, side="right") - 1
        before, after = times < starts[0], times >= starts[-1]
        place = np.where(before, 0, place)
        into = times - starts[place]
        into = np.where(before | after, into, np.minimum(into, self.freq - 1))
        grid: Ints = self.offset + (first + place) * self.freq + into
        return grid

    def from_grid(self, times: Ints) -> Ints:
        """Return grid times in epoch ms: what ``to_grid`` was given, except moments that it moved in longer bars."""
        if self.calendar is None:
            return times
        bars, into = np.divmod(times - self.offset, self.freq)
        return self.start(bars) + into

    @property
    def has_weekdays(self) -> bool:
        """Whether bars are days from Monday to Friday."""
        return self.calendar is not None and self.freq == WEEK_MS // WEEKDAYS

    def days(self, local: Ints) -> Ints:
        """Return the days in grid time of local days (both since 1970-01-01): of weekdays, those of their bars."""
        if not self.has_weekdays:
            return local
        week, weekday = np.divmod(local - _MONDAY, 7)
        bars = (WEEKDAYS * week + weekday)[weekday < WEEKDAYS]
        return (self.offset + bars * self.freq) // DAY_MS


@dataclass(frozen=True)
class Step:
    """A calendar step: so many months or days, or one day from Monday to Friday; what is None is taken from the rows.

    ``phase`` is the month (0 is January) or the day since 1970-01-01 that bars start in, modulo ``count``; ``day`` is
    the day of the month, the last one if the month is shorter; on ``weekdays``, that day or the nearest weekday within
    the month.  ``time_ms`` is the local time of day.
    """

    unit: Literal["month", "day", "weekday"]
    count: int
    phase: int | None = None
    day: int | None = None
    weekdays: bool = False
    time_ms: int | None = None

    @property
    def name(self) -> str:
        """What a bar is, such as ``1 month`` or ``2 weeks``."""
        sizes = {"month": (("year", 12), ("quarter", 3)), "day": (("week", 7),), "weekday": ()}[self.unit]
        word, size = next(((word, size) for word, size in sizes if self.count % size == 0), (self.unit, 1))
        number = self.count // size
        return f"{number} {word}" + ("s" if number > 1 else "")

    @property
    def freq(self) -> int:
        """The length of a bar in grid time, in milliseconds."""
        return self.count * {"day": DAY_MS, "month": MONTH_MS, "weekday": WEEK_MS // WEEKDAYS}[self.unit]

    @property
    def offset(self) -> int:
        """Where bars start in grid time."""
        phase = self.phase or 0
        return phase * MONTH_MS if self.unit == "month" else phase * DAY_MS + (self.time_ms or 0)


def parse_step(text: str) -> Step | None:
    """Return the calendar step that a text names, None if it names none.

    Steps are ``MS``, ``QS-FEB``, ``YE``, ``2 months``, ``W-MON``, ``B`` and the like.
    """
    if text.strip() in {"B", "1B"}:
        return Step("weekday", 1)
    if week := _WEEK.fullmatch(text.strip()):
        if week[2] not in _WEEKDAYS:
            return None
        count = 7 * int(week[1] or 1)
        return Step("day", count, (_MONDAY + _WEEKDAYS.index(week[2])) % 7) if count else None
    if (found := _STEP.fullmatch(text.strip())) is None:
        return None
    number, business, word, letter, end, month = found.groups()
    length = _LENGTHS[(word or letter or "Y").upper()]
    count = length * int(number or 1)
    if count == 0 or (month is not None and (month not in _MONTHS or length == 1)):
        return None
    last = {"S": False, "E": True}.get(end or "")
    return Step(
        "month",
        count,
        None if month is None else _MONTHS.index(month) % count,
        None if last is None else LAST_DAY if last else 1,
        bool(business),
    )


def calendar_of(step: Step, zone: str, first_ms: int, last_ms: int) -> Calendar:
    """Return the table of a step's bars for a history from ``first_ms`` to ``last_ms``, and fifty years more.

    What the step leaves open is the start of the day, the month and the year, and Monday; ``resolved`` says the same.
    Raises SettingsError for an unknown zone.
    """
    clock = zone_named(zone)
    step = resolved(step)
    begin = max(_date(first_ms) - timedelta(days=2), date(2, 1, 1))
    end = min(_date(last_ms) + timedelta(days=366 * YEARS_AHEAD), date(9990, 1, 1))
    first = _number(step, begin) - 1
    starts = [_instant(day, step, clock) for day in _days(step, first, _number(step, end) + 2)]
    runs = groupby(after - before for before, after in pairwise(starts))
    lengths = tuple((length, sum(1 for _ in run)) for length, run in runs)
    return Calendar(bar=step.name, zone=zone, first=first, start=starts[0], lengths=lengths)


def resolved(step: Step) -> Step:
    """Return a step that leaves nothing open."""
    return replace(step, phase=_phase(step), day=step.day or 1, time_ms=step.time_ms or 0)


def _phase(step: Step) -> int:
    if step.phase is not None:
        return step.phase
    if step.unit == "day":
        return _MONDAY % step.count if step.count % 7 == 0 else 0
    if step.unit == "weekday":
        return _MONDAY
    return step.count - 1 if step.day == LAST_DAY else 0


def _number(step: Step, day: date) -> int:
    """Return the number of a bar that starts at this day or near it."""
    place = 12 * (day.year - 1970) + day.month - 1 if step.unit == "month" else (day - date(1970, 1, 1)).days
    if step.unit == "weekday":
        week, weekday = divmod(place - _MONDAY, 7)
        return WEEKDAYS * week + min(weekday, WEEKDAYS - 1)
    return (place - (step.phase or 0)) // step.count


def _days(step: Step, first: int, stop: int) -> Iterator[Any]:
    """Yield the days on which bars start, as dates."""
    number = np.arange(first, stop)
    place = number * step.count + (step.phase or 0)
    if step.unit == "weekday":
        place = _MONDAY + number // WEEKDAYS * 7 + number % WEEKDAYS
    if step.unit != "month":
        yield from place.astype("datetime64[D]").tolist()
        return
    months = place.astype("datetime64[M]")
    begins, ends = months.astype("datetime64[D]"), (months + 1).astype("datetime64[D]")
    days = np.minimum(begins + ((step.day or 1) - 1), ends - 1)
    if step.weekdays:
        days = np.busday_offset(days, 0, roll="modifiedpreceding" if step.day != 1 else "forward")
    yield from days.tolist()


def _instant(day: date, step: Step, clock: ZoneInfo) -> int:
    """Return a bar's start in epoch ms; a local time that a clock skips is read by the clock before the change."""
    naive = datetime(day.year, day.month, day.day) + timedelta(milliseconds=step.time_ms or 0)  # noqa: DTZ001
    return (naive.replace(tzinfo=clock) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _date(milliseconds: int) -> date:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)).date()
