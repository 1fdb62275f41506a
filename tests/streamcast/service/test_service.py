"""The service between a broker and its engines: where it begins, what it writes, and how it handles failed commits."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
import torch

import streamcast.engine.window
from harness.simulation.plan import load, model
from harness.simulation.stand import GROUP, TOPICS, Stand
from harness.streams import MINUTE, START
from streamcast.consumers.health import LoopHealth
from streamcast.consumers.memory.broker import Rows
from streamcast.consumers.memory.transport import Fault, MemoryTransport
from streamcast.consumers.transport import (
    Batch,
    BrokerUnavailable,
    Connection,
    Fenced,
    Headers,
    InDoubt,
    Outgoing,
    Partition,
)
from streamcast.errors import ServiceError
from streamcast.kernels.advance import STEPS
from streamcast.service import snapshots
from streamcast.service.assignment import Assignment
from streamcast.service.beginnings import Start
from streamcast.service.service import Service
from streamcast.service.skipping import skip
from streamcast.service.verification.report import Expectations
from streamcast.service.verification.verify import verify
from streamcast.spec.folders import Model, new_network
from streamcast.spec.model_spec import SeriesSpec
from streamcast.topics.dead_letters import REPLAY_OF
from streamcast.topics.observations import Decoder, Observations, Poison, encode_observation

TEN = tuple(float(value) for value in (5, 7, 6, 8, 9, 7, 6, 5, 8, 9))
TWO_LANES = {"champion": model("sample", 0), "challenger": model("sample", 1)}


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


def answers(stand: Stand) -> list[dict[str, object]]:
    return [json.loads(value or b"") for value in stand.values(TOPICS.forecasts)]


def sources(stand: Stand, lane: str = "champion") -> list[int]:
    return [answer["source"]["offset"] for answer in answers(stand) if answer["lane"] == lane]  # type: ignore[index]


# -- where it begins -------------------------------------------------------------------------------------


def test_the_first_start_is_written_down_once_and_every_record_is_answered(stand: Stand) -> None:
    stand.observe("a", *TEN)
    stand.serve()
    stand.serve()
    assert [(entry.kind, entry.offset) for entry in stand.journal().entries] == [("start", 0)]
    assert sources(stand) == list(range(10))
    assert stand.verify().proven


def test_a_start_at_the_latest_answers_only_what_comes_then(stand: Stand) -> None:
    stand.observe("a", *TEN)
    stand.serve(start=Start("latest"))
    stand.observe("a", 1.0)
    stand.work()
    assert sources(stand) == [10]
    assert answers(stand)[0]["warm"] is False
    assert stand.verify().proven


def test_records_before_the_start_build_state_without_being_answered(stand: Stand) -> None:
    stand.observe("a", *TEN)
    stand.serve(start=Start("latest", warm_from=6))
    stand.observe("a", 1.0)
    stand.work()
    assert sources(stand) == [10]
    assert answers(stand)[0]["warm"] is True
    assert [(entry.kind, entry.offset, entry.warm_from) for entry in stand.journal().entries] == [("start", 10, 6)]
    assert stand.verify().proven


def test_a_process_that_comes_back_goes_on_where_the_last_one_committed(stand: Stand) -> None:
    stand.observe("a", *TEN)
    stand.serve()
    stand.observe("a", *TEN)
    stand.serve()
    assert sources(stand) == list(range(20))
    assert stand.verify().proven


def test_first_answers_whose_position_was_not_written_are_repeated_from_the_start_not_skipped(stand: Stand) -> None:
    stand.serve(start=Start("latest"), guarantee="at_least_once")
    stand.observe("a", *TEN)
    stand.loop.iterate()
    assert sources(stand) == [*range(5)]
    assert stand.committed() == 0
    stand.serve(start=Start("latest"), guarantee="at_least_once")
    assert sources(stand) == [*range(5), *range(10)]
    assert stand.verify(exactly_once=False).proven


def test_at_least_once_a_process_that_froze_in_its_first_step_answers_like_the_one_that_took_its_place(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    how: dict[str, Any] = {"start": Start("latest"), "guarantee": "at_least_once"}
    stand.observe("a", *TEN)
    zombie = stand.serve(**how)
    frozen, on_batch = stand.loop, zombie.on_batch

    def freeze(batches: Sequence[Batch]) -> Iterator[Outgoing]:
        made = on_batch(batches)
        stand.serve(**how)
        stand.observe("a", *TEN)
        stand.work()
        return made

    monkeypatch.setattr(zombie, "on_batch", freeze)
    stand.observe("a", *TEN[:5])
    with suppress(InDoubt):  # the group refuses its position
        frozen.iterate()
    with pytest.raises(Fenced):
        frozen.iterate()
    assert sorted(set(sources(stand))) == [*range(10, 25)]
    assert stand.journal().start == 10
    assert stand.verify(exactly_once=False).proven


def test_positions_that_are_refused_once_are_sent_again_also_when_nothing_more_arrives(stand: Stand) -> None:
    stand.serve(guarantee="at_least_once", max_records=10)
    stand.observe("a", *TEN)
    stand.faults = [("offsets", Fault.LOST)]
    stand.loop.iterate()
    stand.loop.iterate()
    stand.loop.iterate()
    assert stand.committed() == 0
    stand.loop.iterate()
    assert (stand.committed(), sources(stand)) == (10, [*range(10)])


def test_positions_that_stay_refused_put_their_answers_in_doubt_which_are_given_again_from_the_same_state(
    stand: Stand,
) -> None:
    stand.serve(guarantee="at_least_once", max_records=3)
    stand.observe("a", *TEN)
    stand.faults = [("offsets", Fault.LOST)] * 2
    stand.loop.iterate()
    stand.loop.iterate()
    stand.loop.iterate()
    with pytest.raises(InDoubt):
        stand.loop.iterate()
    assert sources(stand) == [*range(9)]
    stand.work()
    assert sources(stand) == [*range(9), *range(10)]
    assert stand.verify(exactly_once=False).proven


def test_answers_that_were_not_acknowledged_are_given_again_also_when_nothing_more_arrives(stand: Stand) -> None:
    stand.serve(guarantee="at_least_once")
    stand.observe("a", *TEN[:5])
    stand.work()
    stand.observe("a", *TEN[5:])
    stand.faults = [("produce", Fault.LOST)]
    stand.loop.iterate()
    with pytest.raises(InDoubt):
        stand.loop.iterate()
    assert (stand.committed(), sources(stand)) == (5, [*range(5)])
    stand.work()
    assert (stand.committed(), sources(stand)) == (10, [*range(10)])
    assert stand.verify(exactly_once=False).proven


def test_lanes_that_disagree_on_what_a_record_is_are_refused(stand: Stand) -> None:
    with pytest.raises(ServiceError, match="read the same records"):
        stand.serve({"champion": model("sample", 0), "challenger": model("ticks", 0)})


def test_stepping_through_long_gaps_beats_as_it_goes_on(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the watchdog takes it for a loop that stalls, and ends the process; the next one meets the same records."""
    beats: list[int] = []
    monkeypatch.setattr(LoopHealth, "beat", lambda _health: beats.append(1))
    monkeypatch.setattr(streamcast.engine.window, "STEPS_AT_ONCE", 1)  # as many as one record may need
    spec = model("sample", 0).spec
    series = SeriesSpec(columns=spec.series.columns, freq=MINUTE)
    patient = Model(spec.model_copy(update={"series": series}), model("sample", 0).network, "patient", "1", "1" * 64)
    service = stand.serve({"champion": patient})
    later, keys = START + (series.max_gap + 1) * MINUTE, ("a", "b", "c")
    taken = []
    for time in (START, later):
        stand.append([(time, key.encode(), encode_observation(key, time, [1.0])) for key in keys])
        before = len(beats)
        stand.work()
        taken.append(len(beats) - before)
    assert [lane.engine.slab.rows.clock[:3, STEPS].tolist() for lane in service._lanes] == [[2_018] * 3]
    assert taken[1] - taken[0] >= 2 * len(keys), "each series is a chunk of its own, of several stages"


