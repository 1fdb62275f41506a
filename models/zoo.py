"""Every name that a model spec may use.

A part is added by listing its class here; a whole model by a function from a few options to a
``Composition``.  The law tests run over these tables.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from streamcast.models.cells.cell import Cell
from streamcast.models.cells.continuous import LTC, CfC, OdeRNN, UnICORNN
from streamcast.models.cells.convolution import CausalConvolution, WaveNet
from streamcast.models.cells.elementwise import QRNN, SRU, MinGRU
from streamcast.models.cells.fused import RNN
from streamcast.models.cells.gated import DeltaGRU, gru_cell, lstm_cell
from streamcast.models.cells.matrix_memory import MLSTM, SLSTM, TuringMemory
from streamcast.models.cells.patch import Patch
from streamcast.models.cells.stack import LinearShortcut, Projection, Shortcut, SkipTwo, TwoStreams
from streamcast.models.readout.aligned import Aligned
from streamcast.models.readout.attention import (
    CrossAttention,
    FeatureAttention,
    MeanPool,
    NoAttention,
    RingAttention,
    Temporal,
)
from streamcast.models.readout.decoder import Decoder, Direct, Segments, StepByStep
from streamcast.models.readout.encoder import Bidirectional, InputAttention, Transformer
from streamcast.models.readout.head import ClassHead, GaussianHead, Head, PointHead, QuantileHead
from streamcast.models.readout.lag_window import PatchWindow, Window
from streamcast.models.spec import Spec, make, within


def two_stream(inputs: int, hidden: int = 32, cell: str = "lstm", split: int = 1) -> TwoStreams:
    """One cell over the first ``split`` features, one over the rest, side by side (Simonyan 2014, arXiv 1406.2199)."""
    within("split", split, 1, inputs - 1)
    one, other = (
        make("two-stream", CELLS, {"kind": cell, "hidden": hidden}, inputs=width) for width in (split, inputs - split)
    )
    return TwoStreams(one, other)


CELLS: Mapping[str, Callable[..., Cell]] = {
    "rnn": RNN,
    "gru": gru_cell,
    "lstm": lstm_cell,
    "delta-gru": DeltaGRU,
    "mingru": MinGRU,
    "qrnn": QRNN,
    "sru": SRU,
    "cfc": CfC,
    "ltc": LTC,
    "ode-rnn": OdeRNN,
    "unicornn": UnICORNN,
    "mlstm": MLSTM,
    "slstm": SLSTM,
    "turing": TuringMemory,
    "wavenet": WaveNet,
    "patch": Patch,
    "linear": Projection,
    "two-stream": two_stream,
}
FRONTS: Mapping[str, type[Cell]] = {"features": FeatureAttention, "convolution": CausalConvolution, "wavenet": WaveNet}
ATTENTIONS: Mapping[str, type[Temporal]] = {
    "none": NoAttention,
    "ring": RingAttention,
    "mean": MeanPool,
    "cross": CrossAttention,
    "transformer": Transformer,
    "bidirectional": Bidirectional,
    "input": InputAttention,
}
SHORTCUTS: Mapping[str, type[Shortcut] | None] = {"none": None, "skip2": SkipTwo, "linear": LinearShortcut}
DECODERS: Mapping[str, type[Decoder]] = {"direct": Direct, "segments": Segments, "steps": StepByStep}
WINDOWS: Mapping[str, type[Window]] = {"patches": PatchWindow}
TARGETS: Mapping[str, type[Aligned]] = {"aligned": Aligned}
HEADS: Mapping[str, type[Head]] = {
    "quantile": QuantileHead,
    "point": PointHead,
    "gaussian": GaussianHead,
    "classes": ClassHead,
}


@dataclass(frozen=True)
class Composition:
    """A whole model, spelled out part by part (kind "network")."""

    stack: Sequence[Spec]
    """The cells, lowest first; every scale has its own copy."""
    front: Spec | None = None
    """A layer between the features of a bar and the stack."""
    dropout: float = 0.0
    """On the output of every cell, while training."""
    shortcut: Literal["none", "skip2", "linear"] = "none"
    """What a cell adds to its output: the output of the cell two below, or a linear map of its input."""
    exit: float = 0.0
    """Above 0, a row leaves the stack once its chances of stopping reach 1 - exit."""
    attention: Spec = field(default_factory=lambda: {"kind": "none"})
    """How the read-out summarises the past outputs of the base scale."""
    decoder: Spec = field(default_factory=lambda: {"kind": "direct"})
    """How a context becomes numbers for every step of the horizon."""
    target: Spec | None = field(default_factory=lambda: {"kind": "aligned"})
    """How each step reads what is known about its own bar, where the model spec describes target bars."""
    head: Spec = field(default_factory=lambda: {"kind": "quantile"})
    """The distribution that those numbers describe, and its loss."""
    highway: bool = True
    """Whether a linear map from the lags to the horizon is added to every quantile."""
    window: Spec | None = None
    """A second forecaster from the lags; its mean with the highway is then added."""
    weights: Literal["float32", "int8"] = "float32"
    """How the model file stores matrices; int8 takes a quarter of the space, inference is unchanged."""


def deep(
    cell: Spec, /, hidden: int | None = None, layers: int = 1, dropout: float = 0.1, head: str = "quantile"
) -> Composition:
    """Return a stack of one kind of cell whose newest output is read; hidden null is the cell's own width."""
    return Composition(stack=_layers(cell, hidden, layers), dropout=dropout, head={"kind": head})


