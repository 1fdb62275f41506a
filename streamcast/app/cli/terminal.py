"""What the declarations of commands share: the console, and the options that stand alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamcast.printable import escaped_lines

if TYPE_CHECKING:
    from rich.console import Console

    from streamcast.app.settings import Settings

Config = Annotated[Path, typer.Option("--config", "-c", envvar="STREAMCAST_CONFIG", help="Settings file.")]
Folder = Annotated[Path, typer.Option("--models", envvar="STREAMCAST_MODELS", help="Folder of trained models.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Data = Annotated[Path, typer.Argument(help="CSV or Parquet file of observations.")]
Reference = Annotated[str, typer.Argument(help="Model, such as load@3 or load@latest.")]


def console(*, stderr: bool = False) -> Console:
    """Return the terminal, which never breaks a line."""
    from rich.console import Console

    return Console(stderr=stderr, soft_wrap=True)


@contextmanager
def loaded(path: Path) -> Iterator[Settings]:
    """Read the settings; while they are used, commands in what is logged and raised are whole. Raises SettingsError."""
    from streamcast.app.settings import load_settings, whole

    settings = load_settings(path)
    words = partial(whole, settings=settings)
    before = [(handler, handler.formatter) for handler in logging.getLogger().handlers]
    for handler, formatter in before:
        handler.setFormatter(_Worded(formatter or logging.Formatter(), words))
    try:
        yield settings
    except Exception as error:
        error.args = tuple(words(each) if isinstance(each, str) else each for each in error.args)
        raise
    finally:
        for handler, formatter in before:
            handler.setFormatter(formatter)


class PrintableFormatter(logging.Formatter):
    """Writes the lines of a record without control characters: a message may quote a key or a name of a stranger."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of a record."""
        return escaped_lines(super().format(record))


class _Worded(logging.Formatter):
    """Writes what another formatter does in other words."""

    def __init__(self, formatter: logging.Formatter, words: Callable[[str], str]) -> None:
        super().__init__()
        self._formatter, self._words = formatter, words

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        return self._words(self._formatter.format(record))
