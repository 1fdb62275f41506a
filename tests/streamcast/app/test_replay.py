"""``streamcast replay``: the records that it makes of a file for the models of a service."""

from __future__ import annotations

import io
import json
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console

from streamcast.app.commands.files import replay as command
from streamcast.app.options.groups import Columns, Partitioner, ReplayOptions
from streamcast.app.settings import Settings, load_settings
from streamcast.consumers.memory.transport import MemoryBroker, MemoryReader, MemoryTransport
from streamcast.consumers.transport import BrokerUnavailable, Outgoing, Positions, TopicMissing, TopicSpec
from streamcast.errors import HistoryError
from streamcast.offline.history.polls import polls
from streamcast.offline.history.read import read
from streamcast.offline.history.records import Observation, records
from streamcast.spec.folders import Model, new_network, save_model
from streamcast.spec.model_spec import Column, Known, ModelSpec, SeriesSpec, TargetBars
from streamcast.topics.ahead import ahead_of
from streamcast.topics.observations import Decoder
from tests.streamcast.topics.test_observations import batch, known, rows

HOUR = 3_600_000
CREATING = ReplayOptions(partitions=2)
COLUMNS = (Column(name="load"), Column(name="sky", categories=("rain", "sun")), Column(name="temp"))


def model_spec(horizon: int, *names: str) -> ModelSpec:
    targets = TargetBars(back=(1,), known=tuple(Known(name=name) for name in names)) if names else None
    series = SeriesSpec(columns=COLUMNS, freq=HOUR)
    return ModelSpec(series=series, horizon=horizon, lags=8, targets=targets, network={"kind": "gru", "hidden": 8})


def frame_of(bars: int = 5, future: int = 2) -> pd.DataFrame:
    times = pd.date_range("2026-01-01", periods=bars + future, freq="h")
    frame = pd.DataFrame({
        "unique_id": "a", "ds": times, "load": [*np.arange(1.0, bars + 1), *[np.nan] * future],
        "temp": np.arange(10.0, 10 + bars + future), "sky": ["sun", "rain", "fog", "sun", "rain", "sun", "rain"],
    })  # fmt: skip
    return pd.concat([frame, frame.iloc[:3].assign(unique_id="b")], ignore_index=True)


class Recorder:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.topics: dict[str, TopicSpec] = {}
        self.written: list[bytes | None] = []

    def describe(self, topics: list[str]) -> dict[str, TopicSpec]:
        return {name: self.topics[name] for name in topics if name in self.topics}

    def create(self, topics: list[TopicSpec]) -> None:
        self.topics |= {topic.name: topic for topic in topics}

    def commit(self, outgoing: list[Outgoing], positions: Positions) -> None:
        assert not positions
        self.written += [value for part in outgoing for value in part.values]

    def close(self, seconds: float) -> None:
        del seconds


