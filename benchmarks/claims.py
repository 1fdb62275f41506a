"""The claims that this project started from, measured on this host, whichever way it comes out.

    python -m benchmarks.claims [--only NAME ...] [--json FILE] [--write docs/claims.md]

Small seeded problems on one thread, so that all of them take about a quarter of an hour; ``--write`` keeps the rows of
claims that were not measured this time.  Every row says the claim, what was measured and whether it holds here.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from benchmarks import timing
from benchmarks.detection import best_threshold, detection, surprises
from benchmarks.forecasters import classified, pedestrians, skill
from benchmarks.problems import heart_rate, impute, learn_adding, random_walk
from models.compress import cost, pruned, quantised
from models.network import Shape, build
from models.spec import Spec, make
from models.zoo import CELLS
from streamcast import accuracy
from streamcast.defaults import default_spec
from streamcast.registry import Model
from streamcast.training import Options, fit

Verdict = Literal["holds", "in part", "does not hold", "not tested"]


class Finding(NamedTuple):
    """What was measured, in words with numbers, and whether the claim holds here."""

    measured: str
    verdict: Verdict


def verdict(*held: bool) -> Verdict:
    """Return whether all, some or none of a claim's parts held."""
    return "holds" if all(held) else "in part" if any(held) else "does not hold"


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


def by_length() -> Finding:
    """GRU ≈ LSTM below 50-100 steps, LSTM ahead above 100-200; RNN fails beyond 10."""
    told, errors = [], {}
    for steps in (10, 50, 150):
        for kind in ("rnn", "gru", "lstm"):
            torch.manual_seed(0)
            run = learn_adding(make("cell", CELLS, {"kind": kind, "hidden": 32}, inputs=2), steps, 500)
            errors[kind, steps] = run.error
            told.append(f"{kind} {run.error:.4f} ({run.first_gradient:.0e})")
        told[-3] = f"at {steps} steps {told[-3]}"
    alike = all(abs(errors["gru", n] - errors["lstm", n]) < 0.03 for n in (10, 50))
    ahead = errors["lstm", 150] < errors["gru", 150]
    fails = errors["rnn", 10] < 0.05 and errors["rnn", 50] > 0.1
    return Finding(
        "adding problem, error after 500 updates (guess: 0.167), in brackets first over last gradient: "
        + "; ".join(told),
        verdict(alike, ahead, fails),
    )


def wearable() -> Finding:
    """A heart-rate anomaly detector: GRU of 1.2 MB, 40 % less latency, 92 % accuracy."""
    (history, irregular_N), (later, later_irregular_N) = heart_rate(16_000, 0, 30), heart_rate(6_000, 1, 15)
    models = {
        kind: _trained(default_spec(history, 1, kind, lags=0, season=27), history, epochs=6) for kind in ("gru", "lstm")
    }
    models["gru int8"] = replace(models["gru"], network=quantised(models["gru"].network))
    found = {}
    for name, model in models.items():
        threshold = best_threshold(surprises(model, history)[0], irregular_N)
        found[name] = detection(surprises(model, later)[0], later_irregular_N, threshold)
    megabytes = {name: cost(model.network, lambda _: 0.0).weight_bytes / 1e6 for name, model in models.items()}
    latency = timing.records_us(("gru", "lstm"), series=1, rows=1, turns=400)
    saved = 1 - latency["gru"] / latency["lstm"]
    told = (
        f"{name}: {megabytes[name]:.2f} MB, F1 {d.f1:.2f}, balanced accuracy {d.balanced:.0%}"
        for name, d in found.items()
    )
    return Finding(
        f"made-up wearers; {'; '.join(told)}; one record at a time takes {saved:.0%} less with GRU",
        verdict(megabytes["gru int8"] <= 1.2, saved >= 0.35, found["gru int8"].balanced >= 0.92),
    )


def clipping() -> Finding:
    """Two-layer LSTM with clipping: 3 x steadier training; 2.1 % error on 1000+ steps."""
    runs = {}
    for clip in (1.0, None):
        torch.manual_seed(0)
        network = build({"kind": "lstm", "hidden": 32, "layers": 2, "dropout": 0.0}, Shape((2,), 0, 1, (0.5,)))
        runs[clip] = learn_adding(network.stacks[0], 1000, 120, clip, rate=1e-2)
    with_clip, without = runs[1.0], runs[None]
    return Finding(
        f"adding problem of 1,000 steps, 120 updates: loss more than doubled in {with_clip.spikes:.1%} of the updates "
        f"with clipping, {without.spikes:.1%} without; error {with_clip.error:.3f}, {without.error:.3f} (guess: 0.167)",
        verdict(without.spikes >= 3 * with_clip.spikes, with_clip.error < 0.021) if without.spikes else "not tested",
    )


def residual() -> Finding:
    """Five-layer residual LSTM: +8.7 % at equal parameters."""
    history, from_ms = pedestrians()
    past, errors = history.between(0, from_ms), {}
    for shortcut in ("none", "skip2"):
        stack = [{"kind": "lstm", "hidden": 32}] * 5
        spec = default_spec(history, 6, {"kind": "network", "stack": stack, "shortcut": shortcut}, lags=0, season=24)
        errors[shortcut] = skill(_trained(spec, past, epochs=8), history, from_ms)["error"]
    better = 1 - errors["skip2"] / errors["none"]
    return Finding(
        f"pedestrian counts, 5 × 32, 8 epochs: MASE {errors['skip2']:.3f} with skip-2, {errors['none']:.3f} without: "
        f"{better:+.1%}",
        verdict(better >= 0.08),
    )


