"""The engine: observations in, forecasts out, and nothing else.

A pure function of (state, records): no clock, no I/O, no random numbers.  Its result equals that of applying the
records of each partition one at a time in offset order; waves and tiles only compute the same bytes faster.

Legend: N observations, K steps, A answers, M scores, h horizon, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamcast.consumers.transport import Partition
from streamcast.engine.effect import Effect, effect_fields
from streamcast.engine.inference import Inference
from streamcast.engine.layout import Field, StateLayout
from streamcast.engine.online import Layer, layer_fields
from streamcast.engine.slab import FIRST_SLOTS, Slab
from streamcast.engine.transform import TargetScale
from streamcast.engine.window import step_buffers, window_layout, window_plan
from streamcast.errors import Option
from streamcast.kernels import scoring
from streamcast.kernels.advance import Counts, Steps, advance, mark_days_off
from streamcast.kernels.outcomes import NOT_FINITE
from streamcast.models.network import Network, NoNetwork
from streamcast.models.spec import SpecError
from streamcast.spec.model_spec import ModelSpec
from streamcast.topics.forecasts import Forecasts
from streamcast.topics.observations import Observations

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

MOST_FIRST_BYTES = 1 << 30
"""Limit on the memory of a new slab."""
MOSTLY_GAPS = 8
"""Steps of an answer from which on what they overwrote is condensed: a step overwrites some 800 bytes."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Forecasts of bars that are now observed: made at ``cutoffs`` [M] by series that were ``warm`` [M] or not.

    ``ahead`` [M] is in steps; ``outcomes`` [M, 4] have the columns that a quality is made of (``streamcast.quality``).
    """

    ahead: Ints
    cutoffs: Ints
    warm: npt.NDArray[np.bool_]
    outcomes: Floats


@dataclass(frozen=True, slots=True)
class Result:
    """The result of N observations: forecasts, an outcome code each [N], scores, and counts of rarer events."""

    forecasts: Forecasts
    outcomes: npt.NDArray[np.uint8]
    scores: Scores
    slots: Ints
    gaps: int
    restarts: int
    evictions: int


def _no_lap(_stage: str) -> None:
    """Time nothing."""


class Engine:
    """Applies records to the state of every series of one lane."""

    def __init__(self, spec: ModelSpec, network: Network, max_series: int = 1_000_000) -> None:
        self.spec = spec
        self._plan = window_plan(spec)
        self.slab = Slab(layout(spec, network), max_series)
        self._steps = step_buffers(spec)
        self._grid = spec.series.grid
        self._inference = None if isinstance(network, NoNetwork) else Inference(spec, network, self.slab)
        self._layer = Layer(spec, spec.online, self.slab) if spec.online else None
        self._effect = Effect(spec, spec.online, self.slab) if spec.online and spec.effects else None
        self._levels = np.array(spec.quantiles)
        self._scale = TargetScale(spec)

    def stage(
        self, observations: Observations, lap: Callable[[str], None] = _no_lap,
        reset: Collection[tuple[Partition, str]] = (),
    ) -> Result:  # fmt: skip
        """Advance every series by its records and answer them; ``promote`` or ``discard`` must follow.

        Series of ``reset`` lose their state first.  ``lap`` is called with the name of each part of the work when it
        ends; it serves telemetry and cannot change the result.
        """
        ahead = known_ahead(self.spec, observations)
        slots = self.slab.locate(observations, reset)
        times = self._grid.to_grid(observations.times)
        lap("window")
        outcomes = np.empty(len(observations), np.uint8)
        steps = self._steps._replace(outcome=outcomes)
        counts = Counts.zeros(len(self.spec.scales))
        chunks: list[tuple[Forecasts, Scores]] = []
        gaps = restarts = start = 0
        while start < len(observations):
            start = advance(
                self._plan, self.slab.rows, steps, slots, times, observations.offsets,
                observations.values, ahead, start, counts,
            )  # fmt: skip
            gaps += int(counts.gaps[0])
            restarts += int(counts.restarts[0])
            self._note_windows(steps, counts)
            lap("features")
            chunks.append(self._chunk(steps, counts, outcomes, lap))
            if counts.steps[0] > MOSTLY_GAPS * counts.answers[0]:
                self.slab.condense()
        forecasts = _joined([f for f, _ in chunks], self.spec)
        return Result(forecasts, outcomes, _scores(chunks), slots, gaps, restarts, self.slab.evictions)

    def promote(self) -> None:
        """Keep the staged changes: the poll is committed."""
        self.slab.promote()

    def discard(self, partitions: Collection[Partition] | None = None) -> None:
        """Undo the staged changes, of all partitions or of these."""
        self.slab.discard(partitions)

    def hidden_norm(self, result: Result, most: int = 64) -> float:
        """Return the mean Euclidean norm of the base scale's hidden states, over some series of a result."""
        slots = result.slots[:most]
        rows = [
            array[slots].reshape(len(slots), int(np.prod(array.shape[1:]))).astype(np.float64)
            for name, array in self.slab.arrays.items()
            if name.startswith("hidden.0.")
        ]
        return float(np.sqrt((np.concatenate(rows, 1) ** 2).sum(1)).mean()) if rows and len(slots) else 0.0

    # -- one chunk of steps --------------------------------------------------------------------------

    def _note_windows(self, steps: Steps, counts: Counts) -> None:
        """Record the ring cells that the window kernel overwrote."""
        k = int(counts.steps[0])
        ring = self.slab.rows.ring.shape[2]
        self.slab.overwrote("ring", steps.slot[:k], steps.order[:k] % ring, steps.ring_before[:k])
        self.slab.overwrote("absent", steps.slot[:k], steps.order[:k] % ring, steps.absent_before[:k])
        base = 0
        for s, scale in enumerate(self.spec.scales):
            n = int(counts.steps[1 + s])
            positions = base + steps.coarse_order[s, :n] % scale.window
            self.slab.overwrote("coarse_ring", steps.coarse_slot[s, :n], positions, steps.coarse_before[s, :n])
            base += scale.window

    def _chunk(
        self, steps: Steps, counts: Counts, outcomes: npt.NDArray[np.uint8], lap: Callable[[str], None]
    ) -> tuple[Forecasts, Scores]:
        """Answer and score the steps of one chunk; writes the outcome of answers that are not finite."""
        k, answers = int(counts.steps[0]), int(counts.answers[0])
        forecast, finite = self._network_forecast(steps, counts, answers)
        lap("inference")
        answer = steps.answer[:k]
        if self._layer is not None:
            finite = self._learn_and_answer(self._layer, steps, k, forecast)
        at = steps.answer_step[:answers]
        forecast = self._scale.forecasts(forecast, steps.observed[at])
        records = steps.record[at]
        if not finite.all():
            outcomes[records[~finite]] = NOT_FINITE
            answer[at[~finite]] = -1
        anomaly, scores = self._score(steps, k, answer, forecast)
        lap("calibrate")
        cutoffs = self._grid.from_grid(steps.label[at])
        forecasts = Forecasts(records, cutoffs, forecast, steps.warm[:answers].copy(), anomaly)
        if not finite.all():
            forecasts = Forecasts(*(getattr(forecasts, name)[finite] for name in Forecasts.__slots__))
        return forecasts, scores

    def _learn_and_answer(self, layer: Layer, steps: Steps, k: int, forecast: Floats) -> Flags:
        """Replace the network's forecasts [A, h, Q] by those of the online layer, with the effect of known inputs."""
        answers, slots, orders, answer = len(forecast), steps.slot[:k], steps.order[:k], steps.answer[:k]
        off_step, off = self._days_off(steps, k, answers)
        observed = self._scale.forward(steps.observed[:k])
        if self._effect is None:
            nothing = np.empty((0, 0))
            return layer.apply(slots, orders, observed, answer, forecast, off_step, off, nothing)
        observed = observed.copy()
        ahead = steps.inputs_ahead[:answers]
        effect, moved = self._effect.apply(slots, orders, steps.inputs[:k], observed, answer, ahead)
        forecast -= effect[:, :, None]
        finite = layer.apply(slots, orders, observed, answer, forecast, off_step, off, moved)
        forecast += effect[:, :, None]
        np.maximum(forecast, self._scale.lower, out=forecast)
        np.minimum(forecast, self._scale.upper, out=forecast)
        return finite

    def _days_off(self, steps: Steps, k: int, answers: int) -> tuple[Flags, Flags]:
        """Return two masks: which of K steps are days off [K, 1], and which of the bars 0 to H of A answers [A, H + 1].

        Both are empty where days off do not matter to the layer.
        """
        if self.spec.online is None or not self.spec.online.network_on_days_off:
            return np.empty(0, np.bool_), np.empty((0, 0), np.bool_)
        calendar, freq = self._plan.calendar, self._plan.freq
        off_step, off = np.empty((k, 1), np.bool_), np.empty((answers, 1 + self.spec.horizon), np.bool_)
        mark_days_off(calendar, steps.label[:k], freq, off_step)
        mark_days_off(calendar, steps.label[steps.answer_step[:answers]], freq, off)
        return off_step.ravel(), off

    def _network_forecast(self, steps: Steps, counts: Counts, answers: int) -> tuple[Floats, Flags]:
        """Return the network's forecasts of A answers, [A, h, Q], and which are finite; NaN without a network."""
        if self._inference is None:
            nothing = np.full((answers, self.spec.horizon, len(self._levels)), np.nan)
            return nothing, np.zeros(answers, np.bool_)
        normalised = self._inference.read(self._inference.step(steps, counts), steps, answers)
        forecast, finite = np.empty(normalised.shape), np.empty(answers, np.bool_)
        last, unit = steps.last[:answers], steps.scale[:answers]
        lower, upper = self._scale.lower, self._scale.upper
        scoring.scale_back(normalised, last, unit, lower, upper, forecast, finite)
        return forecast, finite

    def _score(self, steps: Steps, k: int, answer: Ints, forecast: Floats) -> tuple[Floats, Scores]:
        """Score the pending forecasts of K steps; return the anomaly of each answer and the scores."""
        ahead = self._plan.scored
        slab, arrays = self.slab, self.slab.arrays
        scores = np.empty((k, len(ahead), 4))
        before = np.empty((k, len(ahead), len(self._levels)))
        anomaly = np.full(len(forecast), np.nan)
        slots, orders = steps.slot[:k], steps.order[:k]
        naive = self._scale.inverse(steps.naive[:k], steps.observed[:k])
        scoring.score(
            arrays["awaiting"], arrays["residual"], slots, orders, steps.observed[:k], naive,
            answer, forecast, ahead, self._levels, self.spec.median, scores, before, anomaly,
        )  # fmt: skip
        base = 0
        for j, step in enumerate(ahead.tolist()):
            slab.overwrote("awaiting", slots, base + orders % step, before[:, j])
            base += step
        due = ~np.isnan(scores[:, :, scoring.ERROR])
        cutoffs = self._grid.from_grid(steps.label[:k, None] - ahead * self.spec.series.freq)
        warm = orders[:, None] - ahead + 1 >= self.spec.warm_up
        return anomaly, Scores(np.broadcast_to(ahead, due.shape)[due], cutoffs[due], warm[due], scores[due])


