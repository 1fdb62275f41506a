"""Commands that say in words what is wrong with an option.

An option that is given twice is refused: of two values the first would be lost in silence.  A value of another kind is
named, with what the option means: one who types ``--horizon 1d`` learns that it counts bars.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

Parse = Callable[[Any, list[str]], list[str]]


class Command(TyperCommand):
    """One command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Raise BadParameter for an option that is wrong."""
        return _parsed(self, ctx, args, super().parse_args)


class Group(TyperGroup):
    """Commands under one name, with options before them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Raise BadParameter for an option that is wrong."""
        return _parsed(self, ctx, args, super().parse_args)


class Commands(typer.Typer):
    """A list of commands; ``Group`` and ``Command`` are what it makes of them."""

    def __init__(self, **given: Any) -> None:
        super().__init__(cls=Group, **given)

    def command(self, name: str | None = None, **given: Any) -> Callable[[Any], Any]:
        """Return the decorator that adds a command."""
        return super().command(name, cls=Command, **given)


def _parsed(command: Command | Group, ctx: Any, args: list[str], parse: Parse) -> list[str]:
    """Return what ``parse`` leaves of the arguments; raises BadParameter."""
    given = list(args)
    try:
        rest = parse(ctx, args)
    except typer.BadParameter as error:
        error.message = error.message.removeprefix("Value error, ")  # typer shows where a choice was checked
        _name_value(command, ctx, given, error)
        raise
    _require_once(command, ctx, given)
    return rest


def _name_value(command: Command | Group, ctx: Any, args: list[str], error: typer.BadParameter) -> None:
    """Add to an error the value of its option, unless it is there, and what the option means."""
    option: Any = error.param
    if option is None or option.param_type_name != "option":
        return
    value: object = command.make_parser(ctx).parse_args(args=args)[0].get(option.name)
    if isinstance(value, str) and repr(value) not in error.message:
        error.message += f". It is {value!r}, and means: {option.help}"


def _require_once(command: Command | Group, ctx: Any, args: list[str]) -> None:
    """Raise BadParameter for an option with several values, unless it is a list; a flag says the same twice."""
    order: list[Any] = list(command.make_parser(ctx).parse_args(args=args)[2])
    for option, times in Counter(order).items():
        if times > 1 and option.param_type_name == "option" and not (option.multiple or option.is_flag):
            raise typer.BadParameter(
                f"it is given {'twice' if times == 2 else f'{times} times'}, and only the last would count: give it"
                " once (several values of a list are one, with commas, as in a,b)",
                ctx,
                option,
            )
