"""The equations of the zoo's cells as plain NumPy steps in float64, and the loop that compares a cell with one.

Shapes: T steps, B rows, F inputs, H hidden units.  A reference step takes the cell's weights by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from streamcast.models.cells.cell import Cell

Array = NDArray[np.float64]
Weights = Mapping[str, Array]
Arrays = dict[str, Array]
C = TypeVar("C", bound=Cell)
Step = Callable[[Weights, Array, Arrays, Array], tuple[Array, Arrays]]


def drawn(cell: C, seed: int = 0, spread: float = 0.4) -> C:
    """Return the cell in float64, in service, every weight and bias drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)
    return cell.double().eval().requires_grad_(requires_grad=False)


def largest_error(cell: Cell, reference: Step, steps: int = 30, rows: int = 5, seed: int = 0) -> float:
    """Return how far the cell's scan, outputs and last state, is from the reference taken step by step."""
    generator = torch.Generator().manual_seed(seed)
    x_TBF = torch.randn(steps, rows, cell.inputs, generator=generator, dtype=torch.float64)
    dt_TB = torch.rand(steps, rows, generator=generator, dtype=torch.float64) * 2
    initial = cell.initial_state(rows)
    y_TBH, after = cell.scan(x_TBF, initial, None, dt_TB)
    weights = {name: tensor.numpy() for name, tensor in cell.state_dict().items()}
    state = {name: tensor.numpy() for name, tensor in initial.items()}
    errors = []
    for x_BF, dt_B, y_BH in zip(x_TBF.numpy(), dt_TB.numpy(), y_TBH.numpy(), strict=True):
        expected_BH, state = reference(weights, x_BF, state, dt_B)
        errors.append(np.abs(y_BH - expected_BH).max())
    errors += [np.abs(after[name].numpy() - state[name]).max() for name in after]
    assert after.keys() == state.keys()
    return float(max(errors))


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def softplus(x: Array) -> Array:
    return np.asarray(np.log1p(np.exp(x)))


def layer_norm(x: Array, weight: Array, bias: Array) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    return np.asarray(centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * weight + bias)


def read(w: Weights, name: str, x: Array) -> Array:
    """Wx + b of a map made of linear layers and perhaps a layer norm, in order."""
    for layer in sorted({key.split(".")[1] for key in w if key.startswith(f"{name}.")}):
        weight, bias = w[f"{name}.{layer}.weight"], w.get(f"{name}.{layer}.bias", np.zeros(1))
        if weight.ndim == 1:
            x = layer_norm(x, weight, bias)
        elif weight.ndim == 3:
            x = block_diagonal(weight, x.shape[-1]) @ x.T
            x = x.T
        else:
            x = x @ weight.T + bias
    return x


def block_diagonal(weight: Array, width: int) -> Array:
    """The dense matrix [K·H, H] of a grouped map's weights [G, K·H/G, H/G]."""
    groups, rows, each = weight.shape
    gates = rows // each
    dense = np.zeros((gates, width, width))
    for group in range(groups):
        inside = slice(group * each, (group + 1) * each)
        for gate in range(gates):
            dense[gate, inside, inside] = weight[group, gate * each : (gate + 1) * each]
    return dense.reshape(gates * width, width)


def candidate(a: Array, hidden: int) -> Array:
    if a.shape[-1] == hidden:
        return np.asarray(np.tanh(a))
    return np.asarray(a[:, :hidden] * sigmoid(a[:, hidden:]))


