"""When numba compiles: a minute on a new machine, in which a person sees nothing unless somebody says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from numba.core import event as events

NOTICE = "Compiling the kernels: once on this machine, for a minute or two"


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
