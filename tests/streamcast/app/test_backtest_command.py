"""``streamcast backtest --baselines``: other packages' forecasters in its tables, its document and its report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from harness.commands import streamcast
from streamcast.app.cli import app


@pytest.fixture
def test(tmp_path: Path) -> list[str]:
    """Return a backtest of a model without a network, on 200 hours."""
    t = np.arange(200)
    frame = pd.DataFrame({"ds": pd.date_range("2026-01-01", periods=200, freq="h"), "y": 9 + 4 * np.sin(t / 2) + t % 7})
    frame.to_csv(tmp_path / "load.csv", index=False)
    models = ["--models", str(tmp_path)]
    made = CliRunner().invoke(app, ["model", "new", "load", "--freq", "1h", "--season", "6", "--horizon", "3", *models])
    assert made.exit_code == 0, made.output
    return ["backtest", str(tmp_path / "load.csv"), "--model", "load@latest", "--id-col", "", *models]


@pytest.mark.usefixtures("statsforecast")
def test_they_are_in_the_tables_the_document_and_the_report(test: list[str], tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    asked = [*test, "--baselines", "ets,theta"]
    done = CliRunner().invoke(app, [*asked, "--report", str(page), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    for table in ("overall", "by_horizon", "by_series"):
        rows = [row for row in found[table] if row["forecaster"] in {"load", "last value", "AutoETS", "AutoTheta"}]
        assert len(rows) == 4 * (3 if table == "by_horizon" else 1)
        assert len({row["points"] for row in rows if row.get("step", 1) == 1}) == 1
        assert all(row["mae"] > 0 for row in rows)
    assert all(name in page.read_text(encoding="utf-8") for name in ("AutoETS", "AutoTheta"))
    printed = CliRunner().invoke(app, asked).stdout
    assert all(name in printed for name in ("AutoETS", "AutoTheta", "seasonal naive"))
    assert "Auto" not in CliRunner().invoke(app, test).stdout


def test_an_unknown_name_and_a_missing_package_end_before_the_file_is_read(test: list[str]) -> None:
    test[1] = "no.csv"
    said = streamcast(*test, "--baselines", "ets,arima", code=2)
    assert "--baselines names 'arima'; there are ets and theta" in said
    said = streamcast(*test, "--baselines", "theta", code=2, without="statsforecast")
    assert "--baselines needs package statsforecast: pip install 'streamcast-forecasting[classical]'" in said
    assert "Traceback" not in said


def test_a_local_time_that_a_file_of_rows_has_twice_is_noted(tmp_path: Path) -> None:
    times = pd.date_range("2024-10-18", "2024-10-28", freq="h", tz="Europe/Berlin")
    frame = pd.DataFrame({"ds": times.tz_localize(None), "y": np.sin(np.arange(len(times)))})
    frame.to_csv(tmp_path / "load.csv", index=False)
    data, models = str(tmp_path / "load.csv"), ["--models", str(tmp_path)]
    trained = [
        data,
        "--model",
        "zero",
        "--name",
        "load",
        "--horizon",
        "3",
        "--id-col",
        "",
        "--timezone",
        "Europe/Berlin",
    ]
    done = CliRunner().invoke(app, ["train", *trained, *models])
    assert done.exit_code == 0, done.output
    assert "comes twice" not in done.stderr
    command = ["backtest", data, "--model", "load@latest", *models]
    assert "comes twice" not in CliRunner().invoke(app, command).stderr
    for rows in ("--frame", "--anomalies"):
        done = CliRunner().invoke(app, [*command, rows, str(tmp_path / "rows.csv")])
        assert pd.read_csv(tmp_path / "rows.csv").ds.eq("2024-10-27 02:00:00").any(), done.output
        assert "note: 2024-10-27 02:00 comes twice in what is returned, summer time first" in done.stderr
