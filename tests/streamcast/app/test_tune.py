"""``streamcast tune``: candidates are tried, the best is kept, and what was kept is what the search found best."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from streamcast.app.commands.tune import tune
from streamcast.errors import ModelError
from streamcast.offline.history.read import History, read
from streamcast.spec.folders import load_model

CHOICE = {
    "networks": ["gru", "linear"], "horizon": 3, "trials": 4, "max_seconds": 0.0, "trial_seconds": 0.0, "epochs": 1,
    "scales": "", "quantiles": "0.1,0.5,0.9", "lags": 24, "season": 24, "seed": 0,
    "mode": "sample", "grace": "0s", "aggregates": "",
}  # fmt: skip


@pytest.fixture(scope="module")
def history() -> History:
    hours = pd.date_range("2024-01-01", periods=500, freq="h")
    y = np.sin(np.arange(500) * 2 * np.pi / 24) + np.random.default_rng(0).normal(0, 0.1, 500)
    return read(pd.DataFrame({"unique_id": "a", "ds": hours, "y": y}), freq="1h")


def test_the_best_of_all_candidates_is_kept_with_what_it_was(history: History, tmp_path: Path) -> None:
    printed = io.StringIO()
    assert tune(history, "data.csv", "tuned", CHOICE, tmp_path, Console(file=printed, width=200)) == 0
    model = load_model(tmp_path, "tuned@1")
    assert model.facts["trials"] == 4
    assert model.facts["tuned"]["kind"] == model.spec.network["kind"]
    best = [line for line in printed.getvalue().splitlines() if f"{model.facts['validation_loss']:.4f}" in line]
    assert best
    assert "4 trials" in printed.getvalue()
    assert "streamcast backtest data.csv --model tuned@1" in printed.getvalue()


def test_a_search_is_repeated_by_its_seed(history: History, tmp_path: Path) -> None:
    for _ in range(2):
        tune(history, "data.csv", "tuned", CHOICE | {"trials": 2}, tmp_path, Console(file=io.StringIO()))
    first, second = (load_model(tmp_path, f"tuned@{version}") for version in (1, 2))
    assert first.digest == second.digest


def test_an_unknown_network_is_named(history: History, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="'gruu'"):
        tune(history, "data.csv", "tuned", CHOICE | {"networks": ["gruu"]}, tmp_path, Console(file=io.StringIO()))
