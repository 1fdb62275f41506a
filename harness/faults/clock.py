"""The clock of some processes, which the programme steps: Debian's libfaketime, with waits as the kernel has them.

librdkafka waits until a time of day (``cnd_timedwait``).  When a real clock steps, the kernel ends such a wait earlier
or later.  libfaketime does not know the call: it would wait for the made-up time by the real clock, under a clock a day
ahead for a day.  It also knows ``clock_nanosleep``, by which Python sleeps, and makes a sleep until a monotonic time
endless (0.9.10).  ``WAITS`` does both as the kernel does.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PACKAGE = "libfaketime"
FETCH_SECONDS = 120.0

WAITS = """
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <threads.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

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

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left) {
    return syscall(SYS_clock_nanosleep, clock, flags, until, left) == 0 ? 0 : errno;
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
    libraries = [_waits(), _faketime()]
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


def _waits() -> Path:
    cached = _cache() / f"waits-{hashlib.sha256(WAITS.encode()).hexdigest()[:12]}.so"
    if cached.exists():
        return cached
    if shutil.which("cc") is None:
        raise ClockError("no `cc` on the PATH to compile the waits that libfaketime does not make as the kernel does")
    with tempfile.TemporaryDirectory(dir=_cache()) as work:
        (Path(work) / "waits.c").write_text(WAITS)
        _run(["cc", "-shared", "-fPIC", "-O2", "-o", "waits.so", "waits.c", "-pthread"], work)
        (Path(work) / "waits.so").rename(cached)
    return cached


def _run(command: list[str], folder: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False)
    if done.returncode:
        raise ClockError(f"{' '.join(command)} failed: {(done.stderr or done.stdout)[-500:].strip()}")
