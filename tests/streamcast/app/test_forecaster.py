"""The notebook API: the operations manual's own lines, and the engine behind them."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from harness import SHARED_DATA
from harness.readings import bars_and_readings
from harness.streams import GRU, model_spec
from streamcast import Forecaster, Options
from streamcast.app.cli import app
from streamcast.app.live_values import number
from streamcast.errors import HistoryError, HistoryWarning, ModelError, SettingsError
from streamcast.models.spec import SpecError
from streamcast.offline.evaluation.frames import forecast_frame
from streamcast.spec.model_spec import TransformName

OPTIONS = Options(epochs=1, updates=20, rows=4, chunk=16, positions=64)
SEEN = pytest.mark.filterwarnings("ignore:the model was trained on bars up to")
"""For tests to which it is all the same how good the forecasts of ``cross_validation`` are."""


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
        ({"online": {"coverage_stepp": 1}}, r"online names 'coverage_stepp': .*Did you mean 'coverage_step'"),
        ({"online": {"coverage_step": 9}}, r"coverage_step is 9: it should be less than or equal to 1"),
        ({"online": {"forget": 0}, "plain": True}, r"online has fields of the online layer, which a plain model"),
        ({"ticks": True, "freq": "1h", "grace": "soon"}, "grace: 'soon' is not a duration"),
        ({"ticks": True, "freq": "1h", "aggregates": {"y": "median"}}, "aggregates is 'median': it should be 'mean',"),
    ],
)
def test_a_choice_that_does_not_fit_is_one_message(choice: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        Forecaster(**choice).fit(frame_of())


@pytest.mark.parametrize("level", [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3])
def test_the_lower_bound_of_every_interval_comes_first(level: float) -> None:
    """0.95 − 0.5 and 0.5 − 0.05 differ in their last bits."""
    spec = model_spec({}, GRU, quantiles=(level, 0.5, 1 - level))
    names = forecast_frame(spec, "m", ["a"], np.zeros(1, np.int64), np.zeros((1, spec.horizon, 3))).columns.tolist()
    share = f"{round(100 * (1 - 2 * level), 4):g}"
    tuned = Forecaster("zero", horizon=2, quantiles=spec.quantiles, name="m").fit(frame_of())
    assert tuned.predict(frame_of()).columns.tolist() == names
    assert names == ["unique_id", "ds", "cutoff", "m", f"m-lo-{share}", f"m-hi-{share}"]
    assert f"{spec.nominal}" == f"{round(1 - 2 * level, 6):g}"


@pytest.mark.parametrize("ids", [[7, 31], ["007", "031"], [7.0, 31.0], pd.Categorical(["b", "a"])])
def test_names_of_series_come_back_as_they_were_given(ids: list[Any]) -> None:
    hours = frame_of().ds.unique()
    column = pd.Series(ids).repeat(len(hours)).reset_index(drop=True)
    frame = pd.DataFrame({"place": column, "ds": [*hours] * 2, "y": np.arange(2.0 * len(hours)) % 24})
    forecaster = Forecaster("zero", horizon=2, id_col="place").fit(frame)
    for source in (frame, frame.set_index(["place", "ds"])):
        for found in (forecaster.predict(source), forecaster.cross_validation(source)):
            assert found.place.dtype == column.dtype
            assert set(found.place) == set(ids)
            assert len(found.merge(frame[["place"]].drop_duplicates(), on="place")) == 4


def test_a_stream_reads_keys_as_a_frame_does(fitted: Forecaster) -> None:
    stream = fitted.stream(frame_of().replace({"k1": 7}))
    assert set(stream.series()) == {"7", "k2"}
    assert stream.update(7, frame_of().ds.max() + pd.Timedelta("1h"), 1.0, load=2.0)
    assert stream.forecast(7).cutoff.iloc[0] == stream.forecast("7").cutoff.iloc[0]
    assert set(stream.series()) == {"7", "k2"}
    wrong: list[Any] = [None, True, 3.5, ("a", 1)]
    for key in wrong:
        with pytest.raises(TypeError, match=r"key is .*: expected the name of a series, a text or a whole number"):
            stream.update(key, 0, 1.0)
    for name in ("", "x" * 513):
        with pytest.raises(ValueError, match=r"key has .* characters: expected 1 to 512"):
            stream.update(name, 0, 1.0)
    assert set(stream.series()) == {"7", "k2"}


def test_predict_returns_every_series_horizon_in_nixtlas_columns(fitted: Forecaster) -> None:
    found = fitted.predict(frame_of())
    assert list(found.columns) == ["unique_id", "ds", "cutoff", "load", "load-lo-80", "load-hi-80"]
    assert found.groupby("unique_id").size().to_dict() == {"k1": 6, "k2": 6}
    assert (found.cutoff == pd.Timestamp("2026-01-13 11:00")).all()
    assert found.ds.min() == pd.Timestamp("2026-01-13 12:00")
    assert (found["load-lo-80"] <= found["load"]).all()
    assert (found["load"] <= found["load-hi-80"]).all()


@SEEN
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


def test_a_stream_has_the_forecasts_of_all_series_in_one_frame(fitted: Forecaster) -> None:
    live = fitted.stream()
    assert list(live.forecasts().columns) == list(fitted.predict(frame_of()).columns)
    assert live.forecasts().empty
    live = fitted.stream(frame_of())
    assert live.forecasts().equals(pd.concat([live.forecast("k1"), live.forecast("k2")], ignore_index=True))
    assert live.forecasts().equals(fitted.predict(frame_of()))


def test_a_stream_holds_a_forecast_a_series_however_its_rows_lie() -> None:
    """Of series one after another in time, the newest forecast of each kept all forecasts of its poll in memory."""
    minutes = pd.date_range("2026-01-01", periods=20_000, freq="5min")
    frame = pd.DataFrame({"unique_id": np.arange(20_000) // 1_000, "ds": minutes, "y": np.arange(20_000) % 288})
    forecaster = Forecaster("zero", horizon=288).fit(frame)
    forecaster.stream(frame.head(10))
    tracemalloc.start()
    live = forecaster.stream(frame)
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(live.series()) == 20
    assert held < 20e6, "a poll of 5,000 rows alone has forecasts of 35 MB"


def test_a_bar_that_came_before_is_not_answered_again(fitted: Forecaster) -> None:
    live = fitted.stream()
    assert live.update("k1", "2026-01-01T00:00Z", 1.0)
    assert not live.update("k1", pd.Timestamp("2026-01-01 00:30"), 2.0)
    assert live.update("k1", 1_767_229_200_000, None)


def test_a_stream_says_how_unusual_a_bar_is_as_the_service_does() -> None:
    frame = frame_of(200)[["unique_id", "ds", "y"]]
    stream = Forecaster("zero", horizon=2).fit(frame).stream()
    stream.update("k1", frame.ds[0], 5.0)
    assert stream.anomaly("k1") is None
    with pytest.raises(KeyError, match="'k2' has no forecast yet"):
        stream.anomaly("k2")
    for time, y in zip(frame.ds[1:200], frame.y[1:200], strict=True):
        stream.update("k1", time, y)
    assert (usual := stream.anomaly("k1")) is not None
    stream.update("k1", frame.ds[199] + pd.Timedelta("1h"), 500.0)
    assert (wild := stream.anomaly("k1")) is not None
    assert 0 <= usual < 0.997 <= wild <= 1


def test_the_anomalies_of_a_frame_are_those_of_a_stream_of_its_rows() -> None:
    given = frame_of(200)[["unique_id", "ds", "y"]]
    given.loc[150, "y"] = 500.0
    frame = given.rename(columns={"unique_id": "pump", "ds": "hour", "y": "flow"})
    forecaster = Forecaster("zero", horizon=2, id_col="pump", time_col="hour", target_col="flow").fit(frame)
    found, stream = forecaster.anomalies(frame), forecaster.stream()
    assert list(found.columns) == ["pump", "hour", "flow", "anomaly"]
    assert len(found) == 400
    for key, hour, flow, anomaly in found.itertuples(index=False):
        stream.update(key, hour, flow)
        told = stream.anomaly(key)
        assert (np.isnan(anomaly) and told is None) or anomaly == told
    assert found[found.anomaly >= 0.997].merge(frame).loc[0, "flow"] == 500.0
    truth = frame.set_index(["pump", "hour"]).flow
    assert np.array_equal(found.flow, truth.loc[list(zip(found.pump, found.hour, strict=True))])
    with pytest.raises(HistoryError, match="target_col is 'anomaly', the column which says how unusual a bar is: ren"):
        forecaster.anomalies(frame.rename(columns={"flow": "anomaly"}), target_col="anomaly")
    assert len(forecaster.predict(frame.rename(columns={"flow": "anomaly"}), target_col="anomaly")) == 4


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


def test_a_folder_that_is_no_version_is_refused_with_those_that_are_there(fitted: Forecaster, tmp_path: Path) -> None:
    folder = tmp_path / "load"
    fitted.save(folder)
    fitted.save(folder)
    for wrong in (folder, tmp_path / "load@latest", folder / "3"):
        with pytest.raises(ModelError) as raised:
            Forecaster.load(wrong)
        said = f"{wrong} is no version of a model: expected the folder of one, such as {folder / '2'}; there are 1, 2"
        assert str(raised.value) == said
    with pytest.raises(ModelError, match=r"other is no version of a model: .*, such as .*other/1; .*other holds none"):
        Forecaster.load(tmp_path / "other")


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"options": {"epochs": "x"}}, "facts.options: epochs is 'x': expected a whole number"),
        ({"seed": -1}, "facts.options: seed is -1"),
        ({"timezone": "../../etc/passwd"}, "facts.timezone is '../../etc/passwd': input should be the name of a time"),
        ({"last": "x"}, "facts.last is 'x'"),
    ],
)
def test_a_folder_with_a_wrong_fact_is_an_error_with_its_name(
    fitted: Forecaster, tmp_path: Path, facts: dict[str, object], said: str
) -> None:
    path = fitted.save(tmp_path / "load") / "model.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "facts": record["facts"] | facts}))
    with pytest.raises(ModelError) as raised:
        Forecaster.load(path.parent)
    assert str(raised.value).startswith(f"{path} cannot be read: ")
    assert said in str(raised.value)


def test_columns_keep_their_names_when_a_model_is_saved(tmp_path: Path) -> None:
    forecaster = Forecaster("zero", horizon=2, name="mine").fit(frame_of(100)[["unique_id", "ds", "y"]])
    frame = frame_of(100)
    expected = forecaster.predict(frame)
    for name in ("load", "load", "other"):
        folder = forecaster.save(tmp_path / name)
        pd.testing.assert_frame_equal(forecaster.predict(frame), expected)
        assert list(forecaster.stream(frame).forecast("k1").columns) == list(expected.columns)
        assert name in Forecaster.load(folder).predict(frame)


def test_a_loaded_forecaster_is_trained_again_with_its_own_choices(knowing: Forecaster, tmp_path: Path) -> None:
    again = Forecaster.load(knowing.save(tmp_path / "load" / "1")).fit(weather_of()).model
    assert again.spec == knowing.model.spec
    assert again.facts["options"] == knowing.model.facts["options"] == OPTIONS.facts()


def test_a_training_that_fails_leaves_the_names_of_columns_as_they_were() -> None:
    frame = frame_of(100)[["unique_id", "ds", "y"]]
    forecaster = Forecaster("zero", horizon=2).fit(frame)
    expected = forecaster.predict(frame)
    with pytest.raises(HistoryError, match="has no column 'nope'"):
        forecaster.fit(frame, target_col="nope")
    pd.testing.assert_frame_equal(forecaster.predict(frame), expected)


def test_each_frame_says_whether_it_is_one_series() -> None:
    several = frame_of(100)[["unique_id", "ds", "y"]]
    single = several[several["unique_id"] == "k1"].drop(columns="unique_id")
    forecaster = Forecaster("zero", horizon=2).fit(single)
    assert "unique_id" not in forecaster.predict(single)
    assert forecaster.predict(several)["unique_id"].nunique() == several["unique_id"].nunique() > 1
    assert (
        forecaster.fit(several).model.spec.series.columns == Forecaster("zero").fit(several).model.spec.series.columns
    )
    assert forecaster.predict(several)["unique_id"].nunique() == several["unique_id"].nunique()


def test_gaps_are_those_of_the_model_that_is_made() -> None:
    hours, days = frame_of(100)[["unique_id", "ds", "y"]], frame_of(100)[["unique_id", "ds", "y"]]
    days["ds"] = pd.Timestamp("2026-01-01") + (days["ds"] - days["ds"].min()) * 24
    days.loc[days["ds"] > "2026-02-15", "ds"] += pd.Timedelta(days=100)
    again, new = Forecaster("zero", horizon=2).fit(hours).fit(days), Forecaster("zero", horizon=2).fit(days)
    assert any("restarts its series" in note for note in new.notes)
    assert again.notes == new.notes


def test_an_unfitted_forecaster_says_so() -> None:
    with pytest.raises(ModelError, match="call fit"):
        Forecaster().predict(frame_of(10))


@SEEN
def test_readings_are_forecast_as_the_bars_they_make() -> None:
    hours, readings = bars_and_readings(bars=200)
    frame = pd.DataFrame({
        "unique_id": [readings.keys[i] for i in readings.series_N],
        "ds": pd.to_datetime(readings.ts_N, unit="ms"),
        "y": readings.values_NC[:, 0],
    })  # fmt: skip
    forecaster = Forecaster(
        "linear", horizon=3, freq="1h", ticks=True, lags=24, season=24, options=Options(epochs=1, updates=20)
    )
    windows = forecaster.fit(frame).cross_validation(frame, n_windows=2)
    assert windows["cutoff"].nunique() == 2
    known = {
        (hours.keys[i], pd.Timestamp(ts, unit="ms")): y
        for i, ts, y in zip(hours.series_N, hours.ts_N, hours.values_NC[:, 0], strict=True)
    }
    assert [known[each] for each in zip(windows["unique_id"], windows["ds"], strict=True)] == windows["y"].tolist()
    assert windows["ds"].max() == pd.Timestamp(hours.ts_N.max(), unit="ms")


# -- what is known ahead -----------------------------------------------------------------------------------

ZONE = "Australia/Melbourne"


def weather_of(bars: int = 300, future: int = 6) -> pd.DataFrame:
    """Two series that follow the temperature; the rows after the last y have only the inputs."""
    random = np.random.default_rng(1)
    times = pd.date_range("2026-03-25", periods=bars + future, freq="h", tz=ZONE).tz_localize(None)
    parts = []
    for key in ("k1", "k2"):
        temp = random.normal(0, 1, bars + future).cumsum()
        y = np.where(np.arange(bars + future) < bars, 200 + 2 * temp, np.nan)
        wind = random.choice(["N", "S"], bars + future)
        parts.append(pd.DataFrame({"unique_id": key, "ds": times, "y": y, "temp": temp, "wind": wind, "leak": y}))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def knowing() -> Forecaster:
    """A model of local hours in Melbourne, whose frames pass the end of daylight saving."""
    return Forecaster(
        {"kind": "gru", "hidden": 8, "layers": 1}, horizon=6, lags=24, season="1d", timezone=ZONE, holidays="AU-VIC",
        known=["temp", "wind"], lower=0.0, options=OPTIONS, name="load",
    ).fit(weather_of())  # fmt: skip


def test_what_is_known_ahead_becomes_part_of_the_spec(knowing: Forecaster) -> None:
    spec = knowing.model.spec
    assert spec.targets is not None
    assert [known.name for known in spec.targets.known] == ["temp", "wind"]
    assert (spec.targets.local.zone, spec.targets.local.holidays) == (ZONE, "AU-VIC")
    assert (spec.season, spec.lower) == ((24,), 0.0)


@SEEN
@pytest.mark.parametrize("form", ["aware", "texts"])
def test_times_that_name_a_zone_come_back_as_instants(knowing: Forecaster, form: str) -> None:
    local = weather_of()
    aware = local.assign(ds=local.ds.dt.tz_localize(ZONE, ambiguous=local.index % 306 < 267))
    given = aware if form == "aware" else aware.assign(ds=aware.ds.map(pd.Timestamp.isoformat))
    found, plain = knowing.predict(given), knowing.predict(local)
    assert str(found.ds.dt.tz) == str(found.cutoff.dt.tz) == ZONE
    assert found.ds.dt.tz_localize(None).tolist() == plain.ds.tolist()
    assert found["load"].tolist() == plain["load"].tolist()
    future = given.assign(ds=pd.to_datetime(given.ds, utc=True)) if form == "texts" else given
    assert len(found.merge(future, on=["unique_id", "ds"])) == len(found)
    assert str(knowing.cross_validation(given).ds.dt.tz) == ZONE
    assert knowing.plot(given, bars=24)


def test_rows_after_the_last_y_are_what_the_future_is_made_of(knowing: Forecaster) -> None:
    df = weather_of()
    found = knowing.predict(df)
    last = df[df.y.notna()].ds.max()
    assert (found.cutoff == last).all()
    future = df.ds > last
    assert found.ds.tolist() == df[future].ds.tolist()
    warmer = knowing.predict(df.assign(temp=df.temp + 3 * future))
    with pytest.warns(HistoryWarning, match="no row after the last target has 'temp', 'wind', which the model knows"):
        unknown = knowing.predict(df[~future])
    assert not found.load.equals(warmer.load)
    assert not found.load.equals(unknown.load)
    assert found.ds.equals(unknown.ds)
    with pytest.warns(
        HistoryWarning, match=r"no row after the last target has 'wind', which .* with 'wind' and without"
    ):
        knowing.predict(df.assign(wind=df.wind.mask(future)))
    first = future & (df.ds <= last + pd.Timedelta(hours=2))
    said = "^'temp' is known ahead for 4 of the 12 bars to forecast, and not for all of 'k1': .* of the other bars"
    with pytest.warns(HistoryWarning, match=said):
        knowing.predict(df.assign(temp=df.temp.where(~future | first)))
    knowing.predict(df.assign(temp=df.temp.where(~future | first)), h=2)


@pytest.mark.parametrize("model", ["zero", {"kind": "gru", "hidden": 8}])
def test_a_training_ends_with_the_last_target_and_not_with_what_is_known_ahead(
    model: str | dict[str, Any], tmp_path: Path
) -> None:
    frame = frame_of(300)[["unique_id", "ds", "y", "load"]]
    future = frame.assign(y=frame.y.where(frame.ds < frame.ds.max() - pd.Timedelta("9h")))
    options = None if model == "zero" else OPTIONS
    forecaster = Forecaster(model, 6, season=24, known=["load"], options=options).fit(future)
    last = int(future.ds[future.y.notna()].max().timestamp() * 1_000)
    facts = forecaster.model.facts
    assert facts["last"] == facts["quality"]["until"] == last
    forecaster.save(tmp_path / "m")
    frame.to_csv(tmp_path / "all.csv", index=False)
    command = ["backtest", str(tmp_path / "all.csv"), "--model", "m@1", "--models", str(tmp_path)]
    said = CliRunner().invoke(app, command).output
    assert "scored from 2026-01-13 01:00:00 UTC, where the data begin that the model was not trained on" in said
    future.to_csv(tmp_path / "future.csv", index=False)
    command = ["backtest", str(tmp_path / "future.csv"), *command[2:], "--test-from", "2026-01-12"]
    assert "Quality from 2026-01-12 00:00:00 to 2026-01-13 01:00:00 UTC" in CliRunner().invoke(app, command).output


@SEEN
def test_a_column_that_is_not_declared_known_never_shows_its_future(knowing: Forecaster) -> None:
    df = weather_of()
    planted = df.assign(leak=df.leak.fillna(1e6))
    assert knowing.predict(planted).equals(knowing.predict(df))
    half = df[df.ds < df.ds.median()]
    assert knowing.cross_validation(half).equals(
        knowing.cross_validation(half.assign(leak=half.leak.where(half.ds <= half.ds.iloc[-7], 1e6)))
    )


@SEEN
def test_windows_of_a_frame_with_a_future_end_with_its_last_y(knowing: Forecaster) -> None:
    df = weather_of()
    windows = knowing.cross_validation(df, n_windows=2)
    assert windows.ds.max() == df[df.y.notna()].ds.max()
    truth = df.set_index(["unique_id", "ds"]).y
    assert windows.y.tolist() == truth.loc[list(zip(windows.unique_id, windows.ds, strict=True))].tolist()


def test_a_stream_takes_known_inputs_with_its_observations(knowing: Forecaster) -> None:
    df = weather_of()
    df = df[df.unique_id == "k1"].reset_index(drop=True)
    live = knowing.stream()
    for i in range(300):
        coming = df.iloc[i + 1 : i + 7]
        ahead = {"temp": coming.temp.tolist(), "wind": [*coming.wind, "S", None]}
        now = df.iloc[i]
        ts = now.ds.tz_localize(ZONE, ambiguous=i < 267)  # the second 02:00 is winter time
        live.update("k1", ts, now.y, ahead, temp=now.temp, wind=now.wind, leak=now.leak)
    assert live.forecast("k1").equals(knowing.predict(df))
    with pytest.raises(TypeError, match=r"no known inputs \['leak'\]; it has temp, wind"):
        live.update("k1", "2026-05-01", 1.0, ahead={"leak": [1.0]})
    assert live.update("k1", "2026-04-06 19:00", 1.0, ahead={"temp": [None, 2.0], "wind": ["unheard of"]})
    assert live.update("k1", "2026-04-06 20:00", 1.0, ahead={"temp": None, "wind": ("S", "N")})
    for wrong in ("S", 21.0, {"a": 1}, {"S", "N"}):
        with pytest.raises(TypeError, match=r"update: ahead has .* for wind: expected a list with a value"):
            live.update("k1", "2026-04-06 21:00", 1.0, ahead={"wind": wrong})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="update: ahead: temp is 'warm': expected a number"):
        live.update("k1", "2026-04-06 21:00", 1.0, ahead={"temp": ["warm"]})


def test_a_loaded_forecaster_reads_times_in_the_zone_of_its_training(knowing: Forecaster, tmp_path: Path) -> None:
    df = weather_of()
    loaded = Forecaster.load(knowing.save(tmp_path / "load"))
    assert loaded.predict(df).equals(knowing.predict(df))


@pytest.mark.parametrize(
    ("choice", "error", "said"),
    [
        ({"known": ["temp"]}, HistoryError, "known names temp; the input columns are load"),
        ({"timezone": "Melbourne"}, SettingsError, "timezone is 'Melbourne': expected a name"),
        ({"holidays": "ZZ"}, SettingsError, "holidays is 'ZZ'"),
        ({"season": "90min"}, HistoryError, "season 90min is no whole number of bars of 1h"),
        ({"season": "daily"}, HistoryError, "season is 'daily': expected bars or durations above 0, such as 24 or 1d"),
        ({"season": 0}, HistoryError, "season is 0: expected bars or durations above 0"),
        ({"season": [24, -3]}, HistoryError, "season is -3: expected bars or durations above 0"),
        ({"season": "0d"}, HistoryError, "season is '0d': expected bars or durations above 0"),
    ],
)
def test_what_cannot_be_known_ahead_is_refused(choice: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        Forecaster(**choice).fit(frame_of())


CASES = SHARED_DATA.parent / "cases"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason=f"{CASES} is absent")


def naive(frame: pd.DataFrame, horizon: int = 5) -> Forecaster:
    return Forecaster("zero", horizon=horizon).fit(frame)


@needs_cases
@pytest.mark.parametrize("name", ["mondays", "sundays"])
def test_forecasts_of_weeks_join_the_rows_of_the_data(name: str) -> None:
    frame = pd.read_csv(CASES / "02-weekly" / f"{name}.csv", parse_dates=["ds"])
    forecaster = naive(frame, horizon=4)
    windows = forecaster.cross_validation(frame, n_windows=2)
    assert len(windows.merge(frame, on=["unique_id", "ds"])) == len(windows) == 2 * 4 * 3
    np.testing.assert_array_equal(windows.y, windows.merge(frame, on=["unique_id", "ds"]).y_y)
    last = frame.ds.max()
    assert set(forecaster.predict(frame).ds) == {last + pd.Timedelta(weeks=step) for step in range(1, 5)}
    assert "a season of 52 bars stands for a year" in forecaster.notes


@needs_cases
@pytest.mark.parametrize(("windows", "step"), [(4, None), (4, 1), (3, 7)])
def test_every_series_has_its_windows_over_weekends_and_after_its_end(windows: int, step: int | None) -> None:
    frame = pd.read_csv(CASES / "04-business-days" / "closes.csv", parse_dates=["ds"])
    found = naive(frame).cross_validation(frame, n_windows=windows, step_size=step)
    assert found.groupby("unique_id").cutoff.nunique().to_dict() == dict.fromkeys(["ACME", "BETA", "OLD"], windows)


def test_opening_hours_have_all_windows_and_a_short_series_is_warned_of() -> None:
    hours = pd.date_range("2025-01-01", periods=40 * 24, freq="h")
    frame = pd.DataFrame({"unique_id": "shop", "ds": hours, "y": np.arange(960.0) % 24})
    frame = frame[(frame.ds.dt.hour >= 7) & (frame.ds.dt.hour < 17)]
    forecaster = naive(frame, horizon=6)
    assert forecaster.cross_validation(frame, n_windows=6).cutoff.nunique() == 6
    late = pd.concat([frame, frame.tail(8).assign(unique_id="new")])
    with pytest.warns(HistoryWarning, match=r"1 of 2 series has fewer than the 6 windows .* such as 'new' with 0"):
        forecaster.cross_validation(late, n_windows=6)
    with pytest.raises(HistoryError, match=r"which needs 48 bars up to its cutoff, .*, and 6 after it: give"):
        forecaster.cross_validation(frame.head(3))
    with pytest.raises(HistoryError, match=r"n_windows is 0 .* expected at least 1"):
        forecaster.cross_validation(frame, n_windows=0)


@pytest.mark.parametrize("ticks", [False, True])
@pytest.mark.parametrize("season", [1, 24])
def test_more_windows_than_there_are_begin_after_the_warm_up(season: int, *, ticks: bool) -> None:
    frame = frame_of(100)[["unique_id", "ds", "y"]]
    forecaster = Forecaster("zero", 3, freq="1h", season=season, ticks=ticks).fit(frame)
    with pytest.warns(HistoryWarning, match="2 of 2 series have fewer than the 1,000 windows"):
        found = forecaster.cross_validation(frame, n_windows=1_000, step_size=1)
    warm = frame.ds.min() + pd.Timedelta(hours=forecaster.model.spec.warm_up - 1)
    assert found.groupby("unique_id").cutoff.min().eq(warm).all()
    with pytest.raises(HistoryError, match="no series is long enough for a window"):
        forecaster.cross_validation(frame[frame.ds <= warm])


@pytest.mark.parametrize("ticks", [False, True])
def test_after_a_gap_that_restarts_a_series_windows_begin_after_the_warm_up(*, ticks: bool) -> None:
    whole = frame_of(500)[["unique_id", "ds", "y"]]
    forecaster = Forecaster("zero", 3, freq="1h", season=24, ticks=ticks).fit(whole)
    warm_up, later = forecaster.model.spec.warm_up, whole.ds > whole.ds.unique()[399]
    frame = whole.assign(ds=whole.ds + pd.to_timedelta(np.where(later, 200, 0), "D"))
    before, after = frame.ds.unique()[[warm_up - 1, 399 + warm_up]]
    with pytest.warns(HistoryWarning, match=r"needs 48 bars up to its cutoff, without a gap of more than [\d,]+ bars"):
        windows = forecaster.cross_validation(frame, n_windows=1_000, step_size=1)
    cutoffs = windows.cutoff[windows.unique_id == "k1"].unique()
    assert cutoffs.min() == before
    assert cutoffs[cutoffs > frame.ds.unique()[399]].min() == after
    assert windows.y.notna().all(), "no window lies in the gap"
    short = frame[frame.ds < after]
    (newest,) = forecaster.cross_validation(short, n_windows=1).cutoff.unique()
    assert newest <= frame.ds.unique()[399]


def test_a_window_that_leaves_too_few_rows_to_train_on_is_named() -> None:
    frame = frame_of(200)
    forecaster = Forecaster({"kind": "gru", "hidden": 8}, 6, options=OPTIONS).fit(frame)
    said = "refit trains on the 52 rows up to 2026-01-02 01:00:00 UTC, which are too few: .*; or ask for fewer windows$"
    with pytest.raises(HistoryError, match=said):
        forecaster.cross_validation(frame, n_windows=100, refit=True)


def test_rows_of_which_none_is_in_the_bar_after_another_are_no_outcomes(tmp_path: Path) -> None:
    hours = frame_of(100)[["unique_id", "ds", "y"]]
    days = hours.assign(ds=hours.groupby("unique_id").ds.transform(lambda ds: pd.date_range("2026", periods=len(ds))))
    forecaster = naive(hours)
    loaded = Forecaster.load(forecaster.save(tmp_path / "m"))
    for use in (forecaster.cross_validation, loaded.fit):
        with pytest.warns(HistoryWarning), pytest.raises(HistoryError, match="1d, and the model has bars of 1h"):
            use(days)
    with pytest.warns(HistoryWarning, match="rows are 1d apart, and bars are 1h"):
        assert len(forecaster.predict(days)) > 0


@needs_cases
def test_a_notebook_says_what_was_dropped_and_learns_from_the_corrections() -> None:
    frame = pd.read_csv(CASES / "27-corrections" / "first_zero_then_right.csv")
    with pytest.warns(HistoryWarning, match="960 of 1,920 rows have the series and time of a later row"):
        forecaster = naive(frame)
    with pytest.warns(HistoryWarning, match="960 of 1,920 rows"):
        assert (forecaster.predict(frame).zero > 10).all()


def test_a_series_that_was_never_observed_has_no_invented_number(fitted: Forecaster) -> None:
    frame = frame_of()
    never = frame[frame.unique_id == "k1"].assign(unique_id="never", y=np.nan)
    with pytest.warns(HistoryWarning, match="series 'never' has no target at all"):
        assert set(fitted.predict(pd.concat([frame, never])).unique_id) == {"k1", "k2"}
    stream = fitted.stream()
    assert not stream.update("k1", "2026-01-01", None)
    assert stream.series() == []
    assert stream.update("k1", "2026-01-01 01:00", 1.0)


@pytest.mark.parametrize("bars", [2, 3, 10])
@pytest.mark.parametrize("horizon", [5, 150])
def test_a_short_series_has_forecasts_of_a_long_horizon(bars: int, horizon: int) -> None:
    frame = frame_of(bars)[["unique_id", "ds", "y"]]
    found = naive(frame, horizon).predict(frame)
    assert len(found) == 2 * horizon
    assert np.isfinite(found.zero).all()


def test_rows_that_are_too_few_are_refused_with_the_remedy() -> None:
    frame = frame_of(1)[["unique_id", "ds", "y"]]
    with pytest.raises(HistoryError, match="freq cannot be guessed: no series has two different times; give it"):
        naive(frame)
    with pytest.raises(HistoryError, match=r"^the data frame has no columns; expected 'ds', 'y'$"):
        Forecaster("zero").fit(pd.DataFrame())
    with pytest.raises(HistoryError, match="the data frame has columns and no rows; expected at least one observation"):
        naive(frame[:0])


@needs_cases
def test_the_word_na_is_a_category_of_a_live_value() -> None:
    frame = pd.read_csv(CASES / "06-NA" / "by_region.csv", keep_default_na=False)
    column = naive(frame).model.spec.series.columns[1]
    assert [number(value, column) for value in ("APAC", "EU", "NA")] == [0, 1, 2]
    assert np.isnan(number(None, column))


def test_a_models_kind_decides_how_a_column_is_read_and_updated() -> None:
    frame = frame_of(100).drop(columns="load")
    frame["kind"] = np.resize(["1", "2", "A"], len(frame))
    frame["holiday"] = np.resize(["x", None, "y"], len(frame))
    forecaster = naive(frame)
    later = frame.assign(kind=np.resize([1, 2], len(frame)), holiday=None)
    texts = frame.assign(kind=np.resize(["1", "2"], len(frame)), holiday=None)
    pd.testing.assert_frame_equal(forecaster.predict(later), forecaster.predict(texts))
    columns = forecaster.model.spec.series.columns
    places = [number(value, columns[1]) for value in ("1", 1, 1.0, np.int64(1), "A", "B")]
    assert places == [0, 0, 0, 0, 2, -1]
    assert np.isnan(number(float("nan"), columns[2]))


def test_a_frame_without_an_input_of_the_model_is_refused_with_the_remedy(fitted: Forecaster) -> None:
    with pytest.raises(HistoryError, match=r"no column 'load'.* The model reads it as an input: add it, empty where"):
        fitted.predict(frame_of(60).drop(columns="load"))
    assert len(fitted.predict(frame_of(60).assign(load=None))) == 12


def test_a_frame_without_any_target_is_refused() -> None:
    hours = pd.date_range("2026-01-01", periods=60, freq="h")
    named = r"column 'y' has no value in the 60 rows .* another target with target_col"
    with pytest.warns(HistoryWarning, match="no target at all"), pytest.raises(HistoryError, match=named):
        Forecaster("zero", horizon=2).fit(pd.DataFrame({"ds": hours, "y": np.full(60, np.nan)}), id_col=None)


def test_a_season_that_was_given_is_not_said_to_be_missing() -> None:
    hours = pd.date_range("2026-01-01", periods=60, freq="h")
    frame = pd.DataFrame({"unique_id": "a", "ds": hours, "y": range(60)})
    chosen, given = (Forecaster("zero", horizon=2, season=season).fit(frame).notes for season in (None, 1))
    assert [note for note in chosen if "no season was found" in note]
    assert not [note for note in given if "no season was found" in note]


def test_forecasts_of_closed_days_are_announced() -> None:
    """A sum over the forecast of a week counted the Sunday that has no rows."""
    days = pd.DataFrame({"ds": pd.date_range("2026-01-05", periods=84, freq="D"), "y": 1.0})
    forecaster = Forecaster("zero", horizon=7, id_col=None).fit(days[days.ds.dt.day_of_week < 6])
    assert "forecasts have all bars: leave out those that are never observed" in "\n".join(forecaster.notes)
    assert len(forecaster.predict(days[days.ds.dt.day_of_week < 6])) == 7
    assert "forecasts have all bars" not in "\n".join(forecaster.fit(days).notes)


def test_notes_are_of_the_fit_and_of_the_frame_read_last(tmp_path: Path) -> None:
    hours = pd.DataFrame({"ds": pd.date_range("2026-01-01", periods=300, freq="h"), "y": np.arange(300.0) % 24})
    forecaster = Forecaster("zero", horizon=2, id_col=None).fit(hours.drop(range(50, 60)))
    missing = "bars without a row between rows of their series count as missing: 'y' 10 (most at once: 10, after"
    assert missing in "\n".join(forecaster.notes)
    loaded = Forecaster.load(forecaster.save(tmp_path / "clock"))
    assert loaded.notes == ()
    loaded.predict(hours.drop([70]))
    assert "'y' 1 (most at once: 1, after 2026-01-03 21:00:00 UTC)" in "\n".join(loaded.notes)


@pytest.mark.parametrize(("name", "near"), [("gur", "gru"), ("Gru", "gru"), ("ZERO", "zero")])
def test_an_unknown_network_is_refused_at_once_with_the_nearest_name(name: str, near: str) -> None:
    with pytest.raises(ModelError, match=rf"model names '{name}', which is unknown: did you mean '{near}'\?"):
        Forecaster(name)


def test_options_are_those_of_the_package() -> None:
    assert Forecaster("gru", options=Options(max_seconds=60)).name == "gru"
    with pytest.raises(SpecError, match=r"options is a dict: expected streamcast\.Options"):
        Forecaster("zero", options={"max_seconds": 60})  # type: ignore[arg-type]


def test_values_above_the_bound_are_noted_and_no_forecast_is_above() -> None:
    y = np.minimum(60.0 + 50.0 * np.sin(np.arange(300.0) * np.pi / 12), 100.0)
    frame = pd.DataFrame({"ds": pd.date_range("2026-01-01", periods=300, freq="h"), "y": y})
    frame.loc[7, "y"] = 104.0
    fitted = Forecaster("zero", horizon=24, upper=100).fit(frame)
    said = "1 of 300 values lie above the bound of 100, up to 104: no forecast reaches them, and no interval holds them"
    assert [note for note in fitted.notes if said in note]
    assert fitted.predict(frame)[["zero", "zero-lo-80", "zero-hi-80"]].to_numpy().max() == 100.0
    with pytest.raises(SpecError, match=r"upper 0 must be more than lower 5"):
        Forecaster("zero", horizon=2, lower=5, upper=0).fit(frame)


def test_a_few_values_below_the_bound_are_noted_and_many_are_warned_of(tmp_path: Path) -> None:
    """They were a note, however many."""
    frame = pd.DataFrame({"ds": pd.date_range("2026-01-01", periods=300, freq="h"), "y": np.arange(300.0) - 2.5})
    said = "no forecast reaches them, and no interval holds them; if they are right, train without lower"
    fitted = Forecaster("zero", horizon=2, lower=0).fit(frame)
    assert [note for note in fitted.notes if "3 of 300 values lie below the bound of 0, down to -2.5: " + said in note]
    assert not [note for note in Forecaster("zero", horizon=2, lower=-2.5).fit(frame).notes if "bound" in note]
    lower = frame.assign(y=frame.y - 1.0)
    with pytest.warns(HistoryWarning, match=f"4 of 300 values lie below the bound of 0, down to -3.5: {said}") as found:
        fitted = Forecaster("zero", horizon=2, lower=0).fit(lower)
    assert len(found) == 1
    assert not [note for note in fitted.notes if "bound" in note]
    with pytest.warns(HistoryWarning, match="4 of 300 values lie below the bound of 0"):
        Forecaster.load(fitted.save(tmp_path / "m")).predict(lower)


def test_values_below_zero_are_noted_where_the_scale_does_not_suit_them(tmp_path: Path) -> None:
    frame = pd.DataFrame({"ds": pd.date_range("2026-01-01", periods=40, freq="h"), "y": np.arange(40.0) % 5})
    below = frame.assign(y=frame.y - 1.5)
    scales: dict[TransformName, str] = {"sqrt": "square-root", "log": "logarithmic", "none": ""}
    for transform, scale in scales.items():
        fitted = Forecaster("zero", horizon=2, transform=transform).fit(frame)
        loaded = Forecaster.load(fitted.save(tmp_path / transform))
        loaded.predict(frame)
        assert not [note for note in loaded.notes if "below 0" in note]
        loaded.predict(below)
        said = [note for note in loaded.notes if "below 0" in note]
        assert len(said) == bool(scale)
        assert all(note.startswith("16 of 40 values lie below 0, down to -1.5") and scale in note for note in said)


@pytest.mark.parametrize("zone", [None, "Australia/Brisbane"])
def test_a_stream_names_zones_as_its_frame_does(zone: str | None, tmp_path: Path) -> None:
    times = pd.date_range("2026-01-01", periods=40, freq="h", tz=zone)
    frame = pd.DataFrame({"ds": times, "y": np.arange(40.0) % 5})
    fitted = Forecaster("zero", horizon=2, timezone="Australia/Brisbane").fit(frame)
    for forecaster in (fitted, Forecaster.load(fitted.save(tmp_path / "m"))):
        expected = forecaster.predict(frame).ds
        live = forecaster.stream(frame)
        assert live.forecast(*live.series()).ds.tolist() == expected.tolist()
        empty = forecaster.stream()
        for time, y in zip(frame.ds, frame.y, strict=True):
            empty.update("y", time, y)
        assert empty.forecast("y").ds.tolist() == expected.tolist()


def test_local_days_that_are_read_as_days_of_utc_are_warned_of_and_a_zone_makes_them_right() -> None:
    days = pd.date_range("2026-01-01", periods=120, tz="Europe/Berlin")
    frame = pd.DataFrame({"ds": days, "y": np.arange(120.0) % 7})
    said = r"\d+ rows of 120 start at another hour than the bars of 1d, which are days of UTC.* place with timezone$"
    with pytest.warns(HistoryWarning, match=said):
        Forecaster("zero", horizon=2).fit(frame)
    found = Forecaster("zero", horizon=2, timezone="Europe/Berlin").fit(frame).cross_validation(frame, n_windows=40)
    assert found.ds.isin(days).all()


@SEEN
@pytest.mark.parametrize("form", ["datetimes", "texts", "%d.%m.%Y %H:%M"])
@pytest.mark.parametrize(
    ("bar", "said"), [("1h", "2024-10-27 02:00 comes"), ("30min", "2 local times, such as 2024-10-27 02:00, come")]
)
def test_a_local_time_that_forecasts_have_twice_is_noted(form: str, bar: str, said: str) -> None:
    """A join by time doubled such rows without a word."""
    zone = "Europe/Berlin"
    times = pd.date_range("2024-10-20", "2024-10-28", freq=bar, tz=zone)
    known = times < pd.Timestamp("2024-10-27", tz=zone)
    zoned = pd.DataFrame({"ds": times, "y": np.sin(np.arange(len(times)))})
    written = {"datetimes": times.tz_localize(None), "texts": times.tz_localize(None).astype(str)}
    local = zoned.assign(ds=written.get(form, times.strftime(form)))
    time_format = form if form.startswith("%") else None
    forecaster = Forecaster("zero", horizon=8, timezone=zone, season=24, time_format=time_format).fit(local[known])
    whole = f"{said} twice in what is returned, summer time first, because clocks go back in {zone}: a join by time"
    assert not any("twice" in note for note in forecaster.notes)
    assert forecaster.predict(local[known]).ds.duplicated().any()
    (note,) = [note for note in forecaster.notes if "twice" in note]
    assert note == f"{whole} doubles such rows. Give times with their zone to tell them apart"
    forecaster.predict(local[known], h=2)
    assert not any("twice" in note for note in forecaster.notes)
    past = local[times < pd.Timestamp("2024-10-27 05:00", tz=zone)]
    for method in (partial(forecaster.cross_validation, n_windows=3), forecaster.anomalies):
        found = method(past)
        assert found.ds.nunique() < len(found)
        assert any(note.startswith(whole) for note in forecaster.notes)
        forecaster.predict(local[known], h=2)
    numbers = zoned.assign(ds=times.tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[s]").astype(int))
    for frame in (zoned, numbers):
        told = Forecaster("zero", horizon=8, timezone=zone, season=24).fit(frame[known])
        assert not told.predict(frame[known]).ds.duplicated().any()
        assert not any("twice" in note for note in told.notes)


def test_a_season_longer_than_the_history_is_noted() -> None:
    days = pd.DataFrame({"ds": pd.date_range("2026-01-01", periods=40), "y": np.arange(40.0) % 7})
    said = "the season of 365 days (365 bars) is longer than the history (40 bars)"
    assert [note for note in Forecaster("zero", horizon=2, season=365).fit(days).notes if note.startswith(said)]
    assert not [note for note in Forecaster("zero", horizon=2, season=7).fit(days).notes if "longer than" in note]


def test_a_model_without_a_network_is_measured_where_the_newest_rows_have_no_target() -> None:
    """An IndexError, where the last 15 % of the rows had none."""
    days = pd.DataFrame({"ds": pd.date_range("2026-01-01", periods=100), "y": np.arange(100.0) % 7})
    days.loc[60:, "y"] = np.nan
    fitted = Forecaster("zero", horizon=2).fit(days)
    assert fitted.model.facts["quality"]["until"] == fitted.model.facts["last"]
    assert "held" in repr(fitted)
