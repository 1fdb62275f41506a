"""What the page's words mean, defined once here and sent to the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from streamcast.page.board import DEAD_LETTERS, RATE_SECONDS, SAMPLE_SECONDS, TREND_SAMPLES, Board
from streamcast.spec.calendar_bars import MONTH_MS

_DAY: Final = 86_400_000
_BARS: Final = {
    1_000: "second",
    60_000: "minute",
    3_600_000: "hour",
    _DAY: "day",
    7 * _DAY: "week",
    **dict.fromkeys(range(28 * _DAY, 31 * _DAY + 1, _DAY), "month"),
    **dict.fromkeys(range(90 * _DAY, 92 * _DAY + 1, _DAY), "quarter"),
    MONTH_MS: "month",
    3 * MONTH_MS: "quarter",
}
_SEASONS: Final = {
    60_000: "of the last minute",
    3_600_000: "of the last hour",
    _DAY: "yesterday",
    7 * _DAY: "last week",
    **dict.fromkeys(range(360 * _DAY, 372 * _DAY + 1, _DAY), "last year"),
    12 * MONTH_MS: "last year",
}
_UNITS: Final = ((_DAY, "day"), (3_600_000, "hour"), (60_000, "minute"), (1_000, "second"), (1, "millisecond"))


def naive(season: int, freq: int) -> str:
    """What seasonal naive repeats, such as "the same hour last week"; ``season`` in bars of ``freq`` milliseconds."""
    if season == 1:
        return "the last value"
    when = _SEASONS.get(season * freq)
    if when is None:
        return f"the value {_duration(season * freq)} earlier"
    bar = "weekday" if freq == _DAY and when == "last week" else _BARS.get(freq, "time")
    return f"the same {bar} {when}"


def windows(board: Board) -> Mapping[str, str]:
    """What each number on the page is, and over which bars or forecasts it was computed."""
    names = naive(board.season, board.spec.freq)
    newest = f"its newest forecasts (at most {board.kept_forecasts()} a lane) and all their steps that were observed"
    error = f"The mean absolute error divided by that of {names}, for the same values"
    inside = "The share of observed values between the outermost quantiles"
    line = f" The line: the last {_seconds(TREND_SAMPLES * SAMPLE_SECONDS)}."
    return {
        "relative": f"{error}: for each series, over {newest}; then the geometric mean over the series.{line}",
        "coverage": f"{inside}: for each series, over {newest}; then the mean over the series.{line}",
        "series_relative": f"{error}, of this series over {newest}.",
        "series_coverage": f"{inside}, of this series over {newest}.",
        "behind": "From the newest forecast of this series to the newest of all series, in the time of the data.",
        "outcome": "Only the forecast that is shown, over its steps that were observed so far.",
        "latency_p99_ms": f"From a record's poll to its committed forecast, {_latency_window(board)}.{line}",
        "lag_records": f"Records that the service had not read yet, when it last said so.{line}",
        "records_rate": f"Records and forecasts that came in the last {_seconds(RATE_SECONDS)}.{line}",
        "series": f"The series that were heard last (at most {board.max_series:,}); records since the page started.",
        "dead_letters": f"All since the page started; the last {DEAD_LETTERS} are listed.",
    }


def _latency_window(board: Board) -> str:
    numbers = board.service() or {}
    if seconds := numbers.get("latency_seconds"):
        return f"by record, over the last {_seconds(seconds)} before the newest answer"
    if commits := numbers.get("latency_commits"):
        return f"by commit, over the last {commits:,.0f} commits"
    return "as the service reports it"


def _seconds(seconds: float) -> str:
    return _duration(round(seconds * 1000))


def _duration(milliseconds: int) -> str:
    size, unit = next((size, unit) for size, unit in _UNITS if milliseconds % size == 0)
    number = milliseconds // size
    return f"{number:,} {unit}{'' if number == 1 else 's'}"
