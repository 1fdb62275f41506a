"""What a person who brings a file can rely on."""

import gzip
import io
import itertools
import re
import subprocess
import sys
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import orjson
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamcast.errors import HistoryError
from streamcast.offline.history.read import cuts, instant_ms, read, split
from streamcast.offline.history.records import records

HOUR = 3_600_000
START = 1_767_225_600_000  # 2026-01-01T00:00Z

FRAME = pd.DataFrame(
    {
        "unique_id": ["b", "a", "a", "b"],
        "ds": ["2026-01-01 01:00", "2026-01-01 01:00", "2026-01-01 00:00", "2026-01-01 00:00"],
        "y": [4.0, 2.0, 1.0, None],
        "wind": ["N", None, "E", "N"],
    }
)


def _csv(folder: Path, text: str, name: str = "data.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_come_in_order_of_time_then_series() -> None:
    history = read(FRAME)
    assert history.keys == ("a", "b")
    assert history.columns == ("y", "wind")
    assert history.categories == {"wind": ("E", "N")}
    np.testing.assert_array_equal(history.series_N, [0, 1, 0, 1])
    np.testing.assert_array_equal(history.ts_N, START + np.array([0, 0, 1, 1]) * HOUR)
    np.testing.assert_array_equal(history.values_NC, [[1, 0], [np.nan, 1], [2, np.nan], [4, 1]])


def test_csv_gzip_parquet_and_a_data_frame_read_the_same(tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "data.csv", index=False)
    (tmp_path / "data.csv.gz").write_bytes(gzip.compress((tmp_path / "data.csv").read_bytes()))
    FRAME.to_parquet(tmp_path / "data.parquet")
    want = list(records(read(FRAME)))
    assert [list(records(read(tmp_path / name))) for name in ("data.csv", "data.csv.gz", "data.parquet")] == [want] * 3


def test_reading_does_not_change_the_callers_data_frame() -> None:
    before = FRAME.copy()
    read(FRAME)
    pd.testing.assert_frame_equal(FRAME, before)


def test_records_are_input_messages_with_null_for_missing_and_names_for_categories() -> None:
    first, second = list(records(read(FRAME)))[:2]
    assert (first.key, first.timestamp_ms) == (b"a", START)
    assert orjson.loads(first.value) == {"key": "a", "ts": START, "values": [1.0, "E"]}
    assert orjson.loads(second.value) == {"key": "b", "ts": START, "values": [None, "N"]}


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "é", "x y", "<b>"]),
            st.integers(0, 50),
            st.none() | st.floats(-1e100, 1e100),
            st.none() | st.sampled_from(["N", "SW", "ö"]),
        ),
        min_size=1,
        unique_by=lambda row: row[:2],
    ).filter(lambda rows: any(wind is not None for *_, wind in rows))
)
def test_what_is_written_as_records_is_what_was_read(rows: list[tuple[str, int, float | None, str | None]]) -> None:
    frame = pd.DataFrame(
        {
            "unique_id": [key for key, *_ in rows],
            "ds": [pd.Timestamp(START + bar * HOUR, unit="ms") for _, bar, *_ in rows],
            "y": np.array([y for *_, y, _ in rows], np.float64),
            "wind": pd.Series([wind for *_, wind in rows], dtype=object),
        }
    )
    got = [orjson.loads(record.value) for record in records(read(frame, freq="1h"))]
    want = sorted(rows, key=lambda row: (row[1], row[0]))
    assert got == [{"key": key, "ts": START + bar * HOUR, "values": [y, wind]} for key, bar, y, wind in want]


def test_ids_keep_their_leading_zeros(tmp_path: Path) -> None:
    path = _csv(tmp_path, "unique_id,ds,y\n007,2026-01-01,1\n7,2026-01-02,2\n7,2026-01-03,2\n")
    assert read(path).keys == ("007", "7")


def test_without_an_id_column_the_file_is_one_series() -> None:
    history = read(FRAME[["ds", "y"]].iloc[:2].assign(ds=["2026-01-01", "2026-01-02"]), id_col=None)
    assert history.keys == ("y",)


