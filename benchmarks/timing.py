"""Times of small pieces of work on one thread: medians, interleaved so that other load affects all of them alike.

Shapes: T steps, B rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from statistics import median

import torch
from torch import nn

from benchmarks.engine import POLL, polls
from benchmarks.service import benchmark_model
from streamcast.engine.engine import Engine
from streamcast.models.build import build
from streamcast.models.cells.cell import Cell
from streamcast.models.network import Shape
from streamcast.models.spec import make
from streamcast.models.zoo import CELLS
from streamcast.spec.folders import new_network

WARM = 5
"""First rounds, which do not count."""


def medians_us(works: Mapping[str, Callable[[], object]], times: int) -> dict[str, float]:
    """Return the median microseconds of pieces of work, warmed up and interleaved."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(times + WARM):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            taken[name].append(time.perf_counter() - start)
    return {name: 1e6 * median(seconds[WARM:]) for name, seconds in taken.items()}


def steps_us(cells: Mapping[str, Cell], rows: int, times: int = 500) -> dict[str, float]:
    """Return the microseconds of one step of each cell."""
    with torch.inference_mode():
        return medians_us({name: _step(cell, rows) for name, cell in cells.items()}, times)


def _step(cell: Cell, rows: int) -> Callable[[], object]:
    x_BF, state = torch.randn(rows, cell.inputs), cell.initial_state(rows)
    return lambda: cell.step(x_BF, state)


def contract_us(rows: int, times: int = 500) -> dict[str, float]:
    """Return the microseconds of one step of a GRU: torch's module alone, our cell, and a network with it."""
    network = build({"kind": "gru", "layers": 1}, Shape((64,), 0, 1, (0.5,))).eval()
    cell = make("cell", CELLS, {"kind": "gru"}, inputs=64).eval()
    bare = nn.GRU(64, 64).eval()
    x_BF, h_1BH, state = torch.randn(rows, 64), torch.zeros(1, rows, 64), network.initial_state(0, rows)
    works: dict[str, Callable[[], object]] = {
        "bare": lambda: bare(x_BF[None], h_1BH),
        "cell": _step(cell, rows),
        "network": lambda: network.step(0, x_BF, state),
    }
    with torch.inference_mode():
        return medians_us(works, times)


def scans_us(cells: Mapping[str, Cell], steps: int, rows: int, times: int = 50) -> dict[str, float]:
    """Return the microseconds of a whole sequence of each cell."""
    with torch.inference_mode():
        return medians_us({name: _scan(cell.eval(), steps, rows) for name, cell in cells.items()}, times)


def _scan(cell: Cell, steps: int, rows: int) -> Callable[[], object]:
    x_TBF, state = torch.randn(steps, rows, cell.inputs), cell.initial_state(rows)
    return lambda: cell.scan(x_TBF, state)


def training_ms(cells: Mapping[str, Cell], steps: int, rows: int, times: int = 15) -> dict[str, float]:
    """Return the milliseconds of a forward and a backward pass of each cell over a sequence."""
    taken = medians_us({name: _update(cell.train(), steps, rows) for name, cell in cells.items()}, times)
    return {name: microseconds / 1e3 for name, microseconds in taken.items()}


def _update(cell: Cell, steps: int, rows: int) -> Callable[[], None]:
    x_TBF, state = torch.randn(steps, rows, cell.inputs), cell.initial_state(rows)

    def update() -> None:
        y_TBH, _ = cell.scan(x_TBF, state)
        torch.autograd.backward(y_TBH.square().mean())

    return update


def records_us(kinds: Sequence[str], series: int = 1_000, rows: int = POLL, times: int = 40) -> dict[str, float]:
    """Return the engine's microseconds for a record, in polls of some rows, with each kind of model."""
    taken = medians_us({kind: _polling(kind, series, rows, times + WARM) for kind in kinds}, times)
    return {kind: microseconds / rows for kind, microseconds in taken.items()}


def _polling(kind: str, series: int, rows: int, times: int) -> Callable[[], None]:
    spec = benchmark_model("gru").spec.model_copy(update={"network": {"kind": kind, "hidden": 64, "layers": 2}})
    engine = Engine(spec, new_network(spec).eval())
    ready = iter(list(islice(polls(series, spec.series, rows), times)))

    def poll() -> None:
        engine.stage(next(ready))
        engine.promote()

    return poll


def compiled_us(rows: int = 8) -> tuple[float, float]:
    """Return the microseconds of a step of a peephole LSTM, eager and compiled; 0 where it cannot be compiled."""
    cell = make("cell", CELLS, {"kind": "lstm", "peephole": True, "hidden": 64}, inputs=64).eval()
    x_BF, state = torch.randn(rows, 64), cell.initial_state(rows)
    compiled = torch.compile(cell.step)
    with torch.inference_mode():
        try:
            compiled(x_BF, state)
        except Exception as error:  # noqa: BLE001 - whichever error the toolchain raises, there is nothing to time
            print(f"torch.compile: {type(error).__name__}")
            return steps_us({"eager": cell}, rows)["eager"], 0.0
        works = {"eager": lambda: cell.step(x_BF, state), "compiled": lambda: compiled(x_BF, state)}
        taken = medians_us(works, 500)
        return taken["eager"], taken["compiled"]


def weight_bytes(dtype: torch.dtype) -> int:
    """Return the bytes of the weights of the default LSTM in a type."""
    network = build({"kind": "lstm"}, Shape((8,), 336, 24, (0.1, 0.5, 0.9))).to(dtype)
    return sum(weight.nbytes for weight in network.parameters())
