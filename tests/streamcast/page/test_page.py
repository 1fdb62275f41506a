"""The live page in a real browser: it shows the data, names what is missing, and runs nothing from a topic."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace

import orjson
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, ViewportSize, expect, sync_playwright

from harness.feeder import FORECASTS, FREQ, RECORDS, SPEC, START, Feeder, fill, forecast
from streamcast.consumers.transport import Batch, Partition
from streamcast.page.board import Board
from streamcast.page.guard import OPEN, Access
from streamcast.page.scrape import watch
from streamcast.page.server import PageServer, serve_dashboard
from streamcast.spec.model_spec import Column

pytestmark = pytest.mark.browser

expect.set_options(timeout=40_000)

WIDE: ViewportSize = {"width": 1440, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
HOSTILE = '<img src=x onerror="window.owned=1">/<script>window.owned=1</script>'


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        reason = "no Chromium: on Debian, apt install chromium"
        if os.environ.get("CI"):
            pytest.fail(f"the live page must be tested in CI: {reason}")
        pytest.skip(reason)
    with closing(playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])) as running:
        yield running


class Stage:
    """A board that the test feeds, its server, and the errors that the browser reports."""

    def __init__(self, series: int, bars: int, access: Access = OPEN) -> None:
        self.feeder = Feeder(series)
        self.board = Board(SPEC, season=24, scored=[1, 6])
        fill(self.board, self.feeder, bars)
        self.server: PageServer = serve_dashboard(self.board, access=access)
        self.errors: list[str] = []

    def go_on(self) -> None:
        fill(self.board, self.feeder, 1)

    def open(
        self,
        browser: Browser,
        path: str = "",
        *,
        phone: bool = False,
        dark: bool = False,
        token: str | None = None,
        zone: str = "UTC",
    ) -> Page:
        page = browser.new_page(
            http_credentials={"username": "me", "password": token} if token else None,
            timezone_id=zone,
            viewport=PHONE if phone else WIDE,
            color_scheme="dark" if dark else "light",
        )
        page.set_default_timeout(40_000)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._hear)
        page.goto(self.server.url + path)
        return page

    def _hear(self, said: ConsoleMessage) -> None:
        if said.type == "error":
            self.errors.append(said.text)


@pytest.fixture
def many() -> Iterator[Stage]:
    stage = Stage(series=70, bars=60)
    yield stage
    stage.server.close()
    assert stage.errors == []


@pytest.fixture(scope="module")
def opened(browser: Browser) -> Iterator[tuple[Stage, Page]]:
    """A stage and its page, for tests that only look and walk: opening a page takes five seconds of processor time."""
    stage = Stage(series=70, bars=60)
    with closing(stage.server), closing(stage.open(browser)) as page:
        yield stage, page


@pytest.fixture
def page(opened: tuple[Stage, Page]) -> Iterator[Page]:
    """The page of ``opened``, at its wall."""
    stage, page = opened
    page.set_viewport_size(WIDE)
    walk(page, "#/")
    expect(page.locator(".tile")).to_have_count(60)
    yield page
    assert stage.errors == []


@pytest.fixture
def nothing() -> Iterator[Stage]:
    stage = Stage(series=0, bars=0)
    yield stage
    stage.server.close()


@contextmanager
def serving(board: Board, numbers: dict[str, float | None]) -> Iterator[None]:
    """A service that answers the page with ``numbers``."""
    stop = threading.Event()
    thread = threading.Thread(target=watch, args=(lambda: numbers, board, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def reading(board: Board) -> Iterator[None]:
    """A feed that finds nothing new: a board that nobody scores for a while is one whose feed has stopped."""
    stop = threading.Event()

    def read() -> None:
        while not stop.wait(0.5):
            board.score()

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def a_series(
    board: Board,
    key: str,
    values: Sequence[float | None],
    *,
    error: float,
    cutoffs: Iterable[int] = (),
    warm: bool = True,
    levels: tuple[float, ...] = (0.1, 0.5, 0.9),
) -> None:
    """Give the board the bars of one series, and forecasts of 12 steps that are wrong by ``error``."""
    bars = [(bar, value) for bar, value in enumerate(values) if value is not None]
    rows = [orjson.dumps({"key": key, "ts": START + bar * FREQ, "values": [value]}) for bar, value in bars]
    count = len(rows)
    board.take_records(Batch(RECORDS, range(count), [START] * count, [None] * count, rows, count))
    for cutoff in cutoffs:
        steps = [values[(cutoff + step) % len(values)] or 0.0 for step in range(1, 13)]
        quantiles = {str(q): [step + error + 5 * (q - 0.5) for step in steps] for q in levels}
        message = forecast(key, START + cutoff * FREQ, quantiles, warm=warm)
        board.take_forecasts(Batch(FORECASTS, [0], [START], [None], [message], 1))
    board.score(10**6)


def sample(board: Board) -> None:
    """Show what was scored by now: the next sample of the trend would be due two seconds after the last one."""
    with board.lock:
        board.samples.clear()
        board.score()


def walk(page: Page, address: str) -> None:
    """Go to another address of the page that is open."""
    page.evaluate("(address) => { document.activeElement.blur(); location.hash = address; }", address)


def texts(page: Page, selector: str) -> list[str]:
    return page.locator(selector).all_inner_texts()


def until(page: Page, condition: str) -> None:
    """Wait for a condition; Playwright's own way needs eval, which the page forbids."""
    for _ in range(400):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(100)
    pytest.fail(f"still false after 40 s: {condition}")


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
    for sample in range(1, 4):
        board.samples.append(replace(board.samples[-1], at=board.samples[-1].at + sample / 100))
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