def test_the_bar_length_is_guessed_and_said() -> None:
    history = read(FRAME)
    assert history.freq_ms == HOUR
    assert "freq 1h was guessed: it is the median step" in history.notes
    assert "the median step is 1h, not 30min" in read(FRAME, freq="30min").notes


def test_the_bar_length_of_readings_must_be_given_and_their_steps_are_nobodys_business() -> None:
    readings = pd.DataFrame({"ds": [START, START + 7, START + 7], "y": [1.0, 2.0, 3.0]})
    with pytest.raises(HistoryError, match="freq is missing: readings do not show how long a bar is; give it"):
        read(readings, id_col=None, ticks=True)
    with pytest.raises(HistoryError, match="freq is 0; expected a positive"):
        read(readings, id_col=None, freq=0, ticks=True)
    history = read(readings, id_col=None, freq="1h", ticks=True)
    assert history.freq_ms == HOUR
    assert history.notes == ("numeric times were read as epoch milliseconds: 2026-01-01 00:00 to 2026-01-01 00:00 UTC",)
    np.testing.assert_array_equal(history.values_NC[:, 0], [1, 2, 3])


def test_naive_times_are_read_in_the_named_zone_and_it_is_said() -> None:
    history = read(FRAME, timezone="Asia/Shanghai")
    assert history.ts_N[0] == START - 8 * HOUR
    assert "times without a zone were read as Asia/Shanghai" in history.notes


@pytest.mark.parametrize("times", [["2026-01-01T00:00Z", "2026-01-01T02:00+01:00"], [START, START + HOUR]])
def test_times_with_a_zone_and_epoch_milliseconds_need_no_zone(times: list[object]) -> None:
    history = read(pd.DataFrame({"ds": times, "y": [1.0, 2.0]}), id_col=None, timezone="Asia/Shanghai")
    np.testing.assert_array_equal(history.ts_N, [START, START + HOUR])


@settings(deadline=None)
@given(
    st.integers(0, 400), st.sampled_from([15, 30, 60]), st.sampled_from(["Europe/Berlin", "America/New_York", "UTC"])
)
def test_a_years_local_times_come_back_over_both_changes_of_the_clock(skip: int, minutes: int, name: str) -> None:
    instants = pd.date_range("2025-03-01", "2025-11-20", freq=f"{minutes}min", tz="UTC")[skip:]
    local = instants.tz_convert(ZoneInfo(name)).tz_localize(None)
    frame = pd.concat([pd.DataFrame({"unique_id": key, "ds": local, "y": 1.0}) for key in "ab"])
    history = read(frame, timezone=name)
    want = np.repeat(instants.tz_localize(None).to_numpy().astype("datetime64[ms]").astype(np.int64), 2)
    np.testing.assert_array_equal(history.ts_N, want)


@pytest.mark.parametrize(("order", "ordered"), [("recorded", True), ("newest first", True), ("shuffled", False)])
def test_a_repeated_hour_in_rows_without_an_order_is_said_to_be_a_guess(order: str, *, ordered: bool) -> None:
    instants = pd.date_range("2025-10-25", "2025-10-27", freq="15min", tz="Europe/Berlin")
    frame = pd.DataFrame({"ds": instants.tz_localize(None), "y": 1.0})
    frame = {"recorded": frame, "newest first": frame[::-1], "shuffled": frame.sample(frac=1, random_state=1)}[order]
    notes = " ".join(map(str, read(frame, id_col=None, timezone="Europe/Berlin").notes))
    assert "8 rows in a repeated hour" in notes
    assert ("they are in no order of time" not in notes) is ordered


def test_a_repeated_hour_is_said_and_a_skipped_one_is_refused() -> None:
    autumn = pd.DataFrame({"ds": ["2025-10-26 02:30", "2025-10-26 02:30"], "y": [1.0, 2.0]})
    history = read(autumn, id_col=None, timezone="Europe/Berlin")
    assert np.diff(history.ts_N) == HOUR
    assert "2 rows in a repeated hour" in " ".join(history.notes)
    assert "no order of time" not in " ".join(history.notes)
    spring = autumn.assign(ds="2025-03-30 02:30")
    with pytest.raises(HistoryError, match=r"'ds': 2025-03-30 02:30:00 does not exist in Europe/Berlin"):
        read(spring, id_col=None, timezone="Europe/Berlin")


