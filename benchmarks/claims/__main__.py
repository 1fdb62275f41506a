"""The claims that this project started from, measured on this host, whether they hold or not.

    python -m benchmarks.claims [--only NAME ...] [--json FILE] [--write docs/claims.md] [--forecasters FILE]

The problems are small, seeded and on one thread; all of them take about a quarter of an hour.  ``--write`` keeps the
rows of claims that were not measured this time.  Every row has the claim, the measurement, and whether it holds here.
``--forecasters`` is the file that ``python -m benchmarks.forecasters --json`` wrote: every model of the zoo on a small
task.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks import timing
from benchmarks.claims import speed
from benchmarks.claims.finding import Finding, verdict
from benchmarks.claims.problems import impute, learn_adding
from benchmarks.forecasters import classified, climbed, pedestrians, skill
from examples.anomalies import best_threshold, detection, surprises
from examples.direction import random_walk
from examples.heart_rate import heart_rate
from streamcast.models.build import build
from streamcast.models.network import Network, Shape
from streamcast.models.spec import Spec, make
from streamcast.models.surgery.compress import cost, pruned, quantised
from streamcast.models.zoo import CELLS
from streamcast.offline.defaults.spec import default_spec
from streamcast.offline.evaluation import accuracy
from streamcast.offline.history.read import History, read
from streamcast.offline.training.fit import fit
from streamcast.offline.training.options import Options
from streamcast.spec.folders import Model
from streamcast.spec.model_spec import ModelSpec


def by_length() -> Finding:
    """GRU ≈ LSTM below 50-100 steps, LSTM ahead above 100-200; RNN fails beyond 10."""
    parts, errors = [], {}
    for steps in (10, 50, 150):
        for kind in ("rnn", "gru", "lstm"):
            torch.manual_seed(0)
            run = learn_adding(make("cell", CELLS, {"kind": kind, "hidden": 32}, inputs=2), steps, 500)
            errors[kind, steps] = run.error
            parts.append(f"{kind} {run.error:.4f} ({run.first_gradient:.0e})")
        parts[-3] = f"at {steps} steps {parts[-3]}"
    alike = all(abs(errors["gru", n] - errors["lstm", n]) < 0.03 for n in (10, 50))
    ahead = errors["lstm", 150] < errors["gru", 150]
    fails = errors["rnn", 10] < 0.05 and errors["rnn", 50] > 0.1
    return Finding(
        "adding problem, error after 500 updates (guess: 0.167), in brackets first over last gradient: "
        + "; ".join(parts),
        verdict(alike, ahead, fails),
    )


def wearable() -> Finding:
    """A heart-rate anomaly detector: GRU of 1.2 MB, 40 % less latency, 92 % accuracy."""
    (history, irregular_N), (later, later_irregular_N) = heart_rate(16_000, 0, 30), heart_rate(6_000, 1, 15)
    models = {
        kind: _trained(default_spec(history, 1, kind, lags=0, season=27, plain=True), history, epochs=6)
        for kind in ("gru", "lstm")
    }
    models["gru int8"] = replace(models["gru"], network=quantised(models["gru"].network))
    found = {}
    for name, model in models.items():
        threshold = best_threshold(surprises(model, history)[0], irregular_N)
        found[name] = detection(surprises(model, later)[0], later_irregular_N, threshold)
    megabytes = {name: cost(model.network, lambda _: 0.0).weight_bytes / 1e6 for name, model in models.items()}
    latency = timing.records_us(("gru", "lstm"), series=1, rows=1, times=400)
    saved = 1 - latency["gru"] / latency["lstm"]
    parts = (
        f"{name}: {megabytes[name]:.2f} MB, F1 {d.f1:.2f}, balanced accuracy {d.balanced:.0%}"
        for name, d in found.items()
    )
    return Finding(
        f"made-up wearers; {'; '.join(parts)}; one record at a time takes {saved:.0%} less with GRU",
        verdict(megabytes["gru int8"] <= 1.2, saved >= 0.35, found["gru int8"].balanced >= 0.92),
    )


def clipping() -> Finding:
    """Two-layer LSTM with clipping: 3 x steadier training; 2.1 % error on 1000+ steps."""
    parts, steadier, error = [], 0.0, 1.0
    for rate in (0.1, 0.5):
        runs = {}
        for clip in (1.0, None):
            torch.manual_seed(0)
            network = build({"kind": "lstm", "hidden": 32, "layers": 2, "dropout": 0.0}, Shape((2,), 0, 1, (0.5,)))
            runs[clip] = learn_adding(network.stacks[0], 1000, 100, clip, rate, momentum=0.9)
        with_clip, without = runs[1.0], runs[None]
        steadier, error = without.roughness / with_clip.roughness, min(error, with_clip.error)
        parts.append(
            f"at a rate of {rate} the loss changes {steadier:.1f} × as much from update to update without clipping and "
            f"rises to {without.worst:.2f}, against {with_clip.worst:.2f}"
        )
    return Finding(
        f"adding problem of 1,000 steps, 100 updates of gradient descent with momentum: {'; '.join(parts)}; "
        f"error {error:.3f} (guess: 0.167), so nothing is learnt in this time",
        verdict(steadier >= 3, error < 0.021),
    )


def residual() -> Finding:
    """Five-layer residual LSTM: +8.7 % at equal parameters."""
    history, from_ms = pedestrians()
    past, errors = history.between(0, from_ms), {}
    for shortcut in ("none", "skip2"):
        stack = [{"kind": "lstm", "hidden": 32}] * 5
        spec = default_spec(
            history, 6, {"kind": "network", "stack": stack, "shortcut": shortcut}, lags=0, season=24, plain=True
        )
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
    whole = _trained(
        default_spec(history, 6, {"kind": "deep-lstm", "hidden": 64}, lags=0, season=24, plain=True), past, epochs=10
    )
    small = pruned(whole.network, 0.625)
    cut = replace(whole, network=small, spec=whole.spec.model_copy(update={"network": small.spec}))
    models = {
        "whole": whole,
        "whole, trained on for 5 epochs": _trained(whole.spec, past, epochs=5, initial=whole.network),
        "pruned": cut,
        "pruned, trained on for 5 epochs": _trained(cut.spec, past, epochs=5, initial=small),
        "as small from the start": _trained(
            default_spec(history, 6, small.spec, lags=0, season=24, plain=True), past, epochs=15
        ),
    }
    errors = {name: skill(model, history, from_ms)["error"] for name, model in models.items()}
    parts = []
    for name, model in models.items():
        price = cost(model.network, lambda _: 0.0)
        parts.append(f"{name}: {price.parameters:,} weights, {price.step_us:.0f} µs a step, MASE {errors[name]:.3f}")
    lost = errors["pruned, trained on for 5 epochs"] / errors["whole, trained on for 5 epochs"] - 1
    return Finding(
        f"same ratio, deep LSTM on pedestrian counts, 10 epochs and 5 or 15 at once: {'; '.join(parts)}",
        verdict(lost < 0.02),
    )


def direction() -> Finding:
    """LSTM-attention with minute/hour/day inputs: 68 % direction on a stock index."""
    parts = []
    network: Spec = {
        "kind": "network", "front": {"kind": "features"}, "stack": [{"kind": "lstm", "hidden": 16}],
        "attention": {"kind": "ring", "length": 24}, "head": {"kind": "classes", "edges": [0.0]}, "highway": False,
    }  # fmt: skip
    for name, drift in (("a random walk", 0.0), ("a walk whose best rule is right 69 %", 0.5)):
        history = read(random_walk(16_000, 0, drift))
        from_ms = int(history.ts_N[12_000])
        spec = default_spec(history, 1, dict(network), lags=0, season=60, scales=("1h", "1d"), plain=True)
        found_N, actual_N = classified(_trained(spec, history.between(0, from_ms), epochs=10), history, from_ms)
        rate = accuracy.hit_rate(actual_N.numpy() - 0.5, found_N.numpy() - 0.5, 0.0 * actual_N.numpy())
        parts.append(f"{name}: {rate.rate:.1%} right ({rate.low:.1%} to {rate.high:.1%}, majority {rate.majority:.1%})")
    return Finding(f"{'; '.join(parts)}; there is no index here; 50 % on the random walk shows no leak", "not tested")


def both_ways() -> Finding:
    """BiRNN uses the future: better on recorded medical series."""
    errors = {both: impute(both, 500) for both in (False, True)}
    return Finding(
        f"masked points of noisy waves (made up), offline, equal widths: squared error {errors[True]:.4f} in both "
        f"directions, {errors[False]:.4f} in one; it cannot be streamed",
        verdict(errors[True] < errors[False]),
    )


def pondering() -> Finding:
    """Adaptive depth: rows climb only as far as they need, at a ponder cost (ACT, Graves 2016)."""
    history, from_ms = pedestrians()
    past, errors, climbs = history.between(0, from_ms), {}, {}
    for weight in (0.0, 0.01):
        spec = default_spec(history, 6, {"kind": "gru-adaptive", "hidden": 32}, lags=0, season=24, plain=True)
        model = _trained(spec, past, epochs=6, ponder_cost=weight)
        errors[weight] = skill(model, history, from_ms)["error"]
        climbs[weight] = climbed(model, history.between(from_ms, int(history.ts_N[-1]) + 1))
    parts = "; ".join(
        f"ponder cost {weight}: {climbs[weight]:.2f} layers climbed of 3, MASE {errors[weight]:.3f}"
        for weight in errors
    )
    return Finding(
        f"pedestrian counts, GRU 3 × 32, 6 epochs: {parts}",
        verdict(climbs[0.01] < 0.8 * climbs[0.0], errors[0.01] < 1.02 * errors[0.0]),
    )


def channels() -> Finding:
    """SegRNN's channel embedding: a forecast is better when the model knows which series it is of."""
    history, from_ms = pedestrians()
    named = pedestrians(named=True)[0]
    errors = {}
    for name, seen in (("without", history), ("with", named)):
        spec = default_spec(
            seen, 6, {"kind": "segrnn", "hidden": 32, "patch": 12, "segment": 3}, lags=0, season=24, plain=True
        )
        errors[name] = skill(_trained(spec, seen.between(0, from_ms), epochs=10), seen, from_ms)["error"]
    better = 1 - errors["with"] / errors["without"]
    return Finding(
        f"pedestrian counts, 4 sensors, the channel being a category column (a new series needs no new weights): "
        f"MASE {errors['with']:.3f} with, {errors['without']:.3f} without: {better:+.1%}",
        verdict(better > 0),
    )


