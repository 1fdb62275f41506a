"""Steps that can run together: waves with each series at most once, and runs of equal waves as one scan.

Legend: K steps, R distinct series ("rows").
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

Ints = npt.NDArray[np.int64]


@njit(cache=True)
def arrange(slots: Ints, row_of_slot: Ints) -> tuple[Ints, Ints, Ints]:
    """Order K steps wave by wave, the series with most steps first, so that every wave is a prefix of the rows.

    ``row_of_slot`` is scratch, -1 everywhere before and after the call.  Returns the distinct slots (R), the
    number of steps of each (R, falling), and the steps' indices in wave order (K).
    """
    total = slots.shape[0]
    rows = np.empty(total, np.int64)
    counts = np.zeros(total, np.int64)
    found = 0
    most = 0
    for k in range(total):
        row = row_of_slot[slots[k]]
        if row < 0:
            row = found
            row_of_slot[slots[k]] = row
            rows[row] = slots[k]
            found += 1
        counts[row] += 1
        most = max(most, counts[row])

    # Counting sort of the rows by falling count; equal counts keep the order of first appearance.
    at_least = np.zeros(most + 2, np.int64)  # at_least[c]: rows with c steps or more
    for row in range(found):
        at_least[counts[row]] += 1
    for c in range(most, 0, -1):
        at_least[c] += at_least[c + 1]
    rank = np.empty(found, np.int64)
    place = at_least[1:].copy()  # place[c]: where the next row with c steps goes, behind those with more
    ordered = np.empty(found, np.int64)
    ordered_counts = np.empty(found, np.int64)
    for row in range(found):
        c = counts[row]
        rank[row] = place[c]
        place[c] += 1
        ordered[rank[row]] = rows[row]
        ordered_counts[rank[row]] = c

    starts = np.zeros(most + 1, np.int64)  # where each wave begins
    for wave in range(most):
        starts[wave + 1] = starts[wave] + at_least[wave + 1]
    order = np.empty(total, np.int64)
    done = np.zeros(found, np.int64)
    for k in range(total):
        row = row_of_slot[slots[k]]
        order[starts[done[row]] + rank[row]] = k
        done[row] += 1
    for row in range(found):
        row_of_slot[rows[row]] = -1
    return ordered, ordered_counts, order


@njit(cache=True)
def runs(counts: Ints) -> Ints:
    """Return (first wave, waves, rows) of each run of waves that have the same rows, from falling step counts."""
    found = np.empty((counts.shape[0], 3), np.int64)
    used = 0
    first = 0
    for row in range(counts.shape[0] - 1, -1, -1):
        if counts[row] > first:
            found[used, 0] = first
            found[used, 1] = counts[row] - first
            found[used, 2] = row + 1
            used += 1
            first = counts[row]
    return found[:used]
