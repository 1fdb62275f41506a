"""``streamcast train``: a file to a model folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from streamcast.models.spec import make
from streamcast.offline.history.read import History
from streamcast.offline.training import fit as training
from streamcast.offline.training.defaults import default_spec
from streamcast.spec.folders import Model, load_model, save_model
from streamcast.spec.model_spec import ModelSpec


def train(history: History, source: str, name: str, choice: Mapping[str, Any], folder: Path, console: Console) -> int:
    """Train, save, and say how good it became; ``start`` and ``teacher`` of the choice name models of the folder."""
    start, teacher = (
        load_model(folder, reference) if (reference := choice[part]) else None for part in ("start", "teacher")
    )
    spec = chosen_spec(history, choice) if start is None else start.spec
    options = chosen_options(choice)
    name = name or (start.name if start else "model")
    with progress_bar(console) as on_progress:
        model = training.fit(
            history, spec, options, on_progress, initial=start.network if start else None, teacher=teacher
        )
    facts = {**model.facts, "data": source}
    for part, other in (("from", start), ("teacher", teacher)):
        if other is not None:
            facts[part] = f"{other.name}@{other.version}"
    if start is not None and "whole_loss" in start.facts:
        facts["whole_loss"] = start.facts["whole_loss"]
    saved = save_model(folder, name, spec, model.network, facts)
    console.print(describe(saved), highlight=False)
    console.print(f"Saved [bold]{saved.name}@{saved.version}[/] in {folder / name / saved.version}")
    console.print(f"Next: [bold]streamcast backtest {source} --model {saved.name}@{saved.version}[/]", highlight=False)
    return 0


def chosen_options(choice: Mapping[str, Any]) -> training.Options:
    """Return the training options of the command line, ``options`` being texts such as rows=64; raises SpecError."""
    spec: dict[str, Any] = {name: choice[name] for name in ("epochs", "max_seconds", "seed")}
    for text in choice["options"]:
        name, _, value = text.partition("=")
        try:
            spec[name] = json.loads(value)
        except ValueError:
            spec[name] = value
    return make("option", {"training": training.Options}, {"kind": "training", **spec})


def chosen_spec(history: History, choice: Mapping[str, Any]) -> ModelSpec:
    """Return the default spec of a history with what the command line chose otherwise."""
    network: dict[str, Any] | str = choice["network"]
    if isinstance(network, str):
        network = json.loads(network) if network.lstrip().startswith("{") else {"kind": network}
    scales = [scale for scale in choice["scales"].split(",") if scale]
    return default_spec(
        history, choice["horizon"], network,
        quantiles=[float(q) for q in choice["quantiles"].split(",")],
        lags=choice["lags"] if choice["lags"] >= 0 else None,
        season=choice["season"] if choice["season"] > 0 else None,
        scales=scales or None,
        mode=choice["mode"],
        grace=choice["grace"],
        aggregates=dict(pair.split("=", 1) for pair in choice["aggregates"].split(",") if pair),
    )  # fmt: skip


def describe(model: Model) -> str:
    """Return in one sentence what the training came to."""
    facts = model.facts
    parameters = sum(p.numel() for p in model.network.parameters())
    if "highway_loss" in facts:
        began = f"{facts['highway_loss']:.4f} (untrained, but for the linear highway)"
    else:
        whole = f", {facts['whole_loss']:.4f} before it was compressed" if "whole_loss" in facts else ""
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
