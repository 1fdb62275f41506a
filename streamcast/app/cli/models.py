"""``streamcast model``: commands about trained models and architectures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamcast.app.cli.parsing import Commands
from streamcast.app.cli.spread import given, spread
from streamcast.app.cli.terminal import AsJson, Folder, Reference, console
from streamcast.app.options.flags import MODELS
from streamcast.app.options.groups import Columns, CompressOptions, NewOptions

app = Commands(help="Make, list, show, compress and promote models.", no_args_is_help=True)


@app.command("new")
@spread
def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the model.")],
    *,
    wanted: NewOptions,
    models: Folder = MODELS,
) -> int:
    """Make a model that needs no training and no history: it learns from every record."""
    from streamcast.app.commands.new import new as run

    if wanted.like:
        _takes_all_from(context, wanted.like)
    return run(name, wanted, models, console())


def _takes_all_from(context: typer.Context, like: str) -> None:
    """Raise BadParameter when an option contradicts the model that a new one is made like."""
    if contradicting := [flag for flag in given(context, NewOptions) if flag != "--like"]:
        raise typer.BadParameter(
            f"--like {like} takes everything from that model: leave out {', '.join(contradicting)}"
        )


@app.command("ls")
def ls(models: Folder = MODELS, as_json: AsJson = False) -> int:
    """List models, versions and aliases."""
    from streamcast.app.commands import models as command

    return command.ls(models, as_json, console())


@app.command("show")
def show(reference: Reference, models: Folder = MODELS, as_json: AsJson = False) -> int:
    """Show one model, such as load@latest."""
    from streamcast.app.commands import models as command

    return command.show(models, reference, as_json, console())


@app.command("schema")
def schema(
    reference: Reference,
    of: Annotated[str, typer.Option(help="observation or forecast.")] = "observation",
    models: Folder = MODELS,
) -> int:
    """Print the JSON Schema of a model's records or forecasts."""
    from streamcast.app.commands import models as command

    return command.schema(models, reference, of, console())


@app.command("promote")
def promote(
    reference: Reference,
    alias: Annotated[str, typer.Argument(help="Alias, such as champion.")],
    models: Folder = MODELS,
) -> int:
    """Point an alias, such as champion, to a version."""
    from streamcast.app.commands import models as command

    return command.make_alias(models, reference, alias, console())


@app.command("zoo")
def zoo(
    as_json: AsJson = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the page docs/zoo.md.")] = False,
) -> int:
    """List every architecture with its cost on this machine."""
    from streamcast.app.commands import models as command

    return command.zoo(as_json, markdown, console())


@app.command("advise")
def advise(
    steps: Annotated[int, typer.Option(help="How many past bars matter.", min=1)] = 96,
    resources: Annotated[str, typer.Option(help="any, free, memory, compute or mobile.")] = "any",
    task: Annotated[str, typer.Option(help="forecast, generation, classification or sources.")] = "forecast",
    as_json: AsJson = False,
) -> int:
    """Recommend an architecture for a task, with reasons."""
    from streamcast.app.commands import models as command

    return command.advise(steps, resources, task, as_json, console())


@app.command("compress")
@spread
def compress(
    context: typer.Context,
    reference: Reference,
    *,
    options: CompressOptions,
    data: Annotated[
        Path | None, typer.Option(help="Measure the loss before and after on the last part of this file.")
    ] = None,
    columns: Columns,
    models: Folder = MODELS,
) -> int:
    """Save a smaller model as the next version."""
    from streamcast.app.commands import models as command

    if options.how != "prune" and "--keep" in given(context, CompressOptions):
        raise typer.BadParameter(
            f"--keep is the share of the channels that prune keeps, and --how is {options.how}: leave it out, or choose"
            " --how prune"
        )
    return command.compress(models, reference, options, data, columns, console())
