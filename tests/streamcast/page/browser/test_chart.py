"""A series' chart in a real browser: it follows the stream, and compares past forecasts with what came."""

from __future__ import annotations

import re
from contextlib import closing
from datetime import UTC, datetime

import orjson
import pytest
from playwright.sync_api import Browser, Page, expect

from harness.feeder import FORECASTS, FREQ, RECORDS, SPEC, START, forecast
from streamcast.consumers.transport import Batch
from streamcast.page.board import Board
from streamcast.page.server import serve_dashboard
from streamcast.spec.calendar_bars import MONTH_MS, Step, calendar_of
from streamcast.spec.model_spec import Column
from tests.streamcast.page.browser.stage import PHONE, Stage, a_series, sample, texts, until, walk

pytestmark = pytest.mark.browser


def test_a_window_that_becomes_narrow_is_drawn_for_its_width(page: Page) -> None:
    walk(page, "#/series/kiln-00006")
    ticks = "document.getElementById('chart').layout?.xaxis?.nticks"
    until(page, f"{ticks} > 4")
    page.set_viewport_size(PHONE)
    until(page, f"{ticks} === 4")


def test_past_forecasts_are_compared_with_observations(browser: Browser, many: Stage) -> None:
    with closing(many.open(browser, "#/series/kiln-00006")) as page:
        expect(page.locator("#chart .scatterlayer").first).to_be_attached()
        expect(page.locator("#outcome")).to_contain_text("0 of 12 steps observed")
        page.locator("#cutoff").focus()
        for _ in range(12):
            page.keyboard.press("ArrowLeft")
        expect(page.locator("#outcome")).to_contain_text("12 of 12 steps observed; mean error")
        expect(page.locator("#outcome")).to_contain_text("inside the interval")
        made = page.locator("#cutoff-label").inner_text()
        many.go_on()
        expect(page.locator("#cutoff")).to_have_attribute("max", "60")
        assert page.locator("#cutoff-label").inner_text() == made
        page.get_by_role("button", name="Latest").click()
        expect(page.locator("#cutoff-label")).to_contain_text("(latest)")


def test_axes_have_plain_numbers_and_shares_have_percent_signs(browser: Browser, nothing: Stage) -> None:
    nothing.board.spec = SPEC.model_copy(update={"columns": (Column(name="Last <b>MW</b> & °C"),)})
    a_series(nothing.board, "kettle", [0.5 + bar % 24 / 20 for bar in range(72)], error=0.5, cutoffs=range(40, 60))
    with closing(nothing.open(browser, "#/series/kettle")) as page:
        expect(page.locator(".y3tick text").last).to_have_text("100 %")
        expect(page.locator("#chart .annotation-text").first).to_have_text("Last <b>MW</b> & °C")
        assert not page.locator("#chart .annotation-text tspan").count()
        dates = [line for line in page.locator(".xtick text tspan").all_text_contents() if "2026" in line]
        assert dates[0] == "1 Nov 2026"
        assert page.locator(".y3tick text").all_text_contents() == ["0 %", "100 %"]
        errors = page.locator(".y2tick text").all_text_contents()
        assert any(number.startswith("0.") for number in errors)
        assert all(re.fullmatch(r"[\d.]+", number) for number in errors)
        expect(page.locator("#facts")).to_contain_text("100 % (nominal 80 %)")


def test_the_chart_follows_the_stream_and_the_lane(browser: Browser, many: Stage) -> None:
    with closing(many.open(browser, "#/series/kiln-00006")) as page:
        expect(page.locator("#chart .scatterlayer").first).to_be_attached()
        shown = "document.getElementById('chart').data.find((trace) => trace.name === 'observed').x.length"
        before = page.evaluate(shown)
        many.go_on()
        until(page, f"{shown} === {before + 1}")
        median = "document.getElementById('chart').data.find((trace) => trace.name === 'median').y[0]"
        champion = page.evaluate(median)
        page.get_by_role("radio", name="challenger · load@4").check()
        until(page, f"{median} !== {champion}")


def test_one_quantile_makes_no_interval(browser: Browser, nothing: Stage) -> None:
    waves = [float(bar % 24) for bar in range(80)]
    a_series(nothing.board, "median", waves, error=1.0, cutoffs=range(50, 80), levels=(0.5,))
    sample(nothing.board)
    with closing(nothing.open(browser, "#/series/median")) as page:
        expect(page.locator("#chart .annotation-text").last).to_have_text("one quantile makes no interval")
        page.locator("#cutoff").focus()
        for _ in range(12):
            page.keyboard.press("ArrowLeft")
        expect(page.locator("#outcome")).to_contain_text("12 of 12 steps observed; mean error")
        assert "inside" not in page.locator("main").inner_text()
        names = "document.getElementById('chart').data.map(({name}) => name)"
        assert set(page.evaluate(names)) == {"median", "naive", "observed", "naive's error", "error"}


