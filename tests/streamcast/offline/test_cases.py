"""Files as people have them: the inputs of ``shared/cases``, and their neighbours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness import SHARED_DATA
from streamcast.errors import HistoryError
from streamcast.offline.history.bars import panel
from streamcast.offline.history.polls import columns
from streamcast.offline.history.read import History, read
from streamcast.offline.training.defaults import default_spec, season_notes

CASES = SHARED_DATA.parent / "cases"
START = 1_735_689_600_000  # 2025-01-01T00:00Z
HOUR, DAY = 3_600_000, 86_400_000


def case(name: str) -> Path:
    """Return the path of one input; skips without the folder."""
    if not CASES.is_dir():
        pytest.skip(f"{CASES} is absent")
    return CASES / name


def changed(history: History) -> str:
    return "\n".join(history.changes)


def frame_of(ds: object, **columns: object) -> pd.DataFrame:
    """Return a frame of one series."""
    return pd.DataFrame({"unique_id": "a", "ds": ds, "y": 1.0, **columns})


# -- 09, 13: times in another unit and other forms -----------------------------------------------------------------


@pytest.mark.parametrize("unit", ["seconds", "float_seconds", "millis", "micros"])
def test_the_unit_of_numeric_times_is_recognised_and_said(unit: str) -> None:
    history = read(case(f"09-numbers-as-times/{unit}.csv"))
    assert history.freq_ms == HOUR
    np.testing.assert_array_equal(history.ts_N, START + np.arange(960) * HOUR)
    word = {"millis": "milliseconds", "micros": "microseconds"}.get(unit, "seconds")
    assert f"numeric times were read as epoch {word}: 2025-01-01 00:00 to 2025-02-09 23:00 UTC" in history.notes


def test_nanoseconds_and_a_fraction_of_a_second_are_times_too() -> None:
    y = [1.0, 2.0]
    nanos = read(pd.DataFrame({"ds": [START * 10**6, (START + HOUR) * 10**6], "y": y}), id_col=None)
    np.testing.assert_array_equal(nanos.ts_N, [START, START + HOUR])
    halves = read(pd.DataFrame({"ds": [START / 1000, START / 1000 + 0.5], "y": y}), id_col=None)
    np.testing.assert_array_equal(halves.ts_N, [START, START + 500])


@pytest.mark.parametrize(("name", "form"), [("counter", None), ("yyyymmdd", "%Y%m%d"), ("years", "%Y")])
def test_numbers_that_are_no_epoch_name_the_remedy_and_it_works(name: str, form: str | None) -> None:
    path = case(f"09-numbers-as-times/{name}.csv")
    with pytest.raises(HistoryError, match=r"are no epoch seconds, .* give time_format \(--time-format\)"):
        read(path)
    if form is not None:
        assert pd.Timestamp(int(read(path, time_format=form, freq="1d").ts_N[0]), unit="ms").is_year_start


@pytest.mark.parametrize("name", ["basic_z", "hour_z", "nanos_z", "utc_word"])
def test_every_form_of_utc_is_read(name: str) -> None:
    np.testing.assert_array_equal(read(case(f"13-iso-basic/{name}.csv")).ts_N[:2], [START, START + HOUR])


def test_an_offset_counts_and_a_zone_by_its_word_is_refused() -> None:
    assert read(case("13-iso-basic/offset_0100.csv")).ts_N[0] == START - HOUR
    with pytest.raises(HistoryError, match=r"CET.* expected ISO 8601.*\+01:00; give time_format"):
        read(case("13-iso-basic/cet_word.csv"))


@pytest.mark.parametrize("form", ["20250101T00+01", "20250101T000000+0100", "2025-01-01 00:00:00+01:00"])
def test_an_offset_is_read_in_the_basic_form_too(form: str) -> None:
    frame = pd.DataFrame({"ds": [form, form.replace("T00", "T01").replace(" 00", " 01")], "y": [1.0, 2.0]})
    assert read(frame, id_col=None).ts_N[0] == START - HOUR


def test_a_date_without_a_time_has_no_zone() -> None:
    history = read(pd.DataFrame({"ds": ["2025-01-01", "2025-01-02"], "y": [1.0, 2.0]}), id_col=None)
    assert "times without a zone were read as UTC" in history.notes


@pytest.mark.parametrize("name", ["oldest_first", "newest_first"])
def test_the_repeated_hour_is_read_in_the_order_of_the_file(name: str) -> None:
    history = read(case(f"35-dst/{name}.csv"), timezone="Europe/Berlin")
    np.testing.assert_array_equal(history.values_NC[:, 0], np.arange(len(history)))
    assert (np.diff(history.ts_N) == HOUR).all()
    assert history.changes == ()


@pytest.mark.parametrize("timezone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_the_first_and_the_last_year_are_times_or_a_message(timezone: str) -> None:
    for when in ("0001-01-01", "9999-12-31 23:59"):
        with pytest.raises(HistoryError):
            read(frame_of([when, "2025-01-01 00:00", "2025-01-01 00:01"]), timezone=timezone, freq="1min")


# -- 36: a clock that was not set ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "when"), [("year_9999", "9999-12-31"), ("epoch_zero", "1970-01-01"), ("year_1", "0001-01-01")]
)
def test_a_row_of_a_clock_that_was_not_set_is_named(name: str, when: str) -> None:
    with pytest.raises(HistoryError, match=f"'tag03' has a row at {when} 00:00:00, far from the others") as error:
        read(case(f"36-sentinel/{name}.csv.gz"))
    assert "1 rows lie beyond" in str(error.value)


def test_years_beyond_9999_are_a_message() -> None:
    with pytest.raises(HistoryError, match=r"99999-01-01 .*expected ISO 8601"):
        read(pd.DataFrame({"ds": ["99999-01-01", "2025-01-01"], "y": [1.0, 2.0]}), id_col=None)


def test_a_long_history_with_a_row_for_most_bars_is_no_such_clock() -> None:
    sparse = pd.DataFrame({"ds": START + np.arange(60) * 5_000 * HOUR, "y": 1.0})
    assert len(read(sparse, id_col=None, freq="1h")) == 60


# -- 12: huge values ----------------------------------------------------------------------------------------------


def test_a_value_that_the_service_refuses_is_missing_and_it_is_said() -> None:
    frame = pd.DataFrame({"ds": START + np.arange(4) * HOUR, "y": [1.0, 1e200, -np.inf, 2.0]})
    history = read(frame, id_col=None)
    np.testing.assert_array_equal(history.values_NC[:, 0], [1, np.nan, np.nan, 2])
    assert "2 values that are infinite or beyond ±1e+100 were read as missing" in history.changes


# -- 27, 37: corrections, ids, indexes, parts ---------------------------------------------------------------------


def test_of_corrections_the_last_counts_and_they_are_counted() -> None:
    history = read(case("27-corrections/first_zero_then_right.csv"))
    assert len(history) == 960
    assert history.values_NC[-1, 0] == 35.09
    assert "960 of 1,920 rows have the series and time of a later row and are left out" in changed(history)


def test_a_correction_in_another_place_of_the_file_counts_and_ticks_are_all_kept() -> None:
    frame = frame_of([START, START + HOUR, START], value=[1.0, 2.0, 3.0])
    np.testing.assert_array_equal(read(frame, target_col="value", columns=[]).values_NC[:, 0], [3, 2])
    assert len(read(frame, freq="1h", ticks=True)) == 3


@pytest.mark.parametrize("name", ["by_country", "by_region"])
def test_the_word_na_is_a_name_as_an_id_or_a_category(name: str) -> None:
    history = read(case(f"06-NA/{name}.csv"))
    names = history.keys if name == "by_country" else history.categories["region"]
    assert "NA" in names
    assert np.isfinite(history.values_NC).all()
    assert len(history.keys) == 3


def test_words_for_missing_are_missing_among_numbers_only(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text(
        "unique_id,ds,y,temp,kind\nnan,2025-01-01,NA,1.5,None\nnan,2025-01-02,2,null,x\nnan,2025-01-03,3,,\n"
    )
    history = read(path)
    assert history.keys == ("nan",)
    assert history.categories == {"kind": ("None", "x")}
    np.testing.assert_array_equal(history.values_NC, [[np.nan, 1.5, 0], [2, np.nan, 1], [3, np.nan, np.nan]])


def test_a_written_index_is_no_input_and_it_is_said() -> None:
    history = read(case("08-excel/with_index.csv"))
    assert history.columns == ("y", "temp")
    assert "'Unnamed: 0' is left out: it is a written index, not an input" in history.changes


def test_a_reset_index_is_no_input_but_a_column_of_that_name_is() -> None:
    times = START + np.arange(3) * HOUR
    assert read(frame_of(times).reset_index()).columns == ("y",)
    assert read(frame_of(times, index=[5, 6, 9])).columns == ("y", "index")
    assert read(frame_of(times).reset_index(), columns=["index"]).columns == ("y", "index")


@pytest.mark.parametrize("name", ["part", "ds_index", "multi", "decimal", "polars_tz", "date"])
def test_parquet_of_every_shape_keeps_its_ids(name: str) -> None:
    history = read(case(f"37-parquet/{name}.parquet"))
    assert history.keys == ("007", "8")
    assert ("920 of 960 rows have the series and time of a later row" in changed(history)) == (name == "date")


def test_whole_numbers_as_ids_have_no_decimal_point_and_lists_are_refused() -> None:
    assert read(case("37-parquet/float_id.parquet")).keys == ("7", "8") == read(case("37-parquet/int_id.parquet")).keys
    with pytest.raises(HistoryError, match=r"column 'tags' holds array.* expected numbers or texts"):
        read(case("37-parquet/list.parquet"))


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("semicolon_comma", "separates its columns by ';'.* save it with commas"),
        ("sep_line", "begins with the line 'sep=.*': remove it"),
        ("latin1", "is not UTF-8 .* save it as CSV in UTF-8"),
        ("utf16", "is not UTF-8 .* save it as CSV in UTF-8"),
        ("day_first", r"expected ISO 8601.*give time_format \(--time-format\)"),
        ("spaces", "has no column 'ds', did you mean ' ds '"),
    ],
)
def test_a_spreadsheets_file_is_refused_with_the_remedy(name: str, remedy: str) -> None:
    with pytest.raises(HistoryError, match=remedy):
        read(case(f"08-excel/{name}.csv"))


def test_a_byte_order_mark_and_a_day_first_are_read() -> None:
    assert read(case("08-excel/bom.csv")).keys == ("heat",)
    assert read(case("08-excel/day_first.csv"), time_format="%d/%m/%Y %H:%M").ts_N[0] == START


# -- 01, 02, 34: the grid comes from the data ---------------------------------------------------------------------


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


def test_a_days_bars_over_a_change_of_the_clock_lose_no_row() -> None:
    days = pd.date_range("2025-01-01", "2025-12-31", freq="D")
    history = read(frame_of(days), timezone="Europe/Berlin")
    assert history.freq_ms == DAY
    assert history.offset_ms == 22 * HOUR
    assert not history.changes


def test_a_longer_bar_than_the_steps_starts_at_midnight() -> None:
    hours = START + (np.arange(10)[:, None] * DAY + np.arange(9, 17) * HOUR).ravel()
    assert read(frame_of(hours), freq="1d").offset_ms == 0


@pytest.mark.parametrize(
    ("name", "word", "season"), [("month_start", "months", 12), ("month_end", "months", 12), ("quarter", "quarters", 4)]
)
def test_calendar_steps_are_refused_and_the_remedy_works(name: str, word: str, season: int) -> None:
    path = case(f"01-monthly/{name}.csv")
    for freq in (None, "31d"):
        with pytest.raises(HistoryError, match=f"the rows are {word} apart .* freq 1d --season {season}"):
            read(path, freq=freq)
    frame = pd.read_csv(path)
    frame["ds"] = pd.Timestamp("2000-01-01") + pd.to_timedelta(frame.groupby("unique_id").cumcount(), unit="D")
    history = read(frame, freq="1d")
    spec = default_spec(history, 12, season=season)
    assert (spec.season, history.changes) == ((season,), ())
    assert np.isfinite(panel(history, spec.series).y_KT).all()


def test_years_are_refused_and_four_weeks_or_thirty_days_are_a_bar() -> None:
    with pytest.raises(HistoryError, match="the rows are years apart"):
        read(case("01-monthly/year.csv"))
    for days in (28, 30):
        assert read(frame_of(START + np.arange(20) * days * DAY)).freq_ms == days * DAY


@pytest.mark.parametrize("freq", ["1MS", "3MS", "ME", "M", "Q", "QS", "1YE", "W-MON", "month"])
def test_a_calendar_frequency_is_refused_with_what_works(freq: str) -> None:
    with pytest.raises(
        HistoryError, match=f"freq: '{freq}' is a calendar step: .* only bars of one length, such as 1d"
    ):
        read(frame_of([START, START + HOUR]), freq=freq)
    assert read(frame_of([START, START + HOUR]), freq="60MIN").freq_ms == HOUR


def test_daily_series_beside_hourly_ones_are_said() -> None:
    history = read(case("34-mixed-freq/both.csv"))
    assert history.freq_ms == HOUR
    assert "2 of 3 series have longer steps than bars of 1h, such as 'daily0' with 1d" in changed(history)


def test_hourly_series_beside_daily_ones_lose_rows_and_it_is_said() -> None:
    history = read(case("34-mixed-freq/both.csv"), freq="1d")
    assert "rows share a bar of 1d with an earlier row of their series, and the first counts" in changed(history)


def test_business_days_and_opening_hours_are_no_other_steps() -> None:
    assert read(case("04-business-days/closes.csv")).changes == ()
    hours = START + (np.arange(30)[:, None] * DAY + np.arange(7, 17) * HOUR).ravel()
    assert read(frame_of(hours)).changes == ()


# -- 02b, 05: seasons and jitter ----------------------------------------------------------------------------------


def test_a_year_of_weeks_is_a_season_and_said() -> None:
    spec = default_spec(read(case("02-weekly/mondays.csv")), 8)
    assert spec.season == (52,)
    assert season_notes(spec) == ("season 52 stands for a year",)


def test_a_period_that_is_no_whole_number_of_bars_is_said() -> None:
    spec = default_spec(read(frame_of(START + np.arange(400) * 25 * 60_000)), 8)
    assert any("a day is no whole number of bars of 25min and was not tried" in note for note in season_notes(spec))
    short = default_spec(read(frame_of(START + np.arange(30) * HOUR)), 8)
    assert "no season was found" in season_notes(short)[0]
    assert season_notes(default_spec(read(frame_of(START + np.arange(400) * HOUR)), 8)) == ()


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


# -- 07, 17: numbers or categories --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("one_word", "'temp' is 'sensor error' in row 501, among 959 numbers"),
        ("decimal_comma", "'temp' has decimal commas, such as '11,1': write points"),
    ],
)
def test_a_column_of_numbers_with_other_marks_is_refused(name: str, message: str) -> None:
    with pytest.raises(HistoryError, match=message):
        read(case(f"07-number-or-text/{name}.csv"))


def test_dates_as_an_input_are_refused_and_codes_are_categories_and_said() -> None:
    times = START + np.arange(4) * HOUR
    with pytest.raises(HistoryError, match="column 'due' holds dates, such as '2025-01-01'"):
        read(frame_of(times, due=["2025-01-01", "2025-02-01", "2025-03-01", "2025-03-02"]))
    history = read(frame_of(times, kind=["1", "2", "A", None]))
    assert history.categories == {"kind": ("1", "2", "A")}
    assert "column 'kind' was read as 3 categories: '1', '2', 'A'" in history.notes


@pytest.mark.parametrize("kinds", [["1", "2", "1", "2"], [1, 2, 1, 2], [1.0, 2.0, 1.0, 2.0]])
def test_the_models_kind_decides_how_a_column_is_read(kinds: list[object]) -> None:
    times = START + np.arange(4) * HOUR
    series = default_spec(read(frame_of(times, kind=["A", "1", "2", "A"], holiday=["x", "", "y", "x"])), 1).series
    later = read(frame_of(times, kind=kinds, holiday=None), freq="1h", kinds=series.kinds)
    assert not any("unknown to the model" in note for note in later.notes)
    other = read(frame_of(times, kind=[1, 2, 3, 4], holiday="x"), freq="1h", kinds=series.kinds)
    assert "2 categories of column 'kind', such as '3', are unknown to the model" in other.notes
    np.testing.assert_array_equal(columns(later, series)[:, 1], [0, 1, 0, 1])
    assert np.isnan(columns(later, series)[:, 2]).all()


def test_a_word_in_a_column_of_a_models_numbers_is_refused() -> None:
    series = default_spec(read(case("07-number-or-text/clean.csv")), 1).series
    with pytest.raises(HistoryError, match="'temp' is 'sensor error' in row 501; expected a number"):
        read(case("07-number-or-text/one_word.csv"), kinds=series.kinds)


# -- 21: what was never observed ----------------------------------------------------------------------------------


def test_rows_without_a_target_at_the_end_and_series_without_any_are_said() -> None:
    times = START + np.arange(4) * HOUR
    known = read(frame_of(times).assign(y=[1.0, 2.0, np.nan, np.nan]))
    assert "the last 2 rows of 1 series have no target" in "\n".join(known.notes)
    never = pd.concat([frame_of(times), frame_of(times).assign(unique_id="b", y=np.nan)])
    assert "1 series, such as 'b', have no target at all" in changed(read(never))
