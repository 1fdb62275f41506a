"""Transport and Reader over Apache Kafka through confluent-kafka (librdkafka): the same promises, much faster.

It is an extra: ``pip install 'streamcast-forecasting[librdkafka]'``.  Options of the connection carry librdkafka's
names ("ssl.ca.location"); those that only a consumer or only a producer knows go to that one.

``seek`` assigns, at the positions it is given: librdkafka's own seek may come too early after an assignment.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from consumers.background import started
from consumers.following import FollowingPositions
from consumers.transport import (
    Batch,
    BrokerUnavailable,
    Connection,
    Fenced,
    InDoubt,
    Listener,
    Outgoing,
    Partition,
    Positions,
    RecordsGone,
    TopicMissing,
    TopicSpec,
    TransportError,
)

try:
    from confluent_kafka import (
        Consumer,
        IsolationLevel,
        KafkaError,
        KafkaException,
        Producer,
        TopicPartition,
    )
    from confluent_kafka.admin import (  # type: ignore[attr-defined]
        AdminClient,
        ConfigResource,
        ConfigSource,
        NewTopic,
        OffsetSpec,
        ResourceType,
    )
except ImportError as error:
    raise ImportError(
        "kafka.client is librdkafka, and confluent-kafka is not installed: "
        "pip install 'streamcast-forecasting[librdkafka]'"
    ) from error

log = logging.getLogger("librdkafka")

CONNECT_SECONDS = 10.0
REQUEST_MS = 8_000
DELIVERY_MS = 20_000
TRANSACTION_MS = 30_000
COMMIT_SECONDS = 25.0
"""How long a commit may take in all before it is in doubt."""
MANY = 1_000
"""At least once, a turn waits until fewer answers than these are acknowledged, and lets more follow."""
READ_SECONDS = 15.0
"""How long ``read_range`` waits for the next records."""
RANGE_RECORDS = 5_000

CONSUMER_ONLY = ("session.", "heartbeat.", "max.poll.", "fetch.", "queued.", "check.crcs")
PRODUCER_ONLY = ("delivery.", "message.", "transaction.", "linger.", "batch.", "compression.", "queue.buffering.")

END_REACHED = KafkaError._PARTITION_EOF
FENCED = {
    KafkaError._FENCED,
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.FENCED_INSTANCE_ID,
}
MOVED = {
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError._NOENT,
}
"""Errors that a client makes which has not heard of a partition's new leader."""
GONE = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}
MISSING = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}
REFUSED = {
    KafkaError._INVALID_ARG,
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.INCONSISTENT_GROUP_PROTOCOL,
    KafkaError.INVALID_SESSION_TIMEOUT,
    KafkaError.INVALID_TRANSACTION_TIMEOUT,
    KafkaError.INVALID_CONFIG,
    KafkaError.INVALID_PARTITIONS,
    KafkaError.INVALID_REPLICATION_FACTOR,
    KafkaError.POLICY_VIOLATION,
    KafkaError.TOPIC_EXCEPTION,
}
REPORTED = FENCED | GONE | MISSING | REFUSED | {KafkaError._FATAL}


