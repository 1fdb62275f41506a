"""Rings of past outputs: what the read-out sees is the newest R outputs at the answer, oldest first."""

from __future__ import annotations

from collections import deque

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streamcast.kernels.rings import remember, write_rest

SLOTS, WIDTH = 3, 2

# A base step is (series, whether the scale steps there too, whether it is answered).
base_steps = st.lists(st.tuples(st.integers(0, SLOTS - 1), st.booleans(), st.booleans()), max_size=40)


@given(base_steps, st.integers(1, 5), st.integers(0, 40))
@settings(deadline=None)
def test_an_answer_sees_the_newest_outputs_and_what_was_overwritten_can_be_put_back(
    steps: list[tuple[int, bool, bool]], remembered: int, cut: int
) -> None:
    ring = np.full((SLOTS, remembered, WIDTH), np.nan, np.float32)  # what was never written must never be read
    past = [deque[float](maxlen=remembered) for _ in range(SLOTS)]
    written = [0] * SLOTS
    output = 0.0
    for batch in (steps[:cut], steps[cut:]):
        before_all = ring.copy()
        slots, orders, y, after, answers, seen = [], [], [], [], [], []
        for k, (slot, steps_here, answered) in enumerate(batch):
            if steps_here:
                output += 1.0
                slots.append(slot)
                orders.append(written[slot])
                y.append([output, -output])
                after.append(k)
                written[slot] += 1
                past[slot].append(output)
            if answered:
                answers.append((k, slot, written[slot]))
                seen.append(list(past[slot]))
        n, a = len(slots), len(answers)
        before, memory = np.empty((n, WIDTH), np.float32), np.empty((a, remembered, WIDTH), np.float32)
        filled = np.empty(a, np.int64)
        table = np.array(answers, np.int64).reshape(a, 3)
        at, answer_slots, answer_orders = (column.copy() for column in table.T)
        whose, numbers = np.array(slots, np.int64), np.array(orders, np.int64)
        outputs = np.array(y, np.float32).reshape(n, WIDTH)
        done = 0
        for part in (slice(0, a // 2), slice(a // 2, a)):  # answers may come in blocks
            done = remember(
                ring, whose, numbers, outputs, np.array(after, np.int64), before, done, at[part], answer_slots[part],
                answer_orders[part], memory[part], filled[part],
            )  # fmt: skip
        write_rest(ring, whose, numbers, outputs, before, done)
        for i, values in enumerate(seen):
            padded = [0.0] * (remembered - len(values)) + values
            np.testing.assert_array_equal(memory[i, :, 0], padded)
            np.testing.assert_array_equal(memory[i, :, 1], [-value for value in padded])
            assert filled[i] == len(values)
        undone = ring.copy()
        for i in reversed(range(n)):
            undone[slots[i], orders[i] % remembered] = before[i]
        np.testing.assert_array_equal(undone, before_all)
