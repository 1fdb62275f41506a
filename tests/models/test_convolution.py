"""Shapes: T steps, B rows, F inputs, C channels."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamcast.models.cells.convolution import CausalConvolution, WaveNet, taps
from streamcast.models.spec import SpecError
from tests.reference_cells import drawn


def over_time(x_TBF: Tensor, taps_to_channels: nn.Module, kernel: int, dilation: int = 1) -> Tensor:
    """Return torch's own convolution, by a linear map's weights, of a sequence with zeros before it."""
    weight_CX, bias_C = taps_to_channels.get_parameter("weight"), taps_to_channels.get_parameter("bias")
    weight_CFK = weight_CX.view(len(weight_CX), kernel, -1).transpose(1, 2)
    x_BFT = F.pad(x_TBF.permute(1, 2, 0), ((kernel - 1) * dilation, 0))
    return F.conv1d(x_BFT, weight_CFK, bias_C, dilation=dilation).permute(2, 0, 1)


def test_a_causal_convolution_is_torchs_own_with_zeros_before_the_sequence() -> None:
    cell = drawn(CausalConvolution(5, channels=8, kernels=[3, 7]))
    x_TBF = torch.randn(30, 4, 5, dtype=torch.float64)
    y_TBC, after = cell.scan(x_TBF, cell.initial_state(4))
    expected = [over_time(x_TBF, linear, kernel).relu() for linear, kernel in zip(cell.linears, (3, 7), strict=True)]
    torch.testing.assert_close(y_TBC, torch.cat(expected, -1), rtol=0, atol=1e-12)
    assert torch.equal(after["past"], x_TBF[-6:].transpose(0, 1))


def test_a_wavenet_is_torchs_dilated_convolutions() -> None:
    cell = drawn(WaveNet(5, hidden=8, layers=4, kernel=3))
    x_TBF = torch.randn(60, 3, 5, dtype=torch.float64)
    y_TBC, _ = cell.scan(x_TBF, cell.initial_state(3))
    x_TBC = cell.entry(x_TBF)
    skips: Tensor = torch.zeros(())
    for layer, (gates, mixer) in enumerate(zip(cell.gates, cell.mixers, strict=True)):
        filtered, gate = over_time(x_TBC, gates, 3, 2**layer).chunk(2, -1)
        residual, skip = mixer(filtered.tanh() * gate.sigmoid()).chunk(2, -1)
        x_TBC, skips = x_TBC + residual, skips + skip
    torch.testing.assert_close(y_TBC, skips.relu(), rtol=0, atol=1e-12)


def test_a_wavenet_looks_back_as_far_as_it_says_and_no_further() -> None:
    cell = drawn(WaveNet(2, hidden=8, layers=4, kernel=2))
    reach = (2 - 1) * (2**4 - 1) + 1
    x_TBF = torch.randn(40, 16, 2, dtype=torch.float64).requires_grad_()  # of one row all outputs may be clipped at 0
    y_TBC, _ = cell.scan(x_TBF, cell.initial_state(16))
    (gradient_TBF,) = torch.autograd.grad(y_TBC[-1].sum(), x_TBF)
    seen = gradient_TBF.abs().sum((1, 2)) > 0
    assert seen.nonzero()[:, 0].tolist() == list(range(40 - reach, 40))


def test_taps_are_what_each_step_looks_at_oldest_first() -> None:
    past_BPF = torch.arange(4.0).view(1, 4, 1)
    x_TBF = torch.arange(4.0, 7).view(3, 1, 1)
    looked_at, past = taps(x_TBF, past_BPF, kernel=3, dilation=2)
    assert looked_at[:, 0].tolist() == [[0, 2, 4], [1, 3, 5], [2, 4, 6]]
    assert past.flatten().tolist() == [3, 4, 5, 6]
    looked_at, past = taps(x_TBF, past_BPF, kernel=2)
    assert looked_at[:, 0].tolist() == [[3, 4], [4, 5], [5, 6]]
    assert past.flatten().tolist() == [3, 4, 5, 6]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (CausalConvolution(10, channels=16, kernels=[3, 7]), 16 * (30 + 1) + 16 * (70 + 1)),
        (WaveNet(10, hidden=16, layers=3, kernel=2), 16 * 11 + 3 * (32 * 33 + 32 * 17)),
    ],
    ids=["convolution", "wavenet"],
)
def test_it_has_as_many_parameters_as_the_formula_says(cell: nn.Module, expected: int) -> None:
    assert sum(parameter.numel() for parameter in cell.parameters()) == expected


@pytest.mark.parametrize("kernels", [[], [1], [3, 513]])
def test_kernels_that_do_not_fit_are_refused(kernels: list[int]) -> None:
    with pytest.raises(SpecError, match="kernel"):
        CausalConvolution(5, kernels=kernels)
