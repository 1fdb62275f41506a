"""Shapes: B rows, h steps, D width of a context, L lags, F numbers of a target bar, J seasonal values, C tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from streamcast.models.build import build
from streamcast.models.network import Network, Shape
from streamcast.models.readout.aligned import Aligned, TargetInputs, TargetShape
from streamcast.models.spec import SpecError
from streamcast.models.surgery.compress import narrowed, pruned, quantised

Floats = npt.NDArray[np.float64]

TABLES = (12, 8, 6)
TARGETS = TargetShape(features=16, seasonal=5, rows=sum(TABLES))
SHAPE = Shape(features=(8,), lags=32, horizon=6, quantiles=(0.1, 0.5, 0.9), targets=TARGETS)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(31)


def target_bars(rows: int, shape: TargetShape = TARGETS, horizon: int = 6) -> TargetInputs:
    first = np.cumsum([0, *TABLES])
    codes = [int(f) + torch.randint(n, (rows, horizon)) for f, n in zip(first, TABLES, strict=False)]
    return TargetInputs(torch.randn(rows, horizon, shape.features), torch.stack(codes, -1), torch.randn(rows))


def given(network: Network, rows: int) -> tuple[list[Tensor], list[Tensor], Tensor, TargetInputs]:
    memory = [torch.randn(rows, network.memory[0], network.outputs[0])]
    return memory, [torch.full((rows,), network.memory[0])], torch.randn(rows, SHAPE.lags), target_bars(rows)


def by_hand(
    part: Aligned, context_D: Floats, lags_L: Floats, bars: TargetInputs, row: int, highway_h: Floats | None
) -> tuple[Floats, Floats]:
    """The equations of the module, one row and one step at a time, in float64."""
    w = {name: weight.detach().double().numpy() for name, weight in part.state_dict().items()}
    level = float(bars.level_B[row])
    moved, numbers = [], []
    for h, x_F in enumerate(bars.x_BhF[row].double().numpy()):
        x = w["context.weight"] @ context_D + w["context.bias"]
        x = x + w["recent.weight"] @ np.append(lags_L[-part.lags :], level) + w["target.weight"] @ x_F
        x = x + w["table_RH"][bars.codes_BhC[row, h].numpy()].sum(0)
        z = np.maximum(w["second.weight"] @ np.maximum(x, 0) + w["second.bias"], 0)
        score = w["gate.weight"] @ z + w["gate.bias"]
        weights = np.exp(score - score.max()) / np.exp(score - score.max()).sum()
        by_highway = [] if highway_h is None else [highway_h[h] + level]
        by_mean = [0.0] if len(score) > 1 + TARGETS.seasonal + len(by_highway) else []
        candidates = np.concatenate([[level], by_mean, x_F[: TARGETS.seasonal], by_highway])
        out = w["out.weight"] @ z + w["out.bias"]
        moved.append(weights @ candidates - level + out[0])
        numbers.append(out[1:])
    return np.array(moved), np.array(numbers)


@pytest.mark.parametrize("softmax", [0, 16])
@pytest.mark.parametrize("mean", [True, False])
@pytest.mark.parametrize("highway", [True, False])
def test_it_computes_the_equations_of_its_docstring(*, softmax: int, mean: bool, highway: bool) -> None:
    shape = replace(TARGETS, softmax=softmax, mean=mean)
    part = Aligned(inputs=24, lags=32, numbers=3, shape=shape, highway=highway, hidden=16, second=8).eval()
    context_BD, lags_BL, bars, highway_Bh = torch.randn(8, 24), torch.randn(8, 32), target_bars(8), torch.randn(8, 6)
    with torch.no_grad():
        moved_Bh, numbers_BhP = part(context_BD, lags_BL, bars, highway_Bh if highway else None)
    for row in range(8):
        context_D, lags_L, highway_h = (t[row].double().numpy() for t in (context_BD, lags_BL, highway_Bh))
        moved_h, numbers_hP = by_hand(part, context_D, lags_L, bars, row, highway_h if highway else None)
        np.testing.assert_allclose(moved_Bh[row].numpy(), moved_h, atol=1e-5)
        np.testing.assert_allclose(numbers_BhP[row].numpy(), numbers_hP, atol=1e-5)


@pytest.mark.parametrize(("softmax", "mean"), [(0, True), (16, True), (16, False)])
def test_a_row_has_the_same_bytes_in_any_tile_at_any_place(*, softmax: int, mean: bool) -> None:
    shape = replace(SHAPE, targets=replace(TARGETS, softmax=softmax, mean=mean))
    network = build({"kind": "gru", "hidden": 16}, shape).eval()
    memory, filled, lags_BL, bars = given(network, 256)
    with torch.inference_mode():
        whole_BhQ = network.read(memory, filled, lags_BL, bars)
        for rows in (8, 24, 136):
            chosen = torch.randperm(256)[:rows]
            part = TargetInputs(*(tensor[chosen] for tensor in bars))
            other_BhQ = network.read([memory[0][chosen]], [filled[0][chosen]], lags_BL[chosen], part)
            assert torch.equal(other_BhQ, whole_BhQ[chosen])


def test_a_new_network_forecasts_within_the_range_of_its_candidates() -> None:
    network = build({"kind": "gru", "hidden": 16}, SHAPE).eval()
    memory, filled, lags_BL, bars = given(network, 64)
    with torch.inference_mode():
        median_Bh = network.read(memory, filled, lags_BL, bars)[..., 1] + bars.level_B[:, None]
    level_Bh2 = bars.level_B[:, None, None].expand(-1, 6, 2) * torch.tensor([0.0, 1.0])
    candidates_BhN = torch.cat([bars.x_BhF[..., :5], level_Bh2], -1)
    inside = (median_Bh > candidates_BhN.amin(-1) - 0.5) & (median_Bh < candidates_BhN.amax(-1) + 0.5)
    assert inside.float().mean() > 0.9


def test_it_learns_what_only_the_target_bar_tells() -> None:
    """The outcome is a table's entry plus the second seasonal value: nothing in the context or the lags says so."""
    part = Aligned(inputs=8, lags=8, numbers=1, shape=TARGETS, highway=False, hidden=32, second=16, dropout=0.0)
    effect = torch.randn(8) * 2
    optimiser = torch.optim.Adam(part.parameters(), lr=0.01)
    for _ in range(300):
        bars = target_bars(64)
        wanted_Bh = bars.x_BhF[..., 1] + effect[bars.codes_BhC[..., 1] - TABLES[0]]
        moved_Bh, _ = part(torch.zeros(64, 8), torch.zeros(64, 8), bars, None)
        loss = (moved_Bh + bars.level_B[:, None] - wanted_Bh).abs().mean()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    assert loss.item() < 0.4


