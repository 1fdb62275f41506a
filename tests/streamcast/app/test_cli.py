"""What the command line prints, and the exit codes of what it cannot do."""

import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from harness import ROOT
from harness.commands import streamcast
from streamcast import Forecaster
from streamcast.app.cli import app, parsing
from streamcast.app.cli.faults import EXTRAS, explain
from streamcast.app.cli.parsing import Command, Group
from streamcast.consumers.transport import TransportError
from streamcast.errors import HistoryError, ModelError, ServiceError, SettingsError, SnapshotError
from streamcast.models.spec import SpecError

SETTINGS = "kafka: {client: librdkafka}\nmodels: {lanes: {champion: {model: load@latest}}}\n"


@pytest.mark.parametrize(
    ("command", "package"),
    [
        (["check"], "confluent_kafka"),
        (["dlq", "inspect"], "confluent_kafka"),
        (["dashboard"], "starlette"),
        (["tune", "data.csv", "--id-col", "id", "--time-col", "ds", "--target-col", "y"], "optuna"),
        (["demo"], "uvicorn"),
    ],
)
def test_a_package_that_is_not_installed_is_one_message_with_its_extra(
    command: list[str], package: str, tmp_path: Path
) -> None:
    (tmp_path / "streamcast.yaml").write_text(SETTINGS, encoding="utf-8")
    (tmp_path / "data.csv").write_text("id,ds,y\na,2024-01-01,1\na,2024-01-02,2\n", encoding="utf-8")
    said = streamcast(*command, code=2, folder=tmp_path, without=package)
    assert f"pip install 'streamcast-forecasting[{EXTRAS[package]}]'" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("command", "setting"),
    [
        (["serve"], "telemetry.port"),
        (["dashboard"], "dashboard.port"),
        (["demo", "--port", "{port}"], "--port"),
    ],
)
def test_a_port_in_use_is_one_message_that_names_it_and_its_setting(
    command: list[str], setting: str, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        section, _, name = setting.partition(".")
        text = SETTINGS + (f"{section}: {{{name}: {port}}}\n" if name else "")
        (tmp_path / "streamcast.yaml").write_text(text, encoding="utf-8")
        said = streamcast(*(word.format(port=port) for word in command), code=2, folder=tmp_path)
    assert f"{setting} is {port}: cannot listen on 127.0.0.1, port {port} (address already in use)" in said
    assert f"if the process that uses port {port} is that of these settings, it runs already" in said
    assert ("a second service would take its place" in said) is (setting == "telemetry.port")
    assert "Traceback" not in said


@pytest.mark.parametrize("given", [[], ["-c", "given.yaml"]])
def test_the_environment_names_the_settings_file_where_the_command_line_does_not(
    given: list[str], tmp_path: Path
) -> None:
    named = tmp_path / "named.yaml"
    found = CliRunner().invoke(app, ["check", *given], env={"STREAMCAST_CONFIG": str(named)})
    assert str(found.exception).startswith(f"{given[1] if given else named}: cannot be read")


def test_the_environment_names_the_folder_of_models(tmp_path: Path) -> None:
    environment = {"STREAMCAST_MODELS": str(tmp_path), "COLUMNS": "300"}
    assert f"No models in {tmp_path}" in CliRunner().invoke(app, ["model", "ls"], env=environment).output


def test_every_package_of_an_extra_that_is_imported_is_listed_with_that_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for package, extra in EXTRAS.items():
        distribution = {"confluent_kafka": "confluent-kafka"}.get(package, package)
        assert any(line.startswith(f"{distribution}>=") for line in project["optional-dependencies"][extra])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ServiceError("a"), 1), (SnapshotError("a"), 1), (SettingsError("a"), 2), (ModelError("a"), 2),
        (HistoryError("a"), 2), (SpecError("a"), 2), (TransportError("a [/x]"), 3),
    ],
)  # fmt: skip
def test_an_error_carries_its_exit_code_and_is_printed_as_one_message(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(error) == code
    assert capsys.readouterr().err == f"{type(error).__name__}: {error}\n"


def test_an_error_that_quotes_a_stranger_is_printed_without_control_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert explain(ModelError("a\x1b[2J\x07\x9b\nb")) == 2
    assert capsys.readouterr().err == "ModelError: a\\x1b[2J\\x07\\x9b\nb\n"


def test_a_line_of_the_log_has_no_control_characters() -> None:
    code = (
        "import logging, sys; from streamcast.app.cli.root import main\n"
        "sys.argv = ['streamcast', '--version']\n"
        "try: main()\n"
        "except SystemExit: logging.getLogger('streamcast').warning('key %s', 'a\\x1b[2J')"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120)
    assert ran.stderr.endswith(" WARNING key a\\x1b[2J\n")


def test_an_unexpected_error_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        explain(ZeroDivisionError())


def test_the_version_is_that_of_the_distribution() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"streamcast {version('streamcast-forecasting')}\n"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--horizon", "0"], "--horizon"),
        (["--season", "0"], "'--season': '0' is not a list of seasons: expected bars or durations above 0, such as"),
        (["--season", "-3"], "'--season': '-3' is not a list of seasons: expected bars or durations above 0, such as"),
        (["--season", "24,1x"], "'--season': '24,1x' is not a list of seasons: expected bars or durations above 0,"),
        (["--epochs", "0"], "--epochs"),
        (["--max-seconds", "-1"], "--max-seconds"),
        (["--quantiles", "0.1;0.5"], "'--quantiles': '0.1;0.5' is not a list of numbers"),
        (["--timezone", "Mars/Base"], "'--timezone': 'Mars/Base' is not a time zone"),
        (["--calendar-timezone", "Mars"], "'--calendar-timezone': 'Mars' is not a time zone"),
        (["--aggregates", "sum"], "'--aggregates': 'sum' is not a pair"),
        (["--model", "{gru}"], "'--model': not JSON"),
        (["--option", "rows"], "'--option': 'rows' is not an option with its value"),
        (["--transform", "root"], "Invalid value for '--transform': 'root' is not one of 'none', 'sqrt', 'log'."),
    ],
)
def test_a_wrong_option_is_named_with_what_was_expected(arguments: list[str], named: str) -> None:
    done = CliRunner().invoke(app, ["train", "data.csv", *arguments])
    assert done.exit_code == 2
    assert named in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("train x.csv --epochs 3 --epochs 2", "'--epochs': it is given twice, and only the last would count"),
        ("train x.csv --columns a --columns b --columns c", "'--columns': it is given 3 times"),
        ("train x.csv --option rows=3 --option rows=2", "'--option': rows is given twice"),
        ("train x.csv --online warm=1 --online warm=2", "'--online': warm is given twice"),
        ("train x.csv --option epochs=3 --epochs 2", "--epochs and --option epochs are the same option"),
        ("train x.csv --option max_seconds=3 --max-seconds 3", "--max-seconds and --option max_seconds are the same"),
        ("train x.csv --model zero --option seed=3 --seed 2", "--seed and --option seed are the same option"),
        ("model new x --aggregates y=sum,y=mean", "'--aggregates': y is given twice"),
        ("verify -c a.yaml --config b.yaml", "'--config' / '-c' (env var: 'STREAMCAST_CONFIG'): it is given twice"),
        ("--log-level info --log-level debug model ls", "'--log-level': it is given twice"),
        ("dlq inspect --reason json --reason key", "'--reason': it is given twice"),
        ("state show --config a --config b key", "'--config' / '-c' (env var: 'STREAMCAST_CONFIG'): it is given twice"),
    ],
)
def test_an_option_that_is_given_twice_is_refused(arguments: str, said: str) -> None:
    found = CliRunner().invoke(app, arguments.split(), env={"COLUMNS": "300"})
    assert found.exit_code == 2
    assert said in found.output


