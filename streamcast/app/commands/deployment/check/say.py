"""The lines of ``streamcast check``, and how many of them are faults."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape


class Say:
    """Prints a line for each check, with a remedy for each fault; calling it returns whether the check is passed."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.lines = self.faults = self.warnings = 0

    def __call__(self, good: bool, what: str, remedy: str = "") -> bool:
        self.lines += 1
        self.faults += not good
        mark = "[green]ok  [/]" if good else "[red]FAIL[/]"
        what, remedy = escape(what), escape(remedy)
        self._console.print(f"{mark} {what}" + ("" if good or not remedy else f"\n     [yellow]remedy:[/] {remedy}"))
        return good

    def warn(self, what: str, remedy: str) -> None:
        """Print what works and is weaker than it should be."""
        self.warnings += 1
        self._console.print(f"[yellow]warn[/] {escape(what)}\n     [yellow]remedy:[/] {escape(remedy)}")

    def note(self, what: str) -> None:
        """Print a line that is no check."""
        self._console.print(f"     {escape(what)}", highlight=False)
