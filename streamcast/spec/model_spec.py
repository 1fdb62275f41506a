"""A model as data: everything that can change a forecast's bytes, in one hashed document.

``SeriesSpec`` defines the columns of a record and when a bar closes; all lanes of a service agree on these.
``ModelSpec`` adds the model's inputs, its horizon, and the network.
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from streamcast.errors import Option, OptionError
from streamcast.spec.calendar_bars import Calendar, Grid, parse_step
from streamcast.spec.durations import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, WEEK_MS
from streamcast.spec.local_time import UTC_TIME, LocalTime

_UNITS_MS = {"ms": 1, "s": SECOND_MS, "min": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS, "w": WEEK_MS}
_DURATION = re.compile(r"(\d+)\s*(ms|s|min|h|d|w)")
_LONGEST_MS = 10_000 * 366 * DAY_MS
_MOST_OPEN_BARS = 10_000
_TTL_MS, _TTL_BARS = 30 * DAY_MS, 30
USUAL_GAP, MOST_GAP = WEEK_MS // (5 * MINUTE_MS), WEEK_MS // MINUTE_MS
"""Missing bars after which a series restarts, unless a spec says otherwise, and at most."""
_AHEAD_MS = DAY_MS
ANOMALOUS, ANOMALOUS_IF_NORMAL = 0.997, 0.9999
"""A bar with at least this anomaly counts as one: the beginning of an event (``kernels.scoring``).

The second is for models whose anomaly takes errors for normal.
"""


def parse_duration(value: object) -> int:
    """Return milliseconds for ``90000`` or ``"15min"`` (units ms, s, min, h, d, w); raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError(f"{value!r} is not a duration: write a number and a unit, such as 15min or 1h")
    if isinstance(value, int):
        return value
    if parse_step(value):
        raise ValueError(
            f"{value!r} is a step of the calendar, which has no one length: write a number and one of"
            f" {', '.join(_UNITS_MS)}, such as 30d"
        )
    match = _DURATION.fullmatch(value.strip().lower())
    if match is None:
        raise ValueError(
            f"{value!r} is not a duration: write a number and one of {', '.join(_UNITS_MS)}, such as 15min"
        )
    return int(match[1]) * _UNITS_MS[match[2]]


def format_duration(milliseconds: int) -> str:
    """Return the shortest text that ``parse_duration`` reads back, such as ``1h``."""
    unit = next(unit for unit, size in reversed(_UNITS_MS.items()) if milliseconds % size == 0)
    return f"{milliseconds // _UNITS_MS[unit]}{unit}"


def bar_name(grid: Grid) -> str:
    """Return what a bar is, in words, such as ``1h`` or ``1 month``."""
    return format_duration(grid.freq) if grid.calendar is None else grid.calendar.bar


Duration = Annotated[int, BeforeValidator(parse_duration), Field(gt=0, le=_LONGEST_MS)]
Grace = Annotated[int, BeforeValidator(parse_duration), Field(ge=0, le=_LONGEST_MS)]
Aggregate = Literal["mean", "first", "last", "min", "max", "sum", "count"]

MOST_SEASON = 100_000
"""Bars of the longest season."""
SEASON_IN_WORDS = "bars or durations above 0"
"""What a person gives as a season."""
Season = Annotated[int, Field(ge=1, le=MOST_SEASON)]


def _listed(value: object) -> object:
    """Accept one season where a list of them is expected."""
    return (value,) if isinstance(value, int) else value


