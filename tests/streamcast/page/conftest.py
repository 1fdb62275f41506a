"""What the tests of the live page share: a board, and a clock that they move."""

from __future__ import annotations

import pytest

from harness.feeder import SPEC
from harness.hand_clock import HandClock
from streamcast.page.board import Board


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def board(clock: HandClock) -> Board:
    return Board(SPEC, season=24, clock=clock)
