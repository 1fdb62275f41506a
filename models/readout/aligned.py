"""The aligned read-out: each step of the horizon sees what belongs to its own bar.

Shapes: B rows, h horizon steps, D width of a context, R newest lags (or rows of a table), F numbers of a target
bar, J of them its values in earlier seasons, C codes of a step, X second hidden units (or all steps of all rows),
H hidden units, N candidates, P numbers of the head.

A recurrent context says what has been going on.  It cannot say what the target bar is: a Monday at nine, a day off, as
warm as forecast.  Step h therefore reads the values at the same place of earlier seasons, the calendar of its bar and
the inputs that are known in advance.  The first layer is a sum, so its largest part is computed once an answer;
``Aligned`` has the equations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamcast.models.linear import RowLinear
from streamcast.models.spec import multiple_of_eight, within

MOST_LAGS = 24


class TargetInputs(NamedTuple):
    """What is known at the cutoff about the bars of the horizon, for B answers.

    ``x_BhF``: numbers of each target bar; the first J are the target at the same place of earlier seasons, all in units
    of the running normaliser: (value - mean) / unit.  ``codes_BhC``: the rows of the look-up table that a step adds up.
    ``level_B``: the last value in the same units.
    """

    x_BhF: Tensor
    codes_BhC: Tensor
    level_B: Tensor


@dataclass(frozen=True)
class TargetShape:
    """The sizes of ``TargetInputs``: F features, of which J are seasonal values, and the rows of the look-up table.

    The table is several tables one after the other: time of day, day of the week, categories, and the step itself.
    ``softmax`` is the least width of the softmax over candidates; those that it adds have no weight.
    ``mean`` says whether the running mean is a candidate.
    """

    features: int
    seasonal: int
    rows: int
    softmax: int = 0
    mean: bool = True

    def __post_init__(self) -> None:
        """Raise SpecError when no read-out can have this shape."""
        multiple_of_eight("the number of features of a target bar", self.features)
        within("the number of seasonal values", self.seasonal, 1, self.features)
        within("the number of rows of the look-up table", self.rows, 1, 1_000_000)
        within("the width of the softmax", self.softmax, 0, 64)


AlignedForm = Callable[[Tensor, Tensor, TargetInputs, Tensor | None], tuple[Tensor, Tensor]]
"""The arguments and results of ``Aligned``: another form of it may be faster where there are no gradients."""


class Aligned(nn.Module):
    """(context, lags, target bars) -> how far each step moves, and numbers for the head.

        x_h = relu(W_c context + W_r [lags; level] + W_a a_h + Σ_c E[code_hc])
        z_h = relu(W_z x_h)
        moved_h = Σ_j softmax(W_g z_h)_j v_hj + w z_h,    numbers_h = W_p z_h

    with candidates v_h: the last value, the J seasonal values, the linear highway and, in older models, the running
    mean (0 in these units).  The softmax over candidates keeps a new network near sensible forecasts and follows a
    level that training never saw.
    """

    def __init__(
        self, inputs: int, lags: int, numbers: int, shape: TargetShape, highway: bool,  # noqa: FBT001
        hidden: int = 64, second: int = 32, dropout: float = 0.1,
    ) -> None:  # fmt: skip
        super().__init__()
        multiple_of_eight("the read-out's hidden", hidden)
        multiple_of_eight("the read-out's second", second)
        within("the read-out's dropout", dropout, 0, 0.9)
        self.lags, self.seasonal, self.numbers = min(lags, MOST_LAGS), shape.seasonal, numbers
        self.context = RowLinear(inputs, hidden)
        self.recent = RowLinear(self.lags + 1, hidden, bias=False)
        self.target = RowLinear(shape.features, hidden, bias=False)
        self.table_RH = nn.Parameter(torch.randn(shape.rows, hidden) * 0.1)
        self.second = RowLinear(hidden, second)
        self.first_seasonal = 1 + shape.mean
        self.gate = RowLinear(second, self.first_seasonal + shape.seasonal + highway)
        self.added = max(shape.softmax - self.gate.out_features, 0)
        self.out = RowLinear(second, 1 + numbers)
        self.dropout = nn.Dropout(dropout)
        gains = ((self.context, 1.0), (self.recent, 1.0), (self.target, 1.0), (self.second, 1.0), (self.gate, 0.3))
        for linear, gain in (*gains, (self.out, 0.1)):
            nn.init.xavier_uniform_(linear.weight, gain=gain)
        for linear in (self.context, self.second, self.gate, self.out):
            nn.init.zeros_(linear.bias)

    def forward(
        self, context_BD: Tensor, lags_BL: Tensor, targets: TargetInputs, highway_Bh: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return each step's move from the last value, [B, h], and numbers for the head, [B, h, P]."""
        x_BhF, codes_BhC, level_B = targets
        rows, horizon, _ = x_BhF.shape
        newest_BR = lags_BL[:, lags_BL.shape[1] - self.lags :]
        once_BH = self.context(context_BD) + self.recent(torch.cat([newest_BR, level_B[:, None]], -1))
        looked_up = F.embedding_bag(codes_BhC.flatten(0, 1), self.table_RH, mode="sum")
        x_XH = looked_up.addmm_(x_BhF.flatten(0, 1), self.target.weight.t())
        x_BhH = x_XH.view(rows, horizon, -1).add_(once_BH[:, None])
        z_BhX = self._dropped(F.relu(self.second(self._dropped(F.relu(x_BhH, inplace=True))), inplace=True))
        moved_Bh1, numbers_BhP = self.out(z_BhX).split([1, self.numbers], -1)
        scores_BhN = self.gate(z_BhX)
        if self.added:
            scores_BhN = F.pad(scores_BhN, (0, self.added), value=-torch.inf)
        weights_BhN = scores_BhN.softmax(-1)
        level_Bh = level_B[:, None].expand(-1, horizon)
        first, stop = self.first_seasonal, self.first_seasonal + self.seasonal
        mixed_Bh = (weights_BhN[..., first:stop] * x_BhF[..., : self.seasonal]).sum(-1)
        mixed_Bh = mixed_Bh + weights_BhN[..., 0] * level_Bh
        if highway_Bh is not None:
            mixed_Bh = mixed_Bh + weights_BhN[..., stop] * (highway_Bh + level_Bh)
        return mixed_Bh - level_Bh + moved_Bh1[..., 0], numbers_BhP

    def _dropped(self, x_BhH: Tensor) -> Tensor:
        """Drop units of an answer, the same ones at every step."""
        if not self.training:
            return x_BhH
        mask_B1H: Tensor = self.dropout(torch.ones_like(x_BhH[:, :1]))
        return x_BhH * mask_B1H
