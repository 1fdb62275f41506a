"""Which Host headers an HTTP server of ours answers: the one home of the rule, for the page and the telemetry port.

At a loopback address a server answers only requests that name a loopback host.  This prevents DNS rebinding: another
site, open in a browser on this machine, cannot point its own name at the port.
"""

from __future__ import annotations

from typing import Final

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


def answers(bound: str, host: str | None) -> bool:
    """Whether a server bound to ``bound`` answers a request with this Host header (None: it has none)."""
    return bound not in LOOPBACK or host is None or _name(host) in LOOPBACK


def _name(host: str) -> str:
    """The name in a Host header, without the port and the brackets of an IPv6 address."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()
