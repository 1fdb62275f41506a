"""Files of observations to histories, with notes on what was guessed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from streamcast.app.markup import escape
from streamcast.app.options.flags import typed
from streamcast.app.options.groups import Columns
from streamcast.offline.defaults.notes import beyond_notes, beyond_warnings
from streamcast.offline.history.grid import refuse_longer_steps
from streamcast.offline.history.read import History, read, read_as
from streamcast.spec.folders import Model


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """The columns of a file that hold names ('' for a single series), times and target, and how its times are read."""

    id_col: str
    time_col: str
    target_col: str
    timezone: str
    time_format: str | None


def mapping(columns: Columns, model: Model | None = None) -> ColumnMap:
    """Return what each column holds: as given, else as the model was trained, else by the usual names."""
    names: dict[str, Any] = {"id_col": "unique_id", "time_col": "ds", "target_col": "y", "timezone": "UTC"}
    names["time_format"] = None
    if model is not None:
        kept = {name: model.facts[name] for name in names if name in model.facts}
        names |= {"target_col": model.spec.series.target} | kept
    names |= {name: given for name in names if (given := getattr(columns, name)) is not None}
    return ColumnMap(**names)


def read_history(
    data: Path, columns: Columns, model: Model | None = None, *, ticks: bool = False, known: bool = False,
    chosen: Collection[str] = (),
) -> History:  # fmt: skip
    """Read a file, as the series of a model if there is one, and print the reader's notes and warnings on stderr.

    For a new model, ``ticks`` and ``known`` say what it reads, and no note asks about inputs that are ``chosen``.
    Raises HistoryError.
    """
    found = mapping(columns, model)
    shared: dict[str, Any] = {
        "id_col": found.id_col or None, "time_col": found.time_col, "target_col": found.target_col,
        "columns": columns.columns, "freq": columns.freq, "timezone": found.timezone, "time_format": found.time_format,
    }  # fmt: skip
    history = (
        read(data, **shared, ticks=ticks, known=known, chosen=chosen)
        if model is None
        else read_as(model.spec, data, **shared)
    )
    notes, warnings = (low(history, model.spec) if model else () for low in (beyond_notes, beyond_warnings))
    say([*history.notes, *notes], [*history.changes, *warnings])
    return history


def read_outcomes(data: Path, columns: Columns, model: Model) -> History:
    """Read a file, as ``read_history`` does, for forecasts of a model to be compared with its rows.

    Raises HistoryError, also where no row of a series follows another within a bar; readings may.
    """
    history, series = read_history(data, columns, model), model.spec.series
    if series.mode == "sample":
        refuse_longer_steps(history.series_N, history.ts_N, history.grid)
    return history


def say(notes: Sequence[str], warnings: Sequence[str] = ()) -> None:
    """Print notes, and after them warnings, on stderr."""
    console = Console(stderr=True, soft_wrap=True)
    for note in notes:
        console.print(f"[dim]note:[/] {escape(typed(note))}", highlight=False)
    for warning in warnings:
        console.print(f"[bold yellow]warning:[/] {escape(typed(warning))}", highlight=False)
