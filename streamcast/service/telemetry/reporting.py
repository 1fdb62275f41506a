"""From a committed poll to metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from streamcast.kernels.outcomes import ANSWERED, NAMES, NOT_FINITE
from streamcast.quality import outcomes_of, unseen
from streamcast.service.lanes import Lane, Poll
from streamcast.service.telemetry.drift import Drift
from streamcast.service.telemetry.telemetry import Telemetry
from streamcast.spec.model_spec import ModelSpec
from streamcast.topics.ahead import ahead_of
from streamcast.topics.observations import Observations

NORM_SECONDS = 1.0
"""How often the norm of the hidden states is computed."""


def counted_columns(champion: ModelSpec, lanes: Iterable[ModelSpec]) -> dict[str, list[str]]:
    """Return by counter of columns, those that it may count: as the champion's spec and the known inputs name them."""
    columns = champion.series.columns
    return {
        "unknown_categories": [column.name for column in columns if column.categories is not None],
        "missing_inputs": [column.name for column in columns[1:]],
        "missing_ahead": [columns[place].name for place in ahead_of(lanes).columns],
    }


class Reporter:
    """Reports committed polls to telemetry; records are counted by the champion's outcome.

    ``clock`` gives epoch seconds, ``timer`` seconds that never step.
    """

    def __init__(
        self, telemetry: Telemetry, lanes: Sequence[Lane], champion: Lane, clock: Callable[[], float],
        timer: Callable[[], float],
    ) -> None:  # fmt: skip
        self._telemetry, self._lanes, self._champion = telemetry, lanes, champion
        self._clock, self._timer = clock, timer
        self._drifts = {lane.name: Drift() for lane in lanes}
        columns = counted_columns(champion.model.spec, [lane.model.spec for lane in lanes])
        self._inputs, self._known = columns["missing_inputs"], columns["missing_ahead"]
        self._norm, self._normed = 0.0, -np.inf

    def committed(self, poll: Poll) -> None:
        """Report what a poll did, after its commit."""
        self._records(poll)
        self._progress(poll)
        for lane in self._lanes:
            if lane.name in poll.results:
                self._lane(lane, poll)
        self._state(poll)

    def _records(self, poll: Poll) -> None:
        outcomes = poll.results[self._champion.name].outcomes
        counts = np.bincount(outcomes, minlength=len(NAMES)).tolist()
        live = (outcomes == ANSWERED) & ~self._waited(poll)
        self._telemetry.batch(
            self._timer() - poll.began,
            self._clock() - poll.observations.times[live] / 1000.0,
            {name: counts[code] for code, name in enumerate(NAMES) if code != NOT_FINITE},
        )
        self._telemetry.unknown_categories(poll.observations.unknown)
        self._telemetry.foreign_keys(poll.observations.foreign_keys)
        self._missing(poll.observations)
        spec, targets = self._champion.model.spec, poll.observations.values[:, 0]
        below = 0 if spec.lower is None else int((targets < spec.lower).sum())
        above = 0 if spec.upper is None else int((targets > spec.upper).sum())
        self._telemetry.beyond_bounds(below, above)
        if spec.lower is None and spec.transform is not None:
            self._telemetry.below_zero(int((targets < 0.0).sum()))
        reasons = Counter(letter.reason for letter in poll.rejected if letter.lane in ("", self._champion.name))
        self._telemetry.replayed(poll.replayed)
        for reason, count in reasons.items():
            self._telemetry.dead_letter(reason, count)

    def _missing(self, observations: Observations) -> None:
        """Report how many records lack an input, or what is known ahead of the next bar."""
        without_I = np.isnan(observations.values[:, 1:]).sum(axis=0).tolist()
        self._telemetry.missing_inputs(dict(zip(self._inputs, without_I, strict=True)))
        if observations.ahead is None:
            unsaid_I = [len(observations)] * len(self._known)
        else:
            unsaid_I = np.isnan(observations.ahead[:, :, 0]).sum(axis=0).tolist()
        self._telemetry.missing_ahead(dict(zip(self._known, unsaid_I, strict=True)))

    def _waited(self, poll: Poll) -> NDArray[np.bool_]:
        """Return which records were in their partition before it was taken over; report how far its backlog is."""
        waited = np.zeros(len(poll.observations), np.bool_)
        for partition, start, stop in poll.observations.runs:
            waited[start:stop] = poll.observations.offsets[start:stop] < poll.ends[partition]
            self._telemetry.answered(partition, poll.after[partition], int(waited[start:stop].sum()))
        return waited

    def _progress(self, poll: Poll) -> None:
        for partition, start, stop in poll.observations.runs:
            if stop > start:
                newest = poll.observations.timestamps[start:stop].max() / 1000.0
                self._telemetry.progress(partition, newest, poll.observations.times[start:stop].max() / 1000.0)

    def _lane(self, lane: Lane, poll: Poll) -> None:
        result, telemetry = poll.results[lane.name], self._telemetry
        scores = result.scores
        error, naive, pinball, covered = outcomes_of(scores.outcomes, lane.model.spec.nominal).T
        warm, nearest = scores.warm, scores.ahead == lane.model.spec.scored_steps[0]
        telemetry.scores(lane.name, scores.ahead[warm], error[warm], naive[warm], pinball[warm], covered[warm])
        new = unseen(lane.model.spec.series.grid.bar(scores.cutoffs), lane.model.last_trained_bar)
        telemetry.trained_outcomes(lane.name, int((warm & ~new).sum()))
        telemetry.drift(lane.name, self._drifts[lane.name].observe(error[nearest]))
        telemetry.anomalies(lane.name, int((result.forecasts.anomaly >= lane.model.spec.anomalous).sum()))
        telemetry.not_finite(lane.name, int((result.outcomes == NOT_FINITE).sum()))
        if not lane.shadow:
            telemetry.forecasts(lane.name, len(result.forecasts))

    def _state(self, poll: Poll) -> None:
        now, result, engine = self._timer(), poll.results[self._champion.name], self._champion.engine
        if now - self._normed >= NORM_SECONDS:
            self._normed, self._norm = now, engine.hidden_norm(result)
        self._telemetry.gaps_filled(result.gaps)
        self._telemetry.restarted(result.restarts)
        self._telemetry.evicted(result.evictions)
        self._telemetry.state(len(engine.slab), sum(lane.engine.slab.nbytes for lane in self._lanes), self._norm)
