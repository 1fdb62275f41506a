"""The contract of every recurrent part of a network: a cell, stepped once per bar.

Shapes: T steps, B rows, F inputs, H outputs.  A state is a flat dict of tensors, rows first, so
that the code that stores states (slab, snapshot) needs to know nothing about the cell.

Processing a sequence equals applying ``step`` repeatedly; ``fold`` does exactly that.  Some cells have
a faster ``unroll``; ``tests/laws/test_cells.py`` tests that it gives the same result for every cell
that ``zoo.py`` lists.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from enum import IntEnum
from itertools import pairwise

import torch
from torch import Tensor, nn

State = dict[str, Tensor]


class Exact(IntEnum):
    """How closely a sequence equals its steps; a composite is as exact as its least exact part."""

    WINDOW = 0
    """Equal by construction: the state is a window, and every step reads all of it again."""
    FLOAT64 = 1
    """Equal to 1e-12 in float64; in float32 a last bit may flip a threshold."""
    TILE = 2
    """Equal bit for bit, in float32 too, for rows in multiples of eight."""


class Cell(nn.Module):
    """One recurrent step: (input, state) -> (output, state)."""

    inputs: int
    outputs: int
    exact: Exact
    state_shape: Mapping[str, tuple[int, ...]]
    """The shape of one row of each tensor of the state."""

    def initial_state(self, rows: int) -> State:
        """Return the state before the first step: zeros, in the type and on the device of the weights."""
        weight = next(self.parameters())
        return {name: weight.new_zeros(rows, *shape) for name, shape in self.state_shape.items()}

    @abstractmethod
    def step(self, x_BF: Tensor, state: State, dt_B: Tensor | None = None) -> tuple[Tensor, State]:
        """Return the output [B, H] and the next state; ``dt_B`` is the time since the last step, in bars."""

    def unroll(self, x_TBF: Tensor, state: State, dt_TB: Tensor | None = None) -> tuple[Tensor, State]:
        """Return what folding ``step`` over T >= 1 steps returns; cells with a faster form override it."""
        return fold(self, x_TBF, state, dt_TB=dt_TB)

    def scan(
        self, x_TBF: Tensor, state: State, mask_TB: Tensor | None = None, dt_TB: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Return the outputs [T, B, H] and the last state; where the mask is False a row outputs 0 and keeps its state.

        The mask is for padding.  The sequence is cut wherever a column of the mask changes, so that each
        piece runs unmasked and gives the bits of ``step``.
        """
        if mask_TB is None:
            return self.unroll(x_TBF, state, dt_TB)
        x_TBF = x_TBF.masked_fill(~mask_TB[..., None], 0)
        dt_TB = None if dt_TB is None else dt_TB.masked_fill(~mask_TB, 0)
        pieces = []
        for start, stop in _runs(mask_TB):
            dt = None if dt_TB is None else dt_TB[start:stop]
            y_TBH, after = self.unroll(x_TBF[start:stop], state, dt)
            pieces.append(y_TBH)
            state = _keep(mask_TB[start], after, state)
        return torch.cat(pieces).masked_fill(~mask_TB[..., None], 0), state


def fold(
    cell: Cell, x_TBF: Tensor, state: State, mask_TB: Tensor | None = None, dt_TB: Tensor | None = None
) -> tuple[Tensor, State]:
    """Return the outputs [T, B, H] of T >= 1 calls of ``step``, and the last state: the definition of a sequence."""
    outputs = []
    for t in range(len(x_TBF)):
        y_BH, after = cell.step(x_TBF[t], state, None if dt_TB is None else dt_TB[t])
        if mask_TB is not None:
            y_BH, after = y_BH.masked_fill(~mask_TB[t, :, None], 0), _keep(mask_TB[t], after, state)
        outputs.append(y_BH)
        state = after
    return torch.stack(outputs), state


def _keep(mask_B: Tensor, after: State, before: State) -> State:
    """Return ``after`` for the rows of the mask, ``before`` for the others."""
    return {
        name: torch.where(mask_B.view(-1, *[1] * (tensor.ndim - 1)), tensor, before[name])
        for name, tensor in after.items()
    }


def _runs(mask_TB: Tensor) -> Iterator[tuple[int, int]]:
    """Yield the longest [start, stop) within which no row's mask changes."""
    changes = (mask_TB[1:] != mask_TB[:-1]).any(1).nonzero()[:, 0] + 1
    edges = [0, *changes.tolist(), len(mask_TB)]
    return pairwise(edges)
