"""The names that a service writes under: its topics and its lanes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

CHAMPION = "champion"
"""The lane that is the champion unless the settings name another."""
MOST_LANES = 16
"""Lanes of a service."""


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics a service uses."""

    observations: str = "observations"
    forecasts: str = "forecasts"
    dead_letters: str = "dead-letters"
    journal: str = "journal"


def champion_of(lanes: Collection[str], chosen: str = "") -> str:
    """Return the champion among ``lanes``: the chosen lane, else the lane named "champion", else the only lane.

    Raises ValueError when ``chosen`` is no lane, or when nothing says which of several lanes it is.
    """
    names = ", ".join(lanes)
    if chosen:
        if chosen not in lanes:
            raise ValueError(f"the champion is {chosen!r}, which is not one of the lanes {names}: name one of them")
        return chosen
    if CHAMPION in lanes:
        return CHAMPION
    if len(lanes) != 1:
        raise ValueError(f"none of the lanes {names} is named 'champion': set models.champion to one of them")
    return next(iter(lanes))
