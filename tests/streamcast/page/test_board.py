"""The board holds exactly the topics' data, within its limits."""

from __future__ import annotations

import dataclasses
import math
from datetime import UTC, datetime

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.feeder import FORECASTS, FREQ, RECORDS, SPEC, START, Feeder, fill, forecast
from harness.hand_clock import HandClock
from streamcast.consumers.transport import Batch, Partition
from streamcast.page import views, words
from streamcast.page.board import Board, ServedLane
from streamcast.spec.calendar_bars import MONTH_MS, Step, calendar_of
from streamcast.spec.durations import DAY_MS
from streamcast.spec.model_spec import Aggregate, Column, SeriesSpec
from streamcast.spec.zero import zero_spec
from streamcast.topics.names import MOST_LANES
from streamcast.topics.observations import LATEST_MS
from streamcast.wording import naive_name


def batch(partition: Partition, *values: bytes) -> Batch:
    count = len(values)
    return Batch(partition, range(count), [START] * count, [None] * count, values, count)


def record(key: str, bar: int, value: float | None) -> bytes:
    return orjson.dumps({"key": key, "ts": START + bar * FREQ, "values": [value]})


def test_the_better_lane_has_the_smaller_error_and_coverage_is_near_nominal(board: Board, clock: HandClock) -> None:
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


def answered(board: Board, key: str, anomalies: dict[int, float | None], *, until: int, **fields: object) -> None:
    """Give the board the bars of a series up to ``until``, and their forecasts; ``anomalies`` has the unusual ones."""
    board.take_records(batch(RECORDS, *(record(key, bar, float(bar)) for bar in range(until))))
    for bar in range(until):
        message = forecast(key, START + bar * FREQ, {"0.5": [1.0]}, anomaly=anomalies.get(bar, 0.2), **fields)
        board.take_forecasts(batch(FORECASTS, message))


def test_bars_that_begin_an_event_are_marked_and_the_newest_of_a_series_is_told(board: Board, clock: HandClock) -> None:
    answered(board, "usual", {9: 0.9969}, until=60)
    answered(board, "once", {9: 0.997}, until=60)
    answered(board, "twice", {20: 0.99912, 55: 0.9999987}, until=60)
    answered(board, "old", {3: None, 4: 1.0}, until=20)
    clock.now += 10
    board.score()
    tiles = {tile["key"]: tile for tile in views.tiles(board, list(board.tracks), {})}
    assert {key: tile["marked"] for key, tile in tiles.items()} == {
        "usual": [], "once": [], "twice": [20 - 12, 55 - 12], "old": [4],
    }  # fmt: skip
    assert "anomaly" not in tiles["usual"]
    assert tiles["once"]["anomaly"] == {"at": START + 9 * FREQ, "share": 0.997}, "beyond the bars of its tile"
    assert tiles["twice"]["anomaly"] == {"at": START + 55 * FREQ, "share": 0.9999987}
    assert views.ranking(board, "", "anomaly") == ["twice", "once", "old", "usual"]
    assert views.stats(board)["anomalous"] == 1, "of the newest 48 bars of all series"
    view = views.series(board, "twice", START + 59 * FREQ, {"champion": START + 59 * FREQ})
    assert view is not None
    assert view["lanes"]["champion"]["anomalies"] == [(START + 20 * FREQ, 0.99912), (START + 55 * FREQ, 0.9999987)]
    assert view["lanes"]["champion"]["forecasts"] == []
    assert orjson.loads(views.encode(view))["lanes"]["champion"]["anomalies"][1] == [START + 55 * FREQ, 0.9999987]


def test_an_anomaly_is_told_while_its_bar_is_shown(clock: HandClock) -> None:
    board = Board(SPEC, season=24, bars=50, clock=clock)
    for until, told in ((59, True), (60, False)):
        answered(board, "a", {9: 0.998}, until=until)
        (tile,) = views.tiles(board, ["a"], {})
        view = views.series(board, "a")
        assert view is not None
        assert ("anomaly" in tile, len(view["lanes"]["champion"]["anomalies"])) == (told, int(told))


