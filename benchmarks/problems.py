"""Small problems that separate architectures: the adding problem, gaps in a wave, an irregular heart, a random walk.

Shapes: T steps, B rows, N bars.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn

from streamcast.models.cells.cell import Cell
from streamcast.offline.history.read import History, read

Floats = npt.NDArray[np.float64]
START = pd.Timestamp("2026-01-01", tz="UTC")


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
    """How a cell learnt the adding problem."""

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

    By Adam, or by plain gradient descent where there is a momentum.
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


def heart_rate(bars: int, seed: int, episodes: int) -> tuple[History, npt.NDArray[np.bool_]]:
    """Return a made-up wearable's heart rate, a value every 10 seconds, and which bars belong to an irregular episode.

    A slow daily course, bouts of exercise and breathing; an episode is a fast or a slow rhythm of about three
    minutes that starts within a bar, or a sensor that jumps about.
    """
    random = np.random.default_rng(seed)
    time = np.arange(bars)
    rate = 68 + 6 * np.sin(2 * np.pi * time / 8640) + 2 * np.sin(2 * np.pi * time / 27)
    effort = np.zeros(bars)
    for start in random.integers(0, bars, bars // 1500):
        effort[start : start + int(random.integers(60, 240))] = random.uniform(20, 60)
    kernel = np.exp(-np.arange(120) / 24)
    rate += np.convolve(effort, kernel / kernel.sum())[:bars]
    noise = np.convolve(random.normal(size=bars), 0.8 ** np.arange(30))[:bars]
    rate += 0.8 * noise
    irregular = np.zeros(bars, np.bool_)
    for start in np.sort(random.choice(np.arange(500, bars - 40, 60), episodes, replace=False)):
        part = slice(int(start), int(start) + int(random.integers(12, 24)))
        length = part.stop - part.start
        change = (35 * np.ones(length), -25 * np.ones(length), random.normal(0, 22, length))[int(random.integers(3))]
        rate[part] += change + random.normal(0, 3, length)
        irregular[part] = True
    return _series("wearer", rate, "10s"), irregular


def random_walk(bars: int, seed: int, drift: float = 0.0) -> History:
    """Return an index and its changes, independent; with ``drift`` d a step leans to the last one's sign."""
    random = np.random.default_rng(seed)
    noise = random.normal(size=bars)
    steps = np.empty(bars)
    steps[0] = noise[0]
    for i in range(1, bars):
        steps[i] = drift * np.sign(steps[i - 1]) + noise[i]
    return _series("index", 1000 + np.cumsum(steps) * 0.1, "1min", change=steps)


def _series(name: str, values_N: Floats, freq: str, **inputs: Floats) -> History:
    times_N = pd.date_range(START, periods=len(values_N), freq=freq)
    return read(pd.DataFrame({"unique_id": name, "ds": times_N, "y": values_N, **inputs}), freq=freq)
