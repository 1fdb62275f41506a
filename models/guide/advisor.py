"""Which architecture for which task: three profiles, what each of them says, and which one decides.

The profiles are rules of thumb and disagree with each other, so the answer shows all of them, and what our own
benchmarks found where they tried the rule (docs/claims.md).  By them, a length alone is no reason to leave the
default.  A backtest on your data decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from streamcast.models.spec import Spec, within

Resources = Literal["any", "free", "memory", "compute", "mobile"]
Task = Literal["forecast", "generation", "classification", "sources"]

DEFAULT: Spec = {"kind": "gru"}


@dataclass(frozen=True)
class Opinion:
    """What one profile says, and why."""

    profile: str
    spec: Spec | None
    """None where the profile leaves the choice of a network to the others."""
    compression: Sequence[str]
    """What to do with the trained network: "prune", "int8"."""
    why: str
    measured: str
    """What our benchmark of this rule found (docs/claims.md), also where it disagrees; empty where there is none."""


@dataclass(frozen=True)
class Advice:
    """A network, what to do with it once it is trained, and what led there."""

    spec: Spec
    compression: Sequence[str]
    opinions: Sequence[Opinion]
    why: str


def advise(steps: int, resources: Resources = "any", task: Task = "forecast") -> Advice:
    """Return a network for forecasts that must look ``steps`` bars back.

    A special task decides first, because it defines the answer; then the resources, because they are limits; then,
    where they say something but name no network, the length.  Without any of them it is the default.  Only the
    resources ask for compression.  Raises SpecError when ``steps`` is not from 1 to a million.
    """
    within("steps", steps, 1, 1_000_000)
    opinions = [_of_task(task), _of_resources(resources), _of_length(steps)]
    if (resources, task) == ("any", "forecast"):
        return Advice(
            DEFAULT, [], opinions, "The default: by what was measured, a length alone is no reason to leave it."
        )
    spec, profile = next((opinion.spec, opinion.profile) for opinion in opinions if opinion.spec is not None)
    compression = [part for opinion in opinions for part in opinion.compression]
    others = [o.profile for o in opinions if o.spec is not None and o.profile != profile]
    decides = "decide" if profile == "resources" else "decides"
    why = f"The {profile} {decides}" + (f", before the {' and the '.join(others)}." if others else ".")
    return Advice(spec, compression, opinions, why)


def _of_length(steps: int) -> Opinion:
    if steps < 50:
        return _length(
            {"kind": "gru"}, f"Few bars ({steps}): a GRU keeps them with a quarter fewer weights than an LSTM"
        )
    if steps <= 200:
        return _length(
            {"kind": "deep-lstm"}, f"{steps} bars are within an LSTM's reach: three layers, its gradient still steady"
        )
    return _length({"kind": "lstm-residual"}, f"{steps} bars are many: a deep LSTM, shortcuts for its gradient")


def _length(spec: Spec, why: str) -> Opinion:
    return Opinion("length", spec, [], f"{why}.", _LENGTH_MEASURED)


def _of_resources(resources: Resources) -> Opinion:
    spec, compression, why = _BY_RESOURCES[resources]
    return Opinion("resources", spec, compression, why, _RESOURCES_MEASURED.get(resources, ""))


def _of_task(task: Task) -> Opinion:
    spec, why = _BY_TASK[task]
    return Opinion("task", spec, [], why, "")


_HYBRID: Spec = {
    "kind": "network",
    "stack": [{"kind": "lstm", "hidden": 256}, {"kind": "lstm", "hidden": 256}, {"kind": "gru", "hidden": 128}],
    "dropout": 0.2,
    "attention": {"kind": "ring", "length": 96},
}
_BY_RESOURCES: dict[Resources, tuple[Spec | None, Sequence[str], str]] = {
    "any": (None, [], "No limit on resources was given."),
    "free": (_HYBRID, [], "Resources do not matter: LSTMs below a GRU, with attention."),
    "memory": (
        {"kind": "gru"},
        ["int8"],
        "Memory is short: the state of a GRU is half that of an LSTM, and int8 weights take a quarter of float32.",
    ),
    "compute": (
        {"kind": "lstm-separable"},
        [],
        "Compute is scarce: block-diagonal weights save most of an LSTM's products.",
    ),
    "mobile": (None, ["prune"], "A mobile target: train at full width, then remove the weakest channels."),
}
_BY_TASK: dict[Task, tuple[Spec | None, str]] = {
    "forecast": (None, "A forecast needs no special architecture."),
    "generation": (
        {"kind": "lstm-attention"},
        "Generated steps depend on details of the past: attention over it.",
    ),
    "classification": (
        {"kind": "gru-classifier"},
        "A class describes the whole window: softmax over the mean of a GRU's outputs.",
    ),
    "sources": (
        {"kind": "two-stream-cross"},
        "Several sources: one stream each, attending to each other's past.",
    ),
}
_LENGTH_MEASURED = "On the adding problem a GRU learned within 500 updates at 10, 50 and 150 steps, an LSTM only at 10."
_RESOURCES_MEASURED: dict[Resources, str] = {
    "memory": "A GRU has exactly 25 % fewer weights than an LSTM; int8 kept the F1 score of the heart-rate detector.",
    "mobile": (
        "Pruning to 40 % of the weights lost accuracy; after 5 more epochs the model beat one trained that small,"
        " yet stayed behind the whole one."
    ),
}
