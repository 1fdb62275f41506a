"""streamcast: forecasts from Kafka streams, with state that survives restarts.

Rooms, in reading order; each imports only those before it:

- ``models``: forecasters in torch; ``consumers``: clients of Kafka and the commit loop; ``errors``; ``hosts``: names
  that a server answers to; ``latency``: quantiles from a histogram; ``printable``: text of strangers; ``stages``: what
  long work is doing
- ``kernels``: loops compiled by numba; ``spec``: what a model is, as data; ``wording``: words that all messages share;
  ``quality``: how good forecasts are; ``topics``: every byte format
- ``engine``: the pure function from state and records to state and forecasts
- ``offline``: reading files, training, evaluation; ``service``: the process; ``page``: the live page
- ``app``: command line, settings, and ``Forecaster`` for notebooks
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamcast.app.forecaster import Forecaster
    from streamcast.offline.training.options import Options

__all__ = ["Forecaster", "Options"]


def __getattr__(name: str) -> Any:
    """Import ``Forecaster`` and ``Options``, and torch with them, on first use."""
    if name == "Forecaster":
        from streamcast.app.forecaster import Forecaster

        return Forecaster
    if name == "Options":
        from streamcast.offline.training.options import Options

        return Options
    raise AttributeError(f"module 'streamcast' has no attribute {name!r}")
