"""A group member's partitions: which wait, are paused or were sought; and the positions still to be committed."""

from __future__ import annotations

import logging

import pytest

from streamcast.consumers.membership import Membership
from streamcast.consumers.positions import PendingPositions
from streamcast.consumers.transport import Partition, Positions

A, B = Partition("in", 0), Partition("in", 1)


class Requests(list[Positions]):
    """Remembers the commits that were asked for, and refuses to start one while ``broken``."""

    broken = False

    def __call__(self, positions: Positions) -> None:
        if self.broken:
            raise ConnectionError("no connection")
        self.append(dict(positions))


@pytest.fixture
def requests() -> Requests:
    return Requests()


@pytest.fixture
def member(requests: Requests) -> Membership:
    return Membership(requests)


def test_a_new_partition_waits_until_it_is_sought(member: Membership) -> None:
    member.assign([A, B])
    assert member.waiting == {A, B}
    assert not member.holds([A])
    assert member.seek({A: 7}) == [A]
    assert (member.waiting, member.sought, member.next) == ({B}, {A: 7}, {A: 7})
    assert member.holds([A])
    assert not member.holds([A, B])


def test_seeking_again_resumes_nothing_at_the_client(member: Membership) -> None:
    member.assign([A])
    member.seek({A: 7})
    assert member.seek({A: 3}) == []
    assert member.sought == {A: 3}


def test_a_waiting_partition_is_neither_paused_nor_resumed_at_the_client(member: Membership) -> None:
    member.assign([A, B])
    member.seek({B: 0})
    assert member.pause([A, B]) == [B]
    assert member.resume([A, B]) == [B]
    assert member.paused == set()


def test_a_partition_that_is_paused_while_it_waits_stays_paused_when_it_is_sought(member: Membership) -> None:
    member.assign([A, B])
    member.pause([A])
    assert member.seek({A: 0, B: 0}) == [B]
    assert member.resume([A]) == [A]


def test_reading_moves_the_next_offset_and_not_where_a_doubt_falls_back_to(member: Membership) -> None:
    member.assign([A, B])
    member.seek({A: 2, B: 5})
    member.advance({A: 9, B: 9})
    assert member.next == {A: 9, B: 9}
    assert member.settled({B: 7}) == {A: 2, B: 7}


def test_what_was_read_of_a_partition_that_has_gone_or_waits_again_is_not_noted(member: Membership) -> None:
    member.assign([A, B])
    member.seek({A: 2, B: 5})
    member.give_up([A, B])
    member.assign([B])
    member.advance({A: 9, B: 9})
    assert member.next == {}


def test_giving_up_forgets_a_partition_and_returns_its_pending_position(member: Membership, requests: Requests) -> None:
    member.assign([A, B])
    member.seek({A: 0, B: 0})
    member.pause([A])
    member.pending.add({A: 4})
    member.pending.add({A: 6, B: 6})
    assert member.give_up([A]) == {A: 6}
    assert (member.waiting, member.paused, member.sought, member.next) == (set(), set(), {B: 0}, {B: 0})
    member.pending.answered(None)
    member.pending.ask()
    assert requests == [{A: 4}, {B: 6}]


def test_a_partition_that_comes_back_waits_again(member: Membership) -> None:
    member.assign([A])
    member.seek({A: 4})
    member.assign([A])
    assert member.waiting == {A}
    assert not member.holds([A])


def test_clearing_forgets_everything(member: Membership) -> None:
    member.assign([A, B])
    member.seek({A: 0})
    member.pause([A])
    member.pending.add({A: 4})
    member.clear()
    assert (member.waiting, member.paused, member.sought, member.next) == (set(), set(), {}, {})
    assert member.give_up([A]) == {}


def test_one_commit_is_in_flight_and_later_positions_wait_for_the_next(requests: Requests) -> None:
    pending = PendingPositions(requests)
    pending.add({A: 1})
    pending.add({A: 2})
    pending.add({B: 3})
    assert requests == [{A: 1}]
    pending.answered(None)
    pending.ask()
    assert requests == [{A: 1}, {A: 2, B: 3}]
    assert pending.in_flight == {A: 2, B: 3}


def test_held_positions_are_committed_when_they_are_released(requests: Requests) -> None:
    pending = PendingPositions(requests)
    pending.hold({A: 1})
    pending.ask()
    assert requests == []
    pending.release()
    assert requests == [{A: 1}]
    assert pending.held == {}


def test_refused_positions_are_sent_again_unless_newer_ones_replace_them(
    requests: Requests, caplog: pytest.LogCaptureFixture
) -> None:
    pending = PendingPositions(requests)
    pending.add({A: 1, B: 1})
    pending.add({A: 2})
    with caplog.at_level(logging.WARNING):
        pending.answered(ConnectionError("refused"))
    pending.ask()
    assert requests == [{A: 1, B: 1}, {A: 2, B: 1}]
    assert "sent again" in caplog.text
    pending.check()


def test_two_refusals_in_a_row_raise_the_last_and_reset_the_count(requests: Requests) -> None:
    pending = PendingPositions(requests)
    pending.add({A: 1})
    pending.answered(ConnectionError("first"))
    pending.ask()
    pending.answered(ConnectionError("second"))
    with pytest.raises(ConnectionError, match="second"):
        pending.check()
    pending.check()


def test_a_commit_that_cannot_be_started_stays_pending(requests: Requests) -> None:
    pending = PendingPositions(requests)
    requests.broken = True
    with pytest.raises(ConnectionError):
        pending.add({A: 1})
    requests.broken = False
    pending.ask()
    assert requests == [{A: 1}]
