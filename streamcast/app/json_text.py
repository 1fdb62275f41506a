"""JSON that every reader accepts: null for numbers that are not known, which Python writes as NaN."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def json_text(value: object, indent: int | None = None) -> str:
    """Return JSON; null for NaN and the infinities, which JSON does not have."""
    return json.dumps(_known(value), indent=indent, allow_nan=False)


def print_json(console: Console, value: object) -> None:
    """Print JSON in ASCII: texts in it may be a stranger's, and a terminal obeys some characters beyond it."""
    console.print_json(json_text(value), ensure_ascii=True)


def _known(value: object) -> Any:
    if isinstance(value, Mapping):
        return {name: _known(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_known(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
