"""Reader over Apache Kafka through confluent-kafka (librdkafka): topics, offsets and ranges, without joining a group.

Options of the connection have librdkafka's names ("ssl.ca.location").  An option that only a consumer or only a
producer knows goes to that client alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    OffsetSpec,
    ResourceType,
)

from streamcast.consumers import marks
from streamcast.consumers.background import ended_within
from streamcast.consumers.librdkafka.complaints import condense, log
from streamcast.consumers.reading import ARRIVE_MS, METADATA_MS, RANGE_RECORDS, READ_SECONDS, Reading
from streamcast.consumers.transport import (
    EVERYTHING,
    Batch,
    Connection,
    Fenced,
    NotAllowed,
    OtherAssignor,
    Partition,
    Positions,
    RecordsGone,
    TopicMissing,
    TopicSpec,
    TransportError,
    topic_id,
)

CONNECT_SECONDS = 10.0
NO_COORDINATOR = (
    KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.NOT_COORDINATOR,
)  # fmt: skip
"""For a moment, of a cluster that is new or whose coordinator moves."""
REQUEST_MS = 8_000

CLASSIC = "classic"
"""The protocol of groups whose members assign the partitions."""
CONSUMER_ONLY = ("session.", "heartbeat.", "max.poll.", "fetch.", "queued.", "check.crcs")
PRODUCER_ONLY = ("delivery.", "message.", "transaction.", "linger.", "batch.", "compression.", "queue.buffering.")

SECURITY = {
    "protocol": "security.protocol",
    "mechanism": "sasl.mechanism",
    "username": "sasl.username",
    "password": "sasl.password",
    "ca_file": "ssl.ca.location",
    "certificate_file": "ssl.certificate.location",
    "key_file": "ssl.key.location",
    "key_password": "ssl.key.password",
}
"""The client's name of each field of ``Security``."""

END_REACHED = KafkaError._PARTITION_EOF
FENCED_MEMBER = KafkaError(KafkaError.FENCED_INSTANCE_ID).str()
"""The text in a fatal error of a member that was fenced: its code only says that it is fatal."""
EPOCH_OVER = {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH}
"""Errors of a producer whose epoch was bumped: by a rival, but also by a timeout or a moving coordinator."""
MOVED = {
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError._NOENT,
}
"""Errors of a client that does not know a partition's new leader yet."""
GONE = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}
MISSING = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}
NO_USER = {KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED}
"""Errors of a user or a password that the broker does not accept."""
REFUSED = NO_USER | {
    KafkaError._INVALID_ARG,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.INVALID_SESSION_TIMEOUT,
    KafkaError.INVALID_TRANSACTION_TIMEOUT,
    KafkaError.INVALID_CONFIG,
    KafkaError.INVALID_PARTITIONS,
    KafkaError.INVALID_REPLICATION_FACTOR,
    KafkaError.POLICY_VIOLATION,
    KafkaError.TOPIC_EXCEPTION,
}
REPORTED = (
    {KafkaError.FENCED_INSTANCE_ID, KafkaError.INCONSISTENT_GROUP_PROTOCOL}
    | GONE
    | MISSING
    | REFUSED
    | {KafkaError._FATAL}
)