def test_without_target_bars_there_is_no_such_part_and_a_classifier_has_none() -> None:
    assert build({"kind": "gru"}, Shape((8,), 8, 4, (0.5,))).aligned is None
    classifier = build({"kind": "gru-classifier"}, Shape((8,), 8, 4, (0.1, 0.5, 0.9), TARGETS))
    assert classifier.aligned is None


def test_it_can_be_left_out_and_its_widths_chosen() -> None:
    stack = [{"kind": "gru", "hidden": 16}]
    assert build({"kind": "network", "stack": stack, "target": None}, SHAPE).aligned is None
    wide = build({"kind": "network", "stack": stack, "target": {"kind": "aligned", "hidden": 96}}, SHAPE).aligned
    assert wide is not None
    assert wide.context.out_features == 96


@pytest.mark.parametrize(
    "wrong", [{"hidden": 12}, {"second": 0}, {"dropout": 0.95}, {"width": 3}], ids=lambda wrong: next(iter(wrong))
)
def test_what_does_not_fit_is_an_error_that_names_it(wrong: dict[str, object]) -> None:
    spec = {"kind": "network", "stack": [{"kind": "gru"}], "target": {"kind": "aligned", **wrong}}
    with pytest.raises(SpecError, match=next(iter(wrong))):
        build(spec, SHAPE)


def test_reading_without_the_target_bars_says_what_is_missing() -> None:
    network = build({"kind": "gru", "hidden": 16}, SHAPE).eval()
    memory, filled, lags_BL, _ = given(network, 8)
    with pytest.raises(ValueError, match="target bars"):
        network.read(memory, filled, lags_BL)


def test_it_is_quantised_and_pruned_with_the_network() -> None:
    network = build({"kind": "gru", "hidden": 32}, SHAPE).eval()
    memory, filled, lags_BL, bars = given(network, 8)
    with torch.inference_mode():
        before, after = (n.read(memory, filled, lags_BL, bars) for n in (network, quantised(network)))
        assert (before - after).abs().max() < 0.2
        small = pruned(network, 0.5)
        assert narrowed(network, 0.5)["stack"][0]["hidden"] == small.outputs[0] == 16
        assert small.read([memory[0][..., :16]], filled, lags_BL, bars).shape == before.shape