# -- what it writes ----------------------------------------------------------------------------------------


def test_every_lane_answers_every_record_and_a_shadow_answers_nobody(stand: Stand) -> None:
    stand.observe("a", *TEN)
    stand.serve({**TWO_LANES, "shade": model("sample", 2)}, shadows=["shade"])
    assert sources(stand, "champion") == sources(stand, "challenger") == list(range(10))
    assert sources(stand, "shade") == []
    assert stand.verify().proven, "the journal says who is a shadow"


def test_a_shadow_that_ends_or_is_published_leaves_what_was_answered_proven(stand: Stand) -> None:
    stand.observe("a", *TEN)
    stand.serve(TWO_LANES, shadows=["challenger"])
    stand.observe("a", *TEN)
    stand.serve(TWO_LANES)
    assert sources(stand, "challenger") == list(range(10, 20))
    stand.observe("a", *TEN)
    stand.serve(TWO_LANES, shadows=["challenger"])
    stand.observe("a", *TEN)
    stand.serve({"champion": TWO_LANES["champion"]})
    assert sources(stand, "champion") == list(range(40))
    assert [entry.shadows for entry in stand.journal().entries] == [("challenger",), (), ("challenger",), ()]
    report = stand.verify()
    assert (report.violations, report.unknown) == ([], [])
    assert report.forecasts == 50


