"""How good forecasts are: the one definition that training, backtest, verify, metrics and page share.

An outcome is the observed value of a bar and the forecast of it that a warm series made some steps before; the model's
scored steps count.  Of each outcome the engine computes four numbers (``COLUMNS``).  Over any set of outcomes the
quality is their MAE, their MAE relative to seasonal naive's on the same outcomes, and the share of them that the
interval between the outer quantiles held.  Each place names its set: all since a process started, a test part, ...

A forecast is of unseen data if none of its outcomes was trained on: if it was made at the newest bar of the training
data, or later (``unseen``).  Verify, metrics and page count by this, and a backtest scores such forecasts.

Shape letters: N outcomes, C columns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streamcast.wording import LAST_VALUE, counted, short_name

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

COLUMNS: Final = ("absolute error", "seasonal naive's absolute error", "mean pinball loss", "inside the interval")
"""Of each outcome; seasonal naive's is NaN where it has no forecast, the last where one quantile makes no interval."""

OLDER_SEASONS: Final = 3
"""Where seasonal naive's bar was not observed, so many earlier seasons are searched for an observed one."""

OVER_ALL: Final = "all"
"""The name of all scored steps together, beside the numbers of the steps."""


@dataclass(frozen=True, slots=True)
class Quality:
    """The quality of forecasts over some outcomes; NaN where there are none, or no interval to cover them.

    Errors are in the data's unit; ``relative`` is ``compared_mae`` over ``naive_mae``, both over the ``compared``
    outcomes for which seasonal naive has a forecast: all, but for the first season of a series.
    """

    outcomes: int = 0
    compared: int = 0
    mae: float = math.nan
    compared_mae: float = math.nan
    naive_mae: float = math.nan
    relative: float = math.nan
    pinball: float = math.nan
    coverage: float = math.nan


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over outcomes: what a ``Quality`` is made of.

    ``compared_error`` and ``naive`` are over the ``compared`` outcomes for which seasonal naive has a forecast.
    """

    outcomes: float = 0.0
    error: float = 0.0
    pinball: float = 0.0
    covered: float = 0.0
    compared: float = 0.0
    compared_error: float = 0.0
    naive: float = 0.0

    @classmethod
    def of(cls, outcomes_NC: Floats) -> Sums:
        """Return the sums over N outcomes; ``COLUMNS`` names the columns."""
        error_N, naive_N, pinball_N, covered_N = outcomes_NC.T
        known_N = np.isfinite(naive_N)
        return cls(
            len(outcomes_NC), float(error_N.sum()), float(pinball_N.sum()), float(covered_N.sum()),
            float(known_N.sum()), float(error_N[known_N].sum()), float(naive_N[known_N].sum()),
        )  # fmt: skip

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.outcomes + other.outcomes, self.error + other.error, self.pinball + other.pinball,
            self.covered + other.covered, self.compared + other.compared,
            self.compared_error + other.compared_error, self.naive + other.naive,
        )  # fmt: skip

    def quality(self) -> Quality:
        """Return the quality over these outcomes."""
        return Quality(
            outcomes=int(self.outcomes),
            compared=int(self.compared),
            mae=_ratio(self.error, self.outcomes),
            compared_mae=_ratio(self.compared_error, self.compared),
            naive_mae=_ratio(self.naive, self.compared),
            relative=_ratio(self.compared_error, self.naive),
            pinball=_ratio(self.pinball, self.outcomes),
            coverage=_ratio(self.covered, self.outcomes),
        )


class SumsByStep:
    """Sums over outcomes by step ahead."""

    def __init__(self) -> None:
        self._sums: dict[int, Sums] = {}

    def add(self, step_N: Integers, outcomes_NC: Floats) -> None:
        """Count N outcomes, each of its step."""
        for step in np.unique(step_N).tolist():
            self._sums[step] = self._sums.get(step, Sums()) + Sums.of(outcomes_NC[step_N == step])

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> SumsByStep:
        """Return the sums whose ``facts_of`` these are; without pinball loss, and empty without facts."""
        found = cls()
        for step, fact in (with_known_coverage(facts).get("steps") or {}).items():
            count, known = float(fact.get("outcomes") or 0), float(fact.get("compared") or 0)
            coverage = fact.get("coverage")
            found._sums[int(step)] = Sums(
                count, count * (fact.get("mae") or 0.0), math.nan, math.nan if coverage is None else count * coverage,
                known, known * (fact.get("compared_mae") or 0.0), known * (fact.get("naive_mae") or 0.0),
            )  # fmt: skip
        return found

    def over_all(self) -> Quality:
        """Return the quality over the outcomes of all scored steps."""
        return sum(self._sums.values(), Sums()).quality()

    def by_step(self) -> dict[int, Quality]:
        """Return the quality by step ahead, of the steps that have outcomes."""
        return {step: sums.quality() for step, sums in sorted(self._sums.items())}


def outcomes_of(outcomes_NC: Floats, nominal: float) -> Floats:
    """Return the engine's outcomes of a model whose interval promises ``nominal``; 0 means that there is no interval.

    The engine takes one quantile for both ends of an interval; whether an outcome lies inside is then not known (NaN).
    """
    return outcomes_NC if nominal else np.column_stack((outcomes_NC[:, :-1], np.full(len(outcomes_NC), np.nan)))


def with_known_coverage(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the quality in a model's facts, without the coverage of 0 that older versions gave one quantile."""
    if facts.get("nominal") != 0:
        return facts
    steps = {step: {**fact, "coverage": None} for step, fact in (facts.get("steps") or {}).items()}
    return {**facts, "coverage": None, "steps": steps}


