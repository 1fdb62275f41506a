"""What ``streamcast check`` says of models and topics."""

from __future__ import annotations

import io
import json
import re
import socket
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from harness.hand_clock import HandClock
from harness.streams import LSTM_ATTENTION, SPECS, model_spec, network
from streamcast.app.commands.deployment import connect
from streamcast.app.commands.deployment.capacity import room
from streamcast.app.commands.deployment.check.broker import check_broker
from streamcast.app.commands.deployment.check.command import check
from streamcast.app.commands.deployment.check.models import check_calendar, check_models
from streamcast.app.commands.deployment.check.say import Say
from streamcast.app.commands.deployment.check.setup import Setup, loaded_lanes, opened_store
from streamcast.app.commands.deployment.serve import new_telemetry, say_doubts, serve
from streamcast.app.commands.deployment.topics import ANY_TIME, doubts
from streamcast.app.options.flags import MODELS
from streamcast.app.settings import load_settings
from streamcast.consumers.health import LoopHealth
from streamcast.consumers.memory.transport import MemoryBroker, MemoryReader, MemoryTransport
from streamcast.consumers.transport import (
    Batch,
    CodecMissing,
    Connection,
    Outgoing,
    Partition,
    RecordRefused,
    TopicSpec,
)
from streamcast.errors import SettingsError
from streamcast.service import new_models
from streamcast.service.identity import Deployment, identity
from streamcast.service.refusals import growing, too_few
from streamcast.service.snapshots import Store
from streamcast.service.strangers import mark_of
from streamcast.service.telemetry.probes import TelemetryServer
from streamcast.spec.calendar_bars import MONTH_MS, Step, calendar_of
from streamcast.spec.durations import DAY_MS
from streamcast.spec.folders import load_model, new_network, save_model
from streamcast.spec.local_time import local_time
from streamcast.spec.model_spec import Column, ModelSpec, SeriesSpec, TargetBars
from streamcast.spec.zero import zero_spec
from streamcast.topics.journal import Entry, outgoing, read_journals
from streamcast.topics.names import Topics

NOW = 1_767_225_600_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path, "small", SPECS["gru"], network("gru"), {})
    return tmp_path


def said(folder: Path, **overrides: object) -> str:
    """What is printed for one lane of a small model."""
    lanes = {"models.folder": str(folder), "models.lanes": {"champion": {"model": "small@1"}}}
    settings = load_settings(None, {**lanes, **overrides})
    printed = io.StringIO()
    say = Say(Console(file=printed, width=400))
    check_models(settings, loaded_lanes(settings, say), say)
    return printed.getvalue()


def test_a_model_that_fits_is_said_to_fit(folder: Path) -> None:
    assert "ok   lane champion: small@1, y every 1min" in said(folder)


def test_the_room_for_series_is_what_the_memory_holds(folder: Path) -> None:
    assert "(room for 100,000 in a partition" in said(folder)
    told = said(folder, **{"state.max_bytes": 1 << 20})
    size = int(re.search(r"([\d,]+) bytes per series", told)[1].replace(",", ""))  # type: ignore[index]
    assert f"(room for {(1 << 20) // size:,} in a partition" in told
    assert "FAIL" not in told


def test_more_memory_than_is_allowed_is_refused_with_the_arithmetic(folder: Path) -> None:
    told = said(folder, **{"state.max_series": 1_000_000, "state.max_bytes": 1 << 20})
    assert "FAIL lane champion: 1,000,000 series of" in told
    assert "are more than the 1,048,576 bytes of state.max_bytes" in told
    assert "ring 1 ×" in told
    assert "remedy: lower state.max_series" in told


def test_a_history_that_is_shorter_than_what_forecasts_look_back_on_is_a_warning(folder: Path) -> None:
    needed = max(SPECS["gru"].ring, SPECS["gru"].warm_up)
    told = said(folder, **{"models.history": "5min"})
    assert f"warn lane champion: models.history is 5 minutes, and its forecasts look back on {needed} minutes" in told
    assert f"remedy: set models.history to {needed}min or more" in told
    assert "models.history" not in said(folder, **{"models.history": f"{needed}min"})


@pytest.mark.parametrize(("last_ms", "mark"), [(4_000_000_000_000, "ok  "), (0, "FAIL")])
def test_the_end_of_the_table_of_bars_is_checked(tmp_path: Path, last_ms: int, mark: str) -> None:
    calendar = calendar_of(Step("month", 1), "UTC", 0, last_ms)
    series = SeriesSpec(columns=(Column(name="y"),), freq=MONTH_MS, calendar=calendar)
    spec = zero_spec(series, 3, (12,))
    save_model(tmp_path, "small", spec, new_network(spec), {})
    told = said(tmp_path)
    assert "small@1, y every 1 month, 3 steps ahead" in told
    assert f"{mark} lane champion: the table of bars of 1 month in UTC reaches to" in told
    assert ("remedy: train the model again" in told) == (mark == "FAIL")


