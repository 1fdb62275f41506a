"""The parts of a simulated run: the layout of its world, its events, and its tiny models."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch

from harness.streams import model_spec
from streamcast.service.beginnings import Start
from streamcast.spec.durations import MINUTE_MS
from streamcast.spec.folders import Model, new_network
from streamcast.spec.model_spec import ONLINE_BESIDE_NETWORK, Scale
from streamcast.spec.zero import challenger_of


@dataclass(frozen=True, slots=True)
class Event:
    """One event: a method of ``World``, the seed of its random numbers, and the events while a process is frozen."""

    what: str
    salt: int
    within: tuple[Event, ...] = ()

    def __str__(self) -> str:
        nested = f" [{', '.join(map(str, self.within))}]" if self.within else ""
        return f"{self.what}:{self.salt}{nested}"


@dataclass(frozen=True, slots=True)
class Plan:
    """How a world is laid out; drawn once from the seed.

    There are at most ``lanes``, and one less at first if the champion is ``alone``.
    """

    partitions: int
    keys: int
    max_series: int
    max_records: int
    interval_seconds: float
    start: Start
    guarantee: Literal["exactly_once", "at_least_once"]
    mode: Literal["sample", "ticks"]
    lanes: int
    alone: bool
    shadow: bool
    resets: bool

    @classmethod
    def drawn(cls, chance: random.Random) -> Plan:
        """Return a layout."""
        exactly_once = chance.random() < 2 / 3
        lanes = chance.choice([1, 1, 2, 2])
        return cls(
            partitions=chance.choice([1, 2, 2, 3]),
            keys=chance.randint(2, 7),
            max_series=chance.choice(ROOMS),
            max_records=chance.choice([3, 6, 12, 25, 25]),
            interval_seconds=chance.choice([0.2, 1.0, 5.0, 1e9]),
            start=Start(chance.choice(["earliest", "latest"]), chance.choice([0, 0, 5, 1000]), chance.random() < 0.3),
            guarantee="exactly_once" if exactly_once else "at_least_once",
            mode=chance.choice(["sample", "sample", "sample", "ticks"]),
            lanes=lanes,
            alone=lanes > 1 and chance.random() < 0.5,
            shadow=chance.random() < 0.7,
            resets=exactly_once and chance.random() < 0.7,
        )


HISTORIES = (None, None, 3 * MINUTE_MS)
"""How much of the input a new model may read."""

ROOMS = (1, 2, 3, 4, 100)
"""How many series a process may have room for."""

NETWORKS: Sequence[Mapping[str, object]] = (
    {"kind": "gru", "hidden": 8, "layers": 1},
    {"kind": "gru", "hidden": 8, "layers": 1},
    {"kind": "lstm-attention", "hidden": 8, "ring": 5},
)

ZERO = len(NETWORKS)
"""The number of the model without a network."""
MODELS = ZERO + 1


@cache
def model(mode: str, number: int) -> Model:
    """A tiny model with random weights; those of one mode agree on what a record is."""
    ticks = {"mode": "ticks", "grace": "90s"} if mode == "ticks" else {}
    scales = (Scale(every="5min", window=4),) if number == 2 else ()
    online = ONLINE_BESIDE_NETWORK if number == 0 else None
    series = {"max_gap": 4, "ttl": "30min", **ticks}
    spec = model_spec(series, NETWORKS[number % ZERO], scales=scales, online=online)
    if number == ZERO:
        spec = challenger_of(spec)
    torch.manual_seed(number)
    network = new_network(spec)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.3)
    return Model(spec, network.eval(), "tiny", str(number), f"{mode}-{number}".ljust(64, "0"))


def load(digest: str) -> Model:
    """The model of a digest."""
    mode, _, number = digest.rstrip("0").partition("-")
    return model(mode, int(number or 0))
