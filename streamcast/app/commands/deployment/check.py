"""``streamcast check``: check everything a service needs; print one line each, with a remedy for each fault.

What the broker allows is asked first: a topic that this user may not describe looks like one that does not exist.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.markup import escape

from streamcast.app.commands.deployment.capacity import room
from streamcast.app.commands.deployment.connect import connection, load_lanes, new_reader, new_transport, topics_of
from streamcast.app.commands.deployment.listening import require_free
from streamcast.app.commands.deployment.topics import (
    ANY_TIME,
    JOURNAL_CONFIG,
    LETTER_BYTES,
    compaction,
    forgetting,
    keyless,
    newest_records,
    refusing,
    too_small,
)
from streamcast.app.settings import Settings
from streamcast.app.trained import quality
from streamcast.consumers.transport import (
    BrokerUnavailable,
    CodecMissing,
    NotAllowed,
    Partition,
    Positions,
    Reader,
    TopicSpec,
    TransportError,
)
from streamcast.engine.engine import layout
from streamcast.errors import ModelError, SettingsError, StoreError
from streamcast.service.assignment import (
    COLD_START,
    NEW_OUTPUTS,
    OWN_JOURNAL,
    SECOND_SERVICE,
    Deployment,
    another_topic,
    answered_already,
    identity,
    lost_journals,
    moved_positions,
    records_gone,
)
from streamcast.service.snapshots import Header, Store
from streamcast.service.strangers import IMPOSSIBLE, MOVED, Moved, sentence
from streamcast.spec.folders import versions_by_digest
from streamcast.spec.local_time import UTC_TIME
from streamcast.spec.model_spec import ModelSpec
from streamcast.topics.ahead import ahead_of
from streamcast.topics.forecasts import largest_answer, shortened
from streamcast.topics.journal import Journal, read_journals
from streamcast.topics.observations import Decoder
from streamcast.wording import counted

MOST_NAMED = 3
"""Partitions that a message names."""

IN_SYNC = "min.insync.replicas"

SETTINGS_FAULT, BROKER_FAULT = 2, 3


def check(settings: Settings, create: bool, console: Console, following: str = "streamcast serve") -> int:
    """Check models, broker, topics, transactions and ports; return 0, 2 (settings) or 3 (broker).

    ``following`` is the command that starts what was checked.
    """
    say = _Say(console)
    models = _models(settings, say) & _store(settings, say)
    broker = _broker(settings, create, say)
    _ports(settings, say)
    start = f" Start with [bold]{escape(following)}[/]."
    if say.faults:
        console.print(f"[red]{say.faults} of {say.lines} checks failed.[/]")
    elif say.warnings:
        console.print(f"[yellow]All {say.lines} checks passed, with {counted(say.warnings, 'warning')}.[/]{start}")
    else:
        console.print(f"[green]All {say.lines} checks passed.[/]{start}")
    return 0 if models and broker else SETTINGS_FAULT if not models else BROKER_FAULT


class _Say:
    def __init__(self, console: Console) -> None:
        self._console = console
        self.lines = self.faults = self.warnings = 0

    def __call__(self, good: bool, what: str, remedy: str = "") -> bool:
        self.lines += 1
        self.faults += not good
        mark = "[green]ok  [/]" if good else "[red]FAIL[/]"
        what, remedy = escape(what), escape(remedy)
        self._console.print(f"{mark} {what}" + ("" if good or not remedy else f"\n     [yellow]remedy:[/] {remedy}"))
        return good

    def warn(self, what: str, remedy: str) -> None:
        """Print what works and is weaker than it should be."""
        self.warnings += 1
        self._console.print(f"[yellow]warn[/] {escape(what)}\n     [yellow]remedy:[/] {escape(remedy)}")

    def note(self, what: str) -> None:
        """Print a line that is no check."""
        self._console.print(f"     {escape(what)}", highlight=False)


def _models(settings: Settings, say: _Say) -> bool:
    try:
        models = load_lanes(settings)
    except ModelError as error:
        return say(False, f"models: {error}", "`streamcast model ls` lists models; models.folder names their folder")
    first, most = next(iter(models.values())), room(settings, models)
    good = True
    for lane, model in models.items():
        spec = model.spec
        remembered = layout(spec, model.network)
        size = remembered.row_bytes
        same = spec.series == first.spec.series
        good &= say(
            same,
            f"lane {lane}: {model.name}@{model.version}, {spec.series.target} every"
            f" {spec.series.bar}, {spec.horizon} steps ahead, {size:,} bytes per series"
            f" (room for {most:,} in a partition, {size * most / 2**30:.1f} GiB)",
            "train all lanes with the same series spec (columns, freq, mode, gaps)",
        )
        good &= _bars(lane, spec, say)
        _calendar(lane, spec, say)
        say.note(f"lane {lane}: {quality(model)[0]}")
        if size * most > settings.state.max_bytes:
            good &= say(
                False,
                f"lane {lane}: {most:,} series of {size:,} bytes are more than the {settings.state.max_bytes:,} bytes"
                f" of state.max_bytes; the largest parts of a series: {remembered.arithmetic()}",
                "lower state.max_series, raise state.max_bytes, or train a model with fewer --lags or a shorter"
                " --season",
            )
    return good


def _store(settings: Settings, say: _Say) -> bool:
    """Check that something handles the store's URL; warn where no snapshot can be kept: serving goes on without."""
    store = settings.state.store
    try:
        trouble = Store(store, settings.state.retention).trouble()
    except SettingsError as error:  # names its remedy
        return say(False, str(error))
    if trouble:
        say.warn(
            f"state.store is {store!r}, and no snapshot can be kept there: {trouble}; a restart replays all records",
            "correct state.store, or let this user write there",
        )
    return True


