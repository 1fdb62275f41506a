"""Anomalies of a wearable's heart rate: a GRU of bytes, streamed a reading at a time.

A made-up wearer: a daily course, exercise, breathing, and episodes of irregular rhythm.  The model learns
one reading ahead; a reading is told when it lies far outside the forecast made before it.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from rich import print as show

from benchmarks.detection import best_threshold, detection, surprises
from benchmarks.problems import heart_rate
from streamcast.models.surgery.compress import cost, quantised
from streamcast.offline.training.defaults import default_spec
from streamcast.offline.training.fit import Options, fit

MOST_BYTES = 1_200_000


def main(bars: int = 16_000, epochs: int = 6) -> None:
    """Train on one wearer, choose the threshold there, and judge floats and bytes on another."""
    torch.set_num_threads(1)
    (history, irregular_N), (other, other_irregular_N) = (
        heart_rate(bars, 0, bars // 500),
        heart_rate(bars // 2, 1, bars // 800),
    )
    spec = default_spec(history, 1, {"kind": "gru", "layers": 1}, lags=0, season=27)
    model = fit(history, spec, Options(epochs=epochs, learning_rate=4e-3, decay=0.8))
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
