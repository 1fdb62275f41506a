"""From the spec of a network to the network."""

from __future__ import annotations

from streamcast.models.ensemble import together
from streamcast.models.network import Network, Shape
from streamcast.models.spec import Spec, as_spec, make, one_of
from streamcast.models.zoo import MODELS


def build(spec: Spec, shape: Shape) -> Network:
    """Return the network that a spec names, its weights drawn from torch's random generator.

    ``{"kind": ..., "members": 3}`` are three networks of the kind, whose mean forecasts.  Raises SpecError when the
    spec names something unknown, or a value that does not fit.
    """
    one, members = one_of(as_spec("model", spec, next(iter(MODELS))))
    return together([Network(make("model", MODELS, one), shape) for _ in range(members)])