class LibrdReader(Reading[Consumer]):
    """Reads topics without joining a group; see ``Reader``.  Clients connect when they are first needed."""

    def __init__(self, connection: Connection) -> None:
        condense()
        protocol = connection.options.get("group.protocol", CLASSIC)
        if str(protocol).lower() != CLASSIC:
            raise TransportError(
                f"kafka.options.group.protocol is {protocol!r}; expected {CLASSIC!r}: the service assigns partitions by"
                " kafka.assignor and sets the timeouts of its members, which other protocols do not let it: remove it"
            )
        super().__init__(connection, SECURITY)
        self._admin_client: AdminClient | None = None
        self._offsets_client: Consumer | None = None

    def describe(self, topics: Sequence[str]) -> dict[str, TopicSpec]:
        """See ``Reader.describe``."""
        found = self._found(topics)
        configs = self._configs(list(found))
        return {
            name: TopicSpec(
                name,
                partitions=len(topic.partitions),
                replication=len(topic.partitions[0].replicas),
                config=configs.get(name, {}),
                id=_identity(topic.topic_id),
            )
            for name, topic in found.items()
        }

    def identities(self, topics: Sequence[str]) -> dict[str, str]:
        """See ``Reader.identities``."""
        return {name: _identity(topic.topic_id) for name, topic in self._found(topics).items()}

    def topic_operations(self, topics: Sequence[str]) -> dict[str, frozenset[str]]:
        """See ``Reader.topic_operations``."""
        return {
            name: frozenset() if topic is None else _operations(topic)
            for name, topic in self._described(topics).items()
        }

    def group_operations(self) -> frozenset[str]:
        """See ``Reader.group_operations``."""
        with self._talking("describing the group"):
            try:
                described = self._described_group()
            except KafkaException as failure:
                if failure.args[0].code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
                    return frozenset()
                raise
        return _operations(described)

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

    def committed(self, partitions: Sequence[Partition]) -> Positions:
        """See ``Reader.committed``."""
        return {partition: found.offset for partition, found in self._fetched(partitions).items()}

    def marks(self, partitions: Sequence[Partition]) -> dict[Partition, str]:
        """See ``Reader.marks``."""
        return {partition: _mark(found) for partition, found in self._fetched(partitions).items()}

    def _fetched(self, partitions: Sequence[Partition]) -> dict[Partition, TopicPartition]:
        """What the group has committed.

        The client asks again as long as a transaction on one of the partitions is open, and on many one always is: so
        each is asked for by itself, soon again (librdkafka waits 100 ms, then longer and longer).
        """
        found: dict[Partition, TopicPartition] = {}
        for partition in partitions:
            with self._talking("asking for committed positions"):
                if self._offsets_client is None:
                    self._offsets_client = self._new_consumer({"retry.backoff.ms": 5, "retry.backoff.max.ms": 20})
                (answer,) = self._offsets_client.committed([TopicPartition(*partition)], timeout=CONNECT_SECONDS)
                if answer.error is not None:
                    raise KafkaException(answer.error)
            if answer.offset >= 0:
                found[partition] = answer
        return found

    def close(self, timeout_seconds: float) -> None:
        """See ``Reader.close``."""
        if self._offsets_client is not None:
            close(self._offsets_client, timeout_seconds)
        self._admin_client = self._offsets_client = None

    def _placed(self, at: Positions) -> Consumer:
        client = self._new_consumer({"enable.partition.eof": True, "fetch.wait.max.ms": ARRIVE_MS})
        client.assign([TopicPartition(*partition, start) for partition, start in at.items()])
        return client

    def _arrived(self, client: Consumer, at: Positions, ends: Positions) -> list[Batch]:
        with self._talking(f"reading {', '.join(sorted({partition.topic for partition in at}))}"):
            records, reached = self._sorted(consume(client, 0.25, RANGE_RECORDS))
        batches = []
        for each in sorted(at.keys() & (records.keys() | reached.keys())):
            mine = records.get(each, [])
            position = max(reached.get(each, 0), *(record.offset() + 1 for record in mine), at[each])
            wanted = [record for record in mine if record.offset() < ends[each]]
            batches.append(columns(each, wanted, min(position, ends[each])))
        return batches

    def _pause(self, client: Consumer, partition: Partition) -> None:
        client.pause([TopicPartition(*partition)])

    def _leave(self, client: Consumer) -> None:
        close(client, CONNECT_SECONDS)

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
                self._admin_client = None  # it would ask the old leader for minutes
                time.sleep(0.5)

    def _described(self, topics: Sequence[str]) -> dict[str, Any]:
        """The topics that exist, by name; None where the broker does not say whether one does."""
        if not topics:
            return {}
        found: dict[str, Any] = {}
        with self._talking("describing topics"):
            answers = self._admin().describe_topics(
                TopicCollection(list(topics)), include_authorized_operations=True, request_timeout=CONNECT_SECONDS
            )
            for name, answer in answers.items():
                try:
                    found[name] = answer.result()
                except KafkaException as failure:
                    if failure.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                        found[name] = None
                    elif failure.args[0].code() not in MISSING:
                        raise
        return found

    def _found(self, topics: Sequence[str]) -> dict[str, Any]:
        """The descriptions of the topics that exist; raises NotAllowed where the broker does not say."""
        described = self._described(topics)
        if hidden := [name for name, topic in described.items() if topic is None]:
            raise NotAllowed.to("DESCRIBE", f"topic {', '.join(sorted(hidden))}")
        return described

    def _configs(self, topics: Sequence[str]) -> dict[str, dict[str, str]]:
        """The configuration of topics; empty where this user may not describe it."""
        if not topics:
            return {}
        configs = {}
        with self._talking("describing topics"):
            resources = [ConfigResource(ResourceType.TOPIC, name) for name in topics]
            for resource, answer in self._admin().describe_configs(resources, request_timeout=CONNECT_SECONDS).items():
                try:
                    entries = answer.result()
                except KafkaException as failure:
                    if failure.args[0].code() != KafkaError.TOPIC_AUTHORIZATION_FAILED:
                        raise
                    entries = {}
                configs[resource.name] = {key: entry.value for key, entry in entries.items() if entry.value is not None}
        return configs

    def _described_group(self) -> Any:
        """What the broker says of the group; a new cluster needs a moment until it has a coordinator."""
        group, deadline = self._connection.group, time.monotonic() + CONNECT_SECONDS
        while True:
            answers = self._admin().describe_consumer_groups(
                [group], include_authorized_operations=True, request_timeout=CONNECT_SECONDS
            )
            try:
                return answers[group].result()
            except KafkaException as failure:
                if failure.args[0].code() not in NO_COORDINATOR or time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    def _admin(self) -> AdminClient:
        if self._admin_client is None:
            self._require_accepted()
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
        self._require_accepted()
        return Consumer(self._settings(tuned | more, PRODUCER_ONLY, fixed))

    def _drop_readers(self) -> None:
        """Make new clients for the next questions: one that met no controller asks for it again only after minutes."""
        self._admin_client = self._offsets_client = None
        self._ask_again()

    def _settings(self, tuned: dict[str, Any], unknown: tuple[str, ...], fixed: dict[str, Any]) -> dict[str, Any]:
        """Our defaults, the connection's options that this client knows, and the settings that nobody may change."""
        options = {name: value for name, value in self._connection.options.items() if not name.startswith(unknown)}
        where = {
            "bootstrap.servers": self._connection.bootstrap_servers,
            "socket.timeout.ms": REQUEST_MS,
            "topic.metadata.refresh.interval.ms": METADATA_MS,
            "logger": log,
        }
        return where | tuned | options | fixed

    def _sorted(self, messages: Sequence[Any]) -> tuple[dict[Partition, list[Any]], Positions]:
        """Records by partition, and the ends that were reached; raises errors the client cannot recover from."""
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
            elif error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise NotAllowed.to("READ", f"topic {message.topic()}")
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
            said = error.str()
            if error.code() == KafkaError.FENCED_INSTANCE_ID or FENCED_MEMBER in said:
                raise Fenced.replaced(self._connection, error) from failure
            if error.code() == KafkaError.INCONSISTENT_GROUP_PROTOCOL:
                raise OtherAssignor.among(self._connection, said) from failure
            if (refused := self._refused(error)) is not None:
                raise refused from failure
            if error.code() in GONE:
                raise RecordsGone(
                    f"Retention has deleted the records at a position ({said}): start later, or from a newer snapshot"
                ) from failure
            if error.code() in MISSING:
                raise TopicMissing(f"A topic is missing ({said}): create it first") from failure
            if error.code() in NO_USER:
                self._drop_readers()
                self._require_accepted()  # it names the setting
            if error.code() in REFUSED:
                raise TransportError(f"Kafka refused {doing}: {said}") from failure
            if (error.fatal() or error.code() == KafkaError._FATAL) and error.code() not in EPOCH_OVER:
                raise TransportError(
                    f"The client failed for good while {doing} ({said}): restart this process"
                ) from failure
            self._drop_readers()
            raise self._away(doing, said) from failure

    def _refused(self, error: KafkaError) -> NotAllowed | None:
        """Our error for one of access control to the group or the transactional id; None for any other."""
        if error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            return NotAllowed.to("READ", f"group {self._connection.group}")
        if error.code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
            return NotAllowed.to("WRITE", f"transactional id {self._connection.group}-{self._connection.instance}")
        return None


