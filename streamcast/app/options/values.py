"""How values are made from the texts of options; each function raises ValueError with the reason when it cannot."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamcast.errors import SettingsError
from streamcast.spec.calendar_bars import parse_step
from streamcast.spec.local_time import zone_named
from streamcast.spec.model_spec import SEASON_IN_WORDS, parse_duration


@dataclass(frozen=True, slots=True)
class Read:
    """How a field's value is made from what the command line gives: ``of`` is str, or list[str] to repeat an option.

    ``value`` raises ValueError with the reason when it cannot.
    """

    value: Callable[[Any], object]
    of: Any = str


def names(text: str) -> tuple[str, ...]:
    """Return the names of "a,b"; none for ""."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def numbers(text: str) -> tuple[float, ...]:
    """Return the numbers of "0.1,0.5"; raises ValueError."""
    try:
        return tuple(float(part) for part in names(text))
    except ValueError:
        raise ValueError(f"{text!r} is not a list of numbers: expected such as 0.1,0.5,0.9") from None


def duration(text: str) -> int:
    """Return the milliseconds of "30d"; raises ValueError."""
    return parse_duration(text)


def zone(text: str) -> str:
    """Return the name of a time zone as it is; raises ValueError."""
    try:
        zone_named(text)
    except SettingsError:
        raise ValueError(f"{text!r} is not a time zone: expected a name such as Europe/Berlin or UTC") from None
    return text


def repeated(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the names of an option that can be repeated; each may also be a list, as in "a,b"."""
    return tuple(name for text in texts for name in names(text))


def seasons(text: str) -> tuple[int | str, ...]:
    """Return the seasons of "1d,1w", "24,168" or "1y": bars as numbers, lengths as they are; raises ValueError."""
    found = [int(part) if part.isdecimal() else part for part in names(text)]
    if not found or not all(map(_is_season, found)):
        raise ValueError(f"{text!r} is not a list of seasons: expected {SEASON_IN_WORDS}, such as 24 or 1d,1w")
    return tuple(found)


def _is_season(part: int | str) -> bool:
    """Whether a part is a number of bars above 0, a duration or a step of the calendar."""
    if isinstance(part, str) and parse_step(part):
        return True
    try:
        return parse_duration(part) > 0
    except ValueError:
        return False


def pairs(text: str) -> dict[str, str]:
    """Return name and value of each part of "y=sum,bid=last"; raises ValueError."""
    found: dict[str, str] = {}
    for part in names(text):
        name, equals, value = part.partition("=")
        if not (name and equals and value):
            raise ValueError(f"{part!r} is not a pair: expected such as y=sum")
        _once(name, found)
        found[name] = value
    return found


def network(text: str) -> str | dict[str, Any]:
    """Return a name as it is, a JSON object as a network spec; raises ValueError."""
    if not text.lstrip().startswith("{"):
        return text
    try:
        spec: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise ValueError(f'not JSON: {error}; expected a name, or such as {{"kind": "gru", "hidden": 32}}') from None
    return spec


def assignments(texts: Sequence[str]) -> dict[str, Any]:
    """Return the values of "name=value" texts; a value that is not JSON is a text.  Raises ValueError."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise ValueError(f"{text!r} is not an option with its value: expected name=value, such as rows=64")
        _once(name, found)
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _once(name: str, found: Mapping[str, object]) -> None:
    """Raise ValueError for a name that has a value already."""
    if name in found:
        raise ValueError(f"{name} is given twice, and only the last value would count: give it once")
