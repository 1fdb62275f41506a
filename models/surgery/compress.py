"""Smaller networks from trained ones: weights of one byte, fewer channels, a small network that imitates a large one.

Shapes: B rows, h horizon steps, P numbers a step, Q quantiles, C channels of a layer.

What comes out is a ``Network`` with a spec of its own: it is saved, loaded, trained further and served
like any other.  ``compare`` measures what it costs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from streamcast.models.build import build
from streamcast.models.ensemble import Ensemble
from streamcast.models.network import Network
from streamcast.models.spec import Spec, SpecError, within
from streamcast.models.zoo import CELLS

PRIMES = (101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167, 173, 179)
"""``dimensions`` tells layers apart by widths of 8 times these: so many layers can be pruned."""


@dataclass(frozen=True)
class Cost:
    """What a network costs to keep and to run, and how wrong it is."""

    parameters: int
    weight_bytes: int
    """As saved."""
    state_bytes: int
    """Of the hidden states of one series, all scales."""
    step_us: float
    """Microseconds of one base step of a tile of 8 rows; the median of many."""
    loss: float


def compare(before: Network, after: Network, loss: Callable[[Network], float]) -> tuple[Cost, Cost]:
    """Return the costs of two networks; ``loss`` is called with both."""
    return cost(before, loss), cost(after, loss)


def cost(network: Network, loss: Callable[[Network], float]) -> Cost:
    """Return what a network costs."""
    network.eval()
    states = [network.initial_state(scale, 1) for scale in range(len(network.shape.features))]
    return Cost(
        parameters=sum(weight.numel() for weight in network.parameters()),
        weight_bytes=sum(tensor.nbytes for tensor in network.state_dict().values()),
        state_bytes=sum(tensor.nbytes for state in states for tensor in state.values()),
        step_us=_step_us(network),
        loss=loss(network),
    )


def quantised(network: Network) -> Network:
    """Return the network with int8 weights; see ``models/int8.py``."""
    small = build({**network.spec, "weights": "int8"}, network.shape)
    small.load_state_dict(network.state_dict())
    small.load_state_dict(small.state_dict())
    return small.eval()


def narrowed(network: Network, keep: float) -> dict[str, Any]:
    """Return the network's spec with about ``keep`` of the channels of every layer, in multiples of 8.

    Raises SpecError when a layer has no ``hidden`` to make smaller.
    """
    within("keep", keep, 0.01, 1)
    return _with_widths(network.spec, [max(8, 8 * round(keep * width / 8)) for width in _widths(network)])


def pruned(network: Network, keep: float) -> Network:
    """Return the network without the channels that matter least (structured pruning, Li 2016, arXiv 1608.08710).

    A channel of a layer goes from all gates, from the state, and from every layer that reads it, in all scales
    alike; what matters is the share of the squared weights that touch it.  Train it on afterwards.
    Raises SpecError when some weights are no whole blocks of channels.
    """
    if isinstance(network, Ensemble):
        return Ensemble([pruned(member, keep) for member in network.networks])
    spec = narrowed(network, keep)
    small = build(spec, network.shape)
    weights: dict[str, Tensor] = dict(network.named_parameters())
    shapes = {name: weight.shape for name, weight in small.named_parameters()}
    owned = list(dimensions(network, weights))
    widths = dict(zip(_groups(network), zip(_widths(network), _widths(small), strict=True), strict=True))
    for group, (before, after) in widths.items():
        share_C = torch.zeros(before, dtype=torch.float64)
        own = [(name, axis) for name, axis, owner in owned if owner == group]
        for name, axis in own:
            energy = weights[name].detach().double().cpu().square().movedim(axis, 0)
            share_C += energy.reshape(-1, before, energy[0].numel()).sum((0, 2)) / energy.sum().clamp(min=1e-12)
        kept_C = share_C.topk(after).indices.sort().values
        for name, axis in own:
            blocks = torch.arange(weights[name].shape[axis] // before)[:, None] * before
            chosen = (blocks + kept_C).flatten().to(weights[name].device)
            weights[name] = weights[name].index_select(axis, chosen)
    if shapes != (found := {name: weight.shape for name, weight in weights.items()}):
        differing = sorted(name for name in {*shapes, *found} if shapes.get(name) != found.get(name))
        message = (
            f"the weights {', '.join(differing[:4])} are no whole blocks of channels: distil this network instead."
        )
        raise SpecError(message)
    with torch.no_grad():
        for name, weight in small.named_parameters():
            weight.copy_(weights[name])
    return small.eval()


def imitation(
    student: Network, numbers_BhP: Tensor, outcome_Bh: Tensor, teacher_BhQ: Tensor, weight: float = 0.5,
    weight_B: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the loss of a student (distillation, Hinton 2015, arXiv 1503.02531, for quantiles).

    (1 - weight) of its own loss, and weight of the mean distance of its quantiles from the teacher's.
    """
    distance = (student.head.quantiles(numbers_BhP) - teacher_BhQ).abs().mean()
    return (1 - weight) * student.loss(numbers_BhP, outcome_Bh, weight_B) + weight * distance


