"""Processes of a fork server that do not outlive the programme that started it."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing import forkserver

SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux


def bound(target: Callable[..., object], *arguments: object) -> None:
    """Call ``target`` in a process of the programme or its fork server, which the kernel kills when that dies.

    The fork server ends when the last copy of a pipe is closed, which multiprocessing hands to every child; without
    these copies it ends with the programme, and SIGKILL follows its end, also to a frozen process (SIGSTOP).
    """
    if (alive := forkserver._forkserver._forkserver_alive_fd) is not None:  # type: ignore[attr-defined]
        os.close(alive)
    if ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL) != 0:
        raise OSError("prctl(PR_SET_PDEATHSIG) failed: this process could outlive the programme that started it")
    programme = multiprocessing.parent_process()
    if programme is not None and programme.is_alive():
        target(*arguments)
