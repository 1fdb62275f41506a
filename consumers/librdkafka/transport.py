"""Transport over Apache Kafka through confluent-kafka (librdkafka): the same promises, much faster.

It is an extra: ``pip install 'streamcast-forecasting[librdkafka]'``.

``seek`` assigns the partitions again at the new positions: librdkafka's own seek may fail soon after an assignment.
Calls that end a transaction run in a background thread: the client does not keep the timeout that it is given while a
coordinator moves.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

from streamcast.consumers import committing
from streamcast.consumers.background import ended_within, started
from streamcast.consumers.committing import (
    DELIVERY_MS,
    LARGEST_ANSWER,
    SESSION_MS,
    TRANSACTION_MS,
    Answers,
    Committing,
)
from streamcast.consumers.librdkafka.complaints import log
from streamcast.consumers.librdkafka.connections import Connections
from streamcast.consumers.librdkafka.reader import (
    CONNECT_SECONDS,
    CONSUMER_ONLY,
    EPOCH_OVER,
    REFUSED,
    REQUEST_MS,
    LibrdReader,
    columns,
    consume,
)
from streamcast.consumers.transport import (
    CREATE_SECONDS,
    Batch,
    BrokerUnavailable,
    Connection,
    Listener,
    NotAllowed,
    Outgoing,
    Partition,
    Positions,
    RecordRefused,
    TopicSpec,
    TransportError,
)

DESCRIBE_SECONDS = 0.05
"""How long to wait before asking again whether the brokers describe a new topic."""
BATCH_BYTES, SMALLEST_BATCH_BYTES = 1_000_000, 1_000
"""The client's own limit of a batch, and the least that is tried where a topic refuses larger ones."""
RULES = {
    KafkaError.INVALID_RECORD, KafkaError.INVALID_TIMESTAMP, KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
}  # fmt: skip
"""Errors of a record that breaks a rule of its topic."""
SAID = {KafkaError(code).str(): code for code in RULES | REFUSED}
"""Errors of a record that is refused for good, by the client's words."""
IN_ORDER: Mapping[str, object] = {"enable.gapless.guarantee": True, "delivery.timeout.ms": 0}
"""At least once: a record that fails ends its producer, and none expires, so that no later record comes before it."""
FAILED_RECORD = re.compile(r"ProduceRequest for (?P<topic>\S+) \[\d+\] .* failed: (?P<error>.*) \(broker ")
"""In the line with which such a producer ends."""
FLUSH_SECONDS = 0.5
"""The client goes on waiting after such an end, until its time is over: so it gets little at once."""
MANY = 1_000
"""At least once, a commit of fewer records than this waits until they are acknowledged; a larger one does not ..."""
AFTER_FAILURE = 20
"""... unless it is one of so many after a failure.  That is more than the pieces of a poll with a refused answer."""


