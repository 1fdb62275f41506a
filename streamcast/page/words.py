"""What the page's words mean, defined once here and sent to the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from streamcast.page.board import SAMPLE_SECONDS, TREND_SAMPLES, Board
from streamcast.page.dead_letters import DEAD_LETTERS
from streamcast.page.pulse import RATE_SECONDS
from streamcast.page.track import MOST_ANOMALIES
from streamcast.topics.split_keys import split_sentence
from streamcast.wording import counted, duration_name, naive_name

_LISTED_STEPS: Final = 6
_MANY_OUTCOMES: Final = 1_000
"""From so many on, their number is not said."""
_WORTH_SAYING: Final = 0.03
"""Smaller shares of outcomes are not mentioned: they make no number look better."""


def windows(board: Board) -> Mapping[str, str]:
    """What each number on the page is, and over which bars or forecasts it was computed."""
    names = naive_name(board.season, board.spec.freq)
    newest = f"its newest forecasts (at most {board.kept_forecasts()} a lane)"
    every = "all since the service started, by its own account" if _is_reported(board) else f"the {headline(board)}"
    which = f"warm forecasts, {steps(board)}"
    error = f"The mean absolute error divided by that of seasonal naive ({names}) for the same values"
    inside = "The share of observed values between the outermost quantiles"
    line = f" The line: the last {_seconds(TREND_SAMPLES * SAMPLE_SECONDS)}."
    trained = f" {board.trained}" if board.trained else ""
    return {
        "relative": f"{error}, over {every} ({which}).{trained}{line}",
        "coverage": f"{inside}, over {every} ({which}).{trained}{line}",
        "series_relative": f"{error}, of this series over {newest} ({which}).",
        "series_coverage": f"{inside}, of this series over {newest} ({which}).",
        "behind": "From the newest forecast of this series to the newest of all series, in the time of the data. Hours"
        " in which this series never has a value do not count; one bar is not late yet. A forecast further ahead of the"
        " clock than the model's max_ahead counts for its own series only: its times are wrong, or the clock is.",
        "warming": "The series has fewer bars in its partition than its model reads: its forecasts are made from less"
        " than the model was trained with, and count in no number until it is warm.",
        "anomaly": _anomaly(board),
        "outcome": "Only the forecast that is shown, over its steps that were observed so far.",
        "latency_p99_ms": f"From a record's poll to its committed forecast, {_latency_window(board)}. Records that"
        f" waited when the service took their partition over do not count.{line}",
        "lag_records": f"Records that the service had not read yet, when it last said so.{line}",
        "records_rate": f"Records and forecasts that came in the last {_seconds(RATE_SECONDS)}.{line}",
        "series": f"The series that were heard last (at most {board.max_series:,}); records since the page started.",
        "dead_letters": f"All since the page started, and the newest of each partition from before; the newest"
        f" {DEAD_LETTERS} of all are listed.",
    }


def _anomaly(board: Board) -> str:
    """What an anomaly is, and from which one on a bar is marked: lanes with models of several versions may differ."""
    least = board.anomalous(board.champion)
    others = sorted((lane, board.anomalous(lane)) for lane in board.lanes() if board.anomalous(lane) != least)
    apart = "".join(f", of {lane} those of {other:g} or more" for lane, other in others)
    return (
        "How unusual a bar is: the share of its series' bars that are less so, by the error of the forecast made one"
        f" bar before. Bars of {least:g} or more are marked{apart}, the newest {MOST_ANOMALIES} of those shown. Time"
        " passes with the newest forecast of all series."
    )


def headline(board: Board) -> str:
    """What the numbers above the wall and beside the lanes are of, in a few words."""
    return (
        "since the service started" if _is_reported(board) else f"newest {board.kept_forecasts()} forecasts per series"
    )


def few(board: Board) -> str:
    """How many outcomes the numbers above the wall are of, where they are few: chance then has a large part in them."""
    newest = board.samples[-1] if board.samples else None
    mine = newest and newest.lanes.get(board.champion)
    return f": {counted(mine.outcomes, 'outcome')}" if mine and mine.outcomes < _MANY_OUTCOMES else ""


def steps(board: Board) -> str:
    """The steps ahead that count, such as "steps 1, 48 ahead"; many are shortened to their number."""
    ahead = board.scored
    if not ahead:
        return "all steps ahead"
    if len(ahead) <= _LISTED_STEPS:
        return f"{'step' if len(ahead) == 1 else 'steps'} {', '.join(map(str, ahead))} ahead"
    every = len(ahead) == ahead[-1] - ahead[0] + 1
    return f"{'steps' if every else f'{len(ahead)} steps from'} {ahead[0]} to {ahead[-1]} ahead"


def scope(board: Board) -> str:
    """What the numbers beside the lanes and on the tiles are of, in a sentence or two."""
    lanes = "all outcomes since the service started" if _is_reported(board) else f"the {headline(board)}"
    said = f"These numbers are of {lanes}; a tile's are of {series_scope(board)}. Both count {steps(board)}."
    newest = board.samples[-1] if board.samples else None
    mine = newest and newest.lanes.get(board.champion)
    if newest is None or not mine or not newest.trained_outcomes:
        return said
    share = newest.trained_outcomes / mine.outcomes
    if share < _WORTH_SAYING:  # such as the forecasts that were on their way when the training data ended
        return said
    many = "All" if share == 1 else f"{100 * share:.0f} %"
    data = "of these outcomes are of forecasts made within the data that the model was trained on"
    return f"{said} {many} {data}: on new data errors are usually larger."


def split(board: Board) -> str:
    """Say which series have records in more than one partition, and which the page shows; empty if none has."""
    if not (sentence := split_sentence(board.split)):
        return ""
    return f"{sentence} The page shows the partition that has the most records of the series."


def latency_scope(board: Board) -> str:
    """Which records or commits the latency that is shown is of; empty while none is."""
    numbers = (board.samples[-1].service if board.samples else None) or {}
    if numbers.get("latency_p99_ms") is None:
        return ""
    if commits := numbers.get("latency_commits"):
        return f"the last {counted(round(commits), 'commit')}"
    ago, window = numbers.get("latency_ago_seconds"), numbers.get("latency_seconds")
    if ago is None or window is None:
        return "since the service started"
    return f"records of the last {round(window)} s" if ago <= window else f"records of {_about(ago)} ago"


def series_scope(board: Board) -> str:
    """What the numbers of one series are of."""
    return f"its newest {board.kept_forecasts()} forecasts"


def _is_reported(board: Board) -> bool:
    """Whether the numbers that are shown, those of the newest sample, are the service's own."""
    return board.samples[-1].reported if board.samples else board.is_reported()


def _latency_window(board: Board) -> str:
    numbers = board.service() or {}
    if seconds := numbers.get("latency_seconds"):
        return f"by record, over the last {_seconds(seconds)} in which records came, or since the service started"
    if commits := numbers.get("latency_commits"):
        return f"by commit, over the last {counted(round(commits), 'commit')}"
    return "as the service reports it"


def _seconds(seconds: float) -> str:
    return duration_name(round(seconds * 1000))


def _about(seconds: float) -> str:
    """A duration in its largest unit of which there are at least two, such as "12 minutes"."""
    size = next((size for size in (86_400, 3_600, 60) if seconds >= 2 * size), 60)
    return _seconds(size * max(int(seconds // size), 1))
