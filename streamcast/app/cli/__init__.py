"""The command line: options to calls, exceptions to exit codes, and nothing else.

Exit codes: 0 success, 1 failure, 2 wrong options, settings, model or data, 3 broker, 130 interrupted.
Each command imports its heavy packages itself, so that ``--help`` stays fast.

``root`` lists the commands; ``files``, ``service``, ``models``, ``dead_letters`` and ``state`` declare them, with what
is in ``terminal``; ``spread`` turns groups of options into parameters; ``faults`` turns exceptions into messages and
exit codes.
"""

from streamcast.app.cli.root import app, main

__all__ = ["app", "main"]
