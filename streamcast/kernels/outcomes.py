"""The outcome codes of a record.

Never change a number: numba's cached kernels hold them, and numba does not notice a change in this file.
"""

from __future__ import annotations

ANSWERED, ABSORBED, LATE, DUPLICATE, NOT_FINITE = 0, 1, 2, 3, 4
"""Forecast; added to an open bar; bar already closed; seen before; the forecast was NaN or infinite (dead letter)."""

NAMES = ("answered", "absorbed", "late", "duplicate", "not finite")
"""The name of each outcome, by its code."""
