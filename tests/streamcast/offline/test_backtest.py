"""Backtests: the numbers agree with other libraries, and the report says when the model loses."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from utilsforecast import losses

from harness.histories import HOUR, START, history_of
from harness.readings import bars_and_readings, ragged_readings
from streamcast.consumers.transport import Batch
from streamcast.engine.engine import Engine
from streamcast.errors import HistoryError
from streamcast.kernels.outcomes import NAMES
from streamcast.offline.defaults.spec import default_spec
from streamcast.offline.evaluation.backtest import Refit, Scoreboard, backtest
from streamcast.offline.evaluation.baselines import Baseline, LastValue, MovingAverage, SeasonalNaive
from streamcast.offline.evaluation.html_report.facts import Facts
from streamcast.offline.evaluation.html_report.page import write
from streamcast.offline.evaluation.report import BacktestReport, Row, Tally
from streamcast.offline.history.polls import SOURCE, polls
from streamcast.offline.history.read import History, instant_ms, read
from streamcast.offline.history.records import records
from streamcast.spec.folders import Model, new_network
from streamcast.stages import heard
from streamcast.topics.observations import Decoder, Observations

HORIZON = 6
BASELINES: dict[str, Baseline] = {
    "last value": LastValue(),
    "seasonal naive": SeasonalNaive(24),
    "moving average": MovingAverage(24),
}


def model_of(history: History, name: str = "gru", highway: float = 0.0, **series: Any) -> Model:
    """An untrained model, which forecasts about the last value."""
    torch.manual_seed(0)
    spec = default_spec(
        history, HORIZON, {"kind": "gru", "hidden": 8, "layers": 1}, season=24, lags=24, plain=True, **series
    )
    network = new_network(spec).eval()
    assert network.highway is not None
    torch.nn.init.constant_(network.highway.bias, highway)
    return Model(spec, network, name)


@pytest.fixture(scope="module")
def history() -> History:
    return history_of(400, 3)


@pytest.fixture(scope="module")
def report(history: History) -> BacktestReport:
    return backtest(model_of(history), history, START + 300 * HOUR, baselines=BASELINES, keep=None)


def test_a_frame_has_the_cutoffs_that_each_series_is_to_keep(history: History, report: BacktestReport) -> None:
    whole = report.frame()
    early, late = (START + at * HOUR for at in (320, 330))
    first, second, _ = history.keys
    keep = {first: [early, late], second: [late]}
    found = backtest(model_of(history), history, START + 300 * HOUR, baselines={}, keep=keep).frame()
    at = whole.cutoff.to_numpy().astype("datetime64[ms]").astype(np.int64)
    wanted = ((whole.unique_id == first) & np.isin(at, keep[first])) | ((whole.unique_id == second) & (at == late))
    pd.testing.assert_frame_equal(found, whole[wanted].reset_index(drop=True))


def test_errors_are_those_of_utilsforecast(history: History, report: BacktestReport) -> None:
    frame = report.frame().dropna().drop(columns="cutoff")
    frame["q10"] = frame["gru-lo-80"]
    row = report.rows()[0]

    def theirs(loss: object, models: object, **given: object) -> float:
        table = loss(frame, models=models, **given)  # type: ignore[operator]
        weights = frame.groupby("unique_id").size()
        return float((table.set_index("unique_id").iloc[:, 0] * weights).sum() / weights.sum())

    assert row["points"] == len(frame)
    assert row["mae"] == pytest.approx(theirs(losses.mae, ["gru"]))
    assert row["mse"] == pytest.approx(theirs(losses.mse, ["gru"]))
    assert row["pinball 0.1"] == pytest.approx(theirs(losses.quantile_loss, {"gru": "q10"}, q=0.1))
    assert row["coverage"] == pytest.approx(theirs(losses.coverage, ["gru"], level=80))
    columns, levels = {"gru": ["q10", "gru", "gru-hi-80"]}, np.array([0.1, 0.5, 0.9])
    assert row["pinball"] == pytest.approx(theirs(losses.mqloss, columns, quantiles=levels))
    assert row["width"] == pytest.approx(float((frame["gru-hi-80"] - frame["q10"]).mean()))


def test_kept_forecasts_are_those_of_the_engine_and_y_is_what_came(history: History, report: BacktestReport) -> None:
    model, expected, done = model_of(history), {}, 0
    engine = Engine(model.spec, model.network)
    for poll in polls(history, model.spec, rows=61):
        found = engine.stage(poll).forecasts
        engine.promote()
        for record, cutoff, values, warm in zip(found.record, found.cutoffs, found.values, found.warm, strict=True):
            if warm and cutoff >= START + 299 * HOUR:
                expected[history.keys[history.series_N[done + record]], int(cutoff)] = values
        done += len(poll)
    frame = report.frame().copy()
    frame["cutoff"] = frame.cutoff.astype("datetime64[ms]").astype("int64")
    groups: Any = frame.groupby(["unique_id", "cutoff"])
    kept = {(str(key), int(cutoff)): part for (key, cutoff), part in groups}
    kept = {place: part for place, part in kept.items() if place[1] < history.ts_N[-1]}
    assert kept.keys() == {place for place in expected if place[1] < history.ts_N[-1]}
    truth = {
        (history.keys[k], int(ts)): y
        for k, ts, y in zip(history.series_N, history.ts_N, history.values_NC[:, 0], strict=True)
    }
    for place, part in kept.items():
        assert np.array_equal(part[["gru-lo-80", "gru", "gru-hi-80"]].to_numpy(), expected[place])
        for h, y in enumerate(part.y, 1):
            assert np.array_equal(y, truth.get((place[0], place[1] + h * HOUR), np.nan), equal_nan=True)


@pytest.mark.parametrize("name", ["y", "ds", "cutoff", "unique_id"])
def test_a_model_called_like_a_column_of_the_frame_replaces_none(
    history: History, report: BacktestReport, name: str
) -> None:
    called = backtest(model_of(history, name), history, START + 300 * HOUR, baselines=BASELINES, keep=None)
    model, expected = f"{name}-forecast", report.frame()
    others = ["unique_id", "ds", "cutoff", "y"]
    assert list(called.frame().columns) == [*others, model, f"{model}-lo-80", f"{model}-hi-80"]
    assert called.frame().set_axis(expected.columns, axis=1).equals(expected)
    assert called.rows()[0] == {**report.rows()[0], "forecaster": name}
    assert [line for line in called.verdict() if line.startswith(f"{name} ")]
    page = write(called, Facts(f"{name}@1", "a.csv", model_of(history).spec, START, int(history.ts_N[-1])))
    assert f'"name":"{name}"' in page


def test_baselines_are_scored_at_the_same_points_as_the_model(report: BacktestReport) -> None:
    points = {row["forecaster"]: row["points"] for row in report.rows()}
    assert len(set(points.values())) == 1
    assert list(points) == ["gru", *BASELINES]


def test_the_last_values_error_is_what_a_loop_over_the_forecasts_gives(
    history: History, report: BacktestReport
) -> None:
    series: dict[str, dict[int, float]] = {key: {} for key in history.keys}
    for k, ts, y in zip(history.series_N, history.ts_N, history.values_NC[:, 0], strict=True):
        series[history.keys[k]][int(ts)] = y
    errors = []
    frame = report.frame().dropna()
    for key, cutoff, y in zip(frame.unique_id, frame.cutoff.astype("int64").tolist(), frame.y, strict=True):
        at = cutoff
        while np.isnan(series[key].get(at, np.nan)):
            at -= HOUR
        errors.append(abs(y - series[key][at]))
    assert report.rows()[1]["mae"] == pytest.approx(np.mean(errors))


def test_parts_add_up_to_the_whole(report: BacktestReport) -> None:
    whole = {row["forecaster"]: row for row in report.rows()}
    for parts in (report.by_horizon(), report.by_series()):
        for name, total in whole.items():
            mine = [row for row in parts if row["forecaster"] == name]
            assert sum(row["points"] for row in mine) == total["points"]
            assert sum(row["mae"] * row["points"] for row in mine) == pytest.approx(total["mae"] * total["points"])


def test_a_model_that_loses_is_said_to_lose(history: History) -> None:
    bad = backtest(model_of(history, highway=5.0), history, START + 350 * HOUR, baselines=BASELINES)
    assert any(line.startswith("gru loses to seasonal naive on mase") for line in bad.verdict())
    assert float(bad.rows()[0]["skill"]) < 0


def events(share: float) -> History:
    """Hours of which few have an event, by chance."""
    return hours_of(1_000, (np.random.default_rng(0).random(1_000) < share).astype(float))


def test_a_model_of_rare_events_is_compared_with_the_one_value_that_most_outcomes_are() -> None:
    history = events(0.1)
    found = backtest(model_of(history), history, START + 500 * HOUR, baselines=BASELINES, keep=None)
    frame = found.frame().dropna()
    assert found.always is not None
    assert found.always.value == 0.0
    assert found.always.mae == pytest.approx(frame.y.abs().mean())
    (said,) = [line for line in found.verdict() if "always" in line]
    assert said.startswith(f"gru is NOT better than always 0 on mae: {found.rows()[0]['mae']:.4g} against")
    assert "More than half of the outcomes are 0, and mae rewards a forecast that never changes" in said
    tally = found.tallies["gru"]
    half = replace(tally, absolute_KH=tally.count_KH * found.always.mae / 2)
    better = replace(found, tallies={**found.tallies, "gru": half}).verdict()
    assert [line for line in better if line.startswith("gru is better than always 0 on mae: ")]


def test_outcomes_that_are_mostly_one_value_are_not_spoken_of_where_simple_forecasts_tell_the_others() -> None:
    """As at night, when the sun gives nothing."""
    day = hours_of(1_000, np.maximum(np.sin(np.arange(1_000) * np.pi / 12) - 0.3, 0.0))
    found = backtest(model_of(day), day, START + 500 * HOUR, baselines={"seasonal naive": SeasonalNaive(24)})
    assert found.always is not None
    tally = found.tallies["gru"]
    good = replace(found, tallies={**found.tallies, "gru": replace(tally, absolute_KH=tally.absolute_KH * 0.01)})
    assert not any("always" in line for line in good.verdict())
    noise = hours_of(1_000, np.random.default_rng(0).normal(size=1_000))
    assert backtest(model_of(noise), noise, START + 500 * HOUR, baselines=BASELINES).always is None


def slow_wave() -> History:
    """Hours that the last value forecasts better than the same hour yesterday."""
    wave = pd.DataFrame({"unique_id": "wave", "ds": START + HOUR * np.arange(400), "y": np.sin(np.arange(400) / 30.0)})
    return read(wave, freq="1h")


def test_a_model_that_wins_is_said_to_win() -> None:
    history = slow_wave()
    good = backtest(model_of(history), history, START + 350 * HOUR, baselines={"seasonal naive": SeasonalNaive(24)})
    assert good.verdict() == ["gru beats seasonal naive on mae, mse and mase, and on mae at every step"]


@pytest.mark.parametrize(
    ("bars", "steps"), [(1, "the only step that was scored"), (3, "each of the 3 steps that were scored")]
)
def test_a_step_without_an_outcome_is_not_said_to_be_won(bars: int, steps: str) -> None:
    history = slow_wave()
    naive = {"seasonal naive": SeasonalNaive(24)}
    found = backtest(model_of(history), history, START + (400 - bars) * HOUR, baselines=naive)
    assert found.verdict() == [f"gru beats seasonal naive on mae, mse and mase, and on mae at {steps} (of 6)"]


def test_a_measure_or_a_baseline_without_a_score_is_not_said_to_be_beaten() -> None:
    history = slow_wave()
    found = backtest(model_of(history), history, START + 350 * HOUR, baselines={"seasonal naive": SeasonalNaive(24)})
    tallies = {**found.tallies, "last year": Tally.empty(1, HORIZON, ())}
    some = replace(found, scale_K=np.full(1, np.nan), tallies=tallies)
    assert some.verdict() == [
        "gru beats seasonal naive on mae and mse, and on mae at every step",
        "last year cannot be compared: no forecast where gru has one",
    ]


def test_the_verdict_of_forecasts_without_outcomes_is_that_nothing_was_compared() -> None:
    history = slow_wave()
    unknown = replace(history, values_NC=np.where(np.arange(400)[:, None] < 390, history.values_NC, np.nan))
    found = backtest(model_of(history), unknown, START + 392 * HOUR, baselines=BASELINES)
    assert found.verdict() == ["gru was not compared: none of its forecasts has an outcome"]


def test_a_loss_at_some_steps_says_how_many_were_scored() -> None:
    history = slow_wave()
    found = backtest(model_of(history), history, START + 350 * HOUR, baselines={"seasonal naive": SeasonalNaive(24)})
    for tally in found.tallies.values():
        tally.count_KH[:, 4:] = tally.absolute_KH[:, 4:] = 0
    found.tallies["gru"].absolute_KH[:, 1] = 1_000
    assert found.verdict()[-1].endswith("loses to seasonal naive on mae at step 2 of 6, of which 4 were scored")


def hours_of(bars: int, y: Any = 0.0) -> History:
    """A single series of so many hours."""
    return read(pd.DataFrame({"unique_id": "a", "ds": START + HOUR * np.arange(bars), "y": y}), freq="1h")


@pytest.mark.parametrize("bars", [120, 400])
def test_after_a_short_history_the_ridges_read_fewer_bars_and_are_no_copy_of_the_last_value(bars: int) -> None:
    t = np.arange(bars)
    history = hours_of(bars, 10 + 3 * np.sin(2 * np.pi * t / 24) + np.random.default_rng(0).normal(0, 0.3, bars))
    model = model_of(history)
    long = Model(model.spec.model_copy(update={"lags": 336}), model.network, "long")
    board = Scoreboard(history, long.spec, START + (bars - 40) * HOUR)
    board.add(np.zeros(34, np.int64), history.ts_N[-40:-6], np.full((34, HORIZON, 3), 10.0), np.ones(34, np.bool_))
    rows = {row["forecaster"]: row["mae"] for row in board.report("long").rows()}
    assert rows["ridge on lags"] < 0.5 * rows["last value"]
    assert rows["ridge refitted"] < 0.5 * rows["last value"]


GAPPY = np.where(np.arange(100) % 5 < 3, np.arange(100.0), np.nan)


@pytest.mark.parametrize(
    ("history", "before", "why"),
    [
        (hours_of(100), 80, "in 80 bars before the test nothing changes, or no 6 bars in a row are all observed"),
        (
            hours_of(100, GAPPY),
            80,
            "in 80 bars before the test nothing changes, or no 6 bars in a row are all observed",
        ),
        (hours_of(30, np.arange(30.0)), 8, "a regression cannot learn 6 steps ahead from 8 bars before the test"),
    ],
)
def test_regressions_without_anything_to_learn_from_are_left_out_with_a_reason(
    history: History, before: int, why: str
) -> None:
    found = backtest(model_of(hours_of(30, np.arange(30.0))), history, START + before * HOUR)
    assert list(found.tallies) == ["gru", "last value", "seasonal naive", "moving average"]
    assert found.verdict()[-1] == f"ridge on lags and ridge refitted are left out: {why}"


def tied(report: BacktestReport, rival: str, factor: float = 1.0, steps: int = HORIZON) -> BacktestReport:
    """The report, but with a baseline that has the model's errors, times ``factor``, at the first steps."""
    mine, other = report.tallies["gru"], report.tallies[rival]
    absolute_KH, squared_KH = (
        np.concatenate([factor * its[:, :steps], theirs[:, steps:]], axis=1)
        for its, theirs in ((mine.absolute_KH, other.absolute_KH), (mine.squared_KH, other.squared_KH))
    )
    level = replace(other, absolute_KH=absolute_KH, squared_KH=squared_KH)
    return replace(report, tallies={**report.tallies, rival: level})


