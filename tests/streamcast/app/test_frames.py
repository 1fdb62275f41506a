"""Frames as people have them: own names, an index as time, one series, Arrow tables; and what a notebook shows."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from streamcast.app.forecaster import Forecaster, quantiles_of
from streamcast.errors import HistoryError, HistoryWarning, ModelError, TrainingWarning
from streamcast.models.spec import SpecError
from streamcast.offline.training.options import Options
from streamcast.offline.training.run import Progress

BARS = 120
NIXTLA = ["unique_id", "ds", "cutoff", "m", "m-lo-80", "m-hi-80", "m-lo-95", "m-hi-95"]


def frame_of(series: int = 2) -> pd.DataFrame:
    random, wave = np.random.default_rng(0), np.sin(2 * np.pi * np.arange(BARS) / 24)
    times = pd.date_range("2026-01-01", periods=BARS, freq="h")
    parts = [
        pd.DataFrame({"unique_id": f"k{n}", "ds": times, "y": 10 * n + wave + 0.1 * random.standard_normal(BARS)})
        for n in range(series)
    ]
    return pd.concat(parts, ignore_index=True)


def new(**given: object) -> Forecaster:
    return Forecaster("zero", 6, level=[80, 95], season=24, name="m", **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def fitted() -> Forecaster:
    return new().fit(frame_of())


RENAMED = {"unique_id": "meter", "ds": "when", "y": "kWh"}
GIVEN = {"id_col": "meter", "time_col": "when", "target_col": "kWh"}


def test_own_names_are_taken_everywhere_and_come_back(fitted: Forecaster, tmp_path: Path) -> None:
    expected = fitted.predict(frame_of())
    own, backward = frame_of().rename(columns=RENAMED), {name: plain for plain, name in RENAMED.items()}
    by_method = new()
    by_method.fit(own, id_col="meter", time_col="when", target_col="kWh")
    for forecaster in (new(**GIVEN).fit(own), by_method, fitted):
        given = GIVEN if forecaster is fitted else {}
        found = forecaster.predict(own, **given)  # type: ignore[arg-type]
        assert list(found.columns[:2]) == ["meter", "when"]
        pd.testing.assert_frame_equal(found.rename(columns=backward), expected)
        tested = forecaster.cross_validation(own, n_windows=2, **given)  # type: ignore[arg-type]
        assert list(tested.columns[:4]) == ["meter", "when", "cutoff", "kWh"]
        live = forecaster.stream(own, **given).forecast("k1")
        assert list(live.columns) == list(found.columns)
    kept = new(**GIVEN).fit(own)
    loaded = Forecaster.load(kept.save(tmp_path / "m"))
    pd.testing.assert_frame_equal(loaded.predict(own), kept.predict(own))


def test_one_series_needs_no_name_and_its_times_may_be_the_index(fitted: Forecaster) -> None:
    one = frame_of(1)
    expected = fitted.predict(one).drop(columns="unique_id")
    indexed = one.set_index("ds")[["y"]]
    for frame in (one.drop(columns="unique_id"), indexed, indexed["y"], indexed.rename_axis(None)):
        pd.testing.assert_frame_equal(fitted.predict(frame), expected)
    alone = new().fit(indexed)
    assert list(alone.predict(indexed).columns) == NIXTLA[1:]
    assert "unique_id" not in alone.cross_validation(indexed)
    live = alone.stream(indexed)
    assert list(live.forecast(*live.series()).columns) == NIXTLA[1:]


def test_series_and_times_may_be_levels_of_the_index_and_none_is_lost(fitted: Forecaster) -> None:
    expected = fitted.predict(frame_of())
    indexed = frame_of().set_index(["unique_id", "ds"])
    for frame in (indexed, indexed.swaplevel(), indexed["y"], indexed.reset_index("ds")):
        pd.testing.assert_frame_equal(fitted.predict(frame), expected)
    own = indexed.rename_axis(["meter", "ds"])
    pd.testing.assert_frame_equal(fitted.predict(own, id_col="meter"), expected.rename(columns={"unique_id": "meter"}))
    with pytest.warns(HistoryWarning, match="They differ in 'meter': .* name that column with id_col"):
        fitted.predict(own)
    with pytest.raises(HistoryError, match=r"if it names the series, df.rename_axis\(\['unique_id', 'ds'\]\) says so"):
        fitted.predict(indexed.rename_axis([None, "ds"]))


def test_an_arrow_table_is_a_frame(fitted: Forecaster) -> None:
    expected = fitted.predict(frame_of())
    pd.testing.assert_frame_equal(fitted.predict(pa.Table.from_pandas(frame_of())), expected)
    with pytest.raises(HistoryError, match="df is a list: expected a frame of pandas or polars"):
        fitted.predict([1, 2, 3])
    with pytest.raises(HistoryError, match=r"df is a str: .*Read it first, such as with pd.read_csv\('load.csv'\)"):
        fitted.predict("load.csv")


class Polars:
    """A frame as polars gives it to others: nothing but the Arrow interface."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


