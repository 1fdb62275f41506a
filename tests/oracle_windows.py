"""A second, slow implementation of the window kernel, written from the specification alone: bars, gaps, lateness,
coarse bars, the running normaliser, features, lags, ticks with grace.

One ``Series`` is one key.  It keeps its whole past in lists and recomputes everything for every bar: no rings, no
running sums, no code shared with the kernels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from streamcast.spec.model_spec import Known, ModelSpec

DAY = 86_400_000
PERIODS = {"hour": 3_600_000, "half-day": DAY // 2, "day": DAY, "week": 604_800_000, "year": 365.2425 * 86_400_000}

REDUCE: Mapping[str, Callable[[Sequence[float]], float]] = {
    "mean": lambda values: sum(values) / len(values),
    "first": lambda values: values[0],
    "last": lambda values: values[-1],
    "min": min,
    "max": max,
    "sum": sum,
}
"""How the observed values of some bars or readings, in order of time, become one."""

COARSE = {"sum": "mean", "count": "mean"}
"""The aggregates whose coarse form differs: a coarse bar is in the unit of a base bar."""


def reduced(reducer: str, readings: Sequence[float]) -> float:
    """The value of a bar: NaN without readings, except that their count is 0."""
    if reducer == "count":
        return float(len(readings))
    return REDUCE[reducer](readings) if readings else math.nan


def on_scale(spec: ModelSpec, value: float) -> float:
    """A target on the scale of the spec's transform."""
    if spec.transform is None or math.isnan(value):
        return value
    size = abs(value)
    return math.copysign(
        math.sqrt(size) if spec.transform.kind == "sqrt" else math.log1p(size / spec.transform.unit), value
    )


@dataclass
class Bar:
    """One step of the base scale: the observed values (NaN: missing) and the filled values that the model sees."""

    order: int
    label: int
    observed: list[float]
    filled: list[float]
    features: Mapping[str, float]
    dt: float
    naive: list[float]


@dataclass
class Coarse:
    """One step of a coarser scale, closed by the base bar of order ``after``."""

    scale: int
    order: int
    after: int
    features: Mapping[str, float]


@dataclass
class Answer:
    """The inputs of a forecast other than hidden states."""

    cutoff: int
    last: float
    unit: float
    lags: list[float]
    warm: bool
    orders: list[int]
    level: float = 0.0
    targets: list[dict[str, float]] = field(default_factory=list)
    codes: list[list[int]] = field(default_factory=list)


@dataclass
class Effect:
    """The effect of one record: its outcome, its steps and its answer."""

    outcome: str
    bars: list[Bar] = field(default_factory=list)
    coarse: list[Coarse] = field(default_factory=list)
    answer: Answer | None = None
    restarted: bool = False
    forgotten: int = 0  # bars before the restart


