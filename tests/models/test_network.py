"""Shapes: T steps, B rows, F features, H width, R past outputs, L lags, h horizon steps, Q quantiles."""

import json
from collections.abc import Mapping
from copy import deepcopy
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from streamcast.models.build import build
from streamcast.models.cells.cell import Exact
from streamcast.models.network import Network, Shape
from streamcast.models.spec import Spec, SpecError

ONE_SCALE = Shape(features=(10,), lags=45, horizon=5, quantiles=(0.1, 0.5, 0.9))
THREE_SCALES = Shape(features=(10, 4, 3), lags=48, horizon=5, quantiles=(0.1, 0.5, 0.9))
HYBRID: Spec = {
    "kind": "network",
    "stack": [{"kind": "lstm", "hidden": 24}, {"kind": "gru", "hidden": 16}],
    "attention": {"kind": "ring", "length": 7},
}
SPECS: Mapping[str, Spec] = {
    "gru": {"kind": "gru"},
    "lstm-attention": {"kind": "lstm-attention"},
    "hybrid": HYBRID,
    "cascade": {"kind": "lstm-transformer", "hidden": 16, "ring": 7},
    "window": {"kind": "bilstm", "hidden": 16, "window": 7},
}

Read = tuple[list[Tensor], list[Tensor], Tensor]


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(10)


@pytest.fixture(params=[ONE_SCALE, THREE_SCALES], ids=["one scale", "three scales"])
def shape(request: pytest.FixtureRequest) -> Shape:
    shape: Shape = request.param
    return shape


@pytest.fixture(params=list(SPECS))
def network(request: pytest.FixtureRequest, shape: Shape) -> Network:
    """A network in service, every weight and bias drawn at random."""
    network = build(SPECS[request.param], shape)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.2)
    return network.eval()


def drawn(network: Network, rows: int) -> Read:
    """Return what ``read`` is given: memories filled to any extent, and lags."""
    memories, filled = [], []
    for scale, (remembered, width) in enumerate(zip(network.memory, network.outputs, strict=True)):
        memories.append(torch.randn(rows, remembered, width))
        filled.append(torch.randint(0 if scale else 1, remembered + 1, (rows,)))
    return memories, filled, torch.randn(rows, network.shape.lags)


def rows_of(given: Read, rows: Tensor) -> Read:
    memories, filled, lags_BL = given
    return [memory[rows] for memory in memories], [count[rows] for count in filled], lags_BL[rows]


class TestReading:
    def test_a_row_is_read_to_the_same_bytes_in_any_tile_at_any_place(self, network: Network) -> None:
        given = drawn(network, 1024)
        with torch.inference_mode():
            whole_BhQ = network.read(*given)
            for rows in (8, 16, 24, 72, 136, 520, 1000):
                chosen = torch.randperm(1024)[:rows]
                assert torch.equal(network.read(*rows_of(given, chosen)), whole_BhQ[chosen])

    def test_quantiles_do_not_cross(self, network: Network) -> None:
        forecast_BhQ = network.read(*drawn(network, 64))
        assert forecast_BhQ.shape == (64, 5, 3)
        assert (forecast_BhQ.diff(dim=-1) >= 0).all()
        assert (forecast_BhQ.diff(dim=-1) > 0).any()

    def test_what_the_memory_holds_before_its_first_output_does_not_matter(self, network: Network) -> None:
        memories, filled, lags_BL = drawn(network, 16)
        other = [
            torch.where((torch.arange(memory.shape[1]) >= memory.shape[1] - count[:, None])[..., None], memory, 1e3)
            for memory, count in zip(memories, filled, strict=True)
        ]
        assert torch.equal(network.read(memories, filled, lags_BL), network.read(other, filled, lags_BL))

    def test_reading_the_outputs_of_a_scan_is_reading_those_of_steps(self, network: Network) -> None:
        steps, rows = 12, 8
        lags_BL = torch.randn(rows, network.shape.lags)
        scanned, stepped = [], []
        with torch.inference_mode():
            for scale, remembered in enumerate(network.memory):
                x_TBF, state = torch.randn(steps, rows, network.shape.features[scale]), network.initial_state(scale, 8)
                y_TBH, _ = network.scan(scale, x_TBF, state)
                memory_BRH = torch.zeros(rows, remembered, network.outputs[scale])
                scanned.append(torch.cat([memory_BRH, y_TBH.transpose(0, 1)], 1)[:, -remembered:])
                for x_BF in x_TBF:
                    y_BH, state = network.step(scale, x_BF, state)
                    memory_BRH = torch.cat([memory_BRH[:, 1:], y_BH[:, None]], 1)
                stepped.append(memory_BRH)
            filled = [torch.full((rows,), min(steps, remembered)) for remembered in network.memory]
            assert torch.equal(network.read(scanned, filled, lags_BL), network.read(stepped, filled, lags_BL))