@pytest.mark.parametrize(
    ("zone", "skipped", "remedy"),
    [
        ("Europe/Berlin", "2025-03-30 02:30", "such as UTC, or Etc/GMT-1 for clocks that stay 1 h ahead of UTC"),
        ("America/New_York", "2018-03-11 02:00", "such as UTC, or Etc/GMT+5 for clocks that stay 5 h behind UTC"),
        ("Europe/London", "2025-03-30 01:30", "such as UTC"),
        ("Australia/Adelaide", "2025-10-05 02:30", "such as UTC"),
    ],
)
def test_the_remedy_for_a_skipped_hour_is_the_winter_time_of_the_zone(zone: str, skipped: str, remedy: str) -> None:
    times = [pd.Timestamp(skipped) + pd.Timedelta(hours=hour) for hour in range(-24, 2)]
    frame = pd.DataFrame({"ds": times, "y": 1.0})
    with pytest.raises(HistoryError) as refused:
        read(frame, id_col=None, timezone=zone)
    said = "went forward (1 row in such hours); give timezone as that in which the times were written, "
    assert f"{said}{remedy}; or, if only these rows are wrong, leave them out" in str(refused.value)
    if "Etc/" in remedy:
        fixed = remedy.partition("Etc/")[2].split()[0]
        history = read(frame, id_col=None, timezone=f"Etc/{fixed}")
        first = times[0].tz_localize(zone)
        assert history.ts_N[0] == first.value // 1_000_000


@pytest.mark.parametrize(
    ("times", "remedy"),
    [
        (["03/02/2026 07:00 AM", "18/02/2026 08:00 PM"], "such as '%d/%m/%Y %I:%M %p'"),
        (["02/03/2026 7:00PM", "02/18/2026 8:00PM"], "such as '%m/%d/%Y %I:%M%p'"),
        (["18.2.26", "19.2.26"], "such as %d.%m.%y"),
        (["2026/18/02 07:00:05", "2026/19/02 07:00:05"], "such as '%Y/%d/%m %H:%M:%S'"),
        (["18.2.2026, 07:00", "19.2.2026, 07:00"], "such as '%d.%m.%Y, %H:%M'"),
        (
            ["03/02/2026 07:00", "04/02/2026 08:00"],
            "such as '%d/%m/%Y %H:%M', or '%m/%d/%Y %H:%M': these rows can be read",
        ),
        (["01 Jan 2026", "02 Feb 2026"], "such as '%d %b %Y'"),
        (["1-Jan-26", "2-May-26"], "such as %d-%b-%y"),
        (["January 1, 2026 7:00 PM", "May 2, 2026 8:00 PM"], "such as '%B %d, %Y %I:%M %p'"),
        (["May 2026", "Jun 2026"], "such as '%b %Y'"),
        (["18/02/2026 07:00", "02/18/2026 08:00"], "such as '%d.%m.%Y %H:%M'"),
    ],
)
@pytest.mark.parametrize("tried", [None, "%Y"])
def test_the_form_that_a_message_names_is_one_that_reads_the_times(
    times: list[str], remedy: str, tried: str | None
) -> None:
    frame = pd.DataFrame({"ds": times, "y": [1.0, 2.0]})
    with pytest.raises(HistoryError, match=re.escape(remedy)):
        read(frame, id_col=None, freq="1h", time_format=tried)


@pytest.mark.parametrize(
    ("zone", "timezone", "noted"),
    [("Australia/Brisbane", "UTC", True), ("Australia/Brisbane", "Australia/Brisbane", False), ("UTC", "UTC", False)],
)
@pytest.mark.parametrize("texts", [False, True])
def test_times_that_name_a_zone_in_which_no_days_are_counted_are_noted(
    zone: str, timezone: str, *, noted: bool, texts: bool
) -> None:
    times = pd.Series(pd.date_range("2026-01-01", periods=3, freq="h", tz=zone))
    frame = pd.DataFrame({"ds": times.map(pd.Timestamp.isoformat) if texts else times, "y": [1.0, 2.0, 3.0]})
    notes = read(frame, id_col=None, timezone=timezone).notes
    named = "+10:00" if texts else zone
    said = f"times name {named}; hours and days are those of UTC unless another zone is chosen with timezone"
    assert (said in notes) is noted


