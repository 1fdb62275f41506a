"""Window encoders: they re-read the last R bars at every answer and carry no state.

Shapes: B rows, R entries of the window, H width of an entry, D width of an encoded entry, N heads,
F features (of DA-RNN: the width of an entry).

In a bidirectional network, full attention and DA-RNN's input attention, an entry sees later entries of
its window.  A new bar changes all of them, so they cannot be stepped.  The stack below passes the
features of each bar on, the memory keeps the last R of them, and only an answered bar pays O(R) for
an encoding.  ``exact`` says ``WINDOW``.  The same Transformer with ``causal`` set, over the
outputs of a stack that carries state, is a cascade that streams.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamcast.models.cells.cell import Exact
from streamcast.models.cells.fused import LSTM, initialise, without_onednn_in_training
from streamcast.models.linear import RowLinear
from streamcast.models.readout.attention import Luong, Temporal, newest
from streamcast.models.spec import SpecError, multiple_of_eight, within

RECURRENT: dict[str, type[nn.RNN | nn.GRU | nn.LSTM]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


class Bidirectional(Temporal):
    """A recurrent network in both directions of time (Schuster & Paliwal 1997).

    An encoded entry is [forward; backward]; the context is where each direction ends.
    """

    exact = Exact.WINDOW

    def __init__(
        self,
        width: int,
        cell: Literal["rnn", "gru", "lstm"] = "lstm",
        hidden: int = 32,
        layers: int = 1,
        dropout: float = 0.0,
        length: int = 48,
    ) -> None:
        super().__init__()
        multiple_of_eight("the encoder's hidden", hidden)
        within("the encoder's layers", layers, 1, 64)
        within("the encoder's dropout", dropout if layers > 1 else 0, 0, 0.9)
        within("the encoder's length", length, 1, 4096)
        self.memory, self.outputs = length, 2 * hidden
        self.fused = RECURRENT[cell](
            width, hidden, layers, batch_first=True, bidirectional=True, dropout=dropout if layers > 1 else 0.0
        )
        initialise(self.fused)

    def encode(self, memory_BRH: Tensor, filled_B: Tensor) -> Tensor:
        """Return both directions' outputs over the window, [B, R, D]."""
        with without_onednn_in_training():
            past_BRD: Tensor = self.fused(led_in(memory_BRH, filled_B))[0]
        return past_BRD

    def forward(self, past_BRD: Tensor, filled_B: Tensor) -> Tensor:
        """Return the forward output at the newest entry and the backward one at the oldest, [B, D]."""
        del filled_B
        half = self.outputs // 2
        return torch.cat([past_BRD[:, -1, :half], past_BRD[:, 0, half:]], -1)


