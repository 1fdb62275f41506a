"""Compile all kernels into the folder that NUMBA_CACHE_DIR names: `python compile_kernels.py`, when an image is built.

A container that copies this folder into its own starts without 45 s of compiling and without the compiler's 120 MB.
Compiled kernels are valid for one version of streamcast and one type of processor; other processors compile their own.
"""

from __future__ import annotations

import torch

from streamcast.service.lanes import rehearse
from streamcast.spec.folders import Model, new_network
from streamcast.spec.model_spec import Column, ModelSpec, Online, Scale, SeriesSpec, TargetBars

HOUR, DAY = 3_600_000, 86_400_000
NETWORKS = ("gru", "lstm-attention")
"""Together they use every kernel: the default model, and one that attends to past states and scales."""


def main() -> None:
    """Run every kernel once."""
    torch.set_num_threads(1)
    series = SeriesSpec(columns=(Column(name="y"),), freq=HOUR)
    for kind in NETWORKS:
        spec = ModelSpec(
            series=series, horizon=24, season=(24, 168), scales=(Scale(every=DAY),), targets=TargetBars(back=(7, 4)),
            online=Online(), network={"kind": kind},
        )  # fmt: skip
        rehearse(Model(spec, new_network(spec).eval()))


if __name__ == "__main__":
    main()