FIRST_MS, LAST_MS = 1_451_606_400_000, 1_483_142_400_000
"""A history of the year 2016."""


@pytest.mark.parametrize(("zone", "warns"), [("Europe/Paris", True), ("Etc/GMT-1", False)])
def test_a_model_of_old_data_is_good_and_a_calendar_that_ends_is_a_warning(zone: str, *, warns: bool) -> None:
    targets = TargetBars(back=(1,), local=local_time(zone, None, FIRST_MS, LAST_MS))
    spec = SPECS["gru"].model_copy(update={"targets": targets})
    printed = io.StringIO()
    say = Say(Console(file=printed, width=400))
    check_calendar("champion", spec, say)
    assert say.faults == 0
    assert ("train again on newer data" in printed.getvalue()) is warns


OUTPUTS = ("forecasts", "dead-letters", "forecast-journal")
TOPICS = Topics("observations", *OUTPUTS)
FOREVER = "9223372036854775807"
BEFORE, AFTER = "message.timestamp.before.max.ms", "message.timestamp.after.max.ms"
BOTH = "message.timestamp.difference.max.ms"
CONFIGS = "kafka-configs.sh --bootstrap-server 127.0.0.1:9092"
SAFE = {"min.insync.replicas": "2"}


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> MemoryBroker:
    """A broker whose input has three replicas, two of them in sync."""
    made = MemoryBroker()
    monkeypatch.setattr(connect, "new_reader", lambda _settings, who: MemoryReader(made, who))
    monkeypatch.setattr(connect, "new_transport", lambda _settings, who: MemoryTransport(made, who))
    made.create(TopicSpec("observations", 4, 3, {**SAFE, "retention.ms": "604800000"}))
    return made


def checked(
    *, create: bool, good: bool = True, cold: bool = False, folder: Path = MODELS, history: str | None = None
) -> str:
    """What is printed about the topics; all checks must pass, or not if they are not ``good``."""
    lanes = {"models.folder": str(folder), "models.lanes": {"champion": {"model": "small@1"}}}
    names = dict(zip(("forecasts", "dead_letters", "journal"), OUTPUTS, strict=True))
    outputs = {f"output.{name}": topic for name, topic in names.items()}
    others = {"state.allow_cold_start": cold, "models.history": history}
    settings = load_settings(None, {**lanes, **outputs, **others})
    silent, printed = Say(Console(file=io.StringIO())), io.StringIO()
    setup = Setup(settings, loaded_lanes(settings, silent), opened_store(settings, silent))
    assert check_broker(setup, create, Say(Console(file=printed, width=800))) is good
    return printed.getvalue()


def test_topics_are_created_as_strong_as_the_input(broker: MemoryBroker) -> None:
    assert "warn" not in checked(create=True)
    made = broker.describe(OUTPUTS)
    assert {(topic.partitions, topic.replication) for topic in made.values()} == {(4, 3)}
    assert made["forecasts"].config == made["dead-letters"].config == SAFE
    assert made["forecast-journal"].config == {**SAFE, "retention.ms": "-1", "retention.bytes": "-1"}


def test_topics_that_are_weaker_than_the_input_are_a_warning_with_its_remedy(broker: MemoryBroker) -> None:
    broker.create(TopicSpec("forecasts", 4, 1, SAFE))
    broker.create(TopicSpec("dead-letters", 4, 3))
    broker.create(TopicSpec("forecast-journal", 4, 3, SAFE))
    told = checked(create=False)
    assert "warn topic forecasts has replication factor 1, observations has 3" in told
    assert "remedy: raise it to 3: plan.json is a plan with as many replicas for each partition" in told
    assert "warn topic dead-letters has min.insync.replicas 1, observations has 2" in told
    assert f"remedy: {CONFIGS} --alter --topic dead-letters --add-config min.insync.replicas=2" in told
    assert told.count("warn") == 2


def test_the_journal_of_another_group_is_found_with_the_remedy(broker: MemoryBroker) -> None:
    checked(create=True)
    begun = Entry("start", "observations", 2, 0, models={"champion": "x"})
    writer = MemoryTransport(broker, Connection("memory", "another"))
    writer.commit([outgoing("forecast-journal", [begun], timestamp=0)], {})
    told = checked(create=False, good=False)
    assert "FAIL group streamcast: the journal (topic forecast-journal) says that observations[2] is answered" in told
    assert "remedy: for a second service, `streamcast init --name NAME` writes settings with a group" in told
    commit(broker, 5)
    assert "FAIL" not in checked(create=False)


