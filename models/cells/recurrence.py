"""Two ways in which a cell runs a sequence faster than step by step.

Shapes: T steps, B rows, F inputs, H outputs, P numbers read from an input.

Both compute everything that does not read the state for all steps at once.  A ``Recurrent`` cell
splits its step into two halves, and only the second reads the state.  An ``Unrolled`` cell is written
for a sequence, and a step is a sequence of length one.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from streamcast.models.cells.cell import Cell, Exact, State

Draw = Callable[[Tensor], object]


class Unrolled(Cell):
    """A cell that is written as ``unroll``."""

    exact = Exact.TILE

    def step(self, x_BF: Tensor, state: State, dt_B: Tensor | None = None) -> tuple[Tensor, State]:
        """Return the output and the next state: those of a sequence of one step."""
        y_1BH, after = self.unroll(x_BF[None], state, None if dt_B is None else dt_B[None])
        return y_1BH[0], after


class Recurrent(Cell):
    """A cell that is written as ``project`` and ``advance``; a step is one after the other."""

    exact = Exact.TILE

    @abstractmethod
    def project(self, x_BF: Tensor) -> Tensor:
        """Return everything that the step needs from the input, [..., P]."""

    @abstractmethod
    def advance(self, p_BP: Tensor, state: State, dt_B: Tensor | None) -> tuple[Tensor, State]:
        """Return the output [B, H] and the next state, from what ``project`` returned."""

    def step(self, x_BF: Tensor, state: State, dt_B: Tensor | None = None) -> tuple[Tensor, State]:
        """Return the output [B, H] and the next state; ``dt_B`` is the time since the last step, in bars."""
        return self.advance(self.project(x_BF), state, dt_B)

    def unroll(self, x_TBF: Tensor, state: State, dt_TB: Tensor | None = None) -> tuple[Tensor, State]:
        """Return the outputs [T, B, H] and the last state; the inputs of all steps are projected at once."""
        outputs = []
        for t, p_BP in enumerate(self.project(x_TBF).unbind()):
            y_BH, state = self.advance(p_BP, state, None if dt_TB is None else dt_TB[t])
            outputs.append(y_BH)
        return torch.stack(outputs), state


def initialise(linear: nn.Linear, blocks: int, draw: Draw = nn.init.xavier_uniform_) -> None:
    """Draw the weights gate block by gate block, as if each gate were a layer of its own; biases start at zero."""
    for block in linear.weight.chunk(blocks):
        draw(block)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)