def _widths(network: Network) -> list[int]:
    """Return the ``hidden`` of every layer of the stack, as given or by default."""
    widths = []
    for depth, layer in enumerate(network.composition.stack):
        hidden = layer.get("hidden")
        if hidden is None:
            parameter = inspect.signature(CELLS[str(layer["kind"])]).parameters.get("hidden")
            hidden = None if parameter is None else parameter.default
        if not isinstance(hidden, int):
            message = f"stack[{depth}] is {layer!r}: expected a cell with the option 'hidden', whose channels can go."
            raise SpecError(message)
        widths.append(hidden)
    return widths


def _with_widths(spec: Mapping[str, Any], widths: Sequence[int]) -> dict[str, Any]:
    stack: list[Spec] = [{**layer, "hidden": width} for layer, width in zip(spec["stack"], widths, strict=True)]
    return {**spec, "stack": stack}


def dimensions(network: Network, weights: Mapping[str, Tensor]) -> Iterator[tuple[str, int, int]]:
    """Yield (weight, axis, group) for every axis of a weight that is made of blocks of a group's channels.

    They are found by building the network a second time, without allocating memory, with widths that
    are 8 times distinct primes.  Raises SpecError when the weights' names depend on the widths.
    """
    groups, widths = _groups(network), _widths(network)
    within("the number of layers", len(widths), 1, len(PRIMES))
    marks = [8 * PRIMES[group] for group in groups]
    with torch.device("meta"):
        probe = dict(build(_with_widths(network.spec, marks), network.shape).named_parameters())
    if differing := probe.keys() ^ weights.keys():
        message = f"the weights {sorted(differing)[:4]} depend on equal widths: distil this network instead."
        raise SpecError(message)
    owners = dict(zip(groups, zip(widths, marks, strict=True), strict=True))
    for name, weight in weights.items():
        for axis, (size, marked) in enumerate(zip(weight.shape, probe[name].shape, strict=True)):
            for group, (width, mark) in owners.items():
                if marked % mark == 0 and size == marked // mark * width:
                    yield name, axis, group


def _groups(network: Network) -> list[int]:
    """Return for every layer the group whose channels it keeps: its own, or one for all where layers are added up."""
    tied = network.composition.shortcut == "skip2" or network.composition.exit
    return [0 if tied else layer for layer in range(len(network.composition.stack))]


def _step_us(network: Network, rows: int = 8, times: int = 200) -> float:
    weight = next(network.parameters())
    x_BF, dt_B = weight.new_zeros(rows, network.shape.features[0]), weight.new_ones(rows)
    state, taken = network.initial_state(0, rows), []
    with torch.inference_mode():
        for _ in range(times):
            start = perf_counter()
            _, state = network.step(0, x_BF, state, dt_B)
            taken.append(1e6 * (perf_counter() - start))
    return median(taken)
