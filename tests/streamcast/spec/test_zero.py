"""A model without a network: its spec, its folder, and what cannot be done with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.streams import SPECS, model_spec
from streamcast.engine.engine import layout
from streamcast.errors import ModelError
from streamcast.models.network import NoNetwork, with_network
from streamcast.models.spec import SpecError
from streamcast.offline.training.objective import taught_by
from streamcast.spec.folders import Model, load_model, new_network, save_model
from streamcast.spec.model_spec import ModelSpec, Online, Scale, SeriesSpec
from streamcast.spec.zero import WARM_BARS, challenger_of, zero_spec

SERIES = SeriesSpec.model_validate({"columns": [{"name": "y"}], "freq": "1h"})
SPEC = zero_spec(SERIES, 24, (24, 168), lower=0.0)


def test_nothing_was_trained_on_although_a_history_measured_it() -> None:
    assert Model(SPEC, new_network(SPEC), facts={"last": 5}).trained_until is None
    trained = SPECS["gru"]
    assert Model(trained, new_network(trained), facts={"last": 5}).trained_until == 5


def test_its_folder_holds_a_spec_and_no_weights(tmp_path: Path) -> None:
    saved = save_model(tmp_path, "zero", SPEC, new_network(SPEC), {"stopped": "nothing to train"})
    loaded = load_model(tmp_path, "zero")
    assert (loaded.spec, loaded.digest, loaded.facts) == (SPEC, saved.digest, {"stopped": "nothing to train"})
    assert isinstance(loaded.network, NoNetwork)
    assert loaded.network.state_dict() == {}
    assert loaded.network.spec == SPEC.network == {"kind": "none"}


def test_its_state_has_nothing_of_a_network() -> None:
    fields = layout(SPEC, new_network(SPEC)).fields
    assert [name for name in fields if name.startswith(("hidden.", "past."))] == []


def test_it_reads_nothing_that_only_a_network_would() -> None:
    assert (SPEC.lags, SPEC.scales, SPEC.calendar, SPEC.targets) == (0, (), (), None)


def test_it_is_warm_after_two_of_its_shortest_seasons() -> None:
    assert zero_spec(SERIES, 24, (168, 24)).warm_up == 48
    assert zero_spec(SERIES, 24, (364,), further=(7,)).warm_up == 14
    assert zero_spec(SERIES, 24).warm_up == WARM_BARS
    assert zero_spec(SERIES, 24, further=(364,)).warm_up == WARM_BARS


@pytest.mark.parametrize("name", ["target bars", "further seasons", "a square root of ticks", "online"])
def test_a_challenger_has_the_records_and_the_forecasts_of_the_other_model(name: str) -> None:
    other = SPECS[name]
    spec = challenger_of(other)
    of_its_own = {"lags", "scales", "calendar", "half_life", "warm_up", "targets", "online", "network"}
    for field in ModelSpec.model_fields.keys() - of_its_own - {"window", "schema_version"}:
        assert getattr(spec, field) == getattr(other, field), field


def test_without_the_online_layer_nothing_would_forecast() -> None:
    with pytest.raises(ModelError, match="nothing that forecasts: set online to"):
        new_network(SPEC.model_copy(update={"online": None}))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"lags": 8}, "set lags to 0"),
        ({"lags": 0, "scales": (Scale.model_validate({"every": "5min"}),)}, r"set scales to \[\]"),
        ({"lags": 0, "network": {"kind": "none", "hidden": 8}}, "hidden"),
    ],
)
def test_inputs_and_options_that_only_a_network_has_are_refused(given: dict[str, object], said: str) -> None:
    spec = model_spec({}, **{"network": {"kind": "none"}, "online": Online(), **given})  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=said):
        new_network(spec)


def test_what_needs_a_network_says_so_and_what_to_do() -> None:
    network = new_network(SPEC)
    with pytest.raises(SpecError, match="cannot compress zero: the model has no network"):
        with_network(network, "compress zero")
    with pytest.raises(SpecError, match="has no distribution"):
        network.distribution([], [], torch.zeros(8, 0))


def test_as_a_network_it_has_no_state_and_answers_nan() -> None:
    network = new_network(SPEC)
    y_B0, state = network.step(0, torch.zeros(8, 16), network.initial_state(0, 8))
    assert (y_B0.shape, state) == ((8, 0), {})
    assert network.scan(0, torch.zeros(3, 8, 16), {})[0].shape == (3, 8, 0)
    read_BhQ = network.read([y_B0[:, None]], [torch.ones(8)], torch.zeros(8, 0))
    assert read_BhQ.shape == (8, 24, 3)
    assert read_BhQ.isnan().all()


def test_it_teaches_nobody(tmp_path: Path) -> None:
    teacher = save_model(tmp_path, "zero", SPEC, new_network(SPEC), {})
    with pytest.raises(SpecError, match=r"^teacher is .* no network to imitate"):
        taught_by(teacher, SPEC)
