"""Where the state of new models begins, if a setting says how far back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.simulation.stand import Stand
from streamcast.service.new_models import begins_of_new
from streamcast.topics.journal import Entry, Journal

DAY = 86_400_000
HISTORY = 5 * DAY
DAILY = tuple(day * DAY for day in range(100, 140))
BEGUN = Journal([Entry("start", "observations", 0, 0, models={"champion": "old"})])


def begin(folder: Path, times: Sequence[int], position: int, journal: Journal = BEGUN, held: int = 0) -> int | None:
    """Where the state of a new model begins, in a partition that has records of these times."""
    stand = Stand(folder)
    here = stand.partitions[0]
    stand.append([(time, b"a", b"{}") for time in times])
    stand.broker.delete_records(here, held)
    bounds = stand.reader.bounds([here])
    found = begins_of_new(stand.reader, HISTORY, ["new"], {here: journal}, {here: position}, bounds)
    return found.get(here, {}).get("new")


@pytest.mark.parametrize(
    ("times", "position", "wanted"),
    [
        (DAILY, 40, 25),  # ten newest: from day 130 on; five days before them is day 125
        (DAILY, 30, 15),
        (DAILY, 12, 0),
        ((*DAILY, 9_000 * DAY), 41, 26),
        ((9_000 * DAY, *DAILY), 41, 0),
        ((*DAILY, 2 * DAY), 41, None),
        ((*DAILY, 100 * DAY), 41, 0),
        ((0,) * 40, 40, None),
        ((), 0, None),
        (DAILY, 0, None),
    ],
)
def test_it_begins_so_long_before_the_newest_records(
    tmp_path: Path, times: Sequence[int], position: int, wanted: int | None
) -> None:
    assert begin(tmp_path, times, position) == wanted


def test_it_begins_neither_before_the_state_of_the_partition_nor_with_records_that_are_gone(tmp_path: Path) -> None:
    later = Journal([Entry("start", "observations", 0, 35, 5, models={"champion": "old"})])
    assert begin(tmp_path / "begun", DAILY, 40, later) == 30
    assert begin(tmp_path / "gone", DAILY, 40, held=28) == 28
    assert begin(tmp_path / "all gone", DAILY, 40, held=40) is None


def test_models_that_the_journal_knows_and_partitions_that_have_not_begun_are_left_alone(tmp_path: Path) -> None:
    assert begin(tmp_path / "empty", DAILY, 40, Journal()) is None
    for known in (
        Entry("models", "observations", 0, 20, models={"champion": "new"}),
        Entry("models", "observations", 0, 20, models={"champion": "old"}, since={"new": 3}),
    ):
        told = Journal([*BEGUN.entries, known])
        assert begin(tmp_path / str(len(known.since)), DAILY, 40, told) is None
        cold = Entry("cold", "observations", 0, 30, models={"champion": "old"})
        again = Journal([*told.entries, cold])
        assert begin(tmp_path / f"cold {len(known.since)}", DAILY, 40, again) == 30
