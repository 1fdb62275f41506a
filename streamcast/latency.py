"""Quantiles of latencies from a histogram's buckets: one definition for the service's log and the live page."""

from __future__ import annotations

import math
from collections.abc import Mapping


def quantile_ms(share: float, buckets: Mapping[float, float]) -> float | None:
    """Return a quantile in milliseconds from cumulative counts by bucket edge (seconds), None if all counts are 0.

    Linear between the edges, as in Prometheus' ``histogram_quantile``.
    """
    total = buckets.get(math.inf, 0.0)
    below, low = 0.0, 0.0
    for edge, count in buckets.items():
        if total > 0 and count >= share * total:
            inside = (share * total - below) / (count - below) if count > below else 1.0
            return 1000.0 * (low if math.isinf(edge) else low + (edge - low) * inside)
        below, low = count, edge
    return None
