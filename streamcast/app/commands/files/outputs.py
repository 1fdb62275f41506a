"""Files that a command writes at its end: checked before its work, so that an hour's result has a place to go.

Each is written beside its place and renamed when it is whole: its name never holds half a file.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from streamcast.app.trained import ENDED, UNLEARNED_AT_CTRL_C
from streamcast.errors import HistoryError, ModelError, SettingsError
from streamcast.offline.training.fit import unlearned
from streamcast.spec.folders import Model, save_model


def require_writable(option: str, path: Path | None) -> None:
    """Raise SettingsError if the file that ``option`` names cannot be written now; None needs nothing."""
    if path is None:
        return
    parent = path.absolute().parent
    if path.is_dir():
        fault = "it is a folder: give the name of a file"
    elif not parent.is_dir():
        fault = f"there is no folder {parent}: make it, or choose another place"
    elif not os.access(path if path.exists() else parent, os.W_OK):
        fault = f"this user may not write {path if path.exists() else parent}"
    else:
        return
    raise SettingsError(f"{option} is {path}: it cannot be written: {fault}")


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """Yield where to write a file: beside its place, which it takes at the end, or in its place if nothing else may.

    Raises OSError with the name of the file; what was there before is there still.
    """
    place = Path(os.path.realpath(path))  # of a link, the file that it leads to
    aside = place.with_name(f".{uuid.uuid4().hex}{place.suffix}") if _is_replaced(path, place) else None
    try:
        yield aside or path
        if aside is not None:
            if place.exists():
                shutil.copymode(place, aside)
            aside.replace(place)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    finally:
        if aside is not None:
            aside.unlink(missing_ok=True)


def _is_replaced(path: Path, place: Path) -> bool:
    """Return whether a new file may take a place: not that of a device, a pipe or a stream of this process."""
    if not os.access(place.parent, os.W_OK):
        return False  # a file that may be written, in a folder that takes no other
    if not path.exists():
        return True
    streams = list[os.stat_result]()
    for number in (1, 2):
        with suppress(OSError):  # it is closed
            streams.append(os.fstat(number))
    return path.is_file() and not any(os.path.samestat(path.stat(), each) for each in streams)


def require_table(option: str, path: Path | None) -> None:
    """Raise as ``require_writable`` does, and HistoryError for a name that ends neither with .csv nor with .parquet.

    Parquet needs the package pyarrow.
    """
    _require_named(option, path, ".csv", ".parquet")
    if path is not None and path.suffix == ".parquet":
        import pyarrow as pa  # noqa: F401 a missing package is found before the work


def require_page(option: str, path: Path | None) -> None:
    """Raise as ``require_writable`` does, and HistoryError for a name that ends neither with .html nor with .htm.

    Charts need the package plotly.
    """
    _require_named(option, path, ".html", ".htm")
    if path is not None:
        import plotly  # noqa: F401 a missing package is found before the work


def _require_named(option: str, path: Path | None, *endings: str) -> None:
    require_writable(option, path)
    if path is not None and path.suffix not in endings:
        raise HistoryError(f"{option} is {path}: expected a name that ends with {' or '.join(endings)}")


def require_folder(option: str, folder: Path) -> None:
    """Raise SettingsError if nothing can be written into ``folder``, or it cannot be made where it does not exist."""
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise SettingsError(f"{option} is {folder}: {place} is a file; expected a folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise SettingsError(f"{option} is {folder}: this user may not write into {place}")


@contextmanager
def ctrl_c_saves_nothing(console: Console) -> Iterator[None]:
    """Say, where Ctrl-C ends a training before there is a model, that nothing is saved; KeyboardInterrupt goes on."""
    try:
        yield
    except KeyboardInterrupt as ended:
        why = UNLEARNED_AT_CTRL_C if ended.args else ENDED["interrupted"]  # only that of ``fit`` has a reason
        console.print(f"[red]Nothing is saved:[/] {why}", highlight=False)
        raise


def worth_saving(facts: Mapping[str, Any], time_limit: str, console: Console) -> bool:
    """Return whether a training left more than its first weights; print why nothing is saved if it did not.

    ``time_limit`` is the option that limited its time, as a person types it.
    """
    why = unlearned(facts, time_limit)
    if why is not None:
        console.print(f"[red]Nothing is saved:[/] {why}", highlight=False)
    return why is None


def save_trained(folder: Path, name: str, model: Model, facts: Mapping[str, Any]) -> Model:
    """Save a trained model as the next version of ``name``.

    Raises ModelError where ``folder`` cannot take it, for example on a full disk.  The model is then in a temporary
    folder, which the error names: a training may have taken hours.
    """
    try:
        return save_model(folder, name, model.spec, model.network, facts)
    except ModelError as error:
        raise ModelError(f"{error}; {_saved_aside(folder, name, model, facts)}") from error


def _saved_aside(folder: Path, name: str, model: Model, facts: Mapping[str, Any]) -> str:
    """Save a model in a temporary folder; return in words where it is, or that it is lost, and what to do."""
    try:
        aside = Path(tempfile.mkdtemp(prefix="streamcast-"))
        saved = save_model(aside, name, model.spec, model.network, facts)
    except (OSError, ModelError) as error:
        return f"nor in a temporary folder ({error}): make space and train again"
    return (
        f"it is {name}@{saved.version} in {aside} instead: use it with --models {aside}, or make space, and move"
        f" {aside / name / saved.version} into {folder / name} with the number of its next version as its name"
    )
