"""A second, slow implementation of the window kernel, written from the specification alone: bars, gaps, lateness,
coarse bars, the running normaliser, features, lags, ticks with grace.

One ``Series`` is one key.  It keeps its whole past in lists and recomputes everything for every bar: no rings, no
running sums, no code shared with the kernels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from streamcast.spec.model_spec import ModelSpec

PERIODS = {"hour": 3_600_000, "day": 86_400_000, "week": 604_800_000, "year": 365.2425 * 86_400_000}

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
        self.readings: dict[int, list[tuple[int, int, tuple[float, ...]]]] = {}  # ticks: bar -> (time, offset, values)
        self._forget()

    def _forget(self) -> None:
        self.bars: list[Bar] = []
        self.closed = [0 for _ in self.spec.scales]
        self.event: int | None = None  # the newest event time
        self.stepped: int | None = None  # the time of the newest step
        self.shut: int | None = None  # ticks: all bars up to this number are closed
        self.silence: int | None = None  # ticks: how many bars without a record have closed since one with records

    def take(self, offset: int, time: int, values: tuple[float, ...]) -> Effect:
        """Apply one record."""
        if offset <= self.applied:
            return Effect("duplicate")
        effect = self._tick(offset, time, values) if self.series.mode == "ticks" else self._sample(time, values)
        if effect.outcome in ("answered", "absorbed"):
            self.applied = offset
        return effect

    # -- when a bar closes -----------------------------------------------------------------------------

    def _number(self, time: int) -> int:
        return (time - self.series.offset) // self.series.freq

    def _label(self, bar: int) -> int:
        return self.series.offset + bar * self.series.freq

    def _sample(self, time: int, values: tuple[float, ...]) -> Effect:
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
                effect.restarted = True
            else:
                for number in absent:
                    self._step(effect, number, self._label(number), [math.nan] * len(values))
        self._step(effect, bar, time, list(values))
        self.event = time
        effect.answer = self._answer()
        return effect

    def _tick(self, offset: int, time: int, values: tuple[float, ...]) -> Effect:
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
            else:
                for number in range(newest + 1, passed + 1):
                    self._shut(effect, number)
            self.shut = passed
        self.readings.setdefault(bar, []).append((time, offset, values))
        self.event = time if self.event is None else max(self.event, time)
        if len(effect.bars) > effect.forgotten:
            effect.outcome, effect.answer = "answered", self._answer()
        return effect

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
        bar = Bar(order, label, observed, [], {}, dt, [])
        self.bars.append(bar)
        bar.filled = [self._filled(order, c) for c in range(len(observed))]
        for ahead in self.spec.scored_steps:
            back = math.ceil(ahead / self.spec.season) * self.spec.season
            bar.naive.append(self.bars[order - back].filled[0] if order >= back else math.nan)
        bar.features = self._features(label, bar.filled, [math.isnan(value) for value in observed])
        effect.bars.append(bar)
        for scale in range(len(self.spec.scales)):
            self._close(effect, scale, label)

    def _filled(self, order: int, column: int) -> float:
        observed = self.bars[order].observed[column]
        if not math.isnan(observed):
            return observed
        past = [bar.observed[column] for bar in self.bars[:order] if not math.isnan(bar.observed[column])]
        if not past and self.series.columns[column].categories is not None:
            return -1.0
        if self.series.missing == "season" and order >= self.spec.season:
            return self.bars[order - self.spec.season].filled[column]
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
        return mean, max(math.sqrt(variance), 1e-6 * abs(mean), 1e-9)

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
            angle = 2 * math.pi * (label / PERIODS[period] % 1.0)
            features[f"sin of {period}"], features[f"cos of {period}"] = math.sin(angle), math.cos(angle)
        return features

    def _answer(self) -> Answer:
        _, unit = self.moments(0)
        last = self.bars[-1].filled[0]
        past = [bar.filled[0] for bar in self.bars][-self.spec.lags :] if self.spec.lags else []
        past = [past[0]] * (self.spec.lags - len(past)) + past if past else []
        lags = [min(max((value - last) / unit, -100.0), 100.0) for value in past]
        warm = len(self.bars) >= self.spec.warm_up
        return Answer(self.bars[-1].label, last, unit, lags, warm, [len(self.bars), *self.closed])
