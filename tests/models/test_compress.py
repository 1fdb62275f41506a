"""Shapes: T steps, B rows, h horizon steps, Q quantiles."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.streams import LOAD, MINUTE, SCALES, START, Line, Y, drive, model_spec, one_at_a_time
from streamcast.engine.engine import Engine
from streamcast.models.build import build
from streamcast.models.int8 import pack, unpack
from streamcast.models.network import Network, Shape
from streamcast.models.spec import Spec, SpecError
from streamcast.models.surgery.compress import compare, dimensions, imitation, narrowed, pruned, quantised
from streamcast.spec.folders import load_model, new_network, save_model

SHAPE = Shape((8, 8), 16, 3, (0.1, 0.5, 0.9))
PRUNABLE: dict[str, Spec] = {
    "gru": {"kind": "gru", "hidden": 32, "layers": 3},
    "lstm": {"kind": "lstm", "hidden": 32},
    "hybrid": {"kind": "hybrid", "hidden": 48, "top": 32},
    "peephole": {"kind": "lstm-peephole", "hidden": 32},
    "residual": {"kind": "lstm-residual", "hidden": 32},
    "attention": {"kind": "lstm-attention", "hidden": 32, "ring": 5},
    "streams": {"kind": "two-stream-cross", "hidden": 32, "ring": 5},
    "segments": {"kind": "segrnn", "hidden": 32, "patch": 4, "segment": 2},
    "steps": {"kind": "seq2seq", "hidden": 32, "ring": 5},
    "window": {"kind": "bilstm", "width": 32, "hidden": 16, "window": 5},
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(21)


def given_to(network: Network, rows: int = 16) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Return memories that the network's own stacks made of some features, all filled, and lags."""
    generator = torch.Generator().manual_seed(22)
    memories, filled = [], []
    for scale, remembered in enumerate(network.memory):
        x_TBF = torch.randn(12, rows, network.shape.features[scale], generator=generator)
        y_TBH, _ = network.scan(scale, x_TBF, network.initial_state(scale, rows))
        memories.append(y_TBH[-remembered:].transpose(0, 1))
        filled.append(torch.full((rows,), remembered))
    return memories, filled, torch.randn(rows, network.shape.lags, generator=generator)


def forecast(network: Network) -> Tensor:
    with torch.no_grad():
        return network.eval().read(*given_to(network))


def size(network: Network) -> int:
    return sum(tensor.nbytes for tensor in network.state_dict().values())


numbers = st.floats(-1e6, 1e6, width=32).filter(lambda w: w == 0 or abs(w) > 1e-20)


class TestInt8:
    @given(rows=st.lists(st.lists(numbers, min_size=3, max_size=3), min_size=1, max_size=4))
    @settings(deadline=None, derandomize=True)
    def test_a_weight_moves_by_less_than_a_127th_of_its_rows_largest_and_is_then_exact(
        self, rows: list[list[float]]
    ) -> None:
        w = torch.tensor(rows)
        q, k = pack(w)
        rounded = unpack(q, k)
        assert q.dtype == k.dtype == torch.int8
        assert ((rounded - w).abs() <= w.abs().amax(-1, keepdim=True) / 127).all()
        again = pack(rounded)
        assert torch.equal(again[0], q)
        assert torch.equal(unpack(*again), rounded)

    def test_a_network_of_bytes_is_a_quarter_as_large_and_forecasts_nearly_the_same(self) -> None:
        network = build({"kind": "lstm-attention", "hidden": 64}, SHAPE)
        small = quantised(network)
        assert size(small) < 0.3 * size(network)
        difference = (forecast(small) - forecast(network)).abs().mean()
        assert 0 < difference < 0.02 * forecast(network).abs().mean()

    def test_a_copy_of_it_and_a_state_dict_taken_and_given_back_change_no_bit(self) -> None:
        small = quantised(build({"kind": "gru", "hidden": 16}, SHAPE))
        before = forecast(small)
        assert torch.equal(forecast(deepcopy(small)), before)
        small.load_state_dict(deepcopy(small).state_dict())
        assert torch.equal(forecast(small), before)

    def test_it_is_saved_loaded_and_served_like_any_other(self, tmp_path: Path) -> None:
        spec = model_spec(
            {"columns": (Y, LOAD)}, {"kind": "lstm-attention", "hidden": 16, "ring": 4}, scales=SCALES[:1]
        )
        small = quantised(new_network(spec))
        spec = spec.model_copy(update={"network": small.spec})
        save_model(tmp_path, "small", spec, small, {})
        loaded = load_model(tmp_path, "small")
        lines = [Line(key, START + i * MINUTE, (i % 5, float(i % 3))) for i in range(20) for key in "abc"]
        want = drive(Engine(spec, small), lines, one_at_a_time(lines))
        assert drive(Engine(loaded.spec, loaded.network), lines) == want


