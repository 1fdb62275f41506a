"""An error names an option as its front door does: ``freq`` in Python, ``--freq`` on the command line."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer.main
from typer.testing import CliRunner

from harness import ROOT
from harness.streams import SPECS, network
from streamcast.app.cli import app
from streamcast.app.cli.faults import explain
from streamcast.app.forecaster import Forecaster
from streamcast.app.options.flags import flag, typed
from streamcast.errors import HistoryError, Message, Option, SettingsError
from streamcast.models.spec import SpecError
from streamcast.offline.evaluation.backtest import backtest
from streamcast.offline.training.fit import fit
from streamcast.offline.training.options import Options
from streamcast.spec.folders import save_model

HOURS = pd.DataFrame({"ds": pd.date_range("2026-01-01", periods=48, freq="h"), "y": range(48)})
ODD = HOURS.assign(id_col="freq", freq=1).rename(columns={"y": "target_col"})
SPRING = HOURS[:1].assign(ds="2026-03-29 02:30")
GERMAN = HOURS.assign(ds=HOURS.ds.dt.strftime("%d.%m.%Y %H:%M"))

READING = ("train", "tune", "backtest", "replay", "model compress")
"""The commands that read a file, in which the options of reading must exist."""
TRAINING = ("train", "tune")
BACKTEST = {Option.TEST_FROM, Option.BASELINES}
"""The options that only a backtest has."""
NEW = {
    Option.FREQ, Option.HORIZON, Option.SEASON, Option.QUANTILES, Option.LOWER, Option.COLUMNS, Option.TICKS,
    Option.GRACE, Option.AGGREGATES,
}  # fmt: skip
"""The options of ``model new`` that a message can name."""


def flags_of(command: str) -> set[str]:
    """Return the flags that typer declares for a command."""
    found: Any = typer.main.get_command(app)
    for name in command.split():
        found = found.commands[name]
    return {name for parameter in found.params for name in parameter.opts}


def test_a_note_says_how_to_choose_what_the_model_reads(tmp_path: Path) -> None:
    frame = HOURS.assign(temp=1.0, wind=2.0)
    frame.to_csv(tmp_path / "load.csv", index=False)
    command = ["train", str(tmp_path / "load.csv"), "--id-col", "", "--models", str(tmp_path), "--model", "zero"]
    said = "'temp', 'wind' are inputs of the model: keep in {} only what shall be one"
    assert said.format("--columns") in CliRunner().invoke(app, command).stderr
    assert said.format("df") in Forecaster("zero", 2, id_col=None).fit(frame).notes


def test_no_note_asks_about_an_input_that_an_option_names(tmp_path: Path) -> None:
    frame = HOURS.assign(temp=1.0, wind=2.0)
    frame.to_csv(tmp_path / "load.csv", index=False)
    command = ["train", str(tmp_path / "load.csv"), "--id-col", "", "--models", str(tmp_path), "--model", "zero"]
    asks = "'wind' is an input of the model: keep in {} only what shall be one"
    for flags, choice, rest in (
        (["--known", "temp"], {"known": ["temp"]}, asks),
        (["--known", "temp,wind"], {"known": ["temp", "wind"]}, ""),
        (
            ["--ticks", "--freq", "1h", "--aggregates", "wind=max,temp=max"],
            {"ticks": True, "freq": "1h", "aggregates": {"wind": "max", "temp": "max"}}, "",
        ),
    ):  # fmt: skip
        done = CliRunner().invoke(app, [*command, *flags])
        notes = Forecaster("zero", 2, id_col=None, **choice).fit(frame).notes
        assert done.exit_code == 0, done.output
        for said, option in ((done.stderr.split("note: "), "--columns"), (list(notes), "df")):
            asked = [note.strip() for note in said if "of the model: keep" in note]
            assert asked == ([rest.format(option)] if rest else [])


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return what a command that fails prints of its error."""
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert isinstance(done.exception, Exception), done.output
    capsys.readouterr()
    assert explain(done.exception) == 2
    return capsys.readouterr().err


def named(path: str) -> set[Option]:
    """Return the options that the code of a room or a module names."""
    place = ROOT / path
    files = place.rglob("*.py") if place.is_dir() else [place]
    names = {name for file in files for name in re.findall(r"\bOption\.([A-Z_]+)", file.read_text(encoding="utf-8"))}
    return {Option[name] for name in names}


