"""A history as the bars that the service makes of it, from samples or from ticks.

There are two ways to the bars, and both give the same ones (tests/streamcast/offline/test_bars.py):

- ``panel`` returns the target alone, on a grid.  A sample is a whole bar, so the grid is read off the rows; ticks
  become bars in the window kernel.
- ``walk`` runs the window kernel on a slab, as the service does, and yields everything it writes.

Legend: N rows, K series, T bars of the panel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streamcast.engine.engine import known_ahead
from streamcast.engine.slab import Slab
from streamcast.engine.window import step_buffers, window_layout, window_plan
from streamcast.errors import HistoryError
from streamcast.kernels.advance import Counts, Steps, advance
from streamcast.offline.history.polls import columns, polls
from streamcast.offline.history.read import History
from streamcast.spec.model_spec import ModelSpec, SeriesSpec

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class KernelCall(NamedTuple):
    """The output of one call of the window kernel: its buffers, which the next call reuses, and how full they are.

    Labels are in the grid's time (see ``Grid``).
    """

    steps: Steps
    counts: Counts
    series_of_slot: Ints  # places in the history's keys
    ring: Floats  # slots, C, W: the windows after the call
    read: int  # rows of the history that were read so far


@dataclass(frozen=True, slots=True)
class Panel:
    """The target of every series on one grid of bars; NaN is a missing bar.  Bar 0 starts at ``start_ms``."""

    start_ms: int
    freq_ms: int
    y_KT: Floats


def walk(history: History, spec: ModelSpec) -> Iterator[KernelCall]:
    """Run the window kernel over a history; raises HistoryError when its columns are not the spec's."""
    slab, steps, constants = Slab(window_layout(spec), len(history.keys)), step_buffers(spec), window_plan(spec)
    counts = Counts.zeros(len(spec.scales))
    number = {key: place for place, key in enumerate(history.keys)}
    for poll in polls(history, spec):
        slots = slab.locate(poll)
        slab.promote()
        series_of_slot = np.zeros(slab.capacity, np.int64)
        series_of_slot[slots] = [number[key] for key in poll.keys]
        steps = steps._replace(outcome=np.empty(len(poll), np.uint8))
        times, ahead, start = spec.series.grid.to_grid(poll.times), known_ahead(spec, poll), 0
        while start < len(poll):
            start = advance(constants, slab.rows, steps, slots, times, poll.offsets, poll.values, ahead, start, counts)
            yield KernelCall(steps, counts, series_of_slot, slab.rows.ring, int(poll.offsets[start - 1]) + 1)


def panel(history: History, series: SeriesSpec) -> Panel:
    """Return the target of every bar that closes, as the engine observes it.

    Raises HistoryError when the columns are not those of ``series`` or no bar closes.
    """
    whose_N, bar_N, value_N = _samples(history, series) if series.mode == "sample" else _closed(history, series)
    if not len(bar_N):
        raise HistoryError(f"the history closes no bar of {series.bar}: give more of it, or train with shorter bars")
    first = int(bar_N.min())
    y_KT = np.full((len(history.keys), int(bar_N.max()) - first + 1), np.nan)
    y_KT[whose_N, bar_N - first] = value_N
    return Panel(series.grid.start(first), series.freq, y_KT)


def _samples(history: History, series: SeriesSpec) -> tuple[Ints, Ints, Floats]:
    """Return series, number and target of every bar of samples [N]: the first row of a bar is the bar.

    Rows are in order of time, so none is late, and a bar that no row fills stays missing.
    """
    value_N = columns(history, series)[:, 0]
    whose_N, bar_N = history.series_N.astype(np.int64), series.grid.bar(history.ts_N)
    order = np.lexsort((bar_N, whose_N))  # stable: rows of one bar stay in the history's order
    whose_N, bar_N = whose_N[order], bar_N[order]
    first_N = (np.diff(whose_N, prepend=-1) != 0) | (np.diff(bar_N, prepend=-1) != 0)
    return whose_N[first_N], bar_N[first_N], value_N[order][first_N]


def _closed(history: History, series: SeriesSpec) -> tuple[Ints, Ints, Floats]:
    """Return series, number and target of every bar of ticks that closes, missing bars included [N]."""
    spec = ModelSpec(series=series, horizon=1, lags=0, season=1, calendar=(), network={})
    whose, bars, values = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0)]
    for call in walk(history, spec):
        used = slice(int(call.counts.steps[0]))
        whose.append(call.series_of_slot[call.steps.slot[used]])
        bars.append((call.steps.label[used] - series.offset) // series.freq)
        values.append(call.steps.observed[used].copy())
    return np.concatenate(whose), np.concatenate(bars), np.concatenate(values)
