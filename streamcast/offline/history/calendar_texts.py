"""Texts that name a time by the calendar: spans, which are read as their start, and those that are only recognised.

A quarter, a month, a week of ISO 8601 and an interval of two dates have one start: 2024Q1, 2024M01, 2024-W05,
2024-01-01/2024-01-07, as pandas and statistical offices write them.

Shapes: N rows.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import NamedTuple

import pandas as pd


class _Span(NamedTuple):
    """How the texts of one kind of span look, and their starts, of the columns that the pattern names."""

    name: str
    pattern: str
    starts: Callable[[pd.DataFrame], pd.Series]


def _quarters(part: pd.DataFrame) -> pd.Series:
    year, quarter = part["year"].fillna(part["year_after"]), part["quarter"].fillna(part["quarter_before"])
    return pd.to_datetime(year + "-" + (3 * quarter.astype(int) - 2).astype(str), format="%Y-%m")


def _weeks(part: pd.DataFrame) -> pd.Series:
    return pd.to_datetime(part["year"] + part["week"] + part["day"].fillna("1"), format="%G%V%u")


def _intervals(part: pd.DataFrame) -> pd.Series:
    first, last = (pd.to_datetime(part[side], format="ISO8601") for side in ("first", "last"))
    if (last < first).any():
        raise ValueError("an interval ends before it begins")
    return first


_SPANS = (
    _Span(
        "quarter",
        r"(?P<year>\d{4})[ -]?[Qq](?P<quarter>[1-4])|[Qq](?P<quarter_before>[1-4])[ /-](?P<year_after>\d{4})",
        _quarters,
    ),
    _Span("month", r"(?P<year>\d{4})-?M(?P<month>0[1-9]|1[0-2])",
          lambda part: pd.to_datetime(part["year"] + part["month"], format="%Y%m")),
    _Span("week", r"(?P<year>\d{4})-?W(?P<week>\d{2})(?:-?(?P<day>[1-7]))?", _weeks),
    _Span("interval", r"(?P<first>\d{4}-\d{2}-\d{2}[^/+Z]*)/(?P<last>\d{4}-\d{2}-\d{2}[^/+Z]*)", _intervals),
)  # fmt: skip


def span_of(text: str) -> str | None:
    """Return which kind of span a text is, such as "quarter"; None for any other text."""
    return next((span.name for span in _SPANS if re.fullmatch(span.pattern, text)), None)


def starts(texts: pd.Series) -> pd.Series:
    """Return the starts of spans [N] of the kind of the first; raises ValueError, which names one that is not."""
    span = next(span for span in _SPANS if span.name == span_of(texts.iloc[0]))
    others = ~texts.str.fullmatch(span.pattern)
    if others.any():
        raise ValueError(f"{texts[others].iloc[0]!r} in row {texts.index[others][0] + 1} is no {span.name}, as"
                         f" {texts.iloc[0]!r} is")  # fmt: skip
    return span.starts(texts.str.extract(span.pattern))


_MONTHS: Mapping[str, int] = {
    name: number
    for number, names in enumerate(
        (
            "januar jan janvier janv", "februar feb fevrier fevr fev", "marz mrz mar maerz mars",
            "april apr avril avr", "mai", "juni jun juin", "juli jul juillet juil", "august aug aout",
            "september sep sept septembre", "oktober okt octobre oct", "november nov novembre",
            "dezember dez decembre dec",
        ),
        1,
    )
    for name in names.split()
}  # fmt: skip
"""The months' names in German and French, without accents and points."""
_DAYS = {
    day
    for days in (
        "montag dienstag mittwoch donnerstag freitag samstag sonnabend sonntag mo di mi do fr sa so",
        "lundi mardi mercredi jeudi vendredi samedi dimanche lun mar mer jeu ven sam dim",
        "monday tuesday wednesday thursday friday saturday sunday mon tue wed thu fri sat sun",
    )
    for day in days.split()
}
_MONTH_IN_ENGLISH = re.compile(
    "(january|february|march|april|may|june|july|august|september|october|november|december)"
)
_WEEK = re.compile(r"(?i)(?<![a-z])(?:kw|week|woche|semaine|w)[ .-]*\d{1,2}(?!\d)")
_HALF = re.compile(r"(?i)\d{4}[ -]?[hs][12]|[hs][12][ /-]\d{4}")
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2})?( ?[AaPp][Mm])?")
_HOUR_24 = re.compile(r"(?P<day>\d{4}-\d{2}-\d{2})[ T]24:00(:00)?")


def recognised(text: str) -> str | None:
    """Return what a text is, which is not read as a time, and what to write; None if it is not recognised."""
    words = [_plain(word) for word in re.findall(r"[^\W\d_]+", text)]
    if found := _HOUR_24.fullmatch(text):
        next_day = pd.to_datetime(found["day"], errors="coerce") + pd.Timedelta(days=1)
        return None if pd.isna(next_day) else f"the end of a day: write {next_day:%Y-%m-%d} 00:00"
    if _CLOCK.fullmatch(text):
        return "a time of day without its date: join both in one column"
    if not re.search(r"\d", text):
        if any(word in _DAYS for word in words):
            return "a day of the week without a date: write the date"
        if any(word in _MONTHS or _MONTH_IN_ENGLISH.fullmatch(word) for word in words):
            return "a month without its year: write its first day"
        return None
    if _WEEK.search(text):
        return "a week: write it as ISO 8601 does, 2026-W05, or the date of its first day"
    if _HALF.fullmatch(text):
        return "half a year: write its first day"
    if month := next((word for word in reversed(words) if word in _MONTHS), None):
        digits = _in_digits(text, _MONTHS[month])
        return f"a date with its month as a word, of which English ones alone can be read: write it in digits, {digits}"
    if any(word in _DAYS for word in words):
        return "a date with a day of the week, which is not read: leave it out"
    return None


def _plain(word: str) -> str:
    """Return a word in small letters, without accents."""
    return unicodedata.normalize("NFD", word.casefold()).encode("ascii", "ignore").decode()


def _in_digits(text: str, month: int) -> str:
    """Return a date in ISO 8601 whose month is a word, such as 2024-03-03 for "3. März 2024"; without a year, one."""
    year = re.search(r"\d{4}", text)
    day = re.match(r"\D*(\d{1,2})(?!\d)", text)
    if year is None:
        return "such as 2026-01-31"
    if day is None:
        return f"{year[0]}-{month:02d}"
    clock = re.search(r"\d{1,2}:\d{2}(?::\d{2})?", text)
    return f"{year[0]}-{month:02d}-{int(day[1]):02d}" + (f" {clock[0]:0>5}" if clock else "")
