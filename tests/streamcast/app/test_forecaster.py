"""The notebook API: the operations manual's own lines, and the engine behind them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.readings import bars_and_readings
from streamcast import Forecaster
from streamcast.errors import ModelError
from streamcast.models.spec import SpecError
from streamcast.offline.training.fit import Options

OPTIONS = Options(epochs=1, rows=4, chunk=16, positions=64)


def frame_of(bars: int = 300) -> pd.DataFrame:
    random = np.random.default_rng(0)
    times = pd.date_range("2026-01-01", periods=bars, freq="h")
    wave = np.sin(2 * np.pi * np.arange(bars) / 24)
    parts = [
        pd.DataFrame(
            {"unique_id": key, "ds": times, "y": level + wave + 0.1 * random.standard_normal(bars), "load": wave}
        )
        for key, level in (("k1", 5.0), ("k2", 50.0))
    ]
    return pd.concat(parts, ignore_index=True)


def rows(df: pd.DataFrame) -> Iterator[tuple[str, pd.Timestamp, float, float]]:
    return zip(df.unique_id, df.ds, df.y, df.load, strict=True)


@pytest.fixture(scope="module")
def fitted() -> Forecaster:
    model = {"kind": "gru", "hidden": 8, "layers": 1}
    return Forecaster(model=model, horizon=6, quantiles=[0.1, 0.5, 0.9], options=OPTIONS, name="load").fit(frame_of())


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"horizon": 0}, "horizon is 0: expected at least 1 bar"),
        ({"horizon": 3_000}, "horizon is 3000: it should be less than or equal to 2000"),
        ({"quantiles": [0.1, 0.9]}, r"quantiles .* must hold 0.5"),
        ({"ticks": True, "freq": "1h", "grace": "soon"}, "grace: 'soon' is not a duration"),
        ({"ticks": True, "freq": "1h", "aggregates": {"y": "median"}}, "aggregate is 'median': it should be 'mean',"),
    ],
)
def test_a_choice_that_does_not_fit_is_one_message(choice: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        Forecaster(**choice).fit(frame_of())


def test_predict_returns_every_series_horizon_in_nixtlas_columns(fitted: Forecaster) -> None:
    found = fitted.predict(frame_of())
    assert list(found.columns) == ["unique_id", "ds", "cutoff", "load", "load-lo-80", "load-hi-80"]
    assert found.groupby("unique_id").size().to_dict() == {"k1": 6, "k2": 6}
    assert (found.cutoff == pd.Timestamp("2026-01-13 11:00")).all()
    assert found.ds.min() == pd.Timestamp("2026-01-13 12:00")
    assert (found["load-lo-80"] <= found["load"]).all()
    assert (found["load"] <= found["load-hi-80"]).all()


def test_cross_validation_forecasts_from_past_cutoffs_beside_what_came(fitted: Forecaster) -> None:
    df = frame_of()
    found = fitted.cross_validation(df, n_windows=3, step_size=4)
    cutoffs = sorted(found.cutoff.unique())
    assert [pd.Timestamp(c) for c in cutoffs] == [
        pd.Timestamp("2026-01-13 11:00") - pd.Timedelta(hours=h) for h in (14, 10, 6)
    ]
    truth = df.set_index(["unique_id", "ds"]).y
    assert np.array_equal(found.y, truth.loc[list(zip(found.unique_id, found.ds, strict=True))])
    early = df[df.ds <= cutoffs[0]]
    expected = fitted.predict(early).set_index(["unique_id", "ds"]).load
    first = found[found.cutoff == cutoffs[0]].set_index(["unique_id", "ds"]).load
    assert first.sort_index().equals(expected.sort_index())


def test_a_stream_of_updates_forecasts_what_predict_does(fitted: Forecaster) -> None:
    df = frame_of(100)
    live = fitted.stream()
    for key, ts, y, load in rows(df[df.unique_id == "k1"]):
        assert live.update(key, ts, y, load=load)
    expected = fitted.predict(df)
    assert live.forecast("k1").equals(expected[expected.unique_id == "k1"].reset_index(drop=True))


def test_a_stream_goes_on_from_a_frame(fitted: Forecaster) -> None:
    df = frame_of(100)
    live = fitted.stream(df[df.ds < "2026-01-05 03:00"])
    for key, ts, y, load in rows(df[df.ds >= "2026-01-05 03:00"]):
        live.update(key, ts, y, load=load)
    assert live.forecast("k2").equals(fitted.stream(df).forecast("k2"))


def test_a_bar_that_came_before_is_not_answered_again(fitted: Forecaster) -> None:
    live = fitted.stream()
    assert live.update("k1", "2026-01-01T00:00Z", 1.0)
    assert not live.update("k1", pd.Timestamp("2026-01-01 00:30"), 2.0)
    assert live.update("k1", 1_767_229_200_000, None)


def test_a_stream_names_what_it_does_not_know(fitted: Forecaster) -> None:
    live = fitted.stream()
    with pytest.raises(TypeError, match="it has load"):
        live.update("k1", 1_767_229_200_000, 1.0, lode=2.0)
    with pytest.raises(KeyError, match="update it first"):
        live.forecast("k9")


def test_a_saved_forecaster_loads_and_forecasts_the_same(fitted: Forecaster, tmp_path: Path) -> None:
    df = frame_of(120)
    expected = fitted.predict(df)
    folder = fitted.save(tmp_path / "load" / "1")
    assert folder == tmp_path / "load" / "1"
    assert fitted.save(tmp_path / "load") == tmp_path / "load" / "2"
    assert Forecaster.load(folder).predict(df).equals(expected)
    with pytest.raises(ModelError, match="the next version of load is 3"):
        fitted.save(tmp_path / "load" / "9")


def test_an_unfitted_forecaster_says_so() -> None:
    with pytest.raises(ModelError, match="call fit"):
        Forecaster().predict(frame_of(10))


def test_readings_are_forecast_as_the_bars_they_make() -> None:
    hours, readings = bars_and_readings(bars=200)
    frame = pd.DataFrame({
        "unique_id": [readings.keys[i] for i in readings.series_N],
        "ds": pd.to_datetime(readings.ts_N, unit="ms"),
        "y": readings.values_NC[:, 0],
    })  # fmt: skip
    forecaster = Forecaster("linear", horizon=3, freq="1h", ticks=True, lags=24, season=24, options=Options(epochs=1))
    windows = forecaster.fit(frame).cross_validation(frame, n_windows=2)
    assert windows["cutoff"].nunique() == 2
    known = {
        (hours.keys[i], pd.Timestamp(ts, unit="ms")): y
        for i, ts, y in zip(hours.series_N, hours.ts_N, hours.values_NC[:, 0], strict=True)
    }
    assert [known[each] for each in zip(windows["unique_id"], windows["ds"], strict=True)] == windows["y"].tolist()
    assert windows["ds"].max() == pd.Timestamp(hours.ts_N.max(), unit="ms")
