"""Errors of a model's forecasts and of simple ones: sums by series and step, and tables of them.

Legend: K series, A forecasts, H horizon, Q quantiles (0 for point forecasts).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from streamcast.offline.evaluation.accuracy import (
    Floats,
    absolute_error,
    covered,
    geometric_mean,
    pinball,
    skill,
    squared_error,
    width,
)
from streamcast.offline.evaluation.baselines import LAST_VALUE, Integers
from streamcast.offline.evaluation.frames import OTHERS, name_beside
from streamcast.quality import SumsByStep
from streamcast.spec.calendar_bars import Grid
from streamcast.spec.durations import DAY_MS

MEASURES = ("mae", "mse", "mase")
"""What a verdict compares."""
MOST_OF_ALL = 0.9
"""The share of an error after which a sentence says how few series have it."""
Row = dict[str, Any]
"""One line of a table, by column."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums of errors by series and step; those of quantiles are empty for point forecasts."""

    levels: tuple[float, ...]
    count_KH: Floats
    absolute_KH: Floats
    squared_KH: Floats
    pinball_KHQ: Floats
    covered_KH: Floats
    width_KH: Floats

    @classmethod
    def empty(cls, series: int, horizon: int, levels: tuple[float, ...]) -> Tally:
        """Return a tally without forecasts; no levels means point forecasts."""
        count, absolute, squared, inside, wide = np.zeros((5, series, horizon))
        return cls(levels, count, absolute, squared, np.zeros((series, horizon, len(levels))), inside, wide)

    def add(self, series_A: Integers, actual_AH: Floats, forecast_AHQ: Floats) -> None:
        """Score forecasts of series; a point forecast is [A, H, 1]; NaN is not scored."""
        point_AH = forecast_AHQ[:, :, self.levels.index(0.5) if self.levels else 0]
        absolute_AH = absolute_error(actual_AH, point_AH)
        self._sum(self.count_KH, series_A, (~np.isnan(absolute_AH)).astype(np.float64))
        self._sum(self.absolute_KH, series_A, absolute_AH)
        self._sum(self.squared_KH, series_A, squared_error(actual_AH, point_AH))
        if self.levels:
            low_AH, high_AH = forecast_AHQ[:, :, 0], forecast_AHQ[:, :, -1]
            unseen_AH = np.isnan(actual_AH)
            self._sum(self.pinball_KHQ, series_A, pinball(actual_AH[:, :, None], forecast_AHQ, np.array(self.levels)))
            self._sum(self.covered_KH, series_A, covered(actual_AH, low_AH, high_AH))
            self._sum(self.width_KH, series_A, np.where(unseen_AH, np.nan, width(low_AH, high_AH)))

    @staticmethod
    def _sum(into: Floats, series_A: Integers, values: Floats) -> None:
        order = np.argsort(series_A, kind="stable")
        sorted_A = series_A[order]
        firsts = np.flatnonzero(np.diff(sorted_A, prepend=-1))
        if len(firsts):
            into[sorted_A[firsts]] += np.add.reduceat(np.nan_to_num(values)[order], firsts, axis=0)


