"""The effect of known inputs in a lane: its constants, its part of a series' state, and one call a chunk of steps.

Legend: K steps, A answers, I inputs, H horizon, Q quantiles.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamcast.engine.layout import Field
from streamcast.engine.online import scored_ladder
from streamcast.engine.slab import Slab
from streamcast.engine.transform import TargetScale
from streamcast.kernels import effect as effect_kernel
from streamcast.kernels.effect import EffectOverwritten, EffectPlan, EffectState
from streamcast.spec.model_spec import ModelSpec, Online

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MOST_FEATURES, MOST_PLACES = 30, 7
"""Features of all inputs, and places at which the effect of one may bend."""
FARTHEST_PLACE = 1.5
"""In standard deviations."""
MEMORY_SEASONS, LEAST_MEMORY = 120.0, 1_000.0
RECORD_SEASONS, LEAST_RECORD = 28.0, 300.0
KNOWN_SEASONS, LEAST_KNOWN = 3.0, 48.0


class Effect:
    """Learns the effect of known inputs of every series, and takes it from outcomes."""

    def __init__(self, spec: ModelSpec, online: Online, slab: Slab) -> None:
        self._plan = effect_plan(spec, online)
        self._scratch = effect_kernel.new_scratch(self._plan)
        self._slab = slab

    def apply(
        self, slots: Ints, orders: Ints, inputs: Floats, observed: Floats, answer: Ints, ahead: Floats
    ) -> tuple[Floats, Floats]:
        """Learn from K steps and take the effect of ``inputs`` [K, I] from ``observed`` [K] in place.

        Return the effects of the bars ahead of A answers [A, H], whose known inputs are ``ahead`` [A, I, H]; and
        [K, L], how much larger the effect of each bar is than that which its forecasts of scored steps were made with.
        """
        slab, k = self._slab, len(slots)
        state = EffectState(*(slab.arrays[f"effect.{name}"] for name in EffectState._fields))
        ladder = self._plan.ladder
        moved = np.empty((k, len(ladder)))
        before = EffectOverwritten(inputs=np.empty(inputs.shape), outcome=np.empty(k), promised=np.empty(moved.shape))
        effect = np.empty((len(ahead), ahead.shape[2]))
        effect_kernel.learn_and_explain(
            self._plan, state, self._scratch, np.argsort(slots, kind="stable"), slots, orders, inputs, observed, answer,
            ahead, before, effect, moved,
        )  # fmt: skip
        for name in ("inputs", "outcome"):
            slab.overwrote(f"effect.{name}", slots, orders % self._plan.season, getattr(before, name))
        rings = self._plan.promised_start[:-1] + orders[:, None] % ladder
        slab.overwrote("effect.promised", np.repeat(slots, len(ladder)), rings.ravel(), before.promised.ravel())
        return effect, moved


def effect_plan(spec: ModelSpec, online: Online) -> EffectPlan:
    """Return the constants of a spec for the kernel; the docstring of ``kernels.effect`` has the equations."""
    season = min(spec.seasons)
    inputs, scale = spec.effects, TargetScale(spec)
    ladder = scored_ladder(spec.horizon, online)
    bends = min(MOST_FEATURES // len(inputs) - 1, MOST_PLACES)
    return EffectPlan(
        season=season,
        center=np.array([known.center for known in inputs]),
        spread=np.array([known.spread for known in inputs]),
        places=np.linspace(-FARTHEST_PLACE, FARTHEST_PLACE, max(bends, 0) + 2)[1:-1],
        keep=1.0 - 1.0 / max(MEMORY_SEASONS * season, LEAST_MEMORY),
        rate=1.0 / max(RECORD_SEASONS * season, LEAST_RECORD),
        known_after=max(KNOWN_SEASONS * season, LEAST_KNOWN),
        ladder=np.array(ladder, np.int64),
        promised_start=np.concatenate([[0], np.cumsum(ladder)]),
        lower=scale.lower,
        upper=scale.upper,
    )


def effect_fields(spec: ModelSpec, online: Online) -> dict[str, Field]:
    """Return the effect's part of the layout of one series' state; nothing where a spec has no such effect."""
    if not spec.effects:
        return {}
    plan = effect_plan(spec, online)
    season, inputs, ladder = plan.season, len(plan.center), plan.ladder.tolist()
    features = inputs * (1 + len(plan.places))
    fields = {
        "inputs": Field((season, inputs), np.float64, 0, ((season, 0),)),
        "outcome": Field((season,), np.float64, 0, ((season, 0),)),
        "promised": Field((sum(ladder),), np.float64, 0, tuple((step, 0) for step in ladder)),
        "moments": Field((effect_kernel.MOMENTS,), np.float64, scale=0),
        "system": Field((features * (features + 1) // 2 + 3 * features,), np.float64, scale=0),
    }
    return {f"effect.{name}": field for name, field in fields.items()}