def residual(
    cell: Spec,
    /,
    hidden: int = 64,
    layers: int = 5,
    dropout: float = 0.1,
    shortcut: Literal["skip2", "linear"] = "skip2",
) -> Composition:
    """Return a deep stack with shortcuts (He 2015, arXiv 1512.03385; Kim 2017, arXiv 1701.03360)."""
    return Composition(stack=_layers(cell, hidden, layers), dropout=dropout, shortcut=shortcut)


def projected(cell: Spec, /, hidden: int = 64, width: int = 32, layers: int = 2, dropout: float = 0.1) -> Composition:
    """Return a deep stack with a 1×1 projection between its layers (Sak 2014, arXiv 1402.1128)."""
    between: Spec = {"kind": "linear", "hidden": width}
    first, *others = _layers(cell, hidden, layers)
    return Composition(stack=[first, *(part for layer in others for part in (between, layer))], dropout=dropout)


def hybrid(hidden: int = 256, layers: int = 2, top: int = 128, dropout: float = 0.2) -> Composition:
    """Return LSTMs below a GRU."""
    return Composition(
        stack=[*_layers({"kind": "lstm"}, hidden, layers), {"kind": "gru", "hidden": top}], dropout=dropout
    )


def adaptive(
    cell: Spec, /, hidden: int = 64, layers: int = 3, dropout: float = 0.1, epsilon: float = 0.1
) -> Composition:
    """Return a stack that each row climbs only as far as it needs (Graves 2016, arXiv 1603.08983)."""
    return Composition(stack=_layers(cell, hidden, layers), dropout=dropout, exit=epsilon)


def convolved(
    cell: Spec, /, hidden: int = 64, layers: int = 1, channels: int = 32, dropout: float = 0.1
) -> Composition:
    """Return a causal convolution below a recurrent stack (LSTNet's, Lai 2018, arXiv 1703.07015)."""
    front: Spec = {"kind": "convolution", "channels": channels}
    return Composition(front=front, stack=_layers(cell, hidden, layers), dropout=dropout)


def attended(
    cell: Spec, /, hidden: int = 64, layers: int = 1, ring: int = 96, dropout: float = 0.2, front: str | None = None
) -> Composition:
    """Return a recurrent stack whose newest output looks over the last ``ring`` ones (Luong 2015, arXiv 1508.04025)."""
    return Composition(
        front=None if front is None else {"kind": front},
        stack=_layers(cell, hidden, layers),
        dropout=dropout,
        attention={"kind": "ring", "length": ring},
    )


def cascade(hidden: int = 64, ring: int = 48, heads: int = 4, dropout: float = 0.1) -> Composition:
    """Return an LSTM below a causal Transformer over its last ``ring`` outputs."""
    attention: Spec = {"kind": "transformer", "heads": heads, "length": ring, "dropout": dropout, "causal": True}
    return Composition(stack=_layers({"kind": "lstm"}, hidden, 1), dropout=dropout, attention=attention)


def sequence_to_sequence(hidden: int = 64, layers: int = 2, ring: int = 48, dropout: float = 0.1) -> Composition:
    """Return an LSTM encoder that carries its state, and an LSTM decoder that looks over its last ``ring`` outputs."""
    return Composition(
        stack=_layers({"kind": "lstm"}, hidden, layers),
        dropout=dropout,
        attention={"kind": "ring", "length": ring},
        decoder={"kind": "steps"},
    )


def bidirectional(
    cell: str, /, hidden: int = 64, layers: int = 1, window: int = 48, width: int = 16, dropout: float = 0.1
) -> Composition:
    """Return a bidirectional network that re-reads the last ``window`` bars (Schuster & Paliwal 1997)."""
    attention: Spec = {
        "kind": "bidirectional",
        "cell": cell,
        "hidden": hidden,
        "layers": layers,
        "dropout": dropout,
        "length": window,
    }
    return Composition(stack=[{"kind": "linear", "hidden": width}], attention=attention)


def transformer(
    width: int = 32, layers: int = 2, heads: int = 4, window: int = 48, dropout: float = 0.1
) -> Composition:
    """Return self-attention that re-reads the last ``window`` bars (Vaswani 2017, arXiv 1706.03762)."""
    attention: Spec = {"kind": "transformer", "heads": heads, "layers": layers, "length": window, "dropout": dropout}
    return Composition(stack=[{"kind": "linear", "hidden": width}], attention=attention)


