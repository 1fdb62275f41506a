"""Training: truncated back-propagation through time over the features that the service computes.

A training run goes through these modules:

1. ``defaults.default_spec`` chooses the model spec.  The season is the only choice that needs bars; of samples they
   are read off the rows, of ticks the window kernel makes them.  (Features come later: the normaliser's half-life
   follows from the season.)
2. ``sequences.sequences`` walks the history through the window kernel once and keeps the features of every bar.
3. ``validation.parts`` sets apart the last part of the history, which chooses the epoch.
4. ``highway.solve`` sets the linear highway in closed form; the network learns the rest.
5. ``streams`` puts sequences side by side, and ``objective`` turns them into a loss, update by update.

The state is carried from chunk to chunk of a stream and gradients end at the chunk (Williams and Peng 1990).  Streams
start cold at random places of the history, so the network also learns to start cold.

Legend: P positions, h horizon, Q quantiles.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, NamedTuple, get_type_hints

import numpy as np
import torch

from streamcast.engine.engine import layout
from streamcast.errors import HistoryError, Option
from streamcast.models.ensemble import members_of, together
from streamcast.models.network import Network
from streamcast.models.spec import SpecError, fits, in_words, one_of, with_members
from streamcast.models.surgery.handover import begin_with, first_layers, frozen, hand_over
from streamcast.offline.history.read import History
from streamcast.offline.training import highway, validation
from streamcast.offline.training.hardware import copied, device_named, one_thread
from streamcast.offline.training.objective import Objective, taught_by
from streamcast.offline.training.quality import Part, held_out_quality, part_of
from streamcast.offline.training.sequences import Ints, Sequences, sequences
from streamcast.offline.training.streams import Chunk, chunks, cut
from streamcast.offline.training.untrained import untrained
from streamcast.quality import SumsByStep
from streamcast.spec.folders import Model, new_network
from streamcast.spec.model_spec import ModelSpec
from streamcast.spec.zero import challenger_of, has_no_network

LIMITS: Mapping[Option, tuple[float, float]] = {
    Option.EPOCHS: (0, 1_000_000), Option.UPDATES: (0, 1_000_000), Option.PATIENCE: (1, 1_000_000),
    Option.MAX_SECONDS: (0, 1e9), Option.VALIDATION: (0.001, 0.99), Option.ROWS: (1, 4096), Option.CHUNK: (1, 4096),
    Option.BURN_IN: (0, 65_536), Option.POSITIONS: (1, 65_536), Option.LEARNING_RATE: (0, 10), Option.REFIT: (0, 10),
    Option.AVERAGE: (0, 0.9999), Option.HIGHWAY_RATE: (0, 100), Option.DECAY: (0, 1), Option.DECAY_EVERY: (1, 4096),
    Option.WEIGHT_DECAY: (0, 10), Option.CLIP: (1e-6, 1e12), Option.ACCUMULATE: (1, 4096),
    Option.CELL_PENALTY: (0, 1e6), Option.PONDER_COST: (0, 1e6), Option.IMITATE: (0, 1),
    Option.LAYER_EPOCHS: (0, 1_000_000), Option.SEED: (0, 2**63 - 1),
}  # fmt: skip
"""The least and the largest value of each number among the options."""


@dataclass(frozen=True, slots=True)
class Options:
    """The settings of a training run; none is part of the model."""

    epochs: int = 10
    """Most epochs; after each the network is validated."""
    updates: int = 0
    """Updates in an epoch; 0 for a share of the training part's bars / 10, from 400 to 2,000 in all epochs.

    Of a horizon beyond 24 steps they are fewer in proportion, because each update learns from as many more outcomes.
    """
    patience: int = 4
    """Epochs without a better validation loss after which training stops."""
    max_seconds: float = 0.0
    """Longest training; 0 for no limit."""
    validation: float = 0.15
    """The share of the history, at its end, that is not trained on but chooses the epoch."""
    rows: int = 24
    """Most streams side by side."""
    chunk: int = 32
    """Bars from one update to the next, and how far back gradients reach."""
    burn_in: int = 96
    """Bars that a stream steps through after a cold start before it is scored."""
    positions: int = 96
    """Forecasts that each update learns from, drawn from its chunk."""
    learning_rate: float = 3e-3
    """Adam's largest step size: it rises over the first tenth of the run, then falls to 0 along a cosine."""
    refit: float = 0.3
    """Then so many times the updates up to the best epoch on the whole history, at 0.3 of the step size; 0 for none."""
    average: float = 0.995
    """Share of the past in the running mean of the weights, which is validated and kept (Polyak & Juditsky 1992)."""
    highway_rate: float = 0.05
    """The highway's step size, relative to the others'."""
    decay: float = 1.0
    """The step size is also multiplied by this ..."""
    decay_every: int = 1
    """... after this many epochs."""
    weight_decay: float = 1e-2
    """Decoupled, on all weights but the highway's (Loshchilov and Hutter 2019)."""
    clip: float = 1.0
    """Largest norm of a gradient."""
    accumulate: int = 1
    """Chunks whose mean gradient makes an update."""
    cell_penalty: float = 0.0
    """Weight of the mean square of the cell states (of LSTM and the like), such as 1e-3."""
    ponder_cost: float = 0.0
    """Weight of the number of layers that a row climbs, where it may leave early, such as 1e-2."""
    imitate: float = 0.5
    """Weight of a teacher's forecasts, from 0 to 1; the outcomes have the rest."""
    layer_epochs: int = 0
    """Epochs in which each layer but the last is trained as the top of the stack, before all are trained together."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Type of most products in training (mixed precision); weights, validation and service are float32."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train: cpu, cuda, or auto (a GPU if there is one)."""
    seed: int = 0
    """Seed of the initial weights, the cuts of the streams, and dropout."""

    def __post_init__(self) -> None:
        """Raise SpecError for another kind of value, and for a number outside ``LIMITS``."""
        for name, kind in get_type_hints(type(self)).items():
            option, value = Option(name), getattr(self, name)
            plain = value.item() if isinstance(value, np.generic) else value
            if not fits(plain, kind):
                raise SpecError(option, f" is {value!r}: expected {in_words(kind)}{_limits(option)}")
            if option in LIMITS and not LIMITS[option][0] <= plain <= LIMITS[option][1]:
                raise SpecError(option, f" is {value!r}: expected {in_words(kind)}{_limits(option)}")

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Options:
        """Return how a model of these facts is trained again, on whichever device there is; raises SpecError.

        One that went on from another model, or imitated one, had options for that: it is trained by the default ones.
        """
        if others_of(facts):
            return cls(seed=int(facts.get("seed", 0)))
        known = {each.name for each in fields(cls)}
        kept = {name: value for name, value in facts.get("options", {}).items() if name in known}
        return cls(**{"seed": int(facts.get("seed", 0)), **kept})

    def facts(self) -> dict[str, object]:
        """Return the options that make another training than the default ones do, by name."""
        values = {option.value: getattr(self, option.value) for option in self.changed()}
        return {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in values.items()
            if name not in {Option.DEVICE.value, Option.SEED.value}
        }

    def changed(self) -> tuple[Option, ...]:
        """Return the options whose value is not the default."""
        return tuple(Option(each.name) for each in fields(self) if getattr(self, each.name) != each.default)


