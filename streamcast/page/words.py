"""What the page's words mean, defined once here and sent to the page."""

from __future__ import annotations

from collections.abc import Mapping

from streamcast.page.board import DEAD_LETTERS, RATE_SECONDS, SAMPLE_SECONDS, TREND_SAMPLES, Board
from streamcast.quality import duration_name, naive_name


def windows(board: Board) -> Mapping[str, str]:
    """What each number on the page is, and over which bars or forecasts it was computed."""
    names = naive_name(board.season, board.spec.freq)
    newest = f"its newest forecasts (at most {board.kept_forecasts()} a lane)"
    every = "the newest forecasts of each series that the page keeps"
    every = "all since the service started, by its own account" if board.is_reported() else every
    steps = ", ".join(map(str, board.scored)) if board.scored else "all"
    which = f"warm forecasts, {'steps' if len(board.scored) != 1 else 'step'} ahead: {steps}"
    error = f"The mean absolute error divided by that of seasonal naive ({names}) for the same values"
    inside = "The share of observed values between the outermost quantiles"
    line = f" The line: the last {_seconds(TREND_SAMPLES * SAMPLE_SECONDS)}."
    trained = f" {board.trained}" if board.trained else ""
    return {
        "relative": f"{error}, over {every} ({which}).{trained}{line}",
        "coverage": f"{inside}, over {every} ({which}).{trained}{line}",
        "series_relative": f"{error}, of this series over {newest} ({which}).",
        "series_coverage": f"{inside}, of this series over {newest} ({which}).",
        "behind": "From the newest forecast of this series to the newest of all series, in the time of the data.",
        "outcome": "Only the forecast that is shown, over its steps that were observed so far.",
        "latency_p99_ms": f"From a record's poll to its committed forecast, {_latency_window(board)}.{line}",
        "lag_records": f"Records that the service had not read yet, when it last said so.{line}",
        "records_rate": f"Records and forecasts that came in the last {_seconds(RATE_SECONDS)}.{line}",
        "series": f"The series that were heard last (at most {board.max_series:,}); records since the page started.",
        "dead_letters": f"All since the page started, and the newest of each partition from before; the newest"
        f" {DEAD_LETTERS} of all are listed.",
    }


def scope(board: Board) -> str:
    """What the numbers beside the lanes and on the tiles are of, in a sentence or two."""
    lanes = "all outcomes since the service started" if board.is_reported() else "the newest forecasts of each series"
    said = f"These numbers are of {lanes}; a tile's are of {series_scope(board)}."
    until, oldest, newest = board.trained_until, board.oldest_cutoff, board.watermark
    if until is None or oldest is None or newest is None or board.label(oldest) > until:
        return said
    share = "All" if board.label(newest) <= until else "Some"
    return f"{said} {share} of this data is what the model was trained on: on new data errors are usually larger."


def series_scope(board: Board) -> str:
    """What the numbers of one series are of."""
    return f"its newest {board.kept_forecasts()} forecasts"


def _latency_window(board: Board) -> str:
    numbers = board.service() or {}
    if seconds := numbers.get("latency_seconds"):
        return f"by record, over the last {_seconds(seconds)} before the newest answer"
    if commits := numbers.get("latency_commits"):
        return f"by commit, over the last {commits:,.0f} commits"
    return "as the service reports it"


def _seconds(seconds: float) -> str:
    return duration_name(round(seconds * 1000))
