"""What an installation offers: one name, beside which a project may have ``models`` and ``consumers`` of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

from harness import ROOT

FOLDERS = ("models", "consumers", "harness", "tests", "benchmarks", "examples")
"""Folders of the repository that no installation may offer as packages of these names."""

PROJECT = """
import json
import consumers, models
from streamcast import Forecaster
import streamcast.consumers, streamcast.models
modules = {"models": models, "consumers": consumers, "streamcast": streamcast}
print(json.dumps({name: module.__file__ for name, module in modules.items()} | {"says": models.NAME + consumers.NAME}))
"""

ELSEWHERE = f"""
import importlib.util, json
found = [(name, importlib.util.find_spec(name)) for name in {FOLDERS}]
print(json.dumps({{name: list(spec.submodule_search_locations or [spec.origin]) for name, spec in found if spec}}))
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command without this session's import path; return what it prints."""
    environment = {"PATH": "", "HOME": str(cwd), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution of this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-d", folder, cwd=ROOT)
    return folder


def environment(folder: Path, *packages: str | Path) -> Path:
    """Make an environment that holds ``packages`` and sees this one's dependencies; return its Python.

    A path file gives access to this environment's packages, but not to its editable installs.
    """
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    site = next(folder.glob("lib/python*/site-packages"))
    (site / "dependencies.pth").write_text("\n".join(path for path in sys.path if Path(path).name == "site-packages"))
    options = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation"]
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--ignore-installed")
    run(*pip, *options, *packages, cwd=folder)
    return python


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel."""
    return environment(tmp_path_factory.mktemp("installed"), next(built.glob("*.whl")))


@pytest.fixture(scope="module")
def editable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the editable install that ``make`` makes."""
    return environment(tmp_path_factory.mktemp("editable"), "--editable", ROOT)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's project with packages named as two folders of ours, and a clone of ours beside them."""
    (tmp_path / "streamcast" / "streamcast").mkdir(parents=True)
    for name in ("models", "consumers"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"NAME = 'my {name}.'\n")
    return tmp_path


def contents(wheel: Path) -> dict[str, int]:
    with zipfile.ZipFile(wheel) as archive:
        return {entry.filename: entry.CRC for entry in archive.infolist()}


def test_the_wheel_holds_one_package(built: Path) -> None:
    names = contents(next(built.glob("*.whl")))
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"streamcast", "streamcast_forecasting"}
    assert {"streamcast/py.typed", "streamcast/models/network.py", "streamcast/consumers/loop.py"} <= names.keys()
    assert {"streamcast/page/static/index.html", "streamcast/page/static/page.css"} <= names.keys()
    source = {
        path.relative_to(ROOT).as_posix() for wing in ("models", "consumers") for path in (ROOT / wing).rglob("*.py")
    }
    assert {f"streamcast/{path}" for path in source} <= names.keys()


def test_the_source_distribution_builds_the_same_wheel(built: Path, tmp_path: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    source = next(tmp_path.iterdir())
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "again", cwd=source)
    assert contents(next((tmp_path / "again").glob("*.whl"))) == contents(next(built.glob("*.whl")))


@pytest.mark.parametrize("kind", ["installed", "editable"])
def test_a_project_may_have_its_own_models_and_consumers(
    kind: str, project: Path, request: pytest.FixtureRequest
) -> None:
    python: Path = request.getfixturevalue(kind)
    found: dict[str, Any] = json.loads(run(python, "-c", PROJECT, cwd=project))
    assert found.pop("says") == "my models.my consumers."
    ours = ROOT if kind == "editable" else python.parents[1]
    homes = {"models": project, "consumers": project, "streamcast": ours}
    assert [name for name, file in found.items() if not Path(file).is_relative_to(homes[name])] == []


@pytest.mark.parametrize("kind", ["installed", "editable"])
def test_an_installation_offers_no_other_folder_of_the_repository(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A dependency may: the wheel of adagio, which statsforecast needs, has a folder ``tests``."""
    python: Path = request.getfixturevalue(kind)
    found: dict[str, list[str]] = json.loads(run(python, "-c", ELSEWHERE, cwd=tmp_path))
    places = {(name, Path(place)) for name, listed in found.items() for place in listed}
    assert [name for name, place in places if place == ROOT / name or place.is_relative_to(python.parents[1])] == []


def test_the_command_starts_in_such_a_project(installed: Path, project: Path) -> None:
    assert "serve" in run(installed.parent / "streamcast", "--help", cwd=project)
