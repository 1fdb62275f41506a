"""Which steps go together: every wave holds each series at most once, and no series overtakes itself."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streamcast.kernels.waves import arrange, runs

SLOTS = 40
steps = st.lists(st.integers(0, SLOTS - 1), max_size=200) | st.lists(st.integers(0, 3), max_size=60)


@given(steps)
@settings(deadline=None)
def test_every_wave_is_a_prefix_of_the_rows_and_every_series_keeps_its_order(slots: list[int]) -> None:
    scratch = np.full(SLOTS, -1, np.int64)
    rows, counts, order = arrange(np.array(slots, np.int64), scratch)
    assert (scratch == -1).all()
    assert dict(zip(rows.tolist(), counts.tolist(), strict=True)) == dict(Counter(slots))
    assert counts.tolist() == sorted(counts.tolist(), reverse=True)
    assert sorted(order.tolist()) == list(range(len(slots)))
    at = 0
    for wave in range(max(counts, default=0)):
        width = int((counts > wave).sum())
        members = order[at : at + width]
        assert [slots[k] for k in members] == rows[:width].tolist()
        for k in members.tolist():
            assert slots[:k].count(slots[k]) == wave
        at += width
    assert at == len(slots)


@given(steps)
@settings(deadline=None)
def test_a_run_holds_all_waves_of_equal_width(slots: list[int]) -> None:
    _, counts, _ = arrange(np.array(slots, np.int64), np.full(SLOTS, -1, np.int64))
    widths = [int((counts > wave).sum()) for wave in range(max(counts, default=0))]
    found = [width for first, length, width in runs(counts).tolist() for width in [width] * length]
    assert found == widths
    edges = [wave for wave in range(len(widths)) if wave == 0 or widths[wave] != widths[wave - 1]]
    assert runs(counts)[:, 0].tolist() == edges
