"""Cost of the engine alone: no broker, one core.

    python -m benchmarks.engine [--seconds 3] [--json FILE]

Rows: a file of 1,000 series replayed as columns; the same from JSON to JSON; the same of the models that ``train``
makes of hourly series: the default, ``--plain`` and ``--members 3``; one long series; windows of 60 to 6,000 bars;
1,000 to 100,000 series; several scales.  Every row is measured for about ``--seconds``; the median poll counts.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table

from benchmarks.printing import show
from benchmarks.service import FIRST_MS, benchmark_model, trained_form
from streamcast.app.json_text import json_text
from streamcast.consumers.transport import Batch, Partition
from streamcast.engine.engine import Engine
from streamcast.spec.folders import Model
from streamcast.spec.model_spec import SeriesSpec
from streamcast.topics.forecasts import Encoder
from streamcast.topics.observations import Decoder, Observations, encode_observation

POLL = 5_000
SOURCE = Partition("input", 0)


def polls(series: int, spec: SeriesSpec, rows: int = POLL) -> Iterator[Observations]:
    """Yield polls of a stream in which every series has a record a bar, forever."""
    random = np.random.default_rng(0)
    names = [f"s{i}" for i in range(series)]
    first = 0
    while True:
        number = np.arange(first, first + rows)
        step = number // series
        target = 10 + 3 * np.sin(step / 24 * 2 * np.pi + number % series) + random.random(rows)
        values = np.column_stack([target, target / 2, step % 24])[:, : len(spec.columns)]
        times = FIRST_MS // spec.freq * spec.freq + step * spec.freq
        keys = [names[i] for i in (number % series).tolist()]
        yield Observations([(SOURCE, 0, rows)], keys, number, times, times, values)
        first += rows


def _first_polls(model: Model, series: int) -> int:
    """How many polls bring every series past its longest season."""
    bars = 2 if model.spec.online is None else max(model.spec.seasons) + model.spec.horizon
    return max(3, bars * series // POLL)


def stepping(model: Model, series: int) -> Callable[[], dict[str, float]]:
    """Return a function that takes the next poll through an engine and returns the seconds of each stage."""
    engine, source = Engine(model.spec, model.network), polls(series, model.spec.series)

    def poll() -> dict[str, float]:
        observations = next(source)
        lap = _Lap()
        engine.stage(observations, lap)
        engine.promote()
        lap("promote")
        return lap.seconds

    for _ in range(_first_polls(model, series)):
        poll()
    return poll


def json_to_json(model: Model, series: int) -> Callable[[], dict[str, float]]:
    """Return the same as ``stepping``, from the bytes of records to the bytes of forecasts."""
    engine, source = Engine(model.spec, model.network), polls(series, model.spec.series)
    decoder = Decoder(model.spec.series)
    encoder = Encoder(model.spec, model.name, model.version, model.digest, "champion", "input")

    def poll() -> dict[str, float]:
        made = next(source)
        texts = [
            encode_observation(k, t, v)
            for k, t, v in zip(made.keys, made.times.tolist(), made.values.tolist(), strict=True)
        ]
        stamps = made.timestamps.tolist()
        batch = Batch(SOURCE, made.offsets.tolist(), stamps, [None] * POLL, texts, int(made.offsets[-1]) + 1)
        lap = _Lap()
        observations, _ = decoder.decode([batch])
        lap("decode")
        result = engine.stage(observations, lap)
        record = result.forecasts.record
        keys = engine.slab.key_texts(result.slots[record])
        encoder.encode(keys, result.forecasts, np.zeros(len(record), np.int64), observations.offsets[record])
        lap("encode")
        engine.promote()
        return lap.seconds

    for _ in range(_first_polls(model, series)):
        poll()
    return poll


class _Lap:
    """Seconds by stage since it was made."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def __call__(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now


def measure(name: str, poll: Callable[[], dict[str, float]], seconds: float) -> dict[str, Any]:
    """Run polls for about ``seconds``; return forecasts/s and µs a record by stage, medians over polls."""
    gc.collect()
    gc.disable()
    taken: list[dict[str, float]] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(taken) < 5:
        taken.append(poll())
    gc.enable()
    total = statistics.median(sum(t.values()) for t in taken)
    stages = {stage: round(1e6 * statistics.median(t[stage] for t in taken) / POLL, 2) for stage in taken[0]}
    return {"row": name, "forecasts_per_s": round(POLL / total), "us": round(1e6 * total / POLL, 2), "stage_us": stages}


def main() -> None:
    """Measure, print a table, write a JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--json", type=Path)
    a = parser.parse_args()
    torch.set_num_threads(1)
    gru, attention = benchmark_model("gru"), benchmark_model("lstm-attention")
    cases: list[tuple[str, Callable[[], Callable[[], dict[str, float]]]]] = [
        ("1,000 series, columns", lambda: stepping(gru, 1_000)),
        ("1,000 series, JSON to JSON", lambda: json_to_json(gru, 1_000)),
        ("train --plain, JSON to JSON", lambda: json_to_json(trained_form(plain=True), 1_000)),
        ("train, the default, JSON to JSON", lambda: json_to_json(trained_form(), 1_000)),
        ("train --members 3, JSON to JSON", lambda: json_to_json(trained_form(members=3), 1_000)),
        ("one long series", lambda: stepping(gru, 1)),
        *((f"window of {w:,} bars", lambda w=w: stepping(benchmark_model("gru", w), 1_000)) for w in (60, 600, 6_000)),
        *((f"{n:,} series", lambda n=n: stepping(gru, n)) for n in (1_000, 10_000, 100_000)),
        ("LSTM-Attention, 3 scales, 1,000 series", lambda: stepping(attention, 1_000)),
    ]  # fmt: skip
    found = []
    table = Table("row", "forecasts/s", "µs a record", "by stage")
    for name, prepare in cases:
        entry = measure(name, prepare(), a.seconds)
        found.append(entry)
        table.add_row(name, f"{entry['forecasts_per_s']:,}", str(entry["us"]), str(entry["stage_us"]))
    show(table)
    if a.json:
        a.json.write_text(json_text(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
