"""A history as the bars that the serving code makes of it, whether its records are samples or ticks.

It is the service's own kernel on the service's own slab, so a bar here is a bar there: which records share it, when it
closes, what is late, what is missing.

Legend: K series, T bars of the panel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streamcast.engine.engine import known_ahead
from streamcast.engine.layout import StateLayout
from streamcast.engine.slab import Slab
from streamcast.engine.window import buffers, plan, window_layout
from streamcast.errors import HistoryError
from streamcast.kernels.advance import Counts, Steps, advance
from streamcast.offline.history.history import History
from streamcast.offline.history.polls import polls
from streamcast.spec.model_spec import ModelSpec, SeriesSpec, format_duration

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Chunk(NamedTuple):
    """What one call of the kernel wrote: its buffers, which the next call reuses, and how much of them is used."""

    steps: Steps
    counts: Counts
    series_of_slot: Ints  # places in the history's keys
    ring: Floats  # slots, C, W: the windows after the chunk


@dataclass(frozen=True, slots=True)
class Panel:
    """The target of every series on one grid of bars; NaN is a missing bar.  Bar 0 starts at ``start_ms``."""

    start_ms: int
    freq_ms: int
    y_KT: Floats


def walk(history: History, spec: ModelSpec, layout: StateLayout) -> Iterator[Chunk]:
    """Take a history through the window kernel, chunk by chunk; raises HistoryError for other columns."""
    slab, steps, constants = Slab(layout, len(history.keys)), buffers(spec), plan(spec)
    counts = Counts.zeros(len(spec.scales))
    number = {key: place for place, key in enumerate(history.keys)}
    for poll in polls(history, spec.series):
        slots = slab.locate(poll)
        slab.promote()
        series_of_slot = np.zeros(slab.capacity, np.int64)
        series_of_slot[slots] = [number[key] for key in poll.keys]
        steps = steps._replace(outcome=np.empty(len(poll), np.uint8))
        start = 0
        while start < len(poll):
            start = advance(
                constants,
                slab.rows,
                steps,
                slots,
                poll.times,
                poll.offsets,
                poll.values,
                known_ahead(spec, poll),
                start,
                counts,
            )
            yield Chunk(steps, counts, series_of_slot, slab.rows.ring)


def panel(history: History, series: SeriesSpec) -> Panel:
    """Return the target of every bar that closes, as the engine observes it; raises HistoryError when none does."""
    spec = ModelSpec(series=series, horizon=1, lags=0, season=1, calendar=(), network={})
    labels, values, whose = [], [], []
    for chunk in walk(history, spec, window_layout(spec)):
        used = slice(int(chunk.counts.steps[0]))
        labels.append(chunk.steps.label[used].copy())
        values.append(chunk.steps.observed[used].copy())
        whose.append(chunk.series_of_slot[chunk.steps.slot[used]])
    label = np.concatenate([*labels, np.empty(0, np.int64)])
    if not len(label):
        raise HistoryError(
            f"the history closes no bar of {format_duration(series.freq)}: give more of it, or a smaller freq or grace"
        )
    start, freq = int(label.min()), series.freq
    y_KT = np.full((len(history.keys), (int(label.max()) - start) // freq + 1), np.nan)
    y_KT[np.concatenate(whose), (label - start) // freq] = np.concatenate(values)
    return Panel(start, freq, y_KT)
