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
