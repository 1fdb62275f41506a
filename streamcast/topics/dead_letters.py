"""Records that got no forecast, kept whole with the reason, so that nothing is lost and nothing stops."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from streamcast.consumers.transport import Batch, Headers, Outgoing, answered_at
from streamcast.printable import escaped

REASONS = ("empty", "json", "shape", "key", "time", "ahead", "value", "size", "version", "not finite", "skipped")
"""Why a record got no forecast: all that there is."""

LARGEST_LETTER = 900_000
"""Bytes of a record that are kept; a larger one is cut, with its length and SHA-256 in the headers."""

LARGEST_LETTER_KEY = 32_768
"""Bytes of a key that are kept, so that no dead letter is too large for its topic."""

LONGEST_DETAIL = 1_000
"""Bytes of what was found that are kept; control characters in it are written as escapes."""

REPLAY_OF = "replay_of"
"""Header of a record that `dlq replay` sent, and of its dead letter: the place of the first record."""

REPLAYED = "replayed"
"""Header of a receipt in the dead-letter topic: the place of the record that was sent again."""

OF_RECORD = "record."
"""Before the name of a header that the record had: so none of them can be mistaken for one of streamcast."""

HEADERS_CUT = "headers_cut"
"""Header of a letter without room for all headers of its record: how many are missing."""

LARGEST_HEADERS = 16_384
"""Bytes of the record's own headers that are kept, if key and value leave so many."""

_LONGEST_PLACE = 300
_HEADER_BYTES = 10
"""Of the lengths of a header's name and value in Kafka's format, at most."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """One record of a batch that got no forecast, and why; ``reason`` is one of a few fixed words.

    ``lane`` names the only lane that has no forecast; without it, no lane has one.
    """

    batch: int
    row: int
    reason: str
    detail: str
    lane: str = ""


def replayed(batches: Sequence[Batch], rejected: Sequence[Rejected]) -> int:
    """Return how many rejected records were sent by `dlq replay`, and so were rejected before."""
    return sum(_replay_of(batches[letter.batch], letter.row) is not None for letter in rejected)


def _replay_of(batch: Batch, row: int) -> bytes | None:
    return dict(batch.headers[row]).get(REPLAY_OF) if batch.headers else None


def headers_of_record(headers: Headers) -> Headers:
    """Return the headers that the record of a dead letter had, from those of the letter."""
    return [(name.removeprefix(OF_RECORD), text or b"") for name, text in headers if name.startswith(OF_RECORD)]


def _kept(headers: Headers, room: int) -> Headers:
    """Return the record's own headers as its dead letter has them: those that ``room`` bytes hold, in their order."""
    own = [(f"{OF_RECORD}{name}", text or b"") for name, text in headers if name != REPLAY_OF]
    kept = list[tuple[str, bytes]]()
    for name, text in own:
        size = len(name.encode()) + len(text) + _HEADER_BYTES
        if size <= room:
            kept.append((name, text))
            room -= size
    return kept if len(kept) == len(own) else [*kept, (HEADERS_CUT, str(len(own) - len(kept)).encode())]


def outgoing(topic: str, batches: Sequence[Batch], rejected: Sequence[Rejected]) -> Outgoing:
    """Return the dead letters of a poll: original key and bytes, the reason and the source in headers, and its own."""
    values: list[bytes | None] = []
    keys: list[bytes | None] = []
    headers: list[Headers] = []
    for letter in rejected:
        batch = batches[letter.batch]
        value = batch.values[letter.row]
        listed = [
            ("reason", letter.reason.encode()),
            ("detail", escaped(letter.detail).encode()[:LONGEST_DETAIL]),
            ("source_topic", batch.partition.topic.encode()),
            ("source_partition", str(batch.partition.index).encode()),
            ("source_offset", str(batch.offsets[letter.row]).encode()),
        ]
        if letter.lane:
            listed.append(("lane", letter.lane.encode()))
        if first := _replay_of(batch, letter.row):
            listed.append((REPLAY_OF, first[:_LONGEST_PLACE]))
        if value is not None and len(value) > LARGEST_LETTER:
            listed += [
                ("length", str(len(value)).encode()),
                ("sha256", hashlib.sha256(value).hexdigest().encode()),
            ]
            value = value[:LARGEST_LETTER]
        key = batch.keys[letter.row]
        key = key and key[:LARGEST_LETTER_KEY]
        if batch.headers:
            left = LARGEST_LETTER + LARGEST_LETTER_KEY - len(value or b"") - len(key or b"")
            listed += _kept(batch.headers[letter.row], min(LARGEST_HEADERS, left))
        keys.append(key)
        values.append(value)
        headers.append(listed)
    return Outgoing(
        topic=topic,
        partitions=[batches[r.batch].partition.index for r in rejected],
        timestamps=[answered_at(batches[r.batch].timestamps[r.row]) for r in rejected],
        keys=keys,
        values=values,
        headers=headers,
    )
