"""The aligned read-out in service: torch's matrix products, and loops of our own between them.

Legend: B answers, D width of a context, L lags, h horizon, X = B·h steps, H hidden units, N candidates, P numbers of
the head.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from streamcast.kernels import readout
from streamcast.models.readout.aligned import Aligned, TargetInputs

_NO_HIGHWAY = np.empty((0, 0), np.float32)


class LoopedReadOut:
    """``Aligned`` without gradients, in three quarters of its time; the last bits differ (DECISIONS.md, 93)."""

    def __init__(self, aligned: Aligned, horizon: int) -> None:
        self._aligned = aligned
        self._candidates = aligned.gate.out_features
        self._weight = torch.cat([aligned.gate.weight, aligned.out.weight]).detach()
        self._bias = torch.cat([aligned.gate.bias, aligned.out.bias]).detach()
        once = torch.cat([aligned.context.weight, aligned.recent.weight], 1).detach()
        self._empty = -once.shape[1] % 8
        self._once = F.pad(once, (0, self._empty))
        weights = np.empty((horizon, self._candidates), np.float32)
        self._memory = weights, weights.ravel(), weights.ravel().view(np.int32), np.empty(weights.size, np.int32)

    def __call__(
        self, context_BD: Tensor, lags_BL: Tensor, targets: TargetInputs, highway_Bh: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return each step's move from the last value, [B, h], and numbers for the head, [B, h, P]."""
        x_BhF, codes_BhC, level_B = targets
        rows, horizon, _ = x_BhF.shape
        aligned, steps = self._aligned, rows * horizon
        newest_BR = lags_BL[:, lags_BL.shape[1] - aligned.lags :]
        seen_B = torch.cat([context_BD, newest_BR, level_B[:, None], level_B.new_zeros(rows, self._empty)], 1)
        once_BH = F.linear(seen_B, self._once, aligned.context.bias)
        x_XH = torch.empty(steps, once_BH.shape[1])
        readout.look_up(
            codes_BhC.flatten(0, 1).numpy(), aligned.table_RH.detach().numpy(), once_BH.numpy(), x_XH.numpy()
        )
        x_XH.addmm_(x_BhF.flatten(0, 1), aligned.target.weight.t())
        z_XS = F.relu(aligned.second(F.relu(x_XH, inplace=True)), inplace=True)
        numbers_XS = F.linear(z_XS, self._weight, self._bias)
        moved_Bh = torch.empty(rows, horizon)
        highway = _NO_HIGHWAY if highway_Bh is None else highway_Bh.numpy()
        readout.mix(
            numbers_XS.numpy(), aligned.first_seasonal, aligned.seasonal, x_BhF.numpy(), level_B.numpy(), highway,
            *self._memory, moved_Bh.numpy(),
        )  # fmt: skip
        return moved_Bh, numbers_XS.view(rows, horizon, -1)[..., self._candidates + 1 :]
