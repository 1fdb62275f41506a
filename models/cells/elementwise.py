"""Elementwise recurrences: no unit of the state reads another, so all matrix products are done before the loop.

Shapes: T steps, B rows, F inputs, H hidden units, K steps that a convolution looks at.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from streamcast.models.cells.cell import Cell, Exact, State
from streamcast.models.cells.convolution import taps
from streamcast.models.cells.recurrence import initialise
from streamcast.models.linear import RowLinear
from streamcast.models.spec import multiple_of_eight, within

BLOCK_ROWS = 1024  # T·B of a block: 64 units of it and of their gates stay in the processor's cache


class Elementwise(Cell):
    """A cell that is written as ``block``: the gates of all steps of a block at once, then its loop."""

    exact = Exact.TILE

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        multiple_of_eight("hidden", hidden)
        self.inputs, self.outputs = inputs, hidden

    @abstractmethod
    def block(self, x_TBF: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the outputs [T, B, H] and the last state of T >= 1 steps."""

    def step(self, x_BF: Tensor, state: State, dt_B: Tensor | None = None) -> tuple[Tensor, State]:
        """Return the output and the next state; the time since the last step is ignored."""
        del dt_B
        y_1BH, after = self.block(x_BF[None], state)
        return y_1BH[0], after

    def unroll(self, x_TBF: Tensor, state: State, dt_TB: Tensor | None = None) -> tuple[Tensor, State]:
        """Return the outputs [T, B, H] and the last state, block after block."""
        del dt_TB
        outputs = []
        for block_TBF in torch.split(x_TBF, max(8, BLOCK_ROWS // x_TBF.shape[1])):
            y_TBH, state = self.block(block_TBF, state)
            outputs.append(y_TBH)
        return torch.cat(outputs), state


class MinGRU(Elementwise):
    """A GRU whose gate and candidate do not read the state (Feng 2024, arXiv 2410.01201).

    z = σ(Wz x + bz);  n = g(Wn x + bn), g(a) = a + 1/2 where a >= 0, else σ(a);  h' = (1 - z)⊙h + z⊙n.
    """

    def __init__(self, inputs: int, hidden: int = 64) -> None:
        super().__init__(inputs, hidden)
        self.state_shape = {"h": (hidden,)}
        self.linear = RowLinear(inputs, 2 * hidden)
        initialise(self.linear, 2)

    def block(self, x_TBF: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the outputs [T, B, H] and the last state of T >= 1 steps."""
        n_TBH, z_TBH = self.linear(x_TBF).to(state["h"].dtype).chunk(2, -1)
        h_TBH = mixed(1 - z_TBH.sigmoid(), n_TBH.relu() + n_TBH.sigmoid().clamp(max=0.5), state["h"])
        return h_TBH, {"h": h_TBH[-1]}


class QRNN(Elementwise):
    """Gates from a causal convolution, and a pooled state (Bradbury 2017, arXiv 1611.01576).

    z = tanh, f, o = σ of W[x_{t-K+1}; ...; x_t] + b;  c' = f⊙c + (1 - f)⊙z;  h = o⊙c'.
    """

    def __init__(self, inputs: int, hidden: int = 64, kernel: int = 2) -> None:
        super().__init__(inputs, hidden)
        within("kernel", kernel, 2, 64)
        self.state_shape = {"c": (hidden,), "past": (kernel - 1, inputs)}
        self.linear = RowLinear(kernel * inputs, 3 * hidden)
        initialise(self.linear, 3)

    def block(self, x_TBF: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the outputs [T, B, H] and the last state of T >= 1 steps."""
        kernel = 1 + self.state_shape["past"][0]
        x_TBX, past_BPF = taps(x_TBF, state["past"], kernel)
        z_TBH, f_TBH, o_TBH = self.linear(x_TBX).to(state["c"].dtype).chunk(3, -1)
        z_TBH = 2 * (2 * z_TBH).sigmoid() - 1  # which is tanh z, at a third of its time
        c_TBH = mixed(f_TBH.sigmoid(), z_TBH, state["c"])
        return o_TBH.sigmoid() * c_TBH, {"c": c_TBH[-1], "past": past_BPF}


class SRU(Elementwise):
    """Gates that read the state unit by unit, and a highway past them (Lei 2018, arXiv 1709.02755).

    f = σ(Wf x + vf⊙c + bf);  r = σ(Wr x + vr⊙c + br);  c' = f⊙c + (1 - f)⊙Wx;  h = r⊙c' + (1 - r)⊙x.
    Where the input is not as wide as the state, the highway carries Wh x.
    """

    def __init__(self, inputs: int, hidden: int = 64) -> None:
        super().__init__(inputs, hidden)
        self.state_shape = {"c": (hidden,)}
        self.linear = RowLinear(inputs, 3 * hidden, bias=False)
        initialise(self.linear, 3)
        self.highway = nn.Identity() if inputs == hidden else RowLinear(inputs, hidden, bias=False)
        if isinstance(self.highway, RowLinear):
            initialise(self.highway, 1)
        self.peephole = nn.Parameter(torch.empty(2, hidden).uniform_(-(hidden**-0.5), hidden**-0.5))
        self.bias = nn.Parameter(torch.zeros(2, hidden))

    def block(self, x_TBF: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the outputs [T, B, H] and the last state; the forget gate stays in the loop."""
        (v_f, v_r), (b_f, b_r) = self.peephole, self.bias
        w_TBH, f_TBH, r_TBH = self.linear(x_TBF).to(state["c"].dtype).chunk(3, -1)
        c_BH, states = state["c"], []
        for w_BH, f_BH in zip(w_TBH.unbind(), (f_TBH + b_f).unbind(), strict=True):
            c_BH = torch.lerp(w_BH, c_BH, torch.addcmul(f_BH, v_f, c_BH).sigmoid())
            states.append(c_BH)
        c_TBH = torch.stack(states)
        r_TBH = (r_TBH + b_r + v_r * previous(c_TBH, state["c"])).sigmoid()
        x_TBH = self.highway(x_TBF)
        return x_TBH + r_TBH * (c_TBH - x_TBH), {"c": c_BH}


def mixed(f_TBH: Tensor, z_TBH: Tensor, c_BH: Tensor) -> Tensor:
    """Return c_1 ... c_T of c_t = f_t ⊙ c_{t-1} + (1 - f_t) ⊙ z_t, [T, B, H]: one operation a step.

    Where no gradient is wanted they are written over z, which costs no memory.
    """
    if not torch.is_grad_enabled():
        for f_BH, z_BH in zip(f_TBH.unbind(), z_TBH.unbind(), strict=True):
            c_BH = z_BH.lerp_(c_BH, f_BH)
        return z_TBH
    states = []
    for f_BH, z_BH in zip(f_TBH.unbind(), z_TBH.unbind(), strict=True):
        c_BH = torch.lerp(z_BH, c_BH, f_BH)
        states.append(c_BH)
    return torch.stack(states)


def previous(c_TBH: Tensor, initial_BH: Tensor) -> Tensor:
    """Return c_0 ... c_{T-1}: what each step found."""
    return torch.cat([initial_BH[None], c_TBH[:-1]])
