"""The board holds exactly the topics' data, within its limits, and scores forecasts as a plain loop does."""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from contextlib import closing
from datetime import UTC, datetime
from io import BytesIO

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.feeder import FORECASTS, FREQ, RECORDS, SPEC, START, Feeder, fill, forecast
from streamcast.consumers.memory.transport import MemoryBroker, MemoryReader, MemoryTransport
from streamcast.consumers.transport import Batch, Connection, Outgoing, Partition, TopicSpec, TransportError
from streamcast.latency import quantile_ms
from streamcast.page import views, words
from streamcast.page.board import Board, printable
from streamcast.page.feed import Feed, follow
from streamcast.page.scrape import Scraper
from streamcast.page.track import Forecast, Track
from streamcast.quality import Sums
from streamcast.service.telemetry.probes import TelemetryServer
from streamcast.service.telemetry.telemetry import Telemetry
from streamcast.spec.calendar_bars import MONTH_MS, Step, calendar_of
from streamcast.spec.durations import DAY_MS
from streamcast.spec.model_spec import Aggregate, Column, SeriesSpec
from streamcast.topics.names import MOST_LANES
from streamcast.wording import naive_name

REDUCERS: dict[Aggregate, object] = {
    "mean": np.mean, "sum": np.sum, "min": np.min, "max": np.max, "count": len,
    "first": lambda ticks: ticks[0], "last": lambda ticks: ticks[-1],
}  # fmt: skip


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(clock: Clock) -> Board:
    return Board(SPEC, season=24, clock=clock)


def batch(partition: Partition, *values: bytes) -> Batch:
    count = len(values)
    return Batch(partition, range(count), [START] * count, [None] * count, values, count)


def record(key: str, bar: int, value: float | None) -> bytes:
    return orjson.dumps({"key": key, "ts": START + bar * FREQ, "values": [value]})


# One series.


@given(st.lists(st.tuples(st.integers(0, 60), st.floats(-9, 9)), max_size=60))
def test_a_track_keeps_the_last_bars_and_the_first_sample_of_each(samples: list[tuple[int, float]]) -> None:
    track, kept = Track(16, None, 0), dict[int, float]()
    for bar, value in samples:
        fresh = not kept or bar > max(kept)
        assert track.observe(bar, value) == fresh
        if fresh:
            kept[bar] = value
    expected = (
        [kept.get(bar, math.nan) if bar > max(kept) - 16 else math.nan for bar in range(80)]
        if kept
        else [math.nan] * 80
    )
    np.testing.assert_array_equal(track.values(np.arange(80)), expected)


@given(
    st.sampled_from(sorted(REDUCERS)),
    st.lists(st.tuples(st.integers(0, 8), st.floats(-9, 9) | st.just(math.nan)), min_size=1, max_size=40),
)
def test_ticks_become_the_bar_that_the_spec_asks_for(reducer: Aggregate, ticks: list[tuple[int, float]]) -> None:
    track = Track(16, reducer, 1)
    by_bar = dict[int, list[float]]()
    for bar, value in ticks:
        track.observe(bar, value)
        if not math.isnan(value):
            by_bar.setdefault(bar, []).append(value)
    expected = [REDUCERS[reducer](by_bar[bar]) if bar in by_bar else math.nan for bar in range(9)]  # type: ignore[operator]
    np.testing.assert_allclose(track.values(np.arange(9)), expected, rtol=1e-12, atol=1e-12)


@given(st.data())
def test_errors_equal_those_of_a_plain_loop(data: st.DataObject) -> None:
    season, horizon = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 9))
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    seen = {bar: random.normal() for bar in range(40) if random.random() < 0.8}
    track = Track(64, None, 0)
    for bar, value in seen.items():
        track.observe(bar, value)
    forecasts = {
        cutoff: np.sort(random.normal(size=(3, horizon)).astype(np.float32), axis=0) for cutoff in range(20, 40, 3)
    }
    for cutoff, values in forecasts.items():
        track.add_forecast("champion", Forecast(cutoff, (0.1, 0.5, 0.9), values, warm=True), 50)
    errors = track.errors("champion", season)
    assert errors is not None
    for row, (cutoff, values) in enumerate(forecasts.items()):
        for step in range(1, horizon + 1):
            came = seen.get(cutoff + step, math.nan)
            before = cutoff + step
            while before > cutoff:
                before -= season
            older = (before - older * season for older in range(4))
            before = next((bar for bar in older if bar in seen), before)
            low, middle, high = values[:, step - 1].tolist()
            found = errors.error[row, step - 1], errors.naive[row, step - 1], errors.covered[row, step - 1]
            covered = math.nan if math.isnan(came) else float(low <= came <= high)
            expected = abs(came - middle), abs(came - seen.get(before, math.nan)), covered
            np.testing.assert_allclose(found, expected, rtol=1e-6)


