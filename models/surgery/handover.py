"""Weights that one network takes over from another, for a warm start and for layer-wise pre-training.

Layer-wise pre-training trains a stack layer by layer from the lowest, with the layers below frozen, and at last all of
them together (Bengio 2007).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from streamcast.models.build import build
from streamcast.models.network import Network
from streamcast.models.spec import SpecError


def begin_with(initial: Network, network: Network) -> None:
    """Give a network all weights of another; raises SpecError when the names or shapes of theirs differ."""
    given, wanted = (
        {name: tuple(weight.shape) for name, weight in one.named_parameters()} for one in (initial, network)
    )
    if given != wanted:
        differing = sorted(name for name in {*given, *wanted} if given.get(name) != wanted.get(name))
        message = (
            f"the weights to begin with are another network's: they differ in {', '.join(differing[:4])}; train with "
            "the spec of the model that they are from."
        )
        raise SpecError(message)
    hand_over(initial, network)


def first_layers(network: Network, layers: int) -> Network:
    """Return a network of a stack's first layers, with the weights that both have in common.

    Two layers or fewer go without the shortcut that skips two.
    """
    whole = network.composition
    shortcut = "none" if whole.shortcut == "skip2" and layers < 3 else whole.shortcut
    stack = list(whole.stack[:layers])
    small = build({**network.spec, "stack": stack, "shortcut": shortcut}, network.shape)
    hand_over(network, small)
    return small


def hand_over(giver: Network, taker: Network) -> None:
    """Copy every weight that has the same name and shape in both."""
    given = dict(giver.named_parameters())
    with torch.no_grad():
        for name, weight in taker.named_parameters():
            if name in given and given[name].shape == weight.shape:
                weight.copy_(given[name])


@contextmanager
def frozen(network: Network, layers: int) -> Iterator[None]:
    """Freeze the first layers of every scale, and the front with them, while something else is trained."""
    names = {"front", *map(str, range(layers))} if layers else set()
    still = [part for stack in network.stacks for name, part in stack.layers.items() if name in names]
    for part in still:
        part.requires_grad_(requires_grad=False)
    try:
        yield
    finally:
        for part in still:
            part.requires_grad_()
