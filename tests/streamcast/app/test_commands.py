"""The commands as a user runs them: real processes, a real Kafka, real files."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from harness import SHARED_DATA
from harness.commands import RUN_SECONDS, document, start, streamcast
from streamcast.consumers.kafka_python.reader import KafkaReader
from streamcast.consumers.kafka_python.transport import KafkaTransport
from streamcast.consumers.transport import Connection, Outgoing, Partition, TopicSpec

BEIJING = SHARED_DATA / "beijing" / "prsa_2013_2017.parquet"
STATIONS, HOURS, PARTITIONS = 12, 400, 4


def air(path: Path) -> Path:
    """Write hours of 12 stations with gaps and a category: Beijing's where the data is, else made-up ones."""
    if BEIJING.exists():
        frame = pd.read_parquet(BEIJING)
        frame = frame[frame["time"] < frame["time"].min() + pd.Timedelta(hours=HOURS)]
    else:
        random = np.random.default_rng(0)
        times = pd.date_range("2013-03-01", periods=HOURS, freq="h")
        winds = np.array(["N", "S", "NW"], object)
        stations = [
            pd.DataFrame({
                "time": times, "station": f"station {i}", "PM2.5": random.gamma(2, 30, HOURS),
                "TEMP": random.normal(10, 5, HOURS), "wd": winds[random.integers(0, 3, HOURS)],
            })
            for i in range(STATIONS)
        ]  # fmt: skip
        frame = pd.concat(stations)
        frame["PM2.5"] = frame["PM2.5"].where(random.random(len(frame)) > 0.03)
        frame = frame[random.random(len(frame)) > 0.02]
    frame.sort_values("time", kind="stable").to_parquet(path)
    return path


