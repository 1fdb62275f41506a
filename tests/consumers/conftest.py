"""The brokers of the tests: one in the process, and a real Kafka with either client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness.local_kafka import LocalKafka
from streamcast.consumers.kafka_python.reader import KafkaReader
from streamcast.consumers.kafka_python.transport import KafkaTransport
from streamcast.consumers.librdkafka.reader import LibrdReader
from streamcast.consumers.librdkafka.transport import LibrdTransport
from streamcast.consumers.memory.transport import Fault, MemoryBroker, MemoryReader, MemoryTransport
from tests.consumers.world import KAFKA_CLIENTS, SOON_MS, World


@pytest.fixture(params=["memory", *KAFKA_CLIENTS])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "memory":
        lost = [False]
        soon = SOON_MS / 1000
        broker = MemoryBroker(member_seconds=soon, faults=lambda _name, _who: Fault.LOST if lost[0] else Fault.NONE)

        @contextmanager
        def unreachable() -> Iterator[None]:
            lost[0] = True
            yield
            lost[0] = False

        made = World("memory", lambda c: MemoryTransport(broker, c), lambda c: MemoryReader(broker, c), "", unreachable)
    else:
        bootstrap: str = request.getfixturevalue("kafka")

        @contextmanager
        def frozen() -> Iterator[None]:
            local: LocalKafka = request.getfixturevalue("local_kafka")
            local.freeze()
            try:
                yield
            finally:
                local.thaw()

        if request.param == "kafka-python":
            made = World(request.param, KafkaTransport, KafkaReader, bootstrap, frozen)
        else:
            made = World(request.param, LibrdTransport, LibrdReader, bootstrap, frozen)
    yield made
    made.close()
