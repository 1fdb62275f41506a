"""The root of the command line: the list of commands, the options before a command, and ``main``."""

from __future__ import annotations

import logging
import sys
from enum import StrEnum
from typing import Annotated

import typer

from streamcast.app.cli import dead_letters, files, models, service, state
from streamcast.app.cli.faults import INTERRUPTED, explain
from streamcast.app.cli.parsing import Commands
from streamcast.app.cli.terminal import PrintableFormatter

app = Commands(
    help="Forecasts from Kafka streams, with state that survives restarts.", no_args_is_help=True,
    pretty_exceptions_enable=False, rich_markup_mode=None,
)  # fmt: skip
for command in (
    service.demo, service.init, service.check, files.train, files.tune, files.backtest, service.serve, files.replay,
    service.skip, service.dashboard, service.verify,
):  # fmt: skip
    app.command()(command)
app.add_typer(models.app, name="model")
app.add_typer(dead_letters.app, name="dlq")
app.add_typer(state.app, name="state")


class LogLevel(StrEnum):
    """The least important messages that are logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"streamcast {version('streamcast-forecasting')}")
        raise typer.Exit


@app.callback()
def options(
    log_level: Annotated[LogLevel, typer.Option(help="Log messages of this level and above.")] = LogLevel.INFO,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Apply the options that stand before a command."""
    logging.getLogger().setLevel(log_level.upper())


def main() -> None:
    """Run a command and exit with its code; an expected error is one message, not a traceback."""
    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # the client raises what it logs
    try:
        code = app(standalone_mode=False)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:  # noqa: BLE001 the one place where exceptions become exit codes
        code = explain(error)
    sys.exit(code if isinstance(code, int) else 0)
