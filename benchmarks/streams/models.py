"""Streamcast's models in the streams benchmark: trained before the split, then streamed through the engine.

Shapes: A forecasts, H steps ahead, Q quantiles (``LEVELS``), K series, T bars.
"""

from __future__ import annotations

import importlib.util
import json
import time
from typing import Any

import numpy as np

from benchmarks.streams.others import OTHERS
from benchmarks.streams.request import Found, Request, Say, UnavailableError
from benchmarks.streams.scores import LEVELS, Answers, asked
from benchmarks.streams.sets import Floats, StreamSet
from streamcast.engine.engine import Engine, layout
from streamcast.models.zoo import MODELS
from streamcast.offline.defaults.spec import default_spec
from streamcast.offline.history.polls import polls
from streamcast.offline.training.fit import fit
from streamcast.spec.folders import Model

ZERO = "zero"
"""The model without training."""
COMPILE_ROWS = 256
"""Records that an engine of their own reads before the clock starts, because the first ones compile the kernels."""


def run(it: StreamSet, request: Request, model: str) -> Found:
    """Return the forecasts of a model: one of ``OTHERS``, a network of the zoo, or a network's spec as JSON."""
    if model in OTHERS:
        return OTHERS[model](it, request)
    if model == ZERO and importlib.util.find_spec("streamcast.spec.zero") is None:
        raise UnavailableError("this version of streamcast has no model without training")
    network: str | dict[str, Any] = json.loads(model) if model.startswith("{") else model
    kind = network if isinstance(network, str) else network.get("kind")
    if kind not in {*MODELS, ZERO}:
        raise UnavailableError(f"no such model: expected {', '.join(OTHERS)}, or a network that docs/zoo.md lists")
    return streamcast(it, request, network)


def streamcast(it: StreamSet, request: Request, network: str | dict[str, Any]) -> Found:
    """Train on what lies before the split, stream everything through the engine once, and keep the forecasts."""
    began = time.perf_counter()
    history = it.history(training=True)
    spec = default_spec(
        history,
        it.horizon,
        network,
        season=it.named_seasons,
        timezone=it.zone,
        holidays=it.holidays,
        known=it.known,
        lower=it.lower,
        mode="ticks" if it.ticks else "sample",
        aggregates=dict.fromkeys(it.known, "last") if it.ticks else None,
    )
    model = fit(
        history,
        spec,
        request.options,
        lambda at: request.say(f"training: {at.done:.0%}, loss {at.validation:.4f}"),
    )
    seconds = time.perf_counter() - began
    found_KTHQ, us_per_record, state_bytes = _streamed(it, model, request.say)
    answers, late, missing = _at(found_KTHQ, asked(it, request.every))
    dense, _, _ = _at(found_KTHQ, asked(it, 1))
    notes = {"late": late, "missing": missing, "epochs": model.facts.get("epochs")}
    return Found(answers, dense, seconds, us_per_record, state_bytes, notes)


def _streamed(it: StreamSet, model: Model, say: Say) -> tuple[list[Floats], float, int]:
    """Return the forecasts by series and bar [T, H, Q] (NaN where none was made), µs a record, bytes a series."""
    spec, history = model.spec, it.history(training=False)
    level_Q = [spec.quantiles.index(level) for level in LEVELS]
    number = {series.key: k for k, series in enumerate(it.series)}
    series_K = np.array([number[key] for key in history.keys])
    start_K = np.array([series.start_ms for series in it.series], np.int64)
    size = (it.horizon, len(LEVELS))
    found = [np.full((len(series.y_T), *size), np.nan) for series in it.series]
    Engine(spec, model.network).stage(next(polls(history, spec, COMPILE_ROWS)))
    engine, spent = Engine(spec, model.network, max(len(history.keys), 1)), 0.0
    for poll in polls(history, spec):
        began = time.perf_counter()
        forecasts = engine.stage(poll).forecasts
        engine.promote()
        spent += time.perf_counter() - began
        series_A = series_K[history.series_N[poll.offsets[forecasts.record]]]
        place_A = (forecasts.cutoffs - start_K[series_A]) // it.freq_ms
        for k, values_THQ in enumerate(found):
            mine = series_A == k
            values_THQ[place_A[mine]] = forecasts.values[mine][:, :, level_Q]
        say(f"streaming: {int(poll.offsets[-1]) + 1:,} of {len(history):,} records")
    return found, 1e6 * spent / len(history), layout(spec, model.network).row_bytes


def _at(found_KTHQ: list[Floats], wanted: Answers) -> tuple[Answers, int, int]:
    """Return the forecasts at places, how many are late, and how many are missing.

    A tick model forecasts when the next reading comes.  Before a gap it makes no forecast from the last bar that was
    observed.  A consumer then has the newest forecast before it, whose remaining steps are used: it is late.
    """
    late = missing = 0
    for row, (k, place) in enumerate(zip(wanted.series.tolist(), wanted.place.tolist(), strict=True)):
        values_THQ, horizon = found_KTHQ[k], wanted.values.shape[1]
        for age in range(min(horizon, place + 1)):
            steps_HQ = values_THQ[place - age]
            if not np.isnan(steps_HQ).all():
                wanted.values[row, : horizon - age] = steps_HQ[age:]
                late += age > 0
                break
        else:
            missing += 1
    return wanted, late, missing
