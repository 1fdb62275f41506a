"""The loop: poll, handle, commit, promote; and what to do when one of them fails.

One iteration takes all records that have arrived (up to a limit): batches grow by themselves while the previous one
commits, and an idle stream never waits.  New partitions stay paused while the handler rebuilds their state in slices
between polls, so that the group keeps its member.  A commit in doubt is settled before anything else happens.  A
partition whose answer is refused by its topic is set aside, and the others go on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from streamcast.consumers.health import Deadlines, LoopHealth, Stop, named, watch
from streamcast.consumers.refusals import Refusals
from streamcast.consumers.transport import (
    Batch,
    BrokerUnavailable,
    Fenced,
    Handler,
    InDoubt,
    Partition,
    Positions,
    RecordRefused,
    Transport,
    TransportError,
)

log = logging.getLogger(__name__)

LONGEST_BACKOFF_SECONDS = 5.0
SHRINKS, GROWS = 4, 8
"""A poll takes a quarter of the records after a commit failed, and an eighth more after one succeeded."""
OFFER_SECONDS = 30.0
"""How often partitions that the handler could not serve are offered again."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Limits of one iteration: records of a poll, the wait of an idle poll, a slice of recovery, one of catching up.

    Records that have arrived wait for a slice of catching up; those of a partition that is recovered wait anyway.
    """

    max_records: int = 10_000
    max_wait_seconds: float = 0.5
    recovery_slice_seconds: float = 0.25
    catch_up_slice_seconds: float = 0.1


class Observer(Protocol):
    """The loop reports to it; telemetry implements it."""

    def on_poll(self, records: int, lag: Mapping[Partition, int]) -> None:
        """A poll returned this many records; ``lag`` counts the records still to be read."""

    def on_commit(self, seconds: float, records: int) -> None:
        """A commit of this many records took this long."""

    def on_abort(self) -> None:
        """A commit failed or is in doubt."""

    def on_rebalance(self, held: Collection[Partition]) -> None:
        """Partitions were assigned, revoked or lost; ``held`` are those that this member has now."""


class Unobserved:
    """The observer that does nothing."""

    def on_poll(self, records: int, lag: Mapping[Partition, int]) -> None:
        """See ``Observer.on_poll``."""

    def on_commit(self, seconds: float, records: int) -> None:
        """See ``Observer.on_commit``."""

    def on_abort(self) -> None:
        """See ``Observer.on_abort``."""

    def on_rebalance(self, held: Collection[Partition]) -> None:
        """See ``Observer.on_rebalance``."""


class Loop:
    """One member's loop, an iteration at a time: ``run`` drives one, the simulation drives many in one thread."""

    def __init__(
        self,
        transport: Transport,
        handler: Handler,
        topics: Sequence[str],
        *,
        limits: BatchLimits,
        health: LoopHealth,
        observer: Observer,
        passed: Callable[[str], None] = lambda _point: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport, self._handler = transport, handler
        self._limits, self._health, self._observer = limits, health, observer
        self._most = limits.max_records
        """Records of the next poll: fewer after a commit failed, since a broker with quotas takes only few in time."""
        self._passed, self._clock = passed, clock
        self._arrived: list[Partition] = []
        self._held: list[Partition] = []
        self._unserved: list[Partition] = []
        self._offered = 0.0
        self._unsought: dict[Partition, int | None] = {}
        """The committed positions of partitions that are recovered, until reading continues there."""
        self._recovering = False
        self._behind = False
        """Whether the handler has more to do at once that no answer waits for."""
        self._doubt: Positions | None = None
        self._failed: set[Partition] = set()
        """Partitions whose last commit failed, until their records are committed."""
        self._refusals = health.refusals = Refusals(clock)
        transport.subscribe(topics, self)

    def iterate(self) -> None:
        """Settle a doubt, take over new partitions, recover a slice; then poll and answer.

        A failure to take over or to recover is raised only after the poll: a member that stops polling stalls its
        whole group.

        Raises BrokerUnavailable where another try may help, InDoubt after a commit that the next iteration settles,
        and Fenced when the process must end.  An error of the handler is logged with its offsets and raised.
        """
        self._health.beat()
        if self._doubt is not None:
            self._settle(self._doubt)
        unavailable: BrokerUnavailable | None = None
        if self._unserved and self._clock() - self._offered >= OFFER_SECONDS:
            self._arrived, self._unserved = self._arrived + self._unserved, []
        try:
            if self._arrived:
                self._take_over()
            if self._recovering:
                self._recover()
            elif due := self._refusals.due():
                self._transport.resume(due)
        except BrokerUnavailable as error:
            unavailable = error
        batches = self._poll()
        self._observer.on_poll(sum(map(len, batches)), self._transport.lag())
        if batches:
            self._answer(batches)
        elif not self._busy:
            self._handler.on_idle()
        if not self._busy and self._doubt is None:
            self._behind = self._handler.catch_up_some(self._limits.catch_up_slice_seconds)
        if unavailable is not None:
            raise unavailable

    def close(self, timeout_seconds: float) -> None:
        """Give all partitions back in good order; a commit in doubt is settled now, or its state is dropped."""
        try:
            if self._doubt is not None:
                self._settle(self._doubt)
        except (BrokerUnavailable, Fenced):
            self.abandon()
        except BaseException:
            self.abandon()
            raise
        finally:
            self._transport.close(timeout_seconds)

    def abandon(self) -> None:
        """Drop all state and write nothing more."""
        held, self._held, self._arrived, self._unserved, self._doubt = self._held, [], [], [], None
        self._unsought.clear()
        self._failed.clear()
        self._refusals.forget(held)
        self._note_assignment()
        if held:
            self._handler.on_lost(held)

    def on_assigned(self, partitions: Sequence[Partition]) -> None:
        """See ``Listener``: the next iteration takes them over, because the broker cannot be asked from here."""
        self._arrived.extend(partitions)
        self._note_assignment()

    def on_revoked(self, partitions: Sequence[Partition]) -> None:
        """See ``Listener``: during recovery, or in doubt, the state is dropped as if the partitions were lost."""
        if self._recovering or self._doubt is not None:
            self.on_lost(partitions)
        elif given := self._let_go(partitions):
            self._handler.on_revoked(given)

    def on_lost(self, partitions: Sequence[Partition]) -> None:
        """See ``Listener``."""
        if given := self._let_go(partitions):
            self._handler.on_lost(given)

    @property
    def failing(self) -> bool:
        """Whether a commit failed and its records are still to be committed, whatever else is committed meanwhile."""
        return bool(self._failed)

    @property
    def _busy(self) -> bool:
        return self._recovering or bool(self._arrived)

    def _let_go(self, partitions: Sequence[Partition]) -> list[Partition]:
        """Forget these partitions and return those the handler knows of."""
        given = [partition for partition in partitions if partition in self._held]
        self._held = [partition for partition in self._held if partition not in partitions]
        self._arrived = [partition for partition in self._arrived if partition not in partitions]
        self._unserved = [partition for partition in self._unserved if partition not in partitions]
        self._failed -= set(partitions)
        self._refusals.forget(partitions)
        for partition in partitions:
            self._unsought.pop(partition, None)
        self._note_assignment()
        return given

    def _note_assignment(self) -> None:
        held = [*self._held, *self._arrived, *self._unserved]
        self._health.assigned, self._health.recovered = bool(held), not self._busy
        self._observer.on_rebalance(held)

    def _take_over(self) -> None:
        arrived = list(self._arrived)
        committed = self._transport.committed(arrived)
        self._health.beat()
        bounds = self._transport.bounds(arrived)
        self._health.beat()
        unserved = self._handler.on_assigned({partition: committed.get(partition) for partition in arrived}, bounds)
        self._passed("assigned")
        self._health.beat()
        served = [partition for partition in arrived if partition not in unserved]
        self._arrived.clear()
        self._unserved, self._offered = [*self._unserved, *unserved], self._clock()
        self._held.extend(served)
        self._unsought |= {partition: committed.get(partition) for partition in served}
        if served:
            self._begin_recovery()
        self._health.recovered = not self._busy

    def _begin_recovery(self) -> None:
        self._recovering, self._health.recovered = True, False
        self._transport.pause(self._held)

    def _recover(self) -> None:
        positions = self._handler.recover_some(self._limits.recovery_slice_seconds)
        self._health.beat()
        if positions is None:
            return
        positions = {partition: positions[partition] for partition in self._unsought}
        if new := {each: position for each, position in positions.items() if self._unsought[each] != position}:
            self._transport.begin(new)
            self._passed("begun")
        self._transport.seek({partition: positions[partition] for partition in self._unsought})
        self._unsought.clear()
        self._recovering, self._health.recovered = False, True
        self._transport.resume([partition for partition in self._held if partition not in self._refusals.aside])

    def _poll(self) -> list[Batch]:
        try:
            at_once = self._busy or self._behind
            return self._transport.poll(0 if at_once else self._limits.max_wait_seconds, self._most)
        except InDoubt:  # of an earlier commit, at least once
            self._note_doubt({})
            raise

    def _answer(self, batches: Sequence[Batch]) -> None:
        self._passed("polled")
        for together in self._refusals.pieces(batches):
            try:
                self._commit(together)
            except RecordRefused as refused:
                self._note_refusal(together, refused)
                return  # the other pieces are read again

    def _commit(self, batches: Sequence[Batch]) -> None:
        positions = {batch.partition: batch.next_offset for batch in batches}
        self._health.in_hand = batches
        try:
            outgoing = self._handler.on_batch(batches)
            self._passed("stepped")
            self._health.beat()
            started = self._clock()
            self._transport.commit(outgoing, positions)
        except (RecordRefused, Fenced):
            raise
        except (InDoubt, BrokerUnavailable):  # the records of this poll must be read again
            self._note_doubt(positions)
            raise
        except Exception as error:
            log.error("The service failed on %s: %r; a restart reads these records again", named(batches), error)
            raise
        finally:
            self._health.in_hand = ()
        self._failed -= positions.keys()
        self._refusals.committed(positions)
        self._most = min(self._most + max(self._most // GROWS, 1), self._limits.max_records)
        self._handler.on_committed()
        self._observer.on_commit(self._clock() - started, sum(map(len, batches)))

    def _note_refusal(self, batches: Sequence[Batch], refused: RecordRefused) -> None:
        """The next iteration settles it; a refusal takes no patience, since a new process would meet it, too."""
        self._doubt = {batch.partition: batch.next_offset for batch in batches}
        self._failed -= self._doubt.keys()
        self._refusals.refused(batches, refused)
        self._observer.on_abort()

    def _note_doubt(self, positions: Positions) -> None:
        self._doubt = positions
        self._failed |= positions.keys()
        self._most = max(self._most // SHRINKS, 1)
        self._observer.on_abort()

    def _settle(self, doubt: Positions) -> None:
        """Ask which positions are committed, and let the handler promote or discard its stage by them."""
        stable = self._transport.settle()
        self._failed -= {each for each, position in doubt.items() if stable.get(each, position) >= position}
        self._handler.on_in_doubt(stable)
        self._doubt = None
        self._unsought |= {partition: stable[partition] for partition in self._held if partition in stable}
        self._begin_recovery()


def run(
    transport: Transport,
    handler: Handler,
    *,
    topics: Sequence[str],
    stop: Stop,
    limits: BatchLimits | None = None,
    deadlines: Deadlines | None = None,
    health: LoopHealth | None = None,
    observer: Observer | None = None,
    passed: Callable[[str], None] = lambda _point: None,
    on_stall: Callable[[str], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Run until ``stop`` is set; then finish the current batch, give the partitions back and return.

    ``passed`` is called at the points "assigned" and "begun" of a take-over, and "polled" and "stepped" of an iteration
    (a transport calls its own at the rest).  The watchdog
    calls ``on_stall`` from another thread when the loop has been silent for ``deadlines.stall_seconds``: it should end
    the process.
    Raises Fenced when another process took over, a TransportError that lasted longer than ``deadlines`` allow, and
    any error of the handler.
    """
    deadlines = deadlines or Deadlines()
    health = health or LoopHealth(deadlines.iteration_seconds, clock)
    ended = threading.Event()
    health.beat()  # the start before this was no silence of the loop
    if on_stall is not None:
        watched = (health, deadlines, stop, on_stall, ended)
        threading.Thread(target=watch, args=watched, daemon=True, name="loop-watchdog").start()
    join = partial(
        Loop, transport, handler, topics, limits=limits or BatchLimits(), health=health,
        observer=observer or Unobserved(), passed=passed, clock=clock,
    )  # fmt: skip
    patience = _Patience(stop, health, deadlines.patience_seconds, clock)
    try:
        if (loop := _join_until(stop, join, patience)) is None:
            return
        try:
            _iterate_until(stop, loop, patience)
        except BaseException:
            loop.abandon()
            raise
        finally:
            loop.close(deadlines.shutdown_seconds / 2)
    finally:
        ended.set()


class _Patience:
    """Consecutive failures of the broker: tries again with growing pauses, until they have lasted too long."""

    def __init__(self, stop: Stop, health: LoopHealth, seconds: float, clock: Callable[[], float]) -> None:
        self._stop, self._health, self._seconds, self._clock = stop, health, seconds, clock
        self._since, self._failures = clock(), 0

    def failed(self, error: TransportError) -> None:
        """Pause before the next try; raises ``error`` when failures have lasted longer than ``seconds``."""
        self._failures += 1
        if self._clock() - self._since > self._seconds:
            raise error
        if self._health.trouble is None:
            log.warning("%s; trying again for up to %.0f s", error, self._seconds)
        self._health.trouble = str(error)
        self._health.beat()
        self._stop.wait(min(LONGEST_BACKOFF_SECONDS, 0.05 * 2**self._failures))

    def succeeded(self) -> None:
        """Count the next failure as the first."""
        if self._health.trouble is not None:
            log.warning("going on after %.1f s of trouble", self._clock() - self._since)
        self._since, self._failures, self._health.trouble = self._clock(), 0, None


def _join_until(stop: Stop, join: Callable[[], Loop], patience: _Patience) -> Loop | None:
    """Join the group; None when the process is to stop before that succeeds."""
    while not stop.is_set():
        try:
            return join()
        except BrokerUnavailable as error:
            patience.failed(error)
    return None


def _iterate_until(stop: Stop, loop: Loop, patience: _Patience) -> None:
    """Iterate; the broker may be away, and a commit may fail, for a while."""
    while not stop.is_set():
        try:
            loop.iterate()
        except (BrokerUnavailable, InDoubt) as error:
            patience.failed(error)
        else:
            if not loop.failing:
                patience.succeeded()
