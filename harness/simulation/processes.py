"""The processes of a simulated world: how they start, run, crash and freeze, and how their requests fail."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.records import Source
from harness.simulation.doubles import SimulatedCrash, Worldly, Writes
from harness.simulation.plan import MODELS, ROOMS, Event, Plan, model
from streamcast.consumers.health import LoopHealth
from streamcast.consumers.loop import BatchLimits, Loop
from streamcast.consumers.memory.transport import Fault, MemoryBroker, MemoryTransport
from streamcast.consumers.transport import (
    Batch,
    BrokerUnavailable,
    Connection,
    Fenced,
    InDoubt,
    Partition,
    RecordsGone,
    TopicSpec,
)
from streamcast.errors import ServiceError
from streamcast.service.saving import Saver
from streamcast.service.service import Service
from streamcast.service.skipping import skip
from streamcast.service.snapshots import Store
from streamcast.service.strangers import mark_of
from streamcast.service.telemetry.telemetry import Telemetry
from streamcast.spec.folders import Model
from streamcast.topics.names import Topics

GROUP = "group"
TOPICS = Topics()
MEMBER_SECONDS, TRANSACTION_SECONDS = 10.0, 25.0
MOST_MEMBERS = 4
SKIPS = 0.2
"""How often somebody skips a record instead of resetting a series."""


@dataclass(eq=False)
class Member:
    """One process."""

    instance: str
    models: Mapping[str, Model]
    max_series: int
    writes: Writes
    transport: MemoryTransport
    service: Service
    health: LoopHealth
    loop: Loop = field(init=False)
    frozen: bool = False
    suspended: bool = False
    gone: bool = False
    crash_after: int | None = None
    freeze_after: int | None = None
    frozen_while: tuple[Event, ...] = ()


class Processes:
    """The members of one group, and the events that happen to them."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self.folder = plan, folder
        self.seconds = 1000.0
        self.broker = MemoryBroker(
            self._now,
            sleep=self._sleep,
            faults=self._fault,
            member_seconds=MEMBER_SECONDS,
            transaction_seconds=TRANSACTION_SECONDS,
        )
        for topic in (TOPICS.observations, TOPICS.forecasts, TOPICS.dead_letters, TOPICS.journal):
            self.broker.create(TopicSpec(topic, plan.partitions))
        self.source = Source(model(plan.mode, 0).spec.series, plan.keys, plan.partitions)
        self.members: list[Member] = []
        self.deleted: dict[Partition, list[Batch]] = {}
        self.violations: list[str] = []
        self.passes: dict[str, int] = {}
        self.counts: dict[str, int] = {}
        self.allow_cold = plan.start.allow_cold_start
        self._reader = Worldly(self.broker, GROUP, self.may_be_away)
        self._deployed, self._lanes, self.max_series = 0, plan.lanes - plan.alone, plan.max_series
        self._faults: dict[str, list[Fault]] = {}
        self._away: dict[str, int] = {}

    @property
    def partitions(self) -> list[Partition]:
        """The input's partitions."""
        return [Partition(TOPICS.observations, index) for index in range(self.plan.partitions)]

    def happen(self, events: Sequence[Event]) -> None:
        """Let events happen, one after the other."""
        for event in events:
            getattr(self, event.what)(random.Random(event.salt), event)

    def start(self, chance: random.Random, _event: Event | None = None) -> Member | None:
        """A process starts, perhaps beside one of the same name."""
        if len(self.members) >= MOST_MEMBERS:
            return None
        instance = str(chance.randrange(3))
        twins = [member for member in self.members if member.instance == instance]
        if any(not twin.frozen for twin in twins) and chance.random() < 0.8:
            return None
        return self.begin(instance)

    def begin(self, instance: str) -> Member | None:
        """Start a process of this name with the models that are deployed now."""
        models = self.models()
        writes, store = Writes(), Store(str(self.folder), 3)
        telemetry = Telemetry({lane: (each.name, each.version) for lane, each in models.items()}, 0.8)
        start = replace(self.plan.start, allow_cold_start=self.allow_cold)
        saver = Saver(store, self.plan.interval_seconds, telemetry, clock=self._now, background=writes)
        service = Service(
            models, self._reader, telemetry, TOPICS, start, max_series=self.max_series, store=store,
            shadows=("challenger",) if self.plan.shadow else (), saver=saver, clock=self._now, timer=self._now,
        )  # fmt: skip

        def passed(point: str) -> None:
            self._passed(member, point)

        who = Connection("memory", GROUP, instance, self.plan.guarantee, mark=self._mark(), passed=passed)
        transport, health = MemoryTransport(self.broker, who), LoopHealth(clock=self._now)
        member = Member(instance, models, self.max_series, writes, transport, service, health)
        limits = BatchLimits(self.plan.max_records, 0.05, 0.0, 0.0)  # what can happen, happens between pieces of replay
        try:
            member.loop = Loop(
                member.transport, service, [TOPICS.observations], limits=limits, health=member.health,
                observer=telemetry, passed=passed, clock=self._now,
            )  # fmt: skip
        except BrokerUnavailable:
            return None
        self._count("starts")
        self.members.append(member)
        return member

    def models(self) -> Mapping[str, Model]:
        """The models that are deployed now, by lane."""
        lanes = ("champion", "challenger")[: self._lanes]
        numbers = ((self._deployed + place) % MODELS for place in range(len(lanes)))
        return {lane: model(self.plan.mode, number) for lane, number in zip(lanes, numbers, strict=True)}

    def iterate(self, chance: random.Random, _event: Event) -> None:
        """A process runs an iteration of its loop."""
        if awake := self._awake():
            self.run_iteration(chance.choice(awake))

    def run_iteration(self, member: Member) -> None:
        """Let one process run an iteration of its loop, and handle its errors as a supervisor would."""
        try:
            member.loop.iterate()
        except SimulatedCrash:
            self._bury(member)
        except (BrokerUnavailable, InDoubt):
            self.seconds += 0.05
        except Fenced:
            self._count("fenced")
            self.end(member, abandon=True)
        except (ServiceError, RecordsGone) as error:
            self._count("refusals")
            if not self.deleted:
                self.violations.append(f"a member refused to go on although nothing was deleted: {error}")
            self.end(member, abandon=True)
        else:
            self._count("refused answers", bool(member.health.refused()))
            self._count("catching up", member.loop._behind)

    def end(self, member: Member, *, abandon: bool) -> None:
        """A process ends in good order, or gives up."""
        try:
            if abandon:
                member.loop.abandon()
            member.loop.close(1.0)
        except (SimulatedCrash, BrokerUnavailable):
            pass
        self._bury(member)

    def stop(self, chance: random.Random, _event: Event) -> None:
        """A process is asked to stop, between two iterations."""
        if awake := self._awake():
            self._count("stops")
            self.end(chance.choice(awake), abandon=False)

    def crash(self, chance: random.Random, _event: Event) -> None:
        """A process dies between two iterations, frozen or not."""
        if self.members:
            self._count("crashes: idle")
            self._bury(chance.choice(self.members))

    def crash_at(self, chance: random.Random, _event: Event) -> None:
        """A process will die at one of the points it passes."""
        if awake := self._awake():
            chance.choice(awake).crash_after = chance.randint(0, 9)

    def freeze_at(self, chance: random.Random, event: Event) -> None:
        """A process will freeze at one of the points it passes, while the world goes on."""
        if awake := self._awake():
            member = chance.choice(awake)
            member.freeze_after = min(chance.randint(0, 9), chance.randint(0, 9))
            member.frozen_while = event.within

    def freeze(self, chance: random.Random, _event: Event) -> None:
        """A process freezes between two iterations, or goes on if it was frozen."""
        if self.members:
            member = chance.choice(self.members)
            member.frozen = not member.frozen

    def write(self, chance: random.Random, _event: Event) -> None:
        """The waiting snapshots of a process are written."""
        if awake := self._awake():
            member = chance.choice(awake)
            for task in member.writes.waiting:
                task.result()
            try:
                self._passed(member, "renamed")
            except SimulatedCrash:
                self._bury(member)

    def deploy(self, chance: random.Random, _event: Event) -> None:
        """Processes that start from now on have other models, or a lane more or less, and perhaps other room.

        Often those that run are restarted for it.
        """
        if self.plan.guarantee == "exactly_once":  # else another model may answer a record again
            if self.plan.lanes > 1 and chance.random() < 0.6:
                self._lanes = 3 - self._lanes
            else:
                self._deployed = chance.randrange(MODELS)
            if chance.random() < 0.3:
                self.max_series = chance.choice(ROOMS)
            if chance.random() < 0.7:
                self._restart(chance)

    def _restart(self, chance: random.Random) -> None:
        """Stop the processes that are awake in good order, and start as many."""
        stopped = self._awake()
        for member in stopped:
            self.end(member, abandon=False)
        for _ in stopped:
            self.start(chance)

    def reset(self, chance: random.Random, _event: Event) -> None:
        """Somebody asks a process to reset a series, or stops all processes and skips a record."""
        if not self.plan.resets:
            return
        if chance.random() < SKIPS:
            self._skip(chance)
        elif awake := self._awake():
            member = chance.choice(awake)
            slab = member.service._lanes[0].engine.slab
            known = sorted({key for partition in slab.partitions() for key in slab.series(partition)})
            member.service.reset(chance.choice(known or self.source.keys))

    def _mark(self) -> str:
        """What the service commits beside its positions."""
        return mark_of(self.broker.describe([TOPICS.journal])[TOPICS.journal])

    def _skip(self, chance: random.Random) -> None:
        """Stop the processes that are awake, and skip a record that has no outcome yet; frozen ones may hold it."""
        for member in self._awake():
            self.end(member, abandon=False)
        partition = chance.choice(self.partitions)
        log, committed = self.broker.log(partition), self.broker._group(GROUP).committed.get(partition, 0)
        waiting = [offset for offset in log.offsets if committed <= offset < log.stable_end]
        if not waiting:
            return
        who = Connection("memory", GROUP, str(chance.randrange(3)), self.plan.guarantee, mark=self._mark())
        transport, patience_seconds = MemoryTransport(self.broker, who), chance.choice([1.0, 2 * MEMBER_SECONDS])
        try:
            skip(
                transport, TOPICS, partition, chance.choice(waiting), patience_seconds=patience_seconds, clock=self._now
            )
            self._count("skips")
        except (BrokerUnavailable, InDoubt, Fenced, ServiceError):
            self._count("skips that failed")
        transport.close(1.0)

    def wait(self, chance: random.Random, _event: Event) -> None:
        """Time passes: usually a moment, sometimes more than a session or a transaction lasts."""
        self.seconds += chance.choice([0.1, 0.5, 0.5, 1.0, 1.0, 2.0, TRANSACTION_SECONDS + 1, MEMBER_SECONDS + 1])

    def fault(self, chance: random.Random, _event: Event) -> None:
        """The next request of a kind is lost, unanswered, doubled or late."""
        exactly_once = self.plan.guarantee == "exactly_once"
        commit = ["offsets", "end", "end", "end"] if exactly_once else ["produce", "offsets", "offsets"]
        request = chance.choice(["produce", *commit, "init", "committed", "begin"])
        kinds = [Fault.LOST, Fault.UNANSWERED]
        if request in {"produce", "end"} or (exactly_once and request == "offsets"):
            kinds += [Fault.TWICE, Fault.LATE]
        self._faults.setdefault(request, []).append(chance.choice(kinds))

    def away(self, chance: random.Random, _event: Event) -> None:
        """The broker will not answer one of the next requests of a reader."""
        self._away[chance.choice(["describe", "bounds", "read", "read"])] = chance.randint(0, 3)

    def may_be_away(self, request: str) -> None:
        """Let a reader's request take its time; raise BrokerUnavailable when it is the one that gets no answer."""
        if request == "read":
            self.seconds += 0.1
        if request in self._away:
            self._away[request] -= 1
            if self._away[request] < 0:
                del self._away[request]
                raise BrokerUnavailable(f"the broker did not answer {request}")

    def _awake(self) -> list[Member]:
        return [member for member in self.members if not (member.frozen or member.suspended)]

    def _bury(self, member: Member) -> None:
        member.gone = True
        if member in self.members:
            self.members.remove(member)

    def _passed(self, member: Member, point: str) -> None:
        self.passes[point] = self.passes.get(point, 0) + 1
        if member.freeze_after is not None:
            member.freeze_after -= 1
            if member.freeze_after < 0:
                self._count(f"freezes: {point}")
                member.freeze_after, member.suspended = None, True
                self.happen(member.frozen_while)
                member.suspended = False
        if member.crash_after is not None:
            member.crash_after -= 1
        if member.gone or (member.crash_after is not None and member.crash_after < 0):
            self._count(f"crashes: {point}")
            raise SimulatedCrash(point)

    def _fault(self, request: str, _instance: str) -> Fault:
        if planned := self._faults.get(request):
            self._count(f"faults: {request}")
            return planned.pop(0)
        return Fault.NONE

    def _now(self) -> float:
        return self.seconds

    def _sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def _count(self, what: str, more: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + more
