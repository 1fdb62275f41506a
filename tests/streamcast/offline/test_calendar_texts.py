"""Texts of quarters, months, weeks and intervals are read as their start; other ways to name a day are recognised."""

from __future__ import annotations

import pandas as pd
import pytest

from streamcast import Forecaster
from streamcast.errors import HistoryError
from streamcast.offline.history.read import read


def frame(*times: str) -> pd.DataFrame:
    """Return a series with these times."""
    return pd.DataFrame({"ds": list(times), "y": [float(place) for place in range(len(times))]})


@pytest.mark.parametrize(
    ("times", "found", "kind"),
    [
        (["2024Q3", "2024Q4", "2025Q1"], ["2024-07-01", "2024-10-01", "2025-01-01"], "quarters: 2024Q3"),
        (["2024-Q3", "2024-q4"], ["2024-07-01", "2024-10-01"], "quarters: 2024-Q3"),
        (["Q3 2024", "Q4/2024"], ["2024-07-01", "2024-10-01"], "quarters: Q3 2024"),
        (["2024M11", "2024-M12", "2025M01"], ["2024-11-01", "2024-12-01", "2025-01-01"], "months: 2024M11"),
        (["2024-W52", "2025-W01", "2025-W02"], ["2024-12-23", "2024-12-30", "2025-01-06"], "weeks: 2024-W52"),
        (["2020W53", "2021-W01-1"], ["2020-12-28", "2021-01-04"], "weeks: 2020W53"),
        (["2024-01-01/2024-01-07", "2024-01-08/2024-01-14"], ["2024-01-01", "2024-01-08"], "intervals: 2024-01-01/"),
    ],
)  # fmt: skip
def test_a_span_of_the_calendar_is_its_start_and_it_is_said(times: list[str], found: list[str], kind: str) -> None:
    history = read(frame(*times), id_col=None)
    assert pd.to_datetime(history.ts_N, unit="ms").strftime("%Y-%m-%d").tolist() == found
    assert any(note.startswith(f"times are {kind}") and found[0] in note for note in history.notes)


@pytest.mark.parametrize("freq", ["W-SUN", "W-WED", "Q", "M"])
def test_periods_that_were_written_to_a_file_are_read_as_those_of_the_frame(freq: str) -> None:
    periods = pd.period_range("2023-01-01", periods=30, freq=freq)
    whole = pd.DataFrame({"ds": periods, "y": range(30)})
    written = whole.assign(ds=whole["ds"].astype(str))
    assert read(written, id_col=None).ts_N.tolist() == read(whole, id_col=None).ts_N.tolist()


def test_a_zone_holds_for_spans_too() -> None:
    history = read(frame("2024Q1", "2024Q2"), id_col=None, timezone="Europe/Berlin")
    assert pd.Timestamp(history.ts_N[0], unit="ms") == pd.Timestamp("2023-12-31 23:00")


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (["2024Q1", "2024Q7"], "'2024Q7' in row 2 is no quarter, as '2024Q1' is"),
        (["2024-W05", "2024-02-05"], "'2024-02-05' in row 2 is no week, as '2024-W05' is"),
        (["2023-W53", "2024-W01"], "53"),
        (["2024-01-08/2024-01-01", "2024-01-15/2024-01-08"], "an interval ends before it begins"),
        (["2024-W5", "2024-W6"], "'2024-W5' is a week: write it as ISO 8601 does"),
        (["KW 5 2024", "KW 6 2024"], "'KW 5 2024' is a week"),
        (["2024-H1", "2024-H2"], "'2024-H1' is half a year: write its first day"),
        (["Monday", "Tuesday"], "'Monday' is a day of the week without a date"),
        (["Montag", "Dienstag"], "'Montag' is a day of the week without a date"),
        (["lun.", "mar."], "'lun.' is a day of the week without a date"),
        (["March", "April"], "'March' is a month without its year"),
        (["13:00", "14:00"], "'13:00' is a time of day without its date: join both in one column"),
        (["3. März 2024", "4. März 2024"], "'3. März 2024' is a date with its month as a word, .*: .* 2024-03-03$"),
        (["15 août 2024 9:00", "15 août 2024 10:00"], "'15 août 2024 9:00' .* write it in digits, 2024-08-15 09:00$"),
        (["mar. 4 juin 2024", "mer. 5 juin 2024"], "write it in digits, 2024-06-04$"),
        (["Mo 03.06.2024", "Di 04.06.2024"], "'Mo 03.06.2024' is a date with a day of the week"),
        (
            ["2024-01-01 22:00", "2024-01-01 23:00", "2024-01-01 24:00"],
            "'2024-01-01 24:00' in row 3 .*write 2024-01-02 00:00",
        ),
    ],
)
def test_what_is_not_read_is_named_with_what_it_is_and_what_to_write(times: list[str], message: str) -> None:
    with pytest.raises(HistoryError, match=message) as raised:
        read(frame(*times), id_col=None, freq="1d")
    assert "column 'ds'" in str(raised.value)


@pytest.mark.parametrize(
    ("times", "form"),
    [
        (["Mon, 03 Jun 2024 13:00", "Mon, 03 Jun 2024 14:00"], "%a, %d %b %Y %H:%M"),
        (["Monday 3.6.2024", "Tuesday 4.6.2024"], "%A %d.%m.%Y"),
        (["01/2024", "02/2024"], "%m/%Y"),
        (["202401", "202402"], "%Y%m"),
        (["Jan-24", "Feb-24"], "%b-%y"),
    ],
)
def test_a_form_with_a_day_of_the_week_or_without_a_day_is_named_and_reads(times: list[str], form: str) -> None:
    with pytest.raises(HistoryError, match="time_format") as raised:
        read(frame(*times), id_col=None, freq="1h")
    assert form in str(raised.value)
    assert len(read(frame(*times), id_col=None, freq="1h", time_format=form)) == 2


def test_a_live_value_may_have_the_time_of_a_span_as_the_rows_had() -> None:
    rows = frame(*map(str, pd.period_range("2010Q1", periods=40, freq="Q")))
    live = Forecaster("zero", 2, id_col=None).fit(rows).stream(rows)
    assert live.update("y", "2020Q1", 5.0)