@dataclass(frozen=True, slots=True)
class Periods:
    """Sums of all series and steps by the period of the cutoff: a day, or a bar if that is longer.

    Periods begin at ``starts_D`` (epoch ms).  ``absolute_D`` and ``covered_D`` are sums over ``count_D`` points.
    """

    starts_D: Integers
    count_D: Floats
    absolute_D: Floats
    covered_D: Floats
    length_ms: int
    bars: int
    """How many whole bars a period has."""

    @classmethod
    def empty(cls, first_bar: int, last_bar: int, grid: Grid) -> Periods:
        """Return sums without points for the cutoffs of bars from one to another (included)."""
        if grid.freq > DAY_MS:
            starts: Integers = grid.start(np.arange(first_bar, last_bar + 1))
        else:
            starts = np.arange(grid.start(first_bar) // DAY_MS * DAY_MS, grid.start(last_bar) + 1, DAY_MS)
        count, absolute, covered = np.zeros((3, len(starts)))
        length_ms = max(grid.freq, DAY_MS)
        return cls(starts, count, absolute, covered, length_ms, length_ms // grid.freq)

    def add(self, cutoffs_A: Integers, actual_AH: Floats, forecast_AH: Floats, covered_AH: Floats | None) -> None:
        """Score A forecasts; NaN is not scored."""
        absolute_AH = absolute_error(actual_AH, forecast_AH)
        place_A, periods = np.searchsorted(self.starts_D, cutoffs_A, side="right") - 1, len(self.count_D)
        for into, values_AH in (
            (self.count_D, ~np.isnan(absolute_AH)), (self.absolute_D, absolute_AH), (self.covered_D, covered_AH),
        ):  # fmt: skip
            if values_AH is not None:
                np.add(into, np.bincount(place_A, np.nan_to_num(values_AH).sum(1), periods), out=into)


@dataclass(frozen=True, slots=True)
class Always:
    """The forecast that is always one value, which most outcomes are, before the test too, and its mean absolute error.

    No other constant has a smaller one: the value is the median of the outcomes.
    """

    value: float
    mae: float


@dataclass(frozen=True, slots=True)
class BacktestReport:
    """The result of a backtest; ``tallies`` holds the model first, then the baselines, ``periods`` the same by time.

    ``reference`` names the baseline that errors are relative to.  ``scale_K`` is the in-sample error of repeating each
    series' first season, ``outcomes`` counts the records by outcome, ``forecasts`` is how many were scored, ``quality``
    what the engine counted of them as the service does (their scored steps), ``kept`` the forecasts that the caller
    asked to keep, ``notes`` sentences on the baselines, ``anomalies`` a row for each bar of the test (unique_id, ds, y,
    anomaly) if the caller asked for it, ``always`` the best constant where most outcomes are one value.
    Mean errors that differ by no more than ``rounding`` are equal: forecasts have fewer digits than outcomes.
    """

    model: str
    reference: str
    keys: tuple[str, ...]
    tallies: Mapping[str, Tally]
    periods: Mapping[str, Periods]
    scale_K: Floats
    outcomes: Mapping[str, int]
    forecasts: int
    quality: SumsByStep
    kept: pd.DataFrame | None
    notes: tuple[str, ...] = ()
    rounding: float = 0.0
    anomalies: pd.DataFrame | None = None
    always: Always | None = None

    def rows(self) -> list[Row]:
        """Return a row for each forecaster, over all series and steps.

        Point forecasts have no quantile scores, and one quantile has no coverage and width.
        mae, mse and width are means over all points in the series' own units; mase divides by each series' scale
        (series without one are left out); relative is the mae over that of the ``reference``, skill 1 less that; NaN
        where the two have different points.
        """
        return self._table({}, slice(None), slice(None))

    def by_horizon(self) -> list[Row]:
        """Return a row for each forecaster and step ahead."""
        return [row for h in range(self.horizon) for row in self._table({"step": h + 1}, slice(None), slice(h, h + 1))]

    def by_series(self) -> list[Row]:
        """Return a row for each forecaster and scored series."""
        scored_K = self.tallies[self.model].count_KH.sum(1)
        return [
            row
            for k in np.flatnonzero(scored_K).tolist()
            for row in self._table({"unique_id": self.keys[k]}, slice(k, k + 1), slice(None))
        ]

    def relative_mae(self) -> tuple[float, dict[str, float]]:
        """Return the model's MAE over the reference's: the geometric mean over series, and by series.

        Every series counts the same, however large its values.  NaN where the reference was not scored or is exact.
        """
        mine, naive = self.tallies[self.model], self.tallies[self.reference]
        with np.errstate(divide="ignore", invalid="ignore"):
            mae_K, naive_K = (each.absolute_KH.sum(1) / each.count_KH.sum(1) for each in (mine, naive))
            ratio_K = np.where(naive_K > 0, mae_K / naive_K, np.nan)
        by_series = {key: float(ratio) for key, ratio in zip(self.keys, ratio_K, strict=True) if not np.isnan(ratio)}
        return geometric_mean(ratio_K), by_series

    def evenly(self) -> str:
        """Return a sentence on the error where every series counts the same; '' for fewer than two series with one."""
        whole, by_series = self.relative_mae()
        series, worse = len(by_series), sum(ratio > 1 for ratio in by_series.values())
        if series < 2:
            return ""
        article = "the " if self.reference == LAST_VALUE else ""
        said = (
            f"by series, {self.model} has {whole:.3f} of {article}{self.reference}'s error (geometric mean, in which"
            f" small series count as much as large ones); it is worse on {worse} of {series}"
        )
        share_K = np.sort(self.tallies[self.model].absolute_KH.sum(1))[::-1].cumsum()
        decide = int(np.searchsorted(share_K, MOST_OF_ALL * share_K[-1])) + 1
        if 2 * decide > series:
            return said
        few = f"{decide} of {series} series {'have' if decide > 1 else 'has'}"
        return f"{said}; {few} at least {MOST_OF_ALL:.0%} of the error over all series"

    def verdict(self) -> list[str]:
        """Return a sentence for every baseline and measure that beats the model, over all steps or at some of them.

        One sentence names those that the model beats if none does.  Errors that print alike are level, which one
        sentence says, too.  Steps and measures that were not scored are neither won nor lost; a sentence says so of a
        baseline without a score, and one speaks of outcomes that are mostly one value.
        """
        mine, *others = self.rows()
        if not mine["points"]:
            return [f"{self.model} was not compared: none of its forecasts has an outcome", *self.notes]
        rivals = [row for row in others if row["points"] == mine["points"]]
        unscored = ", ".join(row["forecaster"] for row in others if not row["points"])
        notes = [f"{unscored} cannot be compared: no forecast where {self.model} has one"] if unscored else []
        notes = self._against_always(mine, others) + notes + list(self.notes)
        if not rivals:
            return notes
        losses = [
            f"{self.model} loses to {row['forecaster']} on {name}: {mine[name]:.4g} against {row[name]:.4g}"
            for name in MEASURES
            for row in rivals
            if mine[name] > row[name] and not self._level(name, mine[name], row[name])
        ]
        names = [row["forecaster"] for row in rivals]
        for name, steps in self._steps(lambda one, other: one > other and not self._level("mae", one, other)).items():
            if name in names and len(steps) < self.scored_steps(name):
                losses.append(f"{self.model} loses to {name} on mae at {self._steps_named(name, steps)}")
        ties = self._ties(mine, rivals)
        beaten = [] if losses else [row["forecaster"] for row in rivals if row["forecaster"] not in ties]
        return (losses or self._beats(beaten, mine, rivals)) + self._level_sentences(ties) + notes

    def better_than_always(self) -> bool:
        """Return whether the model's mae is smaller than that of ``always``; true where there is no such forecast."""
        mae = self.rows()[0]["mae"]
        return self.always is None or (mae < self.always.mae and not self._level("mae", mae, self.always.mae))

    def _against_always(self, mine: Row, others: Sequence[Row]) -> list[str]:
        """Return a sentence where a forecast that never changes is better than the reference, or than the model."""
        if self.always is None or self._level("mae", mine["mae"], 0.0):
            return []
        mae, value = self.always.mae, f"{self.always.value:g}"
        reference = [row["mae"] for row in others if row["forecaster"] == self.reference]
        better = self.better_than_always()
        if better and any(naive < mae for naive in reference):
            return []
        judged = f"{self.model} is {'better' if better else 'NOT better'} than always {value} on mae"
        said = (
            f"{judged}: {mine['mae']:.4g} against {mae:.4g}. More than half of the outcomes are {value}, and mae"
            " rewards a forecast that never changes: look at mse, crps and upper quantiles, or forecast longer bars"
        )
        return [said]

    def _beats(self, names: Sequence[str], mine: Row, rivals: Sequence[Row]) -> list[str]:
        """Return the sentence that the model beats these baselines in everything that was scored; none for no names."""
        if not names:
            return []
        known = [name for name in MEASURES if not any(np.isnan(row[name]) for row in (mine, *rivals))]
        everywhere = _each_step(self.scored_steps(*names), self.horizon)
        return [f"{self.model} beats {', '.join(names)} on {_listed(known)}, and on mae at {everywhere}"]

    def _level(self, measure: str, one: float, other: float) -> bool:
        """Return whether two errors are the same, to the digits that are printed or but for ``rounding``."""
        noise = {"mae": self.rounding, "mse": self.rounding * (np.sqrt(one) + np.sqrt(other))}.get(measure, 0.0)
        return f"{one:.4g}" == f"{other:.4g}" != "nan" or abs(one - other) <= noise

    def _ties(self, mine: Row, rivals: Sequence[Row]) -> dict[str, str]:
        """Return, by baseline, the measures and steps on which it is level with the model, in words."""
        steps, found = self._steps(partial(self._level, "mae")), {}
        for row in rivals:
            name = row["forecaster"]
            on = [_listed([measure for measure in MEASURES if self._level(measure, mine[measure], row[measure])])]
            tied = steps.get(name, [])
            if tied and len(tied) == self.scored_steps(name):
                on.append(f"on mae at {_each_step(len(tied), self.horizon)}")
            elif tied:
                on.append(f"on mae at {self._steps_named(name, tied)}")
            if any(on):
                found[name] = ", and ".join(filter(None, on)).removeprefix("on ")
        return found

    def _level_sentences(self, ties: Mapping[str, str]) -> list[str]:
        """Return a sentence for all baselines that are level with the model on the same."""
        return [
            f"{self.model} is level with {', '.join(name for name, its in ties.items() if its == on)} on {on}"
            for on in dict.fromkeys(ties.values())
        ]

    def _steps_named(self, baseline: str, steps: list[int]) -> str:
        """Return steps of the horizon in words, and how many of it were scored, such as "step 2 of 6"."""
        scored = self.scored_steps(baseline)
        among = f", of which {scored} were scored" if scored < self.horizon else ""
        return f"step{'s' if steps[1:] else ''} {_ranges(steps)} of {self.horizon}{among}"

    def scored_steps(self, *rivals: str) -> int:
        """Return at how many steps the model and these baselines were all scored."""
        scored_HN = np.stack([self.tallies[name].count_KH.sum(0) > 0 for name in (self.model, *rivals)], axis=1)
        return int(scored_HN.all(1).sum())

    @property
    def horizon(self) -> int:
        """The number of steps ahead."""
        return int(self.tallies[self.model].count_KH.shape[1])

    def _steps(self, compare: Callable[[float, float], bool]) -> dict[str, list[int]]:
        """Return the scored steps at which ``compare`` holds of the model's and a baseline's mae, by baseline."""
        mean_H = {}
        for name, tally in self.tallies.items():
            with np.errstate(invalid="ignore"):
                mean_H[name] = (tally.absolute_KH.sum(0) / tally.count_KH.sum(0)).tolist()
        mine_H = mean_H.pop(self.model)
        found = {
            name: [step for step, pair in enumerate(zip(mine_H, other_H, strict=True), 1) if compare(*pair)]
            for name, other_H in mean_H.items()
        }
        return {name: steps for name, steps in found.items() if steps}

    def frame(self) -> pd.DataFrame:
        """Return the kept forecasts in Nixtla's columns: unique_id, ds, cutoff, y, the model and its intervals.

        The model is called ``column`` there.
        """
        if self.kept is None:
            raise ValueError("no forecasts were kept: give backtest the cutoffs to keep, or keep=None for all")
        return self.kept

    @property
    def column(self) -> str:
        """What the model is called in the frame: not like another of its columns."""
        return name_beside(OTHERS, self.model, self.tallies[self.model].levels)

    def _table(self, head: Row, series: slice, steps: slice) -> list[Row]:
        rows = [{**head, "forecaster": name, **self._row(tally, series, steps)} for name, tally in self.tallies.items()]
        points, mae = next(
            ((row["points"], row["mae"]) for row in rows if row["forecaster"] == self.reference), (0.0, np.nan)
        )
        for row in rows:
            reference = mae if row["points"] == points else np.nan
            row |= {"relative": _ratio(row["mae"], reference), "skill": skill(row["mae"], reference)}
        return rows

    def _row(self, tally: Tally, series: slice, steps: slice) -> dict[str, float]:
        count_KH, scale_K = tally.count_KH[series, steps], self.scale_K[series]
        n, known_K = count_KH.sum(), ~np.isnan(scale_K)
        absolute_K = tally.absolute_KH[series, steps].sum(1)
        row = {
            "points": float(n),
            "mae": _ratio(absolute_K.sum(), n),
            "mse": _ratio(tally.squared_KH[series, steps].sum(), n),
            "mase": _ratio((absolute_K[known_K] / scale_K[known_K]).sum(), count_KH[known_K].sum()),
        }
        if tally.levels:
            pinball_Q = tally.pinball_KHQ[series, steps].sum((0, 1))
            row |= {f"pinball {level:g}": _ratio(p, n) for level, p in zip(tally.levels, pinball_Q, strict=True)}
            row |= {
                "pinball": _ratio(pinball_Q.mean(), n),
                "crps": 2.0 * _ratio(pinball_Q.mean(), n),
            }
        if len(tally.levels) > 1:
            row |= {
                "coverage": _ratio(tally.covered_KH[series, steps].sum(), n),
                "width": _ratio(tally.width_KH[series, steps].sum(), n),
            }
        return row


def _listed(names: Sequence[str]) -> str:
    """Return names as a sentence has them: "a, b and c"."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _each_step(scored: int, horizon: int) -> str:
    """Return how many of a horizon's steps were scored, such as "every step"."""
    if scored == horizon:
        return "every step"
    each = "the only step that was" if scored == 1 else f"each of the {scored} steps that were"
    return f"{each} scored (of {horizon})"


def _ranges(steps: list[int]) -> str:
    """Return rising numbers as text: "1, 8-16"."""
    firsts = [step for step in steps if step - 1 not in steps]
    lasts = [step for step in steps if step + 1 not in steps]
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in zip(firsts, lasts, strict=True))


def _ratio(total: float, count: float) -> float:
    return float(total / count) if count else np.nan
