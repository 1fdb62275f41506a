"""Shapes: T steps, B rows, F inputs, H hidden units."""

from functools import partial

import pytest
import torch
from ncps.torch import CfCCell, LTCCell
from ncps.wirings import FullyConnected
from torch import Tensor, nn
from torchdiffeq import odeint

from streamcast.models.cells.cell import Cell
from streamcast.models.cells.continuous import LTC, CfC, OdeRNN, UnICORNN
from streamcast.models.cells.elementwise import previous
from tests.reference_cells import drawn, largest_error, unicornn

STEPS, ROWS = 25, 3


def sequence(inputs: int = 5) -> tuple[Tensor, Tensor]:
    """Return inputs and irregular times between them."""
    generator = torch.Generator().manual_seed(7)
    x_TBF = torch.randn(STEPS, ROWS, inputs, generator=generator, dtype=torch.float64)
    return x_TBF, torch.rand(STEPS, ROWS, generator=generator, dtype=torch.float64) * 3


def test_a_cfc_is_that_of_its_authors() -> None:
    theirs = CfCCell(5, 16, backbone_units=24).double()
    mine = drawn(CfC(5, 16, backbone=24))
    heads = [theirs.ff1, theirs.ff2, theirs.time_a, theirs.time_b]
    with torch.no_grad():
        theirs.backbone[0].weight.copy_(torch.cat([mine.input.weight, mine.recurrent.weight], 1))
        theirs.backbone[0].bias.copy_(mine.input.bias)
        for head, weight, bias in zip(heads, mine.heads.weight.chunk(4), mine.heads.bias.chunk(4), strict=True):
            head.weight.copy_(weight)
            head.bias.copy_(bias)
    x_TBF, dt_TB = sequence()
    y_TBH, _ = mine.scan(x_TBF, mine.initial_state(ROWS), None, dt_TB)
    h_BH = torch.zeros(ROWS, 16, dtype=torch.float64)
    for x_BF, dt_B, y_BH in zip(x_TBF, dt_TB, y_TBH, strict=True):
        h_BH, _ = theirs(x_BF, h_BH, dt_B[:, None])
        torch.testing.assert_close(y_BH, h_BH, rtol=0, atol=1e-12)


def test_an_ltc_is_that_of_its_authors() -> None:
    wiring = FullyConnected(16, 16)
    theirs = LTCCell(
        wiring, 5, input_mapping=None, output_mapping=None, epsilon=0.0, implicit_param_constraints=True
    ).double()
    mine = drawn(LTC(5, 16))
    pairs = {"gleak": mine.leak, "vleak": mine.rest, "cm": mine.capacity}
    for prefix, synapses in (("", mine.inner), ("sensory_", mine.sensory)):
        weights = {"w": synapses.w, "sigma": synapses.s, "mu": synapses.mu, "erev": synapses.e}
        pairs |= {f"{prefix}{name}": weight for name, weight in weights.items()}
    with torch.no_grad():
        for name, weight in pairs.items():
            getattr(theirs, name).copy_(weight)
    x_TBF, dt_TB = sequence()
    y_TBH, _ = mine.scan(x_TBF, mine.initial_state(ROWS), None, dt_TB)
    v_BH = torch.zeros(ROWS, 16, dtype=torch.float64)
    for x_BF, dt_B, y_BH in zip(x_TBF, dt_TB, y_TBH, strict=True):
        _, v_BH = theirs(x_BF, v_BH, dt_B[:, None])
        torch.testing.assert_close(y_BH, v_BH, rtol=0, atol=1e-12)


def test_an_ode_rnn_is_a_runge_kutta_solver_and_torchs_gru() -> None:
    mine = drawn(OdeRNN(5, 16, units=24))
    x_TBF, dt_TB = sequence()
    y_TBH, _ = mine.scan(x_TBF, mine.initial_state(ROWS), None, dt_TB)
    h_BH = torch.zeros(ROWS, 16, dtype=torch.float64)
    for x_BF, dt_B, y_BH in zip(x_TBF, dt_TB, y_TBH, strict=True):
        both = [
            odeint(lambda _, h: mine.field(h), h_BH[row], torch.stack([dt * 0, dt]), method="rk4")[-1]
            for row, dt in enumerate(dt_B)
        ]
        _, h_1BH = mine.gru.fused(x_BF[None], torch.stack(both)[None])
        h_BH = h_1BH[0]
        torch.testing.assert_close(y_BH, h_BH, rtol=0, atol=1e-12)


