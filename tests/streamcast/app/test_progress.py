"""Long work says what it does: on a terminal in a bar or beside a spinner, else in a line now and then."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from streamcast.app import progress
from streamcast.app.cli import app
from streamcast.app.progress import Lines, counting, progress_bar
from streamcast.offline.defaults.spec import default_spec
from streamcast.offline.history.read import read
from streamcast.offline.training.fit import fit
from streamcast.offline.training.options import Options
from streamcast.offline.training.run import Progress, Stage
from streamcast.stages import Stage as Work
from streamcast.stages import heard, stage

TRAINING: tuple[tuple[int, Stage], ...] = ((1, "training"), (2, "training"), (1, "final training"), (2, "scoring"))


class Clocked(Lines):
    """Lines whose clock is moved by hand, second by second."""

    def __init__(self) -> None:
        self.now, self.file = 0.0, io.StringIO()
        super().__init__(Console(file=self.file, width=200), lambda: self.now)

    def wait(self, seconds: int) -> list[str]:
        """Let some seconds pass, and return what was printed in them."""
        before = len(self.file.getvalue())
        for _ in range(seconds):
            self.now += 1.0
            self.tick()
        return self.file.getvalue()[before:].splitlines()


def test_a_line_comes_after_two_seconds_and_then_every_ten() -> None:
    lines = Clocked()
    lines.show("records compared", "1,000")
    assert lines.wait(1) == []
    assert lines.wait(10) == ["progress: records compared: 2 s, 1,000"]
    lines.show("records compared", "9,000 of 50,000")
    assert lines.wait(10) == ["progress: records compared: 12 s, 9,000 of 50,000"]


def test_another_stage_is_said_at_once_but_not_sooner_than_two_seconds_after_the_line_before() -> None:
    lines = Clocked()
    lines.hear(Work("reading load.csv", 0.0))
    assert lines.wait(3) == ["progress: reading load.csv: 2 s"]
    for brief in ("reading the times", "finding the bars"):
        lines.hear(Work(brief, 3.0))
    assert lines.wait(5) == ["progress: finding the bars: 1 s"]
    lines.hear(None)
    assert lines.wait(60) == []


def test_a_stage_within_counted_work_is_named_while_it_lasts() -> None:
    lines = Clocked()
    lines.show("records streamed", "5 of 9")
    lines.hear(Work("filling the windows", 0.0, "3 of 7 rows"))
    assert lines.wait(2) == ["progress: filling the windows: 2 s, 3 of 7 rows"]
    lines.hear(None)
    assert lines.wait(2) == ["progress: records streamed: 4 s, 5 of 9"]


def test_training_says_epoch_loss_and_time_left() -> None:
    lines = Clocked()
    printed = []
    for epoch, what in TRAINING:
        lines.show(*progress._training(Progress(epoch, 2, 0.5, 0.4, 30.0, 0.1, what)))
        printed += lines.wait(2)
    lines.show(*progress._training(Progress(1, 2, 0.5, 0.4, 30.0, 0.1, "training", member=2, members=3)))
    printed += lines.wait(2)
    assert printed == [
        "progress: epoch 1/2: 2 s, validation loss so far 0.4000, about 30 s left",
        "progress: epoch 2/2: 2 s, validation loss so far 0.4000, about 30 s left",
        "progress: final training, on the validation part too: 2 s, validation loss so far 0.4000, about 30 s left",
        "progress: scoring it on the bars that were held out: 2 s",
        "progress: network 2/3, epoch 1/2: 2 s, validation loss so far 0.4000, about 30 s left",
    ]


def test_short_work_prints_nothing() -> None:
    printed = io.StringIO()
    with progress_bar(Console(file=printed)) as on_progress, stage("reading load.csv"):
        on_progress(Progress(1, 2, 0.5, 0.4, 30.0, 0.1))
    with counting("records compared", Console(file=printed)) as on_done:
        on_done(5, 10)
    assert printed.getvalue() == ""


def test_a_terminal_gets_no_lines() -> None:
    printed = io.StringIO()
    with counting("records compared", Console(file=printed, force_terminal=True)) as on_done:
        on_done(5, 10)
    assert "progress:" not in printed.getvalue()


def test_a_stage_names_the_one_around_it_again_at_its_end() -> None:
    said: list[str] = []
    with heard(lambda now: said.append(f"{now.what} {now.far}".strip() if now else "")):
        with stage("trial 1") as at, stage("filling the windows"):
            at("10% trained")
        with heard():
            stage("unheard").__enter__()
    assert said == ["trial 1", "filling the windows", "trial 1 10% trained", "trial 1", ""]


@pytest.fixture
def load_csv(tmp_path: Path) -> Path:
    """Return the file of a series of 400 hours."""
    path = tmp_path / "load.csv"
    hours = [f"2026-03-{1 + hour // 24:02d} {hour % 24:02d}:00,{10 + hour % 24 + hour % 7}" for hour in range(400)]
    path.write_text("\n".join(["ds,y", *hours]) + "\n")
    return path


def test_all_of_a_training_has_a_name(load_csv: Path) -> None:
    said: list[str] = []
    with heard(lambda now: said.append(now.what) if now else None):
        history = read(load_csv, id_col=None)
        spec = default_spec(history, 6, {"kind": "gru", "hidden": 8})
        fit(history, spec, Options(epochs=1, updates=2))
    assert list(dict.fromkeys(said)) == [
        "reading load.csv",
        "reading the names of series",
        "reading the times",
        "reading the values",
        "putting the rows in order",
        "finding the bars",
        "choosing the seasons",
        "choosing the scale of the target",
        "filling the windows",
        "solving the linear highway",
        "scoring the model on the bars that were held out",
        "scoring the baselines",
        "scoring a model without a network on the bars that were held out",
    ]


@pytest.mark.parametrize("kind", ["zero", "gru"])
def test_a_piped_command_says_what_it_does(load_csv: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(progress, "TICK_SECONDS", 0.0)
    args = ["--id-col", "", "--name", "load", "--models", str(load_csv.parent), "--model", kind]
    short = [] if kind == "zero" else ["--epochs", "1", "--option", "updates=2"]
    done = CliRunner().invoke(app, ["train", str(load_csv), *args, *short])
    assert done.exit_code == 0, done.output
    assert "progress: " in done.output
    assert "on the bars that were held out" in done.output.partition("progress: ")[2]
