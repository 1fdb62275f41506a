"""What kafka-python writes to its log, as a line a minute: a broker that restarts makes it write hundreds."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

QUIET_SECONDS = 60.0


class Condensed(logging.Handler):
    """Passes on the first error of a minute, without its traceback, and counts the others."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(logging.ERROR)
        self._say, self._clock = say, clock
        self._said_at = -QUIET_SECONDS
        self._unsaid = 0
        self._guard = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        """See ``logging.Handler.emit``."""
        with self._guard:
            now = self._clock()
            if now - self._said_at < QUIET_SECONDS:
                self._unsaid += 1
                return
            unsaid, self._unsaid, self._said_at = self._unsaid, 0, now
        more = f" ({unsaid} more errors of the client since its last line)" if unsaid else ""
        self._say(f"kafka-python: {record.getMessage()}{more}")


def condense() -> None:
    """Let kafka-python's log through our own, a line a minute; a second call does nothing."""
    client = logging.getLogger("kafka")
    if not any(isinstance(handler, Condensed) for handler in client.handlers):
        client.addHandler(Condensed(log.warning))
        client.propagate = False
