"""Ports that a command listens at."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from streamcast.errors import SettingsError


@contextmanager
def listening(name: str, host: str, port: int) -> Iterator[None]:
    """Name the setting or option of an address that cannot be listened at; raises SettingsError."""
    try:
        yield
    except OSError as error:
        why = "another process listens there" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
        raise SettingsError(
            f"{name}: cannot listen at {host}:{port}, because {why}: choose another port, or 0 for a free one"
        ) from error


def require_free(name: str, host: str, port: int) -> None:
    """Raise SettingsError for a port that is taken, before work that would be lost."""
    with listening(name, host, port):
        socket.create_server((host, port)).close()
