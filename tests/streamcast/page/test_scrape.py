"""The page reads the service's own numbers from its /metrics."""

from __future__ import annotations

import math
from contextlib import closing
from io import BytesIO
from typing import ClassVar

import numpy as np
import pytest

from harness.hand_clock import HandClock
from streamcast.consumers.transport import Partition
from streamcast.latency import quantile_ms
from streamcast.page.board import ServedLane
from streamcast.page.scrape import Scraper
from streamcast.service.telemetry.probes import TelemetryServer
from streamcast.service.telemetry.telemetry import Telemetry


class Fine:
    def alive(self) -> bool:
        return True

    def problems(self) -> list[str]:
        return []


def test_a_proxy_of_the_environment_is_not_asked_for_the_services_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    telemetry = Telemetry({"champion": ("m", "1")}, 0.8)
    with closing(TelemetryServer(telemetry, Fine())) as server:
        assert Scraper(f"http://127.0.0.1:{server.port}/metrics")() is not None


def test_the_scraper_reads_the_services_metrics(clock: HandClock) -> None:
    telemetry = Telemetry({"champion": ("load", "3")}, 0.8, clock=clock)
    telemetry.on_poll(0, {Partition("o", 0): 5, Partition('o"} 9 le="1', 1): 7})
    telemetry.batch(0.02, np.full(100, 1.0), {"answered": 100, "late": 3})
    telemetry.scores("champion", np.array([1, 24]), np.ones(2), np.full(2, 4.0), np.ones(2), np.array([True, False]))
    telemetry.trained_outcomes("champion", 1)
    with closing(TelemetryServer(telemetry, Fine())) as server:
        scraper = Scraper(f"http://127.0.0.1:{server.port}/metrics")
        first = scraper()
        telemetry.batch(0.2, np.full(300, 1.0), {"answered": 300})
        second = scraper()
    latency = {"latency_p50_ms": pytest.approx(17.5), "latency_p99_ms": pytest.approx(24.85)}
    outcomes = {"champion.outcomes": 2, "champion.trained_outcomes": 1}
    accuracy = {"champion.relative_mae": 0.25, "champion.coverage": 0.5, **outcomes}
    window = {"latency_seconds": 60, "latency_ago_seconds": None}
    assert first == {**latency, **accuracy, **window, "lag_records": 12, "late_records": 3}
    assert second is not None
    assert second["latency_p50_ms"] == pytest.approx(175)
    assert second["latency_ago_seconds"] == pytest.approx(0, abs=60)
    assert scraper() is None


def test_the_scraper_reads_the_lanes_and_which_of_them_publishes_nothing(clock: HandClock) -> None:
    lanes = {"champion": ("people", "1"), "challenger": ("people", "2"), "torn": ("people", "3")}
    telemetry = Telemetry(lanes, 0.8, clock=clock)
    with closing(TelemetryServer(telemetry, Fine())) as server:
        scraper = Scraper(f"http://127.0.0.1:{server.port}/metrics")
        assert scraper.lanes() == {}
        scraper()
        known = {lane: ServedLane(f"{model}@{version}") for lane, (model, version) in lanes.items()}
        assert scraper.lanes() == known, "before the first forecast nobody knows what is published"
        telemetry.forecasts("champion", 9)
        telemetry.not_finite("torn", 9)
        numbers = scraper()
        assert scraper.lanes() == known | {"challenger": ServedLane("people@2", shadow=True)}
    assert numbers is not None
    assert scraper() is None
    assert scraper.lanes() == {}


def test_the_scraper_reads_why_the_service_is_not_ready(clock: HandClock) -> None:
    class Waits(Fine):
        said: ClassVar[list[str]] = ["observations[3] is not answered", "topic 'journal' is gone"]

        def problems(self) -> list[str]:
            return self.said

    health = Waits()
    telemetry = Telemetry({"champion": ("load", "3")}, 0.8, ready=lambda: not health.problems(), clock=clock)
    with closing(TelemetryServer(telemetry, health)) as server:
        scraper = Scraper(f"http://127.0.0.1:{server.port}/metrics")
        assert scraper.problems() == []
        assert scraper() is not None
        assert scraper.problems() == health.said
        health.said.clear()
        assert scraper() is not None
        assert scraper.problems() == []
        health.said.append("no partitions are assigned")
        assert scraper() is not None
    assert scraper.problems() == ["its /readyz does not say why"]
    assert scraper() is None
    assert scraper.problems() == []