def test_a_single_series_opens_by_itself(browser: Browser) -> None:
    stage = Stage(series=1, bars=40)
    with closing(stage.server), closing(stage.open(browser)) as page:
        expect(page.locator("#detail-key")).to_have_text("kiln-00000")
        expect(page.locator("#chart .scatterlayer").first).to_be_attached()
        page.get_by_role("link", name="← All series").click()
        expect(page.locator(".tile")).to_have_count(1)
    assert stage.errors == []


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
        heard, since = many.board.forecasts.heard, many.board.unanswered_since
        assert heard is not None
        assert since is not None
        many.board.forecasts.heard, many.board.unanswered_since = heard - 30, since - 30
        expect(page.locator("#status")).to_contain_text(re.compile(r"no forecasts for [3-9]\d s"))


def test_between_two_bars_the_page_waits_and_one_bar_late_is_not_late(browser: Browser) -> None:
    stage = Stage(series=2, bars=5)
    board = stage.board
    ahead = orjson.dumps({"key": "kiln-00000", "ts": START + 5 * FREQ, "values": [1.0]})
    board.take_records(Batch(RECORDS, [0], [START], [None], [ahead], 1))
    answer = forecast("kiln-00000", START + 5 * FREQ, {"0.5": [1.0]})
    board.take_forecasts(Batch(FORECASTS, [0], [START], [None], [answer], 1))
    with closing(stage.server), serving(board, {}), reading(board), closing(stage.open(browser)) as page:
        board.records.heard = board.clock() - 30
        expect(page.locator("#status")).to_have_text("waiting for the next bar")
        expect(page.locator(".tile")).to_have_count(2)
        expect(page.locator(".late, .silent")).to_have_count(0)
        expect(page.get_by_role("link", name="press-00001")).to_have_attribute("aria-label", re.compile("up to date$"))
        board.records.heard -= 120
        expect(page.locator("#status")).to_have_text(re.compile(r"no data for \d+ (s|min)$"))


