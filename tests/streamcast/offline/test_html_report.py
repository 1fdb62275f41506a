"""The report of a backtest: one file without any other, with the numbers of the tables and the names as they are."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from harness.histories import HOUR, START
from streamcast.offline.defaults.spec import default_spec
from streamcast.offline.evaluation.backtest import Scoreboard, backtest
from streamcast.offline.evaluation.baselines import SEASONAL_NAIVE, LastValue, SeasonalNaive, standard
from streamcast.offline.evaluation.html_report.charts import examples
from streamcast.offline.evaluation.html_report.chosen import cutoffs_to_draw
from streamcast.offline.evaluation.html_report.facts import Facts
from streamcast.offline.evaluation.html_report.page import write
from streamcast.offline.evaluation.intervals import relative_error
from streamcast.offline.evaluation.report import Always, BacktestReport
from streamcast.offline.history.read import read
from streamcast.quality import SumsByStep
from streamcast.spec.folders import Model, new_network
from streamcast.spec.model_spec import Column, ModelSpec, SeriesSpec
from streamcast.spec.zero import zero_spec

SPEC = zero_spec(SeriesSpec(columns=(Column(name="y"),), freq="1h"), 3, (24,), scored=(1, 3))
BARS, FROM = 1_200, START + 200 * HOUR
NAMES = ("<b>bold</b>", "plain")


@pytest.fixture(scope="module")
def report() -> BacktestReport:
    """A model that is less wrong than seasonal naive, on two series of hours."""
    return a_report(SPEC)


def test_a_model_that_is_no_better_than_one_value_is_not_praised(report: BacktestReport) -> None:
    found = report.rows()[0]["mae"]
    for mae, said in ((0.9 * found, "but not smaller than that of always 50"), (1.1 * found, "")):
        page = html.unescape(write(replace(report, always=Always(50.0, mae)), facts()))
        assert (said or "than repeating") in page
        assert ("<p class='verdict good'>" in page) == (not said)


def a_report(spec: ModelSpec, noise: float = 0.0) -> BacktestReport:
    """Return the report of a model that forecasts the mean with some noise, on noise of 1."""
    random = np.random.default_rng(0)
    times = START + HOUR * np.arange(BARS)
    frames = [pd.DataFrame({"unique_id": name, "ds": times, "y": 50 + random.normal(size=BARS)}) for name in NAMES]
    history = read(pd.concat(frames), freq="1h")
    board = Scoreboard(history, spec, FROM)
    cutoffs = np.arange(FROM, START + (BARS - 3) * HOUR, HOUR)
    kept = []
    for series, name in enumerate(history.keys):
        values_AHQ = 50 + np.tile([-1.28, 0.0, 1.28], (len(cutoffs), 3, 1))
        values_AHQ += noise * random.normal(size=(len(cutoffs), 3, 1))
        board.add(np.full(len(cutoffs), series), cutoffs, values_AHQ, np.ones(len(cutoffs), np.bool_))
        some = np.array(cutoffs_to_draw(SPEC, FROM, int(times[-1]), 2)[2::-1])
        steps = pd.DataFrame({"cutoff": np.repeat(some, 3), "ds": (some[:, None] + HOUR * np.arange(1, 4)).ravel()})
        kept.append(
            steps.astype("datetime64[ms]").assign(unique_id=name, y=50.0, m=50.0, **{"m-lo-80": 49, "m-hi-80": 51})
        )
    return board.report("m", {SEASONAL_NAIVE: SeasonalNaive(24), "last value": LastValue()}, kept=pd.concat(kept))


def facts(spec: ModelSpec = SPEC) -> Facts:
    return Facts("m@1", "a <file>.csv", spec, FROM, START + (BARS - 1) * HOUR)


def test_the_file_needs_no_other_and_names_are_text(report: BacktestReport) -> None:
    page = write(report, facts())
    body = page[page.index("</script></head>") :]
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", body)
    assert "<b>bold</b>" not in body
    assert "&lt;b&gt;bold&lt;/b&gt;" in body
    assert "a &lt;file&gt;.csv" in body
    for section in ("Which forecast is best?", "Error by step", "Error over time", "keep its promise", "By series"):
        assert section in body


def test_the_same_report_is_the_same_file(report: BacktestReport) -> None:
    page = write(report, facts())
    assert page == write(report, facts())
    charts = re.findall(r'<div id="([^"]+)" class="plotly-graph-div"', page)
    assert len(charts) == len(set(charts)) == 5


def test_an_error_that_is_about_that_of_repeating_is_neither_smaller_nor_larger(report: BacktestReport) -> None:
    mine, naive = report.tallies["m"], report.tallies["seasonal naive"]
    for factor in (0.999, 1.0, 1.001):
        level = replace(mine, absolute_KH=factor * naive.absolute_KH)
        page = write(replace(report, tallies={**report.tallies, "m": level}), facts())
        assert "The model's error is about that of repeating" in html.unescape(page)


def test_the_numbers_are_those_of_the_tables(report: BacktestReport) -> None:
    page = html.unescape(write(report, facts()))
    _, by_series = report.relative_mae()
    assert all(f"<td>{ratio:.3f}</td>" in page for ratio in by_series.values())
    ranked = report.rows()[0]["relative"]
    assert f"error is {ranked:.3f} of seasonal naive's" in page, "the ranking has the table's number"
    assert "It is better than seasonal naive, which is unlikely to be an accident." in page


def test_the_head_has_the_tables_numbers_and_says_what_the_service_counts(report: BacktestReport) -> None:
    counted = SumsByStep()
    counted.add(np.array([1, 1, 3]), np.array([[1.0, 2.0, 0.1, 1.0], [3.0, np.nan, 0.1, 0.0], [1.0, 2.0, 0.1, 1.0]]))
    page = html.unescape(write(replace(report, quality=counted), facts()))
    mine = report.rows()[0]
    assert f"<b>{mine['mae']:.4g}</b>" in page
    assert f"<b>{mine['relative']:.3f}</b>" in page
    assert f"is {1 - mine['relative']:.0%} smaller than repeating" in page
    assert (
        "All 3 steps ahead count here. The service's metrics, its page and verify count some of them (1, 3): MAE 1.667,"
        " 0.500 of seasonal naive's (the same hour yesterday); the 80% interval held 66.7%, without 1 outcome that it"
        " has no value to repeat for."
    ) in page


def test_a_difference_that_may_be_an_accident_is_not_praised() -> None:
    """The green headline said it was smaller, and a line further down that it might be an accident."""
    page = html.unescape(write(a_report(SPEC, noise=0.97), facts()))
    headline = re.search(r"<p class='verdict (\w+)'>(.*?)</p>", page)
    assert headline is not None
    assert headline[1] == "neutral"
    assert re.search(r"% (smaller|LARGER) than repeating .*, which may be an accident of this stretch", headline[2])


def test_where_the_last_value_is_harder_to_beat_all_numbers_are_relative_to_it() -> None:
    spec = SPEC.model_copy(update={"naive": 1})
    found = a_report(spec)
    page = html.unescape(write(found, facts(spec)))
    relative = {row["forecaster"]: row["relative"] for row in found.rows()}
    assert relative["last value"] == 1
    assert 0.9 < relative["seasonal naive"] < 1.1
    assert relative["seasonal naive"] != 1
    assert f"is {1 - relative['m']:.0%} smaller than repeating the last value." in page
    assert f"error is {relative['m']:.3f} of the last value's" in page
    assert "<th>the last value's</th>" in page
    assert "seasonal naive" in standard(1, 24)
    assert "seasonal naive" not in standard(1, 1), "it would be the last value once more"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({SEASONAL_NAIVE: 0.0}, "Repeating the same hour yesterday has no error: there is no ratio to it."),
        ({SEASONAL_NAIVE: np.nan}, "There is no forecast of seasonal naive to compare with."),
        ({SEASONAL_NAIVE: np.nan, "m": np.nan}, "No forecast has an outcome: there is nothing to compare."),
    ],
)
def test_a_ratio_that_is_not_known_is_no_number_and_nothing_is_ranked_by_it(
    report: BacktestReport, values: dict[str, float], said: str
) -> None:
    tallies, periods = dict(report.tallies), dict(report.periods)
    for name, value in values.items():
        scored, empty = (0.0 if np.isnan(value) else 1.0), np.zeros_like(tallies[name].count_KH)
        tallies[name] = replace(tallies[name], count_KH=scored * tallies[name].count_KH, absolute_KH=empty)
        periods[name] = replace(periods[name], absolute_D=0.0 * periods[name].absolute_D)
    page = html.unescape(write(replace(report, tallies=tallies, periods=periods), facts()))
    body = page[page.index("</script></head>") :]
    assert said in body
    assert "nan" not in re.sub("<script.*?</script>", "", body, flags=re.DOTALL)
    assert "There is no ranking: the error of seasonal naive is 0 or not known." in body
    assert "smallest error" not in body


def test_one_quantile_has_no_interval_to_report(report: BacktestReport) -> None:
    spec = SPEC.model_copy(update={"quantiles": (0.5,)})
    tally = replace(report.tallies["m"], levels=(0.5,), pinball_KHQ=report.tallies["m"].pinball_KHQ[:, :, 1:2])
    found = replace(report, tallies={**report.tallies, "m": tally})
    assert not {"coverage", "width"} & found.rows()[0].keys()
    body = html.unescape(write(found, facts(spec)))
    body = body[body.index("</script></head>") :]
    assert "interval" not in body.lower()
    assert "interval" in html.unescape(write(report, facts())).lower()


def test_times_are_in_the_zone_of_the_data(report: BacktestReport) -> None:
    page = write(report, replace(facts(), zone="Australia/Melbourne", from_ms=START + 20 * HOUR))
    body = page[page.index("</script></head>") :]
    local = pd.Timestamp(START + 20 * HOUR, unit="ms", tz="Australia/Melbourne")
    assert f"from {local:%d %B %Y} to " in body
    assert "(Australia/Melbourne)" in body
    last = report.frame()["ds"].max().tz_localize("UTC").tz_convert("Australia/Melbourne")
    assert f"{last:%Y-%m-%dT%H:%M}" in body


def test_the_interval_is_an_outline_of_each_forecast(report: BacktestReport) -> None:
    """A line that is filled to the next one would join forecasts across bars that nobody forecast."""
    figure = examples(report, facts())
    names = [trace.name for trace in figure.data]
    assert names == ["80% interval", "forecast", "what came"] * 2
    band = figure.data[0]
    assert band.fill == "toself"
    assert [None if np.isnan(y) else y for y in band.y] == [51.0, 51.0, 51.0, 49.0, 49.0, 49.0, None] * 3
    assert list(band.x[:3]) == list(band.x[5:2:-1])


def test_long_names_keep_both_ends_in_the_menu(report: BacktestReport) -> None:
    long = f"QV Market-Elizabeth St (West) {'x' * 60} (East)"
    named = report.frame().replace({"unique_id": {"plain": long}})
    keys = tuple(long if key == "plain" else key for key in report.keys)
    page = html.unescape(write(replace(report, keys=keys, kept=named), facts()))
    assert re.search(r"QV Market-Elizabeth St \(West\) (…|\\u2026)x+ \(East\)  \(0", page)


def test_sums_by_day_are_those_of_the_table(report: BacktestReport) -> None:
    tally, periods = report.tallies["m"], report.periods["m"]
    assert periods.count_D.sum() == tally.count_KH.sum()
    assert periods.absolute_D.sum() == pytest.approx(tally.absolute_KH.sum())
    assert periods.covered_D.sum() == tally.covered_KH.sum()
    assert periods.count_D[1:-1].tolist() == [2 * SPEC.horizon * 24] * (len(periods.count_D) - 2)


def test_an_interval_holds_the_ratio_and_grows_with_the_noise() -> None:
    random = np.random.default_rng(1)
    calm, wild = (100 + spread * random.normal(size=200) for spread in (1, 30))
    narrow, wide = (relative_error(0.8 * part, np.full(200, 100.0)) for part in (calm, wild))
    assert narrow.low < narrow.value < narrow.high < 1
    assert wide.high - wide.low > 5 * (narrow.high - narrow.low)
    assert np.isnan(relative_error(np.ones(2), np.ones(2)).low)
    assert np.isnan(relative_error(np.ones(9), np.zeros(9)).value)
    assert np.isnan(relative_error(np.ones(30), np.ones(30), ahead=8).low), "four times 8 is more than 30"


def test_the_drawn_forecasts_follow_one_another_and_are_few_where_series_are_many() -> None:
    assert cutoffs_to_draw(SPEC, 0, 100 * HOUR + 5, 1)[:3] == [97 * HOUR, 94 * HOUR, 91 * HOUR]
    assert len(cutoffs_to_draw(SPEC, 0, 0, 1)) == 28
    assert len(cutoffs_to_draw(SPEC, 0, 0, 100_000)) == 1
    assert cutoffs_to_draw(SPEC, 99 * HOUR, 100 * HOUR + 5, 1)[0] == 98 * HOUR, "no forecast has all outcomes"


def test_a_test_part_that_is_shorter_than_the_horizon_is_drawn_and_says_how_many_steps_it_has() -> None:
    hours = pd.date_range("2026-01-01", periods=400, freq="h")
    y = np.random.default_rng(0).normal(size=400)
    page, report = reported(pd.DataFrame({"ds": hours, "y": y}), "zero", 100, hours[360])
    assert "40 steps ahead of 100 count here: for later ones, the test is too short" in page
    assert len(report.frame()) == 100
    assert "chart-forecasts-and-what-came" in page


def test_bars_of_months_are_counted_by_bar_and_their_coverage_by_year() -> None:
    months = pd.date_range("2000-01-01", periods=200, freq="MS")
    y = np.arange(200) % 12 + np.random.default_rng(0).normal(size=200)
    page, report = reported(pd.DataFrame({"ds": months, "y": y}), "zero", 12, months[150])
    periods = report.periods["zero"]
    assert pd.to_datetime(periods.starts_D, unit="ms").tolist() == months[149:199].tolist()
    assert periods.count_D[:-12].tolist() == [12] * 38
    assert "The mean absolute error by bar of the forecast" in page
    assert "by year (in UTC) of the forecast" in page
    assert "Years with fewer than 100 outcomes are left out" in page
    assert "with 90% confidence between" in page
    assert "week" not in page
    few, _ = reported(pd.DataFrame({"ds": months, "y": y}), "zero", 12, months[195])
    assert "keep its promise" not in few


def test_outcomes_of_weekdays_are_one_line_over_weekends() -> None:
    days = pd.bdate_range("2024-01-01", periods=200)
    y = np.arange(200) % 5 + np.random.default_rng(0).normal(size=200)
    frame = pd.DataFrame({"ds": days, "y": y})
    for missing in (slice(0, 0), slice(190, 191)):
        rest = frame.drop(frame.index[missing])
        _, report = reported(rest, "zero", 3, days[150], freq="B")
        history = read(rest, id_col=None, freq="B")
        drawn = Facts("m@1", "a.csv", default_spec(history, 3, "zero"), int(history.ts_N[150]), int(history.ts_N[-1]))
        came = examples(report, drawn).data[-1]
        assert came.name == "what came"
        assert np.isnan(came.y).any() == (missing.stop > 0)


def reported(
    frame: pd.DataFrame, network: str, horizon: int, begins: pd.Timestamp, freq: str | None = None
) -> tuple[str, BacktestReport]:
    """Return the text of the page of a backtest of a frame from a time on, and the report."""
    history = read(frame, id_col=None, freq=freq)
    spec = default_spec(history, horizon, network)
    from_ms, last_ms = int(begins.timestamp() * 1_000), int(history.ts_N[-1])
    kept = cutoffs_to_draw(spec, from_ms, last_ms, 1)
    report = backtest(Model(spec, new_network(spec), network), history, from_ms, keep=kept)
    page = write(report, Facts("m@1", "a.csv", spec, from_ms, last_ms))
    return html.unescape(page[page.index("</script></head>") :]), report


@pytest.mark.parametrize(("days", "ahead"), [(8, 1), (140, 1), (28, 7), (96, 24), (200, 24), (150, 30)])
@pytest.mark.parametrize("alike", [0.0, 0.5])
def test_intervals_of_90_percent_hold_the_ratio_so_often(days: int, ahead: int, alike: float) -> None:
    """Pieces of the test were drawn: with forecasts of 24 days, 58 to 79 % of the intervals held the ratio.

    Forecasts of neighbouring days have outcomes in common, and errors of neighbouring days may be alike.
    """
    random, held = np.random.default_rng(2), []
    for _ in range(400):
        noise = random.normal(size=(2, days + ahead + 20))
        for day in range(1, noise.shape[1]):
            noise[:, day] = alike * noise[:, day - 1] + np.sqrt(1 - alike**2) * noise[:, day]
        part_D, whole_D = (np.convolve(np.exp(0.7 * each[21:]), np.ones(ahead), "valid") for each in noise)
        ratio = relative_error(part_D, whole_D, ahead=ahead)
        held.append(ratio.low < 1 < ratio.high)
    assert 0.8 < np.mean(held) < 0.96


def test_a_test_of_a_day_and_a_half_is_not_praised_and_has_no_bar_for_a_month() -> None:
    hours = pd.date_range("2026-01-01", periods=436, freq="h")
    y = 10 + 5 * np.sin(2 * np.pi * np.arange(436) / 24) + np.random.default_rng(0).normal(size=436)
    page, _ = reported(pd.DataFrame({"ds": hours, "y": y}), "zero", 3, hours[412])
    headline = re.search(r"<p class='verdict (\w+)'>(.*?)</p>", page)
    assert headline is not None
    assert headline[1] == "neutral"
    assert headline[2].endswith(", in a test that is too short to say how sure that is.")
    assert "keep its promise" not in page
    assert "with 90% confidence" not in page


def test_a_few_large_series_do_not_speak_for_all() -> None:
    """One series of a thousand times the level decides every figure over all series: the sentences say so."""
    found = a_report(SPEC)
    mine, naive = found.tallies["m"], found.tallies["seasonal naive"]
    large = np.array([[1.0], [1_000.0]])
    unequal = {
        "m": replace(mine, absolute_KH=mine.absolute_KH * large * [[2.0], [1.0]]),
        "seasonal naive": replace(naive, absolute_KH=naive.absolute_KH * large),
    }
    found = replace(found, tallies={**found.tallies, **unequal})
    assert "it is worse on 1 of 2; 1 of 2 series has at least 90% of the error over all series" in found.evenly()
    page = html.unescape(write(found, facts()))
    assert "where every series counts the same." in page
    assert found.evenly() in page
    assert "of the error over all series" not in a_report(SPEC).evenly()
