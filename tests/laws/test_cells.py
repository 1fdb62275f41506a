"""Law 1 over every cell that models/zoo.py lists: step is the truth, and a faster form is equal to it.

Shapes: T steps, B rows, F inputs, H outputs.
"""

import inspect
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import asdict
from functools import partial
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from streamcast.models.build import build
from streamcast.models.cells.cell import Cell, Exact, State, fold
from streamcast.models.cells.elementwise import MinGRU
from streamcast.models.network import Shape
from streamcast.models.spec import Spec, SpecError, make
from streamcast.models.zoo import CELLS, FRONTS, MODELS, Composition

INPUTS = 10
COMBINED: list[Spec] = [
    {"kind": "gru", "norm": "output", "candidate": "glu", "hidden": 8},
    {"kind": "gru", "reset": "before", "groups": 4},
    {"kind": "lstm", "peephole": True, "hidden": 8},
    {"kind": "lstm", "norm": "gates", "candidate": "glu", "rank": 16},
    {"kind": "lstm", "groups": 64},
    {"kind": "mingru", "hidden": 8},
    {"kind": "sru", "hidden": 8},
    {"kind": "qrnn", "kernel": 5, "hidden": 8},
    {"kind": "slstm", "heads": 1, "hidden": 8},
    {"kind": "patch", "length": 5, "hidden": 8},
]
"""Options together, and the narrowest layers."""


def composition(kind: str) -> Composition:
    """Return a listed model with layers 16 wide."""
    options = inspect.signature(MODELS[kind]).parameters
    widths = {name: 16 for name in ("hidden", "top", "width", "channels") if name in options}
    return make("model", MODELS, {"kind": kind, **widths})


def cells_of(kind: str) -> list[Spec]:
    """Return the cells of a listed model that have another option than the default, widths aside."""
    return [cell for cell in composition(kind).stack if any(is_chosen(cell, option) for option in cell)]


def is_chosen(cell: Spec, option: str) -> bool:
    """Return whether an option of a cell is not the default."""
    parameters = inspect.signature(CELLS[str(cell["kind"])]).parameters
    return option not in {"kind", "hidden"} and cell[option] != parameters[option].default


def way_of_composing(kind: str) -> str:
    """Return how a listed model is more than one cell: "" where it is not, alike where only its cells differ."""
    model = composition(kind)
    if model.front is None and all(cell == model.stack[0] for cell in model.stack) and model.shortcut == "none":
        return "" if len(model.stack) == 1 else f"equal layers, exit {model.exit}"
    return repr((model.front, model.stack, model.shortcut, model.exit))


def stack_of(kind: str) -> Cell:
    """Return the whole stack of a listed model."""
    return build(
        asdict(composition(kind)) | {"kind": "network", "highway": False}, Shape((INPUTS,), 0, 1, (0.5,))
    ).stacks[0]


NAMES = [kind for kind in MODELS if kind not in {"network", *CELLS}]
STACKS = {way_of_composing(kind): kind for kind in NAMES if way_of_composing(kind)}
SPECS = [*(cell for kind in NAMES for cell in cells_of(kind)), *COMBINED]
LISTED: dict[str, Callable[[], Cell]] = {
    **{kind: partial(make, "cell", CELLS, {"kind": kind}, inputs=INPUTS) for kind in CELLS},
    **{kind: partial(make, "front", FRONTS, {"kind": kind}, inputs=INPUTS) for kind in FRONTS.keys() - CELLS.keys()},
    **{", ".join(map(str, spec.values())): partial(make, "cell", CELLS, spec, inputs=INPUTS) for spec in SPECS},
    **{f"{kind} model": partial(stack_of, kind) for kind in STACKS.values()},
}

WIDE = {
    (kind, name): registry
    for registry in (CELLS, FRONTS)
    for kind, made in registry.items()
    for name in inspect.signature(made).parameters
    if name in ("hidden", "channels", "width", "top")
}
"""The widths of cells and fronts, with where they are listed."""

law = settings(max_examples=15, deadline=None, derandomize=True)
lengths = st.integers(1, 24)
seeds = st.integers(0, 2**16)
tiles = st.sampled_from([8, 16, 24, 40, 72])