def open_gru(w: Weights, x: Array, state: Arrays, dt: Array, *, reset: str = "after") -> tuple[Array, Arrays]:
    del dt
    h = state["h"]
    r, z = np.split(sigmoid(read(w, "x_gates", x) + read(w, "h_gates", h)), 2, 1)
    if reset == "before":
        inner = read(w, "h_candidate", r * h)
    else:
        inner = read(w, "h_candidate", h)
        inner = np.tile(r, inner.shape[1] // r.shape[1]) * inner
    n = candidate(read(w, "x_candidate", x) + inner, h.shape[1])
    h = (1 - z) * n + z * h
    return finished(w, h), {"h": h}


def open_lstm(w: Weights, x: Array, state: Arrays, dt: Array) -> tuple[Array, Arrays]:
    del dt
    h, c = state["h"], state["c"]
    d = h.shape[1]
    gates = read(w, "input", x) + read(w, "recurrent", h)
    i, f, o, g = gates[:, :d], gates[:, d : 2 * d], gates[:, 2 * d : 3 * d], gates[:, 3 * d :]
    p_i, p_f, p_o = w.get("peephole", np.zeros((3, d)))
    c = sigmoid(f + p_f * c) * c + sigmoid(i + p_i * c) * candidate(g, d)
    told = layer_norm(c, w["norm_cell.weight"], w["norm_cell.bias"]) if "norm_cell.weight" in w else c
    h = sigmoid(o + p_o * c) * np.tanh(told)
    return finished(w, h), {"h": h, "c": c}


def finished(w: Weights, h: Array) -> Array:
    return layer_norm(h, w["finish.weight"], w["finish.bias"]) if "finish.weight" in w else h


def delta_gru(w: Weights, x: Array, state: Arrays, dt: Array, *, threshold: float) -> tuple[Array, Arrays]:
    """Neil's own form: sums of products of what has moved, built up over time."""
    moved_x = np.where(np.abs(x - state["read_x"]) > threshold, x - state["read_x"], 0)
    moved_h = np.where(np.abs(state["h"] - state["read_h"]) > threshold, state["h"] - state["read_h"], 0)
    read_x, read_h = state["read_x"] + moved_x, state["read_h"] + moved_h
    r, z = np.split(sigmoid(read(w, "x_gates", read_x) + read(w, "h_gates", read_h)), 2, 1)
    n = np.tanh(read(w, "x_candidate", read_x) + r * read(w, "h_candidate", read_h))
    h = (1 - z) * n + z * state["h"]
    return h, {"h": h, "read_x": read_x, "read_h": read_h}


def mingru(w: Weights, x: Array, state: Arrays, dt: Array) -> tuple[Array, Arrays]:
    del dt
    n, z = np.split(x @ w["linear.weight"].T + w["linear.bias"], 2, 1)
    z = sigmoid(z)
    h = (1 - z) * state["h"] + z * np.where(n >= 0, n + 0.5, sigmoid(n))
    return h, {"h": h}


def qrnn(w: Weights, x: Array, state: Arrays, dt: Array) -> tuple[Array, Arrays]:
    del dt
    window = np.concatenate([state["past"], x[:, None]], 1)
    z, f, o = np.split(window.reshape(len(x), -1) @ w["linear.weight"].T + w["linear.bias"], 3, 1)
    c = sigmoid(f) * state["c"] + (1 - sigmoid(f)) * np.tanh(z)
    return sigmoid(o) * c, {"c": c, "past": window[:, 1:]}


def sru(w: Weights, x: Array, state: Arrays, dt: Array) -> tuple[Array, Arrays]:
    del dt
    wx, f, r = np.split(x @ w["linear.weight"].T, 3, 1)
    f = sigmoid(f + w["peephole"][0] * state["c"] + w["bias"][0])
    r = sigmoid(r + w["peephole"][1] * state["c"] + w["bias"][1])
    c = f * state["c"] + (1 - f) * wx
    straight = x @ w["highway.weight"].T if "highway.weight" in w else x
    return r * c + (1 - r) * straight, {"c": c}


def unicornn(
    w: Weights, x: Array, state: Arrays, dt: Array, *, step: float, alpha: float, damping: float
) -> tuple[Array, Arrays]:
    rate = step * dt[:, None] * sigmoid(w["c"])
    drive = x @ w["input.weight"].T + w["input.bias"]
    z = (state["z"] - rate * (np.tanh(w["w"] * state["y"] + drive) + alpha * state["y"])) / (1 + damping * rate)
    y = state["y"] + rate * z
    return y, {"y": y, "z": z}


def mlstm(w: Weights, x: Array, state: Arrays, dt: Array, *, heads: int) -> tuple[Array, Arrays]:
    """Unstabilised, in the state as the cell keeps it: the matrix over exp m."""
    del dt
    q, k, v, o = np.split(x @ w["linear.weight"].T + w["linear.bias"], 4, 1)
    i, f = np.split(x @ w["gates.weight"].T + w["gates.bias"], 2, 1)
    i, f = np.exp(i), sigmoid(f)
    c, n = state["c"] * np.exp(state["m"])[..., None, None], state["n"] * np.exp(state["m"])[..., None]
    c, n, h = c.copy(), n.copy(), np.empty_like(q)
    each = q.shape[1] // heads
    for row in range(len(x)):
        for head in range(heads):
            units = slice(head * each, (head + 1) * each)
            key = k[row, units] / np.sqrt(each)
            c[row, head] = f[row, head] * c[row, head] + i[row, head] * np.outer(v[row, units], key)
            n[row, head] = f[row, head] * n[row, head] + i[row, head] * key
            found = c[row, head] @ q[row, units] / max(abs(n[row, head] @ q[row, units]), 1)
            h[row, units] = sigmoid(o[row, units]) * found
    m = np.maximum(np.log(f) + state["m"], np.log(i))
    return h, {"c": c / np.exp(m)[..., None, None], "n": n / np.exp(m)[..., None], "m": m}


def slstm(w: Weights, x: Array, state: Arrays, dt: Array) -> tuple[Array, Arrays]:
    """Unstabilised, in the state as the cell keeps it: cell and normaliser over exp m."""
    del dt
    recurrent = block_diagonal(w["recurrent.weight"], state["h"].shape[1])
    i, f, z, o = np.split(x @ w["input.weight"].T + w["input.bias"] + state["h"] @ recurrent.T, 4, 1)
    m = np.maximum(np.log(sigmoid(f)) + state["m"], i)
    c = sigmoid(f) * state["c"] * np.exp(state["m"]) + np.exp(i) * np.tanh(z)
    n = sigmoid(f) * state["n"] * np.exp(state["m"]) + np.exp(i)
    h = sigmoid(o) * c / n
    return h, {"h": h, "c": c / np.exp(m), "n": n / np.exp(m), "m": m}


def turing(w: Weights, x: Array, state: Arrays, dt: Array) -> tuple[Array, Arrays]:
    del dt
    fed = np.concatenate([x, state["r"]], 1)
    wx = fed @ w["controller.fused.weight_ih_l0"].T + w["controller.fused.bias_ih_l0"]
    uh = state["h"] @ w["controller.fused.weight_hh_l0"].T + w["controller.fused.bias_hh_l0"]
    (r_x, z_x, n_x), (r_h, z_h, n_h) = np.split(wx, 3, 1), np.split(uh, 3, 1)
    z = sigmoid(z_x + z_h)
    h = (1 - z) * np.tanh(n_x + sigmoid(r_x + r_h) * n_h) + z * state["h"]
    write = addressed(w, "write", h, state["memory"], state["write"])
    erase, add = np.split(h @ w["change.weight"].T + w["change.bias"], 2, 1)
    kept = state["memory"] * (1 - write[..., None] * sigmoid(erase)[:, None])
    memory = kept + write[..., None] * np.tanh(add)[:, None]
    where = addressed(w, "read", h, memory, state["read"])
    r = np.einsum("bs,bsw->bw", where, memory)
    after = {"h": h, "memory": memory, "write": write, "read": where, "r": r}
    return np.concatenate([h, r], 1), after


def addressed(w: Weights, head: str, h: Array, memory: Array, before: Array) -> Array:
    told = h @ w[f"addresses.{head}.weight"].T + w[f"addresses.{head}.bias"]
    rows, slots, width = memory.shape
    weights = np.empty((rows, slots))
    for row in range(rows):
        key, (beta, gate) = told[row, :width], told[row, width : width + 2]
        shift, gamma = told[row, -4:-1], told[row, -1]
        norms = np.linalg.norm(memory[row], axis=1) * np.linalg.norm(key)
        score = np.exp(softplus(beta) * (memory[row] @ key) / norms)
        gated = sigmoid(gate) * score / score.sum() + (1 - sigmoid(gate)) * before[row]
        shift = np.exp(shift) / np.exp(shift).sum()
        moved = sum(shift[by + 1] * np.roll(gated, by) for by in (-1, 0, 1))
        sharp = moved ** (1 + softplus(gamma))
        weights[row] = sharp / sharp.sum()
    return weights
