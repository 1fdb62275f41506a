"""librdkafka's log: its errors as a line a minute, because a broker that is away makes it write twenty a second."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from streamcast.consumers.complaints import Seldom

log = logging.getLogger("librdkafka")


CHOSEN = "enable.gapless.guarantee is experimental"
"""librdkafka says so of an option of ours whenever a producer is made; nobody can do anything about it."""


class Condensed(logging.Filter):
    """Lets the first error of a minute pass, with the number of those before; ``CHOSEN`` never, other lines always."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._seldom = Seldom(clock)

    def filter(self, record: logging.LogRecord) -> bool:
        """See ``logging.Filter.filter``."""
        if record.levelno < logging.ERROR:
            return CHOSEN not in record.getMessage()
        if (more := self._seldom.ask()) is None:
            return False
        record.msg, record.args = f"librdkafka: {record.getMessage()}{more}", ()
        return True


def condense() -> None:
    """Let librdkafka's errors through a line a minute; a second call does nothing."""
    if not any(isinstance(each, Condensed) for each in log.filters):
        log.addFilter(Condensed())
