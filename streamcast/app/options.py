"""Options that several commands have in common, each declared once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import wraps
from inspect import Parameter, signature
from typing import Annotated, Any, get_type_hints

import typer


@dataclass(frozen=True)
class Layout:
    """How a file of observations is laid out."""

    id_col: Annotated[str, typer.Option(help="The column of series names ('' for a single series).")] = "unique_id"
    time_col: Annotated[str, typer.Option(help="The column of times.")] = "ds"
    target_col: Annotated[str, typer.Option(help="The column to forecast.")] = "y"
    columns: Annotated[str, typer.Option(help="Further input columns, with commas (default: all others).")] = "*"
    freq: Annotated[str, typer.Option(help="Bar length, such as 15min or 1h (default: the median step).")] = ""
    timezone: Annotated[str, typer.Option(help="Where naive times were written.")] = "UTC"


@dataclass(frozen=True)
class Task:
    """What is to be forecast, and from what."""

    horizon: Annotated[int, typer.Option(help="Bars ahead.")] = 24
    scales: Annotated[str, typer.Option(help="Coarser bar lengths, such as 1h,1d.")] = ""
    quantiles: Annotated[str, typer.Option(help="Quantiles, 0.5 among them.")] = "0.1,0.5,0.9"
    lags: Annotated[int, typer.Option(help="Bars of the linear highway (-1: chosen from the data).")] = -1
    season: Annotated[int, typer.Option(help="Bars of a season (-1: chosen from freq).")] = -1
    ticks: Annotated[bool, typer.Option("--ticks", help="Rows are raw readings, several a bar; needs --freq.")] = False
    grace: Annotated[str, typer.Option(help="How long a bar of ticks waits for late ones, such as 2min.")] = "0s"
    aggregates: Annotated[str, typer.Option(help="How readings become a bar, such as y=sum,bid=last.")] = ""

    def chosen(self) -> dict[str, Any]:
        """The task as training takes it."""
        choice = asdict(self)
        choice["mode"] = "ticks" if choice.pop("ticks") else "sample"
        return choice


def spread(command: Callable[..., int]) -> Callable[..., int]:
    """Let each parameter that is a dataclass of options stand for all of them on the command line."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    flat: list[Parameter] = []
    for name, parameter in signature(command).parameters.items():
        if name in groups:
            within = get_type_hints(groups[name], include_extras=True)
            flat += [
                Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=within[field.name])
                for field in fields(groups[name])
            ]
        else:
            flat.append(parameter.replace(kind=Parameter.KEYWORD_ONLY, annotation=hints[name]))

    @wraps(command)
    def run(**given: Any) -> int:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
        return command(**given)

    run.__signature__ = signature(command).replace(parameters=flat)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in flat}
    return run
