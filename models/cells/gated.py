"""The gated cells spelled out gate by gate, for the options that no fused kernel has.

Shapes: T steps, B rows, F inputs, H hidden units, K gate blocks, P = K·H numbers read from an input.

A spec names ``gru_cell`` and ``lstm_cell``: with default options they return the fused cells of
``fused.py``, with others the cells here.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from streamcast.models.cells.cell import Cell, Exact, State, fold
from streamcast.models.cells.fused import GRU, LSTM
from streamcast.models.cells.recurrence import Draw, Recurrent, initialise
from streamcast.models.linear import GroupedLinear, RowLinear
from streamcast.models.spec import SpecError, multiple_of_eight, within

Norm = Literal["none", "gates", "output"]
Candidate = Literal["tanh", "glu"]
Reset = Literal["after", "before"]

OPTIONS = {
    "reset": '"before": n = tanh(Wx + b + U(r⊙h) + b\'), as first published (Cho 2014, arXiv 1406.1078)',
    "peephole": "i and f also read p⊙c, and o reads p⊙c' (Gers 2002)",
    "norm": '"gates": LN(Wx) + b, LN(Uh) + b\' and tanh(LN(c\')); "output": y = LN(h\') (Ba 2016, arXiv 1607.06450)',
    "candidate": '"glu": a⊙σ(b) in the place of tanh a, at one more gate block (Dauphin 2017, arXiv 1612.08083)',
    "groups": "U is block-diagonal, a unit reads its own group, W mixes (Kuchaiev & Ginsburg 2017, arXiv 1703.10722)",
    "rank": "W and U are products of two matrices of this rank (Kuchaiev & Ginsburg 2017, arXiv 1703.10722)",
}
"""What each option changes; they combine."""


def gru_cell(
    inputs: int,
    hidden: int = 64,
    reset: Reset = "after",
    norm: Norm = "none",
    candidate: Candidate = "tanh",
    groups: int = 1,
    rank: int = 0,
) -> Cell:
    """Update and reset gates, the reset after the matrix product, as in torch (Cho 2014, arXiv 1406.1078).

    r, z = σ(Wx + b + Uh + b');  n = tanh(Wx + b + r⊙(Uh + b'));  h' = (1 - z)⊙n + z⊙h.
    """
    if (reset, norm, candidate, groups, rank) == ("after", "none", "tanh", 1, 0):
        return GRU(inputs, hidden)
    return ConfigurableGRU(inputs, hidden, reset, norm, candidate, groups, rank)


def lstm_cell(
    inputs: int,
    hidden: int = 64,
    norm: Norm = "none",
    candidate: Candidate = "tanh",
    groups: int = 1,
    rank: int = 0,
    *,
    peephole: bool = False,
) -> Cell:
    """Input, forget and output gates around a cell state (Hochreiter & Schmidhuber 1997, Gers 2000).

    i, f, o = σ(Wx + b + Uh + b');  g = tanh(Wx + b + Uh + b');  c' = f⊙c + i⊙g;  h' = o⊙tanh(c').
    """
    if (norm, candidate, groups, rank, peephole) == ("none", "tanh", 1, 0, False):
        return LSTM(inputs, hidden)
    return ConfigurableLSTM(inputs, hidden, norm, candidate, groups, rank, peephole=peephole)


class Configurable(Recurrent):
    """A gated cell with options: the maps that its gates are made of."""

    def __init__(self, inputs: int, hidden: int, norm: Norm, candidate: Candidate, groups: int, rank: int) -> None:
        super().__init__()
        multiple_of_eight("hidden", hidden)
        within("groups", groups, 1, hidden)
        if hidden % groups or (groups > 1 and rank):
            message = (
                f"groups is {groups!r}: expected a divisor of hidden ({hidden}), and 1 beside a rank ({rank}). "
                "Change it in the model spec."
            )
            raise SpecError(message)
        if rank:
            multiple_of_eight("rank", rank)
        self.inputs, self.outputs, self.groups, self.rank = inputs, hidden, groups, rank
        self.state_shape = {"h": (hidden,)}
        self.norm, self.candidates = norm, 2 if candidate == "glu" else 1
        self.finish = nn.LayerNorm(hidden) if norm == "output" else nn.Identity()

    def reads_input(self, gates: int) -> nn.Sequential:
        """Return the map Wx + b of some gates, [..., F] to [..., gates·H]."""
        return self._map(self._product(self.inputs, gates, nn.init.xavier_uniform_), gates)

    def reads_state(self, gates: int) -> nn.Sequential:
        """Return the map Uh + b' of some gates, [B, H] to [B, gates·H]; block-diagonal and without b' where grouped."""
        if self.groups > 1:
            return self._map([GroupedLinear(self.outputs, gates, self.groups)], gates)
        return self._map(self._product(self.outputs, gates, nn.init.orthogonal_), gates)

    def gates(self, p_BP: Tensor) -> Tensor:
        """Return the gate blocks side by side, [B, K, H]."""
        return p_BP.view(len(p_BP), -1, self.outputs)

    def _product(self, width: int, gates: int, draw: Draw) -> list[nn.Module]:
        biased, outputs = self.norm != "gates", gates * self.outputs
        if not self.rank:
            dense = RowLinear(width, outputs, bias=biased)
            initialise(dense, gates, draw)
            return [dense]
        thin, wide = RowLinear(width, self.rank, bias=False), RowLinear(self.rank, outputs, bias=biased)
        initialise(thin, 1)
        initialise(wide, gates)
        return [thin, wide]

    def _map(self, product: list[nn.Module], gates: int) -> nn.Sequential:
        norm = [nn.LayerNorm(gates * self.outputs)] if self.norm == "gates" else []
        return nn.Sequential(*product, *norm)


class ConfigurableGRU(Configurable):
    """A GRU with options; with ``reset`` "before", n = tanh(Wx + b + U(r⊙h) + b') as first published (Cho 2014).

    Layer norm is over the gates r and z together, and over the candidate apart.
    """

    def __init__(
        self,
        inputs: int,
        hidden: int = 64,
        reset: Reset = "after",
        norm: Norm = "none",
        candidate: Candidate = "tanh",
        groups: int = 1,
        rank: int = 0,
    ) -> None:
        super().__init__(inputs, hidden, norm, candidate, groups, rank)
        self.reset = reset
        self.x_gates, self.x_candidate = self.reads_input(2), self.reads_input(self.candidates)
        self.h_gates, self.h_candidate = self.reads_state(2), self.reads_state(self.candidates)

    def project(self, x_BF: Tensor) -> Tensor:
        """Return what gates and candidate read from the input, [..., P]."""
        return torch.cat([self.x_gates(x_BF), self.x_candidate(x_BF)], -1)

    def advance(self, p_BP: Tensor, state: State, dt_B: Tensor | None) -> tuple[Tensor, State]:
        """Return the output [B, H] and the next state."""
        del dt_B
        return self.update(p_BP, state["h"], state["h"])

    def update(self, p_BP: Tensor, read_BH: Tensor, h_BH: Tensor) -> tuple[Tensor, State]:
        """Return the output and the next state of units at ``h_BH``, of which the weights read ``read_BH``."""
        x_BKH = self.gates(p_BP)
        r_BH, z_BH = (x_BKH[:, :2] + self.gates(self.h_gates(read_BH))).sigmoid().unbind(1)
        if self.reset == "before":
            n_BKH = self.gates(self.h_candidate(r_BH * read_BH))
        else:
            n_BKH = r_BH[:, None] * self.gates(self.h_candidate(read_BH))
        n_BH = squash(x_BKH[:, 2:] + n_BKH)
        h_BH = n_BH + z_BH * (h_BH - n_BH)
        return self.finish(h_BH), {"h": h_BH}


class DeltaGRU(ConfigurableGRU):
    """A GRU that re-reads a unit only once it has moved by more than a threshold θ (Neil 2016, arXiv 1612.05571).

    x̂' = x where |x - x̂| > θ, else x̂, and ĥ' from h alike;  then the GRU's equations with Wx̂' and Uĥ'.
    With θ = 0 it is the GRU.
    """

    exact = Exact.FLOAT64

    def __init__(self, inputs: int, hidden: int = 64, threshold: float = 0.05) -> None:
        super().__init__(inputs, hidden)
        within("threshold", threshold, 0, 10)
        self.threshold = threshold
        self.state_shape = {"h": (hidden,), "read_x": (inputs,), "read_h": (hidden,)}

    def step(self, x_BF: Tensor, state: State, dt_B: Tensor | None = None) -> tuple[Tensor, State]:
        """Return the output [B, H] and the next state."""
        del dt_B
        read_x_BF, read_h_BH = self._moved(x_BF, state["read_x"]), self._moved(state["h"], state["read_h"])
        y_BH, after = self.update(self.project(read_x_BF), read_h_BH, state["h"])
        return y_BH, {**after, "read_x": read_x_BF, "read_h": read_h_BH}

    def unroll(self, x_TBF: Tensor, state: State, dt_TB: Tensor | None = None) -> tuple[Tensor, State]:
        """Return the outputs [T, B, H] and the last state, step by step: each step reads what the last one left."""
        return fold(self, x_TBF, state, dt_TB=dt_TB)

    def _moved(self, new: Tensor, read: Tensor) -> Tensor:
        return torch.where((new - read).abs() > self.threshold, new, read)


class ConfigurableLSTM(Configurable):
    """An LSTM with options; ``peephole`` lets i and f read p⊙c, and o read p⊙c' (Gers 2002).

    Layer norm of the gates is over all of them together, and of c' before its tanh.
    """

    def __init__(
        self,
        inputs: int,
        hidden: int = 64,
        norm: Norm = "none",
        candidate: Candidate = "tanh",
        groups: int = 1,
        rank: int = 0,
        *,
        peephole: bool = False,
    ) -> None:
        super().__init__(inputs, hidden, norm, candidate, groups, rank)
        self.state_shape = {"h": (hidden,), "c": (hidden,)}
        self.input, self.recurrent = self.reads_input(3 + self.candidates), self.reads_state(3 + self.candidates)
        nn.init.ones_(self.input[-1].get_parameter("bias")[hidden : 2 * hidden])
        self.peephole = nn.Parameter(torch.zeros(3, hidden)) if peephole else None
        self.norm_cell = nn.LayerNorm(hidden) if norm == "gates" else nn.Identity()

    def project(self, x_BF: Tensor) -> Tensor:
        """Return what the gates read from the input, in the order i, f, o, g, [..., P]."""
        p_BP: Tensor = self.input(x_BF)
        return p_BP

    def advance(self, p_BP: Tensor, state: State, dt_B: Tensor | None) -> tuple[Tensor, State]:
        """Return the output [B, H] and the next state."""
        del dt_B
        c_BH = state["c"]
        gates_BKH = self.gates(p_BP + self.recurrent(state["h"]))
        i_BH, f_BH, o_BH = gates_BKH[:, :3].unbind(1)
        if self.peephole is not None:
            i_BH, f_BH = i_BH + self.peephole[0] * c_BH, f_BH + self.peephole[1] * c_BH
        c_BH = f_BH.sigmoid() * c_BH + i_BH.sigmoid() * squash(gates_BKH[:, 3:])
        if self.peephole is not None:
            o_BH = o_BH + self.peephole[2] * c_BH
        h_BH = o_BH.sigmoid() * self.norm_cell(c_BH).tanh()
        return self.finish(h_BH), {"h": h_BH, "c": c_BH}


def squash(a_BKH: Tensor) -> Tensor:
    """Return the candidate [B, H]: tanh of one block, or a⊙σ(b) of two."""
    if a_BKH.shape[1] == 1:
        return a_BKH[:, 0].tanh()
    a_BH, b_BH = a_BKH.unbind(1)
    return a_BH * b_BH.sigmoid()