def da_rnn(width: int = 16, hidden: int = 32, window: int = 16) -> Composition:
    """Return DA-RNN: attention over the features of a window, then over time (Qin 2017, arXiv 1704.02971)."""
    attention: Spec = {"kind": "input", "hidden": hidden, "length": window}
    return Composition(stack=[{"kind": "linear", "hidden": width}], attention=attention)


def crossed(hidden: int = 32, ring: int = 48, split: int = 1, dropout: float = 0.1) -> Composition:
    """Return two LSTM streams, each looking over the other's last ``ring`` outputs (Lu 2019, arXiv 1908.02265)."""
    streams: Spec = {"kind": "two-stream", "hidden": hidden, "split": split}
    return Composition(stack=[streams], dropout=dropout, attention={"kind": "cross", "length": ring})


def segrnn(hidden: int = 128, patch: int = 24, segment: int = 24, dropout: float = 0.3) -> Composition:
    """Return a GRU over patches and one over segments of the horizon (Lin 2023, arXiv 2308.11200)."""
    return Composition(
        stack=[{"kind": "patch", "hidden": hidden, "length": patch}],
        dropout=dropout,
        decoder={"kind": "segments", "segment": segment, "dropout": dropout},
    )


def windowed(cell: Spec, /, hidden: int = 32, width: int = 128, patch: int = 24, dropout: float = 0.1) -> Composition:
    """Return a small recurrent network and, beside it, SegRNN over the lag window (Lin 2023, arXiv 2308.11200)."""
    return Composition(
        stack=_layers(cell, hidden, 1),
        dropout=dropout,
        window={"kind": "patches", "hidden": width, "length": patch, "segment": patch, "dropout": dropout},
    )


def classifier(
    cell: Spec,
    /,
    hidden: int = 64,
    layers: int = 1,
    pool: int = 32,
    dropout: float = 0.1,
    edges: Sequence[float] = (-0.5, 0.0, 0.5),
) -> Composition:
    """Return a softmax over classes of the outcome, of the mean of the last ``pool`` outputs, each carried on."""
    return Composition(
        stack=_layers(cell, hidden, layers),
        dropout=dropout,
        attention={"kind": "mean", "length": pool},
        head={"kind": "classes", "edges": list(edges)},
        highway=False,
    )


MODELS: Mapping[str, Callable[..., Composition]] = {
    "network": Composition,
    **{kind: partial(deep, {"kind": kind}) for kind in CELLS},
    **{kind: partial(deep, {"kind": kind}, layers=2) for kind in ("rnn", "gru", "lstm", "qrnn", "sru", "unicornn")},
    "mingru": partial(deep, {"kind": "mingru"}, layers=3),
    **{f"deep-{kind}": partial(deep, {"kind": kind}, layers=3) for kind in ("rnn", "gru", "lstm")},
    "gru-before": partial(deep, {"kind": "gru", "reset": "before"}),
    "gru-norm": partial(deep, {"kind": "gru", "norm": "gates"}),
    "lstm-norm": partial(deep, {"kind": "lstm", "norm": "gates"}),
    "lstm-peephole": partial(deep, {"kind": "lstm", "peephole": True}),
    "lstm-glu": partial(deep, {"kind": "lstm", "candidate": "glu"}),
    "lstm-separable": partial(deep, {"kind": "lstm", "groups": 4}),
    "lstm-low-rank": partial(deep, {"kind": "lstm", "rank": 16}),
    "lstm-residual": partial(residual, {"kind": "lstm"}),
    "lstm-projected": partial(projected, {"kind": "lstm"}),
    "lstm-gaussian": partial(deep, {"kind": "lstm"}, head="gaussian"),
    "gru-point": partial(deep, {"kind": "gru"}, layers=3, head="point"),
    "gru-classifier": partial(classifier, {"kind": "gru"}),
    "gru-adaptive": partial(adaptive, {"kind": "gru"}),
    "hybrid": hybrid,
    "cnn-gru": partial(convolved, {"kind": "gru"}),
    "rnn-attention": partial(attended, {"kind": "rnn"}),
    "lstm-attention": partial(attended, {"kind": "lstm"}, front="features"),
    "lstm-transformer": cascade,
    "seq2seq": sequence_to_sequence,
    "two-stream-cross": crossed,
    "segrnn": segrnn,
    "gru-window": partial(windowed, {"kind": "gru"}),
    "birnn": partial(bidirectional, "rnn"),
    "bigru": partial(bidirectional, "gru"),
    "bilstm": partial(bidirectional, "lstm"),
    "transformer": transformer,
    "da-rnn": da_rnn,
}


def _layers(cell: Spec, hidden: int | None, layers: int) -> list[Spec]:
    within("layers", layers, 1, 64)
    return [cell if hidden is None else {**cell, "hidden": hidden}] * layers
