"""Faults of a cluster of three brokers, under a service of two processes, one of each client, and steady traffic."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.faults.checker import Client, counted
from harness.faults.cluster import QUICK, TOPICS, Cluster, Tally
from harness.faults.traffic import Traffic, longest_stall
from harness.local_cluster import GROUPS, TRANSACTIONS, LocalCluster
from harness.local_kafka import OLDER, VERSION, LocalKafka
from harness.proxy import Direction, Request

QUIET_SECONDS = 4.0
"""Of traffic before and after a fault."""
AWAY_SECONDS = 10.0
SLOW_SECONDS = 0.05
"""By which slow links delay each piece."""
BEGIN_SECONDS = 300.0
DRAIN_SECONDS = 150.0

Chosen = Callable[[Cluster, LocalCluster], LocalKafka]


@dataclass(frozen=True)
class BrokerFault:
    """One kind of fault of a cluster, and what is special about that cluster."""

    name: str
    strike: Callable[[Cluster, LocalCluster], None]
    linked: bool = False
    """Clients reach its nodes through links that can be cut."""
    version: str = VERSION
    """Of its nodes, before the fault."""

    @property
    def on_any(self) -> bool:
        """Whether a cluster that had other faults before will do."""
        return not self.linked and self.version == VERSION

    def cluster(self) -> LocalCluster:
        """Return a cluster for this fault."""
        return LocalCluster(linked=self.linked, version=self.version)


def run_broker_round(
    fault: BrokerFault, brokers: LocalCluster, tally: Tally, seed: int,
    sessions: Mapping[Client, Mapping[str, object]] = QUICK,
) -> None:  # fmt: skip
    """Strike while records arrive and two processes answer them; then mend the cluster, drain, and check twice."""
    with Cluster(brokers, "kafka-python", tally, seed, sessions=sessions) as cluster:
        cluster.feed(100)
        begun = [cluster.start("0"), cluster.start("1", client="librdkafka")]
        source = cluster.topic("observations")
        with Traffic(brokers.bootstrap_servers, source, lambda: cluster.partitions, cluster.draw) as traffic:
            for worker in begun:
                if not worker.wait_for("committed", BEGIN_SECONDS):
                    tally.violations.append(f"process {worker.instance} did not begin: {cluster.last_words()}")
                    return
            time.sleep(QUIET_SECONDS)
            try:
                fault.strike(cluster, brokers)
            finally:
                brokers.start()
            time.sleep(QUIET_SECONDS)
        cluster.acknowledged += len(traffic.arrived)
        cluster.note_ends()
        cluster.finish(DRAIN_SECONDS)
        tally.stalled_seconds.append(longest_stall(traffic.arrived, cluster.answered_at()))
        outputs = cluster.topic("forecasts"), cluster.topic("dead-letters")
        for client in ("kafka-python", "librdkafka"):
            tally.violations += counted(brokers.bootstrap_servers, *outputs, cluster.partitions, client)


def _rolled(how: Callable[[LocalKafka], None]) -> Callable[[Cluster, LocalCluster], None]:
    """Each broker in turn goes and comes back, the next one when all replicas are in sync again."""

    def strike(_cluster: Cluster, brokers: LocalCluster) -> None:
        for node in brokers.nodes.values():
            how(node)
            time.sleep(1.0)
            brokers.start()

    return strike


def _killed(chosen: Chosen) -> Callable[[Cluster, LocalCluster], None]:
    def strike(cluster: Cluster, brokers: LocalCluster) -> None:
        chosen(cluster, brokers).kill()
        time.sleep(AWAY_SECONDS)

    return strike


def _frozen(chosen: Chosen) -> Callable[[Cluster, LocalCluster], None]:
    def strike(cluster: Cluster, brokers: LocalCluster) -> None:
        node = chosen(cluster, brokers)
        node.freeze()
        time.sleep(AWAY_SECONDS)
        node.thaw()

    return strike


def _without_quorum(_cluster: Cluster, brokers: LocalCluster) -> None:
    """Two of three brokers are gone: nothing can be written, and no leader elected."""
    for node in list(brokers.nodes.values())[:2]:
        node.kill()
    time.sleep(AWAY_SECONDS)


def _reassigned(cluster: Cluster, brokers: LocalCluster) -> None:
    """Every partition moves to another leader, twice, the internal topics too."""
    for _ in range(2):
        brokers.reassign([*map(cluster.topic, TOPICS), GROUPS, TRANSACTIONS])
        time.sleep(AWAY_SECONDS / 2)


def _grown(cluster: Cluster, brokers: LocalCluster) -> None:
    """All topics get more partitions, and records arrive in them at once."""
    cluster.grow(brokers)
    time.sleep(AWAY_SECONDS)


def _upgraded(_cluster: Cluster, brokers: LocalCluster) -> None:
    """Each broker in turn ends, and comes back as the newer version."""
    for node in brokers.nodes.values():
        node.end()
        node.version = VERSION
        brokers.start()


def _cut(chosen: Chosen) -> Callable[[Cluster, LocalCluster], None]:
    def strike(cluster: Cluster, brokers: LocalCluster) -> None:
        brokers.link(chosen(cluster, brokers)).cut()
        time.sleep(AWAY_SECONDS)

    return strike


def _deaf(chosen: Chosen, direction: Direction) -> Callable[[Cluster, LocalCluster], None]:
    def strike(cluster: Cluster, brokers: LocalCluster) -> None:
        brokers.link(chosen(cluster, brokers)).swallow = direction
        time.sleep(AWAY_SECONDS)

    return strike


def _ended_late(cluster: Cluster, brokers: LocalCluster) -> None:
    """Ends of transactions arrive at any time of a later one; their clients have sent them again on new connections."""
    until = time.monotonic() + AWAY_SECONDS
    while time.monotonic() < until:
        for link in brokers.links.values():
            link.make_late(Request.END_TRANSACTION, cut=True)
        time.sleep(cluster.chance.uniform(0.3, 1.0))
        for link in brokers.links.values():
            link.heal()
    if not any(link.arrived_late for link in brokers.links.values()):
        cluster.tally.violations.append("no end of a transaction arrived late: the fault did not happen")


def _slow(_cluster: Cluster, brokers: LocalCluster) -> None:
    for link in brokers.links.values():
        link.delay_seconds = SLOW_SECONDS
    time.sleep(AWAY_SECONDS)


def leader(cluster: Cluster, brokers: LocalCluster) -> LocalKafka:
    """The broker that leads the first partition of the forecasts."""
    return brokers.leader(cluster.topic("forecasts"), 0)


def group_coordinator(cluster: Cluster, brokers: LocalCluster) -> LocalKafka:
    """The broker that coordinates the service's group."""
    return brokers.coordinator(GROUPS, cluster.group)


