"""AutoETS and AutoTheta beside the other baselines: what the package forecasts, from nothing after a cutoff."""

from __future__ import annotations

import math
import sys
from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from harness.histories import HOUR, START
from streamcast.errors import SettingsError
from streamcast.offline.evaluation.backtest import backtest
from streamcast.offline.evaluation.baselines import standard
from streamcast.offline.evaluation.classical import NAMES, SEASONS, Classical, Name, named
from streamcast.offline.evaluation.html_report.chosen import ranking_of
from streamcast.offline.evaluation.report import BacktestReport
from streamcast.offline.history.read import read
from streamcast.spec.folders import Model, new_network
from streamcast.spec.model_spec import SeriesSpec
from streamcast.spec.zero import zero_spec
from streamcast.stages import Stage, heard

Floats = NDArray[np.float64]
SERIES = SeriesSpec.model_validate({"columns": [{"name": "y"}], "freq": "1h"})
SEASON, HORIZON = 6, 8
WINDOW = SEASONS * SEASON
TRAINED, BARS = WINDOW + 20, WINDOW + 60
CUTOFFS = np.array([TRAINED - 1, TRAINED + 3, TRAINED + 10, TRAINED + 25])

pytestmark = pytest.mark.usefixtures("statsforecast")


def waves(noise: float = 1.0, season: int = SEASON, bars: int = BARS) -> Floats:
    """Two series with a season, a trend and gaps; the second begins late."""
    random, t = np.random.default_rng(1), np.arange(bars)
    y_KT: Floats = 40 + 0.05 * t + 10 * np.sin(2 * np.pi * t / season) + noise * random.standard_normal((2, bars))
    y_KT[0, 70:74] = y_KT[0, TRAINED + 8] = np.nan
    y_KT[1, :40] = np.nan
    return y_KT


def by_hand(name: Name, season: int, fitted: Floats, newest: Floats) -> Any:
    """Return what the package forecasts from the newest bars by a model of others."""
    from statsforecast import models

    model = getattr(models, name)(season_length=season)
    return model.fit(fitted).forward(newest, HORIZON)["mean"]


@pytest.mark.parametrize("name", NAMES.values())
def test_a_forecast_is_that_of_the_package(name: Name) -> None:
    y_KT = waves()
    found_KNH = Classical(name, SEASON).fit(y_KT[:, :TRAINED], HORIZON)(y_KT, CUTOFFS)
    filled_KT = pd.DataFrame(y_KT).ffill(axis=1).to_numpy()
    for k, begin in enumerate((TRAINED - WINDOW, max(TRAINED - WINDOW, 40))):
        for n, cutoff in enumerate(CUTOFFS.tolist()):
            first = begin if name == "AutoETS" else max(begin, cutoff + 1 - WINDOW)
            newest = filled_KT[k, first : cutoff + 1]
            want = by_hand(name, SEASON, filled_KT[k, begin:TRAINED], newest)
            np.testing.assert_array_equal(found_KNH[k, n], want)


@pytest.mark.parametrize("name", NAMES.values())
def test_nothing_after_a_cutoff_is_read(name: Name) -> None:
    y_KT = waves()
    forecast = Classical(name, SEASON).fit(y_KT[:, :TRAINED], HORIZON)
    other_KT = y_KT.copy()
    other_KT[:, CUTOFFS[1] + 1 :] = 1e6
    np.testing.assert_array_equal(forecast(other_KT, CUTOFFS[:2]), forecast(y_KT, CUTOFFS[:2]))
    assert not np.array_equal(forecast(other_KT, CUTOFFS), forecast(y_KT, CUTOFFS))


@pytest.mark.parametrize("name", NAMES.values())
def test_the_season_stays_in_its_place_from_cutoff_to_cutoff(name: Name) -> None:
    y_KT = waves(noise=0.3)[:1]
    cutoffs = np.arange(TRAINED - 1, TRAINED + 2 * SEASON)
    found_KNH = Classical(name, SEASON).fit(y_KT[:, :TRAINED], HORIZON)(y_KT, cutoffs)
    actual_KNH = y_KT[:, cutoffs[:, None] + np.arange(1, HORIZON + 1)]
    assert np.nanmax(np.abs(found_KNH - actual_KNH)) < 3  # the season has an amplitude of 10


