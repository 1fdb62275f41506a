"""A world in one thread: a broker, members that crash, freeze and come back, and a clock that is set by hand.

Everything that happens is an ``Event`` with its own random numbers, so a run is a list of events: the same list is the
same run, and a shorter list is a run too.  The broker's content and the snapshots survive a crash.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from harness.records import Raw
from harness.simulation.doubles import Archive
from harness.simulation.plan import Event, Plan
from harness.simulation.processes import GROUP, MEMBER_SECONDS, TOPICS, TRANSACTION_SECONDS, Processes
from streamcast.consumers.memory.broker import Producer, ProducerFenced, Rows
from streamcast.consumers.refusals import RETRY_SECONDS
from streamcast.consumers.transport import BrokerUnavailable, Partition
from streamcast.service.snapshots import Arrays, Header, Store, fingerprint
from streamcast.service.verification.fold import Fold
from streamcast.spec.folders import Model
from streamcast.topics.journal import Journal, read_journal

MOST_ITERATIONS = 400
ITERATIONS_OF_A_SEARCH = 12
"""In which one process finds the record whose answer is refused, of as many as a poll has here."""


class World(Processes):
    """Processes, their input, their snapshots, and every event that may happen to them."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        super().__init__(plan, folder)
        self.planted: set[str] = set()
        self._producer, _ = self.broker.init_producer(None)
        self._open: tuple[Producer, int] | None = None

    def produce(self, chance: random.Random, _event: Event) -> None:
        """Records arrive."""
        partition = chance.choice(self.partitions)
        self._append(self._producer, 0, partition, self.source.draw(chance, partition.index, 12))

    def produce_open(self, chance: random.Random, _event: Event) -> None:
        """Records arrive in a transaction; the next time it ends, one way or the other."""
        if self._open is None:
            self._open = self.broker.init_producer("somebody-else")
            for partition in self.partitions:
                self._append(*self._open, partition, self.source.draw(chance, partition.index, 3))
        else:
            self._close_input(commit=chance.random() < 0.5)

    def replay_input(self, chance: random.Random, _event: Event) -> None:
        """Records that were there before arrive again."""
        partition = chance.choice(self.partitions)
        log = self.broker.log(partition)
        if log.offsets:
            first = chance.randrange(len(log.offsets))
            rows = zip(log.timestamps[first:], log.keys[first:], log.values[first:], strict=True)
            self._append(self._producer, 0, partition, [Raw(*row) for row in rows][: chance.randint(1, 9)])

    def rule(self, chance: random.Random, event: Event) -> None:
        """A topic of the service takes no records of some size any more, which processes meet, or takes all again."""
        topic = chance.choice([TOPICS.forecasts, TOPICS.forecasts, TOPICS.dead_letters, TOPICS.journal])
        if chance.random() < 0.3:
            self.broker.alter(topic, {})
            return
        log = self.broker.log(Partition(topic, chance.randrange(self.plan.partitions)))
        records = [len(key or b"") + len(value or b"") for key, value in zip(log.keys, log.values, strict=True)]
        if records:
            self._count("rules")
            self.broker.alter(topic, {"max.message.bytes": str(chance.choice(records) - 1)})
            self.produce(chance, event)
            for _ in range(ITERATIONS_OF_A_SEARCH):
                self.iterate(chance, event)

    def expire(self, chance: random.Random, _event: Event) -> None:
        """The group drops a healthy member."""
        self.broker.expire(GROUP, str(chance.randrange(3)))

    def delete(self, chance: random.Random, _event: Event) -> None:
        """Retention deletes records: usually only those that a snapshot covers."""
        if self.plan.guarantee == "at_least_once":  # a repeated answer differs after a cold start
            return
        partition = chance.choice(self.partitions)
        committed = self.broker._group(GROUP).committed.get(partition, 0)
        saved = [int(path.name.partition("-")[0]) for path in self._snapshots(partition)]
        most = committed if chance.random() < 0.2 else min(committed, max(saved, default=0))
        log = self.broker.log(partition)
        before = chance.randint(0, most)
        if before > log.start and (gone := log.read(partition, log.start, before, 1 << 30)) is not None:
            self._count("deletions")
            self.deleted.setdefault(partition, []).append(gone)
            self.broker.delete_records(partition, before)

    def damage(self, chance: random.Random, _event: Event) -> None:
        """A snapshot is cut, has a flipped bit, or is rubbish under a good name."""
        if not (found := [path for partition in self.partitions for path in self._snapshots(partition)]):
            return
        self._count("damaged snapshots")
        path = chance.choice(found)
        data = bytearray(path.read_bytes())
        if chance.random() < 0.4:
            data = data[: chance.randrange(len(data) + 1)]
        elif data:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        path.with_suffix(".1.part").write_bytes(b"rubbish")

    def plant(self, chance: random.Random, _event: Event) -> None:
        """Another service that shares the store is ahead of this one, and leaves a snapshot there."""
        partition = chance.choice(self.partitions)
        archive = self.archive()
        try:
            journal = read_journal(archive, TOPICS.journal, partition)
        except BrokerUnavailable:  # a transaction is open
            return
        committed = self.broker._group(GROUP).committed.get(partition, 0)
        end = self.broker.log(partition).stable_end
        if self._open or journal.begin is None or committed >= end:
            return
        offset = chance.randint(committed + 1, end)
        decisions = "somebody-elses-journal" if self.plan.resets else TOPICS.journal
        for each in self.models().values():
            begin = journal.begin_of(each.digest) or 0
            fold = Fold(archive, partition, {"": begin}, {"": each}, Journal(), self.max_series)
            for _ in fold.advance(offset):
                pass
            header = replace(self.header(partition, begin, offset, each), journal=decisions)
            path = self.folder / partition.topic / str(partition.index) / header.name
            if Store(str(self.folder), 3).write(header, exported(fold, partition)[""]):
                self.planted.add(str(path))

    def archive(self) -> Archive:
        """Return a reader of every record, deleted ones included."""
        return Archive(self.broker, GROUP, self.deleted)

    def header(self, partition: Partition, begin: int, offset: int, model: Model) -> Header:
        """The header of a snapshot."""
        ids = {name: spec.id for name, spec in self.broker.describe([partition.topic, TOPICS.journal]).items()}
        return Header(
            partition.topic, TOPICS.journal, partition.index, 0, begin, offset, model.digest, self.max_series,
            fingerprint(), topic_id=ids[partition.topic], journal_id=ids[TOPICS.journal],
        )  # fmt: skip

    def _snapshots(self, partition: Partition) -> list[Path]:
        return sorted((self.folder / partition.topic / str(partition.index)).glob("*.snapshot"))

    def _append(self, producer: Producer, epoch: int, partition: Partition, records: Sequence[Raw]) -> None:
        rows = Rows(
            [record.timestamp for record in records],
            [record.key for record in records],
            [record.value for record in records],
            [()] * len(records),
        )
        self._count("records", len(records))
        self.broker.produce(producer, epoch, partition, rows, producer.sequences.get(partition, 0))

    def _close_input(self, *, commit: bool) -> None:
        if self._open is not None:
            with suppress(ProducerFenced):  # it took too long
                self.broker.end(*self._open, commit=commit)
            self._open = None

    def heal(self, chance: random.Random) -> None:
        """Remove every fault, and let restarted processes finish the work."""
        self._faults.clear()
        self._away.clear()
        self._close_input(commit=True)
        for topic in (TOPICS.forecasts, TOPICS.dead_letters, TOPICS.journal):
            self.broker.alter(topic, {})
        for member in list(self.members):
            member.crash_after = member.freeze_after = None
            member.frozen = False
            if chance.random() < 0.5:
                self._bury(member)
        self.seconds += MEMBER_SECONDS + TRANSACTION_SECONDS + RETRY_SECONDS
        self.allow_cold = self.allow_cold or bool(self.deleted)
        self._work_until(self._ready, chance)
        self._arrive(chance)
        self._work_until(self._drained, chance)
        self.seconds += TRANSACTION_SECONDS + 1  # transactions that fenced members left open end by themselves

    def _arrive(self, chance: random.Random) -> None:
        for partition in self.partitions:
            self._append(self._producer, 0, partition, self.source.draw(chance, partition.index, 3))

    def _work_until(self, done: Callable[[], bool], chance: random.Random) -> None:
        for iteration in range(MOST_ITERATIONS):
            if not self.members:
                self.begin("0")
            for member in list(self.members):
                if member in self.members:
                    self.run_iteration(member)
            self.seconds += 0.2
            if iteration % 40 == 39:  # a partition without a commit skips these when it starts at the latest
                self._arrive(chance)
            if done():
                return
        self.violations.append("the service does not come to the end of its input, although no fault is left")

    def _ready(self) -> bool:
        held = [partition for member in self.members if not member.loop._busy for partition in member.loop._held]
        return sorted(held) == self.partitions

    def _drained(self) -> bool:
        committed = self.broker._group(GROUP).committed
        answered = all(committed.get(p, 0) > self.broker.log(p).offsets[-1] for p in self.partitions)
        return answered and not any(member.loop._behind for member in self.members)

    def remove(self) -> None:
        """Remove the snapshots."""
        shutil.rmtree(self.folder, ignore_errors=True)


def exported(fold: Fold, partition: Partition) -> Mapping[str, Arrays]:
    """A fold's state as the arrays of a snapshot, by lane."""
    return {lane: engine.slab.export(partition) for lane, engine in fold.engines.items()}
