"""Files of observations to histories, with notes on what was guessed."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from streamcast.app.options import Columns
from streamcast.offline.history.read import History, read
from streamcast.spec.model_spec import SeriesSpec


def read_history(data: Path, columns: Columns, *, ticks: bool = False, freq: int | None = None) -> History:
    """Read a file and print the reader's notes on stderr; ``freq`` is in milliseconds, used where none is named.

    Raises HistoryError.
    """
    history = read(
        data, id_col=columns.id_col or None, time_col=columns.time_col, target_col=columns.target_col,
        columns=columns.columns, freq=columns.freq or freq, timezone=columns.timezone,
        time_format=columns.time_format, ticks=ticks,
    )  # fmt: skip
    for note in history.notes:
        Console(stderr=True, soft_wrap=True).print(f"[dim]note:[/] {note}", highlight=False)
    return history


def read_series(data: Path, columns: Columns, series: SeriesSpec) -> History:
    """Read a file as the series of a model; raises HistoryError."""
    return read_history(data, columns, ticks=series.mode == "ticks", freq=series.freq)
