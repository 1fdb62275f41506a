"""Records that arrive all the time, also while brokers are away, and how long nobody answered any of them."""

from __future__ import annotations

import bisect
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from harness.records import Raw

PAUSE_SECONDS = 0.05
FLUSH_SECONDS = 60.0


class Traffic:
    """Produces a few records of each partition twenty times a second, in its own thread; a context manager.

    It waits for no acknowledgement: ``arrived`` is when a broker said that it holds a record (monotonic seconds).
    A broker may hold more: a leader that dies may have written a record whose acknowledgement never came.
    """

    def __init__(
        self, bootstrap_servers: str, topic: str, partitions: Callable[[], int], draw: Callable[[int], Sequence[Raw]]
    ) -> None:
        self._topic, self._partitions, self._draw = topic, partitions, draw
        self._producer = Producer({
            "bootstrap.servers": bootstrap_servers,
            "enable.idempotence": True,
            "delivery.timeout.ms": 120_000,
            "topic.metadata.refresh.interval.ms": 1000,
            "linger.ms": 5,
        })  # fmt: skip
        self._ended = threading.Event()
        self._pool = ThreadPoolExecutor(1, "traffic")
        self.arrived: list[float] = []

    def __enter__(self) -> Self:
        self._fed = self._pool.submit(self._feed)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._pool.shutdown()
        self._producer.flush(FLUSH_SECONDS)
        self._fed.result()

    def _feed(self) -> None:
        while not self._ended.wait(PAUSE_SECONDS):
            for partition in range(self._partitions()):
                for raw in self._draw(partition):
                    self._send(raw, partition)
            self._producer.poll(0)

    def _send(self, raw: Raw, partition: int) -> None:
        try:
            self._producer.produce(self._topic, raw.value, raw.key, partition, self._note, timestamp=raw.timestamp)
        except KafkaException as error:
            if error.args[0].code() != KafkaError._UNKNOWN_PARTITION:  # one that was added: soon it is known
                raise

    def _note(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self.arrived.append(time.monotonic())


def longest_stall(arrived: Sequence[float], answered: Sequence[float]) -> float:
    """The longest time in which records arrived and none was answered; all times in seconds, ``answered`` sorted."""
    arrived = sorted(arrived)
    longest = 0.0
    for before, after in itertools.pairwise(answered):
        first = bisect.bisect_right(arrived, before)
        if first < len(arrived) and arrived[first] < after:
            longest = max(longest, after - arrived[first])
    return longest
