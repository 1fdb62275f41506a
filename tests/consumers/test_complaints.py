"""The log of kafka-python becomes a line a minute."""

from __future__ import annotations

import logging

from streamcast.consumers.kafka_python.complaints import Condensed, condense


def test_hundreds_of_errors_become_a_line_and_the_next_one_counts_them() -> None:
    said: list[str] = []
    now = [0.0]
    client = logging.getLogger("a-client-of-a-test")
    client.addHandler(Condensed(said.append, lambda: now[0]))
    for number in range(300):
        client.error("node %d is away", number)
    client.warning("no error")
    now[0] = 61.0
    client.error("still away")
    assert said == [
        "kafka-python: node 0 is away",
        "kafka-python: still away (299 more errors of the client since its last line)",
    ]


def test_the_clients_own_lines_reach_no_other_log() -> None:
    condense()
    condense()
    client = logging.getLogger("kafka")
    assert [type(handler) for handler in client.handlers].count(Condensed) == 1
    assert not client.propagate
