"""Input records for a world of faults: series that advance, are late, repeat and pause, and records that are poison."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from harness.streams import MINUTE, START
from streamcast.spec.durations import DAY_MS
from streamcast.spec.model_spec import SeriesSpec
from streamcast.topics.observations import encode_observation

POISON: Sequence[bytes | None] = (
    None,
    b"",
    b"{",
    b"\xff\xfe",
    b"[" * 3000,
    b'{"key":"a","ts":1,"values":[NaN]}',
    b'{"key":"a","ts":1,"values":[Infinity]}',
    b'{"key":"a","ts":1,"values":[1e999]}',
    b'{"key":"a","ts":' + b"9" * 5000 + b',"values":[1]}',
    b'{"key":"a","ts":1,"ts":2,"values":[1]}',
    b'{"key":"a","ts":1,"values":[1,2,3]}',
    b'{"key":"a","ts":1,"values":[1],"v":9}',
    b'{"key":"","ts":1,"values":[1]}',
    b'{"key":"a","ts":"2025-01-01T00:00:00","values":[1]}',
    b'{"key":"a","ts":1,"values":{"nobody":1}}',
)


class Raw(NamedTuple):
    """One record to be produced: Kafka timestamp (ms), key and value."""

    timestamp: int
    key: bytes | None
    value: bytes | None


class Source:
    """Series of one spec, each with its own time."""

    def __init__(self, series: SeriesSpec, keys: int, partitions: int) -> None:
        self._series, self._partitions = series, partitions
        self._keys = [f"series-{number}" for number in range(keys)]
        self._newest: dict[str, int] = {}

    @property
    def keys(self) -> Sequence[str]:
        """The series there may be."""
        return self._keys

    def draw(self, chance: random.Random, partition: int, most: int) -> list[Raw]:
        """Return some records of one partition, usually of keys that belong there."""
        mine = self._keys[partition :: self._partitions] or self._keys
        records = [
            self._record(chance, chance.choice(mine if chance.random() < 0.97 else self._keys))
            for _ in range(chance.randint(1, most))
        ]
        if chance.random() < 0.1:
            chance.shuffle(records)
        if chance.random() < 0.1:
            records += records[: chance.randint(1, len(records))]
        return records

    def _record(self, chance: random.Random, key: str) -> Raw:
        kind = chance.random()
        now = self._newest.get(key, START)
        if kind < 0.04:
            return Raw(now, None if chance.random() < 0.5 else key.encode(), chance.choice(POISON))
        time = now + self._move(chance)
        self._newest[key] = max(now, time)
        if kind < 0.05:  # the event is dated far ahead of its arrival
            return Raw(time, key.encode(), encode_observation(key, time + 400 * DAY_MS, [1.0]))
        value = None if kind < 0.09 else round(chance.gauss(10, 3), 3)
        others = [value] * (len(self._series.columns) - 1)
        return Raw(time, key.encode(), encode_observation(key, time, [value, *others]))

    def _move(self, chance: random.Random) -> int:
        """Return the step of a series' time to its next record, in ms; negative for a late record."""
        gap = self._series.max_gap
        bars = chance.choice([1] * 14 + [0, 2, 3, -1, -3, gap - 1, gap, gap + 1, gap + 2])
        if self._series.mode == "ticks" and chance.random() < 0.7:
            return chance.randint(-MINUTE, MINUTE)
        return bars * self._series.freq + chance.randint(-1000, 1000)