def others_of(facts: Mapping[str, Any]) -> list[str]:
    """Return the models that one of these facts went on from, or imitated."""
    return [facts[part] for part in ("from", "teacher") if part in facts]


def _limits(option: Option) -> str:
    """Return the limits of a number among the options in words."""
    return " from {} to {}".format(*LIMITS[option]) if option in LIMITS else ""


Stage = Literal["training", "final training", "scoring"]


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a training run; losses are in units of the running normaliser.

    ``validation`` is the best loss so far.  The final training is on the whole history; then the best weights before
    it are scored, of which there is one report, at its beginning.  ``done`` is the share of both trainings, and
    ``seconds_left`` their rest, of all ``members`` that are trained, one after the other.
    """

    epoch: int
    epochs: int
    loss: float
    validation: float
    seconds_left: float
    done: float
    stage: Stage = "training"
    member: int = 1
    members: int = 1


OnProgress = Callable[[Progress], None]

WARM_UP = 0.1
"""The share of a run in which the step size rises."""
REFIT_RATE = 0.3
"""The step size of a refit, relative to the run before it."""
BARS_AN_UPDATE, FEWEST_UPDATES, MOST_UPDATES = 10, 400, 2_000
STEPS_AN_UPDATE = 24
"""The longest horizon with an update for so many bars; a longer one has an update for as many more bars."""
FEWEST_CHUNKS = 4
"""Chunks of a stream: a small history has fewer streams."""
SHORTEST_SECONDS = 1e-3
"""What a network is left with when those before it have taken all the time: 0 would be no limit."""
ENDINGS = ("interrupted", "max_seconds", "patience", "epochs")
"""What can end a training, the most notable first."""


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
    KeyboardInterrupt ends the run and keeps the best weights so far; ``facts["stopped"]`` names what ended it.

    Several members are trained one after the other, the first with the seed of the options.  If Ctrl-C ends a later
    one, or the time is up within the first epoch of some, the model has the other members, and its spec says so.

    Raises HistoryError when there is nothing to train on, ModelError when the spec names no network or the teacher's
    spec differs, SpecError when ``initial`` is another network, an option does not suit this one, or the state of a
    series takes too much memory.
    """
    options = options or Options()
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
    begun = None if initial is None else whole
    model = _model(history, seen, parts[1], spec, trained, options, on_progress, begun)
    if not beside_zero:
        return model
    return replace(model, facts={**model.facts, "quality": compared_with_zero(model.facts["quality"], spec, history)})


