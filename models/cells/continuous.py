"""Cells in continuous time: they take the time since the last step, so irregular series need no resampling.

Shapes: T steps, B rows, F inputs, H hidden units, U backbone units.  Time is in bars; without it a step is one bar.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamcast.models.cells.cell import Cell, Exact, State
from streamcast.models.cells.fused import GRU
from streamcast.models.cells.recurrence import Recurrent, Unrolled, initialise
from streamcast.models.linear import RowLinear
from streamcast.models.spec import multiple_of_eight, within


class CfC(Recurrent):
    """Closed-form continuous time: a gate of time between two candidates (Hasani 2022, arXiv 2106.13898).

    b = 1.7159 tanh(0.666(B[x; h]));  t = σ(Ta(b)·dt + Tb(b));  h' = (1 - t)⊙tanh F1(b) + t⊙tanh F2(b).
    """

    def __init__(self, inputs: int, hidden: int = 64, backbone: int = 128) -> None:
        super().__init__()
        multiple_of_eight("hidden", hidden)
        multiple_of_eight("backbone", backbone)
        self.inputs, self.outputs = inputs, hidden
        self.state_shape = {"h": (hidden,)}
        self.input, self.recurrent = RowLinear(inputs, backbone), RowLinear(hidden, backbone, bias=False)
        self.heads = RowLinear(backbone, 4 * hidden)
        for linear, blocks in ((self.input, 1), (self.recurrent, 1), (self.heads, 4)):
            initialise(linear, blocks)

    def project(self, x_BF: Tensor) -> Tensor:
        """Return the input's part of the backbone, [..., U]."""
        p_BU: Tensor = self.input(x_BF)
        return p_BU

    def advance(self, p_BP: Tensor, state: State, dt_B: Tensor | None) -> tuple[Tensor, State]:
        """Return the output [B, H] and the next state."""
        b_BU = 1.7159 * (0.666 * (p_BP + self.recurrent(state["h"]))).tanh()
        f1_BH, f2_BH, a_BH, b_BH = self.heads(b_BU).chunk(4, -1)
        t_BH = (a_BH * elapsed(dt_B, a_BH) + b_BH).sigmoid()
        f1_BH, f2_BH = f1_BH.tanh(), f2_BH.tanh()
        h_BH = f1_BH + t_BH * (f2_BH - f1_BH)
        return h_BH, {"h": h_BH}


