"""Transport over Apache Kafka through confluent-kafka (librdkafka): the same promises, much faster.

It is an extra: ``pip install 'streamcast-forecasting[librdkafka]'``.

``seek`` assigns, at the positions it is given: librdkafka's own seek may come too early after an assignment.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

from streamcast.consumers.background import started
from streamcast.consumers.librdkafka.reader import (
    CONNECT_SECONDS,
    CONSUMER_ONLY,
    FENCED,
    REQUEST_MS,
    LibrdReader,
    columns,
    consume,
    log,
)
from streamcast.consumers.positions import FollowingPositions
from streamcast.consumers.transport import (
    Batch,
    Connection,
    Fenced,
    InDoubt,
    Listener,
    Outgoing,
    Partition,
    Positions,
    TopicSpec,
    TransportError,
)

DELIVERY_MS = 20_000
TRANSACTION_MS = 30_000
COMMIT_SECONDS = 25.0
"""How long a commit may take in all before it is in doubt."""
MANY = 1_000
"""At least once, a turn waits until fewer answers than these are acknowledged, and lets more follow."""


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
                records, ends = self._sorted(consume(consumer, timeout, max_records))
            self._positions.update(ends)
            batches = []
            for partition, mine in records.items():
                self._positions[partition] = max(mine[-1].offset() + 1, ends.get(partition, 0))
                batches.append(columns(partition, mine, self._positions[partition]))
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


def _partitions(names: Sequence[TopicPartition]) -> list[Partition]:
    return sorted(Partition(name.topic, name.partition) for name in names)
