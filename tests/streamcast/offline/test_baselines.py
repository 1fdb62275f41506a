"""Baselines against slow loops, against published figures, and against looking ahead."""

import math
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from harness import ROOT, SHARED_DATA
from streamcast.offline.evaluation import accuracy, classical
from streamcast.offline.evaluation.baselines import (
    Baseline,
    LastValue,
    MovingAverage,
    RefittedRidge,
    Ridge,
    SeasonalNaive,
    lags_to_learn,
    standard,
)
from tests import reference

Floats = NDArray[np.float64]
ETT = SHARED_DATA / "ETT"
SEASON, LAGS, HORIZON, TRAINED = 4, 6, 3, 24
BASELINES = standard(SEASON, SEASON, LAGS)
VALUES = st.integers(-40, 40).map(float)
PANELS = arrays(np.float64, (2, 40), elements=VALUES | st.just(math.nan))
CUTOFFS = np.arange(TRAINED - 1, 37)


def _forecast(baseline: Baseline, y_KT: Floats) -> Floats:
    return baseline.fit(y_KT[:, :TRAINED], HORIZON)(y_KT, CUTOFFS)


@given(PANELS)
@settings(max_examples=40, deadline=None)
def test_naive_forecasts_are_those_of_a_loop(y_KT: Floats) -> None:
    for series, y_T in enumerate(y_KT.tolist()):
        for place, cutoff in enumerate(CUTOFFS.tolist()):
            season = reference.window_with_fill(y_T, cutoff, SEASON)
            observed = [reference.newest_of_the_place(y_T, cutoff, h, SEASON, seasons=4) for h in range(1, HORIZON + 1)]
            repeated = [filled if value is None else value for filled, value in zip(season, observed, strict=False)]
            seasonal = [*repeated] if not math.isnan(season[0]) else math.nan
            last, naive, average = (
                _forecast(baseline, y_KT)[series, place]
                for baseline in (LastValue(), SeasonalNaive(SEASON), MovingAverage(SEASON))
            )
            np.testing.assert_array_equal(last, season[-1:] * HORIZON)
            np.testing.assert_array_equal(naive, seasonal)
            np.testing.assert_allclose(average, [sum(season) / SEASON] * HORIZON, atol=1e-9)


@given(PANELS, st.integers(TRAINED - 1, 36))
@settings(max_examples=40, deadline=None)
def test_ridge_is_least_squares_on_stacked_windows(y_KT: Floats, cutoff: int) -> None:
    got = _forecast(Ridge(LAGS), y_KT)[:, cutoff - TRAINED + 1]
    want = [
        reference.ridge_on_lags(y_KT[:, :TRAINED], y_T, cutoff, HORIZON, LAGS, penalty=0.01) for y_T in y_KT.tolist()
    ]
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


