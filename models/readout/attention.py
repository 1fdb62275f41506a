"""Attention over features, over past outputs and across scales.

Shapes: T steps, B rows, F features, H width of an output, R past outputs, S scales or width of a
stream, D width of a context.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from streamcast.models.cells.cell import Cell, Exact, State
from streamcast.models.linear import RowLinear
from streamcast.models.spec import SpecError, within


class FeatureAttention(Cell):
    """Weighs the inputs of a bar against each other: y = F · softmax(Ax + b) ⊙ x.

    The input attention of DA-RNN (Qin 2017, arXiv 1704.02971) with the window left out of the
    score, so that it streams; equal weights leave x as it is.  It has no state.
    """

    exact = Exact.TILE

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.inputs = self.outputs = inputs
        self.state_shape = {}
        self.score = RowLinear(inputs, inputs)
        nn.init.xavier_uniform_(self.score.weight)
        nn.init.zeros_(self.score.bias)

    def weights(self, x_BF: Tensor) -> Tensor:
        """Return how much each feature of a bar counts, [..., F], summing to 1."""
        score_BF: Tensor = self.score(x_BF)
        return score_BF.softmax(-1)

    def step(self, x_BF: Tensor, state: State, dt_B: Tensor | None = None) -> tuple[Tensor, State]:
        """Return the weighed features."""
        del dt_B
        return self.inputs * self.weights(x_BF) * x_BF, state

    def unroll(self, x_TBF: Tensor, state: State, dt_TB: Tensor | None = None) -> tuple[Tensor, State]:
        """Return the weighed features of T bars at once."""
        return self.step(x_TBF, state, dt_TB)


class Luong(nn.Module):
    """Global attention, general score (Luong 2015, arXiv 1508.04025).

    α = softmax(h_tᵀ W_a h_i) over the valid entries;  c = Σ α_i h_i;  out = tanh(W_c [c; h_t]).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = RowLinear(width, width, bias=False)
        self.combine = RowLinear(2 * width, width)
        for linear in (self.score, self.combine):
            nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(self.combine.bias)

    def weights(self, query_BH: Tensor, memory_BRH: Tensor, valid_BR: Tensor) -> Tensor:
        """Return how much each valid entry of the memory counts, [B, R], summing to 1, or to 0 where none is valid."""
        score_BR = torch.bmm(self.score(query_BH)[:, None], memory_BRH.transpose(1, 2))[:, 0]
        lowest = torch.finfo(score_BR.dtype).min
        return score_BR.masked_fill(~valid_BR, lowest).softmax(-1).masked_fill(~valid_BR, 0)

    def forward(self, query_BH: Tensor, memory_BRH: Tensor, valid_BR: Tensor) -> Tensor:
        """Return the context of the query, [B, H]."""
        weights_BR = self.weights(query_BH, memory_BRH, valid_BR)
        context_BH = torch.bmm(weights_BR[:, None], memory_BRH)[:, 0]
        return torch.tanh(self.combine(torch.cat([context_BH, query_BH], -1)))


class Temporal(nn.Module):
    """Summarises the newest ``memory`` outputs of a scale, oldest first, as one context.

    ``encode`` re-reads all of them where an encoder needs that; ``forward`` turns the result into the
    context, D wide.  ``exact`` is ``WINDOW`` where an entry of ``encode`` depends on later entries.
    """

    memory: int
    outputs: int
    exact: Exact = Exact.TILE

    def encode(self, memory_BRH: Tensor, filled_B: Tensor) -> Tensor:
        """Return the past that context and decoder attend to, [B, R, D]; by default the outputs themselves."""
        del filled_B
        return memory_BRH

    @abstractmethod
    def forward(self, past_BRD: Tensor, filled_B: Tensor) -> Tensor:
        """Return the context [B, D] of the last ``filled_B`` of R entries."""


