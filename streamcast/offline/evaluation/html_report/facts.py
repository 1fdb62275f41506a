"""What the report is about, and how its words and numbers are written."""

from __future__ import annotations

import math
from dataclasses import dataclass

from streamcast.offline.evaluation.baselines import LAST_VALUE
from streamcast.spec.model_spec import ModelSpec
from streamcast.wording import naive_name


@dataclass(frozen=True, slots=True)
class Facts:
    """What the report is about: the model's name and spec, the file, the scored part (epoch ms), and its time zone."""

    model: str
    data: str
    spec: ModelSpec
    from_ms: int
    until_ms: int
    zone: str = "UTC"

    @property
    def nominal(self) -> float:
        """The share of outcomes that the interval promises to hold."""
        return self.spec.nominal

    @property
    def naive(self) -> str:
        """What seasonal naive repeats."""
        return naive_name(self.spec.naive_season, self.spec.series.freq)


def named(reference: str) -> str:
    """Return the reference as a sentence has it."""
    return f"the {reference}" if reference == LAST_VALUE else reference


def text(value: float, form: str) -> str:
    """Return a number as the report has it; a dash where it is not finite."""
    return format(value, form) if math.isfinite(value) else "–"
