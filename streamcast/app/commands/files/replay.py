"""``streamcast replay``: write a file's observations to a topic, at a chosen speed.

Records for the service's own input topic are made for its models: with their columns, and with their known inputs.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from rich.console import Console

from streamcast.app.commands.deployment.connect import connection, load_lanes, new_reader, new_transport
from streamcast.app.commands.deployment.topics import newest_records
from streamcast.app.commands.files.reading import mapping, read_history
from streamcast.app.markup import escape
from streamcast.app.moments import moment, span
from streamcast.app.options.groups import Columns, Partitioner, ReplayOptions
from streamcast.app.progress import counting, stages_shown
from streamcast.app.settings import Settings
from streamcast.consumers.background import started
from streamcast.consumers.kafka_python.partitioning import partition_of
from streamcast.consumers.transport import (
    BrokerUnavailable,
    Outgoing,
    TopicMissing,
    TopicSpec,
    Transport,
    TransportError,
)
from streamcast.errors import HistoryError, ModelError
from streamcast.offline.history.read import History
from streamcast.offline.history.records import Observation, records
from streamcast.spec.folders import Model
from streamcast.topics.ahead import ahead_of
from streamcast.topics.observations import Decoder
from streamcast.wording import counted

CHUNK = 2_000
PACE_SECONDS = 0.05
LOOK_SECONDS = 10.0
"""For the look at what the topic holds already, without which the records are written all the same."""
PARTITION_OF: Mapping[Partitioner, Callable[[bytes, int], int]] = {
    Partitioner.MURMUR2: partition_of,
    Partitioner.CRC32: lambda key, partitions: zlib.crc32(key) % partitions,
}


@stages_shown()
def replay(settings: Settings, data: Path, columns: Columns, options: ReplayOptions, console: Console) -> int:
    """Write all observations of a file in time order, with the present as their Kafka timestamp.

    Raises HistoryError, also for a file whose columns are not those of the models that read the topic; TransportError;
    and TopicMissing where the topic does not exist and is not to be created, before the file is read.  Where no broker
    answers, a fault of the file comes first.
    """
    topic = options.topic or settings.input.topic
    who = replace(connection(settings), group="", instance="replay", guarantee="at_least_once")
    transport = new_transport(settings, who)
    try:
        lanes = _lanes(settings, console)
        champion = lanes.get(settings.models.champion_lane)
        try:
            _require_topic(transport, topic, settings, options.partitions)
        except BrokerUnavailable:
            _read(data, columns, topic, settings, champion, console)  # a fault of the file can be mended without it
            raise
        history = _read(data, columns, topic, settings, champion, console)
        readers = lanes if topic == settings.input.topic else {}
        observations = records(history, [model.spec for model in readers.values()])
        zone = mapping(Columns() if champion else columns, champion).timezone
        if readers and (newest := _newest_held(settings, readers, history)) is not None:
            console.print(
                f"[dim]note:[/] {escape(topic)} already holds records up to {moment(newest, zone)}; a service that has"
                " read them drops the rows of a series up to its newest record as late",
                highlight=False,
            )
        partitions = _partitions(transport, topic, options.partitions)
        written, first_ms, last_ms = 0, 0, 0
        with counting("records written", Console(stderr=True)) as on_written:
            for chunk in paced(observations, options.speed):
                transport.commit([outgoing(topic, chunk, partitions, options.partitioner)], {})
                first_ms, last_ms = first_ms if written else chunk[0].timestamp_ms, chunk[-1].timestamp_ms
                written += len(chunk)
                on_written(written, len(history))
    finally:
        transport.close(10.0)
    console.print(f"Wrote {counted(written, 'record')} of {len(history.keys):,} series to {topic}.")
    if written:
        local = "" if zone == "UTC" else f" ({span(first_ms, last_ms, zone)})"
        console.print(f"Their times: {span(first_ms, last_ms)}{local}.", highlight=False)
    if written < len(history):
        console.print(
            f"Not written, because they only give known inputs: {counted(len(history) - written, 'row')} after the last"
            " target of a series.",
            highlight=False,
        )
    return 0


def _newest_held(settings: Settings, lanes: Mapping[str, Model], history: History) -> int | None:
    """Return the newest time that the input topic holds of the file's series, if rows are not later (epoch ms).

    Only the last records of each partition are read.  None also where no answer comes within ``LOOK_SECONDS``.
    """
    try:
        newest = started(partial(_newest_times, settings, lanes)).result(LOOK_SECONDS)
    except (TransportError, TimeoutError):
        return None
    series_K, row_K = np.unique(history.series_N, return_index=True)
    first_K = zip(series_K.tolist(), history.ts_N[row_K].tolist(), strict=True)
    held = ((newest.get(history.keys[series]), first) for series, first in first_K)
    return max((last for last, first in held if last is not None and first <= last), default=None)


def _newest_times(settings: Settings, lanes: Mapping[str, Model]) -> Mapping[str, int]:
    """Return the newest event time of each series (epoch ms) among the last records of the input topic's partitions."""
    champion, topic = lanes[settings.models.champion_lane], settings.input.topic
    reader = new_reader(settings, replace(connection(settings), group="", instance="replay-look"))
    try:
        found = reader.describe([topic])
        batches = list(newest_records(reader, found[topic]).values()) if topic in found else []
    finally:
        reader.close(1.0)
    decoder = Decoder(champion.spec.series, ahead_of(model.spec for model in lanes.values()))
    seen, _ = decoder.decode(batches)
    newest = dict[str, int]()
    for key, time_ms in zip(seen.keys, seen.times.tolist(), strict=True):
        newest[key] = max(time_ms, newest.get(key, time_ms))
    return newest


