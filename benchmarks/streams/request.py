"""What the streams benchmark asks of a forecaster, and what it gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.streams.scores import Answers
from streamcast.offline.training.options import Options

Say = Callable[[str], None]
"""Receives a line of progress."""


class UnavailableError(Exception):
    """A forecaster that cannot run here; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to forecast, and with what."""

    data: Path
    every: int
    options: Options
    gbm: Path
    gbm_results: Path | None
    classical_cutoffs: int
    say: Say = lambda _line: None


@dataclass(frozen=True, slots=True)
class Found:
    """The forecasts that are scored, and costs; ``dense`` are the forecasts from every bar of the test part.

    ``us_per_record`` is what a streamed record costs; of a forecaster that is fitted at every cutoff, what that costs.
    """

    answers: Answers
    dense: Answers | None = None
    train_seconds: float | None = None
    us_per_record: float | None = None
    state_bytes: int | None = None
    notes: dict[str, Any] = field(default_factory=dict)
