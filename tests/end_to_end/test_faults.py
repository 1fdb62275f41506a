"""A short round of real faults: processes, a real Kafka, both clients; ``benchmarks.faults`` is the long one."""

from __future__ import annotations

import pytest
from rich.console import Console

from harness.faults.brokers import BROKER_FAULTS, run_broker_round
from harness.faults.checker import Client
from harness.faults.cluster import Cluster, Tally
from harness.faults.drivers import KILLS, OTHERS, run_round
from harness.faults.serve import POINTS, Trap
from harness.local_cluster import GROUPS, LocalCluster
from harness.local_kafka import LocalKafka, is_since
from harness.proxy import KafkaProxy
from streamcast.app.commands.deployment.verify import verify_service
from streamcast.consumers.kafka_python.reader import KafkaReader
from streamcast.consumers.librdkafka.reader import LibrdReader
from streamcast.consumers.transport import Connection

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]

CLIENTS: tuple[Client, ...] = ("kafka-python", "librdkafka")
NAMED = {fault.name: fault for fault in KILLS + OTHERS}


@pytest.mark.parametrize("client", CLIENTS)
def test_after_a_kill_at_every_point_the_verifier_finds_nothing(
    local_kafka: LocalKafka, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    tally = Tally()
    with Cluster(local_kafka, client, tally, seed=1) as cluster:
        for point in POINTS:
            cluster.feed(120)
            assert cluster.wait_for_death(cluster.start("0", Trap(point, 2)), 60)
        report = cluster.finish()
        assert (tally.violations, tally.kills, report.records) == ([], len(POINTS), tally.records)
        assert verify_service(cluster.settings(), as_json=False, console=Console(width=200)) == 0
        assert "complete, unique, in order and equal" in capsys.readouterr().out


def test_a_zombie_whose_work_is_another_ones_does_no_harm(local_kafka: LocalKafka) -> None:
    tally = Tally()
    run_round(NAMED["zombie, after sending"], local_kafka, None, "kafka-python", tally, seed=2)
    assert tally.violations == []


def test_a_broker_that_dies_in_mid_transaction_loses_and_doubles_nothing(local_kafka: LocalKafka) -> None:
    tally = Tally()
    run_round(NAMED["broker killed after sending"], local_kafka, None, "librdkafka", tally, seed=3)
    assert tally.violations == []


def test_a_commit_whose_answer_is_lost_is_settled() -> None:
    tally = Tally()
    with KafkaProxy() as proxy, LocalKafka(advertised_port=proxy.port) as kafka:
        proxy.target_port = kafka.port
        run_round(NAMED["half-open link, answer lost"], kafka, proxy, "kafka-python", tally, seed=4)
    assert tally.violations == []


@pytest.mark.skipif(not is_since(3, 7), reason="kafka-python cannot ask an older cluster for its brokers")
def test_a_cluster_that_loses_a_leader_loses_and_doubles_nothing_and_no_process_ends() -> None:
    tally = Tally()
    (fault,) = (fault for fault in BROKER_FAULTS if fault.name == "leader killed")
    with LocalCluster() as brokers:
        run_broker_round(fault, brokers, tally, seed=5)
        connection = Connection(brokers.bootstrap_servers, "reader")
        for reader in (KafkaReader(connection), LibrdReader(connection)):
            described = reader.describe([GROUPS])[GROUPS]
            assert (described.replication, described.config["min.insync.replicas"]) == (3, "2"), "a broker's default"
            reader.close(5)
    assert tally.violations == []
    assert tally.records > 0
