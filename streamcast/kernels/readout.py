"""The sums of the aligned read-out in service; ``models/readout/aligned.py`` has the equations.

Each row is summed in one order, whatever its place: nothing here depends on the rows beside it.
Legend: B answers, h horizon, X = B·h steps, C codes of a step, R rows of a table, H hidden units, N candidates, J
seasonal values, F numbers of a target bar, S numbers of a step: N scores, how far it moves, and those of the head.

numba's cache notices changes in a loop's own file only, so all loops are in this file.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamcast.kernels.loops import inlined, loop

Ints = npt.NDArray[np.int64]
Singles = npt.NDArray[np.float32]
Bits = npt.NDArray[np.int32]

_ONE = np.float32(1.0)
_LEAST = np.float32(-87.0)
"""The exponential of anything less is no normal number; its weight is as good as none."""
_ROUND = np.float32(12_582_912.0)
"""Added and subtracted, it leaves the nearest whole number: 1.5 · 2^23."""
_PER_LN2, _LN2, _LN2_REST = np.float32(1.44269504), np.float32(0.693359375), np.float32(-2.12194440e-4)
_C2, _C3, _C4 = np.float32(5.0000001201e-1), np.float32(1.6666665459e-1), np.float32(4.1665795894e-2)
_C5, _C6, _C7 = np.float32(8.3334519073e-3), np.float32(1.3981999507e-3), np.float32(1.9875691500e-4)
_EXPONENT = np.int32(23)


# -- look-up -------------------------------------------------------------------------------------------


@loop
def look_up(codes_XC: Ints, table_RH: Singles, once_BH: Singles, x_XH: Singles) -> None:
    """Write, for each step, the answer's own term plus the rows of the table that its codes name, three or more."""
    horizon = codes_XC.shape[0] // once_BH.shape[0]
    codes, hidden = codes_XC.shape[1], x_XH.shape[1]
    for b in range(once_BH.shape[0]):
        once = once_BH[b]
        for x in range(b * horizon, (b + 1) * horizon):
            row, first = x_XH[x], table_RH[codes_XC[x, 0]]
            second, third = table_RH[codes_XC[x, 1]], table_RH[codes_XC[x, 2]]
            for i in range(hidden):
                row[i] = once[i] + first[i] + second[i] + third[i]
            for c in range(3, codes):
                more = table_RH[codes_XC[x, c]]
                for i in range(hidden):
                    row[i] += more[i]


# -- mixture -------------------------------------------------------------------------------------------


@loop
def mix(
    numbers_XS: Singles, first: int, seasonal: int, x_BhF: Singles, level_B: Singles, highway_Bh: Singles,
    weights_hN: Singles, weights: Singles, bits: Bits, powers: Bits, moved_Bh: Singles,
) -> None:  # fmt: skip
    """Write how far each step moves from the last value: the mean of its candidates by their scores, and what is added.

    Candidates are the last value, in some models the running mean (0), from ``first`` on the seasonal values, and the
    highway, which is empty where there is none.  ``weights_hN`` is memory of one answer, and so are ``weights``, the
    same as a row, its ``bits`` and ``powers``.
    """
    horizon, candidates = weights_hN.shape
    stop = first + seasonal
    for b in range(moved_Bh.shape[0]):
        level = level_B[b]
        for h in range(horizon):
            scores, row = numbers_XS[b * horizon + h], weights_hN[h]
            most = scores[0]
            for n in range(1, candidates):
                most = scores[n] if scores[n] > most else most
            for n in range(candidates):
                row[n] = scores[n] - most
        _exponentials(weights, bits, powers)
        for h in range(horizon):
            row, values = weights_hN[h], x_BhF[b, h]
            total, mixed = row[0], row[0] * level
            if first > 1:
                total += row[1]
            for j in range(seasonal):
                total += row[first + j]
                mixed += row[first + j] * values[j]
            if stop < candidates:
                total += row[stop]
                mixed += row[stop] * (highway_Bh[b, h] + level)
            moved_Bh[b, h] = mixed / total - level + numbers_XS[b * horizon + h, candidates]


@inlined
def _exponentials(x_N: Singles, bits_N: Bits, powers_N: Bits) -> None:
    """Replace numbers up to 0 by their exponentials, 2^k · e^r with |r| <= ln 2 / 2, within 2 units in the last place.

    ``bits_N`` is the same memory as integers, ``powers_N`` is memory.  The polynomial is Cephes' (Moshier 1992).
    """
    for i in range(x_N.shape[0]):
        x = _LEAST if x_N[i] < _LEAST else x_N[i]
        k = (x * _PER_LN2 + _ROUND) - _ROUND
        r = x - k * _LN2 - k * _LN2_REST
        series = ((((_C7 * r + _C6) * r + _C5) * r + _C4) * r + _C3) * r + _C2
        x_N[i] = (series * r * r + r) + _ONE
        powers_N[i] = np.int32(k) << _EXPONENT
    for i in range(x_N.shape[0]):
        bits_N[i] += powers_N[i]