@given(arrays(np.float64, (1, 40), elements=VALUES), st.integers(TRAINED, 36))
@settings(max_examples=40, deadline=None)
def test_without_forgetting_the_refitted_ridge_is_one_fitted_on_all_that_is_known(y_KT: Floats, cutoff: int) -> None:
    assume(y_KT[:, :TRAINED].std() > 0)
    cutoffs = np.array([cutoff])
    refitted = RefittedRidge(every=1, lags=LAGS, forgetting=1.0).fit(y_KT[:, :TRAINED], HORIZON)
    ridge = Ridge(LAGS).fit(y_KT[:, : cutoff + 1], HORIZON)
    np.testing.assert_allclose(refitted(y_KT, cutoffs), ridge(y_KT, cutoffs), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", BASELINES)
@given(y_KT=PANELS, now=st.integers(TRAINED, 37))
@settings(max_examples=20, deadline=None)
def test_no_forecast_changes_when_the_future_changes(name: str, y_KT: Floats, now: int) -> None:
    changed = y_KT.copy()
    changed[:, now:] = 1_000.0
    before = now > CUTOFFS
    np.testing.assert_array_equal(
        _forecast(BASELINES[name], y_KT)[:, before], _forecast(BASELINES[name], changed)[:, before]
    )


@pytest.mark.parametrize("name", BASELINES)
def test_a_constant_is_forecast_exactly_and_nothing_before_a_series_begins(name: str) -> None:
    y_KT = np.full((3, 40), 7.0)
    y_KT[1, :30] = math.nan
    y_KT[2] = math.nan
    forecast = _forecast(BASELINES[name], y_KT)
    np.testing.assert_array_equal(forecast[0], 7.0)
    np.testing.assert_array_equal(np.isnan(forecast[1]), np.repeat(CUTOFFS[:, None] < 30, HORIZON, axis=1))
    np.testing.assert_array_equal(forecast[1][CUTOFFS >= 30], 7.0)
    assert np.isnan(forecast[2]).all()


def test_a_refitted_ridge_follows_a_change_that_a_static_one_cannot() -> None:
    bars = np.arange(400)
    y_KT = np.where(bars < 200, np.sin(2 * np.pi * bars / 8), np.sign(np.sin(2 * np.pi * (bars + 0.5) / 10)))[None]
    cutoffs = np.arange(340, 396)
    actual = y_KT[:, cutoffs[:, None] + np.arange(1, 4)]
    static, refitted = (
        accuracy.mean(accuracy.absolute_error(actual, baseline.fit(y_KT[:, :200], 3)(y_KT, cutoffs)))
        for baseline in (Ridge(20, 1e-4), RefittedRidge(10, 20, 1e-4, forgetting=0.5))
    )
    assert refitted < 0.2 * static


def test_a_refitted_ridge_refuses_cutoffs_within_its_training_part() -> None:
    forecast = RefittedRidge(every=4, lags=LAGS).fit(np.ones((1, TRAINED)), HORIZON)
    with pytest.raises(ValueError, match="cutoff 5 lies before 23, the last bar of the training part"):
        forecast(np.ones((1, 40)), np.array([5, 30]))


def test_the_standard_baselines_are_those_of_the_accuracy_protocol() -> None:
    assert [*standard(24, 24)] == [
        "last value",
        "seasonal naive",
        "moving average",
        "ridge on lags",
        "ridge refitted",
    ]


def test_the_page_names_the_baselines_that_there_are_and_no_other() -> None:
    page = " ".join((ROOT / "docs" / "backtest.md").read_text(encoding="utf-8").split())
    (listed,) = re.findall(r"\*Last value\*[^.]*", page)
    assert [name.casefold() for name in re.findall(r"\*(.+?)\*", listed)] == [*standard(24, 24)]
    (asked,) = re.findall(r"`--baselines ([\w,]+)` adds (\w+) and (\w+)", page)
    assert dict(zip(asked[0].split(","), asked[1:], strict=True)) == classical.NAMES


def test_a_regression_has_at_least_as_many_cutoffs_as_lags_and_all_lags_where_bars_are_many() -> None:
    y_KT = np.random.default_rng(0).normal(size=(2, 1_000))
    assert lags_to_learn(y_KT, 24, 336) == 336
    assert lags_to_learn(y_KT[:, :695], 24, 336) == 336
    assert lags_to_learn(y_KT[:, :240], 24, 336) == 108
    assert lags_to_learn(y_KT[:, :27], 24, 336) == 2
    assert lags_to_learn(y_KT[:, :26], 24, 336) == 0
    assert lags_to_learn(np.ones((2, 1_000)), 24, 336) == 0
    assert [*standard(24, 24, 0)] == ["last value", "seasonal naive", "moving average"]


@pytest.mark.skipif(not ETT.exists(), reason="the ETT data are not next to the project")
@pytest.mark.parametrize(
    ("name", "baseline", "mse"),
    [("ETTh1", Ridge(336), 0.370), ("ETTh1", SeasonalNaive(24), 0.512), ("ETTh1", LastValue(), 1.294)],
)
def test_the_published_figures_of_ett_are_met(name: str, baseline: Baseline, mse: float) -> None:
    values = pd.read_csv(ETT / f"{name}.csv.gz").iloc[:14_400, 1:].to_numpy().T
    train, test, horizon = 8_640, 11_520, 96
    y_KT = (values - values[:, :train].mean(axis=1, keepdims=True)) / values[:, :train].std(axis=1, keepdims=True)
    forecast = baseline.fit(y_KT[:, :train], horizon)(y_KT, np.arange(test - 1, y_KT.shape[1] - horizon))
    actual = sliding_window_view(y_KT, horizon, axis=1)[:, test:]
    assert accuracy.mean(accuracy.squared_error(actual, forecast)) == pytest.approx(mse, abs=1e-3)
