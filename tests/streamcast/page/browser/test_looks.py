"""The look of the page in a real browser: on a phone, in the dark, and for weak eyes."""

from __future__ import annotations

import itertools
from contextlib import closing

import pytest
from playwright.sync_api import Browser, expect

from harness.feeder import FORECASTS, FREQ, START, forecast
from streamcast.consumers.transport import Batch
from tests.streamcast.page.browser.stage import Stage

pytestmark = pytest.mark.browser


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


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_wider_than_a_phone_and_text_can_be_read(browser: Browser, many: Stage, *, dark: bool) -> None:
    many.board.take_dead_letters(many.feeder.dead_letters([(b"x" * 300, "json", "y" * 300)]))
    unusual = forecast("line-a/pump-00003", START + 59 * FREQ, {"0.1": [1.0], "0.5": [2.0]}, anomaly=0.99912)
    many.board.take_forecasts(Batch(FORECASTS, [0], [START], [None], [unusual], 1))
    many.board.score()
    for path in ("#/?sort=anomaly", "#/series/line-a%2Fpump-00003"):
        with closing(many.open(browser, path, phone=True, dark=dark)) as page:
            expect(page.locator("#dead li")).to_have_count(1)
            expect(page.locator(".unusual:visible, #anomalies:visible").first).to_contain_text("anomaly")
            page.locator("#dead summary").click()
            assert page.evaluate("document.documentElement.scrollWidth") == 390
            assert page.evaluate(CONTRASTS) == []


def test_the_header_of_a_phone_has_room_for_the_state_and_the_zone(browser: Browser, many: Stage) -> None:
    many.board.zone = "Australia/Melbourne"
    with closing(many.open(browser, phone=True, zone="America/New_York")) as page:
        for text, ago in (("live", 0), ("no data for 50 min, no answer from /metrics", 3000)):
            many.go_on()
            many.board.pulse.records.heard = many.board.clock() - ago
            expect(page.locator("#status")).to_have_text(text)
            boxes = [page.locator(part).bounding_box() for part in (".brand", ".status", "#zone", "#theme")]
            places = [(box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]) for box in boxes if box]
            assert len(places) == 4
            assert not [
                (a, b) for a, b in itertools.combinations(places, 2)
                if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
            ]  # fmt: skip
            assert page.evaluate("document.documentElement.scrollWidth") == 390


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
