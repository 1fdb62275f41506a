"""A spec for the window kernel: its constants, its state of a series, its buffers for a chunk of steps.

Legend: K steps, A answers, S coarse scales, C columns, F features, L lags.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from streamcast.engine.layout import Field, StateLayout
from streamcast.engine.tiles import whole_tiles
from streamcast.engine.transform import TargetScale
from streamcast.kernels.advance import CLOCK, LEVEL, PART, REDUCERS, Bar, Calendar, Plan, Steps
from streamcast.spec import features
from streamcast.spec.durations import DAY_MS
from streamcast.spec.local_time import UTC_TIME
from streamcast.spec.model_spec import ModelSpec

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]

ANSWERS_AT_ONCE = 8_192
"""Answers of a chunk."""
STEPS_AT_ONCE = 32_768
"""Steps of a chunk, unless one record may need more: after a common gap, the series of a chunk step side by side."""

LEAST, LEAST_OF_VERSION_1 = 1e-13, 1e-6
"""The normaliser's least unit as a share of the level: what float64 resolves in it some hundred times."""
TINY, TINY_OF_VERSION_1 = 1e-100, 1e-9
"""The normaliser's least unit."""

ANSWER_BYTES = 64 << 20
"""Limit on the read-out's inputs of a chunk, unless a tile of answers needs more."""


def window_plan(spec: ModelSpec) -> Plan:
    """Return the constants of a spec for the kernels, which count in the grid's time (see ``Grid``).

    The moments of base bars normalise coarse bars, too.  So the coarse value of a sum or count is its mean a base bar.
    """
    series, scale = spec.series, TargetScale(spec)
    reducers = [column.reducer for column in series.columns]
    coarse = ["mean" if reducer in {"sum", "count"} else reducer for reducer in reducers]
    return Plan(
        freq=series.freq,
        origin=series.offset,
        ticks=series.mode == "ticks",
        grace=series.grace,
        max_gap=series.max_gap,
        ttl=series.ttl,
        fill=spec.season[0] if series.missing == "season" else 0,
        alpha=1.0 - 0.5 ** (1.0 / spec.half_life),
        least=LEAST if spec.follows_spread else LEAST_OF_VERSION_1,
        tiny=TINY if spec.follows_spread else TINY_OF_VERSION_1,
        before_first=spec.schema_version == 1,
        season=spec.naive_season,
        lags=spec.lags,
        warm_up=spec.warm_up,
        transform=scale.kind,
        unit=scale.unit,
        sizes=np.array([len(column.categories or ()) for column in series.columns], np.int64),
        reducers=np.array([REDUCERS.index(reducer) for reducer in reducers], np.int64),
        coarse_reducers=np.array([REDUCERS.index(reducer) for reducer in coarse], np.int64),
        periods=np.array([features.CALENDAR_MS[period] for period in spec.calendar]),
        every=np.array([scale.every for scale in spec.scales], np.int64),
        coarse_windows=np.array([scale.window for scale in spec.scales], np.int64),
        scored=np.array(spec.scored_steps, np.int64),
        **_target_plan(spec),
    )


def _target_plan(spec: ModelSpec) -> dict[str, Any]:
    """Return the constants of the target bars; seasons and known inputs are empty where the spec has none.

    The grid time of a calendar's bars is local time already.
    """
    targets = spec.targets
    local = targets.local if targets else UTC_TIME
    begins, offsets = np.array((UTC_TIME if spec.series.calendar else local).offsets, np.int64).T
    days = spec.series.grid.days(np.array(local.days_off, np.int64))
    reach = int(days[-1] - days[0]) + 1 if len(days) else int(bool(local.days_off))  # of weekends alone: none is off
    day_off = np.zeros(reach, np.bool_)
    if len(days):
        day_off[days - days[0]] = True
    known = targets.known if targets else ()
    return {
        "horizon": spec.horizon,
        "seasons": np.array(spec.seasons if spec.aligns else (), np.int64),
        "back": np.array(targets.back if targets and spec.aligns else (), np.int64),
        "alike": targets.alike if targets else 0,
        "missing_share": targets.missing == "share" if targets else False,
        "day": DAY_MS // spec.series.freq,
        "since": features.first_since(spec),
        "places": targets.places if targets else 1,
        "week": targets.week if targets else False,
        "calendar": Calendar(
            zone_from=np.ascontiguousarray(begins),
            zone_offset=np.ascontiguousarray(offsets),
            first_day=int(days[0]) if len(days) else 0,
            day_off=day_off,
        ),
        "known": np.array(spec.known_columns, np.int64),
        "center": np.array([column.center for column in known]),
        "spread": np.array([column.spread for column in known]),
        "explaining": np.array([known.index(column) for column in spec.effects], np.int64),
    }


