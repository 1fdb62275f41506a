"""The zoo's catalogue: descriptions from the docstrings of its parts, and costs measured on this machine.

Listing a part or a model in ``zoo.py`` is all that it takes to appear here.  A docstring's first
paragraph says what a part is, and the rest is its equations; what looks like "Elman 1990" or
"Cho 2014, arXiv 1406.1078" is its source.

Shapes: B rows, R past outputs, H width.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from time import perf_counter

import torch

from streamcast.models.build import build
from streamcast.models.cells.cell import Exact
from streamcast.models.cells.gated import OPTIONS
from streamcast.models.network import Network, Shape
from streamcast.models.readout.aligned import TargetInputs, TargetShape
from streamcast.models.spec import Spec, make
from streamcast.models.zoo import (
    ATTENTIONS,
    CELLS,
    DECODERS,
    FRONTS,
    HEADS,
    MODELS,
    SHORTCUTS,
    TARGETS,
    WINDOWS,
    Composition,
)

SHAPE = Shape(
    features=(16,), lags=96, horizon=24, quantiles=(0.1, 0.5, 0.9),
    targets=TargetShape(features=32, seasonal=11, rows=176, softmax=16),
)  # fmt: skip
"""The common shape for comparison: one scale of 16 features, lags of four days, two seasons of hours."""
ROWS = (1, 8, 256)
BYTES = 4  # of a number in service
BAR = "\\|"  # which Markdown does not take for the end of a cell
PARTS: Mapping[str, Mapping[str, Callable[..., object] | None]] = {
    "front": FRONTS,
    "cell": CELLS,
    "shortcut": SHORTCUTS,
    "attention": ATTENTIONS,
    "decoder": DECODERS,
    "target": TARGETS,
    "head": HEADS,
    "window": WINDOWS,
}
USUAL = {
    ("shortcut", "none"),
    ("attention", "none"),
    ("decoder", "direct"),
    ("target", "aligned"),
    ("head", "quantile"),
}
SOURCE = re.compile(r"(?:van den )?[A-Z]\w+(?: & [A-Z]\w+)* (?:19|20)\d\d(?:, arXiv \d+\.\d+)?")


@dataclass(frozen=True)
class Part:
    """A listed part."""

    place: str
    kind: str
    what: str
    equation: str


@dataclass(frozen=True)
class Model:
    """A listed model and its price; step costs are microseconds of a whole tile: a bar stepped and answered."""

    name: str
    made_of: str
    equation: str
    source: str
    parameters: int
    state_bytes: int
    streams: bool
    exact: str
    step_us: Mapping[str, float]
    spec: Spec


def parts() -> Iterator[Part]:
    """Yield every listed part, place by place."""
    for place, table in PARTS.items():
        for kind, builder in table.items():
            if builder is not None:
                what, equation = _described(builder)
                yield Part(place, kind, what, equation)


def measure(name: str) -> Model:
    """Return a listed model with its price on this machine, on one thread: a second or so for a large one."""
    spec: Spec = {"kind": name}
    composition = make("model", MODELS, spec)
    chosen = [(place, part) for place, part in _chosen(composition) if (place, part["kind"]) not in USUAL]
    described = [
        _described(builder) for place, part in chosen if (builder := PARTS[place][str(part["kind"])]) is not None
    ]
    options = [OPTIONS[name] for _, part in chosen for name in part if name in OPTIONS]
    with torch.random.fork_rng(devices=[]):
        network = build(spec, SHAPE).eval()
    state = sum(tensor.numel() for tensor in network.initial_state(0, 1).values())
    remembered = network.memory[0] * network.outputs[0] if network.memory[0] > 1 else 0
    return Model(
        name=name,
        made_of=_made_of(composition, chosen),
        equation=" ".join([equation or what for what, equation in described] + options),
        source=_sources([*_described(MODELS[name]), *(text for texts in described for text in texts), *options]),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        state_bytes=BYTES * (state + remembered),
        streams=network.exact is not Exact.WINDOW,
        exact=network.exact.name.lower(),
        step_us={str(rows): round(_step_us(network, rows), 1) for rows in ROWS},
        spec=spec,
    )


def listed() -> list[str]:
    """Return the names of all models."""
    return [name for name in MODELS if name != "network"]


INTRODUCTION = f"""# The model zoo

Every name is a model: a spec is `{{"kind": name, option: value, ...}}`, and `{{"kind": "network", ...}}` combines the
parts below freely. With `"members": 3` beside its options, any of them is three networks whose mean forecasts.
This page is written by `streamcast model zoo --markdown`.

