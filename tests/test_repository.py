"""Rules for the whole repository that ruff, mypy and import-linter do not check."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from harness import ROOT

WINGS = ("models", "consumers", "streamcast")
SKIPPED = {".git", ".venv", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".cache"}
SKIPPED |= {".import_linter_cache", "build", "dist"}


def _files(*suffixes: str) -> list[Path]:
    found = (path for path in ROOT.rglob("*") if not SKIPPED & set(path.relative_to(ROOT).parts))
    return sorted(path for path in found if path.is_file() and (not suffixes or path.suffix in suffixes))


def _imports(path: Path) -> set[str]:
    """The top-level packages that a file imports, at any place in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").split(".")[0])
    return names


def _distribution(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=~ ]", requirement)[0]).lower()


@pytest.mark.parametrize("path", sorted((ROOT / "models").rglob("*.py")), ids=lambda path: path.name)
def test_models_import_torch_and_nothing_else(path: Path) -> None:
    assert _imports(path) - sys.stdlib_module_names <= {"streamcast", "torch"}


def test_every_import_is_declared_as_a_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    imported = set().union(*(_imports(path) for wing in WINGS for path in (ROOT / wing).rglob("*.py")))
    extras = [lines for extra, lines in project["optional-dependencies"].items() if extra != "dev"]
    declared = {_distribution(line) for lines in [project["dependencies"], *extras] for line in lines}
    distributions = {"kafka": "kafka-python", "yaml": "pyyaml", "pydantic_core": "pydantic"}
    wanted = {distributions.get(name, name) for name in imported - sys.stdlib_module_names - {"streamcast"}}
    assert {_distribution(name) for name in wanted} - declared == set()


def test_every_dependency_is_pinned_exactly_and_without_an_address() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.+!]*", line)] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(line for lines in project["optional-dependencies"].values() for line in lines),
    ]
    assert {_distribution(line) for line in wanted} - {_distribution(line) for line in lines} == {project["name"]}


def test_the_image_installs_the_pinned_versions_with_hashes() -> None:
    text = (ROOT / "deploy" / "requirements.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    locked = {_distribution(line): line for line in text.splitlines()}
    assert [line for line in locked.values() if "--hash=sha256:" not in line] == []
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {_distribution(line): line.partition("==")[2] for line in pins}
    versions = {name: line.split()[0].partition("==")[2] for name, line in locked.items()}
    assert {name for name, version in versions.items() if pinned.get(name, version) != version} == set()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    (named,) = re.findall(r"'\.\[([\w,]+)\]'", dockerfile)
    wanted = [*project["dependencies"], *(line for extra in named.split(",") for line in extras[extra])]
    assert {_distribution(line) for line in wanted} - set(locked) == set(), "run make release"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.findall(r"--extra (\w+)", makefile) == named.split(","), "make release must lock what the image installs"


def test_no_file_names_this_machine_or_a_package_registry() -> None:
    machine = re.compile(r"(^|[^A-Za-z0-9_.-])/(work|root|farm|home)/[a-z]")
    registry = re.compile(
        r"https?://[A-Za-z0-9.-]+/(simple|packages|maven2|debian)\b|(index-url|registry)[= ]+https?://"
    )
    found = []
    for path in _files(".py", ".toml", ".txt", ".md", ".yml", ".yaml", ".sh", ".html", ".js", ".css", ".json", ""):
        text = path.read_text(encoding="utf-8", errors="ignore")
        found += [f"{path.relative_to(ROOT)}: {m[0]}" for rule in (machine, registry) if (m := rule.search(text))]
    assert found == []


def test_no_file_is_named_utils_or_the_like() -> None:
    empty = re.compile(r"(^|_)(utils?|common|helpers?|misc|core|metrics)$")
    assert [str(path.relative_to(ROOT)) for path in _files(".py") if empty.search(path.stem)] == []


def test_models_are_never_read_by_an_unsafe_loader() -> None:
    unsafe = re.compile(r"torch\.load\(|\bpickle\.loads?\(|yaml\.(unsafe_|full_)?load\(")
    found = [path for wing in WINGS for path in (ROOT / wing).rglob("*.py") if unsafe.search(path.read_text("utf-8"))]
    assert found == []


def test_only_the_settings_read_the_environment() -> None:
    allowed = {"streamcast/app/settings/load.py"}
    reads = re.compile(r"os\.(environ|getenv)")
    files = [path for wing in ("models", "streamcast") for path in (ROOT / wing).rglob("*.py")]
    found = {path.relative_to(ROOT).as_posix() for path in files if reads.search(path.read_text("utf-8"))}
    assert found <= allowed


ARCHITECTURE = re.compile(r"`((?:models|consumers|streamcast|harness|tests|benchmarks|examples|deploy|docs)/[\w./-]*)`")


def test_every_path_that_the_architecture_page_names_exists() -> None:
    named = ARCHITECTURE.findall((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))
    assert len(named) > 40
    assert [path for path in named if not (ROOT / path).exists() and not (ROOT / f"{path}.py").exists()] == []


def test_the_architecture_page_names_every_room() -> None:
    named = ARCHITECTURE.findall((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))
    rooms = {path.parent for wing in (*WINGS, "harness") for path in (ROOT / wing).rglob("*.py")}
    rooms |= {path for path in ROOT.iterdir() if any(path.glob("*.py"))}
    folders = {path.relative_to(ROOT).as_posix() for path in rooms} - {"streamcast"}
    assert folders - {path.rstrip("/") for path in named} == set()


def _docstring(package: Path) -> str:
    return ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8"))) or ""


PACKAGES = [path.parent for wing in WINGS for path in sorted((ROOT / wing).rglob("__init__.py"))]
IN_ORDER = [package for package in PACKAGES if "n reading order" in _docstring(package)]


@pytest.mark.parametrize("package", IN_ORDER, ids=lambda path: path.name)
def test_a_package_that_gives_a_reading_order_names_all_its_modules_and_no_others(package: Path) -> None:
    named = re.findall(r"\w+\.py\b|\w+(?=/)|(?<=``)\w+(?=``)", _docstring(package))
    files = {name for name in named if name.endswith(".py")}
    assert files - {path.name for path in package.rglob("*.py")} == set()
    modules = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert modules - {name.removesuffix(".py") for name in named} == {"__init__"}


@pytest.mark.parametrize("path", _files(".yml", ".yaml"), ids=lambda path: path.name)
def test_every_yaml_file_can_be_parsed(path: Path) -> None:
    assert list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def test_every_make_target_is_explained_by_make_help() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert targets
    help_text = subprocess.run(
        ["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True, timeout=30
    ).stdout
    assert [name for name in targets[1].split() if name != "help" and f"make {name} " not in help_text] == []
