"""Connections of kafka-python: clients that leave none open, and a producer that remembers which it lost."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from kafka import KafkaProducer, errors
from kafka.net.compat import KafkaNetClient
from kafka.protocol.producer import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    EndTxnRequest,
    TxnOffsetCommitRequest,
)

C = TypeVar("C")

OF_A_TRANSACTION = (AddPartitionsToTxnRequest, AddOffsetsToTxnRequest, TxnOffsetCommitRequest, EndTxnRequest)


def connected(
    client: Callable[..., C], settings: dict[str, object], kind: Callable[..., KafkaNetClient] = KafkaNetClient
) -> C:
    """Make a client; if it finds no broker, close the sockets and the thread that it would leave open."""
    networks: list[KafkaNetClient] = []

    def network(**how: object) -> KafkaNetClient:
        networks.append(kind(**how))
        return networks[-1]

    try:
        return client(**settings, kafka_client=network)
    except errors.KafkaError:
        for each in networks:
            each.close()
        raise


def connected_producer(settings: dict[str, object], lost: list[Exception]) -> KafkaProducer:
    """Make a producer that adds to ``lost`` why a request of a transaction got no answer.

    Its connection was lost, and the broker may still handle the request, although the client sends it again.
    """
    return connected(KafkaProducer, settings, partial(_Remembering, lost))


class _Remembering(KafkaNetClient):  # type: ignore[misc]
    def __init__(self, lost: list[Exception], **how: object) -> None:
        super().__init__(**how)
        self._lost = lost

    def send(self, node_id: object, request: object, **how: object) -> Any:
        future = super().send(node_id, request, **how)
        if isinstance(request, OF_A_TRANSACTION):
            future.add_errback(self._lost.append)
        return future
