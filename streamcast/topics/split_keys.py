"""Keys whose records are in more than one partition: the service keeps a state of the series in each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from streamcast.wording import counted

_SHOWN: Final = 64
"""Characters of a key in the sentence."""
ONE_PARTITIONER: Final = "let all producers choose partitions with one partitioner (docs/quickstart-kafka.md)"
"""What to do about ``split_words``."""


def split_sentence(partitions: Mapping[str, Collection[int]]) -> str:
    """Say how many series have records in more than one partition, with an example, and what to do; empty for none."""
    return f"{split_words(partitions)}: {ONE_PARTITIONER}." if partitions else ""


def split_words(partitions: Mapping[str, Collection[int]]) -> str:
    """Say how many series, of which there is one at least, have records in more than one partition, with an example."""
    key, found = next(iter(partitions.items()))
    name = key if len(key) <= _SHOWN else f"{key[:_SHOWN]}…"
    first, *rest = map(str, sorted(found))
    one = len(partitions) == 1
    example = f"{name!r} in partitions" if one else f"such as {name!r} in"
    return (
        f"{counted(len(partitions), 'series', 'series')} {'has' if one else 'have'} records in more than one partition"
        f" ({example} {', '.join([first, *rest[:-1]])} and {rest[-1]}), and the service keeps a state of the series in"
        " each"
    )
