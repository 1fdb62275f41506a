"""The effect of a record in sample mode, by examples; the laws are in ``tests/laws``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import get_args

import numpy as np
import pytest

from harness.streams import MINUTE, SPECS, Line, model_spec, network, observations
from streamcast.engine.engine import Engine, Result
from streamcast.kernels.advance import CLIP, REDUCERS
from streamcast.kernels.outcomes import ANSWERED, DUPLICATE, LATE
from streamcast.spec.folders import new_network
from streamcast.spec.model_spec import Aggregate, Column, ModelSpec, Scale

BAR = 29_453_760 * MINUTE  # 2026-01-01T00:00Z

SCALED = SPECS["attention over three scales"]


class One:
    """One series and an engine; what the window kernel wrote for the last record is in ``steps``."""

    def __init__(self, spec: ModelSpec) -> None:
        self.engine = Engine(spec, new_network(spec))
        self.offset = 0

    def take(self, minute: float, *values: float, offset: int | None = None) -> Result:
        self.offset = self.offset + 1 if offset is None else offset
        line = Line("a", BAR + round(minute * MINUTE), values)
        result = self.engine.stage(observations([(self.offset, line)], len(values)))
        self.engine.promote()
        return result

    @property
    def ring(self) -> np.ndarray:
        ring: np.ndarray = self.engine.slab.rows.ring[0]
        return ring

    @property
    def bars(self) -> int:
        """How many base bars the series has."""
        return int(self.engine.slab.rows.clock[0, 1])

    @property
    def closed(self) -> list[int]:
        """How many bars of each coarser scale have closed."""
        counts: list[int] = self.engine.slab.rows.closed[0].tolist()
        return counts


def outcomes(one: One, records: Sequence[tuple[float, float]]) -> list[int]:
    return [int(one.take(minute, value).outcomes[0]) for minute, value in records]


def test_the_first_record_of_a_bar_wins_and_an_older_one_is_late() -> None:
    one = One(SPECS["gru"])
    assert outcomes(one, [(3, 1.0), (3.9, 2.0), (2.9, 3.0), (4, 4.0)]) == [ANSWERED, DUPLICATE, LATE, ANSWERED]
    assert one.ring[0, :2].tolist() == [1.0, 4.0]


def test_an_offset_is_applied_once() -> None:
    one = One(SPECS["gru"])
    assert one.take(0, 1.0, offset=7).outcomes.tolist() == [ANSWERED]
    assert one.take(1, 1.0, offset=7).outcomes.tolist() == [DUPLICATE]
    assert one.take(1, 1.0, offset=6).outcomes.tolist() == [DUPLICATE]
    assert one.take(1, 1.0, offset=8).outcomes.tolist() == [ANSWERED]


def test_a_gap_is_stepped_through_bar_by_bar_with_the_last_value() -> None:
    one = One(SPECS["gru"])
    one.take(0, 5.0)
    result = one.take(3, 6.0)
    assert (result.gaps, result.restarts) == (2, 0)
    assert one.ring[0, :4].tolist() == [5.0, 5.0, 5.0, 6.0]
    assert result.forecasts.cutoffs.tolist() == [BAR + 3 * MINUTE]


def test_a_gap_is_filled_from_the_season_before_where_the_spec_says_so() -> None:
    one = One(SPECS["categories and seasons"])
    for minute in range(4):
        one.take(minute, float(minute), minute % 2)
    one.take(6, 9.0, 2.0)
    size = one.ring.shape[1]
    assert [one.ring[0, n % size] for n in (3, 4, 5, 6)] == [3.0, 0.0, 1.0, 9.0]
    assert [one.ring[1, n % size] for n in (3, 4, 5, 6)] == [1.0, 0.0, 1.0, 2.0]


def test_a_gap_longer_than_the_limit_restarts_the_series_cold() -> None:
    limit = SPECS["small limits"].series.max_gap
    for gap, restarts in ((limit, 0), (limit + 1, 1)):
        one = One(SPECS["small limits"])
        one.take(0, 1.0)
        result = one.take(1 + gap, 2.0)
        assert (result.restarts, result.gaps) == (restarts, 0 if restarts else gap)
        assert one.bars == (1 if restarts else 2 + gap)


def test_a_silence_longer_than_the_time_to_live_restarts_the_series_cold() -> None:
    spec = model_spec({"max_gap": 10_000, "ttl": "10min"})
    for silence, restarts in ((10.0, 0), (10.1, 1)):
        one = One(spec)
        one.take(0, 1.0)
        assert one.take(silence, 2.0).restarts == restarts


def test_a_missing_target_is_answered_and_never_scored() -> None:
    one = One(SPECS["gru"])
    one.take(0, 5.0)
    result = one.take(1, math.nan)
    assert result.outcomes.tolist() == [ANSWERED]
    assert len(result.scores.ahead) == 0
    assert one.ring[0, 1] == 5.0
    assert one.take(2, 6.0).scores.ahead.tolist() == [1]


def test_forecasts_become_warm_with_enough_bars() -> None:
    one = One(SPECS["gru"])
    assert [bool(one.take(minute, 1.0).forecasts.warm[0]) for minute in range(4)] == [False, False, True, True]


def test_a_coarse_bar_closes_with_its_last_base_bar() -> None:
    one = One(SCALED)
    closed = []
    for minute in range(16):
        one.take(minute, float(minute), 0.0)
        closed.append(one.closed)
    assert [c[0] for c in closed] == [0] * 4 + [1] * 5 + [2] * 5 + [3] * 2
    assert [c[1] for c in closed] == [0] * 14 + [1] * 2
    assert one.engine.slab.rows.coarse_ring[0, 0, :3].tolist() == [2.0, 7.0, 12.0]
    assert one.engine.slab.rows.coarse_ring[0, 0, 4] == 7.0


def test_a_coarse_bar_of_missing_bars_is_missing_too() -> None:
    one = One(SCALED)
    one.take(4, 8.0, 0.0)
    one.take(10, 9.0, 0.0)
    assert one.closed == [2, 0]
    assert one.engine.slab.rows.coarse_ring[0, 0, :2].tolist() == [8.0, 8.0]


def test_sums_and_counts_are_means_on_coarser_scales_and_the_other_aggregates_stay_what_they_are() -> None:
    aggregates = ("mean", "first", "last", "min", "max", "sum", "count")
    columns = tuple(Column(name=name, aggregate=name) for name in aggregates)
    one = One(model_spec({"columns": columns}, scales=(Scale(every="5min", window=4),)))
    for minute, value in enumerate([4.0, 1.0, math.nan, 6.0, 5.0]):
        one.take(minute, *[value] * 7)
    assert one.engine.slab.rows.coarse_ring[0, :, 0].tolist() == [4.0, 4.0, 5.0, 1.0, 6.0, 4.0, 4.0]


@pytest.mark.parametrize("aggregate", ["mean", "sum", "count"])
def test_a_coarse_bar_is_normalised_by_moments_in_its_own_unit(aggregate: str) -> None:
    columns = (Column(name="y"), Column.model_validate({"name": "x", "aggregate": aggregate}))
    one = One(model_spec({"columns": columns}, scales=(Scale(every="1h", window=4),)))
    seen = []
    for minute in range(600):
        before = one.closed[0]
        one.take(minute, 0.0, 100.0 + minute % 7)
        if one.closed[0] > before:
            seen.append(float(one.engine._steps.coarse_x[0, 0, 1]))
    assert len(seen) == 10
    assert np.abs(seen).max() < 1.0


@pytest.mark.parametrize("value", [1e100, -1e100, 5e-324])
def test_normalised_values_are_cut_off(value: float) -> None:
    one = One(SPECS["gru"])
    one.take(0, 0.0)
    one.take(1, value)
    x = one.engine._steps.x[0]
    assert abs(x[0]) <= CLIP
    assert np.abs(one.engine._steps.lags[0]).max() <= CLIP


def test_bars_start_at_the_offset_of_the_spec() -> None:
    one = One(SPECS["categories and seasons"])  # 20 s after the minute
    result = one.take(0, 1.0, 0.0)
    assert result.forecasts.cutoffs.tolist() == [BAR - MINUTE + 20_000]
    assert one.take(0.5, 1.0, 0.0).outcomes.tolist() == [ANSWERED]


def test_an_unknown_category_is_no_category() -> None:
    spec = SPECS["categories and seasons"]
    one = Engine(spec, network("categories and seasons"))
    for offset, code in enumerate([1.0, -1.0, math.nan]):
        one.stage(observations([(offset, Line("a", BAR + offset * MINUTE, (1.0, code)))], 2))
        one.promote()
        x = one._steps.x[0, :7].tolist()  # y, two missing flags, age, three categories
        assert x[1:] == [0.0, float(math.isnan(code)), 0.0, 0.0, float(code == 1.0), 0.0]


def test_events_before_the_epoch_have_bars_too() -> None:
    one = Engine(SPECS["gru"], network("gru"))
    result = one.stage(observations([(0, Line("a", -1, (1.0,))), (1, Line("a", 0, (2.0,)))], 1))
    assert result.outcomes.tolist() == [ANSWERED, ANSWERED]
    assert result.forecasts.cutoffs.tolist() == [-MINUTE, 0]
    assert result.gaps == 0


def test_the_kernel_has_every_aggregate_of_the_spec() -> None:
    assert get_args(Aggregate) == REDUCERS