CLAIMS: Mapping[str, Callable[[], Finding]] = {
    "gru-size-and-step": speed.smaller_and_faster,
    "length": by_length,
    "wearable": wearable,
    "clipping": clipping,
    "residual": residual,
    "pruning": pruning,
    "direction": direction,
    "iot": speed.devices,
    "kernels": speed.kernels,
    "contract": speed.contract,
    "birnn": both_ways,
    "ponder": pondering,
    "channels": channels,
}


TASK = """By `python -m benchmarks.forecasters --json forecasters.json`: hourly pedestrian counts of four sensors,
six hours ahead, 13 weeks to train on, the next four to forecast through the engine with carried state, small networks
without the linear highway; linear and gru-window read 168 lags. The error is the mean absolute scaled error, and the
reference is that of the seasonal naive forecast. A classifier's error is its share of wrong classes, and the reference
that of always naming the majority class. The slowest models had fewer epochs (`--epochs`)."""


def _trained(
    spec: ModelSpec, history: History, epochs: int, initial: Network | None = None, ponder_cost: float = 0.0
) -> Model:
    """Train for passes over the history, of one epoch each."""
    options = Options(
        epochs=epochs, updates=max(len(history) // (16 * Options().chunk), 1), patience=epochs, rows=16, burn_in=48,
        learning_rate=4e-3, decay=0.9, ponder_cost=ponder_cost,
    )  # fmt: skip
    return fit(history, spec, options, initial=initial)


def page(rows: Mapping[str, Mapping[str, str]], forecasters: Sequence[Mapping[str, Any]]) -> str:
    """Return the claims and the forecasters as a page of the docs."""
    lines = [
        "# Claims, measured",
        "",
        f"By `python -m benchmarks.claims --write docs/claims.md`: {platform.machine()}, torch {torch.__version__}.",
        "Small seeded problems, one run each, on one thread of a shared host; a verdict is about these problems only.",
        "",
        "| claim | measured | verdict |",
        "| --- | --- | --- |",
        *(f"| {row['claim']} | {row['measured']} | {row['verdict']} |" for row in rows.values()),
        "",
    ]
    if forecasters:
        better = sum(row["better"] > 0 for row in forecasters)
        lines += [
            "## Every forecaster on a small task",
            "",
            *TASK.splitlines(),
            "",
            f"{better} of {len(forecasters)} beat the reference.",
            "",
            "| model | measure | error | reference | better by | best epoch of | seconds |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            *(
                f"| {row['model']} | {row['measure']} | {row['error']:.3f} | {row['reference']:.3f} "
                f"| {row['better']:.0%} | {row['best_epoch']} of {row['epochs']} | {row['seconds']:.0f} |"
                for row in sorted(forecasters, key=lambda row: str(row["model"]))
            ),
            "",
        ]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=list(CLAIMS), default=list(CLAIMS))
    parser.add_argument("--json", type=Path, default=Path("claims.json"))
    parser.add_argument("--write", type=Path)
    parser.add_argument("--forecasters", type=Path, default=Path("forecasters.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = json.loads(arguments.json.read_text()) if arguments.json.exists() else {}
    for name in arguments.only:
        finding = CLAIMS[name]()
        rows[name] = {"claim": (CLAIMS[name].__doc__ or "").rstrip("."), **finding._asdict()}
        print(f"{name}: {rows[name]['claim']}\n    {finding.measured}\n    {finding.verdict}", flush=True)
        arguments.json.write_text(json.dumps(rows, indent=1, ensure_ascii=False))
    if arguments.write:
        file = arguments.forecasters
        forecasters = json.loads(file.read_text()) if file.exists() else []
        arguments.write.write_text(page({name: rows[name] for name in CLAIMS if name in rows}, forecasters))


if __name__ == "__main__":
    main()
