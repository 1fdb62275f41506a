"""Commands that messages name can be pasted and run: with the settings file, the broker and the group."""

from __future__ import annotations

import ast
import logging
import re
import shlex
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
import typer

from harness import ROOT
from streamcast.app.cli import app
from streamcast.app.cli.terminal import loaded
from streamcast.app.settings import Settings, load_settings, whole
from streamcast.consumers.transport import Partition, RecordRefused
from streamcast.service.refusals import kept_for_ever, own_journal, setting_back

OURS = re.compile(r"`(streamcast [a-z][^`]*)`")
THEIRS = re.compile(r"kafka-[a-z-]+\.sh(?! --bootstrap-server )")
MINIMAL = """
models: {lanes: {champion: {model: load@1}}}
kafka: {bootstrap_servers: 'kafka-1:9093', group: night shift}
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "a b.yaml"
    path.write_text(MINIMAL)
    return load_settings(path)


def messages() -> Iterator[tuple[str, str]]:
    """Every text of the programs but docstrings, with its place; a value that is filled in is a word."""
    for wing in ("streamcast", "consumers"):
        for path in sorted((ROOT / wing).rglob("*.py")):
            nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
            docstrings = {node.value for node in nodes if isinstance(node, ast.Expr)}
            parts = {part for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
            for node in nodes:
                if isinstance(node, ast.Constant | ast.JoinedStr) and node not in docstrings | parts:
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", _text(node)


def _text(node: ast.expr) -> str:
    """The text of an expression; ``bootstrap`` names the broker."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_text, node.values))
    return "--bootstrap-server HOST:PORT" if "bootstrap(" in ast.unparse(node) else "WORD"


def test_every_command_of_kafkas_tools_in_a_message_names_the_broker() -> None:
    assert [place for place, text in messages() if THEIRS.search(text)] == []


def test_every_command_of_ours_in_a_message_exists_with_its_options() -> None:
    found = [(place, command) for place, text in messages() for command in OURS.findall(text)]
    assert [f"{place}: {command}" for place, command in found if not exists(command)] == []
    assert len(found) > 10


def exists(command: str) -> bool:
    """Whether the command line has a command with these options."""
    here = typer.main.get_command(app)
    for word in shlex.split(command)[1:]:
        if commands := getattr(here, "commands", {}):
            if word not in commands:
                return False
            here = commands[word]
        elif word.startswith("-") and word not in {name for each in here.params for name in each.opts}:
            return False
    return not getattr(here, "commands", {})


def test_commands_of_ours_get_the_settings_file_of_the_operator(settings: Settings) -> None:
    file = shlex.quote(str(settings.file))
    said = whole(str(RecordRefused("forecasts", "too large")), settings)
    assert f"`streamcast check -c {file}` has the command" in said
    replay = "`streamcast dlq replay --reason skipped"
    assert whole(f"{replay}`", settings) == f"{replay} -c {file}`"
    for same in ("`streamcast init --name NAME`", "`streamcast model ls`", "`streamcast check -c other.yaml`"):
        assert whole(same, settings) == same


def test_the_default_settings_file_needs_no_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("streamcast.yaml").write_text(MINIMAL)
    assert whole("`streamcast check`", load_settings(Path("streamcast.yaml"))) == "`streamcast check`"


def test_commands_of_kafkas_tools_get_broker_group_and_login(settings: Settings) -> None:
    partition = Partition("observations", 3)
    assert whole(setting_back(partition, 17), settings) == (
        "`kafka-consumer-groups.sh --bootstrap-server kafka-1:9093 --group 'night shift' --topic observations:3"
        " --reset-offsets --to-offset 17 --execute`"
    )
    assert "--topic observations:3 --reset-offsets --to-offset N --execute`" in whole(own_journal(partition), settings)
    secure = load_settings(settings.file, {"kafka.security.protocol": "SSL"})
    assert (
        "`kafka-configs.sh --bootstrap-server kafka-1:9093 --command-config admin.properties --alter --topic journal"
        " --add-config retention.ms=-1,retention.bytes=-1`"
    ) in whole(kept_for_ever("journal"), secure)


def test_what_is_logged_and_raised_while_settings_are_used_has_whole_commands(settings: Settings) -> None:
    assert settings.file is not None
    file, said = shlex.quote(str(settings.file)), StringIO()
    handler = logging.StreamHandler(said)
    log = logging.getLogger("streamcast")
    logging.getLogger().addHandler(handler)

    def fail(path: Path) -> None:
        with loaded(path):
            log.error("see %s", "`streamcast dlq inspect`")
            raise RecordRefused("forecasts", "too large")

    try:
        with pytest.raises(RecordRefused, match=re.escape(f"`streamcast check -c {file}`")):
            fail(settings.file)
        log.error("`streamcast dlq inspect`")
    finally:
        logging.getLogger().removeHandler(handler)
    assert said.getvalue() == f"see `streamcast dlq inspect -c {file}`\n`streamcast dlq inspect`\n"