class Synapses(nn.Module):
    """All synapses from some units onto H neurons: conductances g = w σ(s(v - μ)), each pulling to a potential e."""

    def __init__(self, units: int, hidden: int) -> None:
        super().__init__()
        self.w, self.s, self.mu = (
            nn.Parameter(torch.empty(units, hidden).uniform_(low, high))
            for low, high in ((0.001, 1.0), (3.0, 8.0), (0.3, 0.8))
        )
        self.e = nn.Parameter(torch.randint(0, 2, (units, hidden)) * 2.0 - 1)

    def forward(self, v_BU: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pull Σ g e and the conductance Σ g onto each neuron, [..., H] both."""
        g_BUH = F.softplus(self.w) * (self.s * (v_BU[..., None] - self.mu)).sigmoid()
        return (g_BUH * self.e).sum(-2), g_BUH.sum(-2)


class LTC(Recurrent):
    """Liquid time constants: leaky neurons joined by synapses (Hasani 2021, arXiv 2006.04439).

    v' = (C v + δ(G L + Σ g e)) / (C + δ(G + Σ g)), δ = dt / 6, g = w σ(s(v - μ)) over inputs and neurons: a
    semi-implicit Euler step, six times a bar, of H² sigmoids each.  C, G and w are softplus of their weights.
    """

    unfolds = 6

    def __init__(self, inputs: int, hidden: int = 32) -> None:
        super().__init__()
        multiple_of_eight("hidden", hidden)
        self.inputs, self.outputs = inputs, hidden
        self.state_shape = {"v": (hidden,)}
        self.sensory, self.inner = Synapses(inputs, hidden), Synapses(hidden, hidden)
        self.leak, self.rest, self.capacity = (
            nn.Parameter(torch.empty(hidden).uniform_(low, high))
            for low, high in ((0.001, 1.0), (-0.2, 0.2), (0.4, 0.6))
        )

    def project(self, x_BF: Tensor) -> Tensor:
        """Return pull and conductance of inputs and leak, [..., 2H]."""
        pull_BH, conductance_BH = self.sensory(x_BF)
        leak_H = F.softplus(self.leak)
        return torch.cat([pull_BH + leak_H * self.rest, conductance_BH + leak_H], -1)

    def advance(self, p_BP: Tensor, state: State, dt_B: Tensor | None) -> tuple[Tensor, State]:
        """Return the output [B, H] and the next state."""
        pull_BH, conductance_BH = p_BP.chunk(2, -1)
        delta_B1, capacity_H = elapsed(dt_B, p_BP) / self.unfolds, F.softplus(self.capacity)
        v_BH = state["v"]
        for _ in range(self.unfolds):
            inner_pull_BH, inner_BH = self.inner(v_BH)
            charge_BH = capacity_H * v_BH + delta_B1 * (pull_BH + inner_pull_BH)
            v_BH = charge_BH / (capacity_H + delta_B1 * (conductance_BH + inner_BH))
        return v_BH, {"v": v_BH}


class OdeRNN(Cell):
    """A differential equation between two bars, a GRU step at a bar (Rubanova 2019, arXiv 1907.03907).

    h⁻ = h(dt) of dh/ds = V tanh(Uh + a) + c, one Runge-Kutta step of order 4;  h' = GRU(x, h⁻).
    The step is fixed: an adaptive solver couples the rows of a batch.
    """

    exact = Exact.TILE

    def __init__(self, inputs: int, hidden: int = 64, units: int = 64) -> None:
        super().__init__()
        multiple_of_eight("units", units)
        self.gru = GRU(inputs, hidden)
        self.inputs, self.outputs, self.state_shape = inputs, hidden, self.gru.state_shape
        first, second = RowLinear(hidden, units), RowLinear(units, hidden)
        initialise(first, 1)
        initialise(second, 1, partial(nn.init.xavier_uniform_, gain=0.1))  # at first the state hardly drifts
        self.field = nn.Sequential(first, nn.Tanh(), second)

    def step(self, x_BF: Tensor, state: State, dt_B: Tensor | None = None) -> tuple[Tensor, State]:
        """Return the output [B, H] and the next state."""
        h_BH = state["h"]
        return self.gru.step(x_BF, {"h": runge_kutta(self.field, h_BH, elapsed(dt_B, h_BH))})


class UnICORNN(Unrolled):
    """Oscillators driven by the input, each of its own frequency (Rusch & Mishra 2021, arXiv 2103.05487).

    z' = (z - δσ(c)⊙(tanh(w⊙y + Vx + b) + αy)) / (1 + γδσ(c));  y' = y + δσ(c)⊙z', δ = step·dt.
    With γ = 0 this is the authors' Hamiltonian system in symplectic steps, whose gradients neither vanish nor explode;
    but driven for ever it gathers energy without bound.  So a stream's oscillators are damped, as coRNN's are (Rusch
    & Mishra 2020, arXiv 2010.00951).  They begin at about ½·step·√α radians a bar.
    """

    def __init__(
        self, inputs: int, hidden: int = 64, step: float = 1.0, alpha: float = 1.0, damping: float = 0.5
    ) -> None:
        super().__init__()
        multiple_of_eight("hidden", hidden)
        within("step", step, 0.0001, 1)
        within("alpha", alpha, 0, 100)
        within("damping", damping, 0, 100)
        self.inputs, self.outputs = inputs, hidden
        self.state_shape = {"y": (hidden,), "z": (hidden,)}
        self.size, self.alpha, self.damping = step, alpha, damping
        self.input = RowLinear(inputs, hidden)
        initialise(self.input, 1, nn.init.kaiming_uniform_)
        self.w = nn.Parameter(torch.rand(hidden))
        self.c = nn.Parameter(torch.empty(hidden).uniform_(-0.1, 0.1))

    def unroll(self, x_TBF: Tensor, state: State, dt_TB: Tensor | None = None) -> tuple[Tensor, State]:
        """Return the outputs [T, B, H] and the last state."""
        drive_TBH = self.input(x_TBF)
        rate_TBH = self.size * self.c.sigmoid() * elapsed(dt_TB, drive_TBH)
        y_BH, z_BH, outputs = state["y"], state["z"], []
        for drive_BH, rate_BH in zip(drive_TBH.unbind(), rate_TBH.expand_as(drive_TBH).unbind(), strict=True):
            force_BH = (self.w * y_BH + drive_BH).tanh() + self.alpha * y_BH
            z_BH = (z_BH - rate_BH * force_BH) / (1 + self.damping * rate_BH)
            y_BH = y_BH + rate_BH * z_BH
            outputs.append(y_BH)
        return torch.stack(outputs), {"y": y_BH, "z": z_BH}


def runge_kutta(field: Callable[[Tensor], Tensor], h_BH: Tensor, dt_B1: Tensor) -> Tensor:
    """Return h after dt of dh/ds = field(h): one step of Kutta's 3/8 rule (1901), of order 4."""
    k1 = dt_B1 * field(h_BH)
    k2 = dt_B1 * field(h_BH + k1 / 3)
    k3 = dt_B1 * field(h_BH + k2 - k1 / 3)
    k4 = dt_B1 * field(h_BH + k1 - k2 + k3)
    return h_BH + (k1 + 3 * (k2 + k3) + k4) / 8


def elapsed(dt_B: Tensor | None, like: Tensor) -> Tensor:
    """Return the time since the last step as a column, [..., 1]; one bar where none is given."""
    return like.new_ones(1) if dt_B is None else dt_B[..., None]
