"""Ridge regression in closed form: W = (XᵀX + λI)⁻¹XᵀY (Hoerl and Kennard 1970), in float64.

Legend: P rows (positions), L inputs (lags), H outputs (horizon).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from streamcast.offline.evaluation.accuracy import Floats


@dataclass(frozen=True, slots=True)
class NormalEquations:
    """XᵀX and XᵀY, and the sums of X and Y, over rows that come block by block."""

    gram_LL: Floats
    moment_LH: Floats
    sum_x_L: Floats
    sum_y_H: Floats
    count_1: Floats

    @classmethod
    def empty(cls, lags: int, horizon: int) -> NormalEquations:
        """Return the sums over no rows."""
        return cls(np.zeros((lags, lags)), np.zeros((lags, horizon)), np.zeros(lags), np.zeros(horizon), np.zeros(1))

    def add(self, x_PL: Floats, y_PH: Floats) -> None:
        """Add a block of rows."""
        self.gram_LL[:] += x_PL.T @ x_PL
        self.moment_LH[:] += x_PL.T @ y_PH
        self.sum_x_L[:] += x_PL.sum(axis=0)
        self.sum_y_H[:] += y_PH.sum(axis=0)
        self.count_1[:] += len(x_PL)

    def followed_by(self, newer: NormalEquations, forgetting: float) -> NormalEquations:
        """Return the sums of both, the older ones times ``forgetting``."""
        return NormalEquations(
            forgetting * self.gram_LL + newer.gram_LL,
            forgetting * self.moment_LH + newer.moment_LH,
            forgetting * self.sum_x_L + newer.sum_x_L,
            forgetting * self.sum_y_H + newer.sum_y_H,
            forgetting * self.count_1 + newer.count_1,
        )

    def solutions(self, penalties: Sequence[float]) -> Iterator[Floats]:
        """Yield W [L, H] of a regression without intercept for each penalty."""
        return solutions(self.gram_LL, self.moment_LH, penalties)

    def solutions_with_intercept(self, penalties: Sequence[float]) -> Iterator[tuple[Floats, Floats]]:
        """Yield W [L, H] and intercept [H] for each penalty, which does not shrink the intercept."""
        n = max(float(self.count_1[0]), 1.0)
        mean_x, mean_y = self.sum_x_L / n, self.sum_y_H / n
        gram_LL = self.gram_LL / n - np.outer(mean_x, mean_x)
        moment_LH = self.moment_LH / n - np.outer(mean_x, mean_y)
        for weights_LH in solutions(gram_LL, moment_LH, penalties):
            yield weights_LH, mean_y - mean_x @ weights_LH


def solutions(gram_LL: Floats, moment_LH: Floats, penalties: Sequence[float]) -> Iterator[Floats]:
    """Yield W [L, H] for each penalty, in units of the mean diagonal of XᵀX; zero when there is nothing to learn.

    One eigendecomposition serves several penalties; a single one is solved directly, which takes a tenth of the time.
    """
    unit = max(float(np.mean(np.diag(gram_LL))), 1e-12)
    if len(penalties) == 1:
        yield np.asarray(np.linalg.solve(gram_LL + penalties[0] * unit * np.eye(len(gram_LL)), moment_LH), np.float64)
        return
    values, vectors = np.linalg.eigh(gram_LL)
    rotated = vectors.T @ moment_LH
    for penalty in penalties:
        yield vectors @ (rotated / (np.maximum(values, 0.0) + penalty * unit)[:, None])
