"""The options of a training run: what each means, and the limits of its numbers."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import wraps
from typing import Any, Literal, get_type_hints

import numpy as np

from streamcast.errors import Option
from streamcast.models.spec import SpecError, bound, fits, in_words

LIMITS: Mapping[Option, tuple[float, float]] = {
    Option.EPOCHS: (0, 1_000_000), Option.UPDATES: (0, 1_000_000), Option.PATIENCE: (1, 1_000_000),
    Option.MAX_SECONDS: (0, 1e9), Option.VALIDATION: (0.001, 0.99), Option.ROWS: (1, 4096), Option.CHUNK: (1, 4096),
    Option.BURN_IN: (0, 65_536), Option.POSITIONS: (1, 65_536), Option.LEARNING_RATE: (0, 10), Option.REFIT: (0, 10),
    Option.AVERAGE: (0, 0.9999), Option.HIGHWAY_RATE: (0, 100), Option.DECAY: (0, 1), Option.DECAY_EVERY: (1, 4096),
    Option.WEIGHT_DECAY: (0, 10), Option.CLIP: (1e-6, 1e12), Option.ACCUMULATE: (1, 4096),
    Option.CELL_PENALTY: (0, 1e6), Option.PONDER_COST: (0, 1e6), Option.IMITATE: (0, 1),
    Option.LAYER_EPOCHS: (0, 1_000_000), Option.SEED: (0, 2**63 - 1),
}  # fmt: skip
"""The least and the largest value of each number among the options."""


def _named(options: type[Options]) -> type[Options]:
    """Return the class with an ``__init__`` that says which option an unknown one is most like."""
    init = options.__init__
    signature = inspect.signature(init)

    @wraps(init)
    def named(self: Options, *args: Any, **kwargs: Any) -> None:
        bound(options.__name__, signature, (self, *args), kwargs)
        init(self, *args, **kwargs)

    options.__init__ = named  # type: ignore[method-assign]
    return options


@_named
@dataclass(frozen=True, slots=True)
class Options:
    """The settings of a training run; none is part of the model."""

    epochs: int = 10
    """Most epochs; after each the network is validated."""
    updates: int = 0
    """Updates in an epoch; 0 for a share of the training part's bars / 10, from 400 to 2,000 in all epochs.

    Of a horizon beyond 24 steps they are fewer in proportion, because each update learns from as many more outcomes.
    """
    patience: int = 4
    """Epochs without a better validation loss after which training stops."""
    max_seconds: float = 0.0
    """Longest training; 0 for no limit."""
    validation: float = 0.15
    """The share of the history, at its end, that is not trained on but chooses the epoch."""
    rows: int = 24
    """Most streams side by side."""
    chunk: int = 32
    """Bars from one update to the next, and how far back gradients reach."""
    burn_in: int = 96
    """Bars that a stream steps through after a cold start before it is scored."""
    positions: int = 96
    """Forecasts that each update learns from, drawn from its chunk."""
    learning_rate: float = 3e-3
    """Adam's largest step size: it rises over the first tenth of the run, then falls to 0 along a cosine."""
    refit: float = 0.3
    """Then so many times the updates up to the best epoch on the whole history, at 0.3 of the step size; 0 for none."""
    average: float = 0.995
    """Share of the past in the running mean of the weights, which is validated and kept (Polyak & Juditsky 1992)."""
    highway_rate: float = 0.05
    """The highway's step size, relative to the others'."""
    decay: float = 1.0
    """The step size is also multiplied by this ..."""
    decay_every: int = 1
    """... after this many epochs."""
    weight_decay: float = 1e-2
    """Decoupled, on all weights but the highway's (Loshchilov and Hutter 2019)."""
    clip: float = 1.0
    """Largest norm of a gradient."""
    accumulate: int = 1
    """Chunks whose mean gradient makes an update."""
    cell_penalty: float = 0.0
    """Weight of the mean square of the cell states (of LSTM and the like), such as 1e-3."""
    ponder_cost: float = 0.0
    """Weight of the number of layers that a row climbs, where it may leave early, such as 1e-2."""
    imitate: float = 0.5
    """Weight of a teacher's forecasts, from 0 to 1; the outcomes have the rest."""
    layer_epochs: int = 0
    """Epochs in which each layer but the last is trained as the top of the stack, before all are trained together."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Type of most products in training (mixed precision); weights, validation and service are float32."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train: cpu, cuda, or auto (a GPU if there is one)."""
    seed: int = 0
    """Seed of the initial weights, the cuts of the streams, and dropout."""

    def __post_init__(self) -> None:
        """Raise SpecError for another kind of value, and for a number outside ``LIMITS``."""
        for name, kind in get_type_hints(type(self)).items():
            option, value = Option(name), getattr(self, name)
            plain = value.item() if isinstance(value, np.generic) else value
            if not fits(plain, kind):
                raise SpecError(option, f" is {value!r}: expected {in_words(kind)}{_limits(option)}")
            if option in LIMITS and not LIMITS[option][0] <= plain <= LIMITS[option][1]:
                raise SpecError(option, f" is {value!r}: expected {in_words(kind)}{_limits(option)}")

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Options:
        """Return how a model of these facts is trained again, on whichever device there is; raises SpecError.

        One that went on from another model, or imitated one, had options for that: it is trained by the default ones.
        """
        if others_of(facts):
            return cls(seed=int(facts.get("seed", 0)))
        known = {each.name for each in fields(cls)}
        kept = {name: value for name, value in facts.get("options", {}).items() if name in known}
        return cls(**{"seed": int(facts.get("seed", 0)), **kept})

    def facts(self) -> dict[str, object]:
        """Return the options that make another training than the default ones do, by name."""
        values = {option.value: getattr(self, option.value) for option in self.changed()}
        return {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in values.items()
            if name not in {Option.DEVICE.value, Option.SEED.value}
        }

    def changed(self) -> tuple[Option, ...]:
        """Return the options whose value is not the default."""
        return tuple(Option(each.name) for each in fields(self) if getattr(self, each.name) != each.default)


def others_of(facts: Mapping[str, Any]) -> list[str]:
    """Return the models that one of these facts went on from, or imitated."""
    return [facts[part] for part in ("from", "teacher") if part in facts]


def _limits(option: Option) -> str:
    """Return the limits of a number among the options in words."""
    return " from {} to {}".format(*LIMITS[option]) if option in LIMITS else ""
