"""Shapes: T steps, B rows, F inputs, H hidden units, G gate blocks."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn

from streamcast.models.cells.cell import Cell, Exact
from streamcast.models.cells.fused import GRU, LSTM
from streamcast.models.cells.gated import Configurable, ConfigurableGRU, ConfigurableLSTM, DeltaGRU, gru_cell, lstm_cell
from streamcast.models.linear import GroupedLinear
from streamcast.models.spec import SpecError, make
from streamcast.models.zoo import CELLS
from tests.reference_cells import Step, delta_gru, drawn, largest_error, open_gru, open_lstm

OPTIONS: list[dict[str, object]] = [
    {},
    {"norm": "gates"},
    {"norm": "output"},
    {"candidate": "glu"},
    {"groups": 4},
    {"groups": 16},
    {"rank": 8},
    {"norm": "gates", "candidate": "glu", "groups": 2},
    {"norm": "gates", "candidate": "glu", "rank": 8},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("reset", ["after", "before"])
def test_a_gru_with_options_is_the_written_equation(reset: str, options: dict[str, object]) -> None:
    cell = drawn(
        make("cell", {"gru": ConfigurableGRU}, {"kind": "gru", "reset": reset, **options}, inputs=5, hidden=16)
    )
    assert largest_error(cell, partial(open_gru, reset=reset)) <= 1e-12


@pytest.mark.parametrize("options", [*OPTIONS, {"peephole": True}, {"peephole": True, "norm": "gates"}], ids=str)
def test_an_lstm_with_options_is_the_written_equation(options: dict[str, object]) -> None:
    cell = drawn(make("cell", {"lstm": ConfigurableLSTM}, {"kind": "lstm", **options}, inputs=5, hidden=16))
    assert largest_error(cell, open_lstm) <= 1e-12


@pytest.mark.parametrize("threshold", [0.0, 0.2, 1.0])
def test_a_delta_gru_is_the_written_equation(threshold: float) -> None:
    reference: Step = partial(delta_gru, threshold=threshold)
    assert largest_error(drawn(DeltaGRU(5, 16, threshold)), reference) <= 1e-12


def test_a_delta_gru_with_threshold_zero_is_a_gru() -> None:
    delta = drawn(DeltaGRU(5, 16, threshold=0.0))
    gru = ConfigurableGRU(5, 16).double()
    gru.load_state_dict(delta.state_dict())
    x_TBF = torch.randn(40, 3, 5, dtype=torch.float64)
    theirs, _ = gru.scan(x_TBF, gru.initial_state(3))
    mine, _ = delta.scan(x_TBF, delta.initial_state(3))
    torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)


def test_a_delta_gru_does_not_see_what_stays_within_the_threshold() -> None:
    cell = drawn(DeltaGRU(5, 16, threshold=0.5))
    x_TBF = torch.zeros(30, 2, 5, dtype=torch.float64)
    x_TBF[:, 1] += 0.49 * torch.rand(30, 5, dtype=torch.float64)
    y_TBH, _ = cell.scan(x_TBF, cell.initial_state(2))
    assert torch.equal(y_TBH[:, 0], y_TBH[:, 1])


@pytest.mark.parametrize(("build", "fused"), [(gru_cell, GRU), (lstm_cell, LSTM)])
def test_without_options_the_fused_kernel_runs(build: Callable[..., Cell], fused: type[Cell]) -> None:
    assert type(build(5, 16)) is fused


@pytest.mark.parametrize("fused", [GRU, LSTM])
def test_without_options_the_spelled_out_cell_is_the_fused_one(fused: type[GRU | LSTM]) -> None:
    theirs = drawn(fused(5, 16))
    mine = (ConfigurableGRU if fused is GRU else ConfigurableLSTM)(5, 16).double()
    order = [0, 1, 2] if fused is GRU else [0, 1, 3, 2]  # torch's LSTM has its output gate last
    w, u, b, b_h = (
        torch.cat([tensor.view(-1, 16, *tensor.shape[1:])[gate] for gate in order]) for tensor in theirs.weights
    )
    maps = [("input", w, b, slice(None)), ("recurrent", u, b_h, slice(None))]
    if fused is GRU:
        gates, candidate = slice(0, 32), slice(32, None)
        maps = [
            (f"{side}_{part}", weight, bias, blocks)
            for side, weight, bias in (("x", w, b), ("h", u, b_h))
            for part, blocks in (("gates", gates), ("candidate", candidate))
        ]
    mine.load_state_dict(
        {f"{name}.0.weight": weight[rows] for name, weight, _, rows in maps}
        | {f"{name}.0.bias": bias[rows] for name, _, bias, rows in maps}
    )
    x_TBF = torch.randn(20, 3, 5, dtype=torch.float64)
    torch.testing.assert_close(
        mine.scan(x_TBF, mine.initial_state(3)), theirs.scan(x_TBF, theirs.initial_state(3)), rtol=0, atol=1e-12
    )


def count(cell: nn.Module) -> int:
    return sum(parameter.numel() for parameter in cell.parameters())


@pytest.mark.parametrize(("build", "gates"), [(gru_cell, 3), (lstm_cell, 4)])
def test_each_option_costs_as_many_parameters_as_its_formula_says(build: Callable[..., Cell], gates: int) -> None:
    m, d = 10, 64
    plain = gates * (d * d + d * m + 2 * d)
    assert count(build(m, d)) == count(build(m, d, norm="output")) - 2 * d == plain
    assert count(build(m, d, candidate="glu")) == plain // gates * (gates + 1)
    assert count(build(m, d, groups=4)) == gates * (d * d // 4 + d * m + d)
    maps = 2 if build is lstm_cell else 4  # a GRU's candidate has maps of its own
    r = 8
    assert count(build(m, d, rank=r)) == (m + d) * r * maps // 2 + 2 * gates * d * (r + 1)
    norms = 4 * gates * d + (2 * d if build is lstm_cell else 0)
    assert count(build(m, d, norm="gates")) == plain - 2 * gates * d + norms


def test_peepholes_cost_three_weights_a_unit_and_start_as_if_they_were_not_there() -> None:
    torch.manual_seed(0)
    with_peepholes = lstm_cell(10, 64, peephole=True)
    assert count(with_peepholes) - count(lstm_cell(10, 64)) == 3 * 64
    assert isinstance(with_peepholes, ConfigurableLSTM)
    assert with_peepholes.peephole is not None
    assert not with_peepholes.peephole.any()


def test_before_and_after_differ_only_where_the_reset_gate_acts() -> None:
    before, after = gru_cell(5, 16, reset="before"), ConfigurableGRU(5, 16)
    assert count(before) == count(after) == count(gru_cell(5, 16))


@pytest.mark.parametrize("cell", [ConfigurableGRU(5, 16), ConfigurableLSTM(5, 16, peephole=True)], ids=["gru", "lstm"])
def test_every_gate_starts_xavier_on_its_input_and_orthogonal_on_its_state(cell: Configurable) -> None:
    weights = {name: weight for name, weight in cell.named_parameters() if name.endswith("weight")}
    for name, weight in weights.items():
        for block in torch.split(weight, 16):
            if weight.shape[1] == 16:
                torch.testing.assert_close(block @ block.T, torch.eye(16), rtol=0, atol=1e-5, msg=name)
            else:
                bound = (6 / (5 + 16)) ** 0.5
                assert 0.8 * bound < block.abs().max() <= bound


def test_each_block_of_a_grouped_map_starts_orthogonal() -> None:
    for block in GroupedLinear(16, gates=3, groups=2).weight.detach().view(-1, 8, 8):
        torch.testing.assert_close(block @ block.T, torch.eye(8), rtol=0, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"norm": "gates"}, {"rank": 8}, {"groups": 4}], ids=str)
def test_the_forget_gate_alone_starts_with_a_bias(options: dict[str, object]) -> None:
    cell = make("cell", {"lstm": ConfigurableLSTM}, {"kind": "lstm", **options}, inputs=5, hidden=16)
    biases = [bias.detach() for name, bias in cell.named_parameters() if name.endswith("bias") and len(bias) == 64]
    assert torch.equal(sum(biases, torch.zeros(64)), torch.tensor([0.0, 1, 0, 0]).repeat_interleave(16))


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"kind": "gru", "groups": 3}, r"groups is 3: expected a divisor of hidden \(64\)"),
        ({"kind": "lstm", "groups": 2, "rank": 8}, r"and 1 beside a rank \(8\)"),
        ({"kind": "lstm", "rank": 5}, "rank is 5: expected a multiple of 8"),
        ({"kind": "gru", "reset": "later"}, "reset is 'later': expected 'after' or 'before'"),
        ({"kind": "gru", "norm": "gate"}, "norm is 'gate': expected 'none' or 'gates' or 'output'"),
    ],
)
def test_an_option_that_does_not_fit_is_refused_with_its_reason(spec: dict[str, object], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        make("cell", CELLS, spec, inputs=5)


def test_a_threshold_is_exact_in_float64_only() -> None:
    assert DeltaGRU(5).exact is Exact.FLOAT64
