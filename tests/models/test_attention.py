"""Shapes: B rows, F features, H width, R past outputs, S scales."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamcast.models.linear import RowLinear
from streamcast.models.readout.attention import (
    CrossAttention,
    FeatureAttention,
    Luong,
    MeanPool,
    NoAttention,
    RingAttention,
    ScaleAttention,
    newest,
)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(6)


def double(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def test_the_context_is_torchs_own_attention_over_what_is_valid() -> None:
    luong = Luong(16).double()
    query_BH, memory_BRH, valid_BR = double(4, 16), double(4, 9, 16), torch.rand(4, 9) < 0.6
    valid_BR[:, -1] = True
    theirs = F.scaled_dot_product_attention(
        luong.score(query_BH)[:, None], memory_BRH, memory_BRH, attn_mask=valid_BR[:, None], scale=1.0
    )[:, 0]
    expected = torch.tanh(luong.combine(torch.cat([theirs, query_BH], 1)))
    torch.testing.assert_close(luong(query_BH, memory_BRH, valid_BR), expected, rtol=0, atol=1e-12)


def test_the_weights_sum_to_one_over_what_is_valid_and_are_zero_elsewhere() -> None:
    ring = RingAttention(16, length=9).double()
    filled_B = torch.tensor([1, 4, 9])
    weights_BR = ring.weights(double(3, 9, 16), filled_B)
    torch.testing.assert_close(weights_BR.sum(1), torch.ones(3, dtype=torch.float64))
    assert (weights_BR > 0).sum(1).tolist() == filled_B.tolist()


def test_the_newest_are_at_the_end() -> None:
    assert newest(torch.zeros(3, 4, 1), torch.tensor([0, 1, 3])).int().tolist() == [
        [0, 0, 0, 0],
        [0, 0, 0, 1],
        [0, 1, 1, 1],
    ]


@pytest.mark.parametrize("filled", [1, 2, 5, 9])
def test_a_ring_that_is_partly_filled_is_a_shorter_ring(filled: int) -> None:
    ring = RingAttention(16, length=9).double()
    memory_BRH, filled_B = double(4, 9, 16), torch.full((4,), filled)
    short = ring(memory_BRH[:, 9 - filled :], filled_B)
    torch.testing.assert_close(ring(memory_BRH, filled_B), short, rtol=0, atol=1e-12)


def test_without_attention_the_context_is_the_newest_output() -> None:
    memory_BRH = double(4, 3, 16)
    assert torch.equal(NoAttention(16)(memory_BRH, torch.full((4,), 3)), memory_BRH[:, -1])


def test_the_pool_is_the_mean_of_what_is_filled() -> None:
    memory_BRH = double(3, 5, 16)
    pooled_BH = MeanPool(16, length=5)(memory_BRH, torch.tensor([1, 3, 5]))
    expected = torch.stack([memory_BRH[0, 4:].mean(0), memory_BRH[1, 2:].mean(0), memory_BRH[2].mean(0)])
    torch.testing.assert_close(pooled_BH, expected)


def test_each_of_two_streams_looks_over_the_past_of_the_other() -> None:
    cross = CrossAttention(32, length=5).double()
    memory_BRH, filled_B = double(3, 5, 32), torch.tensor([1, 3, 5])
    one_BRS, other_BRS = memory_BRH[..., :16], memory_BRH[..., 16:]
    valid_BR = newest(memory_BRH, filled_B)
    expected = torch.cat(
        [
            cross.attentions[0](one_BRS[:, -1], other_BRS, valid_BR),
            cross.attentions[1](other_BRS[:, -1], one_BRS, valid_BR),
        ],
        -1,
    )
    torch.testing.assert_close(cross(memory_BRH, filled_B), expected, rtol=0, atol=1e-12)


def test_what_was_never_filled_reaches_neither_the_context_nor_the_gradient() -> None:
    ring = RingAttention(16, length=4).double()
    memory_BRH = double(2, 4, 16)
    clean = ring(memory_BRH, torch.tensor([2, 4]))
    memory_BRH[0, :2] = 1e6
    memory_BRH.requires_grad_()
    context_BH = ring(memory_BRH, torch.tensor([2, 4]))
    assert torch.equal(context_BH, clean)
    (gradient,) = torch.autograd.grad(context_BH.sum(), memory_BRH)
    assert not gradient[0, :2].any()
    assert gradient[0, 2:].all()


def test_equal_weights_leave_the_features_as_they_are() -> None:
    front = FeatureAttention(7).double()
    nn.init.zeros_(front.score.weight)
    x_BF = double(4, 7)
    y_BF, state = front.step(x_BF, front.initial_state(4))
    torch.testing.assert_close(y_BF, x_BF)
    assert state == {}


def test_feature_weights_sum_to_one() -> None:
    weights_BF = FeatureAttention(7).double().weights(double(4, 7))
    torch.testing.assert_close(weights_BF.sum(-1), torch.ones(4, dtype=torch.float64))


def test_a_scale_none_of_whose_bars_has_closed_is_left_out() -> None:
    across = ScaleAttention([16, 24, 8]).double()
    contexts, filled = [double(2, 16), double(2, 24), double(2, 8)], [torch.ones(2), torch.zeros(2), torch.ones(2)]
    before = across(contexts, filled)
    assert before.shape == (2, 16)
    assert torch.equal(across([contexts[0], double(2, 24), contexts[2]], filled), before)
    assert not torch.equal(across([contexts[0], contexts[1], double(2, 8)], filled), before)


@pytest.mark.parametrize("inputs", [1, 7, 8, 10, 336])
def test_a_row_linear_layer_is_torchs_linear_layer(inputs: int) -> None:
    mine, theirs = RowLinear(inputs, 10).double(), nn.Linear(inputs, 10).double()
    theirs.load_state_dict(mine.state_dict())
    x_TBF = double(3, 4, inputs)
    torch.testing.assert_close(mine(x_TBF), theirs(x_TBF), rtol=0, atol=1e-12)


@pytest.mark.parametrize("inputs", [*range(1, 18), 23, 33])
@pytest.mark.parametrize("outputs", [1, 2, 3, 5, 8, 10, 11, 12, 24])
def test_the_rows_of_a_row_linear_layer_have_the_same_bytes_at_any_place(inputs: int, outputs: int) -> None:
    linear, x_BF = RowLinear(inputs, outputs), torch.randn(256, inputs)
    with torch.inference_mode():
        whole_BH = linear(x_BF)
        for rows in (8, 24, 136):
            chosen = torch.randperm(256)[:rows]
            assert torch.equal(linear(x_BF[chosen]), whole_BH[chosen])
