"""The local Kafka: it starts, keeps its data over a kill, freezes and thaws, and leaves nothing behind."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import local_kafka as broker
from harness.local_kafka import BrokerError, LocalKafka, available
from streamcast.consumers.kafka_python.reader import KafkaReader
from streamcast.consumers.kafka_python.transport import KafkaTransport
from streamcast.consumers.transport import BrokerUnavailable, Connection, Outgoing, Partition, TopicSpec


def test_on_a_machine_without_java_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert "Java" in (available() or "")
    with pytest.raises(BrokerError, match="Java"):
        LocalKafka(tmp_path).start()


def test_a_machine_without_maven_can_use_cached_jars(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if shutil.which("java") is None:
        pytest.skip("no java")
    found = shutil.which
    monkeypatch.setenv("STREAMCAST_CACHE", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "mvn" else found(name))
    assert "Maven" in (available() or "")
    (tmp_path / f"kafka-{broker.VERSION}").mkdir()
    assert available() is None


@pytest.mark.kafka
def test_a_killed_broker_comes_back_on_its_data_and_a_stopped_one_leaves_nothing(kafka: str) -> None:
    assert kafka
    with LocalKafka() as node:
        connection = Connection(
            node.bootstrap_servers, "group", options={"request_timeout_ms": 2000, "bootstrap_timeout_ms": 2000}
        )
        writer = KafkaTransport(connection)
        writer.create([TopicSpec("kept", 1)])
        writer.commit([Outgoing("kept", [0], [1], [b"k"], [b"v"])], {})
        node.kill()
        with pytest.raises(BrokerUnavailable, match=str(node.port)):
            KafkaReader(connection).describe(["kept"])
        node.restart()
        reader = KafkaReader(connection)
        (batch,) = reader.read_range(Partition("kept", 0), 0, 1)
        assert batch.values == [b"v"]
        node.freeze()
        with pytest.raises(BrokerUnavailable):
            KafkaReader(connection).describe(["kept"])
        node.thaw()
        assert list(reader.describe(["kept"])) == ["kept"]
        writer.close(5)
        reader.close(5)
        folder = node.log.parent
        assert folder.exists()
    assert not folder.exists()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", node.port)) != 0


def test_a_nodes_ports_differ_and_are_none_that_an_outgoing_connection_is_given() -> None:
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    ports = broker.free_ports(20)
    assert len(set(ports)) == 20
    assert not set(ports) & set(range(max(first, 32_768), last + 1))


@pytest.mark.kafka
def test_clients_are_sent_to_the_advertised_port(kafka: str) -> None:
    assert kafka
    node = LocalKafka(advertised_port=12345)
    assert node.bootstrap_servers == "127.0.0.1:12345"
    assert node.port != 12345
    node.stop()


STARTED_AND_LEFT = """
import time
from harness.local_kafka import LocalKafka

node = LocalKafka()
node.start()
print(node.port, node.log.parent, flush=True)
time.sleep(600)
"""


@pytest.mark.kafka
def test_a_broker_does_not_outlive_a_killed_process_and_leaves_nothing(kafka: str) -> None:
    assert kafka
    with subprocess.Popen([sys.executable, "-c", STARTED_AND_LEFT], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port, folder = process.stdout.readline().split()
        socket.create_connection(("127.0.0.1", int(port)), 5).close()
        process.kill()
    deadline = time.monotonic() + 60  # a killed Java of a busy machine still listens for a while
    while (Path(folder).exists() or listens(int(port))) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(folder).exists()
    assert not listens(int(port))


def listens(port: int) -> bool:
    """Whether a server of this machine accepts connections at a port."""
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return False
    return True