class Lazy:
    """A lazy frame of polars."""

    def __init__(self, frame: Polars) -> None:
        self._frame = frame

    def collect(self) -> Polars:
        return self._frame


POLARS = {
    "unique_id": pa.string_view(), "ds": pa.timestamp("us"), "y": pa.float64(), "cost": pa.decimal128(38, 2),
    "kind": pa.dictionary(pa.uint32(), pa.string_view()), "open": pa.bool_(),
}  # fmt: skip
"""The types in which polars 2 exports texts, times, numbers, decimals, categories and flags."""


def with_every_kind() -> pd.DataFrame:
    frame, numbers = frame_of(), np.arange(2 * BARS)
    frame["cost"] = (numbers % 11) / 4
    frame["kind"] = np.where(numbers % 7 < 3, "sun", "rain")
    frame["open"] = numbers % 24 > 8
    frame.loc[[5, 6], "y"] = np.nan
    return frame


def as_polars(frame: pd.DataFrame) -> Polars:
    whole = pa.table(
        {name: pa.array(frame[name].tolist(), from_pandas=True).cast(kind) for name, kind in POLARS.items()}
    )
    return Polars(pa.concat_tables([whole[:100], whole[100:]]))


@pytest.mark.parametrize("name", ["y", "ds", "cutoff", "unique_id", "kWh", "when", "meter", "model"])
@pytest.mark.parametrize("own", [False, True], ids=["nixtlas", "own"])
def test_a_model_called_like_a_column_loses_none_and_doubles_none(name: str, *, own: bool) -> None:
    df = frame_of().rename(columns=RENAMED) if own else frame_of()
    keys, target = (["meter", "when", "cutoff"], "kWh") if own else (["unique_id", "ds", "cutoff"], "y")
    given = GIVEN if own else {}
    plain, called = (
        Forecaster("zero", 6, season=24, name=each, **given).fit(df)  # type: ignore[arg-type]
        for each in ("m", name)
    )
    for found, expected, others in (
        (called.predict(df, level=[80]), plain.predict(df, level=[80]), keys),
        (called.cross_validation(df), plain.cross_validation(df), [*keys, target]),
        (called.stream(df).forecast("k1"), plain.stream(df).forecast("k1"), keys),
    ):
        model = f"{name}-forecast" if name in others else name
        assert list(found.columns) == [*others, model, f"{model}-lo-80", f"{model}-hi-80"]
        assert found.set_axis(expected.columns, axis=1).equals(expected)
    drawn = {trace.name: list(trace.y) for trace in called.plot(df).data[:3]}
    assert drawn == {trace.name: list(trace.y) for trace in plain.plot(df).data[:3]}


def test_the_target_that_a_frame_is_said_to_have_is_read_and_no_other(fitted: Forecaster) -> None:
    other = frame_of().assign(load=lambda df: 1_000 + df.y)
    expected = fitted.predict(other.drop(columns="y"), target_col="load")
    assert (expected.m > 900).all()
    pd.testing.assert_frame_equal(fitted.predict(other, target_col="load"), expected)
    reads_it = new().fit(other)  # load is an input
    pd.testing.assert_frame_equal(reads_it.predict(other, target_col="load"), expected)
    for use in (fitted.predict, fitted.cross_validation, fitted.stream):
        with pytest.raises(HistoryError, match="has no column 'laod', did you mean 'load'"):
            use(other, target_col="laod")
    with pytest.raises(HistoryError, match="time_col and target_col both name 'ds'"):
        fitted.predict(other, target_col="ds")


@pytest.mark.parametrize("none", [None, ""])
def test_no_id_column_is_one_series_for_the_forecaster_and_for_its_methods(none: str | None) -> None:
    one = frame_of(1).assign(unique_id=np.arange(BARS) % 2)  # an input, if it is no name
    expected = new(id_col=None).fit(one).predict(one)
    assert list(expected.columns[:2]) == ["ds", "cutoff"]
    pd.testing.assert_frame_equal(new(id_col=none).fit(one).predict(one), expected)
    pd.testing.assert_frame_equal(new().fit(one, id_col="").predict(one), expected)


