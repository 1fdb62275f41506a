"""Other programs that commit in the service's group: what they do is said, and impossible positions are refused."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Literal

import pytest
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.structs import OffsetAndMetadata

from harness.simulation.plan import model
from harness.simulation.stand import GROUP, TOPICS, Stand
from harness.streams import MINUTE, START
from streamcast.consumers.health import LoopHealth
from streamcast.consumers.kafka_python.transport import KafkaTransport
from streamcast.consumers.librdkafka.transport import LibrdTransport
from streamcast.consumers.loop import BatchLimits, Loop, Unobserved
from streamcast.consumers.memory.transport import MemoryReader
from streamcast.consumers.transport import Batch, Connection, NotAllowed, Outgoing, Partition, TopicSpec, Transport
from streamcast.errors import ServiceError
from streamcast.service.beginnings import Start
from streamcast.service.saving import Saver
from streamcast.service.service import Service
from streamcast.service.snapshots import Store
from streamcast.service.strangers import mark_of
from streamcast.service.telemetry.telemetry import Telemetry
from streamcast.topics.names import Topics
from streamcast.topics.observations import encode_observation

TEN = tuple(float(value) for value in (5, 7, 6, 8, 9, 7, 6, 5, 8, 9))
COLD = Start(allow_cold_start=True)


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    """A service that has answered ten records, and has ended."""
    stand = Stand(tmp_path)
    stand.observe("a", *TEN)
    stand.serve()
    stand.stop()
    return stand


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
@pytest.mark.parametrize("crashed", [False, True])
@pytest.mark.parametrize(
    ("moved", "said"),
    [
        (3, "had come to 10, as its forecasts or snapshots tell: records from 3 on are answered once more"),
        (15, "had come to 10 or further: records in between that have no answer yet get none"),
    ],
)
def test_a_position_that_somebody_moved_is_served_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, guarantee: str, moved: int, said: str, *, crashed: bool
) -> None:
    stand = Stand(tmp_path)
    stand.observe("a", *TEN)
    stand.serve(guarantee=guarantee)  # type: ignore[arg-type]
    if not crashed:  # else there is no snapshot
        stand.stop()
    stand.observe("a", *TEN)
    stand.broker.reset_offsets(GROUP, {stand.partitions[0]: moved})
    stand.serve(guarantee=guarantee)  # type: ignore[arg-type]
    assert stand.committed() == 20
    (warning,) = warned(caplog)
    assert f"observations[0]: another program set the group to {moved}, and this service {said}" in warning
    assert "--group GROUP --topic observations:0 --reset-offsets --to-offset" in warning
    stand.stop()
    stand.serve()
    assert len(warned(caplog)) == 1


def test_without_the_right_to_read_forecasts_a_snapshot_tells_how_far_it_had_come(
    stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    class Restricted(MemoryReader):
        def read_range(self, partition: Partition, start: int, end: int) -> Iterator[Batch]:
            if partition.topic == TOPICS.forecasts:
                raise NotAllowed.to("READ", f"topic {partition.topic}")
            return super().read_range(partition, start, end)

    stand.broker.reset_offsets(GROUP, {stand.partitions[0]: 3})
    stand.serve(reader=Restricted(stand.broker, Connection("memory", GROUP, "reader")))
    (warning,) = warned(caplog)
    assert "set the group to 3, and this service had come to 10" in warning


@pytest.mark.parametrize("crashed", [False, True])
def test_positions_of_a_version_without_marks_are_no_strangers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, crashed: bool
) -> None:
    stand = Stand(tmp_path, partitions=3)
    for index in (0, 1):
        stand.observe(f"k{index}", *TEN, partition=index)
    stand.serve()
    if not crashed:
        stand.stop()
    group = stand.broker._group(GROUP)
    group.marks.clear()
    stand.serve()
    assert warned(caplog) == []


def swapped(stand: Stand) -> None:
    stand.observe("a", *TEN)
    stand.serve({"champion": model("sample", 2)})


def reset(stand: Stand) -> None:
    stand.observe("a", *TEN)
    stand.serve(working=False)
    while not stand.service._assignment.spans:
        stand.loop.iterate()
    assert stand.service.reset("a")
    stand.work()


@pytest.mark.parametrize("decide", [swapped, reset])
def test_before_a_decision_a_moved_position_is_refused_because_answers_would_differ(
    stand: Stand, decide: Callable[[Stand], None]
) -> None:
    decide(stand)
    stand.stop()
    stand.broker.reset_offsets(GROUP, {stand.partitions[0]: 3})
    with pytest.raises(ServiceError, match=r"set the group to 3, before offset 1\d, .*stop all workers, and give"):
        stand.serve()
    stand.broker.reset_offsets(GROUP, {stand.partitions[0]: 17})
    stand.serve({"champion": model("sample", 2)} if decide is swapped else None)
    assert stand.committed() == 20
    assert all("answered twice" in each for each in stand.verify().violations), "and none differs"


def test_a_position_beyond_the_end_is_refused_and_not_waited_for(stand: Stand) -> None:
    stand.broker.reset_offsets(GROUP, {stand.partitions[0]: 100})
    with pytest.raises(ServiceError, match=r"another program set the group to 100, beyond its end, 10: stop"):
        stand.serve()
    report = stand.verify()
    assert report.violations == ["observations[0]: the group's position 100 lies beyond the end, 10"]
    assert report.forecasts == 10


@pytest.mark.parametrize("marked", [True, False])
def test_a_journal_that_was_made_again_while_nobody_served_is_no_new_service(
    stand: Stand, caplog: pytest.LogCaptureFixture, *, marked: bool
) -> None:
    """The state began empty then, in silence.  Positions without a mark are those of an earlier version."""
    stand.make_again(TOPICS.journal)
    if not marked:
        stand.broker._group(GROUP).marks.clear()
    stand.observe("a", *TEN)
    with pytest.raises(ServiceError, match=r"deleted and made again, or is another one.*allow_cold_start: true"):
        stand.serve()
    (unknown,) = stand.verify().unknown
    assert "deleted and made again, or is another one than before: 10 forecasts and 0 dead letters" in unknown
    assert stand.verify().violations == []
    stand.serve(start=COLD)
    assert "deleted and made again, or is another one than before: it begins empty" in warned(caplog)[-1]
    report = stand.verify()
    assert (report.violations, report.forecasts) == ([], 10)
    (unknown,) = report.unknown
    assert "journal's entries of before offset 10 are lost: 10 forecasts and 0 dead letters of that time" in unknown
    stand.stop()
    stand.observe("a", *TEN)
    stand.serve()  # the journal knows again
    assert stand.committed() == 30


def test_a_service_that_has_not_answered_yet_may_start_again(stand: Stand, tmp_path: Path) -> None:
    fresh = Stand(tmp_path / "fresh")
    fresh.serve()
    assert fresh.committed() == 0
    fresh.stop()
    fresh.broker.reset_offsets(GROUP, {fresh.partitions[0]: 4})  # where a person wants the answers to begin
    fresh.observe("a", *TEN)
    fresh.serve()
    assert fresh.journal().start == 4
    assert fresh.verify().proven


@pytest.mark.kafka
@pytest.mark.parametrize(("client", "guarantee"), [(KafkaTransport, "exactly_once"), (LibrdTransport, "at_least_once")])
def test_on_a_real_kafka_a_reset_of_offsets_is_noticed_and_an_undisturbed_restart_is_not(
    kafka: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, client: Callable[[Connection], Transport],
    guarantee: Literal["exactly_once", "at_least_once"],
) -> None:  # fmt: skip
    names = (f"{topic}-{uuid.uuid4().hex}" for topic in ("observations", "forecasts", "dead-letters", "journal"))
    topics = Topics(*names)
    writer = KafkaTransport(Connection(kafka, uuid.uuid4().hex, guarantee="at_least_once"))
    writer.create([TopicSpec(name, 1) for name in astuple(topics)])
    mark = mark_of(writer.describe([topics.journal])[topics.journal])
    who, partition = (
        Connection(kafka, uuid.uuid4().hex, guarantee=guarantee, mark=mark),
        Partition(topics.observations, 0),
    )
    reader = client(who)

    def observe(bars: range) -> None:
        times = [START + bar * MINUTE for bar in bars]
        made = [encode_observation("a", time, [float(time // MINUTE % 7)]) for time in times]
        writer.commit([Outgoing(topics.observations, [0] * len(made), times, [b"a"] * len(made), made)], {})

    def serve(until: int) -> list[str]:
        telemetry, store = Telemetry({"champion": ("tiny", "0")}, 0.8), Store(str(tmp_path), 3)
        service = Service(
            {"champion": model("sample", 0)}, reader, telemetry, topics, Start(), store=store,
            saver=Saver(store, 1e9, telemetry),
        )  # fmt: skip
        loop = Loop(
            client(who), service, [topics.observations], limits=BatchLimits(max_wait_seconds=0.05),
            health=LoopHealth(), observer=Unobserved(),
        )  # fmt: skip
        caplog.clear()
        try:
            while reader.committed([partition]).get(partition) != until or not service._assignment.spans:
                loop.iterate()
        finally:
            loop.close(10.0)
        return [said for said in warned(caplog) if "another program" in said]

    def move(position: int) -> None:
        place = TopicPartition(*partition)
        with KafkaAdminClient(bootstrap_servers=kafka) as admin:
            deadline = time.monotonic() + 100.0
            while time.monotonic() < deadline:  # the group keeps a static member until its session ends, of 15 s
                answer = admin.alter_group_offsets(who.group, {place: OffsetAndMetadata(position, "", -1)})
                if reader.committed([partition])[partition] == position:
                    return
                time.sleep(0.5)
        pytest.fail(f"the position was not moved: {answer}")

    observe(range(10))
    assert serve(10) == []
    observe(range(10, 20))
    assert serve(20) == []
    move(12)
    (said,) = serve(20)
    assert "[0]: another program set the group to 12, and this service had come to 20" in said
    assert serve(20) == []
    for each in (writer, reader):
        each.close(10.0)
