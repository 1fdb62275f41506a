"""The promises of every transport about records and topics, over the broker in the process and a real Kafka."""

from __future__ import annotations

import uuid

import pytest
from confluent_kafka import Producer, Uuid
from confluent_kafka.admin import TopicDescription  # type: ignore[attr-defined]
from kafka.codec import has_snappy
from kafka.errors import KafkaTimeoutError

from streamcast.consumers.kafka_python.reader import _identity as kp_identity
from streamcast.consumers.kafka_python.reader import _operations as kp_operations
from streamcast.consumers.kafka_python.transport import KafkaTransport
from streamcast.consumers.librdkafka.reader import LibrdReader
from streamcast.consumers.librdkafka.reader import _identity as rd_identity
from streamcast.consumers.librdkafka.reader import _operations as rd_operations
from streamcast.consumers.transport import (
    EVERYTHING,
    BrokerUnavailable,
    CodecMissing,
    Connection,
    Outgoing,
    Partition,
    Reader,
    RecordsGone,
    TopicMissing,
    TopicSpec,
)
from tests.consumers.world import (
    Heard,
    World,
    delete_records,
    delete_topic,
    everything,
    join,
    numbered,
    take,
    until,
    values,
)


def test_records_arrive_whole_and_in_the_order_they_were_sent(world: World) -> None:
    topic = world.topic(partitions=3)
    for first in (0, 300, 600):
        world.admin.commit([numbered(topic, first, 300, partitions=3)], {})
    transport = world.connect()
    join(transport, topic)
    batches = take(transport, 900, max_records=70)
    for index in range(3):
        mine = [batch for batch in batches if batch.partition == Partition(topic, index)]
        assert values(mine) == [b"%d" % number for number in range(index, 900, 3)]
        assert [t for batch in mine for t in batch.timestamps] == [number * 1000 + 1 for number in range(index, 900, 3)]
        assert [k for batch in mine for k in batch.keys] == [b"key-%d" % number for number in range(index, 900, 3)]
        offsets = [offset for batch in mine for offset in batch.offsets]
        assert offsets == sorted(set(offsets))
    assert {len(batch) <= 70 for batch in batches} == {True}


def test_a_poll_returns_no_more_records_than_asked_for(world: World) -> None:
    topic = world.topic(partitions=2)
    world.admin.commit([numbered(topic, 0, 100, partitions=2)], {})
    transport = world.connect()
    join(transport, topic)
    sizes: list[int] = []
    while sum(sizes) < 100:
        sizes.append(sum(map(len, transport.poll(1.0, 7))))
    assert max(sizes) == 7


def test_positions_step_over_the_marker_of_a_transaction(world: World) -> None:
    topic = world.topic()
    for first in (0, 10):
        world.admin.commit([numbered(topic, first, 10)], {})
    batches = everything(world.reader(), topic, 20)
    assert [offset for batch in batches for offset in batch.offsets] == [*range(10), *range(11, 21)]
    partition = Partition(topic, 0)
    assert values(list(world.reader().read_range(partition, 10, 12))) == [b"10"]
    assert list(world.reader().read_range(partition, 10, 11)) == []


def test_absent_keys_and_values_and_headers_come_back_as_they_were(world: World) -> None:
    topic = world.topic()
    headers = [[("reason", b"poison"), ("empty", b"")], []]
    world.admin.commit([Outgoing(topic, [0, 0], [5, 6], [None, b"k"], [b"v", None], headers)], {})
    batches = everything(world.reader(), topic, 2)
    assert [key for batch in batches for key in batch.keys] == [None, b"k"]
    assert values(batches) == [b"v", None]
    assert [list(each) for batch in batches for each in batch.headers or [()] * len(batch)] == headers


def test_a_poll_with_nothing_to_deliver_returns_nothing(world: World) -> None:
    transport = world.connect()
    join(transport, world.topic())
    assert transport.poll(0.2, 10) == []


def test_new_partitions_deliver_nothing_until_they_are_sought(world: World) -> None:
    topic = world.topic()
    world.admin.commit([numbered(topic, 0, 10)], {})
    transport, heard = world.connect(), Heard()
    transport.subscribe([topic], heard)
    assert until(lambda: bool(heard.assigned), transport) == []
    assert transport.poll(0.3, 10) == []
    transport.seek({Partition(topic, 0): 4})
    assert values(take(transport, 6)) == [b"4", b"5", b"6", b"7", b"8", b"9"]


def test_a_topic_that_is_made_again_has_another_identity(world: World) -> None:
    topic, reader = world.topic(), world.reader()
    first = reader.describe([topic])[topic].id
    assert reader.identities([topic, "absent"]) == {topic: first}
    assert first
    assert world.connect("other").describe([topic])[topic].id == first
    delete_topic(world, topic)
    until(lambda: topic not in reader.describe([topic]))
    world.admin.create([TopicSpec(topic, 1)])
    assert reader.describe([topic])[topic].id not in {"", first}, "create returned before the brokers knew the topic"


