"""Reader over Apache Kafka through kafka-python: topics, offsets and ranges of records, without joining a group."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import UUID

from kafka import KafkaConsumer, TopicPartition, errors
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, OffsetSpec
from kafka.protocol.admin import DescribeGroupsRequest
from kafka.structs import OffsetAndMetadata

from streamcast.consumers import marks
from streamcast.consumers.background import ended_within, started
from streamcast.consumers.kafka_python.complaints import condense
from streamcast.consumers.kafka_python.connections import connected
from streamcast.consumers.kafka_python.options import with_typed_options
from streamcast.consumers.reading import ARRIVE_MS, METADATA_MS, RANGE_RECORDS, Reading
from streamcast.consumers.transport import (
    EVERYTHING,
    Batch,
    CodecMissing,
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

log = logging.getLogger(__name__)

CONNECT_MS = 10_000
REQUEST_MS = 8_000
NOT_ALLOWED = errors.TopicAuthorizationFailedError.errno

SECURITY = {
    "protocol": "security_protocol",
    "mechanism": "sasl_mechanism",
    "username": "sasl_plain_username",
    "password": "sasl_plain_password",
    "ca_file": "ssl_cafile",
    "certificate_file": "ssl_certfile",
    "key_file": "ssl_keyfile",
    "key_password": "ssl_password",
}
"""The client's name of each field of ``Security``."""


