"""Shapes: B rows, h horizon steps, P numbers a step, Q quantiles."""

from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from streamcast.models.readout.head import ClassHead, GaussianHead, Head, PointHead, QuantileHead, pinball
from streamcast.models.spec import SpecError

QUANTILES = (0.1, 0.5, 0.9)
HEADS: dict[str, Head] = {
    "quantile": QuantileHead(QUANTILES),
    "point": PointHead(QUANTILES),
    "gaussian": GaussianHead(QUANTILES),
    "classes": ClassHead(QUANTILES),
}


def test_the_pinball_loss_is_least_at_the_quantile() -> None:
    outcomes = torch.from_numpy(np.random.default_rng(7).gamma(2, size=2001))
    grid = torch.linspace(0, 8, 801, dtype=torch.float64)
    for quantile in (0.05, *QUANTILES, 0.95):
        losses = [pinball(value.expand(2001, 1, 1), outcomes[:, None], (quantile,)).item() for value in grid]
        best = grid[int(np.argmin(losses))].item()
        assert best == pytest.approx(np.quantile(outcomes.numpy(), quantile), abs=0.02)


def test_at_the_median_it_is_half_the_absolute_error() -> None:
    forecast_BhQ, outcome_Bh = torch.randn(5, 4, 1), torch.randn(5, 4)
    expected = F.l1_loss(forecast_BhQ[..., 0], outcome_Bh) / 2
    torch.testing.assert_close(pinball(forecast_BhQ, outcome_Bh, (0.5,)), expected)


def test_too_low_costs_q_and_too_high_costs_one_less_q() -> None:
    outcome_Bh = torch.tensor([[10.0]])
    assert pinball(torch.tensor([[[8.0]]]), outcome_Bh, (0.9,)).item() == pytest.approx(0.9 * 2)
    assert pinball(torch.tensor([[[13.0]]]), outcome_Bh, (0.9,)).item() == pytest.approx(0.1 * 3)


def test_an_unknown_outcome_counts_neither_in_the_loss_nor_in_the_gradient() -> None:
    torch.manual_seed(8)
    forecast_BhQ, outcome_Bh = torch.randn(2, 4, 3, requires_grad=True), torch.randn(2, 4)
    outcome_Bh[:, 2:] = torch.nan
    loss = pinball(forecast_BhQ, outcome_Bh, QUANTILES)
    torch.testing.assert_close(loss, pinball(forecast_BhQ[:, :2], outcome_Bh[:, :2], QUANTILES))
    (gradient,) = torch.autograd.grad(loss, forecast_BhQ)
    assert gradient[:, :2].all()
    assert not gradient[:, 2:].any()


def test_with_no_outcome_known_the_loss_is_zero_and_has_no_gradient() -> None:
    forecast_BhQ = torch.randn(2, 4, 3, requires_grad=True)
    loss = pinball(forecast_BhQ, torch.full((2, 4), torch.nan), QUANTILES)
    (gradient,) = torch.autograd.grad(loss, forecast_BhQ)
    assert loss.item() == 0
    assert not gradient.any()


def test_a_forecast_that_is_not_a_number_is_not_hidden() -> None:
    forecast_BhQ = torch.full((1, 1, 3), torch.nan)
    assert pinball(forecast_BhQ, torch.zeros(1, 1), QUANTILES).isnan()


@pytest.mark.parametrize("head", [QuantileHead(QUANTILES), GaussianHead(QUANTILES)], ids=["quantile", "gaussian"])
def test_a_head_learns_the_quantiles_of_noise(head: Head) -> None:
    torch.manual_seed(9)
    outcome_Bh = 2 + 3 * torch.randn(4000, 1)
    numbers_11P = fitted(head, outcome_Bh)
    expected_Q = torch.quantile(outcome_Bh, torch.tensor(QUANTILES))
    torch.testing.assert_close(head.quantiles(numbers_11P)[0, 0], expected_Q, rtol=0, atol=0.25)


@pytest.mark.parametrize(("error", "best"), [("absolute", 0.0), ("squared", 1.0)])
def test_a_point_head_learns_the_median_or_the_mean_and_has_no_interval(
    error: Literal["absolute", "squared"], best: float
) -> None:
    head, outcome_Bh = PointHead(QUANTILES, error), torch.tensor([[0.0]] * 3 + [[4.0]])
    forecast_Q = head.quantiles(fitted(head, outcome_Bh))[0, 0]
    torch.testing.assert_close(forecast_Q, torch.full((3,), best), rtol=0, atol=0.05)


