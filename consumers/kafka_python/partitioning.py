"""Which partition a key belongs to, as kafka-python and Java's clients decide it."""

from __future__ import annotations

from functools import lru_cache

from kafka.partitioner.default import murmur2


@lru_cache(maxsize=100_000)
def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a key among so many; a series writes many records with one key."""
    return int(murmur2(key) & 0x7FFFFFFF) % partitions
