"""Seeds by the hundred, each a run of crashes, lost requests and rebalances; and a broken protocol is found."""

from __future__ import annotations

import logging
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from harness.simulation.mutations import MUTATIONS
from harness.simulation.plan import Event
from harness.simulation.simulation import EVENTS, drawn, faults_of, shortest, silence, simulate
from harness.simulation.world import World

SEEDS, CHUNK = 250, 50
ENOUGH = 1000
"""Seeds within which a broken protocol must be found."""
TRIED_FIRST = {
    "a_commit_though_a_send_failed": 26,
    "a_refused_answer_is_left_out": 5,
    "a_refused_record_is_passed_over": 122,
    "promote_before_the_commit": 5,
    "snapshot_ahead_of_the_commit": 5,
    "snapshot_of_a_recovery_that_is_not_at_its_end": 431,
    "snapshot_of_a_lane_that_is_behind": 38,
    "a_lane_joins_before_it_has_caught_up": 38,
    "a_new_model_begins_later_and_nobody_knows": 8,
    "load_a_snapshot_above_the_committed_offset": 38,
    "discard_forgets_the_rings": 5,
    "discard_forgets_when_a_series_was_seen": 289,
    "a_commit_in_doubt_counts_as_failed": 57,
    "the_replay_ignores_resets": 8,
    "replay_ends_when_the_broker_is_away": 68,
    "positions_go_ahead_of_their_answers": 19,
    "positions_do_not_wait_for_their_answers": 219,
    "zombies_are_not_fenced": 176,
    "the_online_layer_learns_before_the_commit": 145,
}
"""The seed that found it; all seeds are tried where that one finds nothing."""

OFTEN = [name for name, weight in EVENTS.items() for _ in range(min(weight, 5))]


def seeds_of(mutation: str) -> Iterator[int]:
    """The seeds that look for a broken protocol."""
    yield TRIED_FIRST.get(mutation, 0)
    yield from range(ENOUGH)


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_whatever_happens_every_record_has_one_outcome_and_all_agree(first: int) -> None:
    for seed in range(first, first + CHUNK):
        violations = simulate(seed).violations
        again = f"python -m benchmarks.simulate --seeds 1 --from {seed}"
        assert not violations, f"seed {seed}: {violations}; the shortest history: {again}"


def test_a_seed_is_a_run() -> None:
    for seed in range(5):
        first, second = simulate(seed), simulate(seed)
        assert first == second
        assert first.counts["records"] > 0


def test_the_worlds_that_are_drawn_hold_every_fault() -> None:
    wanted = {f"crashes: {point}" for point in ("idle", "polled", "stepped", "sent", "offsets", "committed", "renamed")}
    wanted |= {f"faults: {request}" for request in ("init", "produce", "offsets", "end", "committed")}
    wanted |= {"fenced", "damaged snapshots", "deletions", "stops", "refused answers"}
    for seed in range(150):
        wanted -= {what for what, times in simulate(seed).counts.items() if times}
        if not wanted:
            return
    assert wanted == set()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_commit_protocol_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTATIONS[name](monkeypatch)
    assert any(simulate(seed).violations for seed in seeds_of(name))


def test_a_violation_comes_with_a_shorter_history_that_still_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    MUTATIONS["promote_before_the_commit"](monkeypatch)
    found = next(run for run in map(simulate, seeds_of("promote_before_the_commit")) if run.violations)
    plan, events = drawn(found.seed)
    short = shortest(found, plan, most=60)
    assert short.violations
    assert len(short.events) < len(events)


def test_a_simulation_leaves_the_logs_as_they_were(caplog: pytest.LogCaptureFixture) -> None:
    simulate(0)
    logging.getLogger("streamcast").warning("still heard")
    assert caplog.messages == ["still heard"]


class AnythingMayHappen(RuleBasedStateMachine):
    """The same world with Hypothesis drawing what happens."""

    def __init__(self) -> None:
        super().__init__()
        self._silence = ExitStack()
        self._silence.enter_context(silence())
        self._folder = Path(tempfile.mkdtemp(prefix="streamcast-world-"))
        self._world: World | None = None

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self._world = World(drawn(seed)[0], self._folder)
        self._world.happen([Event("start", seed), Event("produce", seed)])

    @rule(what=st.sampled_from(OFTEN), salt=st.integers(0, 2**32))
    def happen(self, what: str, salt: int) -> None:
        assert self._world is not None
        within = tuple(Event("iterate", salt + place) for place in range(5)) if what == "freeze_at" else ()
        self._world.happen([Event(what, salt, within)])

    def teardown(self) -> None:
        try:
            if self._world is not None:
                self._world.heal(random.Random(0))
                violations = self._world.violations or list(faults_of(self._world))
                assert not violations, violations
        finally:
            self._silence.close()
            shutil.rmtree(self._folder, ignore_errors=True)


AnythingMayHappen.TestCase.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
TestAnythingMayHappen = AnythingMayHappen.TestCase
