"""The linear highway in closed form: ridge regression of the next H bars on the lags.

Legend: P positions, L lags, H horizon.
"""

from __future__ import annotations

import numpy as np
import torch

from streamcast.models.network import Network
from streamcast.offline.evaluation.accuracy import absolute_error, mean
from streamcast.offline.evaluation.ridge import NormalEquations
from streamcast.offline.training.sequences import Ints, Sequences
from streamcast.stages import stage

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""In units of the mean diagonal of XᵀX."""

BLOCK = 4_096
MOST_POSITIONS = 60_000


@stage("solving the linear highway")
def solve(sequences: Sequences, network: Network, train_P: Ints, validation_P: Ints) -> None:
    """Set the network's highway to the ridge solution whose penalty has the least absolute error on validation.

    Positions with an outcome that was not observed are left out.
    """
    highway = network.highway
    if highway is None or len(train_P) == 0:
        return
    held_P = thinned(validation_P, BLOCK)
    x_PL, y_PH = sequences.lags(held_P).astype(np.float64), sequences.outcomes(held_P)
    equations = _normal_equations(sequences, thinned(train_P, MOST_POSITIONS))
    best = np.inf
    for weights_LH, bias_H in equations.solutions_with_intercept(PENALTIES):
        error = mean(absolute_error(y_PH, x_PL @ weights_LH + bias_H))
        if error < best:
            best = error
            with torch.no_grad():
                highway.weight.copy_(torch.from_numpy(weights_LH.T))
                highway.bias.copy_(torch.from_numpy(bias_H))


def thinned(positions: Ints, most: int) -> Ints:
    """Return at most ``most`` positions, evenly spread."""
    return positions[:: max(1, -(-len(positions) // most))]


def _normal_equations(sequences: Sequences, at_P: Ints) -> NormalEquations:
    """Return the sums over the positions whose outcomes are all observed."""
    equations = NormalEquations.empty(sequences.spec.lags, sequences.spec.horizon)
    for first in range(0, len(at_P), BLOCK):
        block = at_P[first : first + BLOCK]
        y_PH = sequences.outcomes(block).astype(np.float64)
        whole = np.flatnonzero(~np.isnan(y_PH).any(axis=1))
        equations.add(sequences.lags(block[whole]).astype(np.float64), y_PH[whole])
    return equations