def test_a_note_names_all_offsets_of_the_times() -> None:
    times = ["2026-03-29T01:00+01:00", "2026-03-29T03:00+02:00", "2026-03-29T04:00+02:00"]
    notes = read(pd.DataFrame({"ds": times, "y": [1.0, 2.0, 3.0]}), id_col=None).notes
    assert any(note.startswith("times name +01:00 and +02:00; hours and days are those of UTC") for note in notes)


def test_another_separator_is_named(tmp_path: Path) -> None:
    path = tmp_path / "load.csv"
    for mark in ("#", "~", "^"):
        path.write_text(f"unique_id{mark}ds{mark}y\na{mark}2026-01-01{mark}1\n")
        with pytest.raises(HistoryError, match=r"has no column 'unique_id'.*separated by") as raised:
            read(path)
        assert repr(mark) in str(raised.value)


def test_a_source_without_rows_is_named(tmp_path: Path) -> None:
    path = tmp_path / "load.csv"
    path.write_text("unique_id,ds,y\n")
    with pytest.raises(HistoryError, match=r"load\.csv has columns and no rows"):
        read(path)
    with pytest.raises(HistoryError, match="the data frame has columns and no rows"):
        read(pd.DataFrame({"unique_id": [], "ds": [], "y": []}))


def test_half_a_day_without_its_hours_is_refused() -> None:
    frame = pd.DataFrame({"ds": ["18/02/2026 07:00 AM", "18/02/2026 07:00 PM"], "y": [1.0, 2.0]})
    with pytest.raises(HistoryError, match="has %p, AM or PM, and no %I"):
        read(frame, id_col=None, time_format="%d/%m/%Y %H:%M %p")


def test_all_words_among_numbers_are_named_at_once() -> None:
    values = ["1", "5O2", "3", "4O1", "x", "x", "y1", "y2", "y3"]
    frame = pd.DataFrame({"ds": pd.date_range("2026-01-01", periods=9, freq="h"), "y": values})
    said = (
        "'y' is '5O2' in row 2, '4O1' in row 4, 'x' in row 5, 'x' in row 6, 'y1' in row 7 and 2 more, among 2 numbers"
    )
    with pytest.raises(HistoryError, match=f"{said}; expected a number.* Correct what is wrong"):
        read(frame, id_col=None)


def test_days_and_times_of_day_in_two_columns_are_refused_unless_each_day_has_one_row() -> None:
    hours = pd.date_range("2026-01-01", periods=48, freq="h")
    frame = pd.DataFrame({"ds": hours.strftime("%Y-%m-%d"), "clock": hours.strftime("%H:%M"), "y": 1.0})
    with pytest.raises(HistoryError, match=r"days of 'ds' repeat, and 'clock' has times .* 00:00: make one column of"):
        read(frame, id_col=None)
    assert read(frame[::24], id_col=None).columns == ("y", "clock")


