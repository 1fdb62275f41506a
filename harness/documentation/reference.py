"""The pages of the reference that are written from the code: commands, metrics, and the API of notebooks."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import typer
from typer.testing import CliRunner

from streamcast import Forecaster
from streamcast.app.cli import app
from streamcast.app.stream import Stream
from streamcast.offline.training.options import Options
from streamcast.service.telemetry.meters import COUNTERS, GAUGES, HISTOGRAMS, RECORDS_EDGES, SECONDS_EDGES

WRITTEN = "written from the code by `make docs`; do not edit."


def commands_page() -> str:
    """Return docs/cli.md: the help of every command."""
    lines = [
        "# Commands", "", f"This page is {WRITTEN}", "",
        "Exit codes: 0 success, 1 failure, 2 wrong input or settings, 3 broker, 130 interrupted.", "",
        *_help([]),
    ]  # fmt: skip
    for path in command_paths():
        lines += ["", f"## streamcast {' '.join(path)}", "", *_help(path)]
    return "\n".join(lines) + "\n"


def metrics_page() -> str:
    """Return docs/metrics.md: every metric with its kind, labels and meaning."""
    lines = [
        "# Metrics", "", f"This page is {WRITTEN}", "",
        "`/metrics` of a worker's [telemetry port](settings.md#telemetry) has them in Prometheus' text format.",
        "[Runbooks](runbooks.md) say what to do when they alert.", "",
        "| metric | kind | labels | meaning |", "| --- | --- | --- | --- |",
    ]  # fmt: skip
    for name, (meaning, labels, _edges) in HISTOGRAMS.items():
        lines.append(_metric(name, "histogram", labels, meaning))
    for name, (meaning, labels) in COUNTERS.items():
        lines.append(_metric(f"{name}_total", "counter", labels, meaning))
    for name, (meaning, labels) in GAUGES.items():
        lines.append(_metric(name, "gauge", labels, meaning))
    lines += [
        "", f"Buckets of durations, in seconds: {', '.join(map(str, SECONDS_EDGES))}.",
        f"Buckets of records: {', '.join(f'{edge:.0f}' for edge in RECORDS_EDGES)}.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def api_page() -> str:
    """Return docs/forecaster.md: the public methods of Forecaster and Stream, and the fields of Options."""
    lines = ["# Forecaster", "", f"This page is {WRITTEN} `from streamcast import Forecaster` has it.", ""]
    for kind in (Forecaster, Stream):
        lines += [f"## {kind.__name__}", "", _prose(kind), ""]
        if kind is Forecaster:
            lines += [*_parameters(kind), ""]
        for name, member in vars(kind).items():
            if not name.startswith("_"):
                lines += [*_member(kind, name, member), ""]
    lines += ["## Options", "", f"{_prose(Options)} `from streamcast import Options`.", "", *_fields(Options)]
    return "\n".join(lines).rstrip() + "\n"


def command_paths() -> Iterator[list[str]]:
    """Yield the words that name each command, such as ["model", "ls"]."""
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        yield from ([name, inner] for inner in command.commands) if hasattr(command, "commands") else ([name],)


def command_options(path: list[str]) -> set[str]:
    """Return the names of the options of a command."""
    command: Any = typer.main.get_command(app)
    for word in path:
        command = command.commands[word]
    return {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | {"--help"}


def _fields(kind: type) -> Iterator[str]:
    """Yield a table of a dataclass's fields: the docstring after each says what it is."""
    yield from ("| field | default | meaning |", "| --- | --- | --- |")
    (body,) = (node.body for node in ast.parse(inspect.getsource(kind)).body if isinstance(node, ast.ClassDef))
    for field, said in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(said, ast.Expr) and field.value is not None:
            meaning = " ".join(str(ast.literal_eval(said.value)).split())
            yield f"| `{ast.unparse(field.target)}` | `{ast.unparse(field.value)}` | {meaning} |"


Writer = Callable[[], str]
PAGES: Mapping[str, Writer] = {"cli.md": commands_page, "metrics.md": metrics_page, "forecaster.md": api_page}
"""The generated pages of docs/ that have no writer beside their code."""


def _help(path: list[str]) -> list[str]:
    """Return the help of a command as a block."""
    shown = CliRunner().invoke(app, [*path, "--help"], prog_name="streamcast", env={"COLUMNS": "100"}).output
    return ["<!-- not run: the help of a command -->", "```text", *shown.rstrip().splitlines(), "```"]


def _metric(name: str, kind: str, labels: tuple[str, ...], meaning: str) -> str:
    return f"| `streamcast_{name}` | {kind} | {', '.join(labels) or '–'} | {meaning} |"


def _prose(thing: object) -> str:
    """Return a docstring as Markdown."""
    return re.sub(r"``(.+?)``", r"`\1`", inspect.getdoc(thing) or "")


def _parameters(kind: type) -> list[str]:
    """Return a table of what the constructor takes."""
    rows = ["| parameter | type | default |", "| --- | --- | --- |"]
    for each in list(inspect.signature(kind.__init__).parameters.values())[1:]:  # type: ignore[misc]
        default = "required" if each.default is each.empty else f"`{each.default!r}`"
        rows.append(f"| `{each.name}` | `{_annotation(each.annotation)}` | {default} |")
    return rows


def _member(kind: type, name: str, member: Any) -> list[str]:
    if isinstance(member, property):
        return [f"### {kind.__name__}.{name}", "", _prose(member)]
    function: Callable[..., object] = getattr(kind, name)
    parameters = [each for each in inspect.signature(function).parameters.values() if each.name != "self"]
    listed = []
    for each in parameters:
        star = "**" if each.kind is each.VAR_KEYWORD else "*" if each.kind is each.VAR_POSITIONAL else ""
        default = "" if each.default is each.empty else "=..." if callable(each.default) else f"={each.default!r}"
        listed.append(f"{star}{each.name}{default}")
    return [f"### {kind.__name__}.{name}", "", f"`{name}({', '.join(listed)})`", "", _prose(function)]


def _annotation(annotation: object) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return text.replace("|", "\\|")
