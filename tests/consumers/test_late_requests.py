"""Requests of a transaction that reach a real Kafka only in the next one, long after their client gave them up."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

import pytest

from harness.local_kafka import OLD_COORDINATOR, VERSION, LocalKafka, available
from harness.proxy import KafkaProxy, Request
from streamcast.consumers import committing
from streamcast.consumers.kafka_python.transport import KafkaTransport
from streamcast.consumers.librdkafka.transport import LibrdTransport
from streamcast.consumers.transport import Connection, InDoubt, Outgoing, Partition, TopicSpec, Transport

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

CLIENTS: dict[str, Callable[[Connection], Transport]] = {"kafka-python": KafkaTransport, "librdkafka": LibrdTransport}


class Heard:
    """A listener that knows whether partitions came."""

    assigned = False

    def on_assigned(self, partitions: Sequence[Partition]) -> None:
        self.assigned = True

    def on_revoked(self, partitions: Sequence[Partition]) -> None: ...

    def on_lost(self, partitions: Sequence[Partition]) -> None: ...


class Member:
    """A member of a group that answers one partition, through a proxy."""

    def __init__(self, bootstrap_servers: str, client: str) -> None:
        group = uuid.uuid4().hex
        self.transport = CLIENTS[client](Connection(bootstrap_servers, group))
        self.input, self.output = Partition(f"in-{group}", 0), Partition(f"out-{group}", 0)
        self.transport.create([TopicSpec(self.input.topic, 1), TopicSpec(self.output.topic, 1)])
        heard = Heard()
        self.transport.subscribe([self.input.topic], heard)
        while not heard.assigned:
            self.transport.poll(0.1, 1)
        self.transport.seek({self.input: 0})

    def answer(self, start: int, end: int) -> None:
        """Commit the answers of the offsets from ``start`` up to ``end``."""
        values = [str(offset).encode() for offset in range(start, end)]
        columns = [0] * len(values), [1] * len(values), [None] * len(values), values
        self.transport.commit([Outgoing(self.output.topic, *columns)], {self.input: end})

    def answers(self) -> tuple[int, list[int]]:
        """The committed position, and the offsets that were answered.

        The broker ends a transaction in each partition some time after it has confirmed the end: answers may come
        later than the position, but not after seconds.
        """
        position, answered = self.transport.committed([self.input])[self.input], list[int]()
        deadline = time.monotonic() + 10
        while len(answered) < position and time.monotonic() < deadline:
            first, end = self.transport.bounds([self.output])[self.output]
            batches = list(self.transport.read_range(self.output, first, end))
            answered = [int(value or 0) for batch in batches for value in batch.values]
        return position, answered


@pytest.fixture(scope="module")
def proxy() -> Iterator[KafkaProxy]:
    if (reason := available()) is not None:
        pytest.skip(reason)
    with KafkaProxy() as proxy:
        yield proxy


@pytest.fixture(scope="module", params=sorted({VERSION, OLD_COORDINATOR}))
def behind(request: pytest.FixtureRequest, proxy: KafkaProxy) -> Iterator[str]:
    with LocalKafka(advertised_port=proxy.port, version=request.param) as kafka:
        proxy.target_port = kafka.port
        yield kafka.bootstrap_servers


@pytest.fixture(params=sorted(CLIENTS))
def member(request: pytest.FixtureRequest, behind: str) -> Iterator[Member]:
    member = Member(behind, request.param)
    yield member
    member.transport.close(10.0)


@pytest.mark.parametrize("late", [Request.END_TRANSACTION, Request.TRANSACTION_OFFSETS])
def test_what_a_lost_connection_held_does_not_reach_the_next_transaction(
    member: Member, proxy: KafkaProxy, late: Request
) -> None:
    member.answer(0, 2)
    arrived = proxy.arrived_late
    proxy.make_late(late, cut=True)
    member.answer(2, 5)
    assert proxy.arrived_late == arrived
    member.answer(5, 9)
    assert proxy.arrived_late == arrived + 1
    assert member.answers() == (9, list(range(9)))


@pytest.mark.parametrize("late", [Request.END_TRANSACTION, Request.TRANSACTION_OFFSETS])
def test_first_positions_that_arrive_late_do_not_set_later_ones_back(
    member: Member, proxy: KafkaProxy, late: Request
) -> None:
    arrived = proxy.arrived_late
    proxy.make_late(late, cut=True)
    member.transport.begin({member.input: 0})
    assert proxy.arrived_late == arrived
    member.answer(0, 4)
    assert proxy.arrived_late == arrived + 1
    assert member.answers() == (4, list(range(4)))


def test_a_commit_that_nobody_answered_does_not_end_the_next_transaction(
    member: Member, proxy: KafkaProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    member.answer(0, 2)
    proxy.make_late(Request.END_TRANSACTION, cut=False)
    with monkeypatch.context() as impatient:
        impatient.setattr(committing, "COMMIT_SECONDS", 3.0)
        with pytest.raises(InDoubt):
            member.answer(2, 5)
    assert member.transport.settle() == {member.input: 2}
    arrived = proxy.arrived_late
    member.answer(2, 5)
    assert proxy.arrived_late > arrived
    member.answer(5, 9)
    assert member.answers() == (9, list(range(9)))


def test_an_abort_that_nobody_answered_does_not_end_the_next_transaction(
    member: Member, proxy: KafkaProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing() -> Iterator[Outgoing]:
        yield Outgoing(member.output.topic, [0], [1], [None], [b"99"])
        _fail()

    def _fail() -> NoReturn:
        raise ZeroDivisionError

    member.answer(0, 2)
    proxy.make_late(Request.END_TRANSACTION, cut=False)
    with monkeypatch.context() as impatient:
        impatient.setattr(committing, "ABORT_SECONDS", 2.0)
        with pytest.raises(ZeroDivisionError):
            member.transport.commit(failing(), {member.input: 5})
    arrived = proxy.arrived_late
    member.answer(2, 5)
    assert proxy.arrived_late > arrived
    assert member.answers() == (5, list(range(5)))
