"""``streamcast replay``: write a file's observations to a topic, at a chosen speed."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from streamcast.app.commands.connect import connection, new_transport
from streamcast.app.commands.reading import read_history
from streamcast.app.options import Columns, ReplayOptions
from streamcast.app.settings import Settings
from streamcast.consumers.transport import Outgoing, TopicMissing, TopicSpec, Transport
from streamcast.offline.history.read import Observation, records

CHUNK = 2_000
PACE_SECONDS = 0.05


def replay(settings: Settings, data: Path, columns: Columns, options: ReplayOptions, console: Console) -> int:
    """Write all observations of a file in time order, with the present as their Kafka timestamp.

    Raises HistoryError, TransportError, or TopicMissing where the topic does not exist and is not to be created.
    """
    history = read_history(data, columns)
    topic = options.topic or settings.input.topic
    who = replace(connection(settings), group="", instance="replay", guarantee="at_least_once")
    transport = new_transport(settings, who)
    try:
        partitions = _partitions(transport, topic, options.partitions)
        with Progress(console=console) as progress:
            task = progress.add_task("records written", total=len(history))
            for chunk in paced(records(history), options.speed):
                transport.commit([outgoing(topic, chunk, partitions)], {})
                progress.advance(task, len(chunk))
    finally:
        transport.close(10.0)
    console.print(f"Wrote {len(history):,} records of {len(history.keys):,} series to {topic}.")
    return 0


def _partitions(transport: Transport, topic: str, wanted: int) -> int:
    """Return the partitions of a topic, created with ``wanted`` if it does not exist; raises TopicMissing."""
    if topic not in transport.describe([topic]):
        if wanted < 1:
            raise TopicMissing(f"topic {topic!r} does not exist: create it, or give --partitions to create it here")
        transport.create([TopicSpec(topic, wanted)])
    return transport.describe([topic])[topic].partitions


def outgoing(topic: str, chunk: list[Observation], partitions: int) -> Outgoing:
    """Return observations as records; the key alone decides the partition."""
    now = round(time.time() * 1000)
    return Outgoing(
        topic=topic,
        partitions=[zlib.crc32(record.key) % partitions for record in chunk],
        timestamps=[now] * len(chunk),
        keys=[record.key for record in chunk],
        values=[record.value for record in chunk],
    )


def paced(observations: Iterator[Observation], speed: float) -> Iterator[list[Observation]]:
    """Yield observations in chunks, each when it is due (at once when ``speed`` is 0)."""
    if speed == 0:
        while chunk := list(islice(observations, CHUNK)):
            yield chunk
        return
    first = next(observations, None)
    if first is None:
        return
    began, chunk, waiting = time.monotonic(), [first], first.timestamp_ms
    for record in observations:
        due = began + (record.timestamp_ms - waiting) / 1000.0 / speed
        if len(chunk) >= CHUNK or due > time.monotonic() + PACE_SECONDS:
            yield chunk
            chunk = []
            while (left := due - time.monotonic()) > 0:
                time.sleep(min(left, PACE_SECONDS))
        chunk.append(record)
    yield chunk
