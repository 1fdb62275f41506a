"""The identity of a state of a partition: the topics and the model that it is made from, and where it begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from streamcast.consumers.transport import Partition, TopicSpec
from streamcast.service.snapshots import Header, fingerprint
from streamcast.spec.model_spec import ModelSpec
from streamcast.topics.ahead import ahead_of
from streamcast.topics.journal import Journal


@dataclass(frozen=True, slots=True)
class Deployment:
    """The models that answer: the digest of each lane, the champion, and the most series of a partition.

    The answers of ``shadows`` are not published, which is no part of the state's identity.  ``known`` names the known
    inputs of all models, see ``known_inputs``.
    """

    models: Mapping[str, str]
    champion: str
    max_series: int
    shadows: tuple[str, ...] = ()
    known: str = ""

    def may_wait(self, lane: str) -> bool:
        """Whether nobody waits for this lane: its answers are measured only, and no record's outcome is its own."""
        return lane in self.shadows and lane != self.champion

    def answered_last(self, lane: str, journal: Journal) -> bool:
        """Whether the model of this lane answered last, in any lane; another has no state that could be lost."""
        return self.models[lane] in journal.models.values()

    def must_keep(self, lane: str, journal: Journal) -> bool:
        """Whether this lane may not begin again with fewer records: it answers, and its model answered last."""
        return self.answered_last(lane, journal) and not self.may_wait(lane)


def known_inputs(specs: Iterable[ModelSpec]) -> str:
    """Return the places of the known inputs of any of these models among the columns of a record."""
    return ",".join(map(str, sorted(ahead_of(specs).columns)))


def identity(
    partition: Partition, digest: str, begin: int, offset: int, journal: Journal, deployment: Deployment,
    source: TopicSpec, journal_topic: TopicSpec,
) -> Header:  # fmt: skip
    """Return the identity of a state at ``offset``, made from ``begin`` on by one model of a deployment.

    ``source`` and ``journal_topic`` are the topics of the records and of the decisions, as the broker describes them.
    """
    topic_id = source.id if journal.begin is None else journal.begun_in
    return Header(
        partition.topic, journal_topic.name, partition.index, 0 if topic_id else source.partitions, begin, offset,
        digest, deployment.max_series, fingerprint(), deployment.known, topic_id=topic_id,
        journal_id=journal_topic.id if topic_id else "",
    )  # fmt: skip
