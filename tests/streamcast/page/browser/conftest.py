"""A browser, pages that it opens, and the stages that they show."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright

from tests.streamcast.page.browser.stage import WIDE, Stage, walk

expect.set_options(timeout=40_000)


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
