"""What deploy/ and the compose file say, as far as reading tells: alerts, dashboard, containers, Kubernetes.

Nothing of it needs Prometheus, Grafana or Docker; tests/end_to_end/ runs the rules and the queries.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import ROOT
from streamcast.app.commands.deployment.topics import ANY_TIME, JOURNAL_CONFIG
from streamcast.app.settings import Settings, load_settings
from streamcast.consumers.health import Deadlines
from streamcast.service.telemetry.meters import COUNTERS, GAUGES, HISTOGRAMS, SECONDS_EDGES

DEPLOY = ROOT / "deploy"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
ALERTS = [rule for rule in RULES if "alert" in rule]
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana/dashboards/streamcast.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
QUERIES: list[str] = [target["expr"] for panel in PANELS for target in panel.get("targets", [])]
RUNBOOKS = (ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8")
HEADINGS = re.findall(r"^## (.+)$", RUNBOOKS, re.MULTILINE)
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
KUBERNETES: dict[tuple[str, str], dict[str, Any]] = {
    (part["kind"], part["metadata"]["name"]): part
    for part in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8"))
}
WORKERS, PAGE = KUBERNETES["StatefulSet", "streamcast"], KUBERNETES["Deployment", "streamcast-page"]
ROWS = [
    "Objective", "Throughput", "Latency", "Stages", "Lag", "State", "Accuracy", "Coverage", "Drift", "Dead", "Process",
]  # fmt: skip
IN_OTHER_PANELS = {"streamcast_records_consumed_total"}
"""Metrics whose number the dashboard has as a sum of others."""

# -- alerts and their runbooks -----------------------------------------------------------------------------


def test_each_alert_has_a_test_in_which_it_fires() -> None:
    tests = [test for path in DEPLOY.glob("alerts*_test.yml") for test in yaml.safe_load(path.read_text())["tests"]]
    fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case.get("exp_alerts")}
    assert fired == {alert["alert"] for alert in ALERTS}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_each_alert_leads_to_its_runbook(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"page", "ticket"}
    url = alert["annotations"]["runbook_url"]
    base = "{{ with $externalLabels.streamcast_runbooks }}{{ . }}{{ else }}docs/runbooks.md{{ end }}#"
    assert url.startswith(base)
    assert url.removeprefix(base) in {heading.lower().replace(" ", "-") for heading in HEADINGS}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_each_rule_asks_for_metrics_that_exist(rule: dict[str, Any]) -> None:
    named = set(re.findall(r"(?<!=~\")\bstreamcast_\w+", rule["expr"]))
    assert named <= exposed()
    assert {float(edge) for edge in re.findall(r'le="([\d.]+)"', rule["expr"])} <= set(SECONDS_EDGES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_no_rule_adds_one_service_to_another(rule: dict[str, Any]) -> None:
    expression = rule["expr"]
    assert 'job="' not in expression, "a job is any name that begins with streamcast"
    kept = re.findall(r"\b(?:sum|max|min|avg|count|group)\b *(by|without)? *(?:\(([^()]*)\))? *\(", expression)
    assert [by for by in kept if by[0] != "by" or "job" not in by[1].split(", ")] == []
    assert [on for on in re.findall(r"\bon \(([^()]*)\)", expression) if "job" not in on.split(", ")] == []


def test_every_name_in_italics_in_the_runbooks_is_a_panel_or_another_runbook() -> None:
    """An item of a list may begin with a case in italics."""
    named = re.findall(r"(?<![*\w])(?<!- )\*([^*\n]+)\*(?!\*)", RUNBOOKS)
    known = {panel["title"] for panel in PANELS} | set(HEADINGS)
    assert set(named) - known == set(), "write the title of a panel of deploy/grafana/dashboards/streamcast.json"
    assert len(named) > 20


# -- the dashboard -----------------------------------------------------------------------------------------


def exposed() -> set[str]:
    """The names of all metrics in the text that a worker exposes."""
    single = {f"streamcast_{name}" for name in GAUGES} | {f"streamcast_{name}_total" for name in COUNTERS}
    return single | {f"streamcast_{name}_{part}" for name in HISTOGRAMS for part in ("bucket", "count", "sum")}


def test_every_metric_is_on_the_dashboard() -> None:
    shown = {name for query in QUERIES for name in re.findall(r"\bstreamcast_\w+", query)}
    histograms = {f"streamcast_{name}" for name in HISTOGRAMS}
    shown |= {name for name in histograms if shown & {f"{name}_bucket", f"{name}_sum", f"{name}_count"}}
    wanted = histograms | {f"streamcast_{name}" for name in GAUGES} | {f"streamcast_{name}_total" for name in COUNTERS}
    missing = sorted(wanted - shown - IN_OTHER_PANELS)
    assert missing == [], "give each a query in a panel of deploy/grafana/dashboards/streamcast.json"
    assert shown <= wanted | exposed(), "a query asks for a metric that no worker has"


def test_each_query_is_about_the_chosen_service_alone() -> None:
    annotations = [annotation["expr"] for annotation in DASHBOARD["annotations"]["list"]]
    for query in [*QUERIES, *annotations]:
        found = re.findall(r"\b((?:streamcast|process)[_:][\w:]+)(\{[^}]*\})?", query)
        assert found
        assert [name for name, selector in found if not selector.startswith('{job="$job"')] == [], query


def test_the_services_that_can_be_chosen_are_those_that_the_alerts_watch() -> None:
    variables = {variable["name"]: variable["definition"] for variable in DASHBOARD["templating"]["list"]}
    (down,) = (alert["expr"] for alert in ALERTS if alert["alert"] == "StreamcastDown")
    (watched,) = set(re.findall(r"up(\{[^}]*\})", down))
    assert variables == {"job": f"label_values(up{watched}, job)", "instance": 'label_values(up{job="$job"}, instance)'}
    jobs = [job["job_name"] for job in yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]]
    assert all(job.startswith("streamcast") for job in jobs)


def test_the_rows_are_there_and_no_panel_covers_another() -> None:
    rows = [panel["title"] for panel in PANELS if panel["type"] == "row"]
    assert [title.split()[0].strip(":") for title in rows] == ROWS
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + i, place["y"] + j) for i in range(place["w"]) for j in range(place["h"])}
        assert not cells & taken
        taken |= cells
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)


def test_grafana_finds_the_data_source_that_the_panels_name() -> None:
    (source,) = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    panels = [panel for panel in PANELS if panel["type"] != "row"]
    assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"]}
    (provider,) = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/streamcast.yml").read_text())["providers"]
    mounts = [volume.split(":")[1] for volume in SERVICES["grafana"]["volumes"]]
    assert provider["options"]["path"] in mounts


# -- containers --------------------------------------------------------------------------------------------


def test_the_containers_settings_load_and_their_topics_are_created() -> None:
    loaded = load_settings(DEPLOY / "streamcast.yaml")
    script = SERVICES["topics"]["command"][-1]
    printed = script.replace("$$", "$").replace("/opt/kafka/bin/kafka-topics.sh", "echo")
    done = subprocess.run(["bash", "-euc", printed], capture_output=True, text=True, timeout=30, check=True)
    made = [line.split(" --topic ") for line in done.stdout.splitlines()]
    held, kept = (
        "".join(f" --config {name}={limit}" for name, limit in limits.items()) for limits in (ANY_TIME, JOURNAL_CONFIG)
    )
    output = loaded.output
    assert [named for _, named in made] == [
        loaded.input.topic, output.forecasts + held, output.dead_letters + held, output.journal + held + kept,
    ]  # fmt: skip
    assert len({common for common, _ in made}) == 1
    assert loaded.kafka.bootstrap_servers in script


def test_every_file_that_a_container_mounts_exists() -> None:
    mounts = [mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])]
    assert [mount for mount in mounts if mount.startswith("./") and not (ROOT / mount).exists()] == []


def test_containers_have_no_needless_rights() -> None:
    for name in ("streamcast", "page"):
        assert SERVICES[name]["read_only"] is True
        assert SERVICES[name]["cap_drop"] == ["ALL"]
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []
    assert re.search(r"^USER [1-9]", DOCKERFILE, re.MULTILINE)


def test_the_image_gets_every_folder_that_the_package_links_to() -> None:
    links = [path for path in (ROOT / "streamcast").iterdir() if path.is_symlink()]
    assert [path.resolve() for path in sorted(links)] == [ROOT / "consumers", ROOT / "models"]
    assert [path.name for path in links if f"\nCOPY {path.name} {path.name}\n" not in DOCKERFILE] == []


def test_a_container_that_is_restarted_keeps_its_model() -> None:
    for loaded in (load_settings(DEPLOY / "streamcast.yaml"), settings_of_kubernetes()):
        assert [lane.model for lane in loaded.models.lanes.values()] == ["load@1"], "name a version, not @latest"


def test_the_commands_of_the_image_find_its_settings_and_models() -> None:
    named = dict(re.findall(r"\b(STREAMCAST_\w+)=(\S+)", DOCKERFILE))
    mounted = [volume.split(":")[1] for volume in SERVICES["streamcast"]["volumes"]]
    loaded = load_settings(DEPLOY / "streamcast.yaml")
    assert named["STREAMCAST_CONFIG"] in mounted
    assert named["STREAMCAST_MODELS"] == str(loaded.models.folder)
    mounts = containers(WORKERS)[0]["volumeMounts"]
    assert str(Path(named["STREAMCAST_CONFIG"]).parent) in [mount["mountPath"] for mount in mounts]
    assert Path(named["STREAMCAST_CONFIG"]).name in KUBERNETES["ConfigMap", "streamcast"]["data"]
    assert named["STREAMCAST_MODELS"] == str(settings_of_kubernetes().models.folder)


def test_the_health_checks_ask_the_probes_of_what_they_check() -> None:
    loaded = load_settings(DEPLOY / "streamcast.yaml")
    assert f"http://127.0.0.1:{loaded.telemetry.port}/livez" in DOCKERFILE
    assert f"http://127.0.0.1:{loaded.dashboard.port}/livez" in SERVICES["page"]["healthcheck"]["test"][-1]


def test_containers_may_take_longer_to_stop_than_a_worker() -> None:
    (seconds,) = re.findall(r"^(\d+)s$", SERVICES["streamcast"]["stop_grace_period"])
    slowest = 3 * Deadlines().shutdown_seconds  # the loop, then its clients, one after the other
    assert int(seconds) > slowest
    assert WORKERS["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > slowest


# -- Kubernetes --------------------------------------------------------------------------------------------


def containers(part: dict[str, Any]) -> list[dict[str, Any]]:
    """The containers of the pods of a part."""
    found: list[dict[str, Any]] = part["spec"]["template"]["spec"]["containers"]
    return found


def settings_of_kubernetes() -> Settings:
    """The settings of the example without its secrets, which only a pod has."""
    document = yaml.safe_load(KUBERNETES["ConfigMap", "streamcast"]["data"]["streamcast.yaml"])
    del document["kafka"]["security"], document["telemetry"]["token_file"], document["dashboard"]["token_file"]
    return Settings(**document)


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """The settings of the example as a file, and a folder with the files of its secret."""
    text = KUBERNETES["ConfigMap", "streamcast"]["data"]["streamcast.yaml"]
    for name in ("kafka-password", "telemetry-token", "page-token"):
        assert f"/run/secrets/streamcast/{name}" in text
        (tmp_path / name).write_text(f"secret of {name}\n")
    (tmp_path / "streamcast.yaml").write_text(text.replace("/run/secrets/streamcast", str(tmp_path)))
    return tmp_path


def test_the_settings_of_kubernetes_load_with_the_name_of_the_pod(
    secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (worker,) = containers(WORKERS)
    values = {"metadata.name": "streamcast-1"}
    for variable in worker["env"]:
        monkeypatch.setenv(variable["name"], values[variable["valueFrom"]["fieldRef"]["fieldPath"]])
    loaded = load_settings(secrets / "streamcast.yaml")
    assert loaded.kafka.instance == "streamcast-1"
    given = (loaded.kafka.security.password, loaded.telemetry.token, loaded.dashboard.token)
    assert [secret and secret.get_secret_value() for secret in given] == [
        "secret of kafka-password", "secret of telemetry-token", "secret of page-token",
    ]  # fmt: skip
    assert {loaded.telemetry.host, loaded.dashboard.host} == {"0.0.0.0"}
    url = f"http://streamcast-0.{WORKERS['spec']['serviceName']}:{loaded.telemetry.port}/metrics"
    assert loaded.dashboard.telemetry_url == url


@pytest.mark.parametrize(("part", "port"), [(WORKERS, 9464), (PAGE, 8080)], ids=["workers", "page"])
def test_the_probes_of_kubernetes_ask_the_ports_of_the_settings(part: dict[str, Any], port: int) -> None:
    loaded = settings_of_kubernetes()
    assert {loaded.telemetry.port, loaded.dashboard.port} == {9464, 8080}
    (container,) = containers(part)
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    probes = {name: container[name]["httpGet"] for name in container if name.endswith("Probe")}
    assert {ports[probe["port"]] for probe in probes.values()} == {port}
    ready = {"readinessProbe": "/readyz"} if part is WORKERS else {}
    paths = {name: probe["path"] for name, probe in probes.items()}
    assert paths == {"startupProbe": "/livez", "livenessProbe": "/livez"} | ready


def test_the_parts_of_the_example_fit_together() -> None:
    for part in (WORKERS, PAGE):
        pod = part["spec"]["template"]
        labels = pod["metadata"]["labels"]
        assert part["spec"]["selector"]["matchLabels"].items() <= labels.items()
        volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
        for container in pod["spec"]["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert str(pod["spec"]["securityContext"]["runAsUser"]) in DOCKERFILE
    labels = WORKERS["spec"]["template"]["metadata"]["labels"]
    service, budget = KUBERNETES["Service", "streamcast"], KUBERNETES["PodDisruptionBudget", "streamcast"]
    for selector in (service["spec"]["selector"], budget["spec"]["selector"]["matchLabels"]):
        assert selector.items() <= labels.items()
        assert not selector.items() <= PAGE["spec"]["template"]["metadata"]["labels"].items()
    assert WORKERS["spec"]["serviceName"] == service["metadata"]["name"]


def test_prometheus_finds_the_workers_of_the_example_and_names_their_job() -> None:
    text = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    (found,) = (
        job
        for block in re.findall(r"^```yaml\n(scrape_configs:.*?)^```", text, re.MULTILINE | re.DOTALL)
        for job in yaml.safe_load(block)["scrape_configs"]
        if "relabel_configs" in job
    )
    labels = WORKERS["spec"]["template"]["metadata"]["labels"]
    pod = {f"__meta_kubernetes_pod_label_{re.sub(r'[^a-zA-Z0-9]', '_', name)}": text for name, text in labels.items()}
    pod |= {"__meta_kubernetes_pod_container_port_name": containers(WORKERS)[0]["ports"][0]["name"]}
    pod |= {"__meta_kubernetes_pod_name": "streamcast-0"}
    given = {}
    for rule in found["relabel_configs"]:
        (source,) = rule["source_labels"]
        if rule.get("action") == "keep":
            assert re.fullmatch(rule["regex"], pod[source])
        else:
            given[rule["target_label"]] = pod[source]
    assert given == {"job": "streamcast", "instance": "streamcast-0"}
