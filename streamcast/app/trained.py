"""What a trained model says about itself: how good it is, its size, and how its training went."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from streamcast.app.moments import span
from streamcast.errors import SettingsError
from streamcast.models.network import NoNetwork
from streamcast.quality import SumsByStep, lines, sentence
from streamcast.spec.folders import Model, Version
from streamcast.spec.local_time import zone_named
from streamcast.spec.model_spec import ModelSpec
from streamcast.wording import counted, naive_name, short_name, span_name

ENDED = {
    "epochs": "all epochs done", "patience": "no epoch was better any more", "max_seconds": "the time was up",
    "interrupted": "ended by Ctrl-C",
}  # fmt: skip
"""Why a training ended, in words."""
UNLEARNED_AT_CTRL_C = f"{ENDED['interrupted']} before anything was learned"


def describe(model: Model, time_limit: str) -> str:
    """Return a few sentences: how good the model is on the data it was not trained on, its size, its training.

    ``time_limit`` is the option that limited the time of its training, as a person types it.
    """
    warning = unfinished(model.facts, time_limit)
    return "\n".join([*([f"WARNING: {warning}"] if warning else []), *quality(model), training_line(model)])


def quality(model: Model) -> list[str]:
    """Return how good a model is beside seasonal naive on the held-out part, over all scored steps and by step."""
    found = model.facts.get("quality") or {}
    sums = SumsByStep.of_facts(found)
    if not sums.over_all().outcomes:
        why = _why_unmeasured(model)
        return [f"{why[:1].upper()}{why[1:]}."]
    unseen = _unseen(model.facts)
    naive = baseline(model.spec)
    first, *steps = lines(sums, found.get("nominal", 0.0), naive)
    zone = zone_of(model)
    between = f" from {span(found['from'], found['until'], zone)}" if {"from", "until"} <= found.keys() else ""
    said = [f"On {_which(found)}{between}, {unseen}: {first}.", *steps]
    relative, without = round(sums.over_all().relative, 3), found.get("without_network")
    if relative >= 1:
        said.insert(1, f"This is {'WORSE' if relative > 1 else 'no better'} than repeating {naive}.")
    if found.get("by_series") is not None and model.facts.get("series", 0) > 1:
        horizon = model.spec.horizon
        scored = found.get("by_series_steps", horizon)
        some = f"the {counted(scored, 'step')} of {horizon:,} that {'has' if scored == 1 else 'have'} outcomes"
        which = some if scored < horizon else f"all {horizon:,} steps of the horizon" if horizon > 1 else "the one step"
        said.append(
            f"By series, over {which}: {found['by_series']:.3f} of"
            f" {short_name(naive)}'s error (geometric mean, in which large series count as much as small ones)."
        )
    if without is not None and round(without, 3) < relative:
        of = f"{without:.3f} of {short_name(naive)}'s error, this one to {relative:.3f}"
        said.append(f"On the outcomes of the first line a model without a network (zero) came to {of}: zero is better.")
    return said


def _which(found: Mapping[str, Any]) -> str:
    """Return which forecasts were scored: of very many rows, those of some series."""
    if found.get("series", 0) < (of := found.get("of_series", 0)):
        return f"{found.get('forecasts', 0):,} forecasts of {found['series']:,} series (drawn at random of {of:,})"
    return f"the last {found.get('forecasts', 0):,} forecasts"


def _unseen(facts: Mapping[str, Any]) -> str:
    """Return which training has seen the outcomes that a quality is of: also that of the model that it went on from."""
    if flattered(facts):
        other = facts.get("from", "another model")
        return f"of which {other} was trained on some or all, so that it looks better than it is"
    return "held out until the final training" if facts.get("refit_updates") else "which were not trained on"


def flattered(facts: Mapping[str, Any]) -> bool:
    """Return whether the model that a training went on from has seen some of the outcomes that its quality is of."""
    began = (facts.get("quality") or {}).get("from", math.inf)
    until = facts.get("from_last")
    return until is not None and bool(until >= began)


def _why_unmeasured(model: Model) -> str:
    """Return why nothing says how good a model is, and what to do; a small letter first, no full stop."""
    facts, spec, remedy = model.facts, model.spec, "run a backtest on a file"
    if "compressed" in facts:
        return f"nothing was measured since this model was made smaller: {remedy}"
    if facts.get("unscored") == "max_seconds":
        return f"nothing was measured: the time was up before anything was learned; {remedy}"
    if "unscored" in facts:
        return f"nothing was measured: Ctrl-C ended the scoring; {remedy}"
    if "rows" not in facts:
        return f"nothing was measured: this model was made without a history; {remedy}"
    if "quality" not in facts or facts["quality"]:
        return f"an earlier version of streamcast trained this model; its measures cannot be read: {remedy}"
    if facts.get("first") is None or facts.get("last") is None:
        return f"nothing was measured: the times of the history are not known; {remedy}"
    bars, season = spec.series.grid.bar(facts["last"]) - spec.series.grid.bar(facts["first"]) + 1, min(spec.seasons)
    if season > bars:
        longer = f"the season of {span_name(season, spec.series.freq)} ({counted(season, 'bar')}) is longer than"
        return f"nothing was measured: {longer} the history ({counted(bars, 'bar')}); {remedy} that is longer"
    return "the history is too short to say how good the model is: run a backtest on later data"


def measured(model: Model) -> str:
    """Return what training measured, over all scored steps, in a few words, or why it measured nothing."""
    found = model.facts.get("quality") or {}
    over_all = SumsByStep.of_facts(found).over_all()
    if not over_all.outcomes:
        return _why_unmeasured(model)
    return sentence(over_all, found.get("nominal", 0.0), baseline(model.spec))


def zone_of(model: Model | Version) -> str:
    """Return the zone in which the times of a model's training were read; UTC where this machine does not know it."""
    zone = str(model.facts.get("timezone", "UTC"))
    try:
        zone_named(zone)
    except SettingsError:
        return "UTC"
    return zone


