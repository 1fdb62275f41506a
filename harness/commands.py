"""The command line as real processes, forked from a server that has imported everything: each starts at once.

A command has its own folder, standard output, signals and exit code, as in a shell; only the seconds that importing
torch takes are spent once.  None outlives the programme that started it.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

from harness.bound import bound

PRELOADED = ("harness.faults.serve", "harness.preloaded")
RUN_SECONDS = 120.0


class CommandError(Exception):
    """A command did not end as expected; the message holds what it printed."""


@cache
def fork_server() -> ForkServerContext:
    """Return the context whose processes have imported the service and all commands already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context


@dataclass(frozen=True)
class Command:
    """A command that was started."""

    arguments: Sequence[str]
    process: ForkServerProcess
    output: Path

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        if self.process.pid is not None:
            os.kill(self.process.pid, number)

    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self.process.is_alive()

    def printed(self) -> str:
        """Return what was printed until now, on standard output and standard error."""
        return self.output.read_text(encoding="utf-8", errors="replace")

    def end(self, code: int = 0, seconds: float = RUN_SECONDS) -> str:
        """Wait for the end and return what was printed; raises CommandError after another exit code or too long."""
        self.process.join(seconds)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
            raise CommandError(f"{' '.join(self.arguments)} did not end in {seconds:.0f} s:\n{self.printed()}")
        if self.process.exitcode != code:
            told = f"{' '.join(self.arguments)} ended with {self.process.exitcode}, not {code}"
            raise CommandError(f"{told}:\n{self.printed()}")
        printed = self.printed()
        self.output.unlink()
        return printed


def start(
    *arguments: object, folder: Path | None = None, environment: Mapping[str, str] | None = None, without: str = ""
) -> Command:
    """Start ``streamcast`` with these arguments in a folder, without a terminal and without input.

    ``environment`` has variables beside those that the server of forks was started with.  The process cannot import
    the package ``without``, as if it were not installed.
    """
    words = [str(argument) for argument in arguments]
    number, name = tempfile.mkstemp(prefix="streamcast-command-")
    os.close(number)
    place = str(folder or Path.cwd())
    process = fork_server().Process(target=_run, args=(words, name, place, dict(environment or {}), without))
    process.start()
    return Command(words, process, Path(name))


def streamcast(
    *arguments: object, code: int = 0, folder: Path | None = None, seconds: float = RUN_SECONDS, without: str = ""
) -> str:
    """Run a command to its end and return what it printed; raises CommandError unless it ended with ``code``."""
    return start(*arguments, folder=folder, without=without).end(code, seconds)


def document(*arguments: object) -> Any:
    """Run a command with ``--json`` and return its document, without what it says of its progress meanwhile."""
    printed = streamcast(*arguments, "--json")
    begin = re.search(r"^[\[{]", printed, re.MULTILINE)
    if begin is None:
        raise CommandError(f"{arguments} printed no document:\n{printed}")
    return json.JSONDecoder().raw_decode(printed, begin.start())[0]


def _run(words: list[str], output: str, folder: str, environment: Mapping[str, str], without: str) -> None:
    os.environ.update(environment)
    bound(_main, words, output, folder, without)


def _main(words: list[str], output: str, folder: str, without: str) -> None:
    if without:
        _uninstall(without)
    from streamcast.app.cli import main

    for stream, path, flags in ((0, os.devnull, os.O_RDONLY), (1, output, os.O_WRONLY | os.O_APPEND)):
        opened = os.open(path, flags)
        os.dup2(opened, stream)
        os.close(opened)
    os.dup2(1, 2)
    os.chdir(folder)
    sys.argv = ["streamcast", *words]
    main()


def _uninstall(package: str) -> None:
    """Make ``package`` impossible to import, and forget all modules of the service, which may have imported it."""
    for name in list(sys.modules):
        if name.partition(".")[0] in {package, "streamcast"}:
            del sys.modules[name]
    sys.modules[package] = None  # type: ignore[assignment]
