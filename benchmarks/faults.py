"""Real faults on a real Kafka: ``python -m benchmarks.faults --kills N [--rounds N] [--json FILE]``.

Service processes are killed at each point of the commit (N times over points and clients), stopped, stalled and fenced;
the broker is killed and frozen, the link slowed, cut and blocked.  After each round the verifier computes every
forecast again from the topics and compares.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.printing import show
from harness.faults.cluster import Client, Tally
from harness.faults.drivers import KILLS, KILLS_A_ROUND, OTHERS, Fault, run_round
from harness.faults.proxy import Proxy
from harness.local_kafka import LocalKafka

COLUMNS = (
    "fault", "client", "rounds", "kills", "rebalances", "records", "violations", "recovery_p50_s", "recovery_p99_s",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the programme; return 0 if there was no violation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=60, help="how many kill -9, over all points and clients")
    parser.add_argument("--rounds", type=int, default=1, help="rounds of each other fault and client")
    parser.add_argument("--faults", nargs="*", help="only faults whose name holds one of these")
    parser.add_argument("--clients", nargs="*", default=get_args(Client), choices=get_args(Client))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    console = Console()
    chosen = [f for f in KILLS + OTHERS if not given.faults or any(part in f.name for part in given.faults)]
    killing = len(given.clients) * sum(fault.kills for fault in chosen)
    rounds = math.ceil(given.kills / KILLS_A_ROUND / max(1, killing))
    rows = []
    for client in given.clients:
        for fault in chosen:
            row = measured(fault, client, rounds if fault.kills else given.rounds, given.seed, console)
            rows.append(row)
            console.print(" ".join(f"{name}={row[name]}" for name in COLUMNS), highlight=False)
            if given.json:
                given.json.write_text(json.dumps(rows, indent=2) + "\n")
    table = Table(*COLUMNS)
    for row in rows:
        table.add_row(*(str(row[name]) for name in COLUMNS))
    show(table, console)
    return 1 if any(row["violations"] for row in rows) else 0


def measured(fault: Fault, client: Client, rounds: int, seed: int, console: Console) -> dict[str, Any]:
    """Run the rounds of one fault, and return its row."""
    tally, done = Tally(), 0
    for number in range(rounds):
        began = time.monotonic()
        with _broker(fault) as (kafka, proxy):
            try:
                run_round(fault, kafka, proxy, client, tally, seed + 1000 * number)
            except PermissionError as error:
                console.print(f"{fault.name}: not run ({error})")
                break
        done += 1
        console.print(f"[dim]{fault.name}, {client}, round {number + 1}: {time.monotonic() - began:.0f} s[/]")
    for sentence in tally.violations:
        console.print(f"[red]{fault.name}, {client}:[/] {escape(sentence)}", highlight=False)
    timed = tally.recovery_seconds
    p50, p99 = (round(float(np.quantile(timed, share)), 2) if timed else None for share in (0.5, 0.99))
    values = fault.name, client, done, tally.kills, tally.rebalances, tally.records, len(tally.violations), p50, p99
    return dict(zip(COLUMNS, values, strict=True))


@contextmanager
def _broker(fault: Fault) -> Iterator[tuple[LocalKafka, Proxy | None]]:
    """A fresh Kafka, behind a proxy if the fault is in the link."""
    with ExitStack() as stack:
        proxy = stack.enter_context(Proxy()) if fault.proxied else None
        kafka = stack.enter_context(LocalKafka(advertised_port=proxy.port if proxy else None))
        if proxy:
            proxy.target_port = kafka.port
        yield kafka, proxy


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    raise SystemExit(main())
