"""A history as the engine sees it: every feature row, every answer, and what came after, ready for training.

It is made by the serving code itself: the same kernel, the same buffers, the same slab.

Legend: K base bars of all runs, one after the other (a run is a series from one cold start to the next), J bars of
any scale, S coarse scales, P positions (bars that are looked at), F features, L lags, H horizon.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamcast.engine.engine import layout
from streamcast.kernels.advance import CLIP, Steps
from streamcast.models.network import Network
from streamcast.offline.history.bars import Chunk, walk
from streamcast.offline.history.history import History
from streamcast.spec.model_spec import ModelSpec

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Bars:
    """The bars of one scale in the order of the runs: features and the time since the bar before, in bars."""

    x_JF: Singles
    dt_J: Singles


@dataclass(frozen=True, slots=True)
class Sequences:
    """Everything that training asks of a history.

    ``scales`` holds the base scale first; ``closed_SK`` counts the bars of each scale up to and with each base bar,
    over all runs, so that those of bars i to j are ``closed_SK[s, i - 1]:closed_SK[s, j]``.  ``starts_R1`` says where
    each run begins and, last, where all end; ``series_R`` whose it is.  ``last_K`` and ``scale_K`` are NaN at a bar
    that carries no answer; ``filled_K`` is the target with its gaps filled, ``observed_K`` has NaN there.
    """

    spec: ModelSpec
    keys: tuple[str, ...]
    scales: tuple[Bars, ...]
    closed_SK: Ints
    starts_R1: Ints
    series_R: Ints
    cutoff_K: Ints
    observed_K: Floats
    filled_K: Floats
    last_K: Floats
    scale_K: Floats
    warm_K: Bools

    def __len__(self) -> int:
        return len(self.cutoff_K)

    def closed(self, scale: int, before: Ints) -> Ints:
        """Return how many bars of a scale there are before base bars, over all runs."""
        return np.where(before > 0, self.closed_SK[scale, np.maximum(before - 1, 0)], 0)

    def answered(self) -> Ints:
        """Return the positions that carry an answer from a warm series."""
        return np.flatnonzero(self.warm_K & ~np.isnan(self.last_K))

    def lags(self, at_P: Ints) -> Singles:
        """Return the windows of the linear highway [P, L], as the kernel writes them for an answer."""
        place_PL = at_P[:, None] + np.arange(1 - self.spec.lags, 1)
        window_PL = self.filled_K[np.maximum(place_PL, self.run_starts(at_P)[:, None])]
        return self._normalised(window_PL, at_P)

    def outcomes(self, at_P: Ints) -> Singles:
        """Return the targets of the next H bars [P, H] in the unit of a forecast; NaN where none was observed."""
        place_PH = at_P[:, None] + np.arange(1, self.spec.horizon + 1)
        ends_P = self.starts_R1[np.searchsorted(self.starts_R1, at_P, side="right")]
        later_PH = self.observed_K[np.minimum(place_PH, len(self) - 1)]
        return self._normalised(np.where(place_PH < ends_P[:, None], later_PH, np.nan), at_P)

    def run_starts(self, at_P: Ints) -> Ints:
        """Return the first bar of the run of each position."""
        return self.starts_R1[np.searchsorted(self.starts_R1, at_P, side="right") - 1]

    def _normalised(self, values_PX: Floats, at_P: Ints) -> Singles:
        reciprocal_P = 1.0 / self.scale_K[at_P]
        relative_PX = (values_PX - self.last_K[at_P][:, None]) * reciprocal_P[:, None]
        return np.clip(relative_PX, -CLIP, CLIP, out=relative_PX).astype(np.float32)


@dataclass(frozen=True, slots=True)
class _Kept:
    """What one call of the kernel gave, copied out of its buffers; coarse ``after`` counts the steps of all chunks."""

    slot: Ints
    cold: Bools
    x: Singles
    dt: Singles
    observed: Floats
    filled: Floats
    last: Floats
    scale: Floats
    cutoff: Ints
    warm: Bools
    coarse_after: tuple[Ints, ...]
    coarse_x: tuple[Singles, ...]


def sequences(history: History, spec: ModelSpec, network: Network) -> Sequences:
    """Run the kernel over a history and keep what it feeds the network; raises HistoryError for other columns."""
    chunks: list[_Kept] = []
    total = 0
    for chunk in walk(history, spec, layout(spec, network)):
        chunks.append(_kept(chunk, total))
        total += int(chunk.counts.steps[0])

    def joined(name: str) -> npt.NDArray[Any]:
        return np.concatenate([getattr(chunk, name) for chunk in chunks])

    slot = joined("slot")
    order = np.argsort(slot, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    starts = np.flatnonzero(joined("cold")[order])
    base = Bars(joined("x")[order], joined("dt")[order])
    scales, closed = [base], [np.arange(1, len(order) + 1)]
    for s in range(len(spec.scales)):
        after = place[np.concatenate([chunk.coarse_after[s] for chunk in chunks])]
        coarse_order = np.argsort(after, kind="stable")
        x = np.concatenate([chunk.coarse_x[s] for chunk in chunks])[coarse_order]
        scales.append(Bars(x, np.ones(len(x), np.float32)))
        closed.append(np.searchsorted(after[coarse_order], np.arange(len(order)), side="right"))
    return Sequences(
        spec,
        history.keys,
        tuple(scales),
        np.stack(closed),
        np.append(starts, len(order)),
        slot[order][starts],
        *(joined(name)[order] for name in ("cutoff", "observed", "filled", "last", "scale", "warm")),
    )


def _kept(chunk: Chunk, before: int) -> _Kept:
    """Copy a chunk that comes after ``before`` base steps."""
    steps = chunk.steps
    (k, *coarse), answers = chunk.counts.steps.tolist(), int(chunk.counts.answers[0])
    at = steps.answer_step[:answers]
    last, scale, warm = np.full(k, np.nan), np.full(k, np.nan), np.zeros(k, np.bool_)
    last[at], scale[at], warm[at] = steps.last[:answers], steps.scale[:answers], steps.warm[:answers]
    return _Kept(
        chunk.series_of_slot[steps.slot[:k]], steps.cold[:k].copy(), steps.x[:k].copy(), steps.dt[:k].copy(),
        steps.observed[:k].copy(), _filled(steps, k, chunk.ring), last, scale, steps.label[:k].copy(), warm,
        tuple(before + steps.coarse_after[s, :n] for s, n in enumerate(coarse)),
        tuple(steps.coarse_x[s, :n].copy() for s, n in enumerate(coarse)),
    )  # fmt: skip


def _filled(steps: Steps, k: int, ring: Floats) -> Floats:
    """Return the filled target of K steps: what its ring cell holds, or held before a later step overwrote it."""
    window = ring.shape[2]
    slots, cells = steps.slot[:k], steps.order[:k] % window
    filled: Floats = ring[slots, 0, cells]
    same = np.lexsort((np.arange(k), cells, slots))
    earlier, later = same[:-1], same[1:]
    overwritten = (slots[earlier] == slots[later]) & (cells[earlier] == cells[later])
    filled[earlier[overwritten]] = steps.ring_before[later[overwritten], 0]
    return filled
