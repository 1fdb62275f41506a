"""Simulated faults by the thousand: ``python -m benchmarks.simulate --seeds N [--from S] [--json FILE]``.

A seed is a run: members crash, freeze, lose requests and partitions in one thread; then everything heals and is
compared with the expected result.  A violation is printed with its seed, the shortest history that still shows it, and
the command that runs it again.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from benchmarks import children
from harness.simulation.simulation import Run, drawn, shortest, simulate
from streamcast.app.json_text import json_text

CHUNK = 20
REPORT_SECONDS = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run seeds on all cores; return 0 if there was no violation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds to run")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed")
    parser.add_argument("--json", type=Path, help="write the result to this file")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args(arguments)
    began, reported, done = time.monotonic(), time.monotonic(), 0
    counts: Counter[str] = Counter()
    broken: list[Run] = []
    chunks = [
        range(s, min(s + CHUNK, given.first + given.seeds))
        for s in range(given.first, given.first + given.seeds, CHUNK)
    ]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(given.processes, context, initializer=_begin) as pool:
        for runs in pool.map(_simulated, chunks):
            for each in runs:
                counts.update(each.counts)
                done += 1
                if each.violations:
                    broken.append(each)
                    print(f"seed {each.seed}: {each.violations[0]}", flush=True)
            if time.monotonic() - reported > REPORT_SECONDS:
                reported = time.monotonic()
                print(f"{done:,} seeds, {done / (reported - began):.1f} seeds/s, {len(broken)} broken", flush=True)
    seconds = time.monotonic() - began
    print(f"{done:,} seeds in {seconds:.0f} s, {done / seconds:.1f} seeds/s, {len(broken)} with violations")
    for what, times in sorted(counts.items()):
        print(f"  {what:28}{times:12,}")
    for each in broken[:3]:
        explain(each)
    if given.json:
        found = {
            "seeds": done, "first": given.first, "violations": len(broken), "seeds_per_s": round(done / seconds, 2),
            "processes": given.processes, "broken": [each.seed for each in broken],
            "counts": dict(sorted(counts.items())),
        }  # fmt: skip
        given.json.write_text(json_text(found, indent=2) + "\n")
    return 1 if broken else 0


def explain(found: Run) -> None:
    """Print the shortest history that still shows a violation, and the command that runs it again."""
    plan, _ = drawn(found.seed)
    short = shortest(found, plan)
    print(f"\nseed {found.seed}: {plan}")
    for event in short.events:
        print(f"  {event}")
    for violation in short.violations[:5]:
        print(f"  -> {violation}")
    print(f"again: python -m benchmarks.simulate --seeds 1 --from {found.seed}")


def _begin() -> None:
    """Set a worker up."""
    children.end_worker_with_parent()
    torch.set_num_threads(1)


def _simulated(seeds: range) -> list[Run]:
    return [simulate(seed) for seed in seeds]


if __name__ == "__main__":
    raise SystemExit(main())
