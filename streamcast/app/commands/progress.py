"""Progress of long work: a bar on a terminal; piped or in a container, a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

LINE_SECONDS = 10.0
"""Between two lines, where there is no terminal."""

OnDone = Callable[[int, int | None], None]
"""Receives how many are done, and how many there are (None: nobody knows)."""


@contextmanager
def counting(what: str, console: Console, clock: Callable[[], float] = time.monotonic) -> Iterator[OnDone]:
    """Show how many records of long work are done; ``what`` names them."""
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task(what, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)
        return
    printed = began = clock()

    def print_line(done: int, total: int | None) -> None:
        nonlocal printed
        if (now := clock()) - printed >= LINE_SECONDS:
            printed = now
            of = "" if total is None else f" of {total:,}"
            console.print(f"{what}: {done:,}{of} after {now - began:.0f} s", highlight=False, markup=False)

    yield print_line
