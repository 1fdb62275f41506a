"""One service on an in-process broker, without chance, for tests that drive it by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

from harness.simulation.plan import load, model
from harness.streams import MINUTE, START
from streamcast.consumers.background import Background
from streamcast.consumers.health import LoopHealth
from streamcast.consumers.loop import BatchLimits, Loop
from streamcast.consumers.memory.broker import Rows
from streamcast.consumers.memory.transport import Fault, MemoryBroker, MemoryReader, MemoryTransport
from streamcast.consumers.transport import (
    Batch,
    BrokerUnavailable,
    Connection,
    Headers,
    InDoubt,
    Partition,
    Reader,
    TopicSpec,
)
from streamcast.service.beginnings import Start
from streamcast.service.saving import Saver
from streamcast.service.service import Service
from streamcast.service.snapshots import Store
from streamcast.service.strangers import mark_of
from streamcast.service.telemetry.telemetry import Telemetry
from streamcast.service.verification.report import Expectations, Report
from streamcast.service.verification.verify import verify
from streamcast.service.watch import TopicWatch
from streamcast.spec.folders import Model
from streamcast.topics.journal import Journal, read_journal
from streamcast.topics.names import Topics
from streamcast.topics.observations import encode_observation

GROUP, TOPICS = "group", Topics()
IDLE_ITERATIONS = 3

T = TypeVar("T")


class Immediately(Background):
    """Makes each call at once."""

    def started(self, call: Callable[[], T]) -> Future[T]:
        """Make the call."""
        done: Future[T] = Future()
        done.set_result(call())
        return done


class Stand:
    """A broker with the topics of a service, a store for its snapshots, and one process at a time."""

    def __init__(self, folder: Path, partitions: int = 1) -> None:
        self.store = Store(str(folder / "state"), 3)
        self.folder = folder / "state"
        self.seconds = 0.0
        self.faults: list[tuple[str, Fault]] = []
        self.broker = MemoryBroker(self._now, sleep=self._sleep, faults=self._fault)
        self.reader = MemoryReader(self.broker, Connection("memory", GROUP, "reader"))
        self.partitions = [Partition(TOPICS.observations, index) for index in range(partitions)]
        for topic in (TOPICS.observations, TOPICS.forecasts, TOPICS.dead_letters, TOPICS.journal):
            self.broker.create(TopicSpec(topic, partitions))
        self._producer, _ = self.broker.init_producer(None)
        self._bars: dict[str, int] = {}
        self.telemetry: Telemetry
        self.service: Service
        self.loop: Loop

    def serve(
        self, models: Mapping[str, Model] | None = None, start: Start | None = None, *, reader: Reader | None = None,
        max_records: int = 5, interval_seconds: float = 1e9, shadows: Sequence[str] = (), max_series: int = 100,
        guarantee: Literal["exactly_once", "at_least_once"] = "exactly_once", working: bool = True, champion: str = "",
        watch: TopicWatch | None = None, on_swap: Callable[[str, str], None] = lambda _lane, _former: None,
    ) -> Service:  # fmt: skip
        """Start a process in place of the previous one, and let it finish its work."""
        models = models or {"champion": model("sample", 0)}
        self.telemetry = telemetry = Telemetry(
            {lane: (each.name, each.version) for lane, each in models.items()}, 0.8, champion=champion
        )
        saver = Saver(self.store, interval_seconds, telemetry, clock=self._now, background=Immediately())
        health = LoopHealth(clock=self._now)
        self.service = Service(
            models, reader or self.reader, telemetry, TOPICS, start or Start(), champion=champion,
            max_series=max_series, shadows=shadows, store=self.store, saver=saver, clock=self._now, timer=self._now,
            beat=health.beat, watch=watch, on_swap=on_swap,
        )  # fmt: skip
        transport = MemoryTransport(self.broker, Connection("memory", GROUP, "0", guarantee, mark=self.mark()))
        self.loop = Loop(
            transport, self.service, [TOPICS.observations], limits=BatchLimits(max_records, 0.05),
            health=health, observer=telemetry, clock=self._now,
        )  # fmt: skip
        if working:
            self.work()
        return self.service

    def mark(self) -> str:
        """What the service commits beside its positions."""
        return mark_of(self.broker.describe([TOPICS.journal])[TOPICS.journal])

    def work(self) -> None:
        """Iterate until no work is left; while the broker is away, try again."""
        idle = 0
        while idle < IDLE_ITERATIONS:
            before = self.committed()
            with suppress(BrokerUnavailable, InDoubt):
                self.loop.iterate()
                busy = self.loop._busy or self.loop._behind
                idle = idle + 1 if self.committed() == before and not busy else 0

    def stop(self) -> None:
        """End the process in good order."""
        self.loop.close(1.0)

    def observe(self, key: str, *values: float, partition: int = 0) -> None:
        """Append the next bars of a series."""
        records = []
        for value in values:
            self._bars[key] = bar = self._bars.get(key, -1) + 1
            time = START + bar * MINUTE
            records.append((time, key.encode(), encode_observation(key, time, [value])))
        self.append(records, partition)

    def append(
        self, records: Sequence[tuple[int, bytes | None, bytes | None]], partition: int = 0, headers: Headers = ()
    ) -> None:
        """Append records as they are: timestamp, key and value."""
        rows = Rows(
            [timestamp for timestamp, _, _ in records],
            [key for _, key, _ in records],
            [value for _, _, value in records],
            [headers] * len(records),
        )
        here = self.partitions[partition]
        self.broker.produce(self._producer, 0, here, rows, self._producer.sequences.get(here, 0))

    def make_again(self, topic: str) -> None:
        """Delete a topic, and make it again with as many partitions."""
        spec = self.broker.describe([topic])[topic]
        self.broker.delete(topic)
        self.broker.create(TopicSpec(topic, spec.partitions))
        self._producer, _ = self.broker.init_producer(None)

    def committed(self, partition: int = 0) -> int | None:
        """The group's position."""
        return self.broker._group(GROUP).committed.get(self.partitions[partition])

    def journal(self, partition: int = 0) -> Journal:
        """The decisions so far."""
        return read_journal(self.reader, TOPICS.journal, self.partitions[partition])

    def values(self, topic: str, partition: int = 0) -> list[bytes | None]:
        """The values of everything that is committed in a topic."""
        return [value for batch in self.batches(topic, partition) for value in batch.values]

    def batches(self, topic: str, partition: int = 0) -> Iterator[Batch]:
        """Everything that is committed in a topic."""
        source = Partition(topic, partition)
        yield from self.reader.read_range(source, *self.reader.bounds([source])[source])

    def verify(self, **expect: Any) -> Report:
        """Return the verifier's report."""
        return verify(self.reader, TOPICS, load, Expectations(**expect))

    def _fault(self, request: str, _instance: str) -> Fault:
        if self.faults and self.faults[0][0] == request:
            return self.faults.pop(0)[1]
        return Fault.NONE

    def _now(self) -> float:
        return self.seconds

    def _sleep(self, seconds: float) -> None:
        self.seconds += seconds


