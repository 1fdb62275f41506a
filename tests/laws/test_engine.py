"""Law 2, same records, same bytes: over every spec of ``harness.streams.SPECS``.

What is compared are outcomes, forecasts as JSON bytes, and the digests of the series' states.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import streamcast.engine.inference
import streamcast.engine.window
from harness.streams import (
    HOSTILE,
    MINUTE,
    SPECS,
    START,
    Line,
    Trace,
    cuts,
    deliveries,
    digests,
    drive,
    engine,
    four_partitions,
    one_at_a_time,
    one_partition,
    partition,
    pieces,
    stage,
    streams,
)
from streamcast.engine.engine import Engine
from streamcast.kernels.outcomes import ABSORBED, ANSWERED, DUPLICATE, LATE
from streamcast.topics.observations import Observations

law = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
few = settings(law, max_examples=8)
over_specs = pytest.mark.parametrize("name", list(SPECS))

TWELVE = tuple("abcdefghijkl")

MAY_BE_MISSING = {
    "awaiting",
    "ahead",
    "effect.outcome",
    "effect.promised",
    *(f"online.{name}" for name in ("observed", "deviation", "cutoff", "places", "pending")),
}
"""Arrays of the state that hold NaN."""


def drawn(data: st.DataObject, name: str, keys: Sequence[str] = TWELVE, most: int = 60) -> list[Line]:
    return data.draw(streams(SPECS[name], keys, most), label="lines")


# -- batches, neighbours, partitions ---------------------------------------------------------------------


@over_specs
@given(data=st.data())
@law
def test_any_batches_give_the_bytes_of_one_record_at_a_time(name: str, data: st.DataObject) -> None:
    lines = drawn(data, name)
    want = drive(engine(name), lines, one_at_a_time(lines))
    assert set(want.outcomes.values()) <= {ANSWERED, ABSORBED, LATE, DUPLICATE}
    assert want.forecasts.keys() == {offset for offset, outcome in want.outcomes.items() if outcome == ANSWERED}
    assert drive(engine(name), lines) == want
    assert drive(engine(name), lines, data.draw(cuts(), label="cuts")) == want


@over_specs
@given(data=st.data())
@law
def test_any_batches_give_them_when_offsets_are_delivered_again_and_series_are_evicted(
    name: str, data: st.DataObject
) -> None:
    max_series = data.draw(st.integers(1, 4), label="max_series")
    lines = drawn(data, name, TWELVE[:5])
    delivered = data.draw(deliveries(len(lines)), label="delivered")
    want = drive(engine(name, max_series), lines, one_at_a_time(delivered), delivered=delivered)
    got = drive(engine(name, max_series), lines, data.draw(cuts(), label="cuts"), delivered=delivered)
    assert got == want


@over_specs
@given(data=st.data())
@law
def test_four_partitions_give_the_bytes_of_one(name: str, data: st.DataObject) -> None:
    lines = drawn(data, name)
    want = drive(engine(name), lines)
    assert drive(engine(name), lines, data.draw(cuts(), label="cuts"), four_partitions) == want


@over_specs
@given(data=st.data())
@law
def test_a_series_does_not_notice_its_neighbours(name: str, data: st.DataObject) -> None:
    lines = drawn(data, name)
    together = drive(engine(name), lines, data.draw(cuts(), label="cuts"))
    for key in {line.key for line in lines}:
        assert drive(engine(name), lines, only=key) == together.of(lines, key)


@over_specs
@given(data=st.data())
@few
def test_what_hostile_neighbours_observe_reaches_nobody_else(name: str, data: st.DataObject) -> None:
    lines = drawn(data, name)
    spoilt = [
        line if line.key == "a" else line._replace(values=tuple(data.draw(HOSTILE, label="value") for _ in line.values))
        for line in lines
    ]
    assert drive(engine(name), spoilt).of(lines, "a") == drive(engine(name), lines).of(lines, "a")


def test_one_key_on_two_partitions_is_two_series() -> None:
    lines = [Line("a", START + i * MINUTE, (float(i),)) for i in range(6)]
    alone = drive(engine("gru"), lines)
    both = engine("gru")
    for placed in (one_partition, lambda _: 1):
        seen = Trace()
        stage(both, list(enumerate(lines)), seen, placed)
        both.promote()
        assert seen.forecasts == alone.forecasts
    assert [both.slab.digest(partition(i), "a") for i in (0, 1)] == [alone.digests["a"]] * 2


@over_specs
@given(data=st.data())
@few
def test_the_size_of_buffers_and_blocks_does_not_show(name: str, data: st.DataObject) -> None:
    lines = drawn(data, name)
    want = drive(engine(name), lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            streamcast.engine.window, "STEPS_AT_ONCE", 1
        )  # the smallest buffers that hold any one record's steps
        patch.setattr(streamcast.engine.window, "ANSWER_BYTES", 1)
        patch.setattr(streamcast.engine.inference, "BLOCK_ROWS", 8)
        assert drive(engine(name), lines) == want


@pytest.mark.parametrize("name", ["gru", "attention over three scales"])
def test_thousands_of_series_in_blocks_and_one_long_series_give_the_same_bytes(name: str) -> None:
    columns = len(SPECS[name].series.columns)
    random = np.random.default_rng(3)
    keys = ["a"] * 60 + [f"s{i}" for i in range(1300)] + ["a"] * 3
    lines = [Line(key, START + i * MINUTE, tuple(random.normal(size=columns))) for i, key in enumerate(keys)]
    together = drive(engine(name), lines)
    assert drive(engine(name), lines, [700, 13]) == together
    for key in ("a", "s7", "s1299"):
        assert drive(engine(name), lines, only=key) == together.of(lines, key)


# -- the future ------------------------------------------------------------------------------------------


@over_specs
@given(data=st.data())
@law
def test_no_forecast_changes_when_the_future_changes(name: str, data: st.DataObject) -> None:
    lines = drawn(data, name)
    known = data.draw(st.integers(0, len(lines)), label="known")
    other = lines[:known] + [line._replace(values=tuple(9.0 for _ in line.values)) for line in lines[known:]]
    whole, prefix, changed = (drive(engine(name), some) for some in (lines, lines[:known], other))
    for trace in (whole, changed):
        assert {offset: f for offset, f in trace.forecasts.items() if offset < known} == prefix.forecasts
        assert {offset: o for offset, o in trace.outcomes.items() if offset < known} == prefix.outcomes


# -- stage, promote, discard -----------------------------------------------------------------------------


@over_specs
@given(data=st.data())
@law
def test_what_is_discarded_did_not_happen(name: str, data: st.DataObject) -> None:
    """Whole polls, and some partitions of a poll whose others are committed."""
    max_series = data.draw(st.sampled_from([1, 2, 1000]), label="max_series")
    lines = drawn(data, name, TWELVE[:8], 40)
    sizes = data.draw(cuts(), label="cuts")
    want = drive(engine(name, max_series), lines, sizes, four_partitions)
    tried, got = engine(name, max_series), Trace()
    for first, batch in pieces(lines, sizes):
        numbered = [(first + i, line) for i, line in enumerate(batch)]
        before = digests(tried)
        if data.draw(st.booleans(), label="discard the poll"):
            stage(tried, numbered, Trace(), four_partitions)
            tried.discard()
            assert digests(tried) == before
        undone = data.draw(st.sets(st.integers(0, 3)), label="discard partitions")
        stage(tried, numbered, got, four_partitions)
        tried.discard({partition(index) for index in undone})
        after = digests(tried)
        for key in before.keys() | after.keys():
            if four_partitions(key) in undone:
                assert after.get(key) == before.get(key)
        again = [(offset, line) for offset, line in numbered if four_partitions(line.key) in undone]
        stage(tried, again, got, four_partitions)
        tried.promote()
    got.digests = digests(tried)
    assert got == want


@over_specs
def test_a_poll_that_goes_round_every_ring_can_be_discarded(name: str) -> None:
    spec = SPECS[name]
    columns, ahead = len(spec.series.columns), (np.nan,) * (len(spec.known_columns) * spec.horizon)
    lines = [Line("a", START + i * spec.series.freq, (float(i % 7),) * columns, ahead) for i in range(260)]
    tried = engine(name)
    stage(tried, list(enumerate(lines))[:130], Trace())
    tried.promote()
    before = digests(tried)
    stage(tried, list(enumerate(lines))[130:], Trace())
    assert digests(tried) != before
    tried.discard()
    assert digests(tried) == before


def test_a_partition_without_a_readable_record_can_be_discarded() -> None:
    tried = engine("gru")
    stage(tried, [(0, Line("a", START, (1.0,)))], Trace())
    tried.promote()
    before = digests(tried)
    nothing = np.empty(0, np.int64)
    tried.stage(Observations([(partition(2), 0, 0)], [], nothing, nothing, nothing, np.empty((0, 1))))
    tried.discard()
    assert digests(tried) == before


# -- lates, duplicates, restarts, evictions ----------------------------------------------------------------


@over_specs
@given(data=st.data())
@law
def test_late_and_duplicate_records_leave_state_as_it_was(name: str, data: st.DataObject) -> None:
    lines = drawn(data, name, ("a", "b"), 30)
    tried, trace = engine(name), Trace()
    for offset, line in enumerate(lines):
        before = digests(tried)
        stage(tried, [(offset, line)], trace)
        tried.promote()
        after = digests(tried)
        if trace.outcomes[offset] in (LATE, DUPLICATE):
            assert after == before
        else:
            assert after != before
        stage(tried, [(offset, line._replace(time=line.time + MINUTE))], again := Trace())
        tried.promote()
        if trace.outcomes[offset] in (ANSWERED, ABSORBED):  # what was applied is not applied twice
            assert again.outcomes == {offset: DUPLICATE}
            assert digests(tried) == after
        else:
            tried = _replayed(name, lines[: offset + 1])


def _replayed(name: str, lines: Sequence[Line]) -> Engine:
    fresh = engine(name)
    drive(fresh, lines)
    return fresh


@over_specs
@given(data=st.data())
@law
def test_a_series_that_was_evicted_returns_as_if_it_were_new(name: str, data: st.DataObject) -> None:
    lines = drawn(data, name, ("a", "b", "c"), 40)
    trace = drive(engine(name, max_series=1), lines, data.draw(cuts(), label="cuts"))
    stay: list[tuple[int, Line]] = []  # the lines since another key was seen
    want = Trace()
    for offset, line in enumerate(lines):
        if stay and stay[-1][1].key != line.key:
            want = _merged(want, name, stay)
            stay = []
        stay.append((offset, line))
    assert trace == _merged(want, name, stay)


def _merged(want: Trace, name: str, stay: Sequence[tuple[int, Line]]) -> Trace:
    fresh, trace = engine(name), Trace()
    stage(fresh, stay, trace)
    fresh.promote()
    return Trace(want.outcomes | trace.outcomes, want.forecasts | trace.forecasts, digests(fresh))


@over_specs
@given(data=st.data())
@law
def test_a_long_silence_restarts_a_series_as_if_it_were_new(name: str, data: st.DataObject) -> None:
    series = SPECS[name].series
    before = drawn(data, name, ("a",), 25)
    newest = max(line.time for line in before)
    silence = data.draw(
        st.sampled_from([series.ttl + MINUTE, (series.max_gap + 2) * series.freq + series.grace + MINUTE]),
        label="silence",
    )
    after = [
        line._replace(time=line.time - START + newest + silence)
        for line in drawn(data, name, ("a",), 12)
        if line.time >= START
    ]
    whole = drive(engine(name), [*before, *after])
    fresh = engine(name)
    trace = Trace()
    stage(fresh, [(len(before) + i, line) for i, line in enumerate(after)], trace)
    fresh.promote()
    if after:
        assert whole.digests == digests(fresh)
    assert {offset: f for offset, f in whole.forecasts.items() if offset >= len(before)} == trace.forecasts
    assert {offset: o for offset, o in whole.outcomes.items() if offset >= len(before)} == trace.outcomes


# -- numbers -----------------------------------------------------------------------------------------------


@over_specs
@given(data=st.data())
@law
def test_state_and_forecasts_stay_finite_whatever_is_observed(name: str, data: st.DataObject) -> None:
    lines = data.draw(streams(SPECS[name], ("a", "b"), 40, HOSTILE | st.floats(-1e100, 1e100)), label="lines")
    tried = engine(name)
    trace = drive(tried, lines)
    assert trace.forecasts.keys() == {offset for offset, outcome in trace.outcomes.items() if outcome == ANSWERED}
    for slot in tried.slab.series(partition(0)).values():
        for field, array in tried.slab.content(slot):
            if field in MAY_BE_MISSING:  # NaN: nothing is forecast, or nothing was observed
                assert not np.isinf(array).any()
            else:
                assert np.isfinite(array).all(), field


@over_specs
@example(value=-0.0)
@example(value=1e-300)
@example(value=1e100)
@given(value=st.floats(-1e100, 1e100))
@few
def test_a_constant_series_is_forecast_near_its_constant(name: str, value: float) -> None:
    spec = SPECS[name]
    value = value if spec.lower is None else max(value, spec.lower)
    value = value if spec.upper is None else min(value, spec.upper)
    values, ahead = (value,) * len(spec.series.columns), (np.nan,) * (len(spec.known_columns) * spec.horizon)
    lines = [Line("a", START + i * spec.series.freq, values, ahead) for i in range(12)]
    forecasts = drive(engine(name), lines).forecasts.values()
    assert forecasts
    for forecast in forecasts:
        np.testing.assert_allclose(list(orjson.loads(forecast)["quantiles"].values()), value, rtol=1e-3, atol=1e-6)
