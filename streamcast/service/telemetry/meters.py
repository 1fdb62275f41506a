"""The metrics: the name and meaning of each, and the two types that hold more than one number.

Shape letters: N values observed together, W outcomes kept per lane and horizon, B bucket edges.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streamcast.topics.dead_letters import REASONS

Floats = NDArray[np.float64]

SECONDS_EDGES: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Bucket edges of every duration; the objective of docs/runbooks.md (0.25 s) is one of them."""

RECORDS_EDGES: Final = (1.0, 10.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0)

HISTOGRAMS: Final[Mapping[str, tuple[str, tuple[str, ...], tuple[float, ...]]]] = {
    "event_to_forecast_seconds": (
        "From a record's event time to its acknowledged forecast, without backlog_answered.",
        (),
        SECONDS_EDGES,
    ),
    "consume_to_forecast_seconds": (
        "From a record's poll to its acknowledged forecast, without backlog_answered.",
        (),
        SECONDS_EDGES,
    ),
    "stage_seconds": ("Time of one batch in one stage of its way.", ("stage",), SECONDS_EDGES),
    "batch_records": ("Records of one committed batch.", (), RECORDS_EDGES),
    "recovery_seconds": ("From the start of a recovery to its last replayed record.", (), SECONDS_EDGES),
    "rebalance_seconds": ("From the assignment of partitions to their first poll.", (), SECONDS_EDGES),
}

COUNTERS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "records_consumed": ("Records whose outcome is committed.", ()),
    "records_answered": ("Records answered with one forecast per lane.", ()),
    "backlog_answered": (
        "Those of records_answered that were in their partition before this process took it over.",
        (),
    ),
    "records_absorbed": ("Records absorbed into an open bar, or of a series without a value yet.", ()),
    "late_records": ("Records that came after their bar had closed.", ("action",)),
    "duplicates": ("Records dropped because their bar was already filled.", ()),
    "unknown_categories": ("Records whose column has a category that the model was not trained with.", ("column",)),
    "missing_inputs": ("Records without a value of an input of the model.", ("column",)),
    "missing_ahead": (
        "Records that do not say what an input, which the model knows ahead, is in the next bar.",
        ("column",),
    ),
    "above_upper": ("Records whose target lies above the model's upper bound, above which it forecasts nothing.", ()),
    "below_lower": ("Records whose target lies below the model's lower bound, below which it forecasts nothing.", ()),
    "dead_letters": ("Records sent to the dead-letter topic.", ("reason",)),
    "forecasts_produced": ("Forecasts committed.", ("lane", "model", "model_version")),
    "forecasts_not_finite": ("Forecasts that were not finite, and so not published.", ("lane",)),
    "gaps_filled": ("Missing bars stepped through.", ()),
    "series_restarts": ("Series reset after a gap longer than max_gap bars, or a silence longer than ttl.", ()),
    "evictions": ("Series forgotten to stay within max_series.", ()),
    "drift_events": ("Changes detected in a series' errors.", ("lane",)),
    "anomalies": ("Anomalies reported: answers with an anomaly of 0.997 or more.", ("lane",)),
    "commits": ("Batches committed.", ()),
    "aborts": ("Batches rolled back.", ()),
    "rebalances": ("Times that partitions came or went.", ()),
    "store_failures": ("Times that the store of snapshots failed to list, read or write.", ("action",)),
    "model_swaps": ("Partitions that a lane answers with another model than before.", ("lane",)),
}

KNOWN_LABELS: Final[Mapping[str, Sequence[str]]] = {
    "late_records": ("dropped",),
    "dead_letters": REASONS,
    "store_failures": ("list", "read", "write"),
}
"""All values of a counter's label, of the counters where they are known."""

