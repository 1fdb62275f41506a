"""Shadows that need more records than the other lanes: nobody waits for them, and their state is the same at last."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.simulation.plan import model
from harness.simulation.stand import Stand, Troubled, stopped
from streamcast.consumers.loop import BatchLimits
from streamcast.consumers.memory.transport import Fault
from streamcast.consumers.transport import Partition
from streamcast.service.verification.fold import Fold, begins_of
from streamcast.spec.folders import Model

TEN = tuple(float(value) for value in (5, 7, 6, 8, 9, 7, 6, 5, 8, 9))
OLD, NEW = model("sample", 0), model("sample", 1)
BOTH = {"champion": OLD, "shadow": NEW}


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    """A service that has answered ten records, and left a snapshot."""
    return stopped(tmp_path, OLD, TEN)


def begun(stand: Stand, models: Mapping[str, Model] = BOTH, *, interval_seconds: float = 1e9) -> Troubled:
    """Start a process with a shadow, which answers ten more records while two of the shadow's are replayed a poll."""
    reader = Troubled(stand)
    stand.serve(
        models, reader=reader, shadows=("shadow",), max_records=10, interval_seconds=interval_seconds, working=False
    )
    stand.observe("a", *TEN)
    before = stand.committed()
    while stand.committed() == before:
        stand.loop.iterate()
    return reader


def forget_snapshots(folder: Path, of: Model) -> None:
    """Delete a model's snapshots."""
    for path in folder.rglob("*.snapshot"):
        if of.digest.encode() in path.read_bytes():
            path.unlink()


def states(stand: Stand, partition: int = 0) -> dict[str, str]:
    """The digest of series a in each lane of the process."""
    here = stand.partitions[partition]
    return {lane.name: lane.engine.slab.digest(here, "a") for lane in stand.service._lanes}


def by_law(stand: Stand, models: Mapping[str, Model] = BOTH, partition: int = 0) -> dict[str, str]:
    """The same, of the fold of all records that are committed."""
    here, journal = stand.partitions[partition], stand.journal(partition)
    begins = begins_of(journal, {lane: each.digest for lane, each in models.items()})
    fold = Fold(stand.reader, here, begins, models, journal, 100)
    for _ in fold.advance(stand.committed(partition) or 0):
        pass
    return {lane: engine.slab.digest(here, "a") for lane, engine in fold.engines.items()}


def test_nobody_waits_for_a_shadow_that_needs_the_records_from_the_beginning(
    stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "streamcast")
    reader = begun(stand)
    assert stand.service._catching_up.lanes == {"shadow"}
    assert (stand.committed(), reader.read) == (20, [0]), "answered after two records of the shadow's twenty"
    assert stand.journal().models == {"champion": OLD.digest}, "the shadow does not answer yet, and nobody says so"
    assert "streamcast_catch_up_records_left 18.0" in stand.telemetry.exposition().decode()
    stand.work()
    assert reader.read == list(range(0, 20, 2))
    assert caplog.messages[-1] == "1 lane behind the others (shadow): caught up, 20 records replayed in 10.0 s"
    assert "streamcast_catch_up_records_left 0.0" in stand.telemetry.exposition().decode()
    stand.observe("a", *TEN)
    stand.work()
    assert stand.journal().entries[-1].offset == 20
    assert stand.journal().models == {lane: each.digest for lane, each in BOTH.items()}
    assert states(stand) == by_law(stand)
    assert stand.verify().proven


