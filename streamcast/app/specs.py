"""What a user chose for a model: whether it can be, and in words why not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from pydantic import ValidationError

from streamcast.errors import HistoryError, ModelError, Option, OptionError
from streamcast.models.spec import SpecError, nearest
from streamcast.models.zoo import MODELS
from streamcast.offline.history.read import History
from streamcast.spec import zero
from streamcast.wording import counted

CHOSEN_BY = {
    "freq": Option.FREQ, "horizon": Option.HORIZON, "quantiles": Option.QUANTILES, "season": Option.SEASON,
    "lags": Option.LAGS, "every": Option.SCALES, "grace": Option.GRACE, "aggregate": Option.AGGREGATES,
    "lower": Option.LOWER, "upper": Option.UPPER, "transform": Option.TRANSFORM,
}  # fmt: skip
"""The option that chooses each field of a spec and of its parts."""


@contextmanager
def faults_in_words() -> Iterator[None]:
    """Raise SpecError for what pydantic refuses of a spec within, a sentence each, with the options that chose it."""
    try:
        yield
    except ValidationError as error:
        raise _wrong_spec(error) from None


def knows_ahead(known: Sequence[str], network: str | Mapping[str, Any], *, plain: bool) -> bool:
    """Whether a new model reads what is known ahead: one that is plain, or has no network, does not."""
    return bool(known) and not plain and network not in zero.AS_NETWORK


def require_target(history: History) -> None:
    """Raise HistoryError for a history without any value of its target."""
    if not np.isfinite(history.values_NC[:, 0]).any():
        raise HistoryError(
            f"column {history.columns[0]!r} has no value in the {counted(len(history), 'row')} to train on: give it"
            " some, or name another target with ", Option.TARGET_COL,
        )  # fmt: skip


def require_networks(flag: str, names: Sequence[str]) -> None:
    """Raise ModelError for a name that no network has; ``flag`` is the option that was typed."""
    known = [*MODELS, zero.NAME]
    if unknown := [name for name in names if name not in known]:
        near = nearest(unknown[0], known)
        hint = f"did you mean {near!r}? " if near else ""
        raise ModelError(f"{flag} names {unknown[0]!r}, which is unknown: {hint}`streamcast model zoo` lists the names")


def _wrong_spec(error: ValidationError) -> SpecError:
    """Return the faults that pydantic found as an error."""
    faults = error.errors(include_url=False)
    places = [fault["loc"] for fault in faults]
    told = [fault for fault in faults if not (fault["type"] == "too_short" and _within(fault["loc"], places))]
    return SpecError(*[part for fault in told for part in ("\n", *_sentence(fault))][1:])


def _within(place: tuple[int | str, ...], places: Sequence[tuple[int | str, ...]]) -> bool:
    """Whether a fault lies within ``place``: pydantic drops wrong items, and then calls their list too short."""
    return any(len(other) > len(place) and other[: len(place)] == place for other in places)


def _sentence(fault: Mapping[str, Any]) -> tuple[str | Option, ...]:
    """Return one fault of pydantic as the parts of a sentence: the name, the value and what was expected."""
    name: str | Option = next(
        (CHOSEN_BY[field] for field in fault["loc"] if field in CHOSEN_BY), ".".join(map(str, fault["loc"]))
    )
    if fault["type"] == "string_pattern_mismatch":  # the only pattern is that of a column's name
        return (f"column {fault['input']!r}: expected a name without quotes, backslashes and control characters",)
    if fault["type"] == "too_short":
        return name, " is empty: expected at least one"
    if fault["type"] != "value_error":
        return name, f" is {fault['input']!r}: {re.sub('^(Input|String) should', 'it should', fault['msg'])}"
    reason = fault["ctx"]["error"]
    if isinstance(reason, OptionError):
        return reason.args
    return (name, f": {reason}") if name else (str(reason),)