class TestScales:
    def test_a_scale_steps_by_itself_and_is_joined_in_the_reading(self) -> None:
        network = build(HYBRID, THREE_SCALES).eval()
        memories, filled, lags_BL = drawn(network, 8)
        filled[1:] = [torch.ones(8, dtype=torch.int64), torch.zeros(8, dtype=torch.int64)]
        before = network.read(memories, filled, lags_BL)
        open_bar = [memories[0], memories[1], torch.randn_like(memories[2])]
        assert torch.equal(network.read(open_bar, filled, lags_BL), before)
        closed_bar = [memories[0], torch.randn_like(memories[1]), memories[2]]
        assert not torch.equal(network.read(closed_bar, filled, lags_BL), before)

    def test_every_scale_says_how_wide_it_is_and_how_much_is_remembered(self) -> None:
        network = build(HYBRID, THREE_SCALES)
        assert network.outputs == (16, 16, 16)
        assert network.memory == (7, 1, 1)
        assert network.initial_state(1, 8).keys() == {"0.h", "0.c", "1.h"}
        assert network.exact is Exact.TILE


class TestHighway:
    def test_a_new_network_forecasts_close_to_the_last_value(self, shape: Shape) -> None:
        network = build({"kind": "gru", "hidden": 16}, shape).eval()
        assert network.read(*drawn(network, 64)).abs().mean() < 0.3

    def test_the_highway_is_a_linear_map_of_the_lags_added_to_every_quantile(self, shape: Shape) -> None:
        network = build({"kind": "gru", "hidden": 16}, shape).eval()
        assert isinstance(network.highway, nn.Linear)
        nn.init.normal_(network.highway.weight)
        nn.init.normal_(network.highway.bias)
        nn.init.zeros_(network.get_parameter("decoder.linear.weight"))
        memories, filled, lags_BL = drawn(network, 8)
        expected = lags_BL @ network.highway.weight.T + network.highway.bias
        forecast_BhQ = network.read(memories, filled, lags_BL)
        torch.testing.assert_close(forecast_BhQ, expected[..., None].expand(-1, -1, 3), rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize(
        ("spec", "lags"), [({"kind": "gru"}, 0), ({"kind": "network", "stack": [{"kind": "gru"}], "highway": False}, 9)]
    )
    def test_there_is_none_without_lags_or_when_the_spec_says_so(self, spec: Spec, lags: int) -> None:
        network = build(spec, Shape((3,), lags, 4, (0.5,))).eval()
        assert network.highway is None
        assert network.read(*drawn(network, 8)).shape == (8, 4, 1)


class TestTraining:
    def test_a_network_learns_to_continue_a_wave(self) -> None:
        network = build({"kind": "lstm-attention", "hidden": 16, "ring": 4, "dropout": 0.0}, Shape((1,), 0, 2, (0.5,)))
        wave_TB = torch.sin(torch.arange(60)[:, None] / 4 + torch.arange(8))
        optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
        losses = []
        for _ in range(60):
            y_TBH, _ = network.scan(0, wave_TB[:50, :, None], network.initial_state(0, 8))
            memory_NRH = y_TBH.unfold(0, 4, 1).flatten(0, 1).transpose(1, 2)
            outcome_Nh = wave_TB[4:52].unfold(0, 2, 1).flatten(0, 1)
            count = torch.full((len(memory_NRH),), 4)
            numbers_NhP = network.distribution([memory_NRH], [count], torch.zeros(len(memory_NRH), 0))
            loss = network.loss(numbers_NhP, outcome_Nh)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0] / 5

    def test_every_weight_has_a_gradient(self, network: Network) -> None:
        memories, filled = [], []
        for scale, remembered in enumerate(network.memory):
            x_TBF = torch.randn(remembered, 8, network.shape.features[scale])
            y_TBH, _ = network.scan(scale, x_TBF, network.initial_state(scale, 8))
            memories.append(y_TBH.transpose(0, 1))
            filled.append(torch.full((8,), remembered))
        numbers_BhP = network.distribution(memories, filled, torch.randn(8, network.shape.lags))
        torch.autograd.backward(network.loss(numbers_BhP, torch.randn(8, 5)))
        still = {name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()}
        one_step = {name for name in still if name.startswith("recurrent") and "weight_hh" in name}
        assert still == one_step, "a stack that was stepped once has learnt nothing through time"

    def test_dropout_is_only_in_training(self) -> None:
        network = build({"kind": "gru", "hidden": 16, "dropout": 0.5}, ONE_SCALE)
        x_TBF, state = torch.randn(4, 8, 10), network.initial_state(0, 8)
        assert (network.scan(0, x_TBF, state)[0] == 0).any()
        network.eval()
        assert not (network.scan(0, x_TBF, state)[0] == 0).any()

    def test_a_copy_is_a_network_of_its_own(self) -> None:
        network = build(HYBRID, ONE_SCALE).eval()
        copy = deepcopy(network)
        x_BF, state = torch.randn(8, 10), network.initial_state(0, 8)
        before, _ = network.step(0, x_BF, state)
        with torch.no_grad():
            for parameter in copy.parameters():
                parameter.add_(1)
        assert torch.equal(network.step(0, x_BF, state)[0], before)
        assert not torch.equal(copy.step(0, x_BF, state)[0], before)


