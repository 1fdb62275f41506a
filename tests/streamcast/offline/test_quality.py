"""The figures that training reports: those of a backtest of the same part."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from streamcast.offline.evaluation.backtest import backtest
from streamcast.offline.history.read import History, read
from streamcast.offline.training import quality
from streamcast.offline.training.defaults import default_spec
from streamcast.offline.training.fit import Options, fit
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
        found = quality.held_out_quality(model, history, begins)
        assert found == found | backtested(model, part, begins)


def backtested(model: Model, history: History, from_ms: int) -> dict[str, Any]:
    return facts_of(backtest(model, history, from_ms, baselines={}).quality)


def ten_minutes(days: int) -> History:
    """A daily swing with noise, a value every ten minutes."""
    t, random = np.arange(144 * days), np.random.default_rng(5)
    y = 10 * np.sin(2 * np.pi * t / 144) + random.normal(size=len(t))
    return read(pd.DataFrame({"ds": pd.to_datetime(t * 600 + 1_700_006_400, unit="s", utc=True), "y": y}), id_col=None)
