"""Forecasts as JSON bytes: one pass over all answers into one buffer.

Numbers are rounded to 6 significant digits, or to as many more as resolve the width of the forecast's interval, through
an integer mantissa, and written without trailing zeros.
Legend: A answers, H horizon, Q quantiles.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from streamcast.kernels.loops import inlined, loop

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

DIGITS, MOST_DIGITS = 6, 15
LONGEST_NUMBER = 24
LEAST_FINE, LARGEST_FINE = 1e-280, 1e280
"""Beyond them, more digits would need powers that float64 does not have."""
RESOLUTION = 0.01
"""A number is rounded to this share of the width between the outer quantiles, an anomaly of its distance from 1, or
finer."""

_POWERS = np.array([10.0**e for e in range(23)])
_MINUS, _POINT, _ZERO, _COMMA, _E, _END = (ord(c) for c in "-.0,e]")
_TRIPLES = np.array([int.from_bytes(f"{n:03d}".encode(), "little") for n in range(1000)], np.uint64)
_TRAILING = np.array([3 - len(f"{n:03d}".rstrip("0")) for n in range(1000)])
_NULL = np.frombuffer(b"null", np.uint8)
_TRUE = np.frombuffer(b"true", np.uint8)
_FALSE = np.frombuffer(b"false", np.uint8)
_STARTS = np.frombuffer(b',"ds":[', np.uint8)


# -- forecasts -----------------------------------------------------------------------------------------


@loop
def write_forecasts(
    buffer: Bytes, pieces: Bytes, piece_ends: Ints, keys: Bytes, key_ends: Ints,
    cutoffs: Ints, starts: Ints, forecast: Floats, fine: bool, warm: npt.NDArray[np.bool_], anomaly: Floats,
    nines: bool, partitions: Ints, offsets: Ints, ends: Ints,
) -> None:  # fmt: skip
    """Write A forecasts one after the other, and where each ends [A].

    ``starts`` [A, H] are the starts of the bars that are forecast; with no columns they are left out.  ``fine`` says
    whether digits follow the width of the interval, ``nines`` whether those of the anomaly follow its distance from 1.

    ``pieces`` are the constant parts of a forecast, in order: before the key, the cutoff, each quantile's
    numbers, warm, anomaly, partition, offset, and the end.  ``keys`` are JSON strings.
    """
    horizon, quantiles = forecast.shape[1], forecast.shape[2]
    at = 0
    for a in range(forecast.shape[0]):
        at = _write_bytes(buffer, at, pieces[: piece_ends[0]])
        at = _write_bytes(buffer, at, keys[key_ends[a - 1] if a else 0 : key_ends[a]])
        at = _write_bytes(buffer, at, pieces[piece_ends[0] : piece_ends[1]])
        at = write_integer(buffer, at, cutoffs[a])
        if starts.shape[1] > 0:
            at = _write_bytes(buffer, at, _STARTS)
            for h in range(horizon):
                at = write_integer(buffer, at, starts[a, h])
                buffer[at] = _COMMA
                at += 1
            buffer[at - 1] = _END
        for q in range(quantiles):
            at = _write_bytes(buffer, at, pieces[piece_ends[1 + q] : piece_ends[2 + q]])
            for h in range(horizon):
                if h:
                    buffer[at] = _COMMA
                    at += 1
                width = abs(forecast[a, h, quantiles - 1] - forecast[a, h, 0])
                at = write_number(buffer, at, forecast[a, h, q], RESOLUTION * width if fine else math.inf)
        p = 1 + quantiles
        at = _write_bytes(buffer, at, pieces[piece_ends[p] : piece_ends[p + 1]])
        at = _write_bytes(buffer, at, _TRUE if warm[a] else _FALSE)
        at = _write_bytes(buffer, at, pieces[piece_ends[p + 1] : piece_ends[p + 2]])
        at = (
            _write_bytes(buffer, at, _NULL)
            if math.isnan(anomaly[a])
            else write_number(buffer, at, anomaly[a], RESOLUTION * (1.0 - anomaly[a]) if nines else math.inf)
        )
        at = _write_bytes(buffer, at, pieces[piece_ends[p + 2] : piece_ends[p + 3]])
        at = write_integer(buffer, at, partitions[a])
        at = _write_bytes(buffer, at, pieces[piece_ends[p + 3] : piece_ends[p + 4]])
        at = write_integer(buffer, at, offsets[a])
        at = _write_bytes(buffer, at, pieces[piece_ends[p + 4] : piece_ends[p + 5]])
        ends[a] = at


@inlined
def _write_bytes(buffer: Bytes, at: int, text: Bytes) -> int:
    _write_all(buffer, at, text)
    return at + text.shape[0]


# -- numbers -------------------------------------------------------------------------------------------


@inlined
def write_number(buffer: Bytes, at: int, value: float, resolution: float) -> int:
    """Write a finite number rounded to 6 significant digits; return the position after it.

    Where their unit is larger than ``resolution``, more digits are written, at most 15.
    """
    if value == 0.0:
        buffer[at] = _ZERO
        return at + 1
    if value < 0.0:
        buffer[at] = _MINUS
        at += 1
        value = -value
    exponent = _exponent(value)
    mantissa = int(_times_power(value, DIGITS - 1 - exponent) + 0.5)
    if mantissa < 100_000:  # the exponent was one too high
        exponent -= 1
        mantissa = int(_times_power(value, DIGITS - 1 - exponent) + 0.5)
    if mantissa >= 1_000_000:
        exponent += 1
        mantissa = int(_times_power(value, DIGITS - 1 - exponent) + 0.5)
    if value > mantissa * resolution and LEAST_FINE < value < LARGEST_FINE:
        return _write_fine(buffer, at, value, exponent, resolution)
    if exponent < -5 or exponent > 15:
        at = _write_digits(buffer, at, mantissa, 1)
        buffer[at] = _E
        return write_integer(buffer, at + 1, exponent)
    if exponent >= 0:
        return _write_digits(buffer, at, mantissa, exponent + 1)
    buffer[at] = _ZERO
    buffer[at + 1] = _POINT
    at += 2
    for _ in range(-exponent - 1):
        buffer[at] = _ZERO
        at += 1
    return _write_digits(buffer, at, mantissa, 0)


@inlined
def _exponent(value: float) -> int:
    """Return floor(log10(value)) or one more; the most common range takes comparisons instead of a logarithm."""
    if 1.0 <= value < 1e6:
        exponent = 0
        for power in range(1, DIGITS):
            exponent += value >= _POWERS[power]
        return exponent
    return math.floor(math.log10(value))


@inlined
def _write_digits(buffer: Bytes, at: int, mantissa: int, whole: int) -> int:
    """Write 6 digits without trailing zeros, and a point after the first ``whole`` (0: the point is written).

    Eight bytes are written at once, whatever the number of digits; the next number overwrites those that are too many.
    """
    high = np.uint32(mantissa) // np.uint32(1000)
    low = np.uint32(mantissa) - high * np.uint32(1000)
    digits = DIGITS - (_TRAILING[low] if low else 3 + _TRAILING[high])
    text = _TRIPLES[high] | _TRIPLES[low] << np.uint64(24)
    pointed = 0 < whole < DIGITS
    if pointed:
        place = np.uint64(8 * whole)
        before = (np.uint64(1) << place) - np.uint64(1)
        text = (text & before) | np.uint64(_POINT) << place | (text & ~before) << np.uint64(8)
    _write_eight(buffer, at, text)
    for i in range(DIGITS, whole):
        buffer[at + i] = _ZERO
    return at + (digits + pointed if digits > whole else max(whole, digits))


@loop
def _write_fine(buffer: Bytes, at: int, value: float, exponent: int, resolution: float) -> int:
    """Write a positive number with as many digits as make their unit at most ``resolution``, in any form of JSON."""
    if value < _times_power(1.0, exponent):  # six digits were rounded up to the next power of ten
        exponent -= 1
    digits = DIGITS
    while digits < MOST_DIGITS and _times_power(1.0, exponent + 1 - digits) > resolution:
        digits += 1
    mantissa = int(_times_power(value, digits - 1 - exponent) + 0.5)
    if mantissa >= int(_POWERS[digits]):
        exponent += 1
        mantissa = int(_times_power(value, digits - 1 - exponent) + 0.5)
    while mantissa % 10 == 0:
        mantissa //= 10
        digits -= 1
    if exponent < -5 or exponent > 15:
        at = write_integer(buffer, at, mantissa)
        buffer[at] = _E
        return write_integer(buffer, at + 1, exponent + 1 - digits)
    if exponent >= digits - 1:
        at = write_integer(buffer, at, mantissa)
        for _ in range(exponent + 1 - digits):
            buffer[at] = _ZERO
            at += 1
        return at
    if exponent < 0:
        buffer[at] = _ZERO
        buffer[at + 1] = _POINT
        for _ in range(-exponent - 1):
            buffer[at + 2] = _ZERO
            at += 1
        return write_integer(buffer, at + 2, mantissa)
    for i in range(digits, exponent + 1, -1):
        buffer[at + i] = _ZERO + mantissa % 10
        mantissa //= 10
    buffer[at + exponent + 1] = _POINT
    write_integer(buffer, at, mantissa)
    return at + digits + 1


@inlined
def _times_power(value: float, exponent: int) -> float:
    """Return value · 10^exponent, rounded once where the power is exact."""
    if exponent >= 0:
        return value * _POWERS[exponent] if exponent < 23 else value * 1e22 * 10.0 ** (exponent - 22)
    if exponent > -23:
        return value / _POWERS[-exponent]
    return value / 1e22 / 10.0 ** (-exponent - 22)


@loop
def write_integer(buffer: Bytes, at: int, value: int) -> int:
    """Write an integer in decimal; return the position after it."""
    if value < 0:
        buffer[at] = _MINUS
        at += 1
        value = -value
    digits = 1
    rest = value // 10
    while rest > 0:
        digits += 1
        rest //= 10
    for i in range(digits - 1, -1, -1):
        buffer[at + i] = _ZERO + value % 10
        value //= 10
    return at + digits


# -- LLVM's own instructions ---------------------------------------------------------------------------


def _writing_eight(typing: Any, buffer: Any, at: Any, value: Any) -> Any:
    """Generate: write the eight bytes of an integer from buffer[at] on, the lowest first."""
    del typing, at, value

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _place(context, builder, signature.args[0], args)
        eight = context.get_value_type(types.uint64).as_pointer()
        builder.store(args[2], builder.bitcast(place, eight), align=1)
        return context.get_dummy_value()

    return types.void(buffer, types.int64, types.uint64), generate


def _writing_bytes(typing: Any, buffer: Any, at: Any, text: Any) -> Any:
    """Generate: write an array of bytes from buffer[at] on."""
    del typing, at

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source = context.make_array(signature.args[2])(context, builder, args[2])
        place = _place(context, builder, signature.args[0], args)
        copy: Any = cgutils.raw_memcpy
        copy(builder, place, source.data, source.nitems, 1)
        return context.get_dummy_value()

    return types.void(buffer, types.int64, text), generate


def _place(context: Any, builder: Any, buffer: Any, args: Any) -> Any:
    """Return the address of buffer[at], the first two of ``args``."""
    return builder.gep(context.make_array(buffer)(context, builder, args[0]).data, [args[1]])


_write_eight: Any = intrinsic(_writing_eight)
_write_all: Any = intrinsic(_writing_bytes)
