"""A series keeps its last bars and forecasts, and scores them as a plain loop does."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcast.page.ticks import Ticks
from streamcast.page.track import MOST_ANOMALIES, Forecast, Track
from streamcast.quality import Sums
from streamcast.spec.model_spec import ANOMALOUS, Column, SeriesSpec


@given(st.lists(st.tuples(st.integers(0, 60), st.floats(-9, 9)), max_size=60))
def test_a_track_keeps_the_last_bars_and_the_first_sample_of_each(samples: list[tuple[int, float]]) -> None:
    track, kept = Track(16), dict[int, float]()
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


@given(st.data())
def test_errors_equal_those_of_a_plain_loop(data: st.DataObject) -> None:
    season, horizon = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 9))
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    seen = {bar: random.normal() for bar in range(40) if random.random() < 0.8}
    track = Track(64)
    for bar, value in seen.items():
        track.observe(bar, value)
    forecasts = {cutoff: np.sort(random.normal(size=(3, horizon)), axis=0) for cutoff in range(20, 40, 3)}
    for cutoff, values in forecasts.items():
        track.add_forecast("champion", Forecast(cutoff, (0.1, 0.5, 0.9), values, warm=True), 50, ANOMALOUS)
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
    track = Track(64)
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
    assert not Track(64).closed([6]).any()


def test_irregular_values_do_not_close_hours() -> None:
    random = np.random.default_rng(1)
    values = [1.0 if random.random() < 0.5 else None for _ in range(60)]
    assert not a_track(values).closed([24]).any()


def test_an_open_bar_does_not_count_as_an_outcome() -> None:
    spec = SeriesSpec(columns=(Column(name="y"),), freq=60_000, mode="ticks", grace=30_000)
    track = Track(16, Ticks(spec))
    track.add_tick(60_000, 5.0, seen=True)
    track.add_forecast("champion", Forecast(0, (0.5,), np.zeros((1, 1)), warm=True), 5, ANOMALOUS)

    def error() -> float:
        errors = track.errors("champion", 1)
        assert errors is not None
        return float(errors.error[0, 0])

    track.add_tick(149_999, 5.0, seen=True)
    assert math.isnan(error()), "the grace of its bar has not passed"
    track.add_tick(150_000, 5.0, seen=True)
    assert error() == 5.0


def test_a_forecast_seen_twice_is_kept_once() -> None:
    track = Track(16)
    for cutoff in (1, 2, 1, 2, 3):
        track.add_forecast("champion", Forecast(cutoff, (0.5,), np.zeros((1, 1)), warm=True), 5, ANOMALOUS)
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
        forecast = Forecast(cutoff, (0.5,), np.ones((1, 2)), warm=warm)
        track.add_forecast("champion", forecast, 9, ANOMALOUS)
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


def test_a_track_keeps_its_newest_anomalies_for_longer_than_the_forecasts() -> None:
    track = Track(40)

    def add(cutoff: int, anomaly: float | None) -> None:
        forecast = Forecast(cutoff, (0.5,), np.zeros((1, 1)), warm=True, anomaly=anomaly)
        track.add_forecast("champion", forecast, 2, ANOMALOUS)

    for bar, anomaly in enumerate([None, 0.996, 0.997, 1.0, 0.9]):
        add(bar, anomaly)
    assert track.anomalies["champion"] == [(2, 0.997), (3, 1.0)]
    assert [forecast.cutoff for forecast in track.forecasts["champion"]] == [3, 4]
    for repeated in (3, 5, 5):
        add(repeated, 0.998)
    assert track.anomalies["champion"] == [(2, 0.997), (3, 1.0), (5, 0.998)]
    for bar in range(6, 84):
        add(bar, 1.0)
    assert [anomaly.bar for anomaly in track.anomalies["champion"]] == list(range(84 - MOST_ANOMALIES, 84))