def a_track(values: list[float | None]) -> Track:
    track = Track(64, None, 0)
    for bar, value in enumerate(values):
        if value is not None:
            track.observe(bar, value)
    return track


def test_bars_that_never_have_a_value_are_closed() -> None:
    shop: list[float | None] = [None, 1.0, 2.0, None, 3.0, 4.0]
    assert a_track(shop * 3).closed([6]).tolist() == [True, False, False, True, False, False]
    assert len(a_track(shop * 3).closed([6, 9])) == 6, "nine bars were not seen twice (the first bar is empty)"
    assert not a_track(shop).closed([6]).any(), "one season is not enough"
    assert not a_track([1.0, 2.0] * 9).closed([6]).any()
    assert not Track(64, None, 0).closed([6]).any()


def test_irregular_values_do_not_close_hours() -> None:
    random = np.random.default_rng(1)
    values = [1.0 if random.random() < 0.5 else None for _ in range(60)]
    assert not a_track(values).closed([24]).any()


def test_an_open_bar_does_not_count_as_an_outcome() -> None:
    track = Track(16, "mean", 1)
    track.observe(1, 5.0)
    track.add_forecast("champion", Forecast(0, (0.5,), np.zeros((1, 1), np.float32), warm=True), 5)
    before = track.errors("champion", 1)
    track.observe(2, 5.0)
    after = track.errors("champion", 1)
    assert before is not None
    assert math.isnan(before.error[0, 0])
    assert after is not None
    assert after.error[0, 0] == 5.0


def test_a_forecast_seen_twice_is_kept_once() -> None:
    track = Track(16, None, 0)
    for cutoff in (1, 2, 1, 2, 3):
        track.add_forecast("champion", Forecast(cutoff, (0.5,), np.zeros((1, 1), np.float32), warm=True), 5)
    assert [kept.cutoff for kept in track.forecasts["champion"]] == [1, 2, 3]


def test_accuracy_over_series_is_that_of_all_their_outcomes_together() -> None:
    parts = (
        Sums(outcomes=4, covered=3.0, compared=4, compared_error=6.0, naive=8.0),
        Sums(outcomes=1, covered=1.0, compared=1, compared_error=6.0, naive=2.0),
        Sums(outcomes=3),
    )
    found = sum(parts, Sums()).quality()
    assert (found.relative, found.coverage, found.outcomes) == (1.2, 0.5, 8)
    nothing = Sums().quality()
    assert math.isnan(nothing.relative)
    assert math.isnan(nothing.coverage)


def test_only_scored_steps_of_warm_forecasts_count() -> None:
    track = a_track([0.0, 0.0, 0.0, 3.0, 5.0])
    for cutoff, warm in ((0, False), (1, True), (2, True)):
        forecast = Forecast(cutoff, (0.5,), np.ones((1, 2), np.float32), warm=warm)
        track.add_forecast("champion", forecast, 9)
    found = {steps: track.errors("champion", 1, steps) for steps in ((), (1,), (2,))}
    sums = {steps: errors.sums() for steps, errors in found.items() if errors is not None}
    assert {steps: (each.outcomes, each.compared_error, each.naive) for steps, each in sums.items()} == {
        (): (4, 1 + 2 + 2 + 4, 0 + 3 + 3 + 5),
        (1,): (2, 1 + 2, 0 + 3),
        (2,): (2, 2 + 4, 3 + 5),
    }
    assert all(math.isnan(each.quality().coverage) for each in sums.values()), "one quantile makes no interval"
    shown = {name: values.tolist() for name, values in [*(found[()] or pytest.fail("no errors")).by_cutoff().items()]}
    assert shown["cutoff"] == [0, 1, 2]
    assert math.isnan(shown["error"][0])
    assert shown["error"][1:] == [1.5, 3.0]


# All series.


def test_the_better_lane_has_the_smaller_error_and_coverage_is_near_nominal(board: Board, clock: Clock) -> None:
    fill(board, Feeder(30), 80)
    clock.now += 10
    board.score()
    stats = views.stats(board)
    champion, challenger = stats["lanes"]
    assert (champion["lane"], champion["model"], challenger["model"]) == ("champion", "load@3", "load@4")
    assert champion["relative"] < challenger["relative"] < 1
    assert stats["nominal"] == pytest.approx(0.8)
    assert 0.7 < champion["coverage"] < 0.95


