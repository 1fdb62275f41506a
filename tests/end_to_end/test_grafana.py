"""Every panel of the dashboard shows something: a real Prometheus scrapes live telemetry and runs its queries."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from harness import ROOT
from harness.local_kafka import free_ports
from streamcast.consumers.transport import Partition
from streamcast.service.telemetry.meters import STAGES
from streamcast.service.telemetry.probes import TelemetryServer
from streamcast.service.telemetry.telemetry import Telemetry

pytestmark = pytest.mark.prometheus

DEPLOY = ROOT / "deploy"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana/dashboards/streamcast.json").read_text())
QUERIES = [
    pytest.param(target["expr"], id=f"{panel['title']}/{target['refId']}")
    for panel in DASHBOARD["panels"]
    for target in panel.get("targets", [])
]
JOBS = ("streamcast", "streamcast-sales")
"""Two services, as Prometheus tells them apart."""


class Serving:
    """A health that is always good."""

    def alive(self) -> bool:
        return True

    def problems(self) -> list[str]:
        return []


def busy(telemetry: Telemetry, random: np.random.Generator) -> None:
    """Report one batch in which everything happens."""
    telemetry.on_poll(1000, {Partition("observations", number): 3 * number for number in range(4)})
    for stage in STAGES:
        telemetry.stage(stage, random.exponential(0.002))
    telemetry.on_commit(0.004, 1000)
    ages = random.exponential(0.5, 960)
    telemetry.batch(random.exponential(0.02), ages, {"answered": 960, "absorbed": 20, "late": 8, "duplicate": 7})
    telemetry.dead_letter("json", 3)
    telemetry.dead_letter("ahead", 2)
    telemetry.on_abort()
    telemetry.on_rebalance([Partition("observations", number) for number in range(4)])
    telemetry.took_over(0.3, {Partition("observations", 0): 0}, {Partition("observations", 0): 5})
    telemetry.recovering(500)
    telemetry.recovered(2.0)
    telemetry.unknown_categories({"weather": 2})
    telemetry.missing_inputs({"weather": 3})
    telemetry.missing_ahead({"weather": 4})
    telemetry.beyond_bounds(3, 2)
    telemetry.gaps_filled(5)
    telemetry.restarted(1)
    telemetry.evicted(1)
    telemetry.state(5000, 80_000_000, 3.2)
    for number in range(4):
        telemetry.progress(Partition("observations", number), time.time() - 1, time.time() - 60)
        telemetry.snapshot(Partition("observations", number))
    telemetry.store_failed("read")
    telemetry.model_swap("challenger")
    for lane in ("champion", "challenger"):
        telemetry.forecasts(lane, 960)
        telemetry.drift(lane, 1)
        telemetry.anomalies(lane, 4)
        telemetry.not_finite(lane, 1)
        errors, naive = random.exponential(1.0, 200), random.exponential(1.5, 200)
        telemetry.scores(lane, np.repeat([1, 12], 100), errors, naive, errors / 2, random.random(200) < 0.8)


def telemetry_of(name: str) -> Telemetry:
    """Telemetry of a service whose two lanes run versions of a model."""
    lanes, measured = {"champion": (name, "3"), "challenger": (name, "4")}, {"relative_mae": 0.8, "coverage": 0.8}
    trained, refused = {"champion": measured}, {Partition("observations", 3): 95.0}
    return Telemetry(lanes, coverage_target=0.8, trained=trained, ready=lambda: True, refused=lambda: refused)


@pytest.fixture(scope="module")
def workers() -> Iterator[dict[str, str]]:
    """The address of a worker of each job, to which something happens all the time."""
    services = {job: telemetry_of(job) for job in JOBS}
    stop, random = threading.Event(), np.random.default_rng(3)

    def live() -> None:
        while not stop.wait(0.1):
            for telemetry in services.values():
                busy(telemetry, random)

    thread = threading.Thread(target=live)
    thread.start()
    with ExitStack() as servers:
        opened = {
            job: servers.enter_context(closing(TelemetryServer(each, Serving()))) for job, each in services.items()
        }
        yield {job: f"127.0.0.1:{server.port}" for job, server in opened.items()}
    stop.set()
    thread.join(timeout=10)


@pytest.fixture(scope="module")
def prometheus(workers: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prometheus of our own, with our configuration, that has seen some scrapes and evaluations."""
    if (program := shutil.which("prometheus")) is None:
        reason = "no prometheus: on Debian, apt install prometheus"
        if os.environ.get("CI"):
            pytest.fail(f"the dashboard must be tested in CI: {reason}")
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("prometheus")
    configuration = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
    configuration["rule_files"] = [str(DEPLOY / "alerts.yml")]
    (scraped,) = configuration["scrape_configs"]
    configuration["scrape_configs"] = [
        scraped | {"job_name": job, "scrape_timeout": "500ms", "static_configs": [{"targets": [address]}]}
        for job, address in workers.items()
    ]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    command = [program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=log, stderr=log)
        try:
            await_scrapes(f"http://{address}", process, folder / "log")
            yield f"http://{address}"
        finally:
            process.terminate()
            process.wait(timeout=20)


def await_scrapes(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 60
    wanted = "count_over_time(streamcast:slow:ratio_rate6h[1m]) >= 6"
    while time.monotonic() < until and process.poll() is None:
        try:
            if len(ask(address, wanted)) == len(JOBS):
                return
        except OSError:
            pass
        time.sleep(0.3)
    pytest.fail(f"Prometheus has seen no telemetry within a minute:\n{log.read_text()[-3000:]}")


def ask(address: str, query: str, job: str = JOBS[0]) -> list[dict[str, Any]]:
    """The vector that a query of the dashboard yields now, for one service."""
    plain = query.replace("$__rate_interval", "10s").replace("$instance", ".*").replace("$job", job)
    words = urllib.parse.urlencode({"query": plain})
    try:
        with urllib.request.urlopen(f"{address}/api/v1/query?{words}", timeout=10) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
            return result
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.SERVICE_UNAVAILABLE:  # it is still starting
            raise
        pytest.fail(f"{plain}: {error.read().decode()}")


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("query", QUERIES)
def test_each_query_finds_numbers_for_each_service(prometheus: str, query: str, job: str) -> None:
    values = [float(sample["value"][1]) for sample in ask(prometheus, query, job)]
    assert values
    assert np.isfinite(values).all()


@pytest.mark.parametrize("job", JOBS)
def test_panels_show_the_chosen_service_alone(prometheus: str, workers: dict[str, str], job: str) -> None:
    (ready,) = ask(prometheus, 'streamcast_ready{job="$job", instance=~"$instance"}', job)
    assert ready["metric"]["instance"] == workers[job]
    (models,) = (panel["targets"][0]["expr"] for panel in DASHBOARD["panels"] if panel["title"] == "Models")
    assert {sample["metric"]["model"] for sample in ask(prometheus, models, job)} == {job}


@pytest.mark.parametrize("job", JOBS)
def test_each_variable_and_annotation_finds_something(prometheus: str, workers: dict[str, str], job: str) -> None:
    found = {}
    for variable in DASHBOARD["templating"]["list"]:
        selector, label = variable["definition"].removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
        found[variable["name"]] = {sample["metric"][label] for sample in ask(prometheus, selector, job)}
    assert found == {"job": set(JOBS), "instance": {workers[job]}}
    assert all(ask(prometheus, annotation["expr"], job) for annotation in DASHBOARD["annotations"]["list"])
