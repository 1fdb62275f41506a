"""Shapes: T steps, B rows, F inputs, H hidden units, G gate blocks.

The cells run torch's fused kernels; the oracles are the published equations in NumPy and the
``...Cell`` classes of torch, which are other kernels.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from streamcast.models.cells.cell import State
from streamcast.models.cells.fused import GRU, LSTM, RNN, Fused
from streamcast.models.spec import SpecError

Array = NDArray[np.float64]
Kind = type[RNN | GRU | LSTM]
GATES: Mapping[Kind, int] = {RNN: 1, GRU: 3, LSTM: 4}


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def rnn_step(wx: Array, uh: Array, state: dict[str, Array]) -> dict[str, Array]:
    del state
    return {"h": np.tanh(wx + uh)}


def gru_step(wx: Array, uh: Array, state: dict[str, Array]) -> dict[str, Array]:
    (r_x, z_x, n_x), (r_h, z_h, n_h) = np.split(wx, 3, 1), np.split(uh, 3, 1)
    r, z = sigmoid(r_x + r_h), sigmoid(z_x + z_h)
    n = np.tanh(n_x + r * n_h)
    return {"h": (1 - z) * n + z * state["h"]}


def lstm_step(wx: Array, uh: Array, state: dict[str, Array]) -> dict[str, Array]:
    i, f, g, o = np.split(wx + uh, 4, 1)
    c = sigmoid(f) * state["c"] + sigmoid(i) * np.tanh(g)
    return {"h": sigmoid(o) * np.tanh(c), "c": c}


EQUATIONS: Mapping[type, Callable[[Array, Array, dict[str, Array]], dict[str, Array]]] = {
    RNN: rnn_step,
    GRU: gru_step,
    LSTM: lstm_step,
}


@pytest.fixture(params=list(GATES), ids=lambda kind: kind.__name__)
def cell(request: pytest.FixtureRequest) -> Fused:
    torch.manual_seed(2)
    cell: Fused = request.param(5, 16)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.normal_(0, 0.4)
    return cell.double().eval().requires_grad_(requires_grad=False)


def random_state(cell: Fused, rows: int) -> State:
    return {name: torch.randn_like(zeros) for name, zeros in cell.initial_state(rows).items()}


def test_a_sequence_is_the_written_equation_step_by_step(cell: Fused) -> None:
    x_TBF, state = torch.randn(20, 4, 5, dtype=torch.float64), random_state(cell, 4)
    y_TBH, after = cell.scan(x_TBF, state)
    w, u, b, b_h = (weight.numpy() for weight in cell.weights)
    expected = {name: tensor.numpy() for name, tensor in state.items()}
    for x_BF, y_BH in zip(x_TBF.numpy(), y_TBH.numpy(), strict=True):
        expected = EQUATIONS[type(cell)](x_BF @ w.T + b, expected["h"] @ u.T + b_h, expected)
        np.testing.assert_allclose(y_BH, expected["h"], rtol=0, atol=1e-12)
    for name, tensor in after.items():
        np.testing.assert_allclose(tensor.numpy(), expected[name], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("kind", "oracle"), [(RNN, nn.RNNCell), (GRU, nn.GRUCell), (LSTM, nn.LSTMCell)])
def test_a_step_is_that_of_torchs_cell_class(kind: Kind, oracle: type[nn.RNNCell | nn.GRUCell | nn.LSTMCell]) -> None:
    torch.manual_seed(3)
    cell, other = kind(5, 16).double(), oracle(5, 16).double()
    other.load_state_dict({name.removesuffix("_l0"): tensor for name, tensor in cell.fused.state_dict().items()})
    x_BF, state = torch.randn(4, 5, dtype=torch.float64), random_state(cell, 4)
    _, after = cell.step(x_BF, state)
    theirs = other(x_BF, (state["h"], state["c"]) if kind is LSTM else state["h"])
    for name, tensor in zip(after, theirs if kind is LSTM else [theirs], strict=True):
        torch.testing.assert_close(after[name], tensor, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", GATES)
def test_in_a_tile_the_bytes_are_those_of_torchs_module_over_the_whole_sequence(kind: Kind) -> None:
    torch.manual_seed(4)
    cell = kind(5, 16).eval()
    x_TBF, state = torch.randn(30, 16, 5), cell.initial_state(16)
    with torch.inference_mode():
        theirs, _ = cell.fused(x_TBF)
        for x_BF, y_BH in zip(x_TBF, theirs, strict=True):
            mine, state = cell.step(x_BF, state)
            assert torch.equal(mine, y_BH)


@pytest.mark.parametrize("kind", GATES)
def test_it_has_as_many_parameters_as_the_formula_says(kind: Kind) -> None:
    m, d = 10, 64
    assert sum(weight.numel() for weight in kind(m, d).weights) == GATES[kind] * (d * d + d * m + 2 * d)


@pytest.mark.parametrize("kind", GATES)
def test_every_gate_starts_xavier_on_its_input_and_orthogonal_on_its_state(kind: Kind) -> None:
    w, u, _, _ = kind(5, 16).weights
    for w_HF, u_HH in zip(w.chunk(GATES[kind]), u.chunk(GATES[kind]), strict=True):
        torch.testing.assert_close(u_HH @ u_HH.T, torch.eye(16), rtol=0, atol=1e-5)
        bound = (6 / (5 + 16)) ** 0.5
        assert 0.8 * bound < w_HF.abs().max() <= bound


@pytest.mark.parametrize("kind", GATES)
def test_the_forget_gate_alone_starts_with_a_bias(kind: Kind) -> None:
    _, _, b, b_h = kind(5, 16).weights
    starts = torch.tensor([0.0, 1, 0, 0] if kind is LSTM else [0.0] * GATES[kind])
    assert torch.equal((b + b_h).view(-1, 16), starts[:, None].expand(-1, 16))


def test_a_new_lstm_remembers_longer_than_it_would_without_that_bias() -> None:
    torch.manual_seed(5)
    cell = LSTM(5, 16).double()
    state = {"h": torch.zeros(1, 16, dtype=torch.float64), "c": torch.ones(1, 16, dtype=torch.float64)}
    _, after = cell.step(torch.zeros(1, 5, dtype=torch.float64), state)
    torch.testing.assert_close(after["c"], torch.full_like(after["c"], 1 / (1 + np.exp(-1))))


@pytest.mark.parametrize("hidden", [0, -8, 12, 4104])
def test_a_width_that_is_no_multiple_of_eight_is_refused_with_its_reason(hidden: int) -> None:
    with pytest.raises(SpecError, match=rf"hidden is {hidden}: expected a multiple of 8 from"):
        GRU(5, hidden)
