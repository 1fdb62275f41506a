"""The service's own numbers for the live page, read from its /metrics in Prometheus' text format."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from http.client import HTTPException
from typing import Final
from urllib.error import HTTPError
from urllib.parse import urljoin

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from streamcast.hosts import direct
from streamcast.latency import quantile_ms
from streamcast.page.board import Board, Numbers, ServedLane
from streamcast.quality import OVER_ALL
from streamcast.wording import shown_url

_LATENCY: Final = "streamcast_consume_to_forecast_seconds_bucket"
_LAG: Final = "streamcast_lag_records"
_LATE: Final = "streamcast_late_records_total"
_READY: Final = "streamcast_ready"
_MODEL: Final = "streamcast_model_info"
_PUBLISHED: Final = "streamcast_forecasts_produced_total"
_OUTCOMES: Final = "streamcast_quality_outcomes"
_NOT_FINITE: Final = "streamcast_forecasts_not_finite_total"
_SERVICE: Final = "streamcast_service_info"
_TIMEOUT_SECONDS: Final = 2.0
_PAUSE_SECONDS: Final = 2.0
_LARGEST: Final = 4_000_000
_WINDOW_SECONDS: Final = 60.0

log = logging.getLogger(__name__)


class Scraper:
    """Reads the /metrics of a service; those of another group than ``group`` are left out, with a warning.

    Latencies are by record, over the last minute in which the service answered records: ``latency_ago_seconds`` says
    how long ago that was.  It is None while all of them were answered before the page's first look, and the latencies
    are those since the service started.  After looks that failed for longer than a minute, ``latency_seconds`` is the
    time since the last one that did not.
    """

    def __init__(self, url: str, group: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self._url, self._group, self._clock = url, group, clock
        self._foreign: set[str] = set()
        self._looks: deque[tuple[float, Mapping[float, float]]] = deque(maxlen=round(_WINDOW_SECONDS / _PAUSE_SECONDS))
        self._spanned = _WINDOW_SECONDS
        self._latency: Numbers = {"latency_p50_ms": None, "latency_p99_ms": None}
        self._answered: float | None = None
        self._ready = True
        self._lanes: Mapping[str, ServedLane] = {}

    def __call__(self) -> Numbers | None:
        """The median and 99th percentile of the latency (ms), lag and late records, the accuracy of each lane.

        None without a readable answer of this service.
        """
        self._ready, self._lanes = True, {}
        try:
            samples = _samples(self._url)
            buckets = {float(sample.labels["le"]): sample.value for sample in samples if sample.name == _LATENCY}
        except (OSError, ValueError, LookupError, HTTPException):
            return None
        if self._is_foreign(samples):
            return None
        self._take(buckets)
        self._lanes = _lanes(samples)
        self._ready = all(sample.value for sample in samples if sample.name == _READY)
        return {
            **self._latency,
            **_accuracy(samples),
            "latency_seconds": self._spanned,
            "latency_ago_seconds": None if self._answered is None else self._clock() - self._answered,
            "lag_records": sum(sample.value for sample in samples if sample.name == _LAG),
            "late_records": sum(sample.value for sample in samples if sample.name == _LATE),
        }

    def lanes(self) -> Mapping[str, ServedLane]:
        """Return the lanes that the service ran at the last look; empty when it did not answer."""
        return self._lanes

    def problems(self) -> list[str]:
        """Return why the service was not ready at the last look, a line of its /readyz each; empty when it was."""
        if self._ready:
            return []
        try:
            direct().open(urljoin(self._url, "readyz"), timeout=_TIMEOUT_SECONDS).close()
        except HTTPError as answer:
            with answer:
                return answer.read(_LARGEST).decode(errors="replace").splitlines()
        except (OSError, HTTPException):
            return ["its /readyz does not say why"]
        return []

    def _take(self, buckets: Mapping[float, float]) -> None:
        """Note the latencies by ``buckets``, the counts since the service started, and whether new records came."""
        now = self._clock()
        before = self._looks[-1][1] if self._looks else None
        if before and any(buckets.get(edge, 0.0) < count for edge, count in before.items()):
            before = {}  # the service has restarted
            self._looks.clear()
            self._looks.append((now, before))
        if before is not None and buckets.get(math.inf, 0.0) > before.get(math.inf, 0.0):
            self._answered = now
        since, earlier = self._looks[0] if self._looks else (now, {})
        self._looks.append((now, buckets))
        lately = {edge: count - earlier.get(edge, 0.0) for edge, count in sorted(buckets.items())}
        if lately.get(math.inf):
            self._latency = {"latency_p50_ms": quantile_ms(0.5, lately), "latency_p99_ms": quantile_ms(0.99, lately)}
            self._spanned = max(_WINDOW_SECONDS, now - since)

    def _is_foreign(self, samples: Iterable[Sample]) -> bool:
        """Whether the answer is that of another group's service; warn of each once."""
        foreign = _groups(samples) - {self._group} if self._group else set()
        for group in sorted(foreign - self._foreign):
            log.warning(
                "%s answers for the service of group %s, not %s: the page leaves its numbers out; set"
                " dashboard.telemetry_url, or leave it unset and set telemetry.port",
                shown_url(self._url), group, self._group,
            )  # fmt: skip
        self._foreign |= foreign
        return bool(foreign)


