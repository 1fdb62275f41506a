"""The feed reads every record of the topics into the board, and names what it cannot read."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping

import pytest

from harness.feeder import Feeder
from streamcast.consumers.memory.transport import MemoryBroker, MemoryReader, MemoryTransport
from streamcast.consumers.transport import Batch, Connection, Outgoing, Partition, TopicSpec, TransportError
from streamcast.page import views
from streamcast.page.board import Board
from streamcast.page.feed import Feed, follow


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


class Producer:
    """Writes what a feeder makes to the topics of a broker in this process."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._transport = MemoryTransport(broker, Connection("memory", "feeder"))

    def create(self) -> None:
        topics = ("observations", "forecasts", "dead-letters")
        self._transport.create([TopicSpec(topic, partitions=2) for topic in topics])

    def write(self, batch: Batch) -> None:
        partitions = [number % 2 for number in range(len(batch))]
        topic = batch.partition.topic
        columns = batch.timestamps, batch.keys, batch.values, batch.headers
        self._transport.commit([Outgoing(topic, partitions, *columns)], {})


@pytest.fixture
def feed(board: Board, broker: MemoryBroker) -> Feed:
    return make_feed(MemoryReader(broker, Connection("memory", "page")), board)


def make_feed(reader: object, board: Board, backlog: int = 200_000) -> Feed:
    names = {"observations": "observations", "forecasts": "forecasts", "dead_letters": "dead-letters"}
    return Feed(reader, board, **names, backlog=backlog)  # type: ignore[arg-type]


def test_the_feed_reads_every_record_once(broker: MemoryBroker, feed: Feed, board: Board) -> None:
    producer, feeder = Producer(broker), Feeder(4)
    producer.create()
    for _ in range(5):
        producer.write(feeder.records())
        producer.write(feeder.forecasts())
        feed.read_some()
    producer.write(feeder.dead_letters([(b"x", "json", "bad")]))
    assert feed.read_some() is False
    assert (board.pulse.records.total, board.pulse.forecasts.total, board.counts["dead_letters"]) == (20, 40, 1)
    assert len(board.tracks) == 4


def test_the_page_reads_until_it_has_what_was_there_at_its_start(
    broker: MemoryBroker, feed: Feed, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then the newest that it has is not the newest that there is: "43 days late", and the model of then."""
    monkeypatch.setattr("streamcast.page.feed._CHUNK", 10)
    producer, feeder = Producer(broker), Feeder(4)
    producer.create()
    for _ in range(20):
        producer.write(feeder.records())
        producer.write(feeder.forecasts())
    board.start_reading()
    shares = [views.stats(board)["reading"]]
    board.report_service({})
    while shares[-1] is not None:
        assert feed.read_some()
        producer.write(feeder.records())
        producer.write(feeder.forecasts())
        board.score()
        shares.append(views.stats(board)["reading"])
    known = shares[:-1]
    assert known == sorted(set(known))
    assert len(known) == 10, "ten offsets a time, of 80 forecasts and 20 marks of transactions in a partition"
    assert feed.read_some(), "what came since is no part of it"


def test_a_page_that_is_too_slow_skips_records_and_reports_it(broker: MemoryBroker, board: Board) -> None:
    producer, feeder = Producer(broker), Feeder(10)
    producer.create()
    feed = make_feed(MemoryReader(broker, Connection("memory", "page")), board, backlog=40)
    producer.write(feeder.records())
    feed.read_some()
    for _ in range(20):
        producer.write(feeder.records())
        feeder.forecasts()
    feed.read_some()
    assert board.pulse.records.total + board.counts["skipped"] >= 210
    assert views.stats(board)["skipped"] > 100


def test_a_burst_of_dead_letters_over_many_partitions_is_counted_whole(broker: MemoryBroker, board: Board) -> None:
    writer = MemoryTransport(broker, Connection("memory", "feeder"))
    writer.create([TopicSpec(topic, 40) for topic in ("observations", "forecasts", "dead-letters")])
    feed = make_feed(MemoryReader(broker, Connection("memory", "page")), board)

    def reject(partition: int, times: list[int]) -> None:
        values = [b"%d" % time for time in times]
        count = len(times)
        writer.commit([Outgoing("dead-letters", [partition] * count, times, [None] * count, values)], {})

    reject(3, list(range(1_000, 1_500)))
    feed.read_some()
    board.score()
    assert [letter.value for letter in board.dead] == [str(time) for time in range(1_450, 1_500)]
    before = board.counts["dead_letters"]
    assert before < 500
    reject(7, list(range(2_000, 2_090)))
    reject(39, [2_500, 2])
    feed.read_some()
    assert board.counts["dead_letters"] == before + 92
    assert board.counts["skipped"] == 0
    shown = [letter.value for letter in board.dead]
    assert sorted(shown, key=int) == ["2", *(str(time) for time in range(2_042, 2_090)), "2500"]
    assert set(shown[-4:]) == {"2088", "2500", "2089", "2"}, "those nearest to the ends of their partitions are newest"


def test_the_partitions_of_a_topic_are_read_together(broker: MemoryBroker, board: Board) -> None:
    """Each reading waits for the broker, and the page fell behind a topic of many partitions."""

    class Watched(MemoryReader):
        def read_ranges(self, ranges: Mapping[Partition, tuple[int, int]]) -> Iterator[list[Batch]]:
            read.append(list(ranges))
            return super().read_ranges(ranges)

    read: list[list[Partition]] = []
    producer, feeder = Producer(broker), Feeder(4)
    producer.create()
    producer.write(feeder.records())
    make_feed(Watched(broker, Connection("memory", "page")), board).read_some()
    topics = ("observations", "forecasts", "dead-letters")
    assert read == [[Partition(topic, 0), Partition(topic, 1)] for topic in topics]


def test_a_missing_topic_is_named_and_the_others_are_read(broker: MemoryBroker, feed: Feed, board: Board) -> None:
    assert feed.read_some() is False
    assert views.stats(board)["trouble"] == "there is no topic observations, forecasts, dead-letters"
    Producer(broker).create()
    feed.read_some()
    assert views.stats(board)["trouble"] is None


def test_a_broker_error_is_shown_until_the_broker_answers_again(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[object] = []
    stop = threading.Event()

    class Flaky:
        def describe(self, topics: object) -> dict[str, TopicSpec]:
            shown.append(views.stats(board)["trouble"])
            if len(shown) == 1:
                raise TransportError("the broker does not answer: is it running?")
            if len(shown) == 3:
                stop.set()
            return {}

    monkeypatch.setattr("streamcast.page.feed._RETRY_SECONDS", 0.05)
    follow(make_feed(Flaky(), board), board, stop)
    missing = "there is no topic observations, forecasts, dead-letters"
    assert shown == [None, "the broker does not answer: is it running?", missing]