class TestPruning:
    @pytest.mark.parametrize("name", PRUNABLE)
    def test_channels_that_nothing_touches_go_first_and_nobody_misses_them(self, name: str) -> None:
        network = build(PRUNABLE[name], SHAPE)
        silence_half(network)
        small = pruned(network, 0.5)
        assert small.spec == narrowed(network, 0.5)
        assert size(small) < 0.8 * size(network)
        torch.testing.assert_close(forecast(small), forecast(network), rtol=1e-4, atol=1e-5)

    def test_layer_norm_counts_channels_so_pruning_below_it_is_not_free_but_works(self) -> None:
        network = build({"kind": "lstm-transformer", "hidden": 32, "ring": 5}, SHAPE)
        assert forecast(pruned(network, 0.5)).isfinite().all()

    @pytest.mark.parametrize("keep", [0.25, 0.65])
    def test_what_is_kept_are_channels_of_the_network_in_their_order(self, keep: float) -> None:
        network = build({"kind": "gru", "hidden": 64, "layers": 1}, SHAPE)
        small = pruned(network, keep)
        width = {0.25: 16, 0.65: 40}[keep]
        assert small.outputs == (width, width)
        wide, thin = (n.get_parameter("recurrent.0.layers.0.fused.weight_hh_l0") for n in (network, small))
        kept = [
            next(i for i in range(64) if torch.isin(row, wide.view(3, 64, 64)[0, i]).all())
            for row in thin.view(3, width, width)[0]
        ]
        assert kept == sorted(set(kept))
        for gate in range(3):
            assert torch.equal(thin.view(3, width, width)[gate], wide.view(3, 64, 64)[gate][kept][:, kept])

    def test_the_ratio_of_4_2_to_1_8_million_weights_is_met(self) -> None:
        with torch.device("meta"):
            network = build({"kind": "deep-lstm", "hidden": 416}, SHAPE)
            small = build(narrowed(network, 0.65), SHAPE)
        before, after = (
            sum(p.numel() for name, p in n.named_parameters() if ".0.layers" in name) for n in (network, small)
        )
        assert before == pytest.approx(3.5e6, rel=0.02)
        assert after / before == pytest.approx(1.8 / 4.2, abs=0.01)

    @pytest.mark.parametrize(
        ("spec", "words"),
        [
            ({"kind": "sru", "layers": 2, "hidden": 16}, "depend on equal widths: distil this network instead"),
            (
                {"kind": "turing", "layers": 2, "hidden": 16},
                "are no whole blocks of channels: distil this network instead",
            ),
        ],
    )
    def test_what_cannot_be_pruned_is_refused_with_the_reason(self, spec: Spec, words: str) -> None:
        with pytest.raises(SpecError, match=words):
            pruned(build(spec, SHAPE), 0.5)


def silence_half(network: Network) -> None:
    """Draw all weights at random, and set those to zero that touch every other channel of a layer."""
    weights = dict(network.named_parameters())
    with torch.no_grad():
        for weight in weights.values():
            weight.normal_(0, 0.3)
        for name, axis, _ in dimensions(network, weights):
            weights[name].movedim(axis, 0)[1::2] = 0


class TestDistillation:
    def test_a_student_comes_closer_to_its_teacher_than_the_outcomes_alone_would_bring_it(self) -> None:
        teacher = build({"kind": "lstm", "hidden": 32}, Shape((8,), 0, 3, (0.1, 0.5, 0.9))).eval()
        with torch.no_grad():
            for weight in teacher.parameters():
                weight.normal_(0, 0.5)
        teacher_BhQ = forecast(teacher)
        outcome_Bh = teacher_BhQ[..., 1] + torch.randn(16, 3)
        distances = {}
        for share in (0.0, 0.9):
            torch.manual_seed(23)
            student = build({"kind": "gru", "hidden": 16, "layers": 1, "dropout": 0.0}, teacher.shape)
            optimiser = torch.optim.Adam(student.parameters(), lr=0.02)
            for _ in range(60):
                numbers_BhP = student.distribution(*given_to(student))
                optimiser.zero_grad()
                torch.autograd.backward(imitation(student, numbers_BhP, outcome_Bh, teacher_BhQ, share))
                optimiser.step()
            distances[share] = (forecast(student) - teacher_BhQ).abs().mean().item()
        assert distances[0.9] < 0.5 * distances[0.0]


def test_the_costs_of_two_networks_say_what_was_saved_and_what_was_lost() -> None:
    network = build({"kind": "gru", "hidden": 64}, SHAPE)
    wanted = forecast(network)
    before, after = compare(network, pruned(network, 0.5), lambda n: float((forecast(n) - wanted).abs().mean()))
    assert before.parameters == sum(weight.numel() for weight in network.parameters())
    assert before.weight_bytes == 4 * before.parameters
    assert before.state_bytes == 4 * 2 * 2 * 64
    assert after.state_bytes == before.state_bytes / 2
    assert after.weight_bytes < 0.45 * before.weight_bytes
    assert before.loss == 0 < after.loss
    assert min(before.step_us, after.step_us) > 0
