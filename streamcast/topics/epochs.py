"""Epoch numbers: the sizes by which their unit is recognised, in files, notebooks and records."""

from __future__ import annotations

from typing import NamedTuple


class Unit(NamedTuple):
    """A unit of epoch numbers: numbers from ``first`` on and below ``end`` are of it."""

    name: str
    first: int
    end: int
    milliseconds: float


SECONDS = Unit("seconds", 10**8, 10**10, 1e3)
"""1973 to 2286; as milliseconds, January to April 1970."""
MILLISECONDS = Unit("milliseconds", 10**11, 10**14, 1.0)
"""From 1973 on."""
FINER = (Unit("microseconds", 10**14, 10**17, 1e-3), Unit("nanoseconds", 10**17, 10**19, 1e-6))
UNITS = (SECONDS, MILLISECONDS, *FINER)
