"""``streamcast tune``: try networks and training options, keep the model that did best on the history's last part."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from streamcast.app.commands.tables import lean
from streamcast.app.commands.train import chosen_spec, describe
from streamcast.errors import ModelError
from streamcast.models.zoo import MODELS
from streamcast.offline.history.read import History
from streamcast.offline.training import fit as training
from streamcast.spec.folders import Model, save_model

WIDTHS = (16, 32, 64, 128)
MOST_LAYERS = 3
CHUNKS = (24, 48, 96)
BEST_SHOWN = 5


@dataclass(slots=True)
class _Search:
    """The trials so far, and the best model among them."""

    history: History
    choice: Mapping[str, Any]
    progress: Progress
    best: Model | None = None

    def __call__(self, trial: optuna.Trial) -> float:
        """Train one candidate; return its validation loss, which is in units of the running normaliser."""
        kind = trial.suggest_categorical("kind", self.choice["networks"])
        options = training.Options(
            epochs=self.choice["epochs"], seed=self.choice["seed"], max_seconds=self.choice["trial_seconds"],
            chunk=trial.suggest_categorical("chunk", CHUNKS),
            learning_rate=trial.suggest_float("learning_rate", 1e-3, 2e-2, log=True),
        )  # fmt: skip
        spec = chosen_spec(self.history, {**self.choice, "network": network(trial, kind)})
        task = self.progress.add_task(f"trial {trial.number + 1}: {kind}", total=options.epochs)

        def follow(now: training.Progress) -> None:
            done = now.epoch - 1 + now.batch / now.batches
            self.progress.update(task, completed=done)
            if now.batch == now.batches and now.epoch > 1:
                trial.report(now.validation, now.epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned

        try:
            model = training.fit(self.history, spec, options, follow)
        finally:
            self.progress.remove_task(task)
        loss = float(model.facts["validation_loss"])
        if self.best is None or loss < self.best.facts["validation_loss"]:
            self.best = model
        if model.facts["stopped"] == "interrupted":
            trial.study.stop()
        return loss


def network(trial: optuna.Trial, kind: str) -> dict[str, Any]:
    """Return a spec of this kind, with a draw of those of width, depth and dropout that it takes."""
    takes = inspect.signature(MODELS[kind]).parameters
    drawn: dict[str, Any] = {"kind": kind}
    if "hidden" in takes:
        drawn["hidden"] = trial.suggest_categorical("hidden", WIDTHS)
    if "layers" in takes:
        drawn["layers"] = trial.suggest_int("layers", 1, MOST_LAYERS)
    if "dropout" in takes:
        drawn["dropout"] = trial.suggest_float("dropout", 0.0, 0.5, step=0.1)
    return drawn


def tune(history: History, source: str, name: str, choice: Mapping[str, Any], folder: Path, console: Console) -> int:
    """Search, save the best model, and say what it was; Ctrl-C keeps the best so far.

    Raises ModelError for an unknown network.
    """
    if unknown := [kind for kind in choice["networks"] if kind not in MODELS]:
        raise ModelError(f"network {unknown[0]!r}: see `streamcast model zoo` for the names")
    optuna.logging.set_verbosity(logging.WARNING)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=choice["seed"]), pruner=optuna.pruners.MedianPruner(3, 2)
    )
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        search = _Search(history, choice, progress)
        study.optimize(search, n_trials=choice["trials"], timeout=choice["max_seconds"] or None)
    if search.best is None:
        console.print("[red]No trial came to its end:[/] give more --max-seconds")
        return 1
    console.print(ranking(study))
    facts = {**search.best.facts, "data": source, "tuned": study.best_params, "trials": len(study.trials)}
    saved = save_model(folder, name, search.best.spec, search.best.network, facts)
    console.print(describe(saved), highlight=False)
    console.print(f"Saved [bold]{saved.name}@{saved.version}[/] in {folder / name / saved.version}")
    console.print(f"Next: [bold]streamcast backtest {source} --model {saved.name}@{saved.version}[/]", highlight=False)
    return 0


def ranking(study: optuna.Study) -> Table:
    """Return the best trials as a table."""
    ended = [t for t in study.trials if t.state.name == "COMPLETE"]
    pruned = sum(t.state.name == "PRUNED" for t in study.trials)
    table = lean("loss", "what", title=f"{len(study.trials)} trials, {pruned} of them cut short")
    for trial in sorted(ended, key=lambda t: t.value or 0.0)[:BEST_SHOWN]:
        what = ", ".join(
            f"{name} {value:.2g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in trial.params.items()
        )
        table.add_row(f"{trial.value:.4f}", what)
    return table
