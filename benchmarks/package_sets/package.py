"""What a package's sets are, and the facts that many of them have.

A reader gets the paths of its set's files and returns a frame of ``unique_id``, ``ds``, ``y`` and the set's known
inputs; rows without a value may remain, and the order is free.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

DAY: dict[str, Any] = {"season": ["1d"], "known": [], "holidays": None}
WEEK = {**DAY, "season": ["1d", "1w"]}
HOURLY = {"freq": "1h", "horizon": 24}
DAILY: dict[str, Any] = {"freq": "1d", "horizon": 14, "season": ["1w"], "known": [], "holidays": None}
NEW_YORK = {"ds": "utc", "timezone": "America/New_York"}
NOWHERE = {"ds": "local", "timezone": None}


@dataclass(frozen=True)
class DataSet:
    """A set: the files that it is read from, its reader, its facts, and what its values are."""

    files: Sequence[str]
    """Paths in the package's archive."""
    read: Callable[..., pd.DataFrame]
    facts: dict[str, Any]
    values: str
    """The part of ``source`` after the package, its version and its licence."""


@dataclass(frozen=True)
class Package:
    """A package: its name as archives have it, its licence, and its sets by name."""

    name: str
    licence: str
    sets: dict[str, DataSet]
