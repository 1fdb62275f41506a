"""What the page's words mean, defined once here and sent to the page."""

from __future__ import annotations

from typing import Final

_DAY: Final = 86_400_000
_BARS: Final = {
    1_000: "second",
    60_000: "minute",
    3_600_000: "hour",
    _DAY: "day",
    7 * _DAY: "week",
    **dict.fromkeys(range(28 * _DAY, 31 * _DAY + 1, _DAY), "month"),
    **dict.fromkeys(range(90 * _DAY, 92 * _DAY + 1, _DAY), "quarter"),
}
_SEASONS: Final = {
    60_000: "of the last minute",
    3_600_000: "of the last hour",
    _DAY: "yesterday",
    7 * _DAY: "last week",
    **dict.fromkeys(range(360 * _DAY, 372 * _DAY + 1, _DAY), "last year"),
}
_UNITS: Final = ((_DAY, "days"), (3_600_000, "hours"), (60_000, "minutes"), (1_000, "seconds"), (1, "milliseconds"))


def naive(season: int, freq: int) -> str:
    """What seasonal naive repeats, such as "the same hour last week"; ``season`` in bars of ``freq`` milliseconds."""
    if season == 1:
        return "the last value"
    when = _SEASONS.get(season * freq)
    if when is None:
        return f"the value {_duration(season * freq)} earlier"
    bar = "weekday" if freq == _DAY and when == "last week" else _BARS.get(freq, "time")
    return f"the same {bar} {when}"


def _duration(milliseconds: int) -> str:
    size, unit = next((size, unit) for size, unit in _UNITS if milliseconds % size == 0)
    return f"{milliseconds // size:,} {unit}"