def test_a_lane_has_the_threshold_of_its_model_and_a_record_without_an_anomaly_is_usual(clock: HandClock) -> None:
    older = zero_spec(SPEC, 4, (24,)).model_copy(update={"schema_version": 2})
    board = Board(SPEC, season=24, anomalous={"champion": older.anomalous}, clock=clock)
    answered(board, "a", {5: 0.9998, 6: 0.99991}, until=9)
    answered(board, "a", {5: 0.9998, 6: 0.99991}, until=9, lane="challenger")
    view = views.series(board, "a")
    assert view is not None
    marked = {lane: [(at - START) // FREQ for at, _ in shown["anomalies"]] for lane, shown in view["lanes"].items()}
    assert marked == {"champion": [6], "challenger": [5, 6]}
    assert "Bars of 0.9999 or more are marked, of challenger those of 0.997 or more" in words.windows(board)["anomaly"]
    without = orjson.loads(forecast("b", START, {"0.5": [1.0]}))
    del without["anomaly"]
    board.take_forecasts(batch(FORECASTS, orjson.dumps(without)))
    view = views.series(board, "b")
    assert view is not None
    assert view["lanes"]["champion"]["anomalies"] == []
    assert view["lanes"]["champion"]["forecasts"][0]["anomaly"] is None
    assert board.counts["unreadable"] == 0


@pytest.mark.parametrize("level", [0.0, 1e9, 1e40])
def test_a_series_is_scored_alike_at_every_level(board: Board, level: float) -> None:
    unit = max(level / 2**40, 1.0)  # float64 has all values below, and none is near in float32
    values = [level + unit * (bar % 5) for bar in range(60)]
    board.take_records(batch(RECORDS, *(record("a", bar, value) for bar, value in enumerate(values))))
    for bar, came in enumerate(values[1:]):
        by_level = {"0.1": [came - unit / 2], "0.5": [came + unit / 8], "0.9": [came + unit / 2]}
        board.take_forecasts(batch(FORECASTS, forecast("a", START + bar * FREQ, by_level)))
    board.score()
    assert board.counts["unreadable"] == 0
    found = board.quality("champion")
    assert found.mae == pytest.approx(unit / 8, rel=1e-3)
    assert found.coverage == 1.0
    (tile,) = views.tiles(board, ["a"], {})
    assert list(tile["values"]) == values[12:]
    assert list(tile["middle"]) == [values[59] + unit / 8]


def test_search_finds_any_part_of_a_key_in_any_case(board: Board) -> None:
    fill(board, Feeder(12), 1)
    assert views.ranking(board, "PUMP", "name") == ["line-a/pump-00003", "line-a/pump-00009"]
    assert views.ranking(board, "nothing like it", "name") == []
    with pytest.raises(ValueError, match="wrong, anomaly, late, name"):
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
    news, whole = views.series(board, key, before["open_from"], cutoffs), views.series(board, key)
    assert news is not None
    assert whole is not None
    assert len(news["labels"]) == 5
    assert [*before["labels"], *news["labels"]] == list(whole["labels"])
    for lane, shown in whole["lanes"].items():
        joined = [*before["lanes"][lane]["forecasts"], *news["lanes"][lane]["forecasts"]]
        assert [f["cutoff"] for f in joined] == [f["cutoff"] for f in shown["forecasts"]]
    assert views.series(board, "no such key") is None


@pytest.mark.parametrize("reducer", ["last", "count"])
def test_changes_of_bars_that_were_open_are_sent(clock: HandClock, reducer: Aggregate) -> None:
    column = Column(name="y", aggregate=reducer)
    spec = SPEC.model_copy(update={"columns": (column,), "mode": "ticks", "grace": 2 * FREQ})
    board, since, page = Board(spec, season=4, clock=clock), None, dict[int, float]()
    for number, bar in enumerate([0, 2, 1, 5, 4, 0, 9, 12]):
        board.take_records(batch(RECORDS, record("a", bar, float(number))))
        news = views.series(board, "a", since)
        assert news is not None
        since = news["open_from"]
        page |= dict(zip(news["labels"].tolist(), news["values"].tolist(), strict=True))
    whole = views.series(board, "a")
    assert whole is not None
    np.testing.assert_array_equal([page[label] for label in whole["labels"].tolist()], whole["values"])
    bars = [0, 2, 1, None, 4, 3, None, None, None, 6] if reducer == "last" else [1, 1, 1, 0, 1, 1, 0, 0, 0, 1]
    assert orjson.loads(views.encode(whole))["values"][: len(bars)] == bars, "the tick of bar 0 at the end is late"


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


def test_memory_is_bounded_in_series_bars_and_forecasts(clock: HandClock) -> None:
    board = Board(SPEC, season=2, max_series=20, bars=16, max_numbers=20 * 2 * 8 * (12 * 5 + 32), clock=clock)
    fill(board, Feeder(50, seed=1), 40)
    assert len(board.tracks) == 20
    assert len(board.sums) <= 20
    assert all(len(track.last(1000)[1]) <= 16 + 96 for track in board.tracks.values())
    assert max(len(kept) for track in board.tracks.values() for kept in track.forecasts.values()) <= 8


def numbers_of(board: Board) -> int:
    """The numbers of all forecasts that the board keeps."""
    kept = (kept for track in board.tracks.values() for kept in track.forecasts.values())
    return sum(forecast.values.size for forecasts in kept for forecast in forecasts)


@pytest.mark.parametrize(("horizon", "forecasts"), [(12, 20), (336, 2)])
def test_the_memory_of_forecasts_is_bounded_whatever_their_horizon(
    clock: HandClock, horizon: int, forecasts: int
) -> None:
    board = Board(SPEC, season=2, max_numbers=60_000, clock=clock)
    for bar in range(30):
        for key in "abc":
            quantiles = {str(level / 10): [level / 10] * horizon for level in range(1, 10)}
            board.take_forecasts(batch(FORECASTS, forecast(key, START + bar * FREQ, quantiles)))
            assert numbers_of(board) <= 60_000
    assert board.kept_forecasts() >= forecasts
    assert {len(track.forecasts["champion"]) for track in board.tracks.values()} == {min(board.kept_forecasts(), 30)}


def test_series_that_are_silent_give_their_forecasts_to_new_ones(clock: HandClock) -> None:
    board = Board(SPEC, season=2, max_numbers=8_000, clock=clock)
    quantiles = {"0.1": [0.0] * 100, "0.9": [1.0] * 100}
    for bar in range(30):
        board.take_forecasts(batch(FORECASTS, forecast("silent", START + bar * FREQ, quantiles)))
    alone = len(board.tracks["silent"].forecasts["champion"])
    for number in range(10):
        board.take_forecasts(batch(FORECASTS, forecast(f"new {number}", START, quantiles)))
        assert numbers_of(board) <= 8_000
    assert len(board.tracks) == 11
    assert len(board.tracks["silent"].forecasts["champion"]) < alone
    for number in range(100):
        board.take_forecasts(batch(FORECASTS, forecast(f"more {number}", START, quantiles)))
        board.score()
        assert numbers_of(board) <= 8_000
    assert "more 99" in board.tracks
    assert "silent" not in board.tracks, "there are more series than forecasts that it may keep"
    assert len(board.tracks) > 20


def test_a_split_series_is_scored_after_its_other_partition_made_room(clock: HandClock) -> None:
    board = Board(SPEC, season=2, max_numbers=1_000, clock=clock)
    quantiles = {"0.5": [1.0] * 200}
    for bar in range(20):
        for number in (0, 1):
            message = forecast("a", START + bar * FREQ, quantiles)
            board.take_forecasts(in_partition(number, message, topic="forecasts"))
            board.take_forecasts(in_partition(number, forecast(f"b {bar}", START, quantiles), topic="forecasts"))
            board.score()
            assert numbers_of(board) <= 1_000 + 200


def test_series_with_a_long_season_are_scored_beside_seasonal_naive_and_fewer_are_kept(clock: HandClock) -> None:
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


def test_a_new_series_replaces_the_one_silent_for_longest(clock: HandClock) -> None:
    board = Board(SPEC, season=24, max_series=2, clock=clock)
    for bar, key in enumerate(["a", "b", "a", "c"]):
        board.take_records(batch(RECORDS, record(key, bar, 1.0)))
    assert set(board.tracks) == {"a", "c"}


def test_bars_of_the_calendar_have_their_own_labels(clock: HandClock) -> None:
    months = [int(month.timestamp() * 1_000) for month in (datetime(2025, m, 1, tzinfo=UTC) for m in range(1, 13))]
    calendar = calendar_of(Step("month", 1), "UTC", months[0], months[-1])
    spec = SPEC.model_copy(update={"freq": MONTH_MS, "offset": 0, "calendar": calendar})
    board = Board(spec, season=12, clock=clock)
    for number, start in enumerate(months[:4]):
        value = orjson.dumps({"key": "a", "ts": start, "values": [float(number)] * len(spec.columns)})
        board.take_records(batch(RECORDS, value))
    board.take_forecasts(batch(FORECASTS, forecast("a", months[3], {"0.5": [1.0, 2.0]}, freq_ms=None)))
    assert board.counts["unreadable"] == 0
    newest = board.pulse.newest_bar
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
    "a cutoff after the year 9999": forecast("k", START, {"0.5": [1.0]}).replace(
        str(START).encode(), str((2**63 - 1) // FREQ * FREQ).encode()
    ),
    "too many numbers": forecast("k", START, {"0.5": [1.0] * 20_001}),
    "an anomaly that is no share": forecast("k", START, {"0.5": [1.0]}, anomaly=1.5),
    "an anomaly below all shares": forecast("k", START, {"0.5": [1.0]}, anomaly=-0.1),
    "an anomaly in words": forecast("k", START, {"0.5": [1.0]}, anomaly="high"),
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


def test_the_lanes_are_those_that_the_service_runs_and_a_shadow_has_its_numbers(board: Board, clock: HandClock) -> None:
    numbers = {"champion.outcomes": 480.0, "champion.relative_mae": 0.6, "champion.coverage": 0.8}
    numbers |= {"shade.outcomes": 480.0, "shade.relative_mae": 0.5, "shade.coverage": 0.7}
    champion, shade = ServedLane("load@3"), ServedLane("load@4", shadow=True)

    def shown(lanes: dict[str, ServedLane] | None) -> list[tuple[object, ...]]:
        board.report_service(numbers if lanes else None, (), lanes)
        clock.now += 10
        fill(board, feeder, 1)
        rows = views.stats(board)["lanes"]
        return [(row["lane"], row["model"], row["shadow"], row["relative"], row["coverage"]) for row in rows]

    feeder = Feeder(2)
    mine = ("champion", "load@3", False, 0.6, 0.8)
    assert shown({"shade": shade, "champion": champion}) == [mine, ("shade", "load@4", True, 0.5, 0.7)]
    detail = views.series(board, feeder.keys[0])
    assert detail is not None
    assert "shade" not in detail["lanes"]
    assert shown({"champion": champion}) == [mine], "a lane that was removed is not shown any more"
    assert [row[0] for row in shown(None)] == ["champion", "challenger"], "those with forecasts"
    assert len(shown({f"lane {number}": shade for number in range(40)})) == MOST_LANES


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


@pytest.mark.parametrize("far", [2**63 - 1, LATEST_MS, START + 30 * DAY_MS])
def test_a_dead_letter_from_the_future_makes_way_for_those_that_come_after_it(board: Board, far: int) -> None:
    partition = Partition("dead-letters", 0)
    for offset, timestamp in enumerate([far, *[START] * 50]):
        letter = b"far" if timestamp == far else b"%d" % offset
        board.take_dead_letters(Batch(partition, [offset], [timestamp], [None], [letter], offset + 1))
        assert views.dead_letters(board)[0].value == letter.decode()
    assert [letter.value for letter in views.dead_letters(board)] == [str(offset) for offset in range(50, 0, -1)]


def test_the_dead_letters_of_all_partitions_are_listed_however_old_their_times_are(board: Board) -> None:
    """At the start partitions are read one after the other, each to its end, maybe in several batches."""
    for number in range(3):
        for first in (0, 100):
            offsets = range(first, first + 100)
            values = [b"%d at %d" % (number, offset) for offset in offsets]
            times = [START - number * DAY_MS] * 100
            board.take_dead_letters(
                Batch(Partition("dead-letters", number), offsets, times, [None] * 100, values, first + 100)
            )
    shown = [letter.value for letter in views.dead_letters(board)]
    assert len(shown) == 50
    assert set(shown[:3]) == {"0 at 199", "1 at 199", "2 at 199"}
    assert {text.split()[0] for text in shown} == {"0", "1", "2"}
    board.score()
    board.take_dead_letters(Batch(Partition("dead-letters", 1), [200], [0], [None], [b"new"], 201))
    assert views.dead_letters(board)[0].value == "new"


def test_silence_is_measured_from_the_last_record(board: Board, clock: HandClock) -> None:
    clock.now += 42
    assert views.stats(board)["silence"] == 42
    fill(board, Feeder(1), 1)
    clock.now += 3
    stats = views.stats(board)
    assert (stats["silence"], stats["unanswered"]) == (3, 0)


def test_a_stream_is_silent_when_a_bar_is_due_by_its_length_and_by_the_pace(board: Board, clock: HandClock) -> None:
    assert board.pulse.patience() == 5, "before the first record nothing says when one is due"
    feeder = Feeder(2)
    fill(board, feeder, 1)
    assert board.pulse.patience() == 90, "bars of a minute"
    for _ in range(3):
        clock.now += 300
        fill(board, feeder, 1)
    assert board.pulse.patience() == 450, "they come slower than they happened"
    for _ in range(10):
        clock.now += 2
        fill(board, feeder, 1)
    assert board.pulse.patience() == 90, "an old pause does not count"


def test_forecasts_are_missing_only_when_a_closed_bar_waits_for_one(board: Board, clock: HandClock) -> None:
    feeder = Feeder(2)
    assert board.pulse.unanswered() == 0
    board.take_records(feeder.records())
    clock.now += 7
    assert board.pulse.unanswered() == 7
    board.take_forecasts(feeder.forecasts())
    clock.now += 3600
    assert board.pulse.unanswered() == 0
    board.take_records(feeder.records())
    clock.now += 2
    assert board.pulse.unanswered() == 2, "an hour without a record is not an hour without an answer"


def test_ticks_of_an_open_bar_wait_for_no_forecast(clock: HandClock) -> None:
    spec = SeriesSpec(columns=(Column(name="y"),), freq=FREQ, mode="ticks", grace=FREQ)
    board = Board(spec, season=1, clock=clock)
    for bar, waited in ((0, 0), (1, 0), (2, 9)):
        board.take_records(batch(RECORDS, record("a", bar, 1.0)))
        clock.now += 9
        assert board.pulse.unanswered() == waited


def at(board: Board, key: str, *times: int, written: int | None = None) -> None:
    """Give the board records of these times (epoch ms), and their forecasts; ``written`` is the Kafka timestamp."""
    rows = [orjson.dumps({"key": key, "ts": time, "values": [1.0]}) for time in times]
    count, stamps = len(rows), [time if written is None else written for time in times]
    board.take_records(Batch(RECORDS, range(count), stamps, [None] * count, rows, count))
    board.take_forecasts(batch(FORECASTS, *(forecast(key, time, {"0.5": [1.0]}) for time in times)))


FAR = LATEST_MS - LATEST_MS % FREQ


@pytest.fixture
def today(clock: HandClock) -> Board:
    """A board whose time is ``START``, and whose model's ``max_ahead`` is a day."""
    return Board(SPEC.model_copy(update={"max_ahead": DAY_MS}), season=24, clock=clock, now=lambda: START / 1000)


@pytest.mark.parametrize("first", [True, False])
def test_a_series_from_the_future_makes_no_other_late(today: Board, clock: HandClock, *, first: bool) -> None:
    if first:
        at(today, "far", FAR)
        assert views.stats(today)["watermark"] == FAR, "there is no other yet"
    at(today, "good", START - 2 * FREQ, START - FREQ)
    at(today, "slow", START - 4 * FREQ)
    if not first:
        at(today, "far", FAR)
    at(today, "good", START)
    clock.now += 10
    today.score()
    stats, tiles = views.stats(today), {tile["key"]: tile for tile in views.tiles(today, list(today.tracks), {})}
    assert (stats["watermark"], stats["ahead"], stats["replay"], stats["unanswered"]) == (START, 1, False, 0)
    assert {key: tile["behind"] for key, tile in tiles.items()} == {
        "good": 0, "slow": 4, "far": (START - FAR) // FREQ,
    }  # fmt: skip
    assert views.ranking(today, "", "late") == ["slow", "good", "far"]
    detail = views.series(today, "far")
    assert detail is not None
    assert (detail["behind"] < 0, detail["in_closed_hours"]) == (True, False)


def test_a_record_from_the_future_waits_for_no_other_forecast(today: Board, clock: HandClock) -> None:
    at(today, "good", START - FREQ)
    today.take_records(Batch(RECORDS, [0], [FAR], [None], [orjson.dumps({"key": "far", "ts": FAR, "values": [1]})], 1))
    clock.now += 60
    assert (today.pulse.unanswered(), today.pulse.is_replay()) == (0, False)
    today.take_records(batch(RECORDS, record("good", 0, 1.0)))
    clock.now += 60
    assert today.pulse.unanswered() == 60


def test_data_that_lies_in_the_future_or_passes_into_it_has_its_own_newest_bar(today: Board) -> None:
    for day in range(4):
        at(today, "a", *(START + day * DAY_MS + hour * 60 * FREQ for hour in range(24)))
    assert views.stats(today)["watermark"] == START + 4 * DAY_MS - 60 * FREQ, "it came there step by step"
    assert today.behind(today.tracks["a"]) == 0


def test_data_of_another_age_is_behind_nothing(clock: HandClock) -> None:
    spec = SPEC.model_copy(update={"max_ahead": DAY_MS})
    board = Board(spec, season=24, clock=clock, now=lambda: (START - 900 * DAY_MS) / 1000)
    at(board, "a", START, START + FREQ)
    at(board, "b", START)
    assert [board.behind(board.tracks[key]) for key in "ab"] == [0, 1]
    assert views.stats(board)["watermark"] == START + FREQ


@pytest.fixture
def replay(board: Board, clock: HandClock) -> Board:
    """A board that has read a replay: records that were written to the topic a day after their own time."""
    feeder = Feeder(2)
    for _ in range(3):
        records = feeder.records()
        board.take_records(dataclasses.replace(records, timestamps=[START + DAY_MS] * 2))
        board.take_forecasts(feeder.forecasts())
        clock.now += 2
    return board


def test_a_replay_has_ended_when_all_is_answered_and_nothing_comes(replay: Board, clock: HandClock) -> None:
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


def test_a_slow_replay_has_not_ended_between_its_records(replay: Board, clock: HandClock) -> None:
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


def test_a_second_replay_ends_although_a_long_pause_lay_before_it(replay: Board, clock: HandClock) -> None:
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


def test_live_data_that_stops_has_not_ended(board: Board, clock: HandClock) -> None:
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


def test_rates_are_those_of_the_last_seconds(board: Board, clock: HandClock) -> None:
    feeder = Feeder(10)
    for _ in range(20):
        clock.now += 0.5
        fill(board, feeder, 1)
    now = views.stats(board)["now"]
    assert now["records_rate"] == pytest.approx(20, rel=0.15)
    assert now["forecasts_rate"] == pytest.approx(40, rel=0.15)
    assert len(views.trend(board)) == 5


def test_what_was_read_at_the_start_is_in_no_rate_and_no_trend(board: Board, clock: HandClock) -> None:
    board.start_reading()
    fill(board, Feeder(10), 50)
    clock.now += 3
    board.report_reading(1.0)
    board.score()
    assert views.stats(board)["reading"] == 1.0, "nobody has asked the service yet"
    board.report_service({})
    board.score()
    assert views.stats(board)["reading"] is None
    (sample,) = views.trend(board)
    assert (sample["records_rate"], sample["service"]) == (0, True)


def test_a_reader_that_does_not_go_on_keeps_no_fact_back_for_long(board: Board, clock: HandClock) -> None:
    board.start_reading()
    for share in (0.1, 0.2):
        board.report_reading(share)
        clock.now += 29
        board.score()
        assert views.stats(board)["reading"] == share
    clock.now += 2
    board.score()
    assert views.stats(board)["reading"] is None


def test_ticks_are_read_by_the_rules_of_the_spec(clock: HandClock) -> None:
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


def test_a_split_series_is_forgotten_whole(clock: HandClock) -> None:
    board = Board(SPEC, season=24, max_series=2, clock=clock)
    for number, key in ((0, "a"), (1, "a"), (0, "b"), (0, "c")):
        board.take_records(in_partition(number, record(key, 0, 1.0)))
    board.score()
    assert set(board.tracks) == {"b", "c"}
    assert not board.split