@pytest.mark.parametrize("option", ["id_col", "time_col", "target_col"])
def test_a_column_called_cutoff_is_refused_before_the_work(fitted: Forecaster, option: str) -> None:
    df, name = frame_of(), {"id_col": "unique_id", "time_col": "ds", "target_col": "y"}[option]
    said = f"{option} is 'cutoff', the column in which forecasts say when they were made: rename"
    with pytest.raises(HistoryError, match=said):
        new(**{option: "cutoff"}).fit(df.rename(columns={name: "cutoff"}))
    uses: list[Any] = [fitted.predict, fitted.cross_validation, fitted.stream]
    for use in uses:
        with pytest.raises(HistoryError, match=said):
            use(df.rename(columns={name: "cutoff"}), **{option: "cutoff"})


def test_frames_of_polars_give_the_bytes_of_pandas() -> None:
    frame = with_every_kind()
    given = as_polars(frame)
    expected, found = new().fit(frame), new().fit(given)
    pd.testing.assert_frame_equal(found.predict(given), expected.predict(frame))
    pd.testing.assert_frame_equal(found.predict(Lazy(given)), expected.predict(frame))
    windows = found.cross_validation(given, n_windows=2)
    pd.testing.assert_frame_equal(windows, expected.cross_validation(frame, n_windows=2))
    live, other = found.stream(given), expected.stream(frame)
    pd.testing.assert_frame_equal(live.forecast("k1"), other.forecast("k1"))


def test_what_arrow_does_not_read_as_a_table_is_one_message(fitted: Forecaster) -> None:
    with pytest.raises(HistoryError, match="df is a ChunkedArray that Arrow does not read as a table"):
        fitted.predict(pa.chunked_array([[1.0, 2.0]]))  # as a series of polars


def test_fewer_steps_and_some_levels_can_be_asked_for(fitted: Forecaster) -> None:
    whole = fitted.predict(frame_of())
    assert list(whole.columns) == NIXTLA
    some = fitted.predict(frame_of(), h=2, level=[80])
    assert list(some.columns) == NIXTLA[:6]
    assert len(some) == 4
    assert some["m"].tolist() == whole.groupby("unique_id").head(2)["m"].tolist()
    with pytest.raises(SpecError, match="h is 7: expected 1 to 6, the model's horizon"):
        fitted.predict(frame_of(), h=7)
    with pytest.raises(SpecError, match="the model has no m-lo-50, m-hi-50; its levels are 80, 95"):
        fitted.predict(frame_of(), level=[50])


def test_levels_are_quantiles() -> None:
    assert quantiles_of([80, 95]) == (0.025, 0.1, 0.5, 0.9, 0.975)
    with pytest.raises(SpecError, match=r"level is 120: expected percentages from 1 to below 100, such as \[80, 95\]$"):
        quantiles_of([120])


def test_a_level_is_both_of_its_quantiles() -> None:
    for quantiles, said in (
        ([0.1, 0.25, 0.5, 0.75], r"the model has no m-hi-80; its levels are 50: train one"),
        ([0.1, 0.5], r"the model has no m-hi-80; no two of its quantiles, \(0.1, 0.5\), are a level: train one"),
    ):
        forecaster = Forecaster("zero", 6, quantiles=quantiles, season=24, name="m").fit(frame_of())
        with pytest.raises(SpecError, match=said):
            forecaster.predict(frame_of(), level=[80])


def test_a_forecaster_says_what_it_is(fitted: Forecaster) -> None:
    assert repr(new()) == "Forecaster('m', horizon 6: not trained yet)"
    assert repr(fitted).startswith("Forecaster('m', y every 1h, 6 bars ahead, season 1 day; MAE ")
    assert "of seasonal naive's (the same hour yesterday)" in repr(fitted)
    without = Forecaster("zero", 6, season=1, name="m").fit(frame_of())
    assert repr(without).startswith("Forecaster('m', y every 1h, 6 bars ahead, no season; MAE ")


def test_a_plot_has_what_came_and_what_is_forecast(fitted: Forecaster) -> None:
    figure = fitted.plot(frame_of(), h=3, level=[80], bars=10)
    by_name = {trace.name: trace for trace in figure.data[:3]}
    assert list(by_name) == ["80 % interval", "y", "forecast"]
    assert by_name["y"].y[-1] == frame_of(1)["y"].iloc[-1]
    assert len(by_name["y"].y) == 10
    assert list(by_name["forecast"].y) == fitted.predict(frame_of(), h=3)["m"].tolist()[:3]
    assert [note.text for note in figure.layout.annotations] == ["k0", "k1"]


