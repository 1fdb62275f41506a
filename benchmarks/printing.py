"""How benchmarks print their tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

WIDEST = 1_000
"""Columns of the widest table."""


def show(table: Table, console: Console | None = None) -> None:
    """Print a table at its full width: where the terminal is narrower, lines wrap and no cell is cut."""
    console = console or Console()
    full = console.measure(table, options=console.options.update(max_width=WIDEST)).maximum
    Console(file=console.file, width=max(full, console.width)).print(table)


def show_rows(rows: Sequence[Mapping[str, object]], columns: Sequence[str], console: Console) -> None:
    """Print rows as a table of these columns."""
    table = Table(*columns)
    for row in rows:
        table.add_row(*(str(row[name]) for name in columns))
    show(table, console)
