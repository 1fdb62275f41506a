"""Bars of the calendar: what a step's name means, the table that is made of it, and times on the grid."""

from __future__ import annotations

import bisect

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamcast.errors import SettingsError
from streamcast.spec import calendar_bars
from streamcast.spec.calendar_bars import LAST_DAY, Calendar, Grid, Step, calendar_of, parse_step, resolved
from streamcast.spec.model_spec import Column, SeriesSpec

FIRST, LAST = (int(pd.Timestamp(day).timestamp() * 1_000) for day in ("2011-03-05", "2030-01-01"))


def grid(text: str | Step, zone: str = "UTC") -> Grid:
    step = parse_step(text) if isinstance(text, str) else text
    assert step is not None
    step = resolved(step)
    return Grid(step.freq, step.offset, calendar_of(step, zone, FIRST, LAST))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("MS", "1 month"), ("1MS", "1 month"), ("ME", "1 month"), ("M", "1 month"), ("mo", "1 month"),
        ("2 months", "2 months"), ("BMS", "1 month"), ("BM", "1 month"), ("QS", "1 quarter"), ("QE-JAN", "1 quarter"),
        ("6MS", "2 quarters"), ("YS", "1 year"), ("A", "1 year"), ("y", "1 year"), ("1 year", "1 year"),
        ("AS-APR", "1 year"), ("W-SUN", "1 week"), ("2W-MON", "2 weeks"), ("B", "1 weekday"),
    ],
)  # fmt: skip
def test_the_names_of_steps_are_read_as_people_and_pandas_write_them(text: str, name: str) -> None:
    step = parse_step(text)
    assert step is not None
    assert step.name == name


@pytest.mark.parametrize(
    "text", ["1ms", "1h", "15min", "0MS", "M-JAN", "QS-XYZ", "W-ABC", "0W-MON", "1d", "", "month-end"]
)
def test_what_names_no_step_of_the_calendar_is_none(text: str) -> None:
    assert parse_step(text) is None


@pytest.mark.parametrize(
    ("text", "pandas", "zone"),
    [
        ("MS", "MS", "UTC"),
        ("ME", "ME", "Europe/Berlin"),
        ("QS-FEB", "QS-FEB", "America/New_York"),
        ("QE", "QE-DEC", "UTC"),
        ("YE-MAR", "YE-MAR", "UTC"),
        ("YE", "YE-DEC", "UTC"),
        ("BMS", "BMS", "UTC"),
        ("BME", "BME", "UTC"),
        ("W-SUN", "W-SUN", "Australia/Melbourne"),
        ("B", "B", "Europe/Berlin"),
    ],
)
def test_a_tables_bars_start_where_pandas_says(text: str, pandas: str, zone: str) -> None:
    bars = grid(text, zone)
    days = pd.date_range("2011-03-05", "2030-01-01", freq=pandas)
    wanted = days.tz_localize(zone).tz_convert("UTC").tz_localize(None).as_unit("ms").astype(np.int64).to_numpy()
    first = bars.bar(int(wanted[0]))
    np.testing.assert_array_equal(bars.start(np.arange(first, first + len(wanted))), wanted)
    np.testing.assert_array_equal(bars.bar(wanted), np.arange(first, first + len(wanted)))


def test_local_days_have_23_to_25_hours_and_one_that_a_zone_skipped_has_none() -> None:
    hours = {length // 3_600_000 for length, _ in grid(Step("day", 1), "Europe/Berlin").calendar.lengths}  # type: ignore[union-attr]
    assert hours == {23, 24, 25}
    apia = grid(Step("day", 1), "Pacific/Apia")
    skipped = int(pd.Timestamp("2011-12-30 10:00").timestamp() * 1_000)
    local = (apia.to_grid(np.array([skipped - 1, skipped])) // 86_400_000).astype("datetime64[D]")
    assert local.astype(str).tolist() == ["2011-12-29", "2011-12-31"]


BERLIN = grid(Step("day", 1), "Europe/Berlin")
MONTHS = grid(Step("month", 1, day=LAST_DAY, time_ms=6 * 3_600_000), "Europe/Berlin")


@given(st.sampled_from([BERLIN, MONTHS, grid("QS"), grid("B"), Grid(7, 3)]), st.lists(st.integers(-(10**14), 10**14)))
@example(BERLIN, [FIRST - 10**11, LAST + 10**13])
def test_a_time_lies_in_its_bar_and_grid_time_rises_with_it(bars: Grid, times: list[int]) -> None:
    times_N = np.array(sorted(times), np.int64)
    bar_N, grid_N = bars.bar(times_N), bars.to_grid(times_N)
    assert (bars.start(bar_N) <= times_N).all()
    assert (times_N < bars.start(bar_N + 1)).all()
    assert (np.diff(grid_N) >= 0).all()
    np.testing.assert_array_equal((grid_N - bars.offset) // bars.freq, bar_N)
    np.testing.assert_array_equal(bars.from_grid(bars.offset + bar_N * bars.freq), bars.start(bar_N))
    np.testing.assert_array_equal(bars.from_grid(grid_N), np.minimum(times_N, bars.start(bar_N) + bars.freq - 1))
    assert [bars.bar(time) for time in sorted(times)] == bar_N.tolist()


def test_within_the_table_a_bar_is_found_by_its_starts() -> None:
    assert MONTHS.calendar is not None
    starts = MONTHS.calendar.starts.tolist()
    for time in range(FIRST, LAST, 86_400_000 * 11 + 1):
        assert MONTHS.bar(time) == MONTHS.calendar.first + bisect.bisect_right(starts, time) - 1


def test_bars_of_the_grids_time_are_local_days_and_twelfths_of_a_year() -> None:
    noon = int(pd.Timestamp("2024-07-01 12:00", tz="Europe/Berlin").timestamp() * 1_000)
    assert pd.Timestamp(int(BERLIN.to_grid(np.array([noon]))[0]), unit="ms") == pd.Timestamp("2024-07-01 12:00")
    months = grid("MS")
    january = months.to_grid(np.array([int(pd.Timestamp("2024-01-01").timestamp() * 1_000)]))
    assert january[0] % (12 * calendar_bars.MONTH_MS) == 0


def test_a_spec_needs_no_installed_table(monkeypatch: pytest.MonkeyPatch) -> None:
    series = SeriesSpec(columns=(Column(name="y"),), freq=BERLIN.freq, calendar=BERLIN.calendar)

    def missing(name: str) -> None:
        raise AssertionError(f"the time zone {name} was looked up")

    monkeypatch.setattr(calendar_bars, "ZoneInfo", missing)
    again = SeriesSpec.model_validate_json(series.model_dump_json())
    assert again == series
    assert again.grid == BERLIN
    assert again.bar == "1 day"


def test_durations_of_a_months_series_are_in_bars() -> None:
    months = grid("MS")
    series = SeriesSpec(columns=(Column(name="y"),), freq=months.freq, calendar=months.calendar)
    assert (series.ttl, series.max_ahead) == (30 * months.freq, months.freq)
    with pytest.raises(ValueError, match="ttl 1d is shorter than a bar of 1 month"):
        SeriesSpec(columns=(Column(name="y"),), freq=months.freq, calendar=months.calendar, ttl="1d")


def test_a_table_that_is_too_long_and_an_unknown_zone_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 1,000,000"):
        Calendar(bar="1 second", zone="UTC", first=0, start=0, lengths=((1_000, 600_000), (999, 600_000)))
    with pytest.raises(SettingsError, match="timezone is 'Mars/Base': expected a name such as"):
        calendar_of(Step("day", 1), "Mars/Base", FIRST, LAST)