def test_a_plot_ends_with_the_last_value_where_later_rows_only_say_what_is_known() -> None:
    frame = frame_of(1).assign(known=1.0)
    later = pd.DataFrame({"unique_id": "k0", "ds": frame.ds.max() + pd.to_timedelta(range(1, 7), "h"), "known": 2.0})
    forecaster = Forecaster("zero", 6, season=24, name="m").fit(frame.drop(columns="known"))
    _, seen, _ = forecaster.plot(pd.concat([frame, later]), bars=10).data
    assert list(seen.y) == frame.y.tail(10).tolist()


def test_a_plot_of_readings_has_the_bars_that_are_forecast() -> None:
    days = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2015-01-01", "2020-02-10"), "y": 2.0})
    forecaster = Forecaster("zero", 3, freq="MS", ticks=True, aggregates={"y": "sum"}, name="m").fit(days)
    _, seen, _ = forecaster.plot(days, bars=3).data
    assert list(seen.y) == [60.0, 62.0, 62.0]
    assert [str(at)[:10] for at in seen.x] == ["2019-11-01", "2019-12-01", "2020-01-01"]


OPTIONS = Options(epochs=1, updates=6, rows=2, chunk=8, positions=16, refit=0)
SMALL = {"kind": "gru", "hidden": 8, "layers": 1}


def test_a_window_is_forecast_by_a_model_that_has_not_seen_it() -> None:
    df = frame_of(1)
    forecaster = Forecaster(SMALL, 6, season=24, lags=24, plain=True, options=OPTIONS, name="m").fit(df)
    refitted = forecaster.cross_validation(df, n_windows=2, refit=True)
    known = df.copy()
    known.loc[known.ds > refitted.cutoff.min(), "y"] += 5.0  # what the first window's model must not see
    again = forecaster.cross_validation(known, n_windows=2, refit=True)
    first = refitted.cutoff == refitted.cutoff.min()
    assert first.sum() == 6
    assert refitted[first]["m"].tolist() == again[first]["m"].tolist()
    assert refitted[~first]["m"].tolist() != again[~first]["m"].tolist()
    said = "the model was trained on bars up to 2026-.* UTC, and the windows begin at 2026-.* UTC: .*refit=True"
    with pytest.warns(TrainingWarning, match=said):
        assert refitted["m"].tolist() != forecaster.cross_validation(df, n_windows=2)["m"].tolist()


def test_a_forecaster_that_was_loaded_is_trained_again_as_the_saved_one_was(tmp_path: Path) -> None:
    df = frame_of(1)
    saved = Forecaster(SMALL, 6, season=24, lags=24, plain=True, options=OPTIONS, name="m").fit(df)
    loaded = Forecaster.load(saved.save(tmp_path / "m"))
    expected = saved.cross_validation(df, refit=True)
    pd.testing.assert_frame_equal(loaded.cross_validation(df, refit=True), expected)


def test_a_training_that_ends_before_its_first_epoch_warns() -> None:
    options = Options(epochs=5, updates=10_000, rows=2, chunk=8, positions=16, max_seconds=2.0)
    forecaster = Forecaster(SMALL, 6, season=24, lags=24, plain=True, options=options)
    seen: list[Progress] = []

    def slow(at: Progress) -> None:
        seen.append(at)
        time.sleep(2.0 if len(seen) == 5 else 0.0)

    with pytest.warns(TrainingWarning, match=r"before its first epoch was finished \(the time was up\).*max_seconds="):
        forecaster.fit(frame_of(1), slow)
    assert forecaster.model.facts["learned"]


LIMITED = Options(epochs=1, learning_rate=0.0, max_seconds=1e-6)
"""Within this time nothing is learned."""


