"""A history as training needs it: the features of every bar, the lags of every answer, and the outcomes.

The window kernel of the service writes them, in one walk over the history (``history.bars.walk``).

Legend: K base bars of all runs, one after the other (a run is a series from one cold start to the next), J bars of
any scale, S coarse scales, P positions (places of base bars), F features, L lags, H horizon, I known inputs,
G features of a target bar.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamcast.engine.transform import TargetScale
from streamcast.engine.window import window_plan
from streamcast.errors import HistoryError
from streamcast.kernels.advance import CLIP, Steps, align_positions
from streamcast.offline.history.bars import KernelCall, walk
from streamcast.offline.history.polls import KnownInputs, columns
from streamcast.offline.history.read import History
from streamcast.spec import features
from streamcast.spec.model_spec import ModelSpec
from streamcast.stages import stage

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
    """All that training reads of a history.

    ``scales`` holds the base scale first.  ``closed_SK`` counts the bars of each scale up to and including each base
    bar, over all runs, so the bars of scale s within base bars i to j are ``closed_SK[s, i - 1]:closed_SK[s, j]``.
    ``starts_R1`` is the first bar of each run, then the number of bars; ``series_R`` is the series of each run.
    ``cutoff_K`` are labels in the grid's time.  ``last_K``, ``scale_K``, ``mean_K`` and ``level_K`` are NaN at a bar
    without an answer.  ``filled_K`` is the target with gaps filled; ``observed_K`` has NaN there.  ``weight_K`` is the
    weight of a position in the loss: the unit of its forecast over its series' mean unit, from 0.1 to 5.  It turns a
    loss in units of the running normaliser into an error in the unit of the series.  All targets are on the
    scale of the spec's transform.
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
    mean_K: Floats
    level_K: Singles
    weight_K: Singles
    known: KnownInputs | None

    def __len__(self) -> int:
        return len(self.cutoff_K)

    def closed(self, scale: int, before: Ints) -> Ints:
        """Return how many bars of a scale there are before base bars, over all runs."""
        return np.where(before > 0, self.closed_SK[scale, np.maximum(before - 1, 0)], 0)

    def answered(self) -> Ints:
        """Return the positions where a warm series has an answer."""
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

    def target_bars(self, at_P: Ints) -> tuple[Singles, Ints, Singles] | None:
        """Return what is known of the target bars: features [P, H, G], codes [P, H, tables], levels [P].

        They are what the kernel writes for an answer; None where the spec has no target bars.
        """
        spec, targets = self.spec, self.spec.targets
        if targets is None:
            return None
        x_PHG = np.zeros((len(at_P), spec.horizon, features.target_width(spec, targets)), np.float32)
        x_GH = np.zeros(x_PHG.shape[:0:-1], np.float32)
        codes_PHT = np.zeros((len(at_P), spec.horizon, len(features.target_tables(spec, targets))), np.int64)
        labels_P = self.cutoff_K[at_P]
        ahead_PIH = np.empty((len(at_P), 0, 0))
        if self.known is not None:
            run_P = np.searchsorted(self.starts_R1, at_P, side="right") - 1
            bars_P = (labels_P - spec.series.offset) // spec.series.freq
            ahead_PIH = self.known.ahead(self.series_R[run_P], bars_P)
        align_positions(
            window_plan(spec), spec.ring, self.filled_K, np.isnan(self.observed_K), self.run_starts(at_P), at_P,
            labels_P, self.mean_K[at_P], self.scale_K[at_P], ahead_PIH, x_GH, x_PHG, codes_PHT,
        )  # fmt: skip
        return x_PHG, codes_PHT, self.level_K[at_P]

    def run_starts(self, at_P: Ints) -> Ints:
        """Return the first bar of the run of each position."""
        return self.starts_R1[np.searchsorted(self.starts_R1, at_P, side="right") - 1]

    def _normalised(self, values_PX: Floats, at_P: Ints) -> Singles:
        reciprocal_P = 1.0 / self.scale_K[at_P]
        relative_PX = (values_PX - self.last_K[at_P][:, None]) * reciprocal_P[:, None]
        return np.clip(relative_PX, -CLIP, CLIP, out=relative_PX).astype(np.float32)


@dataclass(frozen=True, slots=True)
class _Kept:
    """The output of one kernel call, copied out of its buffers; ``coarse_after`` counts the steps of all calls."""

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
    mean: Floats
    level: Singles
    coarse_after: tuple[Ints, ...]
    coarse_x: tuple[Singles, ...]


