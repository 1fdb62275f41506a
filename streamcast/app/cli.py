"""The command line: options to calls, exceptions to exit codes, and nothing else.

Exit codes: 0, 1 failure, 2 settings, 3 broker, 130 interrupted.  Everything heavy is imported by the command
that needs it, so that ``--help`` answers at once.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamcast.app.options import Layout, Task, spread

if TYPE_CHECKING:
    from rich.console import Console

    from streamcast.spec.model_spec import SeriesSpec

app = typer.Typer(
    help="Forecasts from streams, with state that survives.", no_args_is_help=True, add_completion=False,
    pretty_exceptions_enable=False, rich_markup_mode=None,
)  # fmt: skip
model_app = typer.Typer(help="Look at trained models.", no_args_is_help=True)
dlq_app = typer.Typer(help="Look at dead letters and send them again.", no_args_is_help=True)
state_app = typer.Typer(help="Look at the state of one series, or begin it anew.", no_args_is_help=True)
app.add_typer(model_app, name="model")
app.add_typer(dlq_app, name="dlq")
app.add_typer(state_app, name="state")

SETTINGS_FAULT, INTERRUPTED = 2, 130

EXTRAS = {
    "confluent_kafka": "librdkafka", "h11": "dashboard", "optuna": "tune", "plotly": "dashboard",
    "starlette": "dashboard", "tsdata": "demo", "uvicorn": "dashboard",
}  # fmt: skip
"""Which extra brings a package that a plain install lacks."""

Config = Annotated[Path, typer.Option("--config", "-c", help="The settings file.")]
Folder = Annotated[Path, typer.Option("--models", help="The folder of trained models.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Data = Annotated[Path, typer.Argument(help="A CSV or Parquet file of observations.")]

HERE = Path("streamcast.yaml")
MODELS = Path("trained")


@app.command()
def demo(
    seconds: Annotated[float, typer.Option(help="Stream for so long and end (0: until Ctrl-C).")] = 0.0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write what was measured to this file.")] = None,
    train_seconds: Annotated[float, typer.Option(help="Longest training.")] = 60.0,
    model: Annotated[str, typer.Option(help="The network to train.")] = "gru",
    port: Annotated[int, typer.Option(help="Port of the live page (0: any free one).")] = 8080,
) -> int:
    """Train on real series, stream unseen ones, and serve the page."""
    from streamcast.app.commands.demo import demo as run

    return run(seconds, json_file, train_seconds, model, port, _console())


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="Where to write it.")] = HERE,
    force: Annotated[bool, typer.Option(help="Replace a file that is there.")] = False,
) -> int:
    """Write a commented settings file."""
    from streamcast.app.settings import write_template

    if path.exists() and not force:
        _console().print(f"[red]{path} is there already:[/] --force replaces it")
        return SETTINGS_FAULT
    path.write_text(write_template(), encoding="utf-8")
    _console().print(f"Wrote {path}. Set models.lanes to a model of yours, then: streamcast check -c {path}")
    return 0


@app.command()
def check(
    config: Config = HERE,
    create: Annotated[bool, typer.Option(help="Create the output topics that are missing.")] = False,
) -> int:
    """Look at broker, topics and models; name faults and remedies."""
    from streamcast.app.commands.check import check as run

    return run(_settings(config), create, _console())


@app.command()
@spread
def train(
    context: typer.Context,
    data: Data,
    *,
    name: Annotated[str, typer.Option(help="The model's name (default: model, or that of --from).")] = "",
    model: Annotated[
        str, typer.Option(help="The network: a name of `streamcast model zoo`, or a spec as JSON.")
    ] = "gru",
    epochs: Annotated[int, typer.Option(help="Most passes over the data.")] = 40,
    max_seconds: Annotated[float, typer.Option(help="Longest training (0: no limit).")] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of weights and batches.")] = 0,
    task: Task,
    option: Annotated[
        list[str] | None,
        typer.Option(help="Another training option, such as cell_penalty=1e-3; repeat."),
    ] = None,
    start: Annotated[str, typer.Option("--from", help="Train this model on, such as load@2; its spec is kept.")] = "",
    teacher: Annotated[str, typer.Option(help="A model to imitate, such as load@champion (distillation).")] = "",
    layout: Layout,
    models: Folder = MODELS,
) -> int:
    """Train a model on a file; Ctrl-C keeps the best so far."""
    from streamcast.app.commands.train import train as run

    for fixed in ("horizon", "model", "scales", "quantiles", "lags", "season", "grace", "aggregates") if start else ():
        if (source := context.get_parameter_source(fixed)) and source.name == "COMMANDLINE":
            raise typer.BadParameter(f"--{fixed} is part of the spec, which is that of --from {start}: leave one out")
    history = _history(data, layout, ticks=task.ticks)
    choice = task.chosen() | {
        "network": model, "epochs": epochs, "max_seconds": max_seconds, "seed": seed, "options": option or [],
        "start": start, "teacher": teacher,
    }  # fmt: skip
    return run(history, str(data), name, choice, models, _console())


@app.command()
@spread
def tune(
    data: Data,
    *,
    name: Annotated[str, typer.Option(help="The name of the model that is kept.")] = "tuned",
    networks: Annotated[str, typer.Option(help="Names of `streamcast model zoo` to choose from.")] = "gru,lstm",
    trials: Annotated[int, typer.Option(help="Most candidates.")] = 20,
    max_seconds: Annotated[float, typer.Option(help="No candidate begins later than this (0: no limit).")] = 600.0,
    trial_seconds: Annotated[float, typer.Option(help="Longest training of a candidate (0: no limit).")] = 0.0,
    epochs: Annotated[int, typer.Option(help="Most passes over the data by a candidate.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the search, of weights and batches.")] = 0,
    task: Task,
    layout: Layout,
    models: Folder = MODELS,
) -> int:
    """Search for the model that forecasts a file best, and keep it."""
    from streamcast.app.commands.tune import tune as run

    history = _history(data, layout, ticks=task.ticks)
    choice = task.chosen() | {
        "networks": networks.split(","), "trials": trials, "max_seconds": max_seconds,
        "trial_seconds": trial_seconds, "epochs": epochs, "seed": seed,
    }  # fmt: skip
    return run(history, str(data), name, choice, models, _console())


@app.command()
@spread
def backtest(
    data: Data,
    *,
    model: Annotated[str, typer.Option(help="A model, such as load@latest.")],
    test_from: Annotated[str, typer.Option(help="Score from this time on (default: the last fifth).")] = "",
    frame: Annotated[Path | None, typer.Option(help="Write every forecast to this CSV or Parquet file.")] = None,
    as_json: AsJson = False,
    layout: Layout,
    models: Folder = MODELS,
) -> int:
    """Score a model's forecasts of a file beside simple baselines."""
    from streamcast.app.commands.backtest import backtest as run

    def read(series: SeriesSpec) -> Any:
        return _history(data, layout, ticks=series.mode == "ticks", freq=series.freq)

    return run(read, model, models, test_from, layout.timezone, frame, as_json, _console())