class World:
    """A trained model, a settings file for topics of its own, and the processes that serve them."""

    def __init__(self, folder: Path, bootstrap: str, models: Path, topic: str) -> None:
        self.folder, self.bootstrap, self.topic = folder, bootstrap, topic
        self.name = uuid.uuid4().hex[:8]
        self.config = folder / f"{self.name}.yaml"
        settings = {
            "kafka": {"bootstrap_servers": bootstrap, "group": self.name},
            "input": {"topic": topic},
            "models": {"folder": str(models), "lanes": {"champion": {"model": "air@latest"}}},
            "output": {n: f"{self.name}-{n}" for n in ("forecasts", "dead_letters", "journal")},
            "batch": {"max_records": 300},
            "state": {"store": str(folder / f"{self.name}-state"), "interval": "1s"},
            "telemetry": {"port": 0},
        }
        self.config.write_text(yaml.safe_dump(settings))
        self.reader = KafkaReader(Connection(bootstrap, self.name))

    def serve(self, until: int) -> str:
        """Serve until so many records are committed, then ask for the end; return what was logged.

        A run before may have committed as many: this one has taken its partitions over all the same, so that it is
        asked, and not ended in the middle of its start.
        """
        serving = start("serve", "-c", self.config)
        deadline = time.monotonic() + RUN_SECONDS

        def there() -> bool:
            return "took over" in serving.printed() and self.committed() >= until

        while not there() and serving.is_running() and time.monotonic() < deadline:
            time.sleep(0.1)
        serving.signal(signal.SIGTERM)
        logged = serving.end(seconds=30)
        assert self.committed() >= until, logged
        return logged

    def committed(self) -> int:
        """How many records of the input are committed."""
        return sum(self.reader.committed([Partition(self.topic, i) for i in range(PARTITIONS)]).values())

    def answers(self) -> list[list[tuple[Any, ...]]]:
        """Key, timestamp and value of every forecast, by partition."""
        found = []
        for index in range(PARTITIONS):
            partition = Partition(f"{self.name}-forecasts", index)
            first, end = self.reader.bounds([partition])[partition]
            rows: list[tuple[Any, ...]] = []
            for batch in self.reader.read_range(partition, first, end):
                rows += zip(batch.keys, batch.timestamps, batch.values, strict=True)
            found.append(rows)
        return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A file of observations, and the folder of a model trained on it by the command."""
    folder = tmp_path_factory.mktemp("trained")
    data = air(folder / "air.parquet")
    said = streamcast(
        "train", data, "--id-col", "station", "--time-col", "time", "--target-col", "PM2.5", "--horizon", 6, "--name",
        "air", "--epochs", 1, "--option", "updates=40", "--lags", 48, "--season", 24, "--models", folder / "models",
    )  # fmt: skip
    assert "air@1" in said
    assert "note: times without a zone were read as UTC" in said
    return data, folder / "models"


@pytest.mark.kafka
@pytest.mark.timeout(400)
def test_a_service_that_was_stopped_and_started_wrote_what_one_that_never_stopped_wrote(
    kafka: str, trained: tuple[Path, Path], tmp_path: Path
) -> None:
    data, models = trained
    topic = f"air-{uuid.uuid4().hex[:8]}"
    stopped, whole = World(tmp_path, kafka, models, topic), World(tmp_path, kafka, models, topic)
    assert "does not exist" in streamcast("check", "-c", stopped.config, code=3)
    columns = ["--id-col", "station", "--time-col", "time", "--target-col", "PM2.5"]
    said = streamcast("replay", data, "-c", stopped.config, "--partitions", PARTITIONS, *columns)
    records = int(re.search(r"Wrote ([\d,]+) records", said)[1].replace(",", ""))  # type: ignore[index]
    for world in (stopped, whole):
        assert "just created" in streamcast("check", "-c", world.config, "--create")
    stopped.serve(records // 4)
    assert "state restored" in stopped.serve(records // 2)
    stopped.serve(records)
    whole.serve(records)
    answers = stopped.answers()
    assert answers == whole.answers()
    assert sum(map(len, answers)) == records  # one record a bar: every one is answered
    verdict = document("verify", "-c", stopped.config)
    assert verdict["violations"] == verdict["unknown"] == []
    assert verdict["records"] == verdict["forecasts"] == records
    assert "bars" in streamcast("state", "show", json.loads(answers[0][0][2])["unique_id"], "-c", stopped.config)


@pytest.mark.kafka
@pytest.mark.timeout(300)
def test_a_record_that_cannot_be_read_is_kept_with_its_reason_and_can_be_sent_again(
    kafka: str, trained: tuple[Path, Path], tmp_path: Path
) -> None:
    _, models = trained
    topic = f"poison-{uuid.uuid4().hex[:8]}"
    world = World(tmp_path, kafka, models, topic)
    now = round(time.time() * 1000)
    good = json.dumps({"key": "a", "ts": now, "values": {"PM2.5": 1.5}}).encode()
    values = [good, b"\xff[/x]", good.replace(b"1.5", b"NaN"), good.replace(b"PM2.5", b"PM25"), None]
    transport = KafkaTransport(Connection(kafka, "", guarantee="at_least_once"))
    usual = ["--id-col", "unique_id", "--time-col", "ds", "--target-col", "y"]
    said = streamcast("replay", _one_row(tmp_path), "-c", world.config, "--partitions", PARTITIONS, *usual, code=2)
    assert "its target is y, not PM2.5" in " ".join(said.split())
    transport.create([TopicSpec(topic, PARTITIONS)])
    values.append(json.dumps({"key": "b", "ts": now, "values": [1.0]}).encode())
    transport.commit([Outgoing(topic, [0] * 6, [now] * 6, [b"a"] * 6, values)], {})
    transport.close(10.0)
    streamcast("check", "-c", world.config, "--create")
    world.serve(len(values))
    assert "[/x]" in streamcast("dlq", "inspect", "-c", world.config)
    letters = document("dlq", "inspect", "-c", world.config)
    assert sorted(letter["reason"] for letter in letters) == ["empty", "json", "json", "shape", "shape"]
    assert all(letter["source_topic"] == topic for letter in letters)
    assert "Sent 2 dead letters to" in streamcast("dlq", "replay", "-c", world.config, "--reason", "json")
    assert "Left out because it was sent before: 2." in streamcast(
        "dlq", "replay", "-c", world.config, "--reason", "json"
    )
    assert document("verify", "-c", world.config)["violations"] == []


def _one_row(folder: Path) -> Path:
    """A file whose columns are not the model's."""
    path = folder / "one.csv"
    path.write_text("unique_id,ds,y\nb,2026-01-01,1.0\n")
    return path


