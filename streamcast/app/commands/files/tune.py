"""``streamcast tune``: try networks and training options, keep the model with the lowest validation loss."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from streamcast.app.commands.files.outputs import ctrl_c_saves_nothing, require_folder, save_trained, worth_saving
from streamcast.app.commands.files.reading import mapping, read_history, say
from streamcast.app.commands.files.train import chosen_spec, held_out, report_saved, say_choices
from streamcast.app.commands.tables import lean
from streamcast.app.gaps import missing_bars
from streamcast.app.options.groups import Columns, SearchOptions, SpecOptions
from streamcast.app.progress import stages_shown, trials_shown
from streamcast.app.specs import knows_ahead, require_networks, require_target
from streamcast.models.build import build
from streamcast.models.network import Shape
from streamcast.models.spec import SpecError, make
from streamcast.models.zoo import MODELS
from streamcast.offline.history.read import History
from streamcast.offline.training.fit import fit
from streamcast.offline.training.options import Options
from streamcast.offline.training.quality import compared_with_zero
from streamcast.offline.training.run import Progress as TrainingProgress
from streamcast.spec import zero
from streamcast.spec.folders import Model, require_name
from streamcast.stages import stage
from streamcast.wording import counted

WIDTHS = (16, 32, 64, 128)
MOST_LAYERS = 3
"""Of a network that has no more by default."""
CHUNKS = (24, 48, 96)
BEST_SHOWN = 5
SMALLEST = Shape((2,), 0, 1, (0.5,))
"""That of a network which is only built to see whether it can be."""


@dataclass(slots=True)
class _Search:
    """One search: what it is asked for, and the best model so far with the options that were drawn for it."""

    history: History
    timezone: str
    wanted: SpecOptions
    options: SearchOptions
    progress: Progress
    best: Model | None = None
    drawn: Mapping[str, Any] = field(default_factory=dict)
    interrupted: bool = False

    def __call__(self, trial: optuna.Trial) -> float:
        """Train one candidate; return its validation loss, in units of the running normaliser."""
        kind = trial.suggest_categorical("kind", self.options.networks)
        options = Options(
            epochs=self.options.epochs, seed=self.options.seed, max_seconds=self.options.trial_seconds,
            chunk=trial.suggest_categorical("chunk", CHUNKS),
            learning_rate=trial.suggest_float("learning_rate", 1e-3, 2e-2, log=True),
        )  # fmt: skip
        spec = chosen_spec(self.history, self.wanted, network(trial, kind), self.timezone)
        task, validated = self.progress.add_task(f"trial {trial.number + 1}: {kind}", total=1.0), 0

        def follow(now: TrainingProgress) -> None:
            nonlocal validated
            self.progress.update(task, completed=now.done)
            at(f"{now.done:.0%} trained")
            if now.epoch - 1 > validated and now.stage == "training":
                validated = now.epoch - 1
                trial.report(now.validation, validated)
                if trial.should_prune():
                    raise optuna.TrialPruned

        try:
            with stage(f"trial {trial.number + 1} of {self.options.trials}, {kind}") as at:
                model = fit(self.history, spec, options, follow, beside_zero=False)
        finally:
            self.progress.remove_task(task)
        loss = float(model.facts["validation_loss"])
        if self.best is None or loss < self.best.facts["validation_loss"]:
            self.best, self.drawn = model, trial.params
        if model.facts["stopped"] == "interrupted":
            self.interrupted = True
            trial.study.stop()
        return loss


def network(trial: optuna.Trial, kind: str) -> dict[str, Any]:
    """Return a network spec of this kind; draw width, layers and dropout where the network has them."""
    takes = inspect.signature(MODELS[kind]).parameters
    drawn: dict[str, Any] = {"kind": kind}
    if "hidden" in takes:
        drawn["hidden"] = trial.suggest_categorical("hidden", WIDTHS)
    if "layers" in takes:
        drawn["layers"] = trial.suggest_int("layers", _fewest_layers(kind), max(MOST_LAYERS, takes["layers"].default))
    if "dropout" in takes:
        drawn["dropout"] = trial.suggest_float("dropout", 0.0, 0.5, step=0.1)
    return drawn


def _fewest_layers(kind: str) -> int:
    """Return the fewest layers with which a kind is a network: a shortcut over two layers needs three."""
    default = inspect.signature(MODELS[kind]).parameters["layers"].default
    return next(layers for layers in range(1, default + 1) if _is_network(kind, layers))


def _is_network(kind: str, layers: int) -> bool:
    try:
        build({"kind": kind, "layers": layers}, SMALLEST)
    except SpecError:
        return False
    return True


@stages_shown()
def tune(
    data: Path, columns: Columns, wanted: SpecOptions, options: SearchOptions, name: str, folder: Path, console: Console
) -> int:
    """Search on a file but for its held-out end, save the best model and print the ranking.

    Ctrl-C keeps the best model so far, and so does a trial that fails, whose error is raised after that.
    Raises HistoryError, ModelError for an unknown network, SpecError for an option that does not fit, SettingsError for
    an unknown holiday calendar.
    """
    if not options.networks:
        raise SpecError("--networks is empty: name at least one; `streamcast model zoo` lists the names")
    if zero.NAME in options.networks:
        raise SpecError("--networks names zero, which has nothing to tune: make it with `streamcast model new`")
    require_networks("--networks", options.networks)
    _same_loss(options.networks)
    require_folder("--models", folder)
    require_name(name)
    known = knows_ahead(wanted.known, options.networks[0], plain=wanted.plain)
    whole = read_history(data, columns, ticks=wanted.ticks, known=known, chosen=wanted.chosen_inputs)
    read_as = mapping(columns)
    say(missing_bars(whole, read_as.timezone))
    history, held_out_from = held_out(whole, options.hold_out)
    require_target(history)
    # What does not fit, no trial would mend; and all trials have these choices.
    say_choices(history, chosen_spec(history, wanted, {"kind": options.networks[0]}, read_as.timezone), wanted)
    optuna.logging.set_verbosity(logging.ERROR)  # a failed trial ends the search by its error, which has the words
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=options.seed), pruner=optuna.pruners.MedianPruner(3, 2)
    )
    with ctrl_c_saves_nothing(console), trials_shown(console) as progress:
        search = _Search(history, read_as.timezone, wanted, options, progress)
        failed = _run_search(study, search)
    if search.best is None:
        console.print("[red]No trial finished:[/] raise --max-seconds")
        return 1
    console.print(ranking(study))
    begun = f"{len(study.trials)} of {options.trials}"
    if search.interrupted:
        console.print(f"Ctrl-C ended the search in trial {begun}: the best model so far is kept.", highlight=False)
    elif failed is None and len(study.trials) < options.trials:
        console.print(f"The time was up after {begun} trials: raise --max-seconds for more.", highlight=False)
    if not worth_saving(search.best.facts, "--trial-seconds", console):
        if failed is not None:
            raise failed
        return 1
    quality = compared_with_zero(search.best.facts["quality"], search.best.spec, history)
    facts = {
        **search.best.facts, "quality": quality, **asdict(read_as), "data": str(data), "held_out_from": held_out_from,
        "tuned": search.drawn, "trials": len(finished_trials(study)),
    }  # fmt: skip
    saved = save_trained(folder, name, search.best, facts)
    report_saved(saved, whole, data, folder, console, time_limit="--trial-seconds")
    if failed is not None:
        raise failed
    return 0


def _run_search(study: optuna.Study, search: _Search) -> Exception | None:
    """Run the trials of a search; return the error that ended them after the first model, or None.

    Ctrl-C between two trainings ends them, too.  Raises what happens before there is a model.
    """
    options = search.options
    try:
        study.optimize(search, n_trials=options.trials, timeout=options.max_seconds or None)
    except KeyboardInterrupt:
        if search.best is None:
            raise
        search.interrupted = True
    except Exception as error:
        if search.best is None:
            raise
        return error
    return None


def _same_loss(networks: Sequence[str]) -> None:
    """Raise SpecError for networks whose losses cannot be compared: quantiles, densities and classes have their own."""
    heads = {kind: str(make("model", MODELS, {"kind": kind}).head["kind"]) for kind in networks}
    if len(set(heads.values())) > 1:
        named = ", ".join(f"{kind} ({head})" for kind, head in heads.items())
        raise SpecError(
            f"--networks: {named} are trained with different losses, so none of them is the best: tune one sort"
        )


def finished_trials(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Return the trials that came to their end, or were stopped early because others were better."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def ranking(study: optuna.Study) -> Table:
    """Return the best trials as a table."""
    trials = finished_trials(study)
    whole = [t for t in trials if t.state is TrialState.COMPLETE]
    early = len(trials) - len(whole)
    table = lean("loss", "options", title=f"{counted(len(trials), 'trial')}, {early} of them stopped early")
    for trial in sorted(whole, key=lambda t: t.value or 0.0)[:BEST_SHOWN]:
        drawn = ", ".join(
            f"{name} {value:.2g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in trial.params.items()
        )
        table.add_row(f"{trial.value:.4f}", drawn)
    return table
