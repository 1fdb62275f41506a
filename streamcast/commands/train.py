"""``streamcast train``: a file to a model folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from streamcast import training
from streamcast.defaults import default_spec
from streamcast.history import History
from streamcast.registry import Model, save_model
from streamcast.spec import ModelSpec


def train(history: History, source: str, name: str, choice: Mapping[str, Any], folder: Path, console: Console) -> int:
    """Train, save, and say how good it became."""
    spec = chosen_spec(history, choice)
    options = training.Options(epochs=choice["epochs"], max_seconds=choice["max_seconds"], seed=choice["seed"])
    with progress_bar(console) as on_progress:
        model = training.fit(history, spec, options, on_progress)
    saved = save_model(folder, name, spec, model.network, {**model.facts, "data": source})
    console.print(describe(model))
    console.print(f"Saved [bold]{saved.name}@{saved.version}[/] in {folder / name / saved.version}")
    console.print(f"Next: [bold]streamcast backtest {source} --model {saved.name}@{saved.version}[/]", highlight=False)
    return 0


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
    )  # fmt: skip


def describe(model: Model) -> str:
    """Return in one sentence what the training came to."""
    facts = model.facts
    parameters = sum(p.numel() for p in model.network.parameters())
    return (
        f"{parameters:,} parameters; the validation loss fell from {facts['highway_loss']:.4f} (linear highway alone)"
        f" to {facts['validation_loss']:.4f} in epoch {facts['best_epoch']} of {facts['epochs']}"
        f" ({facts['seconds']:.0f} s; stopped by {facts['stopped']})"
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
