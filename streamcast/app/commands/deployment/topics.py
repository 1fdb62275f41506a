"""The topics that the settings name, and what of them is not what a fold needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

from streamcast.app.commands.deployment.connect import topics_of
from streamcast.app.settings import Settings, bootstrap
from streamcast.consumers.transport import (
    APPEND_TIME,
    Batch,
    Partition,
    Reader,
    TopicMissing,
    TopicSpec,
    TransportError,
)
from streamcast.spec.durations import HOUR_MS, WEEK_MS
from streamcast.topics.dead_letters import LARGEST_LETTER, LARGEST_LETTER_KEY
from streamcast.topics.names import Topics
from streamcast.wording import counted, duration_name

NEWEST = 10
"""Records at the end of each partition that are looked at: the very last ones may be markers of transactions."""
OUTAGE_MS = HOUR_MS
"""For which the input should hold the records that a restart needs, beside those of ``state.interval``."""

JOURNAL_CONFIG = {"retention.ms": "-1", "retention.bytes": "-1"}
"""Keep the journal for ever: it is small, and replay needs all of it."""

FOREVER = str(2**63 - 1)
BEFORE, AFTER = "message.timestamp.before.max.ms", "message.timestamp.after.max.ms"
"""How much older or newer than now the timestamp of a record may be; brokers before Kafka 3.6 do not know them."""
DIFFERENCE = "message.timestamp.difference.max.ms"
"""Both, in brokers before Kafka 4.0."""
ANY_TIME = {BEFORE: FOREVER, AFTER: FOREVER}
"""An answer has the Kafka timestamp of its record, whatever that is."""
NO_TIMESTAMP = -1
LARGEST_BYTES = "max.message.bytes"
LETTER_BYTES = LARGEST_LETTER + LARGEST_LETTER_KEY + 4_096
"""The largest dead letter, with its headers."""


class Doubt(NamedTuple):
    """Something about a topic that a service can work with, and should not have to: what, and its remedy."""

    what: str
    remedy: str


def require_topics(reader: Reader, settings: Settings) -> Topics:
    """Return the topics of a service; raises TopicMissing, with the setting that names it, for one that is missing."""
    topics = topics_of(settings)
    named = {
        "input.topic": topics.observations,
        "output.forecasts": topics.forecasts,
        "output.dead_letters": topics.dead_letters,
        "output.journal": topics.journal,
    }
    found = reader.describe(list(named.values()))
    for setting, topic in named.items():
        if topic not in found:
            way = (
                " with at least as many partitions as processes"
                f" (`streamcast replay FILE --topic {topic} --partitions 4` creates it from a file's rows)"
                if topic == topics.observations
                else " (`streamcast check --create` makes missing output topics)"
            )
            raise TopicMissing(
                f"topic {topic!r} ({setting}) does not exist: correct the setting, or create the topic{way}"
            )
    return topics


def doubts(reader: Reader, found: Mapping[str, TopicSpec], settings: Settings, max_ahead: int) -> Iterator[Doubt]:
    """Yield what of the topics is not what a fold needs, as far as can be read; ``max_ahead`` is the champion's."""
    source = found[settings.input.topic]
    for topic in found.values():
        largest = LETTER_BYTES if topic.name == settings.output.dead_letters else 0
        yield from doubts_of(topic, source, settings, largest, max_ahead)
    with suppress(TransportError):
        newest = newest_records(reader, source)
        yield from filter(None, (keyless(source, newest), timeless(source, newest, settings)))


def doubts_of(topic: TopicSpec, source: TopicSpec, settings: Settings, largest: int, max_ahead: int) -> Iterator[Doubt]:
    """Yield what of one topic is not what a fold needs.

    A record for it may have ``largest`` bytes, and the time of one in it may be ``max_ahead`` ms after its Kafka
    timestamp; 0 is not known.
    """
    if doubt := compaction(topic, settings):
        yield doubt
    if topic.name == source.name and (doubt := short_lived(source, settings)):
        yield doubt
    if topic.name == source.name and max_ahead and (doubt := trusting(source, max_ahead, settings)):
        yield doubt
    if topic.name != source.name and (doubt := refusing(topic, source, settings)):
        yield doubt
    if doubt := too_small(topic, largest, settings):
        yield doubt
    if topic.name == settings.output.journal and (doubt := forgetting(topic, settings)):
        yield doubt