def stopped(folder: Path, champion: Model, values: Sequence[float]) -> Stand:
    """Return a service that has answered these values of series a with one model, left a snapshot, and stopped."""
    stand = Stand(folder)
    stand.observe("a", *values)
    stand.serve({"champion": champion})
    stand.stop()
    return stand


class Troubled(MemoryReader):
    """Reads two records at a time, each taking a second, and fails at the given offsets."""

    def __init__(self, stand: Stand, fails_at: tuple[int, ...] = ()) -> None:
        super().__init__(stand.broker, Connection("memory", GROUP, "reader"))
        self._stand, self._fails_at = stand, list(fails_at)
        self.read: list[int] = []

    def read_ranges(self, ranges: Mapping[Partition, tuple[int, int]]) -> Iterator[list[Batch]]:
        for partition, (start, end) in ranges.items():
            for batch in self.read_range(partition, start, end):
                yield [batch]

    def read_range(self, partition: Partition, start: int, end: int) -> Iterator[Batch]:
        for first in range(start, end, 2):
            if partition.topic == "observations":
                if self._fails_at and self._fails_at[0] <= first:
                    self._fails_at.pop(0)
                    raise BrokerUnavailable("away")
                self.read.append(first)
                self._stand.seconds += 1.0
            yield from super().read_range(partition, first, min(first + 2, end))