def test_every_option_is_a_parameter_in_python_and_a_flag_of_training() -> None:
    doors = (Forecaster, Forecaster.fit, fit, backtest)
    python = {name for door in doors for name in signature(door).parameters}
    settings = {field.name for field in fields(Options)}
    for option in Option:
        typed_in = flags_of("backtest" if option in BACKTEST else "train")
        assert option.value in python | settings
        name, _, value = flag(option).partition(" ")
        assert name in typed_in
        assert value in settings | {""}


@pytest.mark.parametrize(
    ("room", "commands"),
    [
        ("streamcast/offline/history", READING),
        ("streamcast/offline/evaluation", READING),
        ("streamcast/offline/defaults", TRAINING),
        ("streamcast/app/specs.py", TRAINING),
        ("streamcast/spec", TRAINING),
    ],
)
def test_what_a_room_names_is_an_option_of_every_command_that_reaches_it(room: str, commands: tuple[str, ...]) -> None:
    # "Train with --ticks" is said of another command, and only a backtest has a part to score.
    others = {Option.TICKS, *BACKTEST} if commands == READING else set()
    for command in commands:
        assert {flag(option) for option in named(room) - others} <= flags_of(command)
    assert {flag(option) for option in NEW} <= flags_of("model new")


def literals(node: ast.AST) -> Iterator[str]:
    return (part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str))


@pytest.mark.parametrize("room", ["offline", "spec", "app/specs.py"])
def test_no_text_of_the_library_spells_an_option(room: str) -> None:
    spelled = re.compile(r"--|\bfreq\b|\b(?:id|time|target)_col\b|\btime_format\b|\b(?:cell|ponder|decay)_\w+")
    place = ROOT / "streamcast" / room
    for file in place.rglob("*.py") if place.is_dir() else [place]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) or (
                isinstance(node, ast.Call) and ast.unparse(node.func).endswith("append")
            ):
                wrong = [text for text in literals(node) if spelled.search(text)]
                assert not wrong, f"{file}:{node.lineno}: {wrong}: make the option a part of its own, as Option.FREQ"


