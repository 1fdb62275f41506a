"""The partitions of one group member: which of them wait for a seek, are paused, or have positions to commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from streamcast.consumers.positions import PendingPositions
from streamcast.consumers.transport import Partition, Positions


class Membership:
    """What a transport must remember about its assigned partitions.  It calls no client.

    A new partition waits, and must deliver nothing, until ``seek`` says where it begins.  The methods return the
    partitions that the transport then has to pause or resume at its client.  ``request`` starts a commit of positions
    (see ``PendingPositions``).
    """

    def __init__(self, request: Callable[[Positions], None]) -> None:
        self.pending = PendingPositions(request)
        self.waiting: set[Partition] = set()
        """Assigned partitions that nobody has sought yet."""
        self.paused: set[Partition] = set()
        """Partitions that the loop has paused, whether they wait or not."""
        self.sought: Positions = {}
        """Where each partition was last sought to; ``settled`` falls back to it."""
        self.next: Positions = {}
        """The next offset to read, for a client that does not tell it: see ``advance``."""

    def assign(self, partitions: Iterable[Partition]) -> None:
        """Add partitions, which wait for a seek."""
        for partition in partitions:
            self.waiting.add(partition)
            self.sought.pop(partition, None)
            self.next.pop(partition, None)

    def seek(self, positions: Positions) -> list[Partition]:
        """Note where these partitions are read next; returns those that waited and may deliver now."""
        begun = self.waiting & positions.keys()
        self.waiting -= begun
        self.sought |= positions
        self.next |= positions
        return sorted(begun - self.paused)

    def advance(self, positions: Positions) -> None:
        """Note how far these partitions have been read; one that has gone meanwhile, or waits again, is left out."""
        self.next |= {partition: position for partition, position in positions.items() if partition in self.sought}

    def pause(self, partitions: Iterable[Partition]) -> list[Partition]:
        """Pause partitions; returns those to pause at the client (one that waits delivers nothing anyway)."""
        partitions = list(partitions)
        self.paused.update(partitions)
        return [partition for partition in partitions if partition in self.sought]

    def resume(self, partitions: Iterable[Partition]) -> list[Partition]:
        """Resume partitions; returns those to resume at the client (one that waits goes on waiting)."""
        partitions = list(partitions)
        self.paused.difference_update(partitions)
        return [partition for partition in partitions if partition in self.sought]

    def assigned(self) -> list[Partition]:
        """All partitions that the group has given, whether they wait or not."""
        return sorted(self.sought.keys() | self.waiting)

    def holds(self, partitions: Iterable[Partition]) -> bool:
        """Whether all these partitions are assigned and have been sought."""
        return self.sought.keys() >= set(partitions)

    def settled(self, committed: Positions) -> Positions:
        """After a commit in doubt: the committed position of each partition, or where it was last sought to."""
        return self.sought | committed

    def give_up(self, partitions: Iterable[Partition]) -> Positions:
        """Forget partitions; returns the positions of theirs that are still to be committed."""
        partitions = list(partitions)
        for partition in partitions:
            self.waiting.discard(partition)
            self.paused.discard(partition)
            self.sought.pop(partition, None)
            self.next.pop(partition, None)
        return self.pending.give_up(partitions)

    def clear(self) -> None:
        """Forget all partitions and all pending positions."""
        self.waiting.clear()
        self.paused.clear()
        self.sought.clear()
        self.next.clear()
        self.pending.clear()
