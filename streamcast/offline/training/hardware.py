"""The device that trains, and the thread and seed it uses."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from streamcast.errors import Option
from streamcast.models.network import Network
from streamcast.models.spec import SpecError


def device_named(name: str) -> torch.device:
    """Return the device to train on; raises SpecError when ``name`` is cuda and there is no GPU."""
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise SpecError(Option.DEVICE, " is 'cuda', but torch sees no GPU here: choose 'auto' or 'cpu'")
    return torch.device("cuda" if there and name != "cpu" else "cpu")


def copied(network: Network) -> Network:
    """Return a copy on the same device whose recurrent weights lie in one piece of memory, as a GPU's kernels want."""
    twin = copy.deepcopy(network)
    for module in twin.modules():
        if isinstance(module, nn.RNNBase):
            module.flatten_parameters()
    return twin


@contextmanager
def one_thread(seed: int) -> Iterator[None]:
    """Seed torch and limit it to one thread (more are slower on networks of this size); undo both at the end."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)
