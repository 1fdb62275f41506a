"""The loss of an update: the network's own, its distance from a teacher, and penalties on its state.

Legend: P positions, h horizon, B rows.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from streamcast.errors import ModelError, Option
from streamcast.models.network import Network, NoNetwork
from streamcast.models.spec import SpecError
from streamcast.models.surgery.compress import imitation
from streamcast.offline.training.sequences import Ints, Sequences
from streamcast.offline.training.streams import Chunk, Streams
from streamcast.spec.folders import Model
from streamcast.spec.model_spec import ModelSpec


class Objective:
    """The loss of B streams, chunk after chunk; a teacher steps through the same bars as the network.

    ``imitate`` is the teacher's weight, from 0 to 1; the outcomes have the rest.  ``cell_penalty`` weighs the mean
    square of the cell states, ``ponder_cost`` the number of layers climbed (Graves 2016, arXiv 1603.08983), both at
    the end of a chunk.  Raises SpecError when the network has no such state.
    """

    def __init__(
        self, network: Network, seen: Sequences, rows: int, teacher: Network | None, imitate: float,
        cell_penalty: float = 0.0, ponder_cost: float = 0.0,
    ) -> None:  # fmt: skip
        self._network, self._seen, self._imitate = network, seen, imitate
        self._cell_penalty, self._ponder_cost = cell_penalty, ponder_cost
        self._streams = Streams(network, seen, rows)
        self._teacher = None if teacher is None else (teacher, Streams(teacher, seen, rows))
        if cell_penalty and not self._streams.reached("c"):
            raise SpecError(
                Option.CELL_PENALTY, f" is {cell_penalty!r}, but this network has no cell state: set it to 0"
            )
        if ponder_cost and not self._streams.reached("ponder"):
            raise SpecError(Option.PONDER_COST, f" is {ponder_cost!r}, but no row leaves this stack early: set it to 0")

    def advance(self, chunk: Chunk) -> None:
        """Step every stream through its next bars."""
        self._streams.advance(chunk)
        if self._teacher is not None:
            with torch.no_grad():
                self._teacher[1].advance(chunk)

    def loss(self, rows_P: Ints, at_P: Ints) -> Tensor:
        """Return the loss of the forecasts of some rows at bars of the last chunk."""
        network = self._network
        numbers_PhN = network.distribution(*self._streams.recall(rows_P, at_P))
        device = self._streams.device
        outcome_Ph = torch.from_numpy(self._seen.outcomes(at_P)).to(device)
        weight_P = torch.from_numpy(self._seen.weight_K[at_P]).to(device)
        if self._teacher is None:
            loss = network.loss(numbers_PhN, outcome_Ph, weight_P)
        else:
            teacher, streams = self._teacher
            with torch.no_grad():
                taught_PhQ = teacher.read(*streams.recall(rows_P, at_P))
            loss = imitation(network, numbers_PhN, outcome_Ph, taught_PhQ, self._imitate, weight_P)
        if self._cell_penalty:
            squares = [cell.square().mean() for cell in self._streams.reached("c")]
            loss = loss + self._cell_penalty * torch.stack(squares).mean()
        if self._ponder_cost:
            loss = loss + self._ponder_cost * torch.cat(self._streams.reached("ponder")).mean()
        return loss


def taught_by(teacher: Model, spec: ModelSpec) -> Network:
    """Return a copy of a teacher's network.

    Raises SpecError if it has none, ModelError if its spec differs from ``spec`` beyond the network.
    """
    name = f"{teacher.name}@{teacher.version}"
    if isinstance(teacher.network, NoNetwork):
        raise SpecError(Option.TEACHER, f" is {name}, which has no network to imitate: choose a model that has one")
    theirs, ours = teacher.spec.model_dump(exclude={"network"}), spec.model_dump(exclude={"network"})
    if differing := sorted(part for part in ours if ours[part] != theirs[part]):
        raise ModelError(
            Option.TEACHER,
            f" is {name}, which differs from the model to train in {', '.join(differing)}:"
            " expected the same spec apart from the network; train a teacher with this spec",
        )
    return copy.deepcopy(teacher.network).eval()
