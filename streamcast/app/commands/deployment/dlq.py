"""``streamcast dlq``: look at dead letters, and send their records again once the cause is repaired."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from streamcast.app.commands.deployment.connect import connection, new_reader, new_transport, partitions_of
from streamcast.app.commands.tables import lean
from streamcast.app.json_text import json_text
from streamcast.app.moments import moment
from streamcast.app.settings import Settings
from streamcast.consumers.transport import Headers, Outgoing, TopicMissing
from streamcast.errors import SettingsError
from streamcast.topics.dead_letters import REASONS, REPLAY_OF, REPLAYED, headers_of_record
from streamcast.wording import counted

SHOWN_BYTES = 200
"""Of a value in the table; `--json` has all that the letter holds."""
SENT_AT_ONCE = 200


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
        if _milliseconds("--since", self.since, 0) >= _milliseconds("--until", self.until, 1 << 62):
            raise SettingsError(f"--since {self.since} is not before --until {self.until}: no record is between them")

    def takes(self, letter: Letter) -> bool:
        """Whether the letter has the reason and lies within the times."""
        since, until = _milliseconds("--since", self.since, 0), _milliseconds("--until", self.until, 1 << 62)
        return since <= letter.timestamp < until and self.reason in ("", letter.headers.get("reason"))


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
class Box:
    """The dead-letter topic: its letters by time, and the places of the records that were sent again."""

    letters: Sequence[Letter]
    replayed: frozenset[str]


def inspect(settings: Settings, wanted: Filter, limit: int, as_json: bool, console: Console) -> int:
    """Print dead letters, newest last, and how many there are of each reason."""
    box = read(settings)
    found = [letter for letter in box.letters if wanted.takes(letter)]
    if as_json:
        rows = [
            {
                "partition": x.partition,
                "offset": x.offset,
                "timestamp": x.timestamp,
                **x.headers,
                "replayed": x.source in box.replayed,
                "value": (x.value or b"").decode(errors="replace"),
            }
            for x in found[-limit:]
        ]
        console.print_json(json_text(rows))
        return 0
    table = lean("time", "reason", "source", "detail", "value")
    for x in found[-limit:]:
        again = "failed again after a replay: " if REPLAY_OF in x.headers else ""
        detail = again + x.headers.get("detail", "")
        table.add_row(*map(Text, (moment(x.timestamp), x.headers.get("reason", "?"), x.source, detail, _shown(x))))
    if found:
        console.print(table)
    counts = Counter(x.headers.get("reason", "?") for x in found)
    reasons = ", ".join(f"{n} {r}" for r, n in counts.most_common())
    console.print(f"{counted(len(found), 'dead letter')}: {reasons or 'none'}")
    return 0


def _shown(letter: Letter) -> str:
    value = letter.value or b""
    return repr(value) if len(value) <= SHOWN_BYTES else f"{value[:SHOWN_BYTES]!r} …"


def send_again(settings: Settings, wanted: Filter, again: bool, dry_run: bool, console: Console) -> int:
    """Write the records of dead letters to the input topic again, each once, to the partition it came from.

    Left out are records that the champion has answered, those that were sent before, those that failed again after a
    replay unless ``again``, and skipped ones unless the reason asks for them.  A dry run only counts.
    """
    box = read(settings)
    champion = settings.models.champion_lane
    curable = [x for x in box.letters if wanted.takes(x) and _is_curable(x, wanted.reason, champion)]
    found = list({letter.source: letter for letter in curable}.values())
    fresh = [letter for letter in found if letter.source not in box.replayed]
    failed = [letter for letter in fresh if REPLAY_OF in letter.headers and not again]
    chosen = [letter for letter in fresh if letter.whole and letter not in failed]
    topic = settings.input.topic
    if dry_run:
        console.print(f"Would send {counted(len(chosen), 'dead letter')} to {topic} again; nothing was written.")
    else:
        _send(settings, chosen)
        sent = counted(len(chosen), "dead letter")
        console.print(f"Sent {sent} to {topic} again; the dead-letter topic keeps what it has.")
    if before := len(found) - len(fresh):
        console.print(f"Left out because it was sent before: {before}.")
    if failed:
        console.print(f"[yellow]Left out because it failed again after a replay: {len(failed)}; --again sends them.[/]")
    if cut := sum(not letter.whole for letter in fresh if letter not in failed):
        console.print(f"[yellow]Left out because the record was too large to be kept whole: {cut}.[/]")
    return 0


def _send(settings: Settings, letters: Sequence[Letter]) -> None:
    """Send records with their receipts; exactly once a record and its receipt are one transaction."""
    if not letters:
        return
    transport = new_transport(settings, replace(connection(settings), instance="dlq-replay"))
    try:
        for start in range(0, len(letters), SENT_AT_ONCE):
            some = letters[start : start + SENT_AT_ONCE]
            transport.commit([_records(settings.input.topic, some), _receipts(settings.output.dead_letters, some)], {})
    finally:
        transport.close(10.0)


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


def read(settings: Settings) -> Box:
    """Read all dead letters; raises TopicMissing."""
    found = list(_records_of(settings))
    receipts = frozenset(x.headers[REPLAYED] for x in found if REPLAYED in x.headers)
    letters = [x for x in found if REPLAYED not in x.headers]
    return Box(sorted(letters, key=lambda x: (x.timestamp, x.partition, x.offset)), receipts)


def _records_of(settings: Settings) -> Iterator[Letter]:
    topic = settings.output.dead_letters
    reader = new_reader(settings, connection(settings))
    try:
        partitions = partitions_of(reader, topic)
        if not partitions:
            raise TopicMissing(f"topic {topic!r} does not exist: `streamcast check --create` makes it")
        for batches in reader.read_ranges(reader.bounds(partitions)):
            for batch in batches:
                headers = batch.headers or [()] * len(batch)
                rows = zip(batch.offsets, batch.timestamps, batch.keys, batch.values, strict=True)
                for (offset, timestamp, key, value), listed in zip(rows, headers, strict=True):
                    named = {name: (text or b"").decode(errors="replace") for name, text in listed}
                    own = headers_of_record(listed)
                    yield Letter(batch.partition.index, offset, timestamp, key, value, named, own)
    finally:
        reader.close(5.0)


def _milliseconds(option: str, text: str, otherwise: int) -> int:
    if not text:
        return otherwise
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = datetime.min  # noqa: DTZ901 - has no zone, like a time that must be refused
    if instant.tzinfo is None:
        raise SettingsError(f"{option} is {text!r}; expected RFC 3339 with a zone, such as 2026-01-31T08:00:00Z")
    return round(instant.astimezone(UTC).timestamp() * 1000)
