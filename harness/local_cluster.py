"""Three Kafka nodes on this machine, each a broker and a controller: the smallest cluster that survives one of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self

from kafka import TopicPartition, errors
from kafka.admin import KafkaAdminClient
from kafka.protocol.admin import ElectionType

from harness.local_kafka import VERSION, BrokerError, LocalKafka, free_ports
from harness.proxy import KafkaProxy

HEALTHY_SECONDS = 120.0
ADMIN_MS = 10_000
INTERNAL_PARTITIONS = 4
GROUPS, TRANSACTIONS = "__consumer_offsets", "__transaction_state"
"""The topics whose leaders coordinate groups and transactions."""


class LocalCluster:
    """Nodes 1 to ``count`` with replication 3 and min.insync.replicas 2; a context manager.

    Where it is ``linked``, clients reach each node through a proxy of its own; nodes reach each other directly.
    """

    def __init__(self, count: int = 3, *, linked: bool = False, version: str = VERSION) -> None:
        numbers = range(1, count + 1)
        self.links: Mapping[int, KafkaProxy] = {number: KafkaProxy() for number in numbers if linked}
        nodes = {number: _node(self.links.get(number), version) for number in numbers}
        voters = ",".join(f"{number}@127.0.0.1:{node.controller_port}" for number, node in nodes.items())
        copies = str(min(3, count))
        for number, node in nodes.items():
            node.change({
                "node.id": str(number),
                "controller.quorum.voters": voters,
                "default.replication.factor": copies,
                "min.insync.replicas": "2",
                "offsets.topic.replication.factor": copies,
                "transaction.state.log.replication.factor": copies,
                "transaction.state.log.min.isr": "2",
                # Shorter, and two busy cores would look like a broker that has died.
                "broker.session.timeout.ms": "4000",
                "broker.heartbeat.interval.ms": "500",
                "replica.lag.time.max.ms": "5000",
            })  # fmt: skip
        self.nodes: Mapping[int, LocalKafka] = nodes

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect: every node."""
        return ",".join(node.bootstrap_servers for node in self.nodes.values())

    def start(self) -> None:
        """Start the nodes that do not run, continue those that are frozen, heal links, and wait until all is whole."""
        for link in self.links.values():
            link.heal()
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(LocalKafka.start, self.nodes.values()))
        for node in self.nodes.values():
            node.thaw()
        self.wait_until_whole()

    def stop(self) -> None:
        """End all nodes and remove their folders."""
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(LocalKafka.stop, self.nodes.values()))
        for link in self.links.values():
            link.close()

    def wait_until_whole(self) -> None:
        """Wait until every partition has a leader and all its replicas in sync; raises BrokerError."""
        deadline = time.monotonic() + HEALTHY_SECONDS
        weak: Sequence[str] = ["no broker answers"]
        while time.monotonic() < deadline:
            with suppress(errors.KafkaError, TimeoutError), self.admin() as admin:
                brokers = admin.describe_cluster()["brokers"]
                weak = [
                    f"{topic['name']}[{partition['partition_index']}]"
                    for topic in admin.describe_topics()
                    for partition in topic["partitions"]
                    if partition["leader_id"] < 0 or len(partition["isr_nodes"]) < len(partition["replica_nodes"])
                ]
                if len(brokers) == len(self.nodes) and not weak:
                    return
            time.sleep(0.5)
        raise BrokerError(f"The cluster was not whole after {HEALTHY_SECONDS:.0f} s: {', '.join(weak)}")

    @contextmanager
    def admin(self) -> Iterator[Any]:
        """A client for administration, of its own: it knows no broker from before."""
        client = KafkaAdminClient(
            bootstrap_servers=self.bootstrap_servers.split(","),
            bootstrap_timeout_ms=ADMIN_MS,
            request_timeout_ms=ADMIN_MS,
        )
        try:
            yield client
        finally:
            client.close()

    def link(self, node: LocalKafka) -> KafkaProxy:
        """The link between clients and a node of a ``linked`` cluster."""
        return next(link for number, link in self.links.items() if self.nodes[number] is node)

    def leader(self, topic: str, partition: int) -> LocalKafka:
        """The node that leads a partition."""
        with self.admin() as admin:
            (described,) = admin.describe_topics([topic])
        return next(
            self.nodes[found["leader_id"]] for found in described["partitions"] if found["partition_index"] == partition
        )

    def coordinator(self, topic: str, name: str) -> LocalKafka:
        """The node that coordinates a group (``GROUPS``) or a transactional id (``TRANSACTIONS``)."""
        return self.leader(topic, abs(_hash_code(name)) % INTERNAL_PARTITIONS)

    def reassign(self, topics: Sequence[str]) -> None:
        """Give every partition of these topics its replicas in another order, and lead by the new first ones."""
        moved = {}
        with self.admin() as admin:
            for topic in admin.describe_topics(list(topics)):
                for partition in topic["partitions"]:
                    first, *others = partition["replica_nodes"]
                    moved[TopicPartition(topic["name"], partition["partition_index"])] = [*others, first]
            refused = {name: error for name, error in admin.alter_partition_reassignments(moved).items() if error}
            if refused:
                raise BrokerError(f"The cluster refused to reassign {refused}")
            admin.elect_leaders(ElectionType.PREFERRED, list(moved), raise_errors=False)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _node(link: KafkaProxy | None, version: str) -> LocalKafka:
    """A node, which clients reach through ``link``, and others of the cluster at a port that no client knows."""
    node = LocalKafka(heap="256m", advertised_port=link.port if link else None, version=version)
    if link is not None:
        link.target_port = node.port
        (between,) = free_ports(1)
        node.change({
            "listeners": f"PLAINTEXT://127.0.0.1:{node.port},BETWEEN://127.0.0.1:{between},"
            f"CONTROLLER://127.0.0.1:{node.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{node.bootstrap_servers},BETWEEN://127.0.0.1:{between}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,BETWEEN:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "BETWEEN",
        })  # fmt: skip
    return node


def _hash_code(text: str) -> int:
    """Java's String.hashCode, by which a broker chooses the partition of a coordinator."""
    code = 0
    for character in text:
        code = (31 * code + ord(character)) & 0xFFFFFFFF
    return code - (1 << 32) if code >= 1 << 31 else code
