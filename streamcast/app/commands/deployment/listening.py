"""Ports that a command listens on: a port that cannot be had is a message with the name of its setting.

And where others find the service's.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from streamcast.app.settings import Settings
from streamcast.errors import SettingsError

_OF_THE_PORT = (errno.EADDRINUSE, errno.EACCES)

SERVICE_PORT = "telemetry.port"
"""The setting of the port of a service, of which a group has one process of each name."""


@contextmanager
def listening(setting: str, host: str, port: int, group: str = "") -> Iterator[None]:
    """Turn the failure to listen on ``host``:``port``, which ``setting`` names, into a SettingsError.

    Where the port is a service's, its ``group`` lets the error say whether the service of another one has it.
    """
    try:
        yield
    except OSError as error:
        number = error.errno or 0
        if number == errno.EADDRINUSE and group and (taken := of_another_service(host, port, group)):
            raise SettingsError(taken) from None
        reason = os.strerror(number).lower() if number in errno.errorcode else error.strerror
        remedy = (
            f"if the process that uses port {port} is that of these settings, it runs already"
            + (" (a second service would take its place)" if setting == SERVICE_PORT else "")
            + "; else end it, or choose another port (0: any free one)"
            if number in _OF_THE_PORT
            else f"expected an address of this machine, not {host!r}"
        )
        raise SettingsError(f"{setting} is {port}: cannot listen on {host}, port {port} ({reason}); {remedy}") from None


def require_free(setting: str, host: str, port: int, group: str = "") -> None:
    """Raise SettingsError if ``host``:``port`` cannot be listened on now, before a command does long work."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with listening(setting, host, port, group):
        socket.create_server((host, port), family=family).close()


def of_another_service(host: str, port: int, group: str) -> str:
    """Return whose service answers at ``host``:``port``, and what to do, if it is known and not ``group``'s."""
    from streamcast.page.scrape import group_at  # a service that starts does without its imports

    found = group_at(_metrics_at(host, port)) if port else ""
    if found in ("", group):
        return ""
    return f"{SERVICE_PORT} {port} belongs to the service of group {found}: set {SERVICE_PORT} (0: any free one)"


def hides_metrics(settings: Settings) -> bool:
    """Whether nobody can know where the service's /metrics are: it takes any free port."""
    return settings.telemetry.port == 0 and settings.dashboard.telemetry_url is None


def metrics_url(settings: Settings) -> str:
    """Return where the service's /metrics are: as the settings say, else at ``telemetry.port`` of this machine."""
    telemetry = settings.telemetry
    return settings.dashboard.telemetry_url or _metrics_at(telemetry.host, telemetry.port)


def _metrics_at(host: str, port: int) -> str:
    here = "127.0.0.1" if host == "0.0.0.0" else "[::1]" if host == "::" else f"[{host}]" if ":" in host else host  # noqa: S104
    return f"http://{here}:{port}/metrics"