def test_the_numbers_of_another_groups_service_are_left_out_and_said_once(
    clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    telemetry = Telemetry({"champion": ("load", "3")}, 0.8, group="theirs", clock=clock)
    with closing(TelemetryServer(telemetry, Fine())) as server:
        url = f"http://127.0.0.1:{server.port}/metrics"
        assert Scraper(url, "theirs")() is not None
        mine = Scraper(url, "mine")
        assert mine() is None
        assert mine() is None
    (said,) = caplog.messages
    assert f"{url} answers for the service of group theirs, not mine" in said
    assert "telemetry.port" in said


def test_the_latency_of_a_bulk_stays_when_nothing_follows_it(clock: HandClock) -> None:
    telemetry = Telemetry({"champion": ("load", "3")}, 0.8, clock=clock)
    with closing(TelemetryServer(telemetry, Fine())) as server:
        scraper = Scraper(f"http://127.0.0.1:{server.port}/metrics", clock=clock)
        unknown = {"latency_p50_ms": None, "latency_p99_ms": None, "latency_ago_seconds": None}
        outcomes = {"champion.outcomes": 0, "champion.trained_outcomes": 0}
        assert scraper() == {**unknown, **outcomes, "latency_seconds": 60, "lag_records": 0, "late_records": 0}
        telemetry.batch(4.0, np.full(10_000, 4.0), {"answered": 10_000})
        for looks in range(40):
            numbers = scraper()
            assert numbers is not None
            assert numbers["latency_p50_ms"] == pytest.approx(3_750)
            assert numbers["latency_ago_seconds"] == 2 * looks, "how old it is stands beside it"
            clock.now += 2


def test_the_latency_after_a_long_silence_names_the_time_that_it_spans(clock: HandClock) -> None:
    telemetry = Telemetry({"champion": ("load", "3")}, 0.8, clock=clock)
    with closing(TelemetryServer(telemetry, Fine())) as server:
        scraper = Scraper(f"http://127.0.0.1:{server.port}/metrics", clock=clock)
        scraper()
        telemetry.batch(0.2, np.full(300, 1.0), {"answered": 300})
        clock.now += 300
        numbers = scraper()
        assert numbers is not None
        assert numbers["latency_seconds"] == 300
        for _ in range(40):
            clock.now += 2
            telemetry.batch(0.2, np.full(300, 1.0), {"answered": 300})
            numbers = scraper()
        assert numbers is not None
        assert numbers["latency_seconds"] == 60


def test_the_latency_of_a_service_that_restarts_is_of_its_new_records(
    clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([100, 4, 4, 5])

    def answer(*_: object, **__: object) -> BytesIO:
        count, name = next(answers), "streamcast_consume_to_forecast_seconds"
        rows = [f'{name}_bucket{{le="{edge}"}} {count}' for edge in ("0.1", "+Inf")]
        return BytesIO("\n".join([f"# TYPE {name} histogram", *rows, f"{name}_count {count}", ""]).encode())

    monkeypatch.setattr("urllib.request.OpenerDirector.open", answer)
    scraper, found = Scraper("http://service/metrics", clock=clock), []
    for _ in range(4):
        numbers = scraper()
        assert numbers is not None
        assert numbers["latency_p50_ms"] == 50
        found.append(numbers["latency_ago_seconds"])
        clock.now += 2
    assert found == [None, 0, 2, 0]


@pytest.mark.parametrize(
    "text", [b"\xff", b"streamcast_lag_records{", b'x{le="1" 2', b"streamcast_lag_records nobody", b"# TYPE a b c d\n}"]
)
def test_an_unreadable_answer_is_none(text: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urllib.request.OpenerDirector.open", lambda *_, **__: BytesIO(text))
    assert Scraper("http://service/metrics")() is None


def test_a_latency_without_observations_is_not_zero() -> None:
    assert quantile_ms(0.5, {}) is None
    assert quantile_ms(0.5, {0.1: 0.0, math.inf: 0.0}) is None
    assert quantile_ms(0.99, {0.1: 1.0, math.inf: 10.0}) == 100
