"""Depth and breadth: cells one above the other, or side by side, are a cell.

Shapes: T steps, B rows, F inputs, H outputs.  A part's state tensors carry its name, as in ``1.h``;
a part without state (attention over features, a projection) adds none.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from streamcast.models.cells.cell import Cell, Exact, State
from streamcast.models.linear import RowLinear
from streamcast.models.spec import SpecError, multiple_of_eight, within

Advance = Callable[[Tensor, State, Tensor | None], tuple[Tensor, State]]
Chosen = Callable[[Cell], Advance]


class Composite(Cell):
    """A cell made of named cells, as exact as the least exact of them."""

    def __init__(self, parts: Mapping[str, Cell]) -> None:
        super().__init__()
        cells = list(parts.values())
        self.exact = min(cell.exact for cell in cells)
        self.layers = nn.ModuleDict(parts)
        self.plan = [(cell, {part: f"{name}.{part}" for part in cell.state_shape}) for name, cell in parts.items()]
        self.state_shape = {
            full: cell.state_shape[part] for cell, full_of in self.plan for part, full in full_of.items()
        }

    def initial_state(self, rows: int) -> State:
        """Return every part's own state before the first step."""
        state: State = {}
        for cell, full_of in self.plan:
            state |= _named(cell.initial_state(rows), full_of) if full_of else {}
        return state

    def step(self, x_BF: Tensor, state: State, dt_B: Tensor | None = None) -> tuple[Tensor, State]:
        """Return the output [B, H] and every part's next state."""
        return self._advance(lambda cell: cell.step, x_BF, state, dt_B)

    def unroll(self, x_TBF: Tensor, state: State, dt_TB: Tensor | None = None) -> tuple[Tensor, State]:
        """Return the outputs [T, B, H] and every part's last state, a part at a time."""
        return self._advance(lambda cell: cell.unroll, x_TBF, state, dt_TB)

    @abstractmethod
    def _advance(self, chosen: Chosen, x: Tensor, state: State, dt: Tensor | None) -> tuple[Tensor, State]:
        """Return the output and the next state, every part advanced by the method that is ``chosen``."""


class Stack(Composite):
    """Cells in order, the output of one being the input of the next.

    Dropout, while training, is on the output of every layer that has a state (Zaremba 2014, arXiv
    1409.2329: on the connections between layers, never on those through time).  A shortcut adds to
    the output of a layer what came from below.
    """

    def __init__(
        self,
        layers: Mapping[str, Cell],
        dropout: float = 0.0,
        shortcut: Callable[[Sequence[Cell]], Shortcut] | None = None,
    ) -> None:
        super().__init__(layers)
        within("dropout", dropout, 0, 0.9)
        cells = list(layers.values())
        self.inputs, self.outputs = cells[0].inputs, cells[-1].outputs
        self.dropout = nn.Dropout(dropout)
        self.front = int("front" in layers)
        self.shortcut = shortcut(cells[self.front :]) if shortcut is not None else None

    def _advance(self, chosen: Chosen, x: Tensor, state: State, dt: Tensor | None) -> tuple[Tensor, State]:
        after: State = {}
        below = []
        for depth, (cell, full_of) in enumerate(self.plan, -self.front):
            if depth >= 0:
                below.append(x)
            x, own = chosen(cell)(x, _own(state, full_of), dt)
            if self.shortcut is not None and depth >= 0:
                x = self.shortcut(depth, x, below)
            if full_of and self.training:
                x = self.dropout(x)
            after |= _named(own, full_of)
        return x, after


class Shortcut(nn.Module):
    """Adds something from below to the output of a layer."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        super().__init__()
        del cells

    @abstractmethod
    def forward(self, depth: int, y: Tensor, below: Sequence[Tensor]) -> Tensor:
        """Return a layer's output with its shortcut; ``below[d]`` is what layer d was given."""


class SkipTwo(Shortcut):
    """y[l + 2] += y[l] (He 2015, arXiv 1512.03385)."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        super().__init__(cells)
        widths = [cell.outputs for cell in cells]
        if len(set(widths)) > 1 or len(widths) < 3:
            message = (
                f"shortcut 'skip2' is over layers {widths} wide: expected three or more, all alike; or use 'linear'."
            )
            raise SpecError(message)

    def forward(self, depth: int, y: Tensor, below: Sequence[Tensor]) -> Tensor:
        """Return y, and from the third layer on what layer l - 2 gave."""
        return y + below[depth - 1] if depth >= 2 else y


class LinearShortcut(Shortcut):
    """y[l] += W y[l - 1], so that widths may differ (Kim 2017, residual LSTM, arXiv 1701.03360)."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        super().__init__(cells)
        linears = [RowLinear(cell.inputs, cell.outputs, bias=False) for cell in cells]
        for linear in linears:
            nn.init.xavier_uniform_(linear.weight)
        self.project = nn.ModuleList(linears)

    def forward(self, depth: int, y: Tensor, below: Sequence[Tensor]) -> Tensor:
        """Return y and a linear map of what the layer was given."""
        projected: Tensor = self.project[depth](below[depth])
        return y + projected


