"""The effect of known inputs from its equations in ``kernels/effect.py``: each sum is over all bars that are kept."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class KnownEffect:
    """One series."""

    def __init__(self, season: int, places: Floats, keep: float, rate: float, known_after: float, lower: float) -> None:
        self.season, self.places, self.keep, self.rate = season, places, keep, rate
        self.known_after, self.lower = known_after, lower
        self.x = list[Floats]()
        self.y = list[float]()
        self.rows = list[tuple[Floats, float, float]]()  # of the equations: the change, the difference, the weight
        self.size = self.error = self.level = 0.0
        self.solved: NDArray[np.floating[Any]] | float = 0.0
        self.used: NDArray[np.floating[Any]] | float = 0.0

    def features(self, x: Floats) -> Floats:
        return np.concatenate([[one, *np.maximum(one - self.places, 0)] for one in x])

    def effect(self, x: Floats) -> float:
        return self.level + float(np.sum(self.used * self.features(x)))

    def season_before(self, u: int) -> Floats | float:
        """The inputs of the newest bar at the place of bar u; of the newest bar, if there is none; or 0."""
        t = len(self.x) - 1
        while u > t:
            u -= self.season
        return self.x[u if u >= 0 else t] if self.x else 0.0

    def step(self, x: Floats, y: float, ahead_HI: Floats) -> tuple[float, list[float]]:
        """Return the outcome without the effect of x, and the effects of the bars ahead."""
        t, season = len(self.x), self.season
        complete = not np.isnan(x).any()
        x = np.where(np.isnan(x), self.season_before(t), np.clip(x, -4, 4))
        y = max(y, self.lower) if math.isfinite(y) else math.nan
        left = y - self.effect(x)
        if complete and t >= season and not math.isnan(y - self.y[t - season]):
            self.learn(self.features(x) - self.features(self.x[t - season]), y - self.y[t - season])
        self.x.append(x)
        self.y.append(y if complete else math.nan)
        if t >= season and (t + 1) % max(season, 8) == 0:
            self.solve()
        filled = [
            np.where(np.isnan(row), self.season_before(t + h), np.clip(row, -4, 4))
            for h, row in enumerate(ahead_HI, start=1)
        ]
        return left, [self.effect(row) for row in filled]

    def learn(self, change: Floats, difference: float) -> None:
        if len(self.rows) > self.known_after and self.size > 0:
            difference = float(np.clip(difference, -20 * self.size, 20 * self.size))
        error = difference - float(np.sum(self.solved * change))
        rate = max(1 / (len(self.rows) + 1), self.rate)
        self.size += rate * (abs(difference) - self.size)
        self.error += rate * (abs(error) - self.error)
        self.rows.append((change, difference, 1 / max(abs(error) / max(self.error, 1e-100), 0.3)))

    def solve(self) -> None:
        """Solve all rows so far, weighted by their age, and use the solution as far as its record says."""
        features = len(self.features(self.x[0]))
        left, right = 10.0 * np.eye(features), np.zeros(features)
        for age, (change, difference, weight) in enumerate(reversed(self.rows)):
            left += self.keep**age * weight * np.outer(change, change)
            right += self.keep**age * weight * difference * change
        self.solved = np.linalg.solve(left, right)
        share = 0.0
        if len(self.rows) > self.known_after and self.size > 0:
            share = float(np.clip((1 - self.error / self.size) / 0.01, 0, 1))
        newest = self.x[-self.season :]
        before = np.mean([self.effect(x) for x in newest])
        self.used = share * self.solved
        self.level += float(before - np.mean([self.effect(x) for x in newest]))
