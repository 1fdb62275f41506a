"""Transport over Apache Kafka through kafka-python, which a plain install always has.

Faults of the client, and how this module avoids each (docs/reliability.md has the details):

    a send may expire and the commit still succeed      we check every future before we end the transaction
    init, commit and send_offsets have no deadline      they run in a background thread; we wait until our deadline
    a producer that failed once may fail for ever       we drop it after any error; ``settle`` makes a new one
    a deserializer that raises stops its partition      we use bytes only
    auto_offset_reset skips records in silence          we turn it off: positions come from ``seek``
    a missing topic is created on use                   we describe topics before we use them
    a generation below 0 is accepted                    we refuse it
    any epoch that is over counts as a rival's          we ask the group whether another member has our name
    a member that is fenced goes on in silence          we remember the error of its heartbeat
    poll() drops a rebalance for new metadata if it     we request the rebalance again until it has ended, and fetch
    returns early                                       the metadata before the first poll
    flush() fails while a batch that was too large is   we wait for every future, which tells what became of it
    split and sent again
    poll() drops a join that was answered between two   we keep the answer for the next poll; otherwise two members
    polls, and joins again                              that poll alternately would join for ever
    records that arrived before their partition was     we drop them when it is resumed, so that they are fetched again
    paused may never be delivered after it

Members are static (``group_instance_id`` is the connection's instance): a process that restarts gets its partitions
back without a rebalance, and the group notices that one has left only after the session timeout.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition, errors
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.structs import OffsetAndMetadata

from streamcast.consumers import marks
from streamcast.consumers.background import started
from streamcast.consumers.committing import (
    DELIVERY_MS,
    LARGEST_ANSWER,
    SESSION_MS,
    TRANSACTION_MS,
    Answers,
    Committing,
)
from streamcast.consumers.kafka_python.connections import connected_producer
from streamcast.consumers.kafka_python.reader import CONNECT_MS, REQUEST_MS, KafkaReader, columns
from streamcast.consumers.kafka_python.rebalances import Rebalances, keep_joins, remember_fencing, resume_rebalance
from streamcast.consumers.transport import (
    CREATE_SECONDS,
    Batch,
    BrokerUnavailable,
    Connection,
    Fenced,
    Listener,
    NotAllowed,
    Outgoing,
    Partition,
    Positions,
    RecordRefused,
    TopicSpec,
    TransportError,
)

log = logging.getLogger(__name__)

RULES = (
    errors.InvalidRecordError, errors.InvalidTimestampError, errors.MessageSizeTooLargeError,
    errors.RecordListTooLargeError,
)  # fmt: skip
"""Errors of a record that breaks a rule of its topic."""
ASSIGNORS = {"range": RangePartitionAssignor, "cooperative-sticky": CooperativeStickyAssignor}


class KafkaTransport(KafkaReader, Committing[KafkaProducer]):
    """A group member and producer; see ``Transport``.  Call it from one thread."""

    IN_DOUBT = (errors.KafkaError, TransportError, TimeoutError, ValueError)
    """ValueError is raised for a partition that the client does not know."""

    def __init__(self, connection: Connection) -> None:
        KafkaReader.__init__(self, connection)
        Committing.__init__(self, self._connection)
        self._consumer: KafkaConsumer | None = None
        self._listener_error: Exception | None = None
        self._fencing: list[errors.FencedInstanceIdError] = []
        self._lost: list[Exception] = []

    def subscribe(self, topics: Sequence[str], listener: Listener) -> None:
        """See ``Transport.subscribe``; this aborts a transaction that a crashed predecessor left open."""
        self._require(set(topics))
        self._drop_clients()
        with self._talking("joining the group"):
            self._producer = self._new_producer()
        self._topics, self._listener = list(topics), listener
        self._join()

    def _join(self) -> None:
        former = self._consumer
        with self._talking("joining the group"):
            consumer = self._consumer = self._new_consumer(
                self._connection.group,
                group_instance_id=self._connection.instance,
                partition_assignment_strategy=[ASSIGNORS[self._connection.assignor]],
                session_timeout_ms=SESSION_MS,
                heartbeat_interval_ms=3_000,
                max_poll_interval_ms=300_000,
                max_partition_fetch_bytes=4 << 20,
            )
            if former is not None:
                started(partial(former.close, autocommit=False, timeout_ms=REQUEST_MS))

            def on_assigned(partitions: list[Partition]) -> None:
                if consumer is self._consumer:  # and not of a former membership
                    self._on_assigned(partitions)

            async def on_revoked(partitions: list[Partition]) -> None:
                if consumer is self._consumer:
                    await self._on_revoked(partitions)

            def on_lost(partitions: list[Partition]) -> None:
                if consumer is self._consumer:
                    self._on_lost(partitions)

            consumer.subscribe(list(self._topics), listener=Rebalances(on_assigned, on_revoked, on_lost))
            self._fencing = remember_fencing(consumer._coordinator)  # noqa: SLF001 - the client offers no other way
            keep_joins(consumer._coordinator)  # noqa: SLF001 - the client offers no other way
            consumer.topics()  # fetch the metadata, so that the first assignment has the partitions

    def _polled(self, timeout_seconds: float, max_records: int) -> list[Batch]:
        consumer = self._joined()
        if self._fencing:
            raise Fenced.replaced(self._connection, self._fencing[0])
        try:
            with self._talking("polling", "READ"):
                self._membership.pending.ask()
                polled = consumer.poll(timeout_seconds * 1000, max_records=max_records)
        finally:
            self._raise_listener_error()
        resume_rebalance(consumer._coordinator)  # noqa: SLF001 - the client offers no other way
        return [columns(Partition(*name), records, _position(consumer, name)) for name, records in polled.items()]

    def seek(self, positions: Positions) -> None:
        """See ``Transport.seek``."""
        consumer = self._joined()
        for partition, offset in positions.items():
            consumer.seek(TopicPartition(*partition), offset)
        consumer.resume(*_names(self._membership.seek(positions)))

    def pause(self, partitions: Sequence[Partition]) -> None:
        """See ``Transport.pause``."""
        self._joined().pause(*_names(self._membership.pause(partitions)))

    def resume(self, partitions: Sequence[Partition]) -> None:
        """See ``Transport.resume``."""
        consumer, names = self._joined(), _names(self._membership.resume(partitions))
        for name in names:
            parked = consumer._fetcher._paused_partition_records.pop(name, None)  # noqa: SLF001 - see above
            if parked is not None:
                parked.drain()
        consumer.resume(*names)

    def lag(self) -> dict[Partition, int]:
        """See ``Transport.lag``."""
        consumer, lag = self._joined(), {}
        for partition in self._membership.sought:
            name = TopicPartition(*partition)
            if (end := consumer.highwater(name)) is not None:
                lag[partition] = max(0, end - _position(consumer, name))
        return lag

    def create(self, topics: Sequence[TopicSpec]) -> None:
        """See ``Transport.create``."""
        missing = {topic.name: topic for topic in topics if topic.name not in self.describe([topic.name])}
        for name, topic in missing.items():
            shape = {
                "num_partitions": topic.partitions,
                "replication_factor": topic.replication,
                "configs": dict(topic.config),
            }
            with self._talking(f"creating {name}"):
                try:
                    self._admin().create_topics({name: shape})
                except errors.TopicAuthorizationFailedError as error:
                    raise NotAllowed.to("CREATE", f"topic {name}") from error
                except errors.TopicAlreadyExistsError:
                    pass  # somebody else was faster
                self._admin().wait_for_topics([name], round(1000 * CREATE_SECONDS))

    def _close(self) -> None:
        if self._consumer is not None:
            self._consumer.close(autocommit=False, timeout_ms=REQUEST_MS)
            self._consumer = None
        self._drop_producer()
        super()._close()
        self._raise_listener_error()

    def _on_assigned(self, partitions: list[Partition]) -> None:
        """Pause new partitions until ``seek`` says where they begin."""
        consumer, names = self._joined(), _names(partitions)
        consumer.pause(*names)
        for name in names:
            consumer.seek(name, 0)
        self._membership.assign(partitions)
        self._tell(lambda listener: listener.on_assigned(partitions), partitions)

    async def _on_revoked(self, partitions: list[Partition]) -> None:
        """Commit the pending positions before the partitions go; after a refusal their records are answered again."""
        if pending := self._membership.pending.give_up(partitions):
            try:
                await self._joined().commit_async(self._marked(pending), lambda _offsets, _answer: None)
            except errors.KafkaError as refused:
                log.warning("The last positions were refused, so their records will be answered again: %r", refused)
        self._membership.give_up(partitions)
        self._tell(lambda listener: listener.on_revoked(partitions), partitions)

    def _on_lost(self, partitions: list[Partition]) -> None:
        self._membership.give_up(partitions)
        self._tell(lambda listener: listener.on_lost(partitions), partitions)

    def _tell(self, what: Callable[[Listener], None], partitions: list[Partition]) -> None:
        """Call the listener; keep its error for the thread that polls, because the client would only log it."""
        try:
            if partitions and self._listener is not None:
                what(self._listener)
        except Exception as error:  # noqa: BLE001 - raised again by poll and close
            self._listener_error = error

    def _raise_listener_error(self) -> None:
        error, self._listener_error = self._listener_error, None
        if error is not None:
            raise error

    def _joined(self) -> KafkaConsumer:
        if self._consumer is None:
            raise TransportError("This transport has not joined its group: call subscribe first")
        return self._consumer

    def _new_producer(self) -> KafkaProducer:
        tuned: dict[str, object] = {
            "request_timeout_ms": REQUEST_MS,
            "delivery_timeout_ms": DELIVERY_MS,
            "max_block_ms": CONNECT_MS,
            "retry_backoff_ms": 5,
            "linger_ms": 5,
            "batch_size": 900_000,
            "max_request_size": LARGEST_ANSWER,
            "metrics_enabled": False,
        }
        fixed: dict[str, object] = {"acks": "all", "enable_idempotence": True, "allow_auto_create_topics": False}
        if self._exactly_once:
            fixed["transactional_id"] = self._transactional_id
            tuned["transaction_timeout_ms"] = TRANSACTION_MS
        self._require_accepted()
        self._lost = []
        producer = connected_producer(self._settings(KafkaProducer, tuned, fixed), self._lost)
        if self._exactly_once:
            try:
                started(producer.init_transactions).result(CONNECT_MS / 1000)
            except (errors.KafkaError, TimeoutError):
                _abandon(producer)
                raise
        return producer

    def _drop_clients(self) -> None:
        """Drop what an earlier, failed ``subscribe`` has made."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            started(partial(consumer.close, autocommit=False, timeout_ms=REQUEST_MS))
        self._drop_producer()

    def _abandon(self, producer: KafkaProducer) -> None:
        _abandon(producer)

    def _abort_transaction(self, producer: KafkaProducer) -> None:
        producer.abort_transaction()

    def _lost_connection(self, producer: KafkaProducer) -> bool:
        return bool(self._lost)

    def _refusal(self, failure: Exception, topics: Iterable[str]) -> TransportError | None:
        if isinstance(failure, errors.TopicAuthorizationFailedError):
            return self._not_allowed(topics)
        return self._refused(failure, "a commit", "WRITE") if isinstance(failure, errors.AuthorizationError) else None

    def _is_fenced(self, failure: Exception) -> bool:
        return isinstance(failure, errors.ProducerFencedError)

    def _has_rival(self) -> bool:
        """See ``Committing``; before this member has joined, only a rival can have fenced it."""
        if self._consumer is None:
            return True
        with self._talking("asking for the members of the group"):
            members = self._described_group()["members"]
        name, ours = self._connection.instance, self._consumer.group_metadata().member_id
        return any(member["group_instance_id"] == name and member["member_id"] != ours for member in members)

    @property
    def _session_seconds(self) -> float:
        return float(str(self._connection.options.get("session_timeout_ms", SESSION_MS))) / 1000

    def _commit_transaction(
        self, producer: KafkaProducer, answers: Answers, positions: Positions, deadline: float
    ) -> None:
        """Steps 1 and 2 overlap: while the offsets are added, the records queue, and their partitions join at once."""
        producer.begin_transaction()
        offsets = self._background.started(partial(self._add_offsets, producer, positions))  # step 1
        futures: list[Any] = []
        with _naming_refusal(futures, deadline):
            try:
                futures.extend(self._sent(producer, answers))  # step 2
            finally:  # if adding the offsets failed, raise that error, not the send errors it causes
                offsets.result(max(0.0, deadline - time.monotonic()))
        self._connection.passed("offsets")
        self._await_sent(producer, futures, deadline)  # step 3
        self._connection.passed("sent")
        self._within(deadline, producer.commit_transaction)  # step 4

    def _add_offsets(self, producer: KafkaProducer, positions: Positions) -> None:
        if positions:
            member = self._joined().group_metadata()
            if member.generation_id < 0:
                raise TransportError(f"this member has left group {self._connection.group}")
            producer.send_offsets_to_transaction(self._marked(positions), member)

    def _begin_plainly(self, positions: Positions) -> None:
        """See ``Transport.begin``."""
        try:
            with self._talking("committing first positions"):
                self._joined().commit(self._marked(positions), timeout_ms=CONNECT_MS)
        except TransportError as refused:
            if isinstance(refused, Fenced | NotAllowed):
                raise
            raise BrokerUnavailable.refused_first(positions, refused) from refused

    def _commit_plainly(self, producer: KafkaProducer, answers: Answers, positions: Positions, deadline: float) -> None:
        """Step 4 only starts the commit of the positions: a broker takes 5 ms for it, to write many groups' at once."""
        self._membership.pending.check()  # step 1
        futures: list[Any] = []
        with _naming_refusal(futures, deadline):
            for records in answers:  # step 2
                futures.extend(self._sent(producer, [records]))
                if records.first:
                    self._await_sent(producer, futures, deadline)
        self._await_sent(producer, futures, deadline)  # step 3
        self._connection.passed("sent")
        self._membership.pending.add(positions)  # step 4
        self._connection.passed("offsets")

    def _await_sent(self, producer: KafkaProducer, futures: Sequence[Any], deadline: float) -> None:
        """Wait, and check that every record was acknowledged.

        The client splits a batch that is too large for its topic, sends its parts again, and lets ``flush`` fail
        meanwhile; and ``flush`` takes its whole timeout for each batch.
        """
        with suppress(errors.UnknownError):
            self._within(deadline, producer.flush)
        for future in futures:
            if not future.succeeded():
                try:
                    future.get(max(0.0, deadline - time.monotonic()))
                except errors.KafkaError as error:
                    raise (_reason(future, futures, deadline) if future.failed() else error) from error

    def _ask(self, positions: Positions) -> None:
        self._joined().commit_async(self._marked(positions), self._on_positions)

    def _on_positions(self, _offsets: object, answer: object) -> None:
        """Take the result of a commit of positions; called from within ``poll``."""
        self._membership.pending.answered(answer if isinstance(answer, Exception) else None)

    def _marked(self, positions: Positions) -> dict[TopicPartition, OffsetAndMetadata]:
        mark = marks.written(self._connection.mark)
        return {TopicPartition(*each): OffsetAndMetadata(offset, mark, -1) for each, offset in positions.items()}

    def _sent(self, producer: KafkaProducer, outgoing: Iterable[Outgoing]) -> Iterator[Any]:
        """Queue every record at the client; yields the future of each."""
        send = producer.send
        for records in outgoing:
            topic, columns = records.topic, (records.partitions, records.timestamps, records.keys, records.values)
            if records.headers is None:
                for partition, timestamp, key, value in zip(*columns, strict=True):
                    yield send(topic, _body(key, value), key, None, partition, timestamp)
            else:
                for partition, timestamp, key, value, headers in zip(*columns, records.headers, strict=True):
                    yield send(topic, _body(key, value), key, list(headers), partition, timestamp)


