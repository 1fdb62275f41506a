"""Whether a process that was sent SIGSTOP is stopped."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def is_stopped(pid: int) -> bool:
    """Whether all threads of a process are stopped; on a busy machine they go on for a while after the signal."""
    states = []
    for thread in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            states.append(thread.read_text().rpartition(")")[2].split()[0])
    return set(states) == {"T"}
