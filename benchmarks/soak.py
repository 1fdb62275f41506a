"""A long run under load: ``python -m benchmarks.soak [--minutes 20] [--lives 4] [--client librdkafka] [--json FILE]``.

One service process answers records that keep coming (poison, duplicates and late ones among them, more series than
there is room for), is asked to stop a few times and started again, and its resident memory is read every second.  At
the end the verifier computes every forecast anew.  Prints the slope of memory over each process's life after its first
quarter, and what was left undone at each stop (records behind the committed offset when the process had ended, which
the next one takes up).
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from rich.console import Console

from harness.faults.cluster import Client, Cluster, Tally, Worker
from harness.local_kafka import LocalKafka

SETTLING_SHARE = 0.25
"""Of a process's life, before its memory counts."""
FED = 400
"""Records of one feeding."""


def resident_mb(worker: Worker) -> float:
    """Return a process's resident memory."""
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


def feed(cluster: Cluster, per_second: float, ended: threading.Event) -> None:
    """Keep records coming at about this rate."""
    due = time.monotonic()
    while not ended.is_set():
        cluster.feed(FED)
        due += FED / per_second
        ended.wait(max(0.0, due - time.monotonic()))


def life(cluster: Cluster, seconds: float, console: Console) -> dict[str, Any]:
    """Let one process work for so long, stop it in good order, and return its memory's course and what it left."""
    worker = cluster.start()
    worker.wait_for("committed", 60)
    began, seen = time.monotonic(), list[tuple[float, float]]()
    while (age := time.monotonic() - began) < seconds:
        seen.append((age, resident_mb(worker)))
        if len(seen) % 30 == 0:
            console.print(f"{age:.0f} s: {seen[-1][1]:.1f} MB, {cluster.tally.records:,} records fed")
        time.sleep(1.0)
    code = worker.stop()
    at, memory = np.array([each for each in seen if each[0] > SETTLING_SHARE * seconds]).T
    slope = float(np.polyfit(at / 3600.0, memory, 1)[0])
    return {
        "seconds": round(seconds), "exit": code, "mb_first": round(float(memory[0]), 1),
        "mb_last": round(float(memory[-1]), 1), "mb_per_hour": round(slope, 2), "left": cluster.left(),
    }  # fmt: skip


def main() -> int:
    """Soak, print, write a JSON; return 0 when no promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--lives", type=int, default=4, help="processes, one after the other")
    parser.add_argument("--rate", type=float, default=1000.0, help="records/s")
    parser.add_argument("--client", choices=get_args(Client), default="librdkafka")
    parser.add_argument("--json", type=Path)
    a = parser.parse_args()
    torch.set_num_threads(1)
    console, tally, ended = Console(), Tally(), threading.Event()
    limits = {"batch.max_records": 1000}
    with LocalKafka(measured=True) as kafka, Cluster(kafka, a.client, tally, 0, settings=limits) as cluster:
        feeder = threading.Thread(target=feed, args=(cluster, a.rate, ended))
        feeder.start()
        try:
            lives = [life(cluster, a.minutes * 60 / a.lives, console) for _ in range(a.lives)]
        finally:
            ended.set()
            feeder.join()
        console.print("verifying ...")
        report = cluster.finish()
    found = {
        "minutes": a.minutes, "client": a.client, "records": tally.records, "forecasts": report.forecasts,
        "violations": len(tally.violations), "lives": lives,
    }  # fmt: skip
    for sentence in tally.violations[:5]:
        console.print(f"[red]{sentence}[/]")
    console.print(found)
    if a.json:
        a.json.write_text(json.dumps(found, indent=2) + "\n")
    return 1 if tally.violations or any(each["exit"] != 0 for each in lives) else 0


if __name__ == "__main__":
    raise SystemExit(main())
