"""The proxy that lets a request of Kafka's protocol arrive late."""

from __future__ import annotations

import socket
import struct
import threading
import time

from harness.proxy import KafkaProxy, Request

SECONDS = 10.0


def request(kind: Request) -> bytes:
    """A request of version 0: for a transaction named "t", as a produce request has it."""
    body = struct.pack(">hhi", kind, 0, 1) + struct.pack(">h", -1) + struct.pack(">h", 1) + b"t"
    return struct.pack(">i", len(body)) + body


def test_a_held_request_arrives_although_the_broker_answers_the_client_that_was_cut_off() -> None:
    with socket.create_server(("127.0.0.1", 0)) as broker, KafkaProxy() as proxy:
        broker.settimeout(SECONDS)
        proxy.target_port = broker.getsockname()[1]
        first = socket.create_connection(("127.0.0.1", proxy.port), SECONDS)
        theirs, _ = broker.accept()
        theirs.settimeout(SECONDS)
        proxy.make_late(Request.TRANSACTION_OFFSETS, cut=True)
        first.sendall(request(Request.TRANSACTION_OFFSETS))
        assert first.recv(1) == b"", "the client was cut off"
        first.close()
        for _ in range(3):  # the first finds the connection closed, the second fails
            theirs.sendall(b"an answer")
            time.sleep(0.1)
        second = socket.create_connection(("127.0.0.1", proxy.port), SECONDS)
        others, _ = broker.accept()
        threading.Thread(target=lambda: others.recv(1000), daemon=True).start()
        for kind in (Request.END_TRANSACTION, Request.PRODUCE):
            second.sendall(request(kind))
        assert theirs.recv(1000) == request(Request.TRANSACTION_OFFSETS)
        deadline = time.monotonic() + SECONDS
        while proxy.arrived_late == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert proxy.arrived_late == 1
        for each in (second, theirs, others):
            each.close()