def _bars(lane: str, spec: ModelSpec, say: _Say) -> bool:
    """Check that the table of bars of the calendar reaches far enough; the spec names the date it ends on."""
    bars = spec.series.calendar
    if bars is None:
        return True
    ends = datetime.fromtimestamp(bars.until / 1000, UTC)
    return say(
        ends > datetime.now(UTC) + timedelta(days=365),
        f"lane {lane}: the table of bars of {bars.bar} in {bars.zone} reaches to {ends:%Y-%m-%d}",
        "train the model again: a new spec has a table that reaches fifty years further",
    )


def _calendar(lane: str, spec: ModelSpec, say: _Say) -> None:
    """Warn when the tables of local time and days off end within a year; they end on a date that the spec names."""
    local = spec.targets.local if spec.targets else None
    if local is None or local == UTC_TIME or not (len(local.offsets) > 1 or local.holidays):
        return
    until = datetime.fromtimestamp(local.until / 1000, UTC)
    if until <= datetime.now(UTC) + timedelta(days=365):
        say.warn(
            f"lane {lane}: the calendar of {local.zone}"
            + (f" with days off of {local.holidays}" if local.holidays else "")
            + f" ends on {until:%Y-%m-%d}, ten years after the data that the model was trained on: later bars have no"
            " clock changes and no days off",
            "if the stream has later bars, train again on newer data",
        )


def _broker(settings: Settings, create: bool, say: _Say) -> bool:
    servers = settings.kafka.bootstrap_servers
    try:
        reader = new_reader(settings, connection(settings))
    except TransportError as error:  # an option that the client does not have
        return say(False, str(error))
    try:
        try:
            allowed, group = reader.topic_operations(list(_needed(settings))), reader.group_operations()
        except BrokerUnavailable as error:
            return say(False, f"broker {servers}: {error}", "start it, or correct kafka.bootstrap_servers")
        except TransportError as error:  # names its remedy
            return say(False, f"broker {servers}: {error}")
        say(True, f"broker {servers} answers")
        good = _permissions(settings, allowed, group, say)
        good &= _transactions(settings, say)
        return _topics(settings, reader, allowed, create, say) and good
    finally:
        reader.close(5.0)


def _needed(settings: Settings) -> dict[str, tuple[str, ...]]:
    """The operations that the service needs on each topic; the first one includes the right to describe it."""
    topics = topics_of(settings)
    return {
        topics.observations: ("READ",),
        topics.forecasts: ("WRITE",),
        topics.dead_letters: ("WRITE",),
        topics.journal: ("READ", "WRITE"),
    }


