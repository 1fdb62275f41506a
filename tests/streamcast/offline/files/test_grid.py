"""Bars that a history has: lengths, where they begin, calendars, seasons, jitter, series of different steps."""

from __future__ import annotations

import holidays
import numpy as np
import pandas as pd
import pytest

from streamcast.errors import HistoryError
from streamcast.offline.defaults.notes import long_notes, season_notes
from streamcast.offline.defaults.spec import default_spec
from streamcast.offline.evaluation.backtest import backtest
from streamcast.offline.history.bars import panel
from streamcast.offline.history.grid import refuse_longer_steps
from streamcast.offline.history.polls import columns
from streamcast.offline.history.read import read, read_as
from streamcast.offline.training.fit import fit
from streamcast.offline.training.options import Options
from streamcast.offline.training.sequences import sequences
from streamcast.spec import features
from streamcast.spec.calendar_bars import Grid
from streamcast.spec.folders import Model, new_network
from tests.streamcast.offline.files.cases import DAY, HOUR, START, case, changed, forecasts_of, frame_of


def test_the_median_step_is_one_that_rows_have() -> None:
    hours, days = (pd.date_range("2025-01-01", periods=200, freq=freq) for freq in ("h", "D"))
    both = pd.concat([frame_of(hours), frame_of(days).assign(unique_id="b")])
    found = read(both)
    assert found.freq_ms == HOUR
    assert "1 of 2 series has longer steps than bars of 1h, such as 'b' with 1d" in changed(found)


@pytest.mark.parametrize(("name", "day"), [("mondays", 0), ("sundays", 6)])
def test_bars_of_a_week_start_where_the_data_do(name: str, day: int) -> None:
    history = read(case(f"02-weekly/{name}.csv"))
    spec = default_spec(history, 4)
    labels = panel(history, spec.series)
    assert pd.Timestamp(labels.start_ms, unit="ms").weekday() == day
    assert labels.start_ms == history.ts_N[0]
    assert any("bars of 1w start at times such as" in note for note in history.notes)


@pytest.mark.parametrize(
    ("times", "offset"),
    [
        (START + 30 * 60_000 + np.arange(50) * HOUR, 30 * 60_000),  # half past
        (START + 6 * HOUR + np.arange(50) * DAY, 6 * HOUR),  # the gas day
        (START + np.arange(50) * HOUR + np.arange(50) % 7 * 1_000, 0),  # a few seconds late
        (START + np.append(np.arange(49), 60.2) * HOUR, 0),  # one row astray
    ],
)
def test_bars_start_where_most_rows_do(times: np.ndarray, offset: int) -> None:
    history = read(frame_of(times), freq="1d" if times[1] - times[0] == DAY else "1h")
    assert history.offset_ms == offset
    assert default_spec(history, 2).series.offset == offset


@pytest.mark.parametrize("hour", [0, 6])
def test_days_are_local_ones_over_a_change_of_the_clock(hour: int) -> None:
    days = pd.date_range("2025-01-01", "2025-12-31", freq="D") + pd.Timedelta(hours=hour)
    history = read(frame_of(days), timezone="Europe/Berlin")
    assert (history.freq_ms, history.offset_ms, history.bar) == (DAY, hour * HOUR, "1 day")
    bars = history.grid.bar(history.ts_N)
    np.testing.assert_array_equal(history.grid.start(bars), history.ts_N)
    assert (np.diff(bars) == 1).all()
    assert not history.changes
    assert read(frame_of(days), timezone="Asia/Tokyo").calendar is None, "where clocks do not change, days are equal"


def test_weeks_are_local_ones_and_start_where_the_rows_do() -> None:
    sundays = pd.date_range("2024-01-07", periods=60, freq="7D")
    history = read(frame_of(sundays), timezone="America/New_York")
    assert history.bar == "1 week"
    np.testing.assert_array_equal(history.grid.start(history.grid.bar(history.ts_N)), history.ts_N)


@pytest.mark.parametrize(("freq", "bar"), [("1d", "1 day"), ("MS", "1 month")])
def test_ticks_make_local_days_and_months(freq: str, bar: str) -> None:
    hours = pd.date_range("2024-01-01", "2024-12-31 23:00", freq="7h")
    history = read(frame_of(hours), timezone="Europe/Berlin", freq=freq, ticks=True)
    assert history.bar == bar
    spec = default_spec(history, 2, "zero", mode="ticks", season=7)
    found = panel(history, spec.series)
    midnight = pd.Timestamp(found.start_ms, unit="ms", tz="UTC").tz_convert("Europe/Berlin")
    assert (midnight.hour, midnight.day) == (0, 1)
    assert found.y_KT.shape[1] == (365 if freq == "1d" else 11)
    assert np.isfinite(found.y_KT).all()


