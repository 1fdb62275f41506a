"""Values as people have them: marks of decimals and thousands, words, categories, huge ones, units and levels."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from streamcast.engine.engine import Engine
from streamcast.errors import HistoryError
from streamcast.offline.defaults.spec import default_spec
from streamcast.offline.history.polls import columns, polls
from streamcast.offline.history.read import read
from streamcast.spec.folders import new_network
from streamcast.topics.forecasts import Encoder
from tests.streamcast.offline.files.cases import HOUR, START, case, changed, forecasts_of, frame_of


def test_a_value_that_the_service_refuses_is_missing_and_it_is_said() -> None:
    frame = pd.DataFrame({"ds": START + np.arange(4) * HOUR, "y": [1.0, 1e200, -np.inf, 2.0]})
    history = read(frame, id_col=None)
    np.testing.assert_array_equal(history.values_NC[:, 0], [1, np.nan, np.nan, 2])
    assert "read as missing: 2 values infinite or beyond ±1e+100" in history.changes


def test_an_input_without_any_value_is_named() -> None:
    times = START + np.arange(30) * HOUR
    frame = pd.DataFrame({"unique_id": "a", "ds": times, "y": 1.0, "temp": np.nan, "sky": None, "wind": 1.0})
    trained = read(frame).notes
    assert "input 'temp' has no value in any row: the model learns nothing from it" in trained
    assert "input 'sky' has no value in any row: the model learns nothing from it" in trained
    assert not [note for note in trained if "'wind' has no value" in note]
    used = read(frame, kinds={"y": None, "temp": None, "sky": ("rain",), "wind": None}).notes
    assert "input 'temp' has no value in any row: forecasts are made without it" in used
    assert "input 'sky' has no value in any row: forecasts are made without it" in used


def test_words_for_missing_are_missing_among_numbers_only(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text(
        "unique_id,ds,y,temp,kind\nnan,2025-01-01,NA,1.5,None\nnan,2025-01-02,2,null,x\nnan,2025-01-03,3,,\n"
    )
    history = read(path)
    assert history.keys == ("nan",)
    assert history.categories == {"kind": ("None", "x")}
    np.testing.assert_array_equal(history.values_NC, [[np.nan, 1.5, 0], [2, np.nan, 1], [3, np.nan, np.nan]])


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


def test_numbers_beside_an_empty_row_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    values = [1e20, -3e19, 2.0**53 + 2, 7.0]
    rows = [f"2026-01-01 {hour:02}:00,{value!r}" for hour, value in enumerate(values)]
    path.write_text("\n".join(["ds,y", *rows[:2], ",", *rows[2:]]) + "\n")
    assert read(path, id_col=None).values_NC[:, 0].tolist() == values
