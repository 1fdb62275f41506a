"""``streamcast dlq``: commands about dead letters."""

from __future__ import annotations

from typing import Annotated

import typer

from streamcast.app.cli.parsing import Commands
from streamcast.app.cli.terminal import AsJson, Config, console, loaded
from streamcast.app.options.flags import SETTINGS

app = Commands(help="Inspect dead letters and send them again.", no_args_is_help=True)

Reason = Annotated[str, typer.Option(help="Only dead letters with this reason.", show_default="all")]
Since = Annotated[str, typer.Option(help="Only records from this time on (RFC 3339).", show_default="first")]
Until = Annotated[str, typer.Option(help="Only records before this time (RFC 3339).", show_default="last")]


@app.command("inspect")
def inspect(
    config: Config = SETTINGS,
    reason: Reason = "",
    since: Since = "",
    until: Until = "",
    limit: Annotated[int, typer.Option(help="Print the newest ones, at most this many.", min=1)] = 50,
    as_json: AsJson = False,
) -> int:
    """Print dead letters and their reasons."""
    from streamcast.app.commands.deployment import dlq as command

    with loaded(config) as settings:
        return command.inspect(settings, command.Filter(reason, since, until), limit, as_json, console())


@app.command("replay")
def replay(
    config: Config = SETTINGS,
    reason: Reason = "",
    since: Since = "",
    until: Until = "",
    again: Annotated[bool, typer.Option("--again", help="Also those that failed again after a replay.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count them, write nothing.")] = False,
) -> int:
    """Write dead letters to the input topic again, each once."""
    from streamcast.app.commands.deployment import dlq as command

    with loaded(config) as settings:
        return command.send_again(settings, command.Filter(reason, since, until), again, dry_run, console())