def _permissions(settings: Settings, allowed: dict[str, frozenset[str]], group: frozenset[str], say: _Say) -> bool:
    """Name each operation that is missing, with the command that grants it."""
    good = True
    for topic, operations in _needed(settings).items():
        if missing := [each for each in operations if topic in allowed and each not in allowed[topic]]:
            good &= say(
                False,
                f"topic {topic}: the broker does not allow this user to {' or '.join(missing)}",
                _grant(settings, missing, f"--topic {topic}"),
            )
    if "READ" not in group:
        name = settings.kafka.group
        good &= say(
            False,
            f"group {name}: the broker does not allow this user to READ",
            _grant(settings, ["READ"], f"--group {name}"),
        )
    return good


def _grant(settings: Settings, operations: Iterable[str], resource: str) -> str:
    """The command with which an administrator allows operations."""
    security = settings.kafka.security
    user = security.username or ("CN=…, as in its certificate" if security.certificate_file else "ANONYMOUS")
    named = " ".join(f"--operation {operation.capitalize()}" for operation in operations)
    return (
        f"kafka-acls.sh --bootstrap-server {settings.kafka.bootstrap_servers} --command-config admin.properties --add"
        f" --allow-principal 'User:{user}' {named} {resource} (docs/security.md has them all)"
    )


def _topics(settings: Settings, reader: Reader, allowed: dict[str, frozenset[str]], create: bool, say: _Say) -> bool:
    """Check the topics that this user may describe."""
    source, needed = settings.input.topic, list(_needed(settings))
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
    partitions, good = found[source].partitions, True
    for topic in [*seen, *missing]:
        if topic not in found:
            good &= say(False, f"topic {topic} does not exist", "run again with --create")
        else:
            count = found[topic].partitions
            good &= say(
                count == partitions,
                f"topic {topic}: {count} partitions" + (" (just created)" if topic in missing else ""),
                f"give it {partitions}, like {source}: a forecast goes to the partition of its record",
            )
            _strength(found[topic], found[source], say)
            if doubt := compaction(found[topic], keyless=topic == settings.output.dead_letters):
                say.warn(*doubt)
            if topic != source and (doubt := refusing(found[topic], found[source])):
                say.warn(*doubt)
            if doubt := too_small(found[topic], _largest(settings, topic)):
                say.warn(*doubt)
            if topic == settings.output.journal and (doubt := forgetting(found[topic])):
                say.warn(*doubt)
    good &= _newest_records(settings, reader, found[source], say)
    return good and _own_journal(settings, reader, found[source], found[settings.output.journal], say)


def _largest(settings: Settings, topic: str) -> int:
    """Return how many bytes a record of an output topic may have, as far as that is known."""
    if topic == settings.output.dead_letters:
        return LETTER_BYTES
    if topic == settings.output.forecasts:
        with suppress(ModelError):  # it has its line already
            return max(largest_answer(model.spec) for model in load_lanes(settings).values())
    return 0


def _newest_records(settings: Settings, reader: Reader, source: TopicSpec, say: _Say) -> bool:
    """Warn when the newest records of the input are none that the champion can read, or have no Kafka key.

    Return whether this client can decompress them.
    """
    try:
        models = load_lanes(settings)
        spec = models[settings.models.champion_lane].spec
        decoder = Decoder(spec.series, ahead_of(model.spec for model in models.values()))
        newest = newest_records(reader, source)
        if doubt := keyless(source, newest):
            say.warn(*doubt)
        wrong = {}
        for partition, batch in sorted(newest.items()):
            _, poison = decoder.decode([batch])
            if poison and poison[-1].row == len(batch.offsets) - 1:
                wrong[partition] = batch.offsets[-1], poison[-1]
        if not wrong:
            return True
        partition, (offset, why) = next(iter(wrong.items()))
        say.warn(
            f"topic {source.name}: the newest record would be a dead letter in {len(wrong)} of"
            f" {counted(len(newest), 'partition')} with records, such as {partition.topic}[{partition.index}] at offset"
            f" {offset} ({why.reason}: {why.detail})",
            f"send records with the model's values, {', '.join(column.name for column in spec.series.columns)}"
            " (docs/messages.md has their form), or name the topic that has them as input.topic",
        )
    except CodecMissing as error:  # names its remedy
        return say(False, f"topic {source.name}: {error}")
    except (ModelError, TransportError):  # other checks fail by the same, and say so
        pass
    return True


