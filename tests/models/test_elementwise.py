"""Shapes: T steps, B rows, F inputs, H hidden units."""

import pytest
import torch
from minGRU_pytorch import minGRU
from torch import Tensor, nn

from streamcast.models.cells.cell import Cell
from streamcast.models.cells.elementwise import QRNN, SRU, MinGRU, mixed
from streamcast.models.spec import SpecError
from tests.reference_cells import Step, drawn, largest_error, mingru, qrnn, sru


@pytest.mark.parametrize(
    ("cell", "reference"),
    [
        (MinGRU(5, 16), mingru),
        (QRNN(5, 16), qrnn),
        (QRNN(5, 16, kernel=4), qrnn),
        (SRU(5, 16), sru),
        (SRU(16, 16), sru),
    ],
    ids=["mingru", "qrnn", "qrnn of four", "sru", "sru as wide as its input"],
)
def test_a_cell_is_the_written_equation(cell: Cell, reference: Step) -> None:
    assert largest_error(drawn(cell), reference) <= 1e-12


def test_a_mingru_is_that_of_its_other_implementation_in_log_space() -> None:
    torch.manual_seed(1)
    theirs, mine = minGRU(16).double(), MinGRU(16, 16).double()
    mine.load_state_dict({"linear.weight": theirs.to_hidden_and_gate.weight, "linear.bias": torch.zeros(32)})
    x_BTF = torch.randn(3, 40, 16, dtype=torch.float64)
    y_TBH, _ = mine.scan(x_BTF.transpose(0, 1), mine.initial_state(3))
    torch.testing.assert_close(y_TBH.transpose(0, 1), theirs(x_BTF), rtol=0, atol=1e-12)


def test_a_mingru_goes_on_from_a_state_as_its_other_implementation_does() -> None:
    torch.manual_seed(2)
    theirs, mine = minGRU(16).double(), MinGRU(16, 16).double()
    mine.load_state_dict({"linear.weight": theirs.to_hidden_and_gate.weight, "linear.bias": torch.zeros(32)})
    x_BTF, h_BH = torch.randn(3, 12, 16, dtype=torch.float64), torch.rand(3, 16, dtype=torch.float64)
    y_TBH, _ = mine.scan(x_BTF.transpose(0, 1), {"h": h_BH})
    torch.testing.assert_close(y_TBH.transpose(0, 1), theirs(x_BTF, h_BH[:, None]), rtol=0, atol=1e-12)


def test_a_mixture_is_the_same_with_and_without_gradient_and_forgets_at_the_rate_it_is_told() -> None:
    f_TBH, z_TBH, c_BH = torch.rand(20, 8, 16), torch.randn(20, 8, 16), torch.randn(8, 16)
    kept = mixed(f_TBH, z_TBH, c_BH)
    with torch.no_grad():
        assert torch.equal(mixed(f_TBH, z_TBH.clone(), c_BH), kept)
    torch.testing.assert_close(kept[0], f_TBH[0] * c_BH + (1 - f_TBH[0]) * z_TBH[0])
    assert torch.equal(mixed(torch.ones_like(f_TBH), z_TBH, c_BH), c_BH.expand(20, -1, -1))
    assert torch.equal(mixed(torch.zeros_like(f_TBH), z_TBH, c_BH), z_TBH)


def test_the_gradient_of_a_scan_is_the_true_one() -> None:
    torch.manual_seed(3)
    for cell in (MinGRU(3, 8), QRNN(3, 8), SRU(3, 8)):
        cell.double()
        x_TBF = torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True)
        state = {name: torch.randn_like(zeros).requires_grad_() for name, zeros in cell.initial_state(2).items()}

        def outputs(x_TBF: Tensor, *tensors: Tensor, cell: Cell = cell) -> Tensor:
            return cell.scan(x_TBF, dict(zip(cell.state_shape, tensors, strict=True)))[0]

        assert torch.autograd.gradcheck(outputs, (x_TBF, *state.values()))


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (MinGRU(10, 64), 2 * (64 * 10 + 64)),
        (QRNN(10, 64, kernel=3), 3 * (64 * 30 + 64)),
        (SRU(10, 64), 4 * 64 * 10 + 4 * 64),
        (SRU(64, 64), 3 * 64 * 64 + 4 * 64),
    ],
    ids=["mingru", "qrnn", "sru", "sru as wide as its input"],
)
def test_it_has_as_many_parameters_as_the_formula_says(cell: nn.Module, expected: int) -> None:
    assert sum(parameter.numel() for parameter in cell.parameters()) == expected


def test_every_gate_starts_xavier_as_a_layer_of_its_own() -> None:
    bound = (6 / (10 + 64)) ** 0.5
    for cell, gates in ((MinGRU(10, 64), 2), (SRU(10, 64), 3)):
        for block in cell.linear.weight.chunk(gates):
            assert 0.9 * bound < block.abs().max() <= bound


@pytest.mark.parametrize("kernel", [1, 65])
def test_a_kernel_out_of_range_is_refused_with_its_reason(kernel: int) -> None:
    with pytest.raises(SpecError, match=f"kernel is {kernel}: expected a number from 2 to 64"):
        QRNN(5, 16, kernel)