def baseline(spec: ModelSpec) -> str:
    """Return what the seasonal naive forecast of a model repeats."""
    return naive_name(spec.naive_season, spec.series.freq)


def unfinished(facts: Mapping[str, Any], time_limit: str) -> str | None:
    """Return a warning, with the remedy, if training ended before its first epoch did; None if it did not."""
    if facts.get("whole_epochs", 1):
        return None
    ended, remedy = f"before its first epoch was finished ({ENDED[facts['stopped']]})", "let it train for longer"
    if facts["stopped"] == "max_seconds":
        remedy = f"give it more time ({time_limit})"
    if facts["stopped"] == "epochs":
        ended, remedy = "without an epoch (epochs=0)", "ask for at least one"
    return f"training ended {ended}. The forecasts may be poor and the intervals wrong: {remedy}."


def training_line(model: Model) -> str:
    """Return one sentence: size, loss before and after, and why training stopped."""
    facts = model.facts
    if isinstance(model.network, NoNetwork):
        return "A model without a network: nothing was trained, it learns from every record"
    parameters = sum(p.numel() for p in model.network.parameters())
    if "highway_loss" in facts:
        began = f"{facts['highway_loss']:.4f} before training"
    else:
        loss = facts.get("loss_before_compression")
        whole = "" if loss is None else f"; before compression {facts['whole']} had {loss:.4f}"
        began = f"{facts['initial_loss']:.4f} ({facts['from']}{whole})"
    went = f"the validation loss went from {began} to {facts['validation_loss']:.4f}"
    took = f"({facts['seconds']:.0f} s; {ENDED[facts['stopped']]})"
    if facts.get("whole_epochs", 1) and not facts["best_epoch"]:
        first = f"of {facts['from']}" if "from" in facts else "before it"
        took += f"; no epoch was better, so the weights are those {first}"
    if losses := facts.get("member_losses"):
        there, asked = len(losses), facts["members_asked"]
        networks = counted(asked, "network") if there == asked else f"{there} of {counted(asked, 'network')}"
        alone = f" together, {', '.join(f'{loss:.4f}' for loss in losses)} alone" if there > 1 else ""
        return f"{networks}, {parameters:,} parameters in all; {went}{alone} {took}"
    return f"{parameters:,} parameters; {went}{_when(facts)} {took}"


def _when(facts: Mapping[str, Any]) -> str:
    """Return the epoch that did best; nothing where none was finished, or none was better."""
    if not facts.get("whole_epochs", 1) or not facts["best_epoch"]:
        return ""
    return f" in epoch {facts['best_epoch']} of {facts['epochs']}"
