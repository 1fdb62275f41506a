"""Processes that a benchmark starts, and that end with it, also when it is killed.

The parent holds one end of a pipe and never writes to it.  The kernel closes that end when the parent dies, for any
reason; the child reads end-of-file and exits.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import threading
import weakref
from collections.abc import Sequence
from multiprocessing.connection import wait
from typing import Any

PIPE = "STREAMCAST_BENCHMARK_PIPE"
"""The environment variable with the number of the child's end."""


def start(command: Sequence[str], **options: Any) -> subprocess.Popen[str]:
    """Start a process whose main function calls ``end_with_parent``; the options are those of ``Popen``.

    Keep the returned object for as long as the process is to run.
    """
    theirs, ours = os.pipe()
    environment = {**os.environ, PIPE: str(theirs)}
    try:
        process = subprocess.Popen(command, text=True, pass_fds=(theirs,), env=environment, **options)
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    weakref.finalize(process, os.close, ours)
    return process


def end_with_parent() -> None:
    """End this process as soon as the benchmark that started it has ended; do nothing when a person started it."""
    if (number := os.environ.pop(PIPE, None)) is not None:
        threading.Thread(target=_end_at_eof, args=(int(number),), daemon=True).start()


def _end_at_eof(number: int) -> None:
    while os.read(number, 1):
        pass
    os._exit(1)


def end_worker_with_parent() -> None:
    """End this worker of a process pool as soon as the process that made the pool has ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
