"""Times as a terminal shows them."""

from __future__ import annotations

from datetime import UTC, datetime

from streamcast.spec.local_time import zone_named


def moment(time_ms: int, zone: str = "UTC") -> str:
    """Return an epoch time (ms) to the second, with its zone; raises SettingsError for an unknown zone.

    A time that no calendar has, before the year 1 or after 9999, is its number: "9223372036854775807 ms".
    """
    found = UTC if zone == "UTC" else zone_named(zone)
    try:
        return f"{datetime.fromtimestamp(time_ms // 1000, found):%Y-%m-%d %H:%M:%S} {zone}"
    except (ValueError, OverflowError, OSError):  # OSError: beyond what the C library reckons with
        return f"{time_ms} ms"


def span(first_ms: int, last_ms: int, zone: str = "UTC") -> str:
    """Return two epoch times (ms), such as "2026-01-01 00:00:00 to 2026-01-31 23:00:00 UTC"; raises SettingsError."""
    return f"{moment(first_ms, zone).removesuffix(f' {zone}')} to {moment(last_ms, zone)}"
