"""Times as people write them: units, forms, zones, hours that clocks repeat, clocks that were not set."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from streamcast.errors import HistoryError
from streamcast.offline.history.read import read
from tests.streamcast.offline.files.cases import DAY, HOUR, START, case, changed, frame_of


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
    with pytest.raises(HistoryError, match=r"are no epoch seconds, .* give time_format, such as %Y%m%d"):
        read(path)
    if form is not None:
        assert pd.Timestamp(int(read(path, time_format=form, freq="1d").ts_N[0]), unit="ms").is_year_start


def test_months_as_numbers_are_no_epoch() -> None:
    with pytest.raises(HistoryError, match=r"are no epoch seconds, .* write dates, such as 2026-01-31 13:00:00, or"):
        read(frame_of(202_501 + np.arange(12)))


@pytest.mark.parametrize("step", [1.0, 1 / 24])
def test_a_spreadsheets_day_numbers_name_the_remedy_and_it_works(step: float) -> None:
    df = frame_of(45_658 + step * np.arange(12))
    with pytest.raises(HistoryError, match=r"a spreadsheet's day numbers: 45658.0 is 2025-01-01 00:00:00") as refused:
        read(df)
    remedy = str(refused.value).split("such as with ")[1]
    assert read(df.assign(ds=eval(remedy, {"pd": pd, "df": df}))).ts_N[:2].tolist() == [START, START + step * DAY]


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


@pytest.mark.parametrize(
    ("name", "when"), [("year_9999", "9999-12-31"), ("epoch_zero", "1970-01-01"), ("year_1", "0001-01-01")]
)
def test_a_row_of_a_clock_that_was_not_set_is_named(name: str, when: str) -> None:
    with pytest.raises(HistoryError, match=f"'tag03' has a row at {when} 00:00:00, far from the others") as error:
        read(case(f"36-sentinel/{name}.csv.gz"))
    assert "1 row beyond" in str(error.value)


@pytest.mark.parametrize("when", ["1970-01-01", "2035-01-01", "2125-01-01"])
@pytest.mark.parametrize("freq", ["h", "D"])
def test_a_row_of_such_a_clock_among_few_bars_is_said(when: str, freq: str) -> None:
    days = pd.date_range("2025-01-01", periods=200, freq=freq)
    if freq == "D":
        assert changed(read(frame_of(days.append(days[-1:] + pd.Timedelta(days=60))))) == "", "a pause is no such clock"
        when = when.replace("2035", "2055")
    assert f"series 'a' has a row at {when} 00:00:00, far from the others (1 row beyond 2025-" in changed(
        read(frame_of(days.append(pd.DatetimeIndex([when]))))
    )


def test_bars_much_shorter_than_all_steps_are_no_fault_of_a_clock() -> None:
    hours = pd.date_range("2025-01-01", periods=200, freq="h")
    said = (
        "716,400,001 bars of 1ms would lie between 2025-01-01 00:00:00 and 2025-01-09 07:00:00, and there are 200 rows"
    )
    with pytest.raises(HistoryError, match=f"^{said}: train with a longer freq"):
        read(frame_of(hours), freq=1)


def test_years_beyond_9999_are_a_message() -> None:
    with pytest.raises(HistoryError, match=r"99999-01-01 .*expected ISO 8601"):
        read(pd.DataFrame({"ds": ["99999-01-01", "2025-01-01"], "y": [1.0, 2.0]}), id_col=None)


def test_a_long_history_with_a_row_for_most_bars_is_no_such_clock() -> None:
    sparse = pd.DataFrame({"ds": START + np.arange(60) * 5_000 * HOUR, "y": 1.0})
    assert len(read(sparse, id_col=None, freq="1h")) == 60


def test_rows_of_the_hour_that_clocks_repeat_ask_for_the_zone() -> None:
    """They asked for ticks, and an hour of every series was left out."""
    times = pd.date_range("2025-10-20", "2025-11-03", freq="15min", tz="Europe/Berlin")
    local = frame_of(times.tz_localize(None))
    said = "They are from the hour that clocks repeat in Europe/Berlin: if times are local, give timezone"
    assert said in changed(read(local))
    assert changed(read(local, timezone="Europe/Berlin")) == ""
    assert said not in changed(read(pd.concat([local, local.tail(1)])))
    zoned = frame_of(times.tz_localize(None).tz_localize("UTC"))
    assert said not in changed(read(zoned))


@pytest.mark.parametrize("wrong", ["Summe", "2026-01-03 24:00"])
def test_the_one_text_that_is_no_time_among_others_is_named(wrong: str) -> None:
    with pytest.raises(HistoryError, match=f"'{wrong}' in row 3 is not ISO 8601 .*, as 2 others are: write all times"):
        read(frame_of(["2026-01-01 00:00", "2026-01-02 00:00", wrong]))
