"""The image and the tests' workers have every kernel that a new model needs: none compiles one when it starts."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

from harness import ROOT

KERNELS_OF_NEW_MODELS = dedent("""
    import sys

    import numpy as np
    import pandas as pd
    from numba.core.dispatcher import Dispatcher

    from deploy.compile_kernels import compile_all
    from streamcast.offline.defaults.spec import default_spec
    from streamcast.offline.history.read import read
    from streamcast.offline.training.sequences import sequences
    from streamcast.service.lanes import rehearse
    from streamcast.spec.folders import Model, new_network


    def loaded():
        rooms = [module for name, module in sys.modules.items() if name.startswith("streamcast.kernels.")]
        kernels = [kernel for room in rooms for kernel in vars(room).values() if isinstance(kernel, Dispatcher)]
        return {f"{kernel.__name__} {signature}" for kernel in kernels for signature in kernel.signatures}


    compile_all()
    compiled = loaded()
    print(len(compiled), "kernels")

    t = np.arange(600)
    frame = pd.DataFrame({"y": 2 + np.sin(t * np.pi / 12), "sky": np.where(t % 2, "sun", "rain"), "warmth": t % 7})
    frames = {freq: frame.assign(ds=pd.date_range("2020-01-01", periods=600, freq=freq)) for freq in ("h", "D", "MS")}
    hours, days, months = (read(each, id_col=None, freq=freq) for freq, each in frames.items())
    for history, network, given in (
        (hours, "gru", {}),
        (hours, "gru", {"transform": "sqrt"}),
        (hours, "gru", {"transform": "log", "lower": 0.0}),
        (hours, "gru", {"mode": "ticks", "grace": "2h"}),
        (hours, "gru", {"plain": True}),
        (hours, "gru", {"known": ("sky", "warmth"), "timezone": "Europe/Berlin"}),
        (hours, "lstm-attention", {}),
        (hours, "zero", {}),
        (hours, "zero", {"known": ("sky", "warmth")}),
        (days, "gru", {"holidays": "US", "season": 7}),
        (months, "gru", {}),
    ):
        spec = default_spec(history, 6, network, **given)
        rehearse(Model(spec, new_network(spec).eval()))
        if network != "zero":
            sequences(history, spec).target_bars(np.array([400]))
        print(*(f"{network} {given}: {kernel}" for kernel in loaded() - compiled), sep="\\n", end="")
""")


def test_every_kernel_that_a_new_model_needs_is_compiled_beforehand() -> None:
    program = [sys.executable, "-c", KERNELS_OF_NEW_MODELS]
    found = subprocess.run(program, cwd=ROOT, check=True, capture_output=True, text=True, timeout=170)
    first, *missing = found.stdout.splitlines()
    assert int(first.split()[0]) > 0
    assert missing == []
