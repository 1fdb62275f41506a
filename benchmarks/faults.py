"""Real faults on a real Kafka: ``python -m benchmarks.faults --kills N [--rounds N] [--brokers 3] [--json FILE]``.

Service processes are killed at each point of the commit (N times over points and clients), stopped, stalled and fenced;
the broker is killed and frozen, the link slowed, cut and blocked.  After each round the verifier computes every
forecast again from the topics and compares.

With ``--brokers 3`` the kills happen on a cluster of three, and then the cluster has its own faults (client "both": two
processes, one of each), while records arrive all the time: brokers restart, are killed, frozen and upgraded, lose their
quorum; partitions move and become more; links to single brokers are cut, slow and deaf.  ``stalled_s`` is the longest
time in which records arrived and none was answered.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from rich.console import Console
from rich.markup import escape

from benchmarks.printing import show_rows
from harness.faults.brokers import BROKER_FAULTS, BrokerFault, run_broker_round
from harness.faults.checker import Client
from harness.faults.clock import ClockError
from harness.faults.cluster import QUICK, USUAL, Tally
from harness.faults.drivers import KILLS, KILLS_A_ROUND, OTHERS, Fault, run_round
from harness.local_cluster import LocalCluster
from harness.local_kafka import LocalKafka
from harness.proxy import KafkaProxy
from streamcast.app.json_text import json_text

COLUMNS = (
    "fault", "client", "brokers", "rounds", "kills", "rebalances", "records", "violations", "recovery_p50_s",
    "recovery_p99_s", "stalled_s",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the programme; return 0 if there was no violation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=60, help="how many kill -9, over all points and clients")
    parser.add_argument("--rounds", type=int, default=1, help="rounds of each other fault and client")
    parser.add_argument("--faults", nargs="*", help="only faults whose name holds one of these")
    parser.add_argument("--clients", nargs="*", default=get_args(Client), choices=get_args(Client))
    parser.add_argument("--brokers", type=int, default=1, choices=(1, 3))
    parser.add_argument("--usual-sessions", action="store_true", help="of 15 s, the default, in faults of a cluster")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    console = Console()
    rows = []
    for row in _rows(given, console):
        rows.append(row)
        console.print(" ".join(f"{name}={row[name]}" for name in COLUMNS), highlight=False)
        if given.json:
            given.json.write_text(json_text(rows, indent=2) + "\n")
    show_rows(rows, COLUMNS, console)
    return 1 if any(row["violations"] for row in rows) else 0


def _rows(given: argparse.Namespace, console: Console) -> Iterator[dict[str, Any]]:
    """Run every fault that was asked for, and yield its row."""

    def wanted(name: str) -> bool:
        return not given.faults or any(part in name for part in given.faults)

    others = [fault for fault in OTHERS if fault.anywhere or given.brokers == 1]
    chosen = [fault for fault in KILLS + others if wanted(fault.name)]
    killing = len(given.clients) * sum(fault.kills for fault in chosen)
    kills = math.ceil(given.kills / KILLS_A_ROUND / max(1, killing))
    sessions = USUAL if given.usual_sessions else QUICK
    of_brokers = [fault for fault in BROKER_FAULTS if given.brokers > 1 and wanted(fault.name)]
    shared = [fault for fault in of_brokers if fault.on_any]
    with LocalCluster(given.brokers) if given.brokers > 1 and (chosen or shared) else nullcontext() as cluster:
        for client, fault in itertools.product(given.clients, chosen):
            rounds = kills if fault.kills else given.rounds
            if rounds:
                yield measured(fault, client, rounds, given.seed, console, cluster)
        for broker_fault in shared:
            yield struck(broker_fault, cluster, given.rounds, given.seed, console, sessions)
    for broker_fault in of_brokers:
        if not broker_fault.on_any:
            yield struck(broker_fault, None, given.rounds, given.seed, console, sessions)


def measured(
    fault: Fault, client: Client, rounds: int, seed: int, console: Console, cluster: LocalCluster | None = None
) -> dict[str, Any]:
    """Run the rounds of one fault, on a broker of their own or on the cluster, and return its row."""
    tally, done = Tally(), 0
    for number in range(rounds):
        began = time.monotonic()
        with _broker(fault, cluster) as (kafka, proxy):
            try:
                run_round(fault, kafka, proxy, client, tally, seed + 1000 * number)
            except (PermissionError, ClockError) as error:
                console.print(f"{fault.name}: not run ({error})")
                break
        done += 1
        console.print(f"[dim]{fault.name}, {client}, round {number + 1}: {time.monotonic() - began:.0f} s[/]")
    return _row(fault.name, client, 1 if cluster is None else len(cluster.nodes), done, tally, console)


def struck(
    fault: BrokerFault, cluster: LocalCluster | None, rounds: int, seed: int, console: Console,
    sessions: Mapping[Client, Mapping[str, object]] = QUICK,
) -> dict[str, Any]:  # fmt: skip
    """Run the rounds of one fault, on a cluster or on one of its own for each round, and return its row."""
    tally = Tally()
    for number in range(rounds):
        began = time.monotonic()
        with fault.cluster() if cluster is None else nullcontext(cluster) as brokers:
            run_broker_round(fault, brokers, tally, seed + 1000 * number, sessions)
        console.print(f"[dim]{fault.name}, round {number + 1}: {time.monotonic() - began:.0f} s[/]")
    return _row(fault.name, "both", 3, rounds, tally, console)


def _row(fault: str, client: str, brokers: int, rounds: int, tally: Tally, console: Console) -> dict[str, Any]:
    for sentence in tally.violations:
        console.print(f"[red]{fault}, {client}:[/] {escape(sentence)}", highlight=False)
    timed = tally.recovery_seconds
    p50, p99 = (round(float(np.quantile(timed, share)), 2) if timed else None for share in (0.5, 0.99))
    stalled = round(max(tally.stalled_seconds), 1) if tally.stalled_seconds else None
    values = (
        fault, client, brokers, rounds, tally.kills, tally.rebalances, tally.records, len(tally.violations), p50, p99,
        stalled,
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


@contextmanager
def _broker(
    fault: Fault, cluster: LocalCluster | None
) -> Iterator[tuple[LocalKafka | LocalCluster, KafkaProxy | None]]:
    """The cluster, or a fresh Kafka, behind a proxy if the fault is in the link."""
    if cluster is not None:
        yield cluster, None
        return
    with ExitStack() as stack:
        proxy = stack.enter_context(KafkaProxy()) if fault.proxied else None
        kafka = stack.enter_context(LocalKafka(advertised_port=proxy.port if proxy else None))
        if proxy:
            proxy.target_port = kafka.port
        yield kafka, proxy


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    raise SystemExit(main())
