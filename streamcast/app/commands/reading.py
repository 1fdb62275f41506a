"""Files of observations to histories, with notes on what was guessed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from streamcast.app.options import Columns
from streamcast.offline.history.read import History, read
from streamcast.spec.model_spec import SeriesSpec


def read_history(data: Path, columns: Columns, *, ticks: bool = False, series: SeriesSpec | None = None) -> History:
    """Read a file, as the series of a model if there is one, and print the reader's notes and warnings on stderr.

    Raises HistoryError.
    """
    history = read(
        data, id_col=columns.id_col or None, time_col=columns.time_col, target_col=columns.target_col,
        columns=columns.columns, freq=columns.freq or (series.freq if series else None), timezone=columns.timezone,
        time_format=columns.time_format, ticks=ticks, offset_ms=series.offset if series else None,
        kinds=series.kinds if series else None,
    )  # fmt: skip
    say(history.notes, history.changes)
    return history


def say(notes: Sequence[str], changes: Sequence[str] = ()) -> None:
    """Print notes, and what was changed as warnings, on stderr."""
    console = Console(stderr=True, soft_wrap=True)
    for note in notes:
        console.print(f"[dim]note:[/] {escape(note)}", highlight=False)
    for change in changes:
        console.print(f"[bold yellow]warning:[/] {escape(change)}", highlight=False)


def read_series(data: Path, columns: Columns, series: SeriesSpec) -> History:
    """Read a file as the series of a model; raises HistoryError."""
    return read_history(data, columns, ticks=series.mode == "ticks", series=series)
