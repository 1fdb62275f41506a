"""What a verification finds, and what it must be given."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from streamcast.engine.engine import Scores
from streamcast.kernels.outcomes import ABSORBED, DUPLICATE, LATE, NAMES
from streamcast.quality import SumsByStep, outcomes_of, unseen
from streamcast.spec.folders import Model


@dataclass(slots=True)
class Report:
    """How much was compared, what is wrong, and what can no longer be computed."""

    records: int = 0
    forecasts: int = 0
    dead_letters: int = 0
    dropped: dict[str, int] = field(default_factory=dict, compare=False)
    """Records without an answer, by their outcome in the first lane: late, of an answered bar, or of an open one."""
    violations: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    quality: dict[str, SumsByStep] = field(default_factory=dict, compare=False)
    """How good the computed forecasts are, by lane."""
    unseen: dict[str, SumsByStep] = field(default_factory=dict, compare=False)
    """The same of those that are of unseen data: none of their outcomes was trained on."""
    unseen_cutoffs: dict[str, tuple[int, int]] = field(default_factory=dict, compare=False)
    """The oldest and the newest bar at which these were made (epoch ms)."""
    split: dict[str, list[int]] = field(default_factory=dict, compare=False)
    """The keys with records in more than one partition, and these; each partition has a state of its own."""

    @property
    def proven(self) -> bool:
        """Whether everything was compared and nothing is wrong."""
        return not self.violations and not self.unknown

    def count_dropped(self, outcomes: npt.NDArray[np.uint8]) -> None:
        """Count the records [N] without an answer, by their outcome."""
        counts = np.bincount(outcomes, minlength=len(NAMES)).tolist()
        for code in (ABSORBED, LATE, DUPLICATE):
            self.dropped[NAMES[code]] = self.dropped.get(NAMES[code], 0) + counts[code]

    def count_quality(self, lane: str, model: Model, scores: Scores) -> None:
        """Count the outcomes of a lane's computed forecasts, those of unseen data once more by themselves."""
        outcomes_MC = outcomes_of(scores.outcomes, model.spec.nominal)
        new_M = scores.warm & unseen(model.spec.series.grid.bar(scores.cutoffs), model.last_trained_bar)
        for sums, chosen_M in ((self.quality, scores.warm), (self.unseen, new_M)):
            sums.setdefault(lane, SumsByStep()).add(scores.ahead[chosen_M], outcomes_MC[chosen_M])
        if new_M.any():
            oldest, newest = int(scores.cutoffs[new_M].min()), int(scores.cutoffs[new_M].max())
            before = self.unseen_cutoffs.get(lane, (oldest, newest))
            self.unseen_cutoffs[lane] = (min(before[0], oldest), max(before[1], newest))


@dataclass(frozen=True, slots=True)
class Expectations:
    """What a verifier needs and no topic holds.

    ``versions`` are those of the model folder (``name@version``), by digest: the journal has digests only, and versions
    with equal digests are one model.  ``shadows`` are lanes that publish nothing, where the journal does not say so.
    """

    exactly_once: bool = True
    shadows: Sequence[str] = ()
    versions: Mapping[str, Collection[str]] = field(default_factory=dict)
