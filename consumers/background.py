"""Client calls without a deadline: run them in another thread, wait for a while, then go on without them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


class Background:
    """Makes calls one after another in its own thread, so that a caller can stop waiting for one that never ends.

    A thread for each call would take a twentieth of an iteration that has few records.
    """

    def __init__(self, name: str = "kafka-calls") -> None:
        self._name = name
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def started(self, call: Callable[[], T]) -> Future[T]:
        """Queue a call; the future holds the value it returns or the error it raises, and cancels one still queued."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._make, daemon=True, name=self._name)
            self._thread.start()
        outcome: Future[T] = Future()
        self._calls.put(partial(_settle, outcome, call))
        return outcome

    def end(self) -> None:
        """End the thread after the calls that are queued."""
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


def ended_within(seconds: float, call: Callable[[], object]) -> bool:
    """Make a single call in the background; whether it ended in time.  One that did not is left behind."""
    try:
        started(call).result(max(0.0, seconds))
    except TimeoutError:
        return False
    return True


def _settle(outcome: Future[T], call: Callable[[], T]) -> None:
    if not outcome.set_running_or_notify_cancel():
        return
    try:
        outcome.set_result(call())
    except BaseException as error:  # noqa: BLE001 - the thread that waits raises it
        outcome.set_exception(error)
