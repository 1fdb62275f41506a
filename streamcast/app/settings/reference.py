"""Documentation made from the fields: a settings file with comments, the reference page, the JSON Schema.

``make docs`` writes the last two into docs/.
"""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from streamcast.app.settings.fields import Settings, with_unit
from streamcast.spec import model_spec as spec

_KINDS = {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "path", SecretStr: "secret"}


def write_template(values: Mapping[str, object] | None = None) -> str:
    """Return a YAML file with a comment for every setting; ``load_settings`` reads it.

    Settings have their defaults, except those that ``values`` gives by dotted name.
    """
    head = "# Settings of streamcast. STREAMCAST__SECTION__NAME in the environment overrides a line of this file.\n"
    return head + "\n".join(_template(Settings, (), values or {})) + "\n"


def write_reference() -> str:
    """Return docs/settings.md: every setting with its kind, default and meaning."""
    head = textwrap.dedent("""\
        # Settings

        Generated from `streamcast/app/settings/fields.py` by `make docs`; do not edit. `streamcast init` writes a file
        with all of them. The environment overrides the file: `STREAMCAST__KAFKA__GROUP` overrides `kafka.group`.
        `STREAMCAST_CONFIG` names the file where a command has no `-c`, and `STREAMCAST_MODELS` the folder of models
        where it has no `--models`; the image sets both.
        Durations need a unit: ms, s, min, h, d or w. Choices that can change a forecast (freq, columns, grace, gaps)
        are part of the model, not of the settings.
        """)
    return head + "".join(_section_page(name, info) for name, info in Settings.model_fields.items())


def write_schema() -> str:
    """Return the JSON Schema of the settings file, for editors that check it."""
    return json.dumps(Settings.model_json_schema(), indent=2) + "\n"


def write_docs(folder: Path) -> None:
    """Write settings.md and settings.schema.json into ``folder``."""
    (folder / "settings.md").write_text(write_reference(), encoding="utf-8")
    (folder / "settings.schema.json").write_text(write_schema(), encoding="utf-8")


def _template(section: type[BaseModel], above: tuple[str, ...], values: Mapping[str, object]) -> Iterator[str]:
    indent = "  " * len(above)
    for name, info in section.model_fields.items():
        names, inner = (*above, name), _inner(info)
        if not indent:
            yield ""
        yield from textwrap.wrap(_meaning(info), 110, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        if inner is None:
            dotted = ".".join(names)
            mark = "# " if dotted not in values and info.default is None else ""
            shown = _as_yaml(values[dotted]) if dotted in values else _default(info)
            yield f"{indent}{mark}{name}: {shown}".rstrip()
            continue
        yield f"{indent}{name}:"
        for example in info.examples or ():
            yield f"{indent}  {example}:"
            yield from _template(inner, (*names, example), values)
        if not info.examples:
            yield from _template(inner, names, values)


def _section_page(name: str, info: FieldInfo) -> str:
    lines = ["", f"## {name}", "", _meaning(info), ""]
    lines += ["| setting | kind | default | meaning |", "| --- | --- | --- | --- |"]
    for dotted, field in _rows(name, info):
        lines.append(f"| `{dotted}` | {_kind(field)} | {_shown_default(field)} | {_meaning(field)} |")
    return "\n".join(lines) + "\n"


def _rows(dotted: str, info: FieldInfo) -> Iterator[tuple[str, FieldInfo]]:
    inner = _inner(info)
    if inner is None:
        yield dotted, info
        return
    prefix = f"{dotted}.<name>" if info.examples else dotted
    for name, field in inner.model_fields.items():
        yield from _rows(f"{prefix}.{name}", field)


def _inner(info: FieldInfo) -> type[BaseModel] | None:
    """Return the section that a field or each of its named entries holds; None for a plain setting."""
    kind = get_args(info.annotation)[1] if get_origin(info.annotation) is dict else info.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _meaning(info: FieldInfo) -> str:
    inner = _inner(info)
    return " ".join((info.description or (inspect.getdoc(inner) if inner else None) or "").split())


def _is_duration(info: FieldInfo) -> bool:
    inner = [part for kind in get_args(info.annotation) for part in getattr(kind, "__metadata__", ())]  # of a union
    return any(getattr(part, "func", None) is with_unit for part in [*info.metadata, *inner])


def _default(info: FieldInfo) -> str:
    value: Any = info.examples[0] if info.examples else info.default
    if value is None:
        return ""
    if _is_duration(info):
        return spec.format_duration(value)
    return _as_yaml(value)


def _as_yaml(value: object) -> str:
    text: str = yaml.safe_dump(str(value) if isinstance(value, Path) else value, default_flow_style=True, width=1_000)
    return text.removesuffix("...\n").strip()


def _shown_default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    return f"`{text}`" if (text := _default(info)) else "–"


def _kind(info: FieldInfo) -> str:
    return "duration" if _is_duration(info) else _name_of(info.annotation)


def _name_of(kind: Any) -> str:
    if get_origin(kind) is Annotated:
        return _name_of(get_args(kind)[0])
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    if get_origin(kind) is dict:
        return "names with values"
    if parts := [part for part in get_args(kind) if part is not NoneType]:
        return " or ".join(dict.fromkeys(map(_name_of, parts)))
    return _KINDS.get(kind, "time with a zone")
