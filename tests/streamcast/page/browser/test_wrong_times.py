"""Times that a producer's clock got wrong, in a browser: they are shown as such, and everything else as ever."""

from __future__ import annotations

import orjson
import pytest
from playwright.sync_api import Browser, expect

from harness.feeder import FORECASTS, FREQ, RECORDS, SPEC, START, forecast
from streamcast.consumers.transport import Batch, Partition
from streamcast.page.board import Board
from streamcast.page.server import serve_dashboard
from streamcast.spec.durations import DAY_MS
from streamcast.topics.observations import LATEST_MS
from tests.streamcast.page.browser.stage import Stage, a_series, reading, walk

FAR = LATEST_MS - LATEST_MS % FREQ


@pytest.mark.parametrize("timestamp", [2**63 - 1, 8_640_000_000_000_001, -(2**63)])
def test_a_dead_letter_of_an_impossible_time_is_listed_without_it(
    browser: Browser, many: Stage, timestamp: int
) -> None:
    page = many.open(browser)
    expect(page.locator(".tile")).to_have_count(60)
    letter = Batch(Partition("dead-letters", 0), [0], [timestamp], [None], [b"x"], 1, [[("reason", b"time")]])
    many.board.take_dead_letters(letter)
    expect(page.locator("#dead summary b")).to_have_text("time")
    expect(page.locator("#dead time")).to_have_text("–")
    many.go_on()
    expect(page.locator(".figure:last-child .aside")).to_contain_text("4.27K")
    page.reload()
    expect(page.locator(".tile")).to_have_count(60)
    page.close()


def test_a_part_of_the_page_that_fails_stops_no_other_and_the_console_says_so(browser: Browser, many: Stage) -> None:
    page = many.open(browser)
    expect(page.locator(".tile")).to_have_count(60)
    page.evaluate("document.getElementById('lanes-note').remove()")
    many.board.take_dead_letters(many.feeder.dead_letters([(b"x", "shape", "later")]))
    expect(page.locator("#dead summary b")).to_have_text("shape")
    many.go_on()
    expect(page.locator(".figure:last-child .aside")).to_contain_text("4.27K")
    page.close()
    assert many.errors, "the error is reported"
    assert all("null" in error for error in many.errors)
    many.errors.clear()


def test_a_series_from_the_year_9999_is_ahead_and_no_other_is_late(browser: Browser, nothing: Stage) -> None:
    nothing.server.close()
    spec = SPEC.model_copy(update={"max_ahead": DAY_MS})
    board = nothing.board = Board(spec, season=24, now=lambda: START / 1000)
    nothing.server = serve_dashboard(board)
    a_series(board, "good", [float(bar % 24) for bar in range(60)], error=1.0, cutoffs=range(30, 60))
    record = orjson.dumps({"key": "far", "ts": FAR, "values": [1.0]})
    board.take_records(Batch(RECORDS, [0], [FAR], [None], [record], 1))
    message = forecast("far", FAR, {"0.1": [1.0] * 12, "0.9": [2.0] * 12}, anomaly=0.9999)
    board.take_forecasts(Batch(FORECASTS, [0], [FAR], [None], [message], 1))
    with reading(board):
        page = nothing.open(browser)
        expect(page.locator("[data-key=good] .under")).to_contain_text("inside")
        expect(page.locator("[data-key=far] .late")).to_have_text("2912138 days ahead")
        expect(page.locator("#upto")).to_have_text("forecasts up to 1 Nov 2026, 12:59:00 UTC")
        expect(page.locator(".figure:last-child .of")).to_have_text("1 series ahead of the clock")
        walk(page, "#/series/far")
        expect(page.locator("#facts")).to_contain_text("2912138 days ahead of the others")
        walk(page, "#/series/good")
        expect(page.locator("#facts")).to_contain_text("up to date")
        page.close()
    assert nothing.errors == []
