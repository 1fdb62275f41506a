"""``streamcast serve`` as a process that ends, freezes or is asked to stop at a chosen point of a commit.

A fork server imports this once, so that hundreds of processes start at once; each is a real process with its own
clients, and gets real signals.  None outlives the programme that started it.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from streamcast.app.commands.deployment.serve import serve
from streamcast.app.settings import load_settings
from streamcast.consumers.loop import Loop
from streamcast.consumers.transport import Partition
from streamcast.service import snapshots as snapshot

STALL_SECONDS = 5.0

POINTS = ("polled", "stepped", "sent", "offsets", "committed", "renamed")


@dataclass(frozen=True, slots=True)
class Trap:
    """The signal that a process sends to itself when it passes ``point`` for the ``nth`` time (from 1).

    Without a signal it sleeps there for ``STALL_SECONDS``, while its other threads go on.
    """

    point: str
    nth: int
    signal: signal.Signals | None = signal.SIGKILL


def run(overrides: Mapping[str, object], report: Path, trap: Trap | None) -> None:
    """Serve under these settings, writing what happens and when (monotonic seconds) to ``report``."""
    torch.set_num_threads(1)
    log = os.open(report.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, sys.stderr.fileno())
    os.dup2(log, sys.stdout.fileno())
    told = os.open(report, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    passes: defaultdict[str, int] = defaultdict(int)
    lock = threading.Lock()

    def tell(what: str) -> None:
        os.write(told, f"{what} {time.monotonic()}\n".encode())

    def passed(point: str) -> None:
        with lock:
            passes[point] += 1
        if point == "committed":
            tell("committed")
        if trap is not None and trap.point == point and trap.nth == passes[point]:
            tell("trapped")
            if trap.signal is None:
                time.sleep(STALL_SECONDS)
            else:
                os.kill(os.getpid(), trap.signal)

    _report_snapshots(passed)
    _report_assignments(tell)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    settings = load_settings(None, overrides)
    tell("begun")
    code = 1
    try:
        code = serve(settings, passed)
    except Exception:  # noqa: BLE001 - its log shows why a process ended
        traceback.print_exc()
    tell("ended")
    os._exit(code)  # a thread that a client left behind must not keep the process alive


def _report_snapshots(passed: Callable[[str], None]) -> None:
    write = snapshot._write_aside

    def written(path: Path, data: bytes, mode: int) -> None:
        write(path, data, mode)
        passed("renamed")

    snapshot._write_aside = written


def _report_assignments(tell: Callable[[str], None]) -> None:
    assigned = Loop.on_assigned

    def told(self: Loop, partitions: Sequence[Partition]) -> None:
        tell("assigned")
        assigned(self, partitions)

    Loop.on_assigned = told  # type: ignore[method-assign]