@pytest.fixture
def spec(broker: MemoryBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    """The spec of a model that is saved where the settings look for it; its topics exist."""
    del broker
    monkeypatch.chdir(tmp_path)
    small = model_spec({}, LSTM_ATTENTION)
    save_model(MODELS, "small", small, new_network(small), {})
    checked(create=True)
    return small


def test_records_that_the_model_cannot_read_are_found_before_they_are_dead_letters(
    broker: MemoryBroker, spec: ModelSpec
) -> None:
    writer = MemoryTransport(broker, Connection("memory", "producer"))

    def told_after(*values: float) -> str:
        records = [json.dumps({"key": key, "ts": NOW, "values": values}).encode() for key in "ab"]
        writer.commit([Outgoing("observations", [1, 2], [NOW, NOW], [b"a", b"b"], records)], {})
        return checked(create=False)

    good = [1.0] * len(spec.series.columns)
    assert "warn" not in told_after(*good)
    told = told_after(*good, 2.0)
    assert "warn topic observations: the newest record would be a dead letter in 2 of 2 partitions with records" in told
    assert "such as observations[1] at offset 2 (shape: Expected `array` of length 1" in told
    assert f"remedy: send records with the model's values, {spec.series.target}" in told
    assert "warn" not in told_after(*good)


def test_records_without_a_key_are_a_warning_in_topics_of_several_partitions(
    broker: MemoryBroker, spec: ModelSpec
) -> None:
    values = [1.0] * len(spec.series.columns)
    records = [json.dumps({"key": key, "ts": NOW, "values": values}).encode() for key in "ab"]

    def told_after(*keys: bytes | None) -> str:
        written = Outgoing("observations", [1, 2], [NOW] * 2, list(keys), records)
        MemoryTransport(broker, Connection("memory", "producer")).commit([written], {})
        return checked(create=False)

    assert "warn" not in told_after(b"a", b"b")
    told = told_after(b"a", None)
    assert "warn topic observations: the newest record has no Kafka key in 1 of 2 partitions with records" in told
    assert "such as observations[2]: without one, producers spread the records of a series" in told
    assert "remedy: let producers send the name of the series as the Kafka key" in told
    assert "in 2 of 2 partitions" in told_after(None, None)
    assert "warn" not in told_after(b"a", b"b")


def produce(broker: MemoryBroker, spec: ModelSpec, *placed: tuple[int, bytes]) -> None:
    """Write records that are named by their Kafka keys into partitions."""
    record = json.dumps({"ts": NOW, "values": [1.0] * len(spec.series.columns)}).encode()
    partitions, keys = zip(*placed, strict=True)
    written = Outgoing("observations", partitions, [NOW] * len(keys), keys, [record] * len(keys))
    MemoryTransport(broker, Connection("memory", "producer")).commit([written], {})


def test_a_series_in_two_partitions_is_a_warning_that_says_what_was_looked_at(
    broker: MemoryBroker, spec: ModelSpec
) -> None:
    produce(broker, spec, (0, b"a"), (0, b"b"), (1, b"c"))
    assert "warn" not in checked(create=False)
    produce(broker, spec, (3, b"a"), *[(3, b"d")] * 50)
    told = checked(create=False)
    assert (
        "warn topic observations, the newest 1,000 records of each partition: 1 series has records in more than one"
        " partition ('a' in partitions 0 and 3), and the service keeps a state of the series in each" in told
    )
    assert "remedy: let all producers choose partitions with one partitioner" in told
    produce(broker, spec, *[(3, b"d")] * 1_000)
    assert "warn" not in checked(create=False)


def test_kafka_keys_that_are_no_text_are_a_warning_with_an_example(broker: MemoryBroker, spec: ModelSpec) -> None:
    produce(broker, spec, (0, "é\tb 1".encode()), (1, b"c"))
    assert "warn" not in checked(create=False)
    produce(broker, spec, (0, b"\0\0\0\0\0\0\0*"), (1, b'"p"'), (2, b"\0\0\0\0\1\2p"))
    told = checked(create=False)
    assert "the newest 1,000 records of each partition: 3 records named by a Kafka key that is no text, such as" in told
    assert r"'\x00\x00\x00\x00\x00\x00\x00*'" in told
    assert "remedy: let producers write the key as UTF-8 text" in told


@pytest.mark.parametrize(("limit", "warned"), [("60000", True), ("3899999", True), ("3900000", False), ("-1", False)])
def test_an_input_that_forgets_what_a_restart_needs_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, broker: MemoryBroker, limit: str, *, warned: bool
) -> None:
    assert broker.describe(["observations"])
    describe = MemoryReader.describe

    def forgetful(reader: MemoryReader, topics: list[str]) -> dict[str, TopicSpec]:
        found = describe(reader, topics)
        config = {**found["observations"].config, "retention.ms": limit}
        return {name: replace(each, config=config) if name == "observations" else each for name, each in found.items()}

    monkeypatch.setattr(MemoryReader, "describe", forgetful)
    told = checked(create=True)
    assert ("warn" in told) is warned
    assert (f"warn topic observations has retention.ms {limit} (" in told) is warned
    assert ("snapshot, which is up to 5 minutes old (state.interval)" in told) is warned
    remedy = f"remedy: {CONFIGS} --alter --topic observations --add-config retention.ms=604800000"
    assert (remedy in told) is warned


