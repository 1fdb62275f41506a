"""A TCP proxy between clients and the broker, whose link can be slow, cut, or deaf in one direction."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import Literal, Self

CHUNK = 65_536

Direction = Literal["to the broker", "to the client"]


class Proxy:
    """Listens on a free port and passes bytes on to ``target_port``; a context manager.

    ``delay_seconds`` delays each piece; ``swallow`` names the direction whose bytes are lost.
    """

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.target_port = 0
        self.delay_seconds = 0.0
        self.swallow: Direction | None = None
        self._cut = False
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True, name="proxy").start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Accept no more connections, and end the present ones."""
        self._server.close()
        self.drop()

    def cut(self) -> None:
        """Refuse new connections, and end all present ones."""
        self._cut = True
        self.drop()

    def drop(self) -> None:
        """End all present connections."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for each in pair:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def heal(self) -> None:
        """Pass everything on again; connections that lost bytes are ended."""
        lost, self.swallow, self._cut, self.delay_seconds = self.swallow, None, False, 0.0
        if lost:
            self.drop()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            try:
                broker = socket.create_connection(("127.0.0.1", self.target_port), 5.0)
            except OSError:
                client.close()
                continue
            broker.settimeout(None)
            with self._lock:  # whoever cuts the link drops the pairs after that: none may be added between
                cut = self._cut
                if not cut:
                    self._pairs = [pair for pair in self._pairs if pair[0].fileno() >= 0]
                    self._pairs.append((client, broker))
            if cut:
                client.close()
                broker.close()
                continue
            ways: tuple[tuple[socket.socket, socket.socket, Direction], ...] = (
                (client, broker, "to the broker"), (broker, client, "to the client"),
            )  # fmt: skip
            for way in ways:
                threading.Thread(target=self._pass_on, args=way, daemon=True, name="proxy").start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, direction: Direction) -> None:
        with suppress(OSError), source, sink:
            while data := source.recv(CHUNK):
                if self.delay_seconds:
                    time.sleep(self.delay_seconds)
                if self.swallow != direction:
                    sink.sendall(data)
