"""Training: truncated back-propagation through time over what the serving code feeds the network.

The state is carried from chunk to chunk of a stream and gradients end at the chunk (Williams and Peng 1990); streams
begin at random places of the history, from nothing, which also teaches the network to start cold.  The linear highway
starts from its closed form, so that the rest learns what it misses.

Legend: P positions, h horizon, Q quantiles.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from models.network import Network
from streamcast import highway
from streamcast.history import History, HistoryError
from streamcast.registry import Model, new_network
from streamcast.sequences import Ints, Sequences, sequences
from streamcast.spec import ModelSpec
from streamcast.streams import Chunk, Span, Streams, chunks, cut


@dataclass(frozen=True, slots=True)
class Options:
    """How a network is trained; none of it is part of the model."""

    epochs: int = 40
    """Most passes over the training part."""
    patience: int = 5
    """Epochs without a better validation loss after which training stops."""
    max_seconds: float = 0.0
    """Longest training; 0 for no limit."""
    validation: float = 0.15
    """The last part of the history, which is not trained on but chooses the epoch."""
    rows: int = 32
    """Most streams side by side."""
    updates: int = 160
    """Fewest updates an epoch: a small history is cut into fewer streams, down to 4."""
    chunk: int = 48
    """Bars from one update to the next, and how far back gradients reach."""
    burn_in: int = 96
    """Bars that a stream steps through, after starting from nothing, before it is scored."""
    positions: int = 256
    """Forecasts that each update learns from, drawn from those of its chunk."""
    learning_rate: float = 4e-3
    """Adam's step size in the first epoch."""
    highway_rate: float = 0.05
    """What the highway's step size is in units of the others'."""
    decay: float = 0.85
    """The step size's factor from epoch to epoch."""
    weight_decay: float = 1e-3
    """Decoupled, of all weights (Loshchilov and Hutter 2019)."""
    clip: float = 1.0
    """Largest norm of a gradient."""
    seed: int = 0
    """Of weights, places and dropout."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training run stands; losses are in units of the running normaliser."""

    epoch: int
    epochs: int
    batch: int
    batches: int
    loss: float
    validation: float
    seconds_left: float


OnProgress = Callable[[Progress], None]

LAST_RATE = 0.05
"""The factor of the step sizes when the time is up."""

FEWEST_ROWS = 4
EVALUATION_PIECE = 1_024
EVALUATION_CHUNK = 256
EVALUATION_BLOCK = 2_048
MOST_EVALUATED = 20_000


def fit(
    history: History, spec: ModelSpec, options: Options | None = None, on_progress: OnProgress = lambda _progress: None
) -> Model:
    """Return a model trained on a history, with the weights of the epoch that did best on its last part.

    The same history, spec and options give the same weights on one kind of machine, unless ``max_seconds`` is among
    them.  KeyboardInterrupt ends the run and keeps the best so far; ``facts["stopped"]`` says what ended it.  Raises
    HistoryError when there is nothing to train on, ModelError when the spec names no network.
    """
    options = options or Options()
    with _one_thread(options.seed):
        network = new_network(spec)
        seen = sequences(history, spec, network)
        train_P, validation_P = _parts(seen, options.validation)
        highway.solve(seen, network, train_P, validation_P)
        run = _Run(network, seen, train_P, validation_P, options, on_progress)
        stopped = run.train()
    facts = {
        "epochs": run.epoch, "best_epoch": run.best_epoch, "validation_loss": run.best, "highway_loss": run.first,
        "seconds": round(run.seconds, 1), "stopped": stopped, "series": len(history.keys), "rows": len(history),
        "bars_trained": len(train_P), "first": int(history.ts_N[0]), "last": int(history.ts_N[-1]),
        "seed": options.seed,
    }  # fmt: skip
    return Model(spec, network.eval(), facts=facts)


