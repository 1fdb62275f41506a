"""A scrape shows what was reported, in names and labels that are bounded, over a port that trusts nobody."""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client import Histogram as OtherHistogram
from prometheus_client.parser import text_string_to_metric_families

from harness.hand_clock import HandClock
from harness.streams import SPECS
from streamcast.consumers.transport import Partition
from streamcast.service.telemetry.meters import COUNTERS, GAUGES, HISTOGRAMS, SECONDS_EDGES, STAGES, Histogram, Outcomes
from streamcast.service.telemetry.probes import Control, TelemetryServer
from streamcast.service.telemetry.reporting import counted_columns
from streamcast.service.telemetry.telemetry import Telemetry
from streamcast.spec.model_spec import Column
from streamcast.topics.dead_letters import REASONS
from streamcast.topics.foreign_bytes import TEXT_KEYS

LABELS = (
    "topic", "partition", "stage", "lane", "model", "model_version", "reason", "horizon", "action", "group", "column",
)  # fmt: skip
PARTITION = Partition("observations", 2)


class SwitchedHealth:
    def __init__(self) -> None:
        self.is_alive = True
        self.reasons: list[str] = []

    def alive(self) -> bool:
        return self.is_alive

    def problems(self) -> list[str]:
        return self.reasons


@pytest.fixture
def clock() -> HandClock:
    return HandClock(1_000_000.0)


@pytest.fixture
def telemetry(clock: HandClock) -> Telemetry:
    lanes = {"champion": ("load", "3"), "challenger": ("load", "4")}
    trained = {"champion": {"relative_mae": 0.8, "coverage": 0.8}}
    return Telemetry(lanes, 0.8, trained=trained, ready=lambda: True, clock=clock, timer=clock)


