"""From file, environment and overrides to ``Settings``: the only module that reads the environment.

The error for a wrong setting names the place where it was written, its name, its value and what was expected; the error
for an unknown setting suggests the nearest valid name.  No error has a secret: of what may hold one it says the form.
``Names`` is the path to a setting: ``("kafka", "group")``.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource
from pydantic_settings import SettingsError as UndecodableVariable

from streamcast.app.settings.fields import PATTERNS, Settings
from streamcast.errors import SettingsError
from streamcast.wording import shown_url

PREFIX = "STREAMCAST__"
_TAGS = ("!", "tag:yaml.org,2002:str")
"""Tags of YAML that make a text."""
DEEPEST = 20
MOST_NAMED = 3
"""Other settings files that a message names."""

Names = tuple[str, ...]
Document = dict[str, Any]
_EXPECTED = {
    "string_too_short": "text that is not empty",
    "timezone_aware": "a time with a zone",
    "datetime_parsing": "a time with a zone",
    "datetime_from_date_parsing": "a time with a zone",
}
"""What was expected, where pydantic's own words name no value."""
_FORMS = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "a section"}
"""What is said in place of a value that may hold a secret."""
_NAME = re.compile(r"[\w.-]*", re.ASCII)
_MARK = re.compile(r"'(\\?[^\w']|\\t|<[a-z ]+>)'")
"""What YAML expects or cannot read, quoted: a character or the name of a token."""

Places = dict[Names, str]
"""Where each setting was written: file and line, environment variable, or override."""


def load_settings(path: Path | None, overrides: Mapping[str, object] | None = None) -> Settings:
    """Read the YAML file if there is one, then the environment, then ``overrides`` by dotted name; the last one wins.

    Raises SettingsError.
    """
    document: Document = {}
    places: Places = {(): str(path) if path else "settings"}
    for source, written in (_from_file(path), _from_environment(), _from_overrides(overrides or {})):
        document = _merge(document, source)
        places |= written
    return _validated(document, places).read_from(path)


def settings_in(path: Path) -> Settings:
    """Read a YAML file alone, without the environment; raises SettingsError."""
    document, places = _from_file(path)
    return _validated(document, {(): str(path)} | places)


def require_valid(values: Mapping[str, object], options: Mapping[str, str]) -> None:
    """Raise SettingsError for values, by dotted name, that no file may have; it names the options they come from."""
    document, _ = _from_overrides(values)
    _validated(document, {(): "settings"} | {tuple(dotted.split(".")): option for dotted, option in options.items()})


def _validated(document: Document, places: Places) -> Settings:
    try:
        return Settings(**document)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(error, document, places))) from None


