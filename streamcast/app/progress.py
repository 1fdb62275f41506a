"""Progress of long work: a bar on a terminal; piped or in a container, a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from streamcast.offline.training import run as training

LINE_SECONDS = 10.0
"""Between two lines, where there is no terminal."""

SCORING = "scoring it on the bars that were held out"

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


@contextmanager
def compiling_said() -> Iterator[None]:
    """Print a line on standard error when kernels are compiled within, which nobody expects to take a minute."""
    from streamcast.kernels.compiling import compiling

    with compiling(lambda notice: Console(stderr=True).print(notice, highlight=False)):
        yield


@contextmanager
def progress_bar(console: Console) -> Iterator[training.OnProgress]:
    """Show epoch, losses and time left while training: a bar on a terminal, else a line an epoch."""
    with compiling_said(), _losses(console) as on_progress:
        yield on_progress


@contextmanager
def _losses(console: Console) -> Iterator[training.OnProgress]:
    if not console.is_terminal:
        yield _line_an_epoch(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("preparing", total=1.0, left="")

        def on_progress(at: training.Progress) -> None:
            if at.stage == "scoring":
                progress.update(task, completed=at.done, description=SCORING, left="")
                return
            part = "on the newest bars too" if at.stage == "final training" else f"epoch {at.epoch}/{at.epochs}"
            part = f"{_member(at)}{part}"
            progress.update(
                task,
                completed=at.done,
                description=f"{part}  loss {at.loss:.4f}  validation {at.validation:.4f}",
                left=f"{at.seconds_left:.0f} s left",
            )

        yield on_progress


def _line_an_epoch(console: Console) -> training.OnProgress:
    """Return what prints a line when an epoch begins, with the losses up to then."""
    begun: set[tuple[int, str, int]] = set()

    def on_progress(at: training.Progress) -> None:
        if (at.member, at.stage, at.epoch) in begun:
            return
        begun.add((at.member, at.stage, at.epoch))
        if at.stage == "scoring":
            console.print(SCORING)
            return
        final = at.stage == "final training"
        part = "final training, on the newest bars too" if final else f"epoch {at.epoch}/{at.epochs}"
        console.print(
            f"{_member(at)}{part}: validation loss so far {at.validation:.4f}, about {at.seconds_left:.0f} s left",
            highlight=False,
        )

    return on_progress


def _member(at: training.Progress) -> str:
    """Return which of several networks is trained; nothing where there is one."""
    return f"network {at.member}/{at.members}, " if at.members > 1 else ""
