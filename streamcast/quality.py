"""How good forecasts are: the one definition that training, backtest, verify, metrics and page share.

An outcome is the observed value of a bar and the forecast of it that a warm series made some steps before; the model's
scored steps count.  Of each outcome the engine computes four numbers (``COLUMNS``).  Over any set of outcomes the
quality is their MAE, their MAE relative to seasonal naive's on the same outcomes, and the share of them that the
interval between the outer quantiles held.  Each place names its set: all since a process started, a test part, ...

Shape letters: N outcomes, C columns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streamcast.spec.calendar_bars import MONTH_MS

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

COLUMNS: Final = ("absolute error", "seasonal naive's absolute error", "mean pinball loss", "inside the interval")
"""Of each outcome; seasonal naive's is NaN where it has no forecast."""

OVER_ALL: Final = "all"
"""The name of all scored steps together, beside the numbers of the steps."""


@dataclass(frozen=True, slots=True)
class Quality:
    """The quality of forecasts over some outcomes; NaN where there are none.

    Errors are in the data's unit; ``relative`` is ``compared_mae`` over ``naive_mae``, both over the ``compared``
    outcomes for which seasonal naive has a forecast: all, but for the first season of a series.
    """

    outcomes: int
    compared: int
    mae: float
    compared_mae: float
    naive_mae: float
    relative: float
    pinball: float
    coverage: float


class Tally:
    """Sums over outcomes by step ahead: what a ``Quality`` is made of."""

    def __init__(self) -> None:
        self._sums: dict[int, Floats] = {}

    def add(self, step_N: Integers, outcomes_NC: Floats) -> None:
        """Count N outcomes, each of its step."""
        if not len(step_N):
            return
        naive_N = outcomes_NC[:, 1]
        known_N = np.isfinite(naive_N)
        columns = (
            np.ones(len(step_N)), outcomes_NC[:, 0], outcomes_NC[:, 2], outcomes_NC[:, 3],
            known_N.astype(np.float64), np.where(known_N, outcomes_NC[:, 0], 0.0), np.where(known_N, naive_N, 0.0),
        )  # fmt: skip
        for step in np.unique(step_N).tolist():
            mine_N = step_N == step
            sums = np.array([column[mine_N].sum() for column in columns])
            self._sums[step] = self._sums.get(step, np.zeros(len(sums))) + sums

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Tally:
        """Return the tally whose ``facts_of`` these are; without pinball loss, and empty without facts."""
        tally = cls()
        for step, fact in (facts.get("steps") or {}).items():
            count = float(fact.get("outcomes") or 0)
            known = float(fact.get("compared") or 0)
            tally._sums[int(step)] = np.array(
                [
                    count, count * (fact.get("mae") or 0.0), math.nan, count * (fact.get("coverage") or 0.0),
                    known, known * (fact.get("compared_mae") or 0.0), known * (fact.get("naive_mae") or 0.0),
                ]
            )  # fmt: skip
        return tally

    def over_all(self) -> Quality:
        """Return the quality over the outcomes of all steps."""
        return _quality(sum(self._sums.values(), np.zeros(7)))

    def by_step(self) -> dict[int, Quality]:
        """Return the quality by step ahead, of the steps that have outcomes."""
        return {step: _quality(sums) for step, sums in sorted(self._sums.items())}


def quality_of(outcomes_NC: Floats) -> Quality:
    """Return the quality over N outcomes."""
    tally = Tally()
    tally.add(np.zeros(len(outcomes_NC), np.int64), outcomes_NC)
    return tally.over_all()


