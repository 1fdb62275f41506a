"""The page explains its words by the series' own bars."""

from __future__ import annotations

import pytest

from harness.feeder import FREQ, SPEC, START, Feeder, fill
from streamcast.page import words
from streamcast.page.board import Board
from streamcast.quality import naive_name
from streamcast.spec.model_spec import parse_duration


@pytest.mark.parametrize(
    ("season", "freq", "expected"),
    [
        (168, "1h", "the same hour last week"),
        (24, "1h", "the same hour yesterday"),
        (96, "15min", "the same time yesterday"),
        (7, "1d", "the same weekday last week"),
        (52, "1w", "the same week last year"),
        (12, "30d", "the same month last year"),
        (60, "1min", "the same minute of the last hour"),
        (24, "1min", "the value 24 minutes earlier"),
        (5, "7h", "the value 35 hours earlier"),
        (3, "1d", "the value 3 days earlier"),
        (1, "1h", "the last value"),
    ],
)
def test_naive_is_named_by_what_it_repeats(season: int, freq: str, expected: str) -> None:
    assert naive_name(season, parse_duration(freq)) == expected


def test_windows_follow_the_limits_of_the_board() -> None:
    board = Board(SPEC, season=24, max_series=50, max_forecasts=1_000)
    fill(board, Feeder(50), 2)
    found = words.windows(board)
    assert "at most 10 a lane" in found["series_relative"]
    assert (
        "over the newest forecasts of each series that the page keeps (warm forecasts, steps ahead: all)"
        in found["relative"]
    )
    assert "at most 50)" in found["series"]
    assert (
        found["records_rate"] == "Records and forecasts that came in the last 5 seconds. The line: the last 5 minutes."
    )


def test_the_scope_says_what_the_numbers_are_of_and_that_training_data_flatters() -> None:
    newest = START + 2 * FREQ
    cases = {None: "", START - FREQ: "", START: "Some of this data is", newest: "All of this data is"}
    for until, said in cases.items():
        board = Board(SPEC, season=24, trained_until=until)
        assert "trained on" not in words.scope(board), "no forecast yet"
        fill(board, Feeder(2), 3)
        found = words.scope(board)
        assert "of the newest forecasts of each series; a tile's are of its newest 96 forecasts." in found
        assert said in found
        assert ("trained on" in found) == bool(said)
        board.report_service({"champion.outcomes": 5.0})
        assert "all outcomes since the service started" in words.scope(board)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({"latency_seconds": 60.0}, "by record, over the last 1 minute before"),
        ({"latency_commits": 4096.0}, "by commit, over the last 4,096 commits"),
        (None, "as the service reports it"),
    ],
)
def test_the_window_of_the_latency_is_that_of_its_source(numbers: dict[str, float] | None, expected: str) -> None:
    board = Board(SPEC, season=24)
    board.report_service(numbers)
    assert expected in words.windows(board)["latency_p99_ms"]