def group_at(url: str) -> str:
    """Return the group of the service whose /metrics are at ``url``; empty without an answer that names one."""
    try:
        groups = _groups(_samples(url))
    except (OSError, ValueError, LookupError, HTTPException):
        return ""
    return min(groups, default="")


def _samples(url: str) -> list[Sample]:
    """Return what /metrics has; raises OSError, ValueError, LookupError or HTTPException without a readable answer."""
    with direct().open(url, timeout=_TIMEOUT_SECONDS) as answer:
        text = answer.read(_LARGEST).decode()
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def _groups(samples: Iterable[Sample]) -> set[str]:
    return {sample.labels.get("group", "") for sample in samples if sample.name == _SERVICE}


def _lanes(samples: Sequence[Sample]) -> Mapping[str, ServedLane]:
    """Return the lanes with their models; a shadow is one that published nothing while the service forecast.

    A lane whose forecasts are not finite publishes nothing either: nobody knows whether that is a shadow.
    """
    seen = {
        name: {sample.labels.get("lane") for sample in samples if sample.name == name and sample.value}
        for name in (_PUBLISHED, _OUTCOMES, _NOT_FINITE)
    }
    forecast = bool(seen[_PUBLISHED] or seen[_OUTCOMES])
    return {
        lane: ServedLane(
            f"{sample.labels.get('model', '')}@{sample.labels.get('model_version', '')}",
            shadow=forecast and lane not in seen[_PUBLISHED] | seen[_NOT_FINITE],
        )
        for sample in samples
        if sample.name == _MODEL and (lane := sample.labels.get("lane"))
    }


def _accuracy(samples: Iterable[Sample]) -> Numbers:
    """Return the accuracy of each lane over all scored steps, named as ``Telemetry.summary`` names it."""
    names = {
        f"streamcast_quality_{name}": name for name in ("relative_mae", "coverage", "outcomes", "trained_outcomes")
    }
    return {
        f"{sample.labels['lane']}.{names[sample.name]}": sample.value
        for sample in samples
        if sample.name in names and sample.labels.get("horizon") == OVER_ALL and "lane" in sample.labels
    }


def watch(
    numbers: Callable[[], Numbers | None],
    problems: Callable[[], Sequence[str]],
    lanes: Callable[[], Mapping[str, ServedLane]],
    board: Board,
    stop: threading.Event,
) -> None:
    """Give the service's numbers, problems and lanes to the board every two seconds until ``stop`` is set."""
    while not stop.is_set():
        board.report_service(numbers(), problems(), lanes())
        stop.wait(_PAUSE_SECONDS)
