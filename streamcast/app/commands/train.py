"""``streamcast train``: a file to a model folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from streamcast.app.commands.reading import read_history, read_series
from streamcast.app.options import Columns, SpecOptions, TrainingOptions
from streamcast.app.specs import new_spec
from streamcast.models.network import NoNetwork, with_network
from streamcast.models.spec import make
from streamcast.offline.history.read import History
from streamcast.offline.training import fit as training
from streamcast.spec.folders import Model, load_model, save_model
from streamcast.spec.model_spec import ModelSpec


def train(
    data: Path, columns: Columns, wanted: SpecOptions, options: TrainingOptions, name: str | None, folder: Path,
    console: Console,
) -> int:  # fmt: skip
    """Train on a file, save the model and print its loss.

    Raises HistoryError, ModelError, or SpecError for an option that does not fit.
    """
    start, teacher = (load_model(folder, found) if found else None for found in (options.start, options.teacher))
    settings = training_settings(options)
    if start is None:
        history = read_history(data, columns, ticks=wanted.ticks)
        spec = chosen_spec(history, wanted, options.network)
    else:
        history, spec = read_series(data, columns, start.spec.series), start.spec
    with progress_bar(console) as on_progress:
        model = training.fit(
            history,
            spec,
            settings,
            on_progress,
            teacher=teacher,
            initial=with_network(start.network, f"continue training {options.start}") if start else None,
        )
    facts = {**model.facts, "data": str(data)}
    for part, other in (("from", start), ("teacher", teacher)):
        if other is not None:
            facts[part] = f"{other.name}@{other.version}"
    if start is not None and "whole_loss" in start.facts:
        facts["whole_loss"] = start.facts["whole_loss"]
    saved = save_model(folder, name or (start.name if start else "model"), spec, model.network, facts)
    report_saved(saved, data, folder, console)
    return 0


def training_settings(options: TrainingOptions) -> training.Options:
    """Return the options of a training run; raises SpecError."""
    given = {"epochs": options.epochs, "max_seconds": options.max_seconds, "seed": options.seed}
    return make("option", {"training": training.Options}, {"kind": "training", **given, **(options.more or {})})


def chosen_spec(history: History, wanted: SpecOptions, network: str | Mapping[str, Any]) -> ModelSpec:
    """Return the spec for a history with what the options choose; raises SpecError or HistoryError."""
    return new_spec(
        history, wanted.horizon, network, quantiles=wanted.quantiles, lags=wanted.lags, season=wanted.season,
        scales=wanted.scales, mode="ticks" if wanted.ticks else "sample", grace=wanted.grace,
        aggregates=wanted.aggregates,
    )  # fmt: skip


def report_saved(saved: Model, data: Path, folder: Path, console: Console) -> None:
    """Print what the training reached, where the model is, and the command to test it."""
    console.print(describe(saved), highlight=False)
    console.print(f"Saved [bold]{saved.name}@{saved.version}[/] in {folder / saved.name / saved.version}")
    console.print(f"Next: [bold]streamcast backtest {data} --model {saved.name}@{saved.version}[/]", highlight=False)


def describe(model: Model) -> str:
    """Return one sentence: size, loss before and after, and why training stopped."""
    facts = model.facts
    if isinstance(model.network, NoNetwork):
        return "A model without a network: nothing was trained, it learns from every record"
    parameters = sum(p.numel() for p in model.network.parameters())
    if "highway_loss" in facts:
        began = f"{facts['highway_loss']:.4f} (linear highway only)"
    else:
        whole = f", {facts['whole_loss']:.4f} before compression" if "whole_loss" in facts else ""
        began = f"{facts['initial_loss']:.4f} ({facts['from']}{whole})"
    return (
        f"{parameters:,} parameters; the validation loss fell from {began} to {facts['validation_loss']:.4f} in epoch"
        f" {facts['best_epoch']} of {facts['epochs']} ({facts['seconds']:.0f} s; stopped by {facts['stopped']})"
    )


@contextmanager
def progress_bar(console: Console) -> Iterator[training.OnProgress]:
    """Show epoch, losses and time left while training."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("preparing", total=1.0, left="")

        def on_progress(at: training.Progress) -> None:
            progress.update(
                task,
                completed=((at.epoch - 1) * at.batches + at.batch) / (at.epochs * at.batches),
                description=f"epoch {at.epoch}/{at.epochs}  loss {at.loss:.4f}  validation {at.validation:.4f}",
                left=f"{at.seconds_left:.0f} s left at most",
            )

        yield on_progress
