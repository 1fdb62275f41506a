"""One training of one network: updates, epochs, and the weights that did best on the validation part.

Legend: P positions, K base bars.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch

from streamcast.models.network import Network
from streamcast.models.surgery.handover import first_layers, frozen, hand_over
from streamcast.offline.training import validation
from streamcast.offline.training.hardware import copied
from streamcast.offline.training.objective import Objective
from streamcast.offline.training.options import Options
from streamcast.offline.training.sequences import Ints, Sequences
from streamcast.offline.training.streams import Chunk, chunks, cut

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


@dataclass(slots=True)
class Run:
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
    learned: bool = False
    """Whether weights better than the first ones were found, of the whole network or of its layers below."""
    first: float = np.inf
    """The loss on the validation part before the first update."""
    best: float = np.inf
    """The least loss there so far."""
    share: tuple[float, float] = (0.0, 1.0)
    """Where this run begins and ends in the whole training."""
    later: int = 0
    """The most updates of the trainings that follow this one."""
    ends: float = math.inf
    """When the time of the whole training is up (s of the monotonic clock)."""
    started: float = field(default_factory=time.monotonic)
    began: float = math.nan
    """When the first epoch began."""
    needed: float = math.nan
    """About how long the run would take to the end of the epoch that its time limit cut short (s)."""

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
                    self.best, self.best_epoch, self.learned = loss, self.epoch, True
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

    def _progress(self, done: int, wanted: int, loss: float) -> Progress:
        """Return the progress when ``done`` of the ``wanted`` chunks of the present epoch have this mean loss."""
        (begin, end), epochs = self.share, self.options.epochs
        whole = begin + (self.epoch + done / wanted) / epochs * (end - begin)
        stage: Stage = "training" if len(self.validation_P) else "final training"
        return Progress(self.epoch + 1, epochs, loss, self.best, self._seconds_left(done), whole, stage)

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
        optimizer.zero_grad()  # a run before may have ended between two updates
        while done < wanted:
            loss = self._loss(*next(batches))
            if loss is not None:
                torch.autograd.backward(loss / options.accumulate)
                total, waiting, done = total + loss.item(), waiting + 1, done + 1
            if waiting == options.accumulate:
                self._update(optimizer, mean)
                waiting = 0
            if loss is not None:
                self.on_progress(self._progress(done, wanted, total / done))
            if options.max_seconds and (spent := self.seconds) > options.max_seconds:
                pace = (self.started + spent - self.began) / max(self.epoch * wanted + done, 1)
                self.needed = spent + pace * (wanted - done)
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


def layer_by_layer(run: Run) -> str:
    """Train each layer but the last as the top of the frozen ones below; return "interrupted" if it was, or ""."""
    options, network = run.options, run.network
    for layers in range(1, len(network.composition.stack) if options.layer_epochs else 0):
        small = first_layers(network, layers).to(next(network.parameters()).device)
        with frozen(small, layers - 1):
            later = run.later + run.most_updates * (len(network.composition.stack) - layers)
            below = replace(options, epochs=options.layer_epochs)
            lower = replace(run, network=small, options=below, later=later)
            stopped = lower.train()
            run.learned = lower.learned
        hand_over(small, network)
        if stopped == "interrupted":
            run.first = run.best = run.loss(network)
            return stopped
    return ""


def refit(run: Run, options: Options, all_P: Ints) -> int | None:
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
    further = Run(
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