@app.command()
def serve(config: Config = HERE) -> int:
    """Answer the records of a topic until SIGTERM or Ctrl-C."""
    from streamcast.app.commands.serve import serve as run

    return run(_settings(config))


@app.command()
@spread
def replay(
    data: Data,
    *,
    topic: Annotated[str, typer.Option(help="The topic to write to (default: input.topic).")] = "",
    speed: Annotated[float, typer.Option(help="Event time per real time, such as 3600 (0: as fast as it goes).")] = 0.0,
    partitions: Annotated[int, typer.Option(help="Create the topic with so many partitions if it is missing.")] = 0,
    config: Config = HERE,
    layout: Layout,
) -> int:
    """Write a file's observations to a topic, in time order."""
    from rich.progress import Progress

    from streamcast.app.commands.replay import replay as run

    settings = _settings(config)
    history = _history(data, layout)
    with Progress(console=_console()) as progress:
        task = progress.add_task("records written", total=len(history))
        topic = topic or settings.input.topic
        run(settings, history, topic, speed, partitions, lambda done: progress.update(task, completed=done))
    _console().print(f"Wrote {len(history):,} records of {len(history.keys):,} series to {topic}.")
    return 0


@app.command()
def dashboard(config: Config = HERE) -> int:
    """Serve the live page, a process that only reads the topics."""
    from streamcast.app.commands.dashboard import dashboard as run

    return run(_settings(config))


@app.command()
def verify(config: Config = HERE, as_json: AsJson = False) -> int:
    """Recompute every forecast from the topics; compare every byte."""
    from streamcast.app.commands.verify import verify_service

    return verify_service(_settings(config), as_json, _console())


@app.command()
def skip(
    partition: Annotated[str, typer.Argument(metavar="TOPIC[PARTITION]", help="Such as observations[3].")],
    offset: Annotated[int, typer.Argument(min=0, help="The record's offset, as the service's log names it.")],
    config: Config = HERE,
) -> int:
    """Pass over one record that stops the service: it becomes a dead letter."""
    from streamcast.app.commands.skip import skip_record

    return skip_record(_settings(config), partition, offset, _console())


@model_app.command("ls")
def model_ls(models: Folder = MODELS, as_json: AsJson = False) -> int:
    """List models, versions and aliases."""
    from streamcast.app.commands import models as command

    return command.ls(models, as_json, _console())


@model_app.command("show")
def model_show(reference: str, models: Folder = MODELS, as_json: AsJson = False) -> int:
    """Show one model, such as load@latest."""
    from streamcast.app.commands import models as command

    return command.show(models, reference, as_json, _console())


@model_app.command("schema")
def model_schema(
    reference: str,
    of: Annotated[str, typer.Option(help="observation or forecast.")] = "observation",
    models: Folder = MODELS,
) -> int:
    """Print the JSON Schema of a model's records or forecasts."""
    from streamcast.app.commands import models as command

    return command.schema(models, reference, of, _console())