class KafkaReader(Reading[KafkaConsumer]):
    """Reads topics without joining a group; see ``Reader``.  Clients connect when they are first needed."""

    def __init__(self, connection: Connection) -> None:
        condense()
        super().__init__(with_typed_options(connection), SECURITY)
        self._admin_client: KafkaAdminClient | None = None
        self._offsets_client: KafkaConsumer | None = None

    def describe(self, topics: Sequence[str]) -> dict[str, TopicSpec]:
        """See ``Reader.describe``."""
        found = self._found(topics)
        configs = self._configs(list(found))
        return {
            name: TopicSpec(
                name,
                partitions=len(topic["partitions"]),
                replication=len(topic["partitions"][0]["replica_nodes"]),
                config=configs.get(name, {}),
                id=_identity(topic),
            )
            for name, topic in found.items()
        }

    def identities(self, topics: Sequence[str]) -> dict[str, str]:
        """See ``Reader.identities``."""
        return {name: _identity(topic) for name, topic in self._found(topics).items()}

    def topic_operations(self, topics: Sequence[str]) -> dict[str, frozenset[str]]:
        """See ``Reader.topic_operations``."""
        return {
            topic["name"]: _operations(topic) if topic["error_code"] == 0 else frozenset()
            for topic in self._metadata(topics)
            if topic["error_code"] in (0, NOT_ALLOWED)
        }

    def group_operations(self) -> frozenset[str]:
        """See ``Reader.group_operations``."""
        with self._talking("describing the group"):
            try:
                described = self._described_group()
            except errors.GroupAuthorizationFailedError:
                return frozenset()
        return _operations(described)

    def bounds(self, partitions: Sequence[Partition]) -> dict[Partition, tuple[int, int]]:
        """See ``Reader.bounds``."""
        self._require({partition.topic for partition in partitions})
        with self._talking("asking for the first and last offsets"):
            client, names = self._offsets(), [TopicPartition(*partition) for partition in partitions]
            first = client.beginning_offsets(names, timeout_ms=CONNECT_MS)
            last = client.end_offsets(names, timeout_ms=CONNECT_MS)
        return {partition: (first[partition], last[partition]) for partition in partitions}

    def ends(self, partitions: Sequence[Partition]) -> Positions:
        """See ``Reader.ends``."""
        self._require({partition.topic for partition in partitions})
        with self._talking("asking for the last offsets"):
            wanted = {TopicPartition(*partition): OffsetSpec.LATEST for partition in partitions}
            found = self._admin().list_partition_offsets(wanted, timeout_ms=CONNECT_MS)  # read_uncommitted
        return {partition: found[partition].offset for partition in partitions}

    def offsets_at(self, partitions: Sequence[Partition], timestamp_ms: int) -> Positions:
        """See ``Reader.offsets_at``."""
        ends = {partition: end for partition, (_, end) in self.bounds(partitions).items()}
        with self._talking("asking for offsets at a time"):
            wanted = {TopicPartition(*partition): timestamp_ms for partition in partitions}
            found = self._offsets().offsets_for_times(wanted, timeout_ms=CONNECT_MS)
        return {
            partition: min(found[partition].offset, end) if found[partition] else end for partition, end in ends.items()
        }

    def committed(self, partitions: Sequence[Partition]) -> Positions:
        """See ``Reader.committed``."""
        return {partition: found.offset for partition, found in self._fetched(partitions).items()}

    def marks(self, partitions: Sequence[Partition]) -> dict[Partition, str]:
        """See ``Reader.marks``."""
        return {partition: marks.read(found.metadata) for partition, found in self._fetched(partitions).items()}

    def _fetched(self, partitions: Sequence[Partition]) -> dict[Partition, OffsetAndMetadata]:
        """What the group has committed.

        The client asks again as long as a transaction on one of the partitions is open, and on many one always is: so
        each is asked for by itself.
        """
        found: dict[Partition, OffsetAndMetadata] = {}
        for partition in partitions:
            with self._talking("asking for committed positions"):
                answer = self._offsets().committed(TopicPartition(*partition), metadata=True, timeout_ms=CONNECT_MS)
            if answer is not None and answer.offset >= 0:
                found[partition] = answer
        return found

    def close(self, timeout_seconds: float) -> None:
        """See ``Reader.close``; a connection that does not close in time is abandoned."""
        servers = self._connection.bootstrap_servers
        try:
            if not ended_within(timeout_seconds, self._close):
                log.warning("The connection to %s did not close in time: this process goes on without it", servers)
        except errors.KafkaError as error:
            log.warning("Closing the connection to %s: %r", servers, error)

    def _close(self) -> None:
        if self._admin_client is not None:
            self._admin_client.close()
        if self._offsets_client is not None:
            self._offsets_client.close(autocommit=False, timeout_ms=REQUEST_MS)
        self._admin_client = self._offsets_client = None

    def _renew_clients(self) -> None:
        """Drop the clients and close them in the background: one with stale metadata would keep it for 300 s."""
        self._ask_again()
        admin, offsets = self._admin_client, self._offsets_client
        self._admin_client = self._offsets_client = None
        if admin is not None:
            started(admin.close)
        if offsets is not None:
            started(partial(offsets.close, autocommit=False, timeout_ms=REQUEST_MS))

    def _placed(self, at: Positions) -> KafkaConsumer:
        client = self._new_consumer(None)
        client.assign([TopicPartition(*partition) for partition in at])
        for partition, start in at.items():
            client.seek(TopicPartition(*partition), start)
        return client

    def _arrived(self, client: KafkaConsumer, at: Positions, ends: Positions) -> list[Batch]:
        with self._talking(f"reading {', '.join(sorted({partition.topic for partition in at}))}", "READ"):
            polled = client.poll(ARRIVE_MS, max_records=RANGE_RECORDS)
            positions = {each: client.position(TopicPartition(*each), timeout_ms=0) for each in at}
        wanted = {each: [record for record in polled.get(each, ()) if record.offset < ends[each]] for each in positions}
        return [columns(each, wanted[each], min(position, ends[each])) for each, position in positions.items()]

    def _pause(self, client: KafkaConsumer, partition: Partition) -> None:
        client.pause(TopicPartition(*partition))

    def _leave(self, client: KafkaConsumer) -> None:
        client.close(autocommit=False, timeout_ms=REQUEST_MS)

    def _metadata(self, topics: Sequence[str]) -> list[dict[str, Any]]:
        if not topics:
            return []
        with self._talking("describing topics"):
            described: list[dict[str, Any]] = self._admin().describe_topics(list(topics))
            return described

    def _found(self, topics: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The metadata of the topics that exist; raises NotAllowed where the broker does not say."""
        described = self._metadata(topics)
        if hidden := [topic["name"] for topic in described if topic["error_code"] == NOT_ALLOWED]:
            raise NotAllowed.to("DESCRIBE", f"topic {', '.join(sorted(hidden))}")
        return {topic["name"]: topic for topic in described if topic["error_code"] == 0}

    def _configs(self, topics: Sequence[str]) -> dict[str, dict[str, str]]:
        """The configuration of topics; empty where this user may not describe it."""
        if not topics:
            return {}
        with self._talking("describing topics"):
            resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in topics]
            try:
                configs = self._admin().describe_configs(resources, config_filter="all")["topic"]
            except errors.AuthorizationError:
                return {}
        return {name: {key: entry["value"] for key, entry in config.items()} for name, config in configs.items()}

    def _described_group(self) -> dict[str, Any]:
        """What the broker says of the group; a new cluster needs a moment until it has a coordinator.

        Since version 6 of the request a broker does not say what is allowed with a group that has had no member yet.
        """

        def before_version_6(groups: Sequence[str]) -> DescribeGroupsRequest:
            return DescribeGroupsRequest(groups=list(groups), include_authorized_operations=True, max_version=5)

        group, deadline = self._connection.group, time.monotonic() + CONNECT_MS / 1000
        while True:
            admin = self._admin()
            admin._describe_groups_request = before_version_6  # noqa: SLF001 - the client offers no other way
            try:
                described: dict[str, Any] = admin.describe_groups([group])[group]
                if described["error"] is None:
                    return described
                trouble = errors.KafkaTimeoutError(f"group {group}: {described['error']}")
            except errors.CoordinatorNotAvailableError as error:
                trouble = error
            if time.monotonic() > deadline:
                raise trouble
            time.sleep(0.1)

    def _admin(self) -> KafkaAdminClient:
        if self._admin_client is None:
            self._require_accepted()
            self._admin_client = connected(
                KafkaAdminClient, self._settings(KafkaAdminClient, {"request_timeout_ms": REQUEST_MS})
            )
        return self._admin_client

    def _offsets(self) -> KafkaConsumer:
        """A consumer that carries the group's name but never joins it."""
        if self._offsets_client is None:
            self._offsets_client = self._new_consumer(self._connection.group)
        return self._offsets_client

    def _new_consumer(self, group: str | None, **more: object) -> KafkaConsumer:
        tuned = {"request_timeout_ms": REQUEST_MS, "metrics_enabled": False, "retry_backoff_ms": 20, "check_crcs": True}
        fixed: dict[str, object] = {
            "group_id": group,
            "enable_auto_commit": False,
            "isolation_level": "read_committed",
            "auto_offset_reset": "none",
            "allow_auto_create_topics": False,
        }
        self._require_accepted()
        return connected(KafkaConsumer, self._settings(KafkaConsumer, tuned | more, fixed))

    def _settings(
        self, client: type[Any], tuned: dict[str, object], fixed: dict[str, object] | None = None
    ) -> dict[str, object]:
        """Our defaults, the connection's options that this client knows, and the settings that nobody may change."""
        options = {name: value for name, value in self._connection.options.items() if name in client.DEFAULT_CONFIG}
        where = {
            "bootstrap_servers": self._connection.bootstrap_servers,
            "bootstrap_timeout_ms": CONNECT_MS,
            "metadata_max_age_ms": METADATA_MS,
        }
        return where | tuned | options | (fixed or {})

    @contextmanager
    def _talking(self, doing: str, operation: str = "DESCRIBE") -> Iterator[None]:
        """Turn the client's errors into ours; ``operation`` is what it needs on its topics."""
        try:
            yield
        except errors.OffsetOutOfRangeError as error:
            raise RecordsGone(
                f"Retention has deleted the records at a position ({error}): start later, or from a newer snapshot"
            ) from error
        except errors.UnknownTopicOrPartitionError as error:
            raise TopicMissing(f"A topic is missing ({error}): create it first") from error
        except errors.UnsupportedCodecError as error:
            raise CodecMissing(
                f"The client cannot decompress records while {doing} ({error}): install the package of this codec"
                " (snappy: pip install python-snappy), or set kafka.client to librdkafka, which has them all"
            ) from error
        except errors.FencedInstanceIdError as error:
            raise Fenced.replaced(self._connection, error) from error
        except errors.InconsistentGroupProtocolError as error:
            raise OtherAssignor.among(self._connection, error) from error
        except errors.AuthorizationError as error:
            raise self._refused(error, doing, operation) from error
        except (errors.RetriableError, errors.ProducerFencedError, TimeoutError) as error:
            self._renew_clients()
            raise self._away(doing, error) from error
        except errors.KafkaError as error:
            if isinstance(error, errors.SaslAuthenticationFailedError):
                self._renew_clients()
                self._require_accepted()  # it names the setting
            raise TransportError(f"Kafka refused {doing}: {error}") from error

    def _refused(self, error: errors.AuthorizationError, doing: str, operation: str) -> TransportError:
        """Our error for one of access control."""
        if isinstance(error, errors.TopicAuthorizationFailedError):
            named = error.args[0] if error.args and isinstance(error.args[0], set | frozenset) else error.args[:1]
            return NotAllowed.to(operation, f"topic {', '.join(sorted(map(str, named)))}")
        if isinstance(error, errors.GroupAuthorizationFailedError):
            return NotAllowed.to("READ", f"group {self._connection.group}")
        if isinstance(error, errors.TransactionalIdAuthorizationFailedError):
            return NotAllowed.to("WRITE", f"transactional id {self._connection.group}-{self._connection.instance}")
        return TransportError(f"Kafka refused {doing}: {error}")


def _operations(described: Mapping[str, Any]) -> frozenset[str]:
    """What the broker allows with a topic or a group, by its description."""
    told = described.get("authorized_operations")
    return EVERYTHING if told is None else frozenset(told)


def _identity(topic: Mapping[str, Any]) -> str:
    """A topic's identity, from its metadata; brokers before Kafka 2.8 give none."""
    return topic_id(UUID(topic.get("topic_id") or "0" * 32))


def columns(partition: Partition, records: Sequence[Any], position: int) -> Batch:
    """Return the polled records of a partition as columns; ``position`` is the offset after them."""
    headers = [record.headers for record in records]
    return Batch(
        partition,
        [record.offset for record in records],
        [record.timestamp for record in records],
        [record.key for record in records],
        [record.value for record in records],
        position,
        headers if any(headers) else None,
    )
