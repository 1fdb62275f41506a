"""Which connections a client of librdkafka has lost, and why it has failed for good: only its log tells."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from confluent_kafka import KafkaError

FAILED = "FAIL"
"""What librdkafka calls a line about a connection that failed."""
CONNECTING = "in state CONNECT"
"""In such a line when nothing was sent yet."""
INFORMATION = 6
WAITING = "GETPID"
"""What it calls a line about a producer that asks for its number again: a new coordinator needs a moment."""
FATAL = "FATAL"
"""What it calls the line that says why it has failed for good."""
OURS = ("enable.gapless.guarantee", KafkaError(KafkaError._GAPLESS_GUARANTEE).str())
"""In lines about an option of ours: that librdkafka calls it experimental, and that it has ended a producer."""


class Connections:
    """The logger of one client: passes its lines on, and notes whether a connection was lost that requests were on.

    ``end`` is the line that says why the client has failed for good.

    librdkafka leaves a line out that repeats within 30 s, so that only a client's first loss is certain to be seen.
    The client hands out its lines when it is polled; a line comes before the answer to a request that was sent again.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self.lost = False
        self.end = ""

    @property
    def settings(self) -> Mapping[str, object]:
        """What makes a client report its connections here, whatever else it is set to."""
        return {"logger": self, "log.connection.close": True, "log_level": INFORMATION}

    def log(self, level: int, message: str, *arguments: str) -> None:
        """See ``logging.Logger.log``; librdkafka calls it with its word for the line, the client and the text."""
        word, _, text = arguments
        if word == FAILED and CONNECTING not in text:
            self.lost = True
        if word == FATAL:
            self.end = text
        expected = word == WAITING or any(part in text for part in OURS)
        self._log.log(min(level, logging.INFO) if expected else level, message, *arguments)
