"""The engine: observations in, forecasts out, and nothing else.

A pure function of (state, records): no clock, no I/O, no chance.  Its result is that of taking the records
of each partition one at a time in offset order; waves and tiles are only a faster way to the same bytes.

Legend: N observations, K steps, A answers, R rows of a wave, F features, H width, h horizon, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from consumers.transport import Partition
from models.network import Network
from streamcast import features
from streamcast.kernels import memory, outcome, waves
from streamcast.kernels.advance import CLOCK, LEVEL, PART, REDUCERS, Plan, Steps, advance
from streamcast.messages import Forecasts, Observations
from streamcast.spec import ModelSpec
from streamcast.state import Field, Layout, Slab

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]

TILE = 8
"""Rows are independent of their neighbours only in multiples of this."""

ALIGNMENT = 64
"""Bytes; and widths are multiples of 8 floats, so that every row of an aligned matrix is aligned too."""

STEPS_AT_ONCE = 8_192
BLOCK_ROWS = 512
LAG_BYTES = 64 << 20

NOT_FINITE = 4
"""An outcome beside those of ``kernels.advance``: the forecast was not finite."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Forecasts whose outcome arrived: ``ahead`` [M] steps, ``values`` [M, 4] as in ``kernels.outcome``."""

    ahead: Ints
    values: Floats


@dataclass(frozen=True, slots=True)
class Result:
    """What became of N observations: forecasts, an outcome each [N], scores, and counts of rarer events."""

    forecasts: Forecasts
    outcomes: npt.NDArray[np.uint8]
    scores: Scores
    slots: Ints
    gaps: int
    restarts: int
    evictions: int


@dataclass(slots=True)
class _ScaleSteps:
    """The K steps of one scale in a chunk: whose, which number, after which base step, inputs; then the outputs."""

    slots: Ints
    order: Ints
    after: Ints
    x: Singles
    dt: Singles
    y: Singles = field(default_factory=lambda: np.empty((0, 0), np.float32))


def _no_lap(_stage: str) -> None:
    """Time nothing."""


