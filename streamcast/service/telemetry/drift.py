"""Whether forecasts have become worse: a Page–Hinkley test over errors as their outcomes arrive.

Telemetry only: drifts are counted and raise an alert; they never change a forecast.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

GROUP = 256
"""Outcomes per group; the mean error of a group is one observation of the test."""

SLACK = 0.1
"""A rise counts when it exceeds this part of the usual error."""

THRESHOLD = 3.0
"""A drift is reported when the rises add up to this many usual errors."""

SETTLING = 10
"""Groups that define the usual error before any drift is reported."""


class Drift:
    """Counts lasting rises of the mean error (Page 1954, Hinkley 1971); after each, it learns the usual error again."""

    def __init__(self) -> None:
        self._waiting = np.empty(0)
        self._begin()

    def _begin(self) -> None:
        self._groups = 0
        self._usual = 0.0
        self._sum = self._lowest = 0.0

    def observe(self, errors: npt.NDArray[np.float64]) -> int:
        """Take absolute errors [N] in order of arrival; return how many drifts they show."""
        waiting = np.concatenate([self._waiting, errors])
        whole = len(waiting) // GROUP * GROUP
        self._waiting = waiting[whole:]
        return sum(self._group(mean) for mean in waiting[:whole].reshape(-1, GROUP).mean(1).tolist())

    def _group(self, mean: float) -> bool:
        self._groups += 1
        self._usual += (mean - self._usual) / self._groups
        if self._groups <= SETTLING or self._usual <= 0.0:
            return False
        self._sum += mean / self._usual - 1.0 - SLACK
        self._lowest = min(self._lowest, self._sum)
        if self._sum - self._lowest <= THRESHOLD:
            return False
        self._begin()
        return True