def test_ets_has_no_season_that_the_package_would_ignore() -> None:
    y_KT = waves(season=30, bars=300)[1:, 40:]
    found_KNH = Classical("AutoETS", 30).fit(y_KT[:, :200], HORIZON)(y_KT, np.array([220]))
    np.testing.assert_array_equal(found_KNH[0, 0], by_hand("AutoETS", 1, y_KT[0, :200], y_KT[0, :221]))


@pytest.mark.parametrize("name", NAMES.values())
def test_series_that_cannot_be_fitted_have_no_forecast(name: Name) -> None:
    y_KT = np.vstack([waves(), waves(), np.ones((1, BARS))])
    y_KT[0, : TRAINED - 2] = np.nan  # two bars
    y_KT[1] = np.nan
    y_KT[2, -5:] = math.inf
    found_KNH = Classical(name, SEASON).fit(y_KT[:, :TRAINED], HORIZON)(y_KT, np.array([TRAINED, BARS - 2]))
    assert np.isnan(found_KNH[:2]).all()
    assert np.isfinite(found_KNH[3]).all()
    assert np.isfinite(found_KNH[4, 0]).all()


def report_of(frame: pd.DataFrame, names: Collection[str], model: str = "zero") -> BacktestReport:
    """Return a report on a test from the 203rd bar on."""
    history, spec = read(frame, freq="1h"), zero_spec(SERIES, 4, (6,))
    return backtest(Model(spec, new_network(spec), model), history, START + 202 * HOUR, beside=named(names, 6))


def series(unique_id: str, begin: int, bars: int) -> pd.DataFrame:
    t = np.arange(begin, bars)
    return pd.DataFrame({"unique_id": unique_id, "ds": START + HOUR * t, "y": 20 + np.sin(t / 3) + t % 5})


@pytest.fixture(scope="module")
def report() -> BacktestReport:
    """Return a report on two series, of which one begins just before the test."""
    return report_of(pd.concat([series("whole", 0, 260), series("late", 200, 260)]), ("theta",))


def test_they_stand_beside_the_standard_baselines_at_the_same_cutoffs(report: BacktestReport) -> None:
    assert report.tallies.keys() >= {"zero", *standard(1, 6), "AutoTheta"}
    rows = {(row["unique_id"], row["forecaster"]): row for row in report.by_series()}
    assert rows["whole", "AutoTheta"]["points"] == rows["whole", "zero"]["points"] > 0
    assert rows["whole", "AutoTheta"]["relative"] > 0


def test_what_has_not_all_forecasts_is_named_and_not_ranked(report: BacktestReport) -> None:
    said = "AutoTheta could not be fitted to 1 of 2 series, or not forecast all of it, and is not ranked: late"
    assert said in report.verdict()
    assert not any("AutoTheta" in line for line in report.verdict() if line != said)
    row = next(row for row in report.rows() if row["forecaster"] == "AutoTheta")
    assert 0 < row["points"] < report.rows()[0]["points"]
    assert math.isnan(row["relative"])
    assert "AutoTheta" not in dict(ranking_of(report))
    assert {"zero", "last value"} <= dict(ranking_of(report)).keys()


def test_what_has_no_forecast_at_all_is_named_once() -> None:
    frame = series("late", 0, 260).assign(y=lambda frame: frame["y"].where(frame.index >= 201))
    about = [line for line in report_of(frame, ("theta",)).verdict() if "AutoTheta" in line]
    assert about == ["AutoTheta cannot be compared: no forecast where zero has one"]


def test_a_model_and_a_baseline_of_one_name_are_refused_before_anything_is_scored() -> None:
    with pytest.raises(
        SettingsError, match=r"^baselines adds AutoETS, and the model has this name, too: give it another$"
    ):
        report_of(series("whole", 0, 260), ("ets", "theta"), "AutoETS")


def test_they_say_what_they_do() -> None:
    said: list[Stage] = []
    y_KT = waves()
    with heard(lambda stage: None if stage is None else said.append(stage)):
        Classical("AutoTheta", SEASON).fit(y_KT[:, :TRAINED], HORIZON)(y_KT, CUTOFFS[:1])
    told = {(stage.what, stage.far) for stage in said}
    assert {("fitting AutoTheta", "1 of 2 series"), ("forecasting with AutoTheta", f"bar {TRAINED} of {BARS}")} <= told


def test_without_the_package_a_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "statsforecast", None)
    with pytest.raises(SettingsError, match=r"^baselines needs package statsforecast: pip install '.*\[classical\]'$"):
        named(("ets",), 24)
    assert named((), 24) == {}
