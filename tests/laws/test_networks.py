"""The laws of forecasters, over every name of models/zoo.py: each trains, streams through the engine, survives saving.

Shapes: T steps, B rows, N windows, R past outputs, H width, h horizon steps, K classes.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.streams import LOAD, MINUTE, SCALES, START, Line, Trace, Y, drive, model_spec, one_at_a_time
from streamcast.engine.engine import Engine
from streamcast.models.build import build
from streamcast.models.cells.cell import Exact, State
from streamcast.models.ensemble import Ensemble, members_of
from streamcast.models.network import Network, Shape
from streamcast.models.readout.head import ClassHead
from streamcast.models.spec import MEMBERS
from streamcast.models.zoo import MODELS
from streamcast.spec.folders import load_model, new_network, save_model
from streamcast.spec.model_spec import ModelSpec

SMALL: Mapping[str, Any] = {
    "hidden": 16, "top": 16, "width": 16, "channels": 8, "ring": 5, "window": 6, "pool": 5, "patch": 4, "segment": 2,
}  # fmt: skip
TOGETHER = {"two lstm-attention": ("lstm-attention", 2), "three gru-window": ("gru-window", 3)}
"""Several networks of a kind, whose mean forecasts."""
NAMES = [*sorted(MODELS.keys() - {"network"}), *TOGETHER]


def small(name: str) -> dict[str, Any]:
    """Return the spec of a listed model, or of several together, with few units and short memories."""
    if name in TOGETHER:
        kind, members = TOGETHER[name]
        return {**small(kind), MEMBERS: members}
    options = inspect.signature(MODELS[name]).parameters
    return {
        "kind": name,
        **{option: value for option, value in SMALL.items() if option in options},
        **without_dropout(options),
    }


def without_dropout(options: Mapping[str, object]) -> dict[str, float]:
    return {"dropout": 0.0} if "dropout" in options else {}


@cache
def spec_of(name: str) -> ModelSpec:
    return model_spec({"columns": (Y, LOAD), "max_gap": 5}, small(name), scales=SCALES[:1])


@cache
def network_of(name: str) -> Network:
    """Return a listed network in service, every weight drawn at random."""
    torch.manual_seed(12)
    network = new_network(spec_of(name))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.2)
    return network.eval()


@cache
def lines() -> list[Line]:
    """Return records of eleven series of unlike lengths, with gaps, restarts, missing values and duplicates."""
    random = np.random.default_rng(13)
    rows, now = [], dict.fromkeys("abcdefghijk", START)
    for number in range(120):
        key = "a" if number % 3 == 0 else str(random.choice(list(now)))
        now[key] += MINUTE * int(random.choice([1, 1, 1, 1, 0, 2, 4, 7]))
        values = random.normal(size=2)
        values[random.random(2) < 0.1] = np.nan
        rows.append(Line(key, now[key], (float(values[0]), float(values[1]))))
    return rows


@cache
def streamed(name: str) -> Trace:
    """What a listed network answers to one record after the other."""
    return drive(Engine(spec_of(name), network_of(name)), lines(), one_at_a_time(lines()))


over_models = pytest.mark.parametrize("name", NAMES)


@over_models
def test_it_streams_and_any_batches_give_the_bytes_of_one_record_at_a_time(name: str) -> None:
    assert len(streamed(name).forecasts) > 75
    for sizes in ([], [7, 60, 3, 29]):
        assert drive(Engine(spec_of(name), network_of(name)), lines(), sizes) == streamed(name)


@over_models
def test_saved_and_loaded_it_goes_on_with_the_same_bytes(name: str, tmp_path: Path) -> None:
    network = network_of(name)
    saved = save_model(tmp_path, "model", spec_of(name), network, {})
    loaded = load_model(tmp_path, "model")
    assert loaded.digest == saved.digest
    assert drive(Engine(loaded.spec, loaded.network), lines(), [80]) == streamed(name)
    x_TBF, dt_TB = torch.randn(12, 8, network.shape.features[0]), torch.rand(12, 8)
    whole_TBH, last = network.scan(0, x_TBF, network.initial_state(0, 8), None, dt_TB)
    first_TBH, state = network.scan(0, x_TBF[:5], network.initial_state(0, 8), None, dt_TB[:5])
    second_TBH, after = loaded.network.scan(0, x_TBF[5:], state, None, dt_TB[5:])
    if members_of(network)[0].stacks[0].exact is Exact.TILE:
        assert torch.equal(torch.cat([first_TBH, second_TBH]), whole_TBH)
        assert all(torch.equal(after[part], last[part]) for part in last)


@over_models
def test_the_spelled_out_spec_has_the_same_weights_and_gives_the_same_bytes(name: str) -> None:
    network = network_of(name)
    other = new_network(spec_of(name).model_copy(update={"network": network.spec}))
    other.load_state_dict(network.state_dict())
    given = memories(network, 16)
    assert torch.equal(other.eval().read(*given), network.read(*given))


@over_models
def test_it_learns_to_continue_a_wave(name: str) -> None:
    torch.manual_seed(14)
    network = build(small(name), Shape((2,), 0, 2, (0.1, 0.5, 0.9)))
    windows, outcome_Nh = waves(network)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    first = None
    for _ in range(40):
        numbers_NhP = network.distribution(*windows())
        loss = network.loss(numbers_NhP, outcome_Nh)
        first = loss.item() if first is None else first
        if loss < first - 0.3 * abs(first) and better_than_the_majority(network, numbers_NhP, outcome_Nh):
            return
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    pytest.fail(f"the loss went from {first} to {loss.item()} only")


def better_than_the_majority(network: Network, numbers_NhP: Tensor, outcome_Nh: Tensor) -> bool:
    """Return whether a classifier's likeliest class is right more often than always the same one; others always are."""
    if not isinstance(network.head, ClassHead):
        return True
    classes_Nh = network.head.classes(outcome_Nh)
    majority = classes_Nh.flatten().bincount().max() / classes_Nh.numel()
    return bool((numbers_NhP.argmax(-1) == classes_Nh).float().mean() > majority + 0.1)


