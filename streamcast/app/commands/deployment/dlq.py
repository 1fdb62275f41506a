"""``streamcast dlq``: look at dead letters, and send their records again once the cause is repaired."""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from operator import itemgetter

from rich.console import Console
from rich.text import Text

from streamcast.app.commands.deployment.connect import connection, new_reader, new_transport, partitions_of
from streamcast.app.commands.tables import lean
from streamcast.app.json_text import print_json
from streamcast.app.markup import escape
from streamcast.app.moments import moment
from streamcast.app.settings import Settings
from streamcast.consumers.transport import Headers, Outgoing, Partition, Reader, TopicMissing, Transport
from streamcast.errors import SettingsError
from streamcast.printable import escaped
from streamcast.topics.dead_letters import REASONS, REPLAY_OF, REPLAYED, headers_of_record
from streamcast.wording import counted

SHOWN_BYTES = 200
"""Of a value in the table; `--json` has all that the letter holds."""
SENT_AT_ONCE, BYTES_AT_ONCE = 200, 16 << 20
"""Letters, and bytes of their values, of one transaction at most."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which dead letters: one reason (empty: any), and Kafka timestamps of the record in [``since``, ``until``).

    Times are RFC 3339 with a zone; an empty one is no limit.  Raises SettingsError.
    """

    reason: str = ""
    since: str = ""
    until: str = ""

    def __post_init__(self) -> None:
        if self.reason and self.reason not in REASONS:
            expected = ", ".join(map(repr, REASONS))
            raise SettingsError(f"--reason is {self.reason!r}; expected one of {expected}")
        since, until = self._bounds()
        if since is not None and until is not None and since >= until:
            raise SettingsError(f"--since {self.since} is not before --until {self.until}: no record is between them")

    def takes(self, letter: Letter) -> bool:
        """Whether the letter has the reason and lies within the times."""
        since, until = self._bounds()
        early = since is not None and letter.timestamp < since
        late = until is not None and letter.timestamp >= until
        return not early and not late and self.reason in ("", letter.headers.get("reason"))

    def _bounds(self) -> tuple[int | None, int | None]:
        """Return the limits of the times (epoch ms); None for no limit."""
        return _milliseconds("--since", self.since), _milliseconds("--until", self.until)


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter: its place, its record's key, value and headers, and its own headers (reason, detail, source)."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, str]
    of_record: Headers = ()

    @property
    def whole(self) -> bool:
        """Whether the value is the record's own, not only its beginning."""
        return "length" not in self.headers

    @property
    def source(self) -> str:
        """The place of the record: topic[partition]@offset."""
        topic, partition, offset = (
            self.headers.get(f"source_{part}", "?") for part in ("topic", "partition", "offset")
        )
        return f"{topic}[{partition}]@{offset}"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the newest letter of a record is, with what decides whether it is sent again; its value is read later."""

    partition: int
    offset: int
    whole: bool
    failed_again: bool


def inspect(settings: Settings, wanted: Filter, limit: int, as_json: bool, console: Console) -> int:
    """Print dead letters, newest last, and how many there are of each reason.

    However many there are, no more than ``limit`` are kept.
    """
    newest = list[tuple[tuple[int, int, int], Letter]]()
    counts, replayed = Counter[str](), set[str]()
    with _opened(settings) as topic:
        for letter in topic.letters():
            if REPLAYED in letter.headers:
                if as_json:
                    replayed.add(letter.headers[REPLAYED])
            elif wanted.takes(letter):
                counts[letter.headers.get("reason", "?")] += 1
                kept = (letter.timestamp, letter.partition, letter.offset), letter if as_json else _cut(letter)
                (heapq.heappush if len(newest) < limit else heapq.heappushpop)(newest, kept)
    found = [letter for _, letter in sorted(newest, key=itemgetter(0))]
    if as_json:
        rows = [
            {
                "partition": x.partition,
                "offset": x.offset,
                "timestamp": x.timestamp,
                **x.headers,
                "replayed": x.source in replayed,
                "value": (x.value or b"").decode(errors="replace"),
            }
            for x in found
        ]
        print_json(console, rows)
        return 0
    table = lean("time", "reason", "source", "detail", "value")
    for x in found:
        again = "failed again after a replay: " if REPLAY_OF in x.headers else ""
        detail = again + x.headers.get("detail", "")
        texts = (moment(x.timestamp), x.headers.get("reason", "?"), x.source, detail, _shown(x))
        table.add_row(*(Text(escaped(text)) for text in texts))
    if found:
        console.print(table)
    reasons = ", ".join(f"{n} {escaped(r)}" for r, n in counts.most_common())
    console.print(escape(f"{counted(counts.total(), 'dead letter')}: {reasons or 'none'}"))
    return 0


def _cut(letter: Letter) -> Letter:
    """Return a letter with as much of its value as a table needs."""
    return replace(letter, value=letter.value and letter.value[: SHOWN_BYTES + 1])


def _shown(letter: Letter) -> str:
    value = letter.value or b""
    return repr(value) if len(value) <= SHOWN_BYTES else f"{value[:SHOWN_BYTES]!r} …"


def send_again(settings: Settings, wanted: Filter, again: bool, dry_run: bool, console: Console) -> int:
    """Write the records of dead letters to the input topic again, each once, to the partition it came from.

    Left out are records that the champion has answered, those that were sent before, those that failed again after a
    replay unless ``again``, and skipped ones unless the reason asks for them.  A dry run only counts.

    The letters are read twice: first all of them without their values, because a receipt comes after its letter; then
    those that are chosen, in the order in which they were written, some at a time.
    """
    topic = settings.input.topic
    with _opened(settings) as letters:
        found, replayed = _places(letters, wanted, settings.models.champion_lane)
        fresh = {source: place for source, place in found.items() if source not in replayed}
        failed = sum(place.failed_again and not again for place in fresh.values())
        sendable = [place for place in fresh.values() if again or not place.failed_again]
        chosen = {(place.partition, place.offset) for place in sendable if place.whole}
        if dry_run:
            console.print(f"Would send {counted(len(chosen), 'dead letter')} to {topic} again; nothing was written.")
        else:
            _send(settings, letters.at(chosen))
            sent = counted(len(chosen), "dead letter")
            console.print(f"Sent {sent} to {topic} again; the dead-letter topic keeps what it has.")
    if before := len(found) - len(fresh):
        console.print(f"Left out because it was sent before: {before}.")
    if failed:
        console.print(f"[yellow]Left out because it failed again after a replay: {failed}; --again sends them.[/]")
    if cut := len(sendable) - len(chosen):
        console.print(f"[yellow]Left out because the record was too large to be kept whole: {cut}.[/]")
    return 0


def _places(topic: _Letters, wanted: Filter, champion: str) -> tuple[dict[str, _Place], set[str]]:
    """Return the newest letter of each record that may be sent again, and the records that were, by their source."""
    found, replayed = dict[str, _Place](), set[str]()
    for letter in topic.letters():
        if REPLAYED in letter.headers:
            replayed.add(letter.headers[REPLAYED])
        elif wanted.takes(letter) and _is_curable(letter, wanted.reason, champion):
            failed_again = REPLAY_OF in letter.headers
            found[letter.source] = _Place(letter.partition, letter.offset, letter.whole, failed_again)
    return found, replayed


def _send(settings: Settings, letters: Iterable[Letter]) -> None:
    """Send records with their receipts; exactly once a record and its receipt are one transaction."""
    transport: Transport | None = None
    try:
        for some in _in_parts(letters):
            transport = transport or new_transport(settings, replace(connection(settings), instance="dlq-replay"))
            transport.commit([_records(settings.input.topic, some), _receipts(settings.output.dead_letters, some)], {})
    finally:
        if transport is not None:
            transport.close(10.0)


def _in_parts(letters: Iterable[Letter]) -> Iterator[list[Letter]]:
    """Yield what is sent at once: so many letters, and fewer large ones."""
    some, size = list[Letter](), 0
    for letter in letters:
        size += len(letter.value or b"")
        if some and (len(some) >= SENT_AT_ONCE or size > BYTES_AT_ONCE):
            yield some
            some, size = [], len(letter.value or b"")
        some.append(letter)
    if some:
        yield some


def _records(topic: str, letters: Sequence[Letter]) -> Outgoing:
    return Outgoing(
        topic=topic,
        partitions=[letter.partition for letter in letters],
        timestamps=[round(time.time() * 1000)] * len(letters),
        keys=[letter.key for letter in letters],
        values=[letter.value for letter in letters],
        headers=[
            [*letter.of_record, (REPLAY_OF, letter.headers.get(REPLAY_OF, letter.source).encode())]
            for letter in letters
        ],
        first=True,
    )


def _receipts(topic: str, letters: Sequence[Letter]) -> Outgoing:
    return Outgoing(
        topic=topic,
        partitions=[letter.partition for letter in letters],
        timestamps=[round(time.time() * 1000)] * len(letters),
        keys=[None] * len(letters),
        values=[None] * len(letters),
        headers=[[(REPLAYED, letter.source.encode())] for letter in letters],
    )


def _is_curable(letter: Letter, reason: str, champion: str) -> bool:
    lane = letter.headers.get("lane", champion)
    return lane == champion and (reason == "skipped" or letter.headers.get("reason") != "skipped")


class _Letters:
    """The dead-letter topic as it was when it was opened: each pass reads the same records, in offset order."""

    def __init__(self, reader: Reader, topic: str) -> None:
        partitions = partitions_of(reader, topic)
        if not partitions:
            raise TopicMissing(f"topic {topic!r} does not exist: `streamcast check --create` makes it")
        self._reader = reader
        self._ranges = reader.bounds(partitions)

    def letters(self) -> Iterator[Letter]:
        """Yield all letters and receipts."""
        return self._read(self._ranges)

    def at(self, places: Collection[tuple[int, int]]) -> Iterator[Letter]:
        """Yield the letters at these places (partition, offset), reading no more of a partition than it must."""
        ranges = dict[Partition, tuple[int, int]]()
        named = {partition.index: partition for partition in self._ranges}
        for index, offset in places:
            first, end = ranges.get(named[index], (offset, offset + 1))
            ranges[named[index]] = min(first, offset), max(end, offset + 1)
        return (letter for letter in self._read(ranges) if (letter.partition, letter.offset) in places)

    def _read(self, ranges: Mapping[Partition, tuple[int, int]]) -> Iterator[Letter]:
        for batches in self._reader.read_ranges(ranges):
            for batch in batches:
                headers = batch.headers or [()] * len(batch)
                rows = zip(batch.offsets, batch.timestamps, batch.keys, batch.values, strict=True)
                for (offset, timestamp, key, value), listed in zip(rows, headers, strict=True):
                    named = {name: (text or b"").decode(errors="replace") for name, text in listed}
                    own = headers_of_record(listed)
                    yield Letter(batch.partition.index, offset, timestamp, key, value, named, own)


@contextmanager
def _opened(settings: Settings) -> Iterator[_Letters]:
    """Open the dead-letter topic; raises TopicMissing."""
    reader = new_reader(settings, connection(settings))
    try:
        yield _Letters(reader, settings.output.dead_letters)
    finally:
        reader.close(5.0)


@lru_cache(maxsize=8)  # it is asked for every letter
def _milliseconds(option: str, text: str) -> int | None:
    if not text:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = datetime.min  # noqa: DTZ901 - has no zone, like a time that must be refused
    if instant.tzinfo is None:
        raise SettingsError(f"{option} is {text!r}; expected RFC 3339 with a zone, such as 2026-01-31T08:00:00Z")
    return round(instant.timestamp() * 1000)
