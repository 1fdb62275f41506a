"""Counts, durations, URLs and what seasonal naive repeats, in the words that all messages share."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote

from streamcast.spec.calendar_bars import MONTH_MS, WEEKDAYS
from streamcast.spec.durations import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, WEEK_MS

_BARS: Final = {
    SECOND_MS: "second",
    MINUTE_MS: "minute",
    HOUR_MS: "hour",
    DAY_MS: "day",
    WEEK_MS: "week",
    **dict.fromkeys(range(28 * DAY_MS, 31 * DAY_MS + 1, DAY_MS), "month"),
    **dict.fromkeys(range(90 * DAY_MS, 92 * DAY_MS + 1, DAY_MS), "quarter"),
    MONTH_MS: "month",
    3 * MONTH_MS: "quarter",
}
_SEASONS: Final = {
    MINUTE_MS: "of the last minute",
    HOUR_MS: "of the last hour",
    DAY_MS: "yesterday",
    WEEK_MS: "last week",
    **dict.fromkeys(range(360 * DAY_MS, 372 * DAY_MS + 1, DAY_MS), "last year"),
    12 * MONTH_MS: "last year",
}
_UNITS: Final = (
    (WEEK_MS, "week"),
    (DAY_MS, "day"),
    (HOUR_MS, "hour"),
    (MINUTE_MS, "minute"),
    (SECOND_MS, "second"),
    (1, "millisecond"),
)


LAST_VALUE: Final = "the last value"
"""What seasonal naive repeats where the best simple forecast over the horizon is the newest value."""


def naive_name(season: int, freq: int) -> str:
    """Return what seasonal naive repeats, such as "the same hour last week"; ``season`` in bars of ``freq`` ms."""
    if season == 1:
        return LAST_VALUE
    when = _SEASONS.get(season * freq)
    if when is None:
        return f"the value {span_name(season, freq)} earlier"
    bar = "weekday" if freq == DAY_MS and when == "last week" else _BARS.get(freq, "time")
    return f"the same {bar} {when}"


def short_name(naive: str) -> str:
    """Return how the forecast that ``naive_name`` names is called where its season has been said."""
    return LAST_VALUE if naive == LAST_VALUE else "seasonal naive"


def span_name(bars: int, freq: int) -> str:
    """Return how long some bars of ``freq`` ms are, in words, such as "1 week"; months and weekdays are counted."""
    if freq % MONTH_MS == 0:
        months = bars * freq // MONTH_MS
        return counted(months // 12, "year") if months % 12 == 0 else counted(months, "month")
    if WEEKDAYS * freq == WEEK_MS and bars % WEEKDAYS:
        return counted(bars, "weekday")
    return duration_name(bars * freq)


def duration_name(milliseconds: int) -> str:
    """Return a duration in words, such as "36 hours"."""
    size, unit = next((size, unit) for size, unit in _UNITS if milliseconds % size == 0)
    return counted(milliseconds // size, unit)


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun, such as "1 record" or "1,200 records"; ``many`` is the plural (default: s)."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def shown_url(url: str) -> str:
    """Return a URL as messages show it: without the login before its host, and without its query.

    A login ends at the last ``@`` that can end one: a password may have any characters, a slash among them.
    """
    scheme, mark, rest = url.partition("://") if "://" in url else ("", "", url)
    if login := login_in(url):
        rest = f"…{rest.removeprefix(login)}"
    if mark and "?" in rest:
        rest = f"{rest.partition('?')[0]}?…"
    return f"{scheme}{mark}{rest}"


def login_in(url: str) -> str:
    """Return the login before the host of a URL, such as ``user:password``; empty if there is none.

    What is before an ``@`` is one if two of these are so: the URL has a scheme; it has a colon; it has no slash.
    """
    _, mark, rest = url.partition("://") if "://" in url else ("", "", url)
    login, at, _ = rest.rpartition("@")
    return login if at and (bool(mark) + (":" in login) + ("/" not in login)) >= 2 else ""


def without_login(text: str, url: str) -> str:
    """Return a text about a URL, such as an error of its client, without the URL's login and the password in it."""
    login = login_in(url)
    password = login.partition(":")[2]
    for secret in filter(None, (login, password, unquote(password))):
        text = text.replace(secret, "…")
    return text