class Frozen(BaseModel):
    """An immutable value that rejects unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(Frozen):
    """One column of a record: a number, or a category encoded by its index in ``categories``."""

    name: str = Field(min_length=1, max_length=200, pattern=r'^[^"\\\x00-\x1f]+$')
    categories: tuple[str, ...] | None = None
    aggregate: Aggregate | None = Field(default=None, description="default: mean of numbers, last of categories")

    @model_validator(mode="after")
    def _check(self) -> Column:
        if self.categories is not None and (not self.categories or len(set(self.categories)) < len(self.categories)):
            raise ValueError(f"column {self.name!r}: categories must be distinct and at least one")
        if self.categories is not None and self.aggregate not in (None, "first", "last"):
            raise ValueError(f"column {self.name!r}: categories have no {self.aggregate}: use first or last")
        return self

    @property
    def reducer(self) -> Aggregate:
        """The aggregate that makes one value of the values of a bar."""
        return self.aggregate or ("mean" if self.categories is None else "last")


class Scale(Frozen):
    """A coarser bar length and the number of its bars in the window."""

    every: Duration
    window: int = Field(default=64, ge=1, le=100_000)


class SeriesSpec(Frozen):
    """The columns of a record and when its bar closes; the first column is the target."""

    columns: tuple[Column, ...] = Field(min_length=1, max_length=256)
    freq: Duration
    offset: int = Field(
        default=0, ge=-_LONGEST_MS, le=_LONGEST_MS, description="bars start at epoch + offset + k·freq, in milliseconds"
    )
    calendar: Calendar | None = Field(
        default=None, description="where bars start whose lengths differ; freq and offset then count in grid time"
    )
    mode: Literal["sample", "ticks"] = "sample"
    grace: Grace = 0
    max_gap: int = Field(
        default=USUAL_GAP,
        ge=0,
        le=MOST_GAP,
        description="bars; a longer gap restarts the series cold; default: as many as ttl allows, at most 2,016",
    )
    max_ahead: Duration = Field(
        default=_AHEAD_MS,
        description="event time may lead the Kafka timestamp by this; default: a day, or a bar if longer",
    )
    missing: Literal["last", "season"] = Field(default="last", description="the value of a missing bar")
    ttl: Duration = Field(
        default=_TTL_MS, description="a key that was silent for longer is reset; default: 30 days, or 30 bars if longer"
    )

    @model_validator(mode="before")
    @classmethod
    def _fit_the_bars(cls, given: Any) -> Any:
        """Set the defaults that depend on the length of a bar, and on the ttl."""
        if isinstance(given, dict):
            with suppress(ValueError):
                freq = parse_duration(given.get("freq"))
                ttl = parse_duration(given.get("ttl", max(_TTL_MS, _TTL_BARS * freq)))
                gap = min(max(ttl // max(freq, 1) - 1, 0), USUAL_GAP)
                return {"ttl": ttl, "max_ahead": max(_AHEAD_MS, freq), "max_gap": gap} | given
        return given

    @model_validator(mode="after")
    def _check(self) -> SeriesSpec:
        names = [column.name for column in self.columns]
        if len(set(names)) < len(names):
            raise ValueError(f"columns {names} must have distinct names")
        if self.columns[0].categories is not None:
            raise ValueError(f"the target {names[0]!r} is a category: a target must be a number")
        if self.ttl < self.freq:
            raise ValueError(
                f"ttl {format_duration(self.ttl)} is shorter than a bar of {self.bar}, so every"
                " record would restart its series: choose a longer ttl"
            )
        if self.mode == "sample" and self.grace:
            raise OptionError(Option.GRACE, " is for ", Option.TICKS, ": a sample is complete when it arrives")
        if self.grace > _MOST_OPEN_BARS * self.freq:
            raise OptionError(
                Option.GRACE, f" {format_duration(self.grace)} keeps more than {_MOST_OPEN_BARS} bars of {self.bar}"
                " open: choose a shorter one or longer bars",
            )  # fmt: skip
        return self

    @property
    def grid(self) -> Grid:
        """Where bars start."""
        return Grid(self.freq, self.offset, self.calendar)

    @property
    def bar(self) -> str:
        """What a bar is, in words."""
        return bar_name(self.grid)

    @property
    def target(self) -> str:
        """The name of the column that is forecast."""
        return self.columns[0].name

    @property
    def kinds(self) -> dict[str, tuple[str, ...] | None]:
        """The categories of each column, None for numbers."""
        return {column.name: column.categories for column in self.columns}

    @property
    def record(self) -> dict[str, Any]:
        """What a record is, and when its bar closes: all lanes of a service agree on it, since they read the same."""
        return self.model_dump(exclude={"missing", "max_gap", "ttl"})

    @property
    def longest_gap(self) -> int:
        """The most missing bars after which a series goes on; after more it restarts as a new one."""
        return min(self.max_gap, self.ttl // self.freq - 1)

    @property
    def open_bars(self) -> int:
        """How many base bars of ticks may be open at once (none in sample mode)."""
        return -(-self.grace // self.freq) + 1 if self.mode == "ticks" else 0


class Known(Frozen):
    """A column whose future is published in advance; numbers are given to the model as (value - center) / spread."""

    name: str
    center: float = Field(default=0.0, allow_inf_nan=False)
    spread: float = Field(default=1.0, gt=0, allow_inf_nan=False)


class TargetBars(Frozen):
    """What the model knows about the bars that it forecasts: earlier seasons, local calendar, known inputs."""

    back: tuple[Annotated[int, Field(ge=1, le=32)], ...] = Field(
        min_length=1, max_length=8, description="how many earlier seasons are read, for each of season and further"
    )
    alike: int = Field(
        default=0, ge=0, le=8, description="how many earlier days of the target bar's kind are read at its place"
    )
    local: LocalTime = Field(default=UTC_TIME, description="the wall clock of calendar features, and days off")
    places: int = Field(default=48, ge=1, le=288, description="entries of the time-of-day table")
    week: bool = Field(default=True, description="whether days of the week and days off differ")
    known: tuple[Known, ...] = Field(default=(), max_length=64)
    missing: Literal["each", "share"] = Field(
        default="each", description="whether each value of earlier bars has a flag for missing, or all share a number"
    )
    mean: bool = Field(default=True, description="whether the running mean is a candidate, too")
    softmax: int = Field(
        default=0, ge=0, le=64, description="least width of the softmax over candidates; below 16 torch takes longer"
    )
    loops: bool = Field(
        default=False, description="whether the service sums candidates in loops of its own instead of torch's"
    )


class Online(Frozen):
    """The online layer: it mixes the network with simple forecasts and keeps the coverage of its intervals."""

    regressions: bool = Field(default=True, description="whether regressions are among the experts")
    one_regression: bool = Field(
        default=False, description="whether a step has one regression, of 14 days, instead of two that read more"
    )
    regressions_wait: bool = Field(
        default=False, description="whether they learn only once a series' scale is known, so that units do not matter"
    )
    medians: bool = Field(
        default=False,
        description="whether simple forecasts repeat the median of earlier seasons, instead of a trimmed mean",
    )
    exact: bool = Field(
        default=False,
        description="whether the mean of equal numbers is exactly these, so that a constant is forecast as it is",
    )
    bounded: bool = Field(
        default=False, description="whether forecasts are held within the bounds to the last digit of the mean"
    )
    network_prior: float = Field(
        default=5.0,
        ge=0,
        allow_inf_nan=False,
        description="first regret of the network; the longest season's naive forecast has 6",
    )
    forget: float = Field(default=0.01, ge=0, lt=1, description="share of the regrets that a first season forgets")
    coverage_step: float = Field(
        default=0.1, gt=0, le=1, description="how fast levels follow their coverage, in mean absolute errors"
    )
    shared_coverage_step: float = Field(
        default=0.0, ge=0, le=1, description="how fast they follow the coverage of all scored steps together"
    )
    shared_widths: bool = Field(
        default=False,
        description="whether that is the coverage of pairs of levels, such as .1 and .9, over all steps ahead",
    )
    network_spread: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="how much of the other experts' weight goes to the network where the distances of levels are mixed",
    )
    network_reach: float = Field(
        default=0.0,
        ge=0,
        description="how many mean errors the network's forecast may lie outside all others; 0 for no limit",
    )
    hourly_coverage_step: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="how fast the levels of a part of the day, of which there are at most 24, follow their coverage",
    )
    largest_error: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="how many mean errors one outcome counts as in them, so that one wild value does not widen"
        " intervals for weeks; 0 for no limit",
    )
    levels_stop: bool = Field(
        default=False,
        description="whether levels that move inwards stop at the median, so that a constant series that changes has"
        " intervals soon",
    )
    winsorized: bool = Field(
        default=False,
        description="whether simple forecasts repeat one wild value only as far as it counts in mean errors",
    )
    most_behind: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="how many times those of the best expert the recent errors of the weights may be, before the"
        " weights follow recent errors; 0 for no limit",
    )
    network_on_days_off: bool = Field(
        default=False,
        description="whether the network alone forecasts days off, as long as it is better there than the mixture",
    )
    close_steps: bool = Field(
        default=False,
        description="whether scored steps are at most a sixth of the horizon apart, so that what is learned at them"
        " holds between them",
    )
    known_effect: bool = Field(
        default=False,
        description="whether the effect of known inputs that are numbers is learned while serving, and what they leave"
        " is forecast",
    )


NEW_ONLINE = Online(
    regressions_wait=True,
    coverage_step=0.05,
    shared_coverage_step=0.15,
    shared_widths=True,
    network_spread=0.5,
    hourly_coverage_step=0.1,
    medians=True,
    exact=True,
    bounded=True,
    levels_stop=True,
    largest_error=200.0,
    winsorized=True,
    most_behind=5.0,
    close_steps=True,
    known_effect=True,
)
"""The online layer of new models.  What a spec leaves out has the value of the models that were made before it."""
ONLINE_BESIDE_NETWORK = NEW_ONLINE.model_copy(update={"one_regression": True})
"""The same beside a network that has learned from many bars: there the second regression brings nothing."""
ONLINE_AFTER_FEW_BARS = NEW_ONLINE.model_copy(update={"network_reach": 3.0})
"""The same beside a network that has learned from few bars, which may be far out where something is new to it."""


def spread(horizon: int) -> tuple[int, ...]:
    """Return at most five steps from 1 to the horizon, evenly: their errors together are about those of all steps."""
    return tuple(sorted({1, *(round(horizon * quarter / 4) or 1 for quarter in range(1, 5))}))


TransformName = Literal["none", "sqrt", "log"]
"""What is asked for where a ``Transform`` is chosen; "none" is the data's own scale."""


