"""``streamcast check``: check everything a service needs; print one line each, with a remedy for each fault."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from rich.console import Console

from streamcast.app.commands.connect import connection, load_lanes, new_reader, new_transport
from streamcast.app.commands.train import quality
from streamcast.app.settings import Settings
from streamcast.consumers.transport import TopicSpec, TransportError
from streamcast.engine.engine import layout
from streamcast.errors import ModelError
from streamcast.spec.local_time import UTC_TIME
from streamcast.spec.model_spec import ModelSpec, format_duration

JOURNAL_CONFIG = {"retention.ms": "-1", "retention.bytes": "-1"}
"""Keep the journal for ever: it is small, and replay needs all of it."""

IN_SYNC = "min.insync.replicas"

SETTINGS_FAULT, BROKER_FAULT = 2, 3


def check(settings: Settings, create: bool, console: Console) -> int:
    """Check models, broker, topics and transactions; return 0, 2 (settings) or 3 (broker)."""
    say = _Say(console)
    models = _models(settings, say)
    broker = _broker(settings, create, say) and _transactions(settings, say)
    if say.faults:
        console.print(f"[red]{say.faults} of {say.lines} checks failed.[/]")
    elif say.warnings:
        console.print(f"[yellow]All {say.lines} checks passed, with {say.warnings} warnings.[/]")
    else:
        console.print(f"[green]All {say.lines} checks passed.[/] Start with [bold]streamcast serve[/].")
    return 0 if models and broker else SETTINGS_FAULT if not models else BROKER_FAULT


class _Say:
    def __init__(self, console: Console) -> None:
        self._console = console
        self.lines = self.faults = self.warnings = 0

    def __call__(self, good: bool, what: str, remedy: str = "") -> bool:
        self.lines += 1
        self.faults += not good
        mark = "[green]ok  [/]" if good else "[red]FAIL[/]"
        self._console.print(f"{mark} {what}" + ("" if good or not remedy else f"\n     [yellow]remedy:[/] {remedy}"))
        return good

    def warn(self, what: str, remedy: str) -> None:
        """Print what works and is weaker than it should be."""
        self.warnings += 1
        self._console.print(f"[yellow]warn[/] {what}\n     [yellow]remedy:[/] {remedy}")

    def note(self, what: str) -> None:
        """Print a line that is no check."""
        self._console.print(f"     {what}", highlight=False)


def _models(settings: Settings, say: _Say) -> bool:
    try:
        models = load_lanes(settings)
    except ModelError as error:
        return say(False, f"models: {error}", "`streamcast model ls` lists models; models.folder names their folder")
    first = next(iter(models.values()))
    good = True
    for lane, model in models.items():
        spec = model.spec
        remembered = layout(spec, model.network)
        size, room = remembered.row_bytes, settings.state.max_series
        same = spec.series == first.spec.series
        good &= say(
            same,
            f"lane {lane}: {model.name}@{model.version}, {spec.series.target} every"
            f" {format_duration(spec.series.freq)}, {spec.horizon} steps ahead, {size:,} bytes per series"
            f" (at most {size * room / 2**30:.1f} GiB per partition)",
            "train all lanes with the same series spec (columns, freq, mode, gaps)",
        )
        good &= _calendar(lane, spec, say)
        say.note(f"lane {lane}: {quality(model)[0]}")
        if size * room > settings.state.max_bytes:
            good &= say(
                False,
                f"lane {lane}: {room:,} series of {size:,} bytes are more than the {settings.state.max_bytes:,} bytes"
                f" of state.max_bytes; the largest parts of a series: {remembered.arithmetic()}",
                "lower state.max_series, raise state.max_bytes, or train a model with a smaller window",
            )
    return good


def _calendar(lane: str, spec: ModelSpec, say: _Say) -> bool:
    """Check that the tables of local time and days off reach far enough; they end on a date that the spec names."""
    local = spec.targets.local if spec.targets else None
    if local is None or local == UTC_TIME:
        return True
    until = datetime.fromtimestamp(local.until / 1000, UTC)
    return say(
        until > datetime.now(UTC) + timedelta(days=365),
        f"lane {lane}: the calendar of {local.zone}"
        + (f" with days off of {local.holidays}" if local.holidays else "")
        + f" reaches to {until:%Y-%m-%d}",
        "train the model again: a new spec has a calendar that reaches ten years further",
    )


def _broker(settings: Settings, create: bool, say: _Say) -> bool:
    servers = settings.kafka.bootstrap_servers
    output = settings.output
    needed = [settings.input.topic, output.forecasts, output.dead_letters, output.journal]
    try:
        found = _described(settings, needed)
    except TransportError as error:
        return say(False, f"broker {servers}: {error}", "start it, or correct kafka.bootstrap_servers")
    say(True, f"broker {servers} answers")
    if settings.input.topic not in found:
        return say(
            False, f"topic {settings.input.topic} does not exist",
            f"create it with at least as many partitions as processes; `streamcast replay --topic"
            f" {settings.input.topic} --partitions 4` creates it too",
        )  # fmt: skip
    partitions = found[settings.input.topic].partitions
    missing = [topic for topic in needed if topic not in found]
    if missing and create:
        _create(settings, missing, found[settings.input.topic])
        found = _described(settings, needed)
    good = True
    for topic in needed:
        if topic not in found:
            good &= say(False, f"topic {topic} does not exist", "run again with --create")
        else:
            count = found[topic].partitions
            good &= say(
                count == partitions,
                f"topic {topic}: {count} partitions" + (" (just created)" if topic in missing else ""),
                f"give it {partitions}, like {settings.input.topic}: a forecast goes to the partition of its record",
            )
            _strength(found[topic], found[settings.input.topic], say)
    return good


def _described(settings: Settings, topics: list[str]) -> dict[str, TopicSpec]:
    reader = new_reader(settings, connection(settings))
    try:
        return reader.describe(topics)
    finally:
        reader.close(5.0)


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
    shared = {name: value for name, value in source.config.items() if name == IN_SYNC}
    config = {topic: shared | (JOURNAL_CONFIG if topic == settings.output.journal else {}) for topic in topics}
    transport = new_transport(settings, replace(connection(settings), guarantee="at_least_once"))
    try:
        transport.create([replace(source, name=topic, config=config[topic]) for topic in topics])
    finally:
        transport.close(10.0)


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
    except TransportError as error:
        return say(False, f"transactions: {error}", "allow them for this user, or set kafka.guarantee: at_least_once")
    return say(True, "transactions work: exactly once")
