"""Piped or in a container, long work prints a line now and then."""

from __future__ import annotations

import io

from rich.console import Console

from streamcast.app.progress import counting, progress_bar
from streamcast.offline.training.run import Progress, Stage

TRAINING: tuple[tuple[int, Stage], ...] = ((1, "training"), (2, "training"), (1, "final training"), (2, "scoring"))


def test_a_pipe_gets_a_line_every_ten_seconds_and_not_more() -> None:
    now, printed = 0.0, io.StringIO()
    with counting("records compared", Console(file=printed), clock=lambda: now) as on_done:
        for second in range(26):
            now = float(second)
            on_done(1_000 * second, 50_000 if second > 15 else None)
    assert printed.getvalue().splitlines() == [
        "records compared: 10,000 after 10 s",
        "records compared: 20,000 of 50,000 after 20 s",
    ]


def test_a_terminal_gets_no_lines() -> None:
    printed = io.StringIO()
    with counting("records compared", Console(file=printed, force_terminal=True), clock=lambda: 0.0) as on_done:
        on_done(5, 10)
    assert "after" not in printed.getvalue()


def test_training_prints_a_line_an_epoch() -> None:
    printed = io.StringIO()
    with progress_bar(Console(file=printed, width=200)) as on_progress:
        for epoch, stage in TRAINING:
            for done in (0.1, 0.2):
                on_progress(Progress(epoch, 2, 0.5, 0.4, 30.0, done, stage))
    assert printed.getvalue().splitlines() == [
        "epoch 1/2: validation loss so far 0.4000, about 30 s left",
        "epoch 2/2: validation loss so far 0.4000, about 30 s left",
        "final training, on the newest bars too: validation loss so far 0.4000, about 30 s left",
        "scoring it on the bars that were held out",
    ]
