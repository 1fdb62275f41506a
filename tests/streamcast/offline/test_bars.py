"""A history's bars: what the engine closes, of samples and of ticks, and that training sees no other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.histories import HOUR, START
from harness.readings import bars_and_readings, ragged_readings
from streamcast.errors import HistoryError
from streamcast.offline.defaults.spec import default_spec
from streamcast.offline.history import bars
from streamcast.offline.history.bars import KernelCall, Panel, panel, walk
from streamcast.offline.history.read import History, read
from streamcast.offline.training import sequences as sequences_module
from streamcast.offline.training.fit import fit
from streamcast.offline.training.options import Options
from streamcast.offline.training.sequences import sequences
from streamcast.spec.model_spec import Column, ModelSpec, SeriesSpec

SMALL = {"kind": "lstm-attention", "hidden": 8, "ring": 5}
Y = (Column(name="y"),)


def test_the_panel_has_a_bar_for_every_interval_and_the_first_record_of_a_bar_wins() -> None:
    frame = pd.DataFrame(
        {
            "unique_id": ["a", "a", "a", "b"],
            "ds": ["2026-01-01 00:10", "2026-01-01 00:50", "2026-01-01 03:00", "2026-01-01 01:00"],
            "y": [1.0, 2.0, 3.0, 4.0],
        }
    )
    grid = panel(read(frame, freq="1h"), SeriesSpec(columns=Y, freq="1h"))
    assert pd.Timestamp(grid.start_ms, unit="ms") == pd.Timestamp("2026-01-01")
    np.testing.assert_array_equal(grid.y_KT, [[1, np.nan, np.nan, 3], [np.nan, 4, np.nan, np.nan]])


def test_the_offset_of_the_spec_shifts_the_bars() -> None:
    frame = pd.DataFrame({"ds": ["2026-01-01 00:10", "2026-01-01 00:50", "2026-01-01 02:00"], "y": [1.0, 2.0, 3.0]})
    grid = panel(read(frame, id_col=None, freq="1h"), SeriesSpec(columns=Y, freq="1h", offset=HOUR // 2))
    assert pd.Timestamp(grid.start_ms, unit="ms") == pd.Timestamp("2025-12-31 23:30")
    np.testing.assert_array_equal(grid.y_KT, [[1, 2, 3]])


def panel_of_the_kernel(history: History, series: SeriesSpec) -> Panel:
    """The oracle: the panel of the steps that the window kernel takes."""
    spec = ModelSpec(series=series, horizon=1, lags=0, season=1, calendar=(), network={})
    found = {}
    for call in walk(history, spec):
        for k in range(int(call.counts.steps[0])):
            steps = call.steps
            found[int(call.series_of_slot[steps.slot[k]]), int(steps.label[k])] = float(steps.observed[k])
    start, stop = min(label for _, label in found), max(label for _, label in found)
    y_KT = np.full((len(history.keys), (stop - start) // series.freq + 1), np.nan)
    for (number, label), value in found.items():
        y_KT[number, (label - start) // series.freq] = value
    return Panel(start, series.freq, y_KT)


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.sampled_from([0, 0.4, 1, 1, 1, 2, 7, 30]), min_size=1, max_size=60),
    seed=st.integers(0, 99),
    offset=st.sampled_from([0, HOUR // 2]),
    limits=st.sampled_from([{}, {"max_gap": 3}, {"ttl": "12h"}]),
)
def test_the_panel_of_samples_is_that_of_the_window_kernel(
    steps: list[float], seed: int, offset: int, limits: dict[str, Any]
) -> None:
    """Repeated bars, gaps, cold restarts, missing values, several series."""
    random = np.random.default_rng(seed)
    value = np.where(random.random(len(steps)) < 0.2, np.nan, random.normal(size=len(steps)))
    times = START + np.round(np.cumsum(steps) * HOUR).astype(np.int64)
    names = random.choice(["a", "b", "c"], len(steps))
    history = read(pd.DataFrame({"unique_id": names, "ds": times, "y": value}), freq="1h")
    series = SeriesSpec(columns=Y, freq="1h", offset=offset, **limits)
    fast, slow = panel(history, series), panel_of_the_kernel(history, series)
    assert (fast.start_ms, fast.freq_ms) == (slow.start_ms, slow.freq_ms)
    np.testing.assert_array_equal(fast.y_KT, slow.y_KT)


def test_training_on_samples_walks_the_history_once(monkeypatch: pytest.MonkeyPatch) -> None:
    walked = []

    def counting(history: History, spec: ModelSpec) -> Iterator[KernelCall]:
        walked.append(spec)
        return walk(history, spec)

    for module in (bars, sequences_module):
        monkeypatch.setattr(module, "walk", counting)
    hours, _ = bars_and_readings()
    fit(hours, default_spec(hours, 4, SMALL), Options(epochs=1, updates=20, rows=4, positions=16))
    assert len(walked) == 1


@pytest.mark.parametrize("aggregate", ["mean", "first", "last", "min", "max", "sum", "count"])
def test_a_bar_of_ticks_is_the_aggregate_that_pandas_finds(aggregate: str) -> None:
    history = ragged_readings()
    columns = (Column.model_validate({"name": "y", "aggregate": aggregate}),)
    grid = panel(history, SeriesSpec(columns=columns, freq="1h", mode="ticks", max_gap=20))
    frame = pd.DataFrame({"key": history.series_N, "bar": history.ts_N // HOUR, "y": history.values_NC[:, 0]})
    closed = frame[frame.bar < frame.groupby("key").bar.transform("max")]
    theirs = closed.groupby(["key", "bar"], as_index=False).y
    want = theirs.sum(min_count=1) if aggregate == "sum" else theirs.agg(aggregate)
    got = grid.y_KT[want.key, want.bar - grid.start_ms // HOUR]
    np.testing.assert_allclose(got, want.y, rtol=1e-12)
    assert len(got) > 300


def test_the_bars_that_no_record_closes_are_no_bars() -> None:
    frame = pd.DataFrame({"ds": [START, START + HOUR, START + 2 * HOUR - 1], "y": [1.0, 2.0, 3.0]})
    history = read(frame, id_col=None, freq="1h", ticks=True)
    ticks = SeriesSpec(columns=Y, freq="1h", mode="ticks")
    np.testing.assert_array_equal(panel(history, ticks).y_KT, [[1.0]])
    with pytest.raises(HistoryError, match="closes no bar of 1h"):
        panel(history, ticks.model_copy(update={"grace": HOUR}))


@pytest.mark.parametrize("grace_hours", [0, 3])
def test_readings_train_the_very_weights_that_their_bars_do(grace_hours: int) -> None:
    hours, readings = bars_and_readings(grace_hours=grace_hours)
    options = Options(epochs=2, updates=20, rows=4, positions=16)
    given: dict[str, Any] = {"horizon": 4, "network": SMALL, "season": 24}
    sampled = fit(hours, default_spec(hours, **given), options)
    ticked = fit(readings, default_spec(readings, **given, mode="ticks", grace=f"{grace_hours}h"), options)
    assert ticked.spec.model_copy(update={"series": sampled.spec.series}) == sampled.spec
    assert ticked.facts["validation_loss"] == sampled.facts["validation_loss"]
    for mine, its in zip(ticked.network.state_dict().values(), sampled.network.state_dict().values(), strict=True):
        assert torch.equal(mine, its)


def test_every_bar_of_readings_is_a_step_and_each_record_that_closes_some_gives_one_answer() -> None:
    history = ragged_readings()
    spec = default_spec(history, 4, SMALL, lags=16, season=24, mode="ticks")
    seen = sequences(history, spec)
    grid = panel(history, spec.series)
    run = np.searchsorted(seen.starts_R1, np.arange(len(seen)), side="right") - 1
    place = (seen.cutoff_K - grid.start_ms) // HOUR
    np.testing.assert_array_equal(grid.y_KT[seen.series_R[run], place], seen.observed_K)
    assert (np.diff(seen.cutoff_K)[np.diff(run) == 0] == HOUR).all()
    assert 0 < (~np.isnan(seen.last_K)).sum() < len(seen)
