"""Compile all kernels into numba's cache (NUMBA_CACHE_DIR): `python deploy/compile_kernels.py`.

The image is built with it: a container that copies this folder into its own starts without a minute of compiling and
without the compiler's 120 MB.  `make test` begins with it, so that no worker compiles what another one compiles.
Compiled kernels are valid for one version of streamcast and one type of processor; other processors compile their own.
"""

from __future__ import annotations

import multiprocessing

import numpy as np
import torch

from streamcast.consumers.transport import Partition
from streamcast.engine.engine import Engine
from streamcast.engine.online import Layer
from streamcast.offline.defaults.spec import default_spec
from streamcast.offline.history.read import History
from streamcast.offline.training.sequences import sequences
from streamcast.service.lanes import rehearse
from streamcast.spec.durations import HOUR_MS
from streamcast.spec.folders import Model, new_network
from streamcast.spec.local_time import UTC_TIME
from streamcast.spec.model_spec import ModelSpec, Online, TransformName
from streamcast.topics.forecasts import Encoder, Forecasts
from streamcast.topics.observations import Observations

WITH_A_DAY_OFF = UTC_TIME.model_copy(update={"days_off": (20_000,)})
BARS = 28 * 24
NETWORKS: dict[str, TransformName] = {"gru": "sqrt", "lstm-attention": "none"}
"""Together they use every kernel: the default model, on a scale of its own, and one that attends to past states."""


def history() -> History:
    """Return four weeks of hours, with an input."""
    hours = np.arange(BARS)
    values = np.sin(hours[:, None] * 2 * np.pi / np.array([24, 7]))
    return History(("",), np.zeros(BARS, np.int32), hours * HOUR_MS, values, ("y", "x"), HOUR_MS)


def model_spec(network: str) -> ModelSpec:
    """Return the spec that training makes, with a day off and a known input."""
    online = {"network_on_days_off": True}
    spec = default_spec(history(), 24, network, transform=NETWORKS[network], online=online, known=("x",))
    targets = spec.targets.model_copy(update={"local": WITH_A_DAY_OFF}) if spec.targets else None
    return spec.model_copy(update={"targets": targets})


def compile_layer_and_text() -> None:
    """Run the online layer and the encoder: half of the work, which needs nothing of the window's kernels."""
    spec, online = model_spec("gru"), Online()
    slab = Engine(spec, new_network(spec), max_series=1).slab
    one = np.zeros(1, np.int64)
    slab.locate(Observations([(Partition("", 0), 0, 1)], [""], one, one, one, np.zeros((1, 1))))
    forecast = np.zeros((1, spec.horizon, len(spec.quantiles)))
    off_step, off, moved = np.zeros(1, np.bool_), np.zeros((1, 1 + spec.horizon), np.bool_), np.empty((0, 0))
    Layer(spec, online, slab).apply(one, one, np.zeros(1), one, forecast, off_step, off, moved)
    answered = Forecasts(one, one, forecast, np.ones(1, np.bool_), np.zeros(1))
    Encoder(spec, "", "", "", "", "").encode([b'""'], answered, one, one)


def compile_all() -> None:
    """Run every kernel once: those of a service, and that of training."""
    torch.set_num_threads(1)
    for network in NETWORKS:
        spec = model_spec(network)
        rehearse(Model(spec, new_network(spec).eval()))
    sequences(history(), model_spec("gru")).target_bars(np.array([BARS - 1]))


def main() -> None:
    """Compile on two cores: a second process compiles what the first one needs last."""
    other = multiprocessing.get_context("spawn").Process(target=compile_layer_and_text)
    other.start()
    compile_all()
    other.join()


if __name__ == "__main__":
    main()
