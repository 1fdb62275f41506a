"""Topics that are deleted, made again, or grown under a service: nothing of the former topic is taken for the next."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import astuple, replace
from pathlib import Path

import pytest
from kafka.admin import KafkaAdminClient

from harness.simulation.plan import model
from harness.simulation.stand import GROUP, TOPICS, Stand
from harness.streams import MINUTE, START
from streamcast.consumers.health import LoopHealth
from streamcast.consumers.kafka_python.reader import KafkaReader
from streamcast.consumers.kafka_python.transport import KafkaTransport
from streamcast.consumers.loop import OFFER_SECONDS, BatchLimits, Loop, Unobserved
from streamcast.consumers.memory.transport import MemoryReader, MemoryTransport
from streamcast.consumers.transport import BrokerUnavailable, Connection, Outgoing, Partition, TopicMissing, TopicSpec
from streamcast.errors import ServiceError
from streamcast.service.beginnings import Start
from streamcast.service.saving import Saver
from streamcast.service.service import Service
from streamcast.service.skipping import skip
from streamcast.service.snapshots import Store
from streamcast.service.telemetry.telemetry import Telemetry
from streamcast.service.verification.report import Expectations
from streamcast.service.verification.verify import verify
from streamcast.service.watch import WATCH_SECONDS, TopicWatch
from streamcast.topics.journal import Entry, Journal
from streamcast.topics.names import Topics
from streamcast.topics.observations import encode_observation

TEN = tuple(float(value) for value in (5, 7, 6, 8, 9, 7, 6, 5, 8, 9))
FAR = tuple(value + 500.0 for value in TEN)
COLD = Start(allow_cold_start=True)


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


def restored_from_a_snapshot(stand: Stand) -> None:
    """A service that has a snapshot at offset 10, and has ended; the group remembers its position."""
    stand.observe("a", *TEN)
    stand.serve()
    stand.stop()


@pytest.mark.parametrize("remembered", [None, 10])
def test_a_successor_of_the_input_is_refused_with_the_remedy(stand: Stand, remembered: int | None) -> None:
    restored_from_a_snapshot(stand)
    former = stand.broker.describe([TOPICS.observations])[TOPICS.observations].id
    stand.make_again(TOPICS.observations)
    if remembered is not None:
        stand.broker._group(GROUP).committed[stand.partitions[0]] = remembered
    stand.observe("a", *FAR, *FAR)
    with pytest.raises(ServiceError, match=rf"the journal has {former}, .*allow_cold_start: true") as refused:
        stand.serve()
    assert stand.broker.describe([TOPICS.observations])[TOPICS.observations].id in str(refused.value)
    assert len(stand.values(TOPICS.forecasts)) == 10
    assert "deleted and made again" in stand.verify().unknown[0]


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
def test_a_group_without_positions_does_not_answer_again_what_its_journal_has_answered(
    stand: Stand, guarantee: str
) -> None:
    restored_from_a_snapshot(stand)
    del stand.broker._group(GROUP).committed[stand.partitions[0]]  # as another group, or one that Kafka forgot
    with pytest.raises(ServiceError, match=r"is answered already, .*`streamcast init --name NAME`"):
        stand.serve(guarantee=guarantee)  # type: ignore[arg-type]
    assert len(stand.values(TOPICS.forecasts)) == 10


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
@pytest.mark.parametrize("outputs", ["kept", "made again"])
def test_a_successor_begins_empty_at_its_start_where_cold_starts_are_allowed(
    stand: Stand, guarantee: str, outputs: str
) -> None:
    restored_from_a_snapshot(stand)
    stand.make_again(TOPICS.observations)
    if outputs == "made again":
        stand.make_again(TOPICS.forecasts)
    stand.broker._group(GROUP).committed[stand.partitions[0]] = 10
    stand.observe("a", *FAR, *FAR)
    stand.serve(start=COLD, guarantee=guarantee)  # type: ignore[arg-type]
    assert stand.committed() == 20
    journal = stand.journal()
    assert [(entry.kind, entry.offset) for entry in journal.entries] == [("cold", 0)]
    assert (journal.begin, len(journal.former)) == (0, 1)
    report = stand.verify(exactly_once=guarantee == "exactly_once")
    assert (report.violations, report.forecasts) == ([], 20)
    assert report.unknown == []

    stand.stop()
    stand.serve()
    assert stand.verify(exactly_once=guarantee == "exactly_once").violations == []


def test_a_record_that_was_skipped_before_a_successor_began_is_passed_over(stand: Stand) -> None:
    restored_from_a_snapshot(stand)
    stand.make_again(TOPICS.observations)
    stand.observe("a", *FAR)
    stand.loop.abandon()
    assert skip(MemoryTransport(stand.broker, Connection("memory", GROUP, "0")), TOPICS, stand.partitions[0], 3)
    with pytest.raises(ServiceError, match="deleted and made again"):
        stand.serve()
    stand.serve(start=COLD)
    assert [entry.kind for entry in stand.journal().entries] == ["skip", "cold"]
    report = stand.verify()
    assert (report.violations, report.forecasts, report.dead_letters) == ([], 9, 1)


def test_what_a_deleted_topic_leaves_in_the_outputs_is_not_taken_for_the_next_ones(stand: Stand) -> None:
    restored_from_a_snapshot(stand)
    stand.make_again(TOPICS.observations)
    stand.observe("a", *FAR[:4])
    stand.serve(start=COLD)
    report = stand.verify()
    assert (report.violations, report.forecasts) == ([], 4)
    assert report.unknown == [
        "observations[0]: 6 outputs belong to a topic of this name that was deleted, or to no record"
    ]


def test_decisions_for_a_deleted_topic_do_not_count_for_the_next() -> None:
    def entry(kind: str, offset: int, topic_id: str = "") -> Entry:
        return Entry(kind, "in", 0, offset, topic_id=topic_id)  # type: ignore[arg-type]

    written = [entry("start", 0, "A"), entry("skip", 7), entry("skip", 4, "B"), entry("cold", 3, "B")]
    journal = Journal.of([*written, entry("reset", 5, "B")])
    assert (journal.skips(), journal.begin, journal.topic_id) == (frozenset([4]), 3, "B")
    assert (Journal.of(written[:3]).begin, journal.former) == (None, ["A"])
    assert [each.offset for each in journal.resets()] == [5]


def test_only_the_first_start_counts() -> None:
    starts = [Entry("start", "in", 0, offset, warm_from=2) for offset in (10, 30)]
    journal = Journal.of([starts[0], Entry("reset", "in", 0, 12, key="a"), starts[1]])
    assert (journal.start, journal.begin, journal.repeated) == (10, 8, 1)


def test_a_journal_that_is_made_again_loads_no_snapshot_of_the_former(stand: Stand) -> None:
    restored_from_a_snapshot(stand)
    header = stand.service._assignment.headers(stand.partitions[0], 0, 10, stand.journal())["champion"]
    assert [offset for _, offset in stand.store.newest(header, 10)] == [10]
    stand.make_again(TOPICS.journal)
    stand.serve(start=COLD, working=False)
    stand.service.on_assigned({stand.partitions[0]: 10}, {stand.partitions[0]: (0, 10)})
    header = stand.service._assignment.headers(stand.partitions[0], 0, 10, Journal())["champion"]
    assert list(stand.store.newest(header, 10)) == []


def test_a_service_that_older_versions_began_keeps_its_snapshots_and_learns_the_identity(stand: Stand) -> None:
    known = dict(stand.broker._topics)
    for name, spec in known.items():
        stand.broker._topics[name] = replace(spec, id="")
    restored_from_a_snapshot(stand)
    stand.broker._topics.update(known)
    stand.observe("a", *TEN)
    stand.broker.delete_records(stand.partitions[0], 5)  # so that only the snapshot makes a start possible
    stand.serve()
    assert stand.committed() == 20
    assert stand.journal().topic_id == known[TOPICS.observations].id
    stand.stop()
    stand.make_again(TOPICS.observations)
    with pytest.raises(ServiceError, match="deleted and made again"):
        stand.serve()


def test_partitions_that_only_the_input_has_wait_until_the_outputs_grow_while_the_others_are_answered(
    stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    stand.observe("a", *TEN[:5])
    stand.serve()
    stand.broker.grow(TOPICS.observations, 3)
    stand.partitions = [Partition(TOPICS.observations, index) for index in range(3)]
    stand.observe("b", *TEN, partition=2)
    stand.observe("a", *TEN[5:])
    with caplog.at_level(logging.ERROR, "streamcast"):
        stand.work()
    assert (stand.committed(0), stand.committed(2)) == (10, None)
    assert "observations[1] to [2] are not answered: forecasts, dead-letters, journal must have 3" in caplog.text
    assert "kafka-topics.sh --bootstrap-server HOST:PORT --alter --topic forecasts --partitions 3" in caplog.text

    stand.serve()  # a restart serves the old ones as well
    stand.observe("a", 3.0)
    stand.work()
    assert (stand.committed(0), stand.committed(2)) == (11, None)

    for topic in (TOPICS.forecasts, TOPICS.dead_letters, TOPICS.journal):
        stand.broker.grow(topic, 3)
    stand.seconds += OFFER_SECONDS
    stand.work()
    assert (stand.committed(0), stand.committed(2)) == (11, 10)
    assert stand.verify().proven


def test_snapshots_outlive_partitions_that_are_added(stand: Stand) -> None:
    restored_from_a_snapshot(stand)
    for topic in (TOPICS.observations, TOPICS.forecasts, TOPICS.dead_letters, TOPICS.journal):
        stand.broker.grow(topic, 2)
    stand.broker.delete_records(stand.partitions[0], 10)
    stand.observe("a", *TEN)
    stand.serve()
    assert stand.committed() == 20


def watching(stand: Stand, health: LoopHealth, changed: list[str]) -> TopicWatch:
    known = stand.reader.describe([TOPICS.observations, TOPICS.forecasts, TOPICS.dead_letters, TOPICS.journal])
    return TopicWatch(stand.reader, TOPICS, known, health, changed.append)


@pytest.mark.parametrize("topic", [TOPICS.observations, TOPICS.forecasts, TOPICS.dead_letters, TOPICS.journal])
def test_a_topic_that_is_deleted_makes_the_service_unready_within_a_minute(stand: Stand, topic: str) -> None:
    health, changed = LoopHealth(), list[str]()
    watch = watching(stand, health, changed)
    stand.broker.delete(topic)
    for _ in range(int(60 / WATCH_SECONDS)):
        watch.look()
    assert [problem for problem in health.problems() if f"topic '{topic}' is gone" in problem]
    stand.broker.create(TopicSpec(topic, 1))
    watch.look()
    assert not [problem for problem in health.problems() if "is gone" in problem]
    assert len(changed) == (topic in (TOPICS.observations, TOPICS.journal))


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
def test_records_of_a_topic_that_was_made_again_are_not_answered_from_the_state_of_the_former(
    stand: Stand, guarantee: str
) -> None:
    watch = watching(stand, LoopHealth(), [])
    stand.observe("a", *TEN)
    stand.serve(watch=watch, guarantee=guarantee)  # type: ignore[arg-type]
    stand.make_again(TOPICS.observations)
    stand.observe("a", *FAR, *FAR)
    with pytest.raises(ServiceError, match="deleted and made again while the service ran"):
        stand.work()
    assert (len(stand.values(TOPICS.forecasts)), stand.committed()) == (10, None)
    watch.close(1.0)


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
@pytest.mark.parametrize("reason", ["away", "unknown"])
def test_records_wait_while_no_broker_says_which_topic_they_are_from_and_are_answered_once_then(
    stand: Stand, guarantee: str, reason: str
) -> None:
    class Silent(MemoryReader):
        silent = True

        def identities(self, topics: Sequence[str]) -> dict[str, str]:
            if self.silent and reason == "away":
                raise BrokerUnavailable("broker-1:9092 did not answer")
            return {} if self.silent else super().identities(topics)

    reader = Silent(stand.broker, Connection("memory", GROUP))
    watch = TopicWatch(reader, TOPICS, reader.describe([TOPICS.observations]), LoopHealth(), print)
    stand.observe("a", *TEN)
    stand.serve(watch=watch, guarantee=guarantee, working=False)  # type: ignore[arg-type]
    refused = 0
    for _ in range(30):
        try:
            stand.loop.iterate()
        except BrokerUnavailable:
            refused += 1
    assert refused > 1
    assert stand.values(TOPICS.forecasts) == []
    reader.silent = False
    stand.work()
    assert (len(stand.values(TOPICS.forecasts)), stand.committed()) == (10, 10)
    assert stand.verify(exactly_once=guarantee == "exactly_once").proven
    watch.close(1.0)


def iterate(stand: Stand, times: int) -> None:
    for _ in range(times):
        stand.loop.iterate()


class Slow(MemoryReader):
    """Its broker looks which topic it has at once, and says so only when it is released."""

    def __init__(self, stand: Stand) -> None:
        super().__init__(stand.broker, Connection("memory", GROUP))
        self.released = threading.Event()

    def identities(self, topics: Sequence[str]) -> dict[str, str]:
        """See ``Reader.identities``."""
        found = super().identities(topics)
        self.released.wait(60)
        return found


def test_a_broker_that_is_slow_to_say_which_topic_it_has_stops_nothing(stand: Stand) -> None:
    slow = Slow(stand)
    watch = TopicWatch(slow, TOPICS, slow.describe([TOPICS.observations]), LoopHealth(), print)
    stand.observe("a", *TEN)
    answering = threading.Timer(1.0, slow.released.set)
    answering.start()
    stand.serve(watch=watch)
    assert (len(stand.values(TOPICS.forecasts)), stand.committed()) == (10, 10)
    watch.close(1.0)


def test_an_answer_to_a_question_of_before_the_records_came_does_not_count(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(stand)
    watch = TopicWatch(slow, TOPICS, slow.describe([TOPICS.observations]), LoopHealth(), print)
    stand.observe("a", *TEN)
    stand.serve(watch=watch, working=False)
    with monkeypatch.context() as impatient:
        impatient.setattr("streamcast.service.watch.ANSWER_SECONDS", 0.01)
        with pytest.raises(BrokerUnavailable, match="whether topic 'observations' is the one that it was"):
            iterate(stand, 10)
    stand.make_again(TOPICS.observations)
    stand.observe("a", *FAR, *FAR)
    slow.released.set()
    with pytest.raises(ServiceError, match="deleted and made again while the service ran"):
        stand.work()
    assert stand.values(TOPICS.forecasts) == []
    watch.close(1.0)


@pytest.mark.parametrize("topic", [TOPICS.observations, TOPICS.journal])
def test_the_watch_does_not_take_a_topic_that_was_made_again_for_the_one_that_the_state_is_from(
    stand: Stand, topic: str
) -> None:
    changed = list[str]()
    watch = watching(stand, LoopHealth(), changed)
    stand.make_again(topic)
    watch.look()
    watch.look()
    assert len(changed) == 2
    watch.ask()
    with pytest.raises(ServiceError, match="made again") if topic == TOPICS.observations else nullcontext():
        watch.confirm()
    watch.close(1.0)


def test_outputs_that_are_too_small_are_a_reason_to_be_unready_until_they_grow(stand: Stand) -> None:
    health = LoopHealth()
    watch = watching(stand, health, [])
    stand.broker.grow(TOPICS.observations, 2)
    for _ in range(2):
        watch.look()
    assert "observations[1] to [1] are not answered" in health.problems()[-1]
    for topic in (TOPICS.forecasts, TOPICS.dead_letters, TOPICS.journal):
        stand.broker.grow(topic, 2)
    watch.look()
    assert not [problem for problem in health.problems() if "answered" in problem]


def test_a_broker_that_is_away_makes_an_idle_service_unready_until_it_answers(
    stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing else notices: a client without records polls on in silence."""

    class Away(MemoryReader):
        away = True

        def describe(self, topics: Sequence[str]) -> dict[str, TopicSpec]:
            if self.away:
                raise BrokerUnavailable("broker-1:9092 did not answer")
            return super().describe(topics)

    health, reader = LoopHealth(), Away(stand.broker, Connection("memory", GROUP))
    known = stand.reader.describe([TOPICS.observations, TOPICS.forecasts, TOPICS.dead_letters, TOPICS.journal])
    watch = TopicWatch(reader, TOPICS, known, health, print)
    health.assigned = health.recovered = True
    watch.look()
    assert health.ready()  # once is no failure yet
    for _ in range(3):
        watch.look()
    assert health.problems() == ["the topics cannot be described: broker-1:9092 did not answer"]
    reader.away = False
    watch.look()
    assert health.ready()
    assert [record.message for record in caplog.records] == [
        "the topics cannot be described: broker-1:9092 did not answer",
        "no longer the case: the topics cannot be described: broker-1:9092 did not answer",
    ]