def transaction_coordinator(cluster: Cluster, brokers: LocalCluster) -> LocalKafka:
    """The broker that coordinates the transactions of the librdkafka process."""
    return brokers.coordinator(TRANSACTIONS, f"{cluster.group}-1")


CHOSEN: dict[str, Chosen] = {
    "leader": leader,
    "group coordinator": group_coordinator,
    "transaction coordinator": transaction_coordinator,
}

BROKER_FAULTS = [
    BrokerFault("rolling restart", _rolled(LocalKafka.end)),
    BrokerFault("rolling kill -9", _rolled(LocalKafka.kill)),
    *(BrokerFault(f"{name} killed", _killed(chosen)) for name, chosen in CHOSEN.items()),
    *(BrokerFault(f"{name} frozen", _frozen(chosen)) for name, chosen in CHOSEN.items()),
    BrokerFault("no quorum and back", _without_quorum),
    BrokerFault("reassignment", _reassigned),
    BrokerFault("partitions added", _grown),
    BrokerFault(f"rolling upgrade from {OLDER}", _upgraded, version=OLDER),
    *(BrokerFault(f"link to the {name} cut", _cut(chosen), linked=True) for name, chosen in CHOSEN.items()),
    *(
        BrokerFault(f"link to the {name}, answers lost", _deaf(chosen, "to the client"), linked=True)
        for name, chosen in CHOSEN.items()
    ),
    BrokerFault("slow links", _slow, linked=True),
    BrokerFault("late ends of transactions", _ended_late, linked=True),
]