def test_a_gaussian_is_torchs_own() -> None:
    torch.manual_seed(10)
    head, numbers_BhP, outcome_Bh = GaussianHead(QUANTILES), torch.randn(5, 4, 2), torch.randn(5, 4)
    theirs: Any = torch.distributions.Normal(numbers_BhP[..., 0], numbers_BhP[..., 1].exp())
    torch.testing.assert_close(head.loss(numbers_BhP, outcome_Bh), -theirs.log_prob(outcome_Bh).mean())
    for place, quantile in enumerate(QUANTILES):
        torch.testing.assert_close(head.quantiles(numbers_BhP)[..., place], theirs.icdf(torch.tensor(quantile)))


def test_moving_a_gaussian_moves_its_mean_alone() -> None:
    head, numbers_BhP, by_Bh = GaussianHead(QUANTILES), torch.randn(5, 4, 2), torch.randn(5, 4)
    expected = head.quantiles(numbers_BhP) + by_Bh[..., None]
    torch.testing.assert_close(head.quantiles(head.moved(numbers_BhP, by_Bh)), expected)


def test_a_class_is_between_its_edges_and_its_loss_is_torchs_cross_entropy() -> None:
    head, numbers_BhP = ClassHead(QUANTILES, (-1.0, 0.0, 2.0)), torch.randn(5, 1, 4)
    outcome_Bh = torch.tensor([[-3.0], [-0.5], [0.0], [1.0], [9.0]])
    assert head.classes(outcome_Bh).flatten().tolist() == [0, 1, 1, 2, 3]
    expected = F.cross_entropy(numbers_BhP[:, 0], head.classes(outcome_Bh)[:, 0])
    torch.testing.assert_close(head.loss(numbers_BhP, outcome_Bh), expected)


@given(
    logits=st.lists(st.floats(-9, 9), min_size=4, max_size=4),
    levels=st.lists(st.floats(0.01, 0.99), min_size=1, max_size=5, unique=True).map(sorted),
)
@settings(deadline=None, derandomize=True, max_examples=60)
def test_the_quantiles_of_classes_are_those_of_evenly_filled_classes(logits: list[float], levels: list[float]) -> None:
    head = ClassHead(tuple(levels), (-1.0, 0.0, 2.0), reach=0.5)
    numbers_11P = torch.tensor(logits, dtype=torch.float64)[None, None]
    quantile_Q = head.quantiles(numbers_11P)[0, 0].numpy()
    below = np.concatenate([[0], numbers_11P[0, 0].softmax(0).cumsum(0).numpy()])
    np.testing.assert_allclose(np.interp(quantile_Q, [-1.5, -1.0, 0.0, 2.0, 2.5], below), levels, atol=1e-6)
    assert (np.diff(quantile_Q) >= 0).all()


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_unknown_outcomes_count_neither_in_the_loss_nor_in_the_gradient(head: Head) -> None:
    numbers_BhP, outcome_Bh = torch.randn(2, 4, head.numbers, requires_grad=True), torch.randn(2, 4)
    outcome_Bh[:, 2:] = torch.nan
    loss = head.loss(numbers_BhP, outcome_Bh)
    torch.testing.assert_close(loss, head.loss(numbers_BhP[:, :2], outcome_Bh[:, :2]))
    (gradient,) = torch.autograd.grad(loss, numbers_BhP)
    assert gradient[:, :2].all()
    assert not gradient[:, 2:].any()


@pytest.mark.parametrize("edges", [(), (1.0, 1.0), (2.0, 1.0), (float("nan"),), (0.0, float("inf"))])
def test_edges_that_do_not_rise_are_refused(edges: tuple[float, ...]) -> None:
    with pytest.raises(SpecError, match="expected at least one number, strictly rising"):
        ClassHead(QUANTILES, edges)


def fitted(head: Head, outcome_Bh: Tensor) -> Tensor:
    """Return the numbers [1, 1, P] of least loss."""
    numbers_11P = torch.zeros(1, 1, head.numbers, requires_grad=True)
    optimiser = torch.optim.Adam([numbers_11P], lr=0.1)
    for step in range(400):
        optimiser.param_groups[0]["lr"] = 0.1 if step < 250 else 0.01
        optimiser.zero_grad()
        torch.autograd.backward(head.loss(numbers_11P.expand(len(outcome_Bh), -1, -1), outcome_Bh))
        optimiser.step()
    return numbers_11P.detach()
