"""Accounts whose risk depends on an event more than a thousand bars ago: carried state compared with a window.

A made-up account's hourly amounts scatter around a level, but only one in twenty is observed.  The account's last event
sets the level, and there is one event in 1,300 bars.  A network that carries its state remembers the event; one that
reads the last 24 bars for every forecast sees about one amount among them.
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

SERIES = 12


def accounts(bars: int, every: int, seed: int = 0) -> History:
    """Return accounts with an event every ``every`` bars, which sets the level until the next."""
    random = np.random.default_rng(seed)
    times = pd.date_range("2026-01-01", periods=bars, freq="1h", tz="UTC")
    frames = []
    for number in range(SERIES):
        event = random.choice([-1.0, 1.0], bars) * (np.arange(bars) % every == random.integers(every))
        event[0] = 1
        last = np.maximum.accumulate(np.where(event != 0, np.arange(bars), 0))
        amount = np.where(random.random(bars) < 0.05, 20 * event[last] + random.normal(0, 15, bars), np.nan)
        frames.append(pd.DataFrame({"unique_id": f"account {number}", "ds": times, "y": amount, "event": event}))
    return read(pd.concat(frames), freq="1h")


def main(bars: int = 6_000, updates: int = 0) -> None:
    """Train both on the first three quarters and compare them on the last."""
    torch.set_num_threads(1)
    history = accounts(bars, every=1_300)
    from_ms = int(history.ts_N[len(history) * 3 // 4])
    past = history.between(0, from_ms)
    networks = {
        "sLSTM, state carried": {"kind": "slstm", "hidden": 32},
        "BiLSTM, last 24 bars": {"kind": "bilstm", "hidden": 16, "window": 24},
    }
    for name, network in networks.items():
        spec = default_spec(history, 1, network, lags=0, season=24, plain=True).model_copy(update={"half_life": 5_000})
        model = fit(
            past,
            spec,
            Options(
                epochs=6, updates=updates, learning_rate=4e-3, decay=0.8, patience=20, chunk=100, rows=8, positions=800
            ),
        )
        report = backtest(model, history, from_ms, baselines={})
        show(f"{name:24} mean absolute error {float(report.rows()[0]['mae']):.2f} (the scatter alone: 11.97)")


if __name__ == "__main__":
    main()
