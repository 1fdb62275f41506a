"""The start of a service on a new machine: its probes are answered while it compiles kernels."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from http.client import HTTPConnection
from pathlib import Path

import pytest
import yaml

from harness.local_kafka import free_ports
from harness.streams import SPECS, network
from streamcast.app.commands.deployment.serve import COMPILING
from streamcast.consumers.kafka_python.transport import KafkaTransport
from streamcast.consumers.transport import Connection, TopicSpec
from streamcast.spec.folders import save_model

WAIT_SECONDS = 120.0


def ask(port: int, path: str) -> tuple[int, str]:
    """Status and body of the answer to one request; 0 while nobody listens."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except ConnectionRefusedError:
        return 0, ""
    finally:
        connection.close()


@pytest.mark.kafka
@pytest.mark.timeout(300)
def test_probes_are_answered_while_kernels_are_compiled(kafka: str, tmp_path: Path) -> None:
    save_model(tmp_path / "models", "small", SPECS["gru"], network("gru"), {})
    name, (port,) = uuid.uuid4().hex[:8], free_ports(1)
    topics = {each: f"{name}-{each}" for each in ("observations", "forecasts", "dead_letters", "journal")}
    transport = KafkaTransport(Connection(kafka, name, guarantee="at_least_once"))
    transport.create([TopicSpec(topic, 1, 1) for topic in topics.values()])
    transport.close(10.0)
    settings = {
        "kafka": {"bootstrap_servers": kafka, "group": name},
        "input": {"topic": topics.pop("observations")},
        "models": {"folder": str(tmp_path / "models"), "lanes": {"champion": {"model": "small@latest"}}},
        "output": topics,
        "state": {"store": str(tmp_path / "state")},
        "telemetry": {"port": port},
    }
    (tmp_path / "streamcast.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "streamcast.app.cli", "serve"]
    empty = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "kernels")}
    with subprocess.Popen(command, cwd=tmp_path, env=empty) as serving:
        try:
            deadline = time.monotonic() + WAIT_SECONDS
            while (ready := ask(port, "/readyz")) != (503, f"{COMPILING}\n"):
                assert serving.poll() is None, "the service ended"
                assert time.monotonic() < deadline, f"the service says {ready}"
                time.sleep(0.05)
            assert ask(port, "/livez") == (200, "ok\n")
            assert "\nstreamcast_ready 0.0\n" in ask(port, "/metrics")[1]
        finally:
            serving.kill()