GAUGES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "lag_records": ("Records between the position and the end of the partition.", ("topic", "partition")),
    "lag_seconds": ("Age of the newest consumed record while others wait, else 0.", ("topic", "partition")),
    "refused_seconds": (
        "For how long the partition has not been answered because an output topic refuses an answer, else 0.",
        ("topic", "partition"),
    ),
    "watermark_timestamp_seconds": ("Newest event time consumed.", ("topic", "partition")),
    "snapshot_age_seconds": (
        "Time since the partition's state was last saved, restored, taken over or found unchanged.",
        ("topic", "partition"),
    ),
    "series": ("Series that have state.", ()),
    "state_bytes": ("Memory of the state of all series.", ()),
    "state_norm": ("Mean Euclidean norm of the hidden states.", ()),
    "recovery_records_left": ("Records still to be replayed before serving goes on.", ()),
    "catch_up_records_left": ("Records that shadows still replay while the other lanes answer.", ()),
    "last_poll_timestamp_seconds": ("When the loop last polled.", ()),
    "ready": ("1 while /readyz says ok, 0 while it says why records are not answered.", ()),
    "service_info": ("1, with the group that this process works for.", ("group",)),
    "model_info": ("1 for the model that each lane runs.", ("lane", "model", "model_version")),
    "forecast_coverage_target": ("The share of outcomes that the interval promises to hold.", ()),
    "forecast_outcomes": (
        "Outcomes behind the other forecast_ figures of this step: at most the newest 4,096.",
        ("lane", "horizon"),
    ),
    "forecast_mae": ("Mean absolute error of the newest 4,096 outcomes of this step.", ("lane", "horizon")),
    "forecast_relative_mae": ("That error over seasonal naive's on the same outcomes.", ("lane", "horizon")),
    "forecast_pinball": ("Mean pinball loss of the newest 4,096 outcomes of this step.", ("lane", "horizon")),
    "forecast_coverage": ("Share of the newest 4,096 outcomes inside the interval.", ("lane", "horizon")),
    "forecast_skill": ("1 less forecast_relative_mae: above 0 is better than seasonal naive.", ("lane", "horizon")),
    "quality_outcomes": (
        "Outcomes since the process started, of the steps that the model's spec names in scored; all is all of these.",
        ("lane", "horizon"),
    ),
    "quality_mae": ("Mean absolute error since the process started.", ("lane", "horizon")),
    "quality_naive_mae": ("Seasonal naive's mean absolute error since the process started.", ("lane", "horizon")),
    "quality_relative_mae": (
        "The model's mean absolute error over seasonal naive's, both of outcomes that naive has a forecast of.",
        ("lane", "horizon"),
    ),
    "quality_coverage": ("Share of outcomes inside the interval since the process started.", ("lane", "horizon")),
    "quality_trained_outcomes": (
        "Those of quality_outcomes of forecasts that reach into the data the model was trained on; the horizon is all.",
        ("lane", "horizon"),
    ),
    "trained_relative_mae": ("The relative MAE that training measured, all scored steps.", ("lane",)),
    "trained_coverage": ("The coverage that training measured, all scored steps.", ("lane",)),
}

STAGES: Final = ("decode", "window", "features", "inference", "calibrate", "encode", "commit")


class Histogram:
    """Counts of values by bucket, and their sum."""

    def __init__(self, edges: tuple[float, ...]) -> None:
        self._edges = edges
        self._edges_B = np.array(edges)
        self._counts = np.zeros(len(edges) + 1, dtype=np.int64)
        self._sum = 0.0

    def observe(self, value: float, weight: int = 1) -> None:
        """Count ``value`` as often as ``weight`` says."""
        self._counts[bisect_left(self._edges, value)] += weight
        self._sum += value * weight

    def observe_all(self, values_N: Floats) -> None:
        """Count N values, each once."""
        self._counts += np.bincount(np.searchsorted(self._edges_B, values_N), minlength=len(self._counts))
        self._sum += float(values_N.sum())

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """Return the cumulative count at each edge (by its name, the last "+Inf"), and the sum."""
        names = [*map(str, self._edges), "+Inf"]
        return list(zip(names, np.cumsum(self._counts).tolist(), strict=True)), self._sum


class Outcomes:
    """The last W outcomes of one lane at one horizon; columns are those of ``streamcast.quality``."""

    def __init__(self, window: int) -> None:
        self._rows = np.empty((window, 4))
        self._seen = 0

    def extend(self, outcomes_N4: Floats) -> None:
        """Keep N more outcomes, and forget as many old ones as pass the window."""
        window = len(self._rows)
        kept = outcomes_N4[-window:]
        first = self._seen + len(outcomes_N4) - len(kept)
        self._rows[np.arange(first, first + len(kept)) % window] = kept
        self._seen += len(outcomes_N4)

    def rows(self) -> Floats:
        """Return what is kept, in no particular order."""
        return self._rows[: self._seen]