def _from_file(path: Path | None) -> tuple[Document, Places]:
    if path is None:
        return {}, {}
    try:
        text = path.read_text(encoding="utf-8")
        _refuse_sharing(path, text)
        root = yaml.compose(text, yaml.SafeLoader)
        document = yaml.safe_load(text)
    except OSError as error:
        others = _others(path) if isinstance(error, FileNotFoundError) else ""
        raise SettingsError(f"{path}: cannot be read ({error}); {others}`streamcast init` writes one") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SettingsError(f"{path}:{line}: not valid YAML: {_without_text(str(error.problem))}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise SettingsError(f"{path}: not valid YAML: {error}") from None
    if root is None:
        return {}, {}
    if not isinstance(root, yaml.MappingNode):
        raise SettingsError(f"{path}: is not a list of sections such as `kafka:`; `streamcast init` writes an example")
    places: Places = {}
    for names, line in _lines(root, ()):
        place = f"{path}:{line}"
        if names in places:
            raise SettingsError(f"{place}: {'.'.join(names)} is set twice, first at {places[names]}; remove one")
        places[names] = place
    return {str(name): {} if section is None else section for name, section in document.items()}, places


def _others(missing: Path) -> str:
    """Return a question for the other settings files in the folder of a missing one; empty where there are none."""
    found = [path for path in sorted(missing.parent.glob("*.y*ml")) if path.is_file() and _is_settings(path)]
    named = " or ".join(f"-c {path}" for path in found[:MOST_NAMED])
    return f"did you mean {named}? Else " if found else ""


def _is_settings(path: Path) -> bool:
    """Whether a file has models to run, and no section that settings have not."""
    try:
        document, _ = _from_file(path)
    except SettingsError:
        return False
    return "models" in document and document.keys() <= Settings.model_fields.keys()


def _refuse_sharing(path: Path, text: str) -> None:
    """Refuse aliases and merge keys, which can make few bytes endless, tags, and nesting beyond what any setting has.

    Text that begins with ``*`` or ``!`` is an alias or a tag to YAML: a password may, so the message leaves it out.
    """
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        found = (
            "an alias, as text that begins with * is without quotes,"
            if isinstance(event, yaml.AliasEvent)
            else "a tag, as text that begins with ! is without quotes,"
            if getattr(event, "tag", None) not in (None, *_TAGS)
            else "the merge key <<"
            if isinstance(event, yaml.ScalarEvent) and event.value == "<<"
            else f"more than {DEEPEST} levels of nesting"
            if depth > DEEPEST
            else ""
        )
        if found:
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise SettingsError(f"{path}:{line}: {found} is not accepted; expected plain values: write the value out")


def _without_text(problem: str) -> str:
    """Return what YAML complains of without the text that it quotes, which may be a part of a secret."""
    return re.sub(r"'[^']*'", lambda quoted: quoted[0] if _MARK.fullmatch(quoted[0]) else "this text", problem)


def _lines(node: yaml.Node, names: Names) -> Iterator[tuple[Names, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*names, key.value), key.start_mark.line + 1
            yield from _lines(value, (*names, key.value))


def _from_environment() -> tuple[Document, Places]:
    variables = [name for name in os.environ if name.upper().startswith(PREFIX)]
    _refuse_misspelt(os.environ)
    places = {tuple(name[len(PREFIX) :].lower().split("__")): f"environment variable {name}" for name in variables}
    source = EnvSettingsSource(Settings, case_sensitive=False, env_prefix=PREFIX, env_nested_delimiter="__")
    try:
        document = source()
    except UndecodableVariable:
        raise SettingsError(_undecodable(source, variables)) from None
    unknown = {names[:1]: place for names, place in places.items() if names[0] not in Settings.model_fields}
    return {section: {} for (section,) in unknown} | document, places | unknown


def _refuse_misspelt(variables: Mapping[str, str]) -> None:
    """Refuse a variable that names a setting but for the number of underscores: it would have no effect, in silence.

    Kubernetes makes variables such as STREAMCAST_TELEMETRY_PORT, whose values are URLs, for services of these names.
    """
    known = {"_".join(names): "__".join(names) for names in _all_names() if len(names) > 1}
    for name, value in variables.items():
        if name.upper().startswith(PREFIX) or not name.upper().startswith("STREAMCAST_") or "://" in value:
            continue
        if meant := known.get(re.sub("_+", "_", name.lower()).removeprefix("streamcast_")):
            raise SettingsError(f"environment variable {name} is not read, did you mean {PREFIX}{meant.upper()}?")


def _undecodable(source: EnvSettingsSource, variables: Iterable[str]) -> str:
    """Name the variable that holds no JSON, though its setting needs it."""
    for name in variables:
        source.env_vars = {name.lower(): os.environ[name]}
        try:
            source()
        except UndecodableVariable:
            example = f"{name.upper()}__NAME" if name.count("__") == 1 else f"{name}='{{}}'"
            return f"environment variable {name} is not JSON; expected an object, or one setting at a time: {example}"
    return "environment: expected JSON"


def _from_overrides(overrides: Mapping[str, object]) -> tuple[Document, Places]:
    document: Document = {}
    for dotted, value in overrides.items():
        nested: Any = value
        for name in reversed(dotted.split(".")):
            nested = {name: nested}
        document = _merge(document, nested)
    return document, {tuple(dotted.split(".")): f"override {dotted}" for dotted in overrides}


def _merge(below: Document, above: Document) -> Document:
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        merged[name] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _explain(error: ValidationError, document: Document, places: Places) -> Iterator[str]:
    by_setting: dict[Names, list[ErrorDetails]] = {}
    for fault in error.errors(include_url=False):
        names = tuple(map(str, fault["loc"]))
        by_setting.setdefault(names if fault["type"] == "missing" else _within(document, names), []).append(fault)
    for names, faults in by_setting.items():
        place = next(places[names[:end]] for end in range(len(names), -1, -1) if names[:end] in places)
        yield f"{place}: {_complaint(names, faults, document)}"


def _within(document: Document, names: Names) -> Names:
    """Return the part of ``names`` that is in ``document``; pydantic adds the branches of a union."""
    here: Any = document
    for depth, name in enumerate(names):
        if not isinstance(here, dict) or name not in here:
            return names[:depth]
        here = here[name]
    return names


def _complaint(names: Names, faults: list[ErrorDetails], document: Document) -> str:
    dotted, first = ".".join(names), faults[0]
    if first["type"] == "extra_forbidden":
        return f"{_shown_name(dotted)} is not a setting{_nearest(names)} (docs/settings.md lists them all)"
    if first["type"] == "missing":
        return f"{dotted} is missing{_meaning(names)}"
    if first["type"] == "value_error":
        told = _without_logins(str(first["ctx"]["error"]), _value_at(names, document))
        return f"{dotted}: {told}" if dotted else told
    if first["loc"][-1] == "[key]":
        return f"{dotted}: {names[-1]!r} is not a valid name; expected {_expected(first)}"
    expected = " or ".join(dict.fromkeys(map(_expected, faults)))
    return f"{dotted} is {_shown(names, document)}; expected {expected}{_meaning(names)}"


def _expected(fault: ErrorDetails) -> str:
    if fault["type"] == "model_type":
        return "a section of settings"
    if fault["type"] == "literal_error":
        return str(fault["ctx"]["expected"])
    if fault["type"] in _EXPECTED:
        return _EXPECTED[fault["type"]]
    if fault["type"] == "string_pattern_mismatch":
        return PATTERNS[fault["ctx"]["pattern"]]
    return fault["msg"].removeprefix("Input should ").removeprefix("be ").split(", ")[0]


def _shown(names: Names, document: Document) -> str:
    """Return a value as messages show it: nothing of a secret, and only the form of what may have one in it."""
    value, kind = _value_at(names, document), _type_at(names)
    if "options" in names or "SecretStr" in str(kind):
        return "(hidden)"
    if value is None:
        return "empty"
    if kind is None or _is_model(kind) or get_origin(kind) is dict or not isinstance(value, str | int | float | date):
        return _FORMS.get(type(value), "another kind of value")
    if isinstance(value, date):
        return str(value)
    return repr(shown_url(value) if isinstance(value, str) else value)


def _value_at(names: Names, document: Document) -> Any:
    here: Any = document
    for name in names:
        here = here[name]
    return here


def _without_logins(text: str, value: object) -> str:
    """Return a message about a setting or a section that quotes the texts in it as messages show them."""
    if isinstance(value, dict):
        for each in value.values():
            text = _without_logins(text, each)
    return text.replace(value, shown_url(value)) if isinstance(value, str) and value else text


def _shown_name(name: str) -> str:
    """Return the name of no setting, cut where a name cannot go on: a password may follow, as in ``password:x``."""
    start = _NAME.match(name)
    return name if start is None or start[0] == name else f"{start[0]}…"


def _meaning(names: Names) -> str:
    container = _type_at(names[:-1])
    info = container.model_fields.get(names[-1]) if _is_model(container) else None
    return f" ({' '.join(info.description.split())})" if info and info.description else ""


def _nearest(names: Names) -> str:
    container = _type_at(names[:-1])
    siblings = list(container.model_fields) if _is_model(container) else []
    last = _plain(names[-1])
    close = [".".join([*names[:-1], name]) for name in difflib.get_close_matches(last, siblings, 1, cutoff=0.7)]
    found = close or [".".join(each) for each in _all_names() if last in _ends(each)]
    return f", did you mean {found[0]}?" if found else ""


def _plain(name: str) -> str:
    """Return a name as settings are written: upper case and hyphens are common slips."""
    return name.lower().replace("-", "_")


def _ends(names: Names) -> list[str]:
    """Return the ends of a setting's name as somebody may write them in one word, such as security_protocol."""
    return ["_".join(names[start:]) for start in range(len(names))]


def _all_names(kind: Any = Settings, names: Names = ()) -> Iterator[Names]:
    """Yield the names of every setting, but for those below lanes, whose names are the operator's."""
    for name, info in kind.model_fields.items():
        yield (*names, name)
        if _is_model(info.annotation):
            yield from _all_names(info.annotation, (*names, name))


def _type_at(names: Names) -> Any:
    """Return the type of the setting at ``names``, None if there is no such setting."""
    here: Any = Settings
    for name in names:
        if _is_model(here):
            info = here.model_fields.get(name)
            here = info.annotation if info else None
        else:
            here = get_args(here)[1] if get_origin(here) is dict else None
    return here


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
