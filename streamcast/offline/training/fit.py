"""Training: truncated back-propagation through time over the features that the service computes.

A training goes through these modules:

1. ``sequences.sequences`` walks the history through the window kernel once and keeps the features of every bar.
2. ``validation.parts`` sets apart the last part of the history, which chooses the epoch.
3. ``highway.solve`` sets the linear highway in closed form; the network learns the rest.
4. ``run`` trains a network: ``streams`` puts sequences side by side, ``objective`` turns them into a loss, update by
   update.
5. ``quality`` scores the forecasts of the best weights on the last part.

``offline.defaults`` makes the spec before that.  The state is carried from chunk to chunk of a stream and gradients end
at the chunk (Williams and Peng 1990).  Streams start cold at random places of the history, so the network also learns
to start cold.

Legend: P positions.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from streamcast.engine.engine import layout
from streamcast.errors import ModelError, Option
from streamcast.models.ensemble import members_of, together
from streamcast.models.network import Network
from streamcast.models.spec import SpecError, one_of, with_members
from streamcast.models.surgery.handover import begin_with, hand_over
from streamcast.offline.history.read import History
from streamcast.offline.training import highway, validation
from streamcast.offline.training.hardware import device_named, one_thread
from streamcast.offline.training.objective import taught_by
from streamcast.offline.training.options import Options
from streamcast.offline.training.quality import compared_with_zero, quality_from
from streamcast.offline.training.run import OnProgress, Progress, Run, layer_by_layer, refit
from streamcast.offline.training.sequences import Ints, Sequences, sequences
from streamcast.offline.training.untrained import untrained
from streamcast.spec.folders import Model, new_network
from streamcast.spec.model_spec import ModelSpec
from streamcast.spec.zero import has_no_network
from streamcast.wording import counted

SHORTEST_SECONDS = 1e-3
"""What a network is left with when those before it have taken all the time: 0 would be no limit."""
ENDINGS = ("interrupted", "max_seconds", "patience", "epochs")
"""What can end a training, the most notable first."""
NOTHING_LEARNED = "training ended before anything was learned"


def fit(
    history: History,
    spec: ModelSpec,
    options: Options | None = None,
    on_progress: OnProgress = lambda _progress: None,
    *,
    initial: Network | None = None,
    teacher: Model | None = None,
    beside_zero: bool = True,
) -> Model:
    """Return a model trained on a history, with the weights of the epoch that did best on its last part.

    ``initial`` gives the first weights (a warm start, such as of a model with more data or of a pruned one);
    ``teacher`` is a model that the network imitates while it learns from the outcomes.  With ``beside_zero`` a model
    without a network is measured on the same outcomes (see ``compared_with_zero``).  The same history, spec,
    options and networks give the same weights on one kind of processor, unless ``max_seconds`` is set.
    Ctrl-C ends the run and keeps the best weights so far; ``facts["stopped"]`` names what ended it, and
    ``facts["learned"]`` says whether any were better than the first ones.  If none were by then, KeyboardInterrupt is
    raised: the first ones are no model to go on with.  Where the time was up by then, they are not scored, and the
    facts say what a first epoch needs.

    Several members are trained one after the other, the first with the seed of the options.  If Ctrl-C ends a later
    one, or the time is up within the first epoch of some, the model has the other members, and its spec says so.

    Raises HistoryError when there is nothing to train on, ModelError when the spec names no network or the teacher's
    spec differs, SpecError when ``initial`` is another network, an option does not suit this one, or the state of a
    series takes too much memory.
    """
    options, began = options or Options(), time.monotonic()
    if has_no_network(spec):
        for option, given in ((Option.INITIAL, initial), (Option.TEACHER, teacher)):
            if given is not None:
                raise SpecError(option, " is given, but a model without a network has nothing to train: leave it out")
        return untrained(history, spec, options.validation)
    with one_thread(options.seed):
        whole = new_network(spec)
    layout(spec, whole)  # refuses a model whose state no service could hold, before the training
    if initial is not None:
        begin_with(initial, whole)
    firsts = [None if initial is None else member for member in members_of(whole)]
    seen = sequences(history, spec)
    parts = validation.parts(seen, options.validation)
    trained: list[_Trained] = []
    for number, first in enumerate(firsts):
        how = _options_of(options, number, len(firsts), sum(one.seconds for one in trained))
        try:
            trained.append(_train(seen, parts, how, _told(on_progress, number, len(firsts)), first, teacher))
        except KeyboardInterrupt:  # before its first update
            if not trained:
                raise
            break
        if trained[-1].interrupted:
            break
    model = _model(history, seen, parts[1], trained, options, on_progress, None if initial is None else whole)
    if model.facts.get("unscored") == "max_seconds":
        prepared = round(trained[0].run.started - began, 3)
        model = replace(model, facts={**model.facts, "preparation_seconds": prepared})
    if not beside_zero:
        return model
    return replace(model, facts={**model.facts, "quality": compared_with_zero(model.facts["quality"], spec, history)})


def fit_again(
    past: History, spec: ModelSpec, options: Options | None, time_limit: str,
    on_progress: OnProgress = lambda _progress: None,
) -> Model:  # fmt: skip
    """Return a model trained on the rows before a part of a test; it is not compared with one without a network.

    Raises as ``fit`` does, KeyboardInterrupt at Ctrl-C, because a test must not score what was trained by then, and
    ModelError, which names the option ``time_limit``, where the time was up before anything was learned.
    """
    model = fit(past, spec, options, on_progress, beside_zero=False)
    if "interrupted" in (model.facts["stopped"], model.facts.get("unscored")):
        raise KeyboardInterrupt
    if why := unlearned(model.facts, time_limit):
        raise ModelError(f"the model was to be trained again on {counted(len(past), 'row')}, but {why}")
    return model


def unlearned(facts: Mapping[str, Any], time_limit: str) -> str | None:
    """Return why a training has no more than its first weights, with the remedy, if its time was too short; else None.

    ``time_limit`` is the option that limited it, as a person types it.  A training that finished an epoch and found no
    better weights had its time: the first ones are its result.
    """
    if facts.get("learned", True) or facts["whole_epochs"] or facts["stopped"] != "max_seconds":
        return None
    needed, before = (math.ceil(facts[name]) for name in ("first_epoch_seconds", "preparation_seconds"))
    return (
        f"the time was up before anything was learned: give the training more time ({time_limit}): a first epoch needs"
        f" at least {needed:,} s of it, after a preparation of {before:,} s, which does not count"
    )


def held_out_loss(network: Network, history: History, spec: ModelSpec, options: Options | None = None) -> float:
    """Return a network's mean loss on the validation part of a history."""
    options = options or Options()
    with one_thread(options.seed):
        seen = sequences(history, spec)
        _, validation_P = validation.parts(seen, options.validation)
        return validation.evaluate(network, seen, validation_P, options.rows, 2 * options.burn_in)


