"""The online layer in the engine: its place after the network, records whose network fails, off by default."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import orjson
import pytest

from harness.streams import MINUTE, SPECS, START, Line, Trace, drive, engine, network, partition, stage
from streamcast.engine.engine import Engine, layout
from streamcast.engine.inference import Inference
from streamcast.kernels.outcomes import ANSWERED, NOT_FINITE
from streamcast.spec.model_spec import ModelSpec, Online


def lines(bars: int, seed: int = 0) -> list[Line]:
    random = np.random.default_rng(seed)
    values = 5 * np.sin(np.arange(bars) * np.pi / 2) + random.normal(size=bars)
    return [Line("a", START + i * MINUTE, (float(value),)) for i, value in enumerate(values)]


def without_a_network(patch: pytest.MonkeyPatch) -> None:
    read = Inference.read

    def nothing(self: Inference, *given: object) -> npt.NDArray[np.float32]:
        return np.full_like(read(self, *given), np.nan)  # type: ignore[arg-type]

    patch.setattr(Inference, "read", nothing)


def test_a_spec_without_the_layer_has_none_of_its_state() -> None:
    assert SPECS["gru"].online is None
    assert not any(name.startswith("online.") for name in layout(SPECS["gru"], network("gru")).fields)
    written = orjson.loads(SPECS["gru"].to_json())
    del written["online"]
    assert ModelSpec(**written) == SPECS["gru"]  # a document from before there was a layer


def test_options_of_the_layer_change_the_hash() -> None:
    spec = SPECS["online"]
    other = spec.model_copy(update={"online": Online(network_prior=6)})
    assert len({spec.digest(), other.digest(), spec.model_copy(update={"online": None}).digest()}) == 3


def test_the_layer_answers_where_the_network_is_not_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    without_a_network(monkeypatch)
    trace = drive(engine("online"), lines(60))
    assert set(trace.outcomes.values()) == {ANSWERED}
    assert set(drive(engine("gru"), lines(60)).outcomes.values()) == {NOT_FINITE}
    newest = orjson.loads(trace.forecasts[59])["quantiles"]
    assert np.isfinite(list(newest.values())).all()


def test_scores_and_pending_forecasts_are_of_the_final_forecast() -> None:
    tried, trace = engine("online"), Trace()
    for offset, line in enumerate(lines(40)):
        stage(tried, [(offset, line)], trace)
        tried.promote()
    slot = tried.slab.series(partition(0))["a"]
    one_step = tried.slab.arrays["awaiting"][slot, 0]
    issued = [step[0] for step in orjson.loads(trace.forecasts[39])["quantiles"].values()]
    np.testing.assert_allclose(one_step, issued, rtol=1e-5)


def test_on_a_seasonal_series_the_layer_is_much_better_than_a_random_network() -> None:
    stream = lines(400, 3)
    values = np.array([line.values[0] for line in stream])

    def error(spec: ModelSpec) -> float:
        trace = drive(Engine(spec, network("online")), stream)
        medians = np.array([orjson.loads(trace.forecasts[i])["quantiles"]["0.5"][0] for i in range(100, 399)])
        return float(np.abs(medians - values[101:400]).mean())

    on = error(SPECS["online"])
    assert on < 0.6 * error(SPECS["online"].model_copy(update={"online": None}))
    assert on < np.abs(values[101:400] - values[97:396]).mean()
