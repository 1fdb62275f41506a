"""Recovery: from the newest snapshot that can be trusted, through faults of every kind, to the same state."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.simulation.plan import model
from harness.simulation.stand import GROUP, Stand, Troubled
from streamcast.consumers.memory.transport import Fault, MemoryReader
from streamcast.consumers.transport import Batch, BrokerUnavailable, Connection, Partition, TopicSpec
from streamcast.errors import ServiceError, SettingsError
from streamcast.service import snapshots
from streamcast.service.recovery import REST_SECONDS, Recovery
from streamcast.service.replays import Replays
from streamcast.service.snapshots import Store
from streamcast.service.verification.fold import Fold, begins_of

TEN = tuple(float(value) for value in (5, 7, 6, 8, 9, 7, 6, 5, 8, 9))


class Watching:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.left: list[int] = []
        self.seconds: list[float] = []
        self.restored: list[Partition] = []

    def recovering(self, records_left: int) -> None:
        self.left.append(records_left)

    def recovered(self, seconds: float) -> None:
        self.seconds.append(seconds)

    def snapshot(self, partition: Partition) -> None:
        self.restored.append(partition)

    def store_failed(self, action: str) -> None:
        raise AssertionError(action)


class BucketGone(Exception):
    """An object store's own error, which is no OSError."""