def samples(telemetry: Telemetry) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample of a scrape, by name and label values (in the order of LABELS)."""
    return {
        (sample.name, tuple(sample.labels[name] for name in (*LABELS, "le") if name in sample.labels)): sample.value
        for family in text_string_to_metric_families(telemetry.exposition().decode())
        for sample in family.samples
    }


def value(telemetry: Telemetry, name: str, *labels: str) -> float:
    return samples(telemetry)[f"streamcast_{name}", labels]


def feed(telemetry: Telemetry) -> None:
    """Report everything that can be reported, once."""
    telemetry.on_rebalance([PARTITION])
    telemetry.took_over(0.2, {PARTITION: 0}, {PARTITION: 0})
    telemetry.recovering(10)
    telemetry.recovered(1.5)
    telemetry.on_poll(100, {PARTITION: 7})
    for stage in STAGES:
        telemetry.stage(stage, 0.001)
    telemetry.on_commit(0.003, 100)
    telemetry.on_abort()
    telemetry.batch(0.02, np.full(90, 0.5), {"answered": 90, "absorbed": 5, "late": 2, "duplicate": 1})
    telemetry.unknown_categories({"sky": 2})
    telemetry.missing_inputs({"sky": 3})
    telemetry.missing_ahead({"sky": 4})
    telemetry.beyond_bounds(4, 5)
    telemetry.dead_letter("not JSON", 2)
    telemetry.gaps_filled(3)
    telemetry.restarted(2)
    telemetry.evicted(1)
    telemetry.progress(PARTITION, 999_990.0, 999_000.0)
    telemetry.snapshot(PARTITION)
    telemetry.store_failed("write")
    telemetry.state(40, 65_536, 1.25)
    telemetry.model_swap("challenger")
    for lane in ("champion", "challenger"):
        telemetry.forecasts(lane, 90)
        telemetry.drift(lane, 1)
        telemetry.anomalies(lane, 2)
        telemetry.not_finite(lane, 1)
        ones = np.ones(4)
        telemetry.scores(
            lane, np.array([1, 12, 1, 12]), ones, 2 * ones, 0.5 * ones, np.array([True, True, False, True])
        )


def test_what_is_written_while_other_answers_are_sent_counts_once() -> None:
    telemetry = Telemetry({"champion": ("load", "3")}, 0.8)
    telemetry.encoding(0.25)
    telemetry.encoding(0.25)
    telemetry.on_commit(2.0, 100)
    telemetry.encoding(0.125)
    telemetry.on_abort()
    telemetry.on_commit(1.0, 100)
    exposed = telemetry.exposition().decode()
    assert 'stage_seconds_sum{stage="encode"} 0.5\n' in exposed
    assert 'stage_seconds_sum{stage="commit"} 2.5\n' in exposed


@given(st.lists(st.floats(0, 100), max_size=50))
def test_a_histogram_counts_as_the_prometheus_client_does(seconds: list[float]) -> None:
    other = OtherHistogram("other", "", buckets=SECONDS_EDGES, registry=CollectorRegistry())
    for second in seconds:
        other.observe(second)
    expected = {s.labels["le"]: s.value for s in next(iter(other.collect())).samples if s.name == "other_bucket"}
    whole, single = Histogram(SECONDS_EDGES), Histogram(SECONDS_EDGES)
    whole.observe_all(np.array(seconds))
    for second in seconds:
        single.observe(second)
    for histogram in (whole, single):
        buckets, total = histogram.buckets()
        assert dict(buckets) == expected
        assert total == pytest.approx(sum(seconds))


@given(st.lists(st.lists(st.floats(0, 9), max_size=12), max_size=8))
def test_the_last_outcomes_are_kept_and_no_others(batches: list[list[float]]) -> None:
    kept, expected = Outcomes(7), deque[float](maxlen=7)
    for batch in batches:
        kept.extend(np.tile(np.array(batch)[:, None], 4))
        expected.extend(batch)
    assert sorted(kept.rows()[:, 0]) == sorted(expected)


def test_every_metric_appears_once_it_has_a_value(telemetry: Telemetry) -> None:
    feed(telemetry)
    names = {name for name, _ in samples(telemetry)}
    assert {f"streamcast_{name}_bucket" for name in HISTOGRAMS} <= names
    assert {f"streamcast_{name}_total" for name in COUNTERS} <= names
    assert {f"streamcast_{name}" for name in GAUGES} <= names
    assert "process_resident_memory_bytes" in names


def test_counters_of_known_labels_begin_at_zero(telemetry: Telemetry) -> None:
    """Or a rate does not see the first of them: a burst of dead letters just after a start raised no alert."""
    assert [value(telemetry, "dead_letters_total", reason) for reason in REASONS] == [0] * len(REASONS)
    assert [value(telemetry, "store_failures_total", action) for action in ("list", "read", "write")] == [0, 0, 0]
    assert value(telemetry, "forecasts_produced_total", "champion", "load", "3") == 0


def test_metrics_say_for_how_long_a_partition_waits() -> None:
    waits: dict[Partition, float] = {}
    telemetry = Telemetry({"champion": ("load", "3")}, 0.8, refused=lambda: waits)
    telemetry.on_poll(0, {Partition("o", 0): 0, Partition("o", 3): 5})
    assert value(telemetry, "refused_seconds", "o", "3") == 0
    waits[Partition("o", 3)] = 95.0
    assert value(telemetry, "refused_seconds", "o", "3") == 95
    assert value(telemetry, "refused_seconds", "o", "0") == 0


def test_metrics_say_whether_the_service_is_ready() -> None:
    answering = iter((True, False))
    telemetry = Telemetry({"champion": ("load", "3")}, 0.8, ready=lambda: next(answering))
    assert [value(telemetry, "ready"), value(telemetry, "ready")] == [1, 0]


def test_a_worker_without_partitions_has_what_the_alert_of_workers_that_are_not_ready_asks_for() -> None:
    telemetry = Telemetry({"champion": ("load", "3")}, 0.8, ready=lambda: False)
    assert [value(telemetry, name) for name in ("ready", "recovery_records_left")] == [0, 0]


def test_labels_are_only_the_documented_ones(telemetry: Telemetry) -> None:
    feed(telemetry)
    labels = {
        label
        for family in text_string_to_metric_families(telemetry.exposition().decode())
        if family.name.startswith("streamcast_")
        for sample in family.samples
        for label in sample.labels
    }
    assert labels - {"le"} == set(LABELS)


def test_the_counters_of_outcomes_add_up_to_the_records_consumed(telemetry: Telemetry) -> None:
    feed(telemetry)
    outcomes = [("records_answered_total",), ("records_absorbed_total",), ("late_records_total", "dropped")]
    outcomes += [("duplicates_total",), ("dead_letters_total", "not JSON")]
    assert sum(value(telemetry, *outcome) for outcome in outcomes) == value(telemetry, "records_consumed_total") == 100


def test_a_batch_weighs_its_age_by_the_records_it_answered(telemetry: Telemetry) -> None:
    telemetry.batch(0.02, np.array([0.1, 0.2, 40.0]), {"answered": 3})
    assert value(telemetry, "consume_to_forecast_seconds_count") == 3
    assert value(telemetry, "consume_to_forecast_seconds_sum") == pytest.approx(0.06)
    assert value(telemetry, "event_to_forecast_seconds_bucket", "30.0") == 2
    assert value(telemetry, "event_to_forecast_seconds_bucket", "+Inf") == 3


def test_records_that_waited_before_the_take_over_are_answered_and_counted_and_no_latency(telemetry: Telemetry) -> None:
    telemetry.batch(40.0, np.empty(0), {"answered": 1_000})
    telemetry.batch(0.02, np.full(3, 0.1), {"answered": 10})
    assert value(telemetry, "records_answered_total") == 1_010
    assert value(telemetry, "backlog_answered_total") == 1_007
    assert value(telemetry, "consume_to_forecast_seconds_count") == value(telemetry, "event_to_forecast_seconds_count")
    assert value(telemetry, "consume_to_forecast_seconds_bucket", "0.025") == 3
    assert telemetry.summary()["latency_p99_ms"] == pytest.approx(20)


def test_a_step_of_the_wall_clock_changes_no_duration(clock: HandClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "streamcast")
    wall = HandClock(1_000_000.0)
    telemetry = Telemetry({"champion": ("load", "3")}, 0.8, clock=wall, timer=clock)
    telemetry.took_over(1.0, {PARTITION: 0}, {PARTITION: 10})
    wall.now += 86_400
    clock.now += 2
    telemetry.answered(PARTITION, 10, 10)
    telemetry.on_commit(0.01, 10)
    wall.now -= 2 * 86_400
    assert caplog.messages[-1] == "caught up with observations[2]: 10 records in 2.0 s"
    assert telemetry.summary()["records_per_second"] == 1.0


def test_the_log_says_when_a_partition_has_caught_up_and_what_a_minute_brought(
    telemetry: Telemetry, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "streamcast")
    other = Partition("observations", 3)
    telemetry.took_over(1.0, {PARTITION: 0, other: 8}, {PARTITION: 1_200, other: 8})
    assert caplog.messages == ["took over 2 partitions of observations, lag 1,200 records"]
    caplog.clear()

    def commit(position: int, records: int, waited: int) -> None:
        telemetry.on_poll(records, {PARTITION: 1_300 - position, other: 0})
        dropped = {"late": records // 1_000, "duplicate": records // 250}
        telemetry.batch(0.02, np.full(records - waited, 0.1), {"answered": records, **dropped})
        telemetry.answered(PARTITION, position, waited)
        telemetry.on_commit(0.01, records)

    clock.now += 2
    commit(1_000, 1_000, 1_000)
    telemetry.dead_letter("json")
    telemetry.unknown_categories({"sky": 3})
    telemetry.missing_inputs({"sky": 4, "load": 0})
    telemetry.missing_ahead({"sky": 5})
    telemetry.beyond_bounds(2, 9)
    telemetry.below_zero(6)
    telemetry.evicted(7)
    assert not caplog.messages
    clock.now += 1.5
    commit(1_250, 250, 200)
    assert caplog.messages == [
        "caught up with observations[2]: 1,200 records in 3.5 s",
        "1 of 1,250 records became dead letters (json): `streamcast dlq inspect` says why",
    ]
    caplog.clear()
    clock.now += 58.5
    telemetry.on_poll(0, {PARTITION: 50, other: 0})
    assert caplog.messages == [
        (
            "last 60 s: 1,250 records, 1 dead letter, 1 dropped because they came late, 5 dropped because their bar had"
            " been answered, 3 with an unknown sky, 4 without sky, 5 that do not say the next sky, 2 with a value"
            " below the model's lower bound, 9 with a value above the model's upper bound, 6 with a value below 0,"
            " unsuited to the model's scale,"
            " 7 series forgotten for want of room (state.max_series), lag 50 records, latency p99 25 ms"
        )
    ]


def test_the_log_warns_once_a_minute_of_kafka_keys_that_are_no_text(
    telemetry: Telemetry, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        telemetry.on_poll(2, {PARTITION: 0})
        telemetry.foreign_keys(["\0*", '"p"'])
        telemetry.on_commit(0.01, 2)
    assert not caplog.messages
    clock.now += 60
    telemetry.on_poll(0, {PARTITION: 0})
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        "last 60 s: 6 records, 0 dead letters, lag 0 records; 6 records named by a Kafka key that is no text, such as"
        rf" '\x00*': {TEXT_KEYS}"
    )


def test_counters_of_columns_begin_at_zero_for_the_columns_of_the_models() -> None:
    """A rate does not see the first value."""
    columns = (Column(name="y"), Column(name="temp"), Column(name="sky", categories=("sun", "rain")))
    series = SPECS["gru"].series.model_copy(update={"columns": columns})
    champion = SPECS["gru"].model_copy(update={"series": series})
    telemetry = Telemetry({"champion": ("m", "1")}, 0.8, columns=counted_columns(champion, [champion]))
    found = {name for name, _ in samples(telemetry).items() if name[1] in {("temp",), ("sky",)}}
    assert found == {
        ("streamcast_missing_inputs_total", ("temp",)),
        ("streamcast_missing_inputs_total", ("sky",)),
        ("streamcast_unknown_categories_total", ("sky",)),
    }
    assert value(telemetry, "unknown_categories_total", "sky") == 0.0


def test_the_log_names_the_most_frequent_reasons_of_dead_letters(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    telemetry.on_poll(2_000, {PARTITION: 0})
    for reason, count in {"json": 1, "value": 2, "shape": 1_008, "ahead": 1, "time": 4}.items():
        telemetry.dead_letter(reason, count)
    telemetry.on_commit(0.01, 2_000)
    (said,) = caplog.messages
    assert said.startswith("1,016 of 2,000 records became dead letters (1,008 shape, 4 time, 2 value, 2 others): ")


def test_the_log_warns_once_a_minute_of_dead_letters_and_asks_whether_the_topic_is_the_right_one(
    telemetry: Telemetry, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING", "streamcast")

    def commit(records: int, rejected: int, reason: str = "shape") -> None:
        telemetry.on_poll(records, {PARTITION: 0})
        telemetry.dead_letter(reason, rejected)
        telemetry.on_commit(0.01, records)

    commit(40, 40)
    commit(40, 40)
    assert caplog.messages == [
        (
            "40 of 40 records became dead letters (shape): `streamcast dlq inspect` says why. No record could be read:"
            " check that this is the topic of this model, and the form of its records"
        )
    ]
    caplog.clear()
    clock.now += 61
    telemetry.on_poll(0, {PARTITION: 0})
    commit(40, 3)
    assert caplog.messages == ["3 of 40 records became dead letters (shape): `streamcast dlq inspect` says why"]
    caplog.clear()
    clock.now += 61
    telemetry.on_poll(0, {PARTITION: 0})
    commit(40, 40)
    assert caplog.messages == ["40 of 40 records became dead letters (shape): `streamcast dlq inspect` says why"]


def test_a_forecast_that_is_not_finite_is_of_a_record_that_could_be_read(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    telemetry.dead_letter("not finite", 40)
    telemetry.on_commit(0.01, 40)
    assert caplog.messages == ["40 of 40 records became dead letters (not finite): `streamcast dlq inspect` says why"]


@pytest.mark.parametrize(
    ("late", "repeated", "level"), [(40, 0, "WARNING"), (1, 20, "WARNING"), (10, 10, "INFO"), (0, 0, "INFO")]
)
def test_the_line_of_a_minute_is_a_warning_with_the_usual_causes_when_most_records_were_dropped(
    telemetry: Telemetry, clock: HandClock, caplog: pytest.LogCaptureFixture, late: int, repeated: int, level: str
) -> None:
    caplog.set_level("INFO", "streamcast")
    telemetry.on_poll(40, {PARTITION: 0})
    telemetry.batch(0.02, np.empty(0), {"answered": 40 - late - repeated, "late": late, "duplicate": repeated})
    telemetry.on_commit(0.01, 40)
    clock.now += 60
    telemetry.on_poll(0, {PARTITION: 0})
    (line,) = caplog.records
    assert line.levelname == level
    assert ("time zone" in line.message and "second replay" in line.message) == (level == "WARNING")


def test_the_log_is_silent_while_nothing_arrives_and_a_minute_has_one_line(
    telemetry: Telemetry, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "streamcast")
    for _ in range(3_000):
        clock.now += 0.2
        telemetry.on_poll(0, {PARTITION: 0})
    assert not caplog.messages
    for _ in range(1_201):
        telemetry.on_poll(5, {PARTITION: 0})
        telemetry.on_commit(0.01, 5)
        clock.now += 0.2
    assert len(caplog.messages) == 4 - 1
    for _ in range(3_000):
        clock.now += 0.2
        telemetry.on_poll(0, {PARTITION: 0})
    assert len(caplog.messages) == 4
    assert "latency" not in caplog.text


def test_a_backlog_that_ends_in_transaction_markers_is_caught_up_when_nothing_is_left_to_read(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "streamcast")
    telemetry.took_over(1.0, {PARTITION: 0}, {PARTITION: 11})
    telemetry.on_poll(10, {PARTITION: 0})
    telemetry.answered(PARTITION, 10, 10)
    assert "caught up" not in caplog.text
    telemetry.on_commit(0.01, 10)
    assert caplog.messages[-1] == "caught up with observations[2]: 10 records in 0.0 s"


def test_a_partition_whose_records_were_read_and_not_committed_is_not_caught_up_with(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    other = Partition("observations", 3)
    caplog.set_level("INFO", "streamcast")
    telemetry.took_over(1.0, {PARTITION: 0, other: 0}, {PARTITION: 10, other: 10})
    telemetry.on_poll(20, {PARTITION: 0, other: 0})
    telemetry.answered(PARTITION, 10, 10)
    telemetry.on_commit(0.01, 10)  # of one partition; the answers of the other are refused
    telemetry.on_poll(0, {PARTITION: 0, other: 10})
    assert [line.partition(":")[0] for line in caplog.messages if "caught" in line] == [f"caught up with {PARTITION}"]


def test_a_partition_that_went_elsewhere_is_not_caught_up_with(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "streamcast")
    telemetry.took_over(1.0, {PARTITION: 0}, {PARTITION: 5})
    telemetry.on_rebalance([])
    telemetry.on_poll(0, {PARTITION: 0})
    assert "caught up" not in caplog.text


def test_an_event_from_the_future_has_no_negative_age(telemetry: Telemetry) -> None:
    telemetry.batch(0.02, np.array([-5.0]), {"answered": 1})
    assert value(telemetry, "event_to_forecast_seconds_sum") == 0


def test_accuracy_is_relative_to_seasonal_naive_on_the_same_outcomes(telemetry: Telemetry) -> None:
    error, naive = np.array([1.0, 3.0, 100.0]), np.array([4.0, 4.0, np.nan])
    telemetry.scores("champion", 12, error, naive, error / 2, np.array([True, False, True]))
    assert value(telemetry, "forecast_mae", "champion", "12") == pytest.approx(104 / 3)
    assert value(telemetry, "forecast_relative_mae", "champion", "12") == pytest.approx(0.5)
    assert value(telemetry, "forecast_skill", "champion", "12") == pytest.approx(0.5)
    assert value(telemetry, "forecast_coverage", "champion", "12") == pytest.approx(2 / 3)


def test_quality_is_over_all_outcomes_since_the_start_by_step_and_over_all(clock: HandClock) -> None:
    trained = {"champion": {"relative_mae": 0.8, "coverage": None}}
    telemetry = Telemetry({"champion": ("load", "3")}, 0.8, window=2, trained=trained, clock=clock, timer=clock)
    for error in (1.0, 2.0, 3.0, 6.0):
        ones = np.ones(1)
        telemetry.scores("champion", 1, error * ones, 4 * ones, ones, np.array([error < 3]))
    telemetry.scores("champion", 12, 8 * ones, 4 * ones, ones, np.array([True]))
    assert value(telemetry, "forecast_relative_mae", "champion", "1") == pytest.approx(9 / 8)
    assert value(telemetry, "quality_relative_mae", "champion", "1") == pytest.approx(12 / 16)
    assert value(telemetry, "quality_relative_mae", "champion", "all") == pytest.approx(20 / 20)
    assert value(telemetry, "quality_coverage", "champion", "all") == pytest.approx(3 / 5)
    assert value(telemetry, "quality_outcomes", "champion", "all") == 5
    assert value(telemetry, "trained_relative_mae", "champion") == 0.8
    assert ("streamcast_trained_coverage", ("champion",)) not in samples(telemetry)
    summary = telemetry.summary()
    assert (summary["champion.relative_mae"], summary["champion.outcomes"]) == (1.0, 5)


def test_what_is_not_known_is_left_out_and_not_shown_as_nan(telemetry: Telemetry) -> None:
    telemetry.scores("champion", 1, np.ones(1), np.array([np.nan]), np.ones(1), np.array([True]))
    telemetry.on_poll(0, {PARTITION: 0})
    shown = samples(telemetry)
    assert ("streamcast_forecast_mae", ("champion", "1")) in shown
    assert ("streamcast_forecast_skill", ("champion", "1")) not in shown
    assert ("streamcast_snapshot_age_seconds", ("observations", "2")) not in shown
    assert not any(np.isnan(number) for number in shown.values())


def test_lag_in_seconds_grows_while_records_wait_and_is_zero_when_none_do(
    telemetry: Telemetry, clock: HandClock
) -> None:
    telemetry.on_poll(5, {PARTITION: 3})
    telemetry.progress(PARTITION, clock.now - 10, clock.now - 60)
    assert value(telemetry, "lag_seconds", "observations", "2") == 10
    clock.now += 30
    assert value(telemetry, "lag_seconds", "observations", "2") == 40
    telemetry.on_poll(3, {PARTITION: 0})
    assert value(telemetry, "lag_seconds", "observations", "2") == 0


def test_a_watermark_never_goes_back(telemetry: Telemetry) -> None:
    telemetry.on_poll(5, {PARTITION: 3})
    telemetry.progress(PARTITION, 100.0, 90.0)
    telemetry.progress(PARTITION, 101.0, 50.0)
    assert value(telemetry, "watermark_timestamp_seconds", "observations", "2") == 90


def test_a_partition_that_went_elsewhere_is_no_longer_shown(telemetry: Telemetry) -> None:
    feed(telemetry)
    other = Partition("observations", 5)
    telemetry.on_rebalance([other])
    telemetry.on_poll(0, {other: 0})
    telemetry.snapshot(other)
    partitions = {
        labels for name, labels in samples(telemetry) if name.endswith(("lag_records", "snapshot_age_seconds"))
    }
    assert partitions == {("observations", "5")}


def test_the_age_of_a_restored_snapshot_is_shown_while_the_lag_is_not_known_yet(
    telemetry: Telemetry, clock: HandClock
) -> None:
    telemetry.on_rebalance([PARTITION])
    telemetry.snapshot(PARTITION)
    telemetry.on_poll(0, {})
    clock.now += 7
    assert value(telemetry, "snapshot_age_seconds", "observations", "2") == 7


def test_made_up_reasons_cannot_grow_the_metrics_without_bound(telemetry: Telemetry) -> None:
    for number in range(500):
        telemetry.dead_letter(f"reason {number}")
    reasons = {labels[0]: count for (name, labels), count in samples(telemetry).items() if "dead_letters_total" in name}
    assert len(reasons) == 33
    assert sum(reasons.values()) == 500
    assert reasons["other"] == 500 - (32 - len(REASONS))


def test_an_unknown_stage_outcome_or_lane_is_refused(telemetry: Telemetry) -> None:
    with pytest.raises(KeyError, match="inferrence"):
        telemetry.stage("inferrence", 1.0)
    with pytest.raises(KeyError, match="anwsered"):
        telemetry.batch(0.1, np.ones(1), {"anwsered": 1})
    with pytest.raises(KeyError, match="shadow"):
        telemetry.forecasts("shadow", 1)
    with pytest.raises(KeyError, match="shadow"):
        telemetry.scores("shadow", 1, np.ones(1), np.ones(1), np.ones(1), np.array([True]))


def test_the_summary_says_none_for_what_is_not_known_yet(telemetry: Telemetry, clock: HandClock) -> None:
    assert telemetry.summary()["mae"] is None
    feed(telemetry)
    summary = telemetry.summary()
    assert summary["records"] == 100
    assert summary["forecasts"] == 180
    assert summary["records_per_second"] == 10
    assert summary["latency_p99_ms"] == pytest.approx(20)
    assert (summary["mae"], summary["naive_mae"], summary["coverage"]) == (1, 2, 0.75)
    clock.now += 60
    assert telemetry.summary()["records_per_second"] == 0


def test_a_scrape_during_updates_is_whole(telemetry: Telemetry) -> None:
    stop = threading.Event()

    def update() -> None:
        while not stop.is_set():
            telemetry.batch(0.01, np.full(10, 0.1), {"answered": 10})

    worker = threading.Thread(target=update)
    worker.start()
    try:
        for _ in range(20):
            shown = samples(telemetry)
            count = shown["streamcast_event_to_forecast_seconds_count", ()]
            assert count == shown["streamcast_records_answered_total", ()]
            assert shown["streamcast_event_to_forecast_seconds_sum", ()] == pytest.approx(count * 0.1)
    finally:
        stop.set()
        worker.join(timeout=10)


@pytest.fixture
def health() -> SwitchedHealth:
    return SwitchedHealth()


@pytest.fixture
def server(telemetry: Telemetry, health: SwitchedHealth) -> Iterator[TelemetryServer]:
    with closing(TelemetryServer(telemetry, health)) as running:
        yield running


def get(server: TelemetryServer, path: str, method: str = "GET", host: str = "") -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    with closing(connection):
        connection.putrequest(method, path, skip_host=True)
        if host:
            connection.putheader("Host", host)
        connection.endheaders()
        response = connection.getresponse()
        return response.status, response.read()


def test_metrics_are_served_as_text(server: TelemetryServer) -> None:
    status, body = get(server, "/metrics")
    assert status == 200
    assert b'streamcast_model_info{lane="champion",model="load",model_version="3"} 1.0' in body


def test_a_reset_of_a_key_that_no_series_has_is_said(telemetry: Telemetry, health: SwitchedHealth) -> None:
    def post(key: bytes) -> tuple[int, bytes]:
        with closing(HTTPConnection("127.0.0.1", running.port, timeout=10)) as connection:
            connection.request("POST", "/reset", key, {"Authorization": "Bearer t"})
            answer = connection.getresponse()
            return answer.status, answer.read()

    control = Control("t", lambda key: key == "known")
    with closing(TelemetryServer(telemetry, health, control=control)) as running:
        assert post(b"known") == (202, b"the series is reset with the next batch of its partition\n")
        status, said = post(b"unknown")
    assert status == 404
    assert b"this process has no series of that key" in said


@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer T", "Bearer tt", "Basic t", "t", "Bearer té", "\xff"])
def test_a_reset_without_the_token_is_refused_and_does_nothing(
    telemetry: Telemetry, health: SwitchedHealth, given: str | None
) -> None:
    asked: list[str] = []

    def reset(key: str) -> bool:
        asked.append(key)
        return True

    control = Control("t", reset)
    with (
        closing(TelemetryServer(telemetry, health, control=control)) as running,
        closing(HTTPConnection("127.0.0.1", running.port, timeout=10)) as connection,
    ):
        connection.request("POST", "/reset", b"known", {} if given is None else {"Authorization": given})
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (403, b"the token is missing or wrong\n")
    assert asked == []


def test_probes_follow_the_health_of_the_loop(server: TelemetryServer, health: SwitchedHealth) -> None:
    assert get(server, "/livez") == get(server, "/readyz") == (200, b"ok\n")
    health.reasons = ["no partitions are assigned", "the broker\ndid not answer"]
    assert get(server, "/livez")[0] == 200
    assert get(server, "/readyz") == (503, b"no partitions are assigned\nthe broker did not answer\n")
    health.is_alive = False
    assert get(server, "/livez") == (503, b"polling has stopped\n")


@pytest.mark.parametrize("path", ["/", "/metrics/", "/..%2f..%2fetc/passwd", "/../metrics", "/%6detrics", "*"])
def test_nothing_but_the_three_paths_is_there(server: TelemetryServer, path: str) -> None:
    assert get(server, path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "TRACE", "BREW"])
def test_nothing_can_be_changed(server: TelemetryServer, method: str) -> None:
    assert get(server, "/metrics", method)[0] == (404 if method == "POST" else 501)


def test_giant_headers_are_refused_and_the_next_request_is_answered(server: TelemetryServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n")
        assert b" 431 " in connection.recv(200)
    assert get(server, "/livez")[0] == 200


def test_a_huge_body_is_never_read(server: TelemetryServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n")
        assert b" 200 " in connection.recv(200)


def test_a_request_that_trickles_in_is_cut(server: TelemetryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamcast.service.telemetry.probes._CONNECTION_SECONDS", 0.6)
    with socket.create_connection(("127.0.0.1", server.port), timeout=0.1) as connection:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            try:
                connection.sendall(b"G")
                if connection.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail("a request sent byte by byte was never cut")


@pytest.mark.parametrize("clients", [1, 3])
def test_idle_connections_do_not_take_the_probes_away_for_a_moment(
    telemetry: Telemetry, health: SwitchedHealth, clients: int
) -> None:
    with closing(TelemetryServer(telemetry, health, "0.0.0.0")) as server, ExitStack() as stack:
        for number in range(64):
            address = (f"127.0.0.{2 + number % clients}", 0)
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 10, address))
            if number >= 30:
                assert get(server, "/livez") == (200, b"ok\n")


def test_a_client_with_many_connections_loses_its_own_oldest_and_nobody_elses(
    telemetry: Telemetry, health: SwitchedHealth
) -> None:
    with closing(TelemetryServer(telemetry, health, "0.0.0.0")) as server, ExitStack() as stack:
        patient = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 10))
        greedy = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 10, ("127.0.0.2", 0)))
            for _ in range(40)
        ]
        assert greedy[0].recv(1) == b""
        patient.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        assert b" 200 " in patient.recv(200)


@pytest.mark.parametrize("path", ["/metrics", "/readyz", "/livez"])
def test_only_local_names_are_answered_on_loopback(server: TelemetryServer, path: str) -> None:
    for name in (f"localhost:{server.port}", "127.0.0.1", f"[::1]:{server.port}"):
        assert get(server, path, host=name)[0] == 200
    assert get(server, path, host=f"attacker.example:{server.port}")[0] == 400


def test_any_name_is_answered_at_an_address_that_others_can_reach(telemetry: Telemetry, health: SwitchedHealth) -> None:
    with closing(TelemetryServer(telemetry, health, "0.0.0.0")) as server:
        assert get(server, "/metrics", host="worker-3.example:9464")[0] == 200


def test_closing_frees_the_port(telemetry: Telemetry, health: SwitchedHealth) -> None:
    server = TelemetryServer(telemetry, health)
    server.close()
    with closing(TelemetryServer(telemetry, health, port=server.port)) as again:
        assert again.port == server.port