def test_the_log_says_once_which_lanes_publish_no_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stand = Stand(tmp_path, partitions=2)
    first, second = TWO_LANES.values()

    def told(shadows: Sequence[str] = (), **lanes: Model) -> list[str]:
        caplog.clear()
        for key in "abcdef":
            stand.observe(key, *TEN)
        stand.serve(lanes, shadows=shadows, champion=next(iter(lanes)))
        return [record.getMessage() for record in caplog.records if "answered so far" in record.getMessage()]

    lost = "consumers that choose it get nothing more"
    gone = f"answered so far and is not in these settings: {lost}"
    assert told(champion=first, challenger=second) == []
    assert told(main=first, challenger=second, shadows=["challenger"]) == [
        f"lane champion {gone}; lane main is new",
        f"lane challenger answered so far and is a shadow now: {lost}",
    ]
    assert told(main=first, challenger=second, shadows=["challenger"]) == []
    assert told(main=first) == [], "nobody could choose a shadow"
    assert told(mains=first) == [f"lane main {gone}; lane mains is new, did you mean main?"]


def test_where_an_older_journal_does_not_say_who_is_a_shadow_the_settings_do(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand.observe("a", *TEN)
    with monkeypatch.context() as older:
        entry = Assignment.entry
        older.setattr(
            Assignment, "entry", lambda *given, **more: msgspec.structs.replace(entry(*given, **more), shadows=None)
        )
        stand.serve(TWO_LANES, shadows=["challenger"])
    assert stand.verify(shadows=["challenger"]).proven
    assert not stand.verify().proven
    stand.observe("a", *TEN)
    stand.serve(TWO_LANES, shadows=["challenger"])
    assert [entry.shadows for entry in stand.journal().entries] == [None, ("challenger",)]
    assert stand.verify(shadows=["challenger"]).proven


def test_a_poll_of_nothing_but_poison_becomes_dead_letters_with_the_original_bytes(stand: Stand) -> None:
    stand.append([(START, b"k", b"{"), (START, None, None), (START, b"\xff", b'{"ts":1,"values":[1]}')])
    stand.serve()
    (batch,) = stand.batches(TOPICS.dead_letters)
    assert (batch.keys, batch.values) == ([b"k", None, b"\xff"], [b"{", None, b'{"ts":1,"values":[1]}'])
    assert [dict(headers)["reason"] for headers in batch.headers or ()] == [b"json", b"empty", b"key"]
    assert stand.committed() == 3
    assert stand.verify().proven


@pytest.mark.parametrize(("value", "proven"), [(b"", True), (None, False)])
def test_verify_knows_what_older_versions_called_a_value_without_bytes(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, value: bytes | None, *, proven: bool
) -> None:
    decode = Decoder.decode

    def decode_as_before(*given: Any) -> tuple[Observations, list[Poison]]:
        observations, poison = decode(*given)
        return observations, [replace(each, reason="json") for each in poison]

    stand.append([(START, b"k", value)])
    with monkeypatch.context() as older:
        older.setattr(Decoder, "decode", decode_as_before)
        stand.serve()
    assert stand.verify().proven is proven


@pytest.mark.parametrize(
    ("answered", "headers", "doubted"),
    [(0, (), True), (1, (), False), (0, [(REPLAY_OF, b"observations[0]@0")], False)],
    ids=["the first records of a service", "records after one that was answered", "records that dlq replay sent"],
)
def test_the_log_doubts_the_topic_only_while_none_of_its_own_records_could_be_read(
    stand: Stand, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, answered: int, headers: Headers,
    doubted: Literal[True, False],
) -> None:  # fmt: skip
    monkeypatch.setattr("streamcast.service.telemetry.operator_log.REPORT_SECONDS", 0.0)
    stand.observe("a", *TEN[:answered])
    stand.serve(max_records=20)
    stand.append([(START, b"a", b"{")] * 15, headers=headers)
    stand.work()
    (said,) = caplog.messages
    assert said.startswith("15 of 15 records became dead letters (json)")
    assert ("No record could be read" in said) == doubted


BAD: dict[str, tuple[Callable[[int], int], float, bytes]] = {
    "seconds": (lambda time: time // 1000, 1.0, b"time"),
    "microseconds": (lambda time: time * 1000, 1.0, b"time"),
    "the year 9999": (lambda _: 253_402_300_799_999, 1.0, b"ahead"),
    "a huge value": (lambda time: time, 1e200, b"value"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_record_is_a_dead_letter_and_its_series_goes_on(stand: Stand, tmp_path: Path, name: str) -> None:
    of, value, reason = BAD[name]
    clean = Stand(tmp_path / "clean")
    for each in (stand, clean):
        each.observe("a", *TEN)
    times = [START + bar * MINUTE for bar in (8, 9)]
    stand.append([(time, b"a", json.dumps({"key": "a", "ts": of(time), "values": [value]}).encode()) for time in times])
    for each in (stand, clean):
        each.observe("a", 1.0)
        each.serve()
    (letters,) = stand.batches(TOPICS.dead_letters)
    assert [dict(headers)["reason"] for headers in letters.headers or ()] == [reason, reason]
    assert answers(stand)[-1]["quantiles"] == answers(clean)[-1]["quantiles"]
    assert stand.verify().proven


def test_a_forecast_that_is_not_finite_is_a_dead_letter_of_its_record(stand: Stand) -> None:
    spec = model("sample", 1).spec
    network = new_network(spec)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(float("nan"))
    stand.observe("a", *TEN)
    stand.serve({"champion": Model(spec, network.eval(), digest="0" * 64)})
    assert stand.values(TOPICS.forecasts) == []
    assert stand.values(TOPICS.dead_letters) == stand.values(TOPICS.observations)


# -- when a commit fails -----------------------------------------------------------------------------------


@pytest.mark.parametrize("request_name", ["produce", "offsets", "end", "init"])
@pytest.mark.parametrize("fault", [Fault.LOST, Fault.UNANSWERED])
def test_after_a_lost_request_or_answer_each_record_has_one_answer(
    stand: Stand, request_name: str, fault: Fault
) -> None:
    stand.observe("a", *TEN)
    stand.serve()
    stand.observe("a", *TEN)
    stand.faults = [("end", Fault.LOST), (request_name, fault)]
    stand.work()
    assert stand.faults == []
    assert sources(stand) == list(range(20))
    assert stand.verify().proven


def test_while_the_broker_is_away_a_commit_in_doubt_stays_unsettled(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand.observe("a", *TEN)
    service = stand.serve()
    stand.observe("a", *TEN)
    settle, failures = Service.on_in_doubt, iter([True, True, False])

    def away(self: Service, stable: Mapping[object, int]) -> None:
        if next(failures):
            raise BrokerUnavailable("away")
        settle(self, stable)  # type: ignore[arg-type]

    monkeypatch.setattr(Service, "on_in_doubt", away)
    stand.faults = [("end", Fault.UNANSWERED)]
    stand.work()
    assert next(failures, None) is None
    assert service is stand.service
    assert stand.verify().proven


# -- decisions that do not come from the records -------------------------------------------------------------


def test_another_model_answers_from_the_committed_offset_on_with_state_it_made_itself(stand: Stand) -> None:
    stand.observe("a", *TEN)
    stand.serve()
    stand.observe("a", *TEN)
    stand.serve({"champion": model("sample", 1)})
    kinds = [(entry.kind, entry.offset) for entry in stand.journal().entries]
    assert kinds == [("start", 0), ("models", 10)]
    assert [answer["model_version"] for answer in answers(stand)] == ["0"] * 10 + ["1"] * 10
    assert all(answer["warm"] for answer in answers(stand)[10:])
    assert stand.verify().proven


def test_a_model_that_comes_back_takes_its_own_snapshot_and_not_the_others(stand: Stand) -> None:
    for number in (0, 1, 0, 2, 1):
        stand.observe("a", *TEN)
        stand.serve({"champion": model("sample", number)})
        stand.stop()
    assert len(stand.journal().entries) == 5
    assert stand.verify().proven


def test_a_reset_of_a_series_survives_a_restart(stand: Stand) -> None:
    stand.observe("a", *TEN)
    stand.observe("b", *TEN)
    service = stand.serve()
    service.reset("a")
    service.reset("nobody")
    stand.observe("a", 5.0)
    stand.observe("b", 5.0)
    stand.work()
    assert [answer["warm"] for answer in answers(stand)[-2:]] == [False, True]
    stand.observe("a", 6.0)
    stand.serve()
    assert answers(stand)[-1]["warm"] is False
    assert [(e.key, e.offset) for e in stand.journal().resets()] == [("a", 20)]
    assert stand.verify().proven


def test_a_reset_right_after_a_snapshot_is_not_undone_by_it(stand: Stand) -> None:
    stand.observe("a", *TEN)
    stand.serve()
    stand.stop()
    service = stand.serve()
    service.reset("a")
    stand.observe("a", 5.0)
    stand.work()
    stand.observe("a", 6.0)
    stand.serve()
    assert [answer["warm"] for answer in answers(stand)[-2:]] == [False, False]
    assert stand.verify().proven


def test_a_reset_whose_commit_failed_is_done_by_the_next_one(stand: Stand) -> None:
    stand.observe("a", *TEN)
    service = stand.serve()
    service.reset("a")
    stand.observe("a", 5.0)
    stand.faults = [("end", Fault.LOST)]
    stand.work()
    assert [entry.key for entry in stand.journal().resets()] == ["a"]
    assert answers(stand)[-1]["warm"] is False
    assert stand.verify().proven


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_at_least_once_a_crash_between_a_reset_and_its_position_repeats_answers_with_the_same_bytes(
    stand: Stand, lost: int
) -> None:
    stand.observe("a", *TEN)
    service = stand.serve(guarantee="at_least_once")
    stand.observe("a", *TEN)
    stand.faults = [("offsets", Fault.LOST)] * lost
    stand.loop.iterate()
    service.reset("a")
    stand.loop.iterate()
    assert [(entry.key, entry.offset) for entry in stand.journal().resets()] == [("a", 15)]
    stand.serve(guarantee="at_least_once")
    assert set(sources(stand)) == {*range(20)}
    assert stand.verify(exactly_once=False).proven


def test_decisions_behind_a_transaction_that_hangs_are_waited_for_and_not_taken_again(stand: Stand) -> None:
    producer, epoch = stand.broker.init_producer("a zombie")
    hanging = Rows([0], [b"observations/0"], [b"{}"], [()])
    stand.broker.produce(producer, epoch, Partition(TOPICS.journal, 0), hanging, 0)
    stand.observe("a", *TEN)
    stand.serve(working=False)
    stand.loop.iterate()
    with pytest.raises(BrokerUnavailable, match="readable up to offset 0"):
        stand.loop.iterate()
    assert stand.committed() is None
    stand.broker.end(producer, epoch, commit=False)
    stand.work()
    assert [(entry.kind, entry.offset) for entry in stand.journal().entries] == [("start", 0)]
    assert stand.verify().proven


# -- when records are gone -----------------------------------------------------------------------------------


def test_when_the_records_that_state_is_made_of_are_gone_it_refuses_and_names_the_remedy(stand: Stand) -> None:
    stand.observe("a", *TEN)
    stand.serve()
    stand.broker.delete_records(stand.partitions[0], 4)
    with pytest.raises(ServiceError, match=r"allow_cold_start"):
        stand.serve()


def test_a_snapshot_makes_up_for_records_that_are_gone(stand: Stand) -> None:
    stand.observe("a", *TEN)
    stand.serve()
    stand.stop()
    stand.broker.delete_records(stand.partitions[0], 10)
    stand.observe("a", *TEN)
    stand.serve()
    assert sources(stand) == list(range(20))
    assert all(answer["warm"] for answer in answers(stand)[10:])


def test_a_snapshot_with_the_layout_of_another_version_is_replaced_by_a_replay(
    stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    stand.observe("a", *TEN)
    stand.serve()
    stand.stop()
    (path,) = stand.folder.rglob("*.snapshot")
    header, arrays = snapshots.decode(path.read_bytes())
    path.write_bytes(snapshots.encode(header, {**arrays, "later": arrays["seen"]}))
    stand.observe("a", *TEN)
    with caplog.at_level(logging.WARNING, "streamcast"):
        stand.serve()
    assert sources(stand) == list(range(20))
    (said,) = caplog.messages
    assert "another version of streamcast, with another layout of the state, wrote it" in said


@pytest.mark.parametrize("gone", [4, 10])
def test_a_damaged_snapshot_makes_up_for_nothing_and_a_cold_start_is_written_down(
    stand: Stand, gone: int, caplog: pytest.LogCaptureFixture
) -> None:
    stand.observe("a", *TEN)
    stand.serve()
    stand.stop()
    (path,) = stand.folder.rglob("*.snapshot")
    path.write_bytes(path.read_bytes()[:-1])
    stand.broker.delete_records(stand.partitions[0], gone)
    stand.observe("a", *TEN)
    with pytest.raises(ServiceError, match="allow_cold_start"):
        stand.serve()
    with caplog.at_level(logging.WARNING, "streamcast"):
        stand.serve(start=Start(allow_cold_start=True))
    assert "is ignored" in caplog.text
    assert f"only from {gone} on, and no snapshot replaces them: it begins there with empty state" in caplog.text
    assert [(entry.kind, entry.offset, entry.offset - entry.warm_from) for entry in stand.journal().entries] == [
        ("start", 0, 0),
        ("cold", 10, gone),
    ]
    assert sources(stand) == list(range(20))
    report = stand.verify()
    assert report.violations == []
    assert len(report.unknown) == 1


def test_a_journal_that_was_cut_is_no_new_service(stand: Stand, caplog: pytest.LogCaptureFixture) -> None:
    """A week after a start, Kafka's own retention deletes it: state began empty then, in silence."""
    stand.observe("a", *TEN)
    stand.serve()
    stand.stop()
    stand.broker.delete_records(Partition(TOPICS.journal, stand.partitions[0].index), 1)
    stand.observe("a", *TEN)
    with pytest.raises(ServiceError, match=r"does not say where the state began.*retention\.ms=-1.*allow_cold_start"):
        stand.serve()
    stand.serve(start=Start(allow_cold_start=True))
    assert "does not say where the state began, because Kafka has deleted its oldest entries: it begins" in caplog.text
    assert sources(stand) == list(range(20))
    stand.stop()
    stand.observe("a", *TEN)
    stand.serve()  # the journal knows again
    assert sources(stand) == list(range(30))


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
@pytest.mark.parametrize("way", ["loses the journal", "loses records", "makes the input again"])
@pytest.mark.parametrize("more", [0, 3])
@pytest.mark.parametrize("in_good_order", [True, False])
def test_a_cold_start_that_ends_before_its_first_answer_loses_nothing(
    stand: Stand, guarantee: Any, way: str, more: int, *, in_good_order: bool
) -> None:
    """Its entry goes with the first answer: until then the next start decides again, by what the topic holds then."""
    cold = Start(allow_cold_start=True, warm_from=2)
    stand.observe("a", *TEN)
    stand.serve(guarantee=guarantee)
    stand.loop.abandon()
    if way == "loses the journal":
        stand.broker.delete_records(Partition(TOPICS.journal, 0), 1)
    elif way == "makes the input again":
        stand.make_again(TOPICS.observations)
    stand.observe("a", *TEN)
    first = 10 if way == "makes the input again" else 20
    if way == "loses records":
        stand.broker.delete_records(stand.partitions[0], 12)
    stand.serve(start=cold, guarantee=guarantee, max_records=0)
    assert (stand.loop._busy, stand.journal().lost) == (False, False), "it has begun, and answered nothing"
    if in_good_order:
        stand.stop()
    else:
        stand.loop.abandon()
    if way != "loses the journal":
        stand.broker.delete_records(stand.partitions[0], 12 + more)
    stand.observe("a", *TEN)
    stand.serve(start=cold, guarantee=guarantee)
    report = stand.verify(exactly_once=guarantee == "exactly_once")
    assert report.violations == []
    assert stand.committed() == first + 10
    assert [entry.kind for entry in stand.journal().entries if entry.begins][-1] == "cold"


def test_a_record_that_warms_a_cold_start_may_be_skipped_until_that_is_written_down(stand: Stand) -> None:
    """A snapshot of the state before would hold the record."""
    cold = Start(allow_cold_start=True, warm_from=2)
    stand.observe("a", *TEN)
    stand.serve()
    stand.stop()
    stand.broker.delete_records(Partition(TOPICS.journal, 0), 1)
    stand.serve(start=cold)
    stand.stop()
    member = MemoryTransport(stand.broker, Connection("memory", GROUP, "0", mark=stand.mark()))
    assert skip(member, TOPICS, stand.partitions[0], 9)
    stand.observe("a", *TEN)
    stand.serve(start=cold)
    assert stand.committed() == 20
    assert stand.verify().violations == []


def test_records_that_are_gone_without_an_answer_are_an_error(stand: Stand) -> None:
    stand.observe("a", *TEN)
    stand.serve()
    stand.observe("a", *TEN)
    stand.broker.delete_records(stand.partitions[0], 15)
    with pytest.raises(ServiceError, match="needs the records from offset 0 on"):
        stand.serve()
    stand.serve(start=Start(allow_cold_start=True))
    assert sources(stand) == [*range(10), *range(15, 20)]
    assert stand.journal().entries[-1].offset == 15


# -- snapshots -----------------------------------------------------------------------------------------------


def test_what_is_given_back_in_good_order_leaves_a_snapshot_of_the_committed_offset(stand: Stand) -> None:
    stand.observe("a", *TEN)
    stand.serve()
    stand.stop()
    assert [int(path.name.partition("-")[0]) for path in stand.folder.rglob("*.snapshot")] == [10]


def saved(stand: Stand) -> dict[int, set[int]]:
    """The offsets of the snapshots in the store, by partition."""
    found: dict[int, set[int]] = {}
    for path in stand.folder.rglob("*.snapshot"):
        found.setdefault(int(path.parent.name), set()).add(int(path.name.partition("-")[0]))
    return found


def wait(stand: Stand, seconds: float) -> None:
    """Poll for so long."""
    until = stand.seconds + seconds
    while stand.seconds < until:
        stand.loop.iterate()


def test_after_the_interval_a_quiet_service_has_a_snapshot_of_every_partition_with_records(tmp_path: Path) -> None:
    """A service that was loaded and then heard nothing had none, and retention then took what its state came from."""
    stand = Stand(tmp_path, partitions=3)  # the first of which stays empty
    stand.observe("a", *TEN, partition=1)
    stand.observe("b", *TEN, partition=2)
    stand.serve(interval_seconds=5)
    assert saved(stand) == {}
    wait(stand, 6)
    assert saved(stand) == {1: {10}, 2: {10}}
    for index in (1, 2):
        stand.broker.delete_records(stand.partitions[index], 10)
        stand.observe("ab"[index - 1], 1.0, 2.0, partition=index)
    stand.serve()
    assert stand.committed(1) == stand.committed(2) == 12


def test_bursts_that_are_rarer_than_the_interval_are_saved_one_by_one(tmp_path: Path) -> None:
    stand = Stand(tmp_path, partitions=4)
    stand.serve(interval_seconds=5, max_records=100)
    for burst in (1, 2):
        for partition in range(4):
            stand.observe(str(partition), 1.0, partition=partition)
        wait(stand, 6)
        assert [max(saved(stand)[partition]) for partition in range(4)] == [burst] * 4


def test_a_partition_without_records_since_its_snapshot_is_not_written_again(stand: Stand) -> None:
    stand.observe("a", *TEN)
    stand.serve(interval_seconds=5)
    shown = 'streamcast_snapshot_age_seconds{partition="0",topic="observations"}'
    assert shown in stand.telemetry.exposition().decode(), "its time begins when it is taken over"
    wait(stand, 6)
    assert saved(stand) == {0: {10}}
    for path in stand.folder.rglob("*.snapshot"):
        path.unlink()
    wait(stand, 12)
    assert saved(stand) == {}


def test_two_processes_that_snapshot_the_same_offset_write_the_same_bytes(tmp_path: Path) -> None:
    written = []
    for number, max_records in enumerate((1, 7)):
        stand = Stand(tmp_path / str(number))
        stand.observe("b", *TEN)
        stand.observe("a", *TEN)
        stand.serve(max_records=max_records)
        stand.stop()
        written.append({path.name: path.read_bytes() for path in stand.folder.rglob("*.snapshot")})
    assert written[0] == written[1]


def test_where_no_topic_has_an_identity_another_number_of_partitions_does_not_load_the_old_snapshots(
    stand: Stand,
) -> None:
    for name, spec in stand.broker._topics.items():
        stand.broker._topics[name] = replace(spec, id="")
    stand.observe("a", *TEN)
    stand.serve()
    stand.stop()
    header = stand.service._assignment.headers(stand.partitions[0], 0, 10, stand.journal())["champion"]
    assert [offset for _, offset in stand.store.newest(header, 10)] == [10]
    assert list(stand.store.newest(replace(header, partitions=7), 10)) == []


@pytest.mark.parametrize("cold", [False, True])
def test_a_position_whose_records_are_gone_and_an_empty_journal_begin_cold_only_where_that_is_allowed(
    stand: Stand, *, cold: bool
) -> None:
    stand.observe("a", *TEN)
    stand.broker._group(GROUP).committed[stand.partitions[0]] = 2
    stand.broker.delete_records(stand.partitions[0], 6)
    if not cold:
        with pytest.raises(ServiceError, match="from offset 2 on, but the topic holds them only from 6"):
            stand.serve()
        return
    stand.serve(start=Start(warm_from=3, allow_cold_start=True))
    assert sources(stand) == [6, 7, 8, 9]
    assert stand.journal().begin == 6
    assert stand.verify().proven


def test_a_batch_whose_partitions_are_lost_while_it_is_answered_is_in_doubt_and_nothing_of_it_is_committed(
    stand: Stand,
) -> None:
    service = stand.serve()
    stand.observe("a", *TEN[:5])
    batches = list(stand.batches(TOPICS.observations))
    outgoing = service.on_batch(batches)
    service.on_lost(stand.partitions)
    with pytest.raises(InDoubt, match="lost while it was answered"):
        list(outgoing)


def test_a_reset_of_a_key_that_no_series_has_is_not_accepted(stand: Stand) -> None:
    stand.observe("a", *TEN)
    service = stand.serve()
    assert service.reset("a")
    assert not service.reset("b")
    stand.observe("a", *TEN)
    stand.work()
    assert [entry.key for entry in stand.journal().resets()] == ["a"]


@pytest.mark.parametrize("until", [None, START - 1, START + 11 * MINUTE + 7, START + 10**9])
def test_service_and_verify_count_the_same_outcomes_as_unseen(stand: Stand, until: int | None) -> None:
    facts = {} if until is None else {"last": until}
    stand.observe("a", *range(24))
    stand.serve({"champion": replace(model("sample", 0), facts=facts)})
    found = stand.telemetry.summary()
    report = verify(stand.reader, TOPICS, lambda digest: replace(load(digest), facts=facts), Expectations())
    outcomes, trained = found["champion.outcomes"], found["champion.trained_outcomes"]
    assert outcomes
    assert trained is not None
    assert report.unseen["champion"].over_all().outcomes == outcomes - trained


def test_outcomes_of_forecasts_of_training_data_are_counted_apart(stand: Stand) -> None:
    def serve(until: int | None) -> tuple[float | None, float | None]:
        stand.observe("a", *range(12))
        stand.serve({"champion": replace(model("sample", 0), facts={} if until is None else {"last": until})})
        found = stand.telemetry.summary()
        return found["champion.outcomes"], found["champion.trained_outcomes"]

    assert serve(START + 11 * MINUTE)[1]
    outcomes, trained = serve(START + 11 * MINUTE)
    assert outcomes
    assert trained == 2, "two forecasts from before the end of the training data reach beyond it, by their last step"
    outcomes, trained = serve(START + 10**9)
    assert outcomes == trained
    assert serve(None)[1] == 0


def test_telemetry_counts_each_record_once(stand: Stand) -> None:
    stand.observe("a", *TEN)
    stand.append([(START, b"k", b"{")])
    service = stand.serve()
    lines = service._telemetry.exposition().decode().splitlines()
    assert "streamcast_records_answered_total 10.0" in lines
    assert "streamcast_records_consumed_total 11.0" in lines
    assert 'streamcast_forecasts_produced_total{lane="champion",model="tiny",model_version="0"} 10.0' in lines
    assert 'streamcast_dead_letters_total{reason="json"} 1.0' in lines


def test_a_series_that_restarts_after_a_long_gap_is_counted(stand: Stand) -> None:
    stand.observe("a", *TEN)
    later = START + 100_000 * MINUTE
    stand.append([(later, b"a", encode_observation("a", later, [5.0]))])
    service = stand.serve()
    assert "streamcast_series_restarts_total 1.0" in service._telemetry.exposition().decode().splitlines()


def test_what_waited_before_the_take_over_is_caught_up_with_and_has_no_latency(
    stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    def latencies() -> str:
        lines = stand.telemetry.exposition().decode().splitlines()
        return next(line for line in lines if line.startswith("streamcast_consume_to_forecast_seconds_count"))

    caplog.set_level(logging.INFO, "streamcast")
    stand.observe("a", *TEN)
    stand.append([(START, b"k", b"{")])
    stand.serve()
    assert "took over 1 partition of observations, lag 11 records" in caplog.messages
    assert [line.partition(" in ")[0] for line in caplog.messages if line.startswith("caught")] == [
        "caught up with observations[0]: 10 records"
    ]
    assert latencies().endswith(" 0.0")
    stand.observe("a", *TEN)
    stand.work()
    assert latencies().endswith(" 10.0")


def test_a_commit_in_doubt_does_not_make_a_backlog_of_live_records(stand: Stand) -> None:
    stand.serve()
    stand.observe("a", *TEN)
    stand.faults.append(("end", Fault.LOST))
    stand.work()
    assert sources(stand) == list(range(10))
    assert "streamcast_backlog_answered_total 0.0" in stand.telemetry.exposition().decode().splitlines()


def test_a_partition_that_another_model_answers_is_counted_when_that_is_committed(stand: Stand) -> None:
    def swaps(service: Service) -> str:
        lines = service._telemetry.exposition().decode().splitlines()
        return next(line for line in lines if line.startswith("streamcast_model_swaps_total{"))

    stand.observe("a", *TEN)
    assert swaps(stand.serve()) == 'streamcast_model_swaps_total{lane="champion"} 0.0'
    service = stand.serve({"champion": model("sample", 2)})
    assert swaps(service) == 'streamcast_model_swaps_total{lane="champion"} 0.0'
    stand.observe("a", *TEN)
    stand.work()
    assert swaps(service) == 'streamcast_model_swaps_total{lane="champion"} 1.0'
