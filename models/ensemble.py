"""Several networks of one spec whose mean forecasts.

Shapes: T steps, B rows, F features of a scale, H width of a member's output, N members, R past outputs, L lags,
h horizon steps, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from streamcast.models.cells.cell import State
from streamcast.models.network import Network
from streamcast.models.readout.aligned import Aligned, AlignedForm, TargetInputs
from streamcast.models.readout.head import QuantileHead


class Ensemble(Network):
    """Networks of the same spec with weights of their own; each quantile is the mean of theirs.

    Members that began with other weights and read other batches make other errors, which the mean evens out (deep
    ensembles, Lakshminarayanan 2017, arXiv 1612.01474; quantiles averaged level by level, Ratcliff 1979).  The states
    and the outputs of the members lie side by side.  Each member is trained by itself.
    """

    def __init__(self, members: Sequence[Network]) -> None:
        nn.Module.__init__(self)
        self.networks, self.members = list(members), nn.ModuleList(members)
        first = self.networks[0]
        self.composition, self.shape, self.exact = first.composition, first.shape, first.exact
        self.memory = first.memory
        self.outputs = tuple(len(members) * width for width in first.outputs)
        self.head = QuantileHead(first.shape.quantiles)

    @property
    def spec(self) -> dict[str, object]:
        """The composition of each member, and how many there are."""
        return {**self.networks[0].spec, "members": len(self.networks)}

    @property
    def read_outs(self) -> tuple[Aligned, ...]:
        """The aligned read-outs of all members."""
        return tuple(part for network in self.networks for part in network.read_outs)

    def initial_state(self, scale: int, rows: int) -> State:
        """Return the states of all members, the number of the member before each name."""
        return _side_by_side([network.initial_state(scale, rows) for network in self.networks])

    def step(self, scale: int, x_BF: Tensor, state: State, dt_B: Tensor | None = None) -> tuple[Tensor, State]:
        """Return the outputs of all members [B, N·H] for one closed bar, and their next states."""
        return self._of_all(state, lambda network, own: network.step(scale, x_BF, own, dt_B))

    def scan(
        self,
        scale: int,
        x_TBF: Tensor,
        state: State,
        mask_TB: Tensor | None = None,
        dt_TB: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Return the outputs of all members [T, B, N·H] for T >= 1 bars, and their last states."""
        return self._of_all(state, lambda network, own: network.scan(scale, x_TBF, own, mask_TB, dt_TB))

    def distribution(
        self, memories: Sequence[Tensor], filled: Sequence[Tensor], lags_BL: Tensor,
        targets: TargetInputs | None = None, aligned: Sequence[AlignedForm] = (),
    ) -> Tensor:  # fmt: skip
        """Return the mean of the members' quantiles [B, h, Q]; see ``Network.read``."""
        split = [memory_BRX.chunk(len(self.networks), -1) for memory_BRX in memories]
        found = [
            network.quantiles(
                [parts[number].contiguous() for parts in split], filled, lags_BL, targets, aligned[number : number + 1]
            )
            for number, network in enumerate(self.networks)
        ]
        return torch.stack(found).mean(0)

    def _of_all(self, state: State, advance: Callable[[Network, State], tuple[Tensor, State]]) -> tuple[Tensor, State]:
        """Return the outputs side by side, and the states, of all members advanced from their own states."""
        own: list[State] = [{} for _ in self.networks]
        for name, tensor in state.items():
            number, rest = name.split(".", 1)
            own[int(number)][rest] = tensor
        found = [advance(network, part) for network, part in zip(self.networks, own, strict=True)]
        return torch.cat([y for y, _ in found], -1), _side_by_side([after for _, after in found])


def members_of(network: Network) -> list[Network]:
    """Return the networks whose mean forecasts: the members, or the network itself."""
    return network.networks if isinstance(network, Ensemble) else [network]


def together(members: Sequence[Network]) -> Network:
    """Return the network whose forecast is the mean of some networks' of the same spec."""
    return Ensemble(members) if len(members) > 1 else members[0]


def _side_by_side(states: Sequence[State]) -> State:
    return {f"{number}.{name}": tensor for number, state in enumerate(states) for name, tensor in state.items()}