class Transformer(Temporal):
    """Self-attention over the window (Vaswani 2017, arXiv 1706.03762; layer norm first: Xiong 2020, arXiv 2002.04745).

    With ``causal`` an entry sees none later than itself.  Positions are learned and counted from the newest entry.
    """

    def __init__(
        self,
        width: int,
        heads: int = 4,
        layers: int = 1,
        length: int = 48,
        dropout: float = 0.0,
        *,
        causal: bool = False,
    ) -> None:
        super().__init__()
        within("the encoder's layers", layers, 1, 64)
        within("the encoder's length", length, 1, 4096)
        within("the encoder's dropout", dropout, 0, 0.9)
        if heads < 1 or width % heads:
            message = f"heads is {heads!r}: expected a divisor of the width below, which is {width}."
            raise SpecError(message)
        self.memory, self.outputs, self.causal = length, width, causal
        self.exact = Exact.TILE if causal else Exact.WINDOW
        self.place_RD = nn.Parameter(torch.randn(length, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def encode(self, memory_BRH: Tensor, filled_B: Tensor) -> Tensor:
        """Return the window after all blocks, [B, R, D]."""
        valid_BR = newest(memory_BRH, filled_B)
        length = memory_BRH.shape[1]
        itself_RR = torch.eye(length, dtype=torch.bool, device=memory_BRH.device)
        seen_BRR = valid_BR[:, None, :] | itself_RR
        if self.causal:
            seen_BRR = seen_BRR & torch.ones_like(itself_RR).tril()
        x_BRD = memory_BRH.masked_fill(~valid_BR[..., None], 0) + self.place_RD[-length:]
        for block in self.blocks:
            x_BRD = block(x_BRD, seen_BRR)
        encoded_BRD: Tensor = self.norm(x_BRD)
        return encoded_BRD

    def forward(self, past_BRD: Tensor, filled_B: Tensor) -> Tensor:
        """Return the newest entry, [B, D]."""
        del filled_B
        return past_BRD[:, -1]


class Block(nn.Module):
    """x + Attention(LN x), then x + W₂ GELU(W₁ LN x): as nn.TransformerEncoderLayer with ``norm_first``."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.project = RowLinear(width, 3 * width)
        self.out = RowLinear(width, width)
        self.up, self.down = RowLinear(width, 4 * width), RowLinear(4 * width, width)
        self.dropout = nn.Dropout(dropout)
        for linear in (self.project, self.out, self.up, self.down):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, x_BRD: Tensor, seen_BRR: Tensor) -> Tensor:
        """Return the window one block on; ``seen_BRR`` says which entry sees which."""
        q_BNRK, k_BNRK, v_BNRK = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.project(self.norms[0](x_BRD)).chunk(3, -1)
        )
        found_BNRK = F.scaled_dot_product_attention(q_BNRK, k_BNRK, v_BNRK, attn_mask=seen_BRR[:, None])
        x_BRD = x_BRD + self.dropout(self.out(found_BNRK.transpose(1, 2).flatten(2)))
        up_BRX = self.dropout(F.gelu(self.up(self.norms[1](x_BRD))))
        moved_BRD: Tensor = x_BRD + self.dropout(self.down(up_BRX))
        return moved_BRD


class InputAttention(Temporal):
    """DA-RNN (Qin 2017, arXiv 1704.02971): each step weighs the features by their course over the whole window.

    e_k = vᵀ tanh(W [h; c] + U x^k), x^k [R] being feature k;  α = softmax(e);  h, c = LSTM(α ⊙ x, h, c).
    The context is what the newest h finds in the encoded window (Luong's score for the paper's second stage).
    """

    exact = Exact.WINDOW

    def __init__(self, width: int, hidden: int = 32, length: int = 16) -> None:
        super().__init__()
        multiple_of_eight("the encoder's hidden", hidden)
        within("the encoder's length", length, 2, 4096)
        self.memory, self.outputs = length, hidden
        self.of_state = RowLinear(2 * hidden, length)
        self.of_course = RowLinear(length, length, bias=False)
        self.of_both = RowLinear(length, 1, bias=False)
        self.cell = LSTM(width, hidden)
        self.attention = Luong(hidden)
        for linear in (self.of_state, self.of_course, self.of_both):
            nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(self.of_state.bias)

    def encode(self, memory_BRH: Tensor, filled_B: Tensor) -> Tensor:
        """Return the LSTM's outputs over the window, [B, R, D]."""
        window_BRF = led_in(memory_BRH, filled_B)
        course_BFR = self.of_course(window_BRF.transpose(1, 2).contiguous())
        state, outputs = self.cell.initial_state(len(window_BRF)), []
        for x_BF in window_BRF.unbind(1):
            state_BR = self.of_state(torch.cat([state["h"], state["c"]], -1))
            score_BF = self.of_both(torch.tanh(state_BR[:, None] + course_BFR))[..., 0]
            y_BD, state = self.cell.step(score_BF.softmax(-1) * x_BF, state)
            outputs.append(y_BD)
        return torch.stack(outputs, 1)

    def forward(self, past_BRD: Tensor, filled_B: Tensor) -> Tensor:
        """Return what the newest encoded entry finds in the window, [B, D]."""
        context_BD: Tensor = self.attention(past_BRD[:, -1], past_BRD, newest(past_BRD, filled_B))
        return context_BD


def led_in(memory_BRH: Tensor, filled_B: Tensor) -> Tensor:
    """Return the window, what lies before its first entry filled with that entry: short series start level."""
    length, width = memory_BRH.shape[1:]
    first_B = (length - filled_B).clamp(0, length - 1)
    first_B1H = memory_BRH.gather(1, first_B[:, None, None].expand(-1, 1, width))
    return torch.where(newest(memory_BRH, filled_B)[..., None], memory_BRH, first_B1H)
