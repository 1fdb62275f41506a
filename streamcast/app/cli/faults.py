"""Exceptions to messages and exit codes."""

from __future__ import annotations

import errno
import os

from streamcast.app.cli.terminal import console
from streamcast.app.options.flags import typed

INTERRUPTED = 130
FAILURE, WRONG_INPUT = 1, 2
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a disk that takes no more raises: full, or beyond the quota of a user or the limit of a file."""

EXTRAS = {
    "confluent_kafka": "librdkafka", "h11": "dashboard", "optuna": "tune", "plotly": "dashboard",
    "pyarrow": "parquet", "s3fs": "s3", "starlette": "dashboard", "uvicorn": "dashboard",
}  # fmt: skip
"""The extra that installs each package which a plain install lacks."""


def explain(error: Exception) -> int:
    """Print an expected error as one message and return its exit code; raise any other error."""
    code: int | None = getattr(error, "exit_code", None)
    if isinstance(error, ModuleNotFoundError) and (package := str(error.name).partition(".")[0]) in EXTRAS:
        _print("Missing package", f"{package}: pip install 'streamcast-forecasting[{EXTRAS[package]}]' installs it")
        return WRONG_INPUT
    if code is None and isinstance(error, OSError) and error.errno in FULL:
        why = os.strerror(error.errno).lower()
        if error.filename is None:
            _print("Disk", f"{why}: what was being written is incomplete; make space, run again")
        else:
            _print("Disk", f"{_text(error.filename)}: {why}: make space or choose another place, and run again")
        return FAILURE
    if code is None and isinstance(error, OSError) and error.filename is not None:
        _print("File", f"{_text(error.filename)}: {(error.strerror or type(error).__name__).lower()}")
        return WRONG_INPUT
    if code is None:
        raise error
    if hasattr(error, "show"):  # typer's own errors print themselves, with the usage of the command
        error.show()
    else:
        _print(type(error).__name__, typed(*error.args))
    return code


def _text(name: object) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


def _print(title: str, message: str) -> None:
    from streamcast.app.markup import escape

    console(stderr=True).print(f"[red]{title}:[/] {escape(message)}", highlight=False)