@pytest.fixture(params=sorted(LISTED), scope="module")
def cell(request: pytest.FixtureRequest) -> Cell:
    """A listed cell in service: float32, every weight and bias drawn at random."""
    torch.manual_seed(1)
    cell = LISTED[request.param]()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.normal_(0, min(0.3, parameter.shape[-1] ** -0.5))
    return cell.eval().requires_grad_(requires_grad=False)


@pytest.fixture(scope="module")
def precise(cell: Cell) -> Cell:
    """A copy of the same cell in float64."""
    return deepcopy(cell).double()


def drawn(cell: Cell, steps: int, rows: int, seed: int) -> tuple[Tensor, State, Tensor, Tensor]:
    """Return inputs, the state a few steps have led to, a mask and times since the last step."""
    generator = torch.Generator().manual_seed(seed)
    dtype = next(cell.parameters()).dtype
    x_TBF = torch.randn(3 + steps, rows, cell.inputs, generator=generator, dtype=dtype)
    dt_TB = torch.rand(3 + steps, rows, generator=generator, dtype=dtype) * 3
    mask_TB = torch.rand(steps, rows, generator=generator) < 0.7
    with torch.no_grad():
        _, state = cell.scan(x_TBF[:3], cell.initial_state(rows), None, dt_TB[:3])
    return x_TBF[3:], state, mask_TB, dt_TB[3:]


def in_chunks(
    cell: Cell, cuts: list[int], x_TBF: Tensor, state: State, mask_TB: Tensor | None, dt_TB: Tensor
) -> tuple[Tensor, State]:
    """Return what scanning piece after piece gives, the state carried over."""
    outputs = []
    for start, stop in pairwise([0, *sorted({cut for cut in cuts if 0 < cut < len(x_TBF)}), len(x_TBF)]):
        mask = None if mask_TB is None else mask_TB[start:stop]
        y_TBH, state = cell.scan(x_TBF[start:stop], state, mask, dt_TB[start:stop])
        outputs.append(y_TBH)
    return torch.cat(outputs), state


def distance(one: tuple[Tensor, State], other: tuple[Tensor, State]) -> float:
    """Return the largest difference of two results, outputs and states; beyond 1, in units of the largest value."""
    assert one[1].keys() == other[1].keys()
    pairs = [(one[0], other[0]), *((one[1][name], other[1][name]) for name in one[1])]
    return max(float((a - b).abs().max()) / max(float(b.abs().max()), 1.0) for a, b in pairs)


def same_bytes(one: tuple[Tensor, State], other: tuple[Tensor, State]) -> bool:
    """Return whether outputs and states are equal bit for bit."""
    return torch.equal(one[0], other[0]) and all(torch.equal(one[1][name], other[1][name]) for name in one[1])


def rows_of(state: State, rows: Tensor) -> State:
    """Return some rows of a state."""
    return {name: tensor[rows] for name, tensor in state.items()}


def complaints(cell: Cell) -> Iterator[str]:
    """Yield a sentence for each declaration of a cell that its outputs and states do not keep."""
    name, dtype = type(cell).__name__, next(cell.parameters()).dtype
    x_TBF, state = torch.randn(2, 8, cell.inputs, dtype=dtype), cell.initial_state(8)
    try:
        with torch.inference_mode():
            y_BH, after = cell.step(x_TBF[0], state)
            y_TBH, last = cell.scan(x_TBF, state)
    except (RuntimeError, KeyError) as error:
        yield f"{name} cannot step from the state that `state_shape` declares, {dict(cell.state_shape)}: {error!r}"
        return
    for what, found, expected in (("step", y_BH, (8, cell.outputs)), ("scan", y_TBH, (2, 8, cell.outputs))):
        if tuple(found.shape) != expected:
            yield (
                f"{name}.{what} returns an output of shape {tuple(found.shape)}, expected {expected}: `outputs` is the"
                f" width of its output, {cell.outputs}"
            )
        if found.dtype != dtype:
            yield f"{name}.{what} returns an output of {found.dtype}, expected the type of the weights, {dtype}"
    declared = {key: ((8, *shape), dtype) for key, shape in cell.state_shape.items()}
    for what, tensors in (("initial_state", state), ("step", after), ("scan", last)):
        if (held := {key: (tuple(tensor.shape), tensor.dtype) for key, tensor in tensors.items()}) != declared:
            yield f"{name}.{what} returns the state {held}, expected {declared}: `state_shape` declares a row of each"