def fit_again(
    past: History, spec: ModelSpec, options: Options | None, on_progress: OnProgress = lambda _progress: None
) -> Model:
    """Return a model trained on the rows before a part of a test, where nobody waits for what it is worth itself.

    Raises as ``fit`` does, and KeyboardInterrupt at Ctrl-C: the test would score what was trained by then.
    """
    model = fit(past, spec, options, on_progress, beside_zero=False)
    if model.facts["stopped"] == "interrupted" or "unscored" in model.facts:
        raise KeyboardInterrupt
    return model


class _Trained(NamedTuple):
    """A network after its training, the weights that were best before the final training, and how it went."""

    network: Network
    best: Network
    run: _Run
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
    """Return what tells the progress of one of several networks as that of the whole training."""
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
        run = _Run(network.to(device), seen, train_P, validation_P, before, on_progress, expert, share=share)
        run.later = round(options.refit * run.most_updates)
        run.ends = run.started + options.max_seconds if options.max_seconds else math.inf
        stopped = _layer_by_layer(run) or run.train()
        best = copy.deepcopy(run.network).cpu().eval()
        refitted = 0 if stopped == "interrupted" else _refit(run, options, np.concatenate([train_P, validation_P]))
    return _Trained(network.cpu().eval(), best, run, stopped, refitted, run.seconds)


def _model(
    history: History, seen: Sequences, validation_P: Ints, spec: ModelSpec, trained: Sequence[_Trained],
    options: Options, on_progress: OnProgress, initial: Network | None,
) -> Model:  # fmt: skip
    """Return the model of the networks that were trained, with its quality; after Ctrl-C its members may be fewer.

    So may they where the time was up within the first epoch of some: these would make the mean of the others worse.
    ``initial`` is the network that they began as, if one was given.
    """
    asked, ended = one_of(spec.network)[1], [one.stopped for one in trained]
    if len(trained) < asked or trained[-1].interrupted:
        ended.append("interrupted")
    if trained[-1].stopped == "interrupted":
        trained = trained[:-1] or trained
    trained = [one for one in trained if one.run.whole_epochs] or trained
    spec, runs = _with_members(spec, len(trained)), [one.run for one in trained]
    best = Model(spec, together([one.best for one in trained]), facts={})
    losses = [run.best for run in runs]
    quality, unscored = None, {}
    with one_thread(options.seed):
        try:
            quality = _quality(best, history, seen, validation_P, lambda: on_progress(runs[-1].scoring()))
        except KeyboardInterrupt:
            unscored = {"unscored": "interrupted"}
        loss = _loss_together(runs, best.network, losses)
        began = float(np.mean([run.first for run in runs]))
        if initial is not None:
            began = _loss_together(runs, initial, [run.first for run in runs])
    facts = {
        "epochs": max(run.epoch for run in runs), "whole_epochs": min(run.whole_epochs for run in runs),
        "best_epoch": max(run.best_epoch for run in runs),
        "validation_loss": loss, **({"members_asked": asked, "member_losses": losses} if asked > 1 else {}),
        ("highway_loss" if initial is None else "initial_loss"): began,
        "seconds": round(sum(one.seconds for one in trained), 1),
        "stopped": next(reason for reason in ENDINGS if reason in ended),
        "series": len(history.keys), "rows": len(history), "bars_trained": len(runs[0].train_P),
        "refit_updates": sum(one.refit_updates or 0 for one in trained), "quality": quality,
        "first": int(history.ts_N[0]), "last": history.last_observed_ms, "seed": options.seed,
        **({"options": chosen} if (chosen := options.facts()) else {}), **unscored,
    }  # fmt: skip
    return Model(spec, together([one.network for one in trained]), facts=facts)