def test_a_topic_with_too_few_partitions_is_a_fault_with_the_command_that_the_service_logs(
    broker: MemoryBroker,
) -> None:
    broker.create(TopicSpec("forecasts", 2, 3, SAFE))
    told = checked(create=True, good=False)
    assert "FAIL topic forecasts: 2 partitions" in told
    assert f"run {growing('forecasts', 4)}" in told
    assert growing("forecasts", 4) in too_few(TOPICS, broker.describe(["observations", *OUTPUTS]))


def test_a_service_that_starts_says_what_is_not_as_a_fold_needs_it(
    broker: MemoryBroker, caplog: pytest.LogCaptureFixture
) -> None:
    checked(create=True)
    writer = MemoryTransport(broker, Connection("memory", "producer"))
    writer.commit([Outgoing("observations", [1], [NOW], [None], [b"{}"])], {})
    reader = MemoryReader(broker, Connection("memory", "streamcast"))
    found = reader.describe(["observations", "forecasts", "forecast-journal"])
    unlimited = replace(found["observations"], config={AFTER: FOREVER})
    compacted = replace(found["forecasts"], config={"cleanup.policy": "compact"})
    settings = load_settings(
        None, {"models.lanes": {"champion": {"model": "small@1"}}, "output.journal": TOPICS.journal}
    )
    told = list(doubts(reader, found | {"forecasts": compacted}, settings, DAY_MS))
    assert [doubt.what.split(":")[0] for doubt in told] == [
        "topic forecasts has cleanup.policy compact",
        "topic observations",
    ]
    assert "the newest record has no Kafka key in 1 of 1 partition" in told[1].what
    assert (
        list(doubts(reader, found | {"observations": replace(found["observations"], partitions=1)}, settings, DAY_MS))
        == []
    )
    say_doubts(reader, found | {"forecasts": compacted}, settings, DAY_MS)
    assert [message.split(":")[0] for message in caplog.messages] == [doubt.what.split(":")[0] for doubt in told]
    assert caplog.messages[0].endswith(f"{CONFIGS} --alter --topic forecasts --add-config cleanup.policy=delete")
    clocks = [doubt.what for doubt in doubts(reader, {"observations": unlimited}, settings, DAY_MS)]
    assert clocks[0].startswith(f"topic observations has {AFTER} {FOREVER} (no limit), and producers set the Kafka")


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({AFTER: FOREVER}, f"has {AFTER} {FOREVER} (no limit), and producers set the Kafka timestamps"),
        ({AFTER: "86400001", BOTH: FOREVER}, f"has {AFTER} 86400001, and producers"),
        ({AFTER: FOREVER, BOTH: "604800000"}, f"has {BOTH} 604800000, and producers"),
        ({AFTER: "86400000"}, ""),
        ({AFTER: FOREVER, BOTH: "3600000"}, ""),
        ({AFTER: FOREVER, "message.timestamp.type": "LogAppendTime"}, ""),
        ({BOTH: FOREVER}, ""),
        ({}, ""),
    ],
)
def test_an_input_that_takes_any_timestamp_of_a_producer_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, broker: MemoryBroker, folder: Path, config: dict[str, str], told: str
) -> None:
    assert broker.describe(["observations"])
    assert load_model(folder, "small@1").spec.series.max_ahead == DAY_MS
    describe = MemoryReader.describe

    def trusting(reader: MemoryReader, topics: list[str]) -> dict[str, TopicSpec]:
        found = describe(reader, topics)
        return {name: replace(e, config={**e.config, **(config if name == "observations" else ANY_TIME)})
                for name, e in found.items()}  # fmt: skip

    checked(create=True, folder=folder)
    monkeypatch.setattr(MemoryReader, "describe", trusting)
    said = checked(create=False, folder=folder)
    assert said.count("warn") == bool(told)
    if told:
        assert f"warn topic observations {told}" in said
        assert "ahead of its own Kafka timestamp, by more than 1 day (max_ahead of the model)" in said
        assert (
            f"{CONFIGS} --alter --topic observations --add-config {AFTER}=86400000; or let the broker's clock" in said
        )
    assert "warn" not in checked(create=False)  # without a model, its limit is not known


def test_records_without_a_kafka_timestamp_are_a_warning(broker: MemoryBroker, spec: ModelSpec) -> None:
    def told_after(timestamp: int) -> str:
        record = json.dumps({"key": "a", "ts": NOW, "values": [1.0] * len(spec.series.columns)}).encode()
        written = Outgoing("observations", [1], [timestamp], [b"a"], [record])
        MemoryTransport(broker, Connection("memory", "producer")).commit([written], {})
        return checked(create=False)

    assert "warn" not in told_after(NOW)
    told = told_after(-1)
    assert "warn topic observations: the newest record has no Kafka timestamp in 1 of 1 partition with records" in told
    assert "such as observations[1]: without one, a record of any later year is accepted" in told
    assert f"{CONFIGS} --alter --topic observations --add-config message.timestamp.type=LogAppendTime" in told
    assert "warn" not in told_after(NOW)


