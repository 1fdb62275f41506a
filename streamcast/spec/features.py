"""The inputs of a network: lists of names, in the order in which the kernel writes them.

``names`` are the features of one bar, of any scale (a coarse bar's values are aggregates of its base bars);
``target_names`` are the numbers of one bar of the horizon, and ``target_tables`` the sizes of its look-up tables.
"""

from __future__ import annotations

from streamcast.spec.durations import DAY_MS, HOUR_MS, WEEK_MS
from streamcast.spec.model_spec import ModelSpec, TargetBars

CALENDAR_MS = {
    "hour": float(HOUR_MS),
    "half-day": DAY_MS / 2,
    "day": float(DAY_MS),
    "week": float(WEEK_MS),
    "year": 31_556_952_000.0,
}
"""Calendar periods in milliseconds (a year is the mean Gregorian one)."""

KINDS_OF_DAY = 3
"""Working day, weekend, day off.

They are of the day in grid time.  A weekday is 1.4 days long there, so that where bars are weekdays, Fridays have the
second.
"""
DAYS = 8
"""Monday to Sunday, and a day off."""


def names(spec: ModelSpec) -> list[str]:
    """The features of one bar, in order; the first is the normalised target.

    Numbers are (value − running mean) / running standard deviation, clipped to ±100; ``missing`` is 1 where
    nothing was observed; ``age`` is log(1 + bars since the target was last observed); a category is one-hot
    and all zeros when unknown; the calendar is the sine and cosine of the bar's place in each period.  With target
    bars, the calendar is that of local time, ``since`` is the change from one season ago, and known inputs are
    (value − center) / spread.
    """
    columns, targets = spec.series.columns, spec.targets
    return [
        *(column.name for column in columns if column.categories is None),
        *(f"{column.name} missing" for column in columns),
        "age",
        *(f"{column.name}={category}" for column in columns for category in column.categories or ()),
        *(f"{wave} of {period}" for period in spec.calendar for wave in ("sin", "cos")),
        *(f"since {season} bars ago" for season in (spec.seasons if spec.aligns else ())),
        *(["day off"] if targets and targets.local.days_off else []),
        *(f"{name} as known" for name in (known_numbers(spec, targets) if targets else ())),
    ]


def first_since(spec: ModelSpec) -> int:
    """The place in ``names`` of the first ``since``, behind all that columns and calendar bring."""
    columns = spec.series.columns
    numbers = sum(column.categories is None for column in columns)
    categories = sum(len(column.categories or ()) for column in columns)
    return numbers + len(columns) + len(["age"]) + categories + 2 * len(spec.calendar)


def width(spec: ModelSpec) -> int:
    """The length of a feature row: the names, padded with zeros to a multiple of 8 (see ``engine/tiles.py``)."""
    return _padded(len(names(spec)))


def known_numbers(spec: ModelSpec, targets: TargetBars) -> list[str]:
    """The known inputs that are numbers."""
    categories = {column.name for column in spec.series.columns if column.categories is not None}
    return [known.name for known in targets.known if known.name not in categories]


def target_names(spec: ModelSpec, targets: TargetBars) -> list[str]:
    """The numbers of one bar of the horizon, in order: first the target in earlier seasons, normalised as in ``names``.

    ``season 24 −2`` is the target two seasons of 24 bars before the bar (counted from the newest that is known at the
    cutoff); ``missing`` is 1 where that bar was not observed; ``day off`` where it lies on one.  New models have one
    number in the place of all ``missing``: the share of these bars that were not observed.
    ``alike −2`` is the second newest observed value at the bar's place on a day of its kind: a working day, a Saturday,
    or a Sunday or day off; ``missing`` is 1 where no such day is known.
    """
    places = [
        f"season {season} −{k}"
        for season, back in zip(spec.seasons, targets.back, strict=True)
        for k in range(1, back + 1)
    ]
    alike = [f"alike −{k}" for k in range(1, targets.alike + 1)]
    numbers = known_numbers(spec, targets)
    return [
        *places,
        *alike,
        *(["share missing"] if targets.missing == "share" else [f"{place} missing" for place in (*places, *alike)]),
        *(f"{place} day off" for place in (places if targets.local.days_off else [])),
        *(f"{name} ahead" for name in numbers),
        *(f"{name} ahead missing" for name in numbers),
    ]


def seasonal_values(targets: TargetBars) -> int:
    """How many of ``target_names`` are values of the target in earlier seasons: the first so many."""
    return sum(targets.back) + targets.alike


def target_width(spec: ModelSpec, targets: TargetBars) -> int:
    """The length of a row of ``target_names``, padded with zeros to a multiple of 8."""
    return _padded(len(target_names(spec, targets)))


def target_tables(spec: ModelSpec, targets: TargetBars) -> tuple[int, ...]:
    """The rows of the look-up tables of one bar of the horizon, which follow each other in one table.

    Kind of day × time of day, day of the week, each known input that is a category (its first row: unknown), the step.
    """
    sizes = {column.name: len(column.categories or ()) for column in spec.series.columns}
    categories = [sizes[known.name] + 1 for known in targets.known if sizes[known.name]]
    return (KINDS_OF_DAY * targets.places, DAYS, *categories, spec.horizon)


def _padded(numbers: int) -> int:
    return -(-numbers // 8) * 8