def _loss_together(runs: Sequence[_Run], network: Network, alone: Sequence[float]) -> float:
    """Return the validation loss of several networks together; at Ctrl-C the mean of what each has ``alone``."""
    try:
        return runs[0].loss(network) if len(runs) > 1 else alone[0]
    except KeyboardInterrupt:
        return float(np.mean(alone))


def _quality(
    model: Model, history: History, seen: Sequences, validation_P: Ints, on_begin: Callable[[], None]
) -> dict[str, Any] | None:
    """Return how good a model is on its validation part; None if that is too short to score."""
    try:
        on_begin()
        series = model.spec.series
        newest_bar = (int(seen.cutoff_K[validation_P].min()) - series.offset) // series.freq
        first = series.grid.start(newest_bar + 1)
        return held_out_quality(model, history, part_of(history, model.spec, first))
    except HistoryError:
        return None


def compared_with_zero(quality: dict[str, Any] | None, spec: ModelSpec, history: History) -> dict[str, Any] | None:
    """Return what training measured of a model, with ``without_network``: the relative error of one like it without.

    It is None at Ctrl-C, and where such a model is not possible or scores other outcomes, because it is warm at another
    time.
    """
    if quality is None:
        return None
    return {**quality, "without_network": _without_network(spec, history, quality)}


def _without_network(spec: ModelSpec, history: History, mine: Mapping[str, Any]) -> float | None:
    """Return the relative error of a model without a network over the outcomes of ``mine``; None if it has others."""
    simple = challenger_of(spec)
    try:
        zero = held_out_quality(
            Model(simple, new_network(simple)), history, Part(mine["from"], mine["series"], mine["of_series"])
        )
    except (HistoryError, SpecError, KeyboardInterrupt):
        return None
    found = SumsByStep.of_facts(zero).over_all()
    same = found.outcomes == SumsByStep.of_facts(mine).over_all().outcomes
    return found.relative if same and math.isfinite(found.relative) else None


def _refit(run: _Run, options: Options, all_P: Ints) -> int | None:
    """Train on from the best weights over the whole history, its newest part included; return the updates taken.

    Nothing is held out any more, so the number of updates follows from what was best before.  At Ctrl-C these weights
    are kept, and it returns None.
    """
    updates = round(options.refit * run.best_epoch * run.epoch_updates)
    left = options.max_seconds - run.seconds if options.max_seconds else 0.0
    if not updates or left < 0:
        return 0
    again = replace(
        options, epochs=1, updates=updates, learning_rate=REFIT_RATE * options.learning_rate, layer_epochs=0,
        max_seconds=left,
    )  # fmt: skip
    further = _Run(
        run.network, run.seen, np.sort(all_P), all_P[:0], again, run.on_progress, run.teacher, best=run.best,
        share=(run.share[1], 1.0), ends=run.ends,
    )  # fmt: skip
    before, mean = copy.deepcopy(run.network.state_dict()), copied(run.network)
    try:
        further.one_epoch(mean)
    except KeyboardInterrupt:
        run.network.load_state_dict(before)
        return None
    run.network.load_state_dict(mean.state_dict())
    return further.updates


def held_out_loss(network: Network, history: History, spec: ModelSpec, options: Options | None = None) -> float:
    """Return a network's mean loss on the validation part of a history."""
    options = options or Options()
    with one_thread(options.seed):
        seen = sequences(history, spec)
        _, validation_P = validation.parts(seen, options.validation)
        return validation.evaluate(network, seen, validation_P, options.rows, 2 * options.burn_in)