All are built here for {SHAPE.features[0]} features, {SHAPE.lags} lags and {SHAPE.horizon} steps × \
{len(SHAPE.quantiles)} quantiles. State is in bytes a series, the ring of past
outputs included. The step column has the time to step one bar and answer it, for 1, 8 and 256 rows at once: the best
of many, in µs, on one thread.

A model that streams carries its state from bar to bar. Its steps equal the whole sequence: `tile` bit for bit, in
tiles of eight rows, `float64` to 1e-12 in float64. A window-only model keeps its inputs and re-reads them at every
answer.
"""


def page(models: Iterable[Model]) -> str:
    """Return the catalogue as a Markdown page."""
    rows = [
        (
            model.name,
            model.made_of,
            model.source,
            f"{model.parameters:,}",
            f"{model.state_bytes:,}",
            model.exact if model.streams else "window-only",
            " / ".join(f"{microseconds:,.0f}" for microseconds in model.step_us.values()),
            f"`{json.dumps(model.spec)}`",
        )
        for model in models
    ]
    heading = ("name", "made of", "source", "parameters", "state", "streams", "step at 1 / 8 / 256", "spec")
    sections = [INTRODUCTION, *_table(heading, rows)]
    for place, group in groupby(parts(), key=lambda part: part.place):
        sections += ["", f"## {place.capitalize()}s", ""]
        sections += _table(("kind", "what", "equation"), [(part.kind, part.what, part.equation) for part in group])
    sections += ["", "## Options of gru and lstm", "", *_table(("option", "what it changes"), OPTIONS.items())]
    return "\n".join(sections) + "\n"


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = (heading, ["---"] * len(heading), *rows)
    return [f"| {' | '.join(text.replace('``', '`').replace('|', BAR) for text in line)} |" for line in lines]


def _described(builder: Callable[..., object]) -> tuple[str, str]:
    """Return the first paragraph of a docstring, and the rest, each on one line."""
    while isinstance(builder, partial):
        builder = builder.func
    first, _, rest = (inspect.getdoc(builder) or "").partition("\n\n")
    return " ".join(first.split()), " ".join(rest.split())


def _chosen(composition: Composition) -> Iterator[tuple[str, Spec]]:
    """Yield the parts of a model in the order in which a bar passes them, leaving out what every model has."""
    if composition.front is not None:
        yield "front", composition.front
    for cell, run in groupby(composition.stack):
        layers = len(list(run))
        yield "cell", {**cell, "layers": layers} if layers > 1 else cell
    yield "shortcut", {"kind": composition.shortcut}
    yield "attention", composition.attention
    yield "decoder", composition.decoder
    yield "head", composition.head
    if composition.window is not None:
        yield "window", composition.window


def _made_of(composition: Composition, chosen: list[tuple[str, Spec]]) -> str:
    chain = []
    for place, spec in chosen:
        options = ", ".join(f"{name} {value}" for name, value in spec.items() if name != "kind")
        chain.append(f"{spec['kind']} {place}" + (f" ({options})" if options else ""))
    if composition.exit:
        chain.append(f"early exit (epsilon {composition.exit})")
    return " → ".join(chain) + (" + highway" if composition.highway else "")


def _sources(texts: list[str]) -> str:
    """Return whom some texts cite, each once, by its fullest citation."""
    cited = dict.fromkeys(source for text in texts for source in SOURCE.findall(text))
    return "; ".join(source for source in cited if not any(other.startswith(f"{source},") for other in cited))


def _step_us(network: Network, rows: int, budget_seconds: float = 0.1) -> float:
    """Return the best time of stepping some rows by one bar and answering them, in microseconds."""
    x_BF, dt_B = torch.ones(rows, SHAPE.features[0]), torch.ones(rows)
    state = network.initial_state(0, rows)
    memories = [torch.ones(rows, network.memory[0], network.outputs[0])]
    filled, lags_BL = [torch.full((rows,), network.memory[0])], torch.zeros(rows, SHAPE.lags)
    codes_BhC = torch.zeros(rows, SHAPE.horizon, 3, dtype=torch.int64)
    targets = TargetInputs(torch.zeros(rows, SHAPE.horizon, 32), codes_BhC, torch.zeros(rows))
    times: list[float] = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        while len(times) < 5 or (sum(times) < budget_seconds and len(times) < 1000):
            start = perf_counter()
            network.step(0, x_BF, state, dt_B)
            network.read(memories, filled, lags_BL, targets)
            times.append(perf_counter() - start)
    torch.set_num_threads(threads)
    return min(times) * 1e6