def test_a_lone_observation_is_seen(browser: Browser, nothing: Stage) -> None:
    a_series(nothing.board, "once", [None, None, 3.0, None, None, 4.0, 5.0], error=1.0, cutoffs=(6,))
    with closing(nothing.open(browser)) as page:
        path = page.locator(".tile .seen").first
        expect(path).to_have_attribute("d", re.compile(r"h0M.*L"))
        until(page, "document.getElementById('chart').data?.some(({name}) => name === 'observed')")
        sizes = "document.getElementById('chart').data.find(({name}) => name === 'observed').marker.size"
        assert page.evaluate(sizes).count(5) == 1


def test_an_anomaly_is_marked_on_the_chart_and_explained(browser: Browser, nothing: Stage) -> None:
    waves = [float(bar % 24) for bar in range(80)]
    waves[70] = 99.0
    a_series(nothing.board, "pump", waves, error=1.0, cutoffs=range(50, 80), anomalies={60: 0.997, 70: 0.99912})
    a_series(nothing.board, "calm", waves, error=1.0, cutoffs=range(50, 80), anomalies=dict.fromkeys(range(80)))
    sample(nothing.board)
    marks = "document.getElementById('chart').data?.find(({name}) => name === 'anomaly')"
    with closing(nothing.open(browser, "#/series/pump")) as page:
        until(page, f"{marks} !== undefined")
        assert page.evaluate(f"{marks}.y") == [60.0 % 24, 99.0]
        assert page.evaluate(f"{marks}.x")[1] == "2026-11-01T13:10:00.000"
        assert page.evaluate(f"{marks}.text") == ["0.997, one bar in 330", "0.99912, one bar in 1,100"]
        expect(page.locator("#facts")).to_contain_text("anomaly of the newest bar0.03")
        expect(page.locator("#facts .bad").last).to_have_text("0.99912 at 1 Nov 2026, 13:10:00")
        expect(page.locator("#anomalies")).to_have_text("anomaly")
        page.locator("#anomalies").hover()
        words = re.compile("share of its series' bars that are less so.* Bars of 0.997 or more are marked")
        expect(page.locator("#anomalies")).to_have_attribute("title", words)
        expect(page.locator("#chart")).to_have_attribute("aria-label", re.compile("2 bars are marked as anomalies"))
        walk(page, "#/series/calm")
        expect(page.locator("#chart")).to_have_attribute("aria-label", re.compile("13:19:00$"))
        expect(page.locator("#anomalies")).to_be_hidden()
        expect(page.locator("#facts")).not_to_contain_text("anomaly")
        assert page.evaluate(f"{marks} === undefined")


def test_marks_are_those_of_the_lane_that_is_shown(browser: Browser, nothing: Stage) -> None:
    waves = [float(bar % 24) for bar in range(80)]
    a_series(nothing.board, "pump", waves, error=1.0, cutoffs=range(50, 80))
    rival = forecast("pump", START + 79 * FREQ, {"0.5": [1.0]}, lane="challenger", anomaly=0.9999987)
    nothing.board.take_forecasts(Batch(FORECASTS, [0], [START], [None], [rival], 1))
    nothing.board.score()
    with closing(nothing.open(browser, "#/series/pump")) as page:
        expect(page.locator("#chart .scatterlayer").first).to_be_attached()
        expect(page.locator("#anomalies")).to_be_hidden()
        page.get_by_role("radio", name=re.compile("challenger")).check()
        expect(page.locator("#anomalies")).to_be_visible()
        expect(page.locator("#facts .bad")).to_have_text("0.9999987")
        text = "document.getElementById('chart').data.find(({name}) => name === 'anomaly').text"
        assert page.evaluate(text) == ["0.9999987, rarer than one bar in 10,000"]