@pytest.mark.kafka
def test_on_a_real_kafka_a_successor_is_refused_or_begins_empty_at_its_start(kafka: str, tmp_path: Path) -> None:
    names = (f"{topic}-{uuid.uuid4().hex}" for topic in ("observations", "forecasts", "dead-letters", "journal"))
    who, topics = Connection(kafka, uuid.uuid4().hex), Topics(*names)
    writer = KafkaTransport(replace(who, group=f"{who.group}-writer", guarantee="at_least_once"))
    writer.create([TopicSpec(name, 1) for name in astuple(topics)])
    reader, partition = KafkaReader(who), Partition(topics.observations, 0)

    def observe(values: tuple[float, ...]) -> None:
        times = [START + bar * MINUTE for bar in range(len(values))]
        made = [encode_observation("a", time, [value]) for time, value in zip(times, values, strict=True)]
        writer.commit([Outgoing(topics.observations, [0] * len(made), times, [b"a"] * len(made), made)], {})

    def serve(until: int, start: Start) -> None:
        tiny, store = model("sample", 0), Store(str(tmp_path), 3)
        telemetry = Telemetry({"champion": ("tiny", "0")}, 0.8)
        transport = KafkaTransport(who)
        saver = Saver(store, 1e9, telemetry)
        service = Service({"champion": tiny}, reader, telemetry, topics, start, store=store, saver=saver)
        limits = BatchLimits(max_wait_seconds=0.05)
        loop = Loop(
            transport, service, [topics.observations], limits=limits, health=LoopHealth(), observer=Unobserved()
        )
        try:
            while reader.committed([partition]).get(partition) != until:
                loop.iterate()
        except BaseException:
            loop.abandon()
            raise
        finally:
            loop.close(10.0)

    observe(TEN)
    serve(10, Start())
    with KafkaAdminClient(bootstrap_servers=kafka) as admin:
        admin.delete_topics([topics.observations])
    while topics.observations in writer.describe([topics.observations]):
        time.sleep(0.1)
    writer.create([TopicSpec(topics.observations, 1)])
    observe(FAR + FAR)
    with pytest.raises(ServiceError, match="was deleted and made again"):
        serve(20, Start())
    serve(20, COLD)
    report = verify(reader, topics, lambda _digest: model("sample", 0), Expectations())
    assert (report.violations, report.forecasts) == ([], 20)
    for each in (writer, reader):
        each.close(10.0)


def test_a_start_without_an_output_names_it(stand: Stand) -> None:
    stand.broker.delete(TOPICS.dead_letters)
    with pytest.raises(TopicMissing, match="topic 'dead-letters' does not exist: `streamcast check --create`"):
        stand.serve()
    stand.broker.create(TopicSpec(TOPICS.dead_letters, 1))
    stand.observe("a", *TEN)
    stand.serve()
    assert stand.committed() == 10
