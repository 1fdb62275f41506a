"""Shapes: T steps, B rows, F inputs, H outputs."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from streamcast.models.cells.cell import Cell, Exact, State, fold


class RunningSum(Cell):
    """A cell that a reader can check in his head: the sum of inputs times the time since the last step."""

    exact = Exact.FLOAT64

    def __init__(self, inputs: int = 1) -> None:
        super().__init__()
        self.inputs = self.outputs = inputs
        self.state_shape = {"total": (inputs,)}
        self.weight = nn.Parameter(torch.ones((), dtype=torch.float64))

    def step(self, x_BF: Tensor, state: State, dt_B: Tensor | None = None) -> tuple[Tensor, State]:
        total = state["total"] + x_BF * (1 if dt_B is None else dt_B[:, None])
        return total, {"total": total}


def column(*values: float) -> Tensor:
    """Return one row of one input over time, [T, 1, 1]."""
    return torch.tensor(values, dtype=torch.float64)[:, None, None]


def test_fold_carries_the_state_from_step_to_step() -> None:
    cell = RunningSum()
    y_TBH, after = fold(cell, column(1, 2, 3), cell.initial_state(1))
    assert y_TBH.flatten().tolist() == [1, 3, 6]
    assert after["total"].item() == 6


def test_fold_gives_each_step_its_own_time() -> None:
    cell = RunningSum()
    y_TBH, _ = fold(cell, column(1, 2, 3), cell.initial_state(1), dt_TB=column(1, 0, 10)[..., 0])
    assert y_TBH.flatten().tolist() == [1, 1, 31]


def test_a_masked_step_outputs_zero_and_leaves_the_state() -> None:
    cell = RunningSum()
    mask_TB = torch.tensor([[True], [False], [True]])
    for run in (fold, Cell.scan):
        y_TBH, after = run(cell, column(1, 2, 3), cell.initial_state(1), mask_TB)
        assert y_TBH.flatten().tolist() == [1, 0, 4]
        assert after["total"].item() == 4


def test_a_cell_needs_no_faster_form() -> None:
    cell = RunningSum(2)
    x_TBF = torch.randn(7, 3, 2, dtype=torch.float64)
    y_TBH, after = cell.scan(x_TBF, cell.initial_state(3))
    torch.testing.assert_close(y_TBH, x_TBF.cumsum(0))
    torch.testing.assert_close(after["total"], x_TBF.sum(0))


def test_a_state_begins_at_zero_in_the_type_of_the_weights() -> None:
    state = RunningSum(2).initial_state(3)
    assert state.keys() == {"total"}
    assert torch.equal(state["total"], torch.zeros(3, 2, dtype=torch.float64))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    st.integers(1, 12).flatmap(
        lambda steps: st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=steps, max_size=steps)
    )
)
def test_a_scan_cut_at_every_change_of_the_mask_sums_what_is_not_masked(mask: list[list[bool]]) -> None:
    cell = RunningSum()
    mask_TB = torch.tensor(mask)
    x_TBF = torch.arange(mask_TB.numel(), dtype=torch.float64).view(*mask_TB.shape, 1) + 1
    y_TBH, after = cell.scan(x_TBF, cell.initial_state(3), mask_TB)
    known_TBF = x_TBF * mask_TB[..., None]
    assert torch.equal(after["total"], known_TBF.sum(0))
    assert torch.equal(y_TBH, known_TBF.cumsum(0) * mask_TB[..., None])