def test_the_wall_is_sorted_by_error_relative_to_seasonal_naive(board: Board) -> None:
    fill(board, Feeder(30), 80)
    keys = views.ranking(board, "", "wrong")
    errors = [tile["relative"] for tile in views.tiles(board, keys, {})]
    assert len(keys) == 30
    assert errors == sorted(errors, reverse=True)


def test_a_series_that_stopped_is_the_furthest_behind(board: Board) -> None:
    feeder = Feeder(5, silent_after=20)
    fill(board, feeder, 30)
    (first, *others) = views.tiles(board, views.ranking(board, "", "late"), {})
    assert first["key"] == feeder.keys[-1]
    assert first["behind"] == 9
    assert {tile["behind"] for tile in others} == {0}


def test_a_series_without_a_forecast_comes_before_all_that_are_behind(board: Board) -> None:
    fill(board, Feeder(3), 5)
    board.take_records(batch(RECORDS, record("orphan", 3, 1.0)))
    assert views.ranking(board, "", "late")[0] == "orphan"
    assert views.tiles(board, ["orphan"], {})[0]["behind"] == math.inf
    assert orjson.loads(views.encode({"tiles": views.tiles(board, ["orphan"], {})}))["tiles"][0]["behind"] is None


def test_search_finds_any_part_of_a_key_in_any_case(board: Board) -> None:
    fill(board, Feeder(12), 1)
    assert views.ranking(board, "PUMP", "name") == ["line-a/pump-00003", "line-a/pump-00009"]
    assert views.ranking(board, "nothing like it", "name") == []
    with pytest.raises(ValueError, match="wrong, late, name"):
        views.ranking(board, "", "random")


def test_only_tiles_that_changed_are_sent_again(board: Board) -> None:
    feeder = Feeder(4)
    fill(board, feeder, 3)
    known = {tile["key"]: tile["version"] for tile in views.tiles(board, feeder.keys, {})}
    assert views.tiles(board, feeder.keys, known) == []
    board.take_records(batch(RECORDS, record(feeder.keys[1], 9, 1.0)))
    assert [tile["key"] for tile in views.tiles(board, feeder.keys, known)] == [feeder.keys[1]]


def test_a_detail_plus_its_changes_is_the_whole_detail(board: Board) -> None:
    feeder = Feeder(2)
    fill(board, feeder, 10)
    key = feeder.keys[0]
    before = views.series(board, key)
    assert before is not None
    cutoffs = {lane: shown["forecasts"][-1]["cutoff"] for lane, shown in before["lanes"].items()}
    fill(board, feeder, 5)
    news, whole = views.series(board, key, int(before["labels"][-1]), cutoffs), views.series(board, key)
    assert news is not None
    assert whole is not None
    assert len(news["labels"]) == 6
    assert [*before["labels"], *news["labels"][1:]] == list(whole["labels"])
    for lane, shown in whole["lanes"].items():
        joined = [*before["lanes"][lane]["forecasts"], *news["lanes"][lane]["forecasts"]]
        assert [f["cutoff"] for f in joined] == [f["cutoff"] for f in shown["forecasts"]]
    assert views.series(board, "no such key") is None


