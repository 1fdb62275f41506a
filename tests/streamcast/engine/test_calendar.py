"""An engine on bars of the calendar: it does what it does on bars of one length, and labels are the calendar's."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from harness.streams import Line, observations
from streamcast.engine.engine import Engine, Result
from streamcast.kernels.outcomes import ABSORBED, ANSWERED
from streamcast.spec.calendar_bars import Grid, Step, calendar_of
from streamcast.spec.folders import new_network
from streamcast.spec.model_spec import Column, SeriesSpec
from streamcast.spec.zero import zero_spec
from streamcast.topics.forecasts import Encoder, encode_key

HOUR = 3_600_000


def ms(time: str, zone: str = "UTC") -> int:
    return int(pd.Timestamp(time, tz=zone).timestamp() * 1_000)


def series(step: Step, zone: str = "UTC", **given: str) -> SeriesSpec:
    calendar = calendar_of(step, zone, ms("2020-01-01"), ms("2026-01-01"))
    column = Column(name="y", aggregate="sum" if given else None)
    return SeriesSpec.model_validate({"columns": (column,), "freq": step.freq, "calendar": calendar, **given})


def run(of: SeriesSpec, lines: list[Line]) -> Result:
    spec = zero_spec(of, 3, (12,))
    engine = Engine(spec, new_network(spec))
    return engine.stage(observations(list(enumerate(lines)), 1))


MONTH = Step("month", 1)


def lines_of(times: list[int]) -> list[Line]:
    random = np.random.default_rng(7)
    return [Line("a", time, (float(value),)) for time, value in zip(times, random.normal(size=len(times)), strict=True)]


@pytest.mark.parametrize("mode", [{}, {"mode": "ticks", "grace": "12h"}])
def test_months_are_bars_of_one_length_with_labels_of_their_own(mode: dict[str, str]) -> None:
    of = series(MONTH, "UTC", **mode)
    days = pd.date_range("2020-01-01", "2023-06-01", freq="9D" if mode else "MS")
    times = [ms(str(day)) for day in days if (day.year, day.month) != (2021, 5)]
    lines = lines_of(times)
    found = run(of, lines)
    even = of.model_copy(update={"calendar": None})
    moved = of.grid.to_grid(np.array(times))
    wanted = run(even, [line._replace(time=int(time)) for line, time in zip(lines, moved, strict=True)])
    np.testing.assert_array_equal(found.outcomes, wanted.outcomes)
    np.testing.assert_array_equal(found.forecasts.values, wanted.forecasts.values)
    np.testing.assert_array_equal(found.forecasts.cutoffs, of.grid.from_grid(wanted.forecasts.cutoffs))
    assert (found.restarts, found.gaps) == (0, 1)
    cutoffs = pd.DatetimeIndex(found.forecasts.cutoffs.astype("datetime64[ms]"))
    assert cutoffs.is_month_start.all()
    assert (cutoffs.hour == 0).all()


def test_a_local_day_of_ticks_closes_when_it_ends_there_and_its_grace_has_passed() -> None:
    of = series(Step("day", 1), "Europe/Berlin", mode="ticks", grace="30min")
    hours = pd.date_range("2024-10-26", "2024-10-28 00:00", freq="h", tz="Europe/Berlin")  # 24 and 25 of them, and one
    late = [ms("2024-10-28 00:29:59", "Europe/Berlin"), ms("2024-10-28 00:30", "Europe/Berlin")]
    lines = [Line("a", int(hour.timestamp() * 1_000), (1.0,)) for hour in hours] + [Line("a", t, (1.0,)) for t in late]
    found = run(of, lines)
    answered = np.flatnonzero(found.outcomes == ANSWERED)
    assert answered.tolist() == [25, len(lines) - 1]
    labels = [ms(day, "Europe/Berlin") for day in ("2024-10-26", "2024-10-27")]
    assert found.forecasts.cutoffs.tolist() == labels
    spec = zero_spec(of, 3, (12,))
    engine = Engine(spec, new_network(spec))
    engine.stage(observations(list(enumerate(lines)), 1))
    assert engine.slab.rows.ring[0, 0, :2].tolist() == [24.0, 25.0]


def test_a_message_has_the_starts_of_its_bars() -> None:
    of = series(MONTH, "Europe/Berlin")
    result = run(of, lines_of([ms("2024-01-01", "Europe/Berlin")]))
    encoder = Encoder(zero_spec(of, 3, (12,)), "m", "1", "0" * 64, "champion", "in")
    (written,) = encoder.encode([encode_key("a")], result.forecasts, np.array([0]), np.array([0]))
    message = json.loads(written)
    assert list(message)[:4] == ["unique_id", "cutoff", "ds", "freq_ms"]
    assert message["freq_ms"] is None
    assert message["ds"] == [ms(day, "Europe/Berlin") for day in ("2024-02-01", "2024-03-01", "2024-04-01")]


def test_a_grid_of_one_length_costs_nothing() -> None:
    times = np.arange(5)
    assert Grid(1_000).to_grid(times) is times
    assert Grid(1_000).from_grid(times) is times


# -- what was never observed, and small swings of high levels ---------------------------------------------------------

PLAIN = {"columns": (Column(name="y"), Column(name="x")), "freq": HOUR}


@pytest.mark.parametrize("mode", ["sample", "ticks"])
def test_a_series_is_not_answered_before_the_first_value_of_its_target(mode: str) -> None:
    spec = zero_spec(SeriesSpec.model_validate({**PLAIN, "mode": mode}), 2, (1,))
    rows = [(np.nan, np.nan), (np.nan, 1.0), (np.nan, 2.0), (5.0, 3.0), (np.nan, 4.0), (np.nan, 5.0)]
    lines = [Line("a", ms("2024-01-01") + i * HOUR, row) for i, row in enumerate(rows)]
    found = Engine(spec, new_network(spec)).stage(observations(list(enumerate(lines)), 2))
    first = 3 if mode == "sample" else 4  # a tick closes the bar before its own
    assert found.outcomes.tolist() == [ABSORBED] * first + [ANSWERED] * (len(rows) - first)
    np.testing.assert_allclose(found.forecasts.values[0, :, 1], [5.0, 5.0])
    before = spec.model_copy(update={"schema_version": 1})
    answered = Engine(before, new_network(before)).stage(observations(list(enumerate(lines)), 2)).outcomes
    assert (answered == ANSWERED).sum() > (found.outcomes == ANSWERED).sum()


@pytest.mark.parametrize("level", [1e6, 1e9, 1e12])
@pytest.mark.parametrize("swing", [1.0, 10.0])
def test_a_series_at_a_high_level_is_forecast_and_written_like_one_at_zero(level: float, swing: float) -> None:
    spec = zero_spec(SeriesSpec.model_validate({"columns": (Column(name="y"),), "freq": HOUR}), 3, (24,))
    hours = np.arange(24 * 12)
    shape = np.sin(2 * np.pi * hours / 24) + np.random.default_rng(1).normal(0, 0.1, len(hours))
    values = np.round(shape * 2**10) / 2**10 * swing  # exact at every level
    encoder = Encoder(spec, "m", "1", "0" * 64, "champion", "in")

    def written(shift: float) -> np.ndarray:
        lines = [Line("a", ms("2024-01-01") + int(h) * HOUR, (shift + y,)) for h, y in zip(hours, values, strict=True)]
        found = Engine(spec, new_network(spec)).stage(observations(list(enumerate(lines)), 1))
        zeros = np.zeros(len(lines), np.int64)
        texts = encoder.encode([b'"a"'] * len(lines), found.forecasts, zeros, zeros)
        return np.array([list(json.loads(text)["quantiles"].values()) for text in texts])

    low, high = written(0.0), written(level)
    settled = slice(72, None)
    difference = np.abs(high[settled] - level - low[settled])
    assert difference.max() < 0.1 * swing
    assert difference.mean() < 0.01 * swing
