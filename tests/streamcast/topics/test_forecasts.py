"""Forecasts as bytes: they parse back to their numbers."""

from __future__ import annotations

import json
import math

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamcast.spec.model_spec import ModelSpec
from streamcast.topics.forecasts import Encoder, Forecasts, encode_key
from streamcast.topics.observations import EARLIEST_MS, LATEST_MS
from tests.streamcast.topics.test_observations import SPEC, texts

MODEL = ModelSpec(series=SPEC, horizon=3, quantiles=(0.1, 0.5, 0.975), network={"kind": "gru"})
ENCODER = Encoder(MODEL, 'a"model', "7", "abcdef0123456789" * 4, "champion", "obs")


@given(st.lists(texts, max_size=4), st.data())
@settings(deadline=None)  # the first example compiles the kernel
def test_a_forecast_parses_back_to_its_numbers_in_six_digits(keys: list[str], data: st.DataObject) -> None:
    n = len(keys)
    floats = st.floats(allow_nan=False, allow_infinity=False)
    values = np.array(data.draw(st.lists(floats, min_size=9 * n, max_size=9 * n))).reshape(n, 3, 3)
    anomaly = np.array(data.draw(st.lists(st.floats(0, 1) | st.just(math.nan), min_size=n, max_size=n)))
    cutoffs = np.array(data.draw(st.lists(st.integers(EARLIEST_MS, LATEST_MS), min_size=n, max_size=n)), np.int64)
    warm = np.arange(n) % 2 == 0
    forecasts = Forecasts(np.arange(n), cutoffs, values, warm, anomaly)
    offsets = np.arange(n) + 2**62
    written = ENCODER.encode([encode_key(key) for key in keys], forecasts, np.arange(n), offsets)
    assert len(written) == n
    for i, one in enumerate(written):
        parsed = json.loads(one)
        assert orjson.loads(one) == parsed
        assert list(parsed) == [
            "unique_id", "cutoff", "freq_ms", "horizon", "quantiles", "model", "model_version", "model_hash", "lane",
            "warm", "anomaly", "source",
        ]  # fmt: skip
        quantiles, score = parsed.pop("quantiles"), parsed.pop("anomaly")
        assert parsed == {
            "unique_id": keys[i], "cutoff": cutoffs[i], "freq_ms": 60_000, "horizon": 3, "model": 'a"model',
            "model_version": "7", "model_hash": "abcdef0123456789", "lane": "champion", "warm": bool(warm[i]),
            "source": {"topic": "obs", "partition": i, "offset": 2**62 + i},
        }  # fmt: skip
        assert list(quantiles) == ["0.1", "0.5", "0.975"]
        got = np.array(list(quantiles.values())).T
        np.testing.assert_allclose(got, values[i], rtol=5.000001e-6, atol=0)
        assert (score is None) == math.isnan(anomaly[i])
        assert score is None or score == pytest.approx(anomaly[i], rel=5.000001e-6, abs=0)
        if score is not None and anomaly[i] < 1.0 - 1e-12:
            assert 1.0 - score == pytest.approx(1.0 - anomaly[i], rel=0.006), "two digits of the distance from 1"


def test_before_version_3_an_anomaly_has_six_digits() -> None:
    one = np.zeros(1, np.int64)
    forecasts = Forecasts(one, one, np.zeros((1, 3, 3)), np.ones(1, np.bool_), np.array([0.999999876]))
    written = {
        version: json.loads(
            Encoder(MODEL.model_copy(update={"schema_version": version}), "a", "1", "0" * 64, "champion", "obs").encode(
                [b'"k"'], forecasts, one, one
            )[0]
        )["anomaly"]
        for version in (2, 3)
    }
    assert written == {2: 1, 3: 0.999999876}


def test_no_forecasts_are_no_records() -> None:
    nothing = np.empty(0, np.int64)
    empty = Forecasts(nothing, nothing, np.empty((0, 3, 3)), np.empty(0, np.bool_), np.empty(0))
    assert ENCODER.encode([], empty, nothing, nothing) == []


@given(texts)
def test_a_key_is_one_json_string(key: str) -> None:
    assert json.loads(encode_key(key)) == key