@model_app.command("promote")
def model_promote(reference: str, alias: str, models: Folder = MODELS) -> int:
    """Let an alias, such as champion, mean a version."""
    from streamcast.app.commands import models as command

    return command.make_alias(models, reference, alias, _console())


@model_app.command("zoo")
def model_zoo(
    as_json: AsJson = False,
    markdown: Annotated[bool, typer.Option(help="Print the page of docs/zoo.md.")] = False,
) -> int:
    """List every architecture and what it costs here."""
    from streamcast.app.commands import models as command

    return command.zoo(as_json, markdown, _console())


@model_app.command("advise")
def model_advise(
    steps: Annotated[int, typer.Option(help="How many bars back matters.")] = 96,
    resources: Annotated[str, typer.Option(help="any, free, memory, compute or mobile.")] = "any",
    task: Annotated[str, typer.Option(help="forecast, generation, classification or sources.")] = "forecast",
    as_json: AsJson = False,
) -> int:
    """Say which architecture suits a task, and why."""
    from streamcast.app.commands import models as command

    return command.advise(steps, resources, task, as_json, _console())


@model_app.command("compress")
@spread
def model_compress(
    reference: str,
    *,
    how: Annotated[str, typer.Option(help="int8 or prune.")] = "int8",
    keep: Annotated[float, typer.Option(help="Part of the channels that pruning keeps.")] = 0.5,
    data: Annotated[
        Path | None, typer.Option(help="Measure the loss before and after on the last part of this.")
    ] = None,
    layout: Layout,
    models: Folder = MODELS,
) -> int:
    """Save a smaller model as the next version."""
    from streamcast.app.commands import models as command

    history = None if data is None else _history(data, layout)
    return command.compress(models, reference, how, keep, history, _console())


@dlq_app.command("inspect")
def dlq_inspect(
    config: Config = HERE,
    reason: Annotated[str, typer.Option(help="Only dead letters of this reason.")] = "",
    limit: Annotated[int, typer.Option(help="How many to print, the newest.")] = 50,
    as_json: AsJson = False,
) -> int:
    """Print dead letters and their reasons."""
    from streamcast.app.commands import dlq as command

    return command.inspect(_settings(config), reason, limit, as_json, _console())


@dlq_app.command("replay")
def dlq_replay(
    config: Config = HERE,
    reason: Annotated[str, typer.Option(help="Only dead letters of this reason.")] = "",
) -> int:
    """Write dead letters to the input topic again."""
    from streamcast.app.commands import dlq as command

    return command.send_again(_settings(config), reason, _console())


@state_app.command("show")
def state_show(key: str, config: Config = HERE, as_json: AsJson = False) -> int:
    """Print a series' state as the newest snapshot has it."""
    from streamcast.app.commands import state as command

    return command.show(_settings(config), key, as_json, _console())


@state_app.command("reset")
def state_reset(key: str, config: Config = HERE) -> int:
    """Begin a series anew; the journal says from which record on."""
    from streamcast.app.commands import state as command

    return command.reset(_settings(config), key, _console())


def main() -> None:
    """Run a command and exit with its code; a foreseen fault is one message, not a traceback."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stderr)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # what it fails at, it raises
    try:
        code = app(standalone_mode=False)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:  # noqa: BLE001 the one place where exceptions become exit codes
        code = _explain(error)
    sys.exit(code if isinstance(code, int) else 0)


def _explain(error: Exception) -> int:
    """Print a foreseen error and return its exit code; raise any other."""
    from rich.markup import escape

    name, module, told = type(error).__name__, type(error).__module__, str(error)
    if module.startswith("streamcast.") and (carried := getattr(error, "exit_code", None)) is not None:
        code = int(carried)
    elif name == "ValidationError":
        code = SETTINGS_FAULT
    elif isinstance(error, ModuleNotFoundError) and (package := str(error.name).partition(".")[0]) in EXTRAS:
        code = SETTINGS_FAULT
        told = f"{package} is needed for this: pip install 'streamcast-forecasting[{EXTRAS[package]}]'"
    elif module.startswith(("typer", "click")):
        error.show()  # type: ignore[attr-defined]
        return int(getattr(error, "exit_code", SETTINGS_FAULT))
    else:
        raise error
    _console(stderr=True).print(f"[red]{name}:[/] {escape(told)}", highlight=False)
    return code


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, soft_wrap=True)


def _settings(path: Path) -> Any:
    from streamcast.app.settings import load_settings

    return load_settings(path)


def _history(data: Path, layout: Layout, *, ticks: bool = False, freq: str | int | None = None) -> Any:
    from streamcast.offline.history.read import read

    chosen = None if layout.columns == "*" else [name for name in layout.columns.split(",") if name]
    history = read(
        data, id_col=layout.id_col or None, time_col=layout.time_col, target_col=layout.target_col, columns=chosen,
        freq=layout.freq or freq, timezone=layout.timezone, ticks=ticks,
    )  # fmt: skip
    for note in history.notes:
        _console(stderr=True).print(f"[dim]note:[/] {note}", highlight=False)
    return history


if __name__ == "__main__":
    main()
