"""Anomalies of a wearable's heart rate: a GRU of bytes, streamed a reading at a time.

A made-up wearer has a daily course, exercise, breathing, and episodes of irregular rhythm.  The model learns to
forecast the next reading; a reading far outside the forecast raises an alarm.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from rich import print as show

from examples.anomalies import Bools, best_threshold, detection, surprises
from streamcast.models.surgery.compress import cost, quantised
from streamcast.offline.defaults.spec import default_spec
from streamcast.offline.history.read import History, read
from streamcast.offline.training.fit import fit
from streamcast.offline.training.options import Options

MOST_BYTES = 1_200_000


def heart_rate(bars: int, seed: int, episodes: int) -> tuple[History, Bools]:
    """Return a made-up heart rate, a value every 10 seconds, and which bars belong to an irregular episode.

    It has a slow daily course, bouts of exercise and breathing.  An episode lasts two to four minutes and starts
    within a bar: a fast rhythm, a slow rhythm, or a sensor that jumps.
    """
    random = np.random.default_rng(seed)
    time = np.arange(bars)
    rate = 68 + 6 * np.sin(2 * np.pi * time / 8640) + 2 * np.sin(2 * np.pi * time / 27)
    effort = np.zeros(bars)
    for start in random.integers(0, bars, bars // 1500):
        effort[start : start + int(random.integers(60, 240))] = random.uniform(20, 60)
    kernel = np.exp(-np.arange(120) / 24)
    rate += np.convolve(effort, kernel / kernel.sum())[:bars]
    noise = np.convolve(random.normal(size=bars), 0.8 ** np.arange(30))[:bars]
    rate += 0.8 * noise
    irregular = np.zeros(bars, np.bool_)
    for start in np.sort(random.choice(np.arange(500, bars - 40, 60), episodes, replace=False)):
        part = slice(int(start), int(start) + int(random.integers(12, 24)))
        length = part.stop - part.start
        change = (35 * np.ones(length), -25 * np.ones(length), random.normal(0, 22, length))[int(random.integers(3))]
        rate[part] += change + random.normal(0, 3, length)
        irregular[part] = True
    times = pd.date_range("2026-01-01", periods=bars, freq="10s", tz="UTC")
    return read(pd.DataFrame({"unique_id": "wearer", "ds": times, "y": rate}), freq="10s"), irregular


def main(bars: int = 16_000, updates: int = 0) -> None:
    """Train on one wearer, choose the threshold there, and judge floats and bytes on another."""
    torch.set_num_threads(1)
    (history, irregular_N), (other, other_irregular_N) = (
        heart_rate(bars, 0, bars // 500),
        heart_rate(bars // 2, 1, bars // 800),
    )
    spec = default_spec(history, 1, {"kind": "gru", "layers": 1}, lags=0, season=27, plain=True)
    model = fit(history, spec, Options(epochs=6, updates=updates, learning_rate=4e-3, decay=0.8))
    small = quantised(model.network)
    bytes_model = replace(model, network=small, spec=spec.model_copy(update={"network": small.spec}))
    threshold = best_threshold(surprises(model, history)[0], irregular_N)
    for name, lane in (("float32", model), ("int8", bytes_model)):
        surprise_N, record_us = surprises(lane, other)
        found = detection(surprise_N, other_irregular_N, threshold)
        size = cost(lane.network, lambda _: 0.0).weight_bytes
        show(
            f"{name:8} {size / 1e6:.3f} MB, {record_us:.0f} µs a reading; episodes found {found.found:.0%}, "
            f"alarms right {found.precision:.0%}, F1 {found.f1:.2f}, balanced accuracy {found.balanced:.0%}"
        )
        if size > MOST_BYTES:
            raise SystemExit(f"{name} takes {size} bytes: expected at most {MOST_BYTES}; choose fewer hidden units")


if __name__ == "__main__":
    main()