def test_equal_errors_are_level_and_float_noise_is_no_loss() -> None:
    history = slow_wave()
    found = backtest(model_of(history), history, START + 350 * HOUR, baselines={"seasonal naive": SeasonalNaive(24)})
    for factor in (1.0, 1 - 1e-12, 1 + 1e-12):
        assert tied(found, "seasonal naive", factor).verdict() == [
            "gru is level with seasonal naive on mae, mse and mase, and on mae at every step"
        ]
    both = replace(found, tallies={**found.tallies, "the same": found.tallies["seasonal naive"]})
    assert tied(both, "the same").verdict() == [
        "gru beats seasonal naive on mae, mse and mase, and on mae at every step",
        "gru is level with the same on mae, mse and mase, and on mae at every step",
    ]
    assert tied(found, "seasonal naive", steps=2).verdict() == [
        "gru is level with seasonal naive on mae at steps 1-2 of 6"
    ]
    assert tied(found, "seasonal naive", 0.9).verdict()[0].startswith("gru loses to seasonal naive on mae: ")


@pytest.mark.parametrize("value", [0.0, 7.1, -1e9 / 3])
def test_a_model_that_repeats_a_constant_is_level_with_all_that_do(value: float) -> None:
    history = hours_of(400, value)
    found = backtest(model_of(history), history, START + 350 * HOUR)
    level, left_out = found.verdict()
    assert level == (
        "gru is level with last value, seasonal naive, moving average on mae and mse, and on mae at every step"
    )
    assert left_out.startswith("ridge on lags and ridge refitted are left out: in 350 bars before the test nothing")


