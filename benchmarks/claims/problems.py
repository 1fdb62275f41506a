"""Small problems that separate architectures: the adding problem, and gaps in a wave.

Shapes: T steps, B rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from streamcast.models.cells.cell import Cell


def adding(steps: int, rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return numbers with marks [T, B, 2] and the sum of the two marked ones [B] (Hochreiter & Schmidhuber 1997).

    Guessing 1 has a mean squared error of 1/6.
    """
    numbers_TB = torch.rand(steps, rows, generator=generator)
    marks_TB = torch.zeros(steps, rows)
    first_B = torch.randint(0, steps // 2, (rows,), generator=generator)
    second_B = torch.randint(steps // 2, steps, (rows,), generator=generator)
    every_B = torch.arange(rows)
    marks_TB[first_B, every_B] = marks_TB[second_B, every_B] = 1
    return torch.stack([numbers_TB, marks_TB], -1), (numbers_TB * marks_TB).sum(0)


@dataclass(frozen=True)
class Run:
    """The course of a cell's training on the adding problem."""

    error: float
    """Mean squared error over the last tenth of the updates."""
    roughness: float
    """Mean change of the loss from one update to the next, after the first 20."""
    worst: float
    """Largest loss after the first 20 updates."""
    first_gradient: float
    """Norm of the gradient at the first step's input over that at the last step's, before training."""


def learn_adding(
    cell: Cell, steps: int, updates: int, clip: float | None = 1.0, rate: float = 4e-3, momentum: float | None = None
) -> Run:
    """Train a cell and a linear read-out on the adding problem, 32 rows an update; deterministic by torch's seed.

    The optimiser is Adam, or plain gradient descent if ``momentum`` is given.
    """
    generator = torch.Generator().manual_seed(0)
    read_out = nn.Linear(cell.outputs, 1)
    weights = [*cell.parameters(), *read_out.parameters()]
    optimiser: torch.optim.Optimizer = torch.optim.Adam(weights, lr=rate)
    if momentum is not None:
        optimiser = torch.optim.SGD(weights, lr=rate, momentum=momentum)
    losses = []
    first_gradient = 0.0
    for update in range(updates):
        x_TB2, sum_B = adding(steps, 32, generator)
        if update == 0:
            x_TB2.requires_grad_()
        y_TBH, _ = cell.scan(x_TB2, cell.initial_state(32))
        loss = (read_out(y_TBH[-1])[:, 0] - sum_B).square().mean()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        if x_TB2.grad is not None:
            first_gradient = float(x_TB2.grad[0].norm() / x_TB2.grad[-1].norm())
        if clip is not None:
            nn.utils.clip_grad_norm_(weights, clip)
        optimiser.step()
        losses.append(loss.item())
    later = np.array(losses[20:])
    roughness, worst = float(np.abs(np.diff(later)).mean()), float(later.max())
    return Run(float(np.mean(losses[-updates // 10 :])), roughness, worst, first_gradient)


def impute(bidirectional: bool, updates: int, width: int = 32) -> float:  # noqa: FBT001
    """Return the error at masked points of noisy waves that a GRU, in one direction or both, is trained to fill in."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    hidden = width // 2 if bidirectional else width
    network = nn.GRU(2, hidden, batch_first=True, bidirectional=bidirectional)
    read_out = nn.Linear(width, 1)
    optimiser = torch.optim.Adam([*network.parameters(), *read_out.parameters()], lr=5e-3)
    losses = []
    for _ in range(updates):
        phase_B1, pace_B1 = (torch.rand(32, 1, generator=generator) for _ in range(2))
        y_BT = torch.sin(6.3 * phase_B1 + (0.2 + 0.6 * pace_B1) * torch.arange(64))
        masked_BT = torch.rand(32, 64, generator=generator) < 0.3
        noisy_BT = (y_BT + 0.1 * torch.randn(32, 64, generator=generator)).masked_fill(masked_BT, 0)
        filled_BT = read_out(network(torch.stack([noisy_BT, masked_BT.float()], -1))[0])[..., 0]
        loss = (filled_BT - y_BT)[masked_BT].square().mean()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        losses.append(loss.item())
    return float(np.mean(losses[-updates // 10 :]))
