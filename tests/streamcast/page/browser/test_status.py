"""The state of the page in a real browser: it names what is missing, and since when."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import replace

import orjson
import pytest
from playwright.sync_api import Browser, expect

from harness.feeder import FORECASTS, FREQ, RECORDS, START, Feeder, fill, forecast
from streamcast.consumers.transport import Batch, Partition
from streamcast.page.board import ServedLane
from streamcast.page.guard import Access
from streamcast.page.server import serve_dashboard
from tests.streamcast.page.browser.stage import HOSTILE, Stage, a_series, reading, serving, walk

pytestmark = pytest.mark.browser


def test_an_empty_page_says_that_it_waits_and_for_how_long(browser: Browser, nothing: Stage) -> None:
    nothing.board.started -= 42
    with reading(nothing.board), closing(nothing.open(browser)) as page:
        expect(page.locator("#status")).to_contain_text(re.compile(r"no data for [4-9]\d s"))
        expect(page.locator("#empty")).to_contain_text("Waiting for the first record")
        assert "–" in page.locator(".figure .value").first.inner_text()


def test_a_service_that_stopped_is_distinguished_from_a_quiet_topic(browser: Browser, many: Stage) -> None:
    with reading(many.board), closing(many.open(browser)) as page:
        many.go_on()
        expect(page.locator("#status")).to_have_text("live")
        many.board.take_records(Batch(RECORDS, [0], [START], [None], [many.feeder.records().values[0]], 1))
        heard, since = many.board.pulse.forecasts.heard, many.board.pulse.unanswered_since
        assert heard is not None
        assert since is not None
        many.board.pulse.forecasts.heard, many.board.pulse.unanswered_since = heard - 30, since - 30
        expect(page.locator("#status")).to_contain_text(re.compile(r"no forecasts for [3-9]\d s"))


def test_between_two_bars_the_page_waits_and_one_bar_late_is_not_late(browser: Browser) -> None:
    stage = Stage(series=2, bars=5)
    board = stage.board
    ahead = orjson.dumps({"key": "kiln-00000", "ts": START + 5 * FREQ, "values": [1.0]})
    board.take_records(Batch(RECORDS, [0], [START], [None], [ahead], 1))
    answer = forecast("kiln-00000", START + 5 * FREQ, {"0.5": [1.0]})
    board.take_forecasts(Batch(FORECASTS, [0], [START], [None], [answer], 1))
    with closing(stage.server), serving(board, {}), reading(board), closing(stage.open(browser)) as page:
        board.pulse.records.heard = board.clock() - 30
        expect(page.locator("#status")).to_have_text("waiting for the next bar")
        expect(page.locator(".tile")).to_have_count(2)
        expect(page.locator(".late, .silent")).to_have_count(0)
        expect(page.get_by_role("link", name="press-00001")).to_have_attribute("aria-label", re.compile("up to date$"))
        board.pulse.records.heard -= 120
        expect(page.locator("#status")).to_have_text(re.compile(r"no data for \d+ (s|min)$"))


def test_a_service_that_does_not_answer_is_the_headline_once_no_data_comes(browser: Browser, many: Stage) -> None:
    with reading(many.board), closing(many.open(browser)) as page:
        many.go_on()
        expect(page.locator("#status")).to_have_text("live")
        assert many.board.pulse.records.heard is not None
        many.board.pulse.records.heard -= 30
        words = re.compile(r"no data for \d+ s, no answer from /metrics")
        expect(page.locator("#status")).to_have_text(words)
        expect(page.locator("body")).to_have_attribute("data-state", "quiet")
        with serving(many.board, {}):
            expect(page.locator("#status")).to_have_text("waiting for the next bar")


def test_a_replay_that_is_complete_looks_finished(browser: Browser, nothing: Stage) -> None:
    board, feeder = nothing.board, Feeder(3, silent_after=20)
    for _ in range(30):
        records = feeder.records()
        board.take_records(replace(records, timestamps=[START - 10**9] * len(records)))
        board.take_forecasts(feeder.forecasts())
    board.score()
    numbers: dict[str, float | None] = {"lag_records": 0.0}
    assert board.pulse.records.heard is not None
    board.pulse.records.heard += 600  # however slowly the page opens, records still arrive
    with reading(board), closing(nothing.open(browser)) as page:
        expect(page.locator(".tile .late")).to_have_text("9 min late")
        with serving(board, numbers):
            numbers["lag_records"] = 3.0
            board.pulse.records.heard -= 660
            expect(page.locator("#status")).to_contain_text("no new data for")
            numbers["lag_records"] = 0.0
            expect(page.locator("#status")).to_have_text("finished")
        expect(page.locator("#status")).to_have_text("finished; no answer from /metrics")
        expect(page.locator("#upto")).to_have_text("the data ends at 1 Nov 2026, 12:29:00 UTC")
        expect(page.locator(".tile", has_text="chiller")).to_contain_text(" % inside")
        expect(page.locator(".late, .silent, #strip .bad")).to_have_count(0)
        page.locator(".tile", has_text="chiller").click()
        expect(page.locator("#facts")).to_contain_text("ended 9 min earlier")
        expect(page.locator("#facts .bad")).to_have_count(0)


def test_a_key_in_two_partitions_is_named_and_keeps_its_history(browser: Browser, nothing: Stage) -> None:
    a_series(nothing.board, HOSTILE, [float(bar % 23) for bar in range(60)], error=1.0, cutoffs=range(40, 48))
    with reading(nothing.board), closing(nothing.open(browser)) as page:
        expect(page.locator("#facts")).to_contain_text("× naive")
        expect(page.locator("#trouble")).to_be_hidden()
        stray = orjson.dumps({"key": HOSTILE, "ts": START + 60 * FREQ, "values": [1.0]})
        nothing.board.take_records(Batch(Partition("observations", 1), [0], [START], [None], [stray], 1))
        expect(page.locator("#trouble")).to_contain_text("1 series has records in more than one partition")
        expect(page.locator("#trouble")).to_contain_text("in partitions 0 and 1")
        expect(page.locator("#facts")).to_contain_text("× naive")


def test_a_partition_that_waits_is_in_the_head_of_the_page_while_others_go_on(browser: Browser, many: Stage) -> None:
    waits = "observations[3] is not answered from offset 4711 on, for 12 min now: Topic forecasts cannot hold a <b>"
    with reading(many.board), closing(many.open(browser)) as page:
        many.go_on()
        expect(page.locator("#status")).to_have_text("live")
        problems = [waits]
        with serving(many.board, {"lag_records": 9.0}, problems):
            expect(page.locator("#status")).to_have_text("not ready")
            expect(page.locator("body")).to_have_attribute("data-state", "quiet")
            expect(page.locator("#trouble")).to_have_text(f"The service is not ready: {waits}")
            problems.clear()
            many.go_on()
            expect(page.locator("#status")).to_have_text("live")
            expect(page.locator("#trouble")).to_be_hidden()


def test_a_shadow_lane_is_beside_the_champion_until_it_is_removed(browser: Browser, many: Stage) -> None:
    lanes = {"champion": ServedLane("load@3"), "challenger": ServedLane("load@4"), "shade": ServedLane("load@5", True)}
    numbers: dict[str, float | None] = {
        f"{lane}.{name}": number
        for lane, error in (("champion", 0.6), ("challenger", 0.9), ("shade", 0.3))
        for name, number in (("outcomes", 480.0), ("relative_mae", error), ("coverage", 0.7))
    }
    with reading(many.board), serving(many.board, numbers, (), lanes), closing(many.open(browser)) as page:
        shade = page.locator("#lanes tr", has_text="shade")
        expect(shade).to_have_text(re.compile("^shade load@5, shadow ?0.30 ?70 %$"))
        expect(page.locator("#lanes tr", has_text="challenger")).not_to_contain_text("shadow")
        note = page.locator("#lanes-note")
        expect(note).to_contain_text("The error of shade is 50 % lower than that of champion.")
        expect(note).to_contain_text("shade is a shadow: it is measured and publishes nothing.")
        walk(page, "#/series/kiln-00006")
        expect(page.locator("#lane-choice label")).to_have_count(2)
        expect(page.locator("#lane-choice")).not_to_contain_text("shade")
        del lanes["shade"]
        expect(shade).to_have_count(0)
        expect(note).not_to_contain_text("shadow")


def test_a_page_that_still_reads_states_neither_lateness_nor_lanes_nor_dead_letters(
    browser: Browser, nothing: Stage
) -> None:
    board, unread = nothing.board, "not read to the end yet"
    board.start_reading()
    with reading(board), closing(nothing.open(browser)) as page:
        expect(page.locator("#status")).to_have_text("reading the topics")
        expect(page.locator("#empty")).to_contain_text("Reading the topics")
        fill(board, Feeder(1), 3)
        board.report_reading(0.436)
        expect(page.locator("#status")).to_have_text("reading the topics, 43 % so far")
        expect(page.locator(".tile")).to_have_count(1)  # the only one so far does not open by itself
        for key, cutoff in (("old", 0), ("new", 3 * 1440)):
            message = forecast(key, START + cutoff * FREQ, {"0.5": [1.0]})
            board.take_forecasts(Batch(FORECASTS, [0], [START], [None], [message], 1))
        expect(page.locator(".tile")).to_have_count(3)
        expect(page.get_by_role("link", name=f"old, error: not known yet, {unread}")).to_be_visible()
        expect(page.locator(".late, .silent, #lanes tr, #strip .bad")).to_have_count(0)
        expect(page.locator("#upto")).to_have_text("")
        expect(page.locator("#lanes-note")).to_have_text(f"The topics are {unread}.")
        expect(page.locator("#dead-note")).to_have_text(f"The topics are {unread}.")
        expect(page.locator("#strip")).not_to_contain_text("/metrics")
        walk(page, "#/series/old")
        expect(page.locator("#facts")).to_contain_text(unread)
        expect(page.locator("#facts .bad")).to_have_count(0)
        board.report_reading(1.0)
        board.report_service(None)
        expect(page.locator("#facts .bad")).to_have_text("3 days late")
        expect(page.locator("#upto")).to_contain_text("forecasts up to 4 Nov 2026")
        expect(page.locator("#lanes tr")).to_have_count(2)
        expect(page.locator("#dead-note")).to_have_text("None.")
        expect(page.locator("#strip")).to_contain_text("no answer from /metrics")
        walk(page, "#/")
        expect(page.locator(".tile .late")).to_have_count(2)


def test_a_broker_that_is_away_is_named_although_nothing_is_read(browser: Browser, nothing: Stage) -> None:
    nothing.board.start_reading()
    nothing.board.report_trouble("the broker at kafka:9092 does not answer")
    with reading(nothing.board), closing(nothing.open(browser)) as page:
        expect(page.locator("#status")).to_have_text("topics cannot be read")
        expect(page.locator("#trouble")).to_contain_text("kafka:9092 does not answer")


def test_trouble_with_the_topics_is_shown_in_words(browser: Browser, many: Stage) -> None:
    with reading(many.board), closing(many.open(browser)) as page:
        expect(page.locator("#trouble")).to_be_hidden()
        many.board.report_trouble("the broker at kafka:9092 does not answer")
        expect(page.locator("#trouble")).to_have_text(
            "The topics cannot be read: the broker at kafka:9092 does not answer"
        )
        expect(page.locator("#status")).to_have_text("topics cannot be read")
        many.board.report_trouble(None)
        expect(page.locator("#trouble")).to_be_hidden()


def test_a_lost_server_is_noticed_and_found_again(browser: Browser) -> None:
    stage = Stage(series=3, bars=10)
    with reading(stage.board), closing(stage.open(browser)) as page:
        stage.go_on()
        expect(page.locator("#status")).to_have_text("live")
        stage.server.close()
        expect(page.locator("#status")).to_contain_text("disconnected for")
        words = re.compile("disconnected from its server: everything shown is as of .* UTC")
        expect(page.locator("#trouble")).to_have_text(words)
        expect(page.locator(".tile")).to_have_count(3)
        with closing(serve_dashboard(stage.board, port=stage.server.port)):
            stage.go_on()
            expect(page.locator("#status")).to_have_text("live", timeout=30_000)
            expect(page.locator("#trouble")).to_be_hidden()


def test_a_page_with_a_token_works_once_the_browser_has_it(browser: Browser) -> None:
    stage = Stage(series=3, bars=30, access=Access(token="sesame"))
    with closing(stage.server), closing(stage.open(browser, "#/series/kiln-00000", token="sesame")) as page:
        expect(page.locator("#chart .scatterlayer").first).to_be_attached()
        stage.go_on()
        expect(page.locator("#status")).to_have_text("live")


def test_a_feed_that_has_stopped_is_named_with_the_time_of_the_picture(browser: Browser, many: Stage) -> None:
    with closing(many.open(browser)) as page:
        many.go_on()
        expect(page.locator("#status")).to_have_text("live")
        newest = many.board.samples[-1]
        many.board.samples[-1] = replace(newest, at=newest.at - 90)
        expect(page.locator("#status")).to_contain_text(re.compile(r"topics not read for \d+ s"))
        words = re.compile("stopped reading the topics: everything shown is as of .* UTC")
        expect(page.locator("#trouble")).to_have_text(words)
        many.go_on()
        expect(page.locator("#status")).to_have_text("live")


def test_the_page_that_was_open_before_the_first_record_shows_the_only_series(browser: Browser, nothing: Stage) -> None:
    with closing(nothing.open(browser)) as page:
        expect(page.locator("#empty")).to_contain_text("Waiting for the first record")
        a_series(nothing.board, "pump-7", [1.0], error=1.0)
        expect(page.locator("#strip .figure .value").last).to_have_text("1")
        expect(page.locator("#detail-key")).to_have_text("pump-7")
        expect(page.locator("#outcome")).to_have_text("No forecast of this series yet.")