@pytest.fixture
def transport(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(command, "new_transport", lambda _settings, _who: recorder)
    monkeypatch.setattr(command, "new_reader", lambda _settings, who: MemoryReader(MemoryBroker(), who))
    return recorder


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> MemoryBroker:
    broker = MemoryBroker()
    monkeypatch.setattr(command, "new_transport", lambda _settings, who: MemoryTransport(broker, who))
    monkeypatch.setattr(command, "new_reader", lambda _settings, who: MemoryReader(broker, who))
    return broker


def settings_of(folder: Path, facts: Mapping[str, str] | None = None, **lanes: ModelSpec) -> Settings:
    for name, spec in lanes.items():
        save_model(folder / "models", name, spec, new_network(spec), facts or {})
    path = folder / "streamcast.yaml"
    chosen = {name: {"model": f"{name}@latest"} for name in lanes or ("champion",)}
    path.write_text(yaml.safe_dump({"models": {"folder": str(folder / "models"), "lanes": chosen}}))
    return load_settings(path)


def replayed(settings: Settings, frame: pd.DataFrame, options: ReplayOptions = CREATING, **given: Any) -> str:
    """Replay a frame as a file; return what was printed."""
    path, printed = settings.models.folder.parent / "data.csv", io.StringIO()
    frame.to_csv(path, index=False)
    columns = Columns(**{"target_col": "load", **given})
    command.replay(settings, path, columns, options, Console(file=printed, width=200, soft_wrap=True))
    return printed.getvalue()


def messages(transport: Recorder) -> Iterator[dict[str, Any]]:
    for value in transport.written:
        yield json.loads(value or b"")


def test_records_have_the_models_columns_in_their_order(tmp_path: Path, transport: Recorder) -> None:
    printed = replayed(settings_of(tmp_path, champion=model_spec(2)), frame_of())
    assert "Wrote 10 records of 2 series" in printed
    first, *_, last = messages(transport)
    assert first == {"key": "a", "ts": 1_767_225_600_000, "values": [1.0, "sun", 10.0]}
    assert last["values"] == [None, "rain", 16.0]


def test_records_bring_what_the_lanes_of_the_topic_know_ahead(tmp_path: Path, transport: Recorder) -> None:
    settings = settings_of(tmp_path, champion=model_spec(2, "temp"), other=model_spec(3, "sky", "temp"))
    printed = replayed(settings, frame_of())
    assert "Wrote 8 records of 2 series" in printed
    assert "known inputs: 2 rows after the last target" in printed
    by_key = {key: [each for each in messages(transport) if each["key"] == key] for key in "ab"}
    assert by_key["a"][0]["ahead"] == {"temp": [11.0, 12.0, 13.0], "sky": ["rain", "fog", "sun"]}
    assert by_key["a"][-1]["ahead"] == {"temp": [15.0, 16.0], "sky": ["sun", "rain"]}
    assert by_key["b"][1]["ahead"] == {"temp": [12.0], "sky": ["fog"]}
    assert "ahead" not in by_key["b"][2]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"temp": None}, "it has no temp"),
        ({"sky": None, "weather": "sun"}, "it has no sky"),
    ],
)
def test_a_file_with_other_columns_is_refused_before_anything_is_written(
    tmp_path: Path, transport: Recorder, change: dict[str, Any], said: str
) -> None:
    frame = frame_of()
    for name, value in change.items():
        frame = frame.drop(columns=name) if value is None else frame.assign(**{name: value})
    with pytest.raises(HistoryError, match=said) as error:
        replayed(settings_of(tmp_path, champion=model_spec(2)), frame)
    assert "load, sky, temp" in str(error.value)
    assert (transport.written, transport.topics) == ([], {})


