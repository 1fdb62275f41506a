"""The loop over the broker in this process: its promises to the handler, under every fault."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.hand_clock import HandClock
from streamcast.consumers.health import Deadlines, LoopHealth
from streamcast.consumers.loop import BatchLimits, Loop, Unobserved, run
from streamcast.consumers.memory.transport import Fault, MemoryBroker, MemoryReader, MemoryTransport
from streamcast.consumers.transport import (
    Batch,
    BrokerUnavailable,
    Connection,
    Fenced,
    InDoubt,
    Listener,
    Outgoing,
    Partition,
    Positions,
    Reader,
    TopicSpec,
)

READER = Connection("", "group")
PARTITIONS = [Partition("in", 0), Partition("in", 1)]


class Ledger:
    """A handler whose state of a partition is the list of values it has seen: easy to lose, easy to double."""

    def __init__(self, reader: Reader, meanwhile: Callable[[], None] = lambda: None) -> None:
        self._reader, self._meanwhile = reader, meanwhile
        self.state: dict[Partition, list[bytes | None]] = {}
        self.next: Positions = {}
        self.calls: list[str] = []
        self._stage: dict[Partition, tuple[int, list[bytes | None]]] = {}
        self._to_recover: Positions = {}

    def on_assigned(
        self, committed: Mapping[Partition, int | None], bounds: Mapping[Partition, tuple[int, int]]
    ) -> Sequence[Partition]:
        self.calls.append("assigned")
        self._to_recover.update({each: committed[each] or bounds[each][0] for each in committed})
        return ()

    def recover_some(self, budget_seconds: float) -> Positions | None:
        assert budget_seconds > 0
        for partition, committed in list(self._to_recover.items()):
            batches = self._reader.read_range(partition, 0, committed)
            self.state[partition] = [value for batch in batches for value in batch.values]
            self.next[partition] = self._to_recover.pop(partition)
            self.calls.append("recovered")
            break
        return None if self._to_recover else self.next

    def on_batch(self, batches: Sequence[Batch]) -> Sequence[Outgoing]:
        assert not self._to_recover, "records came before the state was there"
        self.calls.append("batch")
        self._stage = {batch.partition: (batch.next_offset, list(batch.values)) for batch in batches}
        self._meanwhile()
        return [
            Outgoing("out", [batch.partition.index] * len(batch), batch.timestamps, batch.keys, batch.values)
            for batch in batches
        ]

    def on_committed(self) -> None:
        self.calls.append("committed")
        for partition in self._stage:
            self._promote(partition)
        self._stage = {}

    def on_idle(self) -> None:
        assert not self._stage, "idle with work in hand"
        assert not self._to_recover, "idle while state is rebuilt"

    def catch_up_some(self, budget_seconds: float) -> bool:
        return False

    def on_in_doubt(self, stable: Positions) -> None:
        self.calls.append("in doubt")
        for partition, (following, _) in self._stage.items():
            if partition not in stable:
                continue
            if stable[partition] == following:
                self._promote(partition)
            elif stable[partition] != self.next[partition]:
                self._to_recover[partition] = stable[partition]
        self._stage = {}

    def on_revoked(self, partitions: Sequence[Partition]) -> None:
        assert not self._stage, "revoked with work in hand"
        self._forget("revoked", partitions)

    def on_lost(self, partitions: Sequence[Partition]) -> None:
        self._forget("lost", partitions)

    def _promote(self, partition: Partition) -> None:
        self.next[partition], values = self._stage[partition]
        self.state[partition] += values

    def _forget(self, why: str, partitions: Sequence[Partition]) -> None:
        self.calls.append(why)
        for partition in partitions:
            self.state.pop(partition, None)
            self.next.pop(partition, None)
            self._stage.pop(partition, None)
            self._to_recover.pop(partition, None)


def make_broker(**how: object) -> MemoryBroker:
    broker = MemoryBroker(**how)  # type: ignore[arg-type]
    broker.create(TopicSpec("in", 2))
    broker.create(TopicSpec("out", 2))
    return broker


def produce(broker: MemoryBroker, first: int, count: int) -> None:
    """Write numbers as values, to both partitions alternately."""
    numbers = range(first, first + count)
    writer = MemoryTransport(broker, Connection("", "writer", "writer", "at_least_once"))
    values = [b"%d" % number for number in numbers]
    writer.commit([Outgoing("in", [n % 2 for n in numbers], list(numbers), [None] * count, values)], {})


def readable(broker: MemoryBroker, topic: str) -> dict[int, list[bytes | None]]:
    reader = MemoryReader(broker, Connection("", "verifier"))
    partitions = [Partition(topic, 0), Partition(topic, 1)]
    return {
        partition.index: [value for batch in reader.read_range(partition, *bounds) for value in batch.values]
        for partition, bounds in reader.bounds(partitions).items()
    }


@dataclass
class Watching:
    """An observer that counts."""

    polled: int = 0
    committed: int = 0
    aborted: int = 0
    rebalanced: int = 0
    lag: Mapping[Partition, int] = field(default_factory=dict)

    def on_poll(self, records: int, lag: Mapping[Partition, int]) -> None:
        self.polled += records
        self.lag = lag

    def on_commit(self, seconds: float, records: int) -> None:
        assert seconds >= 0
        self.committed += records

    def on_abort(self) -> None:
        self.aborted += 1

    def on_rebalance(self, _held: Collection[Partition]) -> None:
        self.rebalanced += 1


@contextmanager
def running(
    broker: MemoryBroker,
    *,
    passed: Callable[[str], None] = lambda _point: None,
    deadlines: Deadlines | None = None,
    observer: Watching | None = None,
    health: LoopHealth | None = None,
    on_stall: Callable[[str], None] | None = None,
    ledger: Ledger | None = None,
) -> Iterator[tuple[Ledger, threading.Event, list[BaseException]]]:
    """Run a loop in a thread; stop it at the end, and hand out what it raised."""
    connection = Connection("", "group", passed=passed)
    ledger = ledger or Ledger(MemoryReader(broker, connection))
    stop, raised = threading.Event(), list[BaseException]()

    def body() -> None:
        try:
            run(
                MemoryTransport(broker, connection), ledger, topics=["in"], stop=stop, passed=passed,
                limits=BatchLimits(max_records=7, max_wait_seconds=0.05, recovery_slice_seconds=0.01),
                deadlines=deadlines, observer=observer, health=health, on_stall=on_stall,
            )  # fmt: skip
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            raised.append(error)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    try:
        yield ledger, stop, raised
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive(), "the loop did not end"


def eventually(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < deadline, "not reached within 20 s"
        time.sleep(0.005)


def answered(broker: MemoryBroker, count: int) -> Callable[[], bool]:
    return lambda: sum(map(len, readable(broker, "out").values())) >= count


def test_every_record_is_answered_once_and_in_order() -> None:
    broker, observer = make_broker(), Watching()
    produce(broker, 0, 100)
    with running(broker, observer=observer) as (ledger, _, raised):
        eventually(answered(broker, 100))
        produce(broker, 100, 20)
        eventually(answered(broker, 120))
        eventually(lambda: sum(observer.lag.values()) == 0)
        assert readable(broker, "out") == readable(broker, "in")
        assert {partition.index: values for partition, values in ledger.state.items()} == readable(broker, "in")
    assert raised == []
    assert (observer.polled, observer.committed, observer.aborted) == (120, 120, 0)
    assert ledger.calls[-1] == "revoked"


def test_a_batch_passes_its_points_in_order() -> None:
    broker = make_broker()
    points: list[str] = []
    produce(broker, 0, 5)
    with running(broker, passed=points.append):
        eventually(answered(broker, 5))
    assert points[:5] == ["assigned", "offsets", "sent", "begun", "polled"]
    assert points[5:9] == ["stepped", "offsets", "sent", "committed"]


def test_a_restart_recovers_the_state_before_it_goes_on() -> None:
    broker = make_broker()
    produce(broker, 0, 50)
    with running(broker):
        eventually(answered(broker, 50))
    produce(broker, 50, 10)
    with running(broker) as (ledger, _, _):
        eventually(answered(broker, 60))
        assert {partition.index: values for partition, values in ledger.state.items()} == readable(broker, "in")
        assert ledger.calls[:4] == ["assigned", "recovered", "recovered", "batch"]
    assert readable(broker, "out") == readable(broker, "in")


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.UNANSWERED, Fault.LATE])
@pytest.mark.parametrize("request_name", ["produce", "offsets", "end"])
def test_a_commit_in_doubt_is_settled_and_nothing_is_lost_or_doubled(fault: Fault, request_name: str) -> None:
    begun: list[str] = []
    struck: list[str] = []

    def faults(name: str, instance: str) -> Fault:
        if begun and name == request_name and instance == "0" and len(struck) < 3:
            struck.append(name)
            return fault
        return Fault.NONE

    def passed(point: str) -> None:
        if point == "begun":
            begun.append(point)

    broker, observer = make_broker(faults=faults), Watching()
    produce(broker, 0, 40)
    with running(broker, observer=observer, passed=passed) as (ledger, _, raised):
        eventually(answered(broker, 40))
        eventually(lambda: sum(map(len, ledger.state.values())) == 40)
    assert raised == []
    assert readable(broker, "out") == readable(broker, "in")
    assert observer.aborted == 3


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.UNANSWERED, Fault.LATE])
@pytest.mark.parametrize("request_name", ["offsets", "end"])
def test_first_positions_in_doubt_are_committed_again_and_nothing_is_lost_or_doubled(
    fault: Fault, request_name: str
) -> None:
    struck: list[str] = []

    def faults(name: str, instance: str) -> Fault:
        if name == request_name and instance == "0" and not struck:
            struck.append(name)
            return fault
        return Fault.NONE

    broker, observer = make_broker(faults=faults), Watching()
    produce(broker, 0, 20)
    with running(broker, observer=observer) as (_, _, raised):
        eventually(answered(broker, 20))
    with running(broker):
        produce(broker, 20, 20)
        eventually(answered(broker, 40))
    assert raised == []
    assert readable(broker, "out") == readable(broker, "in")
    assert (struck, observer.aborted) == ([request_name], 0)


def test_a_fenced_loop_drops_everything_and_ends_with_the_reason() -> None:
    broker = make_broker()
    with running(broker) as (ledger, _, raised):
        eventually(lambda: "recovered" in ledger.calls)
        MemoryTransport(broker, Connection("", "group")).subscribe(["in"], Loose())
        produce(broker, 0, 5)
        eventually(lambda: bool(raised))
    assert isinstance(raised[0], Fenced)
    assert "instance 0" in str(raised[0])
    assert ledger.calls[-1] == "lost"
    assert readable(broker, "out") == {0: [], 1: []}


def test_an_error_of_the_handler_ends_the_loop_and_saves_nothing() -> None:
    broker = make_broker()
    produce(broker, 0, 5)

    class Broken(Ledger):
        def on_batch(self, batches: Sequence[Batch]) -> Sequence[Outgoing]:
            raise ArithmeticError(f"{len(batches)} batches")

    with running(broker, ledger=Broken(MemoryReader(broker, Connection("", "group")))) as (ledger, _, raised):
        eventually(lambda: bool(raised))
    assert isinstance(raised[0], ArithmeticError)
    assert ledger.calls[-1] == "lost"
    assert "revoked" not in ledger.calls


def fails_at_once(batches: Sequence[Batch]) -> Iterator[Outgoing]:
    raise ValueError(f"lane champion of {len(batches)} batches")


def fails_while_it_encodes(batches: Sequence[Batch]) -> Iterator[Outgoing]:
    yield Outgoing("out", [0], [1], [None], [b"v"])
    fails_at_once(batches)


@pytest.mark.parametrize("fails", [fails_at_once, fails_while_it_encodes])
def test_a_failure_of_the_handler_names_partitions_and_offsets_and_is_not_tried_again(
    fails: Callable[[Sequence[Batch]], Iterator[Outgoing]], caplog: pytest.LogCaptureFixture
) -> None:
    broker = make_broker()
    produce(broker, 0, 10)

    class Broken(Ledger):
        def on_batch(self, batches: Sequence[Batch]) -> Iterator[Outgoing]:  # type: ignore[override]
            self.calls.append("batch")
            return fails(batches)

    with running(broker, ledger=Broken(MemoryReader(broker, Connection("", "group")))) as (ledger, _, raised):
        eventually(lambda: bool(raised))
    assert isinstance(raised[0], ValueError)
    assert ledger.calls.count("batch") == 1
    assert readable(broker, "out") == {0: [], 1: []}
    (said,) = [record.getMessage() for record in caplog.records if record.name == "streamcast.consumers.loop"]
    assert said.startswith("The service failed on in[0] offsets 0-4, in[1] offsets 0-1: ValueError(")
    assert "a restart reads these records again" in said


def test_records_whose_handler_could_not_reach_the_broker_are_read_again() -> None:
    broker = make_broker()
    produce(broker, 0, 30)

    class Away(Ledger):
        failures = 2

        def on_batch(self, batches: Sequence[Batch]) -> Sequence[Outgoing]:
            if self.failures:
                self.failures -= 1
                raise BrokerUnavailable("the store of snapshots did not answer")
            return super().on_batch(batches)

    with running(broker, ledger=Away(MemoryReader(broker, Connection("", "group")))) as (_, _, raised):
        eventually(answered(broker, 30))
    assert raised == []
    assert readable(broker, "out") == readable(broker, "in")


def test_a_commit_that_fails_for_ever_ends_the_loop_with_its_error() -> None:
    broker = make_broker(faults=lambda name, who: Fault.LOST if (name, who) == ("produce", "0") else Fault.NONE)
    produce(broker, 0, 5)
    health = LoopHealth()
    with running(broker, deadlines=Deadlines(patience_seconds=0.3), health=health) as (ledger, _, raised):
        eventually(lambda: bool(raised))
    assert isinstance(raised[0], InDoubt)
    assert "in doubt" in health.problems()[-1]
    assert ledger.calls[-1] == "lost"
    assert readable(broker, "out") == {0: [], 1: []}


def test_commits_that_are_too_large_for_a_slow_broker_become_smaller_until_they_succeed() -> None:
    sizes = list[int]()

    class Throttled(MemoryTransport):
        def commit(self, outgoing: Iterable[Outgoing], positions: Positions) -> None:
            pieces = list(outgoing)
            sizes.append(sum(map(len, pieces)))
            if sizes[-1] > 8:
                raise InDoubt("the broker did not take so many within the deadline")
            super().commit(pieces, positions)
            if answered(broker, 40)():
                stop.set()

    broker, connection, stop = make_broker(), Connection("", "group"), threading.Event()
    produce(broker, 0, 40)
    run(
        Throttled(broker, connection), Ledger(MemoryReader(broker, connection)), topics=["in"], stop=stop,
        limits=BatchLimits(max_records=64, max_wait_seconds=0.05),
    )  # fmt: skip
    assert readable(broker, "out") == readable(broker, "in")
    assert sizes[:4] == [40, 16, 4, 5]


def test_a_partition_whose_commit_fails_for_ever_ends_the_loop_although_the_other_is_answered() -> None:
    class Refusing(MemoryTransport):
        def commit(self, outgoing: Iterable[Outgoing], positions: Positions) -> None:
            if PARTITIONS[0] in positions:
                raise InDoubt("the leader of out[0] does not answer")
            super().commit(outgoing, positions)
            produce(broker, 1, 1)  # to the other partition

    class Pausing:
        """Nobody asks the loop to stop, and its pauses pass on a clock of their own."""

        def is_set(self) -> bool:
            return False

        def wait(self, timeout: float) -> bool:
            clock.now += timeout
            return False

    clock = HandClock()
    broker, connection, health = make_broker(), Connection("", "group"), LoopHealth()
    produce(broker, 0, 2)
    ready_again = list[bool]()
    with pytest.raises(InDoubt, match="does not answer"):
        run(
            Refusing(broker, connection), Ledger(MemoryReader(broker, connection)), topics=["in"],
            stop=Pausing(), health=health, deadlines=Deadlines(patience_seconds=0.5), clock=clock,
            limits=BatchLimits(max_records=1, max_wait_seconds=0.05),
            passed=lambda point: ready_again.append(health.trouble is None) if point == "stepped" else None,
        )  # fmt: skip
    out = readable(broker, "out")
    assert out[0] == []
    assert len(out[1]) > 1
    assert ready_again == sorted(ready_again, reverse=True)  # from the first failure on it stays unready


@pytest.mark.parametrize("refused", [[26], [0], [38], [2, 4, 26]])
def test_a_partition_whose_answer_its_topic_refuses_is_set_aside_and_the_others_go_on(
    refused: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    clock = HandClock()
    broker, connection, health = make_broker(clock=clock), Connection("", "group"), LoopHealth(clock=clock)
    broker.alter("out", {"max.message.bytes": "20"})
    for number in range(40):  # even numbers are in partition 0
        size = 30 if number in refused else 3
        writer = MemoryTransport(broker, Connection("", "writer", "writer", "at_least_once"))
        writer.commit([Outgoing("in", [number % 2], [1], [None], [b"%0*d" % (size, number)])], {})
    ledger, observer = Ledger(MemoryReader(broker, connection)), Watching()
    loop = Loop(
        MemoryTransport(broker, connection), ledger, ["in"], limits=BatchLimits(max_wait_seconds=0), health=health,
        observer=observer, clock=clock,
    )  # fmt: skip
    for _ in range(30):
        loop.iterate()
    before = refused[0] // 2
    assert readable(broker, "out") == {0: readable(broker, "in")[0][:before], 1: readable(broker, "in")[1]}
    assert ledger.state[PARTITIONS[0]] == readable(broker, "out")[0]
    (problem,) = health.problems()
    assert problem.startswith(f"in[0] is not answered from offset {before} on, for 0 s now: Topic out cannot hold")
    assert not loop.failing
    aborted = observer.aborted
    for _ in range(10):
        clock.now += 31
        loop.iterate()
        loop.iterate()
    assert observer.aborted == aborted + 10  # one try each time
    assert len([record for record in caplog.records if "is not answered" in record.getMessage()]) == 1
    broker.alter("out", {})
    clock.now += 31
    for _ in range(10):
        loop.iterate()
    assert readable(broker, "out") == readable(broker, "in")
    assert ledger.state == {PARTITIONS[index]: values for index, values in readable(broker, "in").items()}
    assert health.ready()
    assert "in[0] is answered again" in caplog.text


def test_a_partition_that_is_set_aside_is_taken_over_by_another_member() -> None:
    broker, clock = make_broker(), HandClock()
    broker.alter("out", {"max.message.bytes": "1"})
    produce(broker, 8, 6)  # from the third on they have two digits
    loops, healths = list[Loop](), list[LoopHealth]()
    for instance in "01":
        connection = Connection("", "group", instance)
        healths.append(LoopHealth(clock=clock))
        loops.append(
            Loop(
                MemoryTransport(broker, connection), Ledger(MemoryReader(broker, connection)), ["in"],
                limits=BatchLimits(max_wait_seconds=0), health=healths[-1], observer=Unobserved(), clock=clock,
            )
        )  # fmt: skip
        for _ in range(20):
            for loop in loops:
                loop.iterate()
    assert [len(health.refusals.seconds()) for health in healths] == [1, 1]
    assert {partition for health in healths for partition in health.refusals.seconds()} == set(PARTITIONS)
    loops.pop(0).close(1)
    broker.expire("group", "0")
    broker.alter("out", {})
    clock.now += 31
    for _ in range(20):
        loops[0].iterate()
    assert readable(broker, "out") == readable(broker, "in")
    assert healths[1].ready()


def test_a_loop_whose_last_doubt_cannot_be_settled_closes_its_transport_all_the_same() -> None:
    class Broken(Ledger):
        def on_in_doubt(self, stable: Positions) -> None:
            raise ValueError(f"cannot settle {len(stable)} partitions")

    broker = make_broker()
    produce(broker, 0, 5)
    transport, ledger = MemoryTransport(broker, Connection("", "group", "0")), Broken(MemoryReader(broker, READER))
    loop = Loop(transport, ledger, ["in"], limits=BatchLimits(), health=LoopHealth(), observer=Unobserved())
    for _ in range(3):
        loop.iterate()
    loop._note_doubt({})
    with pytest.raises(ValueError, match="cannot settle 2 partitions"):
        loop.close(1.0)
    assert ledger.calls[-1] == "lost"
    assert transport._listener is None, "closed"


def test_joining_is_tried_again_while_the_broker_does_not_answer(caplog: pytest.LogCaptureFixture) -> None:
    lost = ["init"] * 3
    broker = make_broker(
        faults=lambda name, who: Fault.LOST if who == "0" and lost and name == lost.pop() else Fault.NONE
    )
    produce(broker, 0, 10)
    with running(broker) as (_, _, raised):
        eventually(answered(broker, 10))
    assert raised == []
    assert "trying again for up to 300 s" in caplog.text


def test_joining_that_fails_for_longer_than_patience_ends_the_loop() -> None:
    broker = make_broker(faults=lambda name, who: Fault.LOST if (name, who) == ("init", "0") else Fault.NONE)
    with running(broker, deadlines=Deadlines(patience_seconds=0.3)) as (_, _, raised):
        eventually(lambda: bool(raised))
    assert isinstance(raised[0], BrokerUnavailable)


def test_a_loop_that_is_stopped_while_it_joins_ends_without_an_error() -> None:
    broker = make_broker(faults=lambda name, who: Fault.LOST if (name, who) == ("init", "0") else Fault.NONE)
    health = LoopHealth()
    with running(broker, health=health) as (_, _, raised):
        eventually(lambda: health.trouble is not None)
    assert raised == []


def test_the_loop_waits_for_a_broker_that_is_away_and_goes_on_when_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    away = [False]
    broker = make_broker(faults=lambda _name, who: Fault.LOST if away[0] and who == "0" else Fault.NONE)
    health = LoopHealth()
    with running(broker, health=health) as (ledger, _, raised):
        eventually(health.ready)
        away[0] = True
        produce(broker, 0, 30)
        eventually(lambda: not health.ready())
        assert health.alive()
        away[0] = False
        eventually(answered(broker, 30))
        eventually(health.ready)
    assert raised == []
    assert readable(broker, "out") == readable(broker, "in")
    assert "in doubt" in ledger.calls
    went, came = [record.getMessage() for record in caplog.records if record.name == "streamcast.consumers.loop"]
    assert "trying again for up to 300 s" in went
    assert came.startswith("going on after")


def test_a_loop_that_hangs_is_given_up_by_the_watchdog() -> None:
    broker, released = make_broker(), threading.Event()
    given_up: list[str] = []
    produce(broker, 0, 5)

    class Hanging(Ledger):
        def on_batch(self, batches: Sequence[Batch]) -> Sequence[Outgoing]:
            released.wait(20)
            return super().on_batch(batches)

    health = LoopHealth(iteration_seconds=0.1)
    hanging = Hanging(MemoryReader(broker, Connection("", "group")))
    deadlines = Deadlines(iteration_seconds=0.1, stall_seconds=0.3)
    with running(broker, ledger=hanging, health=health, deadlines=deadlines, on_stall=given_up.append):
        eventually(lambda: not health.alive())
        eventually(lambda: bool(given_up))
        assert not health.ready()
        released.set()
    assert "silent" in given_up[0]
    assert given_up[0].endswith("while it answered in[0] offsets 0-2, in[1] offsets 0-1")


def test_a_slow_start_before_the_loop_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    broker, given_up, join = make_broker(), list[str](), MemoryTransport.subscribe

    def slowly(transport: MemoryTransport, topics: Sequence[str], listener: Listener) -> None:
        threading.Event().wait(0.5)  # the watchdog looks every tenth of a second
        join(transport, topics, listener)

    monkeypatch.setattr(MemoryTransport, "subscribe", slowly)
    health = LoopHealth()
    health._last_beat -= 3_600
    with running(broker, health=health, deadlines=Deadlines(stall_seconds=2), on_stall=given_up.append):
        eventually(lambda: health.assigned)
    assert given_up == []


def test_a_shutdown_that_takes_too_long_is_given_up_by_the_watchdog() -> None:
    broker, released = make_broker(), threading.Event()
    given_up: list[str] = []

    class Clinging(Ledger):
        def on_revoked(self, partitions: Sequence[Partition]) -> None:
            released.wait(20)
            super().on_revoked(partitions)

    clinging = Clinging(MemoryReader(broker, Connection("", "group")))
    deadlines = Deadlines(shutdown_seconds=0.2)
    with running(broker, ledger=clinging, deadlines=deadlines, on_stall=given_up.append) as (ledger, stop, _):
        eventually(lambda: "recovered" in ledger.calls)
        stop.set()
        eventually(lambda: bool(given_up))
        released.set()
    assert "did not end" in given_up[0]


def test_partitions_stay_paused_while_recovery_works_in_slices() -> None:
    broker = make_broker()
    produce(broker, 0, 20)

    class Slow(Ledger):
        slices = 0

        def recover_some(self, budget_seconds: float) -> Positions | None:
            self.slices += 1
            return super().recover_some(budget_seconds) if self.slices > 5 else None

    slow = Slow(MemoryReader(broker, Connection("", "group")))
    observer = Watching()
    with running(broker, ledger=slow, observer=observer):
        eventually(answered(broker, 20))
    assert slow.slices > 5
    assert slow.calls[:3] == ["assigned", "recovered", "recovered"]


class Loose:
    """A listener that does not care."""

    def on_assigned(self, partitions: Sequence[Partition]) -> None: ...

    def on_revoked(self, partitions: Sequence[Partition]) -> None: ...

    def on_lost(self, partitions: Sequence[Partition]) -> None: ...


class Simulation:
    """Several members in one thread, on a broker whose time is simulated and whose network is scripted."""

    def __init__(self, members: int) -> None:
        self.now, self.written = 0.0, 0
        self.faults: dict[str, list[Fault]] = {}
        self.broker = make_broker(
            clock=lambda: self.now, sleep=self.sleep, faults=self.fault, member_seconds=10, transaction_seconds=8
        )
        self.members: dict[str, tuple[Loop, Ledger]] = {}
        self.zombies: list[Loop] = []
        self.stalls: set[str] = set()
        self.stopped: set[str] = set()
        for instance in map(str, range(members)):
            self.start(instance)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def fault(self, _request: str, instance: str) -> Fault:
        script = self.faults.get(instance, [])
        return script.pop(0) if script else Fault.NONE

    def start(self, instance: str) -> None:
        """Start a member, or replace it as after a kill: nothing of the old one is closed, and it may come back."""
        connection = Connection("", "group", instance)
        ledger = Ledger(MemoryReader(self.broker, connection), lambda: self.stall(instance))
        if instance in self.members:
            self.zombies.append(self.members.pop(instance)[0])
        limits = BatchLimits(max_records=3, max_wait_seconds=0.5)
        with suppress(BrokerUnavailable):
            transport = MemoryTransport(self.broker, connection)
            health, clock = LoopHealth(clock=lambda: self.now), lambda: self.now
            loop = Loop(transport, ledger, ["in"], limits=limits, health=health, observer=Unobserved(), clock=clock)
            self.members[instance] = loop, ledger

    def iterate(self, instance: str) -> None:
        if instance not in self.members:
            self.start(instance)
            return
        loop, _ = self.members[instance]
        try:
            loop.iterate()
        except (BrokerUnavailable, InDoubt):
            self.now += 0.1
        except Fenced:
            loop.abandon()
            del self.members[instance]
            self.start(instance)

    def stall(self, instance: str) -> None:
        """In the middle of its batch a member is stopped for so long that the group goes on without it."""
        if instance in self.stalls:
            self.stalls.remove(instance)
            self.stopped.add(instance)
            self.now += 20
            for other in [each for each in self.members if each not in self.stopped] * 5:
                self.iterate(other)
            self.stopped.remove(instance)

    def produce(self, count: int) -> None:
        produce(self.broker, self.written, count)
        self.written += count

    def revive(self, _instance: str) -> None:
        """A killed member turns out to be alive."""
        if self.zombies:
            zombie = self.zombies.pop()
            with suppress(BrokerUnavailable, InDoubt, Fenced):
                zombie.iterate()
                self.zombies.append(zombie)

    def leave(self, instance: str) -> None:
        if instance in self.members:
            loop, _ = self.members.pop(instance)
            with suppress(BrokerUnavailable):
                loop.close(1)


@pytest.mark.parametrize("request_name", ["committed", "recover"])
def test_a_member_that_cannot_take_over_goes_on_polling_so_that_its_group_gets_on(request_name: str) -> None:
    class Unreachable(Ledger):
        def recover_some(self, budget_seconds: float) -> Positions | None:
            if request_name == "recover":
                raise BrokerUnavailable("in[0] gave nothing")
            return super().recover_some(budget_seconds)

    world = Simulation(members=1)
    world.produce(20)
    stuck, ledger = world.members["0"]
    stuck._handler = Unreachable(ledger._reader)
    for _ in range(5):
        if request_name == "committed":
            world.faults["0"] = [Fault.LOST]
        world.iterate("0")
    world.start("1")
    for _ in range(10):
        if request_name == "committed":
            world.faults["0"] = [Fault.LOST]
        world.iterate("0")
        world.iterate("1")
    assert world.now < 10, "the group never removed the member that cannot take over"
    assert stuck._held + stuck._arrived == PARTITIONS[:1]
    assert world.members["1"][1].state == {PARTITIONS[1]: readable(world.broker, "in")[1]}
    assert readable(world.broker, "out")[1] == readable(world.broker, "in")[1]
    stuck._handler = ledger
    if request_name == "recover":
        ledger._to_recover = dict.fromkeys(PARTITIONS[:1], 0)
    for _ in range(10):
        world.iterate("0")
    assert readable(world.broker, "out") == readable(world.broker, "in")


INSTANCES = st.sampled_from(["0", "1", "2"])
EVENTS = st.one_of(
    st.tuples(st.just("rounds"), st.integers(1, 8)),
    st.tuples(st.just("iterate"), INSTANCES),
    st.tuples(st.just("kill"), INSTANCES),
    st.tuples(st.just("leave"), INSTANCES),
    st.tuples(st.just("stall"), INSTANCES),
    st.tuples(st.just("revive"), INSTANCES),
    st.tuples(st.just("fence"), INSTANCES),
    st.tuples(st.just("expire"), INSTANCES),
    st.tuples(st.just("wait"), st.sampled_from([1.0, 9.0, 20.0])),
    st.tuples(st.just("produce"), st.integers(1, 9)),
    st.tuples(st.just("rule"), st.sampled_from(["1", "2"])),
    st.tuples(st.just("faults"), st.tuples(INSTANCES, st.lists(st.sampled_from(Fault), max_size=8))),
)


def happen(world: Simulation, what: str, subject: object) -> None:
    """Let one event of the script happen."""
    match what, subject:
        case "rounds", int(count):
            for instance in list(world.members) * count:
                world.iterate(instance)
        case "produce", int(count):
            world.produce(count)
        case "rule", str(most):  # 1 refuses all records from the tenth on
            world.broker.alter("out", {"max.message.bytes": most})
        case "wait", float(seconds):
            world.now += seconds
        case "faults", (str(instance), list(script)):
            world.faults[instance] = script.copy()
        case "stall", str(instance):
            world.stalls.add(instance)
        case "expire", str(instance):
            world.broker.expire("group", instance)
        case "fence", str(instance):
            with suppress(KeyError):
                world.broker.fence(f"group-{instance}")
        case _:
            doing = {"iterate": world.iterate, "kill": world.start, "leave": world.leave, "revive": world.revive}
            doing[what](str(subject))


@settings(max_examples=150, deadline=None)
@given(events=st.lists(EVENTS, min_size=10, max_size=50))
def test_no_sequence_of_faults_loses_or_doubles_a_record_or_spoils_a_state(events: list[tuple[str, object]]) -> None:
    world = Simulation(members=2)
    world.produce(20)
    for what, subject in events:
        happen(world, what, subject)
    world.faults.clear()
    world.stalls.clear()
    world.broker.alter("out", {})
    for _ in range(400):
        for instance in list(world.members) or ["0"]:
            world.iterate(instance)
    assert readable(world.broker, "out") == readable(world.broker, "in")
    assert sum(map(len, readable(world.broker, "out").values())) == world.written
    held = [partition for _, ledger in world.members.values() for partition in ledger.state]
    assert sorted(held) == PARTITIONS
    for _, ledger in world.members.values():
        for partition, values in ledger.state.items():
            assert values == readable(world.broker, "in")[partition.index]
