"""How many series a partition has room for."""

from __future__ import annotations

from collections.abc import Mapping

from streamcast.app.settings import Settings
from streamcast.engine.engine import layout
from streamcast.spec.folders import Model

MAX_SERIES = 100_000


def room(settings: Settings, models: Mapping[str, Model]) -> int:
    """Return ``state.max_series``; unset, the series that ``state.max_bytes`` holds in every lane, at most 100,000."""
    state = settings.state
    largest = max(layout(model.spec, model.network).row_bytes for model in models.values())
    return state.max_series or max(1, min(MAX_SERIES, state.max_bytes // largest))
