"""The benchmarks' tables are printed whole on 80 columns."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.printing import show
from benchmarks.throughput.tables import tables

LATENCY = {f"{since}_{share}_ms": 1234.5 for since in ("consumed", "created") for share in ("p50", "p99", "p999")}
ROW: dict[str, Any] = {"records_per_s": 130_400, "of_bare": 0.655, "cpu_us": 123.4, **LATENCY}
FOUND = [
    {"client": "kafka-python", "guarantee": "at_least_once", "loop": "per_record", "model": "", **ROW},
    {"client": "librdkafka", "guarantee": "exactly_once", "loop": "service", "model": "lstm-attention", **ROW},
]


def printed_on_80_columns(table: Table) -> str:
    console = Console(file=io.StringIO(), width=80)
    show(table, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_rates_and_latencies_fit_in_80_columns() -> None:
    said = "".join(printed_on_80_columns(table) for table in tables(FOUND))
    assert "…" not in said
    assert max(map(len, said.splitlines())) <= 80
    for cell in (
        "kafka-python",
        "lstm-attention",
        "at least",
        "exactly",
        "130,400",
        "0.66",
        "1234/1234/1234",
    ):
        assert cell in said


def test_a_wide_table_is_printed_whole() -> None:
    table = Table(*(f"a_rather_long_column_{number}" for number in range(9)))
    table.add_row(*(f"a-rather-long-value-{number}" for number in range(9)))
    said = printed_on_80_columns(table)
    assert "…" not in said
    assert "a_rather_long_column_8" in said
    assert "a-rather-long-value-8" in said