class TestContract:
    def test_outputs_and_states_are_as_the_cell_declares_them(self, cell: Cell, precise: Cell) -> None:
        assert not list(complaints(cell))
        assert not list(complaints(precise))

    @pytest.mark.parametrize(
        ("declared", "sentence"),
        [
            ({"outputs": 32}, r"MinGRU.step returns an output of shape \(8, 16\), expected \(8, 32\): `outputs` is"),
            (
                {"state_shape": {"h": (8,)}},
                r"MinGRU cannot step from the state that `state_shape` declares, {'h':",
            ),
            (
                {"state_shape": {"h": (1,)}},
                r"MinGRU.step returns the state {'h': \(\(8, 16\), torch.float32\)}",
            ),
        ],
    )
    def test_a_wrong_declaration_is_said_in_a_sentence(self, declared: dict[str, object], sentence: str) -> None:
        wrong = make("cell", CELLS, {"kind": "mingru", "hidden": 16}, inputs=INPUTS)
        for attribute, value in declared.items():
            setattr(wrong, attribute, value)
        with pytest.raises(AssertionError, match=sentence):
            assert not list(complaints(wrong))

    def test_an_output_of_another_type_is_said_in_a_sentence(self) -> None:
        class Doubled(MinGRU):
            def step(self, x_BF: Tensor, state: State, dt_B: Tensor | None = None) -> tuple[Tensor, State]:
                y_BH, after = super().step(x_BF, state, dt_B)
                return y_BH.double(), after

        first = next(complaints(Doubled(INPUTS, 16)))
        assert first.endswith(
            "step returns an output of torch.float64, expected the type of the weights, torch.float32"
        )


class TestInFloat64:
    @law
    @given(
        steps=lengths,
        rows=st.integers(1, 9),
        cuts=st.lists(st.integers(1, 23), max_size=4),
        masked=st.booleans(),
        seed=seeds,
    )
    def test_a_sequence_whole_or_in_chunks_is_the_fold_of_step(
        self, precise: Cell, steps: int, rows: int, cuts: list[int], seed: int, *, masked: bool
    ) -> None:
        x_TBF, state, mask_TB, dt_TB = drawn(precise, steps, rows, seed)
        mask = mask_TB if masked else None
        folded = fold(precise, x_TBF, state, mask, dt_TB)
        assert distance(precise.scan(x_TBF, state, mask, dt_TB), folded) <= 1e-12
        assert distance(in_chunks(precise, cuts, x_TBF, state, mask, dt_TB), folded) <= 1e-12

    @law
    @given(steps=lengths, rows=st.integers(1, 9), seed=seeds)
    def test_a_row_does_not_depend_on_its_neighbours_or_its_place(
        self, precise: Cell, steps: int, rows: int, seed: int
    ) -> None:
        x_TBF, state, mask_TB, dt_TB = drawn(precise, steps, rows, seed)
        y_TBH, after = precise.scan(x_TBF, state, mask_TB, dt_TB)
        for row in range(rows):
            one = torch.tensor([row])
            alone = precise.scan(x_TBF[:, one], rows_of(state, one), mask_TB[:, one], dt_TB[:, one])
            assert distance(alone, (y_TBH[:, one], rows_of(after, one))) <= 1e-12


class TestInTiles:
    @law
    @given(steps=lengths, rows=tiles, cuts=st.lists(st.integers(1, 23), max_size=4), masked=st.booleans(), seed=seeds)
    def test_a_sequence_whole_or_in_chunks_is_the_fold_of_step_byte_for_byte(
        self, cell: Cell, steps: int, rows: int, cuts: list[int], seed: int, *, masked: bool
    ) -> None:
        only_exact_in_tiles(cell)
        x_TBF, state, mask_TB, dt_TB = drawn(cell, steps, rows, seed)
        mask = mask_TB if masked else None
        with torch.inference_mode():
            folded = fold(cell, x_TBF, state, mask, dt_TB)
            assert same_bytes(cell.scan(x_TBF, state, mask, dt_TB), folded)
            assert same_bytes(in_chunks(cell, cuts, x_TBF, state, mask, dt_TB), folded)

    @law
    @given(rows=tiles, seed=seeds)
    def test_a_row_has_the_same_bytes_in_any_tile_at_any_place(self, cell: Cell, rows: int, seed: int) -> None:
        only_exact_in_tiles(cell)
        x_TBF, state, _, dt_TB = drawn(cell, 1, 1024, seed)
        chosen = torch.randperm(1024, generator=torch.Generator().manual_seed(seed))[:rows]
        with torch.inference_mode():
            y_BH, after = cell.step(x_TBF[0], state, dt_TB[0])
            tile = cell.step(x_TBF[0, chosen], rows_of(state, chosen), dt_TB[0, chosen])
        assert same_bytes(tile, (y_BH[chosen], rows_of(after, chosen)))


