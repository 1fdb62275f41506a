"""A linear layer whose rows do not depend on each other, to the last bit.

Shapes: B rows, F inputs, H outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class RowLinear(nn.Linear):
    """torch's linear layer, the inputs padded with zeros to a multiple of eight.

    A row that does not start on a 16-byte boundary may be summed in another order, so that with 10
    inputs and 10 outputs a row's last bits depend on its place in the batch (seen with MKL and
    AVX-512, for up to 11 outputs).
    """

    def forward(self, x_BF: Tensor) -> Tensor:
        """Return xWᵀ + b, [..., H]."""
        missing = -self.in_features % 8
        if not missing:
            return F.linear(x_BF, self.weight, self.bias)
        return F.linear(F.pad(x_BF, (0, missing)), F.pad(self.weight, (0, missing)), self.bias)


class GroupedLinear(nn.Module):
    """Weights of several gates that are block-diagonal: a group of units reads its own group only.

    A gate costs width²/groups weights (Kuchaiev & Ginsburg 2017, arXiv 1703.10722).
    """

    def __init__(self, width: int, gates: int, groups: int) -> None:
        super().__init__()
        each = width // groups
        self.weight = nn.Parameter(torch.empty(groups, gates * each, each))
        for block in self.weight.data.view(-1, each, each):
            nn.init.orthogonal_(block)
        self.gates = gates

    def forward(self, h_BH: Tensor) -> Tensor:
        """Return the gates' products, gate after gate, [B, gates·H]."""
        groups, _, each = self.weight.shape
        h_GBE = h_BH.view(-1, groups, each).transpose(0, 1)
        product_GBX = torch.bmm(h_GBE, self.weight.transpose(1, 2))
        product_BKGE = product_GBX.view(groups, -1, self.gates, each).permute(1, 2, 0, 3)
        return product_BKGE.flatten(1)
