"""The network over a chunk of steps, in tiles of 8 rows: recurrent layers run at every step, the read-out per answer.

Legend: K steps, A answers, R rows of a wave, T waves of a run, F features, H width, h horizon, Q quantiles.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from streamcast.engine.readout import LoopedReadOut
from streamcast.engine.slab import Slab
from streamcast.engine.tiles import Tiles, whole_tiles
from streamcast.kernels import rings, waves
from streamcast.kernels.advance import Counts, Steps
from streamcast.models.network import Network
from streamcast.models.readout.aligned import TargetInputs
from streamcast.spec.model_spec import ModelSpec

Ints = npt.NDArray[np.int64]
Singles = npt.NDArray[np.float32]

BLOCK_ROWS = 512
"""Rows of one call of the network; a multiple of a tile."""
TARGET_BARS, LEAST_ROWS = 12_288, 64
"""Where answers have target bars, a read-out takes rows with about so many, or the least.

Fewer are more calls of torch, more leave the cache (DECISIONS.md, 93).
"""


@dataclass(slots=True)
class ScaleSteps:
    """The K steps of one scale in a chunk."""

    slots: Ints  # K
    order: Ints  # K: number of steps of the series before this one
    after: Ints  # K: the base step that closed the bar
    x: Singles  # K, F: inputs
    dt: Singles  # K: bars since the previous step
    y: Singles = field(default_factory=lambda: np.empty((0, 0), np.float32))  # K, H: outputs, once they are there


class Inference:
    """Runs one network over the hidden states and past outputs of a slab, in place."""

    def __init__(self, spec: ModelSpec, network: Network, slab: Slab) -> None:
        self._shape = (spec.horizon, len(spec.quantiles))
        self._network = network.eval()
        loops = spec.targets is not None and spec.targets.loops
        self._aligned = [LoopedReadOut(aligned, spec.horizon) for aligned in network.read_outs] if loops else []
        self._slab = slab
        self._row_of_slot = np.empty(0, np.int64)  # memory of ``waves.arrange``
        self._tiles = Tiles()
        self._fresh = [
            {name: tensor[0].clone() for name, tensor in network.initial_state(s, 1).items()}
            for s in range(1 + len(spec.scales))
        ]
        # By scale: memory for the past outputs of a block of answers, and how many are real; None where only the newest
        # output is read.
        self._memories = [
            (torch.zeros(BLOCK_ROWS, size, width), torch.zeros(BLOCK_ROWS, dtype=torch.int64))
            if f"past.{scale}" in slab.arrays
            else None
            for scale, (size, width) in enumerate(zip(network.memory, network.outputs, strict=True))
        ]
        self._one = torch.ones(BLOCK_ROWS, dtype=torch.int64)

    def step(self, steps: Steps, counts: Counts) -> list[ScaleSteps]:
        """Run the recurrent layers of every scale over the steps of a chunk; return the steps with their outputs."""
        if len(self._row_of_slot) < self._slab.capacity:
            self._row_of_slot = np.full(self._slab.capacity, -1, np.int64)
        scales = [_scale_steps(scale, steps, counts) for scale in range(len(self._fresh))]
        for scale, part in enumerate(scales):
            part.y = self._recur(scale, part.slots, part.order == 0, part.x, part.dt)
        return scales

    def read(self, scales: list[ScaleSteps], steps: Steps, answers: int) -> Singles:
        """Run attention and head for A answers, a block at a time; return normalised quantiles [A, h, Q].

        They may cross.
        """
        q = np.empty((answers, *self._shape), np.float32)
        pasts = [self._slab.arrays.get(f"past.{scale}") for scale in range(len(scales))]
        before = [np.empty_like(part.y) for part in scales]
        done = [0] * len(scales)
        most = self._block_rows()
        with torch.inference_mode():
            for first in range(0, answers, most):
                block = slice(first, min(first + most, answers))
                at, rows = steps.answer_step[block], block.stop - block.start
                whole = slice(first, first + whole_tiles(rows))
                memories, filled = [], []
                for scale, (part, ring, kept) in enumerate(zip(scales, pasts, self._memories, strict=True)):
                    if ring is None or kept is None:
                        memories.append(torch.from_numpy(self._tiles.gather("newest", part.y, at)[:, None]))
                        filled.append(self._one[: whole_tiles(rows)])
                        continue
                    recent, have = kept
                    done[scale] = rings.remember(
                        ring, part.slots, part.order, part.y, part.after, before[scale], done[scale], at,
                        steps.slot[at], steps.answer_order[scale, block], recent.numpy(), have.numpy(),
                    )  # fmt: skip
                    memories.append(recent[: whole_tiles(rows)])
                    filled.append(have[: whole_tiles(rows)])
                q_tile = self._network.quantiles(
                    memories, filled, torch.from_numpy(steps.lags[whole]), self._target_bars(steps, whole),
                    self._aligned,
                )  # fmt: skip
                q[block] = q_tile[:rows].numpy()
        for scale, (part, ring) in enumerate(zip(scales, pasts, strict=True)):
            if ring is not None:
                rings.write_rest(ring, part.slots, part.order, part.y, before[scale], done[scale])
                self._slab.overwrote(f"past.{scale}", part.slots, part.order % ring.shape[1], before[scale])
        return q

    def _block_rows(self) -> int:
        """Return how many rows a read-out takes at once, in whole tiles."""
        if not self._network.read_outs:
            return BLOCK_ROWS
        return min(whole_tiles(max(TARGET_BARS // self._shape[0], LEAST_ROWS)), BLOCK_ROWS)

    def _target_bars(self, steps: Steps, whole: slice) -> TargetInputs | None:
        """Return what is known about the target bars of some answers, in whole tiles."""
        if not self._network.read_outs:
            return None
        parts = steps.target_x[whole], steps.target_codes[whole], steps.level[whole]
        return TargetInputs(*map(torch.from_numpy, parts))

    def _recur(self, scale: int, slots: Ints, cold: npt.NDArray[np.bool_], x: Singles, dt: Singles) -> Singles:
        """Step K bars of one scale in waves, runs of equal waves at once; return their outputs [K, H]."""
        y = np.empty((len(slots), self._network.outputs[scale]), np.float32)
        if len(slots) == 0:
            return y
        rows, counts, order = waves.arrange(slots, self._row_of_slot)
        x_sorted, dt_sorted = self._tiles.gather("x", x, order), self._tiles.gather("dt", dt, order)
        cold_sorted = cold[order] if cold.any() else None
        y_sorted = np.empty_like(y)
        fields = {name: self._slab.arrays[f"hidden.{scale}.{name}"] for name in self._fresh[scale]}
        state = {name: torch.from_numpy(self._tiles.gather(name, array, rows)) for name, array in fields.items()}
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
                    self._scan(scale, state, len(rows), block, x_run, dt_run, cold_run, y_run)
                at = stop
        for name, array in fields.items():
            array[rows] = state[name][: len(rows)].numpy()
        y[order] = y_sorted
        return y

    def _scan(
        self, scale: int, state: dict[str, torch.Tensor], total: int, block: slice, x: Singles, dt: Singles,
        cold: npt.NDArray[np.bool_] | None, y: Singles,
    ) -> None:  # fmt: skip
        """Step some of the ``total`` rows by a run of waves (x [T, R, F]) from ``state``, in place.

        Cold rows start from the initial state.
        """
        rows = block.stop - block.start
        tile = slice(block.start, block.start + whole_tiles(rows))
        starts = [0]
        if cold is not None:
            starts += [t for t in range(1, len(x)) if cold[t, block].any()]
        for start, stop in zip(starts, [*starts[1:], len(x)], strict=True):
            if cold is not None and cold[start, block].any():
                fresh = np.flatnonzero(cold[start, block]) + block.start
                for name, initial in self._fresh[scale].items():
                    state[name][fresh] = initial
            x_tile = self._tiles.waves("x of waves", x[start:stop, block])
            dt_tile = self._tiles.waves("dt of waves", dt[start:stop, block])
            before = {name: tensor[tile] for name, tensor in state.items()}
            y_tile, after = self._network.scan(scale, x_tile, before, None, dt_tile)
            y[start:stop, block] = y_tile[:, :rows].numpy()
            for name, tensor in after.items():
                if rows == total:
                    state[name] = tensor.contiguous()
                else:
                    state[name][block] = tensor[:rows]


def _scale_steps(scale: int, steps: Steps, counts: Counts) -> ScaleSteps:
    if scale == 0:
        k = int(counts.steps[0])
        return ScaleSteps(steps.slot[:k], steps.order[:k], np.arange(k), steps.x[:k], steps.dt[:k])
    s, n = scale - 1, int(counts.steps[scale])
    slots, order, after = steps.coarse_slot[s, :n], steps.coarse_order[s, :n], steps.coarse_after[s, :n]
    return ScaleSteps(slots, order, after, steps.coarse_x[s, :n], np.ones(n, np.float32))
