"""Calls without a deadline: their results, and the thread that makes them."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from streamcast.consumers.background import Background, started


def test_calls_are_made_one_after_another_in_one_thread() -> None:
    background = Background()
    made: list[int] = []

    def note(number: int) -> int:
        made.append(number)
        return threading.get_ident()

    threads = [background.started(partial(note, number)) for number in range(50)]
    assert len({thread.result(10) for thread in threads}) == 1
    assert made == list(range(50))
    background.end()


def test_the_error_of_a_call_is_raised_to_its_caller_and_the_next_call_is_made() -> None:
    background = Background()
    failed, made = background.started(lambda: 1 // 0), background.started(lambda: 7)
    with pytest.raises(ZeroDivisionError):
        failed.result(10)
    assert made.result(10) == 7
    background.end()


def test_a_caller_can_stop_waiting_for_a_call_that_never_ends() -> None:
    background, released = Background(), threading.Event()
    inside: list[threading.Thread] = []

    def stuck() -> bool:
        inside.append(threading.current_thread())
        return released.wait(60)

    waited_for = background.started(stuck)
    with pytest.raises(TimeoutError):
        waited_for.result(0.05)
    background.end()
    assert started(lambda: 7).result(10) == 7  # others go on
    assert inside[0].is_alive()
    assert inside[0].daemon  # a process that ends does not wait for it
    released.set()
    assert waited_for.result(10)
    inside[0].join(10)
    assert not inside[0].is_alive()


def test_a_call_that_is_cancelled_while_it_waits_is_not_made() -> None:
    background, released, made = Background(), threading.Event(), list[int]()
    first = background.started(lambda: released.wait(60))
    second, third = (background.started(partial(made.append, number)) for number in (2, 3))
    assert second.cancel()
    released.set()
    third.result(10)
    assert (first.result(), made) == (True, [3])
    background.end()


def test_without_a_call_there_is_no_thread() -> None:
    before = set(threading.enumerate())
    Background().end()
    assert not [thread for thread in threading.enumerate() if thread.name == "kafka-calls" and thread not in before]
