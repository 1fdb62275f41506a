"""Files as people have them: the inputs of ``shared/cases``, and their neighbours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness import SHARED_DATA
from streamcast.errors import HistoryError
from streamcast.offline.history.read import History, read

CASES = SHARED_DATA.parent / "cases"
START = 1_735_689_600_000  # 2025-01-01T00:00Z
HOUR, DAY = 3_600_000, 86_400_000


def case(name: str) -> Path:
    """Return the path of one input; skips without the folder."""
    if not CASES.is_dir():
        pytest.skip(f"{CASES} is absent")
    return CASES / name


def said(history: History) -> str:
    return "\n".join(history.notes)


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
    assert "2 values that are infinite or beyond ±1e+100 were read as missing" in history.notes
