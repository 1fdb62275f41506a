"""How the service is doing, as Prometheus metrics: observed per batch, collected per scrape.

Everything is prefixed ``streamcast_``, in seconds and bytes.  Labels are only topic, partition, stage, lane, model,
model_version, horizon, reason, action, result and column; a series key or any other untrusted byte is never one.
A batch costs a few array operations whatever its size; the text is only made when somebody scrapes.

Shape letters: N values observed together.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from streamcast import quality
from streamcast.consumers.transport import Partition, Positions
from streamcast.service.telemetry.meters import (
    COUNTERS,
    GAUGES,
    HISTOGRAMS,
    KNOWN_LABELS,
    STAGES,
    Floats,
    Histogram,
    Outcomes,
)
from streamcast.service.telemetry.operator_log import OperatorLog
from streamcast.topics.names import champion_of

_OUTCOMES: Final[Mapping[str, tuple[str, ...]]] = {
    "answered": ("records_answered",),
    "absorbed": ("records_absorbed",),
    "late": ("late_records", "dropped"),
    "duplicate": ("duplicates",),
}

_MOST_REASONS: Final = 32
_RECENT_BATCHES: Final = 4096
_RATE_SECONDS: Final = 10.0


class Telemetry(Collector):
    """Counts what the loop and the service report; thread-safe; is the loop's ``Observer``.

    ``lanes`` maps each lane to its (model, version), ``trained`` to what its training measured (``facts_of``);
    ``columns`` maps each counter of columns to those that it may count;
    ``group`` is what the service is known by; ``champion`` names the lane whose accuracy ``summary`` shows (see
    ``champion_of`` for its default); ``coverage_target`` is the share of outcomes that the forecast interval promises
    to hold, NaN where there is no interval; ``ready`` tells whether records are answered, ``refused`` for how many
    seconds partitions have waited because a topic refuses an answer; ``window`` bounds the outcomes kept per lane and
    horizon; ``clock`` gives epoch seconds, ``timer`` seconds that never step.
    """

    def __init__(
        self,
        lanes: Mapping[str, tuple[str, str]],
        coverage_target: float,
        *,
        group: str = "",
        champion: str = "",
        trained: Mapping[str, Mapping[str, float | None]] | None = None,
        columns: Mapping[str, Sequence[str]] | None = None,
        ready: Callable[[], bool] | None = None,
        refused: Callable[[], Mapping[Partition, float]] = dict,
        window: int = 4096,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lock = threading.Lock()
        self._clock, self._timer = clock, timer
        self._group, self._ready, self._refused = group, ready, refused
        self._window = window
        self._lanes = dict(lanes)
        self._champion = champion_of(lanes, champion)
        self._histograms: dict[tuple[str, ...], Histogram] = {}
        for name, (_, labels, edges) in HISTOGRAMS.items():
            for key in [(name, stage) for stage in STAGES] if labels else [(name,)]:
                self._histograms[key] = Histogram(edges)
        self._counts = dict.fromkeys(self._known_counts({**KNOWN_LABELS, **(columns or {})}), 0.0)
        self._gauges: dict[str, float] = {"forecast_coverage_target": coverage_target}
        self._gauges |= {"recovery_records_left": 0.0, "catch_up_records_left": 0.0}
        self._lag_records: dict[Partition, int] = {}
        self._record_timestamps: dict[Partition, float] = {}
        self._watermarks: dict[Partition, float] = {}
        self._saved: dict[Partition, float] = {}
        self._outcomes: dict[tuple[str, int], Outcomes] = {}
        self._trained = dict(trained or {})
        self._quality = {lane: quality.SumsByStep() for lane in lanes}
        self._trained_outcomes = dict.fromkeys(lanes, 0)
        self._recent_seconds: deque[float] = deque(maxlen=_RECENT_BATCHES)
        self._operator_log = OperatorLog(timer)
        self._encoding = 0.0
        self._recent_totals: deque[tuple[float, float]] = deque(maxlen=_RECENT_BATCHES)
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def _known_counts(self, known: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, ...]]:
        """Yield the counters whose labels are known: they begin at 0, because a rate does not see the first value."""
        for name, (_, labels) in COUNTERS.items():
            if not labels:
                yield (name,)
            for value in self._lanes if labels == ("lane",) else known.get(name, ()):
                yield name, value
        for lane, (model, version) in self._lanes.items():
            yield "forecasts_produced", lane, model, version

    # Reported by the loop.

    def on_poll(self, records: int, lag: Mapping[Partition, int]) -> None:
        """A poll returned ``records``; ``lag`` holds the partitions whose lag is known."""
        with self._lock:
            self._gauges["last_poll_timestamp_seconds"] = self._clock()
            self._lag_records = dict(lag)
        self._operator_log.polled(records, lag)

    def on_commit(self, seconds: float, records: int) -> None:
        """A batch of ``records`` was committed in ``seconds``; they include the time reported to ``encoding``."""
        with self._lock:
            self._histograms["stage_seconds", "encode"].observe(self._encoding)
            self._histograms["stage_seconds", "commit"].observe(max(0.0, seconds - self._encoding))
            self._encoding = 0.0
            self._histograms["batch_records",].observe(records)
            self._add("commits")
            self._add("records_consumed", amount=records)
            self._recent_totals.append((self._timer(), records))
        self._operator_log.committed(records)

    def on_abort(self) -> None:
        """A batch was rolled back."""
        with self._lock:
            self._encoding = 0.0
            self._add("aborts")

    def on_rebalance(self, held: Collection[Partition]) -> None:
        """Partitions were assigned, revoked or lost; those that are not ``held`` any more are forgotten."""
        with self._lock:
            self._add("rebalances")
            for known in (self._record_timestamps, self._watermarks, self._saved):
                for gone in known.keys() - set(held):
                    del known[gone]
        self._operator_log.forget(held)

    # Reported by the service.

    def stage(self, name: str, seconds: float) -> None:
        """A batch spent ``seconds`` in the stage ``name``, one of ``STAGES``; raises KeyError for another name."""
        with self._lock:
            self._histograms["stage_seconds", name].observe(seconds)

    def encoding(self, seconds: float) -> None:
        """Some answers of the present commit were encoded in ``seconds``, while others were being sent."""
        with self._lock:
            self._encoding += seconds

    def batch(
        self, consume_to_forecast_seconds: float, event_to_forecast_seconds_N: Floats, outcomes: Mapping[str, int]
    ) -> None:
        """A batch was acknowledged: its age since the poll, the ages of N answered events, its records by outcome.

        The N events are those that were answered and did not wait in the backlog of a take-over.  ``outcomes`` counts
        "answered" (with the backlog), "absorbed", "late" and "duplicate" (another raises KeyError); report dead letters
        to ``dead_letter``.
        """
        with self._lock:
            live = len(event_to_forecast_seconds_N)
            if live:
                self._histograms["consume_to_forecast_seconds",].observe(consume_to_forecast_seconds, live)
                self._histograms["event_to_forecast_seconds",].observe_all(np.maximum(event_to_forecast_seconds_N, 0.0))
                self._recent_seconds.append(consume_to_forecast_seconds)
                self._operator_log.latency(consume_to_forecast_seconds, live)
            self._add("backlog_answered", amount=outcomes.get("answered", 0) - live)
            for outcome, records in outcomes.items():
                self._add(*_OUTCOMES[outcome], amount=records)
        self._operator_log.dropped(outcomes.get("late", 0), outcomes.get("duplicate", 0))

    def unknown_categories(self, counts: Mapping[str, int]) -> None:
        """So many committed records have a category that the model does not know, by column of its spec."""
        self._by_column("unknown_categories", counts)
        self._operator_log.unknown_categories(counts)

    def foreign_keys(self, keys: Sequence[str]) -> None:
        """These are the series of committed records that are named by their Kafka key, which is no text."""
        self._operator_log.foreign_keys(keys)

    def missing_inputs(self, counts: Mapping[str, int]) -> None:
        """So many committed records have no value of an input, by column of the champion's spec."""
        self._by_column("missing_inputs", counts)
        self._operator_log.missing_inputs(counts)

    def missing_ahead(self, counts: Mapping[str, int]) -> None:
        """So many committed records do not say what an input is in the next bar, by column that a lane knows ahead."""
        self._by_column("missing_ahead", counts)
        self._operator_log.missing_ahead(counts)

    def _by_column(self, name: str, counts: Mapping[str, int]) -> None:
        with self._lock:
            for column, count in counts.items():
                if count:
                    self._add(name, column, amount=count)

    def beyond_bounds(self, below: int, above: int) -> None:
        """So many committed records have a target below the champion's lower bound, and so many above its upper one."""
        with self._lock:
            for name, count in (("below_lower", below), ("above_upper", above)):
                if count:
                    self._add(name, amount=count)
        self._operator_log.beyond_bounds(below, above)

    def below_zero(self, count: int) -> None:
        """``count`` committed records have a target below 0, which does not suit the scale of the champion."""
        self._operator_log.below_zero(count)

    def forecasts(self, lane: str, count: int) -> None:
        """``count`` forecasts of ``lane`` were committed; raises KeyError for an unknown lane."""
        with self._lock:
            self._add("forecasts_produced", lane, *self._lanes[lane], amount=count)

    def dead_letter(self, reason: str, count: int = 1) -> None:
        """``count`` records were dead-lettered; reasons beyond the first 32 distinct ones count as "other"."""
        with self._lock:
            known = ("dead_letters", reason) in self._counts
            full = sum(key[0] == "dead_letters" for key in self._counts) >= _MOST_REASONS
            self._add("dead_letters", reason if known or not full else "other", amount=count)
        self._operator_log.dead_letters(count, reason)

    def replayed(self, count: int) -> None:
        """``count`` of the dead-lettered records were sent by `dlq replay`."""
        self._operator_log.replayed(count)

    def scores(
        self,
        lane: str,
        horizon_N: int | NDArray[np.int64],
        absolute_error_N: Floats,
        naive_error_N: Floats,
        pinball_N: Floats,
        covered_N: Floats | NDArray[np.bool_],
    ) -> None:
        """N outcomes of ``lane`` arrived, at one horizon or at one each (in steps); see ``streamcast.quality``.

        ``naive_error_N`` is seasonal naive's absolute error, NaN where it has no forecast yet; ``covered_N`` is NaN
        where one quantile makes no interval.  The caller bounds the horizons (those that the model's spec lists).
        Raises KeyError for an unknown lane.
        """
        self._lanes[lane]
        outcomes_N4 = np.column_stack((absolute_error_N, naive_error_N, pinball_N, covered_N)).astype(np.float64)
        horizons_N = np.broadcast_to(horizon_N, len(outcomes_N4))
        order_N = np.argsort(horizons_N, kind="stable")
        horizons, firsts = np.unique(horizons_N[order_N], return_index=True)
        ordered_N4, ends = outcomes_N4[order_N], [*firsts[1:], len(order_N)]
        with self._lock:
            self._quality[lane].add(horizons_N, outcomes_N4)
            for horizon, first, end in zip(horizons.tolist(), firsts, ends[: len(horizons)], strict=True):
                track = self._outcomes.setdefault((lane, horizon), Outcomes(self._window))
                track.extend(ordered_N4[first:end])

    def trained_outcomes(self, lane: str, count: int) -> None:
        """``count`` of the outcomes given to ``scores`` are of forecasts that are not ``streamcast.quality.unseen``."""
        with self._lock:
            self._trained_outcomes[lane] += count

    def progress(self, partition: Partition, record_timestamp_seconds: float, watermark_seconds: float) -> None:
        """The newest consumed record of ``partition``: its Kafka timestamp, and the newest event time (epoch s)."""
        with self._lock:
            self._record_timestamps[partition] = record_timestamp_seconds
            self._watermarks[partition] = max(watermark_seconds, self._watermarks.get(partition, watermark_seconds))

    def state(self, series: int, state_bytes: int, state_norm: float) -> None:
        """How many series have state, the bytes of that state, and the mean norm of the hidden states."""
        with self._lock:
            self._gauges |= {"series": series, "state_bytes": state_bytes, "state_norm": state_norm}

    def snapshot(self, partition: Partition) -> None:
        """The state of ``partition`` was saved, restored, taken over or found unchanged just now."""
        with self._lock:
            self._saved[partition] = self._clock()

    def store_failed(self, action: str) -> None:
        """The store of snapshots could not do this: "list", "read" or "write"."""
        with self._lock:
            self._add("store_failures", action)

    def recovering(self, records_left: int) -> None:
        """A recovery still has ``records_left`` to replay."""
        with self._lock:
            self._gauges["recovery_records_left"] = records_left

    def catching_up(self, records_left: int) -> None:
        """Shadows that are behind still have ``records_left`` to replay."""
        with self._lock:
            self._gauges["catch_up_records_left"] = records_left

    def recovered(self, seconds: float) -> None:
        """A recovery ended after ``seconds``."""
        with self._lock:
            self._gauges["recovery_records_left"] = 0
            self._histograms["recovery_seconds",].observe(seconds)

    def took_over(self, seconds: float, positions: Positions, ends: Positions) -> None:
        """New partitions, which end at ``ends``, are answered from ``positions`` on, ``seconds`` after assignment."""
        with self._lock:
            self._histograms["rebalance_seconds",].observe(seconds)
        self._operator_log.took_over(positions, ends)

    def answered(self, partition: Partition, position: int, waited: int) -> None:
        """A commit moved ``partition`` to ``position``; ``waited`` of its records were there at the take-over."""
        self._operator_log.answered(partition, position, waited)

    def model_swap(self, lane: str) -> None:
        """This lane answers a partition with another model than before."""
        with self._lock:
            self._add("model_swaps", lane)

    def gaps_filled(self, bars: int) -> None:
        """``bars`` missing bars were stepped through."""
        with self._lock:
            self._add("gaps_filled", amount=bars)

    def restarted(self, series: int) -> None:
        """``series`` series were reset after a long gap."""
        with self._lock:
            self._add("series_restarts", amount=series)

    def evicted(self, series: int) -> None:
        """``series`` series were forgotten."""
        with self._lock:
            self._add("evictions", amount=series)
        self._operator_log.forgotten(series)

    def not_finite(self, lane: str, count: int) -> None:
        """``count`` forecasts of ``lane`` were not finite."""
        with self._lock:
            self._add("forecasts_not_finite", lane, amount=count)

    def drift(self, lane: str, events: int) -> None:
        """``events`` changes were detected in the errors of ``lane``."""
        with self._lock:
            self._add("drift_events", lane, amount=events)

    def anomalies(self, lane: str, observations: int) -> None:
        """``observations`` were scored as anomalous by ``lane``."""
        with self._lock:
            self._add("anomalies", lane, amount=observations)

    def _add(self, name: str, *labels: str, amount: float = 1) -> None:
        key = (name, *labels)
        self._counts[key] = self._counts.get(key, 0) + amount

    # Read by others.

    def exposition(self) -> bytes:
        """Return every metric in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric that has a value (``prometheus_client`` calls this on each scrape)."""
        with self._lock:
            metrics = [*self._collect_histograms(), *self._collect_counters(), *self._collect_gauges()]
        yield from metrics

    def summary(self) -> dict[str, float | None]:
        """Return the few numbers that a terminal or the live page shows; accuracy is the champion's, None until known.

        The rate is over the last 10 s, the latencies (milliseconds) over the last 4,096 batches, the accuracy over all
        outcomes since the process started; that of every lane has the lane's name before a dot.
        """
        with self._lock:
            now = self._timer()
            recent = sum(records for when, records in self._recent_totals if now - when <= _RATE_SECONDS)
            latency_ms = np.array(self._recent_seconds) * 1000.0
            found = {lane: tally.over_all() for lane, tally in self._quality.items()}
            champion = found[self._champion]
            numbers = {
                "records": self._counts["records_consumed",],
                "forecasts": sum(count for key, count in self._counts.items() if key[0] == "forecasts_produced"),
                "dead_letters": sum(count for key, count in self._counts.items() if key[0] == "dead_letters"),
                "late_records": sum(count for key, count in self._counts.items() if key[0] == "late_records"),
                "records_per_second": recent / _RATE_SECONDS,
                "lag_records": sum(self._lag_records.values()),
                "latency_commits": len(self._recent_seconds),
                "latency_p50_ms": np.quantile(latency_ms, 0.5) if latency_ms.size else np.nan,
                "latency_p99_ms": np.quantile(latency_ms, 0.99) if latency_ms.size else np.nan,
                "mae": champion.mae,
                "naive_mae": champion.naive_mae,
                "coverage": champion.coverage,
            }
            for lane, each in found.items():
                numbers |= {f"{lane}.relative_mae": each.relative, f"{lane}.coverage": each.coverage}
                numbers |= {f"{lane}.outcomes": each.outcomes, f"{lane}.trained_outcomes": self._trained_outcomes[lane]}
        return {name: float(number) if np.isfinite(number) else None for name, number in numbers.items()}

    def _collect_histograms(self) -> Iterator[Metric]:
        for name, (meaning, labels, _) in HISTOGRAMS.items():
            family = HistogramMetricFamily(f"streamcast_{name}", meaning, labels=labels)
            for key, histogram in self._histograms.items():
                if key[0] == name:
                    family.add_metric(key[1:], *histogram.buckets())
            yield family

    def _collect_counters(self) -> Iterator[Metric]:
        for name, (meaning, labels) in COUNTERS.items():
            family = CounterMetricFamily(f"streamcast_{name}", meaning, labels=labels)
            for key, count in self._counts.items():
                if key[0] == name:
                    family.add_metric(key[1:], count)
            yield family

    def _collect_gauges(self) -> Iterator[Metric]:
        families = {
            name: GaugeMetricFamily(f"streamcast_{name}", meaning, labels=labels)
            for name, (meaning, labels) in GAUGES.items()
        }
        for name, labels, value in chain(
            self._plain_gauges(), self._partition_gauges(), self._accuracy_gauges(), self._quality_gauges()
        ):
            if np.isfinite(value):
                families[name].add_metric(labels, value)
        yield from families.values()

    def _plain_gauges(self) -> Iterator[tuple[str, tuple[str, ...], float]]:
        for name, value in self._gauges.items():
            yield name, (), value
        if self._ready is not None:
            yield "ready", (), float(self._ready())
        yield "service_info", (self._group,), 1.0
        for lane, (model, version) in self._lanes.items():
            yield "model_info", (lane, model, version), 1.0

    def _partition_gauges(self) -> Iterator[tuple[str, tuple[str, ...], float]]:
        now = self._clock()
        for partition, records in self._lag_records.items():
            yield "lag_records", _place(partition), records
            age = max(now - self._record_timestamps.get(partition, now), 0.0)
            yield "lag_seconds", _place(partition), age if records else 0.0
        for partition, seconds in {**dict.fromkeys(self._lag_records, 0.0), **self._refused()}.items():
            yield "refused_seconds", _place(partition), seconds
        for partition, watermark in self._watermarks.items():
            yield "watermark_timestamp_seconds", _place(partition), watermark
        for partition, saved in self._saved.items():
            yield "snapshot_age_seconds", _place(partition), now - saved

    def _accuracy_gauges(self) -> Iterator[tuple[str, tuple[str, ...], float]]:
        for (lane, horizon), track in sorted(self._outcomes.items()):
            labels, rows = (lane, str(horizon)), track.rows()
            found = quality.Sums.of(rows).quality()
            yield "forecast_outcomes", labels, found.outcomes
            yield "forecast_mae", labels, found.mae
            yield "forecast_relative_mae", labels, found.relative
            yield "forecast_pinball", labels, found.pinball
            yield "forecast_coverage", labels, found.coverage
            yield "forecast_skill", labels, 1.0 - found.relative

    def _quality_gauges(self) -> Iterator[tuple[str, tuple[str, ...], float]]:
        for lane, tally in self._quality.items():
            steps = {str(step): found for step, found in tally.by_step().items()}
            for horizon, found in {quality.OVER_ALL: tally.over_all(), **steps}.items():
                labels = (lane, horizon)
                yield "quality_outcomes", labels, found.outcomes
                yield "quality_mae", labels, found.mae
                yield "quality_naive_mae", labels, found.naive_mae
                yield "quality_relative_mae", labels, found.relative
                yield "quality_coverage", labels, found.coverage
            yield "quality_trained_outcomes", (lane, quality.OVER_ALL), self._trained_outcomes[lane]
        for lane, measured in self._trained.items():
            yield "trained_relative_mae", (lane,), _known(measured.get("relative_mae"))
            yield "trained_coverage", (lane,), _known(measured.get("coverage"))


def _known(number: float | None) -> float:
    return np.nan if number is None else number


def _place(partition: Partition) -> tuple[str, str]:
    return partition.topic, str(partition.index)
