"""Cells with a matrix memory that they write to and read from.

Shapes: T steps, B rows, F inputs, H hidden units, N heads, D = H/N units of a head, S slots of a memory, W its width,
P numbers read from an input.

Exponential gates would overflow: the state is kept over exp m, where m follows the largest gate (Beck 2024, eq. 15).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamcast.models.cells.cell import Cell, Exact, State
from streamcast.models.cells.fused import GRU
from streamcast.models.cells.recurrence import Recurrent, initialise
from streamcast.models.linear import GroupedLinear, RowLinear
from streamcast.models.spec import SpecError, multiple_of_eight, within


class MLSTM(Recurrent):
    """The linear-attention LSTM: per head, a matrix that stores values under keys (Beck 2024, arXiv 2405.04517).

    i = exp ĩ, f = σ(f̃);  C' = f C + i v kᵀ;  n' = f n + i k;  h = o⊙C'q / max(|n'ᵀq|, 1), k over √D.
    All gates, keys, values and queries are read from the input alone.
    """

    def __init__(self, inputs: int, hidden: int = 64, heads: int = 4) -> None:
        super().__init__()
        divide(hidden, heads)
        self.inputs, self.outputs, self.heads = inputs, hidden, heads
        each = hidden // heads
        self.state_shape = {"c": (heads, each, each), "n": (heads, each), "m": (heads,)}
        self.linear, self.gates = RowLinear(inputs, 4 * hidden), RowLinear(inputs, 2 * heads)
        initialise(self.linear, 4)
        initialise(self.gates, 2)
        nn.init.constant_(self.gates.bias[heads:], 3)  # a new memory forgets a twentieth a step

    def project(self, x_BF: Tensor) -> Tensor:
        """Return queries, keys, values and output gates, then input and forget gates, [..., 4H + 2N]."""
        return torch.cat([self.linear(x_BF), self.gates(x_BF)], -1)

    def advance(self, p_BP: Tensor, state: State, dt_B: Tensor | None) -> tuple[Tensor, State]:
        """Return the output [B, H] and the next state."""
        del dt_B
        hidden, heads = self.outputs, self.heads
        q_BND, k_BND, v_BND, o_BND = p_BP[:, : 4 * hidden].view(len(p_BP), 4, heads, -1).unbind(1)
        k_BND = k_BND * (hidden / heads) ** -0.5
        i_BN, f_BN = p_BP[:, 4 * hidden :].chunk(2, -1)
        i_BN, f_BN, m_BN = stable_gates(i_BN, f_BN, state["m"])
        n_BND = torch.addcmul(f_BN[..., None] * state["n"], i_BN[..., None], k_BND)
        iv_BND = i_BN[..., None] * v_BND
        c_BNDD = torch.addcmul(f_BN[..., None, None] * state["c"], iv_BND[..., None], k_BND[..., None, :])
        found_BND = (c_BNDD * q_BND[..., None, :]).sum(-1)
        weight_BN = torch.maximum((n_BND * q_BND).sum(-1).abs(), (-m_BN).exp())
        y_BND = o_BND.sigmoid() * found_BND / weight_BN[..., None]
        return y_BND.flatten(1), {"c": c_BNDD, "n": n_BND, "m": m_BN}


class SLSTM(Recurrent):
    """The LSTM with exponential input gates, a normaliser, and units in heads (Beck 2024, arXiv 2405.04517).

    i = exp ĩ, f = σ(f̃), z = tanh z̃, o = σ(õ), each of Wx + Rh + b;  c' = f⊙c + i⊙z;  n' = f⊙n + i;  h = o⊙c'/n'.
    """

    def __init__(self, inputs: int, hidden: int = 64, heads: int = 4) -> None:
        super().__init__()
        divide(hidden, heads)
        self.inputs, self.outputs = inputs, hidden
        self.state_shape = dict.fromkeys(("h", "c", "n", "m"), (hidden,))
        self.input, self.recurrent = RowLinear(inputs, 4 * hidden), GroupedLinear(hidden, 4, heads)
        initialise(self.input, 4)
        nn.init.constant_(self.input.bias[hidden : 2 * hidden], 3)

    def project(self, x_BF: Tensor) -> Tensor:
        """Return what the gates i, f, z, o read from the input, [..., 4H]."""
        p_BP: Tensor = self.input(x_BF)
        return p_BP

    def advance(self, p_BP: Tensor, state: State, dt_B: Tensor | None) -> tuple[Tensor, State]:
        """Return the output [B, H] and the next state."""
        del dt_B
        i_BH, f_BH, z_BH, o_BH = (p_BP + self.recurrent(state["h"])).chunk(4, -1)
        i_BH, f_BH, m_BH = stable_gates(i_BH, f_BH, state["m"])
        c_BH = f_BH * state["c"] + i_BH * z_BH.tanh()
        n_BH = f_BH * state["n"] + i_BH
        least = torch.finfo(n_BH.dtype).tiny  # the first input gate may underflow
        h_BH = o_BH.sigmoid() * c_BH / n_BH.clamp(min=least)
        return h_BH, {"h": h_BH, "c": c_BH, "n": n_BH, "m": m_BH}


class TuringMemory(Cell):
    """A GRU with a memory matrix that it addresses by content and by position (Graves 2014, arXiv 1410.5401).

    One head writes, one reads.  A head's weights: wᶜ = softmax(β cos(M, k));  wᵍ = g wᶜ + (1 - g) w;  w̃ = wᵍ shifted by
    s in {-1, 0, 1};  w' = w̃^γ / Σ w̃^γ.  M' = M⊙(1 - w' eᵀ) + w' aᵀ;  r = w'ᵀM';  the controller reads [x; r].
    """

    exact = Exact.TILE

    def __init__(self, inputs: int, hidden: int = 64, slots: int = 16, width: int = 16) -> None:
        super().__init__()
        within("slots", slots, 3, 1024)
        multiple_of_eight("width", width)
        self.controller = GRU(inputs + width, hidden)
        self.inputs, self.outputs = inputs, hidden + width
        heads = dict.fromkeys(("write", "read"), (slots,))
        self.state_shape = {"h": (hidden,), "memory": (slots, width), **heads, "r": (width,)}
        addresses, self.change = {head: RowLinear(hidden, width + 6) for head in heads}, RowLinear(hidden, 2 * width)
        for linear in (*addresses.values(), self.change):
            initialise(linear, 1)
        with torch.no_grad():  # the writer moves to the next slot, the reader searches by content; both are sharp
            addresses["write"].bias[width:] = torch.tensor((0, -3, 0, 0, 4, 3))
            addresses["read"].bias[width:] = torch.tensor((0, 3, 0, 4, 0, 3))
        self.addresses = nn.ModuleDict(addresses)
        self.initial = nn.Parameter(torch.randn(slots, width) / width**0.5)

    def initial_state(self, rows: int) -> State:
        """Return the state before the first step: the memory as learned, and both heads at slot 0."""
        state = super().initial_state(rows)
        state["memory"] = self.initial.expand(rows, -1, -1).clone()
        for head in ("write", "read"):
            state[head][:, 0] = 1
        return state

    def step(self, x_BF: Tensor, state: State, dt_B: Tensor | None = None) -> tuple[Tensor, State]:
        """Return the controller's output and the value read, [B, H + W], and the next state."""
        del dt_B
        h_BH, _ = self.controller.step(torch.cat([x_BF, state["r"]], -1), {"h": state["h"]})
        write_BS = self.address("write", h_BH, state["memory"], state["write"])
        erase_BW, add_BW = self.change(h_BH).chunk(2, -1)
        kept_BSW = state["memory"] * (1 - write_BS[..., None] * erase_BW.sigmoid()[:, None])
        memory_BSW = torch.addcmul(kept_BSW, write_BS[..., None], add_BW.tanh()[:, None])
        read_BS = self.address("read", h_BH, memory_BSW, state["read"])
        r_BW = (read_BS[..., None] * memory_BSW).sum(1)
        after = {"h": h_BH, "memory": memory_BSW, "write": write_BS, "read": read_BS, "r": r_BW}
        return torch.cat([h_BH, r_BW], -1), after

    def address(self, head: str, h_BH: Tensor, memory_BSW: Tensor, w_BS: Tensor) -> Tensor:
        """Return the weights of a head over the slots, [B, S], summing to 1, from where it was."""
        width = memory_BSW.shape[-1]
        emitted_BX: Tensor = self.addresses[head](h_BH)
        key_BW, beta_B1, g_B1, shift_B3, gamma_B1 = torch.split(emitted_BX, [width, 1, 1, 3, 1], -1)
        content_BS = (F.softplus(beta_B1) * F.cosine_similarity(memory_BSW, key_BW[:, None], -1)).softmax(-1)
        gated_BS = w_BS + g_B1.sigmoid() * (content_BS - w_BS)
        back_B1, stay_B1, on_B1 = shift_B3.softmax(-1).chunk(3, -1)
        shifted_BS = back_B1 * gated_BS.roll(-1, 1) + stay_B1 * gated_BS + on_B1 * gated_BS.roll(1, 1)
        sharp_BS = shifted_BS ** (1 + F.softplus(gamma_B1))
        return sharp_BS / sharp_BS.sum(-1, keepdim=True)


def stable_gates(i_B: Tensor, f_B: Tensor, m_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return exp ĩ and σ(f̃) over exp(m' - m), and m' = max(log σ(f̃) + m, ĩ)."""
    f_B = F.logsigmoid(f_B) + m_B
    after_B = torch.maximum(f_B, i_B)
    return (i_B - after_B).exp(), (f_B - after_B).exp(), after_B


def divide(hidden: int, heads: int) -> None:
    """Raise SpecError unless the units can be shared out evenly among the heads."""
    multiple_of_eight("hidden", hidden)
    within("heads", heads, 1, hidden)
    if hidden % heads:
        message = f"heads is {heads!r}: expected a divisor of hidden ({hidden}). Change it in the model spec."
        raise SpecError(message)
