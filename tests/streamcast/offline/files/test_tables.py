"""Tables as people have them: a spreadsheet's file, ids, indexes, names of columns, corrections, empty rows."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from streamcast.errors import HistoryError
from streamcast.offline.history.read import read
from tests.streamcast.offline.files.cases import HOUR, START, case, changed, frame_of


@pytest.mark.parametrize(("name", "said"), [("", "0 characters"), ("x" * 513, "513 characters")])
def test_a_name_that_no_record_can_have_is_refused(name: str, said: str) -> None:
    hours = pd.date_range("2025-01-01", periods=3, freq="h")
    with pytest.raises(HistoryError, match=f"column 'unique_id' has a name of {said} in row 2; expected 1 to 512"):
        read(frame_of(hours).assign(unique_id=["a", name, "a"]))


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


HOURS = pd.date_range("2026-01-01", periods=40, freq="h")
SHOPS = pd.concat(
    [pd.DataFrame({"shop": shop, "ds": HOURS, "y": np.arange(40.0), "temp": np.arange(40) % 7}) for shop in "ab"]
)
APART = {str(shop): rows.set_index("ds")[["y"]] for shop, rows in SHOPS.groupby("shop")}


@pytest.mark.parametrize("levels", [["shop", "ds"], ["ds", "shop"], "shop"])
def test_a_level_that_is_called_like_no_wanted_column_is_one_and_may_name_the_series(
    levels: str | list[str], tmp_path: Path
) -> None:
    """All shops became one series, whose rows repeated, and the warning asked for ticks."""
    frame = SHOPS.drop(columns="temp").set_index(levels)
    frame.to_parquet(tmp_path / "shops.parquet")
    for source in (frame, tmp_path / "shops.parquet"):
        history = read(source, id_col=None)
        assert "They differ in 'shop': if these are series of their own, name that column with id_col" in changed(
            history
        )
        assert "'shop' is an input of the model: keep in df only what shall be one" in history.notes
        assert read(source, id_col="shop").keys == ("a", "b")
        with pytest.raises(HistoryError, match=r"no column 'unique_id'\. Its columns are .*shop.* say which is which"):
            read(source)


def test_rows_that_repeat_name_the_column_of_series_also_where_a_model_has_no_such_input() -> None:
    for frame in (SHOPS, SHOPS.set_index(["shop", "ds"])):
        assert "They differ in 'shop'" in changed(read(frame, id_col=None, columns=["temp"]))


def test_an_input_may_be_a_level() -> None:
    frame = SHOPS.set_index(["shop", "ds", "temp"])
    history = read(frame, id_col="shop")
    plain = read(SHOPS, id_col="shop")
    assert history.columns == plain.columns == ("y", "temp")
    np.testing.assert_array_equal(history.values_NC, plain.values_NC)
    assert read(frame, id_col="shop", columns=[]).columns == ("y",)


def test_levels_that_hold_nothing_of_a_row_are_no_inputs_and_those_with_a_name_are_noted() -> None:
    plain, numbers = read(SHOPS, id_col="shop"), np.random.default_rng(0).permutation(80)
    named = {
        "'row' of the index: left out, each row has one of its own": SHOPS.set_index(pd.Index(numbers, name="row")),
        "'made' of the index: left out, the times are in 'ds'": SHOPS.set_index(pd.Index(SHOPS.ds, name="made")),
    }
    parts = pd.concat({"old": SHOPS[SHOPS.ds < HOURS[20]], "new": SHOPS[SHOPS.ds >= HOURS[20]]})
    by_shop = SHOPS.groupby("shop")[["ds", "y", "temp"]].apply(lambda rows: rows)
    unnamed = [("", frame) for frame in (SHOPS, parts, by_shop, SHOPS.set_index("ds", drop=False))]
    for note, frame in [*named.items(), *unnamed]:
        history = read(frame, id_col="shop")
        assert (history.columns, history.keys) == (plain.columns, plain.keys)
        np.testing.assert_array_equal(np.sort(history.values_NC, axis=0), np.sort(plain.values_NC, axis=0))
        assert [found for found in history.notes if "index" in found] == ([note] if note else [])


@pytest.mark.parametrize(
    ("frame", "line"),
    [
        (pd.concat(APART), "rename_axis(['unique_id', 'ds'])"),
        (pd.concat({shop: rows.rename_axis(None) for shop, rows in APART.items()}), "rename_axis(['unique_id', 'ds'])"),
        (pd.concat(APART).swaplevel(), "rename_axis(['ds', 'unique_id'])"),
        (pd.concat(APART.values(), keys=[1, 2]), "rename_axis(['unique_id', 'ds'])"),
        (pd.concat({shop: rows.reset_index() for shop, rows in APART.items()}), "rename_axis(['unique_id', None])"),
        (SHOPS.drop(columns="temp").set_index("shop").rename_axis(None), "rename_axis('unique_id')"),
    ],
)
@pytest.mark.parametrize("id_col", [None, "unique_id"])
def test_a_level_without_a_name_that_may_be_the_series_is_refused_and_the_line_in_the_message_names_it(
    frame: pd.DataFrame, line: str, id_col: str | None, tmp_path: Path
) -> None:
    frame.to_parquet(path := tmp_path / "shops.parquet")
    with pytest.raises(HistoryError, match=re.escape(f": if it names the series, df.{line} says so; if it is of no")):
        read(frame, id_col=id_col)
    assert len(read(eval(f"frame.{line}")).keys) == 2
    with pytest.raises(HistoryError, match=re.escape(f"pd.read_parquet({str(path)!r}).{line}.to_parquet(")):
        read(path, id_col=id_col)


def test_a_level_without_a_name_beside_names_of_series_is_asked_for_where_it_tells_rows_of_one_time_apart() -> None:
    twice = pd.concat({"north": SHOPS, "south": SHOPS})
    said = "df.rename_axis(['part', None]), and make one column of it and 'shop'; if it is of no use, df.droplevel(0)"
    with pytest.raises(HistoryError, match=re.escape(said)):
        read(twice, id_col="shop")
    assert "make one column of 'shop' and 'part'" in changed(read(twice.rename_axis(["part", None]), id_col="shop"))
    assert read(twice.droplevel(0), id_col="shop").keys == ("a", "b")


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


def test_rows_and_columns_that_excel_leaves_empty_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("ds;y;\n2026-01-01;1;\n2026-01-02;2;\n;;\n2026-01-03;3;\n;;\n")
    history = read(path, id_col=None)
    assert history.values_NC[:, 0].tolist() == [1, 2, 3]
    assert changed(history) == ""
    assert "2 rows without any value are left out" in history.notes
    assert "1 column without a name or a value: left out" in history.notes


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
