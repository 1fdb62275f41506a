"""No process that the fault programme starts outlives it, however the programme ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAMME = """
import os, signal, time
from harness import commands
from harness.bound import bound
commands.PRELOADED = ()  # what the commands import takes seconds, and is nothing to these processes
children = [commands.fork_server().Process(target=bound, args=(time.sleep, 600)) for _ in range(2)]
for child in children:
    child.start()
time.sleep(1)
os.kill(children[1].pid, signal.SIGSTOP)
print(*(child.pid for child in children), flush=True)
time.sleep(600)
"""


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_when_the_programme_is_killed_its_running_and_its_frozen_children_end() -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAMME], stdout=subprocess.PIPE, text=True) as programme:
        assert programme.stdout is not None
        children = [int(pid) for pid in programme.stdout.readline().split()]
        assert len(children) == 2
        assert all(map(running, children))
        programme.kill()
        programme.wait()
        deadline = time.monotonic() + 20
        while any(map(running, children)) and time.monotonic() < deadline:
            time.sleep(0.05)
        survivors = [pid for pid in children if running(pid)]
        for pid in survivors:
            os.kill(pid, signal.SIGKILL)
        assert survivors == []