def test_columns_that_the_model_was_trained_without_are_left_out(
    tmp_path: Path, transport: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = replayed(settings_of(tmp_path, champion=model_spec(2)), frame_of().assign(clerk="Ann", note="x"))
    assert "Wrote 10 records of 2 series" in printed
    assert next(iter(messages(transport)))["values"] == [1.0, "sun", 10.0]
    said = capsys.readouterr().err
    assert "'clerk', 'note': left out, the model was trained without" in said
    assert "was read as" not in said


def test_a_word_among_a_models_numbers_is_refused_before_anything_is_written(
    tmp_path: Path, transport: Recorder
) -> None:
    with pytest.raises(
        HistoryError, match="'temp', in which the model reads numbers, holds none: it is 'warm' in row 1"
    ):
        replayed(settings_of(tmp_path, champion=model_spec(2)), frame_of().assign(temp="warm"))
    assert (transport.written, transport.topics) == ([], {})


def test_numbers_in_a_models_categories_are_their_names(
    tmp_path: Path, transport: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    replayed(settings_of(tmp_path, champion=model_spec(2)), frame_of().assign(sky=7))
    assert "7" in next(messages(transport))["values"]
    assert "column 'sky' has values that the model does not know, 1 of " in capsys.readouterr().err


def test_a_file_with_another_target_is_refused(tmp_path: Path, transport: Recorder) -> None:
    with pytest.raises(HistoryError, match=r"its target is temp, not load \(--target-col\)"):
        replayed(settings_of(tmp_path, champion=model_spec(2)), frame_of(), target_col="temp")
    assert transport.written == []


def test_without_a_model_a_file_is_written_as_it_is(tmp_path: Path, transport: Recorder) -> None:
    printed = replayed(settings_of(tmp_path), frame_of())
    assert "not compared with a model" in printed
    assert next(messages(transport))["values"] == [1.0, 10.0, "sun"]


TRAINED = {"id_col": "station", "time_col": "at", "timezone": "America/Los_Angeles"}
"""How the file of a model was read."""


def test_a_topic_that_does_not_exist_is_named_before_the_file_is_read(tmp_path: Path, transport: Recorder) -> None:
    settings = settings_of(tmp_path, champion=model_spec(2))
    said = r"topic 'obs' does not exist \(input.topic of these settings is 'observations'\): create it, or give"
    with pytest.raises(TopicMissing, match=said):
        replayed(settings, frame_of().rename(columns={"unique_id": "station"}), ReplayOptions(topic="obs"))
    with pytest.raises(TopicMissing, match="topic 'observations' does not exist: create it"):
        replayed(settings, frame_of(), ReplayOptions())
    assert (transport.written, transport.topics) == ([], {})


def test_another_topic_is_written_as_the_file_is_with_the_models_names(tmp_path: Path, transport: Recorder) -> None:
    settings = settings_of(tmp_path, TRAINED, champion=model_spec(2))
    transport.create([TopicSpec("other", 2)])
    frame = frame_of().rename(columns={"unique_id": "station", "ds": "at"}).assign(more=1.0)
    printed = replayed(settings, frame, ReplayOptions(topic="other"))
    assert "note: other is not input.topic of these settings (observations): the file is read with" in printed
    assert next(messages(transport)) == {"key": "a", "ts": 1_767_254_400_000, "values": [1.0, 10.0, "sun", 1.0]}


def test_the_times_that_were_written_are_said_in_utc_and_in_the_models_zone(
    tmp_path: Path, transport: Recorder
) -> None:
    settings = settings_of(tmp_path, TRAINED, champion=model_spec(2))
    frame = frame_of().rename(columns={"unique_id": "station", "ds": "at"})
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({}, "2026-01-01 08:00:00 to 2026-01-01 14:00:00", "2026-01-01 00:00:00 to 2026-01-01 06:00:00"),
        ({"timezone": "UTC"}, "2026-01-01 00:00:00 to 2026-01-01 06:00:00", "2025-12-31 16:00:00 to 2025-12-31 22:00"),
    ]
    for given, utc, local in cases:
        assert f"Their times: {utc} UTC ({local}" in replayed(settings, frame, **given)
    assert len(transport.written) == 20


def test_a_second_replay_says_up_to_when_the_topic_holds_the_series_already(
    tmp_path: Path, broker: MemoryBroker
) -> None:
    settings = settings_of(tmp_path, TRAINED, champion=model_spec(2))
    frame = frame_of().rename(columns={"unique_id": "station", "ds": "at"})
    assert "already holds" not in replayed(settings, frame)
    assert broker.describe(["observations"])
    told = replayed(settings, frame)
    assert told.count("note: observations already holds records up to 2026-01-01 06:00:00 America/Los_Angeles;") == 1
    assert told.index("already holds") < told.index("Wrote 10 records")
    assert "already holds" not in replayed(settings, frame.assign(at=frame["at"] + pd.Timedelta("7h")))
    assert "already holds" not in replayed(settings, frame.assign(station="of another name"))


def test_a_look_at_the_topic_that_fails_or_takes_long_does_not_fail_the_replay(
    tmp_path: Path, transport: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away(MemoryReader):
        def describe(self, topics: Sequence[str]) -> dict[str, TopicSpec]:
            raise BrokerUnavailable("no answer")

    class Silent(MemoryReader):
        def describe(self, topics: Sequence[str]) -> dict[str, TopicSpec]:
            threading.Event().wait()
            raise AssertionError

    settings = settings_of(tmp_path, champion=model_spec(2))
    monkeypatch.setattr(command, "LOOK_SECONDS", 0.1)
    for reader in (Away, Silent):
        monkeypatch.setattr(command, "new_reader", lambda _settings, who, kind=reader: kind(MemoryBroker(), who))
        assert "Wrote 10 records of 2 series" in replayed(settings, frame_of())
    assert len(transport.written) == 20


def test_replayed_records_say_what_the_history_says() -> None:
    spec = model_spec(3, "temp", "sky")
    history = command.arranged(read(frame_of(), target_col="load", freq="1h"), Model(spec, new_network(spec)))
    sent = [each.value for each in records(history, [spec])]
    seen, poison = Decoder(spec.series, ahead_of([spec])).decode([batch(sent)])
    assert not poison
    (wanted,) = polls(history, spec)
    assert [row[:1] + row[2:] for row in rows(seen)] == [row[:1] + row[2:] for row in rows(wanted)]
    assert known(seen) == known(wanted)


@pytest.mark.parametrize(
    ("key", "murmur2"), [(b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536)]
)  # as Java's client hashes them
def test_keys_choose_the_partitions_that_other_clients_choose(key: bytes, murmur2: int) -> None:
    record = Observation(key, 0, b"{}")
    assert command.outgoing("topic", [record], 5).partitions == [(murmur2 & 0x7FFFFFFF) % 5]
    assert command.outgoing("topic", [record], 5, Partitioner.CRC32).partitions == [zlib.crc32(key) % 5]
