"""Answers that their topic refuses, on every broker: their partition is set aside, and the others go on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import pytest

from harness.hand_clock import HandClock
from streamcast.consumers import refusals
from streamcast.consumers.health import LoopHealth
from streamcast.consumers.librdkafka.transport import LibrdTransport
from streamcast.consumers.loop import BatchLimits, Loop, Unobserved
from streamcast.consumers.transport import (
    Batch,
    BrokerUnavailable,
    InDoubt,
    Outgoing,
    Partition,
    Positions,
    RecordRefused,
)
from tests.consumers.world import World, join, numbered, positions, set_back, settled, take, values

RECORDS = 3_000
"""More than librdkafka leaves unacknowledged, at least once."""
BAD = 1_401
ITERATIONS = 400


class Echo:
    """A handler that answers each record with its own value."""

    def __init__(self, sink: str) -> None:
        self._sink = sink
        self._next: Positions = {}
        self._after: Positions = {}

    def on_assigned(
        self, committed: Mapping[Partition, int | None], bounds: Mapping[Partition, tuple[int, int]]
    ) -> Collection[Partition]:
        self._next |= {each: position or bounds[each][0] for each, position in committed.items()}
        return ()

    def recover_some(self, budget_seconds: float) -> Positions | None:
        return self._next

    def on_batch(self, batches: Sequence[Batch]) -> Sequence[Outgoing]:
        self._after = {batch.partition: batch.next_offset for batch in batches}
        return [
            Outgoing(self._sink, [batch.partition.index] * len(batch), batch.timestamps, batch.keys, batch.values)
            for batch in batches
        ]

    def on_committed(self) -> None:
        self._next |= self._after

    def on_idle(self) -> None: ...

    def catch_up_some(self, budget_seconds: float) -> bool:
        return False

    def on_in_doubt(self, stable: Positions) -> None:
        self._next |= stable

    def on_revoked(self, partitions: Sequence[Partition]) -> None:
        self.on_lost(partitions)

    def on_lost(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            del self._next[partition]


def written(world: World, topic: str, index: int) -> list[bytes | None]:
    """What a partition holds; a record that was written again counts once."""
    partition, reader = Partition(topic, index), world.reader()
    return list(dict.fromkeys(values(list(reader.read_range(partition, *reader.bounds([partition])[partition])))))


@pytest.mark.parametrize("guarantee", ["exactly-once", "at-least-once"])
def test_a_refused_answer_sets_its_partition_aside_until_the_topic_takes_it(
    world: World, guarantee: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(refusals, "RETRY_SECONDS", 0.5)
    rule = {"max.message.bytes": "3000"}
    source, sink = world.topic(3), world.topic(3, **rule)
    records = numbered(source, 0, RECORDS, 3)
    large = [*records.values]
    large[BAD] = b"b" * 5_000
    world.admin.commit([replace(records, values=large)], {})
    wanted = [large[index::3] for index in range(3)]
    transport, health = world.connect(at_least_once=guarantee == "at-least-once"), LoopHealth()
    loop = Loop(
        transport, Echo(sink), [source], limits=BatchLimits(max_wait_seconds=0.05), health=health, observer=Unobserved()
    )

    def iterated_until(reached: Callable[[], bool]) -> None:
        for _ in range(ITERATIONS):
            with suppress(InDoubt, BrokerUnavailable):
                loop.iterate()
                if reached():
                    return
        raise AssertionError(f"not reached: {health.problems()}, {[len(written(world, sink, i)) for i in range(3)]}")

    def others() -> bool:
        return bool(health.refused()) and [written(world, sink, i) for i in (1, 2)] == wanted[1:]

    with caplog.at_level(logging.WARNING, refusals.log.name):
        iterated_until(others)
        assert written(world, sink, 0) == wanted[0][: BAD // 3]
        (problem,) = health.problems()
        assert problem.startswith(f"{source}[0] is not answered from offset {BAD // 3} on, for ")
        assert f" now: Topic {sink} cannot hold" in problem
        for _ in range(30):  # it is tried again, and refused
            with suppress(InDoubt, BrokerUnavailable):
                loop.iterate()
        assert written(world, sink, 0) == wanted[0][: BAD // 3]
        set_back(world, sink, rule)
        iterated_until(lambda: written(world, sink, 0) == wanted[0])
        iterated_until(health.ready)
    first, last = [record.getMessage() for record in caplog.records if record.name == refusals.log.name]
    assert f"{source}[0] is not answered" in first
    assert f"{source}[0] is answered again" in last
    if isinstance(transport, LibrdTransport):
        assert transport._batch_bytes == 3_000, "the answers of the others travel in batches as large as may be"
    loop.close(10)


@pytest.mark.parametrize("guarantee", ["exactly-once", "at-least-once"])
def test_a_refusal_is_known_when_the_broker_says_it_before_all_answers_are_sent(world: World, guarantee: str) -> None:
    rule = {"max.message.bytes": "3000"}
    source, sink = world.topic(), world.topic(1, **rule)
    world.admin.commit([numbered(source, 0, 10)], {})
    transport = world.connect(at_least_once=guarantee == "at-least-once")
    join(transport, source)
    after = positions(take(transport, 10))

    def answers() -> Iterator[Outgoing]:
        yield replace(numbered(sink, 0, 1), values=[b"b" * 5_000])
        time.sleep(1.0)  # meanwhile it is refused
        yield from (numbered(sink, first, 10) for first in range(1, 100, 10))

    with pytest.raises(RecordRefused, match=f"Topic {sink} cannot hold a record") as refused:
        transport.commit(answers(), after)
    assert "None" not in str(refused.value), "a client has words where the broker has none"
    assert settled(transport) == {Partition(source, 0): 0}


def test_a_refusal_is_logged_again_only_when_it_is_another_one(caplog: pytest.LogCaptureFixture) -> None:
    class TooOldError(Exception):
        """A broker says what is too old at the time of the try."""

    batch = Batch(Partition("observations", 3), [17], [1], [b"k"], [b"v"], 18)
    known = refusals.Refusals(time.monotonic)
    for now in range(3):
        known.refused([batch], RecordRefused("forecasts", TooOldError(f"the timestamp should be above {now}")))
    known.refused([batch], RecordRefused("forecasts", ValueError("too large")))
    assert [("should be above 0" in line, "too large" in line) for line in caplog.messages] == [(1, 0), (0, 1)]
    assert "too large" in known.problems()[0]


def test_a_refusal_says_for_how_long_its_partition_has_waited(caplog: pytest.LogCaptureFixture) -> None:
    batch, clock = Batch(Partition("observations", 3), [17], [1], [b"k"], [b"v"], 18), HandClock()
    known = refusals.Refusals(clock)
    for _ in range(4):
        known.refused([batch], RecordRefused("forecasts", ValueError("too large")))
        clock.now += 300
    assert known.seconds() == {batch.partition: 1200}
    (problem,) = known.problems()
    assert problem.startswith("observations[3] is not answered from offset 17 on, for 20 min now: Topic forecasts")
    known.committed({batch.partition: 18})
    assert (known.seconds(), known.problems()) == ({}, [])
    assert "is answered again after 20 min" in caplog.text
