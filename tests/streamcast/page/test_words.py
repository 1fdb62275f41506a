"""The page explains its words by the series' own bars."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from harness.feeder import FREQ, SPEC, START, Feeder, fill
from streamcast.page import views, words
from streamcast.page.board import Board
from streamcast.spec.model_spec import parse_duration
from streamcast.wording import naive_name


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
        (14, "1d", "the value 2 weeks earlier"),
        (1, "1h", "the last value"),
    ],
)
def test_naive_is_named_by_what_it_repeats(season: int, freq: str, expected: str) -> None:
    assert naive_name(season, parse_duration(freq)) == expected


def test_windows_follow_the_limits_of_the_board() -> None:
    board = Board(SPEC, season=24, max_series=50, max_numbers=50 * 2 * 10 * (12 * 5 + 32))
    fill(board, Feeder(50), 2)
    found = words.windows(board)
    assert "at most 10 a lane" in found["series_relative"]
    assert "over the newest 10 forecasts per series (warm forecasts, all steps ahead)" in found["relative"]
    assert "at most 50)" in found["series"]
    assert (
        found["records_rate"] == "Records and forecasts that came in the last 5 seconds. The line: the last 5 minutes."
    )


@pytest.mark.parametrize(
    ("scored", "expected"),
    [
        ([], "all steps ahead"),
        ([1], "step 1 ahead"),
        ([1, 6, 12, 18, 24], "steps 1, 6, 12, 18, 24 ahead"),
        (range(1, 25), "steps 1 to 24 ahead"),
        ([1, 2, 3, 4, 6, 8, 12], "7 steps from 1 to 12 ahead"),
    ],
)
def test_the_steps_that_count_are_named(scored: Sequence[int], expected: str) -> None:
    assert words.steps(Board(SPEC, season=24, scored=scored)) == expected


@pytest.mark.parametrize(
    ("until", "share"),
    [(None, ""), (START - 1, ""), (START, ""), (START + FREQ, "50 %"), (START + 2 * FREQ, "All"), (2 * START, "All")],
)
def test_the_scope_says_how_much_of_what_was_counted_the_model_was_trained_on(until: int | None, share: str) -> None:
    """The second and the third of three bars are outcomes."""
    board = Board(SPEC, season=24, scored=[1, 12], trained_until=until)
    assert "trained on" not in words.scope(board), "no forecast yet"
    fill(board, Feeder(2), 3)
    found = words.scope(board)
    assert "of the newest 96 forecasts per series; a tile's are of its newest 96 forecasts." in found
    assert "Both count steps 1, 12 ahead." in found
    assert (
        f"{share} of these outcomes are of forecasts made within the data that" in found
        if share
        else "trained on" not in found
    )


def test_the_page_counts_an_outcome_as_trained_on_by_its_forecast() -> None:
    board = Board(SPEC, season=24, scored=[1, 2], trained_until=START + 4 * FREQ)
    fill(board, Feeder(1), 10)
    assert board.quality("champion").outcomes == 9 + 8
    assert board.samples[-1].trained_outcomes == 4 * 2, "those of the four forecasts before the last trained bar"


def test_after_a_restart_of_the_service_the_numbers_and_their_words_change_together() -> None:
    now = [1_000.0]
    board = Board(SPEC, season=24, trained_until=START - 1, clock=lambda: now[0])
    fill(board, Feeder(2), 3)

    def hear(**numbers: float) -> tuple[object, str, str]:
        board.report_service({f"champion.{name}": number for name, number in numbers.items()})
        now[0] += 10
        board.score()
        (lane, *_) = views.stats(board)["lanes"]
        return lane["relative"], words.headline(board), words.scope(board)

    ratio, headline, scope = hear(outcomes=9, trained_outcomes=5, relative_mae=0.35, coverage=0.8)
    assert (ratio, headline) == (0.35, "since the service started")
    assert "of all outcomes since the service started; a tile's" in scope
    assert "56 % of these outcomes are of forecasts made within the data that" in scope
    ratio, headline, scope = hear(outcomes=0, trained_outcomes=0)
    assert ratio != 0.35
    assert headline == "newest 96 forecasts per series"
    assert "trained on" not in scope
    board.report_service({"champion.outcomes": 9, "champion.trained_outcomes": 9})
    assert words.headline(board) == headline, "the next sample has not been made"
    assert [sample["reported"] for sample in views.trend(board)] == [False, True, False]
    assert "trained on" not in hear(outcomes=900, trained_outcomes=9, relative_mae=0.3, coverage=0.8)[2]
    assert "All of these outcomes" in hear(outcomes=9, trained_outcomes=9, relative_mae=0.3, coverage=0.8)[2]


def test_numbers_of_few_outcomes_name_how_many() -> None:
    board = Board(SPEC, season=24)
    assert words.few(board) == ""
    for outcomes, said in ((111, "since the service started: 111 outcomes"), (1_000, "since the service started")):
        board.samples.clear()
        board.report_service({"champion.outcomes": outcomes, "champion.relative_mae": 2.03})
        fill(board, Feeder(1), 1)
        assert views.stats(board)["headline"] == said


def test_all_lanes_are_compared_on_the_same_kind_of_outcomes() -> None:
    board = Board(SPEC, season=24)
    fill(board, Feeder(2), 30)
    assert board.quality("challenger").outcomes
    board.report_service({"champion.outcomes": 9, "champion.relative_mae": 0.3})
    assert board.quality("champion").outcomes == 9
    assert not board.quality("challenger").outcomes


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        (None, ""),
        ({"latency_p99_ms": None, "latency_seconds": 60.0, "latency_ago_seconds": None}, ""),
        ({"latency_p99_ms": 9.0, "latency_seconds": 60.0, "latency_ago_seconds": None}, "since the service started"),
        ({"latency_p99_ms": 9.0, "latency_seconds": 60.0, "latency_ago_seconds": 58.0}, "records of the last 60 s"),
        ({"latency_p99_ms": 9.0, "latency_seconds": 60.0, "latency_ago_seconds": 61.0}, "records of 1 minute ago"),
        ({"latency_p99_ms": 9.0, "latency_seconds": 60.0, "latency_ago_seconds": 754.0}, "records of 12 minutes ago"),
        ({"latency_p99_ms": 9.0, "latency_seconds": 60.0, "latency_ago_seconds": 9e5}, "records of 10 days ago"),
        ({"latency_p99_ms": 9.0, "latency_commits": 4096.0}, "the last 4,096 commits"),
    ],
)
def test_the_latency_says_which_records_it_is_of(numbers: dict[str, float | None] | None, expected: str) -> None:
    board = Board(SPEC, season=24)
    board.report_service(numbers)
    board.score()
    assert words.latency_scope(board) == expected


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({"latency_seconds": 60.0}, "by record, over the last 1 minute in which records came"),
        ({"latency_commits": 4096.0}, "by commit, over the last 4,096 commits"),
        (None, "as the service reports it"),
    ],
)
def test_the_window_of_the_latency_is_that_of_its_source(numbers: dict[str, float] | None, expected: str) -> None:
    board = Board(SPEC, season=24)
    board.report_service(numbers)
    assert expected in words.windows(board)["latency_p99_ms"]