def _quality(sums: Floats) -> Quality:
    count, error, pinball, covered, known, error_known, naive = sums.tolist()
    return Quality(
        outcomes=int(count),
        compared=int(known),
        mae=_ratio(error, count),
        compared_mae=_ratio(error_known, known),
        naive_mae=_ratio(naive, known),
        relative=_ratio(error_known, naive),
        pinball=_ratio(pinball, count),
        coverage=_ratio(covered, count),
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan


# -- words -----------------------------------------------------------------------------------------------

_DAY: Final = 86_400_000
_BARS: Final = {
    1_000: "second",
    60_000: "minute",
    3_600_000: "hour",
    _DAY: "day",
    7 * _DAY: "week",
    **dict.fromkeys(range(28 * _DAY, 31 * _DAY + 1, _DAY), "month"),
    **dict.fromkeys(range(90 * _DAY, 92 * _DAY + 1, _DAY), "quarter"),
    MONTH_MS: "month",
    3 * MONTH_MS: "quarter",
}
_SEASONS: Final = {
    60_000: "of the last minute",
    3_600_000: "of the last hour",
    _DAY: "yesterday",
    7 * _DAY: "last week",
    **dict.fromkeys(range(360 * _DAY, 372 * _DAY + 1, _DAY), "last year"),
    12 * MONTH_MS: "last year",
}
_UNITS: Final = ((_DAY, "day"), (3_600_000, "hour"), (60_000, "minute"), (1_000, "second"), (1, "millisecond"))


def naive_name(season: int, freq: int) -> str:
    """Return what seasonal naive repeats, such as "the same hour last week"; ``season`` in bars of ``freq`` ms."""
    if season == 1:
        return "the last value"
    when = _SEASONS.get(season * freq)
    if when is None:
        return f"the value {duration_name(season * freq)} earlier"
    bar = "weekday" if freq == _DAY and when == "last week" else _BARS.get(freq, "time")
    return f"the same {bar} {when}"


def duration_name(milliseconds: int) -> str:
    """Return a duration in words, such as "36 hours"."""
    size, unit = next((size, unit) for size, unit in _UNITS if milliseconds % size == 0)
    number = milliseconds // size
    return f"{number:,} {unit}{'' if number == 1 else 's'}"


def sentence(found: Quality, nominal: float, naive: str) -> str:
    """Return the quality in words, without a full stop; ``nominal`` is the share that the interval promises to hold."""
    if not found.outcomes:
        return "no forecast has met its outcome yet"
    ratio = "" if math.isnan(found.relative) else f", {found.relative:.3f} of seasonal naive's ({naive})"
    return f"MAE {found.mae:.4g}{ratio}; the {nominal:.0%} interval held {found.coverage:.1%}"


def lines(tally: Tally, nominal: float, naive: str) -> list[str]:
    """Return the quality over all scored steps and at each, a line each."""
    found, by_step = tally.over_all(), tally.by_step()
    if not found.outcomes:
        return [sentence(found, nominal, naive)]
    over = f"{found.outcomes:,} outcomes, steps ahead {', '.join(map(str, by_step))}"
    return [
        f"{sentence(found, nominal, naive)} ({over})",
        *(f"  step {step}: {_short(each)}" for step, each in by_step.items() if len(by_step) > 1),
    ]


def _short(found: Quality) -> str:
    ratio = "" if math.isnan(found.relative) else f", {found.relative:.3f} of seasonal naive's"
    return f"MAE {found.mae:.4g}{ratio}, interval held {found.coverage:.1%}"


def facts_of(tally: Tally) -> dict[str, Any]:
    """Return the quality over all and by step as JSON has it: null for what is not known; see ``Tally.of_facts``."""
    return {**_fact(tally.over_all()), "steps": {str(step): _fact(found) for step, found in tally.by_step().items()}}


def _fact(found: Quality) -> dict[str, object]:
    named = {
        "outcomes": found.outcomes, "compared": found.compared, "mae": found.mae,
        "compared_mae": found.compared_mae, "naive_mae": found.naive_mae, "relative_mae": found.relative,
        "coverage": found.coverage,
    }  # fmt: skip
    return {name: value if math.isfinite(value) else None for name, value in named.items()}
