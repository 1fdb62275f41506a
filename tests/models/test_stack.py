"""Shapes: T steps, B rows, F inputs, H outputs."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from streamcast.models.build import build
from streamcast.models.cells.cell import Cell, Exact, State, fold
from streamcast.models.cells.fused import GRU, LSTM
from streamcast.models.cells.stack import EarlyExit, LinearShortcut, Projection, SkipTwo, Stack, TwoStreams
from streamcast.models.network import Shape
from streamcast.models.spec import SpecError


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(20)


def grus(*widths: int, inputs: int = 8) -> dict[str, Cell]:
    below = (inputs, *widths)
    return {str(depth): GRU(below[depth], width) for depth, width in enumerate(widths)}


def driven(cell: Cell, steps: int = 7, rows: int = 3) -> tuple[Tensor, Tensor, State]:
    """Return inputs, outputs and the last state of a cell in float64."""
    x_TBF = torch.randn(steps, rows, cell.inputs, dtype=torch.float64)
    y_TBH, state = cell.double().eval().scan(x_TBF, cell.initial_state(rows))
    return x_TBF, y_TBH, state


def alone(cell: Cell, x_TBF: Tensor) -> Tensor:
    return cell.scan(x_TBF, cell.initial_state(x_TBF.shape[1]))[0]


def test_skip_two_adds_what_the_layer_two_below_gave() -> None:
    layers = grus(8, 8, 8, 8)
    x, y, _ = driven(Stack(layers, shortcut=SkipTwo))
    first = alone(layers["0"], x)
    second = alone(layers["1"], first)
    third = alone(layers["2"], second) + first
    torch.testing.assert_close(y, alone(layers["3"], third) + second, rtol=0, atol=1e-12)


def test_a_linear_shortcut_adds_a_map_of_what_the_layer_was_given() -> None:
    layers = grus(16, 8)
    stack = Stack(layers, shortcut=LinearShortcut)
    x, y, _ = driven(stack)
    assert isinstance(stack.shortcut, LinearShortcut)
    first = alone(layers["0"], x) + stack.shortcut.project[0](x)
    torch.testing.assert_close(y, alone(layers["1"], first) + stack.shortcut.project[1](first), rtol=0, atol=1e-12)


def test_a_front_is_below_the_shortcuts() -> None:
    layers = {"front": Projection(8, 16), **grus(16, 16, 16, inputs=16)}
    x, y, _ = driven(Stack(layers, shortcut=SkipTwo))
    first = alone(layers["0"], alone(layers["front"], x))
    torch.testing.assert_close(y, alone(layers["2"], alone(layers["1"], first)) + first, rtol=0, atol=1e-12)


def test_two_streams_are_two_cells_on_two_parts_of_the_features() -> None:
    one, other = LSTM(1, 8), LSTM(7, 16)
    x, y, state = driven(TwoStreams(one, other))
    parts = (alone(one, x[..., :1].contiguous()), alone(other, x[..., 1:].contiguous()))
    torch.testing.assert_close(y, torch.cat(parts, -1), rtol=0, atol=1e-12)
    assert state.keys() == {"one.h", "one.c", "other.h", "other.c"}


def halting(chance: float, layers: Mapping[str, Cell], epsilon: float = 0.1) -> EarlyExit:
    """Return an early exit whose every layer stops a row with the same chance."""
    stack = EarlyExit(layers, epsilon=epsilon)
    for linear in stack.halt:
        nn.init.constant_(linear.bias, float(torch.logit(torch.tensor(chance))))  # type: ignore[arg-type]
    return stack


def test_a_row_that_is_sure_leaves_after_the_first_layer_and_those_above_keep_its_state() -> None:
    layers = grus(8, 8, 8)
    x, y, state = driven(halting(0.95, layers))
    torch.testing.assert_close(y, alone(layers["0"], x), rtol=0, atol=1e-12)
    assert state["0.h"].all()
    assert not state["1.h"].any()
    assert not state["2.h"].any()
    assert (state["ponder"] == 1 + 1).all()


def test_a_row_that_is_not_sure_climbs_to_the_top_and_mixes_the_layers_by_their_chances() -> None:
    layers = grus(8, 8, 8)
    x, y, state = driven(halting(0.25, layers))
    first = alone(layers["0"], x)
    second = alone(layers["1"], first)
    mixed = 0.25 * first + 0.25 * second + 0.5 * alone(layers["2"], second)
    torch.testing.assert_close(y, mixed, rtol=0, atol=1e-6)
    torch.testing.assert_close(state["ponder"], torch.full_like(state["ponder"], 3 + 0.5), rtol=0, atol=1e-6)


def test_rows_climb_each_as_far_as_it_needs() -> None:
    stack = EarlyExit(grus(8, 8, 8)).double().eval()
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.normal_(0, 1)
    x_TBF = torch.randn(9, 16, 8, dtype=torch.float64)
    y_TBH, state = fold(stack, x_TBF, stack.initial_state(16))
    climbed = (state["2.h"] != 0).any(1)
    assert climbed.any()
    for row in range(16):
        one = slice(row, row + 1)
        expected, after = fold(stack, x_TBF[:, one], stack.initial_state(1))
        torch.testing.assert_close(y_TBH[:, one], expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(state["2.h"][one], after["2.h"], rtol=0, atol=1e-12)
    assert stack.exact is Exact.FLOAT64


CLASSES = {"kind": "network", "stack": [{"kind": "gru"}], "head": {"kind": "classes"}}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"kind": "lstm-residual", "layers": 2}, "expected three or more, all alike; or use 'linear'"),
        (
            {"kind": "network", "stack": [{"kind": "gru", "hidden": h} for h in (8, 16, 8)], "shortcut": "skip2"},
            r"shortcut 'skip2' is over layers \[8, 16, 8\] wide",
        ),
        (
            {"kind": "network", "stack": [{"kind": "gru", "hidden": h} for h in (8, 16)], "exit": 0.1},
            "a row may leave after any of them, so make them alike",
        ),
        (
            {"kind": "network", "stack": [{"kind": "gru"}] * 3, "exit": 0.1, "shortcut": "skip2"},
            "exit is 0.1 beside shortcut 'skip2'",
        ),
        ({"kind": "gru-adaptive", "epsilon": 0.7}, "exit is 0.7: expected a number from 0.001 to 0.5"),
        ({"kind": "two-stream", "hidden": 16, "layers": 1}, "split is 1: expected a number from 1 to 0"),
        (
            {"kind": "network", "stack": [{"kind": "gru", "hidden": 24}], "attention": {"kind": "cross"}},
            "cross attention is over outputs 24 wide: expected two equal halves",
        ),
        (
            CLASSES,
            "highway is true beside head 'classes', whose classes are fixed: set it to false",
        ),
        (
            {**CLASSES, "highway": False, "window": {"kind": "patches"}},
            "window is {'kind': 'patches'} beside head 'classes', whose classes are fixed: set it to null",
        ),
    ],
)
def test_a_combination_that_cannot_be_is_refused_with_the_reason(spec: dict[str, object], words: str) -> None:
    features = 1 if spec["kind"] == "two-stream" else 8
    with pytest.raises(SpecError, match=words):
        build(spec, Shape((features,), 4, 3, (0.5,)))
