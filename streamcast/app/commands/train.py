"""``streamcast train``: a file to a model folder."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from streamcast.app.commands.outputs import require_folder
from streamcast.app.commands.reading import mapping, read_history, say
from streamcast.app.options import MODELS, Columns, SpecOptions, TrainingOptions
from streamcast.app.specs import new_spec
from streamcast.models.network import NoNetwork, with_network
from streamcast.models.spec import make
from streamcast.offline.history import read as histories
from streamcast.offline.history.read import History
from streamcast.offline.training import fit as training
from streamcast.offline.training.defaults import season_notes
from streamcast.quality import SumsByStep, lines, naive_name, sentence
from streamcast.spec.folders import Model, load_model, require_name, save_model
from streamcast.spec.model_spec import ModelSpec


def train(
    data: Path, columns: Columns, wanted: SpecOptions, options: TrainingOptions, name: str | None, folder: Path,
    console: Console,
) -> int:  # fmt: skip
    """Train on a file but for its held-out end, save the model and print how good it is.

    Raises HistoryError, ModelError, or SpecError for an option that does not fit.
    """
    require_folder("--models", folder)
    require_name(name or "model")
    start, teacher = (load_model(folder, found) if found else None for found in (options.start, options.teacher))
    settings, read_as = training_settings(options), mapping(columns, start)
    whole = read_history(data, columns, start, ticks=wanted.ticks)
    history, held_out_from = held_out(whole, options.hold_out)
    if start is None:
        spec = chosen_spec(history, wanted, options.network, read_as.timezone)
        say(season_notes(spec) if wanted.season is None else ())
    else:
        spec = start.spec
    with progress_bar(console) as on_progress:
        model = training.fit(
            history,
            spec,
            settings,
            on_progress,
            teacher=teacher,
            initial=with_network(start.network, f"continue training {options.start}") if start else None,
        )
    facts = {**model.facts, **asdict(read_as), "data": str(data), "held_out_from": held_out_from}
    for part, other in (("from", start), ("teacher", teacher)):
        if other is not None:
            facts[part] = f"{other.name}@{other.version}"
    if start is not None and "whole_loss" in start.facts:
        facts["whole_loss"] = start.facts["whole_loss"]
    saved = save_model(folder, name or (start.name if start else "model"), spec, model.network, facts)
    report_saved(saved, data, folder, console)
    return 0


def held_out(history: History, share: float) -> tuple[History, int | None]:
    """Return the part of a history to train on, and the time from which the rest is held out (None: nothing is)."""
    if not share:
        return history, None
    first = histories.cuts(history, (1 - share, share))[0]
    return history.between(int(history.ts_N[0]), first), first


def training_settings(options: TrainingOptions) -> training.Options:
    """Return the options of a training run; raises SpecError."""
    given = {"epochs": options.epochs, "max_seconds": options.max_seconds, "seed": options.seed}
    return make("option", {"training": training.Options}, {"kind": "training", **given, **(options.more or {})})


def chosen_spec(history: History, wanted: SpecOptions, network: str | Mapping[str, Any], timezone: str) -> ModelSpec:
    """Return the spec for a history with what the options choose; ``timezone`` is that in which its times were read.

    Raises SpecError, HistoryError or SettingsError.
    """
    return new_spec(
        history, wanted.horizon, network, quantiles=wanted.quantiles, lags=wanted.lags, season=wanted.season,
        scales=wanted.scales, mode="ticks" if wanted.ticks else "sample", grace=wanted.grace,
        aggregates=wanted.aggregates, timezone=wanted.calendar_timezone or timezone, holidays=wanted.holidays,
        known=wanted.known, lower=wanted.lower, plain=wanted.plain,
    )  # fmt: skip


def report_saved(saved: Model, data: Path, folder: Path, console: Console) -> None:
    """Print what the training reached, where the model is, and the command to test it."""
    where = escape(str(folder / saved.name / saved.version))
    console.print(escape(describe(saved)), highlight=False)
    console.print(f"Saved [bold]{saved.name}@{saved.version}[/] in {where}")
    following = shlex.join(
        ["streamcast", "backtest", str(data), "--model", f"{saved.name}@{saved.version}", *_elsewhere(folder)]
    )
    console.print(f"Next: [bold]{escape(following)}[/]", highlight=False)


def _elsewhere(folder: Path) -> list[str]:
    """Return the option that names the folder of models, where it is not the default."""
    return [] if folder == MODELS else ["--models", str(folder)]


def describe(model: Model) -> str:
    """Return a few sentences: how good the model is on the data it was not trained on, its size, its training."""
    return "\n".join([*unfinished(model.facts), *quality(model), training_line(model)])


def quality(model: Model) -> list[str]:
    """Return how good a model is beside seasonal naive on the held-out part, over all scored steps and by step."""
    found = model.facts.get("quality") or {}
    sums = SumsByStep.of_facts(found)
    if not sums.over_all().outcomes:
        return ["The history is too short to say how good the model is: run a backtest on later data."]
    unseen = "held out until the final training" if model.facts.get("refit_updates") else "which were not trained on"
    first, *steps = lines(sums, found["nominal"], baseline(model.spec))
    said = [f"On the last {found['forecasts']:,} forecasts, {unseen}: {first}.", *steps]
    if sums.over_all().relative > 1:
        said.insert(1, "This is WORSE than repeating the season.")
    if found.get("by_series") is not None:
        said.append(f"Geometric mean over series of the ratio to seasonal naive: {found['by_series']:.3f}.")
    return said


def measured(model: Model) -> str:
    """Return what training measured, over all scored steps, in a few words."""
    found = model.facts.get("quality") or {}
    return sentence(SumsByStep.of_facts(found).over_all(), found.get("nominal", 0.0), baseline(model.spec))


def baseline(spec: ModelSpec) -> str:
    """Return what the seasonal naive forecast of a model repeats."""
    return naive_name(spec.naive_season, spec.series.freq)


def unfinished(facts: Mapping[str, Any]) -> list[str]:
    """Return a warning if training ended before its first epoch did."""
    if facts.get("whole_epochs", 1):
        return []
    warning = (
        f"WARNING: training ended ({facts['stopped']}) before its first epoch was finished. The forecasts may be poor"
        " and the intervals wrong: give it more time (--max-seconds, max_seconds)."
    )
    return [warning]


def training_line(model: Model) -> str:
    """Return one sentence: size, loss before and after, and why training stopped."""
    facts = model.facts
    if isinstance(model.network, NoNetwork):
        return "A model without a network: nothing was trained, it learns from every record"
    parameters = sum(p.numel() for p in model.network.parameters())
    if "highway_loss" in facts:
        began = f"{facts['highway_loss']:.4f} before training"
    else:
        whole = f", {facts['whole_loss']:.4f} before compression" if "whole_loss" in facts else ""
        began = f"{facts['initial_loss']:.4f} ({facts['from']}{whole})"
    return (
        f"{parameters:,} parameters; the validation loss fell from {began} to {facts['validation_loss']:.4f} in epoch"
        f" {facts['best_epoch']} of {facts['epochs']} ({facts['seconds']:.0f} s; stopped by {facts['stopped']})"
    )


@contextmanager
def progress_bar(console: Console) -> Iterator[training.OnProgress]:
    """Show epoch, losses and time left while training: a bar on a terminal, else a line an epoch."""
    if not console.is_terminal:
        yield _line_an_epoch(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("preparing", total=1.0, left="")

        def on_progress(at: training.Progress) -> None:
            progress.update(
                task,
                completed=at.done,
                description=("on the whole history" if at.refit else f"epoch {at.epoch}/{at.epochs}")
                + f"  loss {at.loss:.4f}  validation {at.validation:.4f}",
                left=f"{at.seconds_left:.0f} s left at most",
            )

        yield on_progress


def _line_an_epoch(console: Console) -> training.OnProgress:
    """Return what prints a line when an epoch begins, with the losses up to then."""
    begun: set[tuple[bool, int]] = set()

    def on_progress(at: training.Progress) -> None:
        if (at.refit, at.epoch) in begun:
            return
        begun.add((at.refit, at.epoch))
        part = "final training on the whole history" if at.refit else f"epoch {at.epoch}/{at.epochs}"
        console.print(
            f"{part}: validation loss so far {at.validation:.4f}, at most {at.seconds_left:.0f} s left", highlight=False
        )

    return on_progress
