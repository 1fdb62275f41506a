"""The AsyncAPI document of a service's topics: who writes what where, with which key, headers and format."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from streamcast.topics import schemas
from streamcast.topics.dead_letters import REPLAY_OF
from streamcast.topics.journal import Entry
from streamcast.topics.names import Topics
from streamcast.topics.schemas import Schema

_BINDING: Final = "0.5.0"
_KEY: Final[Schema] = {"type": "string", "description": "The series, UTF-8."}
_RECORD_KEY: Final[Schema] = {
    "type": ["string", "null"],
    "description": "Any bytes; all records of a series have the same key, so that they are in one partition. It names"
    " the series where the record's own field `key` is absent or null.",
}
_OWN_KEY: Final[Schema] = {"type": ["string", "null"], "description": "The record's own key, at most 32,768 bytes."}
_HOME: Final[Schema] = {"type": "string", "description": "Topic and partition that it is about: `observations/2`."}
_SAME_PARTITION: Final = "Partition n belongs to partition n of the observations."


def write_asyncapi() -> str:
    """Return the AsyncAPI document of the topics under their default names."""
    document = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "streamcast",
            "version": "1",
            "description": "Forecasts answer observations: at most one per record and lane, in the record's partition."
            " docs/messages.md says which records get none.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "broker": {
                "host": "127.0.0.1:9092",
                "protocol": "kafka",
                "description": "The default of kafka.bootstrap_servers. With SSL or SASL_SSL as"
                " kafka.security.protocol it is kafka-secure.",
            }
        },
        "channels": _channels(),
        "operations": {
            "readObservations": _operation("receive", "observations", "observation"),
            "writeForecasts": _operation("send", "forecasts", "forecast"),
            "writeDeadLetters": _operation("send", "dead-letters", "deadLetter"),
            "writeReceipts": _operation("send", "dead-letters", "receipt"),
        },
        "components": {"messages": _messages()},
    }
    return yaml.dump(document, sort_keys=False, allow_unicode=True, width=120, Dumper=_Unshared)


def write_docs(folder: Path) -> None:
    """Write asyncapi.yaml into ``folder``."""
    (folder / "asyncapi.yaml").write_text(write_asyncapi(), encoding="utf-8")


def _channels() -> dict[str, Schema]:
    """Return the channels; the journal has no operation, because only the service itself reads and writes it."""
    topics = Topics()
    return {
        topics.observations: _channel(
            topics.observations,
            ["observation"],
            "The topic that is read (input.topic). All records of a series are in one partition. It is not compacted.",
            {"cleanup.policy": ["delete"]},
        ),
        topics.forecasts: _channel(
            topics.forecasts,
            ["forecast"],
            f"{_SAME_PARTITION} With the default guarantee, exactly_once, read it with isolation.level=read_committed.",
        ),
        topics.dead_letters: _channel(
            topics.dead_letters,
            ["deadLetter", "receipt"],
            f"{_SAME_PARTITION} A message with the header `replayed` is a receipt, all others are dead letters.",
        ),
        topics.journal: _channel(
            topics.journal,
            ["entry"],
            f"Private. {_SAME_PARTITION} The service alone reads and writes it, and any version may add fields and"
            " kinds, which earlier versions refuse. It is described for those who look into it; do not build on it.",
            {"cleanup.policy": ["delete"], "retention.ms": -1, "retention.bytes": -1},
        ),
    }


def _channel(topic: str, messages: list[str], description: str, configuration: Schema | None = None) -> Schema:
    kafka: Schema = {"topicConfiguration": configuration} if configuration else {}
    return {
        "address": topic,
        "description": description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {"kafka": {"topic": topic, **kafka, "bindingVersion": _BINDING}},
    }


def _operation(action: str, topic: str, message: str) -> Schema:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{topic}"},
        "messages": [{"$ref": f"#/channels/{topic}/messages/{message}"}],
    }


def _messages() -> dict[str, Schema]:
    replay = schemas.PLACE | {"description": "Only of a record that `dlq replay` sent: the place of the first record."}
    return {
        "observation": {
            "headers": {"type": "object", "properties": {REPLAY_OF: replay}},
            "payload": schemas.observation(),
            **_json(_RECORD_KEY),
        },
        "forecast": {"payload": schemas.forecast(), **_json(_KEY)},
        "deadLetter": {
            "summary": "A record that got no forecast, whole, with the reason.",
            "contentType": "application/octet-stream",
            "headers": schemas.dead_letter_headers(),
            "payload": {"description": "The record's own bytes, at most 900,000; null where it had none."},
            **_bindings(_OWN_KEY),
        },
        "receipt": {
            "summary": "`dlq replay` has written the record of a dead letter to the observations again.",
            "contentType": "application/octet-stream",
            "headers": schemas.receipt_headers(),
            "payload": {"type": "null"},
            **_bindings({"type": "null"}),
        },
        "entry": {"summary": "A decision that does not follow from the records.", "payload": _entry(), **_json(_HOME)},
    }


def _entry() -> Schema:
    """Return the JSON Schema of a journal entry as this version writes it."""
    _, components = msgspec.json.schema_components([Entry])
    described = " ".join((inspect.getdoc(Entry) or "").replace("``", "`").split())
    return {"$schema": schemas.DIALECT, **components["Entry"], "description": described}


def _json(key: Schema) -> Schema:
    return {"contentType": "application/json", **_bindings(key)}


def _bindings(key: Schema) -> Schema:
    return {"bindings": {"kafka": {"key": key, "bindingVersion": _BINDING}}}


class _Unshared(yaml.SafeDumper):
    """Writes repeated parts in full, for readers of AsyncAPI that do not know YAML's anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
