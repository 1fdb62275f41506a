"""Snapshots in an object store that goes away: ``python -m benchmarks.object_store [--client NAME] [--json FILE]``.

A service on a real Kafka keeps its snapshots in ``s3://`` (the extra ``s3``), which is moto in a process of its own,
behind a proxy (``pip install 'moto[s3]' flask flask-cors``).  The store refuses connections, or accepts them and never
answers, while the service runs and while it starts.  Each row is a phase: the seconds until everything that had
arrived was answered, and what the process logged of its store.  In the end the verifier computes every forecast again.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, get_args

import fsspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.printing import show
from harness.faults.checker import Client
from harness.faults.cluster import Cluster, Tally, Worker
from harness.local_kafka import LocalKafka, free_ports
from harness.proxy import Proxy
from streamcast.app.json_text import json_text

BUCKET = "snapshots"
COLUMNS = ("phase", "drained_s", "restored", "replayed", "written", "store_said")
DRAIN_SECONDS, WATCHED_SECONDS = 240.0, 75.0
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_DEFAULT_REGION": "us-east-1"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all phases; return 0 if there was no violation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--client", default="kafka-python", choices=get_args(Client))
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    given = parser.parse_args(arguments)
    tally, console = Tally(), Console()
    settings = {"state.store": f"s3://{BUCKET}/state"}
    with object_store() as proxy, LocalKafka() as kafka, Cluster(kafka, given.client, tally, 1, settings=settings) as c:
        rows = list(phases(c, proxy))
        c.finish(DRAIN_SECONDS)
    table = Table(title="A service whose snapshots are in an object store")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in ("phase", "store_said") else "right")
    for found in rows:
        table.add_row(*(escape("\n".join(v) if isinstance(v, list) else str(v)) for v in found.values()))
    show(table, console)
    if given.json is not None:
        given.json.write_text(json_text(rows, indent=2) + "\n", encoding="utf-8")
    for violation in tally.violations:
        console.print(f"[red]violation:[/] {escape(violation)}", highlight=False)
    console.print(f"{tally.records:,} records, {len(tally.violations)} violations")
    return 1 if tally.violations else 0


def phases(cluster: Cluster, proxy: Proxy) -> Iterator[dict[str, Any]]:
    """Yield a row for each phase."""
    worker = cluster.start()
    yield row(cluster, worker, "first start")
    for fault in ("refuses", "is silent"):
        cluster.kill(worker)
        worker = cluster.start()
        yield row(cluster, worker, "killed, started again")
        break_off(proxy, fault)
        yield row(cluster, worker, f"the store {fault} under a service", WATCHED_SECONDS)
        cluster.kill(worker)
        worker = cluster.start()
        yield row(cluster, worker, f"killed, started while the store {fault}")
        proxy.heal()
        yield row(cluster, worker, "the store is back", WATCHED_SECONDS)


def break_off(proxy: Proxy, fault: str) -> None:
    """Let the store refuse connections, or keep its answers."""
    if fault == "refuses":
        proxy.cut()
    else:
        proxy.swallow = "to the client"


def row(cluster: Cluster, worker: Worker, phase: str, watched_seconds: float = 3.0) -> dict[str, Any]:
    """Feed records for a while; return what the process logged in this time."""
    log = worker.report.with_suffix(".log")
    already = len(said(log))
    cluster.feed(200)
    began = time.monotonic()
    cluster.drain(DRAIN_SECONDS)
    drained = time.monotonic() - began
    while time.monotonic() < began + drained + watched_seconds:
        cluster.feed(8)
        time.sleep(1.0)
    lines = said(log)[already:].splitlines()
    replayed = [re.search(r"recovered: (\d+) records", line) for line in lines]
    return {
        "phase": phase,
        "drained_s": round(drained, 1),
        "restored": sum("state restored" in line for line in lines),
        "replayed": sum(int(found[1]) for found in replayed if found),
        "written": sum("snapshot of" in line and "bytes in" in line for line in lines),
        "store_said": [line.partition(" WARNING ")[2] for line in lines if "state.store" in line],
    }


def said(log: Path) -> str:
    """What a process has logged until now."""
    return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""


@contextmanager
def object_store() -> Iterator[Proxy]:
    """Start moto with a bucket, and the proxy that the environment names as the store."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with Proxy() as proxy:
            proxy.target_port = port
            os.environ.update(CREDENTIALS, AWS_ENDPOINT_URL=f"http://127.0.0.1:{proxy.port}")
            wait_for(port, process)
            fsspec.filesystem("s3", endpoint_url=f"http://127.0.0.1:{port}").mkdir(BUCKET)
            yield proxy
    finally:
        process.kill()
        process.wait()


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until something listens on a port; raises RuntimeError if the process ends before."""
    while True:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1.0).close()
            return
        if process.poll() is not None:
            raise RuntimeError("moto ended: pip install 'moto[s3]' flask flask-cors")
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
