"""The telemetry port: /metrics for Prometheus, /livez and /readyz for the orchestrator that restarts the service.

Anybody who reaches the port can read it, so it trusts nobody: paths must match exactly, only requests with the token
may have a body, and connections without a request in time are closed.  A new connection is always accepted, so that
probes are always answered: beyond a limit, an older one is closed for it, idle ones first, of the client with the most.
"""

from __future__ import annotations

import hmac
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Final, Protocol

from streamcast import hosts
from streamcast.service.telemetry.telemetry import Telemetry

_MOST_CONNECTIONS: Final = 32
_MOST_OF_CLIENT: Final = 16
_CONNECTION_SECONDS: Final = 5.0
_LONGEST_BODY: Final = 4096
_TEXT: Final = "text/plain; charset=utf-8"
_Connection = socket.socket | tuple[bytes, socket.socket]
_METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"


class Health(Protocol):
    """The loop's own account of itself."""

    def alive(self) -> bool:
        """Whether the loop is polling."""

    def problems(self) -> Sequence[str]:
        """Why records are not being answered, in words; empty when they are."""


@dataclass(frozen=True, slots=True)
class Control:
    """The requests that change the service, for those who know the token."""

    token: str
    reset: Callable[[str], bool]
    """Resets the series of a key; False when this process has none."""


@dataclass(slots=True)
class _Open:
    """A connection: whose it is, when it is cut, and whether its request has arrived."""

    client: str
    deadline: float
    answering: bool = False


class _Request(BaseHTTPRequestHandler):
    server: TelemetryServer
    server_version = "streamcast"
    sys_version = ""
    timeout = _CONNECTION_SECONDS

    def parse_request(self) -> bool:
        """Read the head of a request; refuse it when its Host header is not one of ours."""
        if not super().parse_request():
            return False
        self.server.begin_answer(self.connection)
        if not hosts.answers(self.server.host, self.headers.get("Host")):
            self._answer(HTTPStatus.BAD_REQUEST, _TEXT, b"the Host header must name a loopback address\n")
            return False
        return True

    def do_GET(self) -> None:
        health = self.server.health
        if self.path == "/metrics":
            self._answer(HTTPStatus.OK, _METRICS, self.server.telemetry.exposition())
        elif self.path == "/livez":
            self._probe([] if health.alive() else ["polling has stopped"])
        elif self.path == "/readyz":
            self._probe(health.problems())
        else:
            self._answer(HTTPStatus.NOT_FOUND, _TEXT, b"try /metrics, /livez or /readyz\n")

    def do_POST(self) -> None:
        control = self.server.control
        if self.path != "/reset" or control is None:
            self._answer(
                HTTPStatus.NOT_FOUND,
                _TEXT,
                b"only POST /reset is accepted, when telemetry.token is set\n",
            )
        elif not self._has(control.token):
            self._answer(HTTPStatus.FORBIDDEN, _TEXT, b"the token is missing or wrong\n")
        elif not 0 < (length := _length(self.headers.get("Content-Length"))) <= _LONGEST_BODY:
            self._answer(HTTPStatus.BAD_REQUEST, _TEXT, b"send the series key as the body\n")
        elif control.reset(self.rfile.read(length).decode(errors="replace")):
            self._answer(HTTPStatus.ACCEPTED, _TEXT, b"the series is reset with the next batch of its partition\n")
        else:
            self._answer(
                HTTPStatus.NOT_FOUND,
                _TEXT,
                b"this process has no series of that key: check the key's spelling, and ask the process that holds its"
                b" partition\n",
            )

    def _has(self, token: str) -> bool:
        """Whether the request brings the token; compared as bytes, because ``hmac`` compares no text but ASCII."""
        return hmac.compare_digest(self.headers.get("Authorization", "").encode(), f"Bearer {token}".encode())

    def _probe(self, problems: Sequence[str]) -> None:
        """Answer "ok", or 503 with the problems, a line each."""
        status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
        lines = [" ".join(self.server.words(problem).split()) for problem in problems] or ["ok"]
        self._answer(status, _TEXT, "".join(f"{line}\n" for line in lines).encode())

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing: probes come every few seconds."""


class TelemetryServer(ThreadingTCPServer):
    """Serves in threads of its own until ``close``; with port 0, ``port`` is the free one that it took.

    ``words`` returns each problem of ``health`` as it is answered.
    Raises OSError when the address is taken.
    """

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, telemetry: Telemetry, health: Health, host: str = "127.0.0.1", port: int = 0,
        control: Control | None = None, words: Callable[[str], str] = str,
    ) -> None:  # fmt: skip
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.host = host
        self.telemetry = telemetry
        self.health = health
        self.control = control
        self.words = words
        self._lock = threading.Lock()
        self._open: dict[_Connection, _Open] = {}
        super().__init__((host, port), _Request)
        self.port: int = self.server_address[1]
        self._thread = threading.Thread(target=self.serve_forever, args=(0.1,), name="telemetry", daemon=True)
        self._thread.start()

    def verify_request(self, request: _Connection, client_address: tuple[str, int]) -> bool:
        """Accept a connection with a deadline; beyond a limit, close an older one for it."""
        client = client_address[0]
        with self._lock:
            crowding = self._crowding(client)
            if crowding is not None:
                del self._open[crowding]
            self._open[request] = _Open(client, time.monotonic() + _CONNECTION_SECONDS)
        if crowding is not None:
            _cut(crowding)
        return True

    def _crowding(self, client: str) -> _Connection | None:
        """The connection to close for one more of ``client``: idle before answering, of the busiest client, oldest."""
        count = Counter(opened.client for opened in self._open.values())
        if count[client] >= _MOST_OF_CLIENT:
            candidates = [connection for connection, opened in self._open.items() if opened.client == client]
        elif len(self._open) >= _MOST_CONNECTIONS:
            candidates = list(self._open)
        else:
            return None
        return min(candidates, key=lambda each: (self._open[each].answering, -count[self._open[each].client]))

    def begin_answer(self, connection: _Connection) -> None:
        """Note that the request of a connection has arrived."""
        with self._lock:
            if connection in self._open:
                self._open[connection].answering = True

    def service_actions(self) -> None:
        """Cut connections that are past their deadline (called ten times a second)."""
        now = time.monotonic()
        with self._lock:
            late = [connection for connection, opened in self._open.items() if now > opened.deadline]
        for connection in late:
            _cut(connection)

    def shutdown_request(self, request: _Connection) -> None:
        """End a connection and free its place."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: _Connection, client_address: object) -> None:
        """Drop a connection that broke; the client's errors are not logged."""

    def close(self) -> None:
        """Stop listening and end the thread, within about a second."""
        self.shutdown()
        self.server_close()
        self._thread.join(timeout=_CONNECTION_SECONDS)


def _cut(connection: _Connection) -> None:
    if isinstance(connection, socket.socket):
        with suppress(OSError):  # the client closed it first
            connection.shutdown(socket.SHUT_RDWR)


def _length(header: str | None) -> int:
    return int(header) if header is not None and header.isascii() and header.isdigit() and len(header) < 10 else 0