class Series:
    """One key, from its first record on."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.series = spec.series
        self.applied = -1
        self.known: dict[tuple[int, int], float] = {}  # (known input, number of a bar) -> value
        self.reach: int | None = None  # known inputs are kept for bars after this one
        self.readings: dict[int, list[tuple[int, int, tuple[float, ...]]]] = {}  # ticks: bar -> (time, offset, values)
        self._forget()

    def _forget(self) -> None:
        self.bars: list[Bar] = []
        self.closed = [0 for _ in self.spec.scales]
        self.event: int | None = None  # the newest event time
        self.stepped: int | None = None  # the time of the newest step
        self.shut: int | None = None  # ticks: all bars up to this number are closed
        self.silence: int | None = None  # ticks: how many bars without a record have closed since one with records

    def take(self, offset: int, time: int, values: tuple[float, ...], ahead: tuple[float, ...] = ()) -> Effect:
        """Apply one record."""
        if offset <= self.applied:
            return Effect("duplicate")
        if self.series.mode == "ticks":
            effect = self._tick(offset, time, values, ahead)
        else:
            effect = self._sample(time, values, ahead)
        if effect.outcome in ("answered", "absorbed"):
            self.applied = offset
        return effect

    # -- when a bar closes -----------------------------------------------------------------------------

    def _number(self, time: int) -> int:
        return (time - self.series.offset) // self.series.freq

    def _label(self, bar: int) -> int:
        return self.series.offset + bar * self.series.freq

    def _sample(self, time: int, values: tuple[float, ...], ahead: tuple[float, ...]) -> Effect:
        bar, effect = self._number(time), Effect("answered")
        if self.event is not None:
            newest = self._number(self.event)
            if bar == newest:
                return Effect("duplicate")
            if bar < newest:
                return Effect("late")
            absent = range(newest + 1, bar)
            if len(absent) > self.series.max_gap or time - self.event > self.series.ttl:
                self._forget()
                self.known, self.reach = {}, None
                effect.restarted = True
            else:
                for number in absent:
                    self._step(effect, number, self._label(number), [math.nan] * len(values))
        self._step(effect, bar, time, list(values))
        self._note_known(bar, ahead)
        self.event = time
        if self._may_answer():
            effect.answer = self._answer()
        else:
            effect.outcome = "absorbed"
        return effect

    def _may_answer(self) -> bool:
        """Whether the target has been observed since the series began; version 1 does not ask."""
        return self.spec.schema_version == 1 or any(not math.isnan(bar.observed[0]) for bar in self.bars)

    def _tick(self, offset: int, time: int, values: tuple[float, ...], ahead: tuple[float, ...]) -> Effect:
        bar, effect = self._number(time), Effect("absorbed")
        passed = self._number(time - self.series.grace) - 1  # the newest bar whose end plus grace is at or before time
        if self.event is None or self.shut is None:
            self.shut = passed
        elif bar <= self.shut:
            return Effect("late")
        elif passed > self.shut:
            newest, silent = self._number(self.event), time - self.event
            for number in range(self.shut + 1, min(passed, newest) + 1):
                self._shut(effect, number)
            if passed - newest > self.series.max_gap or silent > self.series.ttl:
                self._restart(effect)
                self.known, self.reach = {}, None
            else:
                for number in range(newest + 1, passed + 1):
                    self._shut(effect, number)
            self.shut = passed
        self.readings.setdefault(bar, []).append((time, offset, values))
        self._note_known(bar, ahead)
        self.event = time if self.event is None else max(self.event, time)
        if len(effect.bars) > effect.forgotten and self._may_answer():
            effect.outcome, effect.answer = "answered", self._answer()
        return effect

    def _note_known(self, bar: int, ahead: tuple[float, ...]) -> None:
        """Keep the known inputs of bars within reach of the newest step, or else of the newest closed bar."""
        horizon = self.spec.horizon
        newest = bar if self.shut is None else self.shut
        self.reach = newest if self.reach is None else max(self.reach, newest)
        for place, value in enumerate(ahead):
            number = bar + 1 + place % horizon
            if 1 <= number - self.reach <= horizon + self.series.open_bars and not math.isnan(value):
                self.known[place // horizon, number] = value

    def _restart(self, effect: Effect) -> None:
        self._forget()
        effect.restarted = True
        effect.forgotten = len(effect.bars)

    def _shut(self, effect: Effect, bar: int) -> None:
        readings = sorted(self.readings.pop(bar, []))
        if readings:
            self.silence = 0
        elif self.silence is not None:
            self.silence += 1
            if self.silence > self.series.max_gap:
                self._restart(effect)
        rows = [row for _, _, row in readings]
        columns = [[row[c] for row in rows if not math.isnan(row[c])] for c in range(len(self.series.columns))]
        if not any(columns) and not self.bars:
            return  # a series begins with its first reading
        values = [reduced(one.reducer, column) for one, column in zip(self.series.columns, columns, strict=True)]
        self._step(effect, bar, self._label(bar), values)

    # -- the steps of a bar ---------------------------------------------------------------------------------

    def _step(self, effect: Effect, number: int, time: int, observed: list[float]) -> None:
        order, label = len(self.bars), self._label(number)
        dt = 1.0 if self.stepped is None else max((time - self.stepped) / self.series.freq, 1e-3)
        self.stepped = time
        observed = [on_scale(self.spec, observed[0]), *observed[1:]]
        bar = Bar(order, label, observed, [], {}, dt, [])
        self.bars.append(bar)
        self.reach = None if self.reach is None else max(self.reach, number)
        bar.filled = [self._filled(order, c) for c in range(len(observed))]
        for ahead in self.spec.scored_steps:
            back = math.ceil(ahead / self.spec.naive_season) * self.spec.naive_season
            bar.naive.append(self._season_before(order - back, order))
        bar.features = self._features(label, bar.filled, [math.isnan(value) for value in observed])
        effect.bars.append(bar)
        for scale in range(len(self.spec.scales)):
            self._close(effect, scale, label)

    def _season_before(self, order: int, newest: int) -> float:
        """The seasonal naive forecast: the newest of four seasons that was observed, if one was."""
        if order < 0:
            return math.nan
        seasons = range(order, max(newest - self.spec.ring, -1), -self.spec.naive_season)
        for earlier in list(seasons)[:4]:
            if not math.isnan(self.bars[earlier].observed[0]):
                return self.bars[earlier].observed[0]
        return math.nan

    def _filled(self, order: int, column: int) -> float:
        observed = self.bars[order].observed[column]
        if not math.isnan(observed):
            return observed
        past = [bar.observed[column] for bar in self.bars[:order] if not math.isnan(bar.observed[column])]
        if not past and self.series.columns[column].categories is not None:
            return -1.0
        if self.series.missing == "season" and order >= self.spec.season[0]:
            return self.bars[order - self.spec.season[0]].filled[column]
        return past[-1] if past else 0.0

    def _close(self, effect: Effect, scale: int, label: int) -> None:
        every = self.spec.scales[scale].every
        start = self.series.offset + (label - self.series.offset) // every * every
        if label + self.series.freq != start + every:
            return
        inside = [bar for bar in self.bars if start <= bar.label < start + every]
        values, missing = [], []
        for c, column in enumerate(self.series.columns):
            seen = [bar.observed[c] for bar in inside if not math.isnan(bar.observed[c])]
            missing.append(not seen)
            values.append(
                reduced(COARSE.get(column.reducer, column.reducer), seen) if seen else self.bars[-1].filled[c]
            )
        features = self._features(start, values, missing)
        effect.coarse.append(Coarse(scale, self.closed[scale], self.bars[-1].order, features))
        self.closed[scale] += 1

    # -- features ---------------------------------------------------------------------------

    def moments(self, column: int) -> tuple[float, float]:
        """Mean and standard deviation of the observed values; later values weigh more.

        The weight of the i-th of n values is a_i Π_{j > i} (1 - a_j), with a_j = max(1 / j, 1 - 2^(-1/half_life)).
        """
        values = [bar.observed[column] for bar in self.bars if not math.isnan(bar.observed[column])]
        forgotten = 1 - 0.5 ** (1 / self.spec.half_life)
        weights: list[float] = []
        for i in range(1, len(values) + 1):
            a = max(1 / i, forgotten)
            weights = [*(weight * (1 - a) for weight in weights), a]
        mean = sum(weight * value for weight, value in zip(weights, values, strict=True))
        variance = sum(weight * (value - mean) ** 2 for weight, value in zip(weights, values, strict=True))
        least, tiny = (1e-6, 1e-9) if self.spec.schema_version == 1 else (1e-13, 1e-100)
        return mean, max(math.sqrt(variance), least * abs(mean), tiny)

    def _features(self, label: int, values: list[float], missing: list[bool]) -> Mapping[str, float]:
        features: dict[str, float] = {}
        for c, column in enumerate(self.series.columns):
            features[f"{column.name} missing"] = float(missing[c])
            if column.categories is None:
                mean, unit = self.moments(c)
                features[column.name] = min(max((values[c] - mean) / unit, -100.0), 100.0)
            for place, category in enumerate(column.categories or ()):
                features[f"{column.name}={category}"] = float(values[c] == place)
        ages = [age for age, bar in enumerate(reversed(self.bars)) if not math.isnan(bar.observed[0])]
        features["age"] = math.log(1 + (ages[0] if ages else len(self.bars)))
        for period in self.spec.calendar:
            angle = 2 * math.pi * (self._local(label) / PERIODS[period] % 1.0)
            features[f"sin of {period}"], features[f"cos of {period}"] = math.sin(angle), math.cos(angle)
        if self.spec.targets is not None:
            features |= self._known_features(values)
            coarse = values is not self.bars[-1].filled
            for season in self.spec.seasons if self.spec.aligns else ():
                change = 0.0
                if not coarse and len(self.bars) > season:
                    change = (values[0] - self.bars[-1 - season].filled[0]) / self.moments(0)[1]
                features[f"since {season} bars ago"] = min(max(change, -100.0), 100.0)
            if self.spec.targets.local.days_off:
                features["day off"] = float(self._is_off(label))
        return features

    def _known_features(self, values: list[float]) -> dict[str, float]:
        features: dict[str, float] = {}
        assert self.spec.targets is not None
        for known, column in zip(self.spec.targets.known, self.spec.known_columns, strict=True):
            if self.series.columns[column].categories is None:
                features[f"{known.name} as known"] = self._as_known(known, values[column])
        return features

    @staticmethod
    def _as_known(known: Known, value: float) -> float:
        return 0.0 if math.isnan(value) else min(max((value - known.center) / known.spread, -10.0), 10.0)

    def _local(self, time: int) -> int:
        if self.spec.targets is None:
            return time
        begun = [offset for begins, offset in self.spec.targets.local.offsets if begins <= time]
        return time + (begun[-1] if begun else self.spec.targets.local.offsets[0][1])

    def _is_off(self, time: int) -> bool:
        assert self.spec.targets is not None
        return self._local(time) // DAY in self.spec.targets.local.days_off

    # -- target bars ------------------------------------------------------------------------

    def _targets(self) -> tuple[float, list[dict[str, float]], list[list[int]]]:
        """The normalised last value, and for each step of the horizon its features and table entries."""
        if not self.spec.aligns:
            return 0.0, [], []
        steps = range(1, self.spec.horizon + 1)
        return (
            self._normalised(self.bars[-1].filled[0]),
            [self._target(h) for h in steps],
            [self._codes(h) for h in steps],
        )

    def _normalised(self, value: float) -> float:
        mean, unit = self.moments(0)
        return min(max((value - mean) / unit, -100.0), 100.0)

    def _target(self, h: int) -> dict[str, float]:
        targets = self.spec.targets
        assert targets is not None
        features: dict[str, float] = {}
        for season, back in zip(self.spec.seasons, targets.back, strict=True):
            for k in range(back):
                order = len(self.bars) - 1 + h - (math.ceil(h / season) + k) * season
                place = f"season {season} −{k + 1}"
                value, missing = self._aligned(order, season)
                features[place], features[f"{place} missing"] = value, float(missing)
                if targets.local.days_off:
                    label = self.bars[-1].label + (order - len(self.bars) + 1) * self.series.freq
                    features[f"{place} day off"] = float(self._is_off(label))
        label = self.bars[-1].label + h * self.series.freq
        for k, order in enumerate(self._alike(h)):
            value, missing = self._aligned(order, 7 * DAY // self.series.freq)
            features[f"alike −{k + 1}"], features[f"alike −{k + 1} missing"] = value, float(missing)
        if targets.missing == "share":
            flags = [features.pop(name) for name in list(features) if name.endswith(" missing")]
            features["share missing"] = sum(flags) / len(flags)
        for i, (known, column) in enumerate(zip(targets.known, self.spec.known_columns, strict=True)):
            if self.series.columns[column].categories is None:
                value = self.known.get((i, self._number(label)), math.nan)
                features[f"{known.name} ahead"] = self._as_known(known, value)
                features[f"{known.name} ahead missing"] = float(math.isnan(value))
        return features

    def _alike(self, h: int) -> list[int]:
        """The bars at a target bar's place on the newest earlier days of its kind; −1 for a bar before the first."""
        assert self.spec.targets is not None
        day, bars = self._local(self.bars[-1].label + h * self.series.freq) // DAY, DAY // self.series.freq
        newest = len(self.bars) - 1
        found = [
            newest + h - before * bars
            for before in range(math.ceil(h / bars), math.ceil(h / bars) + self.spec.ring)
            if self._kind(day - before) == self._kind(day)
        ]
        return [max(order, -1) for order in found[: self.spec.targets.alike]]

    def _kind(self, day: int) -> str:
        assert self.spec.targets is not None
        if day in self.spec.targets.local.days_off:
            return "rest"
        return ["work", "work", "work", "work", "work", "saturday", "rest"][(day + 3) % 7]

    def _aligned(self, order: int, season: int) -> tuple[float, bool]:
        """The value at a bar, else the newest observed value up to three seasons before it, else the filled one."""
        oldest = max(len(self.bars) - self.spec.ring, 0)
        if order < oldest:
            return 0.0, True
        if not math.isnan(self.bars[order].observed[0]):
            return self._normalised(self.bars[order].observed[0]), False
        earlier = [order - k * season for k in (1, 2, 3) if order - k * season >= oldest]
        seen = [self.bars[place].observed[0] for place in earlier if not math.isnan(self.bars[place].observed[0])]
        return self._normalised(seen[0] if seen else self.bars[order].filled[0]), True

    def _codes(self, h: int) -> list[int]:
        targets, label = self.spec.targets, self.bars[-1].label + h * self.series.freq
        assert targets is not None
        local, off = self._local(label), self._is_off(label)
        weekday = (local // DAY + 3) % 7 if targets.week else 0
        kind = 2 if off else int(weekday >= 5)
        codes = [kind * targets.places + local % DAY * targets.places // DAY]
        codes.append(3 * targets.places + (7 if off else weekday))
        first = 3 * targets.places + 8
        for i, column in enumerate(self.spec.known_columns):
            if self.series.columns[column].categories is not None:
                value = self.known.get((i, self._number(label)), math.nan)
                codes.append(first + (0 if math.isnan(value) or value < 0 else int(value) + 1))
                first += len(self.series.columns[column].categories or ()) + 1
        return [*codes, first + h - 1]

    def _answer(self) -> Answer:
        _, unit = self.moments(0)
        last = self.bars[-1].filled[0]
        past = [bar.filled[0] for bar in self.bars][-self.spec.lags :] if self.spec.lags else []
        past = [past[0]] * (self.spec.lags - len(past)) + past if past else []
        lags = [min(max((value - last) / unit, -100.0), 100.0) for value in past]
        warm = len(self.bars) >= self.spec.warm_up
        return Answer(self.bars[-1].label, last, unit, lags, warm, [len(self.bars), *self.closed], *self._targets())
