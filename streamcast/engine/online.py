"""The online layer of a lane: its constants, its part of a series' state, and one call for each chunk of steps.

Legend: K steps, A answers, H horizon, Q quantiles, S seasons, L scored steps, G regression steps, E experts.
"""

from __future__ import annotations

from itertools import pairwise
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from streamcast.engine.layout import Field
from streamcast.engine.slab import Slab
from streamcast.engine.transform import TargetScale
from streamcast.kernels import online as online_kernel
from streamcast.kernels.online import KNOWN_DAYS, LEAST_NORMAL, MOST_TRACKED, LayerPlan, LayerState, Overwritten
from streamcast.spec.model_spec import ModelSpec, Online

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

DEPTHS = (10, 5)
"""How many earlier seasons a trimmed mean takes: of the first season, and of each longer one."""

PARTS_OF_DAY = 24
CLOSE_SHARE = 6
"""The share of the horizon that two scored steps may be apart, one in so many."""
ONE_REGRESSION_DAYS, TWO_REGRESSIONS_DAYS = (14.0,), (120.0, 7.0)
NORMAL_MEAN_ABSOLUTE = 1.2533
"""Standard deviation of a normal variable over its mean absolute value."""

PRIOR_LAST, PRIOR_NAIVE, PRIOR_LONGEST = 0.5, 2.0, 6.0
"""First regrets of the last value, of the naive forecasts of shorter seasons, and of that of the longest season."""


class Layer:
    """Learns from the outcomes of every series and turns the network's forecasts into the final ones."""

    def __init__(self, spec: ModelSpec, online: Online, slab: Slab) -> None:
        self._plan = layer_plan(spec, online)
        self._scratch = online_kernel.new_scratch(self._plan)
        self._slab = slab

    def apply(
        self, slots: Ints, orders: Ints, observed: Floats, answer: Ints, forecast: Floats, off_step: Flags, off: Flags,
        moved: Floats,
    ) -> Flags:  # fmt: skip
        """Learn from the outcomes of K steps and replace the forecasts [A, H, Q] in place; say which are finite.

        ``off_step`` [K] and ``off`` [A, H + 1] say which bars are days off, or are empty; ``moved`` [K, L] is added to
        outcomes where forecasts of scored steps are settled, or is empty.
        """
        plan, slab = self._plan, self._slab
        state = LayerState(*(slab.arrays[f"online.{name}"] for name in LayerState._fields))
        k, seasons, ladder = len(slots), len(plan.seasons), len(plan.ladder)
        before = Overwritten(
            observed=np.empty(k),
            deviation=np.empty(k),
            cutoff=np.empty((k, online_kernel.CUTOFF)),
            places=np.empty((k, seasons, state.places.shape[2])),
            pending=np.empty((k, ladder, state.pending.shape[2])),
        )
        finite = np.ones(len(forecast), np.bool_)
        online_kernel.learn_and_answer(
            plan, state, self._scratch, np.argsort(slots, kind="stable"), slots, orders, observed, answer, forecast,
            before, finite, off_step, off, moved,
        )  # fmt: skip
        for name in ("observed", "deviation", "cutoff"):
            size = getattr(state, name).shape[1]
            slab.overwrote(f"online.{name}", slots, orders % size, getattr(before, name))
        self._overwrote("places", slots, orders, plan.places_start, before.places)
        self._overwrote("pending", slots, orders, plan.pending_start, before.pending)
        return finite

    def _overwrote(self, name: str, slots: Ints, orders: Ints, starts: Ints, before: Floats) -> None:
        """Record one overwritten cell in each of several rings that begin at ``starts``."""
        rings = len(starts) - 1
        positions = starts[:-1] + orders[:, None] % np.diff(starts)
        cells = before.reshape(len(slots) * rings, before.shape[2])
        self._slab.overwrote(f"online.{name}", np.repeat(slots, rings), positions.ravel(), cells)


