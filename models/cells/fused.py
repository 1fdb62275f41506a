"""The gated cells that torch has a fused kernel for: RNN, GRU, LSTM.

Shapes: T steps, B rows, F inputs, H hidden units.  The kernels of nn.RNN, nn.GRU and nn.LSTM, not
those of the ``...Cell`` classes, which differ in the last bits: here one step and a whole sequence
are the same bytes for rows in multiples of eight.  The kernels are called directly: the checks in the
module's ``forward`` cost nearly as much as the arithmetic of eight rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypedDict

import torch
from torch import Tensor, nn

from streamcast.models.cells.cell import Cell, Exact, State
from streamcast.models.spec import multiple_of_eight


class KernelOptions(TypedDict):
    """The keywords of torch's fused kernels."""

    has_biases: bool
    num_layers: int
    dropout: float
    train: bool
    bidirectional: bool
    batch_first: bool


class Fused(Cell):
    """A cell whose step is a sequence of length one through a fused kernel."""

    exact = Exact.TILE
    fused: nn.RNNBase

    def __init__(self, inputs: int, hidden: int, kernel: Callable[[int, int], nn.RNNBase]) -> None:
        super().__init__()
        multiple_of_eight("hidden", hidden)
        self.inputs, self.outputs = inputs, hidden
        self.state_shape = {"h": (hidden,)}
        self.fused = kernel(inputs, hidden)
        initialise(self.fused)

    @property
    def weights(self) -> list[Tensor]:
        """Input weights, recurrent weights and their two biases, gates in torch's order."""
        weights: list[Tensor] = list(self.fused.all_weights[0])
        return weights

    @property
    def options(self) -> KernelOptions:
        """The kernels' options: one layer, one direction, steps first."""
        return {
            "has_biases": True,
            "num_layers": 1,
            "dropout": 0.0,
            "train": self.training,
            "bidirectional": False,
            "batch_first": False,
        }

    def step(self, x_BF: Tensor, state: State, dt_B: Tensor | None = None) -> tuple[Tensor, State]:
        """Return the output and the next state; the time since the last step is ignored."""
        del dt_B
        y_1BH, after = self.unroll(x_BF[None], state)
        return y_1BH[0], after


class RNN(Fused):
    """h' = tanh(Wx + b + Uh + b') (Elman 1990)."""

    def __init__(self, inputs: int, hidden: int = 64) -> None:
        # Eight rows of weights take a kernel whose rows depend on each other.
        multiple_of_eight("hidden", hidden, least=16)
        super().__init__(inputs, hidden, nn.RNN)

    def unroll(self, x_TBF: Tensor, state: State, dt_TB: Tensor | None = None) -> tuple[Tensor, State]:
        """Return the outputs [T, B, H] and the last state."""
        del dt_TB
        y_TBH, h_1BH = torch.rnn_tanh(x_TBF, state["h"][None], self.weights, **self.options)
        return y_TBH, {"h": h_1BH[0]}


class GRU(Fused):
    """Update and reset gates, the reset after the matrix product (Cho 2014, arXiv 1406.1078, in torch's form).

    r, z = σ(Wx + b + Uh + b');  n = tanh(Wx + b + r⊙(Uh + b'));  h' = (1 - z)⊙n + z⊙h.
    """

    def __init__(self, inputs: int, hidden: int = 64) -> None:
        super().__init__(inputs, hidden, nn.GRU)

    def unroll(self, x_TBF: Tensor, state: State, dt_TB: Tensor | None = None) -> tuple[Tensor, State]:
        """Return the outputs [T, B, H] and the last state."""
        del dt_TB
        y_TBH, h_1BH = torch.gru(x_TBF, state["h"][None], self.weights, **self.options)
        return y_TBH, {"h": h_1BH[0]}


class LSTM(Fused):
    """Input, forget and output gates around a cell state (Hochreiter & Schmidhuber 1997, Gers 2000).

    i, f, o = σ(Wx + b + Uh + b');  g = tanh(Wx + b + Uh + b');  c' = f⊙c + i⊙g;  h' = o⊙tanh(c').
    The forget gate's bias starts at 1, so that a new cell remembers (Jozefowicz 2015).
    """

    def __init__(self, inputs: int, hidden: int = 64) -> None:
        super().__init__(inputs, hidden, nn.LSTM)
        self.state_shape = {"h": (hidden,), "c": (hidden,)}
        nn.init.ones_(self.weights[2][hidden : 2 * hidden])

    def unroll(self, x_TBF: Tensor, state: State, dt_TB: Tensor | None = None) -> tuple[Tensor, State]:
        """Return the outputs [T, B, H] and the last state."""
        del dt_TB
        before = (state["h"][None], state["c"][None])
        with without_onednn_in_training():
            y_TBH, h_1BH, c_1BH = torch.lstm(x_TBF, before, self.weights, **self.options)
        return y_TBH, {"h": h_1BH[0], "c": c_1BH[0]}


@contextmanager
def without_onednn_in_training() -> Iterator[None]:
    """Keep oneDNN away where gradients are: its LSTM then has other last bits in a sequence than in steps.

    On some CPUs it has no bfloat16 either.  Without gradients its bytes are exact, and stay those of earlier versions.
    """
    before = torch.backends.mkldnn.enabled
    if torch.is_grad_enabled():
        torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = before


def initialise(fused: nn.RNNBase) -> None:
    """Set input weights to Xavier, recurrent weights to orthogonal, per gate block, and biases to zero."""
    for name, parameter in fused.named_parameters():
        for block in parameter.chunk(parameter.shape[0] // fused.hidden_size):
            if name.startswith("weight_ih"):
                nn.init.xavier_uniform_(block)
            elif name.startswith("weight_hh"):
                nn.init.orthogonal_(block)
            else:
                nn.init.zeros_(block)