class LibrdReader:
    """Reads topics without joining a group; see ``Reader``.  Clients connect when they are first needed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._admin_client: AdminClient | None = None
        self._offsets_client: Consumer | None = None

    def describe(self, topics: Sequence[str]) -> dict[str, TopicSpec]:
        """See ``Reader.describe``."""
        with self._talking("describing topics"):
            known = self._admin().list_topics(timeout=CONNECT_SECONDS).topics
            found = {name: known[name].partitions for name in topics if name in known and known[name].error is None}
            resources = [ConfigResource(ResourceType.TOPIC, name) for name in found]
            answers = self._admin().describe_configs(resources, request_timeout=CONNECT_SECONDS) if resources else {}
            configs = {resource.name: answer.result() for resource, answer in answers.items()}
        return {
            name: TopicSpec(
                name,
                partitions=len(partitions),
                replication=len(partitions[0].replicas),
                config={
                    key: entry.value
                    for key, entry in configs[name].items()
                    if entry.source == ConfigSource.DYNAMIC_TOPIC_CONFIG.value
                },
            )
            for name, partitions in found.items()
        }

    def bounds(self, partitions: Sequence[Partition]) -> dict[Partition, tuple[int, int]]:
        """See ``Reader.bounds``."""
        first = self._list_offsets(partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        last = self._list_offsets(partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        return {partition: (first[partition], last[partition]) for partition in partitions}

    def ends(self, partitions: Sequence[Partition]) -> Positions:
        """See ``Reader.ends``."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        return self._list_offsets(partitions, latest, IsolationLevel.READ_UNCOMMITTED)

    def offsets_at(self, partitions: Sequence[Partition], timestamp_ms: int) -> Positions:
        """See ``Reader.offsets_at``."""
        ends = self._list_offsets(partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        found = self._list_offsets(partitions, OffsetSpec.for_timestamp(timestamp_ms))
        return {partition: found[partition] if found[partition] >= 0 else end for partition, end in ends.items()}

    def read_range(self, partition: Partition, start: int, end: int) -> Iterator[Batch]:
        """See ``Reader.read_range``."""
        if start >= end:
            return
        first, _ = self.bounds([partition])[partition]
        if start < first:
            raise RecordsGone.before(partition, first, start)
        with self._talking("connecting"):
            client = self._new_consumer({"enable.partition.eof": True})
        try:
            client.assign([TopicPartition(*partition, start)])
            progress_deadline = time.monotonic() + READ_SECONDS
            while start < end:
                with self._talking(f"reading {partition.topic}[{partition.index}]"):
                    records, ends = self._sorted(_consume(client, 0.25, RANGE_RECORDS))
                wanted = [record for record in records.get(partition, ()) if record.offset() < end]
                position = max(
                    ends.get(partition, 0), *(record.offset() + 1 for record in records.get(partition, ())), start
                )
                if wanted:
                    yield _columns(partition, wanted, min(position, end))
                if position > start:
                    start, progress_deadline = position, time.monotonic() + READ_SECONDS
                elif time.monotonic() > progress_deadline:
                    raise BrokerUnavailable.silent(partition, start, end, READ_SECONDS)
        finally:
            client.close()

    def committed(self, partitions: Sequence[Partition]) -> Positions:
        """See ``Reader.committed``."""
        if not partitions:
            return {}
        with self._talking("asking for committed positions"):
            if self._offsets_client is None:
                self._offsets_client = self._new_consumer({})
            asked = [TopicPartition(*partition) for partition in partitions]
            answers = self._offsets_client.committed(asked, timeout=CONNECT_SECONDS)
            for answer in answers:
                if answer.error is not None:
                    raise KafkaException(answer.error)
        return {Partition(answer.topic, answer.partition): answer.offset for answer in answers if answer.offset >= 0}

    def close(self, timeout_seconds: float) -> None:
        """See ``Reader.close``; librdkafka bounds its own closing."""
        if self._offsets_client is not None:
            self._offsets_client.close()
        self._admin_client = self._offsets_client = None

    def _list_offsets(
        self, partitions: Sequence[Partition], spec: OffsetSpec,
        isolation: IsolationLevel = IsolationLevel.READ_COMMITTED,
    ) -> Positions:  # fmt: skip
        self._require({partition.topic for partition in partitions})
        wanted = {TopicPartition(*partition): spec for partition in partitions}
        deadline = time.monotonic() + READ_SECONDS
        with self._talking("asking for offsets"):
            while True:
                answers = self._admin().list_offsets(wanted, isolation_level=isolation, request_timeout=CONNECT_SECONDS)
                try:
                    found = {name: answer.result().offset for name, answer in answers.items()}
                except KafkaException as failure:
                    if failure.args[0].code() not in MOVED or time.monotonic() > deadline:
                        raise
                else:
                    return {Partition(name.topic, name.partition): offset for name, offset in found.items()}
                self._admin_client = None  # it would go by the old leader for minutes
                time.sleep(0.5)

    def _require(self, topics: set[str]) -> None:
        if missing := sorted(topics - set(self.describe(sorted(topics)))):
            where = self._connection.bootstrap_servers
            raise TopicMissing(f"There is no topic {', '.join(missing)} on {where}: create it first")

    def _admin(self) -> AdminClient:
        if self._admin_client is None:
            self._admin_client = AdminClient(self._settings({}, CONSUMER_ONLY + PRODUCER_ONLY, {}))
        return self._admin_client

    def _new_consumer(self, more: dict[str, Any]) -> Consumer:
        tuned: dict[str, Any] = {"fetch.queue.backoff.ms": 10, "check.crcs": True}
        fixed = {
            "group.id": self._connection.group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "error",
            "allow.auto.create.topics": False,
        }
        return Consumer(self._settings(tuned | more, PRODUCER_ONLY, fixed))

    def _settings(self, tuned: dict[str, Any], unknown: tuple[str, ...], fixed: dict[str, Any]) -> dict[str, Any]:
        """Our settings, those of the connection that this client knows, and those that nobody may change."""
        options = {name: value for name, value in self._connection.options.items() if not name.startswith(unknown)}
        where = {
            "bootstrap.servers": self._connection.bootstrap_servers,
            "socket.timeout.ms": REQUEST_MS,
            "logger": log,
        }
        return where | tuned | options | fixed

    def _sorted(self, messages: Sequence[Any]) -> tuple[dict[Partition, list[Any]], Positions]:
        """Records by partition, and the ends that were reached; raises what the client does not cure by itself."""
        records: dict[Partition, list[Any]] = {}
        ends: Positions = {}
        names: dict[tuple[str, int], list[Any]] = {}
        for message in messages:
            if (error := message.error()) is None:
                name = message.topic(), message.partition()
                if name not in names:
                    names[name] = records[Partition(*name)] = []
                names[name].append(message)
            elif error.code() == END_REACHED:
                ends[Partition(message.topic(), message.partition())] = message.offset()
            elif error.fatal() or error.code() in REPORTED:
                raise KafkaException(error)
        return records, ends

    @contextmanager
    def _talking(self, doing: str) -> Iterator[None]:
        """Turn the client's errors into ours."""
        try:
            yield
        except KafkaException as failure:
            error: KafkaError = failure.args[0]
            if error.code() in FENCED:
                raise Fenced.replaced(self._connection, error) from failure
            if error.code() in GONE:
                told = f"Retention has passed a position ({error}): start later, or from a newer snapshot"
                raise RecordsGone(told) from failure
            if error.code() in MISSING:
                raise TopicMissing(f"A topic is missing ({error}): create it first") from failure
            if error.code() in REFUSED:
                raise TransportError(f"Kafka refused {doing}: {error}") from failure
            if error.fatal() or error.code() == KafkaError._FATAL:
                raise TransportError(
                    f"The client gave up for good while {doing} ({error}): restart this process"
                ) from failure
            # Clients that met a cluster without a controller wait for it until they ask again, minutes later.
            self._admin_client = self._offsets_client = None
            where = self._connection.bootstrap_servers
            raise BrokerUnavailable(
                f"{where} did not answer while {doing} ({error}): "
                "check kafka.bootstrap_servers and that the broker runs"
            ) from failure


class LibrdTransport(LibrdReader):
    """A group member and producer; see ``Transport``.  Call it from one thread."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._consumer: Consumer | None = None
        self._producer: Producer | None = None
        self._failures: list[KafkaError] = []
        self._following = FollowingPositions(self._ask)
        self._working = False
        self._positions: Positions = {}
        self._sought: Positions = {}
        self._paused: set[Partition] = set()

    def subscribe(self, topics: Sequence[str], listener: Listener) -> None:
        """See ``Transport.subscribe``; what a crashed predecessor left open is ended here."""
        self._require(set(topics))
        with self._talking("joining the group"):
            self._producer = self._new_producer()
            self._consumer = self._new_consumer({
                "group.instance.id": self._connection.instance,
                "partition.assignment.strategy": self._connection.assignor,
                "session.timeout.ms": 15_000,
                "heartbeat.interval.ms": 3_000,
                "max.poll.interval.ms": 300_000,
                "enable.partition.eof": True,
                "on_commit": self._on_positions,
            })  # fmt: skip

        def on_assign(_consumer: Consumer, names: list[TopicPartition]) -> None:
            self._place({})  # nothing is fetched until ``seek``
            if names:
                listener.on_assigned(_partitions(names))

        def on_revoke(_consumer: Consumer, names: list[TopicPartition]) -> None:
            self._commit_last(_partitions(names))
            self._give_up(_partitions(names))
            if names:
                listener.on_revoked(_partitions(names))

        def on_lost(_consumer: Consumer, names: list[TopicPartition]) -> None:
            self._give_up(_partitions(names))
            if names:
                listener.on_lost(_partitions(names))

        self._consumer.subscribe(list(topics), on_assign=on_assign, on_revoke=on_revoke, on_lost=on_lost)

    def poll(self, timeout_seconds: float, max_records: int) -> list[Batch]:
        """See ``Transport.poll``."""
        consumer, deadline = self._joined(), time.monotonic() + timeout_seconds
        while True:
            timeout = 0.0 if self._following.held else max(0.0, deadline - time.monotonic())
            with self._talking("polling"):
                self._following.ask()
                records, ends = self._sorted(_consume(consumer, timeout, max_records))
            self._positions.update(ends)
            batches = []
            for partition, mine in records.items():
                self._positions[partition] = max(mine[-1].offset() + 1, ends.get(partition, 0))
                batches.append(_columns(partition, mine, self._positions[partition]))
            if batches or (not self._following.held and time.monotonic() >= deadline):
                return batches
            with self._committing(self._following.held):
                self._await_held(time.monotonic() + COMMIT_SECONDS)

    def commit(self, outgoing: Iterable[Outgoing], positions: Positions) -> None:
        """See ``Transport.commit``."""
        deadline = time.monotonic() + COMMIT_SECONDS
        with self._committing(positions):
            self._check_assigned(positions)
            producer = self._producer = self._producer or self._new_producer()
            if self._connection.guarantee == "exactly_once":
                self._commit_transaction(producer, outgoing, positions, deadline)
            else:
                self._commit_plainly(producer, outgoing, positions, deadline)
            self._connection.passed("committed")

    def settle(self) -> Positions:
        """See ``Transport.settle``."""
        self._drop_producer()
        self._following.clear()
        with self._talking("settling a transaction"):
            self._producer = self._new_producer()
        stable = self._sought | self.committed(list(self._sought))
        if stable:
            self.seek(stable)
        return stable

    def seek(self, positions: Positions) -> None:
        """See ``Transport.seek``."""
        with self._talking("seeking"):
            self._place(positions)
        self._sought.update(positions)
        self.pause(list(self._paused))

    def pause(self, partitions: Sequence[Partition]) -> None:
        """See ``Transport.pause``."""
        self._paused.update(partitions)
        self._joined().pause([TopicPartition(*partition) for partition in partitions if partition in self._positions])

    def resume(self, partitions: Sequence[Partition]) -> None:
        """See ``Transport.resume``."""
        self._paused.difference_update(partitions)
        self._joined().resume([TopicPartition(*partition) for partition in partitions if partition in self._positions])

    def lag(self) -> dict[Partition, int]:
        """See ``Transport.lag``."""
        consumer, lag = self._joined(), {}
        for partition, position in self._positions.items():
            _, end = consumer.get_watermark_offsets(TopicPartition(*partition), cached=True)
            if end >= 0:
                lag[partition] = max(0, end - position)
        return lag

    def create(self, topics: Sequence[TopicSpec]) -> None:
        """See ``Transport.create``."""
        existing = self.describe([topic.name for topic in topics])
        wanted = [
            NewTopic(topic.name, topic.partitions, topic.replication, config=dict(topic.config))
            for topic in topics
            if topic.name not in existing
        ]
        with self._talking("creating topics"):
            for answer in (
                self._admin().create_topics(wanted, request_timeout=CONNECT_SECONDS).values() if wanted else ()
            ):
                answer.result()

    def close(self, timeout_seconds: float) -> None:
        """See ``Transport.close``; one that meets a rebalance under way may never end, and is left behind."""
        if self._consumer is not None:
            try:
                started(self._consumer.close).result(max(0.0, timeout_seconds))
            except TimeoutError:
                log.warning("Group %s was not left within %.0f s", self._connection.group, timeout_seconds)
            self._consumer = None
        self._drop_producer()
        super().close(timeout_seconds)

    def _joined(self) -> Consumer:
        if self._consumer is None:
            raise TransportError("This transport has not joined its group: call subscribe first")
        return self._consumer

    @property
    def _cooperative(self) -> bool:
        return self._connection.assignor == "cooperative-sticky"

    def _place(self, positions: Positions) -> None:
        """Fetch these partitions from these positions, beside the others that are fetched."""
        consumer, fetched = self._joined(), self._positions | positions
        if self._cooperative:
            if moved := positions.keys() & self._positions.keys():
                consumer.incremental_unassign([TopicPartition(*partition) for partition in moved])
            consumer.incremental_assign([TopicPartition(*partition, offset) for partition, offset in positions.items()])
        else:
            consumer.assign([TopicPartition(*partition, offset) for partition, offset in fetched.items()])
        self._positions = fetched

    def _give_up(self, partitions: Sequence[Partition]) -> None:
        """Fetch these no more, and forget where they were."""
        if self._cooperative:
            fetched = self._positions.keys() & set(partitions)
            self._joined().incremental_unassign([TopicPartition(*partition) for partition in fetched])
        self._paused.difference_update(partitions)
        self._following.given_up(partitions)
        for partition in partitions:
            self._positions.pop(partition, None)
            self._sought.pop(partition, None)

    def _new_producer(self) -> Producer:
        exactly_once = self._connection.guarantee == "exactly_once"
        tuned: dict[str, Any] = {
            "linger.ms": 5,
            "delivery.timeout.ms": DELIVERY_MS,
            "retry.backoff.ms": 1,
            "queue.buffering.max.messages": 1_000_000,
        }
        fixed: dict[str, Any] = {"enable.idempotence": True, "delivery.report.only.error": True}
        if exactly_once:
            fixed["transactional.id"] = f"{self._connection.group}-{self._connection.instance}"
            tuned["transaction.timeout.ms"] = TRANSACTION_MS
        self._failures = []
        producer = Producer(self._settings(tuned, CONSUMER_ONLY, fixed))
        if exactly_once:
            producer.init_transactions(CONNECT_SECONDS)
        return producer

    def _drop_producer(self) -> None:
        if self._producer is not None:
            self._producer.purge()
            self._producer, self._working = None, False

    @contextmanager
    def _committing(self, positions: Positions) -> Iterator[None]:
        """What fails in here leaves a commit in doubt."""
        try:
            yield
        except KafkaException as failure:
            self._drop_producer()
            if failure.args[0].code() in FENCED:
                raise Fenced.replaced(self._connection, failure.args[0]) from failure
            raise InDoubt(f"The commit of {len(positions)} partitions is in doubt ({failure}): settle it") from failure
        except (BufferError, TransportError, TimeoutError) as failure:
            self._drop_producer()
            raise InDoubt(
                f"The commit of {len(positions)} partitions is in doubt ({failure!r}): settle it"
            ) from failure

    def _check_assigned(self, positions: Positions) -> None:
        if not positions.keys() <= self._positions.keys():
            raise TransportError(f"this member no longer holds all of {sorted(positions)}")

    def _offsets(self, positions: Positions) -> list[TopicPartition]:
        return [TopicPartition(*partition, offset) for partition, offset in positions.items()]

    def _commit_transaction(
        self, producer: Producer, outgoing: Iterable[Outgoing], positions: Positions, deadline: float
    ) -> None:
        """Begin with the offsets, not with a record.

        While the broker still ends the last transaction, their request is tried again within milliseconds, and that
        of a record would wait for 20.
        """
        producer.begin_transaction()
        if positions:
            member = self._joined().consumer_group_metadata()
            producer.send_offsets_to_transaction(
                self._offsets(positions), member, max(0.0, deadline - time.monotonic())
            )
        self._connection.passed("offsets")
        for records in outgoing:
            self._hand_over(producer, records)
        self._flush(producer, deadline)
        self._connection.passed("sent")
        producer.commit_transaction(max(0.0, deadline - time.monotonic()))

    def _commit_plainly(
        self, producer: Producer, outgoing: Iterable[Outgoing], positions: Positions, deadline: float
    ) -> None:
        """Send; the positions follow, since a broker takes 5 ms for them, to write them with those of others.

        The acknowledgements of many records follow, too: they are waited for when the next records are answered or
        there are none, except after a failure, so that one which lasts is met by the commit it belongs to.
        """
        self._following.check()
        self._await_held(deadline)
        sent = 0
        for records in outgoing:
            self._hand_over(producer, records)
            sent += len(records)
            if records.first:
                self._flush(producer, deadline)
        if sent < MANY or not positions or not self._working:
            self._flush(producer, deadline)
            self._connection.passed("sent")
            self._following.add(positions)
        else:
            self._connection.passed("sent")
            self._following.hold(positions)
        self._connection.passed("offsets")

    def _await_held(self, deadline: float) -> None:
        """Wait until the answers are acknowledged that positions wait for."""
        if self._following.held:
            if self._producer is None:
                raise TransportError("what was sent last was not acknowledged")
            self._flush(self._producer, deadline)
            self._following.release()

    def _ask(self, positions: Positions) -> None:
        self._joined().commit(offsets=self._offsets(positions), asynchronous=True)

    def _on_positions(self, error: KafkaError | None, names: list[TopicPartition]) -> None:
        """What became of the positions; called from within ``poll``."""
        refused = error or next((name.error for name in names if name.error is not None), None)
        self._following.answered(None if refused is None else KafkaException(refused))

    def _commit_last(self, partitions: Sequence[Partition]) -> None:
        """Commit what can be before the partitions go; what is refused will be answered again."""
        try:
            self._await_held(time.monotonic() + REQUEST_MS / 1000)
            if owed := self._following.given_up(partitions):
                self._joined().commit(offsets=self._offsets(owed), asynchronous=False)
        except (KafkaException, TransportError, TimeoutError) as refused:
            log.warning("The last positions were refused, so their records will be answered again: %s", refused)

    def _hand_over(self, producer: Producer, records: Outgoing) -> None:
        produce, done, topic = producer.produce, self._on_delivery, records.topic
        columns = records.values, records.keys, records.partitions, records.timestamps
        if records.headers is None:
            for value, key, partition, timestamp in zip(*columns, strict=True):
                produce(topic, value, key, partition, done, None, timestamp)
        else:
            for value, key, partition, timestamp, headers in zip(*columns, records.headers, strict=True):
                produce(topic, value, key, partition, done, None, timestamp, list(headers))

    def _on_delivery(self, error: KafkaError | None, _message: object) -> None:
        if error is not None:
            self._failures.append(error)

    def _flush(self, producer: Producer, deadline: float) -> None:
        """Wait until every record is acknowledged."""
        try:
            waiting = producer.flush(max(0.0, deadline - time.monotonic()))
        except KeyboardInterrupt:
            raise
        except:  # noqa: E722 - a fatal error is raised as a KafkaError, which is no BaseException
            if self._connection.guarantee == "exactly_once":
                return  # the transaction is lost: its next call says why
            raise TransportError("the producer failed for good") from None
        if self._failures:
            raise KafkaException(self._failures[0])
        if waiting:
            raise TimeoutError(f"{waiting} records were not acknowledged within {COMMIT_SECONDS:.0f} s")
        self._working = True


def _consume(consumer: Consumer, timeout_seconds: float, limit: int) -> list[Any]:
    """What has arrived, at once if anything has, else after the timeout."""
    first = consumer.consume(1, timeout_seconds)
    return first + consumer.consume(limit - 1, 0) if first and limit > 1 else first


def _columns(partition: Partition, messages: Sequence[Any], position: int) -> Batch:
    headers = [message.headers() or () for message in messages]
    return Batch(
        partition,
        [message.offset() for message in messages],
        [message.timestamp()[1] for message in messages],
        [message.key() for message in messages],
        [message.value() for message in messages],
        position,
        headers if any(headers) else None,
    )


def _partitions(names: Sequence[TopicPartition]) -> list[Partition]:
    return sorted(Partition(name.topic, name.partition) for name in names)
