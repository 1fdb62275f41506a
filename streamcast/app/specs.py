"""Model specs from what a user chose, with errors in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import ValidationError

from streamcast.models.spec import SpecError
from streamcast.offline.history.read import History
from streamcast.offline.training.defaults import default_spec
from streamcast.spec.model_spec import Aggregate, ModelSpec


def new_spec(
    history: History,
    horizon: int,
    network: str | Mapping[str, Any],
    *,
    quantiles: Sequence[float],
    lags: int | None,
    season: int | str | Sequence[int | str] | None,
    scales: Sequence[str | int] | None,
    mode: Literal["sample", "ticks"],
    grace: str | int,
    aggregates: Mapping[str, Aggregate] | None,
    timezone: str | None,
    holidays: str | None,
    known: Sequence[str],
    lower: float | None,
    plain: bool = False,
) -> ModelSpec:
    """Return ``default_spec`` of these choices.

    Raises SpecError for a wrong value, HistoryError for a wrong column, SettingsError for an unknown time zone or
    holiday calendar.
    """
    if horizon < 1:
        raise SpecError(f"horizon is {horizon}: expected at least 1 bar")
    try:
        return default_spec(
            history, horizon, network, quantiles=quantiles, lags=lags, season=season, scales=scales, mode=mode,
            grace=grace, aggregates=aggregates, timezone=timezone, holidays=holidays, known=known, lower=lower,
            plain=plain,
        )  # fmt: skip
    except ValidationError as error:
        raise SpecError(sentences(error)) from None


def sentences(error: ValidationError) -> str:
    """Return the faults that pydantic found, a sentence each."""
    return "\n".join(map(_sentence, error.errors(include_url=False)))


def _sentence(fault: Mapping[str, Any]) -> str:
    """Return one fault of pydantic as a sentence with the name, the value and what was expected."""
    name = ".".join(map(str, fault["loc"]))
    if fault["type"] == "value_error":
        return ": ".join(filter(None, [name, str(fault["ctx"]["error"])]))
    return f"{name} is {fault['input']!r}: {fault['msg'].replace('Input should', 'it should')}"
