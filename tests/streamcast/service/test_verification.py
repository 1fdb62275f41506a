"""The verifier: it proves a correct log, and reports in words every change to it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness.simulation.plan import load, model
from harness.simulation.stand import GROUP, TOPICS, Stand
from harness.streams import MINUTE, START
from streamcast.consumers.memory.broker import Log, Rows
from streamcast.consumers.memory.transport import MemoryReader
from streamcast.consumers.transport import Batch, Connection, Partition, TopicSpec
from streamcast.service.beginnings import Start
from streamcast.service.verification import evidence
from streamcast.service.verification.fold import Era, eras
from streamcast.service.verification.report import Expectations, Report
from streamcast.service.verification.verify import verify
from streamcast.topics.journal import Entry, Journal
from streamcast.topics.observations import encode_observation

TEN = tuple(float(value) for value in (5, 7, 6, 8, 9, 7, 6, 5, 8, 9))
MODELS = {"champion": "a"}


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    """A service that has answered three series, rejected two records and dropped one."""
    stand = Stand(tmp_path)
    stand.observe("a", *TEN)
    stand.append([(START, b"k", b"{"), (START, b"a", None)])
    stand.observe("b", *TEN)
    stand.append([(START, b"a", b'{"key":"a","ts":1767225570000,"values":[1]}')])
    stand.serve()
    return stand


def log(stand: Stand, topic: str) -> Log:
    return stand.broker.log(Partition(topic, 0))


def again(stand: Stand, topic: str, rows: slice) -> None:
    """Append records of a topic once more."""
    there = log(stand, topic)
    columns = (there.timestamps[rows], there.keys[rows], there.values[rows], there.headers[rows])
    producer, epoch = stand.broker.init_producer(None)
    stand.broker.produce(producer, epoch, Partition(topic, 0), Rows(*columns), 0)


def missing(stand: Stand) -> None:
    there = log(stand, TOPICS.forecasts)
    there.forget(there.offsets[4], there.offsets[5])


def doubled(stand: Stand) -> None:
    again(stand, TOPICS.forecasts, slice(3, 4))


def altered(stand: Stand) -> None:
    values = log(stand, TOPICS.forecasts).values
    values[5] = (values[5] or b"").replace(b'"warm":true', b'"warm":false')


def moved_in_time(stand: Stand) -> None:
    log(stand, TOPICS.forecasts).timestamps[5] += 1


def under_another_key(stand: Stand) -> None:
    log(stand, TOPICS.forecasts).keys[5] = b"b"


def swapped(stand: Stand) -> None:
    values = log(stand, TOPICS.forecasts).values
    values[2], values[3] = values[3], values[2]


def rubbish(stand: Stand) -> None:
    log(stand, TOPICS.forecasts).values[5] = b"{}"


def from_nowhere(stand: Stand) -> None:
    values = log(stand, TOPICS.forecasts).values
    values[5] = (values[5] or b"").replace(b'"offset":5', b'"offset":5000')


def of_another_lane(stand: Stand) -> None:
    values = log(stand, TOPICS.forecasts).values
    values[5] = (values[5] or b"").replace(b'"champion"', b'"challenger"')


def letter_missing(stand: Stand) -> None:
    there = log(stand, TOPICS.dead_letters)
    there.forget(there.offsets[0], there.offsets[1])


def letter_doubled(stand: Stand) -> None:
    again(stand, TOPICS.dead_letters, slice(0, 1))


def letter_altered(stand: Stand) -> None:
    log(stand, TOPICS.dead_letters).values[0] = b"["


def letter_with_another_reason(stand: Stand) -> None:
    there = log(stand, TOPICS.dead_letters)
    there.headers[0] = [(name, b"key" if name == "reason" else value) for name, value in there.headers[0]]


def letter_without_a_place(stand: Stand) -> None:
    there = log(stand, TOPICS.dead_letters)
    there.headers[0] = [(name, b"\xff" if name == "source_offset" else value) for name, value in there.headers[0]]


def answered_and_not_committed(stand: Stand) -> None:
    stand.broker._group(GROUP).committed[stand.partitions[0]] -= 3


def never_answered(stand: Stand) -> None:
    stand.observe("a", 1.0)
    stand.broker._group(GROUP).committed[stand.partitions[0]] += 1


def another_beginning(stand: Stand) -> None:
    again(stand, TOPICS.journal, slice(0, 1))


def no_journal(stand: Stand) -> None:
    there = log(stand, TOPICS.journal)
    there.forget(there.offsets[0], there.offsets[0] + 1)


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (missing, r"offset 4 \(series b'a'\) is not answered in lane champion"),
        (doubled, "offset 3 is answered twice"),
        (altered, "forecast of offset 5 in lane champion differs"),
        (moved_in_time, "forecast of offset 5 in lane champion differs"),
        (under_another_key, "forecast of offset 5 in lane champion differs"),
        (swapped, "offset 2 is answered after offset 3"),
        (rubbish, "is no forecast"),
        (from_nowhere, "forecast of offset 5000 in lane champion answers no committed record"),
        (of_another_lane, "forecast of offset 5 in lane challenger answers no committed record"),
        (letter_missing, r"offset 10 was to be rejected \(json\) and has no dead letter"),
        (letter_doubled, "offset 10 has two dead letters"),
        (letter_altered, "does not hold the bytes of its record"),
        (letter_with_another_reason, "says b'key', not 'json'"),
        (letter_without_a_place, r"dead letter 0 has the source offset b'\\xff', which is no number"),
        (answered_and_not_committed, "answers no committed record"),
        (never_answered, "offset 23 .* is not answered"),
        (another_beginning, "the journal has two starts"),
        (no_journal, "the journal is empty"),
    ],
)
def test_every_change_is_reported(stand: Stand, tamper: Callable[[Stand], None], said: str) -> None:
    assert stand.verify() == Report(records=23, forecasts=20, dead_letters=2)
    tamper(stand)
    report = stand.verify()
    assert not report.proven
    assert any(re.search(said, sentence) for sentence in report.violations), report.violations


def test_letters_with_the_headers_of_their_records_are_as_good_as_those_of_former_versions(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    stand.observe("a", *TEN)
    stand.append([(START, b"k", b"{")], headers=[("traceparent", b"00-1"), ("reason", b"mine"), ("lane", b"x")])
    stand.serve()
    assert stand.verify().proven
    there = log(stand, TOPICS.dead_letters)
    assert ("record.lane", b"x") in there.headers[0]
    there.headers[0] = [each for each in there.headers[0] if not each[0].startswith("record.")]
    assert stand.verify().proven


def test_a_strangers_dead_letter_whose_headers_are_null_or_no_text_is_not_ours(stand: Stand) -> None:
    there = log(stand, TOPICS.dead_letters)
    again(stand, TOPICS.dead_letters, slice(0, 1))
    there.headers[-1] = [("source_topic", b"\xff\xfe"), ("lane", None), ("reason", None)]  # type: ignore[list-item]
    assert stand.verify().proven


def test_at_least_once_may_answer_twice_with_the_same_bytes_only(stand: Stand) -> None:
    doubled(stand)
    letter_doubled(stand)
    assert stand.verify(exactly_once=False).proven
    altered(stand)
    again(stand, TOPICS.forecasts, slice(5, 6))
    values = log(stand, TOPICS.forecasts).values
    values[-1] = (values[-1] or b"").replace(b'"warm":false', b'"warm":true')
    assert any("two answers of offset 5" in sentence for sentence in stand.verify(exactly_once=False).violations)


def test_at_least_once_may_be_ahead_of_the_committed_offset_but_not_wrong_there(stand: Stand) -> None:
    answered_and_not_committed(stand)
    assert stand.verify(exactly_once=False).proven


def test_outputs_that_can_no_longer_be_computed_are_unknown_and_not_wrong(stand: Stand) -> None:
    unknown = verify(stand.reader, TOPICS, lambda _digest: None, Expectations())
    assert unknown.violations == []
    assert "has no model sample-0" in unknown.unknown[0]
    assert not unknown.proven
    stand.broker.delete_records(stand.partitions[0], 3)
    deleted = stand.verify()
    assert deleted.violations == []
    assert "holds records only from 3 on" in deleted.unknown[0]


@pytest.mark.parametrize("decisions", [1, 2])
def test_outputs_from_before_the_beginning_of_a_journal_that_was_cut_are_unknown(stand: Stand, decisions: int) -> None:
    """They were called wrong: each answered no record that the verifier knew of."""
    stand.stop()
    stand.observe("a", *TEN)
    stand.serve({"champion": model("sample", 2)})
    stand.stop()
    stand.broker.delete_records(Partition(TOPICS.journal, 0), 1)  # what is left says which models followed
    if decisions == 2:
        stand.broker.delete_records(Partition(TOPICS.journal, 0), log(stand, TOPICS.journal).end)
    report = stand.verify()
    assert (report.violations, report.forecasts) == ([], 0)
    (unknown,) = report.unknown
    assert "Kafka has deleted its oldest entries: 30 forecasts and 2 dead letters of that time cannot be" in unknown
    stand.observe("a", *TEN)
    stand.serve({"champion": model("sample", 2)}, start=Start(allow_cold_start=True))
    report = stand.verify()
    assert (report.violations, report.forecasts) == ([], 10)
    (unknown,) = report.unknown
    assert "journal's entries of before offset 33 are lost: 30 forecasts and 2 dead letters of that time" in unknown
    again(stand, TOPICS.forecasts, slice(35, 36))
    assert "offset 38 is answered twice in lane champion" in stand.verify().violations[0]


def test_keys_in_more_than_one_partition_are_named(tmp_path: Path) -> None:
    stand = Stand(tmp_path, partitions=3)
    stand.observe("a", *TEN, partition=2)
    stand.observe("b", *TEN, partition=1)
    stand.observe("a", 1.0, partition=1)
    stand.serve()
    report = stand.verify()
    assert report.proven, "each partition has its own state, and both are right"
    assert report.split == {"a": [1, 2]}


class Watched(MemoryReader):
    """Calls ``meanwhile`` before each question, and keeps the partitions of each reading."""

    def __init__(self, stand: Stand, meanwhile: Callable[[], None] = lambda: None) -> None:
        super().__init__(stand.broker, Connection("memory", GROUP, "verifier"))
        self._meanwhile = meanwhile
        self.read: list[list[Partition]] = []

    def bounds(self, partitions: Sequence[Partition]) -> dict[Partition, tuple[int, int]]:
        self._meanwhile()
        return super().bounds(partitions)

    def ends(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        self._meanwhile()
        return super().ends(partitions)

    def committed(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        self._meanwhile()
        return super().committed(partitions)

    def read_ranges(self, ranges: Mapping[Partition, tuple[int, int]]) -> Iterator[list[Batch]]:
        self._meanwhile()
        self.read.append(list(ranges))
        yield from super().read_ranges(ranges)


@pytest.mark.parametrize(("most", "together"), [(100_000, [[0, 1, 2]]), (30, [[0, 1], [2]]), (0, [[0], [1], [2]])])
def test_partitions_with_few_outputs_are_read_together_and_reported_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, together: list[list[int]]
) -> None:
    """Each reading waits for the broker: partition by partition, 60 of them took minutes."""
    stand = Stand(tmp_path, partitions=3)
    for partition, key in enumerate("abc"):
        stand.observe(key, *TEN, partition=partition)
    stand.append([(START, b"b", b"{")], partition=1)
    stand.serve()
    for partition in (2, 0):
        there = stand.broker.log(Partition(TOPICS.forecasts, partition))
        there.forget(there.offsets[4], there.offsets[6])
    monkeypatch.setattr(evidence, "MOST_OUTPUTS", most)
    reader = Watched(stand)
    report = verify(reader, TOPICS, load, Expectations())
    assert [sentence[: sentence.index(" (")] for sentence in report.violations] == [
        f"observations[{partition}]: offset {offset}" for partition in (0, 2) for offset in (4, 5)
    ]
    assert (report.records, report.forecasts, report.dead_letters) == (31, 26, 1)
    for topic in (TOPICS.forecasts, TOPICS.dead_letters):
        read = [[each.index for each in some] for some in reader.read if some[0].topic == topic]
        assert read == together


def test_what_a_running_service_writes_meanwhile_is_proven_as_far_as_it_is_seen(tmp_path: Path) -> None:
    stand = Stand(tmp_path, partitions=2)
    turns = itertools.count()

    def answer_more() -> None:
        for partition, key in enumerate("ab"):
            stand.observe(key, 5.0, partition=partition)
            stand.append([(START, b"a", b"{")], partition)
        if (turn := next(turns)) % 4 == 0:
            stand.serve({"champion": model("sample", turn % 8 // 2)}, working=False)
        stand.work()

    answer_more()
    report = verify(Watched(stand, answer_more), TOPICS, load, Expectations())
    assert report.proven, report.violations
    assert report.forecasts > 4
    assert report.dead_letters > 4


def test_a_topic_with_the_brokers_time_is_proven_without_the_timestamps(stand: Stand) -> None:
    append_time = replace(stand.broker._topics[TOPICS.forecasts], config={"message.timestamp.type": "LogAppendTime"})
    stand.broker._topics[TOPICS.forecasts] = append_time
    moved_in_time(stand)
    assert stand.verify().proven
    altered(stand)
    assert "forecast of offset 5 in lane champion differs" in stand.verify().violations[0]


def test_partitions_that_the_outputs_lack_are_unknown_with_the_remedy(tmp_path: Path) -> None:
    stand = Stand(tmp_path, partitions=2)
    stand.broker.delete(TOPICS.forecasts)
    stand.broker.create(TopicSpec(TOPICS.forecasts, 1))
    for partition in (0, 1):
        stand.observe("a", *TEN, partition=partition)
    stand.serve()
    report = stand.verify()
    assert (report.violations, report.forecasts) == ([], 10)
    (unknown,) = report.unknown
    assert "observations[1] to [1] are not answered: forecasts must have 2 partitions, as the input has" in unknown


@pytest.mark.parametrize("timestamp", [0, -1, -62_135_596_800_000])
def test_records_of_any_timestamp_are_answered_and_proven(tmp_path: Path, timestamp: int) -> None:
    stand = Stand(tmp_path)
    times = [0, MINUTE]
    stand.append([(timestamp, b"a", encode_observation("a", time, [1.0])) for time in times])
    stand.append([(timestamp, b"a", b"{")])
    stand.serve()
    assert stand.verify() == Report(records=3, forecasts=2, dead_letters=1)
    sent = [log(stand, topic).timestamps for topic in (TOPICS.forecasts, TOPICS.dead_letters, TOPICS.journal)]
    assert 0 not in itertools.chain.from_iterable(sent), "librdkafka takes 0 for the present time"
    log(stand, TOPICS.forecasts).timestamps[:] = [timestamp] * 2  # as kafka-python wrote it before
    assert stand.verify().proven


def test_many_violations_are_counted_and_only_some_reported(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    stand.observe("a", *(float(value % 7) for value in range(300)))
    stand.serve(max_records=100)
    there = log(stand, TOPICS.forecasts)
    there.forget(0, there.end)
    violations = stand.verify().violations
    assert len(violations) == 101
    assert "200 violations more" in violations[-1]


def test_a_service_that_has_not_begun_has_nothing_wrong(tmp_path: Path) -> None:
    stand = Stand(tmp_path, partitions=2)
    assert stand.verify() == Report()
    stand.observe("a", 1.0, partition=1)
    assert stand.verify() == Report()


def test_a_model_swap_is_verified_with_both_models(stand: Stand) -> None:
    stand.observe("a", *TEN)
    stand.serve({"champion": model("sample", 2)})
    assert stand.verify().proven
    values = log(stand, TOPICS.forecasts).values
    values[-1] = (values[-1] or b"").replace(b'"model_version":"2"', b'"model_version":"0"')
    assert not stand.verify().proven


def test_another_limit_of_series_counts_from_its_restart_on(stand: Stand) -> None:
    stand.observe("b", 1.0)
    stand.observe("a", *TEN)
    stand.serve(max_series=1)
    assert [entry.max_series for entry in stand.journal().entries] == [100, 1]
    assert stand.verify().proven
    stand.serve(max_series=1)
    assert len(stand.journal().entries) == 2


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([], []),
        ([Entry("start", "t", 0, 5, 3, MODELS, 9)], [Era({"champion": 2}, 5, 20, MODELS, 9)]),
        (
            [Entry("start", "t", 0, 5, 0, MODELS, 9), Entry("models", "t", 0, 9, 0, {"champion": "b"}, 7)],
            [Era({"champion": 5}, 5, 9, MODELS, 9), Era({"champion": 5}, 9, 20, {"champion": "b"}, 7)],
        ),
        (
            [Entry("start", "t", 0, 5, 0, MODELS, 9), Entry("cold", "t", 0, 9, 2, MODELS, 9)],
            [Era({"champion": 5}, 5, 9, MODELS, 9), Era({"champion": 7}, 9, 20, MODELS, 9)],
        ),
        (
            [Entry("start", "t", 0, 5, 0, MODELS, 9), Entry("reset", "t", 0, 9, key="a")],
            [Era({"champion": 5}, 5, 20, MODELS, 9)],
        ),
        ([Entry("start", "t", 0, 25, 0, MODELS)], []),
        (
            [
                Entry("start", "t", 0, 5, 2, MODELS, 9),
                Entry("models", "t", 0, 9, 0, {**MODELS, "new": "b"}, 9, since={"b": 7}),
                Entry("models", "t", 0, 11, 0, {"champion": "b"}, 9),
                Entry("cold", "t", 0, 15, 1, {"champion": "b"}, 9),
            ],
            [
                Era({"champion": 3}, 5, 9, MODELS, 9),
                Era({"champion": 3, "new": 7}, 9, 11, {**MODELS, "new": "b"}, 9),
                Era({"champion": 7}, 11, 15, {"champion": "b"}, 9),
                Era({"champion": 14}, 15, 20, {"champion": "b"}, 9),
            ],
        ),
    ],
)
def test_decisions_cut_the_answers_into_eras(entries: list[Entry], expected: list[Era]) -> None:
    assert eras(Journal(entries), 20) == expected


def renamed(stand: Stand, reference: str) -> None:
    """Let the forecasts of offsets 3 and 5 say that they were made by another version."""
    name, version = reference.split("@")
    values = log(stand, TOPICS.forecasts).values
    for row in (3, 5):
        values[row] = (values[row] or b"").replace(
            b'"model":"tiny","model_version":"0"', f'"model":"{name}","model_version":"{version}"'.encode()
        )


DIGEST, OTHER = (model("sample", number).digest for number in (0, 2))


def test_versions_with_equal_digests_are_one_model(stand: Stand) -> None:
    """The journal has digests only: forecasts that named the other version were called wrong."""
    stand.observe("a", *TEN)
    stand.serve({"champion": replace(model("sample", 0), version="7")})
    stand.observe("b", *TEN)
    stand.serve({"champion": replace(model("sample", 0), name="copied", version="1")})
    assert len(stand.journal().entries) == 1, "nothing but names has changed"
    assert stand.verify(versions={DIGEST: ["copied@1", "tiny@0", "tiny@7"]}).proven


def test_at_least_once_may_answer_again_under_another_name_of_the_same_model(stand: Stand) -> None:
    again(stand, TOPICS.forecasts, slice(0, 4))
    renamed(stand, "tiny@7")
    assert stand.verify(exactly_once=False, versions={DIGEST: ["tiny@0", "tiny@7"]}).proven


def test_a_forecast_that_names_another_model_is_wrong(stand: Stand) -> None:
    renamed(stand, "tiny@2")
    (violation,) = stand.verify(versions={DIGEST: ["tiny@0"], OTHER: ["tiny@2"]}).violations
    assert "2 forecasts (the first of offset 3 in lane champion) name the model tiny@2" in violation
    assert violation.endswith("were made by another one: by tiny@0")


def test_a_forecast_that_names_a_version_that_is_gone_is_compared_and_said_to_be_of_an_unknown_name(
    stand: Stand,
) -> None:
    renamed(stand, "tiny@7")
    report = stand.verify(versions={DIGEST: ["tiny@0", "tiny@1"]})
    assert (report.violations, report.forecasts) == ([], 20)
    (unknown,) = report.unknown
    assert "2 forecasts (the first of offset 3 in lane champion) name the model tiny@7, and the model folder" in unknown
    assert "is tiny@0 or tiny@1" in unknown
    altered(stand)
    assert "forecast of offset 5 in lane champion differs" in stand.verify().violations[0]


def test_a_forecast_without_the_name_of_its_model_is_wrong(stand: Stand) -> None:
    values = log(stand, TOPICS.forecasts).values
    values[5] = (values[5] or b"").replace(b'"model":"tiny","model_version":"0",', b"")
    assert "forecast of offset 5 in lane champion differs" in stand.verify().violations[0]