def window_layout(spec: ModelSpec) -> StateLayout:
    """Return the layout of the window kernel's state of one series."""
    columns, scales = len(spec.series.columns), len(spec.scales)
    coarse = [scale.window for scale in spec.scales]
    reach = spec.horizon + spec.series.open_bars if spec.known_columns else 0
    return StateLayout(
        {
            "clock": Field((CLOCK,), np.int64),
            "level": Field((columns, LEVEL), np.float64),
            "closed": Field((scales,), np.int64),
            "open": Field((scales, columns, PART), np.float64),
            "ticks": Field((spec.series.open_bars, columns + 1, PART), np.float64),
            "ring": Field((columns, spec.ring), np.float64, 1, ((spec.ring, 0),)),
            "coarse_ring": Field(
                (columns, sum(coarse)), np.float64, 1, tuple((window, 1 + s) for s, window in enumerate(coarse))
            ),
            "absent": Field((spec.ring,), np.bool_, 0, ((spec.ring, 0),)),
            "ahead": Field((len(spec.known_columns), reach), np.float64),
            "ahead_of": Field((2 if spec.known_columns else 0,), np.int64),
        }
    )


def step_buffers(spec: ModelSpec) -> Steps:
    """Return buffers for one chunk of steps: bounded, and always large enough for one record."""
    columns, scales, width = len(spec.series.columns), len(spec.scales), features.width(spec)
    room = whole_tiles(max(STEPS_AT_ONCE, spec.series.max_gap + spec.series.open_bars + 2))
    targets, inputs = spec.targets if spec.aligns else None, len(spec.effects)
    target_width = features.target_width(spec, targets) if targets else 0
    tables = len(features.target_tables(spec, targets)) if targets else 0
    answer_bytes = 4 * (spec.lags + spec.horizon * (target_width + 2 * tables + 3 * len(spec.quantiles) + 2 * inputs))
    answers = whole_tiles(max(min(ANSWERS_AT_ONCE, ANSWER_BYTES // answer_bytes), 1))

    def ints(*shape: int) -> Ints:
        return np.zeros(shape, np.int64)

    def floats(*shape: int) -> Floats:
        return np.zeros(shape)

    def singles(*shape: int) -> Singles:
        array: Singles = torch.zeros(shape).numpy()  # torch aligns its memory
        return array

    return Steps(
        slot=ints(room), record=ints(room), order=ints(room), label=ints(room), cold=np.zeros(room, np.bool_),
        dt=singles(room), x=singles(room, width), observed=floats(room), naive=floats(room, len(spec.scored_steps)),
        ring_before=floats(room, columns), absent_before=np.zeros(room, np.bool_), answer=ints(room),
        coarse_slot=ints(scales, room),
        coarse_after=ints(scales, room), coarse_order=ints(scales, room), coarse_x=singles(scales, room, width),
        coarse_before=floats(scales, room, columns), answer_step=ints(answers),
        answer_order=ints(1 + scales, answers), lags=singles(answers, spec.lags), last=floats(answers),
        scale=floats(answers), mean=floats(answers), level=singles(answers),
        target_x=singles(answers if targets else 0, spec.horizon, target_width),
        target_codes=ints(answers if targets else 0, spec.horizon, tables), inputs=floats(room, inputs),
        inputs_ahead=floats(answers, inputs, spec.horizon), warm=np.zeros(answers, np.bool_),
        outcome=np.zeros(0, np.uint8),
        bar=Bar(
            filled=floats(columns), missing=np.zeros(columns, np.bool_), coarse=floats(columns),
            coarse_missing=np.zeros(columns, np.bool_), closed=floats(columns), nothing=np.full(columns, np.nan),
            target_x=singles(target_width, spec.horizon),
        ),
    )  # fmt: skip
