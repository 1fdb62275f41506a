"""Reads the service's topics into the board, without joining the service's consumer group."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Final

from streamcast.consumers.transport import Batch, Partition, Positions, Reader, TransportError
from streamcast.page.board import Board
from streamcast.page.dead_letters import DEAD_LETTERS

_CHUNK: Final = 20_000
_OLD_DEAD_LETTERS: Final = 4 * DEAD_LETTERS  # offsets: the marks of transactions take some
_PAUSE_SECONDS: Final = 0.5
_RETRY_SECONDS: Final = 2.0


class Feed:
    """Reads a service's topics to their ends, a chunk at a time, and stays at most ``backlog`` records behind.

    It skips older records, at the start and whenever the topics grow faster than it reads.  The board counts the
    records that are skipped after the start.  Of the dead letters from before the start it reads a few of each
    partition: all that the board lists may lie in one.  It reports the share that it has read of what it found first.
    """

    def __init__(
        self,
        reader: Reader,
        board: Board,
        *,
        observations: str,
        forecasts: str,
        dead_letters: str,
        backlog: int = 200_000,
    ) -> None:
        self._reader, self._board = reader, board
        self._backlog, self._dead_letters = backlog, dead_letters
        self._take: Mapping[str, Callable[[Batch], None]] = {
            observations: board.take_records,
            forecasts: board.take_forecasts,
            dead_letters: board.take_dead_letters,
        }
        self._positions: Positions = {}
        self._found: Mapping[Partition, tuple[int, int]] | None = None

    def read_some(self) -> bool:
        """Read up to a chunk of every partition; True if records remain. Raises ``TransportError``."""
        described = self._reader.describe(tuple(self._take))
        more, seen = False, {}
        for topic, spec in described.items():
            partitions = [Partition(topic, index) for index in range(spec.partitions)]
            ranges = {}
            for partition, (first, end) in self._reader.bounds(partitions).items():
                start = self._start(partition, first, end, max(self._backlog // spec.partitions, 1))
                stop = min(end, start + _CHUNK)
                ranges[partition], seen[partition] = (start, stop), (start, end)
                self._positions[partition] = start
                more |= stop < end
            for batches in self._reader.read_ranges(ranges):
                for batch in batches:
                    self._take[topic](batch)
                    self._positions[batch.partition] = batch.next_offset
            self._positions |= {partition: stop for partition, (_, stop) in ranges.items()}
        self._found = seen if self._found is None else self._found
        self._board.report_reading(self._share(self._found))
        missing = [topic for topic in self._take if topic not in described]
        self._board.report_trouble(f"there is no topic {', '.join(missing)}" if missing else None)
        return more

    def _share(self, found: Mapping[Partition, tuple[int, int]]) -> float:
        """Which share of these ranges is read."""
        left = sum(max(end - self._positions[partition], 0) for partition, (_, end) in found.items())
        return 1.0 - left / max(sum(end - start for start, end in found.values()), 1)

    def _start(self, partition: Partition, first: int, end: int, most: int) -> int:
        """The next offset to read: the last position, unless it is too far back or the topic has been recreated."""
        position = self._positions.get(partition)
        if position is None or position > end:
            return max(first, end - (_OLD_DEAD_LETTERS if partition.topic == self._dead_letters else most))
        earliest = max(first, end - most)
        self._board.count_skipped(max(earliest - position, 0))
        return max(position, earliest)


def follow(feed: Feed, board: Board, stop: threading.Event) -> None:
    """Feed the board about twice a second until ``stop`` is set; on a broker error, show it and try again."""
    while not stop.is_set():
        pause = _PAUSE_SECONDS
        try:
            if feed.read_some():
                pause = 0.0
        except TransportError as error:
            board.report_trouble(str(error))
            pause = _RETRY_SECONDS
        board.score()
        stop.wait(pause)
