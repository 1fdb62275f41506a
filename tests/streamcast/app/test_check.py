"""What ``streamcast check`` says of models."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from harness.streams import SPECS, network
from streamcast.app.commands.check import _models, _Say
from streamcast.app.settings import load_settings
from streamcast.spec.folders import save_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path, "small", SPECS["gru"], network("gru"), {})
    return tmp_path


def said(folder: Path, **overrides: object) -> str:
    """What is printed for one lane of a small model."""
    lanes = {"models.folder": str(folder), "models.lanes": {"champion": {"model": "small@1"}}}
    settings = load_settings(None, {**lanes, **overrides})
    printed = io.StringIO()
    _models(settings, _Say(Console(file=printed, width=400)))
    return printed.getvalue()


def test_a_model_that_fits_is_said_to_fit(folder: Path) -> None:
    assert "ok   lane champion: small@1, y every 1min" in said(folder)


def test_more_memory_than_is_allowed_is_refused_with_the_arithmetic(folder: Path) -> None:
    told = said(folder, **{"state.max_series": 1_000_000, "state.max_bytes": 1 << 20})
    assert "FAIL lane champion: 1,000,000 series of" in told
    assert "are more than the 1,048,576 bytes of state.max_bytes" in told
    assert "ring 1 ×" in told
    assert "remedy: lower state.max_series" in told
