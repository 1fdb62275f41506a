"""The lines of ``streamcast check``, and how many of them are faults."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from streamcast.app.markup import escape


class Say:
    """Prints a line for each check, with a remedy for each fault; calling it returns whether the check is passed.

    ``words`` returns each text as it is printed.
    """

    def __init__(self, console: Console, words: Callable[[str], str] = str) -> None:
        self._console, self._words = console, words
        self.lines = self.faults = self.warnings = 0

    def __call__(self, good: bool, what: str, remedy: str = "") -> bool:
        self.lines += 1
        self.faults += not good
        mark = "[green]ok  [/]" if good else "[red]FAIL[/]"
        what, remedy = self._said(what), self._said(remedy)
        self._console.print(f"{mark} {what}" + ("" if good or not remedy else f"\n     [yellow]remedy:[/] {remedy}"))
        return good

    def warn(self, what: str, remedy: str) -> None:
        """Print what works and is weaker than it should be."""
        self.warnings += 1
        self._console.print(f"[yellow]warn[/] {self._said(what)}\n     [yellow]remedy:[/] {self._said(remedy)}")

    def note(self, what: str) -> None:
        """Print a line that is no check."""
        self._console.print(f"     {self._said(what)}", highlight=False)

    def _said(self, text: str) -> str:
        return escape(self._words(text))
