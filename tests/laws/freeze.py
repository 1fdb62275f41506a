"""Forecasts that no later version may change: those of specs as they were saved, for records that are always the same.

    python -m tests.laws.freeze NAME …

writes ``frozen/NAME.json`` for specs of ``FREEZABLE`` that have no such file yet.  A spec that is frozen
stays as it is, with the fields that there were: what is added to specs later has a default that changes nothing.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.streams import SPECS, START, Line, drive
from streamcast.engine.engine import Engine
from streamcast.models.network import Network
from streamcast.spec.folders import new_network
from streamcast.spec.model_spec import Known, ModelSpec, SeriesSpec
from streamcast.spec.zero import zero_spec

FOLDER = Path(__file__).parent / "frozen"
BARS = 240
EARLY, WILD, STRANGE, SHIFT, GAP = 24, 100, 130, 150, 190
"""Bars at which a reading is broken, early and later, an input is far out, the level rises, and some are missing."""
KEPT = (EARLY, EARLY + 2, *range(40, BARS, 40), WILD, WILD + 1, WILD + 5, *range(SHIFT, SHIFT + 6), GAP + 6, BARS - 1)
"""Bars whose forecasts are kept."""

DAY_OF_HOURS = zero_spec(
    SeriesSpec.model_validate({"columns": ({"name": "y"}, {"name": "load"}), "freq": "1h"}),
    24,
    (24, 168),
    quantiles=(0.1, 0.45, 0.5, 0.9),
    upper=20.0,
    known=(Known(name="load"),),
)
FREEZABLE: Mapping[str, ModelSpec] = {**SPECS, "a day of hours": DAY_OF_HOURS}
"""The specs of the laws, and one like those that users have: most limits of the online layer need a whole day."""


def records(spec: ModelSpec) -> list[Line]:
    """Return the readings of a series: two seasons, noise, an effect of its inputs, and all that is unusual once."""
    series = spec.series
    of_ticks = (0, series.freq // 3, 2 * series.freq // 3) if series.mode == "ticks" else (0,)
    lines = []
    for bar in range(BARS):
        if GAP <= bar < GAP + 4:
            continue
        for number, within in enumerate(of_ticks):
            values = [
                _target(bar) + 0.05 * number,
                *(_input(spec, bar, place) for place in range(1, len(series.columns))),
            ]
            ahead = [_input(spec, bar + h, place) for place in spec.known_columns for h in range(1, spec.horizon + 1)]
            lines.append(Line("a", START + bar * series.freq + within, tuple(values), tuple(ahead)))
    return lines


def _input(spec: ModelSpec, bar: int, place: int) -> float:
    """Return the value of an input; of a category its number, -1 if it is unknown."""
    kinds = spec.series.columns[place].categories
    if kinds is not None:
        return float((bar // 3) % (len(kinds) + 1) - 1)
    return 9.0 if bar == STRANGE else _usual_input(bar, place)


def _usual_input(bar: int, place: int) -> float:
    return float((bar * (place + 4) // 3) % 6 - 1)


def _target(bar: int) -> float:
    if bar % 23 == 22 or bar in (60, 64, 68):
        return math.nan
    noise = ((bar * 7_919 + 104_729) % 997) / 997 - 0.5
    level = 22.0 if bar >= SHIFT else 0.0
    wild = 3e4 if bar == EARLY else 5e4 if bar == WILD else 0.0
    seasons = 2 * math.sin(bar * math.pi / 2) + 2 * math.sin(bar * math.pi / 12) + (bar % 9 == 4)
    return round(seasons + abs(_usual_input(bar, 1) - 2) + noise + level + wild, 3)


def forecasts(spec: ModelSpec) -> list[str]:
    """Return the kept forecasts of a spec as they are published; every weight is a known number."""
    lines = records(spec)
    found = drive(Engine(spec, known_weights(new_network(spec))), lines).forecasts
    kept = {START // spec.series.freq + bar for bar in KEPT}
    at_N = [at for at, line in enumerate(lines) if line.time // spec.series.freq in kept]
    return [found[at].decode() for at in at_N if at in found]


def known_weights(network: Network) -> Network:
    """Fill a network with weights that depend on their places alone."""
    with torch.no_grad():
        for number, parameter in enumerate(network.parameters()):
            places = np.arange(parameter.numel()) * 1.7 + number
            parameter.copy_(torch.from_numpy(0.3 * np.sin(places)).reshape(parameter.shape))
    return network


def main(names: list[str]) -> None:
    """Freeze specs by their names; those that are frozen already are refused."""
    for name in names:
        path = FOLDER / f"{name.replace(' ', '-')}.json"
        spec = FREEZABLE[name]
        frozen: dict[str, Any] = {"spec": spec.model_dump(mode="json"), "forecasts": forecasts(spec)}
        with path.open("x") as file:
            json.dump(frozen, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1:])
