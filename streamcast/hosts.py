"""Hosts: the names that a browser sends to the page and the telemetry port, and the way to a service of our own.

A server at a loopback address that answered every name could be read by any other site that is open in a browser on
this machine: the site points its own name at the port (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, build_opener


def answers(bound: str, host: str | None) -> bool:
    """Whether a server that is bound to ``bound`` answers a request with this Host header (None: it has none)."""
    return not is_loopback(bound) or host is None or is_loopback(host_of(host))


def host_of(header: str) -> str:
    """The name or address in a Host header, without the port."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.rpartition(":")[0].lower() if ":" in header else header.lower()


def is_address(host: str) -> bool:
    """Whether ``host`` is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches ``host``."""
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)


def share_an_address(one: str, other: str) -> bool:
    """Whether servers at these hosts of one machine need two ports; ``0.0.0.0`` and ``::`` are all of its addresses."""
    first, second = ("127.0.0.1" if host == "localhost" else host for host in (one, other))
    return first == second or any(
        is_address(host) and ipaddress.ip_address(host).is_unspecified for host in (one, other)
    )


class _Stay(HTTPRedirectHandler):
    """Follows no redirect, so that it is raised as an HTTPError with its own status."""

    def redirect_request(self, *_: object) -> None:
        """Make no request of a redirect."""


def direct() -> OpenerDirector:
    """Return an opener that asks a service itself and no other host: by no proxy of the environment, by no redirect.

    A service of ours never redirects.  Whoever answers in its place would get the token of the request, and its answer
    would be that of a host of his choice.
    """
    return build_opener(ProxyHandler({}), _Stay)
