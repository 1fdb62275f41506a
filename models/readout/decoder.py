"""Decoders: from a context to numbers for every step of the horizon.

Shapes: B rows, D width of the context and of an entry of the past, R entries of the past, h horizon
steps, P numbers a step (the head defines their meaning), S segments of L steps.

A decoder starts with small weights, so that a new network without target bars forecasts like its linear highway.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from streamcast.models.cells.fused import GRU, LSTM
from streamcast.models.linear import RowLinear
from streamcast.models.readout.attention import Luong, newest
from streamcast.models.spec import within


class Decoder(nn.Module):
    """(context, the past it summarises) -> horizon × numbers."""

    @abstractmethod
    def forward(self, context_BD: Tensor, past_BRD: Tensor, filled_B: Tensor) -> Tensor:
        """Return [B, h, P]; the last ``filled_B`` entries of ``past_BRD`` are what the context looked back on."""


class Direct(Decoder):
    """Every step at once, linear in the context (Wen 2017, arXiv 1711.11053)."""

    def __init__(self, inputs: int, horizon: int, numbers: int) -> None:
        super().__init__()
        self.numbers = numbers
        self.linear = small(RowLinear(inputs, horizon * numbers))

    def forward(self, context_BD: Tensor, past_BRD: Tensor, filled_B: Tensor) -> Tensor:
        """Return the linear map of the context, [B, h, P]."""
        del past_BRD, filled_B
        numbers_BX: Tensor = self.linear(context_BD)
        return numbers_BX.view(len(context_BD), -1, self.numbers)


class Segments(Decoder):
    """Segments of the horizon in parallel (SegRNN, Lin 2023, arXiv 2308.11200): one GRU step each, from the context.

    A segment's input is its learned place.  In the paper the second half of that input names the channel.
    Here a category among the features may name the series, so that a new series needs no new weights.
    """

    def __init__(self, inputs: int, horizon: int, numbers: int, segment: int = 24, dropout: float = 0.0) -> None:
        super().__init__()
        within("segment", segment, 1, 4096)
        within("the decoder's dropout", dropout, 0, 0.9)
        segments = -(-horizon // segment)
        self.horizon = horizon
        self.place_SD = nn.Parameter(torch.randn(segments, inputs) * 0.1)
        self.cell = GRU(inputs, inputs)
        self.dropout = nn.Dropout(dropout)
        self.linear = small(RowLinear(inputs, segment * numbers))
        self.numbers = numbers

    def forward(self, context_BD: Tensor, past_BRD: Tensor, filled_B: Tensor) -> Tensor:
        """Return the segments end to end, cut to the horizon, [B, h, P]."""
        del past_BRD, filled_B
        rows, segments = len(context_BD), len(self.place_SD)
        place_XD = self.place_SD.repeat(rows, 1)
        y_XD, _ = self.cell.step(place_XD, {"h": context_BD.repeat_interleave(segments, 0)})
        numbers_XL: Tensor = self.linear(self.dropout(y_XD))
        return numbers_XL.view(rows, -1, self.numbers)[:, : self.horizon]


class StepByStep(Decoder):
    """An LSTM that writes the horizon step by step (Sutskever 2014, arXiv 1409.3215), with attention (Luong 2015).

    It starts from the context.  At each step it reads its previous output (zeros at first), attends to
    the past, and adds a correction.  Without attention the past is the newest output alone.
    """

    def __init__(self, inputs: int, horizon: int, numbers: int) -> None:
        super().__init__()
        self.horizon, self.numbers = horizon, numbers
        self.cell = LSTM(numbers, inputs)
        self.attention = Luong(inputs)
        self.linear = small(RowLinear(inputs, numbers))

    def forward(self, context_BD: Tensor, past_BRD: Tensor, filled_B: Tensor) -> Tensor:
        """Return the outputs of h steps, [B, h, P]."""
        last_BP = context_BD.new_zeros(len(context_BD), self.numbers)
        state = {"h": context_BD, "c": torch.zeros_like(context_BD)}
        valid_BR, written = newest(past_BRD, filled_B), []
        for _ in range(self.horizon):
            y_BD, state = self.cell.step(last_BP, state)
            last_BP = last_BP + self.linear(self.attention(y_BD, past_BRD, valid_BR))
            written.append(last_BP)
        return torch.stack(written, 1)


def small(linear: RowLinear) -> RowLinear:
    """Return a linear layer whose weights start at a tenth of Xavier's, its bias at zero."""
    nn.init.xavier_uniform_(linear.weight, gain=0.1)
    nn.init.zeros_(linear.bias)
    return linear
