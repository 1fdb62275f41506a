"""The claims about speed and size, measured on one thread; ``benchmarks.claims`` prints them."""

from __future__ import annotations

import torch

from benchmarks import timing
from benchmarks.claims.finding import Finding, verdict
from streamcast.models.spec import make
from streamcast.models.zoo import CELLS


def smaller_and_faster() -> Finding:
    """GRU has a third fewer parameters than LSTM; steps 33 % faster."""
    cells = {kind: make("cell", CELLS, {"kind": kind, "hidden": 64}, inputs=64) for kind in ("gru", "lstm")}
    weights = {kind: sum(weight.numel() for weight in cell.parameters()) for kind, cell in cells.items()}
    steps = [timing.steps_us(cells, rows) for rows in (8, 256)]
    learning = timing.training_ms(cells, 100, 32)
    saved = [1 - taken["gru"] / taken["lstm"] for taken in steps]
    return Finding(
        f"{1 - weights['gru'] / weights['lstm']:.0%} fewer, exactly ({weights['gru']:,} against {weights['lstm']:,}); "
        f"a step takes {saved[0]:.0%} less at 8 rows ({steps[0]['gru']:.0f} against {steps[0]['lstm']:.0f} µs), "
        f"{saved[1]:.0%} less at 256; "
        f"an update over 100 steps takes {learning['gru']:.0f} against {learning['lstm']:.0f} ms "
        "(torch trains an LSTM fused, a GRU not)",
        verdict(weights["gru"] <= 0.68 * weights["lstm"], saved[0] >= 0.28, saved[1] >= 0.28),
    )


def devices() -> Finding:
    """IoT: 40 % less latency with GRU than with LSTM."""
    taken = timing.records_us(("gru", "lstm"))
    saved = 1 - taken["gru"] / taken["lstm"]
    return Finding(
        f"the engine, 1,000 series, polls of 5,000: {taken['gru']:.1f} against {taken['lstm']:.1f} µs a record, "
        f"GRU saves {saved:.0%}",
        verdict(saved >= 0.35),
    )


def kernels() -> Finding:
    """Compiled recurrent inference 2-3 x faster; half precision 40 % less memory; QRNN 8 x faster training."""
    eager, compiled = timing.compiled_us()
    parts = [
        f"compiled step of a peephole LSTM at 8 rows {eager / compiled:.1f} × faster"
        if compiled
        else "no compiler here"
    ]
    whole, half = (timing.weight_bytes(dtype) for dtype in (torch.float32, torch.bfloat16))
    cells = {kind: make("cell", CELLS, {"kind": kind, "hidden": 64}, inputs=64) for kind in ("qrnn", "lstm")}
    learning = timing.training_ms(cells, 1000, 8)
    faster = learning["lstm"] / learning["qrnn"]
    parts += [
        f"weights take {1 - half / whole:.0%} less in bfloat16",
        f"an update of QRNN over 1,000 steps {faster:.1f} × faster than LSTM",
    ]
    return Finding(
        "; ".join(parts), verdict(bool(compiled) and eager / compiled >= 2, half <= 0.6 * whole, faster >= 7)
    )


def contract() -> Finding:
    """A GRU-64 step costs at most 1.15 × a bare nn.GRU; minGRU and QRNN scan 3 × faster than a GRU (ours)."""
    parts, held = [], []
    for rows in (8, 256):
        taken = timing.contract_us(rows)
        held.append(taken["cell"] <= 1.15 * taken["bare"])
        parts.append(
            f"a step at {rows} rows: bare {taken['bare']:.0f} µs, as a cell {taken['cell'] / taken['bare']:.2f} ×, "
            f"in a network {taken['network'] / taken['bare']:.2f} ×"
        )
    for inputs in (16, 64):
        cells = {kind: make("cell", CELLS, {"kind": kind}, inputs=inputs) for kind in ("gru", "mingru", "qrnn", "sru")}
        taken = timing.scans_us(cells, 1000, 8)
        faster = {kind: taken["gru"] / taken[kind] for kind in cells}
        held += [faster["mingru"] >= 3, faster["qrnn"] >= 3]
        parts.append(
            f"1,000 steps of 8 rows of {inputs} inputs, against the GRU's {taken['gru'] / 1e3:.1f} ms: "
            + ", ".join(f"{kind} {faster[kind]:.1f} × faster" for kind in ("mingru", "qrnn", "sru"))
        )
    return Finding("; ".join(parts), verdict(*held))
