"""A recurrence over patches that still answers at every bar.

Shapes: T steps, B rows, F inputs, H hidden units, P bars of a patch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from streamcast.models.cells.cell import State
from streamcast.models.cells.convolution import taps
from streamcast.models.cells.fused import GRU
from streamcast.models.cells.recurrence import Unrolled, initialise
from streamcast.models.linear import RowLinear
from streamcast.models.spec import multiple_of_eight, within


class Patch(Unrolled):
    """A GRU that steps on whole patches of the target, at every bar (SegRNN, Lin 2023, arXiv 2308.11200).

    e = relu(W[y_{t-P+1} - y_t; ...; y_t - y_t] + b + V x_t);  h_t = GRU(e, h_{t-P}).
    There are P hidden states, one for each bar number modulo P, and each is P bars old when it steps:
    one GRU step a bar, and a memory P times as long as a GRU's.  y is feature 0, x all features of the bar.
    """

    def __init__(self, inputs: int, hidden: int = 128, length: int = 24) -> None:
        super().__init__()
        multiple_of_eight("hidden", hidden)
        within("length", length, 2, 512)
        self.inputs, self.outputs, self.length = inputs, hidden, length
        self.state_shape = {"h": (length, hidden), "past": (length - 1, 1)}
        self.patch, self.bar = RowLinear(length, hidden), RowLinear(inputs, hidden, bias=False)
        self.gru = GRU(hidden, hidden)
        for linear in (self.patch, self.bar):
            initialise(linear, 1)

    def unroll(self, x_TBF: Tensor, state: State, dt_TB: Tensor | None = None) -> tuple[Tensor, State]:
        """Return the outputs [T, B, H] and the last state.

        The hidden states are stored in the order in which they step, next first.  P bars at once are P·B
        rows of one step; the remaining bars of T use the first ones.
        """
        del dt_TB
        target_TB1 = x_TBF[..., :1]
        y_TBP, past_BP1 = taps(target_TB1, state["past"], self.length)
        e_TBH = (self.patch(y_TBP - target_TB1) + self.bar(x_TBF)).relu()
        h_BPH, (steps, rows, hidden) = state["h"], e_TBH.shape
        rounds, rest = divmod(steps, self.length)
        outputs = []
        if rounds:
            e_RXH = e_TBH[: rounds * self.length].view(rounds, -1, hidden)
            y_RXH, after = self.gru.unroll(e_RXH, {"h": h_BPH.transpose(0, 1).reshape(-1, hidden)})
            outputs.append(y_RXH.view(-1, rows, hidden))
            h_BPH = after["h"].view(-1, rows, hidden).transpose(0, 1).contiguous()
        if rest:
            e_XH, h_XH = e_TBH[-rest:].view(-1, hidden), h_BPH[:, :rest].transpose(0, 1).reshape(-1, hidden)
            y_XH, _ = self.gru.step(e_XH, {"h": h_XH})
            y_XBH = y_XH.view(rest, rows, hidden)
            outputs.append(y_XBH)
            h_BPH = torch.cat([h_BPH[:, rest:], y_XBH.transpose(0, 1)], 1)
        return torch.cat(outputs), {"h": h_BPH, "past": past_BP1}
