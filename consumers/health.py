"""The loop's health as other threads see it, its deadlines, and the watchdog that ends a loop which hangs."""

from __future__ import annotations

import faulthandler
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from streamcast.consumers.refusals import Refusals
from streamcast.consumers.transport import Batch, Partition

ITERATION_SECONDS = 40.0


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long things may take, in seconds.

    ``iteration``: a loop that is silent for longer is neither alive nor ready.  ``stall``: after it the watchdog ends
    the process.  ``patience``: how long a broker may be away, or the same commit may fail, before the loop ends with
    the error.  ``shutdown``: how long the loop may take to stop; after it the watchdog ends the process, too.
    """

    iteration_seconds: float = ITERATION_SECONDS
    stall_seconds: float = 60.0
    patience_seconds: float = 300.0
    shutdown_seconds: float = 10.0


class Stop(Protocol):
    """The part of ``threading.Event`` that the loop needs."""

    def is_set(self) -> bool:
        """Whether the loop shall end."""

    def wait(self, timeout: float) -> bool:
        """Wait until the loop shall end, at most ``timeout`` seconds."""


class LoopHealth:
    """What the loop knows about itself, for other threads to read."""

    def __init__(
        self, iteration_seconds: float = ITERATION_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._iteration_seconds, self._clock = iteration_seconds, clock
        self._last_beat = clock()
        self.preparing = ""
        """What the process does before its loop begins, in words: until then it is alive, and not ready."""
        self.assigned = self.recovered = False
        self.trouble: str | None = None
        self.refusals = Refusals(clock)
        """Those of the loop: the partitions that are not answered because a topic refuses an answer."""
        self.topics: Sequence[str] = ()
        """What is wrong with the topics."""
        self.in_hand: Sequence[Batch] = ()
        """The batches that are being answered."""

    def beat(self) -> None:
        """Note that the loop makes progress."""
        self._last_beat = self._clock()

    def silence_seconds(self) -> float:
        """Seconds since the last beat."""
        return self._clock() - self._last_beat

    def alive(self) -> bool:
        """Whether the loop makes progress, or has not begun."""
        return bool(self.preparing) or self.silence_seconds() < self._iteration_seconds

    def ready(self) -> bool:
        """Whether records are being answered: alive, partitions assigned and recovered, the last commits succeeded."""
        return not self.problems()

    def refused(self) -> Mapping[Partition, float]:
        """Return for how many seconds partitions have waited because a topic refuses an answer."""
        return self.refusals.seconds()

    def problems(self) -> list[str]:
        """Why the loop is not ready, in words; empty when it is."""
        if self.preparing:
            return [self.preparing]
        found = []
        if not self.alive():
            found.append(f"the loop has been silent for {self.silence_seconds():.0f} s")
        if not self.assigned:
            found.append("no partitions are assigned")
        elif not self.recovered:
            found.append("state is being recovered")
        if self.trouble is not None:
            found.append(self.trouble)
        return [*found, *self.refusals.problems(), *self.topics]


def named(batches: Sequence[Batch]) -> str:
    """Name the partitions and offsets of some batches: ``observations[3] offsets 918-1017``."""
    return ", ".join(f"{batch.partition} offsets {batch.offsets[0]}-{batch.offsets[-1]}" for batch in batches)


def watch(
    health: LoopHealth, deadlines: Deadlines, stop: Stop, on_stall: Callable[[str], None], ended: threading.Event
) -> None:
    """Call ``on_stall`` once, with the reason, when the loop is silent for too long or does not stop in time.

    The reason names the partitions and offsets that the loop was answering.
    """
    stopping_since: float | None = None
    while not ended.wait(min(deadlines.stall_seconds, deadlines.shutdown_seconds) / 20):
        if stop.is_set() and stopping_since is None:
            stopping_since = time.monotonic()
        in_hand = health.in_hand
        work = f" while it answered {named(in_hand)}" if in_hand else ""
        if health.silence_seconds() > deadlines.stall_seconds:
            on_stall(f"the loop has been silent for {health.silence_seconds():.0f} s{work}")
            return
        if stopping_since is not None and time.monotonic() - stopping_since > deadlines.shutdown_seconds:
            on_stall(f"the loop did not end within {deadlines.shutdown_seconds:.0f} s{work}")
            return


def guard_interpreter(seconds: float, ended: threading.Event) -> None:
    """Until ``ended``, end the process (exit code 1, with all stacks) when no Python code has run for ``seconds``.

    C code that waits and does not let the interpreter go, such as a client's, stops all threads, that of ``watch``
    included; only a timer in C goes on.  One process has one such timer.
    """
    while True:
        faulthandler.dump_traceback_later(seconds, exit=True)
        if ended.wait(seconds / 20):
            break
    faulthandler.cancel_dump_traceback_later()
