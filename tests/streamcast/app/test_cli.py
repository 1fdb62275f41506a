"""What the command line prints, and the exit codes of what it cannot do."""

import socket
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness import ROOT
from harness.commands import streamcast
from streamcast.app.cli import app
from streamcast.app.cli.faults import EXTRAS, explain
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
        text = SETTINGS + f"telemetry: {{port: {port}}}\ndashboard: {{port: {port}}}\n"
        (tmp_path / "streamcast.yaml").write_text(text, encoding="utf-8")
        said = streamcast(*(word.format(port=port) for word in command), code=2, folder=tmp_path)
    assert f"{setting} is {port}: cannot listen on 127.0.0.1, port {port} (address already in use)" in said
    assert f"if the process that uses port {port} is that of these settings, it runs already" in said
    assert ("a second service would take its place" in said) is (setting == "telemetry.port")
    assert "Traceback" not in said


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
    ],
)
def test_a_wrong_option_is_named_with_what_was_expected(arguments: list[str], named: str) -> None:
    done = CliRunner().invoke(app, ["train", "data.csv", *arguments])
    assert done.exit_code == 2
    assert named in " ".join(done.output.split())
