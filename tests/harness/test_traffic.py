"""How long nobody answered while records arrived."""

from __future__ import annotations

from harness.faults.traffic import longest_stall


def test_a_stall_begins_with_the_first_record_that_nobody_answers() -> None:
    assert longest_stall([1.0, 4.0, 5.0, 9.0], [1.5, 8.0, 9.5]) == 4.0


def test_silence_without_records_is_no_stall() -> None:
    assert longest_stall([1.0, 100.0], [1.2, 100.5]) == 0.5
    assert longest_stall([], [1.0, 50.0]) == 0.0