def test_times_are_shown_in_the_chosen_zone_which_is_named_and_remembered(browser: Browser, many: Stage) -> None:
    many.board.zone = "Australia/Melbourne"
    title = "#chart .xtitle"
    first = "document.getElementById('chart').data.find((trace) => trace.name === 'observed').x[0]"
    with closing(many.open(browser, "#/series/kiln-00006", zone="America/New_York")) as page:
        expect(page.locator(title)).to_have_text("time in Australia/Melbourne")
        assert texts(page, "#zone option") == ["UTC", "America/New_York (here)", "Australia/Melbourne (series)"]
        page.locator("#zone").select_option("UTC")
        expect(page.locator(title)).to_have_text("time in UTC")
        assert page.evaluate(first) == "2026-11-01T12:00:00.000"
        expect(page.locator("#chart .xtick text").first).to_contain_text("12:")
        page.locator("#zone").select_option("America/New_York")
        expect(page.locator(title)).to_have_text("time in America/New_York")
        assert page.evaluate(first) == "2026-11-01T07:00:00.000"
        expect(page.locator("#chart .xtick text").first).to_contain_text("07:")
        expect(page.locator("#cutoff-label")).to_contain_text("1 Nov 2026, 07:59:00")
        page.locator("#zone").select_option("Australia/Melbourne")
        expect(page.locator("#upto")).to_have_text("forecasts up to 1 Nov 2026, 23:59:00 Australia/Melbourne")
        assert page.evaluate(first) == "2026-11-01T23:00:00.000"
        expect(page.locator("#chart .xtick text").first).to_contain_text("23:")
        page.reload()
        expect(page.locator(title)).to_have_text("time in Australia/Melbourne")
        many.board.zone = "America/New_York"
        page.reload()
        expect(page.locator(title)).to_have_text("time in America/New_York")


def test_the_axes_follow_what_is_in_view_until_a_person_chooses(browser: Browser, nothing: Stage) -> None:
    values: list[float | None] = [10.0 + bar % 7 for bar in range(200)]
    values[20] = 900.0
    a_series(nothing.board, "kettle", values, error=1.0, cutoffs=(199,))
    ranges = "Object.fromEntries(['x', 'y'].map((a) => [a, document.getElementById('chart').layout[`${a}axis`].range]))"

    def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
        box = page.locator("#chart .nsewdrag[data-subplot='xy']").bounding_box()
        assert box is not None
        (x0, y0), (x1, y1) = (
            (box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)
        )  # fmt: skip
        page.mouse.move(x0, y0)
        page.mouse.down()
        page.mouse.move((x0 + x1) / 2, (y0 + y1) / 2)
        page.mouse.move(x1, y1)
        page.mouse.up()

    with closing(nothing.open(browser, "#/series/kettle")) as page:
        expect(page.locator("#chart .scatterlayer").first).to_be_attached()
        first = page.evaluate(ranges)
        assert 0 < first["y"][0] < 10
        assert 16 < first["y"][1] < 30, "the spike is out of sight"
        drag(page, (0.2, 0.5), (0.24, 0.5))
        until(page, f"JSON.stringify({ranges}.x) !== '{orjson.dumps(first['x']).decode()}'")
        narrow = page.evaluate(ranges)
        assert narrow["y"] != first["y"]
        drag(page, (0.5, 0.3), (0.5, 0.6))
        until(page, f"JSON.stringify({ranges}.y) !== '{orjson.dumps(narrow['y']).decode()}'")
        chosen = page.evaluate(ranges)
        assert chosen["x"] == narrow["x"]
        a_series(nothing.board, "kettle", [*values, 500.0], error=1.0)
        until(page, "document.getElementById('chart').data.some(({ y }) => y.includes(500))")
        assert page.evaluate(ranges) == chosen
        page.locator("#chart .nsewdrag[data-subplot='xy']").dblclick()
        until(page, f"{ranges}.y[1] > 500")


def test_a_click_on_the_chart_chooses_the_forecast_of_that_time(browser: Browser, many: Stage) -> None:
    with closing(many.open(browser, "#/series/kiln-00006", zone="America/New_York")) as page:
        panel = page.locator("#chart .xy2 .scatterlayer").first
        expect(panel).to_be_attached()
        expect(page.locator("#cutoff-label")).to_contain_text("(latest)")
        box = page.locator("#chart .nsewdrag[data-subplot='xy2']").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        expect(page.locator("#cutoff-label")).not_to_contain_text("(latest)")


def test_a_zone_that_the_browser_does_not_know_is_shown_as_utc(browser: Browser, many: Stage) -> None:
    many.board.zone = "Atlantis/Poseidonis"
    with closing(many.open(browser, "#/series/kiln-00006")) as page:
        page.locator("#zone").select_option("Atlantis/Poseidonis")
        expect(page.locator("#zone")).to_have_value("UTC")
        expect(page.locator("#chart .xtitle")).to_have_text("time in UTC")


