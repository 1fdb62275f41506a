"""Rounds of faults around the service's processes: topics, clock, memory and the folder of the snapshots."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.faults.cluster import Cluster, Worker

HOUR, DAY = 3600, 86_400
END_SECONDS = 60.0
"""Within this time a process knows that a topic was deleted, made again or changed, and says so or ends."""
BEGIN_SECONDS = 90.0
FEED_SECONDS = 2.0
"""How long a process waits for records before it gets some."""
STEPPED_SECONDS = 8.0
SHORT_SECONDS = 90.0
"""How long a process may go on that gets no more memory."""

OUTPUTS = ("forecasts", "dead-letters")

Round = Callable[[Cluster], None]


def topics_made_again(names: Sequence[str], *, at_once: bool) -> Round:
    """Topics are deleted and made again under two processes; then what the runbook says is done.

    ``at_once`` the processes are frozen meanwhile, and the new input soon reaches beyond their positions.
    """

    def round_(cluster: Cluster) -> None:
        workers = _answering_pair(cluster)
        cluster.drain()
        kept = 0 if OUTPUTS[0] in names else sum(map(cluster.count, OUTPUTS))
        if at_once:
            with frozen(workers):
                cluster.make_again(names)
                cluster.feed(1600)
        else:
            cluster.delete(names)
            _expect(cluster, workers, lambda worker: worker.ended or "is gone" in worker.not_ready(), "knew of it")
            cluster.make_again(names)
            cluster.feed(1600)
        _expect(cluster, workers, lambda worker: worker.ended, "ended")
        if (wrong := sum(map(cluster.count, OUTPUTS)) - kept) > 0:
            cluster.tally.violations.append(f"{wrong} new records were answered from the state of the former topic")
        if "journal" not in names:
            refused = cluster.start("0")
            refused.process.join(BEGIN_SECONDS)
            if not refused.ended or "allow_cold_start" not in refused.log():
                cluster.tally.violations.append(f"a start was not refused with the remedy: {refused.log()[-1500:]}")
        cluster.change({"state.allow_cold_start": True})  # of a new journal, too, where the group kept positions
        cluster.feed(200)

    return round_


def _answering_pair(cluster: Cluster) -> list[Worker]:
    """Start two processes; return when each has answered, fed for as long as one has not.

    Without that, the first process may answer all that there is before the second one has joined.
    """
    workers = [cluster.start("0"), cluster.start("1")]
    deadline = time.monotonic() + BEGIN_SECONDS
    waiting = workers
    while waiting and time.monotonic() < deadline:
        cluster.feed(40)
        waiting = [each for each in waiting if not each.wait_for("committed", FEED_SECONDS) and not each.ended]
    return workers


def _expect(cluster: Cluster, workers: Sequence[Worker], sure: Callable[[Worker], bool], what: str) -> None:
    deadline = time.monotonic() + END_SECONDS
    while (left := [worker for worker in workers if not sure(worker)]) and time.monotonic() < deadline:
        time.sleep(0.2)
    for worker in left:
        told = f"process {worker.instance} has not {what} {END_SECONDS:.0f} s after its topics changed"
        cluster.tally.violations.append(f"{told}: {worker.log()[-1500:]}")
        worker.kill()


@contextmanager
def frozen(workers: Collection[Worker]) -> Iterator[None]:
    """Freeze processes for a moment, shorter than their sessions."""
    for worker in workers:
        worker.freeze()
    try:
        yield
    finally:
        for worker in workers:
            worker.thaw()


def answers_refused(cluster: Cluster) -> None:
    """The forecasts' topic takes no answers for a while: no process ends, each names the record, then all go on."""
    workers = _answering_pair(cluster)
    cluster.configure("forecasts", {"max.message.bytes": "100"})
    cluster.feed(400)
    _expect(cluster, workers, lambda worker: "is not answered from offset" in worker.not_ready(), "named the record")
    cluster.configure("forecasts", {"max.message.bytes": "1048588"})
    cluster.drain()
    cluster.feed(400)
    cluster.drain()
    _expect(cluster, workers, lambda worker: not worker.not_ready(), "become ready")
    cluster.note_ends()


def clock_steps(cluster: Cluster) -> None:
    """The processes' clock steps a day ahead, back, an hour back, and is right again, while records arrive."""
    if cluster.clock is None:
        raise ValueError("this fault needs a clock that it can step")
    workers = _answering_pair(cluster)
    for seconds in (DAY, 0, -HOUR, 0):
        cluster.clock.step(seconds)
        began = time.monotonic()
        while time.monotonic() < began + STEPPED_SECONDS:
            cluster.feed(40)
            time.sleep(0.2)
        for worker in workers:
            if not [when for when in worker.told("committed") if when > began + 1.0]:
                told = f"process {worker.instance} answered nothing for {STEPPED_SECONDS:.0f} s, {seconds} s off"
                cluster.tally.violations.append(f"{told}: {worker.log()[-1500:]}")
    cluster.note_ends()


def short_of_memory(cluster: Cluster) -> None:
    """A process gets no more memory than it has: it may end as it likes, and the next one of its name has enough."""
    for _ in range(2):
        cluster.feed(200)
        worker = cluster.start()
        worker.wait_for("committed", BEGIN_SECONDS)
        worker.limit_memory()
        deadline = time.monotonic() + SHORT_SECONDS
        while not worker.ended and time.monotonic() < deadline:
            cluster.feed(400)
            time.sleep(0.5)
        cluster.kill(worker)


def full_folder(cluster: Cluster) -> None:
    """No snapshot fits: the stream goes on, and a process that is killed replays from the beginning."""
    for _ in range(2):
        cluster.feed(200)
        worker = cluster.start()
        worker.wait_for("committed", BEGIN_SECONDS)
        time.sleep(1.0)
        cluster.kill(worker)


def read_only_folder(cluster: Cluster) -> None:
    """After the first snapshots the folder becomes read-only: the stream goes on, and restarts use the old ones."""
    worker = cluster.start()
    worker.wait_for("committed", BEGIN_SECONDS)
    time.sleep(1.0)
    mounted("remount,ro", cluster.store)
    cluster.feed(200)
    time.sleep(1.0)
    cluster.kill(worker)
    full_folder(cluster)


@contextmanager
def small_disk(size: str) -> Iterator[Path]:
    """A file system of this size; raises PermissionError where this process may not mount one."""
    with tempfile.TemporaryDirectory(prefix="streamcast-full-") as folder:
        mounted(f"size={size}", Path(folder))
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "-l", folder], check=False)


def mounted(options: str, folder: Path) -> None:
    """Mount a file system in memory; raises PermissionError where this process may not."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PermissionError(f"a small file system cannot be mounted here: {done.stderr.strip()}")