def test_a_longer_bar_than_the_steps_starts_at_midnight() -> None:
    hours = START + (np.arange(10)[:, None] * DAY + np.arange(9, 17) * HOUR).ravel()
    assert read(frame_of(hours), freq="1d").offset_ms == 0


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
@pytest.mark.parametrize(
    ("name", "bar", "season"),
    [("month_start", "1 month", 12), ("month_end", "1 month", 12), ("quarter", "1 quarter", 12), ("year", "1 year", 1)],
)
def test_months_quarters_and_years_are_bars_and_their_forecasts_join_the_rows(
    name: str, bar: str, season: int, zone: str
) -> None:
    path = case(f"01-monthly/{name}.csv")
    history = read(path, timezone=zone)
    assert (history.bar, history.changes) == (bar, ())
    assert any(f"bars of {bar} were guessed" in note for note in history.notes)
    spec, forecasts = forecasts_of(history, 4)
    assert spec.season == (season,)
    rows = pd.DataFrame({
        "unique_id": np.array(history.keys, object)[history.series_N], "ds": history.ts_N.astype("datetime64[ms]"),
        "truth": history.values_NC[:, 0],
    })  # fmt: skip
    joined = forecasts.dropna(subset="y").merge(rows, on=["unique_id", "ds"])
    assert len(joined) == forecasts.y.notna().sum() > 0
    np.testing.assert_array_equal(joined.y, joined.truth)
    assert forecasts.ds.max() > rows.ds.max()
    if name.startswith("month"):
        naive = rows.assign(ds=rows.ds + pd.DateOffset(years=1))
        naive.loc[naive.ds.dt.is_leap_year & (naive.ds.dt.month == 2) & (naive.ds.dt.day == 28), "ds"] += DAYS
        both = joined.merge(naive, on=["unique_id", "ds"], suffixes=("", "_before"))
        assert (both.y - both.m).abs().mean() < (both.y - both.truth_before).abs().mean()


@pytest.mark.parametrize(("name", "horizon"), [("month_start", 12), ("quarter", 4), ("year", 2)])
def test_a_network_is_trained_on_months_quarters_and_years(name: str, horizon: int) -> None:
    history = read(case(f"01-monthly/{name}.csv"))
    spec = default_spec(history, horizon, {"kind": "gru", "hidden": 8})
    facts = fit(history, spec, Options(epochs=1, updates=2, rows=8)).facts
    assert np.isfinite(facts["validation_loss"])


DAYS = pd.Timedelta(days=1)


@pytest.mark.parametrize(
    ("freq", "days", "bar"),
    [
        ("1MS", "MS", "1 month"), ("M", "ME", "1 month"), ("ME", "ME", "1 month"), ("month", "MS", "1 month"),
        ("3MS", "QS-FEB", "1 quarter"), ("Q", "QE-JAN", "1 quarter"), ("QS", "QS", "1 quarter"),
        ("1YE", "YE-JUN", "1 year"), ("y", "YS", "1 year"), ("2 months", "2MS", "2 months"), (None, "BME", "1 month"),
        (None, "BMS", "1 month"), ("BM", "BME", "1 month"), (None, "SMS-10", None), ("W-MON", "W-MON", "1w"),
        ("W", "W-THU", "1w"), ("D", "D", "1d"), ("B", "B", "1 weekday"), ("5T", "5min", "5min"),
        ("2 hours", "2h", "2h"),
    ],
)  # fmt: skip
def test_a_frequency_is_read_as_people_write_it_and_rows_are_the_starts_of_bars(
    freq: str | None, days: str, bar: str | None
) -> None:
    history = read(frame_of(pd.date_range("2019-01-01", periods=40, freq=days)), freq=freq)
    if bar is None:  # twice a month is no step of the calendar
        assert history.calendar is None
        return
    assert history.bar == bar
    np.testing.assert_array_equal(history.grid.start(history.grid.bar(history.ts_N)), history.ts_N)
    assert history.changes == ()


