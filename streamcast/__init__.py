"""streamcast: forecasts from streams, with state that survives.

Reading order: ``spec`` (what a model is), ``messages`` (bytes ⇄ columns), ``kernels`` and ``features`` (bars,
windows, what the model sees), ``layout`` and ``state`` (the slab), ``window`` and ``inference`` (a chunk through
kernel and network), ``engine`` (observations in, forecasts out), ``service`` (engines as a handler of records),
``journal`` and ``deadletters`` (what else is written), ``registry`` (model folders), ``bars``, ``training`` and
``backtest``, ``telemetry`` and the live page, ``settings``, ``commands``, ``options`` and ``cli``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamcast.app.forecaster import Forecaster

__all__ = ["Forecaster"]


def __getattr__(name: str) -> Any:
    """Import ``Forecaster``, and torch with it, on first use."""
    if name == "Forecaster":
        from streamcast.app.forecaster import Forecaster

        return Forecaster
    raise AttributeError(f"module 'streamcast' has no attribute {name!r}")
