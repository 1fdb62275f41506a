"""What the tests of people's files share: the inputs of ``shared/cases``, frames, and their forecasts."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from harness import SHARED_DATA
from streamcast.offline.defaults.spec import default_spec
from streamcast.offline.evaluation.backtest import backtest
from streamcast.offline.history.read import History
from streamcast.spec.folders import Model, new_network
from streamcast.spec.model_spec import ModelSpec

CASES = SHARED_DATA.parent / "cases"
START = 1_735_689_600_000  # 2025-01-01T00:00Z
HOUR, DAY = 3_600_000, 86_400_000


def case(name: str) -> Path:
    """Return the path of one input; skips without the folder."""
    if not CASES.is_dir():
        pytest.skip(f"{CASES} is absent")
    return CASES / name


def changed(history: History) -> str:
    return "\n".join(history.changes)


def frame_of(ds: object, **columns: object) -> pd.DataFrame:
    """Return a frame of one series."""
    return pd.DataFrame({"unique_id": "a", "ds": ds, "y": 1.0, **columns})


def forecasts_of(history: History, horizon: int, season: int | None = None) -> tuple[ModelSpec, pd.DataFrame]:
    """Return the spec of a model without a network, and all its forecasts of a history with their outcomes."""
    spec = default_spec(history, horizon, "zero", season=season)
    model = Model(spec, new_network(spec), "m")
    first = history.grid.start(history.grid.bar(int(history.ts_N[0])) + 30)
    return spec, backtest(model, history, first, baselines={}, keep=None).frame()
