"""Equipment sensors: time to answer a reading with a GRU and an LSTM, by how many sensors report at once."""

from __future__ import annotations

import time

import numpy as np
import torch
from rich import print as show

from streamcast.consumers.transport import Partition
from streamcast.engine.engine import Engine
from streamcast.spec.folders import new_network
from streamcast.spec.model_spec import Column, ModelSpec, SeriesSpec
from streamcast.topics.observations import Observations

MINUTE_MS, START_MS = 60_000, 1_767_225_600_000
KINDS = ("gru", "lstm")


def medians_us(sensors: int, minutes: int) -> dict[str, float]:
    """Return, for each kind, the median microseconds from a minute's readings to their forecasts, per reading.

    Both answer a minute before either sees the next, so that other load affects both alike.
    """
    series = SeriesSpec(columns=(Column(name="vibration"), Column(name="temperature")), freq=MINUTE_MS)
    engines: dict[str, Engine] = {}
    for kind in KINDS:
        network = {"kind": kind, "hidden": 64, "layers": 2}
        spec = ModelSpec(series=series, horizon=12, lags=96, season=60, network=network)
        torch.manual_seed(0)
        engines[kind] = Engine(spec, new_network(spec), sensors)
    taken: dict[str, list[float]] = {kind: [] for kind in KINDS}
    random, names = np.random.default_rng(0), [f"pump {i}" for i in range(sensors)]
    for minute in range(minutes):
        times = np.full(sensors, START_MS + minute * MINUTE_MS)
        offsets = np.arange(minute * sensors, (minute + 1) * sensors)
        values = random.normal(size=(sensors, 2))
        readings = Observations([(Partition("sensors", 0), 0, sensors)], names, offsets, times, times, values)
        for kind, engine in engines.items():
            start = time.perf_counter()
            engine.stage(readings)
            engine.promote()
            taken[kind].append(time.perf_counter() - start)
    return {kind: 1e6 * float(np.median(seconds[minutes // 4 :])) / sensors for kind, seconds in taken.items()}


def main(minutes: int = 200) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    show("µs a reading, median   GRU   LSTM   GRU saves")
    for sensors in (1, 8, 256):
        gru, lstm = medians_us(sensors, minutes).values()
        show(f"{sensors:4} sensors at once  {gru:6.1f} {lstm:6.1f}   {1 - gru / lstm:.0%}")


if __name__ == "__main__":
    main()
