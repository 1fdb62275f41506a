"""Data frames as people have them: own column names, an index as time, one series without a name, Arrow tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from streamcast.errors import HistoryError, Option
from streamcast.offline.evaluation.frames import name_beside, quantile_columns
from streamcast.offline.history.read import require_own_columns
from streamcast.offline.history.sources import ids_of

ID, TIME, TARGET = "unique_id", "ds", "y"
"""Nixtla's names, which are used where nobody gives others."""
CUTOFF = "cutoff"
"""The column that forecasts have besides those of the data."""
ANOMALY = "anomaly"
"""The column that a frame of anomalies has besides those of the data."""
HOLDS = {CUTOFF: "in which forecasts say when they were made", ANOMALY: "which says how unusual a bar is"}
"""What these columns hold."""
UNNAMED = "model"
"""The name of any model in a frame with Nixtla's columns: its own might be that of a column."""

AS_FRAME = ("to_pandas", "toPandas", "to_dataframe", "to_frame")
"""Methods by which tables of others become frames."""


@dataclass(frozen=True, slots=True)
class Names:
    """The columns of a frame that hold the series' names (None: it is one series), times and target."""

    id_col: str | None = ID
    time_col: str = TIME
    target_col: str = TARGET

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any], target: str) -> Names:
        """Return the names that a model was trained with."""
        names = {"id_col": ID, "time_col": TIME, "target_col": target} | {
            name: facts[name] for name in ("id_col", "time_col", "target_col") if name in facts
        }
        return cls(names["id_col"] or None, names["time_col"], names["target_col"])

    def facts(self) -> dict[str, str]:
        """Return what a model keeps of the names; '' is a single series."""
        return {"id_col": self.id_col or "", "time_col": self.time_col, "target_col": self.target_col}

    def given(self, id_col: str | None, time_col: str | None, target_col: str | None) -> Names:
        """Return these names with those that are given; '' as ``id_col`` means one series.

        Raises HistoryError for a column that is called as one of the forecasts' own, or that is named twice.
        """
        named = self if id_col is None else replace(self, id_col=id_col or None)
        named = named if time_col is None else replace(named, time_col=time_col)
        named = named if target_col is None else replace(named, target_col=target_col)
        require_own_columns(named.id_col, named.time_col, named.target_col)
        named.require_apart()
        return named

    def require_apart(self, own: str = CUTOFF) -> None:
        """Raise HistoryError for a column that is called as one of ours."""
        options = {Option.ID_COL: self.id_col, Option.TIME_COL: self.time_col, Option.TARGET_COL: self.target_col}
        for option, name in options.items():
            if name == own:
                raise HistoryError(option, f" is {own!r}, the column {HOLDS[own]}: rename yours")

    def back(
        self, frame: pd.DataFrame, model: str, quantiles: Sequence[float], given: pd.DataFrame | None = None, *,
        called: str = UNNAMED,
    ) -> pd.DataFrame:  # fmt: skip
        """Return forecasts that are ``called`` so as those of ``model``, with Nixtla's columns under these names.

        The name of a single series is left out.  Names of series become the values that the ``given`` frame has, such
        as whole numbers.
        """
        if self.id_col is None:
            frame = frame.drop(columns=ID)
        elif given is not None:
            column = given[self.id_col] if self.id_col in given.columns else given.index.get_level_values(self.id_col)
            values = pd.Series(column.unique(), dtype=column.dtype)
            by_name = pd.Series(values.array, index=ids_of(values, []).to_numpy(object), dtype=column.dtype)
            by_name = by_name[~by_name.index.duplicated()]  # 7 and "7" are one series
            frame = frame.assign(**{ID: by_name.reindex(frame[ID]).array})
        names = {ID: self.id_col or ID, TIME: self.time_col, TARGET: self.target_col}
        unnamed = quantile_columns(called, quantiles)
        others = [names.get(column, column) for column in frame.columns if column not in unnamed]
        named = quantile_columns(name_beside(others, model, quantiles), quantiles)
        return frame.rename(columns={**names, **dict(zip(unnamed, named, strict=True))})


def as_pandas(source: Any, names: Names) -> tuple[pd.DataFrame, Names]:
    """Return a pandas frame, and the names of its columns; a frame without an id column is one series.

    ``source`` is a pandas frame or series, or any table that speaks the Arrow interface (polars, pyarrow, DuckDB).
    Raises HistoryError for anything else.
    """
    frame = _pandas(source, names)
    if names.id_col == ID and ID not in frame.columns and ID not in frame.index.names:
        names = replace(names, id_col=None)
    return frame, names


def _pandas(source: Any, names: Names) -> pd.DataFrame:
    if isinstance(source, pd.Series):
        return source.to_frame(names.target_col)
    if isinstance(source, pd.DataFrame):
        return source
    if hasattr(source, "collect") and not hasattr(source, "__arrow_c_stream__"):  # a lazy frame of polars
        source = source.collect()
    if not hasattr(source, "__arrow_c_stream__"):
        raise HistoryError(
            f"df is a {type(source).__name__}: expected a frame of pandas or polars, or another table with the Arrow"
            f" interface{_remedy(source, names)}"
        )
    try:
        import pyarrow as pa
    except ModuleNotFoundError:
        raise HistoryError(
            f"df is a {type(source).__name__}, which needs pyarrow; pip install 'streamcast-forecasting[parquet]'"
        ) from None
    try:
        table: pd.DataFrame = pa.RecordBatchReader.from_stream(source).read_all().to_pandas()
    except pa.ArrowException as error:
        raise HistoryError(
            f"df is a {type(source).__name__} that Arrow does not read as a table ({error}): expected a frame whose"
            " columns are numbers, texts and times; cast the others, or leave them out"
        ) from None
    return table


def _remedy(source: Any, names: Names) -> str:
    """Return how to make a frame of something that is none, where that is known."""
    if isinstance(source, str | Path):
        return f"; is it a file? Read it first, such as with pd.read_csv({str(source)!r})"
    if method := next((method for method in AS_FRAME if hasattr(source, method)), None):
        return f"; df.{method}() makes one"
    if isinstance(source, Mapping):
        if all(np.ndim(value) == 1 for value in source.values()):
            return "; pd.DataFrame(df) makes one"
        return "; if it has times and their values, pd.Series(df) makes one"
    if not isinstance(source, Sequence | np.ndarray) or not len(source):
        return ""
    first = source[0]
    if isinstance(first, Mapping | np.void):
        return "; pd.DataFrame(df) makes one"
    if isinstance(first, Real):
        return (
            "; if its values are an hour apart, pd.Series(df, pd.date_range('2026-01-31', freq='h', periods=len(df)))"
            " makes one; choose the first time"
        )
    columns = [names.id_col or ID, names.time_col, names.target_col][-np.size(first) :]
    if isinstance(first, Sequence | np.ndarray) and not isinstance(first, str) and len(columns) == len(first) > 1:
        return f"; pd.DataFrame(df, columns={columns!r}) makes one, if these are its columns"
    return ""