@pytest.mark.parametrize("arguments", ["model ls --json --json", "train x.csv --known a --known b"])
def test_a_list_and_a_flag_may_be_given_twice(arguments: str) -> None:
    assert "twice" not in CliRunner().invoke(app, arguments.split()).output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--horizon 1d", "It is '1d', and means: How many bars to forecast."),
        ("--max-seconds 10s", "It is '10s', and means: Maximum training time (0: no limit)."),
        ("--hold-out 20", "It is '20', and means: Share of the file, at its end"),
        ("--quantiles 10,50,90", "must rise strictly between 0 and 1: as shares, are they 0.1, 0.5, 0.9?"),
    ],
)
def test_a_value_of_another_kind_is_named_with_what_the_option_means(arguments: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("unique_id,ds,y\na,2024-01-01,1\na,2024-01-02,2\n", encoding="utf-8")
    assert said in streamcast("train", "x.csv", *arguments.split(), code=2, folder=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            "predict x.csv",
            "No such command 'predict'. In Python, Forecaster.load('trained/NAME/1').predict(df) forecasts",
        ),
        ("forecast x.csv", "backtest FILE --model NAME@latest --frame forecasts.csv writes forecasts of the past"),
        ("fit x.csv", "No such command 'fit'. streamcast train FILE trains a model."),
        (
            "cross_validation x.csv",
            "No such command 'cross_validation'. streamcast backtest FILE --model NAME@latest tests",
        ),
        ("train x.csv --level 80", "No such option '--level'. A level is two quantiles"),
        ("train x.csv --level=80", "--quantiles 0.1,0.5,0.9 is level 80."),
        ("train x.csv --h 3", "chosen when a model is trained: --horizon."),
        (
            "backtest x.csv --n_windows 3",
            "No such option '--n_windows'. streamcast backtest FILE --model NAME@latest --tes",
        ),
        ("trian x.csv", "No such command 'trian'. Did you mean 'train'?"),
        ("train x.csv --horizn 3", "No such option: --horizn"),
    ],
)
def test_a_name_that_only_python_has_is_answered_with_what_does_the_same(arguments: str, said: str) -> None:
    found = CliRunner().invoke(app, arguments.split(), env={"COLUMNS": "500"})
    assert found.exit_code == 2
    assert said in " ".join(found.output.split())
    assert "Possible options" not in found.output or "--horizn" in arguments


def test_every_name_of_python_leads_to_the_command_line() -> None:
    methods = {
        name.replace("_", "-") for name, method in vars(Forecaster).items() if name[0] != "_" and callable(method)
    }
    assert {*methods, "load"} <= {*parsing.COMMANDS, *get_command(app).commands}  # type: ignore[attr-defined]
    assert set(parsing.COMMANDS).isdisjoint(get_command(app).commands)  # type: ignore[attr-defined]
    known = {flag for _, command in commands(get_command(app)) for option in command.params for flag in option.opts}
    named = {
        "--" + name.replace("_", "-")
        for method in (Forecaster.__init__, Forecaster.predict, Forecaster.cross_validation)
        for name in signature(method).parameters
    }
    assert named - known - set(parsing.OPTIONS) == {"--self", "--df", "--progress", "--options"}
    assert known.isdisjoint(parsing.OPTIONS)


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All commands and groups, with their paths."""
    yield path, group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


def test_no_command_takes_an_option_twice() -> None:
    """However it is declared: the commands are made by ``Commands``, or the last of two values would count."""
    found = dict(commands(get_command(app)))
    assert len(found) > 20
    assert not [path for path, command in found.items() if not isinstance(command, Command | Group)]