def _operations(described: Any) -> frozenset[str]:
    """What the broker allows with a topic or a group, by its description."""
    told = described.authorized_operations
    return EVERYTHING if told is None else frozenset(each.name for each in told)


def _identity(known: Any) -> str:
    """A topic's identity, from the client's own type."""
    bits = known.get_most_significant_bits() % 2**64 << 64 | known.get_least_significant_bits() % 2**64
    return topic_id(UUID(int=bits))


def close(consumer: Consumer, timeout_seconds: float) -> None:
    """Close a consumer in the background: librdkafka may never end it, and a signal does not interrupt the wait."""
    if not ended_within(timeout_seconds, consumer.close):
        log.warning("A consumer did not close within %.0f s: this process goes on without it", timeout_seconds)


def consume(consumer: Consumer, timeout_seconds: float, limit: int) -> list[Any]:
    """Return at most ``limit`` messages: at once if any have arrived, else after the timeout."""
    first = consumer.consume(1, timeout_seconds)
    return first + consumer.consume(limit - 1, 0) if first and limit > 1 else first


def columns(partition: Partition, messages: Sequence[Any], position: int) -> Batch:
    """Return the polled records of a partition as columns; ``position`` is the offset after them."""
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


def _mark(committed: TopicPartition) -> str:
    """Return the mark beside a position; nothing where the client has read on into its memory: ours end before."""
    try:
        return marks.read(committed.metadata)
    except UnicodeDecodeError:
        return ""
