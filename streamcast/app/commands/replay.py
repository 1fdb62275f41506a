"""``streamcast replay``: a file's observations as records of a topic, as fast as wanted."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

from streamcast.app.commands.connect import connection, new_transport
from streamcast.app.settings import Settings
from streamcast.consumers.transport import Outgoing, TopicMissing, TopicSpec
from streamcast.offline.history.read import History, Observation, records

CHUNK = 2_000
PACE_SECONDS = 0.05


def replay(
    settings: Settings, history: History, topic: str, speed: float, partitions: int, progress: Callable[[int], None]
) -> int:
    """Write all observations in time order; ``speed`` is event time per real time, 0 for no pace.

    Records carry the present as their Kafka timestamp.  A topic that does not exist is made with
    ``partitions`` partitions; ``progress`` is told how many records have been written.
    """
    who = replace(connection(settings), group="", instance="replay", guarantee="at_least_once")
    transport = new_transport(settings, who)
    try:
        if topic not in transport.describe([topic]):
            if partitions < 1:
                raise TopicMissing(f"topic {topic!r} does not exist: create it, or let --partitions N do so")
            transport.create([TopicSpec(topic, partitions)])
        count = transport.describe([topic])[topic].partitions
        written = 0
        for chunk in paced(records(history), speed):
            transport.commit([outgoing(topic, chunk, count)], {})
            written += len(chunk)
            progress(written)
    finally:
        transport.close(10.0)
    return written


def outgoing(topic: str, chunk: list[Observation], partitions: int) -> Outgoing:
    """Return observations as records, each key always in the same partition."""
    now = round(time.time() * 1000)
    return Outgoing(
        topic=topic,
        partitions=[zlib.crc32(record.key) % partitions for record in chunk],
        timestamps=[now] * len(chunk),
        keys=[record.key for record in chunk],
        values=[record.value for record in chunk],
    )


def paced(observations: Iterator[Observation], speed: float) -> Iterator[list[Observation]]:
    """Cut observations into chunks, each yielded when its time has come (at once when ``speed`` is 0)."""
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