@pytest.mark.parametrize("policy", ["compact", "compact,delete"])
@pytest.mark.parametrize("topic", ["observations", "forecast-journal"])
def test_a_topic_that_is_compacted_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, broker: MemoryBroker, topic: str, policy: str
) -> None:
    checked(create=True)
    describe = MemoryReader.describe

    def compacted(reader: MemoryReader, topics: list[str]) -> dict[str, TopicSpec]:
        found = describe(reader, topics)
        config = {**found[topic].config, "cleanup.policy": policy}
        return {name: replace(each, config=config) if name == topic else each for name, each in found.items()}

    assert "warn" not in checked(create=False)
    monkeypatch.setattr(MemoryReader, "describe", compacted)
    told = checked(create=False)
    assert f"warn topic {topic} has cleanup.policy {policy}: Kafka deletes all but the newest record" in told
    assert f"remedy: {CONFIGS} --alter --topic {topic} --add-config cleanup.policy=delete" in told
    assert told.count("warn") == 1


def test_created_topics_hold_answers_with_any_timestamp_where_the_broker_knows_such_limits(
    broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe = MemoryReader.describe
    by_default = {BEFORE: FOREVER, AFTER: "3600000"}

    def of_kafka_4(reader: MemoryReader, topics: list[str]) -> dict[str, TopicSpec]:
        found = describe(reader, topics)
        return {name: replace(each, config=by_default | dict(each.config)) for name, each in found.items()}

    monkeypatch.setattr(MemoryReader, "describe", of_kafka_4)
    assert "warn" not in checked(create=True)
    for topic in broker.describe(OUTPUTS).values():
        assert {name: topic.config[name] for name in (BEFORE, AFTER)} == {BEFORE: FOREVER, AFTER: FOREVER}


@pytest.mark.parametrize(
    ("topic", "config", "told", "remedy"),
    [
        ("forecasts", {BEFORE: "3600000", AFTER: FOREVER}, f"has {BEFORE} 3600000: it refuses", f"{BEFORE}={FOREVER}"),
        ("forecasts", {BOTH: "3600000"}, f"has {BOTH} 3600000: it refuses", f"{BOTH}={FOREVER}"),
        ("dead-letters", {AFTER: "3600000"}, f"has {AFTER} 3600000: it refuses", f"{AFTER}={FOREVER}"),
        (
            "dead-letters",
            {"max.message.bytes": "500000"},
            "has max.message.bytes 500000, and",
            "max.message.bytes=936864",
        ),
        ("forecasts", {"max.message.bytes": "2000"}, "has max.message.bytes 2000, and", "max.message.bytes="),
        ("dead-letters", {"cleanup.policy": "compact"}, "it refuses records without a key", "cleanup.policy=delete"),
        ("forecasts", {BEFORE: "3600000", "message.timestamp.type": "LogAppendTime"}, "", ""),
    ],
)
def test_an_output_that_may_refuse_an_answer_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, broker: MemoryBroker, folder: Path, topic: str, config: dict[str, str], told: str,
    remedy: str,
) -> None:  # fmt: skip
    checked(create=True, folder=folder)
    describe = MemoryReader.describe

    def refusing(reader: MemoryReader, topics: list[str]) -> dict[str, TopicSpec]:
        found = describe(reader, topics)
        return {name: replace(e, config={**e.config, **config}) if name == topic else e for name, e in found.items()}

    monkeypatch.setattr(MemoryReader, "describe", refusing)
    said = checked(create=False, folder=folder)
    assert said.count("warn") == bool(told)
    if told:
        assert f"warn topic {topic} has" in said
        assert told in said
        assert f"{CONFIGS} --alter --topic {topic} --add-config {remedy}" in said


def test_a_journal_that_kafka_forgets_is_a_warning(monkeypatch: pytest.MonkeyPatch, broker: MemoryBroker) -> None:
    """As kafka-topics.sh makes it: the retention is the broker's, usually a week."""
    checked(create=True)
    assert broker.describe(["forecast-journal"])["forecast-journal"].config["retention.ms"] == "-1"
    describe = MemoryReader.describe

    def usual(reader: MemoryReader, topics: list[str]) -> dict[str, TopicSpec]:
        week = {"retention.ms": "604800000", "retention.bytes": "-1"}
        return {name: replace(each, config={**each.config, **week}) for name, each in describe(reader, topics).items()}

    monkeypatch.setattr(MemoryReader, "describe", usual)
    told = checked(create=False)
    assert (
        "warn topic forecast-journal (output.journal) has retention.ms 604800000: Kafka deletes its old entries" in told
    )
    assert f"{CONFIGS} --alter --topic forecast-journal --add-config retention.ms=-1,retention.bytes=-1" in told
    assert told.count("warn") == 1


