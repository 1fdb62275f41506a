"""Arguments of the notebook API are what their annotations say, or one message in words."""

from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from streamcast import Forecaster, Options
from streamcast.errors import HistoryError
from streamcast.models.spec import SpecError
from streamcast.offline.training.run import Progress

HOURS = pd.DataFrame({"ds": pd.date_range("2026-01-01", periods=96, freq="h"), "y": np.arange(96.0) % 24})
INPUTS = HOURS.assign(unique_id="norm", temp=1.0, wind=np.arange(96.0))


def new(**given: Any) -> Forecaster:
    return Forecaster(**{"model": "zero", "horizon": 6, "season": 24, "name": "m", **given})


@pytest.fixture(scope="module")
def fitted() -> Forecaster:
    return new().fit(INPUTS)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"horizon": "24"}, "horizon is '24': expected a whole number"),
        ({"horizon": 2.5}, "horizon is 2.5: expected a whole number"),
        ({"timezone": None}, "timezone is None: expected a text, or leave it out, which is 'UTC'"),
        ({"quantiles": "0.1,0.5,0.9"}, "quantiles is '0.1,0.5,0.9': expected a list, each item a number"),
        ({"online": "forget=1"}, "online is 'forget=1': expected a dict"),
        ({"aggregates": "y=sum"}, "aggregates is 'y=sum': expected a dict"),
        ({"season": 2.5}, "season is 2.5: expected a whole number or a text or a list"),
        ({"lower": "0"}, "lower is '0': expected a number"),
        ({"transform": "boxcox"}, "transform is 'boxcox': expected 'none' or 'sqrt' or 'log'$"),
        ({"transform": "SQRT"}, r"transform is 'SQRT': expected .*\. Did you mean 'sqrt'\?"),
        ({"transform": 3}, "transform is 3: expected 'none' or 'sqrt' or 'log'"),
        ({"lower": pd.Series([1.0, 2.0])}, "lower is a Series: expected a number"),
        ({"level": [0.9]}, r"level is 0.9: expected percentages .* such as \[80, 95\]; is it 90 percent\?"),
        ({"level": [80], "quantiles": (0.1, 0.5, 0.9)}, "both choose the intervals; leave one of them out"),
        ({"level": [80, 95, 80.00001]}, "level has 80 and 80.00001, which are one interval: leave one of them out"),
    ],
)
def test_an_argument_of_another_kind_is_refused_with_what_was_expected(given: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        new(**given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"epochs": "5"}, "epochs is '5': expected a whole number from 0 to 1000000"),
        ({"rows": 2.5}, "rows is 2.5: expected a whole number"),
        ({"max_seconds": "60"}, "max_seconds is '60': expected a number"),
        ({"clip": None}, "clip is None: expected a number from 1e-06 to"),
        ({"epochs": True}, "epochs is True: expected a whole number from 0"),
        ({"precision": "float16"}, "precision is 'float16': expected 'float32' or 'bfloat16'"),
        ({"device": "gpu"}, "device is 'gpu': expected 'auto' or 'cpu' or 'cuda'"),
        ({"device": None}, "device is None: expected 'auto' or 'cpu' or 'cuda'"),
    ],
)
def test_an_option_of_another_kind_is_refused_with_what_was_expected(given: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        Options(**given)


@pytest.mark.parametrize("model", ["zero", {"kind": "none"}])
def test_options_of_training_are_refused_where_nothing_is_trained(model: str | dict[str, str]) -> None:
    said = "epochs and device: a network is trained so, and zero has none: leave them out"
    with pytest.raises(SpecError, match=said):
        new(model=model, options=Options(epochs=3, device="cpu"))
    longer, usual = (
        new(model=model, options=options).fit(INPUTS).model.facts["quality"]["forecasts"]
        for options in (Options(validation=0.5), Options())
    )
    assert longer > 2 * usual


def test_an_unknown_argument_is_refused_with_the_nearest_or_all_of_them(fitted: Forecaster) -> None:
    with pytest.raises(TypeError, match=r"Forecaster\(\) got an unexpected .* 'horizn'\. Did you mean 'horizon'\?"):
        new(horizn=3)
    said = r"Forecaster.predict\(\) got an unexpected .* 'horizon'; expected df, h, level, id_col, time_col, target_col"
    with pytest.raises(TypeError, match=said):
        fitted.predict(INPUTS, horizon=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"Options\(\) got an unexpected .* 'epoch'\. Did you mean 'epochs'\?$"):
        Options(epoch=1)  # type: ignore[call-arg]
    with pytest.raises(
        TypeError, match=r"Options\(\) got an unexpected .* 'max_second'\. Did you mean 'max_seconds'\?$"
    ):
        replace(Options(), max_second=3)  # type: ignore[call-arg]
    with pytest.raises(
        TypeError, match=r"Options\(\) got an unexpected .* 'gpu'; expected epochs, updates, patience, "
    ):
        Options(gpu=True)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"Options\(\) too many positional arguments$"):
        Options(*range(99))
    with pytest.raises(TypeError, match=r"Forecaster.predict\(\) missing a required argument: 'df'$"):
        fitted.predict(h=3)  # type: ignore[call-arg]


