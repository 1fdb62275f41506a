"""The answers of one commit: an error raised while they are made is the handler's, never the broker's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from streamcast.consumers.transport import Outgoing


class Answers:
    """Hands out the records of one commit, and remembers an error that was raised while the handler made them.

    A handler may return a generator, whose work runs inside ``Transport.commit``.  There only an error of the client
    or the broker leaves the commit in doubt; the transport drops its transaction and raises ``error`` as it is.
    """

    def __init__(self, outgoing: Iterable[Outgoing]) -> None:
        self._outgoing = outgoing
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[Outgoing]:
        try:
            yield from self._outgoing
        except Exception as error:
            self.error = error
            raise
