"""The benchmark of a GPU beside a core: without a GPU it measures the core and says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.devices import main


def test_it_trains_where_it_can_and_the_engine_answers_with_what_a_gpu_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "devices.json"
    assert main(["--networks", "linear", "--updates", "3", "--json", str(written)]) == 0
    (row,) = json.loads(written.read_text())
    assert row["network"] == "linear"
    assert row["core ms"] > 0
    assert (row["GPU ms"] is None) == (row["answers"] is None) == (not torch.cuda.is_available())
    assert ("no GPU" in capsys.readouterr().out) == (not torch.cuda.is_available())