def _require_topic(transport: Transport, topic: str, settings: Settings, partitions: int) -> None:
    """Raise TopicMissing for a topic that does not exist and is not to be created."""
    if partitions or topic in transport.describe([topic]):
        return
    source = settings.input.topic
    which = "" if topic == source else f" (input.topic of these settings is {source!r})"
    raise TopicMissing(f"topic {topic!r} does not exist{which}: create it, or give --partitions to create it here")


def _read(
    data: Path, columns: Columns, topic: str, settings: Settings, champion: Model | None, console: Console
) -> History:
    """Return the history of a file, for the service's own topic with the columns of its model."""
    if champion is None:
        return read_history(data, columns)
    if topic == settings.input.topic:
        return arranged(read_history(data, columns, champion), champion)
    console.print(_elsewhere(topic, settings, champion), highlight=False)
    return read_history(data, replace(columns, **asdict(mapping(columns, champion))))


def _lanes(settings: Settings, console: Console) -> Mapping[str, Model]:
    """Return the models of the settings, by lane; none where none is made."""
    try:
        return load_lanes(settings)
    except ModelError as error:
        console.print(f"[dim]note:[/] the columns are not compared with a model: {escape(str(error))}", highlight=False)
        return {}


def _elsewhere(topic: str, settings: Settings, champion: Model) -> str:
    """Return a note on how a file is read for a topic that is not the input of the settings."""
    return (
        f"[dim]note:[/] {escape(topic)} is not input.topic of these settings ({escape(settings.input.topic)}): the file"
        f" is read with the column names of {champion.name}@{champion.version}, and its columns are not compared with"
        " the model's"
    )


def arranged(history: History, model: Model) -> History:
    """Return the history with the columns of a model, in its order; raises HistoryError that names the differences."""
    series = model.spec.series
    wanted = [column.name for column in series.columns]
    found, faults = list(history.columns), []
    if found[0] != series.target:
        faults.append(f"its target is {found[0]}, not {series.target} (--target-col)")
    if missing := [name for name in wanted[1:] if name not in found]:
        faults.append(f"it has no {', '.join(missing)}")
    if unread := [name for name in found[1:] if name not in wanted]:
        faults.append(f"the model does not read {', '.join(unread)} (--columns names the inputs)")
    for column in series.columns:
        kinds = (column.name in history.categories, column.categories is not None)
        if column.name in found and kinds[0] != kinds[1]:
            holds, needs = (("numbers", "texts")[kind] for kind in kinds)
            faults.append(f"{column.name} holds {holds}, the model reads {needs}")
    if faults:
        raise HistoryError(
            f"no record was written: {model.name}@{model.version} would reject them all. It reads"
            f" {', '.join(wanted)}; the file has {', '.join(found)}: {'; '.join(faults)}"
        )
    places = [found.index(name) for name in wanted]
    return replace(history, columns=tuple(wanted), values_NC=history.values_NC[:, places])


def _partitions(transport: Transport, topic: str, wanted: int) -> int:
    """Return the partitions of a topic, created with ``wanted`` if it does not exist."""
    if topic not in transport.describe([topic]):
        transport.create([TopicSpec(topic, wanted)])
    return transport.describe([topic])[topic].partitions


def outgoing(
    topic: str, chunk: list[Observation], partitions: int, partitioner: Partitioner = Partitioner.MURMUR2
) -> Outgoing:
    """Return observations as records; the key alone decides the partition."""
    now, place = round(time.time() * 1000), PARTITION_OF[partitioner]
    return Outgoing(
        topic=topic,
        partitions=[place(record.key, partitions) for record in chunk],
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
