"""Rebalances of kafka-python: a listener with plain partitions, and three faults of the client that stall a group."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from kafka import TopicPartition, errors
from kafka.consumer.subscription_state import AsyncConsumerRebalanceListener

from streamcast.consumers.transport import Partition


class Rebalances(AsyncConsumerRebalanceListener):  # type: ignore[misc]
    """The client's own thread calls it when partitions come or go, while ``poll`` or ``close`` waits."""

    def __init__(
        self,
        assigned: Callable[[list[Partition]], None],
        revoked: Callable[[list[Partition]], Awaitable[None]],
        lost: Callable[[list[Partition]], None],
    ) -> None:
        self._assigned, self._revoked, self._lost = assigned, revoked, lost

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """The group has assigned these partitions to this member."""
        self._assigned(_sorted(assigned))

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """The group takes these partitions back in good order."""
        await self._revoked(_sorted(revoked))

    async def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        """The group has assigned these partitions to another member."""
        self._lost(_sorted(lost))


def resume_rebalance(coordinator: Any) -> None:
    """kafka-python drops a rebalance if poll() returns early; request it again."""
    if coordinator.rejoining and not coordinator.need_rejoin():
        coordinator.request_rejoin()


def keep_joins(coordinator: Any) -> None:
    """Keep the answer of a join that arrives between two polls: another join would make the whole group rebalance."""
    join, answers = coordinator._do_join_and_sync_async, list[bytes]()  # noqa: SLF001

    async def join_or_use_answer() -> bytes:
        if not coordinator.rebalance_in_progress():  # the last answer was used, or the group has removed the member
            answers.clear()
        if not answers:
            answers.append(await join())
        return answers[0]

    coordinator._do_join_and_sync_async = join_or_use_answer  # noqa: SLF001


def remember_fencing(coordinator: Any) -> list[errors.FencedInstanceIdError]:
    """Return a list that will hold the error of a heartbeat that was fenced: the client only stops its heartbeats."""
    send, fenced = coordinator._send_heartbeat_request, list[errors.FencedInstanceIdError]()  # noqa: SLF001

    async def send_and_remember() -> None:
        try:
            await send()
        except errors.FencedInstanceIdError as error:
            fenced.append(error)
            raise

    coordinator._send_heartbeat_request = send_and_remember  # noqa: SLF001
    return fenced


def _sorted(names: Iterable[TopicPartition]) -> list[Partition]:
    return sorted(Partition(*name) for name in names)
