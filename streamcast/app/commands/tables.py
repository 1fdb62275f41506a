"""How tables look on a terminal: no lines between columns; wide cells are wrapped, between words where that fits.

A number is never wrapped: its parts would read as numbers.  Where the terminal has no room for it, it ends with "…".
Control characters in a cell become escapes: texts of records and of model folders are those of strangers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.style import StyleType
from rich.table import Column, Table
from rich.text import Text

from streamcast.printable import escaped, escaped_lines


class _Lean(Table):
    """A table that breaks no word (a name, a number) where the terminal has room for the longest of each column.

    With less room names and heads are broken, and numbers are not.
    """

    def add_row(
        self, *renderables: RenderableType | None, style: StyleType | None = None, end_section: bool = False
    ) -> None:
        """Add a row, its texts without control characters."""
        super().add_row(*map(_harmless, renderables), style=style, end_section=end_section)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        whole = [_size(column, console, options) for column in self.columns]
        broken = [_broken(column, size, console, options) for column, size in zip(self.columns, whole, strict=True)]
        edges = len(whole) + 1
        for behind, sizes in ((1, whole), (0, whole), (0, broken)):  # spaces in each cell, beside the one between cells
            room = options.max_width - edges - behind * len(sizes)
            if sum(size.minimum for size in sizes) <= room:
                self.padding = (0, behind, 0, 0)
                for column, width in zip(self.columns, _widths(sizes, room), strict=True):
                    column.width = width
                break
        yield from super().__rich_console__(console, options)


def _harmless(cell: RenderableType | None) -> RenderableType | None:
    """Return a cell whose text has no control characters but its line breaks."""
    if isinstance(cell, str):
        return escaped_lines(cell)
    if isinstance(cell, Text) and (shown := escaped_lines(cell.plain)) != cell.plain:
        return Text(shown, style=cell.style)
    return cell


def _widths(sizes: Sequence[Measurement], room: int) -> list[int]:
    """Return how wide columns are: as their longest cells, the widest ones less, down to their longest words."""
    widths = [size.maximum for size in sizes]
    while sum(widths) > room:
        widest = max((n for n, size in enumerate(sizes) if widths[n] > size.minimum), key=widths.__getitem__)
        widths[widest] -= 1
    return widths


def _size(column: Column, console: Console, options: ConsoleOptions) -> Measurement:
    """Return the width of a column's longest word and that of its longest cell."""
    sizes = [Measurement.get(console, options, cell) for cell in (column.header, *column.cells)]
    return Measurement(max(size.minimum for size in sizes), max(size.maximum for size in sizes))


def _broken(column: Column, whole: Measurement, console: Console, options: ConsoleOptions) -> Measurement:
    """Return the size of a column whose words may be broken, but for its numbers."""
    if column.overflow == "fold":
        return Measurement(1, whole.maximum)
    numbers = [Measurement.get(console, options, cell).maximum for cell in column.cells]
    return Measurement(max(numbers, default=1), whole.maximum)


def lean(*columns: str, numbers: Collection[str] = (), title: str = "") -> Table:
    """Return an empty table; the columns named in ``numbers`` are aligned to the right.

    Add text from records as ``Text``: in a plain string, rich reads "[/x]" as markup.
    """
    table = _Lean(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in columns:
        head = Text(name, overflow="fold")
        if name in numbers:
            table.add_column(head, justify="right", overflow="ellipsis")
        else:
            table.add_column(head, justify="left", overflow="fold")
    return table


def facts(named: Mapping[str, object]) -> Table:
    """Return a table with one row per name and its value."""
    table = Table(show_header=False, box=None)
    table.add_column(style="dim", overflow="fold")
    table.add_column(overflow="fold")
    for name, value in named.items():
        table.add_row(Text(escaped(name)), Text(escaped_lines(str(value))))
    return table