def layer_plan(spec: ModelSpec, online: Online) -> LayerPlan:
    """Return the constants of a spec for the layer's kernel; ``kernels.online`` has the equations."""
    horizon, scale = spec.horizon, TargetScale(spec)
    lower, upper = (-np.inf, np.inf) if spec.effects else (scale.lower, scale.upper)  # of what inputs leave, no bounds
    seasons = np.array(sorted(set(spec.seasons)), np.int64)
    day = int(seasons[0])
    ahead = np.arange(horizon + 1)
    back = -(-ahead[:, None] // seasons)  # how many seasons before bar t + h its newest known place is
    back[0] = 1
    lead = np.minimum(horizon, seasons)
    rings = (back[-1] - 1) * seasons + lead + 1
    steps = np.array(scored_ladder(horizon, online), np.int64)
    rungs = np.array(regression_ladder(horizon), np.int64)
    step, step_next, step_share = _between(steps, horizon)
    rung, rung_next, rung_share = _between(rungs, horizon)
    own_rung = np.array([np.flatnonzero(rungs == h)[0] if h in rungs else -1 for h in steps.tolist()], np.int64)
    per_day = min(1.0, 24.0 / day) ** 0.5 if day > 1 else 1.0
    memories, mirror = _regression_days(online), _mirror(spec.quantiles)
    decay = -1.0 if online.shared_widths else -0.3
    normal = np.array([NormalDist().inv_cdf(level) * NORMAL_MEAN_ABSOLUTE for level in spec.quantiles])
    inwards = np.maximum(np.abs(normal), LEAST_NORMAL) if online.levels_stop else np.full(len(normal), MOST_TRACKED)
    return LayerPlan(
        horizon=horizon,
        seasons=seasons,
        depths=np.array(_depths(len(seasons)), np.int64),
        center=online_kernel.MEDIAN if online.medians else online_kernel.TRIMMED,
        exact=online.exact,
        bounded=online.bounded,
        lead=lead,
        places_start=np.concatenate([[0], np.cumsum(rings)]),
        places_ago=lead + (back - 1) * seasons - ahead[:, None],
        day_ago=back[:, 0] * day - ahead,
        parts=np.arange(day) * min(day, PARTS_OF_DAY) // day,
        ladder=steps,
        pending_start=np.concatenate([[0], np.cumsum(steps)]),
        step=step,
        step_next=step_next,
        step_share=step_share,
        own_rung=own_rung,
        rung=rung,
        rung_next=rung_next,
        rung_share=rung_share,
        systems=len(rungs) if memories else 0,
        keep_rows=np.array([1.0 - 1.0 / (days * day) for days in memories]),
        features=_features(len(seasons), online),
        waits=online.regressions_wait,
        levels=np.array(spec.quantiles),
        normal=normal,
        median=spec.median,
        lower=lower,
        upper=upper,
        coverage_step=np.array([online.coverage_step * h**decay * per_day for h in steps.tolist()]),
        shared_step=_shared_steps(online, steps, per_day, day, horizon),
        stands_for=_stands_for(step, step_next, step_share) if online.shared_widths else np.ones(len(steps)),
        least_tracked=np.where(normal < 0, -MOST_TRACKED, -inwards),
        most_tracked=np.where(normal > 0, MOST_TRACKED, inwards),
        mirror=mirror,
        opposed=np.where(mirror != np.arange(len(mirror)), 0.5, 0.0) * online.shared_widths,
        network_spread=online.network_spread,
        hourly_step=online.hourly_coverage_step * (min(1.0, 24.0 / day) if day > 1 else 1.0),
        largest_error=online.largest_error,
        winsorized=online.winsorized,
        known_after=KNOWN_DAYS * day,
        error_rate=np.asarray(1.0 / (60.0 + 3.0 * steps), np.float64),
        first_regret=np.array(
            [online.network_prior, PRIOR_LAST]
            + [PRIOR_NAIVE] * (len(seasons) - 1)
            + [PRIOR_LONGEST]
            + [0.0] * (len(seasons) + len(memories))
        ),
        keep_regrets=1.0 - online.forget / day,
        recent_rate=1.0 / max(day, online_kernel.RECENT_BARS),
        near=1.0 / steps,
        most_behind=online.most_behind,
        network_reach=online.network_reach,
    )


def layer_fields(spec: ModelSpec, online: Online) -> dict[str, Field]:
    """Return the layer's part of the layout of one series' state."""
    constants = layer_plan(spec, online)
    quantiles, experts, features = len(spec.quantiles), len(constants.first_regret), constants.features
    parts = int(constants.parts[-1]) + 1
    bars = int((constants.depths * constants.seasons).max())
    deviations = -(-spec.horizon // int(constants.seasons[0])) * int(constants.seasons[0]) + 1
    rings, ladder = np.diff(constants.places_start).tolist(), constants.ladder.tolist()
    row, columns = 3 * experts + 2 + quantiles, online_kernel.MEDIAN + online.medians
    regressions = len(constants.keep_rows) or 2  # of no system each: snapshots of earlier versions have this shape
    equations = (regressions, constants.systems, features * (features + 1) // 2 + 2 * features)
    fields = {
        "observed": Field((bars,), np.float64, 0, ((bars, 0),)),
        "deviation": Field((deviations,), np.float64, 0, ((deviations, 0),)),
        "cutoff": Field((spec.horizon + 1, online_kernel.CUTOFF), np.float64, 0, ((spec.horizon + 1, 0),)),
        "places": Field((sum(rings), columns), np.float64, 0, tuple((size, 0) for size in rings)),
        "pending": Field((sum(ladder), quantiles), np.float64, 0, tuple((size, 0) for size in ladder)),
        "moments": Field((online_kernel.MOMENTS + 2 * parts,), np.float64, scale=0),
        "hourly": Field((parts if online.hourly_coverage_step else 0, quantiles), np.float64, scale=0),
        "regression": Field(equations, np.float64, scale=0),
        "mixture": Field((len(ladder), row), np.float64, scale=0),
        "recent": Field((len(ladder) if online.most_behind else 0, experts + 1), np.float64, scale=0),
    }
    return {f"online.{name}": field for name, field in fields.items()}


def scored_ladder(horizon: int, online: Online) -> list[int]:
    """Return the scored steps: 1, 2, 3, 4, 6, 8, 12, 16, 24, … below the horizon, and the horizon.

    With ``close_steps``, more lie evenly between two of them that are more than a sixth of the horizon apart.
    """
    doubled = [1 << i for i in range(horizon.bit_length())]
    between = [step * 3 // 2 for step in doubled[1:]]
    ladder = [*sorted(step for step in doubled + between if step < horizon), horizon]
    return _closer(ladder, max(horizon // CLOSE_SHARE, 2)) if online.close_steps else ladder


def _closer(ladder: list[int], most: int) -> list[int]:
    """Return a ladder with more steps, so that no two are more than ``most`` apart."""
    closer = ladder[:1]
    for low, high in pairwise(ladder):
        parts = -(-(high - low) // most)
        closer += [low + (high - low) * part // parts for part in range(1, parts + 1)]
    return closer


def regression_ladder(horizon: int) -> list[int]:
    """Return the steps with regressions of their own: 1, 2, 4, 8, … up to three quarters of the horizon, and it."""
    doubled = [1 << i for i in range(horizon.bit_length())]
    return [*(step for step in doubled if step < horizon and (step <= 0.75 * horizon or step == 1)), horizon]


def _regression_days(online: Online) -> tuple[float, ...]:
    """Return the memory of each regression of a step, in days (the shortest season)."""
    if not online.regressions:
        return ()
    return ONE_REGRESSION_DAYS if online.one_regression else TWO_REGRESSIONS_DAYS


def _features(seasons: int, online: Online) -> int:
    """Return how many numbers a regression reads, P."""
    return online_kernel.FEW_FEATURES + (0 if online.one_regression else 2 * seasons + 1)


def _shared_steps(online: Online, steps: Ints, per_day: float, day: int, horizon: int) -> Floats:
    """Return how far levels of each scored step follow all steps together.

    Widths are the same ones at every step.  They move slower where outcomes come late: by the root of the horizon.
    """
    if online.shared_widths:
        return np.full(len(steps), online.shared_coverage_step * (24.0 / max(24, day, horizon)) ** 0.5)
    return np.array([online.shared_coverage_step * h**-0.15 * per_day for h in steps.tolist()])


def _stands_for(step: Ints, step_next: Ints, share: Floats) -> Floats:
    """Return how many steps ahead each scored step stands for: all steps are between two of them."""
    weights = np.zeros(int(step_next[-1]) + 1)
    np.add.at(weights, step[1:], 1.0 - share[1:])
    np.add.at(weights, step_next[1:], share[1:])
    return weights


def _mirror(quantiles: tuple[float, ...]) -> Ints:
    """Return, for each level, which one is as far from 1 as it is from 0; itself without one."""
    found = [[i for i, other in enumerate(quantiles) if abs(other + level - 1.0) < 1e-9] for level in quantiles]
    return np.array([at[0] if at else j for j, at in enumerate(found)], np.int64)


def _depths(seasons: int) -> list[int]:
    return [DEPTHS[min(i, len(DEPTHS) - 1)] for i in range(seasons)]


def _between(ladder: Ints, horizon: int) -> tuple[Ints, Ints, Floats]:
    """Return, for the steps 0 to H, the entries of the ladder at or below and at or above, and how far between."""
    steps = np.maximum(np.arange(horizon + 1), 1)
    above = np.searchsorted(ladder, steps)
    below = np.where(ladder[above] == steps, above, above - 1)
    share = (steps - ladder[below]) / np.maximum(ladder[above] - ladder[below], 1)
    return below, above, share
