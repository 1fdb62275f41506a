"""The linear highway in closed form: ridge regression of what comes next on the lags.

Legend: P positions, L lags, H horizon.
"""

from __future__ import annotations

import numpy as np
import torch

from streamcast.models.network import Network
from streamcast.offline.evaluation.accuracy import absolute_error, mean
from streamcast.offline.training.sequences import Floats, Ints, Sequences

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""In units of the normal equations' mean diagonal."""

BLOCK = 4_096
MOST_POSITIONS = 60_000


def solve(sequences: Sequences, network: Network, train_P: Ints, validation_P: Ints) -> None:
    """Set the network's highway to the ridge solution whose penalty has the least absolute error on validation.

    W = (XᵀX + λI)⁻¹XᵀY about the means, in float64 (Hoerl and Kennard 1970); positions whose outcome is not wholly
    observed are left out.
    """
    highway = network.highway
    if highway is None or len(train_P) == 0:
        return
    gram, moment, mean_x, mean_y = _normal_equations(sequences, thinned(train_P, MOST_POSITIONS))
    values, vectors = np.linalg.eigh(gram)
    unit = max(float(np.mean(np.diag(gram))), 1e-12)
    rotated = vectors.T @ moment
    held_P = thinned(validation_P if len(validation_P) else train_P, BLOCK)
    x_PL, y_PH = sequences.lags(held_P).astype(np.float64), sequences.outcomes(held_P)
    best = np.inf
    for penalty in PENALTIES:
        weights_LH = vectors @ (rotated / (np.maximum(values, 0.0) + penalty * unit)[:, None])
        bias_H = mean_y - mean_x @ weights_LH
        error = mean(absolute_error(y_PH, x_PL @ weights_LH + bias_H))
        if error < best:
            best = error
            with torch.no_grad():
                highway.weight.copy_(torch.from_numpy(weights_LH.T))
                highway.bias.copy_(torch.from_numpy(bias_H))


def thinned(positions: Ints, most: int) -> Ints:
    """Return at most so many positions, evenly spread."""
    return positions[:: max(1, -(-len(positions) // most))]


def _normal_equations(sequences: Sequences, at_P: Ints) -> tuple[Floats, Floats, Floats, Floats]:
    """Return XᵀX and XᵀY about the means, divided by their number, and the means of X and Y."""
    lags, horizon = sequences.spec.lags, sequences.spec.horizon
    gram, moment = np.zeros((lags, lags)), np.zeros((lags, horizon))
    sum_x, sum_y, count = np.zeros(lags), np.zeros(horizon), 0
    for first in range(0, len(at_P), BLOCK):
        block = at_P[first : first + BLOCK]
        y_PH = sequences.outcomes(block).astype(np.float64)
        whole = np.flatnonzero(~np.isnan(y_PH).any(axis=1))
        x_PL, y_PH = sequences.lags(block[whole]).astype(np.float64), y_PH[whole]
        gram += x_PL.T @ x_PL
        moment += x_PL.T @ y_PH
        sum_x += x_PL.sum(axis=0)
        sum_y += y_PH.sum(axis=0)
        count += len(x_PL)
    n = max(count, 1)
    mean_x, mean_y = sum_x / n, sum_y / n
    return gram / n - np.outer(mean_x, mean_x), moment / n - np.outer(mean_x, mean_y), mean_x, mean_y
