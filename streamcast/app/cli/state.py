"""``streamcast state``: commands about the state of one series."""

from __future__ import annotations

from typing import Annotated

import typer

from streamcast.app.cli.parsing import Commands
from streamcast.app.cli.terminal import AsJson, Config, console, loaded
from streamcast.app.options.flags import SETTINGS

app = Commands(help="Show or reset the state of one series.", no_args_is_help=True)

Key = Annotated[str, typer.Argument(help="Key of the series.")]


@app.command("show")
def show(key: Key, config: Config = SETTINGS, as_json: AsJson = False) -> int:
    """Print the state of a series from the newest snapshot."""
    from streamcast.app.commands.deployment import state as command

    with loaded(config) as settings:
        return command.show(settings, key, as_json, console())


@app.command("reset")
def reset(key: Key, config: Config = SETTINGS) -> int:
    """Reset the state of a series; the journal records from which record on."""
    from streamcast.app.commands.deployment import state as command

    with loaded(config) as settings:
        return command.reset(settings, key, console())
