"""Every alert fires when it should, as promtool tells; tests/test_deploy.py reads what needs no program."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from harness import ROOT

pytestmark = pytest.mark.prometheus

DEPLOY = ROOT / "deploy"
TESTS = sorted(DEPLOY.glob("alerts*_test.yml"))
SCRAPES = re.findall(
    r"^```yaml\n(scrape_configs:.*?)^```", (ROOT / "docs" / "deploy.md").read_text(), re.MULTILINE | re.DOTALL
)


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


@pytest.mark.parametrize("block", SCRAPES, ids=["two services", "Kubernetes"])
def test_what_the_page_of_deployment_configures_is_valid(block: str, tmp_path: Path) -> None:
    known = block.replace("kubernetes_sd_configs: [{role: pod}]", "static_configs: []")  # Debian's has no Kubernetes
    (tmp_path / "prometheus.yml").write_text(known)
    assert "SUCCESS" in promtool("check", "config", str(tmp_path / "prometheus.yml"))


def test_the_configuration_is_valid_with_what_its_comments_suggest(tmp_path: Path) -> None:
    lines = (DEPLOY / "prometheus.yml").read_text().splitlines()
    suggested = [re.sub(r"^(\s*)# (\s*(?:[a-z_]+:|- ).*)$", r"\1\2", line) for line in lines]
    (tmp_path / "prometheus.yml").write_text("\n".join(suggested))
    (tmp_path / "alerts.yml").write_text((DEPLOY / "alerts.yml").read_text())
    assert {"external_labels", "scrape_interval"} <= yaml.safe_load("\n".join(suggested))["global"].keys()
    assert yaml.safe_load("\n".join(suggested))["alerting"]["alertmanagers"]
    assert "SUCCESS" in promtool("check", "config", str(tmp_path / "prometheus.yml"))
