"""Arguments of the notebook API: each is of the kind that its annotation names, or is refused in words."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import wraps
from pathlib import Path
from types import NoneType, UnionType
from typing import Literal, ParamSpec, TypeVar, Union, get_args, get_origin

import numpy as np
import pandas as pd

from streamcast.models.spec import SpecError, bound, fits, nearest
from streamcast.spec.model_spec import format_duration

P = ParamSpec("P")
R = TypeVar("R")

WORDS: Mapping[object, str] = {
    bool: "True or False", int: "a whole number", float: "a number", str: "a text", Mapping: "a dict",
    Callable: "a function", Path: "a path",
}  # fmt: skip
"""The kinds that are checked, besides lists of them and named texts; frames are passed on as they are."""
LONGEST_SHOWN = 200
"""Characters of a value that an error shows; of a longer one it names the type."""


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function whose arguments are of the kinds that it names: one item where it wants a list is a list.

    NumPy's numbers and arrays are Python's, and durations and steps of pandas are texts such as 1h.  It raises
    SpecError for an argument of another kind, TypeError for one that is unknown or missing.
    """
    signature = inspect.signature(function)
    wanted = {
        name: (hint, parameter.default)
        for name, parameter in signature.parameters.items()
        if parameter.annotation is not parameter.empty
        and _is_checked(hint := _evaluated(parameter.annotation, function))
    }

    called = function.__qualname__.removesuffix(".__init__")

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        given = bound(called, signature, args, kwargs)
        for name, value in given.arguments.items():
            if name in wanted:
                given.arguments[name] = _argument(name, value, *wanted[name])
        return function(*given.args, **given.kwargs)

    return call


def _evaluated(annotation: str, function: Callable[..., object]) -> object:
    """Return an annotation, which is a text; not by ``get_type_hints``, as a return type may need an extra."""
    return eval(annotation, function.__globals__)  # noqa: S307 - it is written in this package


def _parts(hint: object) -> tuple[object, ...]:
    """Return the kinds of which an argument may have any."""
    return get_args(hint) if get_origin(hint) in {Union, UnionType} else (hint,)


def _is_checked(hint: object) -> bool:
    return all(part is NoneType or (get_origin(part) or part) in {*WORDS, Sequence, Literal} for part in _parts(hint))


def _argument(name: str, value: object, hint: object, default: object) -> object:
    plain = _plain(value)
    if fits(plain, hint):
        return plain
    if any(get_origin(part) is Sequence and fits([plain], part) for part in _parts(hint)):
        return [plain]
    left_out = value is None and default is not inspect.Parameter.empty
    remedy = f", or leave it out, which is {default!r}" if left_out else ""
    raise SpecError(f"{name} is {shown(value)}: expected {_in_words(hint)}{remedy}{_near(value, hint)}")


def shown(value: object) -> str:
    """Return a value as an error shows it: of one that is long or has several lines, the type."""
    text = repr(value)
    return f"a {type(value).__name__}" if "\n" in text or len(text) > LONGEST_SHOWN else text


def _near(value: object, hint: object) -> str:
    """Return which named text a wrong one is most like; '' where there are none, or none is like it."""
    named = [text for part in _parts(hint) if get_origin(part) is Literal for text in get_args(part)]
    near = nearest(value, named) if isinstance(value, str) else None
    return f". Did you mean {near!r}?" if near else ""


def _plain(value: object) -> object:
    """Return NumPy's numbers as Python's, durations and pandas' steps as texts, and several items as a list."""
    if isinstance(value, timedelta | np.timedelta64):
        return _duration(pd.Timedelta(value), value)
    if isinstance(value, pd.offsets.BaseOffset):
        return value.freqstr
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, os.PathLike):
        return Path(value)
    if isinstance(value, str | bytes | Mapping | Callable) or not isinstance(value, Iterable):
        return value
    return [_plain(item) for item in value]


def _duration(length: pd.Timedelta, given: object) -> object:
    """Return a length of whole milliseconds as a text such as 1h, any other as it was given."""
    milliseconds, rest = divmod(length, pd.Timedelta(milliseconds=1))
    return given if rest else format_duration(milliseconds)


def _in_words(hint: object) -> str:
    if get_origin(hint) is Sequence:
        (item,) = get_args(hint)
        return f"a list, each item {_in_words(item)}"
    if get_origin(hint) is Literal:
        return " or ".join(map(repr, get_args(hint)))
    return " or ".join(
        _in_words(part) if get_origin(part) in {Sequence, Literal} else WORDS[get_origin(part) or part]
        for part in _parts(hint)
        if part is not NoneType
    )