class LibrdTransport(LibrdReader, Committing[Producer]):
    """A group member and producer; see ``Transport``.  Call it from one thread."""

    IN_DOUBT = (KafkaException, BufferError, TransportError, TimeoutError)

    def __init__(self, connection: Connection) -> None:
        LibrdReader.__init__(self, connection)
        Committing.__init__(self, connection)
        self._consumer: Consumer | None = None
        self._failures: list[tuple[KafkaError, str]] = []
        """The records that were not delivered: why, and to which topic."""
        self._batch_bytes: int | None = None
        """A limit for batches, since a topic has refused larger ones."""
        self._connections = Connections(log)
        self._acknowledged = 0
        """At least once, the commits since the last failure that waited until all was acknowledged."""

    def subscribe(self, topics: Sequence[str], listener: Listener) -> None:
        """See ``Transport.subscribe``; this aborts a transaction that a crashed predecessor left open."""
        self._require(set(topics))
        with self._talking("joining the group"):
            self._producer = self._new_producer()
        self._topics, self._listener = list(topics), listener
        self._join()

    def _join(self) -> None:
        listener = self._listener
        former = [] if self._consumer is None else [self._consumer]
        if listener is None:
            raise TransportError("This transport has no listener yet: call subscribe first")
        with self._talking("joining the group"):
            consumer = self._consumer = self._new_consumer({
                "group.instance.id": self._connection.instance,
                "partition.assignment.strategy": self._connection.assignor,
                "session.timeout.ms": SESSION_MS,
                "heartbeat.interval.ms": 3_000,
                "max.poll.interval.ms": 300_000,
                "enable.partition.eof": True,
                "on_commit": self._on_positions,
            })  # fmt: skip
        if former:
            started(partial(self._destroy, former))

        def on_assign(_member: Consumer, names: list[TopicPartition]) -> None:
            self._place({})  # nothing is fetched until ``seek``
            self._membership.assign(_partitions(names))
            if names:
                listener.on_assigned(_partitions(names))

        def on_revoke(_member: Consumer, names: list[TopicPartition]) -> None:
            self._commit_last(_partitions(names))
            self._give_up(_partitions(names))
            if names:
                listener.on_revoked(_partitions(names))

        def on_lost(_member: Consumer, names: list[TopicPartition]) -> None:
            self._give_up(_partitions(names))
            if names:
                listener.on_lost(_partitions(names))

        consumer.subscribe(list(self._topics), on_assign=on_assign, on_revoke=on_revoke, on_lost=on_lost)

    def _polled(self, timeout_seconds: float, max_records: int) -> list[Batch]:
        consumer, deadline = self._joined(), time.monotonic() + timeout_seconds
        pending = self._membership.pending
        while True:
            timeout = 0.0 if pending.held else max(0.0, deadline - time.monotonic())
            with self._talking("polling"):
                pending.ask()
                records, ends = self._sorted(consume(consumer, timeout, max_records))
            self._membership.advance(ends)
            batches = []
            for partition, mine in records.items():
                if not self._membership.holds([partition]):
                    continue  # it went while this poll asked for more: its records are the next owner's
                following = max(mine[-1].offset() + 1, ends.get(partition, 0))
                self._membership.advance({partition: following})
                batches.append(columns(partition, mine, following))
            if batches or (not pending.held and time.monotonic() >= deadline):
                return batches
            with self._committing(Answers([]), pending.held):
                self._await_held(time.monotonic() + committing.COMMIT_SECONDS)

    def seek(self, positions: Positions) -> None:
        """See ``Transport.seek``."""
        with self._talking("seeking"):
            self._place(positions)
        self._membership.seek(positions)
        self.pause(list(self._membership.paused))  # an assignment resumes all

    def pause(self, partitions: Sequence[Partition]) -> None:
        """See ``Transport.pause``."""
        self._joined().pause([TopicPartition(*partition) for partition in self._membership.pause(partitions)])

    def resume(self, partitions: Sequence[Partition]) -> None:
        """See ``Transport.resume``."""
        self._joined().resume([TopicPartition(*partition) for partition in self._membership.resume(partitions)])

    def lag(self) -> dict[Partition, int]:
        """See ``Transport.lag``."""
        consumer, lag = self._joined(), {}
        for partition, position in self._membership.next.items():
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
        if not wanted:
            return
        with self._talking("creating topics"):
            for name, answer in self._admin().create_topics(wanted, request_timeout=CONNECT_SECONDS).items():
                try:
                    answer.result()
                except KafkaException as failure:
                    code = failure.args[0].code()
                    if code == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                        raise NotAllowed.to("CREATE", f"topic {name}") from failure
                    if code != KafkaError.TOPIC_ALREADY_EXISTS:
                        raise
        self._await_described({topic.topic for topic in wanted})

    def close(self, timeout_seconds: float) -> None:
        """See ``Transport.close``.

        The member is destroyed and not closed, in the background.  The client's own close calls back for a rebalance
        that was under way, and may then wait for ever with the interpreter in its hands, so that no thread goes on.
        A static member stays in its group either way.
        """
        if self._consumer is not None:
            try:
                self._give_back()
            finally:
                members, self._consumer = [self._consumer], None
                if not ended_within(timeout_seconds, partial(self._destroy, members)):
                    log.warning("A member did not end within %.0f s: this process goes on without it", timeout_seconds)
        self._drop_producer()
        super().close(timeout_seconds)

    def _destroy(self, members: list[Consumer]) -> None:
        """Destroy the only member of a list, which has the last reference to it; see ``close``.

        A cooperative member that is destroyed while a rebalance waits for its next poll waits for the answer for ever,
        and uses a whole core (librdkafka 2.16).  So a rebalance of either kind is answered first.
        """
        if self._cooperative:
            with suppress(KafkaException):  # a client that has failed for good waits for no answer
                members[0].incremental_assign([])
            with suppress(KafkaException):
                members[0].incremental_unassign([])
        members.clear()

    def _await_described(self, names: set[str]) -> None:
        """Wait until the brokers describe new topics with their leaders; they know them only some time after."""
        deadline = time.monotonic() + CREATE_SECONDS
        while missing := sorted(names - {name for name, topic in self._found(sorted(names)).items() if _is_led(topic)}):
            if time.monotonic() > deadline:
                raise BrokerUnavailable(
                    f"The brokers accepted {', '.join(missing)} and did not describe the partitions with their leaders"
                    f" within {CREATE_SECONDS:g} s: see the brokers' logs, then try again"
                )
            time.sleep(DESCRIBE_SECONDS)

    def _joined(self) -> Consumer:
        if self._consumer is None:
            raise TransportError("This transport has not joined its group: call subscribe first")
        return self._consumer

    @property
    def _cooperative(self) -> bool:
        return self._connection.assignor == "cooperative-sticky"

    def _place(self, positions: Positions) -> None:
        """Fetch these partitions from these positions; go on fetching the others."""
        consumer, fetched = self._joined(), self._membership.next
        if self._cooperative:
            if moved := positions.keys() & fetched.keys():
                consumer.incremental_unassign([TopicPartition(*partition) for partition in moved])
            consumer.incremental_assign([TopicPartition(*partition, offset) for partition, offset in positions.items()])
        else:
            consumer.assign([
                TopicPartition(*partition, offset) for partition, offset in (fetched | positions).items()
            ])  # fmt: skip

    def _give_up(self, partitions: Sequence[Partition]) -> None:
        """Stop fetching these partitions, and forget them."""
        if self._cooperative:
            fetched = self._membership.next.keys() & set(partitions)
            self._joined().incremental_unassign([TopicPartition(*partition) for partition in fetched])
        self._membership.give_up(partitions)

    def _give_back(self) -> None:
        """Commit what is pending, forget all partitions, and tell the listener, as a revocation would."""
        held = self._membership.assigned()
        if not ended_within(REQUEST_MS / 1000, partial(self._commit_last, held)):  # the client's call has no deadline
            log.warning("The last positions were not committed in time: their records will be answered again")
        self._membership.give_up(held)
        if held and self._listener is not None:
            self._listener.on_revoked(held)

    def _new_producer(self) -> Producer:
        tuned: dict[str, Any] = {
            "linger.ms": 5,
            "delivery.timeout.ms": DELIVERY_MS,
            "retry.backoff.ms": 1,
            "queue.buffering.max.messages": 1_000_000,
            "message.max.bytes": LARGEST_ANSWER,
        }
        fixed: dict[str, Any] = {"enable.idempotence": True, "delivery.report.only.error": True}
        if self._exactly_once:
            fixed["transactional.id"] = self._transactional_id
            tuned["transaction.timeout.ms"] = TRANSACTION_MS
        else:
            fixed |= IN_ORDER
        self._failures, self._connections = [], Connections(log)
        fixed |= self._connections.settings
        if self._batch_bytes is not None:
            fixed["batch.size"] = self._batch_bytes
        self._require_accepted()
        producer = Producer(self._settings(tuned, CONSUMER_ONLY, fixed))
        if self._exactly_once:
            producer.init_transactions(CONNECT_SECONDS)
        return producer

    def _abandon(self, producer: Producer) -> None:
        producer.purge()
        self._acknowledged = 0

    def _abort_transaction(self, producer: Producer) -> None:
        producer.abort_transaction(REQUEST_MS / 1000)

    def _lost_connection(self, producer: Producer) -> bool:
        producer.poll(0)  # it hands out the lines of the client's log
        return self._connections.lost

    def _refusal(self, failure: Exception, topics: Iterable[str]) -> TransportError | None:
        if not isinstance(failure, KafkaException):
            return None
        error: KafkaError = failure.args[0]
        if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            return self._not_allowed(topics)
        return self._refused(error)

    def _is_fenced(self, failure: Exception) -> bool:
        return isinstance(failure, KafkaException) and failure.args[0].code() in EPOCH_OVER

    def _has_rival(self) -> bool:
        """See ``Committing``; before this member has joined, only a rival can have fenced it."""
        if self._consumer is None:
            return True
        with self._talking("asking for the members of the group"):
            members = self._described_group().members
        name, ours = self._connection.instance, self._consumer.memberid()
        return any(member.group_instance_id == name and member.member_id != ours for member in members)

    @property
    def _session_seconds(self) -> float:
        return float(str(self._connection.options.get("session.timeout.ms", SESSION_MS))) / 1000

    def _offsets(self, positions: Positions) -> list[TopicPartition]:
        mark = self._connection.mark
        return [TopicPartition(*each, offset, metadata=mark) for each, offset in positions.items()]

    def _commit_transaction(self, producer: Producer, answers: Answers, positions: Positions, deadline: float) -> None:
        """See ``Transport.commit`` for the steps.

        The offsets come first for speed: while the broker still ends the previous transaction, librdkafka repeats
        their request within milliseconds, and that of a record only after 20.
        """
        producer.begin_transaction()
        if positions:  # step 1
            member, offsets = self._joined().consumer_group_metadata(), self._offsets(positions)
            left = max(0.0, deadline - time.monotonic())
            self._within(deadline, lambda: producer.send_offsets_to_transaction(offsets, member, left))
        self._connection.passed("offsets")
        for records in answers:  # step 2
            self._send(producer, records, deadline)
        self._flush(producer, deadline)  # step 3
        self._connection.passed("sent")
        left = max(0.0, deadline - time.monotonic())
        self._within(deadline, lambda: producer.commit_transaction(left))  # step 4

    def _begin_plainly(self, positions: Positions) -> None:
        """See ``Transport.begin``."""
        commit = partial(self._joined().commit, offsets=self._offsets(positions), asynchronous=False)
        try:
            with self._talking("committing first positions"):
                started(commit).result(CONNECT_SECONDS)  # the client's own call has no deadline
        except (BrokerUnavailable, TimeoutError) as refused:
            raise BrokerUnavailable.refused_first(positions, str(refused) or "no answer") from refused

    def _commit_plainly(self, producer: Producer, answers: Answers, positions: Positions, deadline: float) -> None:
        """See ``Transport.commit`` for the steps.

        Step 4 only starts the commit of the positions: a broker takes 5 ms for it, to write many groups' at once.
        After many records step 3 is left to the next commit or the next idle poll.  Soon after a failure it is not, so
        that a lasting failure is raised by the commit it belongs to.
        """
        self._membership.pending.check()  # step 1
        self._await_held(deadline)
        sent = 0
        for records in answers:  # step 2
            self._send(producer, records, deadline)
            sent += len(records)
            if records.first:
                self._flush(producer, deadline)
        if sent < MANY or not positions or self._acknowledged < AFTER_FAILURE:
            self._flush(producer, deadline)  # step 3
            self._acknowledged += 1
            self._connection.passed("sent")
            self._membership.pending.add(positions)  # step 4
        else:
            self._connection.passed("sent")
            self._membership.pending.hold(positions)
        self._connection.passed("offsets")

    def _await_held(self, deadline: float) -> None:
        """Take steps 3 and 4 of the previous commit, if it left them.

        A record of it that its topic refuses is not one of the present commit: the error is not RecordRefused.
        """
        if self._membership.pending.held:
            if self._producer is None:
                raise TransportError("the last answers were not acknowledged")
            try:
                self._flush(self._producer, deadline)
            except RecordRefused as refused:
                raise TransportError(f"the last answers were refused: {refused}") from refused
            self._membership.pending.release()

    def _ask(self, positions: Positions) -> None:
        self._joined().commit(offsets=self._offsets(positions), asynchronous=True)

    def _on_positions(self, error: KafkaError | None, names: list[TopicPartition]) -> None:
        """Take the result of a commit of positions; called from within ``poll``."""
        refused = error or next((name.error for name in names if name.error is not None), None)
        self._membership.pending.answered(None if refused is None else KafkaException(refused))

    def _commit_last(self, partitions: Sequence[Partition]) -> None:
        """Commit the pending positions before the partitions go; after a refusal their records are answered again.

        In a rebalance the client lets no other thread call it, so its thread must commit.
        """
        try:
            self._await_held(time.monotonic() + REQUEST_MS / 1000)
            if pending := self._membership.pending.give_up(partitions):
                self._joined().commit(offsets=self._offsets(pending), asynchronous=False)
        except (KafkaException, TransportError, TimeoutError) as refused:
            log.warning("The last positions were refused, so their records will be answered again: %r", refused)

    def _send(self, producer: Producer, records: Outgoing, deadline: float) -> None:
        """Queue every record at the client."""
        produce, done, topic = producer.produce, self._on_delivery, records.topic
        columns = records.values, records.keys, records.partitions, records.timestamps
        try:
            if records.headers is None:
                for value, key, partition, timestamp in zip(*columns, strict=True):
                    produce(topic, value, key, partition, done, None, timestamp)
            else:
                for value, key, partition, timestamp, headers in zip(*columns, records.headers, strict=True):
                    produce(topic, value, key, partition, done, None, timestamp, list(headers))
        except KafkaException:  # the client takes no more: an earlier record has failed
            self._flush(producer, deadline)
            raise

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failures.append((error, message.topic() or ""))

    def _flush(self, producer: Producer, deadline: float) -> None:
        """Wait until every record is acknowledged."""
        try:
            waiting = self._unacknowledged(producer, deadline)
        except KeyboardInterrupt:
            raise
        except:  # noqa: E722 - a fatal error is raised as a KafkaError, which is no BaseException
            if self._exactly_once:
                return  # the transaction failed: its next call raises the reason
            raise self._end_of_producer() from None
        reasons = [failure for failure in self._failures if failure[0].code() != KafkaError._PURGE_QUEUE]
        if self._failures and not reasons and self._exactly_once:
            return  # the client dropped them because the transaction had failed: the same
        if self._failures:
            error, topic = (reasons or self._failures)[0]
            raise self._broken_rule(error.code(), topic) or KafkaException(error)
        if waiting:
            raise TimeoutError(f"{waiting} records were not acknowledged within {committing.COMMIT_SECONDS:.0f} s")

    def _unacknowledged(self, producer: Producer, deadline: float) -> int:
        """Wait until every record is acknowledged, one has failed, or the deadline is over; return how many are not."""
        while True:
            left = max(0.0, deadline - time.monotonic())
            waiting: int = producer.flush(min(left, FLUSH_SECONDS))
            if not waiting or self._failures or left <= FLUSH_SECONDS:
                return waiting

    def _end_of_producer(self) -> Exception:
        """The error of the record that ended the producer, at least once: the client may lose its own report of it."""
        failed = FAILED_RECORD.search(self._connections.end)
        if failed is not None and (code := SAID.get(failed["error"])) is not None:
            return self._broken_rule(code, failed["topic"]) or KafkaException(KafkaError(code))
        return TransportError(f"the producer failed for good and is made again ({self._connections.end})")

    def _broken_rule(self, code: int, topic: str) -> RecordRefused | None:
        """Our error for a record that breaks a rule of its topic; the next producer may make smaller batches."""
        if code not in RULES:
            return None
        smaller = code == KafkaError.MSG_SIZE_TOO_LARGE and self._shrink_batches(topic)
        return RecordRefused(topic, KafkaError(code).str(), smaller=smaller)

    def _shrink_batches(self, topic: str) -> bool:
        """Make the next batches no larger than a topic takes; return whether they become smaller.

        librdkafka does not split a batch that is too large.  Where the broker does not say what the topic takes,
        batches become a quarter of what they were.
        """
        former = self._batch_bytes or int(str(self._connection.options.get("batch.size", BATCH_BYTES)))
        limit = former // 4
        with suppress(TransportError, KeyError):
            limit = int(self.describe([topic])[topic].config["max.message.bytes"])
        self._batch_bytes = min(former, max(limit, SMALLEST_BATCH_BYTES))
        return self._batch_bytes < former


def _is_led(topic: Any) -> bool:
    """Whether every partition of a topic's description has a leader."""
    return all(partition.leader is not None and partition.leader.id >= 0 for partition in topic.partitions)


def _partitions(names: Sequence[TopicPartition]) -> list[Partition]:
    return sorted(Partition(name.topic, name.partition) for name in names)
