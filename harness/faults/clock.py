"""The clock of some processes, which the programme steps: Debian's libfaketime, and the waits that it does not know.

librdkafka waits until a time of day (``cnd_timedwait``).  When a real clock steps, the kernel ends such a wait earlier
or later.  libfaketime does not know the call: it would wait for the made-up time by the real clock, under a clock a day
ahead for a day.  ``WAIT`` does as the kernel does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PACKAGE = "libfaketime"
FETCH_SECONDS = 120.0

WAIT = """
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <threads.h>
#include <time.h>

static const long SLICE = 50000000;

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict lock, const struct timespec *restrict until) {
    for (;;) {
        struct timespec now, next;
        clock_gettime(CLOCK_REALTIME, &now);
        if (now.tv_sec > until->tv_sec || (now.tv_sec == until->tv_sec && now.tv_nsec >= until->tv_nsec))
            return thrd_timedout;
        long left = SLICE;
        if (until->tv_sec - now.tv_sec < 2) {
            long exact = (until->tv_sec - now.tv_sec) * 1000000000L + until->tv_nsec - now.tv_nsec;
            left = exact < left ? exact : left;
        }
        clock_gettime(CLOCK_MONOTONIC, &next);
        next.tv_nsec += left;
        next.tv_sec += next.tv_nsec / 1000000000L;
        next.tv_nsec %= 1000000000L;
        int ended = pthread_cond_clockwait(
            (pthread_cond_t *)condition, (pthread_mutex_t *)lock, CLOCK_MONOTONIC, &next);
        if (ended != ETIMEDOUT)
            return ended == 0 ? thrd_success : thrd_error;
    }
}
"""


class ClockError(Exception):
    """The clock of a process cannot be stepped here; the message says why."""


class Clock:
    """The wall clock of every process that has ``environment``; monotonic clocks run on as ever."""

    def __init__(self, folder: Path, libraries: list[Path]) -> None:
        self._file = folder / "clock"
        self.step(0)
        self.environment: Mapping[str, str] = {
            "LD_PRELOAD": " ".join(map(str, libraries)),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def step(self, seconds: int) -> None:
        """Let the clock be ahead of the real one by so many seconds, or behind it; a second later all know."""
        aside = self._file.with_suffix(".next")
        aside.write_text(f"{seconds:+d}\n")
        aside.rename(self._file)


@contextmanager
def stepped_clock() -> Iterator[Clock]:
    """A clock that is right at first; raises ClockError where the libraries cannot be had."""
    libraries = [_faketime(), _wait()]
    with tempfile.TemporaryDirectory(prefix="streamcast-clock-") as folder:
        yield Clock(Path(folder), libraries)


def _cache() -> Path:
    folder = Path(os.environ.get("STREAMCAST_CACHE") or Path.home() / ".cache" / "streamcast") / "clock"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _faketime() -> Path:
    """Debian's library, fetched once; no root is needed."""
    cached = _cache() / "libfaketimeMT.so.1"
    if cached.exists():
        return cached
    if (missing := next((tool for tool in ("apt-get", "dpkg") if shutil.which(tool) is None), None)) is not None:
        raise ClockError(f"no `{missing}` on the PATH to fetch Debian's {PACKAGE}")
    with tempfile.TemporaryDirectory(dir=_cache()) as work:
        _run(["apt-get", "download", PACKAGE], work)
        (package,) = Path(work).glob("*.deb")
        _run(["dpkg", "-x", str(package), "unpacked"], work)
        (library,) = Path(work, "unpacked").rglob(cached.name)
        library.rename(cached)
    return cached


def _wait() -> Path:
    cached = _cache() / "wait.so"
    if cached.exists():
        return cached
    if shutil.which("cc") is None:
        raise ClockError("no `cc` on the PATH to compile the waits that libfaketime does not know")
    with tempfile.TemporaryDirectory(dir=_cache()) as work:
        (Path(work) / "wait.c").write_text(WAIT)
        _run(["cc", "-shared", "-fPIC", "-O2", "-o", "wait.so", "wait.c", "-pthread"], work)
        (Path(work) / "wait.so").rename(cached)
    return cached


def _run(command: list[str], folder: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False)
    if done.returncode:
        raise ClockError(f"{' '.join(command)} failed: {(done.stderr or done.stdout)[-500:].strip()}")
