"""Rows with the series and time of another one: the last counts, and a message says what else they may be.

Shapes: N rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_float_dtype

from streamcast.errors import Message, Option
from streamcast.offline.history.timestamps import zone_that_repeats
from streamcast.stages import stage

SEVERAL_SERIES = 0.1
"""From this share on, a column that tells such rows apart may name their series."""


@stage("putting the rows in order")
def corrected(
    order_N: NDArray[np.intp], frame: pd.DataFrame, series_N: NDArray[np.int32], ts_N: NDArray[np.int64],
    id_col: str | None, inputs: Sequence[str], changes: list[str], *, local: bool,
) -> NDArray[np.intp]:  # fmt: skip
    """Return rows in order without those that a later row of the same series and time corrects.

    The times may be ``local`` ones of a zone that nobody named.
    """
    again = (np.diff(series_N[order_N]) == 0) & (np.diff(ts_N[order_N]) == 0)
    kept: NDArray[np.intp] = order_N[np.append(~again, [True])]
    if again.any():
        changes.append(Message(
            f"{int(again.sum()):,} of {len(order_N):,} rows have the series and time of a later row and are left out:"
            " the last counts. ",
            *_meaning(frame, series_N, ts_N, order_N[:-1][again], id_col, inputs, local=local),
        ))  # fmt: skip
    return kept


def _meaning(
    frame: pd.DataFrame, series_N: NDArray[np.int32], ts_N: NDArray[np.int64], again_M: NDArray[np.intp],
    id_col: str | None, inputs: Sequence[str], *, local: bool,
) -> tuple[str | Option, ...]:  # fmt: skip
    """Return what rows that repeat (their places [M]) may be, and the option for it."""
    if local and (zone := zone_that_repeats(ts_N[again_M])) is not None:
        return f"They are from the hour that clocks repeat in {zone}: if times are local, give ", Option.TIMEZONE
    if len(again_M) < SEVERAL_SERIES * len(ts_N) or (name := _telling(frame, series_N, ts_N, inputs)) is None:
        return "If they are readings of one bar: a model trained with ", Option.TICKS, " uses them all"
    differ = f"They differ in {name!r}: if these are series of their own, "
    if id_col is None:
        return differ + "name that column with ", Option.ID_COL
    return f"{differ}make one column of {id_col!r} and {name!r}, and name it with ", Option.ID_COL


def _telling(
    frame: pd.DataFrame, series_N: NDArray[np.int32], ts_N: NDArray[np.int64], inputs: Sequence[str]
) -> str | None:
    """Return the input of fewest values with which no row has the series and time of another one, None without one."""
    counts = {name: frame[name].nunique() for name in inputs if not is_float_dtype(frame[name])}
    for name in sorted(counts, key=counts.__getitem__):
        rows = pd.DataFrame({"series": series_N, "ts": ts_N, "name": frame[name].astype(str).to_numpy()})
        if counts[name] <= len(frame) // 3 and not rows.duplicated().any():
            return name
    return None