class Engine:
    """Carries the state of every series of one lane through its records."""

    def __init__(self, spec: ModelSpec, network: Network, max_series: int = 1_000_000) -> None:
        self.spec = spec
        self._network = network.eval()
        self._plan = plan(spec)
        self.slab = Slab(layout(spec, network), max_series)
        self._steps = _buffers(spec)
        self._scratch = np.empty(0, np.int64)
        self._fresh = [
            {name: tensor[0].clone() for name, tensor in network.initial_state(s, 1).items()}
            for s in range(1 + len(spec.scales))
        ]
        self._levels = np.array(spec.quantiles)
        self._memories = [
            (torch.zeros(BLOCK_ROWS, size, width), torch.zeros(BLOCK_ROWS, dtype=torch.int64))
            if f"past.{scale}" in self.slab.arrays
            else None
            for scale, (size, width) in enumerate(zip(network.memory, network.outputs, strict=True))
        ]

    def stage(
        self, observations: Observations, lap: Callable[[str], None] = _no_lap,
        reset: Collection[tuple[Partition, str]] = (),
    ) -> Result:  # fmt: skip
        """Advance every series by its records and answer them; ``promote`` or ``discard`` must follow.

        The series of ``reset`` are begun anew first.  ``lap`` is called with the name of each part of the work as
        it ends: telemetry, never an input.
        """
        slots = self.slab.locate(observations, reset)
        lap("window")
        if len(self._scratch) < self.slab.capacity:
            self._scratch = np.full(self.slab.capacity, -1, np.int64)
        outcomes = np.empty(len(observations), np.uint8)
        steps = self._steps._replace(outcome=outcomes)
        counts = np.zeros(4 + len(self.spec.scales), np.int64)
        chunks: list[tuple[Forecasts, Scores]] = []
        gaps = restarts = start = 0
        while start < len(observations):
            start = advance(
                self._plan, self.slab.rows, steps, slots, observations.times, observations.offsets,
                observations.values, start, counts,
            )  # fmt: skip
            gaps += int(counts[-2])
            restarts += int(counts[-1])
            self._note_windows(steps, counts)
            lap("features")
            chunks.append(self._chunk(steps, counts, outcomes, lap))
        forecasts = _joined([f for f, _ in chunks], self.spec)
        return Result(forecasts, outcomes, _scores(chunks), slots, gaps, restarts, self.slab.evictions)

    def promote(self) -> None:
        """What was staged is committed."""
        self.slab.promote()

    def discard(self, partitions: Collection[Partition] | None = None) -> None:
        """What was staged did not happen, in all partitions or in these."""
        self.slab.discard(partitions)

    def norm(self, result: Result, most: int = 64) -> float:
        """Return the mean Euclidean norm of the base scale's hidden states, over some series of a result."""
        slots = result.slots[:most]
        rows = [
            array[slots].reshape(len(slots), int(np.prod(array.shape[1:]))).astype(np.float64)
            for name, array in self.slab.arrays.items()
            if name.startswith("hidden.0.")
        ]
        return float(np.sqrt((np.concatenate(rows, 1) ** 2).sum(1)).mean()) if rows and len(slots) else 0.0

    # -- one chunk of steps --------------------------------------------------------------------------

    def _note_windows(self, steps: Steps, counts: Ints) -> None:
        """Keep what the window kernel overwrote, for discarding."""
        k = int(counts[0])
        ring = self.slab.rows.ring.shape[2]
        self.slab.overwrote("ring", steps.slot[:k], steps.order[:k] % ring, steps.ring_before[:k])
        base = 0
        for s, scale in enumerate(self.spec.scales):
            n = int(counts[2 + s])
            positions = base + steps.coarse_order[s, :n] % scale.window
            self.slab.overwrote("coarse_ring", steps.coarse_slot[s, :n], positions, steps.coarse_before[s, :n])
            base += scale.window

    def _chunk(
        self, steps: Steps, counts: Ints, outcomes: npt.NDArray[np.uint8], lap: Callable[[str], None]
    ) -> tuple[Forecasts, Scores]:
        k, answers = int(counts[0]), int(counts[1])
        scales = [self._scale_steps(scale, steps, counts) for scale in range(1 + len(self.spec.scales))]
        for scale, part in enumerate(scales):
            part.y = self._recur(scale, part.slots, part.order == 0, part.x, part.dt)
        forecast = np.empty((answers, self.spec.horizon, len(self.spec.quantiles)))
        normalised = self._read(scales, steps, answers)
        lap("inference")
        finite = outcome.scale_back(normalised, steps.last[:answers], steps.scale[:answers], forecast)
        answer = steps.answer[:k]
        records = steps.record[steps.answer_step[:answers]]
        if not finite.all():
            outcomes[records[~finite]] = NOT_FINITE
            answer[steps.answer_step[:answers][~finite]] = -1
        anomaly, scores = self._score(steps, k, answer, forecast)
        lap("calibrate")
        forecasts = Forecasts(records, steps.cutoff[:answers].copy(), forecast, steps.warm[:answers].copy(), anomaly)
        if not finite.all():
            forecasts = Forecasts(*(getattr(forecasts, name)[finite] for name in Forecasts.__slots__))
        return forecasts, scores

    def _recur(self, scale: int, slots: Ints, cold: npt.NDArray[np.bool_], x: Singles, dt: Singles) -> Singles:
        """Step K bars of one scale in waves, runs of equal waves at once; return their outputs [K, H]."""
        y = np.empty((len(slots), self._network.outputs[scale]), np.float32)
        if len(slots) == 0:
            return y
        rows, counts, order = waves.arrange(slots, self._scratch)
        x_sorted, dt_sorted = x[order], dt[order]
        cold_sorted = cold[order] if cold.any() else None
        y_sorted = np.empty_like(y)
        names = list(self._fresh[scale])
        fields = {name: self.slab.arrays[f"hidden.{scale}.{name}"] for name in names}
        state = {name: _tile(array[rows]) for name, array in fields.items()}
        at = 0
        with torch.inference_mode():
            for _, length, width in waves.runs(counts).tolist():
                stop = at + length * width
                wave = slice(at, stop)
                x_run = x_sorted[wave].reshape(length, width, -1)
                dt_run = dt_sorted[wave].reshape(length, width)
                cold_run = None if cold_sorted is None else cold_sorted[wave].reshape(length, width)
                y_run = y_sorted[wave].reshape(length, width, -1)
                for first in range(0, width, BLOCK_ROWS):
                    block = slice(first, min(first + BLOCK_ROWS, width))
                    self._scan(scale, state, block, x_run, dt_run, cold_run, y_run)
                at = stop
        for name, array in fields.items():
            array[rows] = state[name][: len(rows)].numpy()
        y[order] = y_sorted
        return y

    def _scan(
        self, scale: int, state: dict[str, torch.Tensor], block: slice, x: Singles, dt: Singles,
        cold: npt.NDArray[np.bool_] | None, y: Singles,
    ) -> None:  # fmt: skip
        """Step some rows of a run of waves (x [T, R, F]) from ``state``, in place; cold rows begin anew."""
        rows = block.stop - block.start
        tile = slice(block.start, block.start + _tiled(rows))
        starts = [0]
        if cold is not None:
            starts += [t for t in range(1, len(x)) if cold[t, block].any()]
        for start, stop in zip(starts, [*starts[1:], len(x)], strict=True):
            if cold is not None and cold[start, block].any():
                fresh = np.flatnonzero(cold[start, block]) + block.start
                for name, initial in self._fresh[scale].items():
                    state[name][fresh] = initial
            x_tile, dt_tile = _tile(x[start:stop, block], 1), _tile(dt[start:stop, block], 1)
            before = {name: tensor[tile] for name, tensor in state.items()}
            y_tile, after = self._network.scan(scale, x_tile, before, None, dt_tile)
            y[start:stop, block] = y_tile[:, :rows].numpy()
            for name, tensor in after.items():
                state[name][block] = tensor[:rows]

    def _scale_steps(self, scale: int, steps: Steps, counts: Ints) -> _ScaleSteps:
        if scale == 0:
            k = int(counts[0])
            return _ScaleSteps(steps.slot[:k], steps.order[:k], np.arange(k), steps.x[:k], steps.dt[:k])
        s, n = scale - 1, int(counts[1 + scale])
        slots, order, after = steps.coarse_slot[s, :n], steps.coarse_order[s, :n], steps.coarse_after[s, :n]
        return _ScaleSteps(slots, order, after, steps.coarse_x[s, :n], np.ones(n, np.float32))

    def _read(self, scales: list[_ScaleSteps], steps: Steps, answers: int) -> Singles:
        """Read A answers out of what is remembered, a block at a time; normalised quantiles [A, h, Q]."""
        q = np.empty((answers, self.spec.horizon, len(self.spec.quantiles)), np.float32)
        rings = [self.slab.arrays.get(f"past.{scale}") for scale in range(len(scales))]
        before = [np.empty_like(part.y) for part in scales]
        done = [0] * len(scales)
        with torch.inference_mode():
            for first in range(0, answers, BLOCK_ROWS):
                block = slice(first, min(first + BLOCK_ROWS, answers))
                at, rows = steps.answer_step[block], block.stop - block.start
                memories, filled = [], []
                for scale, (part, ring, kept) in enumerate(zip(scales, rings, self._memories, strict=True)):
                    if ring is None or kept is None:
                        memories.append(_tile(part.y[at][:, None]))
                        filled.append(torch.ones(_tiled(rows), dtype=torch.int64))
                        continue
                    recent, have = kept
                    done[scale] = memory.remember(
                        ring, part.slots, part.order, part.y, part.after, before[scale], done[scale], at,
                        steps.slot[at], steps.answer_order[scale, block], recent.numpy(), have.numpy(),
                    )  # fmt: skip
                    memories.append(recent[: _tiled(rows)])
                    filled.append(have[: _tiled(rows)])
                q_tile = self._network.read(memories, filled, _tile(steps.lags[block]))
                q[block] = q_tile[:rows].numpy()
        for scale, (part, ring) in enumerate(zip(scales, rings, strict=True)):
            if ring is not None:
                memory.write_rest(ring, part.slots, part.order, part.y, before[scale], done[scale])
                self.slab.overwrote(f"past.{scale}", part.slots, part.order % ring.shape[1], before[scale])
        return q

    def _score(self, steps: Steps, k: int, answer: Ints, forecast: Floats) -> tuple[Floats, Scores]:
        """Score what came due at K steps; return the anomaly of each answer and the scores."""
        ahead = self._plan.scored
        slab, arrays = self.slab, self.slab.arrays
        scores = np.empty((k, len(ahead), 4))
        before = np.empty((k, len(ahead), len(self._levels)))
        anomaly = np.full(len(forecast), np.nan)
        slots, orders = steps.slot[:k], steps.order[:k]
        outcome.score(
            arrays["awaiting"], arrays["residual"], slots, orders, steps.observed[:k], steps.naive[:k],
            answer, forecast, ahead, self._levels, self.spec.median, scores, before, anomaly,
        )  # fmt: skip
        base = 0
        for j, step in enumerate(ahead.tolist()):
            slab.overwrote("awaiting", slots, base + orders % step, before[:, j])
            base += step
        due = ~np.isnan(scores[:, :, outcome.ERROR])
        return anomaly, Scores(np.broadcast_to(ahead, due.shape)[due], scores[due])


