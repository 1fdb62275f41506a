"""Commands that say in words what is wrong with an option.

An option that is given twice is refused: of two values the first would be lost in silence.  A value of another kind is
named, with what the option means: one who types ``--horizon 1d`` learns that it counts bars.  A name that only
``Forecaster`` has, such as ``predict``, is answered with what does the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

Parse = Callable[[Any, list[str]], list[str]]

_BACKTEST = "streamcast backtest FILE --model NAME@latest"
_FORECAST = (
    f"In Python, Forecaster.load('trained/NAME/1').predict(df) forecasts a frame; {_BACKTEST} --frame forecasts.csv"
    " writes forecasts of the past, and streamcast serve answers the records of a topic."
)
COMMANDS: Mapping[str, str] = {
    "predict": _FORECAST, "forecast": _FORECAST,
    "fit": "streamcast train FILE trains a model.",
    "cross-validation": f"{_BACKTEST} tests a model, with --refit 30d one that is trained again every 30 days; in"
    " Python, Forecaster.cross_validation(df) tests it on the last windows.",
    "anomalies": f"{_BACKTEST} --anomalies anomalies.csv writes them; in Python, Forecaster.anomalies(df) does.",
    "plot": f"{_BACKTEST} --report report.html draws forecasts; in Python, Forecaster.plot(df) does.",
    "save": "streamcast train saves the model that it trains.",
    "load": "A command loads the model that it is given, such as --model NAME@latest; in Python, Forecaster.load does.",
    "stream": "streamcast serve answers the records of a topic; in Python, Forecaster.stream(df) those of a program.",
}  # fmt: skip
"""What does the work of each command that exists only in Python, under whatever of its names."""
_WINDOWS = f"{_BACKTEST} --test-from TIME scores all bars from a time on; in Python, cross_validation has windows."
OPTIONS: Mapping[str, str] = {
    "--level": "A level is two quantiles, chosen when a model is trained: --quantiles 0.1,0.5,0.9 is level 80.",
    "--h": "How many bars to forecast is chosen when a model is trained: --horizon.",
    "--n-windows": _WINDOWS, "--step-size": _WINDOWS,
}  # fmt: skip
"""The same of each option that exists only in Python."""


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

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Raise UsageError for a command that does not exist, with what does its work in the words of Python."""
        told = COMMANDS.get(args[0].replace("_", "-")) if args and args[0] not in self.commands else None
        if told is not None:
            ctx.fail(f"No such command {args[0]!r}. {told}")
        return super().resolve_command(ctx, args)


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
    except Exception as error:
        _say_what_does_it(error)
        raise
    _require_once(command, ctx, given)
    return rest


def _say_what_does_it(error: Any) -> None:
    """Add to the error of an option that only Python has what does the same here."""
    name = getattr(error, "option_name", "")
    if told := OPTIONS.get(name.replace("_", "-")):
        error.message, error.possibilities = f"No such option {name!r}. {told}", None


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
