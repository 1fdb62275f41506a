"""The options of kafka-python that somebody set: known names, and values of the type that the client compares with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient

from streamcast.consumers.transport import Connection, TransportError

CLIENTS = (KafkaConsumer, KafkaProducer, KafkaAdminClient)
WORDS = {"true": True, "false": False}


def with_typed_options(connection: Connection) -> Connection:
    """Return a connection whose options have the client's types: those of environment variables are text.

    Raises TransportError for an option that no client has, and for a value that its type does not have.
    """
    defaults = {name: default for client in CLIENTS for name, default in client.DEFAULT_CONFIG.items()}
    if unknown := sorted(set(connection.options) - defaults.keys()):
        raise TransportError(
            f"kafka.options: kafka-python knows no option {', '.join(unknown)}: see its documentation for the names"
        )
    return replace(connection, options=_typed(connection.options, defaults))


def _typed(options: Mapping[str, object], defaults: Mapping[str, object]) -> Mapping[str, object]:
    return {name: _value(name, value, defaults[name]) for name, value in options.items()}


def _value(name: str, value: object, default: object) -> object:
    """Return a value as the type of the client's default; others than numbers and switches are left as they are."""
    found: float | None
    if isinstance(default, bool):
        found, expected = WORDS.get(str(value).lower()), "true or false"
    elif isinstance(default, int | float):
        found, expected = _number(value), "a number"
    else:
        return value
    if found is None:
        raise TransportError(f"kafka.options.{name} is {value!r}; expected {expected}, such as {default}")
    return found


def _number(value: object) -> int | float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    for kind in (int, float):
        try:
            return kind(str(value))
        except ValueError:
            continue
    return None