def plan(spec: ModelSpec) -> Plan:
    """Return the constants of a spec as the kernels take them."""
    series = spec.series
    reducers = [REDUCERS.index(column.reducer) for column in series.columns]
    coarse = [REDUCERS.index("sum" if column.reducer == "count" else column.reducer) for column in series.columns]
    return Plan(
        freq=series.freq,
        origin=series.offset,
        ticks=series.mode == "ticks",
        grace=series.grace,
        max_gap=series.max_gap,
        ttl=series.ttl,
        fill_season=series.missing == "season",
        alpha=1.0 - 0.5 ** (1.0 / spec.half_life),
        season=spec.season,
        lags=spec.lags,
        warm_up=spec.warm_up,
        sizes=np.array([len(column.categories or ()) for column in series.columns], np.int64),
        reducers=np.array(reducers, np.int64),
        coarse_reducers=np.array(coarse, np.int64),
        periods=np.array([features.CALENDAR_MS[period] for period in spec.calendar]),
        every=np.array([scale.every for scale in spec.scales], np.int64),
        coarse_windows=np.array([scale.window for scale in spec.scales], np.int64),
        scored=np.array(spec.scored_steps, np.int64),
    )


def open_bars(spec: ModelSpec) -> int:
    """How many base bars of ticks may be open at once (none in sample mode)."""
    return -(-spec.series.grace // spec.series.freq) + 1 if spec.series.mode == "ticks" else 0


def layout(spec: ModelSpec, network: Network) -> Layout:
    """Return what must be remembered of one series."""
    columns, scales = len(spec.series.columns), len(spec.scales)
    windows = [scale.window for scale in spec.scales]
    awaiting, quantiles = spec.scored_steps, len(spec.quantiles)
    fields = {
        "clock": Field((CLOCK,), np.int64),
        "level": Field((columns, LEVEL), np.float64),
        "closed": Field((scales,), np.int64),
        "open": Field((scales, columns, PART), np.float64),
        "ticks": Field((open_bars(spec), columns, PART), np.float64),
        "ring": Field((columns, spec.ring), np.float64, 1, ((spec.ring, 0),)),
        "coarse_ring": Field((columns, sum(windows)), np.float64, 1, tuple((w, 1 + s) for s, w in enumerate(windows))),
        "awaiting": Field((sum(awaiting), quantiles), np.float64, 0, tuple((step, 0) for step in awaiting)),
        "residual": Field((2,), np.float64, scale=0),
    }
    for scale in range(1 + scales):
        for name, tensor in network.initial_state(scale, 1).items():
            fields[f"hidden.{scale}.{name}"] = Field(tuple(tensor.shape[1:]), tensor.numpy().dtype.type, scale=scale)
        remembered, width = network.memory[scale], network.outputs[scale]
        if scale > 0 or remembered > 1:
            fields[f"past.{scale}"] = Field((remembered, width), np.float32, 0, ((remembered, scale),))
    return Layout(fields)


def _buffers(spec: ModelSpec) -> Steps:
    """Room for one chunk of steps: bounded, and always enough for one record."""
    columns, scales, width = len(spec.series.columns), len(spec.scales), features.width(spec)
    room = max(STEPS_AT_ONCE, 2 * (spec.series.max_gap + open_bars(spec) + 2))
    if spec.lags:
        room = max(min(room, LAG_BYTES // (4 * spec.lags)), spec.series.max_gap + open_bars(spec) + 3)

    def ints(*shape: int) -> Ints:
        return np.zeros(shape, np.int64)

    def floats(*shape: int) -> Floats:
        return np.zeros(shape)

    def singles(*shape: int) -> Singles:
        array: Singles = torch.zeros(shape).numpy()  # torch aligns its memory
        return array

    return Steps(
        slot=ints(room), record=ints(room), order=ints(room), cold=np.zeros(room, np.bool_), dt=singles(room),
        x=singles(room, width), observed=floats(room), naive=floats(room, len(spec.scored_steps)),
        ring_before=floats(room, columns), answer=ints(room), coarse_slot=ints(scales, room),
        coarse_after=ints(scales, room), coarse_order=ints(scales, room), coarse_x=singles(scales, room, width),
        coarse_before=floats(scales, room, columns), answer_step=ints(room), answer_order=ints(1 + scales, room),
        lags=singles(room, spec.lags), last=floats(room), scale=floats(room), cutoff=ints(room),
        warm=np.zeros(room, np.bool_), outcome=np.zeros(0, np.uint8),
    )  # fmt: skip


def _tiled(rows: int) -> int:
    return -(-rows // TILE) * TILE


def _tile(array: npt.NDArray[np.generic], axis: int = 0) -> torch.Tensor:
    """Return the array as a tensor with ``axis`` filled up to whole tiles by zeros.

    Its memory starts at a multiple of 64 bytes, as torch's own does: matrix products of the same numbers at
    another alignment have other last bits.
    """
    rows = array.shape[axis]
    if rows % TILE == 0 and array.flags.c_contiguous and array.ctypes.data % ALIGNMENT == 0:
        return torch.from_numpy(array)
    shape = list(array.shape)
    shape[axis] = _tiled(rows)
    tile = torch.from_numpy(array).new_zeros(shape)
    tile.narrow(axis, 0, rows).copy_(torch.from_numpy(array))
    return tile


def _joined(forecasts: list[Forecasts], spec: ModelSpec) -> Forecasts:
    if not forecasts:
        ints = np.empty(0, np.int64)
        values = np.empty((0, spec.horizon, len(spec.quantiles)))
        return Forecasts(ints, ints, values, np.empty(0, np.bool_), np.empty(0))
    if len(forecasts) == 1:
        return forecasts[0]
    return Forecasts(*(np.concatenate([getattr(f, name) for f in forecasts]) for name in Forecasts.__slots__))


def _scores(chunks: list[tuple[Forecasts, Scores]]) -> Scores:
    if not chunks:
        return Scores(np.empty(0, np.int64), np.empty((0, 4)))
    return Scores(
        np.concatenate([scores.ahead for _, scores in chunks]),
        np.concatenate([scores.values for _, scores in chunks]),
    )