def test_days_of_the_month_that_scatter_are_bars_of_whole_months_and_it_is_said() -> None:
    random = np.random.default_rng(3)
    billed = pd.date_range("2019-01-01", periods=40, freq="MS") + pd.to_timedelta(random.integers(2, 9, 40), unit="D")
    history = read(frame_of(billed))
    assert history.bar == "1 month"
    assert "40 of 40 rows do not lie at the start of their bar of 1 month: forecasts carry the starts" in "".join(
        history.notes
    )
    assert pd.Timestamp(history.grid.start(history.grid.bar(int(history.ts_N[0]))), unit="ms").day == 1


def test_days_that_stand_for_months_are_refused_and_four_weeks_or_thirty_days_are_a_bar() -> None:
    with pytest.raises(HistoryError, match=r"freq is 30d, but the rows are 1 month apart: .* give 1MS"):
        read(case("01-monthly/month_start.csv"), freq="30d")
    for days in (28, 30):
        assert read(frame_of(START + np.arange(20) * days * DAY)).freq_ms == days * DAY


def test_weekdays_are_bars_and_forecasts_leave_weekends_out() -> None:
    path = case("04-business-days/closes.csv")
    assert "with freq B, bars are weekdays" in "".join(read(path).notes)
    history = read(path, freq="B")
    assert history.changes == ()
    spec, forecasts = forecasts_of(history, 5)
    assert spec.season == (5,)
    assert (forecasts.ds.dt.day_of_week < 5).all()
    ended = forecasts[forecasts.cutoff == forecasts.cutoff.max()]
    assert len(ended) >= 5


@pytest.mark.parametrize("clock", ["00:00", "09:30", "23:00"])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_a_model_of_weekdays_knows_which_of_its_bars_are_holidays(zone: str, clock: str) -> None:
    days = pd.bdate_range(f"2022-01-03 {clock}", "2024-06-28 23:59", tz=zone, normalize=False)
    calendar = holidays.country_holidays("US", years=range(2022, 2025))
    off = np.array([day in calendar for day in days.date])
    assert 20 < off.sum() < 40
    history = read(frame_of(days), freq="B", timezone=zone)
    spec = default_spec(history, 5, season=5, timezone=zone, holidays="US")
    assert spec.targets is not None
    assert spec.online is not None
    assert spec.online.network_on_days_off
    seen = sequences(history, spec)
    feature = features.names(spec).index("day off")
    np.testing.assert_array_equal(seen.scales[0].x_JF[:, feature], off)
    at = np.arange(200, 500)
    target_bars = seen.target_bars(at)
    assert target_bars is not None
    kinds, weekdays = features.target_tables(spec, spec.targets)[:2]
    ahead = at[:, None] + np.arange(1, 6)
    np.testing.assert_array_equal(target_bars[1][..., 1] == kinds + weekdays - 1, off[ahead])


def test_holidays_that_all_lie_on_weekends_leave_a_model_of_weekdays_as_wide_as_it_is() -> None:
    history = read(frame_of(pd.bdate_range("2022-01-03", periods=300)), freq="B")
    spec = default_spec(history, 5, season=5, holidays="US")
    assert spec.targets is not None
    saturday = spec.targets.local.model_copy(update={"days_off": (19_000,)})
    spec = spec.model_copy(update={"targets": spec.targets.model_copy(update={"local": saturday})})
    seen = sequences(history, spec).scales[0].x_JF[:, features.names(spec).index("day off")]
    assert (seen == 0.0).all()


def test_holidays_of_longer_bars_are_refused_and_a_season_may_be_a_year() -> None:
    history = read(case("01-monthly/month_start.csv"))
    with pytest.raises(HistoryError, match="holidays are days, and bars of 1 month are longer: leave them out"):
        default_spec(history, 2, holidays="US")
    assert default_spec(history, 2, season="1y").season == (12,)
    with pytest.raises(HistoryError, match="season 1w is no whole number of bars of 1 month"):
        default_spec(history, 2, season="1w")


def test_a_model_of_months_reads_later_rows_on_its_own_table() -> None:
    history = read(case("01-monthly/month_end.csv"))
    series = default_spec(history, 2, "zero").series
    days = frame_of(["2024-01-31", "2024-02-29"])
    later = read(days, freq=series.freq, offset_ms=series.offset, calendar=series.calendar)
    assert columns(later, series).shape == (2, 1)
    with pytest.raises(HistoryError, match="the history has bars of 1d, the model of 1 month"):
        columns(read(frame_of(["2024-01-31", "2024-02-01"])), series)


