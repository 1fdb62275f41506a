"""A long run under load: ``python -m benchmarks.soak [--minutes 20] [--runs 4] [--client librdkafka] [--json FILE]``.

One service process after the other answers a stream of records with poison, duplicates and late ones, and with more
series than there is room for.  Each process is stopped in an orderly way; its resident memory is read every second.  At
the end the verifier computes every forecast again.  Prints the slope of memory over each process's run after its first
quarter, and how many records each stop left for the next process (those behind the committed offset).
"""

from __future__ import annotations

import argparse
import threading
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from rich.console import Console

from harness.faults.checker import Client
from harness.faults.cluster import Cluster, Tally, Worker
from harness.local_kafka import LocalKafka
from streamcast.app.json_text import json_text

SETTLING_SHARE = 0.25
"""Share of a process's run before its memory counts."""
FED = 400
"""Records sent at once."""


def resident_mb(worker: Worker) -> float:
    """Return a process's resident memory."""
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


def feed(cluster: Cluster, per_second: float, ended: threading.Event) -> None:
    """Send records at about this rate until ``ended``."""
    due = time.monotonic()
    while not ended.is_set():
        cluster.feed(FED)
        due += FED / per_second
        ended.wait(max(0.0, due - time.monotonic()))


def run(cluster: Cluster, seconds: float, console: Console) -> dict[str, Any]:
    """Run one process for ``seconds``, stop it, and return the course of its memory and the records it left."""
    worker = cluster.start()
    worker.wait_for("committed", 60)
    began, seen = time.monotonic(), list[tuple[float, float]]()
    while (age := time.monotonic() - began) < seconds:
        seen.append((age, resident_mb(worker)))
        if len(seen) % 30 == 0:
            console.print(f"{age:.0f} s: {seen[-1][1]:.1f} MB, {cluster.acknowledged:,} records fed")
        time.sleep(1.0)
    code = worker.stop()
    at, memory = np.array([each for each in seen if each[0] > SETTLING_SHARE * seconds]).T
    slope = float(np.polyfit(at / 3600.0, memory, 1)[0])
    return {
        "seconds": round(seconds), "exit": code, "mb_first": round(float(memory[0]), 1),
        "mb_last": round(float(memory[-1]), 1), "mb_per_hour": round(slope, 2), "left": cluster.left(),
    }  # fmt: skip


def main() -> int:
    """Soak, print, write a JSON; return 0 if there was no violation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--runs", type=int, default=4, help="processes, one after the other")
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
            runs = [run(cluster, a.minutes * 60 / a.runs, console) for _ in range(a.runs)]
        finally:
            ended.set()
            feeder.join()
        console.print("verifying ...")
        report = cluster.finish()
    found = {
        "minutes": a.minutes, "client": a.client, "records": tally.records, "forecasts": report.forecasts,
        "violations": len(tally.violations), "runs": runs,
    }  # fmt: skip
    for sentence in tally.violations[:5]:
        console.print(f"[red]{sentence}[/]")
    console.print(found)
    if a.json:
        a.json.write_text(json_text(found, indent=2) + "\n")
    return 1 if tally.violations or any(each["exit"] != 0 for each in runs) else 0


if __name__ == "__main__":
    raise SystemExit(main())
