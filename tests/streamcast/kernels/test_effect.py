"""The kernel of the effect of known inputs: equal to a slow oracle, also where values are missing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from streamcast.engine.effect import effect_fields, effect_plan
from streamcast.kernels.effect import EffectOverwritten, EffectState, learn_and_explain, new_scratch
from streamcast.spec.model_spec import NEW_ONLINE, Column, Known, SeriesSpec
from streamcast.spec.zero import zero_spec
from tests.reference_effect import KnownEffect

Floats = npt.NDArray[np.float64]

BARS = 400


@pytest.mark.parametrize(("season", "horizon", "inputs"), [(6, 9, 2), (1, 3, 1), (12, 4, 7), (9, 2, 40)])
def test_it_is_that_of_the_equations(season: int, horizon: int, inputs: int) -> None:
    columns = [Column(name=name) for name in ("y", *(f"x{i}" for i in range(inputs)))]
    known = [Known(name=f"x{i}", center=i, spread=2.0) for i in range(inputs)]
    spec = zero_spec(
        SeriesSpec(columns=tuple(columns), freq="1h"), horizon, (season,), lower=-2.0, transform=None, known=known
    )
    random = np.random.default_rng(season)
    inputs_TI = 2.5 * random.normal(size=(BARS + horizon, inputs)) + np.arange(inputs)
    y_T = np.abs(inputs_TI[:BARS, 0]) + np.cumsum(0.1 * random.normal(size=BARS)) + random.normal(size=BARS) ** 3 / 4
    y_T[random.random(BARS) < 0.1] = np.nan
    y_T[[150, 260]] = 1e9, np.inf
    ahead_AIH = np.stack([inputs_TI[t + 1 : t + 1 + horizon].T for t in range(BARS)])
    ahead_AIH[random.random(ahead_AIH.shape) < 0.2] = np.nan
    inputs_TI[random.random(inputs_TI.shape) < 0.1 / inputs] = np.nan

    plan, fields = effect_plan(spec, NEW_ONLINE), effect_fields(spec, NEW_ONLINE)
    state = EffectState(*(np.full((1, *fields[f"effect.{name}"].shape), 7.25) for name in EffectState._fields))
    before = EffectOverwritten(np.empty((BARS, inputs)), np.empty(BARS), np.empty((BARS, len(plan.ladder))))
    moved = np.empty((BARS, len(plan.ladder)))
    left_T, effect_AH = y_T.copy(), np.empty((BARS, horizon))
    learn_and_explain(
        plan, state, new_scratch(plan), np.arange(BARS), np.zeros(BARS, np.int64), np.arange(BARS),
        inputs_TI[:BARS].copy(), left_T, np.arange(BARS), ahead_AIH, before, effect_AH, moved,
    )  # fmt: skip

    oracle = KnownEffect(season, plan.places, plan.keep, plan.rate, plan.known_after, -2.0)
    in_spreads_TI = (inputs_TI - plan.center) / plan.spread
    in_spreads_AIH = (ahead_AIH - plan.center[:, None]) / plan.spread[:, None]
    steps = [
        oracle.step(x, y, ahead_IH.T)
        for x, y, ahead_IH in zip(in_spreads_TI[:BARS], y_T.tolist(), in_spreads_AIH, strict=True)
    ]
    np.testing.assert_allclose(left_T, [left for left, _ in steps], rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(effect_AH, [effects for _, effects in steps], rtol=1e-7, atol=1e-7)
    for step, h in enumerate(plan.ladder.tolist()):
        now_T = np.maximum(y_T, -2.0) - left_T
        promised_T = effect_AH[np.arange(h, BARS) - h, h - 1]
        seen_T = np.isfinite(now_T[h:])
        np.testing.assert_allclose(moved[h:, step][seen_T], (now_T[h:] - promised_T)[seen_T], atol=1e-6)
    assert inputs > 7 or np.ptp(effect_AH[-50:]) > 0.1, "an effect is in use"
