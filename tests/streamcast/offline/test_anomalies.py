"""The anomaly of each bar of a history is that of the service's record; a backtest has it for the bars of its test."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd
import pytest

from harness.histories import HOUR, START, history_of
from harness.readings import bars_and_readings
from streamcast.engine.engine import Engine
from streamcast.offline.evaluation.anomalies import anomalies
from streamcast.offline.evaluation.backtest import Refit, backtest
from streamcast.offline.history.polls import polls
from streamcast.offline.history.read import History
from streamcast.spec.folders import Model, new_network
from streamcast.spec.model_spec import ANOMALOUS, Column, SeriesSpec
from streamcast.spec.zero import zero_spec
from streamcast.topics.forecasts import Encoder

UNUSUAL, FIRST = START + 450 * HOUR, START + 400 * HOUR


def model_of(version: int = 4, mode: Literal["sample", "ticks"] = "sample") -> Model:
    series = SeriesSpec(columns=(Column(name="y"),), freq=HOUR, mode=mode)
    spec = zero_spec(series, 4, (24,)).model_copy(update={"schema_version": version})
    return Model(spec, new_network(spec), "zero")


@pytest.fixture(scope="module")
def history() -> History:
    found = history_of(500, 3)
    values_NC = found.values_NC.copy()
    values_NC[(found.ts_N == UNUSUAL) & (found.series_N == 1)] = 200.0
    return replace(found, values_NC=values_NC)


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_each_bar_has_the_bytes_that_the_service_publishes(history: History, version: int) -> None:
    model = model_of(version)
    spec, engine = model.spec, Engine(model.spec, model.network)
    encoder, found = Encoder(spec, "zero", "1", "0", "champion", "input"), anomalies(model, history)
    of_bar = found.set_index(["unique_id", "ds"]).anomaly
    answers = 0
    for poll in polls(history, spec, rows=61):
        forecasts = engine.stage(poll).forecasts
        engine.promote()
        keys = [poll.keys[record] for record in forecasts.record]
        bars = list(zip(keys, pd.to_datetime(forecasts.cutoffs, unit="ms"), strict=True))
        again = replace(forecasts, anomaly=of_bar[bars].to_numpy())
        named, zeros = [json.dumps(key).encode() for key in keys], np.zeros(len(keys), np.int64)
        served = encoder.encode(named, forecasts, zeros, forecasts.record)
        assert served == encoder.encode(named, again, zeros, forecasts.record)
        answers += len(served)
    assert answers == len(found)


def test_an_unusual_bar_is_found_with_its_value(history: History) -> None:
    found = anomalies(model_of(), history)
    assert list(found.columns) == ["unique_id", "ds", "y", "anomaly"]
    (unusual,) = found[(found.unique_id == "s1") & (found.anomaly >= ANOMALOUS) & (found.y == 200)].itertuples()
    assert unusual.ds == pd.Timestamp(UNUSUAL, unit="ms")
    assert found.anomaly[found.y.isna()].isna().all(), "a missing bar has no anomaly"
    assert found.groupby("unique_id").anomaly.count().max() < 500 - 40


def test_bars_of_readings_have_the_anomalies_of_the_bars_they_make() -> None:
    hours, readings = bars_and_readings()
    by = ["unique_id", "ds"]
    mine, its = anomalies(model_of(mode="ticks"), readings), anomalies(model_of(), hours)
    assert mine.sort_values(by).to_csv(index=False) == its.sort_values(by).to_csv(index=False)


def bars_of(model: Model, history: History, to_ms: int | None = None, refit: Refit | None = None) -> pd.DataFrame:
    """The anomalies of the bars of a test that begins at ``FIRST``."""
    report = backtest(model, history, FIRST, to_ms=to_ms, baselines={}, anomalies=True, refit=refit)
    assert report.anomalies is not None
    return report.anomalies


def test_a_backtest_has_the_anomalies_of_the_bars_of_its_test(history: History) -> None:
    model, until = model_of(), FIRST + 40 * HOUR
    every = anomalies(model, history)
    expected = every[every.ds >= pd.Timestamp(FIRST, unit="ms")].reset_index(drop=True)
    pd.testing.assert_frame_equal(bars_of(model, history), expected)
    part = expected[expected.ds < pd.Timestamp(until, unit="ms")]
    pd.testing.assert_frame_equal(bars_of(model, history, until), part)
    assert backtest(model, history, FIRST, baselines={}).anomalies is None


def test_the_bars_of_a_part_have_the_anomalies_of_the_model_that_answers_it(history: History) -> None:
    model, again = model_of(), model_of(3)
    rolling = bars_of(model, history, refit=Refit(lambda _past: again, 50 * HOUR))
    assert not rolling.duplicated(["unique_id", "ds"]).any()
    later = rolling.ds >= pd.Timestamp(FIRST + 49 * HOUR, unit="ms")  # the cutoff of the first forecast of its part
    assert later.any()
    for mine, answers in ((~later, model), (later, again)):
        pd.testing.assert_frame_equal(rolling[mine], bars_of(answers, history)[mine])