def test_a_backtest_prints_errors_beside_simple_forecasts(trained: tuple[Path, Path]) -> None:
    data, models = trained
    columns = ["--id-col", "station", "--time-col", "time", "--target-col", "PM2.5"]
    found = document("backtest", data, "--model", "air@latest", "--models", models, *columns)
    rows = {row["forecaster"]: row for row in found["overall"]}
    assert {"air", "last value", "seasonal naive"} <= rows.keys()
    assert all(np.isfinite(rows["air"][name]) for name in ("mae", "mse", "mase"))
    assert found["verdict"]
    printed = streamcast("backtest", data, "--model", "air@latest", "--models", models, *columns).splitlines()
    assert "…" not in "".join(printed), "a terminal of 80 columns shows every number whole"
    mine = next(line for line in printed if line.split()[:1] == ["air"])
    assert mine.split()[1] == f"{rows['air']['mae']:#.4g}"
    assert all(any(name in line for line in printed) for name in rows)


def mistakes(folder: Path) -> Sequence[tuple[list[str], int, str]]:
    """What tired people type, the exit code, and what the answer must name."""
    wrong = folder / "wrong.yaml"
    wrong.write_text("kafka: {bootstrap_server: x:1}\nmodels: {lanes: {champion: {model: load@latest}}}\n")
    nobody = folder / "nobody.yaml"
    lanes = "models: {lanes: {champion: {model: load@latest}}}"
    nobody.write_text(f"kafka: {{bootstrap_servers: '127.0.0.1:1'}}\n{lanes}\ntelemetry: {{port: 0}}\n")
    data = folder / "data.csv"
    data.write_text("unique_id,ds,value\na,2026-01-01,1\n")
    return [
        (["serve", "-c", str(folder / "no.yaml")], 2, "streamcast init"),
        (["serve", "-c", str(wrong)], 2, "bootstrap_servers"),
        (["serve", "-c", str(nobody)], 2, "streamcast train"),
        (["train", str(data)], 2, "value"),
        (["backtest", str(data), "--target-col", "value", "--model", "load", "--freq", "1h"], 2, "no such model"),
        (["model", "show", "load@3"], 2, "no such model"),
        (["sevre"], 2, "serve"),
        (["train", str(folder / "missing.csv")], 2, "missing.csv"),
    ]


def test_every_mistake_is_answered_by_one_message_that_names_the_remedy(tmp_path: Path) -> None:
    for arguments, code, named in mistakes(tmp_path):
        said = streamcast(*arguments, code=code, folder=tmp_path)
        assert named in said, (arguments, said)
        assert "Traceback" not in said, (arguments, said)


def test_a_command_starts_in_a_process_of_its_own_too() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "streamcast.app.cli", "model", "show", "load@3"],
        check=False,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 2
    assert "no such model" in done.stderr


def test_help_needs_nothing_heavy() -> None:
    script = (
        "import sys, streamcast.app.cli; print([m for m in ('torch', 'numba', 'pandas', 'rich') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60)
    assert found.stdout.strip() == "[]"


def test_the_serving_process_imports_no_data_frames_and_no_terminal() -> None:
    script = (
        "import sys, streamcast.app.commands.deployment.serve;"
        "print([m for m in ('pandas', 'rich', 'typer', 'streamcast.offline') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=120)
    assert found.stdout.strip() == "[]"


def test_a_settings_file_is_written_once_and_can_be_read(tmp_path: Path) -> None:
    streamcast("init", folder=tmp_path)
    assert "already exists" in streamcast("init", code=2, folder=tmp_path)
    from streamcast.app.settings import load_settings

    assert load_settings(tmp_path / "streamcast.yaml").input.topic == "observations"


@pytest.mark.slow
def test_the_demo_trains_streams_and_beats_seasonal_naive(tmp_path: Path) -> None:
    measured = tmp_path / "demo.json"
    said = streamcast("demo", "--seconds", 15, "--train-seconds", 10, "--port", 0, "--json", measured)
    found = json.loads(measured.read_text())
    assert "The live page is at http://127.0.0.1:" in said
    assert found["records"] == found["forecasts"] > 10_000
    assert found["mae"] < found["seasonal_naive_mae"]
    assert 10_000 < found["scored_forecasts"] <= found["forecasts"]
    assert len(found["relative_mae_by_series"]) == 5
    assert min(found["relative_mae_by_series"].values()) < found["relative_mae"] < 1.2
    assert 0.6 < found["coverage_80"] < 0.97
    assert found["dead_letters"] == 0
    assert 0 < found["p50_ms"] <= found["p99_ms"]
