"""The loop: poll, handle, commit, promote; and what to do when one of them does not work.

A turn of the loop takes all that has arrived (up to a limit), so batches grow by themselves while the last one commits
and an idle stream never waits.  Newly assigned partitions stay paused while the handler rebuilds their state in slices
between polls, so that the group keeps its member.  A commit in doubt is settled before anything else happens.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from streamcast.consumers.transport import (
    Batch,
    BrokerUnavailable,
    Fenced,
    Handler,
    InDoubt,
    Partition,
    Positions,
    Transport,
)

log = logging.getLogger(__name__)

LONGEST_BACKOFF_SECONDS = 5.0
TURN_SECONDS = 40.0


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How much one turn takes: records of a poll, the wait of an idle poll, and a slice of recovery."""

    max_records: int = 10_000
    max_wait_seconds: float = 0.5
    recovery_slice_seconds: float = 0.25


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long things may take, in seconds.

    ``turn``: after it the process is neither alive nor ready.  ``stall``: after it the watchdog gives the process up.
    ``patience``: how long a broker may be away, or the same commit fail, before the loop ends with the error.
    ``shutdown``: from the wish to stop to the end; after it the watchdog gives the process up, too.
    """

    turn_seconds: float = TURN_SECONDS
    stall_seconds: float = 60.0
    patience_seconds: float = 300.0
    shutdown_seconds: float = 10.0


class Stop(Protocol):
    """The part of ``threading.Event`` that the loop needs."""

    def is_set(self) -> bool:
        """Whether the loop shall end."""

    def wait(self, timeout: float) -> bool:
        """Wait for the wish to stop, at most ``timeout`` seconds."""


class Observer(Protocol):
    """Is told what the loop does; telemetry implements it."""

    def on_poll(self, records: int, lag: Mapping[Partition, int]) -> None:
        """A poll returned this many records; ``lag`` is what is still to be read."""

    def on_commit(self, seconds: float, records: int) -> None:
        """This many records were committed, and that took so long."""

    def on_abort(self) -> None:
        """A commit failed or is in doubt."""

    def on_rebalance(self) -> None:
        """Partitions were assigned, revoked or lost."""


class Unobserved:
    """The observer that does nothing."""

    def on_poll(self, records: int, lag: Mapping[Partition, int]) -> None:
        """See ``Observer.on_poll``."""

    def on_commit(self, seconds: float, records: int) -> None:
        """See ``Observer.on_commit``."""

    def on_abort(self) -> None:
        """See ``Observer.on_abort``."""

    def on_rebalance(self) -> None:
        """See ``Observer.on_rebalance``."""


class Health:
    """What the loop knows about itself, for other threads to read."""

    def __init__(self, turn_seconds: float = TURN_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._turn_seconds, self._clock = turn_seconds, clock
        self._last_beat = clock()
        self.assigned = self.recovered = False
        self.trouble: str | None = None

    def beat(self) -> None:
        """Note that the loop goes on."""
        self._last_beat = self._clock()

    def silence_seconds(self) -> float:
        """How long ago the loop last showed a sign of life."""
        return self._clock() - self._last_beat

    def alive(self) -> bool:
        """Whether polling goes on."""
        return self.silence_seconds() < self._turn_seconds

    def ready(self) -> bool:
        """Whether records are being answered: alive, partitions assigned and recovered, the last commit fine."""
        return not self.problems()

    def problems(self) -> list[str]:
        """Why this is not ready, in words; empty when it is."""
        found = []
        if not self.alive():
            found.append(f"the loop has been silent for {self.silence_seconds():.0f} s")
        if not self.assigned:
            found.append("no partitions are assigned")
        elif not self.recovered:
            found.append("state is being recovered")
        if self.trouble is not None:
            found.append(self.trouble)
        return found


class Loop:
    """One member's loop, a turn at a time: ``run`` drives one in production, the simulation many in one thread."""

    def __init__(
        self,
        transport: Transport,
        handler: Handler,
        topics: Sequence[str],
        *,
        limits: BatchLimits,
        health: Health,
        observer: Observer,
        passed: Callable[[str], None] = lambda _point: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport, self._handler = transport, handler
        self._limits, self._health, self._observer = limits, health, observer
        self._passed, self._clock = passed, clock
        self._arrived: list[Partition] = []
        self._held: list[Partition] = []
        self._recovering = False
        self._doubt: Positions | None = None
        self.failing = False
        """Whether the last commit failed, and what it held is still to be committed."""
        transport.subscribe(topics, self)

    def turn(self) -> None:
        """Do what is next: settle, take over new partitions, recover a slice; then poll and answer.

        Raises BrokerUnavailable where another try may help, InDoubt after a commit that is to be settled by the next
        turn, and Fenced when the process must end.
        """
        self._health.beat()
        if self._doubt is not None:
            self._settle(self._doubt)
        if self._arrived:
            self._take_over()
        if self._recovering:
            self._recover()
        batches = self._poll()
        self._observer.on_poll(sum(map(len, batches)), self._transport.lag())
        if batches:
            self._answer(batches)

    def close(self, timeout_seconds: float) -> None:
        """Give everything back in good order; what is still in doubt is dropped unless it can be settled now."""
        if self._doubt is not None:
            try:
                self._settle(self._doubt)
            except (BrokerUnavailable, Fenced):
                self.abandon()
        self._transport.close(timeout_seconds)

    def abandon(self) -> None:
        """Drop all state and write nothing more."""
        held, self._held, self._arrived, self._doubt = self._held, [], [], None
        self._note_assignment()
        if held:
            self._handler.on_lost(held)

    def on_assigned(self, partitions: Sequence[Partition]) -> None:
        """See ``Listener``: they are taken over at the next turn, when the broker can be asked about them."""
        self._arrived.extend(partitions)
        self._note_assignment()

    def on_revoked(self, partitions: Sequence[Partition]) -> None:
        """See ``Listener``: half-recovered state is not worth keeping, so it is dropped as if it were lost."""
        if self._recovering or self._doubt is not None:
            self.on_lost(partitions)
        elif given := self._let_go(partitions):
            self._handler.on_revoked(given)

    def on_lost(self, partitions: Sequence[Partition]) -> None:
        """See ``Listener``."""
        if given := self._let_go(partitions):
            self._handler.on_lost(given)

    @property
    def _busy(self) -> bool:
        return self._recovering or bool(self._arrived)

    def _let_go(self, partitions: Sequence[Partition]) -> list[Partition]:
        """Forget these partitions and return those the handler knows of."""
        given = [partition for partition in partitions if partition in self._held]
        self._held = [partition for partition in self._held if partition not in partitions]
        self._arrived = [partition for partition in self._arrived if partition not in partitions]
        self._note_assignment()
        return given

    def _note_assignment(self) -> None:
        self._health.assigned = bool(self._held or self._arrived)
        self._health.recovered = not self._busy
        self._observer.on_rebalance()

    def _take_over(self) -> None:
        arrived = list(self._arrived)
        committed, bounds = self._transport.committed(arrived), self._transport.bounds(arrived)
        positions = self._handler.on_assigned({partition: committed.get(partition) for partition in arrived}, bounds)
        self._arrived.clear()
        self._held.extend(arrived)
        self._transport.seek(positions)
        self._begin_recovery()

    def _begin_recovery(self) -> None:
        self._recovering, self._health.recovered = True, False
        self._transport.pause(self._held)

    def _recover(self) -> None:
        if self._handler.recover_some(self._limits.recovery_slice_seconds):
            self._recovering, self._health.recovered = False, True
            self._transport.resume(self._held)
        self._health.beat()

    def _poll(self) -> list[Batch]:
        try:
            return self._transport.poll(0 if self._busy else self._limits.max_wait_seconds, self._limits.max_records)
        except InDoubt:  # of an earlier commit, at least once
            self._note_doubt({})
            raise

    def _answer(self, batches: Sequence[Batch]) -> None:
        self._passed("polled")
        outgoing = self._handler.on_batch(batches)
        self._passed("stepped")
        self._health.beat()
        started, positions = self._clock(), {batch.partition: batch.next_offset for batch in batches}
        try:
            self._transport.commit(outgoing, positions)
        except InDoubt:
            self._note_doubt(positions)
            raise
        self.failing = False
        self._handler.on_committed()
        self._observer.on_commit(self._clock() - started, sum(map(len, batches)))

    def _note_doubt(self, positions: Positions) -> None:
        self._doubt, self.failing = positions, True
        self._observer.on_abort()

    def _settle(self, doubt: Positions) -> None:
        """Learn what became of the commit in doubt, and let the handler follow."""
        stable = self._transport.settle()
        self.failing = any(stable.get(partition, position) < position for partition, position in doubt.items())
        self._handler.on_in_doubt(stable)
        self._doubt = None
        self._begin_recovery()


def run(
    transport: Transport,
    handler: Handler,
    *,
    topics: Sequence[str],
    stop: Stop,
    limits: BatchLimits | None = None,
    deadlines: Deadlines | None = None,
    health: Health | None = None,
    observer: Observer | None = None,
    passed: Callable[[str], None] = lambda _point: None,
    on_stall: Callable[[str], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Run until ``stop`` is set; then finish the batch in hand, give the partitions back and return.

    ``passed`` is told the points "polled" and "stepped" (a transport tells the rest).  ``on_stall`` is called from
    another thread when the loop has been silent for ``deadlines.stall_seconds``: it should end the process.
    Raises Fenced when another process took over, and any TransportError that patience did not cure.
    """
    deadlines = deadlines or Deadlines()
    health = health or Health(deadlines.turn_seconds, clock)
    ended = threading.Event()
    if on_stall is not None:
        watch = (health, deadlines, stop, on_stall, ended)
        threading.Thread(target=_watch, args=watch, daemon=True, name="loop-watchdog").start()
    try:
        loop = Loop(
            transport, handler, topics, limits=limits or BatchLimits(), health=health,
            observer=observer or Unobserved(), passed=passed, clock=clock,
        )  # fmt: skip
        try:
            _turn_until(stop, loop, health, deadlines.patience_seconds, clock)
        except BaseException:
            loop.abandon()
            raise
        finally:
            loop.close(deadlines.shutdown_seconds / 2)
    finally:
        ended.set()


def _turn_until(stop: Stop, loop: Loop, health: Health, patience_seconds: float, clock: Callable[[], float]) -> None:
    """Take turns; a broker that is away, or a commit that fails, is tried again with growing pauses, for a while."""
    failing_since, failures = clock(), 0
    while not stop.is_set():
        try:
            loop.turn()
        except (BrokerUnavailable, InDoubt) as error:
            failures += 1
            if clock() - failing_since > patience_seconds:
                raise
            if health.trouble is None:
                log.warning("%s; trying again for up to %.0f s", error, patience_seconds)
            health.trouble = str(error)
            health.beat()
            stop.wait(min(LONGEST_BACKOFF_SECONDS, 0.05 * 2**failures))
        else:
            if not loop.failing:
                if health.trouble is not None:
                    log.warning("going on after %.1f s of trouble", clock() - failing_since)
                failing_since, failures, health.trouble = clock(), 0, None


def _watch(
    health: Health, deadlines: Deadlines, stop: Stop, on_stall: Callable[[str], None], ended: threading.Event
) -> None:
    """Call ``on_stall`` once when the loop has been silent for too long, or does not end when it should."""
    stopping_since: float | None = None
    while not ended.wait(min(deadlines.stall_seconds, deadlines.shutdown_seconds) / 20):
        if stop.is_set() and stopping_since is None:
            stopping_since = time.monotonic()
        if health.silence_seconds() > deadlines.stall_seconds:
            on_stall(f"the loop has been silent for {health.silence_seconds():.0f} s")
            return
        if stopping_since is not None and time.monotonic() - stopping_since > deadlines.shutdown_seconds:
            on_stall(f"the loop did not end within {deadlines.shutdown_seconds:.0f} s")
            return
