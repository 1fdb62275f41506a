"""A clock that a test moves by hand."""

from __future__ import annotations


class HandClock:
    """Seconds that pass only when a test changes ``now``."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time now."""
        return self.now