@pytest.mark.parametrize("damping", [0.0, 0.7], ids=["the authors'", "damped"])
def test_a_unicornn_is_the_written_equation(damping: float) -> None:
    cell = drawn(UnICORNN(5, 16, step=0.2, alpha=1.5, damping=damping))
    assert largest_error(cell, partial(unicornn, step=0.2, alpha=1.5, damping=damping)) <= 1e-12


def test_an_undriven_unicornn_without_damping_keeps_its_energy() -> None:
    cell = UnICORNN(5, 16, step=0.05, damping=0.0).double()
    with torch.no_grad():
        cell.w.zero_()  # what is left is y'' = -σ(c)² (α y): y² α/2 + z²/2 is constant
    state = {name: torch.randn_like(zeros) for name, zeros in cell.initial_state(ROWS).items()}
    _, after = cell.scan(torch.zeros(4000, ROWS, 5, dtype=torch.float64), state)
    energy_before, energy_after = (s["y"] ** 2 * cell.alpha + s["z"] ** 2 for s in (state, after))
    torch.testing.assert_close(energy_after, energy_before, rtol=0.06, atol=0)


def test_a_unicornn_that_is_driven_for_ever_gathers_energy_unless_it_is_damped() -> None:
    torch.manual_seed(5)
    driven, energies = torch.randn(6000, 2, 5), []
    for damping in (0.0, 0.5):
        cell = UnICORNN(5, 16, damping=damping).eval()
        with torch.inference_mode():
            y_TBH, _ = cell.scan(driven, cell.initial_state(2))
        energies.append([part.square().mean() for part in y_TBH.chunk(6)])
    undamped, damped = energies
    assert undamped[-1] > 3 * undamped[0]
    assert damped[-1] < 1.5 * damped[0]


@pytest.mark.parametrize("kind", [CfC, LTC, OdeRNN, UnICORNN])
def test_how_long_ago_the_last_step_was_changes_what_follows(kind: type[CfC | LTC | OdeRNN | UnICORNN]) -> None:
    cell = drawn(kind(5, 16))
    x_TBF, dt_TB = sequence()
    state = cell.initial_state(ROWS)
    regular, _ = cell.scan(x_TBF, state)
    assert torch.equal(regular, cell.scan(x_TBF, state, None, torch.ones_like(dt_TB))[0])
    assert not torch.allclose(regular, cell.scan(x_TBF, state, None, dt_TB)[0], atol=1e-3)


@pytest.mark.parametrize("kind", [LTC, UnICORNN])
def test_where_no_time_has_passed_nothing_has_moved(kind: type[LTC | UnICORNN]) -> None:
    cell = drawn(kind(5, 16))
    x_TBF, dt_TB = sequence()
    y_TBH, _ = cell.scan(x_TBF, cell.initial_state(ROWS), None, torch.where(dt_TB < 1, 0, dt_TB))
    still = dt_TB[1:] < 1
    assert still.any()
    torch.testing.assert_close(y_TBH[1:][still], previous(y_TBH, y_TBH[0])[1:][still], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (CfC(10, 64, backbone=128), 128 * (10 + 64 + 1) + 4 * 64 * (128 + 1)),
        (LTC(10, 32), 4 * 32 * (10 + 32) + 3 * 32),
        (OdeRNN(10, 64, units=48), 3 * (64 * 64 + 64 * 10 + 2 * 64) + 48 * (64 + 1) + 64 * (48 + 1)),
        (UnICORNN(10, 64), 64 * 10 + 3 * 64),
    ],
    ids=["cfc", "ltc", "ode-rnn", "unicornn"],
)
def test_it_has_as_many_parameters_as_the_formula_says(cell: nn.Module, expected: int) -> None:
    assert sum(parameter.numel() for parameter in cell.parameters()) == expected


@pytest.mark.parametrize("kind", [CfC, LTC, OdeRNN, UnICORNN])
def test_a_new_cell_stays_within_bounds_for_a_long_time(kind: type[CfC | LTC | OdeRNN | UnICORNN]) -> None:
    torch.manual_seed(4)
    cell: Cell = kind(5, 16).eval()
    with torch.inference_mode():
        y_TBH, _ = cell.scan(torch.randn(1000, 2, 5), cell.initial_state(2))
    assert y_TBH.abs().max() < 20
