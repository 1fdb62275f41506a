"""Progress of long work: a bar or a spinner on a terminal; piped or in a container, a line now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from streamcast.app.markup import escape
from streamcast.stages import Stage, heard

if TYPE_CHECKING:
    from streamcast.offline.training import run as training

FIRST_SECONDS = 2.0
"""Work that is shorter than this prints no line, and no two lines are closer."""
LINE_SECONDS = 10.0
"""Between two lines about one stage."""
TICK_SECONDS = 0.5

SCORING = "scoring it on the bars that were held out"

OnDone = Callable[[int, int | None], None]
"""Receives how many are done, and how many there are (None: nobody knows)."""


class Lines:
    """Prints what long work is doing: a first line after 2 s, then one for each stage, at least every 10 s.

    ``tick`` is called often, also while the work is in a long call that reports nothing.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._around: Stage | None = None
        self._within: Stage | None = None
        self._printed_at, self._printed = clock(), ""

    def show(self, what: str, far: str) -> None:
        """Say what is done and how far it is, while no stage within has begun."""
        around = self._around
        since = around.since if around is not None and around.what == what else self._clock()
        self._around = Stage(what, since, far)

    def hear(self, stage: Stage | None) -> None:
        """Say which stage has begun or went on; None: none."""
        self._within = stage

    def tick(self) -> None:
        """Print a line if one is due."""
        if (stage := self._within or self._around) is None:
            return
        now = self._clock()
        if now - self._printed_at >= (LINE_SECONDS if stage.what == self._printed else FIRST_SECONDS):
            self._printed_at, self._printed = now, stage.what
            self._console.print(f"[dim]progress:[/] {escape(_words(stage, now))}", highlight=False)


def _words(stage: Stage, now: float) -> str:
    """Return a stage, how long it has lasted and how far it is."""
    seconds = now - stage.since
    known = [f"{seconds:.0f} s" if seconds >= 1.0 else "", stage.far]
    return ": ".join(part for part in (stage.what, ", ".join(filter(None, known))) if part)


@contextmanager
def _lines(console: Console, clock: Callable[[], float]) -> Iterator[Lines]:
    """Yield lines that a thread of their own keeps printing, and that hear the stages within."""
    lines, ended = Lines(console, clock), threading.Event()

    def tick() -> None:
        while not ended.wait(TICK_SECONDS):
            lines.tick()

    thread = threading.Thread(target=tick, name="progress", daemon=True)
    thread.start()
    try:
        with heard(lines.hear):
            yield lines
    finally:
        ended.set()
        thread.join()


@contextmanager
def stages_shown() -> Iterator[None]:
    """Show on standard error which stage long work is in, and that kernels are compiled."""
    console = Console(stderr=True, soft_wrap=True)
    with compiling_said(console):
        if not console.is_terminal:
            with _lines(console, time.monotonic):
                yield
            return
        status = console.status("")

        def show(stage: Stage | None) -> None:
            if stage is None:
                status.stop()
            else:
                status.update(escape(_words(stage, stage.since)))
                status.start()

        with heard(show):
            yield


@contextmanager
def counting(what: str, console: Console, clock: Callable[[], float] = time.monotonic) -> Iterator[OnDone]:
    """Show how many records of long work are done; ``what`` names them."""
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task(what, total=None)

            def describe(stage: Stage | None) -> None:
                progress.update(task, description=what if stage is None else _words(stage, stage.since))

            with heard(describe):
                yield lambda done, total: progress.update(task, completed=done, total=total)
        return
    with _lines(console, clock) as lines:
        yield lambda done, total: lines.show(what, f"{done:,}" if total is None else f"{done:,} of {total:,}")


@contextmanager
def trials_shown(console: Console) -> Iterator[Progress]:
    """Yield bars for the trials of a search on a terminal; else the stages around show them."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        if not console.is_terminal:
            yield progress
            return
        with heard():
            yield progress


@contextmanager
def compiling_said(console: Console | None = None) -> Iterator[None]:
    """Print a line on standard error when kernels are compiled within, which nobody expects to take a minute."""
    from streamcast.kernels.compiling import compiling

    with compiling(lambda notice: (console or Console(stderr=True)).print(notice, highlight=False)):
        yield


@contextmanager
def progress_bar(console: Console) -> Iterator[training.OnProgress]:
    """Show epoch, losses and time left while training: a bar on a terminal, else a line now and then."""
    if not console.is_terminal:
        with _lines(console, time.monotonic) as lines:
            yield lambda at: lines.show(*_training(at))
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
    with Progress(*columns, console=console) as progress:
        described = "preparing"
        task = progress.add_task(described, total=1.0, left="")

        def on_progress(at: training.Progress) -> None:
            nonlocal described
            if at.stage == "scoring":
                described, left = SCORING, ""
            else:
                part = "on the validation part too" if at.stage == "final training" else f"epoch {at.epoch}/{at.epochs}"
                described = f"{_member(at)}{part}  loss {at.loss:.4f}  validation {at.validation:.4f}"
                left = f"{at.seconds_left:.0f} s left"
            progress.update(task, completed=at.done, description=described, left=left)

        def describe(stage: Stage | None) -> None:
            progress.update(task, description=described if stage is None else _words(stage, stage.since))

        with heard(describe):
            yield on_progress


def _training(at: training.Progress) -> tuple[str, str]:
    """Return what a training is doing, and how far it is."""
    if at.stage == "scoring":
        return SCORING, ""
    final = at.stage == "final training"
    part = "final training, on the validation part too" if final else f"epoch {at.epoch}/{at.epochs}"
    far = f"validation loss so far {at.validation:.4f}, about {at.seconds_left:.0f} s left"
    return f"{_member(at)}{part}", far


def _member(at: training.Progress) -> str:
    """Return which of several networks is trained; nothing where there is one."""
    return f"network {at.member}/{at.members}, " if at.members > 1 else ""
