"""kafka-python's log, as a line a minute: a broker that restarts makes it write hundreds."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from kafka import errors

from streamcast.consumers.complaints import Seldom

log = logging.getLogger(__name__)


class Condensed(logging.Handler):
    """Passes on the first error of a minute, without its traceback, and counts the others.

    A position in an open transaction is none: the client calls it "Unknown error", and asks again.
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(logging.ERROR)
        self._say, self._seldom = say, Seldom(clock)

    def emit(self, record: logging.LogRecord) -> None:
        """See ``logging.Handler.emit``."""
        if any(isinstance(each, errors.UnstableOffsetCommitError) for each in record.args or ()):
            return
        if (more := self._seldom.ask()) is not None:
            self._say(f"kafka-python: {record.getMessage()}{more}")


def condense() -> None:
    """Let kafka-python's log through our own, a line a minute; a second call does nothing."""
    client = logging.getLogger("kafka")
    if not any(isinstance(handler, Condensed) for handler in client.handlers):
        client.addHandler(Condensed(log.warning))
        client.propagate = False
