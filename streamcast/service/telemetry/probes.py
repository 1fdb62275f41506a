"""The port that machines ask: /metrics for Prometheus, /livez and /readyz for whatever restarts the service.

It is read by anybody who reaches it, so it believes nothing: exact paths, a body only from whoever knows the token, a
connection that has not said what it wants in time is closed, and connections beyond the cap are refused.
"""

from __future__ import annotations

import hmac
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Final, Protocol

from streamcast.service.telemetry.telemetry import Telemetry

_MOST_CONNECTIONS: Final = 32
_CONNECTION_SECONDS: Final = 5.0
_LONGEST_BODY: Final = 4096
_TEXT: Final = "text/plain; charset=utf-8"
_Connection = socket.socket | tuple[bytes, socket.socket]
_METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"


class Health(Protocol):
    """What the loop knows about itself."""

    def alive(self) -> bool:
        """Polling goes on."""

    def ready(self) -> bool:
        """Partitions are assigned and recovered, and the last commit went well."""


@dataclass(frozen=True, slots=True)
class Control:
    """What may be asked of the service by whoever knows the token."""

    token: str
    reset: Callable[[str], None]


class _Request(BaseHTTPRequestHandler):
    server: TelemetryServer
    server_version = "streamcast"
    sys_version = ""
    timeout = _CONNECTION_SECONDS

    def do_GET(self) -> None:
        health = self.server.health
        if self.path == "/metrics":
            self._answer(HTTPStatus.OK, _METRICS, self.server.telemetry.exposition())
        elif self.path == "/livez":
            self._probe(good=health.alive(), otherwise="polling has stopped")
        elif self.path == "/readyz":
            self._probe(good=health.ready(), otherwise="restoring, not assigned, or the last commit failed")
        else:
            self._answer(HTTPStatus.NOT_FOUND, _TEXT, b"try /metrics, /livez or /readyz\n")

    def do_POST(self) -> None:
        control = self.server.control
        if self.path != "/reset" or control is None:
            self._answer(HTTPStatus.NOT_FOUND, _TEXT, b"nothing here takes a request that changes anything\n")
        elif not hmac.compare_digest(self.headers.get("Authorization", ""), f"Bearer {control.token}"):
            self._answer(HTTPStatus.FORBIDDEN, _TEXT, b"the token is missing or wrong\n")
        elif not 0 < (length := _length(self.headers.get("Content-Length"))) <= _LONGEST_BODY:
            self._answer(HTTPStatus.BAD_REQUEST, _TEXT, b"send the series key as the body\n")
        else:
            control.reset(self.rfile.read(length).decode(errors="replace"))
            self._answer(HTTPStatus.ACCEPTED, _TEXT, b"the series begins anew with the next batch of its partition\n")

    def _probe(self, *, good: bool, otherwise: str) -> None:
        status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
        self._answer(status, _TEXT, b"ok\n" if good else f"{otherwise}\n".encode())

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: a probe every few seconds is not news."""


class TelemetryServer(ThreadingTCPServer):
    """Serves in threads of its own until ``close``; ``port`` is the one it got when asked for port 0."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, telemetry: Telemetry, health: Health, host: str, port: int, control: Control | None = None
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.telemetry = telemetry
        self.health = health
        self.control = control
        self._lock = threading.Lock()
        self._deadlines: dict[_Connection, float] = {}
        super().__init__((host, port), _Request)
        self.port: int = self.server_address[1]
        self._thread = threading.Thread(target=self.serve_forever, args=(0.1,), name="telemetry", daemon=True)
        self._thread.start()

    def verify_request(self, request: _Connection, client_address: object) -> bool:
        """Refuse a connection beyond the cap, and give the others a deadline."""
        del client_address
        with self._lock:
            if len(self._deadlines) >= _MOST_CONNECTIONS:
                return False
            self._deadlines[request] = time.monotonic() + _CONNECTION_SECONDS
            return True

    def service_actions(self) -> None:
        """Cut connections that are past their deadline (called ten times a second)."""
        now = time.monotonic()
        with self._lock:
            late = [connection for connection, deadline in self._deadlines.items() if now > deadline]
        for connection in late:
            if isinstance(connection, socket.socket):
                with suppress(OSError):  # the other side was faster
                    connection.shutdown(socket.SHUT_RDWR)

    def shutdown_request(self, request: _Connection) -> None:
        """End a connection and free its place."""
        with self._lock:
            self._deadlines.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: _Connection, client_address: object) -> None:
        """Drop a connection that broke: what a client does wrong is its own affair."""

    def close(self) -> None:
        """Stop listening and end the thread, within about a second."""
        self.shutdown()
        self.server_close()
        self._thread.join(timeout=_CONNECTION_SECONDS)


def _length(header: str | None) -> int:
    return int(header) if header is not None and header.isascii() and header.isdigit() and len(header) < 10 else 0


def serve_telemetry(telemetry: Telemetry, health: Health, host: str = "127.0.0.1", port: int = 0) -> TelemetryServer:
    """Start answering on ``host``:``port`` (0 picks a free one); raises OSError when the address is taken."""
    return TelemetryServer(telemetry, health, host, port)
