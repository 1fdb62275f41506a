"""``streamcast train``: a file to a model folder."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from streamcast.app.commands.files.outputs import ctrl_c_saves_nothing, require_folder, save_trained, worth_saving
from streamcast.app.commands.files.reading import mapping, read_history, read_outcomes, say
from streamcast.app.gaps import missing_bars
from streamcast.app.markup import escape
from streamcast.app.moments import moment, span
from streamcast.app.notes import spec_notes
from streamcast.app.options.flags import elsewhere
from streamcast.app.options.groups import Columns, SpecOptions, TrainingOptions
from streamcast.app.progress import progress_bar, stages_shown
from streamcast.app.specs import faults_in_words, knows_ahead, require_networks, require_target
from streamcast.app.trained import describe, zone_of
from streamcast.errors import ModelError
from streamcast.models.network import with_network
from streamcast.models.spec import SpecError, listed
from streamcast.offline.defaults.notes import beyond_warnings
from streamcast.offline.defaults.spec import default_spec
from streamcast.offline.evaluation.backtest import least_bars
from streamcast.offline.history import read as histories
from streamcast.offline.history.read import History
from streamcast.offline.training.fit import fit, held_out_loss
from streamcast.offline.training.options import Options
from streamcast.service.lanes import rehearse
from streamcast.spec.folders import Model, load_model, require_name
from streamcast.spec.model_spec import ModelSpec
from streamcast.stages import stage
from streamcast.wording import counted


@stages_shown()
def train(
    data: Path, columns: Columns, wanted: SpecOptions, options: TrainingOptions, name: str | None, folder: Path,
    console: Console,
) -> int:  # fmt: skip
    """Train on a file but for its held-out end, save the model and print how good it is.

    Where Ctrl-C or the time limit ends the training before anything was learned, nothing is saved.
    Raises HistoryError, ModelError, or SpecError for an option that does not fit.
    """
    require_folder("--models", folder)
    require_name(name or "model")
    if isinstance(options.network, str):
        require_networks("--model", [options.network])
    start, teacher = (load_model(folder, found) if found else None for found in (options.start, options.teacher))
    settings, read_as = training_settings(options), mapping(columns, start)
    known = knows_ahead(wanted.known, options.network, plain=wanted.plain)
    whole = (
        read_outcomes(data, columns, start)
        if start
        else read_history(data, columns, ticks=wanted.ticks, known=known, chosen=wanted.chosen_inputs)
    )
    say(missing_bars(whole, read_as.timezone, start.spec.series if start else None))
    history, held_out_from = held_out(whole, options.hold_out)
    require_target(history)
    if start is None:
        spec = chosen_spec(history, wanted, options.network, read_as.timezone)
        say_choices(history, spec, wanted)
    else:
        spec = start.spec
    before = before_compression(start, history, settings, folder)
    with ctrl_c_saves_nothing(console), progress_bar(console) as on_progress:
        model = fit(
            history,
            spec,
            settings,
            on_progress,
            teacher=teacher,
            initial=with_network(start.network, f"continue training --from {options.start}") if start else None,
        )
    if not worth_saving(model.facts, "--max-seconds", console):
        return 1
    facts = {**model.facts, **asdict(read_as), "data": str(data), "held_out_from": held_out_from}
    for part, other in (("from", start), ("teacher", teacher)):
        if other is not None:
            facts[part] = f"{other.name}@{other.version}"
    if start is not None:
        facts["from_last"] = start.trained_until
    if before is not None:
        facts |= before
    saved = save_trained(folder, name or (start.name if start else "model"), model, facts)
    with stage("compiling what the service needs besides"), suppress(KeyboardInterrupt):
        rehearse(saved)  # compiles what serving needs besides, which the first start would wait for
    report_saved(saved, whole, data, folder, console)
    return 0


def before_compression(
    start: Model | None, history: History, settings: Options, folder: Path
) -> dict[str, str | float] | None:
    """Return the name of the model of which the one to go on from was made, and its loss where the training validates.

    None where it was not made smaller, and where the whole model is no longer in the folder.
    """
    whole = None if start is None else start.facts.get("whole")
    if whole is None:
        return None
    try:
        model = load_model(folder, whole)
        network = with_network(model.network, f"measure {whole}")
    except (ModelError, SpecError):
        return None
    with stage(f"scoring {whole}, as it was before its compression"):
        return {"whole": whole, "loss_before_compression": held_out_loss(network, history, model.spec, settings)}


def held_out(history: History, share: float) -> tuple[History, int | None]:
    """Return the part of a history to train on, and the time from which the rest is held out (None: nothing is)."""
    if not share:
        return history, None
    first = histories.cuts(history, (1 - share, share))[0]
    return history.between(int(history.ts_N[0]), first), first


def say_choices(history: History, spec: ModelSpec, wanted: SpecOptions) -> None:
    """Print on stderr what was chosen for a new spec, which options have no effect, and which do not suit the data."""
    notes = spec_notes(
        history, spec, seasons_chosen=wanted.season is None, members_chosen=wanted.members is None, known=wanted.known,
        holidays=wanted.holidays, transform_chosen=wanted.transform is None,
    )  # fmt: skip
    say(notes, beyond_warnings(history, spec))


def training_settings(options: TrainingOptions) -> Options:
    """Return the options of a training run; raises SpecError."""
    known, more = [option.name for option in fields(Options)], options.more or {}
    for name in more:
        if name not in known:
            raise SpecError(f"--option names {listed(name, known)}")
    given = {"epochs": options.epochs, "max_seconds": options.max_seconds, "seed": options.seed}
    return Options(**{**given, **more})


def chosen_spec(history: History, wanted: SpecOptions, network: str | Mapping[str, Any], timezone: str) -> ModelSpec:
    """Return the spec for a history with what the options choose; ``timezone`` is that in which its times were read.

    Raises SpecError, HistoryError or SettingsError.
    """
    with faults_in_words():
        return default_spec(
            history, wanted.horizon, network, quantiles=wanted.quantiles, lags=wanted.lags, season=wanted.season,
            scales=wanted.scales, mode="ticks" if wanted.ticks else "sample", grace=wanted.grace,
            aggregates=wanted.aggregates, timezone=wanted.calendar_timezone or timezone, holidays=wanted.holidays,
            known=wanted.known, lower=wanted.lower, upper=wanted.upper, transform=wanted.transform,
            online=wanted.online, plain=wanted.plain, members=wanted.members,
        )  # fmt: skip


def report_saved(
    saved: Model, history: History, data: Path, folder: Path, console: Console, *, time_limit: str = "--max-seconds"
) -> None:
    """Print what the training reached, where the model is, and the command to test it.

    ``history`` is the whole file ``data``, which may be too short for a test; ``time_limit`` is the option that limited
    the time of its training.
    """
    where = escape(str(folder / saved.name / saved.version))
    console.print(escape(describe(saved, time_limit)), highlight=False)
    if saved.facts.get("quality") and saved.facts.get("held_out_from") is not None:
        console.print("Another stretch of time can be better or worse: the backtest scores a later one.")
    console.print(f"Saved [bold]{saved.name}@{saved.version}[/] in {where}")
    if unread := _not_trained_on(saved, history):
        console.print(f"{escape(unread)}: before it serves, train on all with --hold-out 0", highlight=False)
    grid, least = saved.spec.series.grid, least_bars(saved.spec)
    bars = grid.bar(int(history.ts_N[-1])) - grid.bar(int(history.ts_N[0])) + 1
    tested, why = str(data), ""
    if bars < least:
        tested, why = "DATA", f"a file of at least {counted(least, 'bar')}, since {data} has {bars}: "
    elif (until := saved.trained_until) is not None and until >= history.last_observed_ms:
        tested, why = "DATA", f"a file with rows after {moment(until, zone_of(saved))}, up to which it was trained: "
    following = shlex.join(
        ["streamcast", "backtest", tested, "--model", f"{saved.name}@{saved.version}", *elsewhere(folder)]
    )
    console.print(f"Next: {escape(why)}[bold]{escape(following)}[/]", highlight=False)


def _not_trained_on(model: Model, history: History) -> str:
    """Return which rows up to the last target were held out and no weights have seen; empty where there are none."""
    until, held = model.trained_until, model.facts.get("held_out_from")
    if until is None or held is None or until >= history.last_observed_ms:
        return ""
    first = int(history.ts_N[np.searchsorted(history.ts_N, max(until + 1, held))])
    return f"Not trained on: {span(first, history.last_observed_ms, zone_of(model))}, held out for the backtest"