def test_options_are_the_same_after_a_pickle_and_a_replacement() -> None:
    options = Options(3, max_seconds=60, seed=7)
    assert pickle.loads(pickle.dumps(options)) == copy.deepcopy(options) == options
    assert replace(options, seed=8) == Options(3, max_seconds=60, seed=8)
    assert list(inspect.signature(Options).parameters) == [option.name for option in fields(Options)]


@pytest.mark.parametrize("path", [3, None, ["models/load/1"], b"models/load/1"])
def test_what_is_no_path_is_refused(fitted: Forecaster, path: Any) -> None:
    for call in (fitted.save, Forecaster.load):
        with pytest.raises(SpecError, match=r"path is .*: expected a text or a path$"):
            call(path)


@pytest.mark.parametrize("quantiles", [(0, 0.5, 1), (10, 50, 100)])
def test_quantiles_that_would_be_none_as_shares_are_not_proposed(quantiles: tuple[float, ...]) -> None:
    with pytest.raises(SpecError, match=r"must rise strictly between 0 and 1$"):
        new(quantiles=quantiles).fit(INPUTS)


def test_what_follows_a_training_is_a_function() -> None:
    with pytest.raises(SpecError, match=r"^on_progress is a Series: expected a function$"):
        new().fit(INPUTS, INPUTS.y)  # type: ignore[arg-type]
    for wrong in (3, "print", [print]):
        with pytest.raises(SpecError, match=r"on_progress is .*: expected a function$"):
            new().fit(INPUTS, on_progress=wrong)  # type: ignore[arg-type]
    assert len(new().fit(INPUTS, on_progress=print).predict(INPUTS)) == 6


