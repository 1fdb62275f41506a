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
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch

from streamcast.engine.engine import layout
from streamcast.models.network import Network
from streamcast.models.spec import within
from streamcast.models.surgery.handover import begin_with, first_layers, frozen, hand_over
from streamcast.offline.history.read import History
from streamcast.offline.training import highway, validation
from streamcast.offline.training.hardware import device_named, one_thread
from streamcast.offline.training.objective import Objective, taught_by
from streamcast.offline.training.sequences import Ints, Sequences, sequences
from streamcast.offline.training.streams import Chunk, chunks, cut
from streamcast.spec.folders import Model, new_network
from streamcast.spec.model_spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Options:
    """The settings of a training run; none is part of the model."""

    epochs: int = 40
    """Most passes over the training part."""
    patience: int = 5
    """Epochs without a better validation loss after which training stops."""
    max_seconds: float = 0.0
    """Longest training; 0 for no limit."""
    validation: float = 0.15
    """The share of the history, at its end, that is not trained on but chooses the epoch."""
    rows: int = 32
    """Most streams side by side."""
    updates: int = 160
    """Fewest updates in an epoch: a small history is cut into fewer streams, down to 4."""
    chunk: int = 48
    """Bars from one update to the next, and how far back gradients reach."""
    burn_in: int = 96
    """Bars that a stream steps through after a cold start before it is scored."""
    positions: int = 256
    """Forecasts that each update learns from, drawn from its chunk."""
    learning_rate: float = 4e-3
    """Adam's step size in the first epoch."""
    highway_rate: float = 0.05
    """The highway's step size, relative to the others'."""
    decay: float = 0.85
    """The step size is multiplied by this ..."""
    decay_every: int = 1
    """... after this many epochs."""
    weight_decay: float = 1e-3
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
        """Raise SpecError for values that would divide by zero or reverse the sign of a loss."""
        within("decay_every", self.decay_every, 1, 4096)
        within("accumulate", self.accumulate, 1, 4096)
        within("imitate", self.imitate, 0, 1)


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a training run; losses are in units of the running normaliser."""

    epoch: int
    epochs: int
    batch: int
    batches: int
    loss: float
    validation: float
    seconds_left: float


OnProgress = Callable[[Progress], None]

LAST_RATE = 0.05
"""The factor of the step sizes at the end of ``max_seconds``."""

FEWEST_ROWS = 4


def fit(
    history: History,
    spec: ModelSpec,
    options: Options | None = None,
    on_progress: OnProgress = lambda _progress: None,
    *,
    initial: Network | None = None,
    teacher: Model | None = None,
) -> Model:
    """Return a model trained on a history, with the weights of the epoch that did best on its last part.

    ``initial`` gives the first weights (a warm start, such as of a model with more data or of a pruned one);
    ``teacher`` is a model that the network imitates while it learns from the outcomes.  The same history, spec,
    options and networks give the same weights on one kind of machine, unless ``max_seconds`` is set.
    KeyboardInterrupt ends the run and keeps the best weights so far; ``facts["stopped"]`` names what ended it.

    Raises HistoryError when there is nothing to train on, ModelError when the spec names no network or the teacher's
    spec differs, SpecError when ``initial`` is another network, an option does not suit this one, or the state of a
    series takes too much memory.
    """
    options = options or Options()
    with one_thread(options.seed):
        network = new_network(spec)
        layout(spec, network)  # refuses a model whose state no service could hold, before the training
        seen = sequences(history, spec)
        train_P, validation_P = validation.parts(seen, options.validation)
        if initial is None:
            highway.solve(seen, network, train_P, validation_P)
        else:
            begin_with(initial, network)
        device = device_named(options.device)
        expert = None if teacher is None else taught_by(teacher, spec).to(device)
        run = _Run(network.to(device), seen, train_P, validation_P, options, on_progress, expert)
        stopped = _layer_by_layer(run) or run.train()
    facts = {
        "epochs": run.epoch, "best_epoch": run.best_epoch, "validation_loss": run.best,
        "highway_loss" if initial is None else "initial_loss": run.first,
        "seconds": round(run.seconds, 1), "stopped": stopped, "series": len(history.keys), "rows": len(history),
        "bars_trained": len(train_P), "first": int(history.ts_N[0]), "last": int(history.ts_N[-1]),
        "seed": options.seed,
    }  # fmt: skip
    return Model(spec, network.cpu().eval(), facts=facts)


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
    best_epoch: int = 0
    first: float = np.inf
    best: float = np.inf
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def train(self) -> str:
        """Train until something ends the run, restore the best weights, and return what ended it."""
        options = self.options
        best: dict[str, Any] = copy.deepcopy(self.network.state_dict())
        stopped = "epochs"
        try:
            self.first = self.best = self.loss()
            optimizer = self._optimizer()
            random = np.random.default_rng(options.seed)
            while self.epoch < options.epochs:
                finished = self._epoch(optimizer, random)
                self.epoch += 1
                loss = self.loss()
                if loss < self.best:
                    self.best, self.best_epoch = loss, self.epoch
                    best = copy.deepcopy(self.network.state_dict())
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

    def loss(self) -> float:
        """Return the network's mean loss on the validation part."""
        rows, burn_in = self.options.rows, 2 * self.options.burn_in
        return validation.evaluate(self.network, self.seen, self.validation_P, rows, burn_in)

    def _slowed(self) -> float:
        """Return the factor of the step sizes: it falls from epoch to epoch, and faster as time runs out."""
        options = self.options
        spent = self.seconds / options.max_seconds if options.max_seconds else 0.0
        return min(math.pow(options.decay, self.epoch // options.decay_every), math.pow(LAST_RATE, spent))

    def _optimizer(self) -> torch.optim.Optimizer:
        """Return AdamW; the highway, whose closed form is already good, has smaller steps and no weight decay."""
        options, highway = self.options, self.network.highway
        linear = [] if highway is None else list(highway.parameters())
        rest = [p for p in self.network.parameters() if not any(p is q for q in linear)]
        return torch.optim.AdamW(
            [
                {"params": rest, "first": options.learning_rate, "weight_decay": options.weight_decay},
                {"params": linear, "first": options.learning_rate * options.highway_rate, "weight_decay": 0.0},
            ]
        )

    def _epoch(self, optimizer: torch.optim.Optimizer, random: np.random.Generator) -> bool:
        """Pass over the training part once; return False if the time ran out before the end."""
        options, network = self.options, self.network
        network.train()
        spans = validation.spans(self.seen, self.train_P)
        bars = sum(last - first + 1 for _, first, last in spans)
        rows = min(max(bars // (options.chunk * options.updates), FEWEST_ROWS), options.rows)
        pieces = cut(spans, max(-(-bars // rows), 4 * options.burn_in), options.burn_in, random)
        rows = min(rows, len(pieces))
        plan = list(chunks(pieces, rows, options.chunk))
        eligible_K = np.zeros(len(self.seen), np.bool_)
        eligible_K[self.train_P] = True
        objective = Objective(
            network, self.seen, rows, self.teacher, options.imitate, options.cell_penalty, options.ponder_cost
        )
        began, total, waiting = time.monotonic(), 0.0, 0
        for batch, chunk in enumerate(plan, 1):
            rows_P, at_P = validation.scored(chunk, eligible_K)
            if len(at_P) > options.positions:
                drawn = random.choice(len(at_P), options.positions, replace=False)
                rows_P, at_P = rows_P[drawn], at_P[drawn]
            loss = self._loss(objective, chunk, rows_P, at_P)
            if loss is not None:
                torch.autograd.backward(loss / options.accumulate)
                total, waiting = total + loss.item(), waiting + 1
            if waiting and (waiting == options.accumulate or batch == len(plan)):
                self._update(optimizer)
                waiting = 0
            epoch_seconds = (time.monotonic() - began) / batch * len(plan)
            left = epoch_seconds * (options.epochs - self.epoch - batch / len(plan))
            if options.max_seconds:
                left = min(left, options.max_seconds - self.seconds)
            self.on_progress(
                Progress(self.epoch + 1, options.epochs, batch, len(plan), total / batch, self.best, max(left, 0.0))
            )
            if options.max_seconds and self.seconds > options.max_seconds:
                return False
        return True

    def _loss(self, objective: Objective, chunk: Chunk, rows_P: Ints, at_P: Ints) -> torch.Tensor | None:
        """Step the streams through a chunk and return the loss of its forecasts; None if there are none."""
        device = next(self.network.parameters()).device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.options.precision == "bfloat16"):
            objective.advance(chunk)
            return objective.loss(rows_P, at_P) if len(at_P) else None

    def _update(self, optimizer: torch.optim.Optimizer) -> None:
        """Take one optimiser step along the accumulated gradients, then zero them."""
        for group in optimizer.param_groups:
            group["lr"] = group["first"] * self._slowed()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.options.clip)
        optimizer.step()
        optimizer.zero_grad()


def _layer_by_layer(run: _Run) -> str:
    """Train each layer but the last as the top of the frozen ones below; return "interrupted" if it was, or ""."""
    options, network = run.options, run.network
    for layers in range(1, len(network.composition.stack) if options.layer_epochs else 0):
        small = first_layers(network, layers).to(next(network.parameters()).device)
        with frozen(small, layers - 1):
            stopped = replace(run, network=small, options=replace(options, epochs=options.layer_epochs)).train()
        hand_over(small, network)
        if stopped == "interrupted":
            run.first = run.best = run.loss()
            return stopped
    return ""
