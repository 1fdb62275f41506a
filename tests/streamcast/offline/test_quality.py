"""The figures that training reports: those of a backtest of the same part."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from streamcast.offline.defaults.spec import default_spec
from streamcast.offline.evaluation.backtest import backtest
from streamcast.offline.history.read import History, read
from streamcast.offline.training import quality
from streamcast.offline.training.fit import fit
from streamcast.offline.training.options import Options
from streamcast.quality import SumsByStep, facts_of
from streamcast.spec.folders import Model, new_network
from streamcast.spec.zero import challenger_of


def test_the_figures_of_training_are_those_of_a_backtest_of_the_same_part() -> None:
    history = ten_minutes(days=30)
    model = fit(history, default_spec(history, 6, "zero", season="1d"))
    reported = model.facts["quality"]
    assert reported == reported | backtested(model, history, reported["from"])


def test_the_figure_of_a_model_without_a_network_is_that_of_its_challenger() -> None:
    history = ten_minutes(days=30)
    model = fit(history, default_spec(history, 6, "gru", season="1d"), Options(epochs=1, updates=2))
    simple = challenger_of(model.spec)
    found = backtested(Model(simple, new_network(simple)), history, model.facts["quality"]["from"])
    assert model.facts["quality"]["without_network"] == SumsByStep.of_facts(found).over_all().relative


def test_of_a_huge_history_the_newest_rows_are_streamed_but_never_fewer_than_fill_the_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    history = ten_minutes(days=30)
    spec = default_spec(history, 6, "zero", season="1d")
    model, begins = Model(spec, new_network(spec)), int(history.ts_N[-500])
    for rows, streamed in ((2_000, 2_000), (100, 500 + 10 * 144)):  # the online layer averages over ten days
        monkeypatch.setattr(quality, "MOST_ROWS", rows)
        part = history.between(int(history.ts_N[-streamed]), int(history.ts_N[-1]) + 1)
        found = quality.held_out_quality(model, history, quality.part_of(history, spec, begins))
        assert found["from"] == begins
        assert found == found | backtested(model, part, begins)


def test_of_very_many_rows_some_series_are_drawn_and_all_of_their_held_out_part_is_scored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was the newest bars of all series: of thousands fewer bars than the horizon has steps."""
    history = hours(series=60, days=20)
    spec = default_spec(history, 12, "zero", season="1d")
    model, begins = Model(spec, new_network(spec)), int(history.ts_N[-1]) - 71 * 3_600_000
    monkeypatch.setattr(quality, "MOST_ROWS", 25 * 480)
    monkeypatch.setattr(quality, "FEWEST_BARS", 100)
    found = quality.held_out_quality(model, history, quality.part_of(history, spec, begins))
    assert (found["from"], found["series"], found["of_series"]) == (begins, 25, 60)
    assert found["forecasts"] == 25 * 72
    assert found["by_series_steps"] == 12
    assert found == quality.held_out_quality(model, history, quality.part_of(history, spec, begins))
    whole = SumsByStep.of_facts(backtested(model, history, begins)).over_all().relative
    assert found["relative_mae"] == pytest.approx(whole, rel=0.05)


def test_series_that_ended_before_the_held_out_part_are_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    history = hours(series=60, days=20, ended=50)
    spec = default_spec(history, 12, "zero", season="1d")
    model, begins = Model(spec, new_network(spec)), int(history.ts_N[-1]) - 71 * 3_600_000
    monkeypatch.setattr(quality, "MOST_ROWS", 1_000)
    monkeypatch.setattr(quality, "FEWEST_SERIES", 4)
    found = quality.held_out_quality(model, history, quality.part_of(history, spec, begins))
    assert (found["series"], found["of_series"], found["forecasts"]) == (4, 10, 4 * 72)


def test_of_a_few_very_long_series_the_newest_bars_are_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    history = ten_minutes(days=60)
    spec = default_spec(history, 6, "zero", season="1d")
    model, begins = Model(spec, new_network(spec)), int(history.ts_N[-6_000])
    monkeypatch.setattr(quality, "MOST_ROWS", 10 * 144 + 500)
    monkeypatch.setattr(quality, "FEWEST_BARS", 100)
    found = quality.held_out_quality(model, history, quality.part_of(history, spec, begins))
    assert (found["from"], found["forecasts"]) == (int(history.ts_N[-500]), 500)
    model = fit(history, spec)
    assert model.facts["quality"]["series"] == model.facts["quality"]["of_series"] == 1


def backtested(model: Model, history: History, from_ms: int) -> dict[str, Any]:
    return facts_of(backtest(model, history, from_ms, baselines={}).quality)


def hours(series: int, days: int, ended: int = 0) -> History:
    """Series with a daily swing of their own and noise, a value every hour; the first ones have ended five days ago."""
    random, frames = np.random.default_rng(5), []
    for number in range(series):
        t = np.arange(24 * (days - 5 * (number < ended)))
        y = (1 + number) * (3 + np.sin(2 * np.pi * (t + number) / 24) + 0.3 * random.normal(size=len(t)))
        ds = pd.to_datetime(t * 3_600 + 1_700_006_400, unit="s", utc=True)
        frames.append(pd.DataFrame({"unique_id": f"s{number:02}", "ds": ds, "y": y}))
    return read(pd.concat(frames))


def ten_minutes(days: int) -> History:
    """A daily swing with noise, a value every ten minutes."""
    t, random = np.arange(144 * days), np.random.default_rng(5)
    y = 10 * np.sin(2 * np.pi * t / 144) + random.normal(size=len(t))
    return read(pd.DataFrame({"ds": pd.to_datetime(t * 600 + 1_700_006_400, unit="s", utc=True), "y": y}), id_col=None)