def test_infinite_values_are_missing_and_of_repeated_times_the_last_counts_and_both_are_said() -> None:
    frame = pd.DataFrame({"ds": ["2026-01-01", "2026-01-02", "2026-01-02"], "y": [1.0, np.inf, 3.0]})
    history = read(frame, id_col=None)
    np.testing.assert_array_equal(history.values_NC[:, 0], [1, 3])
    assert " ".join(history.changes) == (
        "read as missing: 1 value infinite or beyond ±1e+100"
        " 1 of 3 rows have the series and time of a later row and are left out: the last counts. If they are"
        " readings of one bar: a model trained with ticks uses them all"
    )


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("unique_id,ds,Y\na,2026-01-01,1\n", {}, "has no column 'y', did you mean 'Y'"),
        ("unique_id,ds,load\na,2026-01-01,1\n", {"target_col": "laod"}, "no column 'laod', did you mean 'load'"),
        ("unique_id,ds,y\n", {}, "has columns and no rows"),
        (
            "unique_id,ds,y\na,2026-01-01,1\na,2026-01-02,x1\n",
            {},
            "'y' is 'x1' in row 2, among 1 number; expected a number",
        ),
        ("unique_id,ds,y\n,2026-01-01,1\n", {}, "'unique_id' is empty in row 1"),
        ("unique_id,ds,y\na,,1\n", {}, "'ds': row 1 has no time"),
        ("unique_id,ds,y\na,1/2/2026,1\n", {}, "expected ISO 8601, .* give time_format"),
        ("unique_id,ds,y\na,2026-01-01T00:00Z,1\na,2026-01-01T01:00,1\n", {}, "has a zone and .* has none"),
        ("unique_id,ds,y\na,1767225600,1\na,1767225600000,1\n", {}, "are no epoch seconds, .* of one unit"),
        ("unique_id,ds,y\na,2026-01-01,1\n", {"time_format": "%d.%m.%Y"}, r"not of the form of time_format %d\.%m\.%Y"),
        ("unique_id,ds,y\na,2026-01-01,1\na,now,1\n", {}, "Time data now has no digits; expected ISO 8601"),
        (
            "unique_id,ds,y\na,NaT,1\n",
            {"time_format": "%d.%m.%Y"},
            r"not of the form of time_format .*NaT has no digits",
        ),
        ("unique_id,ds,y\na,2026-01-01,1\n", {}, "freq cannot be guessed"),
        ("unique_id,ds,y\na,2026-01-01,1\n", {"freq": "hourly"}, "freq: 'hourly' is not a duration"),
        ("unique_id,ds,y\na,2026-01-01,1\n", {"freq": 0}, "freq is 0; expected a positive"),
        ("unique_id,ds,y\na,2026-01-01,1\n", {"columns": ["y"]}, "name one column twice: leave it out of df"),
    ],
)
def test_a_fault_names_the_column_the_value_and_what_was_expected(
    tmp_path: Path, text: str, options: dict[str, object], said: str
) -> None:
    with pytest.raises(HistoryError, match=said):
        read(_csv(tmp_path, text), **options)  # type: ignore[arg-type]


def test_a_column_of_free_text_is_refused() -> None:
    frame = pd.DataFrame({"ds": range(START, START + 2_000), "y": 1.0, "note": [f"text {i}" for i in range(2_000)]})
    with pytest.raises(HistoryError, match=r"column 'note' has 2,000 distinct texts, such as 'text 0'"):
        read(frame, id_col=None)
    assert read(frame, id_col=None, columns=[]).columns == ("y",)