def test_closed_hours_reach_to_the_end_of_the_forecast(board: Board) -> None:
    bars = [bar for bar in range(24 * 3 + 20) if 8 <= bar % 24 < 20]
    board.take_records(batch(RECORDS, *(record("shop", bar, 1.0) for bar in bars)))
    board.take_forecasts(batch(FORECASTS, forecast("shop", START + 91 * FREQ, {"0.5": [1.0] * 12})))
    view = views.series(board, "shop")
    assert view is not None
    assert [[(label - START) // FREQ for label in run] for run in view["closed"]] == [
        [20, 31], [44, 55], [68, 79], [92, 103],
    ]  # fmt: skip


def test_a_series_in_closed_hours_is_not_late_until_two_of_its_open_bars_are_missing(board: Board) -> None:
    """The shop opens at bar 8 of 24 and closes at bar 20; the mill runs day and night."""

    def go_on(keys: list[str], bars: range) -> None:
        for bar in bars:
            board.take_records(batch(RECORDS, *(record(key, bar, 1.0) for key in keys)))
            answers = [forecast(key, START + bar * FREQ, {"0.5": [1.0] * 12}) for key in keys]
            board.take_forecasts(batch(FORECASTS, *answers))
        board.score()

    def shop() -> tuple[float, bool]:
        (tile,) = views.tiles(board, ["shop"], {})
        view = views.series(board, "shop")
        assert view is not None
        assert (view["behind"], view["in_closed_hours"]) == (tile["behind"], tile["in_closed_hours"])
        return tile["behind"], tile["in_closed_hours"]

    for day in range(4):
        go_on(["mill"], range(24 * day, 24 * day + 8))
        go_on(["mill", "shop"], range(24 * day + 8, 24 * day + 20))
    assert shop() == (0, False)
    known = {tile["key"]: tile["version"] for tile in views.tiles(board, ["shop"], {})}
    go_on(["mill"], range(92, 104))
    assert shop() == (0, True)
    assert [tile["key"] for tile in views.tiles(board, ["shop"], known)] == ["shop"]
    board.take_records(batch(RECORDS, record("orphan", 103, 1.0)))
    board.take_forecasts(batch(FORECASTS, forecast("slow", START + 102 * FREQ, {"0.5": [1.0]})))
    assert views.ranking(board, "", "late") == ["orphan", "slow", "mill", "shop"]
    go_on(["mill"], range(104, 105))
    assert shop() == (1, False)
    go_on(["mill"], range(105, 106))
    assert shop() == (2, False)
    go_on(["mill"], range(106, 24 * 7 + 8))
    assert shop() == (12 * 3, False), "a silent series is late by the hours in which it is open"


def test_memory_is_bounded_in_series_bars_and_forecasts(clock: Clock) -> None:
    board = Board(SPEC, season=2, max_series=20, bars=16, max_forecasts=320, clock=clock)
    fill(board, Feeder(50, seed=1), 40)
    assert len(board.tracks) == 20
    assert len(board.sums) <= 20
    assert all(len(track.last(1000)[1]) <= 16 + 96 for track in board.tracks.values())
    assert max(len(kept) for track in board.tracks.values() for kept in track.forecasts.values()) <= 8


def test_series_with_a_long_season_are_scored_beside_seasonal_naive_and_fewer_are_kept(clock: Clock) -> None:
    board = Board(SPEC, season=1_008, scored=[1, 12], reach=2_100, clock=clock)
    board.take_records(batch(RECORDS, *(record("a", bar, float(bar % 11)) for bar in range(1_300))))
    for bar in range(1_200, 1_299):
        board.take_forecasts(batch(FORECASTS, forecast("a", START + bar * FREQ, {"0.5": [1.0] * 12})))
    board.score()
    assert math.isfinite(board.quality("champion").relative)
    view = views.series(board, "a")
    assert view is not None
    assert len(view["values"]) == board.bars
    assert board.max_series < Board(SPEC, season=24).max_series
    naive = view["lanes"]["champion"]["naive"]
    assert [label for label, _ in naive] == [START + bar * FREQ for bar in range(1_203, 1_299)]
    assert list(naive[0][1]) == [float((1_203 + step - 1_008) % 11) for step in range(1, 13)]


def test_naive_is_sent_again_while_its_records_may_still_come(board: Board) -> None:
    def naive(since_bar: int | None, since_cutoff: int) -> dict[int, list[float]]:
        view = views.series(board, "a", since_bar, {"champion": since_cutoff})
        return (
            {(label - START) // FREQ: list(each) for label, each in view["lanes"]["champion"]["naive"]} if view else {}
        )

    board.take_records(batch(RECORDS, *(record("a", bar, float(bar)) for bar in range(30))))
    for bar in (29, 30):
        board.take_forecasts(batch(FORECASTS, forecast("a", START + bar * FREQ, {"0.5": [1.0] * 24})))
    before = naive(START + 29 * FREQ, START + 29 * FREQ)
    assert list(before) == [29, 30]
    assert before[29] == [float(bar) for bar in range(6, 30)]
    assert before[30][-1] == 6.0, "the record of bar 30 has not come"
    board.take_records(batch(RECORDS, record("a", 30, 30.0)))
    assert naive(START + 29 * FREQ, START + 30 * FREQ)[30] == [float(bar) for bar in range(7, 31)]
    board.take_records(batch(RECORDS, record("a", 31, 31.0)))
    assert naive(START + 31 * FREQ, START + 30 * FREQ) == {}


def test_a_new_series_replaces_the_one_silent_for_longest(clock: Clock) -> None:
    board = Board(SPEC, season=24, max_series=2, clock=clock)
    for bar, key in enumerate(["a", "b", "a", "c"]):
        board.take_records(batch(RECORDS, record(key, bar, 1.0)))
    assert set(board.tracks) == {"a", "c"}


def test_bars_of_the_calendar_have_their_own_labels(clock: Clock) -> None:
    months = [int(month.timestamp() * 1_000) for month in (datetime(2025, m, 1, tzinfo=UTC) for m in range(1, 13))]
    calendar = calendar_of(Step("month", 1), "UTC", months[0], months[-1])
    spec = SPEC.model_copy(update={"freq": MONTH_MS, "offset": 0, "calendar": calendar})
    board = Board(spec, season=12, clock=clock)
    for number, start in enumerate(months[:4]):
        value = orjson.dumps({"key": "a", "ts": start, "values": [float(number)] * len(spec.columns)})
        board.take_records(batch(RECORDS, value))
    board.take_forecasts(batch(FORECASTS, forecast("a", months[3], {"0.5": [1.0, 2.0]}, freq_ms=None)))
    assert board.counts["unreadable"] == 0
    newest = board.newest_bar
    assert newest is not None
    assert board.label(np.arange(newest - 3, newest + 2)).tolist() == months[:5]
    board.take_forecasts(batch(FORECASTS, forecast("a", months[3], {"0.5": [1.0]}, freq_ms=MONTH_MS)))
    assert board.counts["unreadable"] == 1
    assert words.windows(board)["outcome"]
    assert naive_name(12, MONTH_MS) == "the same month last year"


NOT_FORECASTS = {
    "not JSON": b"{",
    "no bytes": b"",
    "bad UTF-8": b'{"unique_id":"\xff"}',
    "another bar length": forecast("k", START, {"0.5": [1.0]}, freq_ms=1),
    "a cutoff between bars": forecast("k", START + 1, {"0.5": [1.0]}),
    "quantiles of unequal length": forecast("k", START, {"0.1": [1.0], "0.9": [1.0, 2.0]}),
    "quantiles out of order": forecast("k", START, {"0.9": [1.0], "0.1": [1.0]}),
    "a level that is no number": forecast("k", START, {"high": [1.0]}),
    "a cutoff beyond all numbers": forecast("k", START, {"0.5": [1.0]}).replace(str(START).encode(), b"1" + b"0" * 400),
    "too many numbers": forecast("k", START, {"0.5": [1.0] * 20_001}),
    "an empty horizon": forecast("k", START, {"0.5": []}),
    "an endless key": forecast("k" * 600, START, {"0.5": [1.0]}),
    "deep nesting": b'{"quantiles":' + b"[" * 100_000,
}


@pytest.mark.parametrize("value", NOT_FORECASTS.values(), ids=NOT_FORECASTS.keys())
def test_a_record_that_is_not_a_forecast_is_counted_and_not_shown(board: Board, value: bytes) -> None:
    board.take_forecasts(batch(FORECASTS, value))
    assert board.counts["unreadable"] == 1
    assert not board.tracks


@given(st.binary(max_size=60))
def test_no_bytes_break_the_board(value: bytes) -> None:
    board = Board(SPEC, season=24)
    board.take_records(batch(RECORDS, value))
    board.take_forecasts(batch(FORECASTS, value))
    board.take_dead_letters(batch(Partition("dead-letters", 0), value))
    board.score()
    views.encode({"stats": views.stats(board), "dead": views.dead_letters(board), "trend": views.trend(board)})


def test_the_page_takes_as_many_lanes_as_a_service_has_and_no_more(board: Board) -> None:
    board.take_forecasts(batch(FORECASTS, *(forecast("k", START, {"0.5": [1.0]}, lane=f"lane {n}") for n in range(20))))
    assert len(board.models) == MOST_LANES == 16
    assert board.counts["unreadable"] == 4


def test_a_dead_letter_is_shown_as_text_without_control_characters(board: Board) -> None:
    letters = Feeder(1).dead_letters([(b"<b>\x00\xff\x1b[31m" + b"x" * 900, "json", "bad \x07 bytes")] * 70)
    board.take_dead_letters(letters)
    newest = views.dead_letters(board)[0]
    assert len(views.dead_letters(board)) == 50
    assert newest.value.startswith("<b>\\x00\\xff\\x1b[31mxxx")
    assert len(newest.value) < 500
    assert (newest.bytes, newest.reason, newest.detail) == (910, "json", "bad \\x07 bytes")
    assert newest.source == "observations[0]@17"
    assert board.counts["dead_letters"] == 70


@given(st.binary(max_size=500))
def test_printable_text_is_printable(raw: bytes) -> None:
    assert printable(raw).isprintable()


def test_silence_is_measured_from_the_last_record(board: Board, clock: Clock) -> None:
    clock.now += 42
    assert views.stats(board)["silence"] == 42
    fill(board, Feeder(1), 1)
    clock.now += 3
    stats = views.stats(board)
    assert (stats["silence"], stats["unanswered"]) == (3, 0)


def test_a_stream_is_silent_when_a_bar_is_due_by_its_length_and_by_the_pace(board: Board, clock: Clock) -> None:
    assert board.patience() == 5, "before the first record nothing says when one is due"
    feeder = Feeder(2)
    fill(board, feeder, 1)
    assert board.patience() == 90, "bars of a minute"
    for _ in range(3):
        clock.now += 300
        fill(board, feeder, 1)
    assert board.patience() == 450, "they come slower than they happened"
    for _ in range(10):
        clock.now += 2
        fill(board, feeder, 1)
    assert board.patience() == 90, "an old pause does not count"


def test_forecasts_are_missing_only_when_a_closed_bar_waits_for_one(board: Board, clock: Clock) -> None:
    feeder = Feeder(2)
    assert board.unanswered() == 0
    board.take_records(feeder.records())
    clock.now += 7
    assert board.unanswered() == 7
    board.take_forecasts(feeder.forecasts())
    clock.now += 3600
    assert board.unanswered() == 0
    board.take_records(feeder.records())
    clock.now += 2
    assert board.unanswered() == 2, "an hour without a record is not an hour without an answer"


def test_ticks_of_an_open_bar_wait_for_no_forecast(clock: Clock) -> None:
    spec = SeriesSpec(columns=(Column(name="y"),), freq=FREQ, mode="ticks", grace=FREQ)
    board = Board(spec, season=1, clock=clock)
    for bar, waited in ((0, 0), (1, 0), (2, 9)):
        board.take_records(batch(RECORDS, record("a", bar, 1.0)))
        clock.now += 9
        assert board.unanswered() == waited


@pytest.fixture
def replay(board: Board, clock: Clock) -> Board:
    """A board that has read a replay: records that were written to the topic a day after their own time."""
    feeder = Feeder(2)
    for _ in range(3):
        records = feeder.records()
        board.take_records(dataclasses.replace(records, timestamps=[START + DAY_MS] * 2))
        board.take_forecasts(feeder.forecasts())
        clock.now += 2
    return board


def test_a_replay_has_ended_when_all_is_answered_and_nothing_comes(replay: Board, clock: Clock) -> None:
    assert not replay.ended()
    clock.now += 5
    assert replay.ended()
    replay.report_service({"lag_records": 3.0})
    assert not replay.ended()
    replay.report_service({"lag_records": 0.0})
    assert replay.ended()
    records = batch(RECORDS, record("kiln-00000", 9, 1.0))
    replay.take_records(dataclasses.replace(records, timestamps=[START + DAY_MS]))
    clock.now += 600
    assert not replay.ended(), "a record has no forecast"


def test_a_slow_replay_has_not_ended_between_its_records(replay: Board, clock: Clock) -> None:
    feeder = Feeder(1)
    feeder.bar = 3
    clock.now += 60
    records = feeder.records()
    replay.take_records(dataclasses.replace(records, timestamps=[START + DAY_MS]))
    replay.take_forecasts(feeder.forecasts())
    clock.now += 60
    assert not replay.ended()
    clock.now += 180
    assert replay.ended()


def test_a_second_replay_ends_although_a_long_pause_lay_before_it(replay: Board, clock: Clock) -> None:
    clock.now += 600
    assert replay.ended()
    feeder = Feeder(2)
    feeder.bar = 3
    records = feeder.records()
    replay.take_records(dataclasses.replace(records, timestamps=[START + DAY_MS] * 2))
    replay.take_forecasts(feeder.forecasts())
    clock.now += 10
    assert not replay.ended()
    clock.now += 180
    assert replay.ended()


def test_live_data_that_stops_has_not_ended(board: Board, clock: Clock) -> None:
    assert not board.ended()
    fill(board, Feeder(2), 3)
    clock.now += 1e6
    assert not board.ended()


def test_a_silent_series_falls_behind_on_the_wall(board: Board) -> None:
    feeder = Feeder(2, silent_after=1)
    fill(board, feeder, 2)
    known = {tile["key"]: tile["version"] for tile in views.tiles(board, feeder.keys, {})}
    fill(board, feeder, 2)
    assert {tile["key"]: tile["behind"] for tile in views.tiles(board, feeder.keys, known)} == {
        "kiln-00000": 0,
        "press-00001": 2,
    }


def test_rates_are_those_of_the_last_seconds(board: Board, clock: Clock) -> None:
    feeder = Feeder(10)
    for _ in range(20):
        clock.now += 0.5
        fill(board, feeder, 1)
    now = views.stats(board)["now"]
    assert now["records_rate"] == pytest.approx(20, rel=0.15)
    assert now["forecasts_rate"] == pytest.approx(40, rel=0.15)
    assert len(views.trend(board)) == 5


def test_ticks_are_read_by_the_rules_of_the_spec(clock: Clock) -> None:
    spec = SeriesSpec(
        columns=(Column(name="price", aggregate="last"), Column(name="size")), freq=FREQ, mode="ticks", grace=FREQ
    )
    board = Board(spec, season=1, clock=clock)
    rows = [{"ts": START + 1000 * i, "values": {"price": i, "size": 2}} for i in range(90)]
    ticks = batch(RECORDS, *map(orjson.dumps, rows))
    board.take_records(dataclasses.replace(ticks, keys=[b"trade"] * 90))
    view = views.series(board, "trade")
    assert view is not None
    assert list(view["values"]) == [59, 89]


def in_partition(number: int, *values: bytes, topic: str = "observations") -> Batch:
    return batch(Partition(topic, number), *values)


@pytest.mark.parametrize("stray_first", [False, True])
def test_a_record_in_another_partition_takes_no_history_away(board: Board, *, stray_first: bool) -> None:
    def stray() -> None:
        board.take_records(in_partition(1, record("a", 60, 9.0)))
        board.take_forecasts(
            in_partition(1, forecast("a", START + 60 * FREQ, {"0.5": [1.0]}, warm=False), topic="forecasts")
        )

    if stray_first:
        stray()
    board.take_records(in_partition(2, *(record("a", bar, float(bar)) for bar in range(60))))
    board.take_forecasts(in_partition(2, forecast("a", START + 59 * FREQ, {"0.5": [1.0]}), topic="forecasts"))
    if not stray_first:
        stray()
    board.take_records(in_partition(2, record("a", 60, 60.0), record("b", 60, 1.0)))
    board.score()
    view = views.series(board, "a")
    assert view is not None
    assert view["partition"] == 2
    assert list(view["values"]) == [float(bar) for bar in range(61)]
    (shown,) = view["lanes"]["champion"]["forecasts"]
    assert (shown["cutoff"], shown["warm"]) == (START + 59 * FREQ, True)
    assert board.split == {"a": {1, 2}}
    told = views.stats(board)["split"]
    assert told.startswith("1 series has records in more than one partition ('a' in partitions 1 and 2)")
    assert "one partitioner" in told
    assert views.stats(board)["series"] == 2


def test_series_that_are_in_one_partition_each_are_nothing_to_tell(board: Board) -> None:
    board.take_records(in_partition(0, record("a", 0, 1.0)))
    board.take_records(in_partition(1, record("b", 0, 1.0)))
    assert views.stats(board)["split"] == ""


def test_a_split_series_is_forgotten_whole(clock: Clock) -> None:
    board = Board(SPEC, season=24, max_series=2, clock=clock)
    for number, key in ((0, "a"), (1, "a"), (0, "b"), (0, "c")):
        board.take_records(in_partition(number, record(key, 0, 1.0)))
    board.score()
    assert set(board.tracks) == {"b", "c"}
    assert not board.split


# The feed.


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


class Producer:
    """Writes what a feeder makes to the topics of a broker in this process."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._transport = MemoryTransport(broker, Connection("memory", "feeder"))

    def create(self) -> None:
        topics = ("observations", "forecasts", "dead-letters")
        self._transport.create([TopicSpec(topic, partitions=2) for topic in topics])

    def write(self, batch: Batch) -> None:
        partitions = [number % 2 for number in range(len(batch))]
        topic = batch.partition.topic
        columns = batch.timestamps, batch.keys, batch.values, batch.headers
        self._transport.commit([Outgoing(topic, partitions, *columns)], {})


@pytest.fixture
def feed(board: Board, broker: MemoryBroker) -> Feed:
    return make_feed(MemoryReader(broker, Connection("memory", "page")), board)


def make_feed(reader: object, board: Board, backlog: int = 200_000) -> Feed:
    names = {"observations": "observations", "forecasts": "forecasts", "dead_letters": "dead-letters"}
    return Feed(reader, board, **names, backlog=backlog)  # type: ignore[arg-type]


def test_the_feed_reads_every_record_once(broker: MemoryBroker, feed: Feed, board: Board) -> None:
    producer, feeder = Producer(broker), Feeder(4)
    producer.create()
    for _ in range(5):
        producer.write(feeder.records())
        producer.write(feeder.forecasts())
        feed.read_some()
    producer.write(feeder.dead_letters([(b"x", "json", "bad")]))
    assert feed.read_some() is False
    assert (board.records.total, board.forecasts.total, board.counts["dead_letters"]) == (20, 40, 1)
    assert len(board.tracks) == 4


def test_a_page_that_is_too_slow_skips_records_and_reports_it(broker: MemoryBroker, board: Board) -> None:
    producer, feeder = Producer(broker), Feeder(10)
    producer.create()
    feed = make_feed(MemoryReader(broker, Connection("memory", "page")), board, backlog=40)
    producer.write(feeder.records())
    feed.read_some()
    for _ in range(20):
        producer.write(feeder.records())
        feeder.forecasts()
    feed.read_some()
    assert board.records.total + board.counts["skipped"] >= 210
    assert views.stats(board)["skipped"] > 100


def test_a_burst_of_dead_letters_over_many_partitions_is_counted_whole(broker: MemoryBroker, board: Board) -> None:
    writer = MemoryTransport(broker, Connection("memory", "feeder"))
    writer.create([TopicSpec(topic, 40) for topic in ("observations", "forecasts", "dead-letters")])
    feed = make_feed(MemoryReader(broker, Connection("memory", "page")), board)

    def reject(partition: int, times: list[int]) -> None:
        values = [b"%d" % time for time in times]
        count = len(times)
        writer.commit([Outgoing("dead-letters", [partition] * count, times, [None] * count, values)], {})

    reject(3, list(range(1_000, 1_500)))
    feed.read_some()
    assert [letter.value for letter in board.dead] == [str(time) for time in range(1_450, 1_500)]
    before = board.counts["dead_letters"]
    assert before < 500
    reject(7, list(range(2_000, 2_090)))
    reject(39, [1_600, 2_500])
    feed.read_some()
    assert board.counts["dead_letters"] == before + 92
    assert board.counts["skipped"] == 0
    assert [letter.value for letter in board.dead] == [*(str(time) for time in range(2_041, 2_090)), "2500"]


def test_a_missing_topic_is_named_and_the_others_are_read(broker: MemoryBroker, feed: Feed, board: Board) -> None:
    assert feed.read_some() is False
    assert views.stats(board)["trouble"] == "there is no topic observations, forecasts, dead-letters"
    Producer(broker).create()
    feed.read_some()
    assert views.stats(board)["trouble"] is None


def test_a_broker_error_is_shown_until_the_broker_answers_again(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    class Flaky:
        calls = 0

        def describe(self, topics: object) -> dict[str, TopicSpec]:
            self.calls += 1
            if self.calls == 1:
                raise TransportError("the broker does not answer: is it running?")
            return {}

    monkeypatch.setattr("streamcast.page.feed._RETRY_SECONDS", 0.5)
    flaky, stop = Flaky(), threading.Event()
    thread = threading.Thread(target=follow, args=(make_feed(flaky, board), board, stop))
    thread.start()
    try:
        troubles = set()
        until = time.monotonic() + 10
        while flaky.calls < 3 and time.monotonic() < until:
            troubles.add(views.stats(board)["trouble"])
            time.sleep(0.01)
        assert "the broker does not answer: is it running?" in troubles
        assert flaky.calls >= 3
    finally:
        stop.set()
        thread.join(timeout=10)


# The service's own numbers.


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


def test_the_scraper_reads_the_services_metrics(clock: Clock) -> None:
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


def test_the_numbers_of_another_groups_service_are_left_out_and_said_once(
    clock: Clock, caplog: pytest.LogCaptureFixture
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


def test_the_latency_of_a_bulk_stays_when_nothing_follows_it(clock: Clock) -> None:
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


def test_the_latency_after_a_long_silence_names_the_time_that_it_spans(clock: Clock) -> None:
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
    clock: Clock, monkeypatch: pytest.MonkeyPatch
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
