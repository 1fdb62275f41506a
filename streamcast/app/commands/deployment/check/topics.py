"""Checks of the topics: whether they are there, alike, strong and large enough, and hold records of the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from streamcast.app.commands.deployment import connect
from streamcast.app.commands.deployment.check.journal import check_journal
from streamcast.app.commands.deployment.check.say import Say
from streamcast.app.commands.deployment.check.setup import Setup
from streamcast.app.commands.deployment.connect import topics_of
from streamcast.app.commands.deployment.topics import (
    ANY_TIME,
    JOURNAL_CONFIG,
    LETTER_BYTES,
    alteration,
    doubts_of,
    keyless,
    newest_batches,
    timeless,
)
from streamcast.app.settings import Settings, bootstrap
from streamcast.consumers.transport import (
    Batch,
    CodecMissing,
    NotAllowed,
    Partition,
    Reader,
    TopicSpec,
    TransportError,
)
from streamcast.service.refusals import growing
from streamcast.topics.ahead import ahead_of
from streamcast.topics.forecasts import largest_answer
from streamcast.topics.foreign_bytes import TEXT_KEYS, shown_key
from streamcast.topics.observations import Decoder, Poison
from streamcast.topics.split_keys import ONE_PARTITIONER, split_words
from streamcast.wording import counted

IN_SYNC = "min.insync.replicas"
NEWEST_KEYS = 1_000
"""Records at the end of each partition whose keys are compared."""
LOOKED_AT = f"the newest {NEWEST_KEYS:,} records of each partition"


def operations_needed(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Return the operations that the service needs on each topic; the first one includes the right to describe it."""
    topics = topics_of(settings)
    return {
        topics.observations: ("READ",),
        topics.forecasts: ("WRITE",),
        topics.dead_letters: ("WRITE",),
        topics.journal: ("READ", "WRITE"),
    }


def check_topics(setup: Setup, reader: Reader, allowed: Mapping[str, frozenset[str]], create: bool, say: Say) -> bool:
    """Check the topics that this user may describe, as ``allowed`` tells; return whether they are as they must be."""
    settings = setup.settings
    source, needed = settings.input.topic, list(operations_needed(settings))
    if source not in allowed:
        return say(
            False, f"topic {source} does not exist",
            f"create it with at least as many partitions as processes; `streamcast replay FILE --topic"
            f" {source} --partitions 4` creates it and writes a file's rows to it",
        )  # fmt: skip
    seen = [topic for topic in needed if allowed.get(topic)]
    found = reader.describe(seen)
    if source not in found:  # said already
        return False
    missing = [topic for topic in needed if topic not in allowed]
    if missing and create:
        try:
            _create(settings, missing, found[source])
        except NotAllowed as error:
            return say(
                False, f"topics {', '.join(missing)}: {error}", _create_commands(settings, missing, found[source])
            )
        found = reader.describe([*seen, *missing])
    good = True
    for topic in [*seen, *missing]:
        if topic in found:
            good &= _topic(setup, found[topic], found[source], " (just created)" if topic in missing else "", say)
        else:
            good &= say(False, f"topic {topic} does not exist", "`streamcast check --create` creates it")
    good &= _newest_records(setup, reader, found[source], say)
    return good and check_journal(setup, reader, found[source], found[settings.output.journal], say)


def _topic(setup: Setup, topic: TopicSpec, source: TopicSpec, remark: str, say: Say) -> bool:
    """Check one topic beside the input; return whether it has as many partitions."""
    good = say(
        topic.partitions == source.partitions,
        f"topic {topic.name}: {topic.partitions} partitions{remark}",
        f"give it {source.partitions}, like {source.name}: a forecast goes to the partition of its record"
        + (f"; run {growing(topic.name, source.partitions)}" if topic.partitions < source.partitions else ""),
    )
    _strength(topic, source, setup.settings, say)
    for doubt in doubts_of(topic, source, setup.settings, _largest(setup, topic.name), _max_ahead(setup)):
        say.warn(*doubt)
    return good


def _largest(setup: Setup, topic: str) -> int:
    """Return how many bytes a record of an output topic may have, 0 where that is not known."""
    if topic == setup.settings.output.dead_letters:
        return LETTER_BYTES
    if topic == setup.settings.output.forecasts:
        return max((largest_answer(model.spec) for model in setup.lanes.values()), default=0)
    return 0


def _max_ahead(setup: Setup) -> int:
    """Return how far a record's time may be after its Kafka timestamp (ms), 0 where that is not known."""
    return setup.lanes[setup.settings.models.champion_lane].spec.series.max_ahead if setup.lanes else 0


