"""Readings at irregular times: cells that use the time step, compared with a GRU that does not.

A sensor wakes up at random, on average every other minute, and reads a wave with its own frequency.  A bar is a minute;
the engine passes the time between readings to the cells, to the millisecond, so nothing is resampled.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from rich import print as show

from streamcast.offline.defaults.spec import default_spec
from streamcast.offline.evaluation.backtest import backtest
from streamcast.offline.history.read import History, read
from streamcast.offline.training.fit import fit
from streamcast.offline.training.options import Options


def readings(series: int, bars: int, seed: int = 0) -> History:
    """Return waves read at random times: half of the minutes have a reading, anywhere within the minute."""
    random = np.random.default_rng(seed)
    frames = []
    for number in range(series):
        minutes = np.flatnonzero(random.random(bars) < 0.5)
        at = minutes + random.uniform(0, 0.999, len(minutes))
        wave = np.sin(at * random.uniform(0.5, 0.9) + random.uniform(0, 6)) + random.normal(0, 0.05, len(at))
        times = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta((at * 60_000).astype(np.int64), unit="ms")
        frames.append(pd.DataFrame({"unique_id": f"sensor {number}", "ds": times, "y": wave}))
    return read(pd.concat(frames), freq="1min")


def main(bars: int = 3_000, updates: int = 0) -> None:
    """Train each on the first three quarters and compare them on the last."""
    torch.set_num_threads(1)
    history = readings(8, bars)
    from_ms = int(history.ts_N[len(history) * 3 // 4])
    for kind in ("gru", "cfc", "ode-rnn"):
        network = {"kind": kind, "hidden": 32, "layers": 1}
        spec = default_spec(history, 1, network, lags=0, season=10, plain=True).model_copy(update={"half_life": 500})
        model = fit(history.between(0, from_ms), spec, Options(updates=updates, learning_rate=4e-3, decay=0.9))
        report = backtest(model, history, from_ms, baselines={})
        show(f"{kind:8} mean absolute error {float(report.rows()[0]['mae']):.3f} (the noise alone: 0.040)")


if __name__ == "__main__":
    main()
