"""How tables look on a terminal: no lines between columns; wide cells are wrapped, never cut."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from rich import box
from rich.table import Table
from rich.text import Text


def lean(*columns: str, numbers: Collection[str] = (), title: str = "") -> Table:
    """Return an empty table; the columns named in ``numbers`` are aligned to the right.

    Add text from records as ``Text``: in a plain string, rich reads "[/x]" as markup.
    """
    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in columns:
        table.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
    return table


def facts(named: Mapping[str, object]) -> Table:
    """Return a table with one row per name and its value."""
    table = Table(show_header=False, box=None)
    table.add_column(style="dim", overflow="fold")
    table.add_column(overflow="fold")
    for name, value in named.items():
        table.add_row(name, Text(str(value)))
    return table