def test_a_training_reports_to_a_function_and_shows_its_progress(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamcast.app.progress.FIRST_SECONDS", 0.0)
    monkeypatch.setattr("streamcast.app.progress.TICK_SECONDS", 0.0)
    seen: list[Progress] = []
    small = {"kind": "gru", "hidden": 8, "layers": 1}
    new(model=small, options=Options(epochs=1, updates=2)).fit(INPUTS, on_progress=seen.append, progress=True)
    assert seen
    assert "progress: " in capsys.readouterr().out


@pytest.mark.parametrize("quantiles", [(0.1, 0.1000001, 0.5), (0.4999999, 0.49999995, 0.5)])
def test_quantiles_that_forecasts_call_by_one_name_are_refused(quantiles: tuple[float, ...]) -> None:
    with pytest.raises(SpecError, match=r"quantiles has .* and .*, which forecasts call by one name, model-lo-"):
        new(quantiles=quantiles).fit(INPUTS)
    near = new(quantiles=(0.1, 0.100001, 0.5)).fit(INPUTS).predict(INPUTS)
    assert list(near.columns[3:]) == ["m", "m-lo-79.9998", "m-lo-80"]


def test_one_item_is_a_list_of_one(fitted: Forecaster) -> None:
    pd.testing.assert_frame_equal(fitted.predict(INPUTS, level=80), fitted.predict(INPUTS, level=[80]))  # type: ignore[arg-type]
    assert list(new(level=95).fit(INPUTS).predict(INPUTS).columns[3:]) == ["m", "m-lo-95", "m-hi-95"]
    assert list(new(quantiles=0.5).fit(INPUTS).predict(INPUTS).columns[3:]) == ["m"]
    assert len(fitted.plot(INPUTS, series="norm").data) == 3
    with pytest.raises(HistoryError, match="known names tide;"):
        new(known="tide").fit(INPUTS)


def test_numbers_of_numpy_are_numbers(fitted: Forecaster) -> None:
    expected = new(horizon=6, quantiles=[0.25, 0.5, 0.75]).fit(INPUTS).predict(INPUTS, h=3)
    array = np.array([0.25, 0.5, 0.75], np.float32)
    found = new(horizon=np.int64(6), quantiles=array).fit(INPUTS).predict(INPUTS, h=np.int64(3))  # type: ignore[arg-type]
    pd.testing.assert_frame_equal(found, expected)
    assert Options(seed=np.int64(3), clip=np.float32(0.5)) == Options(seed=3, clip=0.5)  # type: ignore[arg-type]
    assert len(fitted.cross_validation(INPUTS, np.int64(2))) == 12  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"n_windows": "2"}, "n_windows is '2': expected a whole number"),
        ({"n_windows": 2, "step_size": 0}, "n_windows is 2 and step_size 0: expected at least 1 of each"),
        ({"refit": -1}, "refit is -1: expected True, False, or after how many windows the model is trained again"),
        ({"refit": True}, "refit is True: it trains again, and a model without a network learns from every row"),
        ({"refit": 2}, "refit is 2: it trains again, and a model without a network learns from every row: leave it"),
    ],
)
def test_windows_that_cannot_be_are_refused(fitted: Forecaster, given: dict[str, Any], said: str) -> None:
    with pytest.raises((SpecError, HistoryError), match=said):
        fitted.cross_validation(INPUTS, **given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"series": "Norm"}, "series names 'Norm', .*Did you mean 'norm'. Those that have one: 'norm'"),
        ({"series": ["norm", "xx"]}, "series names 'xx', which has no forecast. Those that have one: 'norm'"),
        ({"bars": 0}, "bars is 0: expected at least 1"),
        ({"level": 0.8}, "level is 0.8: .*is it 80 percent"),
    ],
)
def test_a_plot_names_what_it_cannot_show(fitted: Forecaster, given: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        fitted.plot(INPUTS, **given)


def test_a_series_whose_name_is_a_number_is_plotted() -> None:
    numbered = pd.concat([INPUTS.assign(unique_id=number) for number in (7, 31)])
    figure = new().fit(numbered).plot(numbered, series=31)  # type: ignore[arg-type]
    assert [note.text for note in figure.layout.annotations] == ["31"]


@pytest.mark.parametrize(
    "freq", [pd.Timedelta("1h"), timedelta(hours=1), np.timedelta64(3600 * 10**9, "ns"), pd.offsets.Hour()]
)
def test_a_bar_length_may_be_a_duration_of_pandas_numpy_or_python(freq: Any) -> None:
    assert Forecaster("zero", freq=freq, season=24 * freq).fit(INPUTS).model.spec.series.freq == 3_600_000


def test_a_duration_where_a_number_is_wanted_is_refused() -> None:
    with pytest.raises(SpecError, match=r"horizon is Timedelta.* expected a whole number"):
        Forecaster(horizon=pd.Timedelta("1h"))  # type: ignore[arg-type]
