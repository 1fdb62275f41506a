"""From groups of options to the parameters that typer reads, and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import cache, wraps
from inspect import Parameter, signature
from typing import Annotated, Any, NamedTuple, get_type_hints

import typer
from typer.models import OptionInfo

from streamcast.app.options.values import Read


class _Field(NamedTuple):
    """One field of a group: what the command line knows of it."""

    name: str
    annotation: Any
    default: Any
    option: OptionInfo
    read: Read | None


def spread(command: Callable[..., int]) -> Callable[..., int]:
    """Replace each parameter that is a group of options with one parameter per field of the group."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    flat: list[Parameter] = []
    for name, parameter in signature(command).parameters.items():
        if name in groups:
            flat += map(_parameter, _fields(groups[name]))
        else:
            flat.append(parameter.replace(kind=Parameter.KEYWORD_ONLY, annotation=hints[name]))

    @wraps(command)
    def run(**given: Any) -> int:
        for name, group in groups.items():
            given[name] = _group(group, given)
        return command(**given)

    run.__signature__ = signature(command).replace(parameters=flat)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in flat}
    return run


@cache
def _fields(group: Any) -> tuple[_Field, ...]:
    found = []
    hints = get_type_hints(group, include_extras=True)
    for field in fields(group):
        hint = hints[field.name]
        option = next(part for part in hint.__metadata__ if isinstance(part, OptionInfo))
        read = next((part for part in hint.__metadata__ if isinstance(part, Read)), None)
        found.append(_Field(field.name, hint, field.default, option, read))
    return tuple(found)


def _parameter(field: _Field) -> Parameter:
    """Return typer's parameter for a field; one that is read from text is None unless given."""
    if field.read:
        annotation: Any = Annotated[field.read.of | None, field.option]
        return Parameter(field.name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
    default = Parameter.empty if field.default is MISSING else field.default
    return Parameter(field.name, Parameter.KEYWORD_ONLY, default=default, annotation=field.annotation)


def _group(group: Any, given: dict[str, Any]) -> Any:
    """Take the fields of a group out of ``given`` and return the group; raises typer.BadParameter."""
    values = {}
    for field in _fields(group):
        value = given.pop(field.name)
        if field.read is None:
            values[field.name] = value
        elif value is not None:
            try:
                values[field.name] = field.read.value(value)
            except ValueError as error:
                raise typer.BadParameter(str(error), param_hint=f"'{_flag(field)}'") from None
    return group(**values)


def given(context: typer.Context, group: Any) -> list[str]:
    """Return the flags of a group's options that the command line gives."""
    sources = ((field, context.get_parameter_source(field.name)) for field in _fields(group))
    return [_flag(field) for field, source in sources if source and source.name == "COMMANDLINE"]


def _flag(field: _Field) -> str:
    """Return the option's name: in an annotation, typer keeps a name that is given as the option's default."""
    given = field.option.default
    return given if isinstance(given, str) else "--" + field.name.replace("_", "-")
