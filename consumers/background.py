"""Client calls made in the background: because they know no deadline, or because there is work to do meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from consumers.transport import Positions

T = TypeVar("T")

FRESH_SECONDS = 10.0
"""How long a transaction may wait for its records; the broker ends it at 30 s, and fences its producer."""


def started(call: Callable[[], T]) -> Future[T]:
    """Make a call in a thread of its own; one that never ends is left behind there."""
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised where it is waited for
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True, name="kafka-background").start()
    return outcome


class Begun:
    """A transaction that takes positions in while the records that belong to them are still being made."""

    def __init__(self, positions: Positions, take_in: Callable[[], None]) -> None:
        self._positions, self._began = positions, time.monotonic()
        self._taken_in = started(take_in)

    def serves(self, positions: Positions) -> bool:
        """Whether it is of these positions, and so young that the broker still knows it."""
        return self._positions == positions and time.monotonic() - self._began < FRESH_SECONDS

    def wait(self, deadline: float) -> None:
        """Wait until the positions are taken in; raises what that call raised, and TimeoutError."""
        self._taken_in.result(max(0.0, deadline - time.monotonic()))
