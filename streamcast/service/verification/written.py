"""What a service wrote for one input partition: its forecasts and dead letters, until each is compared."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from streamcast.consumers.transport import Batch, Partition, answered_at
from streamcast.topics.dead_letters import LARGEST_LETTER
from streamcast.topics.forecasts import Published, unnamed

_decode = msgspec.json.Decoder(Published).decode


@dataclass(slots=True)
class Named:
    """How many forecasts name one version, and the offset and lane of the first that does."""

    offset: int
    lane: str
    forecasts: int = 0


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter; ``value`` is the digest of what it holds."""

    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]

    def holds(self, original: bytes | None) -> bool:
        """Whether it keeps a record's bytes: all of them, or a very large record's beginning and SHA-256."""
        if original is None or len(original) <= LARGEST_LETTER:
            nothing = self.key is None and not original and self.value in (None, _digest(b""))
            return nothing or self.value == _digest(original)
        whole = hashlib.sha256(original).hexdigest().encode()
        return self.value == _digest(original[:LARGEST_LETTER]) and self.headers.get("sha256") == whole


class Written:
    """The outputs of ``partition`` by lane and offset of their record; ``violation`` gets what is wrong by itself.

    ``former`` counts the topics of this name that were deleted: their outputs are still there, before those of the
    present one.  ``timed`` says that forecasts have the timestamps of their records; else the broker puts its own in
    their place.
    """

    def __init__(
        self, partition: Partition, violation: Callable[[str], None], *, exactly_once: bool, timed: bool, former: int
    ) -> None:
        self._partition, self._violation = partition, violation
        self._exactly_once, self._timed, self._former = exactly_once, timed, former
        self.forecasts: dict[tuple[str, int], bytes] = {}
        """Fingerprints."""
        self.letters: dict[tuple[str, int], Letter] = {}
        self.named: dict[str, dict[str, Named]] = {}
        """By ``model_hash``: the versions that forecasts name."""
        self._newest: dict[str, int] = {}
        """The offset that was answered last, by lane."""
        self._superseded: Counter[tuple[str, str, int]] = Counter()

    def __len__(self) -> int:
        return len(self.forecasts) + len(self.letters)

    def fingerprint(self, key: bytes | None, value: bytes, timestamp: int) -> bytes:
        """Return a hash of a forecast without the name of its model (see ``unnamed``)."""
        compared = key, value, answered_at(timestamp) if self._timed else 0
        return hashlib.blake2b(msgspec.msgpack.encode(compared), digest_size=16).digest()

    def take_forecasts(self, batch: Batch) -> None:
        """Take records of the forecasts topic; report those that are none, doubled, or out of order."""
        for row, value in enumerate(batch.values):
            try:
                answer = _decode(value or b"")
            except msgspec.MsgspecError as error:
                place = f"record {batch.offsets[row]} of {batch.partition.topic}"
                self._violation(f"{place} is no forecast ({error})")
                continue
            source, lane = answer.source, answer.lane
            if (source.topic, source.partition) == tuple(self._partition):
                text = unnamed(value or b"", answer.model, answer.model_version)
                seen = self.fingerprint(batch.keys[row], text, batch.timestamps[row])
                named = self.named.setdefault(answer.model_hash, {})
                named.setdefault(answer.reference, Named(source.offset, lane)).forecasts += 1
                self._note(lane, source.offset, seen)
            elif source.topic == self._partition.topic:
                self._violation(f"it holds a forecast of partition {source.partition}, offset {source.offset}")

    def take_dead_letters(self, batch: Batch) -> None:
        """Take records of the dead-letter topic; report those without a place, or with another one's."""
        rows = zip(batch.offsets, batch.keys, batch.values, batch.headers or [()] * len(batch), strict=True)
        for at, key, value, headers in rows:
            named = {name: text or b"" for name, text in headers}
            if named.get("source_topic", b"") != self._partition.topic.encode():
                continue
            if named.get("source_partition") != b"%d" % self._partition.index:
                self._violation(f"dead letter {at} is of partition {named.get('source_partition')!r}")
                continue
            if not (source := named.get("source_offset", b"")).isdigit():
                self._violation(f"dead letter {at} has the source offset {source!r}, which is no number")
                continue
            lane, offset = named.get("lane", b"").decode(errors="replace"), int(source)
            twice = (lane, offset) in self.letters and not self._supersedes("letter", lane, offset)
            if twice and self._exactly_once:
                self._violation(f"offset {offset} has two dead letters{in_lane(lane)}")
            self.letters[lane, offset] = Letter(key, _digest(value), named)

    def set_aside(self, first: int, until: int) -> tuple[int, int]:
        """Forget the outputs of offsets [first, until); return how many forecasts and dead letters these are."""
        forecasts = [key for key in self.forecasts if first <= key[1] < until]
        letters = [key for key in self.letters if first <= key[1] < until]
        for key in forecasts:
            del self.forecasts[key]
        for key in letters:
            del self.letters[key]
        return len(forecasts), len(letters)

    def _note(self, lane: str, offset: int, seen: bytes) -> None:
        """Keep one forecast, and report it when it is doubled or out of order."""
        if (lane, offset) in self.forecasts and not self._supersedes("forecast", lane, offset):
            if self._exactly_once:
                self._violation(f"offset {offset} is answered twice in lane {lane}")
            elif self.forecasts[lane, offset] != seen:
                self._violation(f"two answers of offset {offset} in lane {lane} differ")
            return
        if offset < self._newest.get(lane, -1) and not self._former:
            self._violation(f"offset {offset} is answered after offset {self._newest[lane]} in lane {lane}")
        self._newest[lane] = offset
        self.forecasts[lane, offset] = seen

    def _supersedes(self, kind: str, lane: str, offset: int) -> bool:
        """Whether one more output of an offset may be that of the next topic of this name; at most once for each."""
        self._superseded[kind, lane, offset] += 1
        return self._superseded[kind, lane, offset] <= self._former


def _digest(value: bytes | None) -> bytes | None:
    return None if value is None else hashlib.blake2b(value, digest_size=16).digest()


def in_lane(lane: str) -> str:
    """Return the lane as the end of a sentence has it; nothing for a dead letter of all lanes."""
    return f" in lane {lane}" if lane else ""
