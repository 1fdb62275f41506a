"""The forecaster: one recurrent stack per scale, and one read-out that joins them; or no network at all.

Shapes: T steps, B rows, F features of a scale, H width of a scale's output, R past outputs of a
scale, L lags, h horizon steps, P numbers of a step's distribution, Q quantiles.  Scale 0 is the base
scale.

The recurrent part (``step``, ``scan``) of a scale runs whenever one of its bars closes, and knows
nothing about the other scales.  ``read`` runs only when a forecast is due.  ``distribution`` returns
the head's parameters before they become quantiles; the loss is computed on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from streamcast.models.cells.cell import Cell, Exact, State, fold
from streamcast.models.cells.stack import Composite, EarlyExit, Stack
from streamcast.models.int8 import keep_as_int8
from streamcast.models.linear import RowLinear
from streamcast.models.readout.aligned import Aligned, AlignedForm, TargetInputs, TargetShape
from streamcast.models.readout.attention import NoAttention, ScaleAttention, Temporal
from streamcast.models.readout.lag_window import Window
from streamcast.models.spec import SpecError, make, within
from streamcast.models.zoo import (
    ATTENTIONS,
    CELLS,
    DECODERS,
    FRONTS,
    HEADS,
    SHORTCUTS,
    TARGETS,
    WINDOWS,
    Composition,
)


@dataclass(frozen=True)
class Shape:
    """The sizes of a network's inputs and outputs: the data's side of a model."""

    features: tuple[int, ...]
    """Features of a bar, per scale, base scale first; feature 0 is the normalised target."""
    lags: int
    """Past targets on the linear highway and in the window; 0 for neither."""
    horizon: int
    """Steps of a forecast."""
    quantiles: tuple[float, ...]
    """Levels of a forecast, rising, each between 0 and 1."""
    targets: TargetShape | None = None
    """Sizes of what is known about the target bars; None for a network without the aligned read-out."""

    def __post_init__(self) -> None:
        """Raise SpecError when no network can have this shape."""
        within("the number of scales", len(self.features), 1, 16)
        for features in self.features:
            within("the number of features of a scale", features, 1, 4096)
        within("lags", self.lags, 0, 4096)
        within("horizon", self.horizon, 1, 4096)
        rising = sorted(set(self.quantiles))
        if not rising or list(self.quantiles) != rising or not 0 < rising[0] <= rising[-1] < 1:
            message = (
                f"quantiles is {self.quantiles!r}: expected rising numbers between 0 and 1, as in (0.1, 0.5, 0.9)."
            )
            raise SpecError(message)


class Network(nn.Module):
    """Recurrent stacks, attention over the past and across scales, and a head; plus a highway and a lag window.

    ``outputs`` and ``memory`` are per scale: the width H of an output, and how many of them (R >= 1,
    the newest included) ``read`` looks at.  ``exact`` says how closely a sequence equals its steps,
    and is ``WINDOW`` where an encoder re-reads the memory at every answer.  ``highway`` is None without
    lags; it starts at zero, which is the last-value forecast.  With a ``window`` as well, the mean of highway and
    window is added.  ``aligned`` is None where the shape has no target bars or the head's classes are fixed.

    A row's bytes are the same in any tile (rows in multiples of eight) at any place, provided that
    the tensors given start on a 16-byte boundary, as fresh tensors and whole tiles of a slab do.
    """

    outputs: tuple[int, ...]
    memory: tuple[int, ...]
    exact: Exact
    highway: nn.Linear | None
    window: Window | None
    aligned: Aligned | None

    def __init__(self, composition: Composition, shape: Shape) -> None:
        super().__init__()
        self.composition, self.shape = composition, shape
        self.stacks = [_stack(composition, features) for features in shape.features]
        self.recurrent = nn.ModuleList(self.stacks)
        self.outputs = tuple(stack.outputs for stack in self.stacks)
        self.attentions = _attentions(composition, self.outputs)
        self.temporal = nn.ModuleList(self.attentions)
        self.memory = tuple(attention.memory for attention in self.attentions)
        self.exact = min(*(stack.exact for stack in self.stacks), *(a.exact for a in self.attentions))
        widths = [attention.outputs for attention in self.attentions]
        self.across = ScaleAttention(widths) if len(widths) > 1 else None
        self.head = make("head", HEADS, composition.head, quantiles=shape.quantiles)
        self.decoder = make(
            "decoder", DECODERS, composition.decoder, inputs=widths[0], horizon=shape.horizon, numbers=self.head.numbers
        )
        for place, given, without in (
            ("highway", composition.highway, "false"),
            ("window", composition.window, "null"),
        ):
            if given and not self.head.shifts:
                kind = composition.head["kind"]
                shown = "true" if given is True else repr(given)
                message = f"{place} is {shown} beside head {kind!r}, whose classes are fixed: set it to {without}."
                raise SpecError(message)
        self.highway = RowLinear(shape.lags, shape.horizon) if composition.highway and shape.lags else None
        if self.highway is not None:
            nn.init.zeros_(self.highway.weight)
            nn.init.zeros_(self.highway.bias)
        self.window = (
            make("window", WINDOWS, composition.window, lags=shape.lags, horizon=shape.horizon)
            if composition.window is not None and shape.lags
            else None
        )
        self.aligned = (
            make(
                "target", TARGETS, composition.target, inputs=widths[0], lags=shape.lags, numbers=self.head.numbers,
                shape=shape.targets, highway=self.highway is not None,
            )
            if shape.targets is not None and composition.target is not None and self.head.shifts
            else None
        )  # fmt: skip
        if composition.weights == "int8":
            keep_as_int8(self)

    @property
    def spec(self) -> dict[str, object]:
        """The whole composition as a spec: what ``build`` makes the same network from."""
        return {"kind": "network", **asdict(self.composition)}

    @property
    def read_outs(self) -> tuple[Aligned, ...]:
        """The aligned read-outs: one, or none."""
        return () if self.aligned is None else (self.aligned,)

    def initial_state(self, scale: int, rows: int) -> State:
        """Return the state of a scale's stack before its first bar, every tensor [rows, ...], without gradient."""
        return {name: tensor.detach() for name, tensor in self.stacks[scale].initial_state(rows).items()}

    def step(self, scale: int, x_BF: Tensor, state: State, dt_B: Tensor | None = None) -> tuple[Tensor, State]:
        """Return a scale's output [B, H] for one closed bar and its next state; dt in bars of the scale."""
        return self.stacks[scale].step(x_BF, state, dt_B)

    def scan(
        self,
        scale: int,
        x_TBF: Tensor,
        state: State,
        mask_TB: Tensor | None = None,
        dt_TB: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Return a scale's outputs [T, B, H] for T >= 1 bars and its last state; a masked row keeps its state.

        In service its bytes are those of ``step``, whether or not the stack has a faster form of the same bytes.
        """
        stack = self.stacks[scale]
        if stack.exact is Exact.TILE or self.training:
            return stack.scan(x_TBF, state, mask_TB, dt_TB)
        return fold(stack, x_TBF, state, mask_TB, dt_TB)

    def distribution(
        self, memories: Sequence[Tensor], filled: Sequence[Tensor], lags_BL: Tensor,
        targets: TargetInputs | None = None, aligned: Sequence[AlignedForm] = (),
    ) -> Tensor:  # fmt: skip
        """Return the head's parameters at every step of the horizon, [B, h, P]; see ``read``."""
        pasts = [
            attention.encode(memory_BRH, filled_B)
            for attention, memory_BRH, filled_B in zip(self.attentions, memories, filled, strict=True)
        ]
        contexts = [
            attention(past_BRD, filled_B)
            for attention, past_BRD, filled_B in zip(self.attentions, pasts, filled, strict=True)
        ]
        context_BD = contexts[0] if self.across is None else self.across(contexts, filled)
        numbers_BhP: Tensor = self.decoder(context_BD, pasts[0], filled[0])
        highway_Bh = None if self.highway is None else self.highway(lags_BL)
        if self.aligned is not None:
            if targets is None:
                message = "this network has an aligned read-out: it needs the target bars of each answer"
                raise ValueError(message)
            form = aligned[0] if aligned else self.aligned
            moved_Bh, more_BhP = form(context_BD, lags_BL, targets, highway_Bh)
            numbers_BhP, highway_Bh = numbers_BhP + more_BhP, moved_Bh
        ways = [
            moved for moved in (highway_Bh, None if self.window is None else self.window(lags_BL)) if moved is not None
        ]
        if not ways:
            return numbers_BhP
        return self.head.moved(numbers_BhP, ways[0] if len(ways) == 1 else (ways[0] + ways[1]) / 2)

    def quantiles(
        self, memories: Sequence[Tensor], filled: Sequence[Tensor], lags_BL: Tensor,
        targets: TargetInputs | None = None, aligned: Sequence[AlignedForm] = (),
    ) -> Tensor:  # fmt: skip
        """Return what ``read`` does, but quantiles may still cross.

        ``aligned`` are other forms of ``read_outs``, for service.
        """
        return self.head.quantiles(self.distribution(memories, filled, lags_BL, targets, aligned))

    def read(
        self, memories: Sequence[Tensor], filled: Sequence[Tensor], lags_BL: Tensor, targets: TargetInputs | None = None
    ) -> Tensor:
        """Return horizon × quantiles [B, h, Q], rising in Q, in units of the normalised target.

        ``memories[s]`` [B, R, H] holds the newest outputs of scale s, oldest first, padded on the
        left; the last ``filled[s]`` [B] of them are valid.  ``lags_BL`` is the window of targets,
        oldest first, less the newest, over the unit of the normaliser.  ``targets`` is needed where
        the network has an aligned read-out.
        """
        return self.quantiles(memories, filled, lags_BL, targets).sort(-1).values

    def loss(self, numbers_BhP: Tensor, outcome_Bh: Tensor, weight_B: Tensor | None = None) -> Tensor:
        """Return the head's loss of a ``distribution`` over all steps whose outcome is not NaN, rows weighted."""
        return self.head.loss(numbers_BhP, outcome_Bh, weight_B)


class NoNetwork(Network):
    """The network of a model that has none: no weights, no state, an output of width 0, and NaN for every quantile.

    The online layer forecasts alone then.  The engine does not even call it.
    """

    def __init__(self, shape: Shape) -> None:
        """Raise SpecError for inputs that only a network reads, because they cost time and state."""
        nn.Module.__init__(self)
        for name, given, without in (
            ("lags", shape.lags, "0"),
            ("scales", len(shape.features) - 1, "[]"),
            ("targets", shape.targets, "null"),
        ):
            if given:
                message = f"{name} are inputs of a network, and this model has none: set {name} to {without}."
                raise SpecError(message)
        self.shape, self.exact = shape, Exact.TILE
        self.outputs, self.memory = (0,), (1,)
        self.highway = self.window = self.aligned = None

    @property
    def spec(self) -> dict[str, object]:
        """The spec of a network that is none."""
        return {"kind": "none"}

    def initial_state(self, scale: int, rows: int) -> State:
        """Return no state."""
        del scale, rows
        return {}

    def step(self, scale: int, x_BF: Tensor, state: State, dt_B: Tensor | None = None) -> tuple[Tensor, State]:
        """Return an output [B, 0]."""
        del scale, dt_B
        return x_BF[:, :0], state

    def scan(
        self,
        scale: int,
        x_TBF: Tensor,
        state: State,
        mask_TB: Tensor | None = None,
        dt_TB: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Return outputs [T, B, 0]."""
        del scale, mask_TB, dt_TB
        return x_TBF[..., :0], state

    def distribution(
        self, memories: Sequence[Tensor], filled: Sequence[Tensor], lags_BL: Tensor,
        targets: TargetInputs | None = None, aligned: Sequence[AlignedForm] = (),
    ) -> Tensor:  # fmt: skip
        """Raise SpecError: there are no parameters to learn."""
        del memories, filled, lags_BL, targets, aligned
        message = "a model without a network has no distribution: only its online layer forecasts."
        raise SpecError(message)

    def read(
        self, memories: Sequence[Tensor], filled: Sequence[Tensor], lags_BL: Tensor, targets: TargetInputs | None = None
    ) -> Tensor:
        """Return NaN, [B, h, Q]."""
        del memories, filled, targets
        return lags_BL.new_full((len(lags_BL), self.shape.horizon, len(self.shape.quantiles)), torch.nan)


def with_network(network: Network, wanted: str) -> Network:
    """Return a network as it is; raises SpecError, which names what was ``wanted``, where a model has none."""
    if isinstance(network, NoNetwork):
        message = f"cannot {wanted}: the model has no network. Train one first: `streamcast train DATA --model gru`."
        raise SpecError(message)
    return network


def _attentions(composition: Composition, widths: Sequence[int]) -> list[Temporal]:
    """Return the attention of each scale.

    Coarse scales use their newest output, unless the base scale uses a window encoder; then all do.
    """
    base, *coarse = widths
    attention = make("attention", ATTENTIONS, composition.attention, width=base)
    if attention.exact is Exact.WINDOW:
        return [attention, *(make("attention", ATTENTIONS, composition.attention, width=width) for width in coarse)]
    return [attention, *map(NoAttention, coarse)]


def _stack(composition: Composition, features: int) -> Composite:
    layers: dict[str, Cell] = {}
    if composition.front is not None:
        layers["front"] = make("front", FRONTS, composition.front, inputs=features)
        features = layers["front"].outputs
    for depth, cell in enumerate(composition.stack):
        layers[str(depth)] = make(f"stack[{depth}]", CELLS, cell, inputs=features)
        features = layers[str(depth)].outputs
    if not composition.stack:
        message = 'stack is empty: expected at least one cell, such as {"kind": "gru", "hidden": 64}.'
        raise SpecError(message)
    if composition.exit:
        if composition.shortcut != "none":
            message = (
                f"exit is {composition.exit!r} beside shortcut {composition.shortcut!r}, which needs the layers "
                'that a row may leave out: choose exit 0 or shortcut "none".'
            )
            raise SpecError(message)
        return EarlyExit(layers, composition.dropout, composition.exit)
    return Stack(layers, composition.dropout, SHORTCUTS[composition.shortcut])
