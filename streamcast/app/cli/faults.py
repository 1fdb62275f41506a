"""Exceptions to messages and exit codes."""

from __future__ import annotations

from streamcast.app.cli.terminal import console

INTERRUPTED = 130
WRONG_INPUT = 2

EXTRAS = {
    "confluent_kafka": "librdkafka", "h11": "dashboard", "optuna": "tune", "plotly": "dashboard",
    "starlette": "dashboard", "uvicorn": "dashboard",
}  # fmt: skip
"""The extra that installs each package which a plain install lacks."""


def explain(error: Exception) -> int:
    """Print an expected error as one message and return its exit code; raise any other error."""
    code: int | None = getattr(error, "exit_code", None)
    if isinstance(error, ModuleNotFoundError) and (package := str(error.name).partition(".")[0]) in EXTRAS:
        _print("Missing package", f"{package}: pip install 'streamcast-forecasting[{EXTRAS[package]}]' installs it")
        return WRONG_INPUT
    if code is None:
        raise error
    if hasattr(error, "show"):  # typer's own errors print themselves, with the usage of the command
        error.show()
    else:
        _print(type(error).__name__, str(error))
    return code


def _print(title: str, message: str) -> None:
    from rich.markup import escape

    console(stderr=True).print(f"[red]{title}:[/] {escape(message)}", highlight=False)
