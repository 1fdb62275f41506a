"""A TCP proxy between clients and the broker, whose link can be slow, cut, or deaf in one direction.

A ``KafkaProxy`` also knows where Kafka's requests begin, and can let one of them arrive late.
"""

from __future__ import annotations

import enum
import socket
import struct
import threading
import time
from contextlib import suppress
from typing import Literal, Self

CHUNK = 65_536
HANDLED_SECONDS = 0.3
"""What a broker on this machine needs to handle a request."""
LATEST_SECONDS = 60.0
FLEXIBLE_PRODUCE = 9
"""From this version on a produce request has compact strings, and tags after its header."""

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
                    self._send(sink, data)

    def _send(self, sink: socket.socket, data: bytes) -> None:
        sink.sendall(data)


class Request(enum.IntEnum):
    """Kinds of Kafka's requests; the values are Kafka's API keys."""

    PRODUCE = 0
    INIT_PRODUCER = 22
    END_TRANSACTION = 26
    TRANSACTION_OFFSETS = 28


class KafkaProxy(Proxy):
    """A proxy that passes on whole requests of Kafka's protocol, and can let one arrive in the next transaction."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._late: Request | None = None
        self._cutting = self._next_begins = False
        self._held = 0
        self.arrived_late = 0
        """How many requests have arrived late."""
        super().__init__()

    def make_late(self, late: Request, *, cut: bool) -> None:
        """Let a request of this kind arrive in the next transaction, just before that sends its first records.

        If ``cut``, this is the next one, and its connection to the client ends at once, so that the client sends it
        again.  Otherwise it is every one until then, and nobody answers, so that the client gives up.
        """
        with self._changed:
            self._late, self._cutting, self._next_begins = late, cut, False

    def heal(self) -> None:
        """Let what is held arrive now, hold nothing more, and pass everything on again."""
        self._let_arrive()
        super().heal()

    def _pass_on(self, source: socket.socket, sink: socket.socket, direction: Direction) -> None:
        if direction == "to the client":
            super()._pass_on(source, sink, direction)
            return
        with suppress(OSError), source, sink:
            while request := _request(source):
                kind = int.from_bytes(request[4:6])
                if self._holds(kind):
                    self._hold(source)
                    try:
                        sink.sendall(request)
                    except OSError:
                        self._note(arrived=0)
                        raise
                    self._note(arrived=1)
                    continue
                if self._held and kind in (Request.END_TRANSACTION, Request.INIT_PRODUCER):
                    self._next_begins = True
                elif self._next_begins and kind == Request.PRODUCE and _is_transactional(request):
                    self._let_arrive()
                if self.delay_seconds:
                    time.sleep(self.delay_seconds)
                if self.swallow != direction:
                    sink.sendall(request)

    def _send(self, sink: socket.socket, data: bytes) -> None:
        """Pass an answer on.  Where a client was cut off, it is lost, and what is held keeps its connection."""
        try:
            super()._send(sink, data)
        except OSError:
            if not self._held:
                raise

    def _holds(self, kind: int) -> bool:
        """Whether a request of this kind is to be late; counts it as held, if so."""
        with self._changed:
            if kind != self._late or (self._cutting and self._held):
                return False
            self._held += 1
            return True

    def _hold(self, client: socket.socket) -> None:
        if self._cutting:
            client.shutdown(socket.SHUT_RDWR)
        with self._changed:
            self._changed.wait_for(lambda: self._late is None, LATEST_SECONDS)

    def _note(self, arrived: int) -> None:
        """Note that a request is held no more, and how many have arrived."""
        with self._changed:
            self._held -= 1
            self.arrived_late += arrived
            self._changed.notify_all()

    def _let_arrive(self) -> None:
        with self._changed:
            held, self._late, self._next_begins = self._held, None, False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._held == 0, LATEST_SECONDS)
        if held:
            time.sleep(HANDLED_SECONDS)


def _request(client: socket.socket) -> bytes:
    """Receive a whole request: its length, and as many bytes; empty when the connection has ended."""
    head = _received(client, 4)
    return head + _received(client, struct.unpack(">i", head)[0]) if head else b""


def _is_transactional(produce: bytes) -> bool:
    """Whether a produce request names a transaction: that is the first field after its header."""
    version, named = int.from_bytes(produce[6:8]), int.from_bytes(produce[12:14], signed=True)
    body = 14 + max(0, named)
    return produce[body + 1] != 0 if version >= FLEXIBLE_PRODUCE else produce[body : body + 2] != b"\xff\xff"


def _received(connection: socket.socket, size: int) -> bytes:
    pieces, left = [], size
    while left:
        piece = connection.recv(min(left, CHUNK))
        if not piece:
            return b""
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)
