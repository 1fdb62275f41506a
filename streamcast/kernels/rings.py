"""Rings of past outputs, and their contents at each answer, for the read-out.

Legend: K steps, A answers, H width of an output, R outputs remembered.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

Ints = npt.NDArray[np.int64]
Singles = npt.NDArray[np.float32]


@njit(cache=True)
def remember(
    ring: Singles, slots: Ints, orders: Ints, y: Singles, after: Ints, before: Singles, done: int,
    answer_steps: Ints, answer_slots: Ints, answer_orders: Ints, memory: Singles, filled: Ints,
) -> int:  # fmt: skip
    """Write outputs from ``done`` on into their series' rings, and copy the rings at each of A answers.

    ring [slots, R, H]; step k of the scale is number ``orders[k]`` of its series and belongs to base step
    ``after[k]``; ``before`` [K, H] receives the overwritten outputs.  ``answer_orders`` [A] is the number of steps
    of this scale that the series has at the answer.  memory [A, R, H] is oldest to newest, padded with zeros on the
    left; ``filled`` [A] is the number of real ones.  Returns the number of outputs written so far.
    """
    size = ring.shape[1]
    k = done
    for a in range(answer_steps.shape[0]):
        while k < slots.shape[0] and after[k] <= answer_steps[a]:
            _push(ring, slots[k], orders[k], y[k], before[k])
            k += 1
        slot, n = answer_slots[a], answer_orders[a]
        have = min(n, size)
        filled[a] = have
        first = (n - have) % size
        head = min(have, size - first)
        memory[a, : size - have] = 0.0
        memory[a, size - have : size - have + head] = ring[slot, first : first + head]
        memory[a, size - have + head :] = ring[slot, : have - head]
    return k


@njit(cache=True)
def write_rest(ring: Singles, slots: Ints, orders: Ints, y: Singles, before: Singles, done: int) -> None:
    """Write the outputs after the last answer."""
    for k in range(done, slots.shape[0]):
        _push(ring, slots[k], orders[k], y[k], before[k])


@njit(cache=True)
def _push(ring: Singles, slot: int, order: int, y: Singles, before: Singles) -> None:
    position = order % ring.shape[1]
    before[:] = ring[slot, position]
    ring[slot, position] = y
