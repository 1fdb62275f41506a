"""The clients' logs: errors become a line a minute, librdkafka's tells which connections were lost."""

from __future__ import annotations

import logging

import pytest
from confluent_kafka import Producer
from kafka import TopicPartition, errors

from harness.local_kafka import free_ports
from streamcast.consumers.kafka_python.complaints import Condensed, condense
from streamcast.consumers.librdkafka import complaints
from streamcast.consumers.librdkafka.connections import Connections
from streamcast.consumers.librdkafka.reader import LibrdReader
from streamcast.consumers.librdkafka.transport import IN_ORDER
from streamcast.consumers.transport import Connection


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


def test_a_position_that_is_about_to_be_committed_is_no_error() -> None:
    """Beside a busy service every `verify` began with it."""
    said: list[str] = []
    client = logging.getLogger("a-client-of-another-test")
    client.addHandler(Condensed(said.append))
    place = TopicPartition("observations", 4)
    for error in (errors.UnstableOffsetCommitError(), errors.UnknownError()):
        client.error("Unknown error fetching offsets for %s: %s", place, error)
    assert said == [f"kafka-python: Unknown error fetching offsets for {place}: {errors.UnknownError()}"]


def test_the_clients_own_lines_reach_no_other_log() -> None:
    condense()
    condense()
    client = logging.getLogger("kafka")
    assert [type(handler) for handler in client.handlers].count(Condensed) == 1
    assert not client.propagate


def test_errors_of_librdkafka_become_a_line_a_minute_too_and_its_warnings_pass() -> None:
    now, client, kept = [0.0], logging.getLogger("librdkafka-of-a-test"), list[str]()
    client.addFilter(complaints.Condensed(lambda: now[0]))
    client.addHandler(handler := logging.Handler())
    handler.emit = lambda record: kept.append(record.getMessage())  # type: ignore[method-assign]
    for _ in range(300):
        client.log(logging.ERROR, "%s [%s] %s", "FAIL", "a consumer", "Connection refused")
    client.log(logging.WARNING, "%s [%s] %s", "SESSTMOUT", "a consumer", "session timed out")
    now[0] = 61.0
    client.log(logging.ERROR, "%s [%s] %s", "FAIL", "a consumer", "Connection refused")
    assert kept == [
        "librdkafka: FAIL [a consumer] Connection refused",
        "SESSTMOUT [a consumer] session timed out",
        "librdkafka: FAIL [a consumer] Connection refused (299 more errors of the client since its last line)",
    ]


def test_a_broker_that_does_not_answer_is_a_line_a_minute_too() -> None:
    client, kept = logging.getLogger("librdkafka-of-another-test"), list[str]()
    client.setLevel(logging.INFO)
    client.addFilter(complaints.Condensed(lambda: 0.0))
    client.addHandler(handler := logging.Handler())
    handler.emit = lambda record: kept.append(record.getMessage())  # type: ignore[method-assign]
    for _ in range(20):
        client.log(logging.INFO, "%s [%s] %s", "REQTMOUT", "a consumer", "Timed out FetchRequest in flight")
        client.log(logging.WARNING, "%s [%s] %s", "REQTMOUT", "a consumer", "Timed out 1 in-flight")
        client.log(logging.WARNING, "%s [%s] %s", "FAIL", "a consumer", "ApiVersionRequest failed: Timed out")
    client.log(logging.INFO, "%s [%s] %s", "FAIL", "a consumer", "Disconnected: connection closed by peer")
    assert kept == [
        "librdkafka: REQTMOUT [a consumer] Timed out FetchRequest in flight",
        "FAIL [a consumer] Disconnected: connection closed by peer",
    ]


def test_a_reader_of_librdkafka_condenses_its_log_once() -> None:
    for _ in range(2):
        LibrdReader(Connection("127.0.0.1:1", "group"))
    assert [type(each) for each in complaints.log.filters].count(complaints.Condensed) == 1


def test_librdkafka_does_not_warn_of_an_option_that_we_chose(caplog: pytest.LogCaptureFixture) -> None:
    complaints.condense()
    connections = Connections(complaints.log)
    (closed,) = free_ports(1)
    options = {"bootstrap.servers": f"127.0.0.1:{closed}", "enable.idempotence": True, **IN_ORDER}
    with caplog.at_level(logging.INFO, "librdkafka"):
        producer = Producer({**options, **connections.settings})
        while "Connection refused" not in caplog.text:
            producer.poll(0.1)
    assert "gapless" not in caplog.text


def test_a_connection_of_librdkafka_that_was_never_made_is_not_a_lost_one(caplog: pytest.LogCaptureFixture) -> None:
    connections = Connections(logging.getLogger("librdkafka"))
    (closed,) = free_ports(1)
    producer = Producer({"bootstrap.servers": f"127.0.0.1:{closed}", **connections.settings})
    with caplog.at_level(logging.INFO, "librdkafka"):
        while "Connection refused" not in caplog.text:
            producer.poll(0.1)
    assert not connections.lost
    connections.log(logging.INFO, "%s [%s] %s", "FAIL", "a producer", "Disconnected (after 348ms in state UP)")
    assert connections.lost


def test_a_producer_of_librdkafka_that_asks_again_for_its_number_is_no_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    connections = Connections(logging.getLogger("librdkafka"))
    with caplog.at_level(logging.INFO, "librdkafka"):
        connections.log(logging.WARNING, "%s [%s] %s", "GETPID", "a producer", "Failed to acquire PID: retrying")
        connections.log(logging.WARNING, "%s [%s] %s", "TERMINATE", "a producer", "1 message")
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]