@pytest.mark.parametrize(
    ("frame", "choices", "arguments", "python", "shell"),
    [
        (
            ODD, {}, [],
            "say which is which with id_col (empty: they are one series), time_col and target_col",
            "say which is which with --id-col (empty: they are one series), --time-col and --target-col",
        ),
        (
            HOURS.assign(**{"Working day": 1.0}), {"known": ["workingday"]}, ["--known", "workingday"],
            "known names workingday, did you mean 'Working day'?",
            "--known names workingday, did you mean 'Working day'?",
        ),
        (HOURS, {"freq": "0h"}, ["--freq", "0h"], "freq is '0h'; expected", "--freq is '0h'; expected"),
        (HOURS, {"freq": "x"}, ["--freq", "x"], "freq: 'x' is not a duration", "--freq: 'x' is not a duration"),
        (HOURS, {"ticks": True}, ["--ticks"], "freq is missing: readings", "--freq is missing: readings"),
        (HOURS[:1], {}, [], "freq cannot be guessed", "--freq cannot be guessed"),
        (GERMAN, {}, [], "; give time_format for another form", "; give --time-format for another form"),
        (
            HOURS.assign(ds=range(48)), {}, [],
            "or give time_format, such as %Y%m%d", "or give --time-format, such as %Y%m%d",
        ),
        (
            HOURS.assign(ds=HOURS.ds.astype(str)), {"time_format": "%d.%m.%Y"}, ["--time-format", "%d.%m.%Y"],
            "of the form of time_format %d.%m.%Y", "of the form of --time-format %d.%m.%Y",
        ),
        (
            SPRING, {"timezone": "Europe/Berlin"}, ["--timezone", "Europe/Berlin"],
            "hours); give timezone as that", "hours); give --timezone as that",
        ),
        (
            HOURS.assign(day=HOURS.ds.dt.strftime("%Y-%m-%d")), {}, [],
            "Leave it out of df, or", "Leave it out of --columns, or",
        ),
        (
            HOURS, {"season": "90min"}, ["--season", "90min"],
            "season 90min is no whole number of bars of 1h: choose a freq that",
            "--season 90min is no whole number of bars of 1h: choose a --freq that",
        ),
        (HOURS, {"lags": 12}, ["--lags", "12"], "lags 12 must be a multiple", "--lags 12 must be a multiple"),
        (
            HOURS, {"quantiles": (0.1, 0.9)}, ["--quantiles", "0.1,0.9"],
            "quantiles (0.1, 0.9) must hold 0.5", "--quantiles (0.1, 0.9) must hold 0.5",
        ),
        (HOURS, {"scales": ["90min"]}, ["--scales", "90min"], "scales 90min must be", "--scales 90min must be"),
        (HOURS, {"scales": ["x"]}, ["--scales", "x"], "scales: 'x' is not a dur", "--scales: 'x' is not a dur"),
        (HOURS, {"grace": "2min"}, ["--grace", "2min"], "grace is for ticks: a", "--grace is for --ticks: a"),
        (
            HOURS, {"aggregates": {"y": "median"}}, ["--aggregates", "y=median"],
            "aggregates is 'median': it should be 'mean'", "--aggregates is 'median': it should be 'mean'",
        ),
        (
            HOURS, {"aggregates": {"y": "sum"}}, ["--aggregates", "y=sum"],
            "aggregates is for ticks: without it a row is a bar", "--aggregates is for --ticks: without it a row is",
        ),
        (
            HOURS, {"aggregates": {"w": "sum"}}, ["--aggregates", "w=sum"],
            "aggregates names w; the columns are y", "--aggregates names w; the columns are y",
        ),
        (
            HOURS, {"id_col": "ds"}, ["--id-col", "ds"],
            "id_col and time_col both name 'ds': expected a column of its own for each; for a single series",
            "--id-col and --time-col both name 'ds': expected a column of its own for each; for a single series",
        ),
        (
            HOURS, {"time_col": "y"}, ["--time-col", "y"],
            "time_col and target_col both name 'y': expected", "--time-col and --target-col both name 'y': expected",
        ),
        (HOURS, {"known": ["y"]}, ["--known", "y"], "known names y, the target, whose", "--known names y, the target,"),
        (HOURS, {"known": ["w"]}, ["--known", "w"], "known names w; the input", "--known names w; the input"),
        (HOURS, {"holidays": "ZZ"}, ["--holidays", "ZZ"], "holidays is 'ZZ': ", "--holidays is 'ZZ': "),
        (HOURS, {"holidays": ""}, ["--holidays", ""], "holidays is empty: expected", "--holidays is empty: expected"),
        (HOURS, {"lower": float("inf")}, ["--lower", "inf"], "lower is inf: it should", "--lower is inf: it should"),
        (
            HOURS, {"model": "zero", "lags": 8}, ["--model", "zero", "--lags", "8"],
            "lags is an input of a network", "--lags is an input of a network",
        ),
        (
            HOURS, {"model": "zero", "plain": True}, ["--model", "zero", "--plain"],
            "plain has no effect with zero", "--plain has no effect with zero",
        ),
        (
            HOURS, {"model": "zero", "members": 2}, ["--model", "zero", "--members", 2],
            "members is 2, and zero has no network", "--members is 2, and zero has no network",
        ),
    ],
)  # fmt: skip
def test_both_doors_name_what_was_given_to_them(
    frame: pd.DataFrame, choices: dict[str, Any], arguments: list[str], python: str, shell: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    with pytest.raises((HistoryError, SettingsError, SpecError)) as caught:
        Forecaster(**choices).fit(frame)
    assert python in str(caught.value)
    assert "--" not in str(caught.value)
    frame.to_csv(tmp_path / "data.csv", index=False)
    single = [] if "--id-col" in arguments else ["--id-col", ""]
    said = printed(capsys, "train", tmp_path / "data.csv", *single, "--models", tmp_path, *arguments)
    assert shell in said


@pytest.mark.parametrize(
    ("options", "arguments", "python", "shell"),
    [
        ({"validation": 2}, ["--option", "validation=2"], "validation is 2: expected", "--option validation is 2: exp"),
        ({"epochs": 10**7}, ["--epochs", 10**7], "epochs is 10000000: expected", "--epochs is 10000000: expected"),
    ],
)
def test_both_doors_name_an_option_of_training(
    options: dict[str, Any], arguments: list[object], python: str, shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SpecError, match=f"^{python}"):
        Options(**options)
    assert shell in printed(capsys, "train", "data.csv", *arguments)


@pytest.mark.parametrize(
    ("arguments", "shell"),
    [
        (["--freq", "0h"], "--freq is '0h'"),
        (["--freq", "1h", "--season", "90min"], "--season 90min is no whole number of bars of 1h: choose a --freq"),
        (["--freq", "1h", "--quantiles", "0.1"], "--quantiles (0.1,) must hold 0.5"),
        (["--freq", "1h", "--grace", "5min"], "--grace is for --ticks"),
        (["--freq", "1h", "--grace", "x"], "--grace: 'x' is not a duration"),
        (["--freq", "1h", "--aggregates", "y=median"], "--aggregates is 'median'"),
        (["--freq", "1h", "--aggregates", "y=sum"], "--aggregates is for --ticks"),
        (["--freq", "1h", "--lower", "nan"], "--lower is nan"),
        (["--freq", "1h", "--columns", "y,y"], "--columns names one twice: y, y"),
        (["--freq", "1h", "--columns", 'y,a"b'], "column 'a\"b': expected a name without quotes"),
    ],
)
def test_a_new_model_names_flags(
    arguments: list[str], shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shell in printed(capsys, "model", "new", "load", "--models", tmp_path, *arguments)


def test_the_other_commands_on_files_name_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, odd, settings = tmp_path / "data.csv", tmp_path / "odd.csv", tmp_path / "streamcast.yaml"
    HOURS.to_csv(data, index=False)
    ODD.to_csv(odd, index=False)
    settings.write_text(f"models: {{folder: {tmp_path}, lanes: {{champion: {{model: load@latest}}}}}}\n")
    CliRunner().invoke(app, ["model", "new", "load", "--freq", "1h", "--models", str(tmp_path)])
    test = ["backtest", data, "--models", tmp_path, "--model", "load@latest", "--id-col", ""]
    assert "--freq is 30min, and the model has bars of 1h: leave --freq out" in printed(
        capsys, *test, "--freq", "30min"
    )
    assert "--test-from: 'soon' is not a time" in printed(capsys, *test, "--test-from", "soon")
    assert "cannot be read: no such file or directory" in printed(capsys, *test[:1], tmp_path / "no.csv", *test[2:])
    which = "say which is which with --id-col (empty: they are one series), --time-col and --target-col"
    assert which in printed(capsys, "backtest", odd, *test[2:])
    assert which in printed(capsys, "tune", odd, "--id-col", "", "--models", tmp_path)
    assert which in printed(capsys, "replay", odd, "--id-col", "", "--config", settings)
    assert "has no column 'w'. Its columns are ds, y\n" in printed(capsys, *test, "--columns", "w")
    assert "48 rows in 48 bars of 1h, and a test of this model needs at least 49 bars" in printed(capsys, *test)
    broken = tmp_path / "broken.csv"
    pd.concat([HOURS, HOURS.assign(ds=HOURS.ds + pd.Timedelta(days=90))]).to_csv(broken, index=False)
    test[1] = broken
    choose = "choose a time from 2026-01-01 02:00:00+00:00 to 2026-04-02 23:00:00+00:00 with --test-from\n"
    assert choose in printed(capsys, *test, "--test-from", "2030-01-01")
    assert "choose a later time with --test-from\n" in printed(capsys, *test, "--test-from", "2026-04-01T02:00")
    save_model(tmp_path, "small", SPECS["gru"], network("gru"), {})
    again = ["train", data, "--models", tmp_path, "--id-col", ""]
    assert "Error: --teacher is given, but" in printed(capsys, *again, "--model", "zero", "--teacher", "load@1")
    assert "cannot continue training --from load@1" in printed(capsys, *again, "--from", "load@1")
    assert "Error: --teacher is load@1, which has no network" in printed(capsys, *again, "--teacher", "load@1")
    assert "Error: --teacher is small@1, which differs from the" in printed(capsys, *again, "--teacher", "small@1")


def test_notes_name_options_in_both_doors(tmp_path: Path) -> None:
    again = pd.concat([HOURS, HOURS[-1:]])
    with pytest.warns(match="a model trained with ticks uses them all$"):
        forecaster = Forecaster("zero", horizon=2).fit(again)
    assert "freq 1h was guessed: it is the median step" in forecaster.notes
    again.to_csv(tmp_path / "data.csv", index=False)
    arguments = ["train", tmp_path / "data.csv", "--model", "zero", "--horizon", "2", "--id-col", "", "--models"]
    said = CliRunner().invoke(app, [*map(str, arguments), str(tmp_path)]).stderr
    assert "note: --freq 1h was guessed: it is the median step\n" in said
    assert "a model trained with --ticks uses them all\n" in said


def test_an_option_in_an_f_string_is_refused_because_the_command_line_could_not_find_it() -> None:
    with pytest.raises(TypeError, match=r"Option\.FREQ"):
        HistoryError(f"{Option.FREQ} is missing")
    assert str(HistoryError(Option.FREQ, " is missing")) == Message(Option.FREQ, " is missing") == "freq is missing"
    assert typed(Option.ID_COL, " of 'freq'") == typed(Message(Option.ID_COL, " of 'freq'")) == "--id-col of 'freq'"
