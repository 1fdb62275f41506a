"""The commands that read a file of observations."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated

import typer

from streamcast.app.cli.spread import given, spread
from streamcast.app.cli.terminal import AsJson, Config, Data, Folder, console, loaded
from streamcast.app.options.flags import MODELS, SETTINGS, flag, typed
from streamcast.app.options.groups import (
    BacktestOptions,
    Columns,
    ReplayOptions,
    SearchOptions,
    SpecOptions,
    TrainingOptions,
)
from streamcast.errors import Option


@spread
def train(
    context: typer.Context,
    data: Data,
    *,
    name: Annotated[
        str | None, typer.Option(help="Name of the model.", show_default="model, or the name given to --from")
    ] = None,
    training: TrainingOptions,
    spec: SpecOptions,
    columns: Columns,
    models: Folder = MODELS,
) -> int:
    """Train a model on a file; Ctrl-C keeps the best weights so far."""
    from streamcast.app.commands.files.train import train as run

    _in_one_way(context, training)
    if training.start:
        _keeps_spec(context, training.start)
    else:
        _trains_a_network(context, training)
    return run(data, columns, spec, training, name, models, console())


def _in_one_way(context: typer.Context, training: TrainingOptions) -> None:
    """Raise BadParameter when an option is given by its own name and by ``--option``, too."""
    for name in training.more or {}:
        if (own := "--" + name.replace("_", "-")) in given(context, TrainingOptions):
            raise typer.BadParameter(f"{own} and --option {name} are the same option: give one of them")


def _keeps_spec(context: typer.Context, start: str) -> None:
    """Raise BadParameter when an option contradicts the spec of the model that training continues."""
    contradicting = [flag for flag in given(context, TrainingOptions) if flag == "--model"]
    if contradicting := contradicting + given(context, SpecOptions):
        raise typer.BadParameter(f"--from {start} keeps the spec of that model: leave out {', '.join(contradicting)}")


def _trains_a_network(context: typer.Context, training: TrainingOptions) -> None:
    """Raise BadParameter when a model without a network is given an option of training."""
    from streamcast.models.spec import SpecError
    from streamcast.offline.training.options import Options
    from streamcast.offline.training.untrained import refuse_for_no_network
    from streamcast.spec import zero

    if training.network not in zero.AS_NETWORK:
        return
    flags = {flag(option): option for option in (Option.EPOCHS, Option.MAX_SECONDS, Option.SEED)}
    options = [flags[each] for each in given(context, TrainingOptions) if each in flags]
    options += [Option(each.name) for each in fields(Options) if each.name in (training.more or {})]
    try:
        refuse_for_no_network(options)
    except SpecError as error:
        raise typer.BadParameter(typed(*error.args)) from None


@spread
def tune(
    data: Data,
    *,
    name: Annotated[str, typer.Option(help="Name of the model.")] = "tuned",
    search: SearchOptions,
    spec: SpecOptions,
    columns: Columns,
    models: Folder = MODELS,
) -> int:
    """Search for the network and training options that forecast a file best."""
    from streamcast.app.commands.files.tune import tune as run

    return run(data, columns, spec, search, name, models, console())


@spread
def backtest(
    data: Data, *, test: BacktestOptions, as_json: AsJson = False, columns: Columns, models: Folder = MODELS
) -> int:
    """Compare a model's forecasts of a file with simple baselines."""
    from streamcast.app.commands.files.backtest import backtest as run

    return run(data, columns, test, models, as_json, console())


@spread
def replay(data: Data, *, replay: ReplayOptions, config: Config = SETTINGS, columns: Columns) -> int:
    """Write a file's observations to a topic, in time order."""
    from streamcast.app.commands.files.replay import replay as run

    with loaded(config) as settings:
        return run(settings, data, columns, replay, console())
