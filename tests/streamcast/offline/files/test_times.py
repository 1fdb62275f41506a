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
    with pytest.raises(HistoryError, match=r"CET' names the zone CET, .*\+01:00, or leave the zone out"):
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


SUMMER = pd.date_range("2026-03-28", periods=60, freq="h", tz="Europe/Berlin")
"""Hours around a change of clocks, in a zone whose offset is +01:00 and then +02:00."""
MILLISECONDS = SUMMER.tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[ms]").astype(np.int64)


@pytest.mark.parametrize("hours", [slice(None), slice(0, 20)], ids=["two offsets", "one offset"])
@pytest.mark.parametrize("form", ["%Y-%m-%d %H:%M%z", "%Y-%m-%d %H:%M:%S %z", "%Y-%m-%dT%H:%M:%S%z"])
def test_an_offset_is_read_with_or_without_a_colon_or_a_space(form: str, hours: slice) -> None:
    texts = SUMMER[hours].strftime(form)
    for written in (texts, texts.str.replace(r"(\d{2})(\d{2})$", r"\1:\2", regex=True)):
        found = read(frame_of(written))
        np.testing.assert_array_equal(found.ts_N, MILLISECONDS[hours])
        offsets = " and ".join(dict.fromkeys(text[text.rindex("+") :] for text in written))
        assert f"times name {offsets}; hours and days are those of UTC unless" in "\n".join(found.notes)


@pytest.mark.parametrize("space", ["", " "])
def test_a_form_with_an_offset_is_found_for_times_that_have_one(space: str) -> None:
    frame = frame_of(SUMMER.strftime(f"%d.%m.%Y %H:%M{space}%z"))
    with pytest.raises(HistoryError, match=rf"give time_format for another form, such as '%d.%m.%Y %H:%M{space}%z'$"):
        read(frame)
    np.testing.assert_array_equal(read(frame, time_format=f"%d.%m.%Y %H:%M{space}%z").ts_N, MILLISECONDS)


@pytest.mark.parametrize("name", [" CET", "[Europe/Berlin]", "+01:00[Europe/Berlin]", " Europe/Berlin"])
def test_the_name_of_a_zone_after_a_time_is_refused_and_the_remedy_works(name: str) -> None:
    texts = SUMMER[:20].strftime("%Y-%m-%d %H:%M:%S")
    zone = name.strip(" []").split("[")[-1]
    with pytest.raises(HistoryError, match=rf"names the zone {zone}, and names other than UTC are not read: write off"):
        read(frame_of(texts + name))
    np.testing.assert_array_equal(read(frame_of(texts), timezone="Europe/Berlin").ts_N, MILLISECONDS[:20])


def test_rows_of_one_time_whose_offsets_differ_are_said_to_be_so() -> None:
    hours = pd.date_range("2026-03-28", periods=48, freq="h")
    change = pd.Timestamp("2026-03-29")  # at midnight, two hours before clocks change
    frame = frame_of([f"{hour.isoformat()}{'+01:00' if hour < change else '+02:00'}" for hour in hours])
    said = changed(read(frame))
    one, other = "2026-03-28T23:00:00+01:00", "2026-03-29T00:00:00+02:00"
    assert (
        f"One time is written with two offsets there, such as {one} and {other}: if these are two local times" in said
    )
    assert said.endswith("an offset is wrong, leave the offsets out and give timezone")
    twice = pd.concat([frame, frame[:1]])
    assert "readings of one bar" in changed(read(twice[twice.ds != other]))


def test_one_offset_in_two_spellings_is_one_offset() -> None:
    hours = pd.date_range("2026-01-01", periods=8, freq="h").strftime("%Y-%m-%dT%H:%M:%S")
    for one, other in (("Z", "+00:00"), ("+0100", "+01:00"), (".000+01:00", "+01"), ("-05:30", "-0530")):
        assert "readings of one bar" in changed(read(frame_of([*(hours + one), *(hours + other)])))
    assert "is written with two offsets" in changed(read(frame_of([*(hours + "Z"), "2026-01-01T01:00:00+01:00"])))


