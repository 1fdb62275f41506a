"""Anomalies from forecasts: an alarm is a bar whose value lies far outside the forecast of the bar before.

Shapes: N bars.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamcast.engine.engine import Engine
from streamcast.offline.history.polls import polls
from streamcast.offline.history.read import History
from streamcast.spec.folders import Model

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def surprises(model: Model, history: History) -> tuple[Floats, float]:
    """Return each bar's distance from its one-step median [N], in quantile widths, and the median µs a record.

    The history has one series, streamed one record at a time as a device would.
    """
    engine = Engine(model.spec, model.network, 1)
    surprise_N, taken = np.zeros(len(history)), []
    waiting: Floats | None = None
    median = model.spec.median
    for poll in polls(history, model.spec, 1):
        n = int(poll.offsets[0])
        if waiting is not None:
            value = history.values_NC[n, 0]
            surprise_N[n] = abs(value - waiting[median]) / max(waiting[-1] - waiting[0], 1e-6)
        start = time.perf_counter()
        result = engine.stage(poll)
        engine.promote()
        taken.append(time.perf_counter() - start)
        waiting = result.forecasts.values[0, 0] if len(result.forecasts.values) else None
    return surprise_N, 1e6 * float(np.median(taken))


@dataclass(frozen=True)
class Detection:
    """How well a threshold finds episodes."""

    found: float
    """Share of the episodes that have an alarm."""
    precision: float
    """Share of the alarms that begin in an episode; consecutive bars are one alarm."""
    balanced: float
    """Mean of two shares: of episodes found, and of quiet blocks of 100 bars without an alarm."""

    @property
    def f1(self) -> float:
        """The harmonic mean of found and precision."""
        return 2 * self.found * self.precision / max(self.found + self.precision, 1e-9)


def detection(surprise_N: Floats, irregular_N: Bools, threshold: float) -> Detection:
    """Return how well bars beyond a threshold find episodes; the 30 bars after an episode do not count."""
    alarm_N = surprise_N > threshold
    episodes = _runs(irregular_N)
    after_N = irregular_N.copy()
    for _, stop in episodes:
        after_N[stop : stop + 30] = True
    found = float(np.mean([alarm_N[start:stop].any() for start, stop in episodes]))
    alarms = [start for start, _ in _runs(alarm_N)]
    right = sum(bool(irregular_N[start]) for start in alarms)
    wrong = sum(not after_N[start] for start in alarms)
    hundreds = [slice(i, i + 100) for i in range(0, len(alarm_N) - 100, 100)]
    quiet = [not alarm_N[part].any() for part in hundreds if not after_N[part].any()]
    return Detection(found, right / max(right + wrong, 1), (found + float(np.mean(quiet))) / 2)


def best_threshold(surprise_N: Floats, irregular_N: Bools) -> float:
    """Return the threshold of the highest F1; judge it on other bars than these."""
    candidates = np.quantile(surprise_N, np.linspace(0.9, 0.9999, 200))
    return float(max(candidates, key=lambda threshold: detection(surprise_N, irregular_N, threshold).f1))


def _runs(flags_N: Bools) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags_N, [False]]).astype(int)))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]
