"""Files that a command would write at its end are checked before its work, and what users name is printed as it is."""

from __future__ import annotations

import errno
import io
import json
import os
import stat
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

from harness.disks import largest_file
from harness.histories import history_of
from harness.streams import SPECS, network
from streamcast.app.cli import app
from streamcast.app.cli.faults import explain
from streamcast.app.cli.root import main
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
    for number in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
        assert explain(OSError(number, "[Errno 28] Error writing bytes to file")) == 1  # as Arrow words it
        why = os.strerror(number).lower()
        assert capsys.readouterr().err.startswith(f"Disk: {why}: what was being written is incomplete")
    with pytest.raises(OSError, match="reset"):
        explain(OSError(104, "Connection reset by peer"))  # of no file: nobody expected it


OUTPUTS = (("--frame", "f.csv"), ("--frame", "f.parquet"), ("--anomalies", "a.csv"), ("--report", "r.html"))


@pytest.mark.parametrize(("option", "name"), OUTPUTS)
def test_a_disk_that_is_full_leaves_what_was_there_and_names_the_file(
    option: str, name: str, data: Path, folder: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    place, minutes = folder.parent / "out", pd.date_range("2026-01-01", periods=60, freq="min")
    place.mkdir()
    pd.DataFrame({"unique_id": "a", "ds": minutes, "y": range(60)}).to_csv(data, index=False)
    command = ["streamcast", "backtest", str(data), "--model", "small", "--models", str(folder)]
    monkeypatch.setattr("sys.argv", [*command, option, str(place / name)])
    for size, code in ((-1, 0), (500, 1)):
        with largest_file(size), pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == code
        if code == 0:
            whole = (place / name).read_bytes()
            capsys.readouterr()
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == f"Disk: {place / name}: file too large: make space or choose another place, and run again"
    assert [path.name for path in place.iterdir()] == [name]
    assert (place / name).read_bytes() == whole
    (place / name).unlink()
    with largest_file(500), pytest.raises(SystemExit):
        main()
    assert not list(place.iterdir())


def test_settings_are_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["streamcast", "init", str(tmp_path / "s.yaml")])
    with largest_file(100), pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert not list(tmp_path.iterdir())


def test_an_output_that_is_ended_half_way_leaves_what_was_there(tmp_path: Path) -> None:
    place = tmp_path / "x.csv"
    place.write_text("before")

    def interrupted() -> None:
        with outputs.written(place) as file:
            file.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


def test_an_output_takes_the_place_of_the_file_that_a_link_leads_to_with_its_mode(tmp_path: Path) -> None:
    place, link = tmp_path / "x.csv", tmp_path / "link.csv"
    place.write_text("before")
    place.chmod(0o640)
    link.symlink_to(place)
    with outputs.written(link) as file:
        file.write_text("after")
        assert place.read_text() == "before"
    assert link.is_symlink()
    assert place.read_text() == "after"
    assert stat.S_IMODE(place.stat().st_mode) == 0o640


def test_what_is_no_file_of_its_own_is_written_in_place(tmp_path: Path) -> None:
    pipe, full = tmp_path / "pipe.csv", Path("/dev/full")
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/null"), Path("/dev/stdout"), Path("/dev/stderr"), full):
        with outputs.written(path) as file:
            assert file == path
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"), outputs.written(full) as file:
        file.write_text("x")


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
