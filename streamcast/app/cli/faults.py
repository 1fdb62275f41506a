"""Exceptions to messages and exit codes."""

from __future__ import annotations

import re

from streamcast.app.cli.terminal import console

INTERRUPTED = 130
WRONG_INPUT = 2

EXTRAS = {
    "confluent_kafka": "librdkafka", "h11": "dashboard", "optuna": "tune", "plotly": "dashboard",
    "pyarrow": "parquet", "s3fs": "s3", "starlette": "dashboard", "uvicorn": "dashboard",
}  # fmt: skip
"""The extra that installs each package which a plain install lacks."""


_FLAGS = (
    (re.compile(r"time_format \(--time-format\)"), "--time-format"),
    (re.compile(r"ticks \(--ticks\)"), "--ticks"),
    (re.compile(r"\bcolumns=…"), "--columns"),
    (re.compile(r"(?<![\w.'\"-])(id|time|target)_col\b"), r"--\1-col"),
    (re.compile(r"(?<![\w.'\"-])(time|max|hold|trial)_(format|seconds|out)\b"), r"--\1-\2"),
    (re.compile(r"\b(give|longer|shorter|smaller|a|use) freq\b"), r"\1 --freq"),
    (
        re.compile(r"^(freq|horizon|season|quantiles|lags|grace|lower|aggregates)(?= is|:| cannot)", re.MULTILINE),
        r"--\1",
    ),
)
"""How messages of the library name an option, and what it is called here."""


def explain(error: Exception) -> int:
    """Print an expected error as one message and return its exit code; raise any other error."""
    code: int | None = getattr(error, "exit_code", None)
    if isinstance(error, ModuleNotFoundError) and (package := str(error.name).partition(".")[0]) in EXTRAS:
        _print("Missing package", f"{package}: pip install 'streamcast-forecasting[{EXTRAS[package]}]' installs it")
        return WRONG_INPUT
    if code is None and isinstance(error, OSError) and error.filename is not None:
        _print("File", f"{_text(error.filename)}: {(error.strerror or type(error).__name__).lower()}")
        return WRONG_INPUT
    if code is None:
        raise error
    if hasattr(error, "show"):  # typer's own errors print themselves, with the usage of the command
        error.show()
    else:
        _print(type(error).__name__, with_flags(str(error)) if code == WRONG_INPUT else str(error))
    return code


def with_flags(message: str) -> str:
    """Return a message about a history or a spec with the flags that a person types, not Python's names of them."""
    for pattern, flag in _FLAGS:
        message = pattern.sub(flag, message)
    return message


def _text(name: object) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


def _print(title: str, message: str) -> None:
    from rich.markup import escape

    console(stderr=True).print(f"[red]{title}:[/] {escape(message)}", highlight=False)
