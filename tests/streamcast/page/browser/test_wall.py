"""The wall in a real browser: it ranks series, says what each number is, and runs nothing from a topic."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import replace

import orjson
import pytest
from playwright.sync_api import Browser, Page, expect

from harness.feeder import FORECASTS, FREQ, RECORDS, START, forecast
from streamcast.consumers.transport import Batch, Partition
from tests.streamcast.page.browser.stage import HOSTILE, Stage, a_series, sample, texts, until, walk

pytestmark = pytest.mark.browser


def test_the_wall_shows_the_most_wrong_series_first_and_can_be_reordered(page: Page) -> None:
    expect(page.locator(".tile")).to_have_count(60)
    expect(page.locator("#count")).to_have_text("70 series")
    errors = [float(text.split("×")[0]) for text in texts(page, ".tile .under b")]
    assert errors == sorted(errors, reverse=True)
    page.get_by_role("radio", name="Name").check()
    expect(page.locator(".tile .key").first).to_have_text("chiller-00002")
    page.get_by_role("button", name="Next →").click()
    expect(page.locator(".tile")).to_have_count(10)
    expect(page.locator("#page-number")).to_have_text("2 of 2")


def test_search_narrows_the_wall_and_survives_a_visit_to_a_series(page: Page) -> None:
    expect(page.locator(".tile")).to_have_count(60)
    page.keyboard.press("/")
    page.keyboard.type("pump-0000")
    expect(page.locator("#count")).to_have_text("2 of 70 series")
    page.locator(".tile a").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("line-a/pump-0000")
    page.keyboard.press("Escape")
    expect(page.locator(".tile")).to_have_count(2)
    page.locator("#query").fill("no such thing")
    expect(page.locator("#empty")).to_contain_text("None of 70 series has “no such thing” in its key.")


def test_everything_is_reachable_by_keyboard(browser: Browser, many: Stage) -> None:
    with closing(many.open(browser)) as page:
        expect(page.locator(".tile")).to_have_count(60)
        reached = set()
        for _ in range(12):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.id || document.activeElement.className || 'tile'"))
        assert {"skip", "brand", "theme", "query", "tile"} <= reached
        page.locator(".tile a").first.focus()
        first = page.locator(".tile .key").first.inner_text()
        page.keyboard.press("Enter")
        expect(page.locator("#detail-key")).to_have_text(first)
        page.keyboard.press("j")
        expect(page.locator("#detail-key")).not_to_have_text(first)
        page.keyboard.press("k")
        expect(page.locator("#detail-key")).to_have_text(first)


def test_naive_is_explained_where_it_stands(page: Page) -> None:
    words = "the value 24 minutes earlier"
    walk(page, "#/series/kiln-00006")
    expect(page.locator("#naive")).to_have_text(f"naive: {words}")
    expect(page.locator("#lanes-note")).to_contain_text(f"Naive repeats {words}.")
    expect(page.locator("#lanes-note")).to_contain_text("a tile's are of its newest 96 forecasts.")
    expect(page.locator("#facts")).to_contain_text("its newest 96 forecasts, steps 1, 6 ahead")
    expect(page.locator("#lanes-note")).to_contain_text("Both count steps 1, 6 ahead.")
    expect(page.locator("#strip .of").first).to_have_text("newest 96 forecasts per series steps 1, 6 ahead")
    page.locator("#cutoff").focus()
    page.keyboard.press("Home")
    expect(page.locator("#outcome")).to_contain_text(f"({words}); ")


def test_every_number_tells_on_hover_what_it_was_computed_over(page: Page) -> None:
    walk(page, "#/series/kiln-00006")
    expect(page.locator("#outcome")).to_contain_text("of 12 steps observed")
    shown = page.locator("[data-window]:visible")
    for number in shown.all():
        number.hover()
        expect(number).to_have_attribute("title", re.compile(r"\w.*\.$"))
    error = page.locator('[data-window="series_relative"]:visible').first
    words = re.compile("the value 24 minutes earlier.*at most 96 a lane.*steps 1, 6 ahead")
    expect(error).to_have_attribute("title", words)
    page.get_by_role("link", name="← All series").click()
    for number in page.locator(".tile").first.locator("[data-window]").all():
        number.hover()
        expect(number).to_have_attribute("title", re.compile(r"\w.*\.$"))
    name = re.compile(r"error \d.* times that of the value 24 minutes earlier \(its newest 96.*, steps 1, 6 ahead\)")
    expect(page.locator(".tile a").first).to_have_attribute("aria-label", name)


def test_a_number_has_its_words_before_a_pointer_comes(browser: Browser, many: Stage) -> None:
    with closing(many.open(browser)) as page:
        expect(page.locator("#strip .figure").first).to_have_attribute("title", re.compile("steps 1, 6 ahead"))


def test_a_headline_of_other_outcomes_says_so_and_begins_another_line(browser: Browser, many: Stage) -> None:
    board, line = many.board, "document.querySelector('#strip path').getAttribute('d')"
    for number in range(1, 4):
        board.samples.append(replace(board.samples[-1], at=board.samples[-1].at + number / 100))
    with closing(many.open(browser)) as page:
        expect(page.locator("#strip .of").first).to_have_text("newest 96 forecasts per series steps 1, 6 ahead")
        until(page, f"{line} !== ''")
        board.samples.append(replace(board.samples[-1], at=board.samples[-1].at + 1, reported=True))
        expect(page.locator("#strip .of").first).to_have_text("since the service started steps 1, 6 ahead")
        until(page, f"{line} === ''")


def test_a_dead_letter_shows_its_detail_and_one_is_no_plural(browser: Browser, many: Stage) -> None:
    detail = "Expected `array` of length 2 - at `$.values`"
    many.board.take_dead_letters(many.feeder.dead_letters([(b"x", "shape", detail)]))
    many.board.counts["unreadable"] = 1
    with closing(many.open(browser)) as page:
        expect(page.locator("#dead .detail")).to_have_text(detail)
        expect(page.locator("#strip")).to_contain_text("1 record could not be read")
        page.locator("#dead summary").click()
        expect(page.locator("#dead p")).to_have_text("from observations[0]@17 · 1 byte")


def test_a_late_series_says_how_late_in_time(browser: Browser, nothing: Stage) -> None:
    for key, cutoff in (("old", 0), ("new", 3 * 1440)):
        message = forecast(key, START + cutoff * FREQ, {"0.5": [1.0]})
        nothing.board.take_forecasts(Batch(FORECASTS, [0], [START], [None], [message], 1))
    with closing(nothing.open(browser, "#/?sort=late")) as page:
        expect(page.locator(".tile .late")).to_have_text("3 days late")
        page.get_by_role("link", name="old, error: not known yet, 3 days late").click()
        expect(page.locator("#facts .bad")).to_have_text("3 days late")


def test_the_wall_says_when_a_series_had_its_newest_anomaly(browser: Browser, nothing: Stage) -> None:
    board, waves = nothing.board, [float(bar % 24) + bar / 9 for bar in range(120)]
    for key, anomalies in (("now", {119: 0.998}), ("ago", {100: 0.99912}), ("old", {30: 0.998}), ("calm", {})):
        a_series(board, key, waves, error=1.0, cutoffs=range(120), anomalies=anomalies)
    sample(board)
    with closing(nothing.open(browser, "#/?sort=name")) as page:
        expect(page.locator(".tile")).to_have_count(4)
        assert texts(page, ".tile .unusual") == ["anomaly 19 min ago", "anomaly now"]
        ago = page.locator(".tile", has_text="ago")
        whole = "(text) => text.getBoundingClientRect().right <= text.parentElement.getBoundingClientRect().right"
        assert ago.locator(".unusual").evaluate(whole), "nothing is cut off"
        expect(ago.locator("a")).to_have_attribute("aria-label", re.compile(", anomaly 0.99912 19 min ago$"))
        expect(ago.locator(".marks")).to_have_attribute("d", re.compile(r"^M[\d. ]+h0$"))
        expect(page.locator(".tile", has_text="calm").locator(".marks")).to_have_attribute("d", "")
        expect(page.locator("#strip .of").last).to_have_text("2 with an anomaly in the newest 48 bars")
        page.get_by_role("radio", name="Newest anomaly").check()
        expect(page.locator(".tile .key").first).to_have_text("now")
        assert texts(page, ".tile .key") == ["now", "ago", "old", "calm"]
        assert texts(page, ".tile .unusual") == ["anomaly now", "anomaly 19 min ago", "anomaly 89 min ago"]
        whole = "(text) => text.scrollWidth <= text.clientWidth"
        for error in page.locator(".tile .under > :first-child").all():
            assert error.evaluate(whole)
        a_series(board, "calm", [*waves, 1.0], error=1.0, cutoffs=(120,))
        expect(page.locator(".tile .unusual").first).to_have_text("anomaly 60 s ago")


def test_without_an_anomaly_the_wall_says_nothing_of_them(page: Page) -> None:
    expect(page.locator(".tile .unusual")).to_have_count(0)
    expect(page.locator("#strip")).not_to_contain_text("anomaly")


def test_no_anomaly_is_the_newest_before_the_topics_are_read(browser: Browser, nothing: Stage) -> None:
    board, waves = nothing.board, [float(bar % 24) for bar in range(80)]
    board.start_reading()
    a_series(board, "pump", waves, error=1.0, cutoffs=range(50, 80), anomalies={79: 0.998})
    a_series(board, "calm", waves, error=1.0, cutoffs=range(50, 80))
    board.report_reading(0.5)
    sample(board)
    with closing(nothing.open(browser, "#/?sort=anomaly")) as page:
        expect(page.locator("#status")).to_contain_text("reading the topics")
        expect(page.locator(".tile .marks").first).to_have_attribute("d", re.compile("h0$"))
        expect(page.locator(".unusual")).to_have_count(0)
        expect(page.locator("#strip")).not_to_contain_text("anomaly")
        board.report_reading(1.0)
        board.report_service({})
        sample(board)
        expect(page.locator(".unusual")).to_have_text("anomaly now")


def test_keys_that_differ_in_their_outer_blanks_look_different(browser: Browser, nothing: Stage) -> None:
    station = "Southern Cross Station and its many platforms"
    for key in (station, f"{station} ", f"  {station}", "a  b"):
        a_series(nothing.board, key, [1.0, 2.0], error=1.0)
    with closing(nothing.open(browser, "#/?sort=name")) as page:
        keys = page.locator(".tile .key")
        expect(keys).to_have_count(4)
        assert keys.all_text_contents() == [f"␣␣{station}", station, f"{station}␣", "a  b"]
        marked = "range = document.createRange(); range.selectNode(key.lastChild)"
        ends = "range.getBoundingClientRect().right <= key.getBoundingClientRect().right"
        assert keys.nth(2).evaluate(f"(key) => {{ const {marked}; return {ends}; }}"), "the mark is not cut off"
        expect(keys.nth(2)).to_have_attribute("title", f"{station}␣")
        keys.nth(2).click()
        expect(page.locator("#detail-key")).to_have_text(f"{station}␣")
        expect(page).to_have_title(f"{station}␣ – streamcast")
        expect(page.locator("#outcome")).to_have_text("No forecast of this series yet.")


def test_a_single_series_opens_by_itself(browser: Browser) -> None:
    stage = Stage(series=1, bars=40)
    with closing(stage.server), closing(stage.open(browser)) as page:
        expect(page.locator("#detail-key")).to_have_text("kiln-00000")
        expect(page.locator("#chart .scatterlayer").first).to_be_attached()
        page.get_by_role("link", name="← All series").click()
        expect(page.locator(".tile")).to_have_count(1)
    assert stage.errors == []


def test_a_series_that_naive_has_no_value_for_says_so(browser: Browser, nothing: Stage) -> None:
    a_series(nothing.board, "other", [float(bar) for bar in range(20)], error=1.0)
    a_series(nothing.board, "young", [float(bar) for bar in range(20)], error=1.0, cutoffs=range(4, 9))
    sample(nothing.board)
    with closing(nothing.open(browser)) as page:
        expect(page.locator(".tile", has_text="young")).to_contain_text("no naive yet")
        expect(page.locator(".tile", has_text="other")).to_contain_text("not scored yet")
        expect(page.locator("#strip .aside").first).to_have_text("naive not known yet")
        expect(page.locator("#lanes-note")).to_contain_text("appear once it has a value to repeat")
        page.locator(".tile", has_text="young").click()
        expect(page.locator("#facts")).to_contain_text("naive not known yet")


def test_a_series_that_is_warming_up_says_so_and_its_forecasts_count_nowhere(browser: Browser, nothing: Stage) -> None:
    waves = [float(bar % 24) for bar in range(80)]
    a_series(nothing.board, "warm", waves, error=1.0, cutoffs=range(50, 80))
    a_series(nothing.board, "young", waves, error=1.0, cutoffs=range(50, 80), warm=False)
    sample(nothing.board)
    with closing(nothing.open(browser)) as page:
        young = page.locator(".tile", has_text="young")
        expect(young).to_have_class(re.compile("warming"))
        expect(young).to_contain_text("not scored yet")
        expect(young).to_contain_text("warming up")
        expect(page.locator(".tile", has_text="% inside")).to_contain_text("naive")
        young.click()
        expect(page.locator("#facts")).to_contain_text("warming up: its forecasts do not count yet")
        drawn = "(document.getElementById('chart').data ?? []).filter(({yaxis}) => yaxis)"
        values = f"{drawn}.map(({{y}}) => y.filter((value) => value !== null).length)"
        until(page, f"{drawn}.length === 3")
        assert page.evaluate(values) == [0, 0, 0]
        walk(page, "#/series/warm")
        until(page, f"{drawn}.length === 3 && Math.min(...{values}) > 0")
        expect(page.locator("#facts")).not_to_contain_text("warming up")


def test_a_bad_number_of_few_outcomes_is_no_alarm(browser: Browser, nothing: Stage) -> None:
    waves = [float(bar % 24) for bar in range(400)]
    a_series(nothing.board, "few", waves, error=30.0, cutoffs=range(370, 376))
    sample(nothing.board)
    with closing(nothing.open(browser)) as page:
        inside = page.locator("#strip .figure .value").nth(1)
        expect(inside).to_have_text(re.compile("^0 ?%"))
        expect(page.locator("#strip .bad")).to_have_count(0)
        a_series(nothing.board, "more", waves, error=30.0, cutoffs=range(300, 400))
        sample(nothing.board)
        expect(page.locator("#strip .bad").first).to_be_visible()


def test_a_series_in_closed_hours_is_no_problem(browser: Browser, nothing: Stage) -> None:
    board = nothing.board
    a_series(board, "mill", [1.0] * 101, error=1.0, cutoffs=(100,))
    hours = [10.0 + bar % 24 if 8 <= bar % 24 < 20 else None for bar in range(24 * 4)]
    a_series(board, "shop", hours, error=1.0, cutoffs=(91,))
    board.report_service({"late_records": 12_345.0, "latency_p99_ms": 9.0, "latency_seconds": 60.0})
    sample(board)
    with closing(nothing.open(browser)) as page:
        shop = page.locator(".tile", has_text="shop")
        expect(shop).to_contain_text("closed")
        expect(page.locator(".late, .silent")).to_have_count(0)
        expect(page.locator("#strip .figure").nth(2).locator(".of")).to_have_text("since the service started")
        series = page.locator("#strip .figure").last
        expect(series.locator(".aside")).to_have_text("149 records read")
        left_out = series.locator(".of")
        expect(left_out).to_have_text("12.3K late records dropped")
        assert left_out.evaluate("(box) => box.scrollWidth <= box.clientWidth && box.scrollHeight <= box.clientHeight")
        shop.click()
        expect(page.locator("#facts")).to_contain_text("up to date, in closed hours")
        expect(page.locator("#facts .bad")).to_have_count(0)


def test_hostile_keys_lanes_and_payloads_are_only_text(browser: Browser, many: Stage) -> None:
    board = many.board
    record = orjson.dumps({"key": HOSTILE, "ts": START, "values": [1.0]})
    board.take_records(Batch(RECORDS, [0], [START], [None], [record], 1))
    bad = [
        forecast(HOSTILE, START, {"0.1": [1.0], "0.5": [2.0], "0.9": [3.0]}, lane=lane, model=HOSTILE)
        for lane in ("champion", HOSTILE)
    ]
    board.take_forecasts(Batch(FORECASTS, [0, 1], [START] * 2, [None] * 2, bad, 2))
    headers = [[("reason", HOSTILE.encode()), ("detail", HOSTILE.encode())]]
    board.take_dead_letters(Batch(Partition("dead-letters", 0), [0], [START], [None], [HOSTILE.encode()], 1, headers))
    with closing(many.open(browser, "#/?query=onerror")) as page:
        expect(page.locator(".tile .key")).to_have_text(HOSTILE)
        expect(page.locator("#dead b")).to_have_text(HOSTILE)
        expect(page.locator("#dead code")).to_have_text(HOSTILE)
        expect(page.locator("#dead .detail")).to_have_text(HOSTILE)
        expect(page.locator("#lanes")).to_contain_text(HOSTILE)
        page.locator(".tile a").click()
        expect(page.locator("#detail-key")).to_have_text(HOSTILE)
        expect(page.locator("#chart .scatterlayer").first).to_be_attached()
        assert page.evaluate("window.owned") is None
        assert page.locator("main img, aside img, main script, aside script").count() == 0


def test_ten_thousand_series_are_a_page_like_any_other(browser: Browser) -> None:
    stage = Stage(series=10_000, bars=1)
    with closing(stage.server), closing(stage.open(browser)) as page:
        expect(page.locator(".tile")).to_have_count(60)
        expect(page.locator("#count")).to_have_text("10,000 series")
        page.locator("#query").fill("09999")
        expect(page.locator("#count")).to_have_text("1 of 10,000 series")
    assert stage.errors == []
