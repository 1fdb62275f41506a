"""Several networks whose mean forecasts.  Shapes: T steps, B rows, F features."""

import pytest
import torch
from torch import Tensor

from streamcast.models.build import build
from streamcast.models.ensemble import Ensemble, members_of, together
from streamcast.models.network import Network, Shape
from streamcast.models.readout.aligned import TargetInputs, TargetShape
from streamcast.models.spec import Spec, SpecError, with_members
from streamcast.models.surgery.compress import pruned, quantised

SHAPE = Shape((8, 8), 16, 3, (0.1, 0.5, 0.9), TargetShape(features=16, seasonal=4, rows=30, softmax=16))
KINDS: dict[str, Spec] = {
    "gru": {"kind": "gru", "hidden": 16, "layers": 2},
    "attention": {"kind": "lstm-attention", "hidden": 16, "ring": 5},
    "window": {"kind": "gru-window", "hidden": 16, "width": 16},
    "gaussian": {"kind": "lstm-gaussian", "hidden": 16},
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(23)


def target_bars(rows: int) -> TargetInputs:
    codes_BhC = torch.randint(0, 30, (rows, SHAPE.horizon, 2))
    return TargetInputs(torch.randn(rows, SHAPE.horizon, 16), codes_BhC, torch.randn(rows))


def forecasts(network: Network, bars: list[Tensor], lags_BL: Tensor, targets: TargetInputs) -> Tensor:
    """What a network forecasts after some bars of each scale [T, B, F]; quantiles may cross."""
    network.eval()
    memories, filled = [], []
    with torch.no_grad():
        for scale, x_TBF in enumerate(bars):
            rows = x_TBF.shape[1]
            state, outputs = network.initial_state(scale, rows), []
            for x_BF in x_TBF:
                y_BH, state = network.step(scale, x_BF, state)
                outputs.append(y_BH)
            size = network.memory[scale]
            memories.append(torch.stack(outputs[-size:], 1))
            filled.append(torch.full((rows,), min(size, len(outputs))))
        return network.quantiles(memories, filled, lags_BL, targets)


@pytest.mark.parametrize("kind", KINDS)
def test_it_forecasts_the_mean_of_what_its_members_forecast_alone(kind: str) -> None:
    network = build({**KINDS[kind], "members": 3}, SHAPE)
    given = [torch.randn(7, 8, 8) for _ in SHAPE.features], torch.randn(8, SHAPE.lags), target_bars(8)
    alone = [forecasts(member, *given) for member in members_of(network)]
    assert len(alone) == 3
    assert not torch.allclose(alone[0], alone[1])
    torch.testing.assert_close(forecasts(network, *given), torch.stack(alone).mean(0))


def test_one_member_is_the_network_itself() -> None:
    network = build({**KINDS["gru"], "members": 1}, SHAPE)
    assert not isinstance(network, Ensemble)
    assert together([network]) is network
    assert members_of(network) == [network]


@pytest.mark.parametrize("members", [0, 17, 2.0, "2", True, None])
def test_a_number_of_members_that_cannot_be_is_refused(members: object) -> None:
    with pytest.raises(SpecError, match=f"members is {members!r}: expected a whole number from 1 to 16"):
        build({**KINDS["gru"], "members": members}, SHAPE)


def test_a_spec_with_another_number_of_members_differs_in_nothing_else() -> None:
    one, three = KINDS["gru"], {**KINDS["gru"], "members": 3}
    assert with_members(one, 3) == three
    assert with_members(three, 1) == one
    assert with_members(three, 3) is three


@pytest.mark.parametrize("smaller", [quantised, lambda network: pruned(network, 0.5)], ids=["int8", "pruned"])
def test_each_member_is_made_smaller_as_it_would_be_alone(smaller: object) -> None:
    assert callable(smaller)
    network = build({**KINDS["gru"], "members": 2}, SHAPE)
    given = [torch.randn(7, 8, 8) for _ in SHAPE.features], torch.randn(8, SHAPE.lags), target_bars(8)
    alone = torch.stack([forecasts(smaller(member), *given) for member in members_of(network)])
    small = smaller(network)
    torch.testing.assert_close(forecasts(small, *given), alone.mean(0))
    again = build(small.spec, SHAPE)
    again.load_state_dict(small.state_dict())
    assert torch.equal(forecasts(again, *given), forecasts(small, *given))