@dataclass(slots=True)
class _Run:
    """One training run: the network, its data, and the best loss so far."""

    network: Network
    seen: Sequences
    train_P: Ints
    validation_P: Ints
    options: Options
    on_progress: OnProgress
    teacher: Network | None
    epoch: int = 0
    whole_epochs: int = 0
    updates: int = 0
    best_epoch: int = 0
    first: float = np.inf
    best: float = np.inf
    share: tuple[float, float] = (0.0, 1.0)
    """Where this run begins and ends in the whole training."""
    later: int = 0
    """The most updates of the trainings that follow this one."""
    ends: float = math.inf
    """When the time of the whole training is up (s of the monotonic clock)."""
    started: float = field(default_factory=time.monotonic)
    began: float = math.nan
    """When the first epoch began."""

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def train(self) -> str:
        """Train until something ends the run, restore the best weights, and return what ended it.

        The weights that are validated and kept are the running mean of the trained ones.
        """
        options = self.options
        best: dict[str, Any] = copy.deepcopy(self.network.state_dict())
        stopped = "epochs"
        try:
            self.first = self.best = self.loss(self.network)
            optimizer, mean = self._optimizer(), copied(self.network)
            batches = self._batches(np.random.default_rng(options.seed))
            while self.epoch < options.epochs:
                finished = self._epoch(optimizer, batches, mean)
                self.epoch += 1
                self.whole_epochs += finished
                loss = self.loss(mean)
                if loss < self.best:
                    self.best, self.best_epoch = loss, self.epoch
                    best = copy.deepcopy(mean.state_dict())
                if not finished:
                    stopped = "max_seconds"
                    break
                if self.epoch - self.best_epoch >= options.patience:
                    stopped = "patience"
                    break
        except KeyboardInterrupt:
            stopped = "interrupted"
        self.network.load_state_dict(best)
        return stopped

    def one_epoch(self, mean: Network) -> None:
        """Train one epoch without validation, and make ``mean`` the running mean of the weights."""
        self._epoch(self._optimizer(), self._batches(np.random.default_rng(self.options.seed)), mean)

    def loss(self, network: Network) -> float:
        """Return a network's mean loss on the validation part."""
        rows, burn_in = self.options.rows, 2 * self.options.burn_in
        return validation.evaluate(network, self.seen, self.validation_P, rows, burn_in)

    def scoring(self) -> Progress:
        """Return the progress when both trainings are over."""
        return Progress(self.epoch, self.options.epochs, self.best, self.best, 0.0, 1.0, "scoring")

    @property
    def epoch_updates(self) -> int:
        """The updates of one epoch."""
        bars = BARS_AN_UPDATE * max(self.seen.spec.horizon / STEPS_AN_UPDATE, 1.0)
        whole = min(max(int(len(self.train_P) / bars), FEWEST_UPDATES), MOST_UPDATES)
        return self.options.updates or -(-whole // max(self.options.epochs, 1))

    @property
    def most_updates(self) -> int:
        """The updates of all epochs."""
        return self.epoch_updates * self.options.epochs

    def _seconds_left(self, done: int) -> float:
        """Return about how long the rest takes, with ``done`` chunks of the present epoch, at the pace so far."""
        now, each = time.monotonic(), self.options.accumulate
        stepped = self.epoch * self.epoch_updates * each + done
        left = (now - self.began) / max(stepped, 1) * ((self.most_updates + self.later) * each - stepped)
        return max(min(left, self.ends - now), 0.0)

    def _rate(self) -> float:
        """Return the factor of the step sizes: up, then down a cosine, by updates or by time if that runs out first."""
        options = self.options
        spent = self.seconds / options.max_seconds if options.max_seconds else 0.0
        done = min(max(self.updates / (self.epoch_updates * max(options.epochs, 1)), spent), 1.0)
        fallen = 0.5 * (1 + math.cos(math.pi * max(done - WARM_UP, 0) / (1 - WARM_UP)))
        return min((done + 1e-3) / WARM_UP, 1.0) * fallen * math.pow(options.decay, self.epoch // options.decay_every)

    def _optimizer(self) -> torch.optim.Optimizer:
        """Return AdamW; the highway, whose closed form is already good, has smaller steps and no weight decay."""
        options, highway = self.options, self.network.highway
        linear = [] if highway is None else list(highway.parameters())
        rest = [p for p in self.network.parameters() if not any(p is q for q in linear)]
        return torch.optim.AdamW(
            [
                {"params": rest, "first": options.learning_rate, "weight_decay": options.weight_decay},
                {"params": linear, "first": options.learning_rate * options.highway_rate, "weight_decay": 0.0},
            ],
            betas=(0.9, 0.99),
        )

    def _batches(self, random: np.random.Generator) -> Iterator[tuple[Objective, Chunk, Ints, Ints]]:
        """Yield chunks of streams, with the rows and positions to score, pass after pass over the training part."""
        options = self.options
        spans = validation.spans(self.seen, self.train_P)
        bars = sum(last - first + 1 for _, first, last in spans)
        rows = min(max(bars // (options.chunk * FEWEST_CHUNKS), 1), options.rows)
        eligible_K = np.zeros(len(self.seen), np.bool_)
        eligible_K[self.train_P] = True
        while True:
            pieces = cut(spans, max(-(-bars // rows), FEWEST_CHUNKS * options.chunk), options.burn_in, random)
            side_by_side = min(rows, len(pieces))
            objective = Objective(
                self.network, self.seen, side_by_side, self.teacher, options.imitate, options.cell_penalty,
                options.ponder_cost,
            )  # fmt: skip
            for chunk in chunks(pieces, side_by_side, options.chunk):
                rows_P, at_P = validation.scored(chunk, eligible_K)
                if len(at_P) > options.positions:
                    drawn = random.choice(len(at_P), options.positions, replace=False)
                    rows_P, at_P = rows_P[drawn], at_P[drawn]
                yield objective, chunk, rows_P, at_P

    def _epoch(
        self, optimizer: torch.optim.Optimizer, batches: Iterator[tuple[Objective, Chunk, Ints, Ints]], mean: Network
    ) -> bool:
        """Take the updates of one epoch; return False if the time ran out before the end."""
        options = self.options
        self.network.train()
        wanted, done, waiting, total = self.epoch_updates * options.accumulate, 0, 0, 0.0
        self.began = self.began if self.epoch else time.monotonic()
        while done < wanted:
            loss = self._loss(*next(batches))
            if loss is not None:
                torch.autograd.backward(loss / options.accumulate)
                total, waiting, done = total + loss.item(), waiting + 1, done + 1
            if waiting == options.accumulate:
                self._update(optimizer, mean)
                waiting = 0
            if loss is not None:
                average = total / done
                begin, end = self.share
                whole = begin + (self.epoch + done / wanted) / options.epochs * (end - begin)
                stage: Stage = "training" if len(self.validation_P) else "final training"
                left = self._seconds_left(done)
                self.on_progress(Progress(self.epoch + 1, options.epochs, average, self.best, left, whole, stage))
            if options.max_seconds and self.seconds > options.max_seconds:
                return False
        return True

    def _loss(self, objective: Objective, chunk: Chunk, rows_P: Ints, at_P: Ints) -> torch.Tensor | None:
        """Step the streams through a chunk and return the loss of its forecasts; None if there are none."""
        device = next(self.network.parameters()).device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.options.precision == "bfloat16"):
            objective.advance(chunk)
            return objective.loss(rows_P, at_P) if len(at_P) else None

    def _update(self, optimizer: torch.optim.Optimizer, mean: Network) -> None:
        """Take one optimiser step along the accumulated gradients, zero them, and move the mean of the weights."""
        for group in optimizer.param_groups:
            group["lr"] = group["first"] * self._rate()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.options.clip)
        optimizer.step()
        optimizer.zero_grad()
        self.updates += 1
        kept = min(self.options.average, (1 + self.updates) / (10 + self.updates))
        with torch.no_grad():
            for average, weight in zip(mean.parameters(), self.network.parameters(), strict=True):
                average.lerp_(weight, 1 - kept)


def _layer_by_layer(run: _Run) -> str:
    """Train each layer but the last as the top of the frozen ones below; return "interrupted" if it was, or ""."""
    options, network = run.options, run.network
    for layers in range(1, len(network.composition.stack) if options.layer_epochs else 0):
        small = first_layers(network, layers).to(next(network.parameters()).device)
        with frozen(small, layers - 1):
            later = run.later + run.most_updates * (len(network.composition.stack) - layers)
            below = replace(options, epochs=options.layer_epochs)
            stopped = replace(run, network=small, options=below, later=later).train()
        hand_over(small, network)
        if stopped == "interrupted":
            run.first = run.best = run.loss(network)
            return stopped
    return ""
