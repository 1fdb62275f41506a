"""Whether a service kept its promises: everything is computed again from the topics, and compared to the byte.

It shares only the engine with the service.  It reads the input, the journal, the forecasts and the dead letters
(read_committed), the group's committed offsets and the models; it folds the input through fresh engines, and reports in
sentences every output that is missing, doubled, out of order, different, or should not exist.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import dropwhile, pairwise

import msgspec
import numpy as np

from streamcast.consumers.transport import (
    APPEND_TIME,
    Batch,
    Partition,
    Positions,
    Reader,
    TopicMissing,
    answered_at,
)
from streamcast.engine.engine import Result
from streamcast.kernels.outcomes import ABSORBED, DUPLICATE, LATE, NAMES, NOT_FINITE
from streamcast.quality import SumsByStep, outcomes_of, unseen
from streamcast.service.assignment import lost_journals, too_few
from streamcast.service.fold import Era, Fold, eras
from streamcast.spec.folders import Model
from streamcast.topics.dead_letters import LARGEST_KEY, LARGEST_VALUE
from streamcast.topics.forecasts import Encoder, Published, shortened, unnamed
from streamcast.topics.journal import Journal, read_journal
from streamcast.topics.names import Topics
from streamcast.topics.observations import Observations
from streamcast.wording import counted

MOST_SENTENCES = 100
"""Violations of one partition that are reported in full; the others are counted."""

OnRecords = Callable[[int], None]
"""Receives how many records were compared so far."""

Load = Callable[[str], Model | None]
"""Returns the model of a digest, or None when there is none."""


@dataclass(slots=True)
class Report:
    """How much was compared, what is wrong, and what can no longer be computed."""

    records: int = 0
    forecasts: int = 0
    dead_letters: int = 0
    dropped: dict[str, int] = field(default_factory=dict, compare=False)
    """Records without an answer, by their outcome in the first lane: late, of an answered bar, or of an open one."""
    violations: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    quality: dict[str, SumsByStep] = field(default_factory=dict, compare=False)
    """How good the computed forecasts are, by lane."""
    unseen: dict[str, SumsByStep] = field(default_factory=dict, compare=False)
    """The same of those that are of unseen data: none of their outcomes was trained on."""
    unseen_cutoffs: dict[str, tuple[int, int]] = field(default_factory=dict, compare=False)
    """The oldest and the newest bar at which these were made (epoch ms)."""
    split: dict[str, list[int]] = field(default_factory=dict, compare=False)
    """The keys with records in more than one partition, and these; each partition has a state of its own."""

    @property
    def proven(self) -> bool:
        """Whether everything was compared and nothing is wrong."""
        return not self.violations and not self.unknown


@dataclass(frozen=True, slots=True)
class Expectations:
    """What a verifier needs and no topic holds.

    ``versions`` are those of the model folder (``name@version``), by digest: the journal has digests only, and versions
    with equal digests are one model.
    """

    exactly_once: bool = True
    shadows: Sequence[str] = ()
    versions: Mapping[str, Collection[str]] = field(default_factory=dict)


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
    for partition in [Partition(topics.observations, index) for index in range(served)]:
        check = _PartitionCheck(reader, topics, load, expect, partition, report, on_records, timed=timed)
        check.run()
        for key in check.keys:
            keys.setdefault(key, []).append(partition.index)
    report.split = {key: found for key, found in keys.items() if len(found) > 1}
    return report


@dataclass(slots=True)
class _Named:
    """How many forecasts name one version, and the offset and lane of the first that does."""

    offset: int
    lane: str
    forecasts: int = 0


@dataclass(frozen=True, slots=True)
class _Letter:
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]


class _PartitionCheck:
    """The check of one input partition."""

    def __init__(
        self, reader: Reader, topics: Topics, load: Load, expect: Expectations, partition: Partition, report: Report,
        on_records: OnRecords, *, timed: bool,
    ) -> None:  # fmt: skip
        self._timed = timed
        """Whether forecasts have the timestamps of their records; the broker may put its own in their place."""
        self._reader, self._topics, self._load, self._expect = reader, topics, load, expect
        self._partition, self._report, self._on_records = partition, report, on_records
        self.keys: set[str] = set()
        """The keys of the records that were compared."""
        self._told = 0
        self._former = 0
        """Topics of this name that were deleted: their outputs are still there, before those of the present one."""
        self._superseded: Counter[tuple[str, str, int]] = Counter()
        self._published: dict[tuple[str, int], bytes] = {}
        self._letters: dict[tuple[str, int], _Letter] = {}
        self._named: dict[str, dict[str, _Named]] = {}
        """By ``model_hash``: the versions that forecasts name."""
        self._computed: dict[str, Model] = {}
        """By digest: the models whose forecasts were computed."""

    def run(self) -> None:
        """Read what was written, fold what should have been, and compare."""
        before = self._reader.committed([self._partition])
        self._former = len(read_journal(self._reader, self._topics.journal, self._partition).former)
        self._read_forecasts()
        self._read_dead_letters()
        after = self._reader.committed([self._partition])
        journal = read_journal(self._reader, self._topics.journal, self._partition)
        self._check_journal(journal, lost=self._set_aside_lost(journal, after))
        if self._is_another_topic(journal):
            return
        sure, until = before.get(self._partition, 0), self._until(after)
        for era in eras(journal, until):
            self._compare_era(era, journal, sure)
        self._compare_names()
        self._report_left()
        if self._told > MOST_SENTENCES:
            self._report.violations.append(f"{self._name}: and {self._told - MOST_SENTENCES} violations more")

    @property
    def _name(self) -> str:
        return f"{self._partition.topic}[{self._partition.index}]"

    def _violation(self, sentence: str) -> None:
        self._told += 1
        if self._told <= MOST_SENTENCES:
            self._report.violations.append(f"{self._name}: {sentence}")

    def _until(self, committed: Positions) -> int:
        """Where expectations end: at the committed position; at least once may have answered more already."""
        position, (_, end) = committed.get(self._partition, 0), self._reader.bounds([self._partition])[self._partition]
        if position > end:
            self._violation(f"the group's position {position} lies beyond the end, {end}")
        return min(position, end) if self._expect.exactly_once else end

    def _all(self, topic: str) -> Iterator[Batch]:
        source = Partition(topic, self._partition.index)
        first, _ = self._reader.bounds([source])[source]
        yield from self._reader.read_range(source, first, self._reader.ends([source])[source])

    def _is_another_topic(self, journal: Journal) -> bool:
        """Whether the input was deleted and made again, and the service has not begun in the new topic."""
        found = self._reader.describe([self._partition.topic])[self._partition.topic].id
        if not found or not journal.topic_id or journal.topic_id == found:
            return False
        self._report.unknown.append(
            f"{self._name}: the topic was deleted and made again (its id is {found}, the journal has"
            f" {journal.topic_id}): what was written for the former topic cannot be computed"
        )
        return True

    def _set_aside_lost(self, journal: Journal, committed: Positions) -> bool:
        """If entries of the journal are lost, set aside the outputs from before its beginning; return whether they are.

        Nobody knows any more from which state and by which models these outputs were made.
        """
        if journal.former:
            return False
        kept = self._reader.describe([self._topics.journal])[self._topics.journal]
        at_work = [self._partition] if journal.begin is None and self._partition in committed else []
        lost = next(lost_journals(self._reader, self._topics, kept, [self._partition], at_work), None)
        if lost is None and not journal.lost:
            return False
        forecasts, letters = self._set_aside(0, sys.maxsize if journal.start is None else journal.start)
        if forecasts or letters:
            what = (
                lost.what
                if lost and journal.start is None
                else (f"{self._name}: the journal's entries of before offset {journal.start} are lost")
            )
            self._report.unknown.append(
                f"{what}: {counted(forecasts, 'forecast')} and {counted(letters, 'dead letter')} of that time cannot be"
                " computed"
            )
        return True

    def _set_aside(self, first: int, until: int) -> tuple[int, int]:
        """Forget the outputs of offsets [first, until); return how many forecasts and dead letters these are."""
        forecasts = [key for key in self._published if first <= key[1] < until]
        letters = [key for key in self._letters if first <= key[1] < until]
        for key in forecasts:
            del self._published[key]
        for key in letters:
            del self._letters[key]
        return len(forecasts), len(letters)

    def _report_left(self) -> None:
        """Report the outputs that belong to no record; of a topic that was deleted nobody can tell."""
        left = len(self._published) + len(self._letters)
        if self._former and left:
            self._report.unknown.append(
                f"{self._name}: {left} outputs belong to a topic of this name that was deleted, or to no record"
            )
            return
        for lane, offset in self._published:
            self._violation(f"the forecast of offset {offset} in lane {lane} answers no committed record")
        for lane, offset in self._letters:
            self._violation(f"the dead letter of offset {offset}{_in(lane)} belongs to no rejected record")

    def _supersedes(self, kind: str, lane: str, offset: int) -> bool:
        """Whether one more output of an offset may be that of the next topic of this name; at most once for each."""
        self._superseded[kind, lane, offset] += 1
        return self._superseded[kind, lane, offset] <= self._former

    # -- what was written ----------------------------------------------------------------------------

    def _read_forecasts(self) -> None:
        decode = msgspec.json.Decoder(Published).decode
        newest: dict[str, int] = {}
        for batch in self._all(self._topics.forecasts):
            for row, value in enumerate(batch.values):
                try:
                    answer = decode(value or b"")
                except msgspec.MsgspecError as error:
                    self._violation(f"record {batch.offsets[row]} of {self._topics.forecasts} is no forecast ({error})")
                    continue
                source, lane = answer.source, answer.lane
                if (source.topic, source.partition) == tuple(self._partition):
                    text = unnamed(value or b"", answer.model, answer.model_version)
                    seen = self._fingerprint(batch.keys[row], text, batch.timestamps[row])
                    named = self._named.setdefault(answer.model_hash, {})
                    named.setdefault(answer.reference, _Named(source.offset, lane)).forecasts += 1
                    self._note(lane, source.offset, seen, newest)
                elif source.topic == self._partition.topic:
                    self._violation(f"it holds a forecast of partition {source.partition}, offset {source.offset}")

    def _note(self, lane: str, offset: int, seen: bytes, newest: dict[str, int]) -> None:
        """Keep one published forecast, and report it when it is doubled or out of order."""
        if (lane, offset) in self._published and not self._supersedes("forecast", lane, offset):
            if self._expect.exactly_once:
                self._violation(f"offset {offset} is answered twice in lane {lane}")
            elif self._published[lane, offset] != seen:
                self._violation(f"two answers of offset {offset} in lane {lane} differ")
            return
        if offset < newest.get(lane, -1) and not self._former:
            self._violation(f"offset {offset} is answered after offset {newest[lane]} in lane {lane}")
        newest[lane] = offset
        self._published[lane, offset] = seen

    def _read_dead_letters(self) -> None:
        for batch in self._all(self._topics.dead_letters):
            rows = zip(batch.offsets, batch.keys, batch.values, batch.headers or [()] * len(batch), strict=True)
            for at, key, value, headers in rows:
                named = {name: text or b"" for name, text in headers}
                if named.get("source_topic", b"") != self._partition.topic.encode():
                    continue
                if named.get("source_partition") != b"%d" % self._partition.index:
                    self._violation(f"dead letter {at} is of partition {named.get('source_partition')!r}")
                    continue
                if not (source := named.get("source_offset", b"")).isdigit():
                    self._violation(f"dead letter {at} has the source offset {source!r}, which is no number")
                    continue
                lane, offset = named.get("lane", b"").decode(errors="replace"), int(source)
                twice = (lane, offset) in self._letters and not self._supersedes("letter", lane, offset)
                if twice and self._expect.exactly_once:
                    self._violation(f"offset {offset} has two dead letters{_in(lane)}")
                self._letters[lane, offset] = _Letter(key, value, named)

    def _fingerprint(self, key: bytes | None, value: bytes | None, timestamp: int) -> bytes:
        compared = key, value, answered_at(timestamp) if self._timed else 0
        return hashlib.blake2b(msgspec.msgpack.encode(compared), digest_size=16).digest()

    # -- what should have been written ---------------------------------------------------------------

    def _check_journal(self, journal: Journal, *, lost: bool) -> None:
        entries = [entry for entry in journal.entries if entry.kind != "skip"]  # these look ahead
        if lost:
            entries = list(dropwhile(lambda entry: not entry.begins, entries))
        kinds = [entry.kind for entry in entries]
        if journal.repeated and self._expect.exactly_once:
            self._violation("the journal has two starts")
        if kinds and not lost and kinds[0] != ("cold" if journal.former else "start"):
            self._violation(f"the journal begins with {kinds[0]!r}, not with 'start'")
        if not kinds and (self._published or self._letters):
            self._violation("the journal is empty, although records are answered")
        for earlier, later in pairwise(entries):
            if later.offset < earlier.offset:
                self._violation(f"the journal goes back from offset {earlier.offset} to {later.offset}")

    def _models(self, era: Era) -> dict[str, Model] | None:
        found = {lane: self._load(digest) for lane, digest in era.models.items()}
        missing = [era.models[lane] for lane, model in found.items() if model is None]
        if missing:
            self._unknown(era, f"the model folder has no model {', '.join(missing)}")
            return None
        return {lane: model for lane, model in found.items() if model is not None}

    def _unknown(self, era: Era, why: str) -> None:
        """Set the outputs of an era aside, since they cannot be computed."""
        forecasts, letters = self._set_aside(era.first, era.until)
        self._report.unknown.append(
            f"{self._name}: {counted(forecasts, 'forecast')} and {counted(letters, 'dead letter')} of offsets"
            f" {era.first} to {era.until} cannot be computed: {why}"
        )

    def _compare_names(self) -> None:
        """Report the forecasts whose name and version are not those of the model that made them."""
        for digest, model in self._computed.items():
            owners = self._expect.versions.get(digest) or [f"{model.name}@{model.version}"]
            for reference, named in self._named.get(shortened(digest), {}).items():
                if reference in owners:
                    continue
                which = (
                    f"{counted(named.forecasts, 'forecast')} (the first of offset {named.offset} in lane {named.lane})"
                    f" name the model {reference}"
                )
                if any(reference in others for others in self._expect.versions.values()):
                    self._violation(f"{which}, and were made by another one: by {' or '.join(owners)}")
                else:
                    self._report.unknown.append(
                        f"{self._name}: {which}, and the model folder has no such version: there the model that made"
                        f" them is {' or '.join(owners)}. Nothing else in them depends on the name, and it was compared"
                    )

    def _compare_era(self, era: Era, journal: Journal, sure: int) -> None:
        held, _ = self._reader.bounds([self._partition])[self._partition]
        if era.begin < held:
            self._unknown(era, f"state begins at offset {era.begin}, and the topic holds records only from {held} on")
            return
        if (models := self._models(era)) is None:
            return
        fold = Fold(self._reader, self._partition, era.begin, models, journal, era.max_series)
        for _ in fold.advance(era.first):
            pass
        self._computed |= {model.digest: model for model in models.values()}
        encoders = {
            lane: Encoder(model.spec, model.name, model.version, model.digest, lane, self._partition.topic)
            for lane, model in models.items()
            if lane not in self._expect.shadows
        }
        for batch, observations, poison, results in fold.advance(era.until):
            self._report.records += len(batch)
            self._on_records(self._report.records)
            self.keys.update(observations.keys)
            for lane, result in results.items():
                scores, grid = result.scores, models[lane].spec.series.grid
                outcomes_MC = outcomes_of(scores.outcomes(), models[lane].spec.nominal)
                new_M = scores.warm & unseen(grid.bar(scores.cutoffs), models[lane].last_trained_bar)
                for found, chosen_M in ((self._report.quality, scores.warm), (self._report.unseen, new_M)):
                    found.setdefault(lane, SumsByStep()).add(scores.ahead[chosen_M], outcomes_MC[chosen_M])
                if new_M.any():
                    new = scores.cutoffs[new_M]
                    oldest, newest = self._report.unseen_cutoffs.get(lane, (int(new[0]), int(new[0])))
                    self._report.unseen_cutoffs[lane] = (min(oldest, int(new.min())), max(newest, int(new.max())))
            counts = Counter(next(iter(results.values())).outcomes.tolist())
            for code in (ABSORBED, LATE, DUPLICATE):
                self._report.dropped[NAMES[code]] = self._report.dropped.get(NAMES[code], 0) + counts[code]
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
        return {lane: lane for lane in era.models if lane == era.champion or lane not in self._expect.shadows}

    def _compare_forecasts(
        self, lane: str, model: Model, answers: Iterable[tuple[int, bytes, bytes, int]], sure: int
    ) -> None:
        for offset, key, value, timestamp in answers:
            seen = self._published.pop((lane, offset), None)
            if seen is None:
                if offset < sure:
                    self._violation(f"offset {offset} (series {key!r}) is not answered in lane {lane}")
                continue
            self._report.forecasts += 1
            if seen != self._fingerprint(key, unnamed(value, model.name, model.version), timestamp):
                self._violation(
                    f"the forecast of offset {offset} in lane {lane} differs in key, value or timestamp from"
                    f" {key!r}, {value!r}, {timestamp}"
                )

    def _compare_dead_letters(self, batch: Batch, reasons: Mapping[tuple[str, int], str], sure: int) -> None:
        places = {offset: row for row, offset in enumerate(batch.offsets)}
        for (lane, offset), reason in reasons.items():
            letter = self._letters.pop((lane, offset), None)
            if letter is None:
                if offset < sure:
                    self._violation(f"offset {offset} was to be rejected ({reason}){_in(lane)} and has no dead letter")
                continue
            self._report.dead_letters += 1
            if letter.headers.get("reason") != reason.encode():
                self._violation(
                    f"the dead letter of offset {offset} says {letter.headers.get('reason')!r}, not {reason!r}"
                )
            row = places[offset]
            key = batch.keys[row]
            if letter.key != (key and key[:LARGEST_KEY]) or not _holds(letter, batch.values[row]):
                self._violation(f"the dead letter of offset {offset} does not hold the bytes of its record")


def _in(lane: str) -> str:
    return f" in lane {lane}" if lane else ""


def _holds(letter: _Letter, original: bytes | None) -> bool:
    """Whether a dead letter keeps a record's bytes: all of them, or a very large record's beginning and SHA-256."""
    if original is None or len(original) <= LARGEST_VALUE:
        return letter.value == original or (letter.key is None and not original and not letter.value)
    whole = hashlib.sha256(original).hexdigest().encode()
    return letter.value == original[:LARGEST_VALUE] and letter.headers.get("sha256") == whole


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
