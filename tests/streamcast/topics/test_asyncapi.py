"""The AsyncAPI document is one, is current, and describes every message that a run writes.

asyncapi-3.0.0.json.gz is the schema of AsyncAPI documents (package @asyncapi/specs 6.11.1, Apache-2.0) without its
descriptions and examples.
"""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from rich.console import Console

from harness import ROOT
from harness.simulation.plan import model
from harness.simulation.stand import TOPICS, Stand
from harness.streams import MINUTE, START
from streamcast.app.commands.deployment import dlq
from streamcast.app.commands.deployment.dlq import Filter
from streamcast.app.settings import load_settings
from streamcast.app.settings.fields import KafkaSettings
from streamcast.consumers.memory.transport import MemoryReader, MemoryTransport
from streamcast.consumers.transport import Batch
from streamcast.topics import asyncapi
from streamcast.topics.observations import encode_observation

PUBLISHED = ROOT / "docs" / "asyncapi.yaml"
DOCUMENT: dict[str, Any] = yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))
MESSAGES: dict[str, Any] = DOCUMENT["components"]["messages"]
CHANNELS = [TOPICS.observations, TOPICS.forecasts, TOPICS.dead_letters, TOPICS.journal]


def complaints(schema: dict[str, Any], found: object) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(found)]


def kinds(topic: str, batch: Batch, row: int) -> list[str]:
    """The messages of a channel that a record may be, by its key, its headers and its value."""
    key, value = batch.keys[row], batch.values[row]
    headers = {name: (text or b"").decode() for name, text in (batch.headers or [()] * len(batch))[row]}
    found = []
    for name in DOCUMENT["channels"][topic]["messages"]:
        message = MESSAGES[name]
        is_json = message["contentType"] == "application/json"
        payload = json.loads(value or b"null") if is_json else value and value.decode()
        wrong = complaints(message["bindings"]["kafka"]["key"], key and key.decode())
        wrong += complaints(message.get("headers", {}), headers) + complaints(message["payload"], payload)
        if not wrong:
            found.append(name)
    return found


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    """A service that has answered, reset a series, and refused records, of which `dlq replay` sent some again."""
    stand = Stand(tmp_path)
    lanes = {
        lane: replace(model("sample", number), digest=f"{number}" * 64)
        for number, lane in enumerate(("champion", "challenger"))
    }
    stand.observe("a", *range(1, 12))
    stand.append([(START, b"b", b"{no json"), (START, None, None)])
    stand.append([(START, b"c", encode_observation("c", START + MINUTE, [3.0]))])
    service = stand.serve(lanes)
    assert service.reset("a")
    stand.observe("a", 5.0)
    stand.work()
    monkeypatch.setattr(dlq, "new_reader", lambda _settings, who: MemoryReader(stand.broker, who))
    monkeypatch.setattr(dlq, "new_transport", lambda _settings, who: MemoryTransport(stand.broker, who))
    settings = load_settings(None, {"models.lanes": {"champion": {"model": "small@1"}}})
    assert dlq.send_again(settings, Filter(), again=False, dry_run=False, console=Console(file=io.StringIO())) == 0
    stand.work()
    yield stand
    stand.stop()


def test_the_published_document_is_current() -> None:
    assert PUBLISHED.read_text(encoding="utf-8") == asyncapi.write_asyncapi(), "run `make docs`"


def test_the_document_is_one_of_asyncapi() -> None:
    with gzip.open(Path(__file__).with_name("asyncapi-3.0.0.json.gz")) as file:
        schema = json.load(file)
    kind = jsonschema.validators.validator_for(schema)
    assert [error.message for error in kind(schema).iter_errors(DOCUMENT)] == []


def test_every_reference_leads_somewhere() -> None:
    references = re.findall(r"\$ref: '?#/([\w/-]+)", PUBLISHED.read_text(encoding="utf-8"))
    assert references
    for reference in references:
        place: Any = DOCUMENT
        for name in reference.split("/"):
            place = place[name]


def test_topics_and_broker_are_those_of_the_settings() -> None:
    assert [*DOCUMENT["channels"]] == CHANNELS
    assert DOCUMENT["servers"]["broker"]["host"] == KafkaSettings().bootstrap_servers


@pytest.mark.parametrize("name", MESSAGES)
def test_the_schemas_of_a_message_are_some(name: str) -> None:
    message = MESSAGES[name]
    for schema in (message["payload"], message.get("headers", {}), message["bindings"]["kafka"]["key"]):
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_message_of_a_run_is_one_of_its_channel_and_no_message_is_missing(written: Stand) -> None:
    found = {
        topic: [kinds(topic, batch, row) for batch in written.batches(topic) for row in range(len(batch))]
        for topic in CHANNELS[1:]
    }
    assert [name for each in found.values() for name in each if len(name) != 1] == []
    seen = {name for each in found.values() for (name,) in each}
    assert seen == {"forecast", "deadLetter", "receipt", "entry"} == MESSAGES.keys() - {"observation"}
    assert [entry.kind for entry in written.journal().entries] == ["start", "reset"]


def test_the_readable_records_of_a_run_are_observations_also_those_that_were_sent_again(written: Stand) -> None:
    rows = [(batch, row) for batch in written.batches(TOPICS.observations) for row in range(len(batch))]
    readable = [(batch, row) for batch, row in rows if (batch.values[row] or b"").endswith(b"}")]
    assert [kinds(TOPICS.observations, *each) for each in readable] == [["observation"]] * 13
    headers = [dict(batch.headers[row]) for batch, row in rows if batch.headers and batch.headers[row]]
    replayed = [{name: (text or b"").decode() for name, text in each.items()} for each in headers]
    assert replayed == [{"replay_of": f"observations[0]@{offset}"} for offset in (11, 12)]
    assert [complaints(MESSAGES["observation"]["headers"], each) for each in replayed] == [[], []]
