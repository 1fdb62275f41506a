"""From a JSON spec to the thing it names.

A spec is ``{"kind": name, option: value, ...}``.  The kinds of one place are a table of callables,
and the keyword parameters of a callable, with their annotations, are its options: listing a class
in a table is all that it takes to make it available.
"""

import inspect
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import ClassVar, Literal, TypeVar, Union, get_args, get_origin

Spec = Mapping[str, object]
T = TypeVar("T")
MEMBERS, MOST_MEMBERS = "members", 16
"""The option of every network's kind that says how many networks forecast together, and the most."""


class SpecError(ValueError):
    """A model spec that cannot be built; the message names the place, the value, what was expected."""

    exit_code: ClassVar[int] = 2

    def __str__(self) -> str:
        """Join the parts of the message, which are the arguments."""
        return "".join(map(str, self.args))


def make(place: str, table: Mapping[str, Callable[..., T]], spec: object, /, **given: object) -> T:
    """Call the entry of ``table`` that ``spec`` names with the spec's options and with ``given``.

    Raises SpecError when the kind or an option is unknown, missing, or of the wrong type.
    """
    options = dict(as_spec(place, spec, next(iter(table))))
    kind = options.pop("kind", None)
    if not isinstance(kind, str) or kind not in table:
        message = f"{place}.kind is {listed(kind, table)}"
        raise SpecError(message)
    parameters = inspect.signature(table[kind], eval_str=True).parameters
    wanted = {name: parameter for name, parameter in parameters.items() if name not in given}
    for name, value in options.items():
        if name not in wanted:
            message = f"an option of {place} (kind {kind!r}) is {listed(name, wanted)}"
            raise SpecError(message)
        if not fits(value, wanted[name].annotation):
            message = f"{place}.{name} is {value!r}: expected {in_words(wanted[name].annotation)}."
            raise SpecError(message)
    for name, parameter in wanted.items():
        if parameter.default is parameter.empty and name not in options:
            message = f"{place}.{name} is missing: kind {kind!r} needs it, {in_words(parameter.annotation)}."
            raise SpecError(message)
    return table[kind](**options, **given)


def as_spec(place: str, spec: object, kind: str) -> Spec:
    """Return a spec as it is; raises SpecError, with a ``kind`` as an example, for what is no object."""
    if not isinstance(spec, Mapping):
        message = f'{place} is {spec!r}: expected an object such as {{"kind": "{kind}"}}.'
        raise SpecError(message)
    return spec


def one_of(spec: Spec) -> tuple[Spec, int]:
    """Return the spec of one member, and how many there are; raises SpecError for another number than 1 to 16."""
    members = spec.get(MEMBERS, 1)
    if not isinstance(members, int) or not fits(members, int) or not 1 <= members <= MOST_MEMBERS:
        message = f"{MEMBERS} is {members!r}: expected a whole number from 1 to {MOST_MEMBERS}."
        raise SpecError(message)
    return {name: value for name, value in spec.items() if name != MEMBERS}, members


def with_members(spec: Spec, members: int) -> Spec:
    """Return the spec with another number of members; the same one where it has so many.

    Raises SpecError for another number than 1 to 16.
    """
    if members == one_of(spec)[1]:
        return spec
    one, _ = one_of({**spec, MEMBERS: members})
    return one if members == 1 else {**one, MEMBERS: members}


def within(name: str, value: float, low: float, high: float) -> None:
    """Raise SpecError unless ``low <= value <= high``."""
    if not low <= value <= high:
        message = f"{name} is {value!r}: expected a number from {low} to {high}. Change it in the model spec."
        raise SpecError(message)


def multiple_of_eight(name: str, value: int, least: int = 8) -> None:
    """Raise SpecError unless a width is a multiple of eight, without which a row's bits depend on its neighbours."""
    if value % 8 or not least <= value <= 4096:
        message = f"{name} is {value!r}: expected a multiple of 8 from {least} to 4096. Change it in the model spec."
        raise SpecError(message)


def listed(value: object, known: Iterable[str]) -> str:
    """Return a value that is not among the known names, with these, and the nearest of them."""
    names = sorted(known)
    near = nearest(str(value), names)
    hint = f" Did you mean {near!r}?" if near else ""
    return f"{value!r}: expected {' or '.join(map(repr, names)) or 'no option at all'}.{hint}"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like a name, in whatever case it is written; None if none is like it."""
    by_folded = {each.casefold(): each for each in known}
    near = get_close_matches(name.casefold(), by_folded, n=1)
    return by_folded[near[0]] if near else None


def bound(
    function: str, signature: inspect.Signature, args: Sequence[object], kwargs: Mapping[str, object]
) -> inspect.BoundArguments:
    """Return the arguments of a call by their names.

    Raises TypeError, which names the function and the argument that is meant, for one that is unknown or missing.
    """
    try:
        return signature.bind(*args, **kwargs)
    except TypeError as error:
        known = [name for name in signature.parameters if name not in {"self", "cls"}]
        unknown = next((name for name in kwargs if name not in known), None)
        near = None if unknown is None else nearest(unknown, known)
        hint = f". Did you mean {near!r}?" if near else "" if unknown is None else f"; expected {', '.join(known)}"
        message = f"{function}() {error}{hint}"
        raise TypeError(message) from None


def fits(value: object, hint: object) -> bool:
    """Return whether a value of JSON has the type of an annotation."""
    origin = get_origin(hint) or hint
    if origin in (Union, types.UnionType):
        return any(fits(value, part) for part in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if origin is Mapping:
        return isinstance(value, Mapping)
    if origin is Sequence:
        return isinstance(value, list | tuple) and all(fits(item, get_args(hint)[0]) for item in value)
    if isinstance(value, bool):
        return origin is bool
    return isinstance(value, int | float if origin is float else origin)  # type: ignore[arg-type]


def in_words(hint: object) -> str:
    """Return an annotation in words."""
    origin = get_origin(hint) or hint
    if origin in (Union, types.UnionType):
        return " or ".join(in_words(part) for part in get_args(hint))
    if origin is Literal:
        return " or ".join(map(repr, get_args(hint)))
    if origin is Sequence:
        return f"a list, each {in_words(get_args(hint)[0])}"
    names: dict[object, str] = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a text",
        Mapping: "an object",
        types.NoneType: "null",
    }
    return names[origin]
