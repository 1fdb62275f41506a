"""The service's own numbers for the live page, read from its /metrics as anybody could."""

from __future__ import annotations

import math
import re
import threading
import urllib.request
from collections import deque
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Final

from streamcast.page.board import Board, Numbers

_LATENCY: Final = "streamcast_consume_to_forecast_seconds_bucket"
_LINE: Final = re.compile(r'^(streamcast_\w+)(?:\{(?:.*\ble="([^"]+)")?.*\})? (\S+)$', re.MULTILINE)
_TIMEOUT_SECONDS: Final = 2.0
_PAUSE_SECONDS: Final = 2.0
_LARGEST: Final = 4_000_000
_SCRAPES_KEPT: Final = 30


class Scraper:
    """Reads one service's /metrics; latencies are those of the last minute."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._scrapes: deque[Mapping[float, float]] = deque(maxlen=_SCRAPES_KEPT)

    def __call__(self) -> Numbers | None:
        """The latency's median and 99th percentile (ms) and the lag (records), None when nobody answers."""
        try:
            with urllib.request.urlopen(self._url, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - from the settings
                text = answer.read(_LARGEST).decode()
            samples = [(name, edge, float(value)) for name, edge, value in _LINE.findall(text)]
        except (OSError, ValueError, HTTPException):
            return None
        buckets = {float(edge): value for name, edge, value in samples if name == _LATENCY}
        earlier = self._scrapes[0] if self._scrapes else {}
        self._scrapes.append(buckets)
        lately = {edge: count - earlier.get(edge, 0.0) for edge, count in sorted(buckets.items())}
        if any(count < 0 for count in lately.values()):  # the service was restarted
            self._scrapes.clear()
            lately = dict(sorted(buckets.items()))
        return {
            "latency_p50_ms": quantile(0.5, lately),
            "latency_p99_ms": quantile(0.99, lately),
            "lag_records": sum(value for name, _, value in samples if name == "streamcast_lag_records"),
        }


def quantile(share: float, buckets: Mapping[float, float]) -> float | None:
    """Return a quantile in milliseconds from cumulative counts by bucket edge (seconds), None without any.

    Linear between the edges, as Prometheus' ``histogram_quantile``.
    """
    total = buckets.get(math.inf, 0.0)
    below, low = 0.0, 0.0
    for edge, count in buckets.items():
        if total > 0 and count >= share * total:
            inside = (share * total - below) / (count - below) if count > below else 1.0
            return 1000.0 * (low if math.isinf(edge) else low + (edge - low) * inside)
        below, low = count, edge
    return None


def watch(numbers: Callable[[], Numbers | None], board: Board, stop: threading.Event) -> None:
    """Tell the board the service's numbers every two seconds until ``stop`` is set."""
    while not stop.is_set():
        board.report_service(numbers())
        stop.wait(_PAUSE_SECONDS)
