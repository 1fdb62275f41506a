"""A killed benchmark leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CHILD = "from benchmarks.children import end_with_parent; end_with_parent(); print('ready', flush=True); {}"
FOREVER = "import time; time.sleep(600)"
POOL = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from benchmarks import children

if __name__ == "__main__":
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, initializer=children.end_worker_with_parent) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600)
        time.sleep(600)
"""
SINGLE = f"""
import subprocess, sys, time
from benchmarks import children

process = children.start([sys.executable, "-c", {CHILD.format(FOREVER)!r}], stdout=subprocess.PIPE)
assert process.stdout.readline() == "ready\\n"
print(process.pid, flush=True)
time.sleep(600)
"""


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.parametrize("script", [SINGLE, POOL], ids=["a process", "a pool's worker"])
def test_children_end_when_their_benchmark_is_killed(script: str, tmp_path: Path) -> None:
    file = tmp_path / "parent.py"
    file.write_text(script, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen([sys.executable, file], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert alive(child)
        parent.send_signal(signal.SIGKILL)
        parent.wait(10)
        until = time.monotonic() + 20
        while alive(child) and time.monotonic() < until:
            time.sleep(0.05)
        assert not alive(child)


def test_a_child_that_a_person_starts_runs_to_its_end() -> None:
    command = [sys.executable, "-c", CHILD.format("print('done')")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    assert done.stdout == "ready\ndone\n"
