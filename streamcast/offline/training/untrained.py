"""Models without a network: there is nothing to train, but a history tells how good they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from streamcast.engine.engine import layout
from streamcast.errors import Option
from streamcast.models.spec import SpecError
from streamcast.offline.history.read import History
from streamcast.offline.training.quality import quality_from
from streamcast.spec.folders import Model, new_network
from streamcast.spec.model_spec import ModelSpec

MEASURED_BY = (Option.VALIDATION,)
"""Options of training that a model without a network uses, too: the share that it is measured on."""


def refuse_for_no_network(given: Sequence[Option]) -> None:
    """Raise SpecError if options of training are given for a model that has no network to train."""
    if useless := [option for option in given if option not in MEASURED_BY]:
        named = [part for option in useless for part in (" and ", option)][1:]
        them = "them" if useless[1:] else "it"
        raise SpecError(*named, f": a network is trained so, and zero has none: leave {them} out")


def untrained(history: History, spec: ModelSpec, held_out: float) -> Model:
    """Return the model of a spec without a network, with its quality on the last part of a history.

    ``held_out`` is the share in that part of the rows up to the last target.  Raises SpecError when the state of a
    series takes too much memory.
    """
    network = new_network(spec)
    layout(spec, network)  # refuses a model whose state no service could hold
    model = Model(spec, network)
    observed = history.observed()
    first = int(observed.ts_N[int((1 - held_out) * len(observed))])
    facts = {
        "stopped": "nothing to train", "series": len(history.keys), "rows": len(history),
        "first": int(history.ts_N[0]), "last": history.last_observed_ms,
        "quality": quality_from(model, history, first),
    }  # fmt: skip
    return replace(model, facts=facts)
