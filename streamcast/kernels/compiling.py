"""When numba compiles: a minute on a new machine, in which a person sees nothing unless somebody says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from numba.core import event as events

NOTICE = (
    "Compiling the kernels that this kind of model needs: once on this machine, a minute or two for the first kind,"
    " seconds for others"
)
"""A kernel is compiled for each signature: after ``zero`` (110 s of one core), ``gru`` takes 4 s and a log 0.3 s."""


@contextmanager
def compiling(say: Callable[[str], None]) -> Iterator[None]:
    """Call ``say`` with a notice as soon as a kernel has to be compiled within; kernels in numba's cache need none."""
    with events.install_listener("numba:compile", _Once(say)):
        yield


class _Once(events.Listener):
    """Passes the notice on at the first kernel that is compiled."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say: Callable[[str], None] | None = say

    def on_start(self, event: events.Event) -> None:
        say, self._say = self._say, None
        if say is not None:
            say(NOTICE)

    def on_end(self, event: events.Event) -> None:
        """Nothing is said at the end."""
