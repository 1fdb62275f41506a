"""JSON for programs has no NaN, which Python writes and no other reader accepts."""

from __future__ import annotations

import io
import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

from harness import ROOT
from streamcast.app.cli import app
from streamcast.app.json_text import json_text, print_json


def refused(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def test_what_is_not_known_is_null_at_every_depth() -> None:
    given = {"a": math.nan, "b": [1, (math.inf, 2.5)], "c": {"d": np.float64(-math.inf), "e": "nan"}, "f": None}
    found = json.loads(json_text(given), parse_constant=refused)
    assert found == {"a": None, "b": [1, [None, 2.5]], "c": {"d": None, "e": "nan"}, "f": None}


def test_the_json_of_a_backtest_of_a_constant_series_is_json(tmp_path: Path) -> None:
    hours = pd.date_range("2026-01-01", periods=200, freq="h")
    pd.DataFrame({"unique_id": "flat", "ds": hours, "y": 5.0}).to_csv(tmp_path / "flat.csv", index=False)
    models = ("--models", str(tmp_path / "models"))
    for arguments in (
        ["model", "new", "zero", "--freq", "1h", "--horizon", "4", "--season", "24", *models],
        ["backtest", str(tmp_path / "flat.csv"), "--model", "zero", "--json", *models],
    ):
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
    found = json.loads(result.stdout, parse_constant=refused)
    assert found["overall"][0]["relative"] is None


@pytest.mark.parametrize("folder", ["streamcast/app", "benchmarks"])
def test_every_command_and_benchmark_writes_its_json_that_way(folder: str) -> None:
    other = re.compile(r"\.print_json\(|\.json(?:\.write_text\(|, )json\.dumps\(")
    found = {
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in (ROOT / folder).rglob("*.py")
        for match in other.finditer(path.read_text(encoding="utf-8"))
    }
    the_one = "streamcast/app/json_text.py: .print_json("
    of_texts = "benchmarks/claims/__main__.py: .json.write_text(json.dumps("
    assert found <= {the_one, of_texts}, "use print_json and json_text of streamcast/app/json_text.py"


def test_json_on_a_terminal_is_ascii() -> None:
    """A terminal obeys some control characters beyond it, and a key may be a stranger's."""
    out = io.StringIO()
    print_json(Console(file=out), {"key": "é\x9b31m\x1b[0m"})
    assert out.getvalue().isascii()
    assert json.loads(out.getvalue()) == {"key": "é\x9b31m\x1b[0m"}
