"""Columns of Python's and pandas' own types in a frame."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest

from streamcast import Forecaster
from streamcast.errors import HistoryError
from streamcast.offline.history.read import History, read

ROLES = ["y", "x"]


def history_of(values: Any, role: str) -> History:
    """Return what is read of a frame with these values as its target or as an input."""
    days = pd.date_range("2026-01-01", periods=len(values))
    return read(pd.DataFrame({"ds": days, "y": 1.0, "x": 2.0}).assign(**{role: values}), id_col=None)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "values",
    [
        [Decimal("0.5"), Decimal("sNaN"), Decimal(7)],
        [Decimal("0.5"), Decimal("NaN"), Decimal(7)],
        [Fraction(1, 2), None, Fraction(7)],
        [0.5, 10**400, 7],
        [0.5, -(10**400), Fraction(7)],
        pd.Series([0.5, None, 7], dtype="Float64"),
        pd.Series([0.5, None, 7], dtype="double[pyarrow]"),
        pd.Series([0.5, None, 7], dtype="category"),
        pd.Series(["0.5", None, "7"], dtype="category"),
        pd.Series(["0.5", None, "7"], dtype="string[pyarrow]"),
        pd.arrays.SparseArray([0.5, np.nan, 7]),
        np.ma.array([0.5, 3.0, 7], mask=[False, True, False]),
    ],
)
def test_numbers_of_every_type_are_numbers(values: Any, role: str) -> None:
    history = history_of(values, role)
    np.testing.assert_array_equal(history.values_NC[:, history.columns.index(role)], [0.5, np.nan, 7])
    assert not history.categories


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.array([1 + 0j, 2 + 1j]), r"holds complex numbers, such as \(1\+0j\) in row 1; .*map\(lambda z: z.real\)"),
        (
            pd.Series([1.0, np.complex64(2j)], dtype=object),
            r"holds complex numbers, such as 2j in row 2; .*map\(lambda z: z.real\)",
        ),
        (pd.to_timedelta([1, 2], unit="h"), r"holds durations, such as 0 days 01:00:00 in row 1; .*/ pd.Timedelta"),
        ([timedelta(hours=1), None], r"holds durations, such as .* in row 1; .*/ pd.Timedelta"),
        (pd.Series(pd.to_timedelta([1, 2], unit="h"), dtype="duration[ns][pyarrow]"), "holds durations"),
        ([[1.0], [2.0]], r"holds objects of type list, such as \[1.0\] in row 1; .*give one value a row"),
        ([1.0, {"a": 2}], r"holds objects of type dict, such as \{'a': 2\} in row 2; .*give one value a row"),
        ([1.0, np.ma.masked], "holds objects of type MaskedConstant, such as -- in row 2"),
    ],
)
def test_what_is_no_number_and_no_name_is_refused_with_its_remedy(values: Any, said: str, role: str) -> None:
    with pytest.raises(HistoryError, match=rf"column '{role}' {said}") as refused:
        history_of(values, role)
    assert str(refused.value).endswith("leave the column out of df") == (role == "x")


def test_the_remedies_that_are_named_work() -> None:
    complex_, durations = pd.Series([1 + 0j, 2 + 1j]), pd.Series(pd.to_timedelta([1, 2], unit="h"))
    for remedied in (complex_.map(lambda z: z.real), durations / pd.Timedelta("1h")):
        np.testing.assert_array_equal(history_of(remedied, "y").values_NC[:, 0], [1, 2])


def test_bytes_are_no_names() -> None:
    with pytest.raises(HistoryError, match=r"column 'x' holds bytes, such as b'a'; .*\.str\.decode\('utf-8'\)"):
        history_of([b"a", b"b"], "x")


@pytest.mark.parametrize(
    "values",
    [
        ["north", "south", "north"],
        pd.Series(["north", "south", "north"], dtype="category"),
        pd.date_range("2026-01-01", periods=3),
        pd.Series(pd.date_range("2026-01-01", periods=3), dtype="timestamp[ns][pyarrow]"),
        [date(2026, 1, 1), date(2026, 1, 2), None],
        ["$5", "$6", "$7"],
    ],
)
def test_a_target_of_words_is_said_to_be_the_wrong_column_and_the_others_are_named(values: Any) -> None:
    with pytest.raises(HistoryError) as refused:
        history_of(values, "y")
    said = str(refused.value)
    assert said.startswith("column 'y', the target, holds no number: it is '")
    assert "If another column is meant ('x' holds numbers), name it with target_col" in said
    assert "means missing" not in said


def test_a_target_of_numbers_with_a_word_is_asked_whether_the_word_means_missing() -> None:
    with pytest.raises(HistoryError, match=r"column 'y' is '-' in row 2, among 2 numbers; .*if '-' means missing"):
        history_of(["1", "-", "3"], "y")


def test_words_in_an_input_in_which_a_model_reads_numbers_are_no_marks_of_missing() -> None:
    frame = pd.DataFrame({"ds": pd.date_range("2026-01-01", periods=3), "y": 1.0, "promo": ["no", "yes", None]})
    said = r"column 'promo', in which the model reads numbers, holds none: it is 'no' in row 1 and 'yes' in row 2; give"
    with pytest.raises(HistoryError, match=said):
        read(frame, id_col=None, columns=["promo"], kinds={"y": None, "promo": None})
    empty = read(frame.assign(promo=None), id_col=None, columns=["promo"], kinds={"y": None, "promo": None})
    assert np.isnan(empty.values_NC[:, 1]).all()


@pytest.mark.parametrize("freq", ["W", "W-WED", "M", "Q", "Y", "D", "h"])
@pytest.mark.parametrize("place", ["column", "index", "level"])
def test_periods_are_their_starts(freq: str, place: str) -> None:
    periods = pd.period_range("2020-01-01", periods=12, freq=freq)
    frame = pd.DataFrame({"unique_id": "a", "ds": periods, "y": range(12)})
    given = {"column": frame, "index": frame.set_index("ds"), "level": frame.set_index(["unique_id", "ds"])}[place]
    expected = frame.assign(ds=periods.to_timestamp())
    found, wanted = (Forecaster("zero", horizon=2).fit(each).predict(each) for each in (given, expected))
    pd.testing.assert_frame_equal(found, wanted)
