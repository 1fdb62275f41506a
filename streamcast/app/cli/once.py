"""Commands that refuse an option which is given twice: of two values the first would be lost in silence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


class Command(TyperCommand):
    """One command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Raise BadParameter for an option that is given again."""
        given = list(args)
        rest = super().parse_args(ctx, args)
        _require_once(self, ctx, given)
        return rest


class Group(TyperGroup):
    """Commands under one name, with options before them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Raise BadParameter for an option that is given again."""
        given = list(args)
        rest = super().parse_args(ctx, args)
        _require_once(self, ctx, given)
        return rest


class Commands(typer.Typer):
    """A list of commands; ``Group`` and ``Command`` are what it makes of them."""

    def __init__(self, **given: Any) -> None:
        super().__init__(cls=Group, **given)

    def command(self, name: str | None = None, **given: Any) -> Callable[[Any], Any]:
        """Return the decorator that adds a command."""
        return super().command(name, cls=Command, **given)


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
