"""Sequences side by side: runs are cut into pieces, pieces queue in rows, and all rows advance chunk by chunk.

State is carried from chunk to chunk of a piece.  A piece starts cold: at the start of its run, or some bars of burn-in
before its first scored bar.

Legend: B rows, T bars of a chunk, S scales (base first), R past outputs, H width, P positions, L lags.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from streamcast.models.cells.cell import State
from streamcast.models.network import Network
from streamcast.models.readout.aligned import TargetInputs
from streamcast.offline.training.sequences import Ints, Sequences


class Span(NamedTuple):
    """Bars ``first`` to ``last``, which are scored, of the run that begins at bar ``begin``."""

    begin: int
    first: int
    last: int


class Piece(NamedTuple):
    """Bars ``start`` to ``stop`` (excluded) of one run, scored from bar ``scored`` on."""

    start: int
    scored: int
    stop: int


class Chunk(NamedTuple):
    """The next bars of every row: the first, how many, the first that is scored, and whether the row starts cold."""

    first_B: Ints
    count_B: Ints
    scored_B: Ints
    fresh_B: npt.NDArray[np.bool_]


def cut(spans: Sequence[Span], length: int, burn_in: int, random: np.random.Generator) -> list[Piece]:
    """Cut spans into pieces of ``length`` scored bars; the first piece of a span has a random, shorter length."""
    pieces = []
    for begin, first, last in spans:
        stop = last + 1
        edges = np.arange(first + int(random.integers(1, length + 1)), stop, length).tolist()
        for scored, end in zip([first, *edges], [*edges, stop], strict=True):
            pieces.append(Piece(max(begin, scored - burn_in), scored, end))
    return pieces


def chunks(pieces: Sequence[Piece], rows: int, length: int) -> Iterator[Chunk]:
    """Distribute pieces over rows of about equal work and yield chunks of ``length`` bars until all rows are empty."""
    loads = np.zeros(rows, np.int64)
    queues: list[list[tuple[int, int, int, bool]]] = [[] for _ in range(rows)]
    for piece in sorted(pieces, key=lambda piece: piece.start - piece.stop):
        row = int(loads.argmin())
        for first in range(piece.start, piece.stop, length):
            queues[row].append((first, min(length, piece.stop - first), piece.scored, first == piece.start))
            loads[row] += 1
    idle = (0, 0, 0, True)
    for number in range(int(loads.max())):
        now = [queue[number] if number < len(queue) else idle for queue in queues]
        firsts, counts, scored, fresh = (np.array(column) for column in zip(*now, strict=True))
        yield Chunk(firsts, counts, scored, fresh)


class Streams:
    """B rows of sequences and the state of each, on the device of the network's weights."""

    def __init__(self, network: Network, sequences: Sequences, rows: int) -> None:
        self._network, self._sequences, self._rows = network, sequences, rows
        self.device = next(network.parameters()).device
        scales = range(len(sequences.scales))
        self._fresh = [network.initial_state(s, rows) for s in scales]
        self._state, self._reached = list(self._fresh), list(self._fresh)
        self._memory = [torch.zeros(network.memory[s], rows, network.outputs[s], device=self.device) for s in scales]
        self._outputs = list(self._memory)
        self._begun_SB = np.zeros((len(sequences.scales), rows), np.int64)
        self._first_SB = np.zeros_like(self._begun_SB)

    def advance(self, chunk: Chunk) -> None:
        """Step every row through its chunk; gradients end at the chunk's first bar."""
        fresh_B = self._placed(chunk.fresh_B)
        for s in range(len(self._sequences.scales)):
            first_B = self._sequences.closed(s, chunk.first_B)
            count_B = self._sequences.closed(s, chunk.first_B + chunk.count_B) - first_B
            self._begun_SB[s] = np.where(chunk.fresh_B, first_B, self._begun_SB[s])
            self._first_SB[s] = first_B
            state = {
                name: torch.where(fresh_B.view(-1, *[1] * (tensor.ndim - 1)), self._fresh[s][name], tensor)
                for name, tensor in self._state[s].items()
            }
            memory_RBH = self._memory[s].masked_fill(fresh_B[:, None], 0)
            y_TBH, state = self._scan(s, first_B, count_B, state)
            self._outputs[s], self._reached[s] = torch.cat([memory_RBH, y_TBH]), state
            self._state[s] = {name: tensor.detach() for name, tensor in state.items()}
            newest_RB = self._placed(count_B + np.arange(len(memory_RBH))[:, None])
            self._memory[s] = self._outputs[s].detach()[newest_RB, torch.arange(self._rows, device=self.device)]

    def reached(self, name: str) -> list[Tensor]:
        """Return the state tensors called ``name`` of all layers and scales after the last chunk, with gradient."""
        return [tensor for state in self._reached for full, tensor in state.items() if full.split(".")[-1] == name]

    def _scan(self, scale: int, first_B: Ints, count_B: Ints, state: State) -> tuple[Tensor, State]:
        """Return the outputs of a scale [T, B, H] and its state; T is the most bars of any row.

        A base row with fewer bars has reached the end of its piece, so its state is not used again and needs no mask.
        A coarse row may continue in the next chunk, so it does.
        """
        length = int(count_B.max())
        if length == 0:
            return torch.zeros(0, self._rows, self._network.outputs[scale], device=self.device), state
        bars = self._sequences.scales[scale]
        step_T1 = np.arange(length)[:, None]
        place_TB = np.minimum(first_B + step_T1, len(bars.x_JF) - 1)
        mask_TB = step_T1 < count_B
        mask = None if scale == 0 or mask_TB.all() else self._placed(mask_TB)
        x_TBF, dt_TB = self._placed(bars.x_JF[place_TB]), self._placed(bars.dt_J[place_TB])
        return self._network.scan(scale, x_TBF, state, mask, dt_TB)

    def recall(self, rows_P: Ints, at_P: Ints) -> tuple[list[Tensor], list[Tensor], Tensor, TargetInputs | None]:
        """Return the read-out's inputs at bars of the last chunk, given their rows.

        They are past outputs [P, R, H] and how many of them are real [P], by scale, lags [P, L], and the target bars.
        """
        memories, filled = [], []
        for s, outputs in enumerate(self._outputs):
            size, closed_P = self._network.memory[s], self._sequences.closed_SK[s, at_P]
            newest_PR = (closed_P - self._first_SB[s, rows_P])[:, None] + np.arange(size)
            place = self._placed(newest_PR * self._rows + rows_P[:, None]).flatten()
            memories.append(outputs.flatten(0, 1).index_select(0, place).view(len(at_P), size, outputs.shape[-1]))
            filled.append(self._placed(np.minimum(closed_P - self._begun_SB[s, rows_P], size)))
        bars = self._sequences.target_bars(at_P)
        targets = (
            None if bars is None else TargetInputs(self._placed(bars[0]), self._placed(bars[1]), self._placed(bars[2]))
        )
        return memories, filled, self._placed(self._sequences.lags(at_P)), targets

    def _placed(self, array: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.device)
