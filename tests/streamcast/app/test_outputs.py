"""Files that a command would write at its end are checked before its work, and what users name is printed as it is."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

from harness.histories import history_of
from harness.streams import SPECS, network
from streamcast.app.cli import app
from streamcast.app.cli.faults import explain
from streamcast.app.commands import models
from streamcast.app.commands.deployment.check.say import Say
from streamcast.app.commands.files import outputs
from streamcast.app.commands.files.train import report_saved
from streamcast.errors import SettingsError
from streamcast.spec.folders import save_model

ODD = "[red]"
"""Rich would read it as a colour."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.csv"
    times = pd.date_range("2026-01-01", periods=60, freq="h")
    pd.DataFrame({"unique_id": "a", "ds": times, "y": range(60)}).to_csv(path, index=False)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path / "trained", "small", SPECS["gru"], network("gru"), {})
    return tmp_path / "trained"


@pytest.mark.parametrize("option", ["--frame", "--anomalies"])
def test_a_backtest_names_a_place_that_does_not_exist_before_it_reads_the_file(
    option: str, data: Path, folder: Path
) -> None:
    ending = {"--frame": "csv", "--anomalies": "parquet", "--report": "html"}[option]
    missing = folder / "missing" / f"x.{ending}"
    told = CliRunner().invoke(
        app, ["backtest", str(data), "--model", "nobody", option, str(missing), "--models", str(folder)]
    )
    assert isinstance(told.exception, SettingsError)  # and not that there is no such model
    assert str(told.exception) == (
        f"{option} is {missing}: it cannot be written: there is no folder {missing.parent}: make it, or choose another"
        " place"
    )


def test_a_demo_and_a_settings_file_name_a_place_that_does_not_exist(tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "x"
    for command in (["demo", "--port", "0", "--json", str(missing)], ["init", str(missing)]):
        told = CliRunner().invoke(app, command)
        assert isinstance(told.exception, SettingsError), told.output
        assert f"there is no folder {missing.parent}" in str(told.exception)


@pytest.mark.parametrize(
    ("command", "option"),
    [(["demo", "--port", "0"], "--model"), (["train", "{data}"], "--model"), (["tune", "{data}"], "--networks")],
)
def test_an_unknown_network_is_named_with_the_option_that_was_typed(
    command: list[str], option: str, data: Path, tmp_path: Path
) -> None:
    words = [word.format(data=data) for word in command]
    told = CliRunner().invoke(app, [*words, option, "gruu"], env={"HOME": str(tmp_path)})
    assert str(told.exception).startswith(f"{option} names 'gruu', which is unknown"), told.output


@pytest.mark.parametrize("command", ["train", "tune"])
def test_a_folder_for_models_and_a_name_are_checked_before_the_training(
    command: str, data: Path, tmp_path: Path
) -> None:
    told = CliRunner().invoke(app, [command, str(data), "--models", str(data / "models")])
    assert str(told.exception) == f"--models is {data / 'models'}: {data} is a file; expected a folder"
    told = CliRunner().invoke(app, [command, str(data), "--name", "My Model", "--models", str(tmp_path)])
    assert "model name 'My Model': use 1 to 64 small letters" in str(told.exception)


def test_a_table_is_csv_or_parquet_and_a_file_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="it is a folder"):
        outputs.require_writable("--json", tmp_path)
    with pytest.raises(Exception, match=r"ends with \.csv or \.parquet"):
        outputs.require_table("--frame", tmp_path / "x.xlsx")
    outputs.require_table("--frame", tmp_path / "x.parquet")
    outputs.require_table("--frame", None)


def test_an_error_of_a_file_is_a_message_with_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        (tmp_path / "missing").read_bytes()
    assert explain(caught.value) == 2
    assert capsys.readouterr().err == f"File: {tmp_path / 'missing'}: no such file or directory\n"
    assert explain(OSError(28, "No space left on device")) == 1  # writing names no file
    assert capsys.readouterr().err.startswith("Disk: no space left on device: what was being written is incomplete")
    with pytest.raises(OSError, match="reset"):
        explain(OSError(104, "Connection reset by peer"))  # of no file: nobody expected it


def test_what_users_name_is_printed_as_it_is(folder: Path) -> None:
    saved = save_model(folder, "small", SPECS["gru"], network("gru"), {"data": ODD, "stopped": "interrupted"} | LOSSES)
    record = folder / "small" / "1" / "model.json"
    record.write_text(json.dumps({"facts": {"data": ODD}, "digest": ODD}))
    printed = io.StringIO()
    console = Console(file=printed, width=400, soft_wrap=True)
    report_saved(saved, history_of(500), Path(f"{ODD}.csv"), Path(ODD), console)
    models.ls(folder, False, console)
    say = Say(console)
    say(False, f"lane {ODD}", f"remedy {ODD}")
    say.warn(f"lane {ODD}", f"remedy {ODD}")
    say.note(f"note {ODD}")
    text = printed.getvalue()
    assert f"Saved small@2 in {ODD}/small/2" in text
    assert f"Next: streamcast backtest '{ODD}.csv' --model small@2 --models '{ODD}'" in text
    assert text.count(ODD) == 3 + 3 + 5


LOSSES = {
    "highway_loss": 1.0, "validation_loss": 0.5, "best_epoch": 1, "epochs": 2, "seconds": 1.0,
}  # fmt: skip
