"""From settings to connections, transports, readers and models."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from streamcast.app.settings import Settings
from streamcast.consumers.transport import Connection, Partition, Reader, Transport
from streamcast.spec.folders import Model, load_model
from streamcast.topics.names import Topics


def connection(settings: Settings, passed: Callable[[str], None] = lambda _point: None) -> Connection:
    """Return the identity of this process for the broker; ``passed`` is called at every point of a commit."""
    kafka = settings.kafka
    return Connection(
        bootstrap_servers=kafka.bootstrap_servers,
        group=kafka.group,
        instance=kafka.instance,
        guarantee=kafka.guarantee,
        assignor=kafka.assignor,
        options=kafka.client_options(),
        passed=passed,
    )


def topics_of(settings: Settings) -> Topics:
    """Return the topics that the service uses."""
    output = settings.output
    return Topics(settings.input.topic, output.forecasts, output.dead_letters, output.journal)


def new_transport(settings: Settings, connection: Connection) -> Transport:
    """Return a transport that uses the client named in the settings."""
    if settings.kafka.client == "librdkafka":
        from streamcast.consumers.librdkafka.transport import LibrdTransport

        return LibrdTransport(connection)
    from streamcast.consumers.kafka_python.transport import KafkaTransport

    return KafkaTransport(connection)


def new_reader(settings: Settings, connection: Connection) -> Reader:
    """Return a reader that uses the client named in the settings."""
    if settings.kafka.client == "librdkafka":
        from streamcast.consumers.librdkafka.reader import LibrdReader

        return LibrdReader(connection)
    from streamcast.consumers.kafka_python.reader import KafkaReader

    return KafkaReader(connection)


def load_lanes(settings: Settings) -> Mapping[str, Model]:
    """Return the model of every lane; raises ModelError."""
    return {lane: load_model(settings.models.folder, chosen.model) for lane, chosen in settings.models.lanes.items()}


def partitions_of(reader: Reader, topic: str) -> list[Partition]:
    """Return the partitions of a topic; none if it does not exist."""
    found = reader.describe([topic])
    return [Partition(topic, index) for index in range(found[topic].partitions)] if topic in found else []
