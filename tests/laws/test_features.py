"""Windows and features: the kernels equal the slow oracle of ``tests.oracle_windows``, over every spec.

Exactly: outcomes, bars and coarse bars, their labels, observed and filled values, naive forecasts, cutoffs, the last
value.  To float32's last digits (the oracle sums in another order): all normalised values.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import nan

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.streams import MINUTE, SPECS, START, Line, cuts, engine, model_spec, observations, pieces, streams
from streamcast.engine.engine import Engine, known_ahead
from streamcast.kernels.advance import Counts, Steps, advance
from streamcast.kernels.outcomes import NAMES
from streamcast.spec import features
from streamcast.spec.folders import new_network
from streamcast.spec.local_time import LocalTime
from streamcast.spec.model_spec import Column, ModelSpec, TargetBars
from tests.oracle_windows import Answer, Bar, Coarse, Effect, Series, on_scale

law = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
over_specs = pytest.mark.parametrize("name", list(SPECS))

Number = float | int


def kernel(engine: Engine, numbered: Sequence[tuple[int, Line]]) -> list[Effect]:
    """Run a batch through the window kernel alone; return the effect of each record."""
    spec, steps = engine.spec, engine._steps
    seen = observations(numbered, len(spec.series.columns), known=len(spec.known_columns))
    slots = engine.slab.locate(seen)
    outcomes = np.empty(len(seen), np.uint8)
    counts = Counts.zeros(len(spec.scales))
    effects = [Effect("") for _ in numbered]
    start = 0
    while start < len(seen):
        out = steps._replace(outcome=outcomes)
        start = advance(
            engine._plan, engine.slab.rows, out, slots, seen.times, seen.offsets, seen.values,
            known_ahead(spec, seen), start, counts,
        )  # fmt: skip
        _read(spec, out, counts, effects, engine)
    engine.promote()
    for one, outcome in zip(effects, outcomes.tolist(), strict=True):
        one.outcome = NAMES[outcome]
    return effects


def _read(spec: ModelSpec, out: Steps, counts: Counts, effects: Sequence[Effect], engine: Engine) -> None:
    names = features.names(spec)
    ring = engine.slab.rows.ring
    for k in range(int(counts.steps[0])):
        x = dict(zip(names, out.x[k].tolist(), strict=False))
        filled = ring[out.slot[k], :, out.order[k] % ring.shape[2]].tolist()
        observed, naive = on_scale(spec, float(out.observed[k])), out.naive[k].tolist()
        effects[out.record[k]].bars.append(Bar(int(out.order[k]), -1, [observed], filled, x, float(out.dt[k]), naive))
        assert out.cold[k] == (out.order[k] == 0)
        assert not out.x[k, len(names) :].any()
    for s in range(len(spec.scales)):
        for k in range(int(counts.steps[1 + s])):
            after = out.coarse_after[s, k]
            x = dict(zip(names, out.coarse_x[s, k].tolist(), strict=False))
            effects[out.record[after]].coarse.append(Coarse(s, int(out.coarse_order[s, k]), int(out.order[after]), x))
    for a in range(int(counts.answers[0])):
        k = out.answer_step[a]
        assert out.answer[k] == a
        effects[out.record[k]].answer = Answer(
            int(out.label[k]), float(out.last[a]), float(out.scale[a]), out.lags[a].tolist(), bool(out.warm[a]),
            out.answer_order[:, a].tolist(), *_target_bars(spec, out, a),
        )  # fmt: skip


def _target_bars(spec: ModelSpec, out: Steps, a: int) -> tuple[float, list[dict[str, float]], list[list[int]]]:
    """Return the level of an answer, and the features and codes of each step of its horizon."""
    if spec.targets is None or not spec.aligns:
        return 0.0, [], []
    names = features.target_names(spec, spec.targets)
    assert not out.target_x[a, :, len(names) :].any()
    rows = [dict(zip(names, x.tolist(), strict=False)) for x in out.target_x[a]]
    codes: list[list[int]] = out.target_codes[a].tolist()
    assert (out.target_codes[a] < np.cumsum(features.target_tables(spec, spec.targets))).all()
    return float(out.level[a]), rows, codes


def oracle(series: dict[str, Series], spec: ModelSpec, numbered: Sequence[tuple[int, Line]]) -> list[Effect]:
    return [
        series.setdefault(line.key, Series(spec)).take(offset, line.time, line.values, line.ahead)
        for offset, line in numbered
    ]


def assert_close(got: object, want: object) -> None:
    np.testing.assert_allclose(np.array(got, float), np.array(want, float), rtol=2e-6, atol=2e-6)


def assert_equal(got: Effect, want: Effect, *, ring_is_fresh: bool) -> None:
    assert got.outcome == want.outcome
    assert [bar.order for bar in got.bars] == [bar.order for bar in want.bars]
    for mine, its in zip(got.bars, want.bars, strict=True):
        np.testing.assert_array_equal(mine.observed[0], its.observed[0])
        np.testing.assert_array_equal(mine.naive, its.naive)
        if ring_is_fresh:
            np.testing.assert_array_equal(mine.filled, its.filled)
        assert mine.features.keys() == its.features.keys()
        assert_close(list(mine.features.values()), [its.features[name] for name in mine.features])
        assert_close(mine.dt, its.dt)
    by_scale = sorted(want.coarse, key=lambda coarse: coarse.scale)
    assert [(c.scale, c.order, c.after) for c in got.coarse] == [(c.scale, c.order, c.after) for c in by_scale]
    for mine_too, its_too in zip(got.coarse, by_scale, strict=True):
        assert_close(list(mine_too.features.values()), [its_too.features[name] for name in mine_too.features])
    assert (got.answer is None) == (want.answer is None)
    if got.answer is not None and want.answer is not None:
        assert (got.answer.cutoff, got.answer.last, got.answer.warm) == (
            want.answer.cutoff, want.answer.last, want.answer.warm
        )  # fmt: skip
        assert got.answer.orders == want.answer.orders
        assert_close(got.answer.lags, want.answer.lags)
        np.testing.assert_allclose(got.answer.unit, want.answer.unit, rtol=1e-9)
        assert_close(got.answer.level, want.answer.level)
        assert got.answer.codes == want.answer.codes
        for mine_ahead, its_ahead in zip(got.answer.targets, want.answer.targets, strict=True):
            assert mine_ahead.keys() == its_ahead.keys()
            assert_close(list(mine_ahead.values()), [its_ahead[name] for name in mine_ahead])


@over_specs
@given(data=st.data())
@law
def test_windows_and_features_equal_the_slow_oracle(name: str, data: st.DataObject) -> None:
    spec = SPECS[name]
    lines = data.draw(streams(spec, ("a", "b"), 40), label="lines")
    tried, series = engine(name), dict[str, Series]()
    for offset, line in enumerate(lines):
        got, want = kernel(tried, [(offset, line)]), oracle(series, spec, [(offset, line)])
        # A record that closes many bars may write a ring cell twice; only the last value can be checked then.
        assert_equal(got[0], want[0], ring_is_fresh=len(want[0].bars) <= spec.ring and not want[0].restarted)


@over_specs
@given(data=st.data())
@law
def test_windows_and_features_equal_the_slow_oracle_in_any_batches(name: str, data: st.DataObject) -> None:
    spec = SPECS[name]
    lines = data.draw(streams(spec, ("a", "b", "c"), 40), label="lines")
    tried, series = engine(name), dict[str, Series]()
    for first, batch in pieces(lines, data.draw(cuts(), label="cuts")):
        numbered = [(first + i, line) for i, line in enumerate(batch)]
        for got, want in zip(kernel(tried, numbered), oracle(series, spec, numbered), strict=True):
            assert_equal(got, want, ring_is_fresh=False)


def test_known_inputs_of_ticks_keep_their_bars_when_an_older_open_bar_closes_first() -> None:
    spec = SPECS["target bars of ticks"]
    ahead = [(1.0, 2.0, 3.0), (nan,) * 3, (nan,) * 3]
    ticks = [
        Line("a", START + minute * MINUTE, (1.0, 0.0), known) for minute, known in zip((10, 9, 11), ahead, strict=True)
    ]
    tried, series = engine("target bars of ticks"), dict[str, Series]()
    for numbered in enumerate(ticks):
        got, want = kernel(tried, [numbered]), oracle(series, spec, [numbered])
        assert_equal(got[0], want[0], ring_is_fresh=True)
    answer = got[0].answer
    assert answer is not None
    assert [bar["load ahead missing"] for bar in answer.targets] == [1.0, 0.0, 0.0]


def test_a_day_off_reads_sunday_and_the_working_day_after_it_the_working_days_before_it() -> None:
    day, saturday = 24 * 60 * MINUTE, 20_456  # 2026-01-03
    local = LocalTime(zone="UTC", offsets=((0, 0),), days_off=(saturday + 4,), until=(saturday + 99) * day)
    targets = TargetBars(back=(1, 1), alike=2, local=local, places=3)
    spec = model_spec({"freq": "8h", "ttl": "30d"}, horizon=6, season=(3, 21), half_life=10**9, targets=targets)
    # Three bars a day from Saturday to Tuesday; the value counts the days.  Wednesday is off.
    days = np.arange(12) // 3
    lines = [Line("a", saturday * day + bar * day // 3, (float(value),)) for bar, value in enumerate(days)]
    answer = kernel(Engine(spec, new_network(spec)), list(enumerate(lines)))[-1].answer
    assert answer is not None
    unit = np.sqrt(np.var(days))
    wednesday, thursday = answer.targets[:3], answer.targets[3:]
    for bar in wednesday:
        assert (bar["alike −1"] * unit + 1.5, bar["alike −1 missing"]) == (pytest.approx(1.0), 0.0)
        assert (bar["alike −2"], bar["alike −2 missing"]) == (0.0, 1.0)
    for bar in thursday:
        assert [bar[f"alike −{k}"] * unit + 1.5 for k in (1, 2)] == pytest.approx([3.0, 2.0])


def test_a_column_whose_name_begins_like_a_feature_does_not_take_its_place() -> None:
    targets = TargetBars(back=(1,))
    spec = model_spec({"columns": (Column(name="y"), Column(name="since start"))}, targets=targets)
    names = features.names(spec)
    assert names[features.first_since(spec)] == f"since {spec.season[0]} bars ago"
    for other in SPECS.values():
        if other.aligns:
            assert features.names(other)[features.first_since(other)].startswith("since ")


@over_specs
@given(data=st.data())
@law
def test_no_feature_changes_when_the_future_changes(name: str, data: st.DataObject) -> None:
    spec = SPECS[name]
    lines = data.draw(streams(spec, ("a", "b"), 40), label="lines")
    known = data.draw(st.integers(0, len(lines)), label="known")
    other = lines[:known] + [
        line._replace(values=tuple(7.0 for _ in line.values), ahead=tuple(1.0 for _ in line.ahead))
        for line in lines[known:]
    ]
    numbered, changed = list(enumerate(lines)), list(enumerate(other))
    whole = kernel(engine(name), numbered)[:known]
    assert [_shown(effect) for effect in whole] == [_shown(effect) for effect in kernel(engine(name), numbered[:known])]
    assert [_shown(effect) for effect in whole] == [_shown(effect) for effect in kernel(engine(name), changed)[:known]]


def _shown(effect: Effect) -> str:
    """Everything except the values read from the ring at the end; as text, so that NaN equals NaN."""
    bars = [(bar.order, bar.observed, bar.features, bar.dt, bar.naive) for bar in effect.bars]
    return repr((effect.outcome, bars, effect.coarse, effect.answer))


def test_features_have_distinct_names_and_the_target_comes_first() -> None:
    for spec in SPECS.values():
        names = features.names(spec)
        assert names[0] == spec.series.target
        assert len(set(names)) == len(names)
        assert features.width(spec) % 8 == 0
        assert 0 <= features.width(spec) - len(names) < 8