def _own_journal(settings: Settings, reader: Reader, source: TopicSpec, kept: TopicSpec, say: _Say) -> bool:
    """Check that the journal ``kept`` and the group's positions belong together.

    Where the journal has answers and the group no position, it would answer them again.
    """
    group, topic = settings.kafka.group, kept.name
    own = [Partition(source.name, index) for index in range(source.partitions)]
    try:
        journals = read_journals(reader, topic, own)
        of_former = {each for each in own if source.id and journals[each].topic_id not in ("", source.id)}
        begun = [each for each in own if journals[each].start is not None and each not in of_former]
        committed = reader.committed(own)
    except NotAllowed:  # it has its line already
        return True
    except TransportError as error:
        return say(False, f"topic {topic}: {error}", "check that brokers and network are well, and run again")
    if unknown := [partition for partition in begun if partition not in committed]:
        return say(False, f"group {group}: {answered_already(unknown[:MOST_NAMED], topic)}", OWN_JOURNAL)
    if not settings.state.allow_cold_start:
        unknown = [each for each in own if journals[each].begin is None and each not in of_former]
        at_work = [each for each in unknown if each in committed]
        lost = lost_journals(reader, topics_of(settings), kept, unknown, at_work)
        if first := next(lost, None):
            return say(False, first.what, first.remedy)
        if of_former:
            known = journals[min(of_former)].topic_id
            return say(False, another_topic(source.name, known, source.id), NEW_OUTPUTS)
        if gone := _records_gone(settings, reader, source, kept, {each: journals[each] for each in begun}, committed):
            return say(False, gone, COLD_START)
    moved = _moved(settings, reader, source, kept, journals, {each: committed[each] for each in begun})
    if wrong := [each.impossible for each in moved if each.impossible]:
        return say(False, wrong[0], IMPOSSIBLE)
    if moved:
        say.warn(sentence(moved), MOVED)
    _swaps(settings, [journals[partition].models for partition in begun], say)
    return True


def _moved(
    settings: Settings, reader: Reader, source: TopicSpec, kept: TopicSpec, journals: Mapping[Partition, Journal],
    committed: Positions,
) -> list[Moved]:  # fmt: skip
    """Return the positions that another program has set."""

    def saved(wanted: Header) -> int | None:
        try:
            store = Store(settings.state.store, settings.state.retention)
            return next((offset for _, offset in store.newest(wanted, sys.maxsize)), None)
        except (SettingsError, StoreError):  # it has its line already
            return None

    ends = {each: end for each, (_, end) in reader.bounds(list(committed)).items()} if committed else {}
    return moved_positions(reader, topics_of(settings), source, kept, committed, journals, ends, saved)


def _records_gone(
    settings: Settings, reader: Reader, source: TopicSpec, kept: TopicSpec, journals: Mapping[Partition, Journal],
    committed: Positions,
) -> str:  # fmt: skip
    """Say of the first partition whose state can be made neither from a snapshot nor from the records, else nothing."""
    try:
        models = load_lanes(settings)
        store = Store(settings.state.store, settings.state.retention)
        digests = {lane: model.digest for lane, model in models.items()}
        now = Deployment(digests, settings.models.champion_lane, room(settings, models))
        for partition, (held, _) in reader.bounds(list(journals)).items():
            journal, position = journals[partition], committed[partition]
            if journal.begin is not None and journal.begin < held:
                wanted = identity(partition, journal.begin, position, journal, now, source, kept)
                start = next((offset for _, offset in store.newest(wanted, position)), journal.begin)
                if start < held:
                    return records_gone(partition, start, held)
    except (ModelError, SettingsError, StoreError):  # each has its line already
        pass
    return ""


