"""``streamcast dlq``: look at dead letters, and send their records again once the cause is repaired."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from rich.console import Console
from rich.text import Text

from streamcast.app.commands.connect import connection, new_reader, new_transport, partitions_of
from streamcast.app.commands.tables import lean
from streamcast.app.settings import Settings
from streamcast.consumers.transport import Outgoing, TopicMissing

SHOWN_BYTES = 60


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter: its place, its record's key and value, and its headers (reason, detail, source)."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, str]

    @property
    def whole(self) -> bool:
        """Whether the value is the record's own, not only its beginning."""
        return "length" not in self.headers

    @property
    def source(self) -> tuple[str, ...]:
        """The place of the record: topic, partition and offset."""
        return tuple(self.headers.get(f"source_{part}", "") for part in ("topic", "partition", "offset"))


def inspect(settings: Settings, reason: str, limit: int, as_json: bool, console: Console) -> int:
    """Print dead letters, newest last, and how many there are of each reason."""
    found = [letter for letter in letters(settings) if not reason or letter.headers.get("reason") == reason]
    if as_json:
        rows = [
            {
                "partition": x.partition,
                "offset": x.offset,
                **x.headers,
                "value": (x.value or b"").decode(errors="replace"),
            }
            for x in found[-limit:]
        ]
        console.print_json(data=rows)
        return 0
    table = lean("reason", "source", "detail", "value")
    for x in found[-limit:]:
        source = (
            f"{x.headers.get('source_topic')}[{x.headers.get('source_partition')}]@{x.headers.get('source_offset')}"
        )
        cells = x.headers.get("reason", "?"), source, x.headers.get("detail", ""), repr((x.value or b"")[:SHOWN_BYTES])
        table.add_row(*map(Text, cells))
    if found:
        console.print(table)
    counts = Counter(x.headers.get("reason", "?") for x in found)
    console.print(f"{len(found)} dead letters: " + (", ".join(f"{n} {r}" for r, n in counts.most_common()) or "none"))
    return 0


def send_again(settings: Settings, reason: str, console: Console) -> int:
    """Write the records of dead letters to the input topic again, each to the partition it came from.

    Records that the champion has answered are left out, and skipped ones unless ``reason`` asks for them.
    """
    found = [letter for letter in letters(settings) if _is_curable(letter, reason, settings.models.champion_lane)]
    whole = list({letter.source: letter for letter in found if letter.whole}.values())
    if whole:
        now = round(time.time() * 1000)
        again = Outgoing(
            topic=settings.input.topic,
            partitions=[letter.partition for letter in whole],
            timestamps=[now] * len(whole),
            keys=[letter.key for letter in whole],
            values=[letter.value for letter in whole],
        )
        transport = new_transport(settings, replace(connection(settings), group="", guarantee="at_least_once"))
        try:
            transport.commit([again], {})
        finally:
            transport.close(10.0)
    console.print(
        f"{len(whole)} dead letters were sent to {settings.input.topic} again; they stay in the dead-letter topic."
    )
    if cut := sum(not letter.whole for letter in found):
        console.print(f"[yellow]{cut} were not: their records were too large to be kept whole.[/]")
    return 0


def _is_curable(letter: Letter, reason: str, champion: str) -> bool:
    why, lane = letter.headers.get("reason"), letter.headers.get("lane", champion)
    return lane == champion and (why == reason if reason else why != "skipped")


def letters(settings: Settings) -> Iterator[Letter]:
    """Read all dead letters; raises TopicMissing."""
    topic = settings.output.dead_letters
    reader = new_reader(settings, connection(settings))
    try:
        partitions = partitions_of(reader, topic)
        if not partitions:
            raise TopicMissing(f"topic {topic!r} does not exist: `streamcast check --create` makes it")
        for partition, (first, end) in reader.bounds(partitions).items():
            for batch in reader.read_range(partition, first, end):
                headers = batch.headers or [()] * len(batch)
                for i, offset in enumerate(batch.offsets):
                    named = {name: (value or b"").decode(errors="replace") for name, value in headers[i]}
                    yield Letter(partition.index, offset, batch.keys[i], batch.values[i], named)
    finally:
        reader.close(5.0)
