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
from streamcast.offline.history.levels import FEWEST_ROWS
from streamcast.offline.history.timestamps import offset_minutes, zone_that_repeats
from streamcast.stages import stage

SEVERAL_SERIES = 0.1
"""From this share on, a column that tells such rows apart may name their series."""
MOST = 0.5
"""From this share on, such rows are taken for those that have one time only because times are cut."""


@stage("putting the rows in order")
def corrected(
    order_N: NDArray[np.intp], frame: pd.DataFrame, series_N: NDArray[np.int32], ts_N: NDArray[np.int64],
    below_N: NDArray[np.int64] | None, named: Sequence[str], changes: list[str], *, local: bool, zoned: bool,
) -> NDArray[np.intp]:  # fmt: skip
    """Return rows in order without those that a later row of the same series and time corrects.

    ``below_N`` has what was cut off the times to make milliseconds of them.  The columns that are ``named`` hold series
    (if there is one), times and target.  The times may be ``local`` ones of a zone that nobody named, or ``zoned``:
    then each names its own.
    """
    again = (np.diff(series_N[order_N]) == 0) & (np.diff(ts_N[order_N]) == 0)
    kept: NDArray[np.intp] = order_N[np.append(~again, [True])]
    if again.any():
        earlier_M, later_M = order_N[:-1][again], order_N[1:][again]
        changes.append(Message(
            f"{int(again.sum()):,} of {len(order_N):,} rows have the series and time of a later row and are left out:"
            " the last counts. ",
            *(_cut(below_N, earlier_M, later_M)
              or (zoned and _two_offsets(frame[named[-2]], earlier_M, later_M))
              or _meaning(frame, series_N, ts_N, earlier_M, named, local=local)),
        ))  # fmt: skip
    return kept


def _cut(
    below_N: NDArray[np.int64] | None, earlier_M: NDArray[np.intp], later_M: NDArray[np.intp]
) -> tuple[str | Option, ...] | None:
    """Return what rows that repeat are where most differ in what was cut off their times; None where few do."""
    if below_N is None or np.mean(cut := below_N[earlier_M] != below_N[later_M]) < MOST:
        return None
    which = "Their times differ" if cut.all() else f"The times of {int(cut.sum()):,} of them differ"
    return f"{which} below a millisecond, to which times are cut: a model trained with ", Option.TICKS, " uses them all"


def _two_offsets(
    times: pd.Series, earlier_M: NDArray[np.intp], later_M: NDArray[np.intp]
) -> tuple[str | Option, ...] | None:
    """Return what rows that repeat are whose times (those of both places [M]) differ in their offset; None if none do.

    Where an offset is wrong, or changes at another hour than the clocks do, two local times become one.
    """
    earlier, later = (times.iloc[places_M].astype(str) for places_M in (earlier_M, later_M))
    differ = offset_minutes(earlier) != offset_minutes(later)
    if not differ.any():
        return None
    first = int(differ.argmax())
    one = f"One time is written with two offsets there, such as {earlier.iloc[first]} and {later.iloc[first]}"
    return (
        f"{one}: if these are two local times, and an offset is wrong, leave the offsets out and give ",
        Option.TIMEZONE,
    )


def _meaning(
    frame: pd.DataFrame, series_N: NDArray[np.int32], ts_N: NDArray[np.int64], again_M: NDArray[np.intp],
    named: Sequence[str], *, local: bool,
) -> tuple[str | Option, ...]:  # fmt: skip
    """Return what rows that repeat (their places [M]) may be, and the option for it."""
    if local and (zone := zone_that_repeats(ts_N[again_M])) is not None:
        return f"They are from the hour that clocks repeat in {zone}: if times are local, give ", Option.TIMEZONE
    others = frame.loc[:, ~frame.columns.isin(named) & ~frame.columns.duplicated(keep=False)]
    if len(again_M) < SEVERAL_SERIES * len(ts_N) or (name := _telling(others, series_N, ts_N)) is None:
        return "If they are readings of one bar: a model trained with ", Option.TICKS, " uses them all"
    differ = f"They differ in {name!r}: if these are series of their own, "
    if len(named) < 3:
        return differ + "name that column with ", Option.ID_COL
    return f"{differ}make one column of {named[0]!r} and {name!r}, and name it with ", Option.ID_COL


def _telling(others: pd.DataFrame, series_N: NDArray[np.int32], ts_N: NDArray[np.int64]) -> str | None:
    """Return the column of fewest values with which no row has the series and time of another one, None without one."""
    texts = {str(name): column.astype(str) for name, column in others.items() if not is_float_dtype(column)}
    counts = {name: column.nunique() for name, column in texts.items()}
    for name in sorted(counts, key=counts.__getitem__):
        rows = pd.DataFrame({"series": series_N, "ts": ts_N, "name": texts[name].to_numpy()})
        if counts[name] <= len(others) // FEWEST_ROWS and not rows.duplicated().any():
            return name
    return None