class TestPadding:
    @law
    @given(steps=lengths, seed=seeds)
    def test_a_masked_row_outputs_zero_and_keeps_its_state(self, cell: Cell, steps: int, seed: int) -> None:
        x_TBF, state, mask_TB, dt_TB = drawn(cell, steps, 8, seed)
        mask_TB[:, 3] = False
        y_TBH, after = cell.scan(x_TBF, state, mask_TB, dt_TB)
        assert not y_TBH[~mask_TB].any()
        assert all(torch.equal(after[name][3], state[name][3]) for name in state)

    @law
    @given(steps=lengths, padding=st.integers(1, 5), seed=seeds)
    def test_it_does_not_matter_where_the_padding_is_nor_what_is_in_it(
        self, precise: Cell, steps: int, padding: int, seed: int
    ) -> None:
        x_TBF, state, _, dt_TB = drawn(precise, steps, 3, seed)
        plain = precise.scan(x_TBF, state, None, dt_TB)
        for before in range(padding + 1):
            sides = (before, padding - before)
            y_TBH, after = precise.scan(
                padded(x_TBF, sides, torch.nan),
                state,
                padded(torch.ones(steps, 3), sides, 0).bool(),
                padded(dt_TB, sides, torch.nan),
            )
            assert distance((y_TBH[before : before + steps], after), plain) <= 1e-12

    def test_what_is_in_the_padding_does_not_reach_the_gradient(self, cell: Cell) -> None:
        x_TBF, _, mask_TB, dt_TB = drawn(cell, 60, 8, seed=3)
        cell.requires_grad_()
        x_TBF = x_TBF.masked_fill(~mask_TB[..., None], torch.nan)
        y_TBH, _ = cell.scan(x_TBF, cell.initial_state(8), mask_TB, dt_TB)
        gradients = torch.autograd.grad(y_TBH.square().sum(), list(cell.parameters()))
        cell.requires_grad_(requires_grad=False)
        assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)


class TestTime:
    @law
    @given(steps=st.integers(2, 24), seed=seeds)
    def test_no_output_looks_ahead(self, cell: Cell, steps: int, seed: int) -> None:
        x_TBF, state, _, dt_TB = drawn(cell, steps, 8, seed)
        cut = 1 + seed % (steps - 1)
        changed = torch.cat([x_TBF[:cut], x_TBF[cut:] + 1])
        before, _ = cell.scan(x_TBF, state, None, dt_TB)
        after, _ = cell.scan(changed, state, None, dt_TB)
        assert torch.equal(before[:cut], after[:cut])
        assert not torch.equal(before[cut:], after[cut:])

    def test_a_state_is_not_changed_in_place(self, cell: Cell) -> None:
        x_TBF, state, mask_TB, dt_TB = drawn(cell, 5, 8, seed=4)
        copy = {name: tensor.clone() for name, tensor in state.items()}
        cell.step(x_TBF[0], state, dt_TB[0])
        cell.scan(x_TBF, state, mask_TB, dt_TB)
        assert all(torch.equal(state[name], copy[name]) for name in copy)


def padded(tensor: Tensor, sides: tuple[int, int], value: float) -> Tensor:
    """Return a tensor with steps of one value before and after its own."""
    before, after = (torch.full((side, *tensor.shape[1:]), value, dtype=tensor.dtype) for side in sides)
    return torch.cat([before, tensor, after])


def only_exact_in_tiles(cell: Cell) -> None:
    if cell.exact is not Exact.TILE:
        pytest.skip(f"{type(cell).__name__} is exact in float64 only")


@pytest.mark.parametrize(("kind", "name"), WIDE)
def test_a_width_that_would_let_rows_depend_on_their_neighbours_is_refused(kind: str, name: str) -> None:
    """Matrix products of other widths sum in another order where a row has other neighbours."""
    with pytest.raises(SpecError, match=f"{name} is 12: expected a multiple of 8"):
        make("cell", WIDE[kind, name], {"kind": kind, name: 12}, inputs=INPUTS)