def test_records_that_arrive_wait_for_a_few_of_the_shadow_at_a_time(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamcast.service.service.REPLAYED_AT_ONCE", 3)
    stand.serve(BOTH, shadows=("shadow",), working=False)
    stand.loop._limits = BatchLimits(catch_up_slice_seconds=0.0)
    reached = list[int]()
    while not stand.loop._held or stand.service._catching_up.lanes or stand.loop._busy:
        stand.loop.iterate()
        reached += [lanes["shadow"] for lanes in stand.service._catching_up.reached.values()]
    assert reached == [3, 6, 9, 10]
    assert states(stand) == by_law(stand)


def test_a_lane_that_publishes_is_waited_for(stand: Stand) -> None:
    reader = Troubled(stand)
    stand.serve(BOTH, reader=reader, working=False)
    stand.observe("a", *TEN)
    while stand.committed() == 10:
        stand.loop.iterate()
    assert reader.read == [0, 2, 4, 6, 8]
    assert stand.journal().models == {lane: each.digest for lane, each in BOTH.items()}


def test_a_shadow_that_begins_with_the_others_or_lacks_no_record_of_theirs_is_measured_at_once(stand: Stand) -> None:
    for models in ({"champion": NEW, "shadow": OLD}, BOTH):
        stand.serve(models, shadows=("shadow",), working=False)
        while stand.loop._busy or not stand.loop._held:
            stand.loop.iterate()
        assert not stand.service._catching_up.lanes
        stand.work()
        stand.stop()


def test_a_shadow_that_was_interrupted_goes_on_from_its_snapshot(stand: Stand) -> None:
    first = begun(stand, interval_seconds=0.5)
    for _ in range(4):
        stand.loop.iterate()
    stand.loop.abandon()
    second = begun(stand)
    assert 0 < second.read[0] <= first.read[-1] + 2
    stand.work()
    assert states(stand) == by_law(stand)


def test_a_process_that_stops_saves_how_far_its_shadow_has_come(stand: Stand) -> None:
    read = begun(stand).read
    stand.stop()
    reader = begun(stand)
    assert reader.read[0] == read[-1] + 2
    stand.work()
    stand.stop()
    stand.serve({"champion": NEW}, reader=(after := Troubled(stand)))
    assert after.read == [], "it is the champion now, and nothing is replayed"
    stand.stop()
    assert stand.verify().proven


def test_a_shadow_that_retention_overtakes_begins_with_what_is_left_and_the_service_goes_on(
    stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    begun(stand)
    stand.broker.delete_records(stand.partitions[0], 14)
    stand.work()
    assert "lane shadow has a model without a state so far, and the topic holds records only from" in caplog.text
    stand.observe("a", *TEN)
    stand.work()
    assert stand.journal().begin_of(NEW.digest) == 14
    assert stand.journal().models == {lane: each.digest for lane, each in BOTH.items()}
    assert states(stand)["shadow"] == by_law(stand, {"shadow": NEW})["shadow"]
    stand.stop()


def test_a_shadow_whose_state_is_lost_begins_again_and_stops_nobody(stand: Stand) -> None:
    begun(stand)
    stand.work()
    stand.observe("a", *TEN)
    stand.work()
    stand.stop()
    forget_snapshots(stand.folder, NEW)
    stand.broker.delete_records(stand.partitions[0], 26)
    begun(stand)
    stand.work()
    assert [stand.journal().begin_of(each.digest) for each in (OLD, NEW)] == [0, 26]


def test_a_reset_is_done_in_a_shadow_that_is_behind_when_it_comes_there(stand: Stand) -> None:
    begun(stand)
    assert stand.service.reset("a")
    stand.observe("a", *TEN[:3])
    stand.work()
    assert [entry.offset for entry in stand.journal().resets()] == [20]
    assert stand.journal().resets()[0].models == {"champion": OLD.digest}
    assert states(stand) == by_law(stand)


def test_while_the_records_of_a_shadow_are_not_delivered_the_others_answer(
    stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    reader = begun(stand)
    reader._fails_at = [4, 6]
    for _ in range(3):
        stand.observe("a", *TEN[:2])
        stand.loop.iterate()
    assert stand.committed() == 26
    assert "behind the others (shadow): the records were not delivered: away; trying again" in caplog.text
    assert not stand.loop._behind, "it rests"
    while stand.service._catching_up.lanes:
        stand.seconds += 2.0
        stand.loop.iterate()
    assert states(stand) == by_law(stand)


def test_a_commit_that_fails_while_a_shadow_catches_up_leaves_it_where_it_is(stand: Stand) -> None:
    begun(stand)
    for request in ("produce", "end"):
        stand.faults = [(request, Fault.LOST)]
        stand.observe("a", *TEN[:4])
        stand.work()
    assert states(stand) == by_law(stand)
    assert stand.verify().proven


def test_a_shadow_that_is_behind_in_one_partition_is_behind_in_all_and_joins_in_all(tmp_path: Path) -> None:
    stand = Stand(tmp_path, partitions=2)
    for index in (0, 1):
        stand.observe("a", *TEN, partition=index)
    stand.serve(BOTH, shadows=("shadow",))
    stand.stop()
    forget_snapshots(stand.folder / "observations" / "1", NEW)
    service = stand.serve(BOTH, reader=Troubled(stand), shadows=("shadow",), working=False)
    ends = dict.fromkeys(stand.partitions, (0, 10))
    for partition, behind in zip(stand.partitions, (set(), {"shadow"}), strict=True):
        service.on_assigned({partition: 10}, {partition: ends[partition]})
        while service.recover_some(0.0) is None:
            pass
        assert service._catching_up.lanes == behind
    assert service._assignment.states() == {
        stand.partitions[0]: {"champion": 10, "shadow": 10},
        stand.partitions[1]: {"champion": 10, "shadow": 0},
    }
    while service.catch_up_some(0.0):
        pass
    assert not service._catching_up.lanes
    for index in (0, 1):
        assert states(stand, index) == by_law(stand, partition=index)


def test_partitions_that_go_away_are_not_waited_for(stand: Stand) -> None:
    begun(stand)
    service = stand.service
    service.on_revoked(stand.partitions)
    assert not service.catch_up_some(1.0)
    assert not service._catching_up.lanes
    assert not any(lane.engine.slab.series(Partition("observations", 0)) for lane in service._lanes)
