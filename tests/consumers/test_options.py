"""Options of kafka-python: environment variables bring text, and the client compares numbers."""

from __future__ import annotations

import re

import pytest

from streamcast.consumers.kafka_python.options import with_typed_options
from streamcast.consumers.transport import Connection, TransportError


def test_text_becomes_what_the_client_compares_with() -> None:
    given = {"session_timeout_ms": "30000", "check_crcs": "false", "client_id": "7", "retry_backoff_ms": 50}
    made = with_typed_options(Connection("127.0.0.1:9092", "group", options=given))
    expected = {"session_timeout_ms": 30_000, "check_crcs": False, "client_id": "7", "retry_backoff_ms": 50}
    assert made.options == expected
    assert [type(value) for value in made.options.values()] == [type(value) for value in expected.values()]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("session_timeout_ms", "abc", "kafka.options.session_timeout_ms is 'abc'; expected a number, such as "),
        ("session_timeout_ms", True, "kafka.options.session_timeout_ms is True; expected a number"),
        ("check_crcs", "maybe", "kafka.options.check_crcs is 'maybe'; expected true or false, such as True"),
        ("session.timeout.ms", 1, "kafka.options: kafka-python knows no option session.timeout.ms"),
    ],
)
def test_an_option_that_the_client_cannot_have_is_refused_by_name(name: str, value: object, said: str) -> None:
    with pytest.raises(TransportError, match=re.escape(said)):
        with_typed_options(Connection("127.0.0.1:9092", "group", options={name: value}))