class _Trained(NamedTuple):
    """A network after its training, the weights that were best before the final training, and how it went."""

    network: Network
    best: Network
    run: Run
    stopped: str
    """What ended the training before the final one."""
    refit_updates: int | None
    """None where Ctrl-C ended the final training."""
    seconds: float

    @property
    def interrupted(self) -> bool:
        return self.stopped == "interrupted" or self.refit_updates is None


def _options_of(options: Options, number: int, members: int, spent: float) -> Options:
    """Return the options of one of several networks: a seed of its own, and its share of the time that is left."""
    drawn = int(np.random.SeedSequence([options.seed, number]).generate_state(1, np.uint64)[0] >> 1)
    left = max(options.max_seconds - spent, SHORTEST_SECONDS) / (members - number) if options.max_seconds else 0.0
    return replace(options, seed=drawn if number else options.seed, max_seconds=left)


def _told(on_progress: OnProgress, number: int, members: int) -> OnProgress:
    """Return a function that reports the progress of one of several networks as that of the whole training."""
    began = time.monotonic()

    def tell(at: Progress) -> None:
        each = time.monotonic() - began + at.seconds_left
        left = at.seconds_left + (members - 1 - number) * each
        done = (number + at.done) / members
        on_progress(replace(at, seconds_left=left, done=done, member=number + 1, members=members))

    return tell


def _with_members(spec: ModelSpec, members: int) -> ModelSpec:
    return spec.model_copy(update={"network": dict(with_members(spec.network, members))})