def test_a_journal_that_kafka_has_cut_fails_the_check(broker: MemoryBroker, spec: ModelSpec) -> None:
    answered(broker, broker.describe(["observations"])["observations"].id)
    broker.delete_records(Partition("forecast-journal", 2), 1)
    told = checked(create=False, good=False)
    assert "FAIL observations[2]: the journal (topic forecast-journal) does not say where the state began" in told
    assert "FAIL" not in checked(create=False, cold=True)


@pytest.mark.parametrize("marked", [True, False])
def test_a_journal_that_was_made_again_fails_the_check(broker: MemoryBroker, spec: ModelSpec, *, marked: bool) -> None:
    """Without a mark, as an earlier version commits, the forecasts tell that the partition is answered."""
    answered(broker, broker.describe(["observations"])["observations"].id)
    if not marked:
        forecast = b'{"lane":"champion","source":{"topic":"observations","partition":2,"offset":9}}'
        MemoryTransport(broker, Connection("memory", "streamcast")).commit(
            [Outgoing("forecasts", [2], [NOW], [b"a"], [forecast])], {}
        )
        broker.reset_offsets("streamcast", {Partition("observations", 2): 10})
    journal = broker.describe(["forecast-journal"])["forecast-journal"]
    broker.delete(journal.name)
    broker.create(replace(journal))
    told = checked(create=False, good=False)
    assert "FAIL observations[2]: the journal (topic forecast-journal) does not say where the state began" in told
    assert (
        "remedy: set output.journal to the topic that the service had, if there is one; else start with empty" in told
    )
    assert "FAIL" not in checked(create=False, cold=True)


def test_positions_that_another_program_set_are_a_warning_or_a_fault(broker: MemoryBroker, spec: ModelSpec) -> None:
    answered(broker, broker.describe(["observations"])["observations"].id)
    assert "another program" not in checked(create=False)
    broker.reset_offsets("streamcast", {Partition("observations", 2): 4})
    told = checked(create=False)
    assert "warn observations[2]: another program set the group to 4, and neither forecasts nor snapshots tell" in told
    assert "stop all workers, and give the group its positions back: `kafka-consumer-groups.sh --bootstrap" in told
    assert "--topic observations:2 --reset-offsets --to-offset N --execute`" in told
    broker.reset_offsets("streamcast", {Partition("observations", 2): 40})
    told = checked(create=False, good=False)
    assert "FAIL observations[2]: another program set the group to 40, beyond its end, " in told
    assert "remedy: stop all workers, and give the group a position that it can have" in told