class EarlyExit(Composite):
    """A stack that each row climbs only as far as it needs: adaptive depth (Graves 2016, arXiv 1603.08983).

    Layer l stops a row with chance p_l = σ(w·y_l + b); when the chances reach 1 - ε the row leaves, and
    the layers above keep its state.  y = Σ p_l y_l, the last p being the remainder to 1.  A last bit
    can change the layer at which a row leaves, so a sequence equals its steps in float64 only.  The
    state's ``ponder`` is the cost of the last step (layers climbed and the last p), for the training loss.
    """

    def __init__(self, layers: Mapping[str, Cell], dropout: float = 0.0, epsilon: float = 0.1) -> None:
        super().__init__(layers)
        within("dropout", dropout, 0, 0.9)
        within("exit", epsilon, 1e-3, 0.5)
        cells = list(layers.values())
        self.front = int("front" in layers)
        widths = [cell.outputs for cell in cells[self.front :]]
        if len(set(widths)) > 1:
            message = (
                f"exit is {epsilon!r} over layers {widths} wide: a row may leave after any of them, so make them alike."
            )
            raise SpecError(message)
        self.inputs, self.outputs = cells[0].inputs, widths[0]
        self.exact = min(self.exact, Exact.FLOAT64)
        self.epsilon = epsilon
        self.dropout = nn.Dropout(dropout)
        halts = [RowLinear(width, 1) for width in widths[:-1]]
        for linear in halts:
            nn.init.zeros_(linear.weight)
            nn.init.constant_(linear.bias, -0.5)
        self.halt = nn.ModuleList(halts)
        self.state_shape = {**self.state_shape, "ponder": (1,)}

    def initial_state(self, rows: int) -> State:
        """Return every layer's own state before the first step, with a cost of zero."""
        return {**super().initial_state(rows), "ponder": next(self.parameters()).new_zeros(rows, 1)}

    def unroll(self, x_TBF: Tensor, state: State, dt_TB: Tensor | None = None) -> tuple[Tensor, State]:
        """Return what folding ``step`` returns: how far a row climbs is known only at each step."""
        return Cell.unroll(self, x_TBF, state, dt_TB)

    def _advance(self, chosen: Chosen, x: Tensor, state: State, dt: Tensor | None) -> tuple[Tensor, State]:
        after = dict(state)
        climbs_B1 = torch.ones(len(x), 1, dtype=torch.bool, device=x.device)
        spent_B1, y_BH = x.new_zeros(len(x), 1), x.new_zeros(len(x), self.outputs)
        for depth, (cell, full_of) in enumerate(self.plan, -self.front):
            if not climbs_B1.any():
                break
            x, own = chosen(cell)(x, _own(state, full_of), dt)
            for part, full in full_of.items():
                after[full] = torch.where(climbs_B1.view(-1, *[1] * (own[part].ndim - 1)), own[part], state[full])
            if full_of and self.training:
                x = self.dropout(x)
            if depth < 0:
                continue
            left_B1 = 1 - spent_B1
            p_B1 = chance(self.halt[depth](x)) if depth < len(self.halt) else left_B1
            leaves_B1 = spent_B1 + p_B1 >= 1 - self.epsilon
            y_BH = y_BH + torch.where(leaves_B1, left_B1, p_B1) * climbs_B1 * x
            after["ponder"] = torch.where(climbs_B1, depth + 1 + left_B1, after["ponder"])
            spent_B1 = spent_B1 + p_B1 * climbs_B1
            climbs_B1 = climbs_B1 & ~leaves_B1
        return y_BH, after


def chance(logit_B1: Tensor) -> Tensor:
    """Return σ, in bits that do not depend on a row's place; torch's own rounds the last rows of a batch otherwise."""
    return 0.5 * (1 + (0.5 * logit_B1).tanh())


class TwoStreams(Composite):
    """Two cells side by side, each over its own part of the features, their outputs [one; other] (Simonyan 2014).

    A linear head on top fuses them late; with cross attention each attends to the other's past.
    """

    def __init__(self, one: Cell, other: Cell) -> None:
        super().__init__({"one": one, "other": other})
        self.split = one.inputs
        self.inputs, self.outputs = one.inputs + other.inputs, one.outputs + other.outputs

    def _advance(self, chosen: Chosen, x: Tensor, state: State, dt: Tensor | None) -> tuple[Tensor, State]:
        after: State = {}
        outputs = []
        for (cell, full_of), part in zip(self.plan, (x[..., : self.split], x[..., self.split :]), strict=True):
            y, own = chosen(cell)(part.contiguous(), _own(state, full_of), dt)
            outputs.append(y)
            after |= _named(own, full_of)
        return torch.cat(outputs, -1), after


class Projection(Cell):
    """y = Wx + b, the same at every step: a 1×1 map between layers (Sak 2014, arXiv 1402.1128), or an embedding."""

    exact = Exact.TILE

    def __init__(self, inputs: int, hidden: int = 32) -> None:
        super().__init__()
        multiple_of_eight("hidden", hidden)
        self.inputs, self.outputs = inputs, hidden
        self.state_shape = {}
        self.linear = RowLinear(inputs, hidden)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def step(self, x_BF: Tensor, state: State, dt_B: Tensor | None = None) -> tuple[Tensor, State]:
        """Return the projected input; there is no state."""
        del dt_B
        return self.linear(x_BF), state

    def unroll(self, x_TBF: Tensor, state: State, dt_TB: Tensor | None = None) -> tuple[Tensor, State]:
        """Return T projected inputs at once."""
        return self.step(x_TBF, state, dt_TB)


def _own(state: State, full_of: Mapping[str, str]) -> State:
    """Return the state of one part, by the part's own names."""
    return {part: state[full] for part, full in full_of.items()}


def _named(own: State, full_of: Mapping[str, str]) -> State:
    """Return the state of one part by its full names."""
    return {full: own[part] for part, full in full_of.items()}
