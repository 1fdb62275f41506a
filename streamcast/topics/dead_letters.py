"""Records that got no forecast, kept whole with the reason, so that nothing is lost and nothing stops."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from streamcast.consumers.transport import Batch, Headers, Outgoing, answered_at

REASONS = ("empty", "json", "shape", "key", "time", "ahead", "value", "size", "version", "not finite", "skipped")
"""Why a record got no forecast: all that there is."""

LARGEST_LETTER = 900_000
"""Bytes of a record that are kept; a larger one is cut, with its length and SHA-256 in the headers."""

LARGEST_LETTER_KEY = 32_768
"""Bytes of a key that are kept, so that no dead letter is too large for its topic."""

REPLAY_OF = "replay_of"
"""Header of a record that `dlq replay` sent, and of its dead letter: the place of the first record."""

REPLAYED = "replayed"
"""Header of a receipt in the dead-letter topic: the place of the record that was sent again."""

_LONGEST_PLACE = 300


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


def outgoing(topic: str, batches: Sequence[Batch], rejected: Sequence[Rejected]) -> Outgoing:
    """Return the dead letters of a poll: original key and bytes, the reason and the source in headers."""
    values: list[bytes | None] = []
    headers: list[Headers] = []
    for letter in rejected:
        batch = batches[letter.batch]
        value = batch.values[letter.row]
        listed = [
            ("reason", letter.reason.encode()),
            ("detail", letter.detail.encode(errors="replace")[:1000]),
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
        values.append(value)
        headers.append(listed)
    return Outgoing(
        topic=topic,
        partitions=[batches[r.batch].partition.index for r in rejected],
        timestamps=[answered_at(batches[r.batch].timestamps[r.row]) for r in rejected],
        keys=[key and key[:LARGEST_LETTER_KEY] for key in (batches[r.batch].keys[r.row] for r in rejected)],
        values=values,
        headers=headers,
    )
