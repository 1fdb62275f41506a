"""What the handshake leaves to the client: brokers that are away, and options that it does not know."""

from __future__ import annotations

import socket
import threading

import pytest

from streamcast.consumers.handshake import Refused, Security, require_accepted
from streamcast.consumers.kafka_python.reader import SECURITY as KAFKA_PYTHON
from streamcast.consumers.kafka_python.reader import KafkaReader
from streamcast.consumers.librdkafka.reader import SECURITY as LIBRDKAFKA
from streamcast.consumers.librdkafka.reader import LibrdReader
from streamcast.consumers.transport import Connection


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"security_protocol": "SSL", "ssl_check_hostname": False}, KAFKA_PYTHON),
        ({"security.protocol": "SSL", "enable.ssl.certificate.verification": False}, LIBRDKAFKA),
        ({"proxy_url": "http://proxy:3128"}, KAFKA_PYTHON),
    ],
)
def test_an_option_that_may_change_what_is_accepted_is_left_to_the_client(
    options: dict[str, object], names: dict[str, str]
) -> None:
    assert Security.from_options(options, names) is None
    require_accepted("127.0.0.1:1", None)


def test_other_options_say_nothing_about_security() -> None:
    assert Security.from_options({"linger_ms": 5, "sasl_plain_username": "me"}, KAFKA_PYTHON) == Security(username="me")


def test_a_port_where_nobody_listens_is_left_to_the_client() -> None:
    require_accepted("127.0.0.1:1,[::1]:1,nowhere.invalid:9092", Security())


@pytest.mark.parametrize("reader", [KafkaReader, LibrdReader])
def test_a_name_that_cannot_be_resolved_is_told_from_a_port_where_nobody_listens(
    reader: type[KafkaReader | LibrdReader],
) -> None:
    def said(servers: str) -> str:
        return str(reader(Connection(servers, "group"))._away("describing topics", "no answer"))

    assert said("127.0.0.1:1,[::1]:1,localhost:1").endswith(": check kafka.bootstrap_servers and that the broker runs")
    told = said("127.0.0.1:1,nowhere.invalid:9092")
    assert "did not answer while describing topics (no answer): the name nowhere.invalid cannot be resolved (" in told


def test_a_port_that_hangs_up_is_left_to_the_client() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            while True:
                try:
                    server.accept()[0].close()
                except OSError:
                    return

        threading.Thread(target=hang_up, daemon=True).start()
        where = f"127.0.0.1:{server.getsockname()[1]}"
        require_accepted(where, Security())
        require_accepted(where, Security("SASL_SSL", "PLAIN", "me", "secret"))


def test_a_file_that_is_missing_is_named_before_anything_is_sent() -> None:
    with pytest.raises(Refused, match=r"kafka\.security\.ca_file /nowhere/ca\.pem"):
        require_accepted("127.0.0.1:1", Security("SSL", ca_file="/nowhere/ca.pem"))