FINE = pd.date_range("2026-01-01", periods=500, freq="100us")


@pytest.mark.parametrize(
    "times",
    [
        FINE, FINE.tz_localize("UTC"), FINE.tz_localize("Europe/Berlin"), FINE.astype(str), FINE.astype(str) + "Z",
        FINE.as_unit("ns").astype("int64"), FINE.as_unit("us").astype("int64"),
        FINE.as_unit("us").astype("int64") / 1e3, FINE.as_unit("us").astype("int64") / 1e6,
    ],
)  # fmt: skip
def test_times_that_differ_below_a_millisecond_are_said_to_be_cut(times: object) -> None:
    """The bars were said to be the median step, and times to have two offsets."""
    frame = pd.DataFrame({"ds": times, "y": 1.0, "phase": np.arange(500) % 10})
    history = read(frame, id_col=None)
    said = changed(history)
    assert "rows have the series and time of a later row and are left out: the last counts. Their times differ" in said
    assert said.endswith("below a millisecond, to which times are cut: a model trained with ticks uses them all")
    guess = "freq 1ms was guessed: the median step is 0.1 ms, and times are cut to milliseconds"
    assert [note for note in history.notes if "freq" in note] == [guess]
    assert len(read(frame, id_col=None, ticks=True, freq="1ms")) == 500
    with pytest.raises(
        HistoryError, match=r"freq cannot be guessed: the median step is 0.1 ms, .* 1s, with ticks to u"
    ):
        read(frame[1:4], id_col=None)


def test_a_step_that_is_no_whole_number_of_milliseconds_is_said_to_be_cut_and_jitter_is_not() -> None:
    uneven = read(frame_of(pd.date_range("2026-01-01", periods=500, freq="1500us")))
    assert "freq 1ms was guessed: the median step is 1.5 ms, and times are cut to milliseconds" in uneven.notes
    seconds = pd.date_range("2026-01-01", periods=500, freq="s")
    late = pd.to_timedelta(np.random.default_rng(0).integers(0, 900, 500), "us")
    assert "freq 1s was guessed: it is the median step" in read(frame_of(seconds + late)).notes


def test_of_rows_that_repeat_few_by_the_cut_of_their_times_the_others_count() -> None:
    seconds = pd.date_range("2026-01-01", periods=100, freq="s").as_unit("us")
    near = seconds[:4] + pd.Timedelta("7us")
    shops = pd.DataFrame({"ds": [*seconds, *seconds, *near], "y": 1.0, "shop": ["a"] * 100 + ["b"] * 100 + ["c"] * 4})
    assert "They differ in 'shop'" in changed(read(shops, id_col=None))
    assert "The times of 4 of them differ below a millisecond" in changed(
        read(shops[(shops.index < 102) | (shops.index >= 200)], id_col=None)
    )


def test_bars_of_several_hours_that_clocks_leave_are_warned_of() -> None:
    days = pd.date_range("2026-01-01", periods=200)
    shifts = pd.DatetimeIndex([day + pd.Timedelta(hours=hour) for day in days for hour in (6, 14, 22)])
    for times, timezone in ((shifts.tz_localize("Europe/Berlin"), "UTC"), (shifts, "Europe/Berlin")):
        said = changed(read(frame_of(times), timezone=timezone))
        assert "261 rows of 600 start at another hour than the bars of 8h, as rows do where clocks change" in said
    assert not changed(read(frame_of(shifts)))
    hourly = pd.date_range("2026-01-01", periods=400, freq="h")
    assert "clocks change" not in changed(read(frame_of(hourly), freq="2h"))


@pytest.mark.parametrize("value", [["2026-01-01", "2026-01-02"], {"at": 1}, np.array(["2026-01-01"])])
def test_what_is_no_single_time_is_refused_with_its_type(value: object) -> None:
    frame = pd.DataFrame({"ds": ["2026-01-01", *[value] * 2], "y": [1.0, 2.0, 3.0]})
    said = f"column 'ds': row 2 holds an object of type {type(value).__name__}; expected one time: pandas' explode"
    with pytest.raises(HistoryError, match=said):
        read(frame, id_col=None)
