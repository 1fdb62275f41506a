"""The commit protocol, broken on purpose: each of these must be found, or the simulation proves nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from streamcast.consumers.loop import Loop
from streamcast.consumers.memory.broker import MemoryBroker, Producer, RequestTimedOut, TooLarge
from streamcast.consumers.memory.transport import MemoryTransport
from streamcast.consumers.positions import PendingPositions
from streamcast.consumers.transport import Batch, Outgoing, Partition, Positions
from streamcast.engine.online import Layer
from streamcast.engine.slab import Slab
from streamcast.service.assignment import Assignment
from streamcast.service.catching_up import CatchingUp
from streamcast.service.recovery import Recovery
from streamcast.service.replays import Replays
from streamcast.service.service import Service
from streamcast.service.snapshots import Header, Store
from streamcast.topics.journal import Entry

Patch = pytest.MonkeyPatch


def a_commit_though_a_send_failed(patch: Patch) -> None:
    """A failed produce request is ignored, and the transaction is committed."""
    produce = MemoryTransport._produce

    def unchecked(self: MemoryTransport, producer: Producer, epoch: int, outgoing: Outgoing) -> None:
        with suppress(RequestTimedOut):
            produce(self, producer, epoch, outgoing)

    patch.setattr(MemoryTransport, "_produce", unchecked)


def a_refused_answer_is_left_out(patch: Patch) -> None:
    """An answer that its topic refuses is left out of its commit."""
    produce = MemoryBroker.produce

    def written(self: MemoryBroker, *request: Any) -> None:
        with suppress(TooLarge):
            produce(self, *request)

    patch.setattr(MemoryBroker, "produce", written)


def a_refused_record_is_passed_over(patch: Patch) -> None:
    """Reading goes on behind records whose answers a topic refuses."""

    def passed_over(self: Loop, *_refusal: object) -> None:
        self._handler.on_in_doubt({})

    patch.setattr(Loop, "_note_refusal", passed_over)


def promote_before_the_commit(patch: Patch) -> None:
    """State is promoted before the commit."""
    answer = Service.on_batch

    def promoted(self: Service, batches: Sequence[Batch]) -> Iterable[Outgoing]:
        answers = answer(self, batches)
        for lane in self._lanes:
            lane.engine.promote()
        return answers

    patch.setattr(Service, "on_batch", promoted)


def snapshot_ahead_of_the_commit(patch: Patch) -> None:
    """A snapshot is taken of staged state."""
    answer = Service.on_batch

    def saved(self: Service, batches: Sequence[Batch]) -> Iterable[Outgoing]:
        answers = answer(self, batches)
        if self._saver is not None and self._poll is not None:
            for partition, position in self._poll.after.items():
                self._save(partition, dict.fromkeys(self._assignment.spans[partition].headers, position))
                self._saver.finish(1.0)
        return answers

    patch.setattr(Service, "on_batch", saved)


def snapshot_of_a_recovery_that_is_not_at_its_end(patch: Patch) -> None:
    """A snapshot is taken of state that is still rebuilt, as if it were at the committed offset."""
    patch.setattr(Recovery, "reached", dict[Partition, Mapping[str, int]]())


def snapshot_of_a_lane_that_is_behind(patch: Patch) -> None:
    """A snapshot is taken of a lane that catches up, as if it were at the committed offset."""
    patch.setattr(CatchingUp, "reached", dict[Partition, Mapping[str, int]]())


def a_lane_joins_before_it_has_caught_up(patch: Patch) -> None:
    """A lane is brought to where the others were when it began, and joins them where they are now."""
    patch.setattr(Replays, "extend", lambda *_ends: None)


def a_new_model_begins_later_and_nobody_knows(patch: Patch) -> None:
    """The state of a new model begins with some of the records, and the journal does not say so."""
    entry = Assignment.entry

    def silent(self: Assignment, *given: Any, **named: Any) -> Entry:
        return msgspec.structs.replace(entry(self, *given, **named), since={})

    patch.setattr(Assignment, "entry", silent)


def load_a_snapshot_above_the_committed_offset(patch: Patch) -> None:
    """Recovery loads the newest snapshot, whatever its offset."""
    newest = Store.newest

    def any_offset(self: Store, wanted: Header, at_most: int) -> Iterator[tuple[str, int]]:
        return newest(self, wanted, at_most + 1_000_000)

    patch.setattr(Store, "newest", any_offset)


def discard_forgets_the_rings(patch: Patch) -> None:
    """The windows keep the values of a failed batch."""

    def forgotten(self: Slab, *_cells: object) -> None:
        """Keep nothing."""

    patch.setattr(Slab, "overwrote", forgotten)


def discard_forgets_when_a_series_was_seen(patch: Patch) -> None:
    """The order of eviction keeps the effect of a failed batch."""
    discard = Slab.discard

    def incomplete(self: Slab, partitions: Any = None) -> None:
        if self._undo is not None:
            self._undo.overwritten = [each for each in self._undo.overwritten if each.name != "seen"]
        discard(self, partitions)

    patch.setattr(Slab, "discard", incomplete)


def a_commit_in_doubt_counts_as_failed(patch: Patch) -> None:
    """After an error, the commit counts as failed without asking the broker."""
    settle = Service.on_in_doubt

    def failed(self: Service, stable: Positions) -> None:
        settle(
            self, {partition: span.next for partition, span in self._assignment.spans.items() if partition in stable}
        )

    patch.setattr(Service, "on_in_doubt", failed)


def the_replay_ignores_resets(patch: Patch) -> None:
    """A key that was reset comes back with its old state."""
    plan = Replays.plan

    def without(self: Replays, partition: Partition, starts: Mapping[str, int], end: int, *decisions: Any) -> int:
        _resets, skips = decisions
        return plan(self, partition, starts, end, (), skips)

    patch.setattr(Replays, "plan", without)


def replay_ends_when_the_broker_is_away(patch: Patch) -> None:
    """A replay that was interrupted counts as done."""
    some = Replays.some

    def interrupted(self: Replays, budget_seconds: float) -> bool:
        try:
            return some(self, budget_seconds)
        except Exception:
            self._replays.popitem()
            raise

    patch.setattr(Replays, "some", interrupted)


def positions_go_ahead_of_their_answers(patch: Patch) -> None:
    """At least once, a position is committed before its answers are sent."""
    plainly = MemoryTransport._commit_plainly

    def ahead(
        self: MemoryTransport, producer: Producer, epoch: int, outgoing: Iterable[Outgoing], positions: Positions
    ) -> None:
        self._commit_positions(positions)
        plainly(self, producer, epoch, outgoing, positions)

    patch.setattr(MemoryTransport, "_commit_plainly", ahead)


def positions_do_not_wait_for_their_answers(patch: Patch) -> None:
    """At least once, a position is committed as soon as its answers are sent, acknowledged or not."""
    patch.setattr(PendingPositions, "hold", PendingPositions.add)


def answers_before_the_first_position_is_committed(patch: Patch) -> None:
    """A partition is answered from its first position, though the group has not accepted it."""
    patch.setattr(MemoryTransport, "begin", lambda *_positions: None)


def zombies_are_not_fenced(patch: Patch) -> None:
    """The broker accepts positions from members of an older generation."""
    patch.setattr(MemoryBroker, "check_member", lambda *_stale: None)


def the_online_layer_learns_before_the_commit(patch: Patch) -> None:
    """What the online layer learned from a failed batch is kept."""
    discard = Slab.discard

    def kept(self: Slab, partitions: Any = None) -> None:
        if self._undo is not None:
            undo = self._undo
            undo.overwritten = [each for each in undo.overwritten if not each.name.startswith("online.")]
        discard(self, partitions)

    patch.setattr(Slab, "discard", kept)


def the_online_layer_peeks_at_the_next_outcome(patch: Patch) -> None:
    """The online layer takes the next outcome of the series for the one of this bar, where the batch has it."""
    apply = Layer.apply

    def peeking(
        self: Layer, slots: npt.NDArray[np.int64], orders: npt.NDArray[np.int64], observed: npt.NDArray[np.float64],
        answer: npt.NDArray[np.int64], forecast: npt.NDArray[np.float64], *rest: Any,
    ) -> npt.NDArray[np.bool_]:  # fmt: skip
        later, newest = observed.copy(), dict[int, int]()
        for k, slot in enumerate(slots.tolist()):
            if slot in newest:
                later[newest[slot]] = observed[k]
            newest[slot] = k
        return apply(self, slots, orders, later, answer, forecast, *rest)

    patch.setattr(Layer, "apply", peeking)


MUTATIONS: Mapping[str, Callable[[Patch], None]] = {
    mutation.__name__: mutation
    for mutation in (
        a_commit_though_a_send_failed,
        a_refused_answer_is_left_out,
        a_refused_record_is_passed_over,
        promote_before_the_commit,
        snapshot_ahead_of_the_commit,
        snapshot_of_a_recovery_that_is_not_at_its_end,
        snapshot_of_a_lane_that_is_behind,
        a_lane_joins_before_it_has_caught_up,
        a_new_model_begins_later_and_nobody_knows,
        load_a_snapshot_above_the_committed_offset,
        discard_forgets_the_rings,
        discard_forgets_when_a_series_was_seen,
        a_commit_in_doubt_counts_as_failed,
        the_replay_ignores_resets,
        replay_ends_when_the_broker_is_away,
        positions_go_ahead_of_their_answers,
        positions_do_not_wait_for_their_answers,
        answers_before_the_first_position_is_committed,
        zombies_are_not_fenced,
        the_online_layer_learns_before_the_commit,
        the_online_layer_peeks_at_the_next_outcome,
    )
}