@dataclass(slots=True)
class _Run:
    """One training run: the network as it is now, and as it was at its best."""

    network: Network
    seen: Sequences
    train_P: Ints
    validation_P: Ints
    options: Options
    on_progress: OnProgress
    epoch: int = 0
    best_epoch: int = 0
    first: float = np.inf
    best: float = np.inf
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def train(self) -> str:
        """Train until something ends it, put the best weights back, and return what ended it."""
        options = self.options
        best: dict[str, Any] = copy.deepcopy(self.network.state_dict())
        stopped = "epochs"
        try:
            self.first = self.best = evaluate(self.network, self.seen, self.validation_P, options)
            optimizer = self._optimizer()
            random = np.random.default_rng(options.seed)
            while self.epoch < options.epochs:
                finished = self._epoch(optimizer, random)
                self.epoch += 1
                loss = evaluate(self.network, self.seen, self.validation_P, options)
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

    def _slowed(self) -> float:
        """Return the factor of the step sizes: it falls from epoch to epoch, and faster when time runs out."""
        options = self.options
        spent = self.seconds / options.max_seconds if options.max_seconds else 0.0
        return min(math.pow(options.decay, self.epoch), math.pow(LAST_RATE, spent))

    def _optimizer(self) -> torch.optim.Optimizer:
        """Return AdamW with smaller, undecayed steps for the highway, whose closed form is already good."""
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
        """Pass over the training part once; return False when the time was up before the end."""
        options, network = self.options, self.network
        network.train()
        spans = _spans(self.seen, self.train_P)
        bars = sum(last - first + 1 for _, first, last in spans)
        rows = min(max(bars // (options.chunk * options.updates), FEWEST_ROWS), options.rows)
        pieces = cut(spans, max(-(-bars // rows), 4 * options.burn_in), options.burn_in, random)
        rows = min(rows, len(pieces))
        plan = list(chunks(pieces, rows, options.chunk))
        eligible_K = np.zeros(len(self.seen), np.bool_)
        eligible_K[self.train_P] = True
        streams = Streams(network, self.seen, rows)
        began, total = time.monotonic(), 0.0
        for batch, chunk in enumerate(plan, 1):
            streams.advance(chunk)
            rows_P, at_P = _scored(chunk, eligible_K)
            if len(at_P) > options.positions:
                drawn = random.choice(len(at_P), options.positions, replace=False)
                rows_P, at_P = rows_P[drawn], at_P[drawn]
            if len(at_P):
                for group in optimizer.param_groups:
                    group["lr"] = group["first"] * self._slowed()
                forecast = network.distribution(*streams.recall(rows_P, at_P))
                loss = network.loss(forecast, torch.from_numpy(self.seen.outcomes(at_P)))
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                torch.nn.utils.clip_grad_norm_(network.parameters(), options.clip)
                optimizer.step()
                total += loss.item()
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


def evaluate(network: Network, seen: Sequences, at_P: Ints, options: Options) -> float:
    """Return the network's mean loss at positions, each stream burnt in for twice the training's burn-in."""
    network.eval()
    at_P = highway.thinned(at_P, MOST_EVALUATED)
    eligible_K = np.zeros(len(seen), np.bool_)
    eligible_K[at_P] = True
    length = max(len(seen) // options.rows, EVALUATION_PIECE)
    pieces = cut(_spans(seen, at_P), length, 2 * options.burn_in, np.random.default_rng(0))
    rows = min(options.rows, len(pieces))
    streams = Streams(network, seen, rows)
    total, count = 0.0, 0
    with torch.inference_mode():
        for chunk in chunks(pieces, rows, EVALUATION_CHUNK):
            streams.advance(chunk)
            rows_P, chosen_P = _scored(chunk, eligible_K)
            for first in range(0, len(chosen_P), EVALUATION_BLOCK):
                block = slice(first, first + EVALUATION_BLOCK)
                outcome = torch.from_numpy(seen.outcomes(chosen_P[block]))
                known = int(outcome.isfinite().sum())
                forecast = network.distribution(*streams.recall(rows_P[block], chosen_P[block]))
                total += known * network.loss(forecast, outcome).item()
                count += known
    return total / max(count, 1)


def _parts(seen: Sequences, validation: float) -> tuple[Ints, Ints]:
    """Return the positions to train on and to validate on; no outcome of the former lies in the time of the latter."""
    answered = seen.answered()
    if len(answered) == 0:
        raise HistoryError(
            f"no series has more than {seen.spec.warm_up} bars, the model's warm-up, so there is nothing to train on;"
            " give more history or a smaller warm_up"
        )
    cutoffs = np.sort(seen.cutoff_K[answered])
    start = int(cutoffs[int(len(cutoffs) * (1.0 - validation))])
    ahead = seen.spec.horizon * seen.spec.series.freq
    train_P = answered[seen.cutoff_K[answered] + ahead <= start]
    validation_P = answered[seen.cutoff_K[answered] >= start]
    if len(train_P) == 0:
        raise HistoryError(
            f"no forecast of {seen.spec.horizon} bars ends before the validation part; give more history, or a smaller"
            " horizon, warm_up or validation"
        )
    return train_P, validation_P


def _spans(seen: Sequences, at_P: Ints) -> list[Span]:
    """Return the beginning, first and last position of every run that has positions (which rise)."""
    begins = seen.run_starts(at_P)
    firsts = np.flatnonzero(np.diff(begins, prepend=-1))
    lasts = np.append(firsts[1:], len(at_P)) - 1
    return [Span(int(begins[f]), int(at_P[f]), int(at_P[e])) for f, e in zip(firsts, lasts, strict=True)]


def _scored(chunk: Chunk, eligible_K: npt.NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Return the rows and the positions of a chunk that are eligible and past their piece's burn-in."""
    rows, places = [], []
    for row, (first, count, scored) in enumerate(zip(chunk.first_B, chunk.count_B, chunk.scored_B, strict=True)):
        begin = max(first, scored)
        found = begin + np.flatnonzero(eligible_K[begin : first + count])
        rows.append(np.full(len(found), row))
        places.append(found)
    return np.concatenate(rows), np.concatenate(places)


@contextmanager
def _one_thread(seed: int) -> Iterator[None]:
    """Seed torch and let it use one thread (more are slower on networks of this size), and undo both."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)
