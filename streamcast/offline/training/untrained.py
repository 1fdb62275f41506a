"""Models without a network: there is nothing to train, but a history tells how good they are."""

from __future__ import annotations

from streamcast.engine.engine import layout
from streamcast.errors import HistoryError
from streamcast.offline.history.read import History
from streamcast.offline.training.quality import held_out_quality
from streamcast.spec.folders import Model, new_network
from streamcast.spec.model_spec import ModelSpec


def untrained(history: History, spec: ModelSpec, held_out: float) -> Model:
    """Return the model of a spec without a network, with its quality on the last part of a history.

    ``held_out`` is the share of rows in that part.  Raises SpecError when the state of a series takes too much memory.
    """
    network = new_network(spec)
    layout(spec, network)  # refuses a model whose state no service could hold
    model = Model(spec, network)
    first = int(history.ts_N[int((1 - held_out) * len(history))])
    try:
        quality = held_out_quality(model, history, first)
    except HistoryError:  # too short to score
        quality = None
    facts = {
        "stopped": "nothing to train", "series": len(history.keys), "rows": len(history),
        "first": int(history.ts_N[0]), "last": int(history.ts_N[-1]), "quality": quality,
    }  # fmt: skip
    return Model(spec, network, facts=facts)
