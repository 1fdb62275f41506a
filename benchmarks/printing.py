"""How benchmarks print their tables."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

WIDEST = 1_000
"""Columns of the widest table."""


def show(table: Table, console: Console | None = None) -> None:
    """Print a table at its full width: where the terminal is narrower, lines wrap and no cell is cut."""
    console = console or Console()
    full = console.measure(table, options=console.options.update(max_width=WIDEST)).maximum
    Console(file=console.file, width=max(full, console.width)).print(table)
