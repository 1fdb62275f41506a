"""A reader who types what a page says: one folder, the commands that run, the names that Python knows.

Trainings are short: a page shows how to train, and a test need not wait for a good model.
"""

from __future__ import annotations

import io
import os
import shlex
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from harness import ROOT
from harness.bound import bound
from harness.commands import Command, CommandError, fork_server, start
from harness.documentation.blocks import commands

TRAIN_UPDATES = 40
SHORT_TRAINING = f"""
from streamcast.offline.training.options import Options
_init = Options.__init__.__wrapped__  # the dataclass's own, below the one that names unknown options
_names, _defaults = list(Options.__dataclass_fields__), list(_init.__defaults__)
_defaults[_names.index("epochs")] = 1
_defaults[_names.index("updates")] = {TRAIN_UPDATES}
_init.__defaults__ = tuple(_defaults)
"""
"""Code that makes all trainings of a process short: one epoch of so many updates."""

WAIT_SECONDS = 120.0
STOP_SECONDS = 15.0


class PageError(Exception):
    """A block of a page did not do what the page says; the message holds what was printed."""


class Session:
    """Runs blocks in ``folder``, with ``environment`` beside that of this process; ``close`` ends what still runs."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        ours = {"COLUMNS": "120", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PATH": path}
        self._environment = {**ours, **environment}
        self._running: list[Command] = []
        self._python: tuple[Connection, ForkServerProcess] | None = None

    def shell(self, text: str, stays: str = "") -> str:
        """Run the commands of a block and return what they printed; raises PageError if one fails.

        The last command is left running if it ``stays``: once it has printed this.
        """
        printed = ""
        listed = list(commands(text))
        for place, command in enumerate(listed):
            words = shlex.split(command)
            if words[0] != "streamcast":
                printed += _told(self._run(command))
            elif stays and place == len(listed) - 1:
                printed += self._keep(words[1:], stays)
            else:
                printed += _told(self._streamcast(words[1:]))
        return printed

    def python(self, text: str) -> str:
        """Run a block of Python and return what it printed; raises PageError if it raises."""
        if self._python is None:
            ours, theirs = fork_server().Pipe()
            process = fork_server().Process(
                target=bound, args=(python_blocks, theirs, str(self._folder), self._environment)
            )
            process.start()
            self._python = ours, process
        self._python[0].send(text)
        if not self._python[0].poll(WAIT_SECONDS):
            raise PageError(f"not done after {WAIT_SECONDS:.0f} s")
        good, printed = self._python[0].recv()
        if not good:
            raise PageError(printed)
        return str(printed)

    def close(self) -> None:
        """End all processes of the page."""
        for command in self._running:
            command.signal(signal.SIGTERM)
        processes = [command.process for command in self._running]
        if self._python is not None:
            self._python[0].close()
            processes.append(self._python[1])
        for process in processes:
            process.join(STOP_SECONDS)
            if process.is_alive():
                process.kill()
                process.join()

    def _run(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command], cwd=self._folder, env={**os.environ, **self._environment},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            timeout=WAIT_SECONDS,
        )  # fmt: skip
        if done.returncode:
            raise PageError(f"{command}: exit code {done.returncode}\n{done.stdout}")
        return done.stdout

    def _streamcast(self, words: list[str]) -> str:
        if words[0] == "train" and "zero" not in words[2:]:  # which is not trained
            words = [*words, "--epochs", "1", "--option", f"updates={TRAIN_UPDATES}"]
        try:
            return start(*words, folder=self._folder, environment=self._environment).end(seconds=WAIT_SECONDS)
        except CommandError as error:
            raise PageError(str(error)) from None

    def _keep(self, words: list[str], stays: str) -> str:
        command = start(*words, folder=self._folder, environment=self._environment)
        self._running.append(command)
        deadline = time.monotonic() + WAIT_SECONDS
        while stays not in (printed := command.printed()):
            if not command.is_running() or time.monotonic() > deadline:
                raise PageError(f"streamcast {shlex.join(words)} did not print {stays!r}:\n{printed}")
            time.sleep(0.05)
        return printed


def _told(printed: str) -> str:
    """Return what was printed without the lines of progress, which a page does not show: a busy machine has more."""
    return "".join(line for line in printed.splitlines(keepends=True) if not line.startswith("progress:"))


def python_blocks(requests: Connection, folder: str, environment: Mapping[str, str]) -> None:
    """Be an interpreter, in a process of the fork server: run each block that comes, answer what it printed."""
    os.environ.update(environment)
    os.chdir(folder)
    warnings.resetwarnings()
    exec(SHORT_TRAINING)  # noqa: S102
    known: dict[str, object] = {"__name__": "__main__"}
    while True:
        try:
            text = requests.recv()
        except EOFError:
            return
        printed = io.StringIO()
        good = True
        with redirect_stdout(printed), redirect_stderr(printed):
            try:
                exec(compile(text, "<block>", "exec"), known)  # noqa: S102
            except BaseException:  # noqa: BLE001 the page's test reports it
                good = False
                traceback.print_exc(file=printed)
        requests.send((good, printed.getvalue()))
