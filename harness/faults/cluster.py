"""A real Kafka, real service processes, a stream of records, and the verifier: the subject of real faults."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Self
from unittest import mock

import torch
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from kafka.admin import KafkaAdminClient

from harness.bound import bound
from harness.commands import fork_server
from harness.faults.checker import Client, held
from harness.faults.clock import Clock
from harness.faults.serve import Trap, run
from harness.frozen import is_stopped
from harness.local_cluster import LocalCluster
from harness.local_kafka import LocalKafka
from harness.proxy import KafkaProxy
from harness.records import Raw, Source
from harness.streams import LSTM_ATTENTION, model_spec
from streamcast.app.commands.deployment.connect import connection, new_reader
from streamcast.app.commands.deployment.verify import check
from streamcast.app.settings import Settings, load_settings
from streamcast.consumers.kafka_python.transport import KafkaTransport
from streamcast.consumers.transport import (
    BrokerUnavailable,
    Connection,
    InDoubt,
    Outgoing,
    Partition,
    Reader,
    TopicSpec,
    TransportError,
)
from streamcast.service.verification.report import Report
from streamcast.spec.folders import new_network, save_model
from streamcast.spec.model_spec import Scale

PARTITIONS = 4
SERIES = 24
DRAIN_SECONDS = 90.0
STOP_SECONDS = 15.0
PROBE_SECONDS = 5.0
OF_FORMER = "belong to a topic of this name that was deleted"
"""In what the verifier says of answers that a former topic has left in the outputs."""
TRANSACTION_SECONDS = 60.0
"""Longer than a transaction may hang."""
TOPICS = ("observations", "forecasts", "dead-letters", "journal")

QUICK: Mapping[Client, Mapping[str, object]] = {
    "kafka-python": {"session_timeout_ms": 3000, "heartbeat_interval_ms": 300},
    "librdkafka": {"session.timeout.ms": 3000, "heartbeat.interval.ms": 300},
}
"""Short sessions, so that a group moves on while a test waits."""
USUAL: Mapping[Client, Mapping[str, object]] = {"kafka-python": {}, "librdkafka": {}}
"""The sessions of a service whose settings name none."""

IMPATIENT: Mapping[Client, Mapping[str, object]] = {
    "kafka-python": {"request_timeout_ms": 1500, "delivery_timeout_ms": 2000},
    "librdkafka": {"delivery.timeout.ms": 2000, "socket.timeout.ms": 1500},
}
"""Deadlines of a client that are shorter than the broker's outages."""


class NotDrainedError(Exception):
    """The service did not answer everything in time; the message holds the ends of its processes' logs."""


@dataclass(eq=False)
class Worker:
    """One service process."""

    instance: str
    process: BaseProcess
    report: Path
    asked: bool = False
    """Whether the programme has ended it, or has asked it to end."""

    def told(self, what: str) -> list[float]:
        """When this process reported ``what``, in monotonic seconds."""
        lines = self.report.read_text().splitlines() if self.report.exists() else []
        return [float(line.split()[1]) for line in lines if line.startswith(f"{what} ")]

    def wait_for(self, what: str, timeout_seconds: float) -> bool:
        """Whether the process reports ``what`` before the timeout and before it ends."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline and not self.told(what):
            if not self.process.is_alive():
                break
            time.sleep(0.01)
        return bool(self.told(what))

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return not self.process.is_alive()

    def log(self) -> str:
        """What the process has logged."""
        path = self.report.with_suffix(".log")
        return path.read_text(errors="replace") if path.exists() else ""

    def not_ready(self) -> str:
        """What the process' probe says while it is not ready; empty when it is, or has no probe."""
        port = re.search(r"metrics on port (\d+)", self.log())
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port[1] if port else 0}/readyz", timeout=PROBE_SECONDS).close()
        except urllib.error.HTTPError as answer:
            return answer.read().decode()
        except OSError:
            pass
        return ""

    def limit_memory(self) -> None:
        """Let the process have no more memory than it has now."""
        if self.process.pid is not None and self.process.is_alive():
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            now = sum(int(size) for size in re.findall(r"Vm(?:Data|Stk):\s+(\d+) kB", status)) * 1024
            resource.prlimit(self.process.pid, resource.RLIMIT_DATA, (now, now))

    def freeze(self) -> None:
        """Freeze the process (SIGSTOP)."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process continue (SIGCONT)."""
        self.signal(signal.SIGCONT)

    def wait_until_stopped(self, timeout_seconds: float) -> bool:
        """Whether the process is frozen (SIGSTOP) before the timeout; its report comes a moment earlier."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline and self.process.is_alive():
            if self.process.pid is not None and is_stopped(self.process.pid):
                return True
            time.sleep(0.01)
        return False

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if the process is still alive."""
        if self.process.pid is not None and self.process.is_alive():
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    def stop(self) -> int | None:
        """Ask the process to end (SIGTERM), and return its exit code; None when it had to be killed."""
        self.asked = True
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)
        self.process.join(STOP_SECONDS)
        if self.process.is_alive():
            self.kill()
            return None
        return self.process.exitcode

    def kill(self) -> None:
        """End the process at once."""
        self.asked = True
        self.process.kill()
        self.process.join()


