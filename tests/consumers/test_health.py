"""The loop's health, and the reasons the watchdog gives (test_loop.py lets it end a real loop)."""

from __future__ import annotations

import threading

from streamcast.consumers.health import Deadlines, LoopHealth, named, watch
from streamcast.consumers.transport import Batch, Partition


def batch(index: int, *offsets: int) -> Batch:
    nothing = [None] * len(offsets)
    return Batch(Partition("observations", index), offsets, [0] * len(offsets), nothing, nothing, offsets[-1] + 1)


def test_health_tells_why_it_is_not_ready() -> None:
    now = [0.0]
    health = LoopHealth(iteration_seconds=10, clock=lambda: now[0])
    assert health.problems() == ["no partitions are assigned"]
    health.assigned = True
    assert health.problems() == ["state is being recovered"]
    health.recovered = True
    assert health.ready()
    health.trouble = "the commit is in doubt"
    assert health.problems() == ["the commit is in doubt"]
    health.trouble = None
    now[0] = 10.0
    assert not health.alive()
    assert not health.ready()
    health.beat()
    assert health.alive()
    assert health.ready()


def test_batches_are_named_by_topic_partition_and_offsets() -> None:
    assert named([batch(3, *range(918, 1018))]) == "observations[3] offsets 918-1017"
    assert named([batch(0, 7), batch(1, 2, 5)]) == "observations[0] offsets 7-7, observations[1] offsets 2-5"


def test_the_watchdog_names_the_records_that_the_loop_was_answering() -> None:
    health, reasons = LoopHealth(clock=iter([0.0, *[100.0] * 9]).__next__), list[str]()
    health.in_hand = [batch(3, *range(918, 1018))]
    watch(health, Deadlines(shutdown_seconds=0.1), threading.Event(), reasons.append, threading.Event())
    assert reasons == ["the loop has been silent for 100 s while it answered observations[3] offsets 918-1017"]


def test_the_watchdog_names_no_records_when_there_are_none() -> None:
    stop, reasons = threading.Event(), list[str]()
    stop.set()
    watch(LoopHealth(), Deadlines(shutdown_seconds=0.1), stop, reasons.append, threading.Event())
    assert reasons == ["the loop did not end within 0 s"]


def test_a_process_that_prepares_its_loop_is_alive_and_not_ready_however_long_that_takes() -> None:
    now = [0.0]
    health = LoopHealth(iteration_seconds=10, clock=lambda: now[0])
    health.preparing = "the service is starting"
    now[0] = 100.0
    assert health.alive()
    assert health.problems() == ["the service is starting"]
    health.preparing = ""
    assert not health.alive()