class TestSpec:
    @pytest.mark.parametrize("name", SPECS)
    def test_a_short_name_is_spelled_out_to_json_that_builds_the_same_network(self, name: str) -> None:
        network = build(SPECS[name], THREE_SCALES)
        full = json.loads(json.dumps(network.spec))
        other = build(full, THREE_SCALES)
        assert full["kind"] == "network"
        assert other.spec == network.spec
        other.load_state_dict(network.state_dict())
        given = drawn(network, 8)
        assert torch.equal(other.eval().read(*given), network.eval().read(*given))

    def test_the_same_seed_draws_the_same_weights(self) -> None:
        torch.manual_seed(11)
        one = build({"kind": "lstm-attention"}, ONE_SCALE).state_dict()
        torch.manual_seed(11)
        other = build({"kind": "lstm-attention"}, ONE_SCALE).state_dict()
        assert all(torch.equal(one[name], other[name]) for name in one)

    @pytest.mark.parametrize(
        ("spec", "words"),
        [
            ({"kind": "GRU-Adaptive"}, ["model.kind is 'GRU-Adaptive'", "Did you mean 'gru-adaptive'?"]),
            ({"kind": "grru"}, ["model.kind is 'grru'", "'gru' or 'gru-adaptive'", "Did you mean 'gru'?"]),
            ({}, ["model.kind is None", "'gru' or 'gru-adaptive'"]),
            ("gru", ["model is 'gru'", 'expected an object such as {"kind": ']),
            ({"kind": "gru", "hiden": 64}, ["option of model (kind 'gru') is 'hiden'", "Did you mean 'hidden'?"]),
            ({"kind": "gru", "hidden": "64"}, ["model.hidden is '64'", "expected a whole number"]),
            ({"kind": "gru", "hidden": True}, ["model.hidden is True", "expected a whole number"]),
            ({"kind": "gru", "hidden": 12}, ["hidden is 12", "expected a multiple of 8"]),
            ({"kind": "gru", "dropout": 1}, ["dropout is 1", "expected a number from 0 to 0.9"]),
            ({"kind": "gru", "dropout": float("nan")}, ["dropout is nan", "expected a number from 0 to 0.9"]),
            ({"kind": "gru", "layers": 0}, ["layers is 0", "expected a number from 1 to 64"]),
            ({"kind": "network", "stack": []}, ["stack is empty", "expected at least one cell"]),
            ({"kind": "lstm-attention", "ring": 0}, ["length is 0", "expected a number from 1"]),
            ({"kind": "network"}, ["model.stack is missing", "a list, each an object"]),
            ({"kind": "network", "stack": {"kind": "gru"}}, ["model.stack is", "expected a list, each an object"]),
            ({"kind": "network", "stack": [{"kind": "lstn"}]}, ["stack[0].kind is 'lstn'", "Did you mean 'lstm'?"]),
            ({"kind": "network", "stack": [{"kind": "gru", "inputs": 3}]}, ["option of stack[0]", "'inputs'"]),
            ({"kind": "network", "stack": [{"kind": "gru"}], "front": 3}, ["model.front is 3", "an object or null"]),
        ],
    )
    def test_a_wrong_spec_is_refused_with_the_thing_the_value_and_what_was_expected(
        self, spec: Spec, words: list[str]
    ) -> None:
        with pytest.raises(SpecError) as refused:
            build(spec, ONE_SCALE)
        places = [str(refused.value).find(word) for word in words]
        assert all(place >= 0 for place in places), str(refused.value)
        assert all(left < right for left, right in pairwise(places)), str(refused.value)

    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            ({"features": ()}, "the number of scales is 0"),
            ({"features": (3, 0)}, "the number of features of a scale is 0"),
            ({"lags": -1}, "lags is -1"),
            ({"horizon": 0}, "horizon is 0"),
            ({"quantiles": ()}, r"quantiles is \(\): expected rising numbers"),
            ({"quantiles": (0.9, 0.1)}, "expected rising numbers between 0 and 1"),
            ({"quantiles": (0.5, 1.0)}, "expected rising numbers between 0 and 1"),
        ],
    )
    def test_a_shape_that_no_network_can_have_is_refused(self, wrong: dict[str, tuple[int, ...]], words: str) -> None:
        right = {"features": (3,), "lags": 4, "horizon": 5, "quantiles": (0.5,)}
        with pytest.raises(SpecError, match=words):
            Shape(**{**right, **wrong})  # type: ignore[arg-type]
