"""Readers of the lag window: they forecast the horizon from the lags alone, beside the linear highway.

Shapes: B rows, L lags, h horizon steps, N patches of P bars, H hidden units.
"""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from streamcast.models.cells.fused import GRU
from streamcast.models.cells.recurrence import initialise
from streamcast.models.linear import RowLinear
from streamcast.models.readout.decoder import Segments
from streamcast.models.spec import multiple_of_eight, within


class Window(nn.Module):
    """Lags -> a shift of every quantile, for each step of the horizon."""

    @abstractmethod
    def forward(self, lags_BL: Tensor) -> Tensor:
        """Return [B, h]; the lags are oldest first, less the newest."""


class PatchWindow(Window):
    """A GRU over patches of the lags, then segments of the horizon in parallel (SegRNN, Lin 2023, arXiv 2308.11200).

    e_n = relu(W p_n + b) for the patches p_1 ... p_N, oldest first; h = GRU(e_1 ... e_N) from a zero state; then the
    decoder "segments".  Lags before the first whole patch are ignored; fewer lags than a patch form one patch.
    """

    def __init__(
        self, lags: int, horizon: int, hidden: int = 128, length: int = 24, segment: int = 24, dropout: float = 0.5
    ) -> None:
        super().__init__()
        multiple_of_eight("the window's hidden", hidden)
        within("the window's length", length, 2, 512)
        self.length = min(length, lags)
        self.patch, self.gru = RowLinear(self.length, hidden), GRU(hidden, hidden)
        initialise(self.patch, 1)
        self.segments = Segments(hidden, horizon, 1, segment, dropout)

    def forward(self, lags_BL: Tensor) -> Tensor:
        """Return the shift of each step, [B, h]."""
        rows, lags = lags_BL.shape
        patches = lags // self.length
        p_BNP = lags_BL[:, lags - patches * self.length :].reshape(rows, patches, self.length)
        e_NBH = self.patch(p_BNP).relu().transpose(0, 1).contiguous()
        _, state = self.gru.unroll(e_NBH, self.gru.initial_state(rows))
        moved_Bh1: Tensor = self.segments(state["h"], e_NBH, lags_BL)
        return moved_Bh1[..., 0]
