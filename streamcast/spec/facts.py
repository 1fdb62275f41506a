"""The facts of a training in ``model.json``, as they are read back; no hash covers them.

What the code reads has its type here.  Other facts, of earlier and later versions, are shown as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from streamcast.spec.local_time import Milliseconds

MOST_NESTED: Final = 16
"""How deeply ``model.json`` may be nested; the facts of this version need 5."""

_Count = Annotated[int, Field(ge=0, le=2**53)]
_Outcomes = Annotated[float, Field(ge=0, le=2**53)]
_Number = float  # NaN in files of earlier versions
_ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")


def _zone(name: str) -> str:
    """Return what may be a zone's name; whether this machine knows it is asked where times are read."""
    if not _ZONE.fullmatch(name):
        raise PydanticCustomError("zone", "input should be the name of a time zone, such as Europe/Berlin")
    return name


_Zone = Annotated[str, AfterValidator(_zone)]
_StepName = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,8}$")]


class _Facts(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _StepQuality(_Facts):
    """The quality of one step ahead."""

    outcomes: _Outcomes | None = None
    compared: _Outcomes | None = None
    mae: _Number | None = None
    compared_mae: _Number | None = None
    naive_mae: _Number | None = None
    coverage: _Number | None = None


class _Quality(_Facts):
    """The quality on the part that was held out."""

    from_: Milliseconds = Field(default=0, alias="from")
    until: Milliseconds = 0
    series: _Count = 0
    of_series: _Count = 0
    forecasts: _Count = 0
    nominal: _Number = 0.0
    by_series: _Number | None = None
    by_series_steps: _Count = 0
    without_network: _Number | None = None
    steps: dict[_StepName, _StepQuality] | None = None


class _Training(_Facts):
    """How a model was made, on what, and how good it was then."""

    first: Milliseconds | None = None
    last: Milliseconds | None = None
    from_last: Milliseconds | None = None
    held_out_from: Milliseconds | None = None
    quality: _Quality | None = None
    data: str = ""
    id_col: str = ""
    time_col: str = ""
    target_col: str = ""
    timezone: _Zone = "UTC"
    time_format: str | None = None
    zoned: bool = False
    from_: str = Field(default="", alias="from")
    teacher: str = ""
    whole: str = ""
    compressed: str = ""
    stopped: str = ""
    unscored: str = ""
    seed: int = 0
    options: dict[str, Any] = {}
    series: _Count = 0
    rows: _Count = 0
    epochs: _Count = 0
    whole_epochs: _Count = 0
    best_epoch: _Count = 0
    refit_updates: _Count = 0


class _Record(_Facts):
    """What ``model.json`` holds."""

    digest: str = ""
    streamcast: str = ""
    facts: _Training = Field(default_factory=_Training)


def check_record(record: object) -> None:
    """Raise pydantic's ValidationError for the content of a ``model.json`` that no version wrote."""
    _Record.model_validate(record)


def is_nested_too_deeply(value: object) -> bool:
    """Whether a value of JSON has more than ``MOST_NESTED`` levels."""
    level = [value]
    for _ in range(MOST_NESTED):
        level = [part for each in level for part in _parts(each)]
    return bool(level)


def _parts(value: object) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, list) else []
