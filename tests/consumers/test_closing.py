"""What must end although no other thread of its process can run: in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

import pytest

MEMBERS_THAT_CLOSE_IN_A_REBALANCE = """
    import sys, time, uuid
    from streamcast.consumers.librdkafka.transport import LibrdTransport
    from streamcast.consumers.transport import Connection, TopicSpec

    OPTIONS = {"max.poll.interval.ms": 2000, "session.timeout.ms": 2000, "heartbeat.interval.ms": 300}

    class Member:
        def __init__(self, group, name):
            self.transport = LibrdTransport(Connection(sys.argv[1], group, name, options=OPTIONS))
            self.topic, self.assigned, self.gone = group, 0, False
        def join(self):
            self.transport.subscribe([self.topic], self)
        def on_assigned(self, partitions):
            self.assigned += 1
        def on_revoked(self, partitions):
            self.gone = True
        on_lost = on_revoked

    def poll(members, until):
        deadline = time.monotonic() + 60
        while not all(map(until, members)):
            assert time.monotonic() < deadline
            for member in members:
                member.transport.poll(0.02, 10)

    groups = [uuid.uuid4().hex for _ in range(8)]
    silent, others = ([Member(group, name) for group in groups] for name in ("silent", "other"))
    for member in silent:
        member.transport.create([TopicSpec(member.topic, 2)])
        member.join()
    poll(silent, until=lambda member: member.assigned)
    for member in others:
        member.join()
    poll(others, until=lambda member: member.assigned)      # after two seconds the silent ones are left out
    poll(silent, until=lambda member: member.gone)
    for _ in range(10):                                     # they join again ...
        for member in silent:
            member.transport.poll(0.02, 10)
    poll(others, until=lambda member: member.assigned > 1)  # ... their partitions are on the way ...
    for member in [*silent, *others]:                       # ... when they close
        member.transport.close(10)
    print("all closed")
"""

COOPERATIVE_MEMBERS_THAT_CLOSE_BEFORE_THEY_POLL_AN_ASSIGNMENT = """
    import sys, time, uuid
    from streamcast.consumers.librdkafka.transport import LibrdTransport
    from streamcast.consumers.transport import Connection, TopicSpec

    OPTIONS = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 300}

    class Member:
        def __init__(self, group, name):
            connection = Connection(sys.argv[1], group, name, assignor="cooperative-sticky", options=OPTIONS)
            self.transport, self.topic = LibrdTransport(connection), group
            self.assigned = self.gone = False
        def join(self):
            self.transport.subscribe([self.topic], self)
        def on_assigned(self, partitions):
            self.assigned = True
            self.transport.seek(dict.fromkeys(partitions, 0))
        def on_revoked(self, partitions):
            self.gone = True
        on_lost = on_revoked

    def poll(members, until):
        deadline = time.monotonic() + 60
        while not until():
            assert time.monotonic() < deadline
            for member in members:
                member.transport.poll(0.02, 10)

    groups = [uuid.uuid4().hex for _ in range(3)]
    first, second = ([Member(group, name) for group in groups] for name in ("first", "second"))
    for member in first:
        member.transport.create([TopicSpec(member.topic, 2)])
        member.join()
    poll(first, until=lambda: all(member.assigned for member in first))
    for member in second:
        member.join()
    for one, other in zip(first, second):
        poll([one, other], until=lambda: one.gone)
        poll([other], until=lambda: other.assigned)  # by now the client of the silent one has its assignment, too
        one.transport.close(10)
        other.transport.close(10)
    print("all closed")
"""

A_CALL_THAT_KEEPS_THE_INTERPRETER = """
    import ctypes, threading, time
    from streamcast.consumers.health import guard_interpreter

    ended = threading.Event()
    guard = threading.Thread(target=guard_interpreter, args=(2.0, ended))
    guard.start()
    time.sleep(4)  # other threads run
    print("guarded", flush=True)
    ctypes.PyDLL(None).sleep(100)
"""


def test_a_process_ends_when_a_call_keeps_the_interpreter_for_ever() -> None:
    program = [sys.executable, "-c", dedent(A_CALL_THAT_KEEPS_THE_INTERPRETER)]
    ended = subprocess.run(program, check=False, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (1, "guarded\n")
    assert 'File "<string>", line 10 in <module>' in ended.stderr


@pytest.mark.kafka
def test_a_librdkafka_member_closes_in_the_middle_of_a_rebalance(kafka: str) -> None:
    program = [sys.executable, "-c", dedent(MEMBERS_THAT_CLOSE_IN_A_REBALANCE), kafka]
    ended = subprocess.run(program, check=False, capture_output=True, text=True, timeout=150)
    assert ended.stdout == "all closed\n", ended.stderr


@pytest.mark.kafka
def test_a_cooperative_librdkafka_member_ends_although_an_assignment_waits_for_its_poll(kafka: str) -> None:
    program = [sys.executable, "-c", dedent(COOPERATIVE_MEMBERS_THAT_CLOSE_BEFORE_THEY_POLL_AN_ASSIGNMENT), kafka]
    ended = subprocess.run(program, check=False, capture_output=True, text=True, timeout=150)
    assert ended.stdout == "all closed\n", ended.stderr
    assert "did not end" not in ended.stderr