def test_the_relative_mae_is_the_geometric_mean_of_the_ratios_to_seasonal_naive_by_series(
    report: BacktestReport,
) -> None:
    overall, by_series = report.relative_mae()
    mae = {(row["unique_id"], row["forecaster"]): row["mae"] for row in report.by_series()}
    ratios = {key: mae[key, "gru"] / mae[key, "seasonal naive"] for key in report.keys}
    assert by_series == pytest.approx(ratios)
    assert overall == pytest.approx(np.prod(list(ratios.values())) ** (1 / len(ratios)))


def test_one_large_series_does_not_decide_the_relative_mae(history: History) -> None:
    large = replace(history, values_NC=history.values_NC * np.where(history.series_N == 0, 1e6, 1.0)[:, None])
    reports = [backtest(model_of(each), each, START + 350 * HOUR, baselines=BASELINES) for each in (history, large)]
    assert reports[1].relative_mae()[0] == pytest.approx(reports[0].relative_mae()[0], rel=1e-3)
    assert reports[1].rows()[0]["mae"] > 1e4 * reports[0].rows()[0]["mae"]


def test_a_scoreboard_that_got_its_forecasts_elsewhere_reports_what_a_backtest_does(history: History) -> None:
    """As the demo does, which reads them from a topic."""
    model, from_ms = model_of(history), START + 350 * HOUR
    want = backtest(model, history, from_ms, baselines=BASELINES)
    board, engine, done = Scoreboard(history, model.spec, from_ms), Engine(model.spec, model.network), 0
    for poll in polls(history, model.spec):
        found = engine.stage(poll).forecasts
        engine.promote()
        board.add(history.series_N[done + found.record].astype(np.int64), found.cutoffs, found.values, found.warm)
        done += len(poll)
    got = board.report(model.name, BASELINES)
    assert got.rows() == want.rows()
    assert got.forecasts == want.forecasts


