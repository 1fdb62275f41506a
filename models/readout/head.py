"""The head: what the numbers of a decoder mean, as a distribution: its quantiles, and the loss that trains it.

Shapes: B rows, h horizon steps, P numbers a step, Q quantiles, K classes, E edges between classes.
Heads have no weights.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from streamcast.models.spec import SpecError, within


class Head(ABC):
    """A family of distributions, each given by P ``numbers``."""

    numbers: int
    shifts = True
    """Whether a linear highway may move it."""

    def __init__(self, quantiles: tuple[float, ...]) -> None:
        self.levels = quantiles

    def moved(self, numbers_BhP: Tensor, by_Bh: Tensor) -> Tensor:
        """Return the distributions moved along the target's axis."""
        return numbers_BhP + by_Bh[..., None]

    @abstractmethod
    def quantiles(self, numbers_BhP: Tensor) -> Tensor:
        """Return [B, h, Q]; they may still cross."""

    @abstractmethod
    def loss(self, numbers_BhP: Tensor, outcome_Bh: Tensor, weight_B: Tensor | None = None) -> Tensor:
        """Return the mean loss over the known outcomes, rows weighted by ``weight_B``; NaN means unknown."""


class QuantileHead(Head):
    """The quantiles themselves, trained by the pinball loss (Koenker & Bassett 1978)."""

    def __init__(self, quantiles: tuple[float, ...]) -> None:
        super().__init__(quantiles)
        self.numbers = len(quantiles)

    def quantiles(self, numbers_BhP: Tensor) -> Tensor:
        """Return the numbers."""
        return numbers_BhP

    def loss(self, numbers_BhP: Tensor, outcome_Bh: Tensor, weight_B: Tensor | None = None) -> Tensor:
        """Return the pinball loss."""
        return pinball(numbers_BhP, outcome_Bh, self.levels, weight_B)


class PointHead(Head):
    """One number, the median or the mean: every quantile equals it, so the interval has no width."""

    numbers = 1

    def __init__(self, quantiles: tuple[float, ...], error: Literal["absolute", "squared"] = "absolute") -> None:
        super().__init__(quantiles)
        self.error = error

    def quantiles(self, numbers_BhP: Tensor) -> Tensor:
        """Return the number for every quantile."""
        return numbers_BhP.expand(-1, -1, len(self.levels))

    def loss(self, numbers_BhP: Tensor, outcome_Bh: Tensor, weight_B: Tensor | None = None) -> Tensor:
        """Return the mean absolute or squared error."""
        error_Bh = _known(outcome_Bh) - numbers_BhP[..., 0]
        return _mean(error_Bh.abs() if self.error == "absolute" else error_Bh.square(), outcome_Bh, weight_B)


class GaussianHead(Head):
    """A normal distribution: its mean, the logarithm of its deviation (DeepAR, Salinas 2017, arXiv 1704.04110)."""

    numbers = 2

    def moved(self, numbers_BhP: Tensor, by_Bh: Tensor) -> Tensor:
        """Return the distributions with their means moved."""
        return numbers_BhP + F.pad(by_Bh[..., None], (0, 1))

    def quantiles(self, numbers_BhP: Tensor) -> Tensor:
        """Return mean + deviation · Φ⁻¹(q)."""
        mean_Bh1, deviation_Bh1 = self._split(numbers_BhP)
        levels_Q = torch.tensor(self.levels, dtype=torch.float64)
        z_Q = (math.sqrt(2) * torch.erfinv(2 * levels_Q - 1)).to(mean_Bh1)
        return mean_Bh1 + deviation_Bh1 * z_Q

    def loss(self, numbers_BhP: Tensor, outcome_Bh: Tensor, weight_B: Tensor | None = None) -> Tensor:
        """Return the negative log likelihood."""
        mean_Bh1, deviation_Bh1 = self._split(numbers_BhP)
        z_Bh = (_known(outcome_Bh) - mean_Bh1[..., 0]) / deviation_Bh1[..., 0]
        return _mean(deviation_Bh1[..., 0].log() + z_Bh.square() / 2 + math.log(2 * math.pi) / 2, outcome_Bh, weight_B)

    @staticmethod
    def _split(numbers_BhP: Tensor) -> tuple[Tensor, Tensor]:
        mean_Bh1, log_Bh1 = numbers_BhP.chunk(2, -1)
        return mean_Bh1, log_Bh1.clamp(-7, 7).exp()


