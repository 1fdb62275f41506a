"""A board that a test feeds, the page that shows it, and what a person does there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import MappingProxyType

import orjson
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, ViewportSize

from harness.feeder import FORECASTS, FREQ, RECORDS, SPEC, START, Feeder, fill, forecast
from streamcast.consumers.transport import Batch
from streamcast.page.board import Board, ServedLane
from streamcast.page.guard import OPEN, Access
from streamcast.page.scrape import watch
from streamcast.page.server import PageServer, serve_dashboard

WIDE: ViewportSize = {"width": 1440, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
HOSTILE = '<img src=x onerror="window.owned=1">/<script>window.owned=1</script>'


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


@contextmanager
def _beside(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Let ``work`` go on in a thread, until the event that it gets is set at the end."""
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def serving(
    board: Board,
    numbers: dict[str, float | None],
    problems: Sequence[str] = (),
    lanes: Mapping[str, ServedLane] | None = None,
) -> AbstractContextManager[None]:
    """A service that answers the page with ``numbers``, and says why it is not ready and which lanes it runs."""
    return _beside(lambda stop: watch(lambda: numbers, lambda: problems, lambda: lanes or {}, board, stop))


def reading(board: Board) -> AbstractContextManager[None]:
    """A feed that finds nothing new: a board that nobody scores for a while is one whose feed has stopped."""

    def read(stop: threading.Event) -> None:
        while not stop.wait(0.5):
            board.score()

    return _beside(read)


def a_series(
    board: Board,
    key: str,
    values: Sequence[float | None],
    *,
    error: float,
    cutoffs: Iterable[int] = (),
    warm: bool = True,
    anomalies: Mapping[int, float | None] = MappingProxyType({}),
    levels: tuple[float, ...] = (0.1, 0.5, 0.9),
) -> None:
    """Give the board the bars of one series, and forecasts of 12 steps that are wrong by ``error``.

    ``anomalies`` are those of some cutoffs; the others are usual.
    """
    bars = [(bar, value) for bar, value in enumerate(values) if value is not None]
    rows = [orjson.dumps({"key": key, "ts": START + bar * FREQ, "values": [value]}) for bar, value in bars]
    count = len(rows)
    board.take_records(Batch(RECORDS, range(count), [START] * count, [None] * count, rows, count))
    for cutoff in cutoffs:
        steps = [values[(cutoff + step) % len(values)] or 0.0 for step in range(1, 13)]
        quantiles = {str(q): [step + error + 5 * (q - 0.5) for step in steps] for q in levels}
        message = forecast(key, START + cutoff * FREQ, quantiles, warm=warm, anomaly=anomalies.get(cutoff, 0.03))
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