def test_nothing_after_the_last_scored_bar_is_looked_at(history: History) -> None:
    start, end = START + 300 * HOUR, START + 320 * HOUR
    whole = backtest(model_of(history), history, start, to_ms=end, baselines=BASELINES)
    cut = history.between(0, end + (HORIZON - 1) * HOUR)
    assert backtest(model_of(history), cut, start, to_ms=end, baselines=BASELINES).rows() == whole.rows()


@pytest.mark.parametrize("grace", ["0s", "20min", "150min"])
def test_forecasts_of_ticks_are_those_that_a_service_gives_to_the_replayed_file(grace: str) -> None:
    readings = ragged_readings()
    model = model_of(readings, mode="ticks", grace=grace)
    records_N = list(records(readings))
    batch = Batch(
        SOURCE, list(range(len(records_N))), [r.timestamp_ms for r in records_N], [r.key for r in records_N],
        [r.value for r in records_N], len(records_N),
    )  # fmt: skip
    replayed, poison = Decoder(model.spec.series).decode([batch])
    assert not poison
    engine, expected, outcomes = Engine(model.spec, model.network), dict[tuple[str, int], Any](), Counter[int]()
    for n in range(len(replayed)):
        one = slice(n, n + 1)
        result = engine.stage(
            Observations(
                [(SOURCE, 0, 1)], replayed.keys[one], replayed.offsets[one], replayed.times[one],
                replayed.timestamps[one], replayed.values[one],
            )
        )  # fmt: skip
        engine.promote()
        outcomes.update(result.outcomes.tolist())
        for cutoff, values, warm in zip(
            result.forecasts.cutoffs.tolist(), result.forecasts.values, result.forecasts.warm, strict=True
        ):
            if warm:
                expected[replayed.keys[n], cutoff] = values
    start = START + 40 * HOUR
    report = backtest(model, readings, start, baselines=BASELINES, keep=None)
    assert report.outcomes == {NAMES[outcome]: count for outcome, count in outcomes.items()}
    assert {"answered", "absorbed"} == report.outcomes.keys()
    frame = report.frame().copy()
    frame["cutoff"] = frame.cutoff.astype("datetime64[ms]").astype("int64")
    groups: Any = frame.groupby(["unique_id", "cutoff"])
    kept = {(str(key), int(cutoff)): part for (key, cutoff), part in groups}
    newest = max(cutoff for _, cutoff in expected)
    assert kept.keys() == {place for place in expected if start - HOUR <= place[1] < newest}
    for place, part in kept.items():
        assert part[["gru-lo-80", "gru", "gru-hi-80"]].to_numpy().tobytes() == expected[place].tobytes()


