"""What the declarations of commands share: the console, and the options that stand alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from streamcast.app.settings import Settings

Config = Annotated[Path, typer.Option("--config", "-c", help="Settings file.")]
Folder = Annotated[Path, typer.Option("--models", help="Folder of trained models.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Data = Annotated[Path, typer.Argument(help="CSV or Parquet file of observations.")]
Reference = Annotated[str, typer.Argument(help="Model, such as load@3 or load@latest.")]

SETTINGS = Path("streamcast.yaml")


def console(*, stderr: bool = False) -> Console:
    """Return the terminal, which never breaks a line."""
    from rich.console import Console

    return Console(stderr=stderr, soft_wrap=True)


def load(path: Path) -> Settings:
    """Read the settings; raises SettingsError."""
    from streamcast.app.settings import load_settings

    return load_settings(path)
