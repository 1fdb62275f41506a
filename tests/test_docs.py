"""What the pages say, done: every code block, every command in the text, every link, and the site itself."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from harness import ROOT
from harness.documentation import reference
from harness.documentation.blocks import Block, blocks, commands, inline_code, links
from harness.documentation.session import PageError, Session
from tests.docs_given import GIVEN

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], key=lambda path: path.relative_to(ROOT).as_posix())
RUN = ("bash", "python")
KAFKA = {"quickstart-kafka.md"}
"""Pages whose commands need a real Kafka; all others run without one."""


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def runs(page: Path) -> bool:
    return any(block.language in RUN and not block.not_run for block in blocks(page))


def reads_as_said(expected: str, printed: str) -> str | None:
    """Return the first line of ``expected`` that is not in what was printed, in this order; numbers may differ.

    "…" stands for any text, and a line of it for any number of lines.
    """
    lines = iter([_shape(line) for line in printed.splitlines()])
    for line in expected.splitlines():
        wanted = re.compile(".*".join(re.escape(_shape(part)) for part in line.split("…")))
        if line.strip(" …") and not any(wanted.search(found) for found in lines):
            return line
    return None


def _shape(line: str) -> str:
    """Return a line without its numbers and spaces."""
    return re.sub(r"[\d.,:%-]*\d[\d.,:%-]*|\s", "", line)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_of_a_page_is_run_or_says_why_not(page: Path) -> None:
    before: Block | None = None
    for block in blocks(page):
        output = block.language == "text" and before is not None and before.language in RUN and not before.not_run
        known = block.language in {*RUN, "json", "yaml"} or output
        assert known or block.not_run, (
            f"{block}: a block of {block.language or 'no language'} that nothing runs; make it bash, python, json or"
            " yaml, put it after the block whose output it is, or write <!-- not run: REASON --> before it"
        )
        before = block


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_piece_of_data_of_a_page_can_be_parsed(page: Path) -> None:
    for block in blocks(page):
        if block.language == "json" and not block.not_run:
            json.loads(block.text)
        if block.language == "yaml" and not block.not_run:
            assert yaml.safe_load(block.text)


@pytest.mark.parametrize("page", [page for page in PAGES if runs(page) and page.name not in KAFKA], ids=name)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    follow(page, tmp_path, {})


@pytest.mark.kafka
@pytest.mark.parametrize("page", [page for page in PAGES if page.name in KAFKA], ids=name)
def test_a_page_does_on_kafka_what_it_says(page: Path, tmp_path: Path, kafka: str) -> None:
    free = {"STREAMCAST__TELEMETRY__PORT": "0", "STREAMCAST__DASHBOARD__PORT": "0"}
    follow(page, tmp_path, {"STREAMCAST__KAFKA__BOOTSTRAP_SERVERS": kafka, **free})


def follow(page: Path, folder: Path, environment: dict[str, str]) -> None:
    """Do what a page says, block by block, and compare what it prints with what it says."""
    place = folder / "reader"
    place.mkdir()
    session = Session(place, environment)
    printed = ""
    try:
        for block in blocks(page):
            if block.not_run:
                continue
            for given in block.given:
                GIVEN[given](place)
            try:
                if block.language == "bash":
                    printed = session.shell(block.text, block.stays)
                elif block.language == "python":
                    printed = session.python(block.text)
                elif block.language == "text":
                    missing = reads_as_said(block.text, printed)
                    assert missing is None, f"{block}: {missing!r} is not in what was printed:\n{printed}"
            except PageError as error:
                pytest.fail(f"{block}: {error}")
    finally:
        session.close()


def _spoken(page: Path) -> Iterator[str]:
    """Yield every streamcast command of a page: in its blocks, also those that are not run, and in its text."""
    for block in blocks(page):
        if block.language == "bash":
            yield from commands(block.text)
    yield from inline_code(page)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_that_a_page_names_exists_with_its_options(page: Path) -> None:
    paths = list(reference.command_paths())
    groups = {path[0] for path in paths if len(path) > 1}
    for spoken in _spoken(page):
        words = spoken.split()
        if words[:1] != ["streamcast"] or len(words) == 1 or words[1].startswith("-"):
            continue
        if len(words) == 2 and words[1] in groups:
            continue
        path = words[1:3] if words[1] in groups else words[1:2]
        assert path in paths, f"{name(page)}: `{spoken}`"
        options = {word.partition("=")[0] for word in words if word.startswith("-") and word != "-"}
        assert options <= reference.command_options(path) | {"…"}, f"{name(page)}: `{spoken}`"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_module_that_a_page_runs_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    modules = set(re.findall(r"python -m ((?:benchmarks|examples|harness)\.[\w.]+)", text))
    assert [module for module in sorted(modules) if find_spec(module) is None] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    dead = []
    for target in links(page):
        path = target.partition("#")[0]
        if "://" in target or not path:
            continue
        if not (page.parent / path).resolve().exists():
            dead.append(target)
    assert dead == []


@pytest.mark.parametrize(("page", "write"), reference.PAGES.items(), ids=list(reference.PAGES))
def test_the_pages_that_are_written_from_the_code_are_current(page: str, write: reference.Writer) -> None:
    assert (ROOT / "docs" / page).read_text(encoding="utf-8") == write(), "run `make docs`"


def test_the_site_can_be_built_without_a_warning_and_has_every_page(tmp_path: Path) -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = set(_pages(settings["nav"]))
    assert {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")} == listed
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"], cwd=tmp_path, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    built = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert re.findall(r'(?:src|href)="(https?://[^"]*\.(?:js|css|woff2?))"', built) == []


def _pages(part: object) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict):
        for inner in part.values():
            yield from _pages(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _pages(inner)


def test_expected_output_is_found_line_by_line_and_numbers_may_differ() -> None:
    printed = "note: read 12 rows\ntraining ...\nMAE 4.2, 10% better\nSaved a@1"
    assert reads_as_said("note: read 9 rows\n…\nSaved a@2", printed) is None
    assert reads_as_said("Saved a@1\nnote: read 12 rows", printed) == "note: read 12 rows"
    assert reads_as_said("MAE 4.2, 10% worse", printed) == "MAE 4.2, 10% worse"
    assert reads_as_said("MAE … better", printed) is None


def test_a_command_that_fails_fails_its_page(tmp_path: Path) -> None:
    session = Session(tmp_path, {})
    try:
        with pytest.raises(PageError, match="ended with 2"):
            session.shell("streamcast backtest missing.csv --model a@1")
        with pytest.raises(PageError, match="ZeroDivisionError"):
            session.python("1 / 0")
    finally:
        session.close()


def test_shell_blocks_are_split_into_commands() -> None:
    text = "cd a  # there\n# nothing\nstreamcast train b \\\n    --name c\n"
    assert [shlex.split(each) for each in commands(text)] == [["cd", "a"], ["streamcast", "train", "b", "--name", "c"]]