def test_a_backtest_of_readings_is_that_of_the_bars_they_make() -> None:
    hours, readings = bars_and_readings()
    start = START + 300 * HOUR
    sampled = backtest(model_of(hours), hours, start, keep=None)
    ticked = backtest(model_of(hours, mode="ticks"), readings, start, keep=None)
    assert ticked.rows() == sampled.rows()
    assert ticked.by_horizon() == sampled.by_horizon()
    assert ticked.by_series() == sampled.by_series()
    columns = list(sampled.frame().columns)
    mine, its = (report.frame().sort_values(["unique_id", "ds", "cutoff"]) for report in (ticked, sampled))
    assert mine[columns].to_csv(index=False) == its.to_csv(index=False)


def test_nothing_after_the_bar_of_the_last_outcome_of_ticks_is_looked_at() -> None:
    readings = ragged_readings()
    model = model_of(readings, mode="ticks", grace="20min")
    start, end = START + 40 * HOUR, START + 60 * HOUR

    def scores(changed_from: int) -> list[Row]:
        """What a backtest finds when every reading from a time on is 99."""
        values_NC = np.where(readings.ts_N[:, None] >= changed_from, 99.0, readings.values_NC)
        return backtest(model, replace(readings, values_NC=values_NC), start, to_ms=end, baselines=BASELINES).rows()

    outcome = end + (HORIZON - 1) * HOUR
    assert scores(outcome) == scores(outcome + 1_000 * HOUR)
    assert scores(outcome - 3 * HOUR) != scores(outcome)


