"""A kernel that numba has to compile is said, once; with a warm cache nobody reads of it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numba.core.caching import NullCache
from typer.testing import CliRunner

from harness.streams import SPECS, network
from streamcast import Forecaster
from streamcast.app.cli import app
from streamcast.app.commands.deployment.serve import rehearse_all
from streamcast.app.stream import Stream
from streamcast.consumers.health import LoopHealth
from streamcast.kernels import scoring, text
from streamcast.kernels.compiling import NOTICE
from streamcast.spec.folders import Model, load_model, save_model


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take one small kernel out of numba's cache, as all are on a new machine."""
    kernel: Any = scoring.score
    monkeypatch.setattr(kernel, "_cache", NullCache())
    kernel._reset_overloads()


@pytest.fixture
def cold_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the kernel that writes answers out of numba's cache; training itself needs none."""
    kernel: Any = text.write_forecasts
    monkeypatch.setattr(kernel, "_cache", NullCache())
    kernel._reset_overloads()


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return save_model(tmp_path / "trained", "small", SPECS["gru"], network("gru"), {})


@pytest.fixture
def frame() -> pd.DataFrame:
    times = pd.date_range("2026-01-01", periods=60, freq="min")
    return pd.DataFrame({"unique_id": "a", "ds": times, "y": np.arange(60.0) % 7})


@pytest.mark.usefixtures("cold")
def test_a_notebook_says_once_that_kernels_are_compiled(
    model: Model, frame: pd.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    forecaster = Forecaster.load(tmp_path / "trained" / "small" / "1")
    forecaster.predict(frame)
    assert caplog.messages == [NOTICE]
    forecaster.predict(frame)
    Stream(model).update("a", frame.ds[0], 1.0)
    assert caplog.messages == [NOTICE]


@pytest.mark.usefixtures("cold")
def test_a_live_stream_says_that_kernels_are_compiled(
    model: Model, frame: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    Stream(model).update("a", frame.ds[0], 1.0)
    assert caplog.messages == [NOTICE]


@pytest.mark.usefixtures("cold")
def test_the_service_logs_that_kernels_are_compiled(model: Model, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "streamcast"):
        rehearse_all({"champion": model}, LoopHealth())
        rehearse_all({"champion": model}, LoopHealth())
    assert caplog.messages == [NOTICE]


@pytest.mark.usefixtures("cold_answers")
def test_what_the_service_needs_is_compiled_when_a_model_is_trained(
    frame: pd.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data, folder = tmp_path / "data.csv", tmp_path / "trained"
    frame.to_csv(data, index=False)
    arguments = ["train", str(data), "--models", str(folder), "--model", "zero", "--horizon", "3", "--season", "7"]
    assert NOTICE in CliRunner().invoke(app, arguments).stderr
    with caplog.at_level(logging.INFO, "streamcast"):
        rehearse_all({"champion": load_model(folder, "model")}, LoopHealth())
    assert NOTICE not in caplog.messages


@pytest.mark.usefixtures("cold", "model")
@pytest.mark.parametrize("command", ["backtest", "train"])
def test_a_command_says_on_standard_error_that_kernels_are_compiled(
    command: str, frame: pd.DataFrame, tmp_path: Path
) -> None:
    data, folder = tmp_path / "data.csv", tmp_path / "trained"
    frame.to_csv(data, index=False)
    arguments = [command, str(data), "--models", str(folder), "--model", "small@1" if command == "backtest" else "zero"]
    arguments += ["--horizon", "3", "--season", "7"] if command == "train" else []
    first, second = (CliRunner().invoke(app, arguments) for _ in range(2))
    assert (first.exit_code, second.exit_code) == (0, 0), first.output
    assert first.stderr.count(NOTICE) == 1
    assert NOTICE not in first.stdout
    assert NOTICE not in second.stderr
