"""``streamcast dlq``: look at dead letters, and send their records again once the cause is repaired."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rich.console import Console
from rich.text import Text

from streamcast.app.commands.connect import connection, new_reader, new_transport, partitions_of
from streamcast.app.commands.tables import lean
from streamcast.app.options import ReplayedLetters
from streamcast.app.settings import Settings
from streamcast.consumers.transport import Outgoing, TopicMissing
from streamcast.offline.history.read import instant_ms
from streamcast.topics.dead_letters import REPLAYED, origin_of

log = logging.getLogger("streamcast")

SHOWN_BYTES = 60
MANY = 100_000
"""Records of the input from which on a line says that they are read."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter: its place, its record's timestamp, key and value, and its headers (reason, detail, source)."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, str]

    @property
    def whole(self) -> bool:
        """Whether the value is the record's own, not only its beginning."""
        return "length" not in self.headers

    @property
    def origin(self) -> str:
        """The place of the record that first failed: topic/partition/offset."""
        source = "/".join(self.headers.get(f"source_{part}", "") for part in ("topic", "partition", "offset"))
        return self.headers.get(REPLAYED, source)


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


def send_again(settings: Settings, chosen: ReplayedLetters, console: Console) -> int:
    """Write the records of dead letters to the input topic again, once, each to the partition it came from.

    A record keeps the place of the one it repeats in a header, and so does its dead letter if it fails again: what was
    sent before is left out unless ``chosen.again``.  So are records that the champion has answered, and skipped ones
    unless ``chosen.reason`` asks for them.  Raises TopicMissing and HistoryError for a time that is none.
    """
    since, until = (instant_ms(text) if text else None for text in (chosen.since, chosen.until))
    found = [
        letter
        for letter in letters(settings)
        if _is_curable(letter, chosen.reason, settings.models.champion_lane)
        and (since is None or letter.timestamp_ms >= since)
        and (until is None or letter.timestamp_ms < until)
    ]
    before = set() if chosen.again or not found else _sent_before(settings, min(x.timestamp_ms for x in found))
    before |= set() if chosen.again else {letter.origin for letter in found if REPLAYED in letter.headers}
    fresh = {letter.origin: letter for letter in found if letter.whole and letter.origin not in before}
    if fresh and not chosen.dry_run:
        _send(settings, list(fresh.values()))
    done = "would be sent" if chosen.dry_run else "were sent"
    console.print(
        f"{len(fresh)} dead letters {done} to {settings.input.topic} again; they stay in the dead-letter topic."
    )
    if known := len({letter.origin for letter in found} & before):
        console.print(f"{known} were sent before, so they were left out (--again sends them once more).")
    if cut := sum(not letter.whole for letter in found):
        console.print(f"[yellow]{cut} were not: their records were too large to be kept whole.[/]")
    return 0


def _send(settings: Settings, chosen: Sequence[Letter]) -> None:
    now = round(time.time() * 1000)
    again = Outgoing(
        topic=settings.input.topic,
        partitions=[letter.partition for letter in chosen],
        timestamps=[now] * len(chosen),
        keys=[letter.key for letter in chosen],
        values=[letter.value for letter in chosen],
        headers=[[(REPLAYED, letter.origin.encode())] for letter in chosen],
    )
    transport = new_transport(settings, replace(connection(settings), group="", guarantee="at_least_once"))
    try:
        transport.commit([again], {})
    finally:
        transport.close(10.0)


def _sent_before(settings: Settings, since_ms: int) -> set[str]:
    """Return the places of the records that replays since a time have repeated, read from the input topic."""
    reader = new_reader(settings, connection(settings))
    try:
        partitions = partitions_of(reader, settings.input.topic)
        firsts = reader.offsets_at(partitions, since_ms)
        ends = {partition: end for partition, (_, end) in reader.bounds(partitions).items()}
        records = sum(ends[partition] - first for partition, first in firsts.items())
        if records > MANY:
            log.info("looking for earlier replays in %d records of %s", records, settings.input.topic)
        found = set()
        for partition, first in firsts.items():
            for batch in reader.read_range(partition, first, ends[partition]):
                for row in range(len(batch)) if batch.headers else ():
                    if (origin := origin_of(batch, row)) is not None:
                        found.add(origin.decode(errors="replace"))
        return found
    finally:
        reader.close(5.0)


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
                    yield Letter(partition.index, offset, batch.timestamps[i], batch.keys[i], batch.values[i], named)
    finally:
        reader.close(5.0)