def _newest_records(setup: Setup, reader: Reader, source: TopicSpec, say: Say) -> bool:
    """Warn when the newest records of the input are none that the champion can read, or have no good Kafka keys.

    Return whether this client can decompress them.
    """
    if not setup.lanes:
        return True
    spec = setup.lanes[setup.settings.models.champion_lane].spec
    decoder = Decoder(spec.series, ahead_of(model.spec for model in setup.lanes.values()))
    newest, wrong = dict[Partition, Batch](), dict[Partition, tuple[int, Poison]]()
    found, foreign = dict[str, set[int]](), list[str]()
    try:
        for batch in newest_batches(reader, source, NEWEST_KEYS):
            partition, newest[batch.partition] = batch.partition, batch
            observations, poison = decoder.decode([batch])
            for key in observations.keys:
                found.setdefault(key, set()).add(partition.index)
            foreign += observations.foreign_keys
            wrong.pop(partition, None)
            if poison and poison[-1].row == len(batch) - 1:
                wrong[partition] = batch.offsets[-1], poison[-1]
    except CodecMissing as error:  # names its remedy
        return say(False, f"topic {source.name}: {error}")
    except TransportError:  # other checks fail by the same, and say so
        return True
    split = {key: partitions for key, partitions in found.items() if len(partitions) > 1}
    if doubt := keyless(source, newest):
        say.warn(*doubt)
    elif split:
        say.warn(f"topic {source.name}, {LOOKED_AT}: {split_words(split)}", ONE_PARTITIONER)
    if doubt := timeless(source, newest, setup.settings):
        say.warn(*doubt)
    if foreign:
        say.warn(
            f"topic {source.name}, {LOOKED_AT}: {counted(len(foreign), 'record')} named by a Kafka key that is no text,"
            f" such as {shown_key(foreign[0])}, which is the name of the series now",
            TEXT_KEYS,
        )
    if wrong:
        partition, (offset, why) = min(wrong.items())
        say.warn(
            f"topic {source.name}: the newest record would be a dead letter in {len(wrong)} of"
            f" {counted(len(newest), 'partition')} with records, such as {partition} at offset"
            f" {offset} ({why.reason}: {why.detail})",
            f"send records with the model's values, {', '.join(column.name for column in spec.series.columns)}"
            " (docs/messages.md has their form), or name the topic that has them as input.topic",
        )
    return True


def _strength(topic: TopicSpec, source: TopicSpec, settings: Settings, say: Say) -> None:
    """Warn when a topic survives the loss of fewer brokers than the input does."""
    if topic.replication < source.replication:
        say.warn(
            f"topic {topic.name} has replication factor {topic.replication}, {source.name} has {source.replication}:"
            " the loss of a broker that the input survives stops all answers",
            f"raise it to {source.replication}: plan.json is a plan with as many replicas for each partition; run"
            f" kafka-reassign-partitions.sh {bootstrap(settings)} --reassignment-json-file plan.json --execute",
        )
    if _in_sync(topic) < _in_sync(source):
        say.warn(
            f"topic {topic.name} has {IN_SYNC} {_in_sync(topic)}, {source.name} has {_in_sync(source)}: answers may be"
            " acknowledged by fewer brokers than their records",
            alteration(topic, {IN_SYNC: _in_sync(source)}, settings),
        )


def _in_sync(topic: TopicSpec) -> int:
    return int(topic.config.get(IN_SYNC, 1))


def _create(settings: Settings, topics: list[str], source: TopicSpec) -> None:
    """Create topics with the partitions, the replication factor and the min.insync.replicas of the input topic."""
    transport = connect.new_transport(settings, replace(connect.connection(settings), guarantee="at_least_once"))
    try:
        transport.create([
            replace(source, name=topic, config=_config(settings, topic, source)) for topic in topics
        ])  # fmt: skip
    finally:
        transport.close(10.0)


def _config(settings: Settings, topic: str, source: TopicSpec) -> dict[str, str]:
    """The configuration of a topic of ours: as careful as the input's; it holds any timestamp; the journal is kept."""
    shared = {name: value for name, value in source.config.items() if name == IN_SYNC}
    shared |= {name: limit for name, limit in ANY_TIME.items() if name in source.config}
    return shared | (JOURNAL_CONFIG if topic == settings.output.journal else {})


def _create_commands(settings: Settings, topics: Iterable[str], source: TopicSpec) -> str:
    """The commands with which an administrator creates topics."""
    return "; ".join(
        f"kafka-topics.sh --bootstrap-server {settings.kafka.bootstrap_servers} --command-config admin.properties"
        f" --create --topic {topic} --partitions {source.partitions} --replication-factor {source.replication}"
        + "".join(f" --config {name}={value}" for name, value in _config(settings, topic, source).items())
        for topic in topics
    )
