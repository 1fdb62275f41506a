"""The settings of deploy/kubernetes.yaml on a real Kafka: its probes, and what the runbooks say to do in a pod."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from kafka.admin import KafkaAdminClient

from harness import ROOT
from harness.commands import RUN_SECONDS, Command, start, streamcast
from harness.local_kafka import free_ports

pytestmark = pytest.mark.kafka

PARTS = list(yaml.safe_load_all((ROOT / "deploy" / "kubernetes.yaml").read_text(encoding="utf-8")))
TOKEN = "open sesame"
WORKERS = ("streamcast-0", "streamcast-1")
PARTITIONS = 4
KEYS = [f"series {number}" for number in range(8)]


def part(kind: str, name: str) -> dict[str, Any]:
    """A part of the example."""
    (found,) = (each for each in PARTS if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return dict(found)


PROBES: dict[str, dict[str, Any]] = {
    name: probe
    for container in part("StatefulSet", "streamcast")["spec"]["template"]["spec"]["containers"]
    for name, probe in container.items()
    if name.endswith("Probe")
}


class Pod:
    """A worker as a pod runs it: the settings file, and the rest in its environment."""

    def __init__(self, folder: Path, name: str) -> None:
        (self.port,) = free_ports(1)
        self.environment = {
            "STREAMCAST_CONFIG": str(folder / "streamcast.yaml"), "STREAMCAST_MODELS": str(folder / "models"),
            "STREAMCAST__KAFKA__INSTANCE": name, "STREAMCAST__TELEMETRY__PORT": str(self.port),
        }  # fmt: skip
        self.serving = self.command("serve")

    def command(self, *arguments: object) -> Command:
        """Start a command in the pod, as `kubectl exec` does."""
        return start(*arguments, environment=self.environment)

    def asked(self, path: str) -> tuple[int, str]:
        """Return the status and the answer of a path of the telemetry port; 0 while nothing listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def await_probe(self, probe: Mapping[str, Any]) -> None:
        """Wait until a probe of the example succeeds."""
        until = time.monotonic() + RUN_SECONDS
        while (found := self.asked(probe["httpGet"]["path"]))[0] != 200:
            assert self.serving.is_running(), self.serving.printed()
            assert time.monotonic() < until, (found, self.serving.printed())
            time.sleep(0.2)


@pytest.fixture(scope="module")
def pods(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Pod]]:
    """Two pods that answer the records of a topic with four partitions."""
    folder, name = tmp_path_factory.mktemp("pods"), uuid.uuid4().hex[:8]
    settings = yaml.safe_load(part("ConfigMap", "streamcast")["data"]["streamcast.yaml"])
    del settings["kafka"]["security"], settings["dashboard"]
    settings["kafka"] |= {"bootstrap_servers": kafka, "group": name}
    settings["input"] = {"topic": f"{name}-observations"}
    settings["output"] = {each: f"{name}-{each}" for each in ("forecasts", "dead_letters", "journal")}
    settings["models"]["folder"] = str(folder / "models")
    settings["state"]["store"] = str(folder / "state")
    settings["telemetry"] = {"token_file": str(folder / "token")}
    (folder / "token").write_text(f"{TOKEN}\n")
    (folder / "streamcast.yaml").write_text(yaml.safe_dump(settings))
    times = pd.date_range("2026-01-05", periods=24 * 14, freq="h", tz="UTC")
    rows = [(key, at.isoformat(), float(at.hour)) for at in times for key in KEYS]
    pd.DataFrame(rows, columns=["unique_id", "ds", "y"]).to_csv(folder / "data.csv", index=False)
    streamcast("train", folder / "data.csv", "--model", "zero", "--name", "load", "--models", folder / "models")
    config = folder / "streamcast.yaml"
    streamcast("replay", folder / "data.csv", "-c", config, "--partitions", PARTITIONS)
    streamcast("check", "-c", config, "--create")
    started = {worker: Pod(folder, worker) for worker in WORKERS}
    try:
        for pod in [*started.values(), *started.values()]:  # the second takes partitions from the first
            for probe in ("startupProbe", "readinessProbe"):
                pod.await_probe(PROBES[probe])
        yield started
    finally:
        for pod in started.values():
            pod.serving.process.terminate()
            pod.serving.process.join(RUN_SECONDS)


def held(pod: Pod) -> set[int]:
    """The partitions that a pod holds, as its metrics say."""
    lines = [line for line in pod.asked("/metrics")[1].splitlines() if line.startswith("streamcast_lag_records{")]
    return {int(line.partition('partition="')[2].partition('"')[0]) for line in lines}


@pytest.mark.timeout(400)
def test_the_probes_of_the_example_are_answered(pods: dict[str, Pod]) -> None:
    assert PROBES.keys() == {"startupProbe", "livenessProbe", "readinessProbe"}
    for pod in pods.values():
        assert {pod.asked(probe["httpGet"]["path"]) for probe in PROBES.values()} == {(200, "ok\n")}


@pytest.mark.timeout(400)
def test_metrics_and_group_say_which_worker_holds_a_partition(pods: dict[str, Pod], kafka: str) -> None:
    until = time.monotonic() + RUN_SECONDS
    while len((found := [held(pod) for pod in pods.values()])[0] | found[1]) < PARTITIONS:  # known with a first fetch
        assert time.monotonic() < until, found
        time.sleep(0.2)
    assert all(found)
    assert not found[0] & found[1]
    group = yaml.safe_load(Path(pods[WORKERS[0]].environment["STREAMCAST_CONFIG"]).read_text())["kafka"]["group"]
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    (described,) = admin.describe_groups([group]).values()
    admin.close()
    members = [member["member_id"] for member in described["members"]]
    assert all(any(member.startswith(f"{worker}-") for member in members) for worker in WORKERS)


@pytest.mark.timeout(400)
def test_one_of_all_workers_resets_a_series_and_the_others_say_that_they_have_none(pods: dict[str, Pod]) -> None:
    until = time.monotonic() + RUN_SECONDS
    codes, said = asked_to_reset(pods, KEYS[0])
    while codes == [1, 1]:  # its partition may be on the way from one to the other
        assert time.monotonic() < until, said
        codes, said = asked_to_reset(pods, KEYS[0])
    assert codes == [0, 1]
    assert "the series is reset with the next batch" in said[0]
    assert "404 this process has no series of that key" in said[1]


def asked_to_reset(pods: Mapping[str, Pod], key: str) -> tuple[list[int], list[str]]:
    """Ask all workers at once to reset a series; return the exit codes, rising, and what was printed with each."""
    commands = [pod.command("state", "reset", key) for pod in pods.values()]
    for command in commands:
        command.process.join(RUN_SECONDS)
    ended = sorted((command.process.exitcode or 0, command.printed().strip()) for command in commands)
    return [code for code, _ in ended], [said for _, said in ended]
