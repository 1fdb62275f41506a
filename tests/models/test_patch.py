"""Shapes: T steps, B rows, F inputs, H hidden units, P bars of a patch."""

import pytest
import torch
from torch import Tensor

from streamcast.models.cells.patch import Patch
from streamcast.models.spec import SpecError
from tests.reference_cells import drawn


def by_phase(cell: Patch, x_TBF: Tensor, phase: int) -> Tensor:
    """Return one chain of patches, [bars of the phase, B, H]: torch's GRU over every P-th bar, the slow way."""
    targets = torch.cat([torch.zeros(cell.length - 1, *x_TBF.shape[1:2], dtype=x_TBF.dtype), x_TBF[..., 0]])
    embedded = []
    for bar in range(phase, len(x_TBF), cell.length):
        patch_BP = targets[bar : bar + cell.length].T
        embedded.append((cell.patch(patch_BP - patch_BP[:, -1:]) + cell.bar(x_TBF[bar])).relu())
    y_NBH: Tensor = cell.gru.fused(torch.stack(embedded))[0]
    return y_NBH


@pytest.mark.parametrize("steps", [3, 8, 29])
def test_every_phase_is_a_gru_over_its_own_patches(steps: int) -> None:
    cell = drawn(Patch(3, 16, length=8))
    x_TBF = torch.randn(steps, 4, 3, dtype=torch.float64)
    y_TBH, _ = cell.scan(x_TBF, cell.initial_state(4))
    for phase in range(min(steps, 8)):
        torch.testing.assert_close(y_TBH[phase::8], by_phase(cell, x_TBF, phase), rtol=0, atol=1e-12)


def test_a_patch_does_not_see_at_what_level_the_target_is() -> None:
    cell = drawn(Patch(3, 16, length=4))
    with torch.no_grad():
        cell.bar.weight[:, 0] = 0  # what the bar itself tells of the level
    x_TBF = torch.randn(20, 2, 3, dtype=torch.float64)
    state = cell.initial_state(2)
    raised = torch.cat([x_TBF[..., :1] + 5, x_TBF[..., 1:]], -1)
    one, _ = cell.scan(x_TBF, state)
    other, _ = cell.scan(raised, {**state, "past": state["past"] + 5})
    torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_it_has_as_many_parameters_as_the_formula_says() -> None:
    d, m, p = 64, 10, 24
    parameters = sum(parameter.numel() for parameter in Patch(m, d, p).parameters())
    assert parameters == d * (p + 1) + d * m + 3 * (2 * d * d + 2 * d)


@pytest.mark.parametrize("length", [1, 513])
def test_a_length_out_of_range_is_refused_with_its_reason(length: int) -> None:
    with pytest.raises(SpecError, match=f"length is {length}: expected a number from 2 to 512"):
        Patch(5, 16, length)
