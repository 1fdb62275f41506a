"""Client calls that know no deadline: made in another thread, that is waited for and then left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


class Background:
    """Makes calls one after another in a thread of its own; one that never ends is left behind there.

    A thread for each call would cost a thin turn of the loop a twentieth of its time.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def started(self, call: Callable[[], T]) -> Future[T]:
        """Have a call made when those before it are done; what it returns or raises is the future's."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._make, daemon=True, name="kafka-calls")
            self._thread.start()
        outcome: Future[T] = Future()
        self._calls.put(partial(_settle, outcome, call))
        return outcome

    def end(self) -> None:
        """Let the thread end when all calls have been made."""
        self._calls.put(None)

    def _make(self) -> None:
        while (call := self._calls.get()) is not None:
            call()


def started(call: Callable[[], T]) -> Future[T]:
    """Make a single call in the background."""
    background = Background()
    outcome = background.started(call)
    background.end()
    return outcome


def _settle(outcome: Future[T], call: Callable[[], T]) -> None:
    try:
        outcome.set_result(call())
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised where it is waited for
        outcome.set_exception(error)
