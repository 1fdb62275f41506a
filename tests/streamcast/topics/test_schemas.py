"""The published schemas agree with what is really read and written."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from rich.console import Console

from harness import ROOT
from streamcast.app.commands import models as command
from streamcast.consumers.transport import Batch, Partition
from streamcast.models.spec import SpecError
from streamcast.spec.calendar_bars import MONTH_MS, Step, calendar_of
from streamcast.spec.folders import new_network, save_model
from streamcast.spec.model_spec import Column, Known, ModelSpec, SeriesSpec, TargetBars
from streamcast.topics import schemas
from streamcast.topics.ahead import ahead_of
from streamcast.topics.forecasts import Encoder, Forecasts, encode_key
from streamcast.topics.observations import Decoder
from tests.streamcast.topics.test_observations import AHEAD, AHEAD_POISON, GOOD, POISON, SPEC

MODEL = ModelSpec(series=SPEC, horizon=2, quantiles=(0.1, 0.5, 0.9), network={"kind": "gru"})
KNOWN = TargetBars(back=(1,), known=(Known(name="wind"), Known(name="load:kW")))
KNOWING = MODEL.model_copy(update={"targets": KNOWN})

UNSAID = {"empty", "json", "size", "ahead"}
"""Reasons that lie outside of what a schema can say."""
UNSAID_CASES = re.compile("repeated|null key|no key|by its zone|5000 digits|depth|^seconds")
"""What it cannot say of the others: repeated names, the Kafka key and timestamp, the year in another zone, and what no
parser takes."""


def complaints(schema: dict[str, Any], message: object) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(message)]


def examples(title: str) -> list[str]:
    section = (ROOT / "docs" / "messages.md").read_text().split(f"## {title}\n")[1].split("\n## ")[0]
    return re.findall(r"```json\n(.*?)```", section, re.DOTALL)


@pytest.mark.parametrize(
    "schema", [schemas.observation(), schemas.observation(MODEL), schemas.observation(KNOWING), schemas.forecast(MODEL)]
)
def test_a_schema_is_one(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", GOOD)
def test_what_is_read_is_what_the_schema_allows(name: str) -> None:
    message = json.loads(GOOD[name][0])
    assert complaints(schemas.observation(MODEL), message) == []
    assert complaints(schemas.observation(KNOWING), message) == []
    assert complaints(schemas.observation(), message) == []


@pytest.mark.parametrize("name", AHEAD)
def test_known_inputs_that_are_read_are_what_the_schema_allows(name: str) -> None:
    message = json.loads(AHEAD[name][0])
    assert complaints(schemas.observation(KNOWING), message) == []
    assert complaints(schemas.observation(MODEL), message) == []
    assert complaints(schemas.observation(), message) == []


@pytest.mark.parametrize(
    "name", [name for name, (_, reason) in AHEAD_POISON.items() if reason != "json" and "repeated" not in name]
)
def test_known_inputs_that_are_refused_are_what_the_schema_forbids(name: str) -> None:
    assert complaints(schemas.observation(KNOWING), json.loads(AHEAD_POISON[name][0])) != []


@pytest.mark.parametrize(
    "name", [name for name, (_, reason) in POISON.items() if reason not in UNSAID and not UNSAID_CASES.search(name)]
)
def test_what_is_refused_is_what_the_schema_forbids(name: str) -> None:
    assert complaints(schemas.observation(MODEL), json.loads(POISON[name][0] or b"")) != []


@pytest.mark.parametrize("anomaly", [0.25, np.nan])
def test_a_forecast_is_what_its_schema_says(anomaly: float) -> None:
    forecasts = Forecasts(
        np.array([0]), np.array([1_767_225_600_000]), np.array([[[1.5, 2.0, 1e30], [-0.25, 0.0, 3.0]]]),
        np.array([False]), np.array([anomaly]),
    )  # fmt: skip
    encoder = Encoder(MODEL, "load", "3", "0123456789abcdef" * 4, "champion", "observations")
    (written,) = encoder.encode([encode_key("a")], forecasts, np.array([2]), np.array([918]))
    message = json.loads(written)
    assert complaints(schemas.forecast(MODEL), message) == []
    assert complaints(schemas.forecast(), message) == []
    assert set(message) == set(schemas.forecast(MODEL)["properties"]), "every field is described"
    shorter = MODEL.model_copy(update={"horizon": 1})
    assert complaints(schemas.forecast(shorter), message) != []


def test_a_forecast_of_months_has_the_starts_of_its_bars_and_its_schema_says_so() -> None:
    calendar = calendar_of(Step("month", 1), "UTC", 1_767_225_600_000, 1_767_225_600_000)
    series = SeriesSpec(columns=(Column(name="y"),), freq=MONTH_MS, calendar=calendar)
    model = MODEL.model_copy(update={"series": series})
    forecasts = Forecasts(
        np.array([0]), np.array([1_767_225_600_000]), np.zeros((1, model.horizon, len(model.quantiles))),
        np.array([False]), np.array([0.5]),
    )  # fmt: skip
    encoder = Encoder(model, "load", "3", "0123456789abcdef" * 4, "champion", "observations")
    (written,) = encoder.encode([encode_key("a")], forecasts, np.array([2]), np.array([918]))
    message = json.loads(written)
    assert message["ds"][0] == 1_769_904_000_000  # 2026-02-01
    assert set(message) == set(schemas.forecast()["properties"])
    assert complaints(schemas.forecast(model), message) == complaints(schemas.forecast(), message) == []
    assert complaints(schemas.forecast(MODEL), message) != []
    del message["ds"]
    assert complaints(schemas.forecast(model), message) != []


def test_the_examples_of_the_page_are_messages() -> None:
    columns = Column(name="load"), Column(name="temp"), Column(name="weather", categories=("rain", "sun"))
    targets = TargetBars(back=(1,), known=(Known(name="temp"), Known(name="weather")))
    for record, count in zip(examples("Observations"), (2, 3), strict=True):
        series = SeriesSpec(columns=columns[:count], freq=60_000)
        model = ModelSpec(series=series, horizon=4, targets=targets if count == 3 else None, network={"kind": "gru"})
        seen, poison = Decoder(series, ahead_of([model])).decode(
            [Batch(Partition("observations", 2), [918], [1_793_534_400_250], [None], [record.encode()], 919)]
        )
        assert poison == []
        assert (seen.ahead is None) == (count == 2)
        assert complaints(schemas.observation(model), json.loads(record)) == []
    (answer,) = examples("Forecasts")
    assert complaints(schemas.forecast(MODEL), json.loads(answer)) == []


def test_every_reason_of_a_dead_letter_is_in_the_runbooks() -> None:
    page = (ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8")
    reasons = {reason for _, reason in (*POISON.values(), *AHEAD_POISON.values())}
    assert [reason for reason in sorted(reasons) if f"`{reason}`" not in page] == []


@pytest.mark.parametrize(
    ("of", "expected"), [("observation", schemas.observation(MODEL)), ("forecast", schemas.forecast(MODEL))]
)
def test_a_models_own_schema_is_printed(tmp_path: Path, of: str, expected: dict[str, Any]) -> None:
    save_model(tmp_path, "load", MODEL, new_network(MODEL), {})
    printed = io.StringIO()
    assert command.schema(tmp_path, "load@1", of, Console(file=printed)) == 0
    assert json.loads(printed.getvalue()) == expected


def test_there_is_no_schema_of_anything_else(tmp_path: Path) -> None:
    save_model(tmp_path, "load", MODEL, new_network(MODEL), {})
    with pytest.raises(SpecError, match="expected observation or forecast"):
        command.schema(tmp_path, "load@1", "everything", Console(file=io.StringIO()))