@pytest.mark.parametrize("name", ["data.xlsx", "none.csv", "broken.parquet", "broken.csv.gz"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    if name != "none.csv":
        (tmp_path / name).write_bytes(b"not what its name says")
    with pytest.raises(HistoryError, match=name):
        read(tmp_path / name)


def test_a_small_file_that_is_one_endless_line_is_named_with_what_to_do(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.csv.gz", "wb", compresslevel=1) as file:
        file.write(b"unique_id,ds,y\n")
        for _ in range(600):
            file.write(b"a" * 1_000_000)
    reading = """
import resource, sys
from streamcast.offline.history.read import read
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 900_000_000,) * 2)
read(sys.argv[1])
"""
    command = [sys.executable, "-c", reading, str(tmp_path / "a.csv.gz")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert "a.csv.gz cannot be read: " in ended.stderr.splitlines()[-1]
    assert "HistoryError" in ended.stderr.splitlines()[-1]
    assert "memory" in ended.stderr.splitlines()[-1]


def test_other_forms_of_time_are_read_by_their_format() -> None:
    history = read(
        pd.read_csv(io.StringIO("ds,y\n1.2.2026 01:00,1\n1.2.2026 02:00,1\n")),
        id_col=None,
        time_format="%d.%m.%Y %H:%M",
    )
    assert history.ts_N[0] == instant_ms("2026-02-01T01:00")
    zoned = pd.DataFrame({"ds": ["1.7.2026 01:00 +0200", "1.7.2026 01:00 +0100"], "y": [1.0, 2.0]})
    history = read(zoned, id_col=None, time_format="%d.%m.%Y %H:%M %z", timezone="Asia/Shanghai")
    assert history.ts_N.tolist() == [instant_ms("2026-06-30T23:00"), instant_ms("2026-07-01T00:00")]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 500), st.integers(1, 3)), min_size=20, max_size=60, unique_by=lambda bar: bar[0]),
    st.sampled_from([(0.5, 0.5), (0.6, 0.2, 0.2)]),
)
def test_parts_are_disjoint_in_time_and_together_the_whole(
    bars: list[tuple[int, int]], fractions: tuple[float, ...]
) -> None:
    times = [START + bar * HOUR for bar, rows in bars for _ in range(rows)]
    history = read(pd.DataFrame({"ds": times, "y": np.arange(len(times), dtype=float)}), id_col=None, freq="1h")
    parts = split(history, cuts(history, fractions))
    assert len(parts) == len(fractions)
    np.testing.assert_array_equal(np.concatenate([part.values_NC for part in parts]), history.values_NC)
    assert all(before.ts_N[-1] < after.ts_N[0] for before, after in itertools.pairwise(parts))


def test_a_wrong_split_is_refused() -> None:
    history = read(FRAME)
    for fractions in [(0.5, 0.6), (1.2, -0.2)]:
        with pytest.raises(HistoryError, match="must be positive and sum to 1"):
            cuts(history, fractions)
    with pytest.raises(HistoryError, match="leaves a part empty"):
        split(history, [START])
    one_time = pd.DataFrame({"unique_id": list("abcdef"), "ds": "2026-01-01", "y": 1.0})
    with pytest.raises(HistoryError, match="all 6 rows are of one time: training and backtests need rows of several; "):
        cuts(read(one_time, freq="1h"), (0.8, 0.2))
    few = pd.concat([one_time, one_time[:1].assign(ds="2026-01-02")])
    with pytest.raises(HistoryError, match="all 7 rows are of 2 times, too many of one of them to be divided: "):
        cuts(read(few, freq="1h"), (0.5, 0.5))
    with pytest.raises(HistoryError, match=r"'soon' is not a time: .* expected such as 2026-01-31"):
        instant_ms("soon")
    assert instant_ms("2026-01-01", "Asia/Shanghai") == START - 8 * HOUR


@pytest.mark.parametrize(
    ("zone", "skipped"), [("Europe/Berlin", "2016-03-27 02:00"), ("America/New_York", "2016-03-13 02:00")]
)
def test_local_times_that_are_read_as_utc_show_by_the_hours_that_clocks_skip(zone: str, skipped: str) -> None:
    utc = pd.date_range("2016-01-01", "2016-06-01", freq="15min", tz="UTC")
    frame = pd.DataFrame({"ds": utc.tz_convert(zone).tz_localize(None), "y": np.arange(len(utc)) % 96.0})
    (note,) = [note for note in read(frame, id_col=None).notes if "clocks skip" in note]
    assert f"no row is from the hour of {skipped}, which clocks skip in {zone}" in note
    assert note.endswith("give timezone")


@pytest.mark.parametrize(
    ("keys", "hour"), [("", "2016-03-27 02:00"), ("a", "2016-03-27 02:00"), ("ab", "2016-04-12 02:00")]
)
def test_times_of_utc_are_no_local_ones(keys: str, hour: str) -> None:
    """Also where one series has no row in an hour that clocks skip, and where another hour is missing."""
    times = pd.date_range("2016-01-01", "2016-06-01", freq="h")
    frame = pd.concat([pd.DataFrame({"unique_id": key, "ds": times, "y": 1.0 * (times.hour > 6)}) for key in "ab"])
    frame = frame[~(frame["unique_id"].isin(list(keys)) & (frame["ds"] == hour))]
    assert not any("clocks skip" in note for note in read(frame).notes)