def alteration(topic: TopicSpec, config: Mapping[str, object], settings: Settings) -> str:
    """The command with which an administrator changes the configuration of a topic on the service's broker."""
    wanted = ",".join(f"{name}={value}" for name, value in config.items())
    return f"kafka-configs.sh {bootstrap(settings)} --alter --topic {topic.name} --add-config {wanted}"


def newest_batches(reader: Reader, source: TopicSpec, most: int) -> Iterator[Batch]:
    """Yield the last records of each partition, by offsets ``most`` of each; raises TransportError."""
    bounds = reader.bounds([Partition(source.name, index) for index in range(source.partitions)])
    ends = {each: (max(first, end - most), end) for each, (first, end) in bounds.items() if first < end}
    for batches in reader.read_ranges(ends):
        yield from batches


def newest_records(reader: Reader, source: TopicSpec) -> Mapping[Partition, Batch]:
    """Return the last batch of each partition that has records; raises TransportError."""
    return {batch.partition: batch for batch in newest_batches(reader, source, NEWEST)}


def keyless(source: TopicSpec, newest: Mapping[Partition, Batch]) -> Doubt | None:
    """Return a doubt when producers choose partitions without a key: the records of a series then lie in several."""
    without = sorted(partition for partition, batch in newest.items() if batch.keys[-1] is None)
    if not without or source.partitions == 1:
        return None
    return Doubt(
        f"topic {source.name}: the newest record has no Kafka key in {len(without)} of"
        f" {counted(len(newest), 'partition')} with records, such as {without[0]}: without"
        " one, producers spread the records of a series over all partitions, and the service keeps a state of the"
        " series in each",
        "let producers send the name of the series as the Kafka key (docs/messages.md)",
    )


def timeless(source: TopicSpec, newest: Mapping[Partition, Batch], settings: Settings) -> Doubt | None:
    """Return a doubt when records have no Kafka timestamp: then nothing says that a record is from the future."""
    without = sorted(partition for partition, batch in newest.items() if batch.timestamps[-1] == NO_TIMESTAMP)
    if not without:
        return None
    return Doubt(
        f"topic {source.name}: the newest record has no Kafka timestamp in {len(without)} of"
        f" {counted(len(newest), 'partition')} with records, such as {without[0]}: without one, a record of any later"
        " year is accepted (max_ahead of the model), and all later records of its series are late",
        "let producers send a timestamp, or let the broker set it:"
        f" {alteration(source, dict([APPEND_TIME]), settings)}",
    )


def trusting(source: TopicSpec, max_ahead: int, settings: Settings) -> Doubt | None:
    """Return a doubt when a Kafka timestamp may be further ahead of now than a record of it: producers alone decide.

    Brokers before Kafka 3.6 have no such limit of its own, and nothing is said of them.
    """
    config = source.config
    if APPEND_TIME in config.items() or AFTER not in config:
        return None
    name = DIFFERENCE if config[AFTER] == FOREVER and config.get(DIFFERENCE, FOREVER) != FOREVER else AFTER
    if int(config[name]) <= max_ahead:
        return None
    return Doubt(
        f"topic {source.name} has {name} {config[name]}{' (no limit)' * (config[name] == FOREVER)}, and producers set"
        f" the Kafka timestamps: one whose clock is years ahead makes all later records of a series late, for a"
        f" record is refused only where it is ahead of its own Kafka timestamp, by more than {duration_name(max_ahead)}"
        " (max_ahead of the model)",
        f"{alteration(source, {AFTER: max_ahead}, settings)}; or let the broker's clock decide, with"
        f" {'='.join(APPEND_TIME)} in its place",
    )