def _train(
    seen: Sequences, parts: tuple[Ints, Ints], options: Options, on_progress: OnProgress, first: Network | None,
    teacher: Model | None,
) -> _Trained:  # fmt: skip
    """Train one network from the weights of ``first``, or from random ones, and then on the whole history."""
    train_P, validation_P = parts
    with one_thread(options.seed):
        network = new_network(_with_members(seen.spec, 1))
        if first is None:
            highway.solve(seen, network, train_P, validation_P)
        else:
            hand_over(first, network)
        device = device_named(options.device)
        expert = None if teacher is None else taught_by(teacher, seen.spec).to(device)
        before = replace(options, max_seconds=options.max_seconds / (1 + options.refit))
        share = (0.0, 1 / (1 + options.refit))
        run = Run(network.to(device), seen, train_P, validation_P, before, on_progress, expert, share=share)
        run.later = round(options.refit * run.most_updates)
        run.ends = run.started + options.max_seconds if options.max_seconds else math.inf
        stopped = layer_by_layer(run) or run.train()
        best = copy.deepcopy(run.network).cpu().eval()
        refitted = 0 if stopped == "interrupted" else refit(run, options, np.concatenate([train_P, validation_P]))
    return _Trained(network.cpu().eval(), best, run, stopped, refitted, run.seconds)


def _kept(trained: Sequence[_Trained], asked: int) -> tuple[Sequence[_Trained], str]:
    """Return the networks that make the model, of those ``asked`` for, and what ended the training.

    One that Ctrl-C ended before its final training is left out, and so are those whose time was up within their first
    epoch: they would make the mean of the others worse.  One network always stays.
    """
    ended = [one.stopped for one in trained]
    if len(trained) < asked or trained[-1].interrupted:
        ended.append("interrupted")
    whole = trained[:-1] or trained if trained[-1].stopped == "interrupted" else trained
    kept = [one for one in whole if one.run.whole_epochs] or whole
    return kept, next(reason for reason in ENDINGS if reason in ended)


def _model(
    history: History, seen: Sequences, validation_P: Ints, trained: Sequence[_Trained], options: Options,
    on_progress: OnProgress, initial: Network | None,
) -> Model:  # fmt: skip
    """Return the model of the networks that were trained, with its quality and how its training went.

    ``initial`` is the network that they began as, if one was given.
    """
    asked = one_of(seen.spec.network)[1]
    kept, stopped = _kept(trained, asked)
    learned = any(one.run.learned for one in kept)
    if stopped == "interrupted" and not learned:
        raise KeyboardInterrupt(NOTHING_LEARNED)
    spec, runs = _with_members(seen.spec, len(kept)), [one.run for one in kept]
    best = Model(spec, together([one.best for one in kept]), facts={})
    losses, quality, unscored = [run.best for run in runs], None, dict[str, str | float]()
    too_short = stopped == "max_seconds" and not learned and not any(run.whole_epochs for run in runs)
    if too_short:
        each = max(run.needed for run in runs) * (1 + options.refit)
        unscored = {"unscored": stopped, "first_epoch_seconds": round(each * asked, 3)}
    with one_thread(options.seed):
        try:
            if not too_short:
                on_progress(runs[-1].scoring())
                quality = quality_from(best, history, _first_forecast(seen, validation_P))
        except KeyboardInterrupt:
            unscored = {"unscored": "interrupted"}
        loss = _loss_together(runs, best.network, losses)
        began = float(np.mean([run.first for run in runs]))
        if initial is not None:
            began = _loss_together(runs, initial, [run.first for run in runs])
    facts = {
        "epochs": max(run.epoch for run in runs), "whole_epochs": min(run.whole_epochs for run in runs),
        "best_epoch": max(run.best_epoch for run in runs), "learned": learned,
        "validation_loss": loss, **({"members_asked": asked, "member_losses": losses} if asked > 1 else {}),
        ("highway_loss" if initial is None else "initial_loss"): began,
        "seconds": round(sum(one.seconds for one in kept), 1), "stopped": stopped,
        "series": len(history.keys), "rows": len(history), "bars_trained": len(runs[0].train_P),
        "refit_updates": sum(one.refit_updates or 0 for one in kept), "quality": quality,
        "first": int(history.ts_N[0]), "last": history.last_observed_ms, "seed": options.seed,
        **({"options": chosen} if (chosen := options.facts()) else {}), **unscored,
    }  # fmt: skip
    return Model(spec, together([one.network for one in kept]), facts=facts)


def _first_forecast(seen: Sequences, validation_P: Ints) -> int:
    """Return when the first bar that the validation part forecasts begins (epoch ms)."""
    series = seen.spec.series
    return series.grid.start((int(seen.cutoff_K[validation_P].min()) - series.offset) // series.freq + 1)


def _loss_together(runs: Sequence[Run], network: Network, alone: Sequence[float]) -> float:
    """Return the validation loss of several networks together; at Ctrl-C the mean of what each has ``alone``."""
    try:
        return runs[0].loss(network) if len(runs) > 1 else alone[0]
    except KeyboardInterrupt:
        return float(np.mean(alone))
