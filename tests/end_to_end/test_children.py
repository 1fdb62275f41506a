"""No process that the fault programme starts outlives it, however the programme ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.frozen import is_stopped

SECONDS = 60.0
PROGRAMME = r"""
import time
from harness import commands
from harness.bound import bound
commands.PRELOADED = ()  # what the commands import takes seconds, and is nothing to these processes
CHILD = "import os, time; os.write(1, b'%d\\n' % os.getpid()); time.sleep(600)"
for _ in range(2):
    commands.fork_server().Process(target=bound, args=(exec, CHILD)).start()
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
        try:
            children = [int(programme.stdout.readline()) for _ in range(2)]
            os.kill(children[1], signal.SIGSTOP)
            deadline = time.monotonic() + SECONDS
            while not is_stopped(children[1]) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert all(map(running, children))
        finally:
            programme.kill()
            programme.wait()
        deadline = time.monotonic() + SECONDS
        while any(map(running, children)) and time.monotonic() < deadline:
            time.sleep(0.05)
        survivors = [pid for pid in children if running(pid)]
        for pid in survivors:
            os.kill(pid, signal.SIGKILL)
        assert survivors == []
