"""librdkafka's log: its errors as a line a minute, because a broker that is away makes it write twenty a second.

One that is there and does not answer is a warning for each request and each of the process' clients.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from streamcast.consumers.complaints import Seldom

log = logging.getLogger("librdkafka")

FAILED, TIMED_OUT = "FAIL", "REQTMOUT"
"""What a line is of, by its first word: a connection, and a request that got no answer."""
CHOSEN = "enable.gapless.guarantee is experimental"
"""librdkafka says so of an option of ours whenever a producer is made; nobody can do anything about it."""


class Condensed(logging.Filter):
    """Lets the first error of a minute pass, with the number of those before; a request without an answer is one.

    ``CHOSEN`` never passes, any other line always.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._seldom = Seldom(clock)

    def filter(self, record: logging.LogRecord) -> bool:
        """See ``logging.Filter.filter``."""
        if not _is_error(record):
            return CHOSEN not in record.getMessage()
        if (more := self._seldom.ask()) is None:
            return False
        record.msg, record.args = f"librdkafka: {record.getMessage()}{more}", ()
        return True


def _is_error(record: logging.LogRecord) -> bool:
    kind = record.args[0] if isinstance(record.args, tuple) and record.args else ""
    least = {FAILED: logging.WARNING, TIMED_OUT: logging.INFO}.get(str(kind), logging.ERROR)
    return record.levelno >= least


def condense() -> None:
    """Let librdkafka's errors through a line a minute; a second call does nothing."""
    if not any(isinstance(each, Condensed) for each in log.filters):
        log.addFilter(Condensed())