NO_NETWORK = "none"
"""The kind of network of a model that has none."""


class Transform(Frozen):
    """A monotone function of the target: the model learns and forecasts on its scale, quantiles are mapped back.

    ``sqrt`` is sign(y)·√|y|, ``log`` is sign(y)·log(1 + |y| / unit): nearly linear for values far below the unit.
    """

    kind: Literal["sqrt", "log"]
    unit: float = Field(default=1.0, gt=0, allow_inf_nan=False, description="of a logarithm; a square root needs none")


class ModelSpec(Frozen):
    """A model without its weights; its hash, with theirs, names the model."""

    schema_version: Literal[1, 2, 3, 4] = Field(
        default=4,
        description="before 4: the anomaly does not count how often a value comes in a row; before 3: it takes errors"
        " for normal; before 2: digits and the normaliser's least unit follow the level of values, not their spread,"
        " and a series is answered before its first value",
    )
    series: SeriesSpec
    horizon: int = Field(ge=1, le=2_000, description="bars ahead")
    quantiles: tuple[float, ...] = (0.1, 0.5, 0.9)
    window: int = Field(
        default=0, ge=0, le=1_000_000, description="bars in the window; at least as many as lags and season need"
    )
    lags: int = Field(default=336, ge=0, le=10_000, description="bars of the linear highway")
    scales: tuple[Scale, ...] = ()
    season: Annotated[tuple[Season, ...], BeforeValidator(_listed)] = Field(
        default=(24,),
        min_length=1,
        max_length=8,
        description="season lengths in bars; a missing bar may be filled from the first",
    )
    further: tuple[Season, ...] = Field(
        default=(),
        max_length=8,
        description="more seasons in bars that forecasts read, such as a year of days; baselines do not repeat them",
    )
    naive: int | None = Field(
        default=None,
        ge=1,
        le=MOST_SEASON,
        description="how many bars back seasonal naive, the baseline, reads; null: the first season",
    )
    calendar: tuple[Literal["hour", "half-day", "day", "week", "year"], ...] = ("day", "week")
    half_life: int = Field(
        default=336,
        ge=1,
        le=1_000_000_000,
        description="bars after which an observation has half its weight in the running normaliser",
    )
    warm_up: int = Field(default=64, ge=1, le=1_000_000_000, description="bars before forecasts are marked warm")
    scored: tuple[int, ...] = Field(
        default=(),
        description="steps ahead whose forecasts are scored; default 1 and horizon; specs that are chosen have five",
    )
    lower: float | None = Field(default=None, allow_inf_nan=False, description="no forecast lies below this")
    upper: float | None = Field(default=None, allow_inf_nan=False, description="no forecast lies above this")
    transform: Transform | None = Field(
        default=None, description="the scale of the target on which the model learns; null for the data's own"
    )
    targets: TargetBars | None = Field(
        default=None, description="what is known about the target bars; null for a model that does not look at them"
    )
    online: Online | None = Field(
        default=None, description="what is learned from outcomes while serving; null for the network's forecasts alone"
    )
    network: dict[str, Any]

    @model_validator(mode="after")
    def _check(self) -> ModelSpec:
        if twice := [one for place, one in enumerate(self.seasons) if one in self.seasons[:place]]:
            raise ValueError(f"season {self.season} and further {self.further} name {twice[0]} twice: leave one out")
        if self.targets is not None:
            self._check_targets(self.targets)
        if list(self.quantiles) != sorted(set(self.quantiles)) or not all(0 < q < 1 for q in self.quantiles):
            shares = ", ".join(f"{each / 100:g}" for each in self.quantiles)
            percent = f": as shares, are they {shares}?" if 1 < max(self.quantiles, default=0) < 100 else ""
            raise OptionError(Option.QUANTILES, f" {self.quantiles} must rise strictly between 0 and 1{percent}")
        if 0.5 not in self.quantiles:
            raise OptionError(Option.QUANTILES, f" {self.quantiles} must hold 0.5: errors are measured at the median")
        if self.lags % 8:
            raise OptionError(Option.LAGS, f" {self.lags} must be a multiple of 8, such as {-(-self.lags // 8) * 8}")
        base = self.series.freq
        for finer, scale in zip([base, *(s.every for s in self.scales)], self.scales, strict=False):
            if scale.every <= finer or scale.every % base:
                raise OptionError(
                    Option.SCALES, f" {format_duration(scale.every)} must be a multiple of the base"
                    f" {format_duration(base)} and coarser than {format_duration(finer)}",
                )  # fmt: skip
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise OptionError(Option.UPPER, f" {self.upper:g} must be more than ", Option.LOWER, f" {self.lower:g}")
        if any(not 1 <= step <= self.horizon for step in self.scored):
            raise ValueError(f"scored steps {self.scored} must lie between 1 and the horizon {self.horizon}")
        return self

    def _check_targets(self, targets: TargetBars) -> None:
        if len(targets.back) != len(self.seasons):
            raise ValueError(f"targets.back {targets.back} needs one number for each season of {self.seasons}")
        days = (self.series.freq, *(season * self.series.freq for season in self.season))
        if targets.alike and not (targets.week and DAY_MS in days):
            raise ValueError(
                f"targets.alike {targets.alike} reads days of the same kind, so it needs targets.week, and bars or a"
                f" season of a day; season is {self.season} in bars of {self.series.bar}: set alike to 0"
            )
        columns = {column.name: column for column in self.series.columns}
        names = [known.name for known in targets.known]
        if unknown := sorted({*names} - {*columns} | {*names} & {self.series.target}):
            raise OptionError(
                Option.KNOWN, f" names {unknown}: expected columns other than the target; there are {list(columns)}"
            )
        if len(set(names)) < len(names):
            raise OptionError(Option.KNOWN, f" names {names}: each must be there once")

    @property
    def follows_spread(self) -> bool:
        """Whether digits and the normaliser's least unit follow the spread of values; before version 2, their level."""
        return self.schema_version > 1

    @property
    def learns_tails(self) -> bool:
        """Whether the anomaly learns how errors of a series are distributed; before version 3, they are normal."""
        return self.schema_version > 2

    @property
    def anomalous(self) -> float:
        """The anomaly from which on metrics and page count a bar as one."""
        return ANOMALOUS if self.learns_tails else ANOMALOUS_IF_NORMAL

    @property
    def counts_runs(self) -> bool:
        """Whether a value that comes unusually often in a row is an anomaly, too; before version 4, it is not."""
        return self.schema_version > 3

    @property
    def naive_season(self) -> int:
        """The season length of the seasonal-naive baseline, in bars."""
        return self.naive or self.season[0]

    @property
    def seasons(self) -> tuple[int, ...]:
        """All season lengths that forecasts read, in bars."""
        return (*self.season, *self.further)

    @property
    def zone(self) -> str:
        """The time zone of the series' calendar; UTC for a model without one."""
        return self.targets.local.zone if self.targets else UTC_TIME.zone

    @property
    def known_columns(self) -> tuple[int, ...]:
        """The columns whose future is known, in the order of ``targets.known``."""
        names = [column.name for column in self.series.columns]
        return tuple(names.index(known.name) for known in self.targets.known) if self.targets else ()

    @property
    def effects(self) -> tuple[Known, ...]:
        """The known inputs whose effect is learned while serving: numbers, where the spec asks for it."""
        if self.targets is None or self.online is None or not self.online.known_effect:
            return ()
        kinds = self.series.kinds
        return tuple(known for known in self.targets.known if kinds[known.name] is None)

    @property
    def aligns(self) -> bool:
        """Whether target bars are described for a network; a model without one has them for known inputs alone."""
        return self.targets is not None and not (self.effects and self.network.get("kind") == NO_NETWORK)

    @property
    def nominal(self) -> float:
        """The share of outcomes that the interval between the outer quantiles promises to hold."""
        return round(self.quantiles[-1] - self.quantiles[0], 9)

    @property
    def scored_steps(self) -> tuple[int, ...]:
        """The steps ahead whose forecasts are kept until their bar is observed."""
        return tuple(sorted(set(self.scored or (1, self.horizon))))

    @property
    def median(self) -> int:
        """The index of 0.5 in the quantiles."""
        return self.quantiles.index(0.5)

    @property
    def ring(self) -> int:
        """Base bars in the ring: the window, or more if lags and the seasonal-naive baseline need more."""
        seasons = -(-max(self.scored_steps) // self.naive_season) * self.naive_season
        back = self.targets.back if self.targets and self.aligns else ()
        aligned = [(-(-self.horizon // s) + k) * s for s, k in zip(self.seasons, back, strict=False)]
        filled = self.season[0] if self.series.missing == "season" else 0
        return max(self.window, self.lags, seasons + 1, filled, 2, *aligned)

    def to_json(self) -> str:
        """Return the canonical document: sorted names, no spaces."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    def digest(self) -> str:
        """SHA-256 of the canonical document, in hex."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()
