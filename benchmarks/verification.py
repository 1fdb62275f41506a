"""How long ``streamcast verify`` takes with many partitions, on one real Kafka with both clients.

    python -m benchmarks.verification [--partitions 12 60] [--records 20] [--clients kafka-python] [--json FILE]

Elapsed seconds of the comparison, without the start of a process and its imports: first beside a service that has
answered ``--records`` of each partition and is idle, then beside one that gets a record of each partition every half
second.  ``records`` is how many were compared.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import torch
from rich.console import Console

from benchmarks.partitions import Service
from benchmarks.printing import show_rows
from harness.faults.checker import Client
from harness.local_kafka import LocalKafka
from streamcast.app.commands.deployment.verify import check
from streamcast.app.json_text import json_text
from streamcast.app.settings import load_settings

COLUMNS = ("client", "partitions", "service", "seconds", "records", "violations", "unknown")
FEED_SECONDS = 0.5


@contextmanager
def fed(service: Service) -> Iterator[None]:
    """Write a record into each partition again and again."""
    ended = threading.Event()

    def feed() -> None:
        while not ended.wait(FEED_SECONDS):
            service.feed(1)

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def measured(bootstrap: str, client: Client, partitions: int, records: int) -> list[dict[str, Any]]:
    """Return a row beside the idle service and one beside the busy one."""
    rows: list[dict[str, Any]] = []

    def verify(beside: str) -> None:
        began = time.monotonic()
        report = check(settings)
        seconds = round(time.monotonic() - began, 1)
        found = (report.records, len(report.violations), len(report.unknown))
        rows.append(dict(zip(COLUMNS, (client, partitions, beside, seconds, *found), strict=True)))

    with tempfile.TemporaryDirectory() as folder:
        service = Service(bootstrap, client, partitions, Path(folder))
        settings = load_settings(None, service.settings)
        service.feed(records)
        worker, _, _ = service.start()
        check(settings)  # kernels are loaded
        verify("idle")
        with fed(service):
            verify("busy")
        worker.stop()
        service.close()
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write a JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--partitions", type=int, nargs="*", default=[12, 60])
    parser.add_argument("--records", type=int, default=20)
    parser.add_argument("--clients", nargs="*", default=get_args(Client), choices=get_args(Client))
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    console, rows = Console(), list[dict[str, Any]]()
    with LocalKafka(measured=True) as kafka:
        for client in given.clients:
            for partitions in given.partitions:
                for row in measured(kafka.bootstrap_servers, client, partitions, given.records):
                    rows.append(row)
                    console.print(" ".join(f"{name}={row[name]}" for name in COLUMNS), highlight=False)
    if given.json:
        given.json.write_text(json_text(rows, indent=2) + "\n")
    show_rows(rows, COLUMNS, console)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