def known_ahead(spec: ModelSpec, observations: Observations) -> Floats:
    """Return the known inputs that N observations bring, [N, I, H]: NaN where they bring none.

    Raises ValueError for another shape, because the kernel does not check bounds.
    """
    known = len(spec.known_columns)
    shape = (len(observations), known, spec.horizon if known else 0)
    if observations.ahead is None:
        return np.full(shape, np.nan)
    if known and observations.ahead.shape != shape:
        raise ValueError(f"observations bring known inputs of shape {observations.ahead.shape}: expected {shape}")
    return observations.ahead


def _residual(spec: ModelSpec) -> int:
    """Return how many numbers the anomaly keeps of a series."""
    if spec.counts_runs:
        return scoring.WITH_RUNS
    return scoring.RESIDUAL if spec.learns_tails else scoring.NORMAL


def layout(spec: ModelSpec, network: Network) -> StateLayout:
    """Return the layout of one series' state: windows, pending forecasts, hidden states, past outputs.

    Raises SpecError when a new slab would need more than ``MOST_FIRST_BYTES``.
    """
    scored, quantiles = spec.scored_steps, len(spec.quantiles)
    fields = {
        **window_layout(spec).fields,
        # Pending forecasts as they were answered; the layer learns from "online.pending".  Snapshots hold both names.
        "awaiting": Field((sum(scored), quantiles), np.float64, 0, tuple((step, 0) for step in scored)),
        "residual": Field((_residual(spec),), np.float64, scale=0),
    }
    if spec.online is not None:
        fields |= layer_fields(spec, spec.online) | effect_fields(spec, spec.online)
    for scale in () if isinstance(network, NoNetwork) else range(1 + len(spec.scales)):
        for name, tensor in network.initial_state(scale, 1).items():
            fields[f"hidden.{scale}.{name}"] = Field(tuple(tensor.shape[1:]), tensor.numpy().dtype.type, scale=scale)
        remembered, width = network.memory[scale], network.outputs[scale]
        if scale > 0 or remembered > 1:
            fields[f"past.{scale}"] = Field((remembered, width), np.float32, 0, ((remembered, scale),))
    found = StateLayout(fields)
    if FIRST_SLOTS * found.row_bytes > MOST_FIRST_BYTES:
        raise SpecError(
            f"the spec needs {found.row_bytes:,} bytes a series ({found.arithmetic()}, …);"
            f" the first {FIRST_SLOTS} series alone would take {FIRST_SLOTS * found.row_bytes / 2**30:.1f} GiB,"
            f" of at most {MOST_FIRST_BYTES / 2**30:.0f}: choose fewer columns, fewer ",
            Option.LAGS,
            ", a shorter ",
            Option.SEASON,
            ", or coarser bars for distant ones (",
            Option.SCALES,
            ")",
        )
    return found


def _joined(forecasts: list[Forecasts], spec: ModelSpec) -> Forecasts:
    if not forecasts:
        ints = np.empty(0, np.int64)
        values = np.empty((0, spec.horizon, len(spec.quantiles)))
        return Forecasts(ints, ints, values, np.empty(0, np.bool_), np.empty(0))
    if len(forecasts) == 1:
        return forecasts[0]
    return Forecasts(*(np.concatenate([getattr(f, name) for f in forecasts]) for name in Forecasts.__slots__))


def _scores(chunks: list[tuple[Forecasts, Scores]]) -> Scores:
    if not chunks:
        ints = np.empty(0, np.int64)
        return Scores(ints, ints, np.empty(0, np.bool_), np.empty((0, 4)))
    names = Scores.__slots__
    return Scores(*(np.concatenate([getattr(scores, name) for _, scores in chunks]) for name in names))