def test_a_page_with_one_zone_offers_no_choice(page: Page) -> None:
    expect(page.locator("#upto")).to_contain_text("UTC")
    expect(page.locator("#zone")).to_be_hidden()


def test_closed_hours_and_steps_that_nobody_can_score_are_marked(browser: Browser, nothing: Stage) -> None:
    open_hours = [10.0 + bar % 24 if 8 <= bar % 24 < 20 else None for bar in range(24 * 4 + 20)]
    open_hours[57] = None
    a_series(nothing.board, "shop", open_hours, error=1.0, cutoffs=(55, 60, 91, 115))
    shaded = "document.getElementById('chart').layout?.shapes?.filter((shape) => shape.type === 'rect').length"
    with closing(nothing.open(browser, "#/series/shop")) as page:
        expect(page.locator("#closed")).to_be_visible()
        until(page, f"{shaded} === 5")
        expect(page.locator("#outcome")).to_have_text(
            "0 of 12 steps observed; all 12 in closed hours: nobody can score them"
        )
        page.locator("#cutoff").focus()
        page.keyboard.press("Home")
        expect(page.locator("#outcome")).to_contain_text(re.compile("^11 of 12 steps observed; .*; 1 without a value"))
        page.keyboard.press("ArrowRight")
        expect(page.locator("#outcome")).to_contain_text("5 in closed hours: nobody can score them")


def test_naive_of_a_season_longer_than_the_chart_is_drawn_and_counted(browser: Browser, nothing: Stage) -> None:
    board = nothing.board = Board(SPEC, season=1_008, scored=[1, 6])
    values: list[float | None] = [float(bar % 11) for bar in range(1_300)]
    a_series(board, "house", values, error=1.0, cutoffs=(1_280,))
    naive = "document.getElementById('chart').data?.find((trace) => trace.name === 'naive')?.y"
    with closing(serve_dashboard(board)) as nothing.server, closing(nothing.open(browser, "#/series/house")) as page:
        until(page, f"{naive}?.[0] === {(1_281 - 1_008) % 11}")
        expect(page.locator("#naive")).to_be_visible()
        expect(page.locator("#outcome")).to_contain_text(re.compile(r"12 of 12 steps observed; mean error 1, naive \d"))


def test_forecasts_of_months_are_drawn_and_compared_at_the_months(browser: Browser, nothing: Stage) -> None:
    months = [int(datetime(2020 + n // 12, n % 12 + 1, 1, tzinfo=UTC).timestamp() * 1_000) for n in range(60)]
    calendar = calendar_of(Step("month", 1), "UTC", months[0], months[-1])
    series = SPEC.model_copy(update={"freq": MONTH_MS, "offset": 0, "calendar": calendar})
    board = nothing.board = Board(series, season=12)
    rows = [orjson.dumps({"key": "a", "ts": start, "values": [n % 12]}) for n, start in enumerate(months)]
    board.take_records(Batch(RECORDS, range(60), [START] * 60, [None] * 60, rows, 60))
    for lane, cutoff in (("champion", 46), ("challenger", 47), ("champion", 47)):
        moved = {"0.1": -1.0, "0.5": 0.5, "0.9": 1.0}
        by_level = {level: [(cutoff + step) % 12 + by for step in range(1, 13)] for level, by in moved.items()}
        message = forecast("a", months[cutoff], by_level, lane=lane, freq_ms=None)
        board.take_forecasts(Batch(FORECASTS, [0], [START], [None], [message], 1))
    board.score()
    drawn = "(document.getElementById('chart').data ?? []).filter(({name}) => name === '%s').map(({x}) => x)[0]"
    with closing(serve_dashboard(board)) as nothing.server, closing(nothing.open(browser, "#/series/a")) as page:
        expect(page.locator("#outcome")).to_contain_text(
            re.compile("^12 of 12 steps observed; mean error 0.5, naive 0 .*; 12 of 12 inside the interval$")
        )
        until(page, f"{drawn % 'median'} !== undefined")
        for name in ("median", "naive", "other lane"):
            assert page.evaluate(drawn % name) == [f"2024-{month:02}-01T00:00:00.000" for month in range(1, 13)]


def test_a_series_without_closed_hours_shades_nothing(page: Page) -> None:
    walk(page, "#/series/kiln-00006")
    expect(page.locator("#chart .scatterlayer").first).to_be_attached()
    expect(page.locator("#closed")).to_be_hidden()