class ClassHead(Head):
    """A softmax over classes of the outcome: below the first edge, between two, above the last.

    Edges are in units of the normalised target, 0 being the last value, so [0] is its direction.  A
    quantile is read off the distribution that spreads each class evenly, the outermost over ``reach``.
    """

    shifts = False

    def __init__(
        self, quantiles: tuple[float, ...], edges: Sequence[float] = (-0.5, 0.0, 0.5), reach: float = 1.0
    ) -> None:
        super().__init__(quantiles)
        within("reach", reach, 1e-6, 1e6)
        if not edges or any(not low < high for low, high in pairwise([-math.inf, *edges, math.inf])):
            message = f"edges is {edges!r}: expected at least one number, strictly rising, as in [-0.5, 0, 0.5]."
            raise SpecError(message)
        self.numbers = len(edges) + 1
        self.edges = [float(edge) for edge in edges]
        self.borders = [edges[0] - reach, *self.edges, edges[-1] + reach]

    def classes(self, outcome_Bh: Tensor) -> Tensor:
        """Return the class of each outcome, 0 to K - 1."""
        return torch.bucketize(outcome_Bh.contiguous(), outcome_Bh.new_tensor(self.edges))

    def quantiles(self, numbers_BhP: Tensor) -> Tensor:
        """Return where the distribution function, rising evenly within each class, reaches each level."""
        p_BhK = numbers_BhP.softmax(-1)
        below_BhK = F.pad(p_BhK.cumsum(-1), (1, 0))[..., :-1]
        borders = numbers_BhP.new_tensor(self.borders)
        levels_Q = numbers_BhP.new_tensor(self.levels)
        k_BhQ = (below_BhK[..., None, 1:] < levels_Q[:, None]).sum(-1)
        share_BhQ = (levels_Q - below_BhK.gather(-1, k_BhQ)) / p_BhK.gather(-1, k_BhQ).clamp(min=1e-9)
        return borders[k_BhQ] + share_BhQ.clamp(0, 1) * (borders[k_BhQ + 1] - borders[k_BhQ])

    def loss(self, numbers_BhP: Tensor, outcome_Bh: Tensor, weight_B: Tensor | None = None) -> Tensor:
        """Return the cross-entropy."""
        log_p_BhK = numbers_BhP.log_softmax(-1)
        chosen_Bh = log_p_BhK.gather(-1, self.classes(_known(outcome_Bh))[..., None])[..., 0]
        return _mean(-chosen_Bh, outcome_Bh, weight_B)


def pinball(
    forecast_BhQ: Tensor, outcome_Bh: Tensor, quantiles: tuple[float, ...], weight_B: Tensor | None = None
) -> Tensor:
    """Return the mean of max(q(y - ŷ), (q - 1)(y - ŷ)) over quantiles and known outcomes; NaN means unknown.

    Koenker & Bassett 1978.  With no outcome known the loss is 0, and so is its gradient.
    """
    error_BhQ = _known(outcome_Bh)[..., None] - forecast_BhQ
    q_Q = forecast_BhQ.new_tensor(quantiles)
    return _mean(torch.maximum(q_Q * error_BhQ, (q_Q - 1) * error_BhQ).mean(-1), outcome_Bh, weight_B)


def _known(outcome_Bh: Tensor) -> Tensor:
    """Return the outcomes, 0 where they are not known."""
    return torch.where(outcome_Bh.isfinite(), outcome_Bh, 0)


def _mean(loss_Bh: Tensor, outcome_Bh: Tensor, weight_B: Tensor | None) -> Tensor:
    """Return the mean over the known outcomes, rows weighted; 0 where there is none."""
    known_Bh = outcome_Bh.isfinite()
    weight_Bh = known_Bh if weight_B is None else known_Bh * weight_B[:, None]
    kept_Bh = loss_Bh.masked_fill(~known_Bh, 0)
    total = kept_Bh.sum() if weight_B is None else (kept_Bh * weight_B[:, None]).sum()
    return total / weight_Bh.sum().clamp(min=1e-6)
