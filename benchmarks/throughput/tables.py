"""The printed forms of the figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from streamcast.app.commands.tables import lean


def tables(found: Sequence[dict[str, Any]]) -> tuple[Table, Table]:
    """Return the printed forms, of at most 80 columns: rates and latencies; a service's row is named by its model."""
    what = ("client", "guarantee", "loop")
    speeds, since = ("records/s", "of bare", "CPU µs"), ("from the poll", "from the record")
    rates = lean(*what, *speeds, numbers=speeds, title="Throughput")
    ages = lean(*what, *since, numbers=since, title="Latency, ms: p50/p99/p99.9")
    for entry in found:
        guarantee = entry["guarantee"].removesuffix("_once").replace("_", " ")
        several = f", {entry['instances']} of them" if entry.get("instances", 1) > 1 else ""
        named = (entry["client"], guarantee, (entry["model"] or entry["loop"].replace("_", " ")) + several)
        rates.add_row(*named, f"{entry['records_per_s']:,}", f"{entry['of_bare']:.2f}", str(entry.get("cpu_us", "")))
        if "created_p50_ms" in entry:
            ages.add_row(*named, *(_quantiles(entry, since) for since in ("consumed", "created")))
    return rates, ages


def _quantiles(entry: dict[str, Any], since: str) -> str:
    values = (float(entry[f"{since}_{share}_ms"]) for share in ("p50", "p99", "p999"))
    return "/".join(f"{ms:.1f}" if ms < 100 else f"{ms:.0f}" for ms in values)
