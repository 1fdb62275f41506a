"""The faults: a round of each is a function that does it to a cluster."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from harness.faults.checker import Client
from harness.faults.clock import Clock, stepped_clock
from harness.faults.cluster import IMPATIENT, TOPICS, Cluster, Tally, Worker
from harness.faults.serve import POINTS, Trap
from harness.faults.surroundings import (
    Round,
    answers_refused,
    clock_steps,
    full_folder,
    read_only_folder,
    short_of_memory,
    small_disk,
    topics_made_again,
)
from harness.local_cluster import LocalCluster
from harness.local_kafka import LocalKafka
from harness.proxy import Direction, KafkaProxy, Request

KILLS_A_ROUND = 5
SESSION_SECONDS = 3.0
"""As in ``cluster.QUICK``."""
FREEZE_SECONDS = 120.0
END_SECONDS = 12.0
"""How long a process may take to freeze; the first one in a new clone compiles kernels."""

LATE_SECONDS = 60.0
"""How long a request may take to arrive late: a commit that nobody answers is in doubt after 25 s."""

AT_LEAST_ONCE = {"kafka.guarantee": "at_least_once"}
STALLING: Mapping[Client, Mapping[str, object]] = {
    "kafka-python": {"max_poll_interval_ms": 3000},
    "librdkafka": {"max.poll.interval.ms": 3000},
}


@dataclass(frozen=True)
class Fault:
    """One kind of fault: a round of it, and the options and settings that it needs."""

    name: str
    round: Round
    options: Mapping[Client, Mapping[str, object]] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    proxied: bool = False
    kills: bool = False
    disk: str = ""
    """The size of a file system of its own for the snapshots."""
    clocked: bool = False
    """The processes have a clock that the round can step."""
    anywhere: bool = False
    """Whether it is one of a cluster of brokers, too."""

    def store(self) -> AbstractContextManager[Path | None]:
        """The folder of the snapshots, where it is a special one; raises PermissionError where it cannot be had."""
        return small_disk(self.disk) if self.disk else nullcontext()

    def clock(self) -> AbstractContextManager[Clock | None]:
        """The clock of the processes, where it can be stepped; raises ClockError where it cannot be had."""
        return stepped_clock() if self.clocked else nullcontext()


def run_round(
    fault: Fault, kafka: LocalKafka | LocalCluster, proxy: KafkaProxy | None, client: Client, tally: Tally, seed: int
) -> None:
    """Do a round of a fault to a fresh service, let the service finish, and verify its output."""
    options = fault.options.get(client, {})
    with fault.store() as store, fault.clock() as clock, Cluster(
        kafka, client, tally, seed, proxy=proxy, options=options, settings=fault.settings, store=store, clock=clock
    ) as cluster:  # fmt: skip
        cluster.feed(100)
        fault.round(cluster)
        cluster.finish()


def _killed(point: str, *, peer: bool = False, swap: bool = False) -> Round:
    def round_(cluster: Cluster) -> None:
        if peer:
            cluster.start("1")
        for _ in range(KILLS_A_ROUND):
            if swap and cluster.chance.random() < 0.3:
                cluster.deploy()
            cluster.feed(160)
            worker = cluster.start("0", Trap(point, cluster.chance.randint(1, 3)))
            if not cluster.wait_for_death(worker):
                worker.stop()  # its peer answered everything before it reached the point

    return round_


def _asked_to_stop(cluster: Cluster) -> None:
    """SIGTERM at each point: the process finishes its batch and ends in good order."""
    for point in POINTS:
        cluster.feed(160)
        worker = cluster.start("0", Trap(point, cluster.chance.randint(1, 2), signal.SIGTERM))
        worker.process.join(60)
        if worker.process.is_alive() or worker.process.exitcode != 0:
            told = f"SIGTERM at {point}: the process ended with {worker.process.exitcode}; {cluster.last_words()}"
            cluster.tally.violations.append(told)
            worker.kill()
        elif worker.told("ended")[0] - worker.told("trapped")[0] > END_SECONDS:
            cluster.tally.violations.append(f"SIGTERM at {point}: it took more than {END_SECONDS:.0f} s to end")


def _frozen(cluster: Cluster, point: str, instance: str = "0") -> Worker:
    """Return a process that is frozen at a point; records are fed until it gets there."""
    worker = cluster.start(instance, Trap(point, cluster.chance.randint(2, 4), signal.SIGSTOP))
    cluster.feed(300)
    deadline = time.monotonic() + FREEZE_SECONDS
    while not worker.wait_for("trapped", 1.0) and worker.process.is_alive() and time.monotonic() < deadline:
        cluster.feed(20)
    if worker.told("trapped"):
        worker.wait_until_stopped(5)
    return worker


def _broker_killed(point: str) -> Round:
    """The broker dies while a transaction is open, and restarts on its data."""

    def round_(cluster: Cluster) -> None:
        worker = _frozen(cluster, point)
        _broker(cluster).kill()
        worker.signal(signal.SIGCONT)
        time.sleep(1.0)
        _broker(cluster).start()

    return round_


def _broker_frozen(seconds: float) -> Round:
    def round_(cluster: Cluster) -> None:
        worker = _frozen(cluster, "stepped")
        _broker(cluster).freeze()
        worker.signal(signal.SIGCONT)
        time.sleep(seconds)
        _broker(cluster).thaw()

    return round_


def _zombie(point: str, instance: str) -> Round:
    """A process is frozen until another one (of the same or another name) has its work, and is then continued."""

    def round_(cluster: Cluster) -> None:
        zombie = _frozen(cluster, point)
        other = cluster.start(instance)
        other.wait_for("committed", 30)
        cluster.feed(100)
        time.sleep(SESSION_SECONDS)
        zombie.signal(signal.SIGCONT)
        cluster.feed(100)
        time.sleep(2.0)

    return round_


def _stalled(cluster: Cluster) -> None:
    """A batch takes longer than max.poll.interval: the group goes on without the process, which rejoins later."""
    worker = cluster.start("0", Trap("stepped", 2, None))
    cluster.feed(300)
    worker.wait_for("trapped", 30)
    cluster.start("1")
    time.sleep(6.0)


def _storm(cluster: Cluster) -> None:
    """Processes start, stop and die all the time."""
    for _ in range(12):
        instance = str(cluster.chance.randrange(3))
        running = [worker for worker in cluster.alive if worker.instance == instance]
        if not running:
            cluster.start(instance)
        elif cluster.chance.random() < 0.7:
            running[0].kill()
            cluster.tally.kills += 1
        else:
            running[0].stop()
        cluster.feed(60)
        time.sleep(cluster.chance.uniform(0.0, 6.0))


def _broker(cluster: Cluster) -> LocalKafka:
    if not isinstance(cluster.kafka, LocalKafka):
        raise TypeError("this fault is one of a single broker")
    return cluster.kafka


def _proxy(cluster: Cluster) -> KafkaProxy:
    if cluster.proxy is None:
        raise ValueError("this fault needs a proxy")
    return cluster.proxy


def _slow_link(cluster: Cluster) -> None:
    proxy = _proxy(cluster)
    cluster.start()
    proxy.delay_seconds = 0.03
    cluster.feed(200)
    time.sleep(6.0)
    proxy.heal()


def _cut_link(cluster: Cluster) -> None:
    proxy = _proxy(cluster)
    for point in ("sent", "offsets"):
        worker = _frozen(cluster, point)
        proxy.cut()
        worker.signal(signal.SIGCONT)
        time.sleep(2.0)
        proxy.heal()
        cluster.drain()
        worker.stop()


def _deaf(direction: Direction) -> Round:
    """The commit, or its answer, is swallowed: nobody can know whether it happened."""

    def round_(cluster: Cluster) -> None:
        proxy = _proxy(cluster)
        worker = _frozen(cluster, "offsets")
        proxy.swallow = direction
        worker.signal(signal.SIGCONT)
        time.sleep(4.0)
        proxy.heal()

    return round_


def _late(kind: Request, *, cut: bool, times: int) -> Round:
    """A request of a transaction reaches the broker only in the next one, after its client has sent it again."""

    def round_(cluster: Cluster) -> None:
        proxy, arrived = _proxy(cluster), 0
        cluster.start()
        for _ in range(times):
            before, deadline = proxy.arrived_late, time.monotonic() + LATE_SECONDS
            proxy.make_late(kind, cut=cut)
            while proxy.arrived_late == before and time.monotonic() < deadline:
                cluster.feed(160)
                time.sleep(0.5)
            arrived += proxy.arrived_late > before
        proxy.heal()
        if arrived < times:
            cluster.tally.violations.append(f"{arrived} of {times} requests arrived late: {cluster.last_words()}")

    return round_


KILLS = [
    *(Fault(f"kill -9: {point}", _killed(point, swap=True), kills=True) for point in POINTS),
    *(Fault(f"kill -9 beside a peer: {point}", _killed(point, peer=True), kills=True) for point in ("sent", "offsets")),
    Fault("kill -9, at least once", _killed("offsets"), settings=AT_LEAST_ONCE, kills=True),
]

OTHERS = [
    Fault("SIGTERM at each point", _asked_to_stop),
    Fault("broker killed after sending", _broker_killed("sent")),
    Fault("broker killed after the offsets", _broker_killed("offsets")),
    Fault("broker frozen, 12 s", _broker_frozen(12.0)),
    Fault("broker frozen, 60 s", _broker_frozen(60.0)),
    Fault("produce expires in a transaction", _broker_frozen(5.0), IMPATIENT),
    Fault("zombie, after sending", _zombie("sent", "1")),
    Fault("zombie, after the offsets", _zombie("offsets", "1")),
    Fault("zombie of the same name", _zombie("stepped", "0")),
    Fault("stalled beyond max.poll.interval", _stalled, STALLING),
    Fault("rebalance storm", _storm),
    Fault("rebalance storm, cooperative-sticky", _storm, settings={"kafka.assignor": "cooperative-sticky"}),
    Fault("rebalance storm, at least once", _storm, settings=AT_LEAST_ONCE),
    Fault("broker killed, at least once", _broker_killed("offsets"), settings=AT_LEAST_ONCE),
    Fault("broker frozen, at least once", _broker_frozen(12.0), settings=AT_LEAST_ONCE),
    Fault("slow link", _slow_link, proxied=True),
    Fault("cut link", _cut_link, proxied=True),
    Fault("half-open link, answer lost", _deaf("to the client"), IMPATIENT, proxied=True),
    Fault("half-open link, request lost", _deaf("to the broker"), IMPATIENT, proxied=True),
    Fault("late end of transaction", _late(Request.END_TRANSACTION, cut=True, times=5), proxied=True),
    Fault("late positions of a transaction", _late(Request.TRANSACTION_OFFSETS, cut=True, times=5), proxied=True),
    Fault(
        "late end of transaction, in doubt",
        _late(Request.END_TRANSACTION, cut=False, times=1),
        IMPATIENT,
        proxied=True,
    ),
    Fault("disk full", full_folder, disk="8k", anywhere=True),
    Fault("disk read-only", read_only_folder, disk="64m", anywhere=True),
    Fault("memory limit", short_of_memory, anywhere=True),
    Fault("answers refused", answers_refused, anywhere=True),
    Fault("answers refused, at least once", answers_refused, settings=AT_LEAST_ONCE, anywhere=True),
    Fault("clock steps", clock_steps, clocked=True, anywhere=True),
    Fault("input made again at once", topics_made_again(TOPICS[:1], at_once=True), anywhere=True),
    Fault("input deleted, then made again", topics_made_again(TOPICS[:1], at_once=False), anywhere=True),
    Fault("input and outputs made again", topics_made_again(TOPICS, at_once=True), anywhere=True),
    Fault(
        "input and outputs made again, at least once",
        topics_made_again(TOPICS, at_once=True),
        settings=AT_LEAST_ONCE,
        anywhere=True,
    ),
]
