"""What clients write to their logs, as a line a minute: while a broker is away they write hundreds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

QUIET_SECONDS = 60.0


class Seldom:
    """Lets the first error of a minute pass, and counts the others; safe from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said_at = -QUIET_SECONDS
        self._unsaid = 0
        self._guard = threading.Lock()

    def ask(self) -> str | None:
        """Return None for an error that is left out, else what to append to it: how many were left out before."""
        with self._guard:
            now = self._clock()
            if now - self._said_at < QUIET_SECONDS:
                self._unsaid += 1
                return None
            unsaid, self._unsaid, self._said_at = self._unsaid, 0, now
        return f" ({unsaid} more errors of the client since its last line)" if unsaid else ""
