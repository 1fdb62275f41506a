"""The default spec; readings get the same choices as the bars they make."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from harness.readings import bars_and_readings, ragged_readings
from streamcast.errors import HistoryError
from streamcast.offline.history.read import read
from streamcast.offline.training.defaults import best_season, default_spec


def test_readings_have_the_season_the_lags_and_the_warm_up_of_their_bars() -> None:
    hours, readings = bars_and_readings()
    sampled, ticked = default_spec(hours, 6), default_spec(readings, 6, mode="ticks", grace="2min")
    assert (ticked.series.mode, ticked.series.grace) == ("ticks", 120_000)
    assert ticked.model_copy(update={"series": sampled.series}) == sampled
    assert best_season(readings, ticked.series) == 24


def test_the_season_is_the_one_whose_repetition_forecasts_the_horizon() -> None:
    """Quarter-hours that drift and have a daily cycle: the next one is like an hour ago, tomorrow is like today."""
    random, t = np.random.default_rng(0), np.arange(96 * 60)
    drift = random.normal(scale=0.04, size=len(t)).cumsum()
    frame = pd.DataFrame({"ds": pd.to_datetime(t * 900, unit="s", utc=True), "y": drift + np.sin(2 * np.pi * t / 96)})
    history = read(frame, id_col=None)
    assert default_spec(history, 1).season == (4,)
    assert default_spec(history, 96).season == (96,)


def test_readings_become_bars_by_the_aggregates_that_were_given() -> None:
    readings = ragged_readings()
    spec = default_spec(readings, 6, mode="ticks", aggregates={"y": "sum"})
    assert [column.reducer for column in spec.series.columns] == ["sum"]
    assert [column.reducer for column in default_spec(readings, 6, mode="ticks").series.columns] == ["mean"]


def test_what_does_not_fit_is_named() -> None:
    readings = ragged_readings()
    with pytest.raises(HistoryError, match="aggregates are given for load, wind; the history has y"):
        default_spec(readings, 6, mode="ticks", aggregates={"load": "sum", "wind": "last"})
    with pytest.raises(ValidationError, match="grace is for ticks"):
        default_spec(readings, 6, grace="2min")
    with pytest.raises(ValidationError, match="is not a duration"):
        default_spec(readings, 6, mode="ticks", grace="soon")
