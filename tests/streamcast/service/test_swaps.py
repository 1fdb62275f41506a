"""New models beside others, and in their place: no state is lost, and none is made again without need."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.simulation.plan import model
from harness.simulation.stand import Stand, stopped
from harness.streams import MINUTE
from streamcast.consumers.memory.transport import MemoryReader
from streamcast.consumers.transport import Batch, Connection, Partition
from streamcast.errors import ServiceError
from streamcast.service.beginnings import Start
from streamcast.spec.folders import Model

TEN = tuple(float(value) for value in (5, 7, 6, 8, 9, 7, 6, 5, 8, 9))
OLD, NEW = model("sample", 0), model("sample", 1)
BOTH = {"champion": OLD, "challenger": NEW}
NEWEST = (0, 20)
"""Where the newest of twenty records are looked for, to bound what a new model reads."""


class Reads(MemoryReader):
    """A reader that remembers from where it read records of the input."""

    def __init__(self, stand: Stand) -> None:
        super().__init__(stand.broker, Connection("memory", "group", "reader"))
        self.ranges: list[tuple[int, int]] = []

    def read_range(self, partition: Partition, start: int, end: int) -> Iterator[Batch]:
        if partition.topic == "observations" and start < end:
            self.ranges.append((start, end))
        return super().read_range(partition, start, end)


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    """A service that has answered ten records, and left a snapshot."""
    return stopped(tmp_path, OLD, TEN)


def served(
    stand: Stand, models: dict[str, Model], shadows: tuple[str, ...] = (), history_ms: int | None = None
) -> list[tuple[int, int]]:
    """Serve ten more records with other models, and stop; return what was read again before."""
    reader = Reads(stand)
    stand.observe("a", *TEN)
    stand.serve(models, Start(history_ms=history_ms), reader=reader, shadows=shadows)
    stand.stop()
    return reader.ranges


def levels(stand: Stand, lane: str) -> list[bytes]:
    """The values of the forecasts of a lane."""
    written = [value or b"" for value in stand.broker.log(Partition("forecasts", 0)).values]
    return [value for value in written if f'"lane":"{lane}"'.encode() in value]


def test_a_shadow_that_becomes_the_champion_keeps_its_state(stand: Stand) -> None:
    assert served(stand, BOTH, ("challenger",)) == [(0, 15)], "the champion answers five of the ten meanwhile"
    assert served(stand, {"champion": NEW}) == []
    assert served(stand, {"champion": OLD}) == [(20, 30)], "going back, only what it has missed is read"
    assert stand.verify().proven


def test_beside_a_new_lane_the_others_keep_their_state_though_its_records_are_gone(
    stand: Stand, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    alone = Stand(tmp_path / "alone")
    alone.observe("a", *TEN, *TEN)
    alone.serve({"champion": OLD})
    stand.broker.delete_records(stand.partitions[0], 6)
    with caplog.at_level(logging.WARNING, "streamcast"):
        assert served(stand, BOTH) == [(6, 10)]
    (said,) = caplog.messages
    assert "lane challenger has a model without a state so far, and the topic holds records only from" in said
    assert said.endswith(" offset 6 on: its state begins there, with the last 4 records")
    assert [stand.journal().begin_of(each.digest) for each in (OLD, NEW)] == [0, 6]
    assert levels(stand, "champion") == levels(alone, "champion")


def test_a_new_model_begins_with_the_records_that_are_left_and_so_does_the_verifier(stand: Stand) -> None:
    stand.broker.delete_records(stand.partitions[0], 6)
    assert served(stand, {"champion": NEW}) == [(6, 10)]
    assert served(stand, {"champion": NEW}) == []
    report = stand.verify()
    assert (report.violations, report.forecasts) == ([], 20)
    assert len(report.unknown) == 1, "what the former model answered cannot be computed without its records"
    fresh = Stand(stand.folder / "fresh")
    fresh.observe("a", *TEN, *TEN, *TEN)
    fresh.broker.delete_records(fresh.partitions[0], 6)
    fresh.serve({"champion": NEW})
    assert levels(stand, "champion")[-20:] == levels(fresh, "champion")[-20:]


def test_a_model_that_answered_last_is_not_given_less_than_it_had(stand: Stand) -> None:
    for path in stand.folder.rglob("*.snapshot"):
        path.unlink()
    stand.broker.delete_records(stand.partitions[0], 6)
    for models, room in (({"champion": OLD}, 100), ({"champion": OLD}, 99), (BOTH, 100), ({"renamed": OLD}, 100)):
        with pytest.raises(ServiceError, match="allow_cold_start"):
            stand.serve(models, max_series=room, champion=next(iter(models)))


def test_a_new_model_reads_no_more_than_the_setting_says(stand: Stand, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "streamcast")
    served(stand, {"champion": OLD})
    assert served(stand, {"champion": NEW}, history_ms=2 * MINUTE) == [NEWEST, (8, 20)]
    assert (
        "lane champion has a model without a state so far in 1 partition: it begins with the last 12 records"
        " (models.history: 2 minutes), and 8 earlier records are left out" in caplog.messages
    )
    assert stand.journal().begin_of(NEW.digest) == 8
    caplog.clear()
    assert served(stand, {"champion": NEW}, history_ms=MINUTE) == [], "it has begun: another bound changes nothing"
    assert "left out" not in caplog.text
    assert served(stand, {"champion": OLD}, history_ms=MINUTE) == [(20, 40)], "the old one has a state, too"
    for path in stand.folder.rglob("*.snapshot"):
        path.unlink()
    assert served(stand, {"champion": NEW}, history_ms=MINUTE) == [(8, 50)]
    assert stand.verify().proven


def test_a_bounded_shadow_becomes_the_champion_and_keeps_its_state(stand: Stand) -> None:
    served(stand, {"champion": OLD})
    assert served(stand, BOTH, ("challenger",), history_ms=MINUTE) == [NEWEST, (9, 25)]
    assert stand.journal().begin_of(NEW.digest) == 9
    assert served(stand, {"champion": NEW, "second": NEW}, history_ms=MINUTE) == []
    assert stand.verify().proven


def test_a_bound_that_the_journal_does_not_have_yet_is_found_again(stand: Stand) -> None:
    served(stand, {"champion": OLD})
    bounded = Start(history_ms=MINUTE)
    stand.serve({"champion": NEW}, bounded, interval_seconds=0.0)  # no record comes, so nothing is committed
    stand.stop()
    assert stand.journal().begin_of(NEW.digest) == 0
    stand.seconds += 90 * 86_400
    assert served(stand, {"champion": NEW}, history_ms=MINUTE) == [NEWEST], "its snapshot is of the same beginning"
    assert stand.journal().begin_of(NEW.digest) == 9
    assert stand.verify().proven


def test_each_partition_has_its_own_bound_and_a_quiet_one_keeps_its_newest_records(tmp_path: Path) -> None:
    stand = Stand(tmp_path, partitions=2)
    stand.observe("a", *TEN, *TEN, *TEN, *TEN)
    stand.observe("quiet", *TEN, *TEN, partition=1)
    stand.serve()
    stand.stop()
    stand.serve({"champion": NEW}, Start(history_ms=3 * MINUTE))
    stand.observe("a", *TEN)
    stand.observe("quiet", *TEN, partition=1)
    stand.work()
    assert [stand.journal(partition).begin_of(NEW.digest) for partition in (0, 1)] == [27, 7]
    assert stand.verify().proven


def test_the_first_start_and_a_cold_one_are_not_bounded(stand: Stand) -> None:
    first = Stand(stand.folder / "first")
    first.observe("a", *TEN, *TEN)
    first.serve(start=Start("latest", warm_from=20, history_ms=MINUTE))
    first.observe("a", *TEN)
    first.work()
    assert (first.journal().begin, first.journal().begin_of(OLD.digest)) == (0, 0)
    for path in stand.folder.rglob("*.snapshot"):
        path.unlink()
    stand.broker.delete_records(stand.partitions[0], 2)
    stand.observe("a", *TEN)
    stand.serve(BOTH, Start(allow_cold_start=True, history_ms=MINUTE))
    assert [stand.journal().begin_of(each.digest) for each in (OLD, NEW)] == [2, 2]
    assert stand.verify().violations == []


def test_a_new_lane_that_fails_before_its_first_commit_begins_where_the_records_then_begin(stand: Stand) -> None:
    stand.broker.delete_records(stand.partitions[0], 4)
    stand.serve({"champion": NEW}, working=False)
    stand.loop.iterate()
    stand.broker.delete_records(stand.partitions[0], 6)
    served(stand, {"champion": NEW})
    assert stand.journal().begin_of(NEW.digest) == 6
    report = stand.verify()
    assert (report.violations, report.forecasts) == ([], 10)
