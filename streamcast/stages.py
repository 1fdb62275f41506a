"""What long work is doing: a room names its stages, and a front door that listens shows them.

Where nobody listens, as in a service, a stage sets a variable and changes no result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple


class Stage(NamedTuple):
    """A part of long work: what is done, since when (s of the monotonic clock), and how far it is, in words."""

    what: str
    since: float
    far: str = ""


Listener = Callable[[Stage | None], None]
"""Receives the stage that has begun or went on; None when nothing with a name is done any more."""

OnFar = Callable[[str], None]
"""Receives how far a stage is, such as "5,000 of 20,000 rows"."""


def _nobody(_stage: Stage | None) -> None:
    """Listen to nothing."""


_listener: ContextVar[Listener] = ContextVar("_listener", default=_nobody)
_present: ContextVar[Stage | None] = ContextVar("_present", default=None)


@contextmanager
def heard(listener: Listener = _nobody) -> Iterator[None]:
    """Report the stages within to a listener, and not to the one around it."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def stage(what: str) -> Iterator[OnFar]:
    """Report a stage of long work, such as "reading load.csv"; after it, the one around it goes on."""
    listener, around, since = _listener.get(), _present.get(), time.monotonic()

    def report(now: Stage | None) -> None:
        _present.set(now)
        listener(now)

    report(Stage(what, since))
    try:
        yield lambda far: report(Stage(what, since, far))
    finally:
        report(around)