@pytest.mark.parametrize(
    ("step", "rows"),
    [
        ("MS", "MS"), ("1 month", "MS"), ("ME", "ME"), ("QS-FEB", "QS-FEB"), ("YE", "YE"), ("W-WED", "W-WED"),
        ("B", "B"), ("D", "D"), ("2h", "2h"), ("5T", "5min"),
    ],
)  # fmt: skip
def test_a_model_reads_rows_by_the_name_that_its_bars_were_given(step: str, rows: str) -> None:
    frame = frame_of(pd.date_range("2020-01-01", periods=60, freq=rows))
    history = read(frame, freq=step)
    spec, names = default_spec(history, 2, "zero"), {"id_col": "unique_id", "time_col": "ds", "target_col": "y"}
    for freq in (step, history.freq_ms, None):
        again = read_as(spec, frame, freq=freq, **names)
        assert again.grid == history.grid == spec.series.grid
    with pytest.raises(HistoryError, match=r"^freq is 17s, and the model has bars of .*: leave freq out$"):
        read_as(spec, frame, freq="17s", **names)


def test_daily_series_beside_hourly_ones_are_said() -> None:
    history = read(case("34-mixed-freq/both.csv"))
    assert history.freq_ms == HOUR
    assert "2 of 3 series have longer steps than bars of 1h, such as 'daily0' with 1d" in changed(history)


def test_hourly_series_beside_daily_ones_lose_rows_and_it_is_said() -> None:
    history = read(case("34-mixed-freq/both.csv"), freq="1d")
    assert "rows share a bar of 1d with an earlier row of their series, and the first counts" in changed(history)


