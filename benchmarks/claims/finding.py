"""The result of measuring a claim."""

from __future__ import annotations

from typing import Literal, NamedTuple

Verdict = Literal["holds", "in part", "does not hold", "not tested"]


class Finding(NamedTuple):
    """The measurement, in words and numbers, and whether the claim holds here."""

    measured: str
    verdict: Verdict


def verdict(*held: bool) -> Verdict:
    """Return whether all, some or none of a claim's parts held."""
    return "holds" if all(held) else "in part" if any(held) else "does not hold"