def short_lived(source: TopicSpec, settings: Settings) -> Doubt | None:
    """Return a doubt when the broker deletes records of the input that a restart may need: those since a snapshot."""
    interval, needed = settings.state.interval, settings.state.interval + OUTAGE_MS
    kept = int(source.config.get("retention.ms", -1))
    if kept < 0 or kept >= needed or "delete" not in source.config.get("cleanup.policy", "delete"):
        return None
    return Doubt(
        f"topic {source.name} has retention.ms {kept} ({duration_name(kept)}), and a restart needs all records since"
        f" the newest snapshot, which is up to {duration_name(interval)} old (state.interval): it is refused when Kafka"
        f" has deleted some; expected {duration_name(needed)} at least, for an outage of an hour",
        alteration(source, {"retention.ms": max(WEEK_MS, 2 * needed)}, settings),
    )


def forgetting(journal: TopicSpec, settings: Settings) -> Doubt | None:
    """Return a doubt when the broker deletes old entries of the journal: nothing else says where state began."""
    limits = {name: journal.config.get(name, kept) for name, kept in JOURNAL_CONFIG.items()}
    if limits == JOURNAL_CONFIG:
        return None
    named = ", ".join(f"{name} {limit}" for name, limit in limits.items() if limit != JOURNAL_CONFIG[name])
    return Doubt(
        f"topic {journal.name} (output.journal) has {named}: Kafka deletes its old entries, and a start does not know"
        " without them where the state began",
        alteration(journal, JOURNAL_CONFIG, settings),
    )


def refusing(output: TopicSpec, source: TopicSpec, settings: Settings) -> Doubt | None:
    """Return a doubt when an output may refuse the timestamp of a record that the input holds: its answer has the same.

    A record waits while no worker runs, so any limit to its age is one too many.
    """
    if APPEND_TIME in output.config.items():
        return None
    limits = {
        DIFFERENCE: FOREVER,
        BEFORE: FOREVER,
        AFTER: "0" if APPEND_TIME in source.config.items() else source.config.get(AFTER, FOREVER),
    }
    small = {
        name: output.config[name]
        for name, least in limits.items()
        if name in output.config and int(output.config[name]) < int(least)
    }
    if not small:
        return None
    named = ", ".join(f"{name} {limit}" for name, limit in small.items())
    return Doubt(
        f"topic {output.name} has {named}: it refuses the answer to a record of {source.name} whose Kafka timestamp"
        " lies beyond that when it is answered, which stops its partition",
        alteration(output, dict.fromkeys(small, FOREVER), settings),
    )


def too_small(output: TopicSpec, needed: int, settings: Settings) -> Doubt | None:
    """Return a doubt when an output may refuse a record of ``needed`` bytes."""
    if int(output.config.get(LARGEST_BYTES, needed)) >= needed:
        return None
    return Doubt(
        f"topic {output.name} has {LARGEST_BYTES} {output.config[LARGEST_BYTES]}, and a record for it may have up to"
        f" {needed} bytes: one that it refuses stops its partition",
        alteration(output, {LARGEST_BYTES: needed}, settings),
    )


def compaction(topic: TopicSpec, settings: Settings) -> Doubt | None:
    """Return a doubt when the broker deletes all but the newest record of a key.

    The dead letters also get records without a key, which such a topic refuses.
    """
    keyless = topic.name == settings.output.dead_letters
    if "compact" not in (policy := topic.config.get("cleanup.policy", "delete")):
        return None
    return Doubt(
        f"topic {topic.name} has cleanup.policy {policy}: Kafka deletes all but the newest record of each key, but"
        " state is made of all records, and so are the proofs of streamcast verify"
        + ("; it refuses records without a key, and an unreadable record that has none stops its partition" * keyless),
        alteration(topic, {"cleanup.policy": "delete"}, settings),
    )