def test_a_time_limit_before_anything_was_learned_leaves_a_forecaster_its_model(tmp_path: Path) -> None:
    said = (
        r"the time was up before anything was learned: give the training more time \(Options\(max_seconds=\.\.\.\)\): a"
        r" first epoch needs at least [1-9]\d* s of it"
    )
    forecaster = Forecaster(SMALL, 6, season=24, lags=24, plain=True, options=LIMITED)
    with pytest.raises(ModelError, match=f"^{said}"):
        forecaster.fit(frame_of(1), time_col="ds")
    with pytest.raises(ModelError, match="no model yet"):
        forecaster.save(tmp_path / "m")
    forecaster = Forecaster(SMALL, 6, season=24, lags=24, plain=True, options=OPTIONS, name="m").fit(frame_of(1))
    loaded = Forecaster.load(forecaster.save(tmp_path / "m"))
    model, loaded._options = loaded.model, LIMITED
    with pytest.raises(ModelError, match=f"^{said}"):
        loaded.fit(frame_of(1))
    assert loaded.model is model
    with pytest.raises(ModelError, match=f"the model was to be trained again on 1[01]. rows, but {said}"):
        loaded.cross_validation(frame_of(1), refit=True)


def test_a_cross_validation_says_how_many_of_its_trainings_ended_at_their_limit() -> None:
    limited = Options(epochs=1_000_000, updates=1, patience=1_000_000, rows=2, chunk=8, positions=16, max_seconds=1.0)
    forecaster = Forecaster(SMALL, 6, season=24, lags=24, plain=True, options=limited, name="m").fit(frame_of(1))
    with pytest.warns(TrainingWarning, match=r"^refit: 1 of 1 training ended at the time limit: .*max_seconds="):
        forecaster.cross_validation(frame_of(1), refit=True)


def test_ctrl_c_before_anything_was_learned_leaves_a_forecaster_its_model() -> None:
    def interrupt(_: Progress) -> None:
        raise KeyboardInterrupt

    forecaster = Forecaster(SMALL, 6, season=24, lags=24, plain=True, options=OPTIONS).fit(frame_of(1))
    model = forecaster.model
    with pytest.raises(KeyboardInterrupt, match="before anything was learned"):
        forecaster.fit(frame_of(1), interrupt)
    assert forecaster.model is model


def test_a_training_of_no_epochs_is_not_told_to_take_more_time() -> None:
    forecaster = Forecaster(SMALL, 6, season=24, lags=24, plain=True, options=Options(epochs=0))
    with pytest.warns(TrainingWarning, match=r"without an epoch \(epochs=0\).*: ask for at least one.$"):
        forecaster.fit(frame_of(1))


@pytest.mark.parametrize(
    "given",
    [
        frame_of(1)["y"].to_numpy(),
        frame_of(1)["y"].to_list(),
        frame_of(1)[["ds", "y"]].to_dict("list"),
        dict(zip(frame_of(1)["ds"], frame_of(1)["y"], strict=True)),
        frame_of().to_dict("records"),
        frame_of().to_numpy().tolist(),
        frame_of(1)[["ds", "y"]].to_numpy().tolist(),
        frame_of(1)[["ds", "y"]].to_records(index=False),
    ],
    ids=["array", "numbers", "lists", "by time", "records", "rows", "rows of one series", "record array"],
)
def test_what_is_no_frame_is_refused_and_the_line_in_the_message_makes_one(fitted: Forecaster, given: Any) -> None:
    with pytest.raises(HistoryError, match=r"df is a .* makes one") as raised:
        fitted.predict(given)
    line = re.search(r"pd\.\w+\(df.*\)(?= makes one)", str(raised.value))
    assert line is not None
    assert len(new().fit(eval(line[0], {"pd": pd, "df": given})).notes)  # as it is printed


class Spark:
    """A frame of another library, which has a method that makes one of pandas."""

    def toPandas(self) -> pd.DataFrame:  # noqa: N802 - as it is called there
        return frame_of()


def test_a_frame_of_another_library_is_told_the_method_that_makes_one_of_pandas(fitted: Forecaster) -> None:
    with pytest.raises(HistoryError, match=r"df is a Spark: .*; df\.toPandas\(\) makes one"):
        fitted.predict(Spark())


@pytest.mark.parametrize("method", ["fit", "predict", "cross_validation", "stream"])
def test_a_frame_with_a_column_for_each_series_is_told_from_one_of_rows(fitted: Forecaster, method: str) -> None:
    wide = frame_of().pivot_table(index="ds", columns="unique_id", values="y")
    forecaster = new() if method == "fit" else fitted
    line = "df.rename_axis('ds').reset_index().melt('ds', var_name='unique_id', value_name='y')"
    with pytest.raises(HistoryError, match=r"2 series, k0, k1: in pandas, " + re.escape(line) + " makes a row"):
        getattr(forecaster, method)(wide)
    found = fitted.predict(eval(line, {"df": wide}))
    pd.testing.assert_frame_equal(found, fitted.predict(frame_of()), check_dtype=False)
