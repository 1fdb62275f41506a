"""The features of a bar: one list of names, in the order in which the kernel writes them.

All scales have the same features; a coarse bar's values are aggregates of its base bars.
"""

from __future__ import annotations

from streamcast.spec.model_spec import ModelSpec

CALENDAR_MS = {"hour": 3_600_000.0, "day": 86_400_000.0, "week": 604_800_000.0, "year": 31_556_952_000.0}
"""Calendar periods in milliseconds from the epoch (a year is the mean Gregorian one)."""


def names(spec: ModelSpec) -> list[str]:
    """The features of one bar, in order; the first is the normalised target.

    Numbers are (value − running mean) / running standard deviation, clipped to ±100; ``missing`` is 1 where
    nothing was observed; ``age`` is log(1 + bars since the target was last observed); a category is one-hot
    and all zeros when unknown; the calendar is the sine and cosine of the bar's place in each period.
    """
    columns = spec.series.columns
    return [
        *(column.name for column in columns if column.categories is None),
        *(f"{column.name} missing" for column in columns),
        "age",
        *(f"{column.name}={category}" for column in columns for category in column.categories or ()),
        *(f"{wave} of {period}" for period in spec.calendar for wave in ("sin", "cos")),
    ]


def width(spec: ModelSpec) -> int:
    """The length of a feature row: the names, padded with zeros to a multiple of 8 (see ``engine/tiles.py``)."""
    return -(-len(names(spec)) // 8) * 8
