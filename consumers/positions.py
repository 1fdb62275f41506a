"""At least once: commit positions in the background, after the answers, so that the loop waits for no commit."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from streamcast.consumers.transport import Partition, Positions

log = logging.getLogger(__name__)


class PendingPositions:
    """Positions that are still to be committed.

    At most one commit is in flight; later positions wait for the next.  ``request`` starts a commit, and the transport
    reports its result through ``answered``, from within ``poll``.  Positions that the broker refused are pending again;
    after two refusals in a row the next ``check`` raises.

    ``request`` may raise as well.  So the transport calls ``ask`` before it takes records, which would be lost with it.

    Positions whose answers are not acknowledged yet are ``held``; ``release`` makes them pending.
    """

    def __init__(self, request: Callable[[Positions], None]) -> None:
        self._request = request
        self._pending: Positions = {}
        self._refusals: list[Exception] = []
        self.in_flight: Positions = {}
        """The positions of the commit in flight."""
        self.held: Positions = {}
        """Positions that wait until their answers are acknowledged."""

    def check(self) -> None:
        """After two consecutive refusals, raise the last one and reset the count."""
        if len(self._refusals) > 1:
            refused = self._refusals[-1]
            self._refusals.clear()
            raise refused

    def hold(self, positions: Positions) -> None:
        """Hold these positions until ``release``; no others may be held at that time."""
        self.held = dict(positions)

    def release(self) -> None:
        """The answers are acknowledged: commit the positions that were held."""
        held, self.held = self.held, {}
        self.add(held)

    def add(self, positions: Positions) -> None:
        """Commit these positions: at once if no commit is in flight, else with the next one."""
        self._pending |= positions
        self.ask()

    def ask(self) -> None:
        """Start a commit of the pending positions, unless one is in flight."""
        if self._pending and not self.in_flight:
            self.in_flight, self._pending = self._pending, {}
            try:
                self._request(self.in_flight)
            except BaseException:
                self._pending, self.in_flight = self.in_flight, {}
                raise

    @property
    def acknowledged(self) -> Positions:
        """The positions that may be committed now, or are on their way."""
        return self.in_flight | self._pending

    def answered(self, refused: Exception | None) -> None:
        """Note that the commit in flight has succeeded, or was refused."""
        in_flight, self.in_flight = self.in_flight, {}
        if refused is None:
            self._refusals.clear()
            return
        if not self._refusals:
            log.warning("The broker refused to commit positions (%r): they are sent again with the next ones", refused)
        self._refusals = [*self._refusals[:1], refused]
        self._pending = in_flight | self._pending

    def give_up(self, partitions: Sequence[Partition]) -> Positions:
        """Forget these partitions; returns their positions that were pending or in flight."""
        left = self.acknowledged
        for partition in partitions:
            self.held.pop(partition, None)
            self.in_flight.pop(partition, None)
            self._pending.pop(partition, None)
        return {partition: left[partition] for partition in partitions if partition in left}

    def clear(self) -> None:
        """Forget everything, as after a commit in doubt: the broker knows the committed positions."""
        self._pending, self.in_flight, self.held = {}, {}, {}
        self._refusals.clear()