@over_models
def test_every_weight_has_a_gradient(name: str) -> None:
    torch.manual_seed(15)
    network = build(small(name), Shape((2,), 8, 2, (0.1, 0.5, 0.9)))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    windows, outcome_Nh = waves(network)
    memory, filled, _ = windows()
    numbers_NhP = network.distribution(memory, filled, torch.randn(len(outcome_Nh), 8))
    torch.autograd.backward(network.loss(numbers_NhP, outcome_Nh))
    still = {part for part, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()}
    assert still == set()


@over_models
def test_no_forecast_looks_ahead_and_only_the_window_encoders_see_later_bars_of_their_window(name: str) -> None:
    network = network_of(name)
    attention = members_of(network)[0].attentions[0]
    memory_BRH = memories(network, 8)[0][0]
    filled_B = torch.full((8,), memory_BRH.shape[1])
    changed_BRH = torch.cat([memory_BRH[:, :-1], memory_BRH[:, -1:] + 1], 1)
    earlier, same = (attention.encode(past, filled_B)[:, :-1] for past in (memory_BRH, changed_BRH))
    assert torch.equal(earlier, same) == (network.exact is not Exact.WINDOW)
    expected = {"birnn", "bigru", "bilstm", "transformer", "da-rnn"}
    assert (name in expected) == (network.exact is Exact.WINDOW)


@over_models
def test_a_row_is_read_to_the_same_bytes_in_any_tile_at_any_place(name: str) -> None:
    network = network_of(name)
    memory, filled, lags_BL = memories(network, 512)
    with torch.inference_mode():
        whole_BhQ = network.read(memory, filled, lags_BL)
        assert (whole_BhQ.diff(dim=-1) >= 0).all()
        for rows in (8, 24, 136):
            chosen = torch.randperm(512)[:rows]
            part = [past[chosen] for past in memory], [count[chosen] for count in filled], lags_BL[chosen]
            assert torch.equal(network.read(*part), whole_BhQ[chosen])


def memories(network: Network, rows: int) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Return what ``read`` is given: memories filled to any extent, and lags."""
    generator = torch.Generator().manual_seed(16)
    memory = [
        torch.randn(rows, size, width, generator=generator)
        for size, width in zip(network.memory, network.outputs, strict=True)
    ]
    filled = [torch.randint(1, size + 1, (rows,), generator=generator) for size in network.memory]
    return memory, filled, torch.randn(rows, network.shape.lags, generator=generator)


def start_of(network: Network) -> State:
    """Return the initial state of eight rows of the base scale, with gradient."""
    if isinstance(network, Ensemble):
        starts = [start_of(member) for member in network.networks]
        return {f"{number}.{name}": tensor for number, start in enumerate(starts) for name, tensor in start.items()}
    return network.stacks[0].initial_state(8)


def waves(network: Network) -> tuple[Callable[[], tuple[list[Tensor], list[Tensor], Tensor]], Tensor]:
    """Return a function that makes windows of noisy sine waves, and the next values of the waves minus the last."""
    generator = torch.Generator().manual_seed(17)
    wave_TB = torch.sin(torch.arange(34)[:, None] / 2 + torch.arange(8))
    x_TBF = torch.stack([wave_TB, torch.randn(wave_TB.shape, generator=generator)], -1)
    remembered, size = network.memory[0], 32 - network.memory[0] + 1
    last_TB = wave_TB[remembered - 1 : 32]
    outcome_Nh = torch.stack([wave_TB[remembered + ahead :][:size] - last_TB for ahead in (0, 1)], -1).flatten(0, 1)

    def windows() -> tuple[list[Tensor], list[Tensor], Tensor]:
        y_TBH, _ = network.scan(0, x_TBF[:32], start_of(network), None, torch.ones(32, 8))
        memory_NRH = y_TBH.unfold(0, remembered, 1).flatten(0, 1).transpose(1, 2)
        return [memory_NRH], [torch.full((len(memory_NRH),), remembered)], torch.zeros(len(memory_NRH), 0)

    return windows, outcome_Nh


@over_models
def test_no_part_of_it_is_tied_to_a_device_or_a_precision(name: str) -> None:
    """A device without memory refuses tensors of another; bfloat16 stands for what autocast does on a GPU."""
    with torch.device("meta"):
        network = build(small(name), Shape((8, 8), 8, 2, (0.1, 0.5, 0.9)))
        memory = [torch.zeros(8, size, width) for size, width in zip(network.memory, network.outputs, strict=True)]
        filled, lags_BL = [torch.ones(8, dtype=torch.int64)] * 2, torch.zeros(8, 8)
        x_TBF, state = torch.zeros(3, 8, 8), network.initial_state(0, 8)
        dt_TB, outcome_Bh = torch.ones(3, 8), torch.zeros(8, 2)
    if members_of(network)[0].stacks[0].exact is Exact.TILE:
        assert network.scan(0, x_TBF, state, None, dt_TB)[0].is_meta
    assert network.read(memory, filled, lags_BL).is_meta
    assert network.loss(network.distribution(memory, filled, lags_BL), outcome_Bh).is_meta
    trained = build(small(name), Shape((2,), 0, 2, (0.1, 0.5, 0.9)))
    windows, outcome_Nh = waves(trained)
    with torch.autocast("cpu", torch.bfloat16):
        loss = trained.loss(trained.distribution(*windows()), outcome_Nh)
    torch.autograd.backward(loss)
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in trained.parameters())
