"""``streamcast skip`` against a real Kafka, after a process died without leaving its group."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from harness.faults.checker import Client
from harness.faults.cluster import Cluster, Tally
from harness.local_kafka import LocalKafka
from streamcast.app.commands.deployment import dlq
from streamcast.app.commands.deployment.connect import connection, new_reader
from streamcast.app.commands.deployment.skip import skip_record
from streamcast.consumers.transport import Partition

CLIENTS: tuple[Client, ...] = ("kafka-python", "librdkafka")


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_skipped_record_becomes_a_dead_letter_and_everything_else_is_answered(
    local_kafka: LocalKafka, client: Client
) -> None:
    tally = Tally()
    with Cluster(local_kafka, client, tally, seed=1) as cluster:
        cluster.feed(120)
        worker = cluster.start("0")
        cluster.drain()
        worker.kill()
        cluster.feed(40)
        settings = cluster.settings()
        partition = Partition(settings.input.topic, 1)
        reader = new_reader(settings, connection(settings))
        offset = reader.committed([partition])[partition] + 1
        reader.close(5.0)
        said = io.StringIO()
        for _ in range(2):
            assert skip_record(settings, f"{partition.topic}[1]", offset, Console(file=said, width=300)) == 0
        assert "will be a dead letter" in said.getvalue()
        assert "already skips" in said.getvalue()
        cluster.start("0")
        report = cluster.finish()
        assert (tally.violations, report.records) == ([], tally.records)
        letters = io.StringIO()
        assert dlq.inspect(settings, dlq.Filter("skipped"), 9, as_json=True, console=Console(file=letters)) == 0
        (skipped,) = json.loads(letters.getvalue())
        source = tuple(skipped[f"source_{part}"] for part in ("topic", "partition", "offset"))
        assert source == (partition.topic, "1", str(offset))