def test_a_service_that_does_not_answer_is_the_headline_once_no_data_comes(browser: Browser, many: Stage) -> None:
    with reading(many.board), closing(many.open(browser)) as page:
        many.go_on()
        expect(page.locator("#status")).to_have_text("live")
        assert many.board.records.heard is not None
        many.board.records.heard -= 30
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
    assert board.records.heard is not None
    board.records.heard += 600  # however slowly the page opens, records still arrive
    with reading(board), closing(nothing.open(browser)) as page:
        expect(page.locator(".tile .late")).to_have_text("9 min late")
        with serving(board, numbers):
            numbers["lag_records"] = 3.0
            board.records.heard -= 660
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


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_wider_than_a_phone_and_text_can_be_read(browser: Browser, many: Stage, *, dark: bool) -> None:
    many.board.take_dead_letters(many.feeder.dead_letters([(b"x" * 300, "json", "y" * 300)]))
    for path in ("", "#/series/line-a%2Fpump-00003"):
        with closing(many.open(browser, path, phone=True, dark=dark)) as page:
            expect(page.locator("#dead li")).to_have_count(1)
            page.locator("#dead summary").click()
            assert page.evaluate("document.documentElement.scrollWidth") == 390
            assert page.evaluate(CONTRASTS) == []


def test_the_header_of_a_phone_has_room_for_the_state_and_the_zone(browser: Browser, many: Stage) -> None:
    many.board.zone = "Australia/Melbourne"
    with closing(many.open(browser, phone=True, zone="America/New_York")) as page:
        for text, ago in (("live", 0), ("no data for 50 min, no answer from /metrics", 3000)):
            many.go_on()
            many.board.records.heard = many.board.clock() - ago
            expect(page.locator("#status")).to_have_text(text)
            boxes = [page.locator(part).bounding_box() for part in (".brand", ".status", "#zone", "#theme")]
            places = [(box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]) for box in boxes if box]
            assert len(places) == 4
            assert not [
                (a, b) for a, b in itertools.combinations(places, 2)
                if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
            ]  # fmt: skip
            assert page.evaluate("document.documentElement.scrollWidth") == 390


CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const paint = (colours) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((c) => c / 255).map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const faint = [];
  for (const element of document.querySelectorAll("body *:not(:disabled)")) {
    const written = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!written || !element.checkVisibility() || element.closest("svg, .unseen, .skip")) continue;
    const behind = [];
    for (let e = element; e; e = e.parentElement) behind.unshift(getComputedStyle(e).backgroundColor);
    const back = paint(behind);
    const front = paint([...behind, getComputedStyle(element).color]);
    const [high, low] = [light(back), light(front)].sort((a, b) => b - a);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < 4.5) faint.push(`${element.textContent.trim().slice(0, 30)}: ${contrast.toFixed(2)}`);
  }
  return faint;
}"""
"""The visible texts whose contrast with what is behind them is below 4.5 : 1 (WCAG 2.2, criterion 1.4.3)."""


def test_the_colours_can_be_chosen_and_are_remembered(browser: Browser, many: Stage) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    with closing(many.open(browser)) as page:
        expect(page.locator("#theme")).to_have_text("auto")
        light = page.evaluate(background)
        page.locator("#theme").click()
        page.locator("#theme").click()
        expect(page.locator("#theme")).to_have_text("dark")
        assert page.evaluate(background) != light
        page.reload()
        expect(page.locator("#theme")).to_have_text("dark")


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


def test_a_series_without_closed_hours_shades_nothing(page: Page) -> None:
    walk(page, "#/series/kiln-00006")
    expect(page.locator("#chart .scatterlayer").first).to_be_attached()
    expect(page.locator("#closed")).to_be_hidden()


def test_ten_thousand_series_are_a_page_like_any_other(browser: Browser) -> None:
    stage = Stage(series=10_000, bars=1)
    with closing(stage.server), closing(stage.open(browser)) as page:
        expect(page.locator(".tile")).to_have_count(60)
        expect(page.locator("#count")).to_have_text("10,000 series")
        page.locator("#query").fill("09999")
        expect(page.locator("#count")).to_have_text("1 of 10,000 series")
    assert stage.errors == []
