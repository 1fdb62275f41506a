"""Tables of another shape: the message says what they seem to be, and its line of pandas makes rows of them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from streamcast.errors import HistoryError
from streamcast.offline.history.read import History, read

TIMES = pd.date_range("2026-01-01", periods=48, freq="h")
VALUES = {"north": np.arange(48.0), "Süd West": np.arange(48.0) + 0.5, "o'hara": np.arange(48.0) * 2}
WIDE = pd.DataFrame(VALUES, index=TIMES)
DAYS = WIDE.iloc[:5].set_axis(pd.date_range("2026-01-01", periods=5).strftime("%Y-%m-%d"))


def expected() -> History:
    return read(WIDE.rename_axis("ds").reset_index().melt("ds", var_name="unique_id", value_name="y"))


def converted(source: pd.DataFrame | Path, **names: object) -> object:
    """What the line in the message makes of a source that is refused."""
    with pytest.raises(HistoryError, match="in pandas, ") as raised:
        read(source, **names)  # type: ignore[arg-type]
    line = re.search(r"in pandas, (.*) makes a row for each series and time", str(raised.value))
    assert line is not None
    return eval(line[1], {"pd": pd, "df": source})  # the point is that the line works as it is printed


@pytest.mark.parametrize(
    "wide",
    [
        WIDE,
        WIDE.rename_axis("hour"),
        WIDE.rename_axis("hour", axis=0).rename_axis("place", axis=1),
        WIDE.rename_axis("hour").reset_index(),
        WIDE.rename_axis("ds").reset_index(),
        WIDE.rename_axis("hour").reset_index().assign(hour=lambda frame: frame.hour.astype(str)),
        WIDE.set_axis(TIMES.to_period("h")),
        WIDE.astype("Float64"),
    ],
    ids=["index", "named index", "named columns", "column", "ds", "texts", "periods", "pandas numbers"],
)
def test_a_column_for_each_series_is_named_and_the_line_makes_rows_of_it(wide: pd.DataFrame) -> None:
    found = read(converted(wide))  # type: ignore[arg-type]
    assert found.keys == expected().keys
    np.testing.assert_array_equal(found.ts_N, expected().ts_N)
    np.testing.assert_array_equal(found.values_NC, expected().values_NC)


def test_the_line_makes_the_columns_that_options_name() -> None:
    found = converted(WIDE, id_col="place", time_col="hour", target_col="people")
    assert isinstance(found, pd.DataFrame)
    assert read(found, id_col="place", time_col="hour", target_col="people").keys == expected().keys
    with pytest.raises(HistoryError, match=r"and id_col unique_id names them\. Else say which is which with id_col"):
        read(WIDE, id_col=None)


@pytest.mark.parametrize("written", [{}, {"sep": ";", "decimal": ","}, {"sep": "\t"}, {"encoding": "cp1252"}])
def test_the_line_for_a_file_writes_one_that_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: dict[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    WIDE.rename_axis("hour").reset_index().to_csv("wide.csv", index=False, **written)  # type: ignore[call-overload]
    assert converted(Path("wide.csv")) is None
    assert read(Path("long.csv")).keys == expected().keys
    np.testing.assert_array_equal(read(Path("long.csv")).values_NC, expected().values_NC)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long.csv", "wide.csv"]


@pytest.mark.parametrize(
    "wide",
    [
        DAYS.T, DAYS.T.rename_axis("place"), DAYS.T.rename_axis("place").reset_index(),
        DAYS.set_axis(pd.DatetimeIndex(DAYS.index)).T, DAYS.T.rename_axis("place").reset_index().assign(kind="a"),
    ],
    ids=["index", "named index", "column", "times", "two other columns"],
)  # fmt: skip
def test_a_column_for_each_time_is_named_and_the_line_makes_rows_of_it(wide: pd.DataFrame) -> None:
    found = read(converted(wide))  # type: ignore[arg-type]
    assert found.keys == expected().keys
    assert found.values_NC[:3, 0].tolist() == [0.5, 0.0, 0.0]
    assert len(found) == 15


def test_a_series_without_times_is_told_what_gives_it_some() -> None:
    counted = pd.DataFrame({"y": VALUES["north"]})
    with pytest.raises(HistoryError, match=r"has no times: .*, (df\.set_axis\(.*\)) gives it some") as raised:
        read(counted, id_col=None)
    line = re.search(r"df\.set_axis\(.*\)(?= gives)", str(raised.value))
    assert line is not None
    assert len(read(eval(line[0], {"pd": pd, "df": counted}), id_col=None)) == 48
    texts = counted.set_axis(TIMES.astype(str))
    with pytest.raises(HistoryError, match=r"times as texts: df\.set_axis\(pd\.to_datetime\(df\.index\)\) makes"):
        read(texts, id_col=None)
    assert len(read(texts.set_axis(pd.to_datetime(texts.index)), id_col=None)) == 48


def test_levels_of_names_are_said_and_what_makes_one_of_them() -> None:
    levels = pd.concat({"a": WIDE, "b": WIDE}, axis=1)
    with pytest.raises(HistoryError, match=r"levels: (df\.set_axis\(.*axis=1\)) makes one text of each") as raised:
        read(levels)
    line = re.search(r"df\.set_axis\(.*axis=1\)", str(raised.value))
    assert line is not None
    flat = eval(line[0], {"pd": pd, "df": levels})
    assert list(flat)[:2] == ["a north", "a Süd West"]


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"place": ["a", "b"], "hour": TIMES[:2], "people": [1, 2], "rain": [0, 1]}),
        pd.DataFrame({"hour": TIMES[:2], "people": [1, 2]}),
        pd.DataFrame({"unique_id": ["a", "b"], "ds": TIMES[:2], "people": [1, 2], "rain": [0, 1]}),
    ],
    ids=["rows of several series", "one series", "the target's name alone"],
)
def test_rows_with_other_names_are_not_taken_for_another_shape(frame: pd.DataFrame) -> None:
    with pytest.raises(HistoryError, match=r"Its columns are [^.]*: say which is which with id_col") as raised:
        read(frame)
    assert "pandas" not in str(raised.value)


def test_a_wide_file_of_very_many_columns_is_not_listed_whole() -> None:
    with pytest.raises(HistoryError, match=r"k18 and 981 more\. If it has a column for each of 1,000 series, k0, k1"):
        read(pd.DataFrame(np.zeros((4, 1_000)), TIMES[:4], [f"k{n}" for n in range(1_000)]), time_col="hour")
