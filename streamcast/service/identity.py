"""The identity of a partition's state: the topics and the models that it is made from, and where it begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streamcast.consumers.transport import Partition, TopicSpec
from streamcast.service.snapshots import Header, fingerprint
from streamcast.topics.journal import Journal


@dataclass(frozen=True, slots=True)
class Deployment:
    """The models that answer: the digest of each lane, the champion, and the most series of a partition.

    The answers of ``shadows`` are not published, which is no part of the state's identity.
    """

    models: Mapping[str, str]
    champion: str
    max_series: int
    shadows: tuple[str, ...] = ()


def identity(
    partition: Partition, begin: int, offset: int, journal: Journal, deployment: Deployment, source: TopicSpec,
    journal_topic: TopicSpec,
) -> Header:  # fmt: skip
    """Return the identity of a partition's state at ``offset``, made from ``begin`` on by the models of a deployment.

    ``source`` and ``journal_topic`` are the topics of the records and of the decisions, as the broker describes them.
    """
    topic_id = source.id if journal.begin is None else journal.begun_in
    return Header(
        partition.topic, journal_topic.name, partition.index, 0 if topic_id else source.partitions, begin, offset,
        dict(deployment.models), deployment.max_series, fingerprint(), topic_id=topic_id,
        journal_id=journal_topic.id if topic_id else "",
    )  # fmt: skip
