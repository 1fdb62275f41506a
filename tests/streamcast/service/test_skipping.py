"""Passing over a record that the engine cannot process: the entry, the dead letter, recovery and the verifier."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.simulation.stand import GROUP, TOPICS, Stand
from streamcast.consumers.memory.transport import MemoryTransport
from streamcast.consumers.transport import Connection, Partition
from streamcast.engine.engine import Engine
from streamcast.errors import ServiceError
from streamcast.service.beginnings import Start
from streamcast.service.skipping import skip
from streamcast.topics.observations import Observations

TEN = tuple(float(value) for value in (5, 7, 6, 8, 9, 7, 6, 5, 8, 9))
DEADLY = 666.0


class EngineCrashError(Exception):
    """The engine met the record that it cannot process."""


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    """A stand whose engine crashes at the value DEADLY."""
    stage = Engine.stage

    def fragile(self: Engine, observations: Observations, *others: Any) -> Any:
        if (observations.values == DEADLY).any():
            raise EngineCrashError
        return stage(self, observations, *others)

    monkeypatch.setattr(Engine, "stage", fragile)
    return Stand(tmp_path)


def pass_over(
    stand: Stand, offset: int, *, instance: str = "0", guarantee: Any = "exactly_once", patience_seconds: float = 60.0
) -> bool:
    """Run the command's work, with the service's own name."""
    transport = MemoryTransport(stand.broker, Connection("memory", GROUP, instance, guarantee))
    try:
        return skip(transport, TOPICS, stand.partitions[0], offset, patience_seconds=patience_seconds, clock=stand._now)
    finally:
        transport.close(1.0)


def answered(stand: Stand) -> int:
    return len(stand.values(TOPICS.forecasts))


def reasons(stand: Stand) -> Sequence[tuple[bytes, bytes]]:
    found = [dict(headers) for batch in stand.batches(TOPICS.dead_letters) for headers in batch.headers or ()]
    return [(headers["reason"], headers["source_offset"]) for headers in found]


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
def test_a_record_that_crashes_the_engine_is_passed_over_with_an_entry_and_a_dead_letter(
    stand: Stand, guarantee: Any
) -> None:
    stand.observe("a", *TEN)
    stand.serve(guarantee=guarantee)
    stand.stop()
    stand.observe("a", 1.0, DEADLY, 2.0)
    with pytest.raises(EngineCrashError):
        stand.serve(guarantee=guarantee)
    assert pass_over(stand, 11, guarantee=guarantee)
    stand.serve(guarantee=guarantee)
    assert (stand.committed(), answered(stand), reasons(stand)) == (13, 12, [(b"skipped", b"11")])
    assert stand.values(TOPICS.dead_letters) == stand.values(TOPICS.observations)[11:12]
    assert [(entry.kind, entry.offset) for entry in stand.journal().entries] == [("start", 0), ("skip", 11)]
    assert stand.verify(exactly_once=guarantee == "exactly_once").proven


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
def test_a_record_whose_answer_its_topic_refuses_is_passed_over(stand: Stand, guarantee: Any) -> None:
    stand.observe("a", *TEN)
    stand.serve(guarantee=guarantee)
    longest = max(len(value or b"") for value in stand.values(TOPICS.forecasts))
    stand.broker.alter(TOPICS.forecasts, {"max.message.bytes": str(longest + 100)})
    stand.observe("long" * 100, 1.0)
    stand.observe("a", 2.0, 3.0)
    stand.work()
    assert (answered(stand), stand.committed()) == (10, 10)
    assert "observations[0] is not answered from offset 10 on" in str(stand.loop._health.problems())
    stand.stop()
    assert pass_over(stand, 10, guarantee=guarantee)
    stand.serve(guarantee=guarantee)
    assert (answered(stand), reasons(stand)) == (12, [(b"skipped", b"10")])
    assert stand.loop._health.ready()
    assert not stand.verify(exactly_once=guarantee == "exactly_once").violations


def test_a_record_that_cannot_be_skipped_leaves_a_running_worker_its_place(stand: Stand) -> None:
    stand.observe("a", *TEN)
    stand.serve()
    for offset, why in ((3, "has its outcome"), (99, "has no record at offset 99")):
        with pytest.raises(ServiceError, match=why):
            pass_over(stand, offset)
    stand.observe("a", 2.0)
    stand.work()
    assert answered(stand) == 11


def test_a_record_of_the_warm_up_can_be_passed_over_before_the_first_commit(stand: Stand) -> None:
    stand.observe("a", *TEN)
    start = Start("latest", warm_from=10)
    stand.serve(start=start)
    assert (stand.committed(), stand.journal().start) == (10, None)
    stand.stop()
    assert pass_over(stand, 6)
    stand.serve(start=start)
    stand.observe("a", 1.0, 2.0)
    stand.work()
    assert answered(stand) == 2
    assert stand.verify().proven


def test_a_replay_passes_over_it_too(stand: Stand) -> None:
    stand.observe("a", *TEN)
    stand.serve()
    stand.observe("a", DEADLY, 2.0)
    pass_over(stand, 10)
    stand.serve()
    for path in stand.folder.rglob("*.snapshot"):
        path.unlink()
    stand.observe("a", *TEN)
    stand.serve()
    assert answered(stand) == 21
    assert stand.verify().proven


def test_it_can_be_passed_over_before_the_very_first_start(stand: Stand) -> None:
    stand.observe("a", DEADLY, *TEN)
    with pytest.raises(EngineCrashError):
        stand.serve()
    assert pass_over(stand, 0)
    stand.serve()
    assert (answered(stand), reasons(stand)) == (10, [(b"skipped", b"0")])
    assert stand.verify().proven


def test_a_skip_in_the_warm_up_has_no_outcome(stand: Stand) -> None:
    stand.observe("a", DEADLY, *TEN)
    pass_over(stand, 0)
    stand.serve(start=Start("latest", warm_from=11))
    stand.observe("a", 1.0)
    stand.work()
    assert (answered(stand), reasons(stand)) == (1, [])
    assert stand.verify().proven


def test_skipping_twice_says_that_it_is_done(stand: Stand) -> None:
    stand.observe("a", *TEN)
    assert pass_over(stand, 3)
    assert not pass_over(stand, 3)
    assert len(stand.journal().entries) == 1


def test_a_record_that_has_its_outcome_cannot_be_skipped(stand: Stand) -> None:
    stand.observe("a", *TEN)
    stand.serve()
    stand.stop()
    with pytest.raises(ServiceError, match="committed up to 10"):
        pass_over(stand, 9)
    with pytest.raises(ServiceError, match="no record at offset 10"):
        pass_over(stand, 10)


def test_while_another_process_holds_the_partition_nothing_is_written(stand: Stand) -> None:
    stand.observe("a", *TEN)
    stand.serve()
    stand.observe("a", *TEN)
    with pytest.raises(ServiceError, match="stop every process"):
        pass_over(stand, 15, instance="another", patience_seconds=1.0)
    assert stand.journal().skips() == frozenset()


def test_a_process_that_lost_the_partition_to_the_command_cannot_answer_the_record(stand: Stand) -> None:
    stand.observe("a", *TEN)
    stand.serve()
    stand.observe("a", *TEN)
    assert pass_over(stand, 15, instance="another")
    stand.seconds += 100.0  # the group forgets the command's member
    stand.work()
    assert (answered(stand), reasons(stand)) == (19, [(b"skipped", b"15")])
    assert stand.verify().proven


def test_the_verifier_finds_an_answer_to_a_skipped_record(stand: Stand) -> None:
    stand.observe("a", *TEN)
    pass_over(stand, 4)
    stand.serve()
    log = stand.broker.log(Partition(TOPICS.dead_letters, 0))
    log.forget(log.offsets[0], log.offsets[0] + 1)
    (violation,) = stand.verify().violations
    assert "offset 4 was to be rejected (skipped) and has no dead letter" in violation