_BY_BAR = ("cutoff", "observed", "filled", "last", "scale", "warm", "mean", "level")


def sequences(history: History, spec: ModelSpec) -> Sequences:
    """Walk a history through the kernel once and keep its output; raises HistoryError when the columns differ."""
    kept: list[_Kept] = []
    total, scale = 0, TargetScale(spec)
    with stage("filling the windows") as at:
        for call in walk(history, spec):
            kept.append(_copied(call, total, scale))
            total += int(call.counts.steps[0])
            at(f"{call.read:,} of {len(history):,} rows")
    if not kept:
        raise HistoryError(f"no row has a value of {spec.series.target!r}, the target: there is nothing to train on")

    def joined(name: str) -> npt.NDArray[Any]:
        return np.concatenate([getattr(part, name) for part in kept])

    slot = joined("slot")
    order = np.argsort(slot, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    starts = np.flatnonzero(joined("cold")[order])
    base = Bars(joined("x")[order], joined("dt")[order])
    scales, closed = [base], [np.arange(1, len(order) + 1)]
    for s in range(len(spec.scales)):
        after = place[np.concatenate([part.coarse_after[s] for part in kept])]
        coarse_order = np.argsort(after, kind="stable")
        x = np.concatenate([part.coarse_x[s] for part in kept])[coarse_order]
        scales.append(Bars(x, np.ones(len(x), np.float32)))
        closed.append(np.searchsorted(after[coarse_order], np.arange(len(order)), side="right"))
    return Sequences(
        spec,
        history.keys,
        tuple(scales),
        np.stack(closed),
        np.append(starts, len(order)),
        slot[order][starts],
        weight_K=_weights(joined("scale")[order], slot[order]),
        known=KnownInputs(history, spec, columns(history, spec.series)) if spec.known_columns else None,
        **{f"{name}_K": joined(name)[order] for name in _BY_BAR},
    )


def _weights(scale_K: Floats, series_K: Ints) -> Singles:
    """Return each bar's unit over the mean unit of its series, clipped; 1 where there is no answer."""
    answered_K = ~np.isnan(scale_K)
    total_S = np.bincount(series_K[answered_K], scale_K[answered_K])
    mean_S = total_S / np.maximum(np.bincount(series_K[answered_K]), 1)
    weight_K = np.ones(len(scale_K), np.float32)
    weight_K[answered_K] = np.clip(scale_K[answered_K] / mean_S[series_K[answered_K]], 0.1, 5.0)
    return weight_K


def _copied(call: KernelCall, before: int, target: TargetScale) -> _Kept:
    """Copy the output of a call that follows ``before`` base steps, outcomes on the scale of the target."""
    steps = call.steps
    k, *coarse = call.counts.steps.tolist()
    answers = int(call.counts.answers[0])
    at = steps.answer_step[:answers]
    last, scale, warm = np.full(k, np.nan), np.full(k, np.nan), np.zeros(k, np.bool_)
    last[at], scale[at], warm[at] = steps.last[:answers], steps.scale[:answers], steps.warm[:answers]
    mean, level = np.full(k, np.nan), np.full(k, np.nan, np.float32)
    mean[at], level[at] = steps.mean[:answers], steps.level[:answers]
    return _Kept(
        call.series_of_slot[steps.slot[:k]], steps.cold[:k].copy(), steps.x[:k].copy(), steps.dt[:k].copy(),
        target.forward(steps.observed[:k].copy()), _filled(steps, k, call.ring), last, scale, steps.label[:k].copy(),
        warm, mean, level,
        tuple(before + steps.coarse_after[s, :n] for s, n in enumerate(coarse)),
        tuple(steps.coarse_x[s, :n].copy() for s, n in enumerate(coarse)),
    )  # fmt: skip


def _filled(steps: Steps, k: int, ring: Floats) -> Floats:
    """Return the filled target of K steps: its ring cell, or the cell's value before a later step overwrote it."""
    window = ring.shape[2]
    slots, cells = steps.slot[:k], steps.order[:k] % window
    filled: Floats = ring[slots, 0, cells]
    same = np.lexsort((np.arange(k), cells, slots))
    earlier, later = same[:-1], same[1:]
    overwritten = (slots[earlier] == slots[later]) & (cells[earlier] == cells[later])
    filled[earlier[overwritten]] = steps.ring_before[later[overwritten], 0]
    return filled