@pytest.mark.kafka
@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd", "snappy"])
def test_compressed_records_are_read_or_the_package_that_reads_them_is_named(kafka: str, codec: str) -> None:
    transport = KafkaTransport(Connection(kafka, uuid.uuid4().hex))
    topic = f"topic-{uuid.uuid4().hex}"
    transport.create([TopicSpec(topic, 1)])
    producer = Producer({"bootstrap.servers": kafka, "compression.type": codec})
    producer.produce(topic, b"1" * 1000)  # a value that does not shrink would be sent as it is
    assert producer.flush(30) == 0
    readers: list[Reader] = [transport, LibrdReader(Connection(kafka, "group"))]
    try:
        for reader in readers:
            if codec == "snappy" and reader is transport and not has_snappy():
                with pytest.raises(CodecMissing, match=r"snappy.*: pip install python-snappy\), or set kafka.client"):
                    everything(reader, topic, 1)
                transport.subscribe([topic], heard := Heard())
                until(lambda: bool(heard.assigned), transport)
                transport.seek(dict.fromkeys(heard.assigned, 0))
                with pytest.raises(CodecMissing, match="cannot decompress records while polling"):
                    take(transport, 1)
            else:
                assert values(everything(reader, topic, 1)) == [b"1" * 1000]
    finally:
        for reader in readers:
            reader.close(10)


@pytest.mark.kafka
def test_both_clients_name_a_topic_alike(kafka: str) -> None:
    readers: list[Reader] = [KafkaTransport(Connection(kafka, "group")), LibrdReader(Connection(kafka, "group"))]
    topic = f"topic-{uuid.uuid4().hex}"
    readers[0].create([TopicSpec(topic, 1)])  # type: ignore[attr-defined]
    assert len({reader.describe([topic])[topic].id for reader in readers}) == 1
    for reader in readers:
        reader.close(10)


def test_a_partition_that_is_paused_alone_is_delivered_whole_after_it(world: World) -> None:
    topic = world.topic(partitions=2)
    world.admin.commit([numbered(topic, 0, 200, partitions=2)], {})
    transport = world.connect()
    join(transport, topic)
    batches = take(transport, 10, max_records=10)
    paused = batches[0].partition
    transport.pause([paused])
    while sum(len(batch) for batch in batches if batch.partition != paused) < 100:
        batches += take(transport, 1)
    transport.resume([paused])
    batches += take(transport, 200 - sum(map(len, batches)))
    assert sorted(map(int, filter(None, values(batches)))) == list(range(200))


def test_paused_partitions_deliver_nothing_and_the_group_keeps_its_member(world: World) -> None:
    topic = world.topic(partitions=2)
    transport = world.connect()
    heard = join(transport, topic)
    transport.pause([Partition(topic, 0)])
    world.admin.commit([numbered(topic, 0, 20, partitions=2)], {})
    assert {batch.partition for batch in take(transport, 10)} == {Partition(topic, 1)}
    for _ in range(20):
        assert transport.poll(0.1, 100) == []
    assert (heard.revoked, heard.lost) == ([], [])
    transport.resume([Partition(topic, 0)])
    assert values(take(transport, 10)) == [b"%d" % number for number in range(0, 20, 2)]


def test_seeking_reads_again_from_there(world: World) -> None:
    topic = world.topic()
    world.admin.commit([numbered(topic, 0, 10)], {})
    transport = world.connect()
    join(transport, topic)
    take(transport, 10)
    transport.seek({Partition(topic, 0): 7})
    assert values(take(transport, 3)) == [b"7", b"8", b"9"]


def test_lag_counts_down_to_nothing(world: World) -> None:
    topic = world.topic()
    world.admin.commit([numbered(topic, 0, 10)], {})
    transport = world.connect()
    join(transport, topic)
    take(transport, 4, max_records=4)
    assert transport.lag()[Partition(topic, 0)] >= 6
    take(transport, 6)
    until(lambda: transport.lag() == {Partition(topic, 0): 0}, transport)


def test_a_range_is_read_exactly(world: World) -> None:
    topic = world.topic()
    world.admin.commit([numbered(topic, 0, 100)], {})
    reader, partition = world.reader(), Partition(topic, 0)
    assert values(list(reader.read_range(partition, 20, 30))) == [b"%d" % number for number in range(20, 30)]
    assert list(reader.read_range(partition, 20, 20)) == []


def test_ranges_of_many_partitions_are_read_at_once_and_exactly(world: World) -> None:
    topic = world.topic(partitions=4)
    world.admin.commit([numbered(topic, 0, 200, partitions=4)], {})
    ranges = {Partition(topic, 0): (10, 40), Partition(topic, 1): (0, 50), Partition(topic, 2): (7, 7)}
    read: dict[Partition, list[bytes | None]] = {}
    for batches in world.reader().read_ranges(ranges):
        for batch in batches:
            read.setdefault(batch.partition, []).extend(batch.values)
            assert batch.next_offset <= ranges[batch.partition][1]
    assert read == {
        Partition(topic, 0): [b"%d" % (4 * row) for row in range(10, 40)],
        Partition(topic, 1): [b"%d" % (4 * row + 1) for row in range(50)],
    }