@pytest.mark.usefixtures("spec")
def test_records_that_this_client_cannot_decompress_are_a_fault(
    broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    MemoryTransport(broker, Connection("memory", "producer")).commit(
        [Outgoing("observations", [1], [NOW], [b"a"], [b"{}"])], {}
    )
    missing = "install python-snappy"

    def refused(*_: object) -> None:
        raise CodecMissing(missing)

    monkeypatch.setattr(MemoryReader, "read_ranges", refused)
    assert f"FAIL topic observations: {missing}" in checked(create=False, good=False)


def test_a_model_that_goes_on_where_another_one_answered_is_named(
    broker: MemoryBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = model_spec({}, LSTM_ATTENTION)
    other, first, second = (save_model(MODELS, name, spec, new_network(spec), {}) for name in ("big", "small", "small"))
    save_model(MODELS, "small", spec, second.network, {})
    checked(create=True)
    writer = MemoryTransport(broker, Connection("memory", "streamcast"))
    commit(broker, 5)

    def told_after(digest: str) -> str:
        begun = Entry("cold", "observations", 2, 0, models={"champion": digest})
        writer.commit([outgoing("forecast-journal", [begun], timestamp=0)], {})
        return checked(create=False)

    goes_on = f"small@1 (digest {first.digest[:16]}) goes on where it stopped"
    told = told_after(first.digest)
    assert f"     lane champion: small@1 answered so far (digest {first.digest[:16]})\n" in told
    assert "warn" not in told
    told = told_after(other.digest)
    assert f"warn lane champion: big@1 answered so far (digest {other.digest[:16]}), {goes_on}" in told
    assert "for a second service, `streamcast init --name NAME`" in told
    told = told_after(second.digest)
    shared = f"small@2 and small@3 are one model, which answered so far (digest {second.digest[:16]})"
    assert f"     lane champion: {shared}, {goes_on}" in told
    assert "warn" not in told
    told = told_after("a" * 64)
    gone = r"warn lane champion: a model of which no version is in \S+ answered so far"
    assert re.search(rf"{gone} \(digest {'a' * 16}\), {re.escape(goes_on)}\n", told)
    assert "`streamcast verify` cannot compute what it answered until its version is in" in told
    longer = model_spec({}, LSTM_ATTENTION, horizon=spec.horizon + 2)
    told = told_after(save_model(MODELS, "small", longer, new_network(longer), {}).digest)
    assert f"goes on where it stopped. Its forecasts have {spec.horizon} steps instead of {spec.horizon + 2}\n" in told
    assert "else name the former version in models.lanes.champion.model" in told


def test_a_lane_that_consumers_get_nothing_more_of_is_a_warning(broker: MemoryBroker, spec: ModelSpec) -> None:
    del spec
    writer = MemoryTransport(broker, Connection("memory", "streamcast"))
    commit(broker, 5)

    def told_after(*lanes: str, shadows: tuple[str, ...] | None = ()) -> str:
        begun = Entry("cold", "observations", 2, 0, models=dict.fromkeys(lanes, "x"), shadows=shadows)
        writer.commit([outgoing("forecast-journal", [begun], timestamp=0)], {})
        return checked(create=False)

    gone = "answered so far and is not in these settings: consumers that choose it get nothing more"
    told = told_after("main")
    assert f"warn lane main {gone}; lane champion is new\n" in told
    assert "remedy: nothing, if no consumer chooses it; else name a lane main in models.lanes\n" in told
    assert f"warn lane champoin {gone}; lane champion is new, did you mean champoin?\n" in told_after("champoin")
    assert f"warn lane challenger {gone}\n" in told_after("champion", "challenger")
    assert gone not in told_after("champion", "challenger", shadows=("challenger",))


def commit(broker: MemoryBroker, position: int) -> None:
    """The service has come to this position."""
    mark = mark_of(broker.describe(["forecast-journal"])["forecast-journal"])
    broker._group("streamcast").commit({Partition("observations", 2): position}, mark)


def answered(broker: MemoryBroker, topic_id: str, digest: str = "x", max_series: int = 0, step_ms: int = 0) -> None:
    """The service has answered ten records of a partition, without a snapshot, when its topic had this identity."""
    times = [NOW + step_ms * row for row in range(10)]
    record = json.dumps({"key": "a", "ts": NOW, "values": [1.0]}).encode()
    models = {"champion": digest}
    begun = Entry("start", "observations", 2, 0, 0, models, max_series, topic_id=topic_id)
    writer = MemoryTransport(broker, Connection("memory", "streamcast"))
    writer.commit([Outgoing("observations", [2] * 10, times, [b"a"] * 10, [record] * 10)], {})
    writer.commit([outgoing("forecast-journal", [begun], timestamp=0)], {})
    commit(broker, 10)


def test_a_start_that_would_be_refused_because_records_are_gone_fails_the_check(
    broker: MemoryBroker, spec: ModelSpec
) -> None:
    here, place = broker.describe(["observations"])["observations"], Partition("observations", 2)
    model = load_model(MODELS, "small@1")
    settings = load_settings(None, {"models.lanes": {"champion": {"model": "small@1"}}})
    now = Deployment({"champion": model.digest}, "champion", room(settings, {"champion": model}))
    answered(broker, here.id, model.digest, now.max_series)
    assert "FAIL" not in checked(create=False)
    broker.delete_records(place, 4)
    told = checked(create=False, good=False)
    assert (
        "FAIL observations[2]: state needs the records from offset 0 on, but the topic holds them only from 4" in told
    )
    assert "remedy: raise the topic's retention, bring the snapshots back (state.store), or start there" in told
    assert "FAIL" not in checked(create=False, cold=True)
    kept = broker.describe(["forecast-journal"])["forecast-journal"]
    journal = read_journals(MemoryReader(broker, Connection("memory", "look")), kept.name, [place])[place]
    Store("state", 3).write(identity(place, model.digest, 0, 6, journal, now, here, kept), {})
    assert "FAIL" not in checked(create=False)  # the snapshot replaces the records


def test_a_new_model_may_begin_with_the_records_that_are_left_which_the_check_says(
    broker: MemoryBroker, spec: ModelSpec
) -> None:
    answered(broker, broker.describe(["observations"])["observations"].id)
    broker.delete_records(Partition("observations", 2), 4)
    told = checked(create=False)
    assert (
        "warn observations[2]: lane champion has a model without a state so far, and the topic holds records only"
        in told
    )
    assert "from offset 4 on: its state begins there, with the last 6 records" in told
    assert "remedy: nothing, if these records have what its forecasts look back on; else let it run as a shadow" in told


def test_how_much_of_the_input_a_new_model_reads_is_said_and_replaces_records_that_are_gone(
    broker: MemoryBroker, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new_models, "NEWEST", 1)
    answered(broker, broker.describe(["observations"])["observations"].id, step_ms=60_000)
    assert "left out" not in checked(create=False)
    assert "left out" not in checked(create=False, history="9min")
    told = checked(create=False, history="3min")
    assert (
        "     lane champion has a model without a state so far in 1 partition: it begins with the last 4 records"
        " (models.history: 3 minutes), and 6 earlier records are left out\n" in told
    )
    broker.delete_records(Partition("observations", 2), 4)
    told = checked(create=False, history="3min")
    assert "(models.history: 3 minutes), and 2 earlier records are left out\n" in told
    assert "the topic holds records only" not in told


def test_a_start_that_would_be_refused_because_the_input_was_made_again_fails_the_check(
    broker: MemoryBroker, spec: ModelSpec
) -> None:
    answered(broker, "former")
    told = checked(create=False, good=False)
    assert "FAIL topic 'observations' is not the one that this service answered: its id is" in told
    assert "remedy: Give the service new output topics and another group" in told
    assert "FAIL" not in checked(create=False, cold=True)


@pytest.mark.parametrize(
    ("store", "told"),
    [
        ("state", ""),
        ("not/yet/made", ""),
        ("memory://bucket/prefix", ""),
        ("file/state", "warn state.store is 'file/state', and no snapshot can be kept there: "),
        (
            "nothing://x",
            "FAIL state.store is 'nothing://x': Protocol not known: nothing; expected a folder, or an fsspec",
        ),
    ],
)
def test_a_store_that_cannot_keep_snapshots_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    settings = load_settings(None, {"models.lanes": {"champion": {"model": "small@1"}}, "state.store": store})
    printed = io.StringIO()
    opened = opened_store(settings, Say(Console(file=printed, width=400)))
    assert (opened is not None) == ("FAIL" not in told)
    assert printed.getvalue().startswith(told)
    assert bool(printed.getvalue()) == bool(told)
    assert not Path("not").exists()


@pytest.mark.parametrize("taken", [False, True])
def test_a_port_that_is_taken_is_a_warning_and_the_way_to_start_is_said_all_the_same(
    broker: MemoryBroker, folder: Path, *, taken: bool
) -> None:
    assert broker.describe(["observations"])
    lanes = {"models.folder": str(folder), "models.lanes": {"champion": {"model": "small@1"}}}
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        found = [each.getsockname()[1] if taken else 0 for each in (one, other)]
        ports = dict(zip(("telemetry.port", "dashboard.port"), found, strict=True))
        settings = load_settings(None, {**lanes, **ports, "input.topic": "observations"})
        printed = io.StringIO()
        assert check(settings, True, Console(file=printed, width=400)) == 0
    told = printed.getvalue()
    for (setting, port), which in zip(ports.items(), ("service", "page"), strict=True):
        assert (f"warn {setting} is {port}: cannot listen on 127.0.0.1, port {port}" in told) is taken
        assert (f"remedy: nothing, if the {which} of these settings runs already" in told) is taken
    assert "checks passed, with 2 warnings. Start with streamcast serve" in told or not taken
    assert "Start with streamcast serve" in told


@pytest.mark.parametrize("group", ["streamcast", "another"])
def test_a_port_of_the_service_of_another_group_is_a_fault_and_one_of_the_same_group_runs_already(
    broker: MemoryBroker, folder: Path, caplog: pytest.LogCaptureFixture, group: str
) -> None:
    assert broker.describe(["observations"])
    models = {"champion": load_model(folder, "small@1")}
    lanes = {"models.folder": str(folder), "models.lanes": {"champion": {"model": "small@1"}}}
    with closing(TelemetryServer(new_telemetry(models, LoopHealth(), group=group), LoopHealth())) as server:
        settings = load_settings(None, {**lanes, "telemetry.port": server.port, "dashboard.port": 0})
        printed = io.StringIO()
        code = check(settings, True, Console(file=printed, width=600))
        with pytest.raises(SettingsError) as refused:
            serve(settings)
    foreign = f"telemetry.port {server.port} belongs to the service of group another: set telemetry.port"
    if group == "another":
        assert code == 2
        assert f"FAIL {foreign}" in printed.getvalue()
        assert "Start with" not in printed.getvalue()
        assert str(refused.value).startswith(foreign)
    else:
        assert code == 0
        assert "remedy: nothing, if the service of these settings runs already" in printed.getvalue()
        assert "if the process that uses port" in str(refused.value)
    assert not caplog.messages


def test_the_service_that_runs_says_what_it_waits_for(broker: MemoryBroker, folder: Path) -> None:
    assert broker.describe(["observations"])
    health = LoopHealth(clock=HandClock())
    health.assigned = health.recovered = True
    telemetry = new_telemetry({"champion": load_model(folder, "small@1")}, health, group="streamcast")
    lanes = {"models.folder": str(folder), "models.lanes": {"champion": {"model": "small@1"}}}
    told = []
    with closing(TelemetryServer(telemetry, health)) as server:
        settings = load_settings(None, {**lanes, "telemetry.port": server.port, "dashboard.port": 0})
        for _ in range(2):
            printed = io.StringIO()
            assert check(settings, True, Console(file=printed, width=600)) == 0
            told.append(printed.getvalue())
            batch = Batch(Partition("observations", 3), [17], [1], [b"k"], [b"v"], 18)
            health.refusals.refused([batch], RecordRefused("forecasts", "the timestamp is out of range"))
    assert f"the service at http://127.0.0.1:{server.port}/metrics runs and is ready" in told[0]
    assert "runs and is not ready: observations[3] is not answered from offset 17 on, for 0 s now" in told[1]
