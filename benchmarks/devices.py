"""Training on a GPU beside a processor core: ``python -m benchmarks.devices [--networks NAME ...] [--json FILE]``.

Every network of the zoo takes the same updates on both, from the same weights and the same history.  The model that
the GPU trained is saved, loaded and served by the engine, which runs on the processor.  ``ratio`` is the GPU's time
divided by the core's: below 1 the GPU is faster.  Without a GPU only the processor is measured.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from rich.table import Table

from benchmarks.printing import show
from harness.histories import history_of
from streamcast.app.json_text import json_text
from streamcast.engine.engine import Engine
from streamcast.models.zoo import MODELS
from streamcast.offline.defaults.spec import default_spec
from streamcast.offline.history.polls import polls
from streamcast.offline.history.read import History
from streamcast.offline.training.fit import fit
from streamcast.offline.training.options import Options
from streamcast.spec.folders import Model, load_model, save_model

BARS, SERIES, HORIZON = 1_000, 8, 24
Device = Literal["cpu", "cuda"]
LARGER: tuple[dict[str, Any], ...] = tuple({"kind": "gru", "hidden": hidden} for hidden in (128, 512, 1024))
"""Networks that are larger than the zoo's: where a GPU should gain."""
SERVED = 200
"""Records that the engine answers with each model that a GPU trained."""
COLUMNS = ("network", "weights", "core ms", "GPU ms", "ratio", "core loss", "GPU loss", "answers")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a row for each network; return 1 if a model of the GPU does not answer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", metavar="NAME", help="default: the whole zoo, and larger GRUs")
    parser.add_argument("--updates", type=int, default=40, help="of each network on each device")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    history = history_of(BARS, SERIES)
    named = [{"kind": name} for name in MODELS if name not in ("network", "gru-classifier")]
    networks = [{"kind": name} for name in given.networks] if given.networks else [*named, *LARGER]
    print(torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU: the processor alone", flush=True)
    rows: list[dict[str, Any]] = []
    for network in networks:
        rows.append(measured(history, network, given.updates))
        print(" ".join(f"{name}={rows[-1][name]}" for name in COLUMNS), flush=True)
        if given.json:
            given.json.write_text(json_text(rows, indent=1) + "\n")
    table = Table(*COLUMNS)
    for row in rows:
        table.add_row(*("-" if row[name] is None else str(row[name]) for name in COLUMNS))
    show(table)
    return 1 if any(row["answers"] == 0 for row in rows) else 0


def measured(history: History, network: dict[str, Any], updates: int) -> dict[str, Any]:
    """Train one network on the processor and, where there is one, on the GPU; return its row."""
    core, core_ms = trained(history, network, updates, "cpu")
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {
        "network": " ".join(str(part) for part in network.values()),
        "weights": sum(weight.numel() for weight in core.network.parameters()),
        "core ms": core_ms, "core loss": round(core.facts["validation_loss"], 4),
    }  # fmt: skip
    if torch.cuda.is_available():
        model, gpu_ms = trained(history, network, updates, "cuda")
        row |= {
            "GPU ms": gpu_ms, "ratio": round(gpu_ms / core_ms, 2),
            "GPU loss": round(model.facts["validation_loss"], 4), "answers": answers(model, history),
        }  # fmt: skip
    return row


def trained(history: History, network: dict[str, Any], updates: int, device: Device) -> tuple[Model, float]:
    """Return a model after so many updates, and the median milliseconds from one update to the next."""
    spec = default_spec(history, HORIZON, network)
    done_at: list[float] = []
    options = Options(epochs=1, updates=updates, refit=0.0, device=device)
    model = fit(history, spec, options, lambda _progress: done_at.append(time.perf_counter()))
    return model, round(1e3 * float(np.median(np.diff(done_at))), 2)


def answers(model: Model, history: History) -> int:
    """Return how many finite forecasts the engine makes of the newest records with a model from a folder."""
    with tempfile.TemporaryDirectory() as scratch:
        save_model(Path(scratch), "trained", model.spec, model.network, model.facts)
        served = load_model(Path(scratch), "trained")
    engine = Engine(served.spec, served.network)
    found = 0
    for poll in polls(history, served.spec, SERVED):
        found += int(np.isfinite(engine.stage(poll).forecasts.values).all(axis=(1, 2)).sum())
        engine.promote()
        if found >= SERVED:
            break
    return found


if __name__ == "__main__":
    raise SystemExit(main())