def pruning() -> Finding:
    """4.2 M -> 1.8 M parameters by channel pruning."""
    history, from_ms = pedestrians()
    past = history.between(0, from_ms)
    whole = _trained(default_spec(history, 6, {"kind": "deep-lstm", "hidden": 64}, lags=0, season=24), past, epochs=10)
    costs = {"whole": cost(whole.network, lambda _: skill(whole, history, from_ms)["error"])}
    small = pruned(whole.network, 0.625)
    cut = replace(whole, network=small, spec=whole.spec.model_copy(update={"network": small.spec}))
    costs["pruned"] = cost(small, lambda _: skill(cut, history, from_ms)["error"])
    again = _trained(default_spec(history, 6, small.spec, lags=0, season=24), past, epochs=10)
    costs["as small from the start"] = cost(again.network, lambda _: skill(again, history, from_ms)["error"])
    told = (
        f"{name}: {c.parameters:,} weights, {c.step_us:.0f} µs a step, MASE {c.loss:.3f}" for name, c in costs.items()
    )
    lost = costs["pruned"].loss / costs["whole"].loss - 1
    return Finding(
        f"same ratio, deep LSTM on pedestrian counts, not trained on after pruning: {'; '.join(told)}",
        verdict(lost < 0.02),
    )


def direction() -> Finding:
    """LSTM-attention with minute/hour/day inputs: 68 % direction on a stock index."""
    told = []
    network: Spec = {
        "kind": "network", "front": {"kind": "features"}, "stack": [{"kind": "lstm", "hidden": 16}],
        "attention": {"kind": "ring", "length": 24}, "head": {"kind": "classes", "edges": [0.0]}, "highway": False,
    }  # fmt: skip
    for name, drift in (("a random walk", 0.0), ("a walk whose best rule is right 69 %", 0.5)):
        history = random_walk(16_000, 0, drift)
        from_ms = int(history.ts_N[12_000])
        spec = default_spec(history, 1, dict(network), lags=0, season=60, scales=("1h", "1d"))
        found_N, actual_N = classified(_trained(spec, history.between(0, from_ms), epochs=10), history, from_ms)
        rate = accuracy.hit_rate(actual_N.numpy() - 0.5, found_N.numpy() - 0.5, 0.0 * actual_N.numpy())
        told.append(f"{name}: {rate.rate:.1%} right ({rate.low:.1%} to {rate.high:.1%}, majority {rate.majority:.1%})")
    return Finding(f"{'; '.join(told)}; there is no index here; 50 % on the random walk shows no leak", "not tested")


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
    told = [
        f"compiled step of a peephole LSTM at 8 rows {eager / compiled:.1f} × faster"
        if compiled
        else "no compiler here"
    ]
    whole, half = (timing.weight_bytes(dtype) for dtype in (torch.float32, torch.bfloat16))
    cells = {kind: make("cell", CELLS, {"kind": kind, "hidden": 64}, inputs=64) for kind in ("qrnn", "lstm")}
    learning = timing.training_ms(cells, 1000, 8)
    faster = learning["lstm"] / learning["qrnn"]
    told += [
        f"weights take {1 - half / whole:.0%} less in bfloat16",
        f"an update of QRNN over 1,000 steps {faster:.1f} × faster than LSTM",
    ]
    return Finding("; ".join(told), verdict(bool(compiled) and eager / compiled >= 2, half <= 0.6 * whole, faster >= 7))


def both_ways() -> Finding:
    """BiRNN uses the future: better on recorded medical series."""
    errors = {both: impute(both, 500) for both in (False, True)}
    return Finding(
        f"masked points of noisy waves (made up), offline, equal widths: squared error {errors[True]:.4f} in both "
        f"directions, {errors[False]:.4f} in one; it cannot be streamed",
        verdict(errors[True] < errors[False]),
    )


CLAIMS: Mapping[str, Callable[[], Finding]] = {
    "gru-size-and-step": smaller_and_faster,
    "length": by_length,
    "wearable": wearable,
    "clipping": clipping,
    "residual": residual,
    "pruning": pruning,
    "direction": direction,
    "iot": devices,
    "kernels": kernels,
    "birnn": both_ways,
}


def _trained(spec: Any, history: Any, epochs: int) -> Model:
    options = Options(epochs=epochs, patience=epochs, rows=16, burn_in=48, learning_rate=4e-3, decay=0.9)
    return fit(history, spec, options)


def page(rows: Mapping[str, Mapping[str, str]]) -> str:
    """Return the claims as a page of the docs."""
    lines = [
        "# Claims, measured",
        "",
        f"By `python -m benchmarks.claims --write docs/claims.md`: {platform.machine()}, torch {torch.__version__}.",
        "Small seeded problems, one run each, one thread of a shared host; a verdict is about these problems alone.",
        "",
        "| claim | measured | verdict |",
        "| --- | --- | --- |",
        *(f"| {row['claim']} | {row['measured']} | {row['verdict']} |" for row in rows.values()),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=list(CLAIMS), default=list(CLAIMS))
    parser.add_argument("--json", type=Path, default=Path("claims.json"))
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = json.loads(arguments.json.read_text()) if arguments.json.exists() else {}
    for name in arguments.only:
        finding = CLAIMS[name]()
        rows[name] = {"claim": (CLAIMS[name].__doc__ or "").rstrip("."), **finding._asdict()}
        print(f"{name}: {rows[name]['claim']}\n    {finding.measured}\n    {finding.verdict}", flush=True)
        arguments.json.write_text(json.dumps(rows, indent=1, ensure_ascii=False))
    if arguments.write:
        arguments.write.write_text(page({name: rows[name] for name in CLAIMS if name in rows}))


if __name__ == "__main__":
    main()
