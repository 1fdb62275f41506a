"""``streamcast skip``: pass over one record that the engine cannot process."""

from __future__ import annotations

import re
from dataclasses import replace

from rich.console import Console

from streamcast.app.commands.deployment.connect import connection, new_reader, new_transport, partitions_of, topics_of
from streamcast.app.markup import escape
from streamcast.app.settings import Settings
from streamcast.consumers.transport import Partition, TopicMissing
from streamcast.errors import SettingsError
from streamcast.service.skipping import skip

CLOSE_SECONDS = 10.0


def skip_record(settings: Settings, named: str, offset: int, console: Console) -> int:
    """Write the journal entry that skips a record; ``named`` is its partition, such as observations[3].

    Raises SettingsError, TopicMissing, ServiceError and TransportError.
    """
    topics = topics_of(settings)
    partition = read_partition(named, topics.observations)
    who = connection(settings)
    reader = new_reader(settings, who)
    try:
        for topic in (topics.observations, topics.journal):
            if partition.index >= len(partitions_of(reader, topic)):
                raise TopicMissing(f"{Partition(topic, partition.index)} does not exist: name a partition of the input")
        mark = reader.marks([partition]).get(partition, "")
    finally:
        reader.close(CLOSE_SECONDS)
    transport = new_transport(settings, replace(who, mark=mark))  # the service still notices a stranger's position
    try:
        written = skip(transport, topics, partition, offset)
    finally:
        transport.close(CLOSE_SECONDS)
    place = escape(str(partition))
    if written:
        console.print(
            f"The record at offset {offset} of {place} will be a dead letter (reason: skipped) when the service starts."
        )
    else:
        console.print(f"The journal already skips offset {offset} of {place}.")
    return 0


def read_partition(named: str, topic: str) -> Partition:
    """Return the partition that TOPIC[PARTITION] names; raises SettingsError unless it is one of ``topic``."""
    parts = re.fullmatch(r"(?P<topic>[A-Za-z0-9._-]+)\[(?P<index>\d{1,9})\]", named)
    if parts is None or parts["topic"] != topic:
        raise SettingsError(f"{named!r} is not a partition of the input topic: write {topic}[0] or similar")
    return Partition(topic, int(parts["index"]))
