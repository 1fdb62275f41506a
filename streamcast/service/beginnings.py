"""Where a partition's answers and state begin: positions, decisions and topics that must belong together.

Where they do not, the service says why it does not begin, and what to do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from streamcast.consumers.transport import Partition, Positions, Reader, TopicMissing, TopicSpec
from streamcast.errors import ServiceError
from streamcast.service.identity import Deployment
from streamcast.service.new_models import begins_of_new, left_out
from streamcast.service.refusals import (
    COLD_START,
    CREATION,
    NEW_OUTPUTS,
    another_topic,
    answered_already,
    own_journal,
    records_gone,
    too_few,
)
from streamcast.service.snapshots import Header
from streamcast.service.strangers import lost_journals, moved_positions, sentence
from streamcast.service.unpublished import unpublished
from streamcast.topics.journal import Journal, Kind, read_journals
from streamcast.topics.names import Topics

log = logging.getLogger("streamcast")


@dataclass(frozen=True, slots=True)
class Start:
    """Where answers begin at the very first start, and how many records before it build state.

    ``history_ms`` bounds the state of models that come later, see ``begins_of_new``; None is no bound.
    """

    at: Literal["earliest", "latest"] | datetime = "earliest"
    warm_from: int = 0
    allow_cold_start: bool = False
    history_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Beginning:
    """Answers of a partition go on at ``position``; its state is made from ``begin`` on, by the entries of ``journal``.

    ``kind`` is that of the entry which says so, None where the journal does already.  ``since`` says where the state of
    models begins that the journal does not know (digest to offset), if not at ``begin``.
    """

    position: int
    begin: int
    kind: Kind | None
    journal: Journal
    since: Mapping[str, int] = field(default_factory=dict)


class Beginnings:
    """Decides where partitions begin; ``saved`` returns the offset of the newest snapshot of a kind."""

    def __init__(
        self, reader: Reader, topics: Topics, start: Start, deployment: Deployment,
        saved: Callable[[Header], int | None], beat: Callable[[], None],
    ) -> None:  # fmt: skip
        self.found: Mapping[str, TopicSpec] = {}
        """The topics, as the broker describes them."""
        self._reader, self._topics, self._start, self._deployment = reader, topics, start, deployment
        self._newest, self._beat = saved, beat
        self._refused: frozenset[Partition] = frozenset()
        self._mentioned: set[str] = set()

    def of(
        self, committed: Mapping[Partition, int | None], bounds: Mapping[Partition, tuple[int, int]]
    ) -> tuple[dict[Partition, Beginning], list[Partition]]:
        """Return where partitions begin that have these committed positions, and those that cannot be served yet.

        ``bounds`` are the first offset held and the end.  Raises ServiceError when topics, journal and positions do not
        belong together, and TopicMissing.
        """
        self.found = self._described()
        served, unserved = self._sorted(committed)
        self._beat()
        journals = read_journals(self._reader, self._topics.journal, served, self._beat)
        new = [each for each in served if committed[each] is None and journals[each].start is None]
        first = self._first_positions(new, bounds)
        lost = self._allow_lost_journals(served, committed, journals)
        self._beat()
        self._mention_moved(committed, journals, bounds)
        found = {}
        for partition in served:
            journal = journals[partition]
            position = first.get(partition, self._continued_at(partition, journal, committed[partition]))
            kind: Kind = "cold" if partition in lost else "start"
            found[partition] = self._decide(partition, journal, position, bounds[partition][0], kind)
            self._mention_unpublished(found[partition].journal)
        return self._bounded(found, bounds), unserved

    def cold_start(self, partition: Partition, wanted: int, held: int) -> int:
        """Return where state begins empty, since the records from ``wanted`` to ``held`` are gone.

        Raises ServiceError unless it may.
        """
        if not self._start.allow_cold_start:
            raise ServiceError(f"{records_gone(partition, wanted, held)}: {COLD_START}")
        log.warning(
            "%s: it begins there with empty state (state.allow_cold_start)", records_gone(partition, wanted, held)
        )
        return held

    def _described(self) -> Mapping[str, TopicSpec]:
        """Describe the topics; raises TopicMissing."""
        wanted = [self._topics.observations, *self._outputs()]
        found = self._reader.describe(wanted)
        if missing := [name for name in wanted if name not in found]:
            raise TopicMissing(f"topic {missing[0]!r} does not exist: {CREATION}")
        return found

    def _outputs(self) -> list[str]:
        return [self._topics.forecasts, self._topics.dead_letters, self._topics.journal]

    def _sorted(self, partitions: Iterable[Partition]) -> tuple[list[Partition], list[Partition]]:
        """Return the partitions whose outputs exist, and the others, which are logged when they change."""
        short = {name: self.found[name].partitions for name in self._outputs()}
        room = min(short.values())
        served = [partition for partition in partitions if partition.index < room]
        unserved = [partition for partition in partitions if partition.index >= room]
        if unserved and self._refused != frozenset(unserved):
            log.error("%s", too_few(self._topics, self.found))
        self._refused = frozenset(unserved)
        return served, unserved

    def _decide(self, partition: Partition, journal: Journal, position: int | None, held: int, kind: Kind) -> Beginning:
        """Return where a partition begins that has this position.

        ``kind`` is that of the first entry of a journal without any: "cold" where an earlier one was lost.
        """
        topic_id = self.found[partition.topic].id
        if journal.topic_id and topic_id and journal.topic_id != topic_id:
            journal = Journal(former=[*journal.former, journal.topic_id])
        if journal.former and journal.begin is None:
            self._allow_another_topic(partition, journal.former[-1], topic_id)
            return Beginning(held, held, "cold", journal)
        if position is None:
            raise ServiceError(f"{answered_already([partition], self._topics.journal)}: {own_journal(partition)}")
        if journal.begin is None:
            position = position if position >= held else self.cold_start(partition, position, held)
            begin = max(position - self._start.warm_from, held)
            return Beginning(position, begin, kind, journal)
        return Beginning(position, journal.begin, None, journal)

    def _bounded(
        self, found: Mapping[Partition, Beginning], bounds: Mapping[Partition, tuple[int, int]]
    ) -> dict[Partition, Beginning]:
        """Let the state of new models begin no farther back than the setting says, and log it."""
        begun = {partition: each for partition, each in found.items() if each.kind is None}
        journals = {partition: each.journal for partition, each in begun.items()}
        positions = {partition: each.position for partition, each in begun.items()}
        models, history_ms = self._deployment.models, self._start.history_ms
        since = begins_of_new(self._reader, history_ms, set(models.values()), journals, positions, bounds, self._beat)
        for said in left_out(models, history_ms, since, journals, positions, bounds):
            log.info("%s", said)
        return {partition: replace(each, since=since.get(partition, {})) for partition, each in found.items()}

    def _first_positions(
        self, partitions: Sequence[Partition], bounds: Mapping[Partition, tuple[int, int]]
    ) -> Positions:
        if self._start.at == "earliest":
            return {partition: bounds[partition][0] for partition in partitions}
        if self._start.at == "latest":
            return {partition: bounds[partition][1] for partition in partitions}
        at = round(self._start.at.timestamp() * 1000)
        return self._reader.offsets_at(partitions, at) if partitions else {}

    def _allow_another_topic(self, partition: Partition, known: str, found: str) -> None:
        """Raise ServiceError unless a topic that was made again may begin with empty state."""
        if not self._start.allow_cold_start:
            raise ServiceError(f"{another_topic(partition.topic, known, found)}. {NEW_OUTPUTS}")
        log.warning(
            "%s was deleted and made again (its id is %s, it was %s): its state begins empty, at its start",
            partition, found, known,
        )  # fmt: skip

    def _allow_lost_journals(
        self,
        served: Iterable[Partition],
        committed: Mapping[Partition, int | None],
        journals: Mapping[Partition, Journal],
    ) -> list[Partition]:
        """Return the partitions whose journal was cut or made again.

        Raises ServiceError unless they may begin with empty state.
        """
        unknown = [each for each in served if journals[each].begin is None and not journals[each].former]
        begun = [each for each in unknown if committed[each] is not None]
        lost = list(lost_journals(self._reader, self._topics, self.found[self._topics.journal], unknown, begun))
        for each in lost:
            if not self._start.allow_cold_start:
                raise ServiceError(f"{each.what}: {each.remedy}")
            log.warning("%s: it begins empty (state.allow_cold_start)", each.what)
        return [each.partition for each in lost]

    def _mention_moved(
        self, committed: Mapping[Partition, int | None], journals: Mapping[Partition, Journal],
        bounds: Mapping[Partition, tuple[int, int]],
    ) -> None:  # fmt: skip
        """Warn of positions that this service did not commit; raises ServiceError where no state belongs to one."""
        positions = {
            each: position
            for each, position in committed.items()
            if position is not None and each in journals and self._continues(journals[each], each.topic)
        }
        ends = {each: end for each, (_, end) in bounds.items()}
        here, kept = self.found[self._topics.observations], self.found[self._topics.journal]
        moved = moved_positions(
            self._reader, self._topics, here, kept, positions, journals, ends, self._deployment.known, self._saved
        )
        for each in moved:
            if each.impossible:
                raise ServiceError(f"{each.impossible}: {each.remedy}")
        if moved:
            log.warning("%s; %s", sentence(moved), moved[0].remedy)

    def _mention_unpublished(self, journal: Journal) -> None:
        """Warn once in a process of each lane that consumers get nothing more of."""
        now = self._deployment
        for said, _ in unpublished(journal, now.models, now.shadows):
            if said not in self._mentioned:
                self._mentioned.add(said)
                log.warning("%s", said)

    def _continued_at(self, partition: Partition, journal: Journal, committed: int | None) -> int | None:
        """Return the committed position, or that of the newest decision if it is later.

        At least once, a decision is written before its position, and after all answers before it are acknowledged.
        Records before it must not be answered again: a series that it reset would not be reset another time.
        """
        if committed is None or not self._continues(journal, partition.topic):
            return committed
        return max(committed, journal.decided)

    def _continues(self, journal: Journal, topic: str) -> bool:
        """Whether state goes on, in the topic that it began in."""
        found = self.found[topic].id
        return journal.begin is not None and (not found or journal.topic_id in ("", found))

    def _saved(self, wanted: Header) -> int | None:
        """Return the offset of the newest snapshot; of many partitions this takes a while."""
        self._beat()
        return self._newest(wanted)
