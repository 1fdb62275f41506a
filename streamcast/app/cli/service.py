"""The commands that read a settings file: the service, its page, and what checks them; and the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamcast.app.cli.terminal import AsJson, Config, Folder, console, loaded
from streamcast.app.options.flags import MODELS, SETTINGS


def demo(
    seconds: Annotated[float, typer.Option(help="Stop after this many seconds (0: at Ctrl-C).", min=0)] = 0.0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the measurements to this file.")] = None,
    train_seconds: Annotated[float, typer.Option(help="Maximum training time.", min=1)] = 60.0,
    model: Annotated[str, typer.Option(help="Network to train: a name from `streamcast model zoo`.")] = "gru",
    port: Annotated[int, typer.Option(help="Port of the live page (0: any free port).", min=0, max=65_535)] = 8080,
) -> int:
    """Train on real series, stream unseen ones, and serve the live page."""
    from streamcast.app.commands.demo import demo as run

    return run(seconds, json_file, train_seconds, model, port, console())


def init(
    path: Annotated[
        Path | None, typer.Argument(help="File to write.", show_default="streamcast.yaml, or NAME.yaml")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of a service beside another: its group, topics, state and ports are its own."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model to run, such as load@latest.", show_default="NAME@latest")
    ] = None,
    models: Folder = MODELS,
    source: Annotated[
        str | None, typer.Option("--input", help="Topic of the observations.", show_default="observations")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> int:
    """Write a settings file with comments."""
    from streamcast.app.commands.init import init as run

    return run(path, name, model, models, source, force, console())


def check(
    config: Config = SETTINGS,
    create: Annotated[bool, typer.Option("--create", help="Create missing output topics.")] = False,
) -> int:
    """Check broker, topics and models; print a remedy for each fault."""
    from streamcast.app.commands.deployment.check.command import check as run

    with loaded(config) as settings:
        return run(settings, create, console())


def serve(config: Config = SETTINGS) -> int:
    """Forecast for every record of a topic until SIGTERM or Ctrl-C."""
    from streamcast.app.commands.deployment.serve import serve as run

    with loaded(config) as settings:
        return run(settings)


def skip(
    partition: Annotated[str, typer.Argument(metavar="TOPIC[PARTITION]", help="Such as observations[3].")],
    offset: Annotated[int, typer.Argument(min=0, help="The record's offset, as the service's log names it.")],
    config: Config = SETTINGS,
) -> int:
    """Pass over one record that stops the service: it becomes a dead letter."""
    from streamcast.app.commands.deployment.skip import skip_record

    with loaded(config) as settings:
        return skip_record(settings, partition, offset, console())


def dashboard(config: Config = SETTINGS) -> int:
    """Serve the live page: a separate process that only reads topics."""
    from streamcast.app.commands.deployment.dashboard import dashboard as run

    with loaded(config) as settings:
        return run(settings)


def verify(config: Config = SETTINGS, as_json: AsJson = False) -> int:
    """Compute every forecast again from the topics and compare all bytes."""
    if not as_json:  # loading the engine and reading the outputs takes many seconds on a busy machine
        console(stderr=True).print("Reading what the service wrote, to compute every record again …", highlight=False)
    from streamcast.app.commands.deployment.verify import verify_service

    with loaded(config) as settings:
        return verify_service(settings, as_json, console())
