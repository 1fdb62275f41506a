"""What a verification reads of a group of partitions: what was written, and the positions and decisions behind it.

Each reading waits for the broker, whatever it finds.  So partitions with few outputs are read together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from streamcast.consumers.transport import Batch, Partition, Positions, Reader, TopicSpec
from streamcast.service.strangers import Lost, lost_journals
from streamcast.service.verification.written import Written
from streamcast.stages import stage
from streamcast.topics.journal import Journal, read_journals
from streamcast.topics.names import Topics
from streamcast.wording import counted

MOST_OUTPUTS = 100_000
"""Forecasts and dead letters of partitions that are read together; they are kept until they are compared."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the outputs of a group of partitions must agree with.

    ``before`` and ``after`` are the positions that the service had committed before and after the outputs were read;
    ``ends`` are the ends of the input, and ``source`` is its topic.
    """

    before: Positions
    after: Positions
    journals: Mapping[Partition, Journal]
    lost: Mapping[Partition, Lost]
    ends: Positions
    source: TopicSpec


def groups(reader: Reader, topics: Topics, partitions: Sequence[Partition]) -> Iterator[list[Partition]]:
    """Yield the input partitions in order, those with few outputs together."""
    homes = [Partition(topic, each.index) for topic in (topics.forecasts, topics.dead_letters) for each in partitions]
    outputs = Counter[int]()
    for home, (first, end) in reader.bounds(homes).items():
        outputs[home.index] += end - first
    group, held = list[Partition](), 0
    for partition in partitions:
        if group and held + outputs[partition.index] > MOST_OUTPUTS:
            yield group
            group, held = [], 0
        group.append(partition)
        held += outputs[partition.index]
    if group:
        yield group


def gather(reader: Reader, topics: Topics, written: Mapping[Partition, Written]) -> Evidence:
    """Read what was written for a group of input partitions, and what it must agree with.

    In this order: beside a running service, every output that was read has its position and its decisions.
    """
    group = list(written)
    before, count = reader.committed(group), 0
    with stage("reading what was written") as on_far:
        for topic in (topics.forecasts, topics.dead_letters):
            for batch in _everything(reader, topic, group):
                outputs = written[Partition(topics.observations, batch.partition.index)]
                take = outputs.take_forecasts if topic == topics.forecasts else outputs.take_dead_letters
                take(batch)
                count += len(batch)
                on_far(counted(count, "output"))
    after = reader.committed(group)
    journals = read_journals(reader, topics.journal, group)
    found = reader.describe([topics.observations, topics.journal])
    first = [each for each in group if not journals[each].former]
    at_work = [each for each in first if journals[each].begin is None and each in after]
    lost = {each.partition: each for each in lost_journals(reader, topics, found[topics.journal], first, at_work)}
    ends = {each: end for each, (_, end) in reader.bounds(group).items()}
    return Evidence(before, after, journals, lost, ends, found[topics.observations])


def _everything(reader: Reader, topic: str, group: Collection[Partition]) -> Iterator[Batch]:
    homes = [Partition(topic, each.index) for each in group]
    bounds, ends = reader.bounds(homes), reader.ends(homes)
    for batches in reader.read_ranges({home: (bounds[home][0], ends[home]) for home in homes}):
        yield from batches
