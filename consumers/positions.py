"""At least once: positions that follow their answers, so that a turn waits for neither to be written down."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from streamcast.consumers.transport import Partition, Positions

log = logging.getLogger(__name__)


class FollowingPositions:
    """Positions that are to be committed: one request on its way, what has come since is owed and goes with the next.

    ``request`` is called with what to commit, and ``answered`` is to be called with what became of it, from within
    ``poll``.  What is refused is owed again; when it is refused twice in a row, the next ``check`` raises that.
    Asking may raise, too, so it comes before records are taken that would be lost by it.

    Positions whose answers are not acknowledged yet are held, and owed once they are.
    """

    def __init__(self, request: Callable[[Positions], None]) -> None:
        self._request = request
        self._owed: Positions = {}
        self._refusals: list[Exception] = []
        self.asked: Positions = {}
        """What is on its way."""
        self.held: Positions = {}
        """What waits for its answers."""

    def check(self) -> None:
        """Raise the last refusal if it was not the first; they are counted anew then."""
        if len(self._refusals) > 1:
            refused = self._refusals[-1]
            self._refusals.clear()
            raise refused

    def hold(self, positions: Positions) -> None:
        """Let these wait until their answers are acknowledged; nothing else may be held."""
        self.held = dict(positions)

    def release(self) -> None:
        """The answers are acknowledged: owe what was held."""
        held, self.held = self.held, {}
        self.add(held)

    def add(self, positions: Positions) -> None:
        """Owe these positions, and ask for them at once if nothing is on its way."""
        self._owed |= positions
        self.ask()

    def ask(self) -> None:
        """Ask for what is owed, unless others are on their way."""
        if self._owed and not self.asked:
            self.asked, self._owed = self._owed, {}
            try:
                self._request(self.asked)
            except BaseException:
                self._owed, self.asked = self.asked, {}
                raise

    def answered(self, refused: Exception | None) -> None:
        """What was on its way has been committed, or refused."""
        asked, self.asked = self.asked, {}
        if refused is None:
            self._refusals.clear()
            return
        if not self._refusals:
            log.warning("Positions were refused (%r): they are sent again with the next", refused)
        self._refusals = [*self._refusals[:1], refused]
        self._owed = asked | self._owed

    def given_up(self, partitions: Sequence[Partition]) -> Positions:
        """Owe nothing for these partitions any more; returns what of them was owed, or is on its way."""
        left = self.asked | self._owed
        for partition in partitions:
            self.held.pop(partition, None)
            self.asked.pop(partition, None)
            self._owed.pop(partition, None)
        return {partition: left[partition] for partition in partitions if partition in left}

    def clear(self) -> None:
        """Begin anew, as after a doubt: what holds is asked of the broker."""
        self._owed, self.asked, self.held = {}, {}, {}
        self._refusals.clear()