class Bucket(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """An object store that fails in its own way in the operations of ``broken``."""

    protocol = "bucket"
    store: ClassVar[dict[str, object]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    broken: ClassVar[set[str]] = set()
    asked: ClassVar[Counter[str]] = Counter()
    silent: ClassVar[Event | None] = None

    def ls(self, path: str, detail: bool = True, **options: object) -> object:  # noqa: FBT001, FBT002
        self._asked("ls")
        return super().ls(path, detail, **options)

    def cat_file(self, path: str, *range_: object, **options: object) -> object:
        self._asked("cat_file")
        return super().cat_file(path, *range_, **options)

    def pipe_file(self, path: str, value: bytes, *mode: object, **options: object) -> object:
        self._asked("pipe_file")
        return super().pipe_file(path, value, *mode, **options)

    def _asked(self, operation: str) -> None:
        self.asked[operation] += 1
        if operation in self.broken and self.silent is not None:
            self.silent.wait(60.0)
        if operation in self.broken:
            raise BucketGone("could not connect to the endpoint")


@pytest.fixture
def bucket(stand: Stand) -> Iterator[set[str]]:
    """The operations that fail, of the object store that the stand uses."""
    fsspec.register_implementation("bucket", Bucket, clobber=True)
    Bucket.store.clear()
    Bucket.asked.clear()
    stand.store = Store("bucket://snapshots", 3)
    yield Bucket.broken
    Bucket.broken.clear()


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


def state(stand: Stand) -> dict[str, bytes]:
    return exported(stand.service._lanes[0].engine, stand.partitions[0])


def exported(engine: object, partition: Partition) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in engine.slab.export(partition).items()}  # type: ignore[attr-defined]


def by_law(stand: Stand) -> dict[str, bytes]:
    """The state of everything that is committed, made from the first record on."""
    partition = stand.partitions[0]
    models = {lane.name: lane.model for lane in stand.service._lanes}
    begins = begins_of(stand.journal(), {lane: each.digest for lane, each in models.items()})
    fold = Fold(stand.reader, partition, begins, models, stand.journal(), 100)
    for _ in fold.advance(stand.committed() or 0):
        pass
    return exported(fold.engines["champion"], partition)


@given(
    fails_at=st.lists(st.integers(0, 19), max_size=6).map(sorted), there=st.sets(st.sampled_from(["snapshot", "reset"]))
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_a_replay_that_is_interrupted_anywhere_ends_in_the_same_state(
    fails_at: list[int], there: set[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    stand = Stand(tmp_path_factory.mktemp("stand"))
    stand.observe("a", *TEN[:5])
    stand.observe("b", *TEN[:5])
    service = stand.serve()
    if "snapshot" in there:
        stand.stop()
        service = stand.serve()
    if "reset" in there:
        service.reset("b")
    stand.observe("b", *TEN[:5])
    stand.observe("a", *TEN[:5])
    stand.work()
    stand.serve(reader=Troubled(stand, tuple(fails_at)))
    assert state(stand) == by_law(stand)
    assert stand.verify().proven


def test_only_what_came_after_the_snapshot_is_read_again(stand: Stand) -> None:
    stand.observe("a", *TEN)
    stand.serve()
    stand.stop()
    stand.observe("a", *TEN)
    stand.serve()
    reader = Troubled(stand)
    stand.serve(reader=reader)
    assert reader.read == [10, 12, 14, 16, 18]
    assert state(stand) == by_law(stand)


def test_a_damaged_snapshot_is_passed_over_loudly_for_the_one_before(
    stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        stand.observe("a", *TEN)
        stand.serve()
        stand.stop()
    newest = max(stand.folder.rglob("*.snapshot"))
    newest.write_bytes(newest.read_bytes()[:-3])
    reader = Troubled(stand)
    with caplog.at_level(logging.ERROR, "streamcast"):
        stand.serve(reader=reader)
    assert newest.name in caplog.text
    assert "checksum" in caplog.text
    assert reader.read[0] == 10
    assert state(stand) == by_law(stand)


@pytest.mark.parametrize(("operation", "action"), [("ls", "list"), ("cat_file", "read")])
def test_a_store_that_cannot_be_read_costs_a_replay_and_no_more(
    stand: Stand, bucket: set[str], operation: str, action: str, caplog: pytest.LogCaptureFixture
) -> None:
    stand.observe("a", *TEN)
    stand.serve()
    stand.stop()
    stand.observe("a", *TEN)
    bucket.add(operation)
    reader = Troubled(stand)
    service = stand.serve(reader=reader)
    assert reader.read[0] == 0
    assert state(stand) == by_law(stand)
    assert "BucketGone: could not connect to the endpoint" in caplog.text
    assert f'streamcast_store_failures_total{{action="{action}"}} 1.0' in service._telemetry.exposition().decode()
    assert stand.verify().proven


@pytest.mark.parametrize(("operation", "action"), [("ls", "list"), ("cat_file", "read")])
def test_a_store_that_does_not_answer_costs_a_replay_and_gives_signs_of_life(
    stand: Stand, bucket: set[str], operation: str, action: str, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    stand.observe("a", *TEN)
    stand.serve()
    stand.stop()
    for name, seconds in (("LIST_SECONDS", 0.3), ("READ_SECONDS", 0.3), ("BEAT_SECONDS", 0.1)):
        monkeypatch.setattr(snapshots, name, seconds)
    beats: list[int] = []
    stand.store = Store("bucket://snapshots", 3, beat=lambda: beats.append(1))
    bucket.add(operation)
    answers = Event()
    monkeypatch.setattr(Bucket, "silent", answers)
    try:
        service = stand.serve()
    finally:
        answers.set()
    assert state(stand) == by_law(stand)
    assert len(beats) >= 2
    assert f"the store could not {action} " in caplog.text
    assert "(TimeoutError: no answer within " in caplog.text
    assert f'streamcast_store_failures_total{{action="{action}"}} 1.0' in service._telemetry.exposition().decode()


def test_a_store_that_is_away_is_asked_once_for_many_partitions_and_again_after_a_while(
    tmp_path: Path, bucket: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    stand = Stand(tmp_path, partitions=5)
    stand.store = Store("bucket://snapshots", 3)
    for index in range(5):
        stand.observe(f"k{index}", *TEN, partition=index)
    stand.serve()
    stand.stop()
    Bucket.asked.clear()
    bucket.add("ls")
    service = stand.serve()
    assert Bucket.asked["ls"] == 1
    assert 'streamcast_store_failures_total{action="list"} 1.0' in service._telemetry.exposition().decode()
    bucket.clear()
    header = service._assignment.spans[stand.partitions[0]].headers["champion"]
    assert service._recovery.restore("champion", header) == 0
    stand.seconds += REST_SECONDS
    assert service._recovery.restore("champion", header) == header.offset > 0


def test_a_store_that_cannot_be_written_to_costs_no_revoke(
    stand: Stand, bucket: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    stand.observe("a", *TEN)
    service = stand.serve()
    bucket.add("pipe_file")
    stand.stop()
    assert service._assignment.spans == {}
    assert "at offset 10 was not written (BucketGone: could not connect to the endpoint)" in caplog.text
    assert 'streamcast_store_failures_total{action="write"} 1.0' in service._telemetry.exposition().decode()


def test_a_store_that_nothing_handles_is_a_wrong_setting() -> None:
    with pytest.raises(
        SettingsError, match=r"state\.store is 'nothing://here': .* expected a folder, or an fsspec URL"
    ):
        Store("nothing://here", 3)


def test_a_snapshot_above_the_committed_offset_is_left_alone(stand: Stand) -> None:
    stand.observe("a", *TEN)
    stand.serve()
    stand.stop()
    stand.broker._group(GROUP).committed[stand.partitions[0]] = 7
    stand.serve(max_records=1)
    fold = by_law(stand)
    assert state(stand) == fold


def test_the_snapshot_of_another_model_is_never_loaded(stand: Stand) -> None:
    stand.observe("a", *TEN)
    stand.serve()
    stand.stop()
    reader = Troubled(stand)
    stand.serve({"champion": model("sample", 1)}, reader=reader)
    assert reader.read[0] == 0
    assert state(stand) == by_law(stand)


def test_recovery_goes_in_slices_and_tells_how_much_is_left(stand: Stand) -> None:
    stand.observe("a", *TEN)
    service = stand.serve()
    watching, lane, beats = Watching(), service._lanes[0], list[float]()
    engines = {"champion": lane.engine}
    replays = Replays(engines, service._decoder, Troubled(stand), stand._now, lambda: beats.append(stand.seconds))
    recovery = Recovery(engines, replays, None, watching, stand._now)
    partition = stand.partitions[0]
    assert recovery.restore("champion", service._assignment.headers(partition, 0, 10, stand.journal())["champion"]) == 0
    recovery.plan(partition, {"champion": 0}, 10, (), ())
    slices = 1
    while not recovery.some(1.5):
        slices += 1
    assert slices == 3
    assert watching.left == [6, 2, 0]
    assert watching.seconds == [5.0]
    assert len(set(beats)) == 5, "each batch beats"
    assert state(stand) == by_law(stand)


def test_a_recovery_that_is_cut_short_goes_on_from_the_state_that_it_saved(stand: Stand) -> None:
    stand.observe("a", *TEN)
    stand.serve()
    stand.serve(reader=(first := Troubled(stand)), interval_seconds=1.5, working=False)
    while len(first.read) < 4:
        stand.loop.iterate()
    assert first.read == [0, 2, 4, 6]
    assert stand.loop._busy
    stand.serve(reader=(second := Troubled(stand)))
    assert second.read == [6, 8]
    assert state(stand) == by_law(stand)


def test_what_is_dropped_is_not_replayed_any_more(stand: Stand) -> None:
    stand.observe("a", *TEN)
    service = stand.serve()
    engines = {"champion": service._lanes[0].engine}
    replays = Replays(engines, service._decoder, Troubled(stand), stand._now, lambda: None)
    recovery = Recovery(engines, replays, None, Watching(), stand._now)
    recovery.plan(stand.partitions[0], {"champion": 0}, 10, (), ())
    recovery.drop(stand.partitions)
    assert recovery.some(100.0)
    assert len(service._lanes[0].engine.slab) == 0


def test_records_that_go_while_they_are_read_again_are_a_refusal(stand: Stand) -> None:
    stand.observe("a", *TEN)
    service = stand.serve()
    service.on_assigned({stand.partitions[0]: 10}, {stand.partitions[0]: (0, 10)})
    stand.broker.delete_records(stand.partitions[0], 3)
    with pytest.raises(ServiceError, match="retention has deleted it"):
        service.recover_some(1.0)


class Away(MemoryReader):
    """A reader that cannot read the journal of partition 1."""

    def read_range(self, partition: Partition, start: int, end: int) -> Iterator[Batch]:
        if partition.topic == "journal" and partition.index == 1:
            raise BrokerUnavailable("the leader of journal[1] is away")
        yield from super().read_range(partition, start, end)


def test_a_take_over_that_fails_half_way_holds_no_partition_whose_state_is_not_rebuilt(tmp_path: Path) -> None:
    stand = Stand(tmp_path, partitions=2)
    for index in (0, 1):
        stand.observe(f"k{index}", *TEN, partition=index)
    stand.serve()
    stand.loop.abandon()
    for path in stand.folder.rglob("*.snapshot"):
        path.unlink()
    away = Away(stand.broker, Connection("memory", GROUP, "reader"))
    service = stand.serve(reader=away, working=False)
    bounds = dict.fromkeys(stand.partitions, (0, 10))
    with pytest.raises(BrokerUnavailable, match=r"journal\[1\] is away"):
        service.on_assigned(dict.fromkeys(stand.partitions, 10), bounds)
    assert service._assignment.spans == {}
    assert service.recover_some(1.0) == {}
    assert not any(service._lanes[0].engine.slab.series(partition) for partition in stand.partitions)


class Counting(MemoryReader):
    """A reader that counts its requests."""

    def __init__(self, stand: Stand) -> None:
        super().__init__(stand.broker, Connection("memory", GROUP, "reader"))
        self.requests: Counter[str] = Counter()

    def describe(self, topics: Sequence[str]) -> dict[str, TopicSpec]:
        self.requests["describe"] += 1
        return super().describe(topics)

    def bounds(self, partitions: Sequence[Partition]) -> dict[Partition, tuple[int, int]]:
        self.requests["bounds"] += 1
        return super().bounds(partitions)

    def ends(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        self.requests["ends"] += 1
        return super().ends(partitions)

    def read_ranges(self, ranges: Mapping[Partition, tuple[int, int]]) -> Iterator[list[Batch]]:
        self.requests["read"] += 1
        return super().read_ranges(ranges)


@pytest.mark.parametrize("partitions", [1, 40])
def test_taking_partitions_over_costs_as_many_requests_for_many_as_for_one(tmp_path: Path, partitions: int) -> None:
    stand = Stand(tmp_path, partitions)
    for index in range(partitions):
        stand.observe(f"k{index}", *TEN, partition=index)
    stand.serve(max_records=1_000)
    for index in range(partitions):
        assert stand.committed(index) == 10
    stand.loop.abandon()
    reader = Counting(stand)
    stand.serve(reader=reader)
    assert reader.requests == {"describe": 1, "bounds": 1, "ends": 1, "read": 2}, "the journals, and the records"
    assert stand.verify().proven


def test_a_take_over_gives_signs_of_life_while_it_reads_journals_and_returns_between_two_states(tmp_path: Path) -> None:
    stand = Stand(tmp_path, partitions=3)
    for index in range(3):
        stand.observe(f"k{index}", *TEN, partition=index)
    stand.serve()
    stand.stop()
    service, beats = stand.serve(working=False), list[float]()
    service._assignment._beginnings._beat = lambda: beats.append(0.0)
    service.on_assigned(dict.fromkeys(stand.partitions, 10), dict.fromkeys(stand.partitions, (0, 10)))
    assert len(beats) >= 4
    slices = 1
    while (positions := service.recover_some(0.0)) is None:
        slices += 1
    assert slices == 4
    assert positions == dict.fromkeys(stand.partitions, 10)


def test_a_recovery_that_has_nothing_to_do_is_no_recovery(stand: Stand) -> None:
    service = stand.serve()
    stand.observe("a", *TEN[:5])
    stand.faults = [("end", Fault.LOST)]
    stand.work()
    exposition = service._telemetry.exposition().decode()
    assert "streamcast_aborts_total 1.0" in exposition
    assert "streamcast_recovery_seconds_count 0.0" in exposition
    assert "streamcast_recovery_records_left 0.0" in exposition
    service = stand.serve()
    assert "streamcast_recovery_seconds_count 1.0" in service._telemetry.exposition().decode()