def unseen(cutoff_N: Integers, last_trained: int | None) -> NDArray[np.bool_]:
    """Return which forecasts are of unseen data, by the numbers of their cutoff's bars.

    ``last_trained`` is the number of the newest bar of the training data; None where nothing was trained.
    """
    return cutoff_N >= (np.iinfo(np.int64).min if last_trained is None else last_trained)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan


def sentence(found: Quality, nominal: float, naive: str) -> str:
    """Return the quality in words, without a full stop.

    ``nominal`` is the share that the interval promises to hold: 0 where one quantile makes no interval, NaN where it is
    not known.
    """
    if not found.outcomes:
        return "no forecast has met its outcome yet"
    known = not math.isnan(found.relative)
    of = f"{LAST_VALUE}'s" if naive == LAST_VALUE else f"seasonal naive's ({naive})"
    why = f"the error of {naive} is 0" if found.compared else f"{naive} is not known"
    ratio = f", {found.relative:.3f} of {of}" if known else f"; {why}"
    promised = "" if math.isnan(nominal) else f"{nominal:.0%} "
    held = f"; the {promised}interval held {found.coverage:.1%}" if _has_interval(found, nominal) else ""
    return f"MAE {found.mae:.4g}{ratio}{held}"


def lines(sums: SumsByStep, nominal: float, naive: str) -> list[str]:
    """Return the quality over all scored steps and at each, a line each."""
    found, by_step = sums.over_all(), sums.by_step()
    if not found.outcomes:
        return [sentence(found, nominal, naive)]
    over = f"{counted(found.outcomes, 'outcome')}, steps ahead {', '.join(map(str, by_step))}"
    return [
        f"{sentence(found, nominal, naive)} ({over})",
        *(f"  step {step}: {_short(each, nominal, naive)}" for step, each in by_step.items() if len(by_step) > 1),
    ]


def _short(found: Quality, nominal: float, naive: str) -> str:
    ratio = "" if math.isnan(found.relative) else f", {found.relative:.3f} of {short_name(naive)}'s"
    held = f", interval held {found.coverage:.1%}" if _has_interval(found, nominal) else ""
    return f"MAE {found.mae:.4g}{ratio}{held}"


def _has_interval(found: Quality, nominal: float) -> bool:
    return nominal != 0 and math.isfinite(found.coverage)


def facts_of(sums: SumsByStep) -> dict[str, Any]:
    """Return the quality over all and by step as JSON has it, null for what is not known; ``of_facts`` reads it."""
    return {**_fact(sums.over_all()), "steps": {str(step): _fact(found) for step, found in sums.by_step().items()}}


def _fact(found: Quality) -> dict[str, object]:
    named = {
        "outcomes": found.outcomes, "compared": found.compared, "mae": found.mae,
        "compared_mae": found.compared_mae, "naive_mae": found.naive_mae, "relative_mae": found.relative,
        "coverage": found.coverage,
    }  # fmt: skip
    return {name: value if math.isfinite(value) else None for name, value in named.items()}