@contextmanager
def _naming_refusal(futures: Sequence[Any], deadline: float) -> Iterator[None]:
    """Raise what a topic said of a refused record, not the error of the calls after it.

    Once a record of a transaction was refused, the client lets each later call fail, and does not say where.
    """
    try:
        yield
    except errors.KafkaError as failure:
        for failed in {id(each._produce_future): each for each in futures if each.failed()}.values():  # noqa: SLF001
            if isinstance(refused := _reason(failed, futures, deadline), RecordRefused):
                raise refused from failure
        raise


def _reason(failed: Any, futures: Sequence[Any], deadline: float) -> Exception:
    """Why a record was refused: for all records of a batch but the bad ones, the client only says that there is one."""
    error: Exception = failed.exception
    for future in futures:
        if future._produce_future is failed._produce_future:  # noqa: SLF001
            with suppress(errors.KafkaError):
                future.get(max(0.0, deadline - time.monotonic()))
            if isinstance(future.exception, RULES):
                error = future.exception
                break
    if not isinstance(error, RULES):
        return error
    said = error if any(error.args) else f"{type(error).__name__}: {error.description}"
    return RecordRefused(failed._produce_future.topic_partition.topic, said)  # noqa: SLF001


def _position(consumer: KafkaConsumer, name: TopicPartition) -> int:
    """The offset of the next record.  The client's own ``position`` looks at every partition at each call."""
    position: int = consumer._subscription.assignment[name].position.offset  # noqa: SLF001
    return position


def _names(partitions: Iterable[Partition]) -> list[TopicPartition]:
    return [TopicPartition(*partition) for partition in partitions]


def _body(key: bytes | None, value: bytes | None) -> bytes | None:
    """The value to send: kafka-python refuses a record without key and value, so such a value becomes empty."""
    return b"" if key is None and value is None else value


def _abandon(producer: KafkaProducer) -> None:
    """Close a producer in the background, without waiting until its queued records expire and its thread ends."""

    def end() -> None:
        try:
            producer.close(DELIVERY_MS / 1000)
        except errors.KafkaError:  # some of its records do not expire: end its thread
            producer._sender.force_close()  # noqa: SLF001 - the client offers no other way
            with suppress(errors.KafkaError):
                producer.close(DELIVERY_MS / 1000)

    threading.Thread(target=end, daemon=True, name="kafka-abandoned").start()