def test_records_that_retention_has_passed_are_reported_as_gone(world: World) -> None:
    topic = world.topic()
    partition = Partition(topic, 0)
    world.admin.commit([numbered(topic, 0, 100)], {})
    transport = world.connect()
    join(transport, topic)
    take(transport, 5, max_records=5)
    transport.pause([partition])
    delete_records(world, partition, 50)
    assert world.reader().bounds([partition])[partition][0] == 50
    with pytest.raises(RecordsGone, match="50"):
        list(world.reader().read_range(partition, 49, 60))
    transport.seek({partition: 10})
    transport.resume([partition])
    with pytest.raises(RecordsGone):
        take(transport, 1)


def test_offsets_are_found_by_time(world: World) -> None:
    topic = world.topic()
    world.admin.commit([numbered(topic, 0, 10)], {})
    partition, reader = Partition(topic, 0), world.reader()
    everything(reader, topic, 10)
    assert reader.offsets_at([partition], 3500) == {partition: 4}
    assert reader.offsets_at([partition], 0) == {partition: 0}
    assert reader.offsets_at([partition], 4_000_000_000_000) == {partition: reader.bounds([partition])[partition][1]}


def test_topics_are_created_once_and_described(world: World) -> None:
    name = world.topic(partitions=3, **{"retention.ms": "60000"})
    world.admin.create([TopicSpec(name, 7)])
    described = world.reader().describe([name, "no-such-topic"])
    assert list(described) == [name]
    assert (described[name].partitions, described[name].replication) == (3, 1)
    assert described[name].config["retention.ms"] == "60000"


def test_the_broker_decides_the_replication_of_a_topic_that_names_none(world: World) -> None:
    name = f"default-{uuid.uuid4().hex}"
    world.admin.create([TopicSpec(name, 2)])
    assert world.reader().describe([name])[name].replication == 1  # every broker of the tests stands alone


def test_a_missing_topic_is_an_error_and_is_not_created(world: World) -> None:
    missing = f"typo-{uuid.uuid4().hex}"
    with pytest.raises(TopicMissing, match=missing):
        world.connect().subscribe([missing], Heard())
    with pytest.raises(TopicMissing, match=missing):
        world.reader().bounds([Partition(missing, 0)])
    assert world.reader().describe([missing]) == {}


def test_where_nothing_is_forbidden_everything_that_a_service_needs_is_allowed(world: World) -> None:
    topic, reader = world.topic(), world.reader()
    allowed = reader.topic_operations([topic, "no-such-topic"])
    assert list(allowed) == [topic]
    assert allowed[topic] >= {"READ", "WRITE", "DESCRIBE"}
    assert "READ" in reader.group_operations(), "of a group that has had no member"


def test_a_broker_that_tells_neither_operations_nor_identities_allows_everything_and_its_topics_have_none() -> None:
    """Brokers before Kafka 2.8 have no identities, and some that are not Apache Kafka tell no operations."""
    untold = TopicDescription("topic", Uuid(0, 0), False, [])
    assert rd_operations(untold) == kp_operations({"authorized_operations": None}) == kp_operations({}) == EVERYTHING
    assert rd_operations(TopicDescription("topic", Uuid(0, 0), False, [], ["READ"])) == {"READ"}
    assert kp_operations({"authorized_operations": []}) == frozenset()
    assert kp_identity({"name": "topic"}) == rd_identity(Uuid(0, 0)) == ""


@pytest.mark.kafka
def test_a_kafka_python_reader_that_fails_while_the_broker_answers_makes_new_clients(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, reader = f"topic-{uuid.uuid4().hex}", KafkaTransport(Connection(kafka, "group"))
    reader.create([TopicSpec(topic, 1)])
    partition = Partition(topic, 0)
    assert reader.bounds([partition]) == {partition: (0, 0)}

    def stale(*_how: object, **_more: object) -> None:
        raise KafkaTimeoutError("Failed to get offsets by timestamps in 10000 ms")

    monkeypatch.setattr(reader._offsets(), "end_offsets", stale)
    with pytest.raises(BrokerUnavailable, match="10000 ms"):
        reader.bounds([partition])
    assert reader.bounds([partition]) == {partition: (0, 0)}
    reader.close(10)


def test_columns_of_different_lengths_are_refused_before_anything_is_sent() -> None:
    with pytest.raises(ValueError, match=r"2 partitions, 1 timestamps, 2 keys, 2 values"):
        Outgoing("forecasts", [0, 0], [1], [None, None], [b"a", b"b"])
    with pytest.raises(ValueError, match="1 headers"):
        Outgoing("forecasts", [0, 0], [1, 2], [None, None], [b"a", b"b"], [[]])


def test_a_message_names_a_partition_by_its_topic_and_number() -> None:
    assert f"{Partition('observations', 3)} is away" == "observations[3] is away"