def test_the_same_is_said_of_rows_for_an_existing_model() -> None:
    days, quarters = frame_of(START + DAY * np.arange(30)), frame_of(START + HOUR // 4 * np.arange(28))
    found = read(days, freq="1h", offset_ms=0)
    assert "rows are 1d apart, and bars are 1h: the bars between count as missing. Give rows of every 1h" in changed(
        found
    )
    assert "21 of 28 rows share a bar of 1h with an earlier row" in changed(read(quarters, freq="1h", offset_ms=0))
    assert read(quarters, freq="1h", offset_ms=0, ticks=True).changes == ()
    with pytest.raises(HistoryError, match="median step between rows is 1d, and the model has bars of 1h: no row"):
        refuse_longer_steps(found.series_N, found.ts_N, found.grid)


def test_rows_of_some_bars_can_be_scored() -> None:
    random = np.random.default_rng(0)
    hours = START + (np.arange(30)[:, None] * DAY + np.arange(7, 17) * HOUR).ravel()
    irregular = START + random.integers(HOUR // 10, 8 * HOUR, size=200).cumsum()
    single = START + DAY * np.arange(30)
    for ts_N in (hours, irregular, np.concatenate([single, single + HOUR]), hours[:1]):
        refuse_longer_steps(np.zeros(len(ts_N), np.int32), np.sort(ts_N), Grid(HOUR))
    beside = read(pd.concat([frame_of(single), frame_of(hours).assign(unique_id="b")]), freq="1h", offset_ms=0)
    refuse_longer_steps(beside.series_N, beside.ts_N, beside.grid)
    months = read(frame_of(pd.date_range("2020-01-31", periods=30, freq="ME")))
    refuse_longer_steps(months.series_N, months.ts_N, months.grid)


def test_business_days_and_opening_hours_are_no_other_steps() -> None:
    assert read(case("04-business-days/closes.csv")).changes == ()
    hours = START + (np.arange(30)[:, None] * DAY + np.arange(7, 17) * HOUR).ravel()
    assert read(frame_of(hours)).changes == ()


def test_a_year_of_weeks_is_a_season_and_said() -> None:
    history = read(case("02-weekly/mondays.csv"))
    spec = default_spec(history, 8)
    assert spec.season == (52,)
    assert season_notes(history, spec) == ("a season of 52 bars stands for a year",)


@pytest.mark.parametrize(("weeks", "bars"), [(2, 26), (4, 13)])
def test_a_year_of_fortnights_or_of_four_weeks_is_a_season_and_said(weeks: int, bars: int) -> None:
    place = np.arange(8 * bars)
    rows = frame_of(START + place * weeks * 7 * DAY).assign(y=np.sin(2 * np.pi * place / bars))
    spec = default_spec(read(rows), 2)
    assert spec.season == (bars,)
    assert season_notes(read(rows), spec) == (f"a season of {bars} bars stands for a year",)


def test_a_year_of_weeks_is_what_forecasts_are_compared_with() -> None:
    history = read(case("02-weekly/mondays.csv"))
    spec = default_spec(history, 8, "zero")
    model = Model(spec, new_network(spec), "m")
    mae = {row["forecaster"]: row["mae"] for row in backtest(model, history, int(history.ts_N[-1]) - 365 * DAY).rows()}
    assert mae["seasonal naive"] < 0.5 * mae["last value"]
    assert mae["m"] < mae["seasonal naive"]


def test_a_year_of_one_bar_is_no_season() -> None:
    history = read(case("01-monthly/year.csv"))
    notes = season_notes(history, default_spec(history, 2))
    assert len(notes) == 1
    assert "no season was found" in notes[0]


def test_a_period_that_is_no_whole_number_of_bars_is_said() -> None:
    odd, long = (read(frame_of(START + np.arange(400) * step)) for step in (25 * 60_000, HOUR))
    said = season_notes(odd, default_spec(odd, 8))
    assert any("a day is no whole number of bars of 25min and was not tried" in note for note in said)
    assert season_notes(long, default_spec(long, 8)) == ()


@pytest.mark.parametrize(
    ("rows", "step", "season"),
    [(30, HOUR, "1 day (24 bars)"), (18, DAY, "1 week (7 bars)"), (136, 7 * DAY, "52 weeks (52 bars)")],
)
def test_a_season_that_the_history_holds_less_than_three_times_is_named_and_may_be_given(
    rows: int, step: int, season: str
) -> None:
    """170 weeks of a yearly wave had no season, since training left out the last fifth: four times the error."""
    bars = int(season.split("(")[1].split(maxsplit=1)[0])
    history = read(frame_of(START + np.arange(rows) * step).assign(y=np.sin(2 * np.pi * np.arange(rows) / bars)))
    spec = default_spec(history, 4)
    assert spec.season == (1,)
    said = f"One of {season} was not tried, because the {rows} bars to train on do not hold it three times"
    assert said in season_notes(history, spec)[0]
    assert f"give season {bars}; without it, seasonal naive repeats the last value" in season_notes(history, spec)[0]
    assert default_spec(history, 4, season=bars).season == (bars,)


def test_a_history_that_does_not_hold_a_season_once_is_not_told_to_name_it() -> None:
    history = read(frame_of(START + np.arange(6) * DAY))
    assert "or the history holds none three times" in season_notes(history, default_spec(history, 2))[0]


@pytest.mark.parametrize(
    ("season", "said"), [(365, "season of 365 days (365 bars) is"), (40, None), ([7, 365, 99], "")]
)
def test_seasons_longer_than_the_history_are_said(season: int | list[int], said: str | None) -> None:
    history = read(frame_of(START + np.arange(40) * DAY).assign(y=np.arange(40.0)))
    notes = long_notes(history, default_spec(history, 2, season=season))
    if said is None:
        assert notes == ()
        return
    said = said or "seasons of 365 days (365 bars) and 99 days (99 bars) are"
    assert notes[0].startswith(f"the {said} longer than the history (40 bars), so no value of an earlier one is known")


def test_a_sensor_that_jitters_has_the_bars_that_people_mean_and_loses_nothing() -> None:
    history = read(case("05-jitter/temperature.csv.gz"))
    spec = default_spec(history, 6)
    assert history.freq_ms == 20 * 60_000
    assert spec.season[0] == 72
    assert history.changes == ()
    grid = panel(history, spec.series)
    assert np.isfinite(grid.y_KT).sum() == len(history) == grid.y_KT.size


def test_readings_that_share_a_bar_are_counted_and_a_regular_odd_step_is_kept() -> None:
    random = np.random.default_rng(0)
    times = START + np.arange(300) * 600_247 + random.integers(-9_000, 9_000, 300)
    history = read(frame_of(times))
    assert history.freq_ms == 600_000
    assert read(frame_of(START + np.arange(300) * 1_200_247)).freq_ms == 1_200_247
    assert "rows share a bar of 30min with an earlier row" in changed(read(frame_of(times), freq="30min"))


@pytest.mark.parametrize("length", [7_000, 180_000, 45_000, 90_000, 25 * HOUR])
def test_steps_that_scatter_are_bars_of_whole_seconds_minutes_or_hours(length: int) -> None:
    """Around 7 s they were bars of 7022ms."""
    random = np.random.default_rng(0)
    ts_N = START + np.arange(500) * length + random.integers(0, length // 50, 500)
    assert read(frame_of(ts_N)).freq_ms == length


@pytest.mark.parametrize(
    ("times", "form", "said"),
    [
        (
            ["31.01.2026 23:00", "31.01.2026 24:00", "01.02.2026 01:00"], "%d.%m.%Y %H:%M",
            "'31.01.2026 24:00' in row 2 is not of the form of time_format %d.%m.%Y %H:%M",
        ),
        (["31.01.2026 - 1", "01.02.2026 - 1"], "%d.%m.%Y %H:%M", "with all of their parts, or clean the column"),
    ],
)  # fmt: skip
def test_the_form_that_does_not_read_times_is_not_recommended(times: list[str], form: str, said: str) -> None:
    with pytest.raises(HistoryError) as refused:
        read(pd.DataFrame({"ds": times, "y": 1.0}), id_col=None, time_format=form)
    assert said in str(refused.value)
    assert f"such as {form}" not in str(refused.value)


def test_steps_longer_than_the_given_bars_ask_for_another_freq() -> None:
    hours = frame_of(START + HOUR * np.arange(30))
    said = "rows are 1h apart, and bars are 15min: the bars between count as missing. Give freq 1h, or leave it out"
    assert changed(read(hours, freq="15min")) == said


def test_rows_beside_the_bars_of_a_model_are_said() -> None:
    """Their forecasts would not join them."""
    half_past = frame_of(START + HOUR // 2 + HOUR * np.arange(30))
    assert "no row lies at the start of its bar of 1h, all lie 30min after it" in changed(
        read(half_past, freq="1h", offset_ms=0)
    )
    assert read(half_past, freq="1h", offset_ms=HOUR // 2).changes == ()
    jitter = frame_of(START + HOUR * np.arange(30) + np.arange(30))
    found = read(jitter, freq="1h", offset_ms=0)
    assert "29 of 30 rows do not lie at the start of their bar of 1h: forecasts carry the starts of bars" in found.notes
    assert found.changes == ()


def places_said(*minutes_of_series: float) -> list[str]:
    """Return the notes on rows after the starts of bars, of series so many minutes after the hour."""
    series = [
        frame_of(START + minutes * 60_000 + HOUR * np.arange(40)).assign(unique_id=f"s{number}")
        for number, minutes in enumerate(minutes_of_series)
    ]
    return [note for note in read(pd.concat(series)).notes if "rows after the starts of bars" in note]


def test_series_whose_rows_lie_beside_the_bars_of_others_are_said_before_a_model_has_these_bars() -> None:
    (said,) = places_said(0, 0, 30)
    assert said.startswith("1 of 3 series has rows after the starts of bars of 1h, such as 's2' with 30min: forecasts")
    assert said.endswith("a model of their own; or give freq 30min: the bars between then count as missing, as a"
                         " warning will say")  # fmt: skip
    (said,) = places_said(0, 0, 15, 30)
    assert said.startswith("2 of 4 series have rows")
    assert "or give freq 15min" in said
    (said,) = places_said(0, 0, 7)
    assert said.endswith("Give these series a file and a model of their own")
    assert places_said(30, 30) == []


def test_readings_that_scatter_are_not_said_to_lie_beside_their_bars() -> None:
    """They have no place of their own, so that no other bars would be theirs."""
    random = np.random.default_rng(1)
    late = frame_of(START + HOUR * np.arange(400) + random.integers(0, 40_000, 400))
    minutes = frame_of(START + HOUR * np.arange(400) + random.integers(0, 3, 400) * 60_000).assign(unique_id="b")
    for frame in (late, minutes, jittered(), pd.concat([late, minutes])):
        assert not any("rows after the starts of bars" in note for note in read(frame).notes)


def jittered() -> pd.DataFrame:
    """Readings of a sensor about ten seconds apart, of which some fall into the bar of the one before."""
    steps = np.random.default_rng(0).normal(10_000, 400, 5_000)
    return frame_of(START + np.cumsum(steps).astype(np.int64))


def test_readings_that_scatter_over_bars_are_not_told_to_take_bars_half_as_long() -> None:
    said = changed(read(jittered()))
    assert "rows share a bar of 10s with an earlier row" in said
    assert said.endswith("the first counts: a model trained with ticks and freq 10s uses all")
    assert changed(read(jittered(), freq="10s", ticks=True)) == ""
    quarters = frame_of(START + np.arange(400) * HOUR // 4)
    assert changed(read(quarters, freq="1h")).endswith("a model trained with a shorter freq, or with ticks, uses all")


def test_the_bar_length_that_is_advised_is_the_one_that_would_be_guessed() -> None:
    said = changed(read(jittered(), freq="4s"))
    assert "the bars between count as missing. Give freq 10s, or leave it out" in said