@dataclass
class Tally:
    """The effects of a fault, over its rounds."""

    kills: int = 0
    rebalances: int = 0
    records: int = 0
    recovery_seconds: list[float] = field(default_factory=list)
    stalled_seconds: list[float] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)


class Cluster:
    """One service on a broker or several, with topics, models and snapshots of its own; a context manager."""

    def __init__(
        self, kafka: LocalKafka | LocalCluster, client: Client, tally: Tally, seed: int, *,
        proxy: KafkaProxy | None = None, options: Mapping[str, object] | None = None,
        settings: Mapping[str, object] | None = None, store: Path | None = None,
        clock: Clock | None = None, sessions: Mapping[Client, Mapping[str, object]] = QUICK,
    ) -> None:  # fmt: skip
        self._sessions = sessions
        self.kafka, self.client, self.tally, self.proxy = kafka, client, tally, proxy
        self.chance = random.Random(seed)
        self.clock = clock
        self._folder = Path(tempfile.mkdtemp(prefix="streamcast-faults-"))
        self.store = store or self._folder / "state"
        self.group = uuid.uuid4().hex[:12]
        self._settings: dict[str, object] = {
            "kafka.bootstrap_servers": kafka.bootstrap_servers,
            "kafka.group": self.group,
            "kafka.client": client,
            "kafka.options": {**sessions[client], **(options or {})},
            "input.topic": self.topic("observations"),
            "output.forecasts": self.topic("forecasts"),
            "output.dead_letters": self.topic("dead-letters"),
            "output.journal": self.topic("journal"),
            "batch.max_records": 40,
            "batch.max_wait": "50ms",
            "state.store": str(self.store),
            "state.interval": "1ms",
            "state.max_series": 5,
            "models.folder": str(self._folder / "models"),
            "models.lanes": {"champion": {"model": "tiny@latest"}},
            "telemetry.port": 0,
            **(settings or {}),
        }
        self.workers: list[Worker] = []
        self.partitions = PARTITIONS
        """Of each topic; see ``grow``."""
        self.acknowledged = 0
        """The records that a broker said it holds; there may be more, whose acknowledgement was lost."""
        self._made_again = False
        """Whether the outputs may hold answers to a former input."""
        self._died: dict[str, float] = {}
        self._successors: list[tuple[float, Worker]] = []
        self._began = 0
        who = Connection(kafka.bootstrap_servers, "", "feeder", "at_least_once")
        self._feeder = KafkaTransport(who)
        self._spec = model_spec({"max_gap": 4, "ttl": "30min"}, LSTM_ATTENTION, scales=(Scale(every="5min", window=4),))
        self._source = Source(self._spec.series, SERIES, PARTITIONS)

    def topic(self, name: str) -> str:
        """The name of one of the service's topics (see ``TOPICS``)."""
        return f"{self.group}-{name}"

    def __enter__(self) -> Self:
        self._feeder.create([TopicSpec(self.topic(name), PARTITIONS) for name in TOPICS])
        self.deploy()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.kill()
        self._feeder.close(5.0)
        shutil.rmtree(self._folder, ignore_errors=True)

    def settings(self, instance: str = "0") -> Settings:
        """The settings of one process."""
        return load_settings(None, {**self._settings, "kafka.instance": instance})

    def deploy(self) -> None:
        """Put a new version of the model into the folder; processes that start from now on run it."""
        torch.manual_seed(self.chance.randrange(1 << 30))
        network = new_network(self._spec)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.normal_(0, 0.3)
        save_model(self._folder / "models", "tiny", self._spec, network, {})

    def feed(self, records: int) -> None:
        """Produce about this many records, over all partitions; the broker must be there."""
        each = max(1, records // self.partitions)
        for index in range(self.partitions):
            drawn = [raw for _ in range(each) for raw in self.draw(index)]
            timestamps, keys, values = (list(column) for column in zip(*drawn, strict=True))
            outgoing = Outgoing(self.topic("observations"), [index] * len(drawn), timestamps, keys, values)
            with suppress(InDoubt):  # they are there or they are not
                self._feeder.commit([outgoing], {})
                self.acknowledged += len(drawn)

    def grow(self, brokers: LocalCluster) -> None:
        """Give each topic two more partitions, the input last; ``draw`` fills them from now on."""
        count = self.partitions + 2
        with brokers.admin() as admin:
            for name in reversed(TOPICS):
                admin.create_partitions({self.topic(name): count})
        self.partitions = count

    def change(self, settings: Mapping[str, object]) -> None:
        """Use other settings for the processes that start from now on."""
        self._settings |= settings

    def delete(self, names: Sequence[str]) -> None:
        """Delete some of the topics (see ``TOPICS``), and wait until they are gone."""
        gone = [self.topic(name) for name in names]
        admin = KafkaAdminClient(bootstrap_servers=self.kafka.bootstrap_servers.split(","))
        try:
            admin.delete_topics(gone)
            while self._feeder.describe(gone):
                time.sleep(0.05)
        finally:
            admin.close()
        if "observations" in names:
            self.acknowledged, self._made_again = 0, True

    def make_again(self, names: Sequence[str]) -> None:
        """Delete topics unless they are gone, and make them again with nothing in them."""
        if self._feeder.describe([self.topic(name) for name in names]):
            self.delete(names)
        self._feeder.create([TopicSpec(self.topic(name), self.partitions) for name in names])

    def configure(self, name: str, config: Mapping[str, str]) -> None:
        """Change the configuration of a topic (see ``TOPICS``), as kafka-configs.sh does."""
        change = AlterConfigOpType.SET
        changes = [ConfigEntry(key, value, incremental_operation=change) for key, value in config.items()]
        resource = ConfigResource(ResourceType.TOPIC, self.topic(name), incremental_configs=changes)
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap_servers})
        for answer in admin.incremental_alter_configs([resource]).values():
            answer.result(PROBE_SECONDS)

    def count(self, name: str) -> int:
        """How many records a topic (see ``TOPICS``) holds, by another client's plain consumer."""
        return held(self.kafka.bootstrap_servers, self.topic(name), self.partitions, self.client)

    def draw(self, partition: int) -> list[Raw]:
        """Some records of one partition."""
        return self._source.draw(self.chance, partition, 1)

    def start(self, instance: str = "0", trap: Trap | None = None, client: Client | None = None) -> Worker:
        """Start a process, which uses the service's client or another one."""
        self._began += 1
        report = self._folder / f"{self._began:04d}-{instance}"
        overrides = {**self._settings, "kafka.instance": instance}
        if client is not None:
            overrides |= {"kafka.client": client, "kafka.options": {**self._sessions[client]}}
        process = self._started(bound, run, overrides, report, trap)
        worker = Worker(instance, process, report)
        self.workers.append(worker)
        if (died := self._died.pop(instance, None)) is not None:
            self._successors.append((died, worker))
        return worker

    def _started(self, target: Callable[..., object], *arguments: object) -> BaseProcess:
        """Start a process: from the fork server, or from nothing where it has an environment of its own."""
        if self.clock is None:
            forked = fork_server().Process(target=target, args=arguments, daemon=True)
            forked.start()
            return forked
        with mock.patch.dict(os.environ, self.clock.environment):
            spawned = multiprocessing.get_context("spawn").Process(target=target, args=arguments, daemon=True)
            spawned.start()
        return spawned

    def wait_for_death(self, worker: Worker, timeout_seconds: float = 30.0) -> bool:
        """Whether a process' trap ended it in time; its successor's recovery is timed from then on."""
        worker.process.join(timeout_seconds)
        if worker.process.is_alive():
            return False
        if trapped := worker.told("trapped"):
            self._died[worker.instance] = trapped[0]
            self.tally.kills += 1
        return bool(trapped)

    def kill(self, worker: Worker) -> None:
        """Kill a process (SIGKILL) wherever it is, if it still runs; the next of its name is timed from then on."""
        self._died[worker.instance] = time.monotonic()
        self.tally.kills += not worker.ended
        worker.kill()

    @property
    def alive(self) -> list[Worker]:
        """The processes that run or are frozen."""
        return [worker for worker in self.workers if worker.process.is_alive()]

    def drain(self, timeout_seconds: float = DRAIN_SECONDS, *, keep_frozen: bool = True) -> None:
        """Wait until everything is answered; a process that has ended is started again, as a supervisor would.

        Processes that are frozen, or reach their trap only now, are continued unless ``keep_frozen``.
        """
        deadline = time.monotonic() + timeout_seconds
        with self._reader() as reader:
            while time.monotonic() < deadline:
                if not self.alive:
                    self.start()
                for worker in self.alive if not keep_frozen else []:
                    worker.signal(signal.SIGCONT)
                with suppress(BrokerUnavailable):
                    if not self._behind(reader):
                        return
                time.sleep(0.1)
        raise NotDrainedError(self.last_words())

    def left(self) -> int:
        """How many offsets the committed positions are behind the ends of the input."""
        with self._reader() as reader:
            return self._behind(reader)

    def _behind(self, reader: Reader) -> int:
        partitions = [Partition(self.topic("observations"), index) for index in range(self.partitions)]
        ends = {partition: end for partition, (_, end) in reader.bounds(partitions).items()}
        committed = reader.committed(partitions)
        return sum(end - committed.get(partition, 0) for partition, end in ends.items())

    @contextmanager
    def _reader(self) -> Iterator[Reader]:
        reader = new_reader(self.settings(), connection(self.settings()))
        try:
            yield reader
        finally:
            with suppress(TransportError):
                reader.close(5.0)

    def finish(self, drain_seconds: float = DRAIN_SECONDS) -> Report:
        """Drain, stop every process in good order, verify, and count the input; violations go to the tally."""
        try:
            self.drain(drain_seconds, keep_frozen=False)
        except NotDrainedError as error:
            self.tally.violations.append(f"not everything was answered in time: {error}")
        for worker in self.alive:
            code = worker.stop()
            if code != 0 and worker.told("assigned"):  # before, it may not yet have listened to signals
                self.tally.violations.append(f"a process ended with {code} when it was asked to: {self.last_words()}")
        self.tally.recovery_seconds += [
            worker.told("committed")[0] - died for died, worker in self._successors if worker.told("committed")
        ]
        self.tally.rebalances += sum(len(worker.told("assigned")) for worker in self.workers)
        report = self._checked()
        self.tally.violations += report.violations
        self.tally.violations += [told for told in report.unknown if not (self._made_again and OF_FORMER in told)]
        records = self.count("observations")
        self.tally.records += records
        if report.records != records:
            self.tally.violations.append(f"{report.records} records were verified of the {records} in the input")
        if records < self.acknowledged:
            self.tally.violations.append(f"the input holds {records} of {self.acknowledged} acknowledged records")
        return report

    def _checked(self) -> Report:
        """Return the verifier's report, after the transactions that dead processes left open have ended."""
        deadline = time.monotonic() + TRANSACTION_SECONDS
        while True:
            try:
                return check(self.settings())
            except BrokerUnavailable:
                if time.monotonic() > deadline:
                    raise

    def answered_at(self) -> list[float]:
        """When records were committed, by any process, in monotonic seconds."""
        return sorted(when for worker in self.workers for when in worker.told("committed"))

    def note_ends(self) -> None:
        """A process that has ended although nobody asked it to is a violation: nothing here is its rival."""
        for worker in self.workers:
            if not worker.asked and not worker.process.is_alive():
                told = f"process {worker.instance} ended by itself with {worker.process.exitcode}"
                self.tally.violations.append(f"{told}: {worker.log()[-1500:]}")

    def last_words(self) -> str:
        """The ends of the logs of the last processes."""
        return json.dumps([worker.log()[-1500:] for worker in self.workers[-3:]], indent=1)
