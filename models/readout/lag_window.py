"""Readers of the window of lags: what forecasts the horizon from it anew at every answer, beside the linear highway.

Shapes: B rows, L lags, h horizon steps, N patches of P bars, H hidden units.
"""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from streamcast.models.cells.fused import GRU
from streamcast.models.cells.recurrence import initialise
from streamcast.models.linear import RowLinear
from streamcast.models.readout.decoder import Segments
from streamcast.models.spec import tiled, within


class Window(nn.Module):
    """Lags -> what every quantile of the horizon is moved by."""

    @abstractmethod
    def forward(self, lags_BL: Tensor) -> Tensor:
        """Return [B, h]; the lags are oldest first, less the newest."""


class PatchWindow(Window):
    """A GRU over patches of the lags, then segments of the horizon in parallel (SegRNN, Lin 2023, arXiv 2308.11200).

    e_n = relu(W p_n + b) for the patches p_1 ... p_N, oldest first; h = GRU(e_1 ... e_N) from nothing; then as the
    decoder "segments".  Lags before the first whole patch are not read; fewer lags than a patch are one patch.
    """

    def __init__(
        self, lags: int, horizon: int, hidden: int = 128, length: int = 24, segment: int = 24, dropout: float = 0.5
    ) -> None:
        super().__init__()
        tiled("the window's hidden", hidden)
        within("the window's length", length, 2, 512)
        self.length = min(length, lags)
        self.patch, self.gru = RowLinear(self.length, hidden), GRU(hidden, hidden)
        initialise(self.patch, 1)
        self.segments = Segments(hidden, horizon, 1, segment, dropout)

    def forward(self, lags_BL: Tensor) -> Tensor:
        """Return what the segments make of the GRU's last state, [B, h]."""
        rows, lags = lags_BL.shape
        patches = lags // self.length
        p_BNP = lags_BL[:, lags - patches * self.length :].reshape(rows, patches, self.length)
        e_NBH = self.patch(p_BNP).relu().transpose(0, 1).contiguous()
        _, state = self.gru.unroll(e_NBH, self.gru.initial_state(rows))
        moved_Bh1: Tensor = self.segments(state["h"], e_NBH, lags_BL)
        return moved_Bh1[..., 0]
