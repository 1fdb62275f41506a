"""Every alert fires when it should, and leads to a page that says what to do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import ROOT
from streamcast.service.telemetry.meters import COUNTERS, GAUGES, HISTOGRAMS, SECONDS_EDGES

pytestmark = pytest.mark.prometheus

DEPLOY = ROOT / "deploy"
TESTS = sorted(DEPLOY.glob("alerts*_test.yml"))
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
ALERTS = [rule for rule in RULES if "alert" in rule]


def promtool(*arguments: str) -> str:
    if (tool := shutil.which("promtool")) is None:
        reason = "no promtool: on Debian, apt install prometheus"
        if os.environ.get("CI"):
            pytest.fail(f"the alert rules must be tested in CI: {reason}")
        pytest.skip(reason)
    done = subprocess.run([tool, *arguments], cwd=DEPLOY, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("tests", TESTS, ids=lambda path: path.name)
def test_each_alert_fires_when_it_should_and_not_otherwise(tests: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", tests.name)


def test_the_configuration_is_valid() -> None:
    assert "SUCCESS" in promtool("check", "config", "prometheus.yml")


def test_each_alert_has_a_test_in_which_it_fires() -> None:
    tests = [test for path in TESTS for test in yaml.safe_load(path.read_text())["tests"]]
    fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case.get("exp_alerts")}
    assert fired == {alert["alert"] for alert in ALERTS}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_each_alert_leads_to_its_runbook(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"page", "ticket"}
    path, anchor = alert["annotations"]["runbook_url"].split("#")
    headings = re.findall(r"^## (.+)$", (ROOT / path).read_text(), re.MULTILINE)
    assert anchor in {heading.lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_each_rule_asks_for_metrics_that_exist(rule: dict[str, Any]) -> None:
    exposed = {f"streamcast_{name}" for name in GAUGES} | {f"streamcast_{name}_total" for name in COUNTERS}
    exposed |= {f"streamcast_{name}_{part}" for name in HISTOGRAMS for part in ("bucket", "count", "sum")}
    assert set(re.findall(r"streamcast_\w+", rule["expr"])) <= exposed
    assert {float(edge) for edge in re.findall(r'le="([\d.]+)"', rule["expr"])} <= set(SECONDS_EDGES)
