"""The accuracy benchmark scores the online layer that it was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.accuracy import MONTH_HOURS, Protocol, measure, online_layer, scaled
from streamcast.offline.evaluation.baselines import LastValue
from streamcast.offline.training.options import Options

PROTOCOL = Protocol(1, 1, 1, (4,), lambda _day: {"last value": LastValue()}, {})
QUICK = Options(epochs=1, updates=2, rows=2)


@pytest.fixture(scope="module")
def hourly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of three months of two daily rhythms."""
    hour = np.arange(3 * MONTH_HOURS)
    noise = np.random.default_rng(0).normal(0, 0.3, (2, len(hour)))
    frame = pd.DataFrame({"date": pd.Timestamp("2024-01-01") + pd.to_timedelta(hour, unit="h")})
    for name, phase, more in (("HUFL", 0, noise[0]), ("OT", 7, noise[1])):
        frame[name] = 5 + np.sin((hour + phase) * 2 * np.pi / 24) + more
    path = tmp_path_factory.mktemp("ett") / "ETTh1.csv.gz"
    frame.to_csv(path, index=False)
    return path


def test_a_layer_is_off_or_has_fields() -> None:
    assert online_layer("off") is None
    assert online_layer('{"network_prior": 1e9, "forget": 0}') == {"network_prior": 1e9, "forget": 0}


def test_a_layer_that_trusts_the_network_has_the_errors_of_the_network_alone(hourly: Path) -> None:
    history = scaled(hourly, PROTOCOL)

    def errors(online: dict[str, Any] | None) -> float:
        row, _ = measure("ETTh1", history, PROTOCOL, {"kind": "gru", "hidden": 8}, 4, QUICK, online)
        assert row["points"] == (MONTH_HOURS - 3) * 4 * 2
        return float(row["mse"])

    alone = errors(None)
    assert errors({"network_prior": 1e9, "forget": 0}) == pytest.approx(alone, rel=1e-4)
    assert errors({}) != pytest.approx(alone, rel=1e-4)