def test_in_a_test_that_is_no_longer_than_a_season_nothing_is_refitted() -> None:
    history = slow_wave()
    longer, shorter = (backtest(model_of(history), history, START + (400 - bars) * HOUR) for bars in (25, 24))
    assert "ridge refitted" in longer.tallies
    assert "ridge refitted" not in shorter.tallies
    assert shorter.verdict()[-1] == (
        "ridge refitted is left out, since it is ridge on lags for the 24 bars of the test: it is fitted again after 24"
    )


@pytest.mark.parametrize("hour", [-5, 0, 1, 400, 10_000])
def test_a_time_without_anything_to_score_is_told_the_times_that_have(history: History, hour: int) -> None:
    with pytest.raises(HistoryError) as error:
        backtest(model_of(history), history, START + hour * HOUR)
    said = str(error.value)
    asked = pd.Timestamp(START + hour * HOUR, unit="ms", tz="UTC")
    assert said.startswith(f"nothing to score from {asked} on: the history goes")
    times = re.search("choose a time from (.*) to (.*) with", said)
    assert times
    for time in times.groups():
        Scoreboard(history, model_of(history).spec, pd.Timestamp(time).value // 1_000_000)


@pytest.mark.parametrize("freq", ["h", "MS"])
def test_the_times_that_have_something_to_score_are_those_of_the_models_zone_and_can_be_given_back(freq: str) -> None:
    times = pd.date_range("2040-05-01", periods=100, freq=freq, tz="Europe/Paris")
    frame = pd.DataFrame({"unique_id": "a", "ds": times, "y": np.sin(np.arange(100.0))})
    history = read(frame, timezone="Europe/Paris")
    spec = default_spec(history, 3, lags=16, season=12, timezone="Europe/Paris")
    with pytest.raises(HistoryError) as error:
        Scoreboard(history, spec, instant_ms("2050-01-01", "Europe/Paris"))
    said = str(error.value)
    assert said.startswith(f"nothing to score from 2050-01-01 00:00:00+01:00 on: the history goes from {times[0]} to")
    assert f"to {times[-1]} (Europe/Paris); choose" in said
    found = re.search("choose a time from (.*) to (.*) with", said)
    assert found
    assert [pd.Timestamp(time) for time in found.groups()] == [times[2], times[-1]]
    for time in found.groups():
        Scoreboard(history, spec, instant_ms(time))


@pytest.mark.parametrize("bars", [1, 2, 8])
def test_a_history_that_no_test_fits_is_told_how_long_it_has_to_be(bars: int) -> None:
    model = model_of(hours_of(64))
    for hour in (0, bars // 2, bars):
        with pytest.raises(HistoryError, match=rf"in {bars} bars? of 1h, and a test of this .* least 9 bars;"):
            backtest(model, hours_of(bars), START + hour * HOUR)
    assert backtest(model, hours_of(9), START + 8 * HOUR).forecasts == 1


def test_rows_of_one_time_are_one_bar_too_few_for_any_test() -> None:
    one = read(pd.DataFrame({"unique_id": ["a", "b", "c"], "ds": START, "y": [1.0, 2.0, 3.0]}), freq="1h")
    with pytest.raises(HistoryError, match="the history has 3 rows in 1 bar of 1h"):
        backtest(model_of(hours_of(64)), one, START)


def test_a_history_with_other_bars_or_columns_is_refused(history: History) -> None:
    model = model_of(history)
    frame = pd.DataFrame({"unique_id": "a", "ds": START + HOUR * np.arange(99), "load": 1.0})
    with pytest.raises(HistoryError, match="no column 'y'"):
        backtest(model, read(frame, target_col="load", freq="1h"), START + 50 * HOUR)
    with pytest.raises(HistoryError, match="bars of 2h, the model of 1h"):
        backtest(model, read(frame.rename(columns={"load": "y"}), freq="2h"), START + 50 * HOUR)


def test_a_refitted_model_answers_only_what_came_after_its_training(history: History, report: BacktestReport) -> None:
    trained: list[int] = []

    def train(past: History) -> Model:
        trained.append(int(past.ts_N[-1]))
        return model_of(history, highway=float(len(trained)))

    starts = [START + hour * HOUR for hour in (300, 340, 380, 400)]
    said: list[str] = []
    with heard(lambda now: said.append(now.what) if now else None):
        rolling = backtest(
            model_of(history), history, starts[0], baselines=BASELINES, keep=None, refit=Refit(train, 40 * HOUR)
        )
    assert len(trained) == 2
    assert [what for what in dict.fromkeys(said) if "training" in what] == [
        "training again, 1 of 2",
        "training again, 2 of 2",
    ]
    assert rolling.verdict()[-1] == "gru was trained again 2 times within the test, each time on all rows before"
    assert all(last < start for last, start in zip(trained, starts[1:3], strict=True))
    joined = rolling.frame().sort_values(["unique_id", "cutoff", "ds"]).reset_index(drop=True)
    firsts = joined.cutoff + pd.Timedelta(hours=1)
    for number, (start, stop) in enumerate(pairwise(starts)):
        alone = backtest(model_of(history, highway=float(number)), history, starts[0], baselines={}, keep=None).frame()
        alone = alone.sort_values(["unique_id", "cutoff", "ds"]).reset_index(drop=True)
        mine = (firsts >= pd.Timestamp(start, unit="ms")) & (firsts < pd.Timestamp(stop, unit="ms"))
        assert mine.any()
        pd.testing.assert_frame_equal(joined[mine], alone[mine])
    assert rolling.forecasts == report.forecasts
    assert rolling.outcomes == report.outcomes
    assert rolling.quality.over_all().outcomes == report.quality.over_all().outcomes


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        (("epochs", "patience"), ""),
        (("max_seconds", "epochs"), "; 1 of 2 trainings ended at the time limit"),
        (
            ("max_seconds", "within"),
            "; 2 of 2 trainings ended at the time limit, 1 of them before the end of the first epoch",
        ),
    ],
)
def test_trainings_within_a_test_that_a_time_limit_cut_short_are_counted(
    ends: tuple[str, ...], said: str, history: History
) -> None:
    whole = {end: {"stopped": end, "whole_epochs": 3} for end in ends}
    facts = iter([{"stopped": "max_seconds", "whole_epochs": 0} if end == "within" else whole[end] for end in ends])
    refit = Refit(lambda _past: replace(model_of(history), facts=next(facts)), 40 * HOUR)
    rolling = backtest(model_of(history), history, START + 300 * HOUR, baselines={}, refit=refit)
    assert (
        rolling.verdict()[-1].removeprefix("gru was trained again 2 times within the test, each time on all rows ")
        == f"before{said}"
    )


def test_what_the_engine_counts_is_what_the_tables_say(history: History, report: BacktestReport) -> None:
    rows = {row["step"]: row for row in report.by_horizon() if row["forecaster"] == "gru"}
    for step, found in report.quality.by_step().items():
        assert found.outcomes == rows[step]["points"]
        assert found.mae == pytest.approx(rows[step]["mae"])
        assert found.coverage == pytest.approx(rows[step]["coverage"])
