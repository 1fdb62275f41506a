"""Whether a service kept its promises: everything is computed again from the topics, and compared to the byte.

It reads the input, the journal, the forecasts and the dead letters (read_committed), the group's committed offsets and
the models; it folds the input through fresh engines, and reports in sentences every output that is missing, doubled,
out of order, different, or should not exist.  It uses the service's engine, decoder, encoder, broker client, journal
reader and rules on lost journals, but no snapshot, no recovery and no loop; a fault in the shared parts is not seen.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import dropwhile, pairwise

import numpy as np

from streamcast.consumers.transport import APPEND_TIME, Batch, Partition, Reader, TopicMissing, TopicSpec
from streamcast.engine.engine import Result
from streamcast.kernels.outcomes import NOT_FINITE
from streamcast.service.refusals import too_few
from streamcast.service.strangers import Lost
from streamcast.service.verification.evidence import Evidence, gather, groups
from streamcast.service.verification.fold import Era, Fold, eras
from streamcast.service.verification.report import Expectations, Report
from streamcast.service.verification.written import Written, in_lane
from streamcast.spec.folders import Model
from streamcast.topics.dead_letters import LARGEST_LETTER_KEY
from streamcast.topics.forecasts import Encoder, shortened, unnamed
from streamcast.topics.journal import Journal, read_journals
from streamcast.topics.names import Topics
from streamcast.topics.observations import DEEPEST, Observations, nesting
from streamcast.wording import counted

MOST_SENTENCES = 100
"""Violations of one partition that are reported in full; the others are counted."""

OnRecords = Callable[[int], None]
"""Receives how many records were compared so far."""

Load = Callable[[str], Model | None]
"""Returns the model of a digest, or None when there is none."""


def verify(
    reader: Reader, topics: Topics, load: Load, expect: Expectations, on_records: OnRecords = lambda _done: None
) -> Report:
    """Compare everything that the service wrote with what it should have written; raises TransportError.

    It may run beside the service: records committed meanwhile are compared as far as they are seen.
    """
    report, keys = Report(), dict[str, list[int]]()
    names = [topics.observations, topics.forecasts, topics.dead_letters, topics.journal]
    found = reader.describe(names)
    if missing := [name for name in names if name not in found]:
        raise TopicMissing(
            f"There is no topic {', '.join(missing)}: there is nothing to verify until a service has begun"
        )
    count, served = found[topics.observations].partitions, min(topic.partitions for topic in found.values())
    if served < count:
        report.unknown.append(too_few(topics, found))
    timed = APPEND_TIME not in found[topics.forecasts].config.items()
    for group in groups(reader, topics, [Partition(topics.observations, index) for index in range(served)]):
        former = {each: len(journal.former) for each, journal in read_journals(reader, topics.journal, group).items()}
        checks = {
            each: _PartitionCheck(reader, load, expect, each, report, on_records, timed=timed, former=former[each])
            for each in group
        }
        evidence = gather(reader, topics, {each: check.written for each, check in checks.items()})
        for partition, check in checks.items():
            check.run(evidence)
            for key in check.keys:
                keys.setdefault(key, []).append(partition.index)
    report.split = {key: found for key, found in keys.items() if len(found) > 1}
    return report


class _PartitionCheck:
    """The check of one input partition.

    ``timed`` says that forecasts have the timestamps of their records; ``former`` counts the topics of this name that
    were deleted.
    """

    def __init__(
        self, reader: Reader, load: Load, expect: Expectations, partition: Partition, report: Report,
        on_records: OnRecords, *, timed: bool, former: int,
    ) -> None:  # fmt: skip
        self._reader, self._load, self._expect = reader, load, expect
        self._partition, self._report, self._on_records = partition, report, on_records
        self._former = former
        self.keys: set[str] = set()
        """The keys of the records that were compared."""
        self._violations: list[str] = []
        self._told = 0
        self.written = Written(partition, self._violation, exactly_once=expect.exactly_once, timed=timed, former=former)
        self._computed: dict[str, Model] = {}
        """By digest: the models whose forecasts were computed."""

    def run(self, evidence: Evidence) -> None:
        """Fold what should have been written, compare it with what was, and report."""
        self._compare(evidence)
        self._report.violations += [f"{self._partition}: {sentence}" for sentence in self._violations]
        if self._told > MOST_SENTENCES:
            self._report.violations.append(f"{self._partition}: and {self._told - MOST_SENTENCES} violations more")

    def _compare(self, evidence: Evidence) -> None:
        journal = evidence.journals[self._partition]
        self._check_journal(journal, lost=self._set_aside_lost(journal, evidence.lost.get(self._partition)))
        if self._is_another_topic(journal, evidence.source):
            return
        sure, until = evidence.before.get(self._partition, 0), self._until(evidence)
        for era in eras(journal, until):
            self._compare_era(era, journal, sure)
        self._compare_names()
        self._report_left()

    def _violation(self, sentence: str) -> None:
        self._told += 1
        if self._told <= MOST_SENTENCES:
            self._violations.append(sentence)

    def _unknown(self, sentence: str) -> None:
        self._report.unknown.append(f"{self._partition}: {sentence}")

    def _until(self, evidence: Evidence) -> int:
        """Where expectations end: at the committed position; at least once may have answered more already."""
        position, end = evidence.after.get(self._partition, 0), evidence.ends[self._partition]
        if position > end:
            self._violation(f"the group's position {position} lies beyond the end, {end}")
        return min(position, end) if self._expect.exactly_once else end

    def _is_another_topic(self, journal: Journal, source: TopicSpec) -> bool:
        """Whether the input was deleted and made again, and the service has not begun in the new topic."""
        if not source.id or not journal.topic_id or journal.topic_id == source.id:
            return False
        self._unknown(
            f"the topic was deleted and made again (its id is {source.id}, the journal has"
            f" {journal.topic_id}): what was written for the former topic cannot be computed"
        )
        return True

    def _set_aside_lost(self, journal: Journal, lost: Lost | None) -> bool:
        """If entries of the journal are lost, set aside the outputs from before its beginning; return whether they are.

        Nobody knows any more from which state and by which models these outputs were made.
        """
        if lost is None and not journal.lost:
            return False
        forecasts, letters = self.written.set_aside(0, sys.maxsize if journal.start is None else journal.start)
        if forecasts or letters:
            what = (
                lost.what
                if lost and journal.start is None
                else (f"{self._partition}: the journal's entries of before offset {journal.start} are lost")
            )
            self._report.unknown.append(
                f"{what}: {counted(forecasts, 'forecast')} and {counted(letters, 'dead letter')} of that time cannot be"
                " computed"
            )
        return True

    def _report_left(self) -> None:
        """Report the outputs that belong to no record; of a topic that was deleted nobody can tell."""
        if self._former and self.written:
            self._unknown(
                f"{len(self.written)} outputs belong to a topic of this name that was deleted, or to no record"
            )
            return
        for lane, offset in self.written.forecasts:
            self._violation(f"the forecast of offset {offset} in lane {lane} answers no committed record")
        for lane, offset in self.written.letters:
            self._violation(f"the dead letter of offset {offset}{in_lane(lane)} belongs to no rejected record")

    def _check_journal(self, journal: Journal, *, lost: bool) -> None:
        entries = [entry for entry in journal.entries if entry.kind != "skip"]  # these look ahead
        if lost:
            entries = list(dropwhile(lambda entry: not entry.begins, entries))
        kinds = [entry.kind for entry in entries]
        if journal.repeated and self._expect.exactly_once:
            self._violation("the journal has two starts")
        if kinds and not lost and kinds[0] != ("cold" if journal.former else "start"):
            self._violation(f"the journal begins with {kinds[0]!r}, not with 'start'")
        if not kinds and self.written:
            self._violation("the journal is empty, although records are answered")
        for earlier, later in pairwise(entries):
            if later.offset < earlier.offset:
                self._violation(f"the journal goes back from offset {earlier.offset} to {later.offset}")

    def _models(self, era: Era) -> dict[str, Model] | None:
        found = {lane: self._load(digest) for lane, digest in era.models.items()}
        missing = [era.models[lane] for lane, model in found.items() if model is None]
        if missing:
            self._set_aside(era, f"the model folder has no model {', '.join(missing)}")
            return None
        return {lane: model for lane, model in found.items() if model is not None}

    def _set_aside(self, era: Era, why: str) -> None:
        """Set the outputs of an era aside, since they cannot be computed."""
        forecasts, letters = self.written.set_aside(era.first, era.until)
        self._unknown(
            f"{counted(forecasts, 'forecast')} and {counted(letters, 'dead letter')} of offsets"
            f" {era.first} to {era.until} cannot be computed: {why}"
        )

    def _compare_names(self) -> None:
        """Report the forecasts whose name and version are not those of the model that made them."""
        for digest, model in self._computed.items():
            owners = self._expect.versions.get(digest) or [f"{model.name}@{model.version}"]
            for reference, named in self.written.named.get(shortened(digest), {}).items():
                if reference in owners:
                    continue
                which = (
                    f"{counted(named.forecasts, 'forecast')} (the first of offset {named.offset} in lane {named.lane})"
                    f" name the model {reference}"
                )
                if any(reference in others for others in self._expect.versions.values()):
                    self._violation(f"{which}, and were made by another one: by {' or '.join(owners)}")
                else:
                    self._unknown(
                        f"{which}, and the model folder has no such version: there the model that made"
                        f" them is {' or '.join(owners)}. Nothing else in them depends on the name, and it was compared"
                    )

    def _compare_era(self, era: Era, journal: Journal, sure: int) -> None:
        held, _ = self._reader.bounds([self._partition])[self._partition]
        if (begin := min(era.begins.values())) < held:
            self._set_aside(era, f"state begins at offset {begin}, and the topic holds records only from {held} on")
            return
        if (models := self._models(era)) is None:
            return
        fold = Fold(self._reader, self._partition, era.begins, models, journal, era.max_series)
        for _ in fold.advance(era.first):
            pass
        self._computed |= {model.digest: model for model in models.values()}
        encoders = {
            lane: Encoder(model.spec, model.name, model.version, model.digest, lane, self._partition.topic)
            for lane, model in models.items()
            if lane not in self._shadows(era)
        }
        for batch, observations, poison, results in fold.advance(era.until):
            self._report.records += len(batch)
            self._on_records(self._report.records)
            self.keys.update(observations.keys)
            self._report.count_dropped(next(iter(results.values())).outcomes)
            for lane, result in results.items():
                self._report.count_quality(lane, models[lane], result.scores)
            for lane, encoder in encoders.items():
                answers = _answers(encoder, fold, lane, observations, results[lane])
                self._compare_forecasts(lane, models[lane], answers, sure)
            reasons = {("", batch.offsets[each.row]): each.reason for each in poison}
            for label, lane in self._telling(era).items():
                spoilt = observations.offsets[results[lane].outcomes == NOT_FINITE].tolist()
                reasons |= {(label, offset): "not finite" for offset in spoilt}
            self._compare_dead_letters(batch, reasons, sure)

    def _telling(self, era: Era) -> dict[str, str]:
        """Return the lanes that write a dead letter for a forecast that is not finite, by its header "lane"."""
        if not era.champion:
            return {"": next(iter(era.models))}
        return {lane: lane for lane in era.models if lane == era.champion or lane not in self._shadows(era)}

    def _shadows(self, era: Era) -> Collection[str]:
        """Return the lanes that publish nothing: as the journal says, else as the settings of now."""
        return self._expect.shadows if era.shadows is None else era.shadows

    def _compare_forecasts(
        self, lane: str, model: Model, answers: Iterable[tuple[int, bytes, bytes, int]], sure: int
    ) -> None:
        for offset, key, value, timestamp in answers:
            seen = self.written.forecasts.pop((lane, offset), None)
            if seen is None:
                if offset < sure:
                    self._violation(f"offset {offset} (series {key!r}) is not answered in lane {lane}")
                continue
            self._report.forecasts += 1
            if seen != self.written.fingerprint(key, unnamed(value, model.name, model.version), timestamp):
                self._violation(
                    f"the forecast of offset {offset} in lane {lane} differs in key, value or timestamp from"
                    f" {key!r}, {value!r}, {timestamp}"
                )

    def _compare_dead_letters(self, batch: Batch, reasons: Mapping[tuple[str, int], str], sure: int) -> None:
        places = {offset: row for row, offset in enumerate(batch.offsets)}
        for (lane, offset), reason in reasons.items():
            letter = self.written.letters.pop((lane, offset), None)
            if letter is None:
                if offset < sure:
                    self._violation(
                        f"offset {offset} was to be rejected ({reason}){in_lane(lane)} and has no dead letter"
                    )
                continue
            self._report.dead_letters += 1
            row = places[offset]
            if letter.headers.get("reason") not in (reason.encode(), _at_first(batch.values[row], reason).encode()):
                self._violation(
                    f"the dead letter of offset {offset} says {letter.headers.get('reason')!r}, not {reason!r}"
                )
            key = batch.keys[row]
            if letter.key != (key and key[:LARGEST_LETTER_KEY]) or not letter.holds(batch.values[row]):
                self._violation(f"the dead letter of offset {offset} does not hold the bytes of its record")


def _answers(
    encoder: Encoder, fold: Fold, lane: str, observations: Observations, result: Result
) -> Iterator[tuple[int, bytes, bytes, int]]:
    """Yield (source offset, key, value, timestamp) of each forecast that a batch should have."""
    record = result.forecasts.record
    offsets, timestamps = observations.offsets[record], observations.timestamps[record].tolist()
    home = np.full(len(record), observations.runs[0][0].index if observations.runs else 0, np.int64)
    texts = fold.engines[lane].slab.key_texts(result.slots[record])
    values = encoder.encode(texts, result.forecasts, home, offsets)
    keys = [observations.keys[row].encode() for row in record.tolist()]
    yield from zip(offsets.tolist(), keys, values, timestamps, strict=True)


def _at_first(value: bytes | None, reason: str) -> str:
    """Return the reason for which earlier versions refused a record that is refused for ``reason`` now."""
    if value == b"":
        return "json"
    return "shape" if value and nesting(value) > DEEPEST else reason
