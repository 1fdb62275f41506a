"""Files as people have them: the inputs of ``shared/cases``, and their neighbours."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness import SHARED_DATA
from streamcast.engine.engine import Engine
from streamcast.errors import HistoryError
from streamcast.offline.defaults.notes import season_notes
from streamcast.offline.defaults.spec import default_spec
from streamcast.offline.evaluation.backtest import backtest
from streamcast.offline.history.bars import panel
from streamcast.offline.history.grid import refuse_longer_steps
from streamcast.offline.history.polls import columns, polls
from streamcast.offline.history.read import History, read
from streamcast.offline.training.fit import fit
from streamcast.offline.training.options import Options
from streamcast.spec.calendar_bars import Grid
from streamcast.spec.folders import Model, new_network
from streamcast.spec.model_spec import ModelSpec
from streamcast.topics.forecasts import Encoder

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


# -- 36: a clock that was not set ---------------------------------------------------------------------------------


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


def test_the_median_step_is_one_that_rows_have() -> None:
    hours, days = (pd.date_range("2025-01-01", periods=200, freq=freq) for freq in ("h", "D"))
    both = pd.concat([frame_of(hours), frame_of(days).assign(unique_id="b")])
    found = read(both)
    assert found.freq_ms == HOUR
    assert "1 of 2 series has longer steps than bars of 1h, such as 'b' with 1d" in changed(found)


@pytest.mark.parametrize(("name", "said"), [("", "0 characters"), ("x" * 513, "513 characters")])
def test_a_name_that_no_record_can_have_is_refused(name: str, said: str) -> None:
    hours = pd.date_range("2025-01-01", periods=3, freq="h")
    with pytest.raises(HistoryError, match=f"column 'unique_id' has a name of {said} in row 2; expected 1 to 512"):
        read(frame_of(hours).assign(unique_id=["a", name, "a"]))


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
    assert "read as missing: 2 values infinite or beyond ±1e+100" in history.changes


def test_series_whose_column_nobody_named_are_not_mistaken_for_readings() -> None:
    """It asked for ticks, and forecast one of the shops."""
    times = pd.date_range("2026-01-01", periods=40, freq="h")
    shops = pd.concat([pd.DataFrame({"ds": times, "y": level, "shop": level}) for level in (1, 2, 3)])
    said = "They differ in 'shop': if these are series of their own, name that column with id_col"
    assert said in changed(read(shops.assign(y=shops.y + np.linspace(0, 1, 120)), id_col=None))
    products = shops.assign(country="A", product=shops.shop.map({1: "a", 2: "b", 3: None}))[
        ["country", "ds", "y", "product"]
    ]
    assert "make one column of 'country' and 'product', and name it with id_col" in changed(
        read(products, id_col="country")
    )
    told = changed(read(shops.assign(reading=np.linspace(0, 1, 120))[["ds", "y", "reading"]], id_col=None))
    assert "a model trained with ticks uses them all" in told


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


@pytest.mark.parametrize("name", ["by_country", "by_region"])
def test_the_word_na_is_the_same_in_a_file_parquet_and_a_frame(name: str, tmp_path: Path) -> None:
    file = read(case(f"06-NA/{name}.csv"))
    frame = pd.read_csv(case(f"06-NA/{name}.csv"), keep_default_na=False)
    frame.to_parquet(tmp_path / "a.parquet")
    for other in (read(frame), read(tmp_path / "a.parquet")):
        assert (other.keys, other.categories) == (file.keys, file.categories)
        np.testing.assert_array_equal(other.values_NC, file.values_NC)


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
    with pytest.raises(HistoryError, match=r"column 'tags' holds objects of type ndarray, .* expected numbers or"):
        read(case("37-parquet/list.parquet"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("semicolon_comma", "commas in 'y' were read as decimal commas"),
        ("sep_line", ""),
        ("utf16", ""),
        ("latin1", "latin1.csv is not UTF-8: it was read as Windows-1252"),
    ],
)
def test_a_spreadsheets_file_is_read_and_what_was_guessed_is_said(name: str, said: str) -> None:
    history, plain = read(case(f"08-excel/{name}.csv")), read(case("08-excel/bom.csv"))
    np.testing.assert_array_equal(history.values_NC, plain.values_NC)
    np.testing.assert_array_equal(history.ts_N, plain.ts_N)
    assert history.keys == (("Köln",) if name == "latin1" else ("heat",))
    assert said in "\n".join((*history.notes, *history.changes))


ROWS = "unique_id{0}ds{0}y{0}price\na{0}2025-01-01{0}1{0}1.234,5\na{0}2025-01-02{0}2{0}NA\na{0}2025-01-03{0}3{0}-7,25\n"


@pytest.mark.parametrize("mark", [";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig"])
def test_separators_decimal_commas_and_encodings_are_read(tmp_path: Path, mark: str, encoding: str) -> None:
    path = tmp_path / ("data.tsv" if mark == "\t" else "DATA.CSV")
    path.write_bytes(ROWS.format(mark).encode(encoding))
    history = read(path)
    np.testing.assert_array_equal(history.values_NC, [[1, 1234.5], [2, np.nan], [3, -7.25]])
    assert "commas in 'price' were read as decimal commas" in history.notes


def test_a_compressed_file_and_one_with_words_beside_numbers_keep_the_rules(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.csv.gz", "wt", encoding="cp1252") as file:
        file.write(ROWS.format(";").replace("a;", "Zürich;"))
    assert read(tmp_path / "a.csv.gz").keys == ("Zürich",)
    mixed = ROWS.format(";").replace("1.234,5", "2,5 EUR").replace("NA", "8,5")
    (tmp_path / "b.csv").write_text(mixed, encoding="utf-8")
    with pytest.raises(
        HistoryError, match=r"'price' is '2,5 EUR' in row 1, among 2 numbers \(decimal commas were understood\)"
    ):
        read(tmp_path / "b.csv")
    (tmp_path / "c.csv").write_bytes(ROWS.format(",").encode("utf-16-le"))
    with pytest.raises(HistoryError, match="looks like UTF-16 without a byte order mark: save it as CSV in UTF-8"):
        read(tmp_path / "c.csv")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("day_first", "expected ISO 8601.*give time_format for another form"),
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


def forecasts_of(history: History, horizon: int, season: int | None = None) -> tuple[ModelSpec, pd.DataFrame]:
    """Return the spec of a model without a network, and all its forecasts of a history with their outcomes."""
    spec = default_spec(history, horizon, "zero", season=season)
    model = Model(spec, new_network(spec), "m")
    first = history.grid.start(history.grid.bar(int(history.ts_N[0])) + 30)
    return spec, backtest(model, history, first, baselines={}, keep=None).frame()


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
@pytest.mark.parametrize(
    ("name", "bar", "season"),
    [("month_start", "1 month", 12), ("month_end", "1 month", 12), ("quarter", "1 quarter", 4), ("year", "1 year", 1)],
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


# -- 02b, 05: seasons and jitter ----------------------------------------------------------------------------------


def test_a_year_of_weeks_is_a_season_and_said() -> None:
    spec = default_spec(read(case("02-weekly/mondays.csv")), 8)
    assert spec.season == (52,)
    assert season_notes(spec) == ("a season of 52 bars stands for a year",)


@pytest.mark.parametrize(("weeks", "bars"), [(2, 26), (4, 13)])
def test_a_year_of_fortnights_or_of_four_weeks_is_a_season_and_said(weeks: int, bars: int) -> None:
    place = np.arange(8 * bars)
    rows = frame_of(START + place * weeks * 7 * DAY).assign(y=np.sin(2 * np.pi * place / bars))
    spec = default_spec(read(rows), 2)
    assert spec.season == (bars,)
    assert season_notes(spec) == (f"a season of {bars} bars stands for a year",)


def test_a_year_of_weeks_is_what_forecasts_are_compared_with() -> None:
    history = read(case("02-weekly/mondays.csv"))
    spec = default_spec(history, 8, "zero")
    model = Model(spec, new_network(spec), "m")
    mae = {row["forecaster"]: row["mae"] for row in backtest(model, history, int(history.ts_N[-1]) - 365 * DAY).rows()}
    assert mae["seasonal naive"] < 0.5 * mae["last value"]
    assert mae["m"] < mae["seasonal naive"]


def test_a_year_of_one_bar_is_no_season() -> None:
    notes = season_notes(default_spec(read(case("01-monthly/year.csv")), 2))
    assert len(notes) == 1
    assert "no season was found" in notes[0]


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
        ("decimal_comma", "'temp' has numbers with commas, such as '11,1': write points"),
    ],
)
def test_a_column_of_numbers_with_other_marks_is_refused(name: str, message: str) -> None:
    with pytest.raises(HistoryError, match=message):
        read(case(f"07-number-or-text/{name}.csv"))


@pytest.mark.parametrize("word", ["(5)", "\N{MINUS SIGN}5", "1\N{NO-BREAK SPACE}000", "5 %", "$5", "off"])
def test_one_odd_number_makes_no_categories(word: str) -> None:
    with pytest.raises(HistoryError, match=r"column 'temp' is '.*' in row 100, among 99 numbers; expected a number"):
        read(frame_of(START + np.arange(100) * HOUR, temp=[*map(str, range(99)), word]))


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
    assert not any("does not know" in note for note in later.notes)
    other = read(frame_of(times, kind=[1, 2, 3, 4], holiday="x"), freq="1h", kinds=series.kinds)
    assert any("column 'kind' has values that the model does not know, 2 of" in note for note in other.notes)
    np.testing.assert_array_equal(columns(later, series)[:, 1], [0, 1, 0, 1])
    assert np.isnan(columns(later, series)[:, 2]).all()


def test_a_word_in_a_column_of_a_models_numbers_is_refused() -> None:
    series = default_spec(read(case("07-number-or-text/clean.csv")), 1).series
    with pytest.raises(HistoryError, match="'temp' is 'sensor error' in row 501, among 959 numbers; expected a number"):
        read(case("07-number-or-text/one_word.csv"), kinds=series.kinds)


# -- 19: units and levels -----------------------------------------------------------------------------------------


def errors_of(name: str, unit: float = 1.0) -> float:
    """Return the mean absolute error of all forecasts of a series, in units of ``unit``."""
    _, forecasts = forecasts_of(read(case(f"19-scales/{name}.csv")), 6)
    return float((forecasts.y - forecasts.m).abs().mean()) / unit


@pytest.mark.parametrize("name", ["x1e-12", "x1e-9", "x1e-6", "x1e9", "x1e15", "plus1e6", "plus1e9", "plus1e12"])
def test_a_series_in_another_unit_or_at_another_level_is_forecast_as_well(name: str) -> None:
    unit = float(name[1:]) if name.startswith("x") else 1.0
    assert errors_of(name, unit) == pytest.approx(errors_of("x1"), rel=0.01)


def test_a_meter_that_counts_is_forecast_better_than_its_last_value() -> None:
    rows = pd.read_csv(case("19-scales/meter.csv"))
    assert errors_of("meter") < (rows.y - rows.y.shift(3)).abs().mean()


def test_the_written_fan_of_a_meter_resolves_an_hours_use() -> None:
    history = read(case("19-scales/meter.csv"))
    spec = default_spec(history, 6, "zero")
    engine = Engine(spec, new_network(spec))
    for poll in polls(history, spec):
        found = engine.stage(poll).forecasts
        engine.promote()
    nothing = np.zeros(len(found), np.int64)
    encoder = Encoder(spec, "m", "1", "0" * 64, "champion", "in")
    *_, text = encoder.encode([b'"meter"'] * len(found), found, nothing, nothing)
    written = np.array(list(json.loads(text)["quantiles"].values()))
    np.testing.assert_allclose(written, found.values[-1].T, rtol=0, atol=0.1)
    assert (np.diff(written, axis=0) > 0).all(), "the levels differ"


# -- 23: names of columns -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["unique_id", "ds", "y", "temp"])
def test_two_columns_of_one_name_are_refused(name: str) -> None:
    frame = frame_of(START + np.arange(4) * HOUR, temp=1.0)
    with pytest.raises(HistoryError, match=rf"2 columns are named '{name}'; expected one: rename the others"):
        read(pd.concat([frame, frame[[name]]], axis=1))


@pytest.mark.parametrize("name", [0, None, ("temp", "mean")])
def test_a_column_whose_name_is_no_text_is_refused_and_the_remedy_works(name: object) -> None:
    frame = frame_of(START + np.arange(4) * HOUR, temp=1.0)
    frame.columns = pd.Index([*frame.columns[:-1], name], dtype=object, tupleize_cols=False)
    with pytest.raises(HistoryError, match=r"has a name of type .*; expected a text: rename it, .*columns=str"):
        read(frame)
    assert read(frame.rename(columns=str)).columns == ("y", str(name))


# -- 21: what was never observed ----------------------------------------------------------------------------------


def test_rows_without_a_target_at_the_end_and_series_without_any_are_said() -> None:
    times = START + np.arange(4) * HOUR
    known = read(frame_of(times).assign(y=[1.0, 2.0, np.nan, np.nan]))
    assert "the last 2 rows of 1 series have no target: forecasts begin after them" in known.notes
    ahead = read(frame_of(times).assign(y=[1.0, 2.0, np.nan, np.nan]), known=True)
    assert any(note.endswith("and forecasts begin after the last target") for note in ahead.notes)
    never = pd.concat([frame_of(times), frame_of(times).assign(unique_id="b", y=np.nan)])
    assert "series 'b' has no target at all" in changed(read(never))


COMMA_ROWS = ["0", "5", "5,5", "6", "1.006,5", "7"]


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([*COMMA_ROWS, "-", "-"], "'-' in row 7, among 6 numbers (decimal commas were understood); expected a number"),
        (["6,5", "7,25", "?", "8,5"], "'?' in row 3, among 3 numbers (decimal commas were understood); expected a"),
        (["6,5", "7.25", "?", "8,5"], "'?' in row 3"),
        (["6,5", "7.25", "8,5"], "'7.25' in row 2, among 2 numbers with decimal commas: write the same decimal mark"),
        (["6.5", "-", "8.5"], "'-' in row 2, among 2 numbers; expected a number"),
        (["6.5", "-", "n/a", "8.5"], "'-' in row 2, among 2 numbers; expected a number"),
    ],
)
def test_the_cell_that_is_no_number_is_named_and_what_to_do(tmp_path: Path, cells: list[str], said: str) -> None:
    lines = [f"a;2025-01-{day:02};{cell}" for day, cell in enumerate(cells, start=1)]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["unique_id;ds;power", *lines]), encoding="utf-8")
    with pytest.raises(HistoryError) as refused:
        read(path, target_col="power")
    assert f"column 'power' is {said}" in str(refused.value)
    if "-" in cells:
        rows = "2 rows" if cells.count("-") == 2 else "1 row"
        assert f"if '-' means missing ({rows}), empty these cells or write NA" in str(refused.value)
        path.write_text(path.read_text(encoding="utf-8").replace(";-", ";NA"), encoding="utf-8")
        assert read(path, target_col="power").values_NC[4 if len(cells) > 4 else 0, 0] in {1006.5, 6.5}


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (
            ["1,080", "960", "12"],
            (
                "if the commas stand between thousands, leave them out, as in 1080, or read the file with pandas and"
                " thousands=','; if they are decimal commas, write points, as in 1.080"
            ),
        ),
        (["1,234,567", "960"], "the commas stand between thousands; leave them out, as in 1234567"),
        (["1,070.5", "960.25"], "the commas stand between thousands; leave them out, as in 1070.5"),
        (["12,5", "1,080"], "write points, as in 12.5; pandas reads a file with decimal commas with decimal=','"),
    ],
)
def test_commas_between_thousands_are_told_from_decimal_commas(cells: list[str], said: str) -> None:
    with pytest.raises(HistoryError) as refused:
        read(frame_of(START + np.arange(len(cells)) * HOUR).assign(y=cells), freq="1h")
    assert said in str(refused.value)


def test_decimal_commas_that_may_stand_between_thousands_are_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"

    def changes(*cells: str) -> str:
        lines = [f"a;2025-01-{day:02};{cell}" for day, cell in enumerate(cells, start=1)]
        path.write_text("\n".join(["unique_id;ds;y", *lines]), encoding="utf-8")
        return changed(read(path))

    warning = (
        "commas in 'y' were read as decimal commas, 1,080 as 1.08: if they stand between thousands, leave them out"
    )
    assert warning in changes("960", "1,080", "12")
    assert changes("960", "1,080", "12,5") == ""


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (
            ["1.080", "960", "12"],
            (
                "column 'y' has numbers such as '1.080', beside '960': the points stand between thousands. Leave them"
                " out, as in 1080, or read the file with pandas and thousands='.'; if they are decimal points, give all"
                " numbers one, as in 960.000"
            ),
        ),
        (["1.234.567", "1.080.000"], "such as '1.234.567': the points stand between thousands. Leave them out, as in"),
        (["1.234.567", "960", "-1.080"], "such as '1.234.567', beside '960': the points stand between thousands"),
    ],
)
def test_points_between_thousands_are_not_read_as_decimal_points(tmp_path: Path, cells: list[str], said: str) -> None:
    """1.080 beside 960 became 1.08, and 1.234.567 an IndexError."""
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["ds;y", *(f"2025-01-{day:02};{cell}" for day, cell in enumerate(cells, start=1))]))
    with pytest.raises(HistoryError) as refused:
        read(path, id_col=None)
    assert said in str(refused.value)
    with pytest.raises(HistoryError, match=r"the points stand between thousands"):
        read(frame_of(START + np.arange(len(cells)) * HOUR).assign(y=cells), freq="1h")


def test_points_that_may_stand_between_thousands_are_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"

    def changes(*cells: str, prices: tuple[str, ...] = ()) -> str:
        rows = [f"2025-01-{day:02};{cell}" for day, cell in enumerate(cells, start=1)]
        if prices:
            rows = [f"{row};{price}" for row, price in zip(rows, prices, strict=True)]
        path.write_text("\n".join(["ds;y;price" if prices else "ds;y", *rows]))
        return changed(read(path, id_col=None))

    warning = "points in 'y' were read as decimal points, as in 1.080: if they stand between thousands, leave them out"
    assert warning in changes("1.080", "960.000", "", "12.250")
    assert warning in changes("1.080", "0", "12.250")
    for decimal in (("1.080", "0.960"), ("1.080", "960.5"), ("1.080", "1960"), ("1.080", "1960.250"), ("960", "12")):
        assert changes(*decimal) == ""
    with pytest.raises(HistoryError, match=r"'price' has decimal commas: do the points of 'y' stand between thousands"):
        changes("1.080", "960.000", prices=("3,5", "4"))


def test_numbers_of_thousandths_in_a_frame_need_no_points() -> None:
    frame = frame_of(START + np.arange(3) * HOUR)
    for values in ([1.125, 3, 2.5], [Decimal("1.125"), Decimal(3), Decimal("2.250")]):
        history = read(frame.assign(y=pd.Series(values, dtype=object)), freq="1h")
        assert changed(history) == ""
        assert history.values_NC[:, 0].tolist() == [float(value) for value in values]


def test_a_few_codes_with_points_are_categories(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["ds;y;code", *(f"2025-01-{day:02};{day};1.{day % 2}00.000" for day in range(1, 9))]))
    assert read(path, id_col=None).categories == {"code": ("1.000.000", "1.100.000")}


def test_rows_and_columns_that_excel_leaves_empty_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("ds;y;\n2026-01-01;1;\n2026-01-02;2;\n;;\n2026-01-03;3;\n;;\n")
    history = read(path, id_col=None)
    assert history.values_NC[:, 0].tolist() == [1, 2, 3]
    assert changed(history) == ""
    assert "2 rows without any value are left out" in history.notes
    assert "1 column without a name or a value: left out" in history.notes


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


def test_numbers_beside_an_empty_row_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    values = [1e20, -3e19, 2.0**53 + 2, 7.0]
    rows = [f"2026-01-01 {hour:02}:00,{value!r}" for hour, value in enumerate(values)]
    path.write_text("\n".join(["ds,y", *rows[:2], ",", *rows[2:]]) + "\n")
    assert read(path, id_col=None).values_NC[:, 0].tolist() == values


def test_rows_are_those_of_the_file_where_empty_ones_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for empty in (",", ""):
        path.write_text(f"\nds,y\n20260101,1\n{empty}\n20260102,oops\n{empty}\n20260103,2\n")
        with pytest.raises(HistoryError, match=r"'oops' in row 3, among 2 numbers"):
            read(path, id_col=None, time_format="%Y%m%d")
        path.write_text(path.read_text().replace("oops", "7"))
        assert read(path, id_col=None, time_format="%Y%m%d").values_NC[:, 0].tolist() == [1, 7, 2]


def test_rows_of_a_frame_are_counted_whatever_its_index_is() -> None:
    frame = frame_of([START, START + HOUR]).assign(y=["1", "oops"]).set_index(pd.Index([17, 17]))
    with pytest.raises(HistoryError, match=r"'oops' in row 2, among 1 number"):
        read(frame)


@pytest.mark.parametrize("mark", [",", ";"])
def test_lines_above_the_header_are_named(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "a.csv"
    body = "Zeit;Wert\n01.01.2026 00:00;1\n01.01.2026 01:00;2\n".replace(";", mark)
    for above in ("Bericht Verbrauch\n\n", f"Bericht Verbrauch{mark}\n{mark}\n", "Bericht\nVerbrauch 2026\n"):
        path.write_text(above + body)
        with pytest.raises(
            HistoryError, match="Its header seems to be in line 3, Zeit, Wert: remove the 2 lines above"
        ):
            read(path, id_col=None, time_col="Zeit", target_col="Wert")
    path.write_text(body)
    with pytest.raises(HistoryError, match="Its columns are Zeit, Wert: say which is which"):
        read(path)


def test_two_columns_of_one_name_are_refused_in_a_file_too(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("ds,Wert,Wert\n2026-01-01,1,5\n2026-01-02,2,6\n")
    with pytest.raises(HistoryError, match="2 columns are named 'Wert'; expected one"):
        read(path, id_col=None, target_col="Wert")
    path.write_text("ds,Wert,Wert.1\n2026-01-01,1,5\n2026-01-02,2,6\n")
    assert read(path, id_col=None, target_col="Wert").columns == ("Wert", "Wert.1")


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


@pytest.mark.parametrize("ends", [",", ",,"])
def test_rows_that_end_with_separators_keep_their_columns(tmp_path: Path, ends: str) -> None:
    """Their first field was taken as an index, and the numbers for times."""
    path = tmp_path / "a.csv"
    path.write_text(f"ds,y\n2026-01-01,1{ends}\n2026-01-02,2{ends}\n")
    assert read(path, id_col=None).values_NC[:, 0].tolist() == [1, 2]


def test_a_written_index_without_a_place_in_the_header_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("ds,y\nr1,2026-01-01,1\nr2,2026-01-02,oops\n")
    with pytest.raises(HistoryError, match=r"'oops' in row 2, among 1 number"):
        read(path, id_col=None)


@pytest.mark.parametrize("wrong", ["Summe", "2026-01-03 24:00"])
def test_the_one_text_that_is_no_time_among_others_is_named(wrong: str) -> None:
    with pytest.raises(HistoryError, match=f"'{wrong}' in row 3 is not ISO 8601 .*, as 2 others are: write all times"):
        read(frame_of(["2026-01-01 00:00", "2026-01-02 00:00", wrong]))