def _swaps(settings: Settings, answered: Sequence[Mapping[str, str]], say: _Say) -> None:
    """Say which versions answered so far; warn where another model goes on whose name, too, is another."""
    folder = settings.models.folder
    with suppress(ModelError):  # it has its line already
        versions = versions_by_digest(folder)
        for lane, model in load_lanes(settings).items():
            new = f"{model.name}@{model.version} (digest {shortened(model.digest)})"
            for digest in sorted({models[lane] for models in answered if lane in models}):
                owners = versions.get(digest, [])
                one = " are one model, which" if len(owners) > 1 else ""
                known = " and ".join(owners) or f"a model of which no version is in {folder}"
                old = f"{known}{one} answered so far (digest {shortened(digest)})"
                if digest == model.digest:
                    say.note(f"lane {lane}: {old}")
                    continue
                what = f"lane {lane}: {old}, {new} goes on where it stopped"
                if not owners:
                    say.warn(
                        what,
                        "nothing, if you swap the model, but `streamcast verify` cannot compute what it answered until"
                        f" its version is in {folder} again; {SECOND_SERVICE}",
                    )
                elif any(owner.startswith(f"{model.name}@") for owner in owners):
                    say.note(what)
                else:
                    say.warn(what, f"nothing, if you swap the model; {SECOND_SERVICE}")


def _ports(settings: Settings, say: _Say) -> None:
    """Warn of ports that cannot be listened on now: by a service of these settings that runs, or by another process."""
    telemetry, dashboard = settings.telemetry, settings.dashboard
    for setting, host, port, which in (
        ("telemetry.port", telemetry.host, telemetry.port, "service"),
        ("dashboard.port", dashboard.host, dashboard.port, "page"),
    ):
        try:
            require_free(setting, host, port)
        except SettingsError as error:
            say.warn(str(error), f"nothing, if the {which} of these settings runs already; else it cannot start")


def _create_commands(settings: Settings, topics: Iterable[str], source: TopicSpec) -> str:
    """The commands with which an administrator creates topics."""
    return "; ".join(
        f"kafka-topics.sh --bootstrap-server {settings.kafka.bootstrap_servers} --command-config admin.properties"
        f" --create --topic {topic} --partitions {source.partitions} --replication-factor {source.replication}"
        + "".join(f" --config {name}={value}" for name, value in _config(settings, topic, source).items())
        for topic in topics
    )


def _strength(topic: TopicSpec, source: TopicSpec, say: _Say) -> None:
    """Warn when a topic survives the loss of fewer brokers than the input does."""
    if topic.replication < source.replication:
        say.warn(
            f"topic {topic.name} has replication factor {topic.replication}, {source.name} has {source.replication}:"
            " the loss of a broker that the input survives stops all answers",
            f"raise it to {source.replication} (kafka-reassign-partitions.sh)",
        )
    if _in_sync(topic) < _in_sync(source):
        say.warn(
            f"topic {topic.name} has {IN_SYNC} {_in_sync(topic)}, {source.name} has {_in_sync(source)}: answers may be"
            " acknowledged by fewer brokers than their records",
            f"kafka-configs.sh --alter --topic {topic.name} --add-config {IN_SYNC}={_in_sync(source)}",
        )


def _in_sync(topic: TopicSpec) -> int:
    return int(topic.config.get(IN_SYNC, 1))


def _create(settings: Settings, topics: list[str], source: TopicSpec) -> None:
    """Create topics with the partitions, the replication factor and the min.insync.replicas of the input topic."""
    transport = new_transport(settings, replace(connection(settings), guarantee="at_least_once"))
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


def _transactions(settings: Settings, say: _Say) -> bool:
    if settings.kafka.guarantee == "at_least_once":
        return say(True, "at_least_once: consumers must drop duplicates by the forecast's source")
    who = replace(connection(settings), instance=f"{settings.kafka.instance}-check")
    try:
        transport = new_transport(settings, who)
        try:
            transport.commit([], {})
        finally:
            transport.close(10.0)
    except NotAllowed as error:
        prefix = f"--transactional-id '{settings.kafka.group}-' --resource-pattern-type prefixed"
        return say(False, f"transactions: {error}", _grant(settings, ["WRITE"], prefix))
    except TransportError as error:
        return say(False, f"transactions: {error}", "allow them for this user, or set kafka.guarantee: at_least_once")
    return say(True, "transactions work: exactly once")