class RingAttention(Temporal):
    """Temporal attention: the newest output attends to the last ``length`` outputs, itself included."""

    def __init__(self, width: int, length: int = 96) -> None:
        super().__init__()
        within("the attention's length", length, 1, 4096)
        self.memory, self.outputs = length, width
        self.attention = Luong(width)

    def weights(self, memory_BRH: Tensor, filled_B: Tensor) -> Tensor:
        """Return how much each of the past outputs counts, [B, R], oldest first."""
        return self.attention.weights(memory_BRH[:, -1], memory_BRH, newest(memory_BRH, filled_B))

    def forward(self, past_BRD: Tensor, filled_B: Tensor) -> Tensor:
        """Return the attended context of the newest output, [B, H]."""
        context_BH: Tensor = self.attention(past_BRD[:, -1], past_BRD, newest(past_BRD, filled_B))
        return context_BH


class NoAttention(Temporal):
    """The newest output is the context."""

    memory = 1

    def __init__(self, width: int) -> None:
        super().__init__()
        self.outputs = width

    def forward(self, past_BRD: Tensor, filled_B: Tensor) -> Tensor:
        """Return the newest output, [B, H]."""
        del filled_B
        return past_BRD[:, -1]


class MeanPool(Temporal):
    """The mean of the last ``length`` outputs is the context."""

    def __init__(self, width: int, length: int = 32) -> None:
        super().__init__()
        within("the pool's length", length, 1, 4096)
        self.memory, self.outputs = length, width

    def forward(self, past_BRD: Tensor, filled_B: Tensor) -> Tensor:
        """Return the mean over the filled entries, [B, H]."""
        pooled_BRD = past_BRD.masked_fill(~newest(past_BRD, filled_B)[..., None], 0)
        return pooled_BRD.sum(1) / filled_B.clamp(min=1)[:, None].to(past_BRD.dtype)


class CrossAttention(Temporal):
    """Each of two streams, the halves of an output, looks over the past of the other (Lu 2019, arXiv 1908.02265)."""

    def __init__(self, width: int, length: int = 48) -> None:
        super().__init__()
        within("the attention's length", length, 1, 4096)
        if width % 16:
            message = (
                f"cross attention is over outputs {width} wide: expected two equal halves, each a multiple of 8 "
                'wide, as of {"kind": "two-stream"}. Put that at the top of the stack, or choose attention "ring".'
            )
            raise SpecError(message)
        self.memory, self.outputs = length, width
        self.attentions = nn.ModuleList([Luong(width // 2), Luong(width // 2)])

    def forward(self, past_BRD: Tensor, filled_B: Tensor) -> Tensor:
        """Return each stream's context from the other stream, side by side, [B, H]."""
        one_BRS, other_BRS = past_BRD.chunk(2, -1)
        valid_BR = newest(past_BRD, filled_B)
        pairs = ((one_BRS, other_BRS.contiguous()), (other_BRS, one_BRS.contiguous()))
        found = [
            attention(query_BRS[:, -1].contiguous(), memory_BRS, valid_BR)
            for attention, (query_BRS, memory_BRS) in zip(self.attentions, pairs, strict=True)
        ]
        return torch.cat(found, -1)


class ScaleAttention(nn.Module):
    """Across scales: the base scale's context looks over those of all scales, brought to its own width."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        base, *coarse = widths
        self.project = nn.ModuleList(RowLinear(width, base) for width in coarse)
        self.attention = Luong(base)

    def forward(self, contexts: Sequence[Tensor], filled: Sequence[Tensor]) -> Tensor:
        """Return the joint context [B, D]; a scale none of whose bars has closed is left out."""
        base_BD, *coarse = contexts
        projected = [project(context_BH) for project, context_BH in zip(self.project, coarse, strict=True)]
        valid_BS = torch.stack([filled_B > 0 for filled_B in filled], 1)
        joint_BD: Tensor = self.attention(base_BD, torch.stack([base_BD, *projected], 1), valid_BS)
        return joint_BD


def newest(memory_BRH: Tensor, filled_B: Tensor) -> Tensor:
    """Return which entries of a left-padded memory are valid, [B, R]: the last ``filled_B``."""
    length = memory_BRH.shape[1]
    age_R = torch.arange(length - 1, -1, -1, device=memory_BRH.device)
    return age_R < filled_B[:, None]
