"""The anomaly of answers, of a stream through the engine; the law of its numbers is in kernels/test_scoring.py."""

from __future__ import annotations

import numpy as np
import pytest

from streamcast.consumers.transport import Partition
from streamcast.engine.engine import Engine
from streamcast.spec.folders import new_network
from streamcast.spec.model_spec import ModelSpec, SeriesSpec
from streamcast.spec.zero import zero_spec
from streamcast.topics.observations import Observations

HOUR, DAY, BARS = 3_600_000, 24, 24 * 45
SOURCE = Partition("input", 0)
SPEC = zero_spec(SeriesSpec.model_validate({"columns": ({"name": "y"},), "freq": HOUR}), 4, (DAY,))
REPORTED = 0.997


def daily(seed: int = 0) -> np.ndarray:
    """Days of 24 bars with a peak at noon, and noise."""
    hour = np.arange(BARS)
    return 100.0 + 30.0 * np.sin(2 * np.pi * hour / DAY) + np.random.default_rng(seed).normal(size=BARS)


def streamed(values: np.ndarray, spec: ModelSpec = SPEC, cuts: tuple[int, ...] = ()) -> np.ndarray:
    """The anomaly of each bar's answer, with the bars in polls that end at ``cuts``."""
    engine = Engine(spec, new_network(spec), 1)
    found = np.full(len(values), np.nan)
    for first, stop in zip((0, *cuts), (*cuts, len(values)), strict=True):
        place = np.arange(first, stop)
        times = 1_700_000_000_000 // HOUR * HOUR + place * HOUR
        runs = [(SOURCE, 0, len(place))]
        observations = Observations(runs, ["a"] * len(place), place, times, times, values[place, None])
        engine.stage(observations)
        engine.discard()  # a poll that is undone leaves nothing behind
        forecasts = engine.stage(observations).forecasts
        engine.promote()
        found[place[forecasts.record]] = forecasts.anomaly
    return found


def test_a_spike_is_reported_at_its_bar_and_not_the_days_around_it() -> None:
    values = daily()
    values[900] += 25.0
    found = streamed(values)
    assert found[900] >= REPORTED
    assert (found[901:997] <= 0.9).all()
    assert np.nanmean(np.delete(found, 900)[500:] >= REPORTED) < 0.01


def test_a_level_that_shifts_is_reported_within_a_day() -> None:
    values = daily()
    values[900:] += 8.0
    assert (streamed(values)[900:924] >= REPORTED).any()


def test_a_daily_pattern_that_is_lost_is_reported_within_half_a_day() -> None:
    values = daily()
    values[912:936] = 100.0 + np.random.default_rng(1).normal(size=24)
    assert (streamed(values)[912:924] >= REPORTED).any()


def test_a_sensor_that_is_dead_or_stuck_is_reported_within_ten_bars_and_by_night_too() -> None:
    for begin in (900, 912):
        for value in (0.0, None):
            values = daily()
            values[begin : begin + 24] = values[begin - 1] if value is None else value
            assert (streamed(values)[begin : begin + 10] >= REPORTED).any(), (begin, value)


def test_means_of_equal_readings_are_one_value_although_their_last_digits_differ() -> None:
    random, value = np.random.default_rng(3), 100.1
    values = value + random.normal(size=BARS)
    values[900:924] = [np.full(count, value).cumsum()[-1] / count for count in random.integers(2, 60, 24)]
    assert len(np.unique(values[900:910])) > 3
    found = streamed(values)
    assert (found[900:910] >= REPORTED).any()
    values[900:924] = value
    np.testing.assert_allclose(found, streamed(values), rtol=1e-6)


def test_what_stands_still_every_night_is_no_event() -> None:
    values = daily()
    values[np.arange(BARS) % DAY < 7] = 0.0
    before = np.nan_to_num(streamed(values, SPEC.model_copy(update={"schema_version": 3})))
    np.testing.assert_array_equal(np.nan_to_num(streamed(values))[200:] >= REPORTED, before[200:] >= REPORTED)
    values[1_000 : 1_000 + 24] = 0.0
    assert (streamed(values)[1_000:1_024] >= REPORTED).any()


def test_runs_of_a_series_that_often_repeats_its_value_are_events_as_rarely_as_promised() -> None:
    random = np.random.default_rng(2)
    values = np.repeat(100.0 + random.normal(size=8_000), random.geometric(0.4, 8_000))
    assert (streamed(values)[2_000:] >= REPORTED).mean() < 0.003
    values[-20:] = values[-21]
    assert (streamed(values)[-20:] >= REPORTED).any()


def test_without_a_value_that_comes_twice_the_number_is_that_of_version_3() -> None:
    values = daily()
    values[[300, 900]] += 40.0
    np.testing.assert_array_equal(streamed(values), streamed(values, SPEC.model_copy(update={"schema_version": 3})))


def test_a_missing_bar_has_no_anomaly_and_ends_nothing() -> None:
    values = daily()
    values[900] += 25.0
    values[903:908] = np.nan
    found = streamed(values)
    assert np.isnan(found[903:908]).all()
    assert (found[908:997] <= 0.9).all()


@pytest.mark.parametrize("version", [2, 3, 4])
def test_any_cut_into_polls_gives_the_same_anomalies(version: int) -> None:
    values, spec = daily(), SPEC.model_copy(update={"schema_version": version})
    values[[300, 600, 601, 900]] += [40.0, 20.0, 60.0, -30.0]
    values[700:720] = values[699]
    whole = streamed(values, spec)
    assert (whole >= REPORTED).sum() >= 2
    np.testing.assert_array_equal(streamed(values, spec, (1, 40, 41, 300, 601, 602, 1_000)), whole)
    np.testing.assert_array_equal(streamed(values[:700], spec), whole[:700])
